//! Values as SQLite keeps them, both ways.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::schema::{Kind, nested_decimal};
use crate::document::{Collection, FieldName, Fields, Value, decimal_text};

/// What is bound for a value.
pub(super) fn to_sql(value: &Value) -> ToSqlOutput<'_> {
    match value {
        Value::Text(text) | Value::Json(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Value::Int(number) | Value::Time(number) => ToSqlOutput::Owned(Owned::Integer(*number)),
        Value::Decimal { digits, scale } => ToSqlOutput::Owned(Owned::Text(decimal_text(*digits, *scale))),
        Value::Bool(truth) => ToSqlOutput::Owned(Owned::Integer(i64::from(*truth))),
        Value::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        Value::Document(_) | Value::List(_) => {
            let mut text = String::new();
            push_json(&mut text, value);
            ToSqlOutput::Owned(Owned::Text(text))
        }
    }
}

/// Appends a nested value as JSON: decimals as strings, instants as milliseconds, bytes as base64.
fn push_json(out: &mut String, value: &Value) {
    match value {
        Value::Text(text) => push_json_string(out, text),
        Value::Int(number) | Value::Time(number) => out.push_str(&number.to_string()),
        Value::Decimal { digits, scale } => push_json_string(out, &decimal_text(*digits, *scale)),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Bytes(bytes) => push_json_string(out, &BASE64.encode(bytes)),
        Value::Document(fields) => {
            out.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_json_string(out, name);
                out.push(':');
                push_json(out, value);
            }
            out.push('}');
        }
        Value::List(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_json(out, value);
            }
            out.push(']');
        }
        Value::Json(text) => out.push_str(text),
    }
}

fn push_json_string(out: &mut String, text: &str) {
    // `Value`'s `Display` writes compact, escaped JSON and borrows nothing but the text it is given.
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// The value of a cell; absent for NULL. The error says what is wrong with it.
pub(super) fn from_sql(
    collection: Collection,
    column: &str,
    kind: Kind,
    cell: ValueRef<'_>,
) -> Result<Option<Value>, Cow<'static, str>> {
    Ok(Some(match cell {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(number) => match kind {
            Kind::Time => Value::Time(number),
            Kind::Bool => Value::Bool(number != 0),
            _ => Value::Int(number),
        },
        ValueRef::Real(number) => return Err(format!("the binary fraction {number}").into()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|_| Cow::from("text that is not UTF-8"))?;
            text_value(collection, column, kind, text)?
        }
    }))
}

fn text_value(collection: Collection, column: &str, kind: Kind, text: &str) -> Result<Value, Cow<'static, str>> {
    let looks_nested = text.starts_with(['{', '[']);
    Ok(match kind {
        Kind::Json => Value::Json(text.to_owned()),
        Kind::Nested => parse_nested(collection, column, text).map_err(|error| format!("no JSON: {error}"))?,
        Kind::Unknown if looks_nested => {
            parse_nested(collection, column, text).unwrap_or_else(|_| Value::Text(text.to_owned()))
        }
        Kind::Decimal | Kind::Measure | Kind::Unknown => {
            parse_decimal(text).unwrap_or_else(|| Value::Text(text.to_owned()))
        }
        Kind::Plain | Kind::Time | Kind::Bool => Value::Text(text.to_owned()),
    })
}

/// A number with decimals, exactly as [`decimal_text`] writes it; its scale is how many there are.
fn parse_decimal(text: &str) -> Option<Value> {
    let (whole, decimals) = text.split_once('.')?;
    let magnitude = whole.strip_prefix('-').unwrap_or(whole);
    let only_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !only_digits(magnitude) || !only_digits(decimals) || decimals.len() > 34 {
        return None;
    }
    let digits: i128 = format!("{whole}{decimals}").parse().ok()?;
    Some(Value::Decimal { digits, scale: decimals.len() as u8 })
}

fn parse_nested(collection: Collection, column: &str, text: &str) -> serde_json::Result<Value> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Nested { collection, column, decimal: false }.visit(&mut json)?;
    json.end()?;
    value.ok_or_else(|| serde_json::Error::custom("null"))
}

/// Reads JSON into a [`Value`], fields in their order; absent for null.
#[derive(Clone, Copy)]
struct Nested<'a> {
    collection: Collection,
    column: &'a str,
    decimal: bool,
}

