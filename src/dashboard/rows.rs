//! Reading the fields of a store's documents without trusting that they are there.

use tillflow_dataflows::records::Millis;

use super::format::Unit;
use crate::document::{Document, Fields, Value, decimal_text};

/// A number as an integer in the given unit's scale.
pub fn number(value: &Value, unit: Unit) -> Option<i128> {
    match value {
        Value::Int(number) => i128::from(*number).checked_mul(10i128.pow(u32::from(unit.scale()))),
        Value::Decimal { digits, scale } if *scale <= unit.scale() => {
            digits.checked_mul(10i128.pow(u32::from(unit.scale() - scale)))
        }
        Value::Decimal { digits, scale } => Some(digits / 10i128.checked_pow(u32::from(scale - unit.scale()))?),
        _ => None,
    }
}

/// The fields that can be asked for by name.
pub trait Record {
    /// The value of a field.
    fn field(&self, name: &str) -> Option<&Value>;

    /// A number in the given unit.
    fn measure(&self, name: &str, unit: Unit) -> Option<i128> {
        self.field(name).and_then(|value| number(value, unit))
    }

    /// A count.
    fn count(&self, name: &str) -> Option<i64> {
        match self.field(name) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// An amount in 1/10,000.
    fn money(&self, name: &str) -> Option<i128> {
        self.measure(name, Unit::Money)
    }

    /// Text.
    fn text(&self, name: &str) -> Option<&str> {
        match self.field(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// An instant.
    fn time(&self, name: &str) -> Option<Millis> {
        match self.field(name) {
            Some(Value::Time(instant)) => Some(*instant),
            _ => None,
        }
    }

    /// A sub-document.
    fn document(&self, name: &str) -> Option<&Fields> {
        match self.field(name) {
            Some(Value::Document(fields)) => Some(fields),
            _ => None,
        }
    }
}

impl Record for Document {
    fn field(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

impl Record for Fields {
    fn field(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

/// The values of a view row's `key`, joined; empty for a view without one.
pub fn key_text(document: &Document) -> String {
    let Some(key) = document.document("key") else { return String::new() };
    let values: Vec<String> = key
        .iter()
        .filter_map(|(_, value)| match value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            Value::Decimal { digits, scale } => Some(decimal_text(*digits, *scale)),
            _ => None,
        })
        .collect();
    values.join(" / ")
}
