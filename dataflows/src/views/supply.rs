//! `supply`: for how long will the stock of each product do?
//!
//! ```sql
//! SELECT product_id, sum(current_stock) AS stock, units_sold_7d, stock / (units_sold_7d / 7) AS days_of_supply
//! FROM stock LEFT JOIN (SELECT product_id, sum(quantity) AS units_sold_7d FROM sales
//!                       WHERE bucket IN (SELECT bucket FROM week_windows) GROUP BY product_id) USING (product_id)
//! GROUP BY product_id
//! ```
//!
//! Key: product, of those with stock rows. Units: pieces; the week is the 168 hour buckets that end with `as_of`'s.
//! State: one entry per product. Bound: products with stock rows, and those sold in the last week.

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Multiply;
use differential_dataflow::operators::CountTotal;

use super::stock_alerts::stock_alert;
use crate::arrangements::Arrangements;
use crate::measures::{SalesMeasures, SupplyMeasures};
use crate::operators::combine;
use crate::outputs::{RowBody, RowKey, Rows};
use crate::records::{StockLevel, Text};
use crate::time::{Diff, Tick};

/// What there is and what was sold of each product with stock rows.
pub type Supplies<'scope> = VecCollection<'scope, Tick, (Text, SupplyMeasures), Diff>;

/// The supply of each product.
pub fn supplies<'scope>(
    stock: VecCollection<'scope, Tick, StockLevel, Diff>,
    arrangements: &Arrangements<'scope>,
) -> Supplies<'scope> {
    let held = combine(stock, "Combine: supply, stock", |level: StockLevel, difference: Diff, give| {
        let short_rows = i64::from(stock_alert(&level).is_some());
        let measures = SupplyMeasures { rows: 1, stock: level.current_stock, short_rows, units_sold: 0 };
        give(level.product_id, measures.multiply(&difference));
    });
    let sold = arrangements
        .live_products
        .clone()
        .join_core(arrangements.week_windows.clone(), |_window, product, ()| Some(product.clone()));
    let sold = combine(sold, "Combine: supply, sold", |product, SalesMeasures { units, .. }, give| {
        give(product, SupplyMeasures { units_sold: units, ..SupplyMeasures::default() });
    });
    held.concat(sold)
        .arrange_by_self_named("Supply")
        .count_total_core::<Diff>()
        .filter(|(_product, supply)| supply.rows > 0)
}

/// The documents.
pub fn supply(supplies: Supplies<'_>) -> Rows<'_> {
    supplies.map(|(product, supply)| (RowKey::Supply(product), RowBody::Supply(supply)))
}