impl Nested<'_> {
    fn visit<'de, D: Deserializer<'de>>(self, json: D) -> Result<Option<Value>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Nested<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<Value>, D::Error> {
        self.visit(json)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that tillflow writes")
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Option<Value>, E> {
        Ok(Some(Value::Bool(truth)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Option<Value>, E> {
        Ok(Some(Value::Int(number)))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Option<Value>, E> {
        i64::try_from(number).map(|number| Some(Value::Int(number))).map_err(|_| E::custom("an integer beyond 64 bits"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<Value>, E> {
        let decimal = if self.decimal { parse_decimal(text) } else { None };
        Ok(Some(decimal.unwrap_or_else(|| Value::Text(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Value>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item.ok_or_else(|| A::Error::custom("null in a list"))?);
        }
        Ok(Some(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<Value>, A::Error> {
        let mut fields = Fields::new();
        while let Some(name) = entries.next_key::<String>()? {
            let decimal = nested_decimal(self.collection, self.column, &name);
            if let Some(value) = entries.next_value_seed(Nested { decimal, ..self })? {
                fields.push((FieldName::Owned(name), value));
            }
        }
        Ok(Some(Value::Document(fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(column: &str, kind: Kind, value: Value) {
        let bound = to_sql(&value);
        let cell = match &bound {
            ToSqlOutput::Owned(owned) => ValueRef::from(owned),
            ToSqlOutput::Borrowed(borrowed) => *borrowed,
            _ => panic!("an output that is never made"),
        };
        let back = from_sql(Collection::RealTimeMetrics, column, kind, cell);
        assert_eq!(back, Ok(Some(value.clone())), "{column}");
    }

    #[test]
    fn every_kind_comes_back() {
        round_trip("name", Kind::Plain, Value::Text("12.5000".into()));
        round_trip("units", Kind::Plain, Value::Int(i64::MIN));
        round_trip("as_of", Kind::Time, Value::Time(-1));
        round_trip("final", Kind::Bool, Value::Bool(true));
        for digits in [0, 1, -1, 123_456, -9_999, i128::from(i64::MAX) * 1_000_000] {
            round_trip("revenue", Kind::Decimal, Value::money(digits));
            round_trip("total_discount", Kind::Unknown, Value::money(digits));
        }
        round_trip("days_of_supply", Kind::Decimal, Value::Decimal { digits: -5, scale: 1 });
        round_trip("value", Kind::Plain, Value::Bytes(vec![0, 255, b'"']));
        round_trip("value", Kind::Json, Value::Json(" {\"a\": 1.50}".into()));
        round_trip("products", Kind::Nested, Value::Int(7));
        round_trip("note", Kind::Unknown, Value::Text("{not json".into()));
    }

    #[test]
    fn nested_money_is_a_decimal_and_a_key_is_text() {
        let product = Value::Document(vec![
            ("rank".into(), Value::Int(1)),
            ("product_id".into(), Value::Text("p\"\\\u{0}\u{1f600}".into())),
            ("revenue".into(), Value::money(-1_234_500)),
            ("in_stock".into(), Value::Bool(false)),
        ]);
        round_trip("products", Kind::Nested, Value::List(vec![product, Value::Document(vec![])]));
        round_trip("outcomes", Kind::Nested, Value::Document(vec![("accepted".into(), Value::Int(3))]));
        round_trip("key", Kind::Nested, Value::Document(vec![("revenue".into(), Value::Text("1.5".into()))]));
    }

    #[test]
    fn what_was_never_written_is_an_error_and_not_a_guess() {
        let cell = |kind, cell| from_sql(Collection::AggregatedData, "key", kind, cell);
        assert!(cell(Kind::Nested, ValueRef::Text(b"{\"a\":")).is_err());
        assert!(cell(Kind::Nested, ValueRef::Text(b"{\"a\":1.5}")).is_err());
        assert!(cell(Kind::Plain, ValueRef::Real(1.5)).is_err());
        assert!(cell(Kind::Plain, ValueRef::Text(&[0xff])).is_err());
        assert_eq!(cell(Kind::Decimal, ValueRef::Null), Ok(None));
    }

    #[test]
    fn only_what_is_written_as_a_decimal_is_one() {
        for text in ["1", "1.", ".5", "-.5", "+1.5", "1e5.0", "1.5 ", "--1.5", "NaN", ""] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
        assert_eq!(parse_decimal("-0.0005"), Some(Value::money(-5)));
    }
}
