//! Documents as the API's JSON: fields in their order, decimals as text with their decimals, times as RFC 3339
//! with milliseconds, bytes as base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::format::rfc3339;
use crate::document::{Document, Fields, Value, decimal_text};

/// A value as JSON.
pub struct Json<'a>(pub &'a Value);

/// Fields as a JSON object.
pub struct JsonFields<'a>(pub &'a Fields);

/// A document as a JSON object, its `_id` first.
pub struct JsonDocument<'a>(pub &'a Document);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Decimal { digits, scale } => serializer.serialize_str(&decimal_text(*digits, *scale)),
            Value::Time(instant) => serializer.serialize_str(&rfc3339(*instant)),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Bytes(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            Value::Document(fields) => JsonFields(fields).serialize(serializer),
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&Json(value))?;
                }
                list.end()
            }
            Value::Json(text) => match serde_json::from_str::<&serde_json::value::RawValue>(text) {
                Ok(raw) => raw.serialize(serializer),
                Err(_) => serializer.serialize_str(text),
            },
        }
    }
}

impl Serialize for JsonFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, &Json(value))?;
        }
        map.end()
    }
}

impl Serialize for JsonDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.fields.len() + 1))?;
        map.serialize_entry("_id", &self.0.id)?;
        for (name, value) in &self.0.fields {
            map.serialize_entry(name, &Json(value))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Collection;

    #[test]
    fn each_kind_of_value_has_its_form() {
        let document = Document {
            collection: Collection::RawData,
            id: "sales|0|1".into(),
            fields: vec![
                ("revenue".into(), Value::money(-5)),
                ("n".into(), Value::Int(3)),
                ("timestamp".into(), Value::Time(1_705_314_600_123)),
                ("final".into(), Value::Bool(true)),
                ("bytes".into(), Value::Bytes(vec![0, 255])),
                ("key".into(), Value::Document(vec![("category".into(), Value::Text("a\"b".into()))])),
                ("list".into(), Value::List(vec![Value::Decimal { digits: 15, scale: 1 }])),
                ("value".into(), Value::Json("{\"x\": 1.50}".into())),
            ],
        };
        let text = serde_json::to_string(&JsonDocument(&document)).expect("documents are serializable");
        assert_eq!(
            text,
            "{\"_id\":\"sales|0|1\",\"revenue\":\"-0.0005\",\"n\":3,\"timestamp\":\"2024-01-15T10:30:00.123Z\",\
             \"final\":true,\"bytes\":\"AP8=\",\"key\":{\"category\":\"a\\\"b\"},\"list\":[\"1.5\"],\
             \"value\":{\"x\": 1.50}}"
        );
    }
}
