//! Stock rows, supply, the stock metric, and the alerts whose conditions hold.

use std::collections::BTreeMap;

use tillflow_dataflows::records::{Millis, StockLevel};

use super::admission::Partition;
use super::live::{Live, length, metric_document};
use super::names::Names;
use super::numbers::half_even;
use super::windows::{count, int, text};
use crate::document::{Collection, Document, Value, decimal_text, push_id_part};

/// What a row's numbers say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InStock,
    Low,
    Out,
}

impl State {
    fn of(level: &StockLevel) -> State {
        match level.current_stock {
            ..=0 => State::Out,
            stock if stock <= level.reorder_level => State::Low,
            _ => State::InStock,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            State::InStock => "in_stock",
            State::Low => "low_stock",
            State::Out => "out_of_stock",
        }
    }
}

/// A product over all its warehouses.
#[derive(Clone, Copy, Debug, Default)]
struct Supply {
    stock: i128,
    units_sold: i128,
    is_short: bool,
}

impl Supply {
    /// Tenths of a day that the stock does for.
    fn days(&self) -> Option<i128> {
        (self.units_sold > 0).then(|| half_even(self.stock * 70, self.units_sold))
    }

    /// Judged exactly, not by the rounded days.
    fn is_out_soon(&self) -> bool {
        self.units_sold > 0 && self.stock * 7 < self.units_sold * 3 && !self.is_short
    }
}

/// Of each product and warehouse the row with the greatest (last_updated, partition, offset).
pub(super) fn current<'a>(partitions: impl Iterator<Item = (i32, &'a Partition)>) -> Vec<&'a StockLevel> {
    type Rank = (Millis, i32, i64);
    let mut rows: BTreeMap<(&str, &str), (Rank, &StockLevel)> = BTreeMap::new();
    for (number, partition) in partitions {
        for (offset, level) in partition.levels() {
            let candidate = ((level.last_updated, number, offset), level);
            let row = rows.entry((&level.product_id, &level.warehouse_id)).or_insert(candidate);
            if candidate.0 > row.0 {
                *row = candidate;
            }
        }
    }
    rows.into_values().map(|(_, level)| level).collect()
}

/// Gives every document that comes from stock, and every alert whose condition holds (as an open one).
pub(super) fn close(
    rows: &[&StockLevel],
    live: &Live,
    names: &Names,
    maintained: impl Fn(&str) -> bool,
    give: &mut dyn FnMut(Document),
) {
    let units_sold = live.units_sold();
    let units_by_product: BTreeMap<&str, i128> =
        units_sold.iter().map(|(product, units)| (names.text(*product), *units)).collect();
    let mut supplies: BTreeMap<&str, Supply> = BTreeMap::new();
    let mut totals = (0i128, 0, 0);
    for level in rows {
        let state = State::of(level);
        totals.0 += i128::from(level.current_stock);
        totals.1 += i64::from(state == State::Out);
        totals.2 += i64::from(state == State::Low);
        let supply = supplies.entry(&level.product_id).or_insert_with(|| Supply {
            units_sold: units_by_product.get(level.product_id.as_str()).copied().unwrap_or(0),
            ..Supply::default()
        });
        supply.stock += i128::from(level.current_stock);
        supply.is_short |= state != State::InStock;
        if maintained("stock") {
            give(stock_document(level));
        }
        row_alerts(level, state, &maintained, give);
    }
    for (product, supply) in &supplies {
        if maintained("supply") {
            give(supply_document(product, supply));
        }
        if maintained("stock_out_soon") && supply.is_out_soon() {
            let message = format!(
                "{product} is out soon: {} on hand, {} sold in 7 days, {} days of supply",
                supply.stock,
                supply.units_sold,
                decimal_text(supply.days().unwrap_or_default(), 1)
            );
            give(alert("stock_out_soon", "warning", &[("product_id", product)], &message));
        }
    }
    if maintained("revenue_anomaly") {
        for (category, last, base) in live.anomalies() {
            let category = names.text(category);
            let message = format!(
                "{category}: {} in the last whole hour, {} in the 24 hours before",
                decimal_text(last, 4),
                decimal_text(base, 4)
            );
            give(alert("revenue_anomaly", "warning", &[("category", category)], &message));
        }
    }
    if maintained("inventory_summary") {
        let measures = vec![
            length("products", supplies.len()),
            length("rows", rows.len()),
            count("units", totals.0),
            int("out_of_stock", totals.1),
            int("low_stock", totals.2),
        ];
        give(metric_document("inventory_summary", measures));
    }
}

