//! A document's content as a number that no other content has, for all practical purposes.

use std::hash::{BuildHasher, RandomState};

use crate::document::{FieldName, Value};

/// Two hashes of 64 bits under keys of this run alone: nobody can prepare documents that agree in both.
#[derive(Default)]
pub(super) struct Digests {
    first: RandomState,
    second: RandomState,
    bytes: Vec<u8>,
}

impl Digests {
    /// The digest of some fields, whatever their order.
    pub(super) fn of<'a>(&mut self, fields: impl Iterator<Item = &'a (FieldName, Value)>) -> u128 {
        self.bytes.clear();
        push_fields(&mut self.bytes, fields);
        let hash = |state: &RandomState| u128::from(state.hash_one(&self.bytes));
        hash(&self.first) << 64 | hash(&self.second)
    }
}

/// Every value begins with its kind, and whatever has a length with that length: no two contents have one form.
fn push(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => push_bytes(bytes, b't', text.as_bytes()),
        Value::Int(number) => push_bytes(bytes, b'i', &number.to_le_bytes()),
        Value::Decimal { digits, scale } => {
            push_bytes(bytes, b'd', &digits.to_le_bytes());
            bytes.push(*scale);
        }
        Value::Time(millis) => push_bytes(bytes, b'm', &millis.to_le_bytes()),
        Value::Bool(truth) => push_bytes(bytes, b'b', &[u8::from(*truth)]),
        Value::Bytes(raw) => push_bytes(bytes, b'r', raw),
        Value::Json(text) => push_bytes(bytes, b'j', text.as_bytes()),
        Value::Document(fields) => {
            bytes.push(b'{');
            push_fields(bytes, fields.iter());
        }
        Value::List(values) => {
            push_bytes(bytes, b'[', &values.len().to_le_bytes());
            values.iter().for_each(|value| push(bytes, value));
        }
    }
}

fn push_fields<'a>(bytes: &mut Vec<u8>, fields: impl Iterator<Item = &'a (FieldName, Value)>) {
    let mut fields: Vec<&(FieldName, Value)> = fields.collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    bytes.extend_from_slice(&fields.len().to_le_bytes());
    for (name, value) in fields {
        push_bytes(bytes, b'n', name.as_bytes());
        push(bytes, value);
    }
}

fn push_bytes(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    bytes.push(kind);
    bytes.extend_from_slice(&content.len().to_le_bytes());
    bytes.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Fields;

    fn field(name: &'static str, value: Value) -> (FieldName, Value) {
        (name.into(), value)
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let mut digests = Digests::default();
        let mut of = |fields: &Fields| digests.of(fields.iter());
        let base = vec![field("a", Value::Int(1)), field("b", Value::Text("2".into()))];
        let turned: Fields = base.iter().rev().cloned().collect();
        assert_eq!(of(&base), of(&turned));
        let others: [Fields; 7] = [
            vec![field("a", Value::Int(1))],
            vec![field("a", Value::Int(1)), field("b", Value::Int(2))],
            vec![field("a", Value::Time(1)), field("b", Value::Text("2".into()))],
            vec![field("a", Value::Int(1)), field("b", Value::Json("2".into()))],
            vec![field("a", Value::Int(1)), field("b", Value::List(vec![Value::Text("2".into())]))],
            vec![field("ab", Value::Int(1)), field("b", Value::Text("2".into()))],
            vec![field("a", Value::Document(base.clone()))],
        ];
        for other in &others {
            assert_ne!(of(&base), of(other), "{other:?}");
        }
        let money = |digits, scale| vec![field("m", Value::Decimal { digits, scale })];
        assert_ne!(of(&money(100, 2)), of(&money(10, 1)));
    }
}
