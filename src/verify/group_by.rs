//! The views of a `--view-file`, as the store keeps its text.

use std::collections::BTreeMap;

use tillflow_dataflows::fields::{Datum, Field, FieldKind};
use tillflow_dataflows::group_by::{Aggregate, GroupBy, Test};
use tillflow_dataflows::records::{Activity, Millis, StockLevel, Text, Topic};
use tillflow_dataflows::time::Granularity;

use super::admission::SaleRow;
use super::names::Names;
use super::numbers::{DAY, HOUR, MINUTE};
use super::windows::{Closing, Windows, keyed_document};
use crate::document::{Document, Fields, Value};

/// What the records of a group come to.
#[derive(Debug, Default)]
struct Group {
    rows: i64,
    /// By measure: the sum of its numbers, and how often which value is there.
    measures: Vec<(i128, BTreeMap<Datum, i64>)>,
}

struct View {
    definition: GroupBy,
    windows: Vec<Windows<Vec<Datum>, Group>>,
}

impl View {
    fn record(&mut self, at: Millis, sign: i64, value: &dyn Fn(Field) -> Option<Datum>) {
        let GroupBy { filter, group_by, measures, .. } = &self.definition;
        if !filter.iter().all(|condition| holds(&condition.test, value(condition.field).as_ref())) {
            return;
        }
        let Some(key) = group_by.iter().map(|field| value(*field)).collect::<Option<Vec<Datum>>>() else { return };
        for windows in &mut self.windows {
            let group = windows.at(at, key.clone());
            group.rows += sign;
            group.measures.resize_with(measures.len(), Default::default);
            for (measure, (sum, values)) in measures.iter().zip(&mut group.measures) {
                let (field, kept) = match measure.of {
                    Aggregate::Count => continue,
                    Aggregate::Sum(field) => (field, false),
                    Aggregate::Min(field) | Aggregate::Max(field) | Aggregate::Distinct(field) => (field, true),
                };
                let Some(value) = value(field) else { continue };
                if !kept {
                    *sum += i128::from(number(&value)) * i128::from(sign);
                    continue;
                }
                let count = values.entry(value.clone()).or_default();
                *count += sign;
                if *count == 0 {
                    values.remove(&value);
                }
            }
        }
    }

    fn close(&mut self, closing: Closing, ever_final: bool, give: &mut dyn FnMut(Document)) {
        for windows in &mut self.windows {
            while let Some((start, is_final, groups)) = windows.close_first(closing) {
                for (key, group) in groups.into_iter().filter(|(_, group)| group.rows != 0) {
                    let fields = self.definition.group_by.iter().zip(key);
                    let key = fields.map(|(field, value)| (field.name().into(), shown(*field, value))).collect();
                    let of = (start, windows.width);
                    let measures = measured(&self.definition, group);
                    give(keyed_document(&self.definition.name, of, key, measures, is_final && ever_final));
                }
            }
        }
    }
}

fn number(value: &Datum) -> i64 {
    match value {
        Datum::Number(number) => *number,
        // The file is refused when it measures text.
        Datum::Text(_) => 0,
    }
}

fn holds(test: &Test, value: Option<&Datum>) -> bool {
    let Some(value) = value else { return matches!(test, Test::Present(false)) };
    match test {
        Test::Present(present) => *present,
        Test::In(known) => known.iter().any(|known| known == value),
        Test::NotIn(known) => !known.iter().any(|known| known == value),
        Test::AtLeast(bound) => number(value) >= *bound,
        Test::Above(bound) => number(value) > *bound,
        Test::AtMost(bound) => number(value) <= *bound,
        Test::Below(bound) => number(value) < *bound,
    }
}

/// A value as documents have it.
fn shown(field: Field, value: Datum) -> Value {
    match value {
        Datum::Text(text) => Value::Text(text.into()),
        Datum::Number(number) => numbered(field.kind(), i128::from(number)),
    }
}

fn numbered(kind: FieldKind, number: i128) -> Value {
    match (kind, i64::try_from(number)) {
        (FieldKind::Money, _) => Value::money(number),
        (FieldKind::Time, Ok(at)) => Value::Time(at),
        (_, Ok(number)) => Value::Int(number),
        (_, Err(_)) => Value::Decimal { digits: number, scale: 0 },
    }
}

