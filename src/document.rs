//! Documents as the store keeps them: a collection, an `_id`, and named fields, free of any database's types.
//!
//! Both stores write exactly these documents and both readers give them back, so that whatever reads a store
//! (dashboard, API, verification) sees one shape.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tillflow_dataflows::records::Millis;

/// A collection of MongoDB, or the table of the same name in SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Collection {
    /// Every record as it came.
    RawData,
    /// Windowed views.
    AggregatedData,
    /// Metrics, stock, supply and alerts.
    RealTimeMetrics,
    /// Records that could not be used, with their bytes.
    DeadLetters,
    /// Progress and origin: what the numbers stand for.
    PipelineState,
}

impl Collection {
    /// Every collection.
    pub const ALL: [Collection; 5] = [
        Collection::RawData,
        Collection::AggregatedData,
        Collection::RealTimeMetrics,
        Collection::DeadLetters,
        Collection::PipelineState,
    ];

    /// The collection's name.
    pub const fn name(self) -> &'static str {
        match self {
            Collection::RawData => "raw_data",
            Collection::AggregatedData => "aggregated_data",
            Collection::RealTimeMetrics => "real_time_metrics",
            Collection::DeadLetters => "dead_letters",
            Collection::PipelineState => "pipeline_state",
        }
    }

    /// The single-field indexes the collection has beside `_id`.
    pub const fn indexes(self) -> &'static [&'static str] {
        match self {
            Collection::RawData => &["timestamp", "topic"],
            Collection::AggregatedData => &["timestamp", "type"],
            Collection::RealTimeMetrics => &["timestamp"],
            Collection::DeadLetters => &["reason", "kafka_timestamp"],
            Collection::PipelineState => &[],
        }
    }
}

/// A field's value. An absent field is absent, never a null.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Value {
    /// Text.
    Text(String),
    /// A count or other integer: Int64.
    Int(i64),
    /// A decimal number `digits / 10^scale`: Decimal128 in MongoDB, text with `scale` decimals in SQLite and
    /// the API. Money has scale 4.
    Decimal {
        /// The unscaled number.
        digits: i128,
        /// How many of its digits are decimals.
        scale: u8,
    },
    /// An instant: Date in MongoDB, integer milliseconds in SQLite, RFC 3339 in the API.
    Time(Millis),
    /// A truth value; 0/1 in SQLite.
    Bool(bool),
    /// Bytes: Binary, BLOB, base64 in the API.
    Bytes(Vec<u8>),
    /// A sub-document; JSON text in SQLite.
    Document(Fields),
    /// A list; JSON text in SQLite.
    List(Vec<Value>),
    /// A JSON document as it was sent (raw_data's `value` alone): its text.
    Json(String),
}

impl Value {
    /// An amount in 1/10,000 (the unit of [`tillflow_dataflows::records::Money`]).
    pub const fn money(ten_thousandths: i128) -> Value {
        Value::Decimal { digits: ten_thousandths, scale: 4 }
    }
}

/// The name of a field: one of this program's, which is not copied for each document, or one that a store or a user gave.
pub type FieldName = Cow<'static, str>;

/// Named values in the order in which they are written.
pub type Fields = Vec<(FieldName, Value)>;

/// One document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Where it lives.
    pub collection: Collection,
    /// Its `_id`.
    pub id: String,
    /// Everything else, `_id` not among it.
    pub fields: Fields,
}

impl Document {
    /// The value of a field, if it is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// Bytes of its texts and byte strings, as far as they are fields of its own: of a raw document, nearly all it has.
    pub fn text_bytes(&self) -> usize {
        let bytes = |value: &Value| match value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.fields.iter().map(|(_, value)| bytes(value)).sum()
    }
}

/// Appends `part` to an `_id`, with `\` and `|` written `\\` and `\|`.
pub fn push_id_part(id: &mut String, part: &str) {
    for character in part.chars() {
        if matches!(character, '\\' | '|') {
            id.push('\\');
        }
        id.push(character);
    }
}

/// The decimal text of `digits / 10^scale`, with exactly `scale` decimals.
pub fn decimal_text(digits: i128, scale: u8) -> String {
    let unit = 10u128.pow(u32::from(scale));
    let magnitude = digits.unsigned_abs();
    let sign = if digits < 0 { "-" } else { "" };
    let mut text = format!("{sign}{}", magnitude / unit);
    if scale > 0 {
        let _ = write!(text, ".{:0width$}", magnitude % unit, width = usize::from(scale));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_sign_below_one() {
        assert_eq!(decimal_text(-5, 4), "-0.0005");
        assert_eq!(decimal_text(123_456, 4), "12.3456");
        assert_eq!(decimal_text(-120_000, 4), "-12.0000");
        assert_eq!(decimal_text(7, 0), "7");
    }

    #[test]
    fn separators_inside_an_id_part_are_escaped() {
        let mut id = String::from("sales_by_category|hour|");
        push_id_part(&mut id, r"a|b\c");
        assert_eq!(id, r"sales_by_category|hour|a\|b\\c");
    }
}
