//! `stock`, the alerts `out_of_stock`, `low_stock` and `status_mismatch`, and `inventory_summary`. The current row of a product in a
//! warehouse is the one with the greatest (last_updated, partition, offset).

use std::collections::{BTreeMap, BTreeSet};

use super::Facts;
use crate::inputs::StockCandidate;
use crate::measures::InventoryMeasures;
use crate::outputs::{AlertKind, Metric, RowBody, RowKey, StockKey, Subject};

/// The current row of each product in each warehouse.
pub(super) fn current(facts: &Facts) -> BTreeMap<StockKey, &StockCandidate> {
    let age = |row: &StockCandidate| (row.level.last_updated, row.partition, row.offset);
    let mut current: BTreeMap<StockKey, &StockCandidate> = BTreeMap::new();
    for row in &facts.stock {
        let key = StockKey { product_id: row.level.product_id.clone(), warehouse_id: row.level.warehouse_id.clone() };
        let latest = current.entry(key).or_insert(row);
        if age(row) > age(latest) {
            *latest = row;
        }
    }

    current
}

pub(super) fn rows(facts: &Facts, give: &mut impl FnMut(RowKey, RowBody)) {
    let current = current(facts);
    let mut products = BTreeSet::new();
    let mut summary = InventoryMeasures::default();
    for (key, row) in &current {
        let level = &row.level;
        products.insert(&level.product_id);
        summary.rows += 1;
        summary.units += level.current_stock;
        let body = || RowBody::Stock(Box::new(level.clone()));
        if level.current_stock <= 0 {
            summary.out_of_stock += 1;
            give(RowKey::Alert(AlertKind::OutOfStock, Subject::Stock(key.clone())), body());
        }
        if 0 < level.current_stock && level.current_stock <= level.reorder_level {
            summary.low_stock += 1;
            give(RowKey::Alert(AlertKind::LowStock, Subject::Stock(key.clone())), body());
        }
        let true_status = match level.current_stock {
            ..=0 => "out_of_stock",
            stock if stock <= level.reorder_level => "low_stock",
            _ => "in_stock",
        };
        if let Some("out_of_stock" | "low_stock" | "in_stock") = level.status.as_deref()
            && level.status.as_deref() != Some(true_status)
        {
            give(RowKey::Alert(AlertKind::StatusMismatch, Subject::Stock(key.clone())), body());
        }
        give(RowKey::Stock(key.clone()), body());
    }
    summary.products = products.len() as i64;
    give(RowKey::Metric(Metric::InventorySummary), RowBody::Inventory(summary));
}
