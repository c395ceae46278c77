//! `status_mismatch`: which rows of the stock report a status that their own numbers contradict?
//!
//! ```sql
//! SELECT 'status_mismatch', * FROM stock
//! WHERE status IN ('in_stock', 'low_stock', 'out_of_stock')
//!   AND status <> CASE WHEN current_stock <= 0 THEN 'out_of_stock'
//!                      WHEN current_stock <= reorder_level THEN 'low_stock' ELSE 'in_stock' END
//! ```
//!
//! Key: product and warehouse, the alert's subject. Units: none, it holds or not. Any other word, or none, contradicts
//! nothing. State: none. Bound: none needed.

use differential_dataflow::VecCollection;

use super::stock_alerts::stock_alert;
use crate::outputs::{AlertKind, RowBody, RowKey, Rows, StockKey, Subject};
use crate::records::StockLevel;
use crate::time::{Diff, Tick};

fn is_mismatch(level: &StockLevel) -> bool {
    let status = stock_alert(level).map_or("in_stock", AlertKind::name);
    let reported = level.status.as_deref().filter(|word| ["in_stock", "low_stock", "out_of_stock"].contains(word));
    reported.is_some_and(|reported| reported != status)
}

/// The conditions that hold.
pub fn status_mismatch<'scope>(stock: VecCollection<'scope, Tick, StockLevel, Diff>) -> Rows<'scope> {
    stock.filter(is_mismatch).map(|level| {
        let StockLevel { product_id, warehouse_id, .. } = &level;
        let subject = StockKey { product_id: product_id.clone(), warehouse_id: warehouse_id.clone() };
        (RowKey::Alert(AlertKind::StatusMismatch, Subject::Stock(subject)), RowBody::Stock(Box::new(level)))
    })
}
