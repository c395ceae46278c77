//! `inventory_summary`: how is the stock, all in all?
//!
//! ```sql
//! SELECT count(DISTINCT product_id) AS products, count(*) AS rows, sum(current_stock) AS units,
//!        count(*) FILTER (WHERE current_stock <= 0) AS out_of_stock,
//!        count(*) FILTER (WHERE current_stock > 0 AND current_stock <= reorder_level) AS low_stock
//! FROM stock
//! ```
//!
//! Key: none; one row, zero when there is no stock. Units: products, stock rows, pieces. State: one entry per product,
//! and one. Bound: products with stock rows.

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Multiply;
use differential_dataflow::operators::{CountTotal, ThresholdTotal};

use crate::measures::InventoryMeasures;
use crate::operators::{combine, with_default};
use crate::outputs::{AlertKind, Metric, RowBody, RowKey, Rows};
use crate::records::StockLevel;
use crate::time::{Diff, Tick};
use crate::views::stock_alerts::stock_alert;

/// The metric's row.
pub fn inventory_summary<'scope>(stock: VecCollection<'scope, Tick, StockLevel, Diff>) -> Rows<'scope> {
    let row = |measures| (RowKey::Metric(Metric::InventorySummary), RowBody::Inventory(measures));
    let rows = combine(stock.clone(), "Combine: inventory rows", |level: StockLevel, difference: Diff, give| {
        let alert = stock_alert(&level);
        let measures = InventoryMeasures {
            products: 0,
            rows: 1,
            units: level.current_stock,
            out_of_stock: i64::from(alert == Some(AlertKind::OutOfStock)),
            low_stock: i64::from(alert == Some(AlertKind::LowStock)),
        };
        give((), measures.multiply(&difference));
    });
    let products = stock
        .map(|level| level.product_id)
        .arrange_by_self_named("Inventory summary: products")
        .threshold_total(|product, rows: &Diff| {
            assert!(*rows > 0, "{product:?} has {rows} stock rows");
            1
        });
    let products = combine(products, "Combine: inventory products", |_product, difference: Diff, give| {
        give((), InventoryMeasures { products: difference, ..InventoryMeasures::default() });
    });
    let sums = rows.concat(products).arrange_by_self_named("Inventory summary").count_total_core();
    with_default(sums.map(move |((), measures)| row(measures)), row(InventoryMeasures::default()))
}
