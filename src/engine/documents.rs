//! Rows become documents: the contract's collections, ids and fields.

use chrono::{DateTime, SecondsFormat};
use tillflow_dataflows::added::key_values;
use tillflow_dataflows::fields::FieldKind;
use tillflow_dataflows::measures::{SalesMeasures, SupplyMeasures, VisitMeasures};
use tillflow_dataflows::outputs::{Metric, RollupKey, Row, RowBody, RowKey, StockKey, View};
use tillflow_dataflows::records::{Millis, Outcome, Reason, StockLevel};

use crate::document::{Collection, Document, FieldName, Fields, Value, decimal_text, push_id_part};
use crate::views::ViewSet;

/// What every view document says beside its own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The epoch of the change.
    pub epoch: u64,
    /// Its `as_of`.
    pub as_of: Option<Millis>,
}

impl Stamp {
    /// The epoch and, if there is one, `as_of`.
    pub(super) fn fields(self) -> impl Iterator<Item = (FieldName, Value)> {
        let epoch = Value::Int(i64::try_from(self.epoch).unwrap_or(i64::MAX));
        let as_of = self.as_of.map(|as_of| ("as_of".into(), Value::Time(as_of)));
        std::iter::once(("epoch".into(), epoch)).chain(as_of)
    }
}

/// The collection and `_id` of the document that a row becomes; none for rows that become no document of their own.
pub fn document_id(key: &RowKey, views: &ViewSet) -> Option<(Collection, String)> {
    match key {
        RowKey::Rollup(key) => Some((Collection::AggregatedData, rollup_id(key, views))),
        RowKey::Metric(metric) => Some((Collection::RealTimeMetrics, format!("metric|{}", metric.name()))),
        RowKey::Stock(key) => {
            let mut id = String::from("stock|");
            stock_id_parts(&mut id, key);
            Some((Collection::RealTimeMetrics, id))
        }
        RowKey::Supply(product) => {
            let mut id = String::from("supply|");
            push_id_part(&mut id, product);
            Some((Collection::RealTimeMetrics, id))
        }
        RowKey::Alert(..) | RowKey::AsOf => None,
    }
}

/// The document that a row becomes, if it becomes one.
pub fn document((key, body): &Row, stamp: Stamp, views: &ViewSet) -> Option<Document> {
    let (collection, id) = document_id(key, views)?;
    let mut fields: Fields = match (key, body) {
        (RowKey::Rollup(key), body) => rollup_fields(key, body, views),
        (RowKey::Metric(metric), body) => metric_fields(*metric, body, stamp.as_of),
        (RowKey::Stock(_), RowBody::Stock(level)) => stock_fields(level, stamp.as_of),
        (RowKey::Supply(product), RowBody::Supply(supply)) => supply_fields(product, supply, stamp.as_of),
        (key, body) => panic!("the row {key:?} has the body {body:?}"),
    };
    fields.extend(stamp.fields());
    Some(Document { collection, id, fields })
}

fn text(name: &'static str, value: &str) -> (FieldName, Value) {
    (name.into(), Value::Text(value.to_owned()))
}

fn int(name: &'static str, value: i64) -> (FieldName, Value) {
    (name.into(), Value::Int(value))
}

fn money(name: &'static str, value: i128) -> (FieldName, Value) {
    (name.into(), Value::money(value))
}

fn time(name: &'static str, value: Millis) -> (FieldName, Value) {
    (name.into(), Value::Time(value))
}

/// What a windowed view is called, and the fields of a row's key.
fn named<'a>(key: &RollupKey, views: &'a ViewSet) -> (&'a str, Fields) {
    match (key.view.name(), views.layout(key.view)) {
        (Some(name), _) => {
            let field = key.view.key_field().map(|field| (field.into(), Value::Text(key.key.to_string())));
            (name, field.into_iter().collect())
        }
        (None, Some(layout)) => {
            // Without fields there is no value either.
            let values = layout.key.iter().zip(key_values(&key.key));
            (
                &layout.name,
                values.map(|(field, value)| (field.name.clone().into(), key_value(field.kind, value))).collect(),
            )
        }
        (None, None) => panic!("{:?} is not among the added views", key.view),
    }
}

/// A value of an added view's key. Numbers are written in it as digits.
fn key_value(kind: FieldKind, value: String) -> Value {
    match (kind, value.parse::<i128>()) {
        (FieldKind::Text, _) | (_, Err(_)) => Value::Text(value),
        (kind, Ok(number)) => measured(kind, number),
    }
}

