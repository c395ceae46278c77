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

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write as _};

use ::mongodb::bson::Decimal128;
use ::mongodb::bson::raw::{CStr, RawArrayBuf, RawBson, RawBsonRef, RawDocumentBuf};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::bson::{FIELD_MAX, decimal_to_bson};
use crate::document::Value;

/// Levels of nesting that are kept as BSON; servers take 100, of which the record's document is one.
const NESTING_MAX: usize = 90;

/// Digits that a number has at most to be converted the fast way.
const DIGITS_FAST: usize = 30;

/// Names that are compared with each other faster than they are put into a set.
const FEW: usize = 16;

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
    let json = json.trim_matches([' ', '\t', '\n', '\r']);
    if !json.starts_with(['{', '[']) {
        // Whatever is within an object or an array is looked at as it is taken apart.
        let _: &RawValue = serde_json::from_str(json).ok()?;
    }
    let bson = convert(json, 1)?;
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
            if has_a_name_twice(&entries) {
                return None;
            }
            let mut document = RawDocumentBuf::new();
            for (name, value) in &entries {
                if name.starts_with('$') {
                    return None;
                }
                let name: &CStr = (&**name).try_into().ok()?;
                match value.get() {
                    json if json.starts_with('"') => {
                        let Text(text) = serde_json::from_str(json).ok()?;
                        document.append(name, &*text);
                    }
                    json => document.append(name, convert(json, level + 1)?),
                }
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
            _ => {
                let parsed = || json.parse::<Decimal128>().ok().filter(|decimal| same_number(json, *decimal));
                RawBson::Decimal128(plain_decimal(json).or_else(parsed)?)
            }
        },
    })
}

/// A number with decimals and without an exponent, as amounts are, if its digits fit. It says what the JSON says by how it is
/// made, which is dear to find out for other numbers.
fn plain_decimal(json: &str) -> Option<Decimal128> {
    let magnitude = json.strip_prefix('-');
    let (whole, decimals) = magnitude.unwrap_or(json).split_once('.')?;
    if decimals.is_empty() || whole.len() + decimals.len() > DIGITS_FAST {
        return None;
    }
    let mut digits = 0_i128;
    for byte in whole.bytes().chain(decimals.bytes()) {
        let digit = byte.wrapping_sub(b'0');
        digits = digits * 10 + i128::from(Some(digit).filter(|digit| *digit < 10)?);
    }
    let digits = match magnitude {
        // Zero has no sign here; a decimal has.
        Some(_) if digits == 0 => return None,
        Some(_) => -digits,
        None => digits,
    };
    decimal_to_bson(digits, u8::try_from(decimals.len()).ok()?).ok()
}

fn has_a_name_twice(entries: &[(Cow<'_, str>, &RawValue)]) -> bool {
    if entries.len() > FEW {
        let mut names = HashSet::with_capacity(entries.len());
        return entries.iter().any(|(name, _)| !names.insert(&**name));
    }
    entries.iter().enumerate().any(|(index, (name, _))| entries[..index].iter().any(|(other, _)| other == name))
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
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A string, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Entries<'de>, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::with_capacity(FEW);
                while let Some((Text(name), value)) = map.next_entry()? {
                    entries.push((name, value));
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
    fn amounts_are_converted_as_the_driver_converts_them() {
        for json in ["0.5", "12.50", "-12.50", "0.00", "-0.00", "0.0000001", "123456789012345678901234567.890", "1.5e3"]
        {
            let decimal = json.parse::<Decimal128>().unwrap();
            assert!(same_number(json, decimal), "{json}");
            assert_eq!(convert(json, 1), Some(RawBson::Decimal128(decimal)), "{json}");
        }
        assert_eq!(plain_decimal("12.50").unwrap().to_string(), "12.50");
        assert!(plain_decimal("-0.0").is_none() && plain_decimal("1e2").is_none() && plain_decimal("1.5e3").is_none());
    }

    #[test]
    fn names_given_twice_are_found_among_few_and_many() {
        for count in [2, FEW, FEW + 1] {
            let names = |last: usize| -> String {
                let entries: Vec<String> = (1..count).chain([last]).map(|number| format!("\"n{number}\":0")).collect();
                format!("{{{}}}", entries.join(","))
            };
            assert!(parsed(&names(count)).is_some() && parsed(&names(1)).is_none(), "{count}");
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