fn measured(definition: &GroupBy, group: Group) -> Fields {
    let mut fields = Fields::new();
    for (measure, (sum, values)) in definition.measures.iter().zip(group.measures) {
        let extreme = |value: Option<(&Datum, &i64)>| value.map(|(value, _)| i128::from(number(value)));
        let (kind, number) = match measure.of {
            Aggregate::Count => (FieldKind::Integer, Some(i128::from(group.rows))),
            Aggregate::Distinct(_) => (FieldKind::Integer, i128::try_from(values.len()).ok()),
            Aggregate::Sum(field) => (field.kind(), Some(sum)),
            Aggregate::Min(field) => (field.kind(), extreme(values.first_key_value())),
            Aggregate::Max(field) => (field.kind(), extreme(values.last_key_value())),
        };
        fields.extend(number.map(|number| (measure.name.clone().into(), numbered(kind, number))));
    }
    fields
}

/// All of them.
pub(super) struct GroupByViews {
    views: Vec<View>,
}

impl GroupByViews {
    pub(super) fn new(definitions: &[GroupBy]) -> GroupByViews {
        let width = |granularity: &Granularity| match granularity {
            Granularity::Minute => MINUTE,
            Granularity::Hour => HOUR,
            Granularity::Day => DAY,
        };
        let view = |definition: &GroupBy| View {
            windows: definition.granularities.iter().map(|granularity| Windows::of(width(granularity))).collect(),
            definition: definition.clone(),
        };
        GroupByViews { views: definitions.iter().map(view).collect() }
    }

    fn of(&mut self, topic: Topic) -> impl Iterator<Item = &mut View> {
        self.views.iter_mut().filter(move |view| view.definition.topic == topic)
    }

    pub(super) fn sale(&mut self, row: &SaleRow, transaction_id: &Text, names: &Names, sign: i64) {
        let value = |field| {
            let text = |name| Some(Datum::Text(names.text(name).into()));
            match field {
                Field::TransactionId => Some(Datum::Text(transaction_id.clone())),
                Field::UserId => text(row.user),
                Field::ProductId => text(row.product),
                Field::StoreId => text(row.store),
                Field::Category => text(row.category),
                Field::PaymentMethod => text(row.payment_method),
                Field::Quantity => Some(Datum::Number(i64::from(row.quantity))),
                Field::UnitPrice => Some(Datum::Number(row.unit_price)),
                Field::TotalAmount => Some(Datum::Number(row.total_amount)),
                Field::Timestamp => Some(Datum::Number(row.at)),
                _ => None,
            }
        };
        self.of(Topic::Sales).for_each(|view| view.record(row.at, sign, &value));
    }

    pub(super) fn activity(&mut self, activity: &Activity) {
        let value = |field| match field {
            Field::UserId => Some(Datum::Text(activity.user_id.clone())),
            Field::ActivityType => Some(Datum::Text(activity.activity_type.clone())),
            Field::SessionId => Some(Datum::Text(activity.session_id.clone())),
            Field::ProductId => activity.product_id.clone().map(Datum::Text),
            Field::Amount => activity.amount.map(|amount| Datum::Number(amount.0)),
            Field::Timestamp => Some(Datum::Number(activity.timestamp)),
            _ => None,
        };
        self.of(Topic::UserActivity).for_each(|view| view.record(activity.timestamp, 1, &value));
    }

    /// Gives away the windows of a topic that nothing can change any more.
    pub(super) fn close(&mut self, topic: Topic, closing: Closing, give: &mut dyn FnMut(Document)) {
        self.of(topic).for_each(|view| view.close(closing, true, give));
    }

    /// Gives the windows of the current stock levels, which are never final.
    pub(super) fn close_stock(&mut self, levels: &[&StockLevel], give: &mut dyn FnMut(Document)) {
        for view in self.of(Topic::Inventory) {
            for level in levels {
                let value = |field| match field {
                    Field::ProductId => Some(Datum::Text(level.product_id.clone())),
                    Field::WarehouseId => Some(Datum::Text(level.warehouse_id.clone())),
                    Field::Category => Some(Datum::Text(level.category.clone())),
                    Field::Status => level.status.clone().map(Datum::Text),
                    Field::CurrentStock => Some(Datum::Number(level.current_stock)),
                    Field::ReorderLevel => Some(Datum::Number(level.reorder_level)),
                    Field::LastUpdated => Some(Datum::Number(level.last_updated)),
                    _ => None,
                };
                view.record(level.last_updated, 1, &value);
            }
            view.close(Closing { settled: Millis::MIN, all: true }, false, give);
        }
    }
}