fn row_alerts(level: &StockLevel, state: State, maintained: &impl Fn(&str) -> bool, give: &mut dyn FnMut(Document)) {
    let StockLevel { product_id, warehouse_id, current_stock, reorder_level, .. } = level;
    let subject = [("product_id", product_id.as_str()), ("warehouse_id", warehouse_id.as_str())];
    let numbers = format!("{current_stock} on hand, reorder level {reorder_level}");
    if state == State::Out && maintained("out_of_stock") {
        let message = format!("{product_id} is out of stock in {warehouse_id}: {current_stock} on hand");
        give(alert("out_of_stock", "critical", &subject, &message));
    }
    if state == State::Low && maintained("low_stock") {
        let message = format!("{product_id} is low in {warehouse_id}: {numbers}");
        give(alert("low_stock", "warning", &subject, &message));
    }
    if let Some(status) = level.status.as_deref()
        && [State::InStock, State::Low, State::Out].iter().any(|state| state.name() == status)
        && status != state.name()
        && maintained("status_mismatch")
    {
        let message = format!("{product_id} is reported {status} in {warehouse_id}: {numbers}");
        give(alert("status_mismatch", "info", &subject, &message));
    }
}

/// An open alert, without what depends on when it was opened.
fn alert(kind: &str, severity: &str, subject: &[(&'static str, &str)], message: &str) -> Document {
    let mut id = format!("alert|{kind}");
    let mut fields = vec![text("type", "alert"), text("kind", kind), text("severity", severity)];
    for (field, value) in subject {
        id.push('|');
        push_id_part(&mut id, value);
        fields.push(text(field, value));
    }
    fields.extend([text("message", message), text("state", "open")]);
    Document { collection: Collection::RealTimeMetrics, id, fields }
}

fn stock_document(level: &StockLevel) -> Document {
    let mut id = String::from("stock|");
    push_id_part(&mut id, &level.product_id);
    id.push('|');
    push_id_part(&mut id, &level.warehouse_id);
    let mut fields = vec![
        text("type", "stock"),
        text("product_id", &level.product_id),
        text("warehouse_id", &level.warehouse_id),
        text("category", &level.category),
        int("current_stock", level.current_stock),
        int("reorder_level", level.reorder_level),
        ("last_updated".into(), Value::Time(level.last_updated)),
    ];
    fields.extend(level.status.as_deref().map(|status| text("status", status)));
    Document { collection: Collection::RealTimeMetrics, id, fields }
}

fn supply_document(product: &str, supply: &Supply) -> Document {
    let mut id = String::from("supply|");
    push_id_part(&mut id, product);
    let mut fields = vec![
        text("type", "supply"),
        text("product_id", product),
        count("stock", supply.stock),
        count("units_sold_7d", supply.units_sold),
    ];
    let days = supply.days().map(|digits| Value::Decimal { digits, scale: 1 });
    fields.extend(days.map(|days| ("days_of_supply".into(), days)));
    Document { collection: Collection::RealTimeMetrics, id, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_supply_round_half_to_even_and_are_absent_without_sales() {
        let supply = |stock, units_sold| Supply { stock, units_sold, is_short: false };
        // 1/28 of a week's units: 0.25 days; 3/28: 0.75 days.
        assert_eq!(supply(1, 28).days(), Some(2));
        assert_eq!(supply(3, 28).days(), Some(8));
        assert_eq!(supply(-1, 28).days(), Some(-2));
        assert_eq!(supply(9, 0).days(), None);
        assert_eq!(supply(9, -3).days(), None);
    }

    #[test]
    fn out_soon_is_judged_before_rounding() {
        let supply = |stock, units_sold, is_short| Supply { stock, units_sold, is_short };
        // Exactly three days are enough; 2.996 days, which round to 3.0, are not.
        assert!(!supply(300, 700, false).is_out_soon());
        assert!(supply(299_600, 700_000, false).is_out_soon());
        assert_eq!(supply(299_600, 700_000, false).days(), Some(30));
        assert!(!supply(1, 700, true).is_out_soon() && !supply(1, 0, false).is_out_soon());
    }

    #[test]
    fn a_row_is_low_up_to_its_reorder_level_and_out_at_zero() {
        let state = |current_stock, reorder_level| {
            State::of(&StockLevel {
                product_id: "p".into(),
                warehouse_id: "w".into(),
                current_stock,
                reorder_level,
                last_updated: 0,
                category: "c".into(),
                status: None,
            })
        };
        assert_eq!(
            [state(0, 5), state(-1, -9), state(5, 5), state(6, 5)],
            [State::Out, State::Out, State::Low, State::InStock]
        );
    }
}
