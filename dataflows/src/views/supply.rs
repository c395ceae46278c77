//! `supply`, and the alert `stock_out_soon`: for how long will the stock of each product do?
//!
//! ```sql
//! SELECT product_id, sum(current_stock) AS stock, units_sold_7d, stock / (units_sold_7d / 7) AS days_of_supply
//! FROM stock LEFT JOIN (SELECT product_id, sum(quantity) AS units_sold_7d FROM sales
//!                       WHERE bucket IN (SELECT bucket FROM week_windows) GROUP BY product_id) USING (product_id)
//! GROUP BY product_id
//! ```
//!
//! Key: product, of those with stock rows. Units: pieces; the week is the 168 hour buckets that end with `as_of`'s.
//! State: one entry per product. The alert holds while the exact days of supply are fewer than 3 and no row of the
//! product is low or out, which would be an alert of its own.

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Multiply;
use differential_dataflow::operators::CountTotal;

use super::stock_alerts::stock_alert;
use crate::arrangements::Arrangements;
use crate::measures::{SalesMeasures, SupplyMeasures};
use crate::operators::combine;
use crate::outputs::{AlertKind, RowBody, RowKey, Rows, Subject};
use crate::records::StockLevel;
use crate::time::{Diff, Tick};

/// With fewer days of supply than this, stock is out soon.
const SOON_DAYS: i128 = 3;

fn is_out_soon(supply: &SupplyMeasures) -> bool {
    // stock / (units / 7) < 3, without the division.
    supply.units_sold > 0
        && supply.short_rows == 0
        && i128::from(supply.stock) * 7 < SOON_DAYS * i128::from(supply.units_sold)
}

/// The documents, and the conditions that hold.
pub fn supply<'scope>(
    stock: VecCollection<'scope, Tick, StockLevel, Diff>,
    arrangements: &Arrangements<'scope>,
) -> Rows<'scope> {
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
    let supply = held
        .concat(sold)
        .arrange_by_self_named("Supply")
        .count_total_core::<Diff>()
        .filter(|(_product, supply)| supply.rows > 0);
    let soon = supply.clone().filter(|(_product, supply)| is_out_soon(supply)).map(|(product, supply)| {
        (RowKey::Alert(AlertKind::StockOutSoon, Subject::Product(product)), RowBody::Supply(supply))
    });
    supply.map(|(product, supply)| (RowKey::Supply(product), RowBody::Supply(supply))).concat(soon)
}
