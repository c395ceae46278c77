//! `stock_out_soon`: of which products will the stock be gone within three days, if they go on selling as they did?
//!
//! ```sql
//! SELECT product_id FROM supply
//! WHERE units_sold_7d > 0 AND stock / (units_sold_7d / 7.0) < 3
//!   AND NOT EXISTS (SELECT 1 FROM stock WHERE product_id = supply.product_id AND current_stock <= reorder_level)
//! ```
//!
//! Key: product, the alert's subject. Units: pieces; days. A row of the product that is low or out is an alert of its own,
//! and this one does not hold then. State: none (that of `supply`). Bound: none needed.

use crate::measures::SupplyMeasures;
use crate::outputs::{AlertKind, RowBody, RowKey, Rows, Subject};
use crate::views::supply::Supplies;

/// With fewer days of supply than this, stock is out soon.
const SOON_DAYS: i128 = 3;

fn is_out_soon(supply: &SupplyMeasures) -> bool {
    // stock / (units / 7) < 3, without the division.
    supply.units_sold > 0
        && supply.short_rows == 0
        && i128::from(supply.stock) * 7 < SOON_DAYS * i128::from(supply.units_sold)
}

/// The conditions that hold.
pub fn stock_out_soon(supplies: Supplies<'_>) -> Rows<'_> {
    supplies.filter(|(_product, supply)| is_out_soon(supply)).map(|(product, supply)| {
        (RowKey::Alert(AlertKind::StockOutSoon, Subject::Product(product)), RowBody::Supply(supply))
    })
}
