//! `out_of_stock` and `low_stock`: which rows of the stock need a person?
//!
//! ```sql
//! SELECT 'out_of_stock', * FROM stock WHERE current_stock <= 0
//! UNION ALL
//! SELECT 'low_stock', * FROM stock WHERE current_stock > 0 AND current_stock <= reorder_level
//! ```
//!
//! Key: product and warehouse, the alert's subject. Units: pieces. These are the conditions that hold; whether an alert
//! has been open before is not theirs to know. State: none. Bound: none needed.

use differential_dataflow::VecCollection;

use crate::outputs::{AlertKind, Row, RowBody, RowKey, StockKey, Subject};
use crate::records::StockLevel;
use crate::time::{Diff, Tick};

/// Which of the two conditions holds for a row, if one does.
pub fn stock_alert(level: &StockLevel) -> Option<AlertKind> {
    if level.current_stock <= 0 {
        Some(AlertKind::OutOfStock)
    } else if level.current_stock <= level.reorder_level {
        Some(AlertKind::LowStock)
    } else {
        None
    }
}

/// The conditions that hold.
pub fn stock_alerts<'scope>(
    stock: VecCollection<'scope, Tick, StockLevel, Diff>,
) -> VecCollection<'scope, Tick, Row, Diff> {
    stock.flat_map(|level| {
        stock_alert(&level).map(|kind| {
            let StockLevel { product_id, warehouse_id, .. } = &level;
            let subject = StockKey { product_id: product_id.clone(), warehouse_id: warehouse_id.clone() };
            (RowKey::Alert(kind, Subject::Stock(subject)), RowBody::Stock(Box::new(level)))
        })
    })
}
