//! Sums by window and key, given away as documents once nothing can change them any more.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use tillflow_dataflows::records::Millis;

use super::names::{Name, Names};
use super::numbers::{granularity, half_even, instant, start_of};
use crate::document::{Collection, Document, FieldName, Fields, Value, decimal_text, push_id_part};

/// Which windows are to be given away, and which of them are final.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// Windows that end at or before this instant are final.
    pub(super) settled: Millis,
    /// The others are given away as well: the records are at their end.
    pub(super) all: bool,
}

impl Closing {
    /// Whether a window that cannot change after `end` (and the correction window) is final.
    pub(super) fn is_final(self, end: Millis) -> bool {
        end <= self.settled
    }
}

/// What a key's rows sum up to in each window of one width.
#[derive(Debug)]
pub(super) struct Windows<Key, Sum> {
    pub(super) width: Millis,
    by_start: BTreeMap<Millis, HashMap<Key, Sum>>,
}

impl<Key: Eq + std::hash::Hash, Sum: Default> Windows<Key, Sum> {
    pub(super) fn of(width: Millis) -> Windows<Key, Sum> {
        Windows { width, by_start: BTreeMap::new() }
    }

    /// The sum of a key in the window that holds an instant.
    pub(super) fn at(&mut self, at: Millis, key: Key) -> &mut Sum {
        self.by_start.entry(start_of(at, self.width)).or_default().entry(key).or_default()
    }

    /// Takes out the first window that is to be given away: its start, whether it is final, and its sums.
    pub(super) fn close_first(&mut self, closing: Closing) -> Option<(Millis, bool, HashMap<Key, Sum>)> {
        let first = self.by_start.first_entry()?;
        let start = *first.key();
        let is_final = closing.is_final(start + self.width);
        (is_final || closing.all).then(|| (start, is_final, first.remove()))
    }

    /// Lets windows go that begin before an instant.
    pub(super) fn forget_before(&mut self, start: Millis) {
        while let Some(first) = self.by_start.first_entry()
            && *first.key() < start
        {
            first.remove();
        }
    }

    /// The windows that begin at or after an instant.
    pub(super) fn since(&self, start: Millis) -> impl Iterator<Item = (Millis, &HashMap<Key, Sum>)> {
        self.by_start.range(start..).map(|(start, sums)| (*start, sums))
    }
}

/// Sums over sales in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SaleSums {
    pub(super) rows: i64,
    pub(super) units: i128,
    pub(super) revenue: i128,
}

impl SaleSums {
    pub(super) fn add(&mut self, quantity: i32, total_amount: i64, sign: i64) {
        self.rows += sign;
        self.units += i128::from(quantity) * i128::from(sign);
        self.revenue += i128::from(total_amount) * i128::from(sign);
    }

    pub(super) fn merge(&mut self, other: &SaleSums) {
        self.rows += other.rows;
        self.units += other.units;
        self.revenue += other.revenue;
    }

    /// The measures of sales: counts, and an average where there is something to divide by.
    pub(super) fn fields(&self) -> Fields {
        let mut fields =
            vec![int("transactions", self.rows), count("units", self.units), money("revenue", self.revenue)];
        if self.rows > 0 {
            fields.push(money("average_order_value", half_even(self.revenue, i128::from(self.rows))));
        }
        fields
    }
}

pub(super) fn text(name: &'static str, value: &str) -> (FieldName, Value) {
    (name.into(), Value::Text(value.to_owned()))
}

pub(super) fn int(name: &'static str, value: i64) -> (FieldName, Value) {
    (name.into(), Value::Int(value))
}

/// A sum that is a whole number. Beyond 64 bits no store can hold it, nor is it equal to what a store holds.
pub(super) fn count(name: &'static str, value: i128) -> (FieldName, Value) {
    let value = i64::try_from(value).map_or_else(|_| Value::Decimal { digits: value, scale: 0 }, Value::Int);
    (name.into(), value)
}

pub(super) fn money(name: &'static str, ten_thousandths: i128) -> (FieldName, Value) {
    (name.into(), Value::money(ten_thousandths))
}

/// The document of a window, without its epoch and as_of.
pub(super) fn window_document(
    view: &str,
    of: (Millis, Millis),
    key: Option<(&'static str, Name)>,
    names: &Names,
    measures: Fields,
    is_final: bool,
) -> Document {
    let key = key.map(|(field, name)| text(field, names.text(name)));
    keyed_document(view, of, key.into_iter().collect(), measures, is_final)
}

/// The same with any fields in its key.
pub(super) fn keyed_document(
    view: &str,
    (start, width): (Millis, Millis),
    key: Fields,
    measures: Fields,
    is_final: bool,
) -> Document {
    let mut id = format!("{view}|{}|{}", granularity(width), instant(start));
    for (_, value) in &key {
        id.push('|');
        match value {
            Value::Text(text) => push_id_part(&mut id, text),
            Value::Decimal { digits, scale } => id.push_str(&decimal_text(*digits, *scale)),
            Value::Int(number) => id.push_str(&number.to_string()),
            other => unreachable!("no view has {other:?} in its key"),
        }
    }
    let mut fields = vec![
        text("type", view),
        text("granularity", granularity(width)),
        ("timestamp".into(), Value::Time(start)),
        ("window_end".into(), Value::Time(start + width)),
        ("key".into(), Value::Document(key)),
        ("final".into(), Value::Bool(is_final)),
    ];
    fields.extend(measures);
    Document { collection: Collection::AggregatedData, id, fields }
}
