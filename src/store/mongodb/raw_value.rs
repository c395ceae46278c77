//! raw_data's `value`: the JSON document as it was sent, as BSON that says the same, and back.
//!
//! Integers of 64 bits become Int64, every other number that Decimal128 holds exactly becomes one (`12.50` stays
//! `12.50`), so nothing goes through binary floats. A document with anything that BSON cannot hold is kept as its
//! text: other numbers, a name given twice, names with a NUL or beginning with `$` (which a server may refuse),
//! nesting beyond [`NESTING_MAX`], more bytes than a document may have.
//!
//! A string in BSON can thus be a text that was kept or a JSON string as it was parsed. They are told apart without
//! a mark: it is a kept text exactly if it is JSON that BSON cannot hold. A JSON string whose content would be taken
//! for one is therefore kept as its own text, quotes included.

use std::collections::HashSet;
use std::fmt::{self, Write as _};

use ::mongodb::bson::Decimal128;
use ::mongodb::bson::raw::{CStr, RawArrayBuf, RawBson, RawBsonRef, RawDocumentBuf};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::bson::FIELD_MAX;
use crate::document::Value;

/// Levels of nesting that are kept as BSON; servers take 100, of which the record's document is one.
const NESTING_MAX: usize = 90;

/// The value of a record that is JSON.
pub(super) fn to_bson(json: &str) -> RawBson {
    parsed(json).unwrap_or_else(|| {
        let mut end = json.len().min(FIELD_MAX);
        while !json.is_char_boundary(end) {
            end -= 1;
        }
        RawBson::String(json[..end].to_owned())
    })
}

/// The text that comes back for a value that was `json`.
pub(super) fn kept(json: &str) -> String {
    match from_bson(to_bson(json).as_raw_bson_ref()) {
        Ok(Value::Json(text)) => text,
        // Only text and documents are written for JSON.
        _ => json.to_owned(),
    }
}

/// What BSON can hold of it, all or nothing.
fn parsed(json: &str) -> Option<RawBson> {
    let raw: &RawValue = serde_json::from_str(json).ok()?;
    let bson = convert(raw.get(), 1)?;
    match &bson {
        RawBson::String(text) if is_kept_text(text) => None,
        RawBson::String(text) if text.len() > FIELD_MAX => None,
        RawBson::Document(document) if document.as_bytes().len() > FIELD_MAX => None,
        RawBson::Array(array) if array.as_bytes().len() > FIELD_MAX => None,
        _ => Some(bson),
    }
}

fn is_kept_text(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok() && parsed(text).is_none()
}

fn convert(json: &str, level: usize) -> Option<RawBson> {
    if level > NESTING_MAX {
        return None;
    }
    Some(match json.as_bytes().first()? {
        b'{' => {
            let Entries(entries) = serde_json::from_str(json).ok()?;
            let mut names = HashSet::with_capacity(entries.len());
            let mut document = RawDocumentBuf::new();
            for (name, value) in &entries {
                if name.starts_with('$') || !names.insert(name.as_str()) {
                    return None;
                }
                let name: &CStr = name.as_str().try_into().ok()?;
                document.append(name, convert(value.get(), level + 1)?);
            }
            RawBson::Document(document)
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            let mut array = RawArrayBuf::new();
            for item in items {
                array.push(convert(item.get(), level + 1)?);
            }
            RawBson::Array(array)
        }
        b'"' => RawBson::String(serde_json::from_str(json).ok()?),
        b't' => RawBson::Boolean(true),
        b'f' => RawBson::Boolean(false),
        b'n' => RawBson::Null,
        _ => match json.parse::<i64>() {
            // -0 is an integer for some and a fraction for others; a decimal keeps its sign.
            Ok(number) if json != "-0" => RawBson::Int64(number),
            _ => RawBson::Decimal128(json.parse::<Decimal128>().ok().filter(|decimal| same_number(json, *decimal))?),
        },
    })
}

/// Whether a decimal says what the JSON number said, to the last zero. The driver moves the exponent of what it can
/// only just hold, which would change the number's digits.
fn same_number(json: &str, decimal: Decimal128) -> bool {
    let digits = |text: &str| -> String {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_start_matches('0').to_owned()
    };
    let text = decimal.to_string();
    let is_whole = |number: &str| !number.contains(['.', 'e', 'E']);
    // `7e0` is a whole number only here; the way back knows it by an Int64 being none (see `push_json`).
    let is_told_apart = is_whole(json) == is_whole(&text) || (text != "-0" && text.parse::<i64>().is_ok());
    digits(json) == digits(&text) && is_told_apart
}

/// A JSON object's entries in their order, names unescaped, values as they were sent.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Entries<'de>, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        json.deserialize_map(EntriesVisitor)
    }
}

/// The record's value as JSON, or its bytes. The error says what it is instead.
pub(super) fn from_bson(bson: RawBsonRef<'_>) -> Result<Value, String> {
    Ok(match bson {
        RawBsonRef::Binary(binary) => Value::Bytes(binary.bytes.to_vec()),
        RawBsonRef::String(text) if is_kept_text(text) => Value::Json(text.to_owned()),
        other => {
            let mut json = String::new();
            push_json(&mut json, other)?;
            Value::Json(json)
        }
    })
}