/// A number of an added view.
fn measured(kind: FieldKind, number: i128) -> Value {
    match (kind, i64::try_from(number)) {
        (FieldKind::Money, _) => Value::money(number),
        (FieldKind::Time, Ok(millis)) => Value::Time(millis),
        (_, Ok(number)) => Value::Int(number),
        // More than an integer of any store holds.
        (_, Err(_)) => Value::Decimal { digits: number, scale: 0 },
    }
}

fn rollup_id(key: &RollupKey, views: &ViewSet) -> String {
    let (name, fields) = named(key, views);
    // Windows come from instants between 1970 and 9999.
    let start = DateTime::from_timestamp_millis(key.window.start).unwrap_or_default();
    let start = start.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut id = format!("{name}|{}|{start}", key.window.granularity.name());
    for (_, value) in fields {
        id.push('|');
        match value {
            Value::Text(text) => push_id_part(&mut id, &text),
            Value::Decimal { digits, scale } => id.push_str(&decimal_text(digits, scale)),
            Value::Int(number) => id.push_str(&number.to_string()),
            other => panic!("{other:?} is in the key of {name}"),
        }
    }
    id
}

/// Appends `product|warehouse`.
pub(super) fn stock_id_parts(id: &mut String, key: &StockKey) {
    push_id_part(id, &key.product_id);
    id.push('|');
    push_id_part(id, &key.warehouse_id);
}

fn rollup_fields(key: &RollupKey, body: &RowBody, views: &ViewSet) -> Fields {
    let RollupKey { window, view, .. } = key;
    let (name, key) = named(key, views);
    let mut fields = vec![
        text("type", name),
        text("granularity", window.granularity.name()),
        time("timestamp", window.start),
        time("window_end", window.end()),
        ("key".into(), Value::Document(key)),
    ];
    let is_final = match body {
        RowBody::Sales(measures, is_final) => {
            fields.extend(sales_fields(measures));
            is_final
        }
        RowBody::Activity(measures, is_final) => {
            fields.push(int("events", measures.events));
            fields.push(money("amount", measures.amount));
            is_final
        }
        RowBody::Users(users, is_final) => {
            fields.push(int("users", *users));
            is_final
        }
        RowBody::Visits(measures, is_final) => {
            fields.extend(visit_fields(*view, measures));
            is_final
        }
        RowBody::Interest(measures, is_final) => {
            fields.extend([
                int("views", measures.views),
                int("purchases", measures.purchases),
                int("units_sold", measures.units_sold),
                money("revenue", measures.revenue),
            ]);
            is_final
        }
        RowBody::Customers(measures, is_final) => {
            fields.extend([
                int("new_customers", measures.new_customers),
                int("returning_customers", measures.returning_customers()),
                money("new_revenue", measures.new_revenue),
                money("returning_revenue", measures.returning_revenue()),
            ]);
            is_final
        }
        RowBody::Added(measures, is_final) => {
            let layout = views.layout(*view).expect("the view has a name, so it has a layout");
            let numbers = layout.measures.iter().filter_map(|field| {
                field.number.of(measures).map(|number| (field.name.clone().into(), measured(field.kind, number)))
            });
            fields.extend(numbers);
            is_final
        }
        other => panic!("a row of {view:?} has the body {other:?}"),
    };
    fields.push(("final".into(), Value::Bool(*is_final)));
    fields
}

fn sales_fields(measures: &SalesMeasures) -> impl Iterator<Item = (FieldName, Value)> {
    let SalesMeasures { transactions, units, revenue } = *measures;
    let average = (transactions != 0).then(|| money("average_order_value", divide(revenue, i128::from(transactions))));
    [int("transactions", transactions), int("units", units), money("revenue", revenue)].into_iter().chain(average)
}

fn visit_fields(view: View, measures: &VisitMeasures) -> Fields {
    match view {
        View::Sessions => vec![
            int("sessions", measures.sessions),
            int("bounced", measures.bounced),
            int("converted", measures.converted),
            int("page_views", measures.page_views),
            ("duration_seconds".into(), Value::Decimal { digits: i128::from(measures.duration), scale: 3 }),
        ],
        View::Funnel => vec![
            int("sessions", measures.sessions),
            int("viewed", measures.viewed),
            int("viewed_product", measures.viewed_product),
            int("purchased", measures.purchased),
        ],
        other => panic!("{other:?} counts no sessions"),
    }
}

/// The quotient, rounded half to even.
pub(super) fn divide(dividend: i128, divisor: i128) -> i128 {
    let (quotient, remainder) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    // With Euclid's division the remainder is in 0..|divisor| and rounding goes away from the quotient by one.
    let away = if divisor > 0 { 1 } else { -1 };
    match (2 * remainder).cmp(&divisor.abs()) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Equal if quotient % 2 == 0 => quotient,
        _ => quotient + away,
    }
}

