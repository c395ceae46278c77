//! Sales and activities summed into the finest cells that several views share, on the worker that read them.
//!
//! Hours are derived from minutes and days from hours, so that a record is looked at once.

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::measures::{ActivityMeasures, SalesMeasures};
use crate::operators::combine;
use crate::records::Text;
use crate::time::{Granularity, Tick, Window};

/// Where a sale counts, product aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SalesCell {
    /// The window.
    pub window: Window,
    /// As the sale gives it.
    pub category: Text,
    /// As the sale gives it.
    pub store_id: Text,
    /// As the sale gives it.
    pub payment_method: Text,
}

/// A product in a window.
pub type ProductCell = (Window, Text);

/// Sums by [`SalesCell`], for every granularity.
pub type SalesCells<'scope> = VecCollection<'scope, Tick, SalesCell, SalesMeasures>;

/// Sums by [`ProductCell`].
pub type ProductCells<'scope> = VecCollection<'scope, Tick, ProductCell, SalesMeasures>;

fn coarser(window: Window, granularity: Granularity) -> Window {
    Window::of(granularity, window.start)
}

/// The cells of minutes, and those of hours and days made of them.
pub fn sales_cells(minutes: SalesCells<'_>) -> SalesCells<'_> {
    let coarsen = |cells, name, granularity| {
        combine(cells, name, move |cell: SalesCell, measures, give| {
            give(SalesCell { window: coarser(cell.window, granularity), ..cell }, measures);
        })
    };
    let hours = coarsen(minutes.clone(), "Combine: sales by hour", Granularity::Hour);
    let days = coarsen(hours.clone(), "Combine: sales by day", Granularity::Day);
    minutes.concat(hours).concat(days)
}

/// The product cells of minutes, and those of hours and of days made of them.
pub fn product_cells(minutes: ProductCells<'_>) -> [ProductCells<'_>; 3] {
    let coarsen = |cells, name, granularity| {
        combine(cells, name, move |(window, product): ProductCell, measures, give| {
            give((coarser(window, granularity), product), measures);
        })
    };
    let hours = coarsen(minutes.clone(), "Combine: products by hour", Granularity::Hour);
    let days = coarsen(hours.clone(), "Combine: products by day", Granularity::Day);
    [minutes, hours, days]
}

/// An activity type in a window.
pub type ActivityCell = (Window, Text);

/// Sums by [`ActivityCell`], for every granularity.
pub type ActivityCells<'scope> = VecCollection<'scope, Tick, ActivityCell, ActivityMeasures>;

/// The activity cells of minutes, and those of hours and days made of them.
pub fn activity_cells(minutes: ActivityCells<'_>) -> ActivityCells<'_> {
    let coarsen = |cells, name, granularity| {
        combine(cells, name, move |(window, kind): ActivityCell, measures, give| {
            give((coarser(window, granularity), kind), measures);
        })
    };
    let hours = coarsen(minutes.clone(), "Combine: activities by hour", Granularity::Hour);
    let days = coarsen(hours.clone(), "Combine: activities by day", Granularity::Day);
    minutes.concat(hours).concat(days)
}