fn push_json(out: &mut String, bson: RawBsonRef<'_>) -> Result<(), String> {
    let foreign = |what: String| format!("of the type {what}");
    let written = match bson {
        RawBsonRef::Null => write!(out, "null"),
        RawBsonRef::Boolean(truth) => write!(out, "{truth}"),
        RawBsonRef::Int64(number) => write!(out, "{number}"),
        RawBsonRef::Int32(number) => write!(out, "{number}"),
        RawBsonRef::Decimal128(decimal) => {
            let text = decimal.to_string();
            if !text.ends_with(|last: char| last.is_ascii_digit()) {
                return Err(foreign(text));
            }
            // An integer that was written as one is an Int64: this one had an exponent, and is no integer without it.
            let exponent = if text != "-0" && text.parse::<i64>().is_ok() { "E+0" } else { "" };
            write!(out, "{text}{exponent}")
        }
        RawBsonRef::String(text) => write!(out, "{}", serde_json::Value::from(text)),
        RawBsonRef::Document(document) => {
            out.push('{');
            for (index, element) in document.iter().enumerate() {
                let (name, value) = element.map_err(|error| error.to_string())?;
                let comma = if index > 0 { "," } else { "" };
                let _ = write!(out, "{comma}{}:", serde_json::Value::from(name.as_str()));
                push_json(out, value)?;
            }
            write!(out, "}}")
        }
        RawBsonRef::Array(array) => {
            out.push('[');
            for (index, value) in array.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_json(out, value.map_err(|error| error.to_string())?)?;
            }
            write!(out, "]")
        }
        other => return Err(foreign(format!("{:?}", other.element_type()))),
    };
    written.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(json: &str) -> (RawBson, String) {
        let bson = to_bson(json);
        match from_bson(bson.as_raw_bson_ref()) {
            Ok(Value::Json(text)) => (bson, text),
            other => panic!("{json} came back as {other:?}"),
        }
    }

    #[test]
    fn documents_keep_order_numbers_and_texts() {
        let json = r#"{"z":1,"a":[12.50,-0,0.0001,1234567890123456789012345678901234,true,null,"é\"\\\n"],"":{}}"#;
        let (bson, text) = back(json);
        assert!(matches!(bson, RawBson::Document(_)));
        assert_eq!(text, json);
        let (bson, text) = back(" { \"a\" : 1E2 , \"\\u0062\": \"\\ud83d\\ude00\" } ");
        assert!(matches!(bson, RawBson::Document(_)));
        assert_eq!(text, "{\"a\":1E+2,\"b\":\"\u{1f600}\"}");
    }

    #[test]
    fn a_whole_number_with_an_exponent_does_not_become_one_without() {
        for (json, kept) in [("[7e0]", "[7E+0]"), ("[1.0e1]", "[10E+0]"), ("[7]", "[7]"), ("[-0]", "[-0]")] {
            let (bson, text) = back(json);
            assert!(matches!(bson, RawBson::Array(_)), "{json}");
            assert_eq!(text, kept);
            assert_eq!(super::kept(&text), kept);
        }
        for json in ["[-0e0]", "[12345678901234567890e0]"] {
            let (bson, text) = back(json);
            assert!(matches!(bson, RawBson::String(_)), "{json}");
            assert_eq!(text, json);
        }
    }

    #[test]
    fn what_bson_cannot_hold_is_its_text() {
        let deep = format!("{}1{}", "[".repeat(NESTING_MAX + 1), "]".repeat(NESTING_MAX + 1));
        for json in [
            r#"{"n":9223372036854775808e99999}"#,
            r#"{"n":12345678901234567890123456789012345}"#,
            r#"{"n":0.10000000000000000000000000000000000}"#,
            r#"{"n":1e6144}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"$ref":1}}"#,
            r#"{"a\u0000":1}"#,
            r#""{\"a\":1,\"a\":2}""#,
            r#""\"{\\\"a\\\":1,\\\"a\\\":2}\"""#,
            &deep,
        ] {
            let (bson, text) = back(json);
            assert!(matches!(&bson, RawBson::String(kept) if kept == json), "{json}: {bson:?}");
            assert_eq!(text, json);
        }
    }

    #[test]
    fn strings_are_strings_whatever_they_contain() {
        for json in [r#""plain""#, r#""{\"a\":1}""#, r#""12""#, r#""{not json""#, r#""""#, r#""a\u0000b""#] {
            let (bson, text) = back(json);
            assert!(matches!(&bson, RawBson::String(kept) if kept != json), "{json}");
            assert_eq!(text, json);
        }
    }

    #[test]
    fn a_text_too_long_for_a_document_is_cut_between_letters() {
        let json = format!("{{\"a\":1,\"a\":\"{}\"}}", "é".repeat(FIELD_MAX / 2));
        let RawBson::String(kept) = to_bson(&json) else { panic!("a name given twice was kept as BSON") };
        assert!(kept.len() <= FIELD_MAX && kept.len() >= FIELD_MAX - 1 && json.starts_with(&kept));
        let grows = format!("[{}1]", "1,".repeat(2_000_000));
        assert!(matches!(to_bson(&grows), RawBson::String(_)));
    }

    #[test]
    fn hostile_nesting_takes_no_long_time() {
        let inner = "1,".repeat(500_000);
        let json = format!("{}{inner}1{}", "[".repeat(80), "]".repeat(80));
        let begun = std::time::Instant::now();
        back(&json);
        assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}