fn metric_fields(metric: Metric, body: &RowBody, as_of: Option<Millis>) -> Fields {
    let mut fields = vec![text("type", "metric"), text("name", metric.name())];
    fields.extend(as_of.map(|as_of| time("timestamp", as_of)));
    match body {
        RowBody::Sales(measures, _) => fields.extend(sales_fields(measures)),
        RowBody::Ranking(products) => {
            let products = products.iter().zip(1..).map(|(product, rank)| {
                Value::Document(vec![
                    int("rank", rank),
                    text("product_id", &product.product_id),
                    money("revenue", product.revenue),
                    int("units", product.units),
                ])
            });
            fields.push(("products".into(), Value::List(products.collect())));
        }
        RowBody::LastHour(counts) => fields.extend([
            int("events", counts.events),
            int("users", counts.users),
            int("sessions", counts.sessions),
            int("converted", counts.converted),
        ]),
        RowBody::Unmatched(counts) => {
            fields.extend([int("purchases", counts.purchases), int("sales", counts.sales)]);
        }
        RowBody::Count(transactions) => fields.push(int("transactions", *transactions)),
        RowBody::Inventory(measures) => fields.extend([
            int("products", measures.products),
            int("rows", measures.rows),
            int("units", measures.units),
            int("out_of_stock", measures.out_of_stock),
            int("low_stock", measures.low_stock),
        ]),
        RowBody::Quality(measures) => {
            let outcomes =
                Outcome::ALL.iter().zip(measures.outcomes).map(|(outcome, count)| int(outcome.name(), count));
            let reasons = Reason::ALL.iter().zip(measures.reasons).map(|(reason, count)| int(reason.name(), count));
            fields.push(("outcomes".into(), Value::Document(outcomes.collect())));
            fields.push(("reasons".into(), Value::Document(reasons.collect())));
        }
        other => panic!("the metric {metric:?} has the body {other:?}"),
    }
    fields
}

fn stock_fields(level: &StockLevel, as_of: Option<Millis>) -> Fields {
    let mut fields = vec![text("type", "stock")];
    fields.extend(as_of.map(|as_of| time("timestamp", as_of)));
    fields.extend([
        text("product_id", &level.product_id),
        text("warehouse_id", &level.warehouse_id),
        text("category", &level.category),
        int("current_stock", level.current_stock),
        int("reorder_level", level.reorder_level),
    ]);
    fields.extend(level.status.as_ref().map(|status| text("status", status)));
    fields.push(time("last_updated", level.last_updated));
    fields
}

fn supply_fields(product: &str, supply: &SupplyMeasures, as_of: Option<Millis>) -> Fields {
    let mut fields = vec![text("type", "supply")];
    fields.extend(as_of.map(|as_of| time("timestamp", as_of)));
    fields.extend([text("product_id", product), int("stock", supply.stock), int("units_sold_7d", supply.units_sold)]);
    let days = days_of_supply(supply).map(|digits| Value::Decimal { digits, scale: 1 });
    fields.extend(days.map(|days| ("days_of_supply".into(), days)));
    fields
}

/// How long the stock does at the rate of the last week, in tenths of a day, half to even; nothing if nothing was sold.
pub(super) fn days_of_supply(supply: &SupplyMeasures) -> Option<i128> {
    (supply.units_sold > 0).then(|| divide(i128::from(supply.stock) * 70, i128::from(supply.units_sold)))
}

#[cfg(test)]
mod tests {
    use tillflow_dataflows::outputs::View;
    use tillflow_dataflows::time::{Granularity, HOUR, Window};

    use super::*;

    #[test]
    fn averages_round_half_to_even_on_both_sides_of_zero() {
        let cases = [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (10, 3, 3), (-10, 3, -3), (11, 3, 4), (5, -2, -2)];
        for (dividend, divisor, quotient) in cases {
            assert_eq!(divide(dividend, divisor), quotient, "{dividend} / {divisor}");
        }
    }

    #[test]
    fn a_rollup_is_named_by_its_window_and_escaped_key() {
        let window = Window::of(Granularity::Hour, 473_182 * HOUR + 5);
        let key = RowKey::Rollup(RollupKey { window, view: View::SalesByCategory, key: "a|b".into() });
        let (_, id) = document_id(&key, &ViewSet::default()).unwrap();
        assert_eq!(id, r"sales_by_category|hour|2023-12-24T22:00:00Z|a\|b");
        let key = RowKey::Rollup(RollupKey { window, view: View::SalesTotal, key: "".into() });
        assert_eq!(document_id(&key, &ViewSet::default()).unwrap().1, "sales_total|hour|2023-12-24T22:00:00Z");
    }
}
