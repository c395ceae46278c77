//! Documents as MongoDB keeps them, both ways.

use ::mongodb::bson::raw::{CStr, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, cstr};
use ::mongodb::bson::spec::BinarySubtype;
use ::mongodb::bson::{Binary, DateTime, Decimal128};

use super::fault::Fault;
use super::raw_value;
use crate::document::{Collection, Document, Fields, Value};
use crate::store::StoreError;

/// The bytes that one field may have, so that its document stays below MongoDB's 16 MiB.
pub(super) const FIELD_MAX: usize = 15 << 20;

/// The document in BSON, `_id` first.
pub(super) fn to_bson(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    let mut bson = RawDocumentBuf::new();
    bson.append(cstr!("_id"), document.id.as_str());
    for (name, value) in &document.fields {
        append(&mut bson, name, value)?;
    }
    Ok(bson)
}

fn append(bson: &mut RawDocumentBuf, name: &str, value: &Value) -> Result<(), StoreError> {
    let name: &CStr = name
        .try_into()
        .map_err(|_| StoreError::Unreadable(format!("a field name with a NUL cannot be written: {name:?}")))?;
    match value {
        // The driver copies what it is given: a text needs no copy before that.
        Value::Text(text) => bson.append(name, text.as_str()),
        other => bson.append(name, value_to_bson(other)?),
    }
    Ok(())
}

pub(super) fn value_to_bson(value: &Value) -> Result<RawBson, StoreError> {
    Ok(match value {
        Value::Text(text) => RawBson::String(text.clone()),
        Value::Int(number) => RawBson::Int64(*number),
        Value::Decimal { digits, scale } => RawBson::Decimal128(decimal_to_bson(*digits, *scale)?),
        Value::Time(millis) => RawBson::DateTime(DateTime::from_millis(*millis)),
        Value::Bool(truth) => RawBson::Boolean(*truth),
        // A record may be greater than what MongoDB can hold; its first bytes are better than a pipeline that stops.
        Value::Bytes(bytes) => RawBson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: bytes[..bytes.len().min(FIELD_MAX)].to_vec(),
        }),
        Value::Document(fields) => {
            let mut bson = RawDocumentBuf::new();
            for (name, value) in fields {
                append(&mut bson, name, value)?;
            }
            RawBson::Document(bson)
        }
        Value::List(values) => {
            let mut bson = RawArrayBuf::new();
            for value in values {
                bson.push(value_to_bson(value)?);
            }
            RawBson::Array(bson)
        }
        Value::Json(text) => raw_value::to_bson(text),
    })
}

// Decimal128, as all that tillflow writes is laid out: sign (1 bit), exponent + 6176 (14 bits), digits (113 bits).
const EXPONENT_BIAS: u128 = 6176;
const DIGITS_BITS: u32 = 113;
const DIGITS_MAX: u128 = 10u128.pow(34) - 1;

/// `digits / 10^scale`; an error for more digits than a Decimal128 has.
pub(super) fn decimal_to_bson(digits: i128, scale: u8) -> Result<Decimal128, StoreError> {
    let magnitude = digits.unsigned_abs();
    if magnitude > DIGITS_MAX {
        return Err(StoreError::Unreadable(format!("a number of more than 34 digits cannot be written: {digits}")));
    }
    let sign = u128::from(digits < 0) << 127;
    let exponent = (EXPONENT_BIAS - u128::from(scale)) << DIGITS_BITS;
    Ok(Decimal128::from_bytes((sign | exponent | magnitude).to_le_bytes()))
}

/// `digits / 10^scale`; absent for what is no finite number with at most 34 decimals.
fn decimal_from_bson(decimal: Decimal128) -> Option<Value> {
    let bits = u128::from_le_bytes(decimal.bytes());
    // These two bits mark infinities, NaN, and digits beyond the bound.
    if bits >> 125 & 0b11 == 0b11 {
        return None;
    }
    let exponent = (bits >> DIGITS_BITS & 0x3fff) as i32 - EXPONENT_BIAS as i32;
    let mut digits = (bits & ((1 << DIGITS_BITS) - 1)) as i128;
    let scale = if exponent > 0 {
        digits = digits.checked_mul(10i128.checked_pow(exponent.unsigned_abs())?)?;
        0
    } else {
        u8::try_from(-exponent).ok().filter(|scale| *scale <= 34)?
    };
    Some(Value::Decimal { digits: if bits >> 127 == 1 { -digits } else { digits }, scale })
}

/// A document that may be anybody's: what is none of ours in it becomes text that says what is there.
pub(super) fn from_foreign_bson(collection: Collection, bson: &RawDocument) -> Result<Document, Fault> {
    let described = |what: String| Value::Text(format!("({what})"));
    let mut id = None;
    let mut fields = Fields::with_capacity(16);
    for element in bson {
        let (name, value) = element?;
        let value = match (name.as_str(), value) {
            ("_id", RawBsonRef::String(text)) => {
                id = Some(text.to_owned());
                continue;
            }
            ("_id", other) => {
                id = Some(format!("({other:?})"));
                continue;
            }
            ("value", value) if collection == Collection::RawData => {
                Some(raw_value::from_bson(value).unwrap_or_else(described))
            }
            (_, value) => value_from_bson(value).unwrap_or_else(|what| Some(described(what))),
        };
        fields.extend(value.map(|value| (name.as_str().to_owned().into(), value)));
    }
    Ok(Document { collection, id: id.unwrap_or_default(), fields })
}

/// A document of ours.
pub(super) fn from_bson(collection: Collection, bson: &RawDocument) -> Result<Document, Fault> {
    let mut id = None;
    let mut fields = Fields::with_capacity(16);
    for element in bson {
        let (name, value) = element?;
        match (name.as_str(), value) {
            ("_id", RawBsonRef::String(text)) => id = Some(text.to_owned()),
            ("value", value) if collection == Collection::RawData => {
                fields.push((
                    "value".into(),
                    raw_value::from_bson(value).map_err(|what| unreadable(collection, &id, "value", what))?,
                ));
            }
            (name, value) => {
                if let Some(value) = value_from_bson(value).map_err(|what| unreadable(collection, &id, name, what))? {
                    fields.push((name.to_owned().into(), value));
                }
            }
        }
    }
    let id = id.ok_or_else(|| unreadable(collection, &None, "_id", "no text".into()))?;
    Ok(Document { collection, id, fields })
}

fn unreadable(collection: Collection, id: &Option<String>, field: &str, what: String) -> Fault {
    Fault::Store(StoreError::Unreadable(format!(
        "\"{field}\" of \"{}\" in {} is {what}: it was not written by this version of tillflow",
        id.as_deref().unwrap_or("?"),
        collection.name()
    )))
}

/// Absent for null.
fn value_from_bson(bson: RawBsonRef<'_>) -> Result<Option<Value>, String> {
    Ok(Some(match bson {
        RawBsonRef::Null => return Ok(None),
        RawBsonRef::String(text) => Value::Text(text.to_owned()),
        RawBsonRef::Int64(number) => Value::Int(number),
        RawBsonRef::Int32(number) => Value::Int(number.into()),
        RawBsonRef::Decimal128(decimal) => decimal_from_bson(decimal).ok_or_else(|| format!("the number {decimal}"))?,
        RawBsonRef::DateTime(instant) => Value::Time(instant.timestamp_millis()),
        RawBsonRef::Boolean(truth) => Value::Bool(truth),
        RawBsonRef::Binary(binary) => Value::Bytes(binary.bytes.to_vec()),
        RawBsonRef::Document(document) => {
            let mut fields = Fields::new();
            for element in document {
                let (name, value) = element.map_err(|error| error.to_string())?;
                if let Some(value) = value_from_bson(value)? {
                    fields.push((name.as_str().to_owned().into(), value));
                }
            }
            Value::Document(fields)
        }
        RawBsonRef::Array(array) => {
            let mut values = Vec::new();
            for value in array {
                let value = value_from_bson(value.map_err(|error| error.to_string())?)?;
                values.push(value.ok_or("a list with a null")?);
            }
            Value::List(values)
        }
        other => return Err(format!("of the type {:?}", other.element_type())),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_what_the_driver_reads_and_come_back() {
        for (digits, scale, text) in [
            (123_456, 4, "12.3456"),
            (120_000, 4, "12.0000"),
            (-5, 4, "-0.0005"),
            (0, 4, "0.0000"),
            (1_500, 3, "1.500"),
            (DIGITS_MAX as i128, 0, "9999999999999999999999999999999999"),
            (-(DIGITS_MAX as i128), 4, "-999999999999999999999999999999.9999"),
        ] {
            let decimal = decimal_to_bson(digits, scale).unwrap();
            assert_eq!(decimal.to_string(), text);
            assert_eq!(decimal, text.parse().unwrap());
            assert_eq!(decimal_from_bson(decimal), Some(Value::Decimal { digits, scale }));
        }
        assert!(decimal_to_bson(DIGITS_MAX as i128 + 1, 4).is_err());
    }

    #[test]
    fn numbers_that_others_wrote_are_understood_or_refused() {
        let read = |text: &str| decimal_from_bson(text.parse().unwrap());
        assert_eq!(read("1.5E+3"), Some(Value::Decimal { digits: 1500, scale: 0 }));
        for text in ["NaN", "Infinity", "-Infinity", "1E+40", "1E-40", "1E-6176"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_by_name() {
        let mut bson = RawDocumentBuf::new();
        bson.append(cstr!("_id"), "a");
        bson.append(cstr!("revenue"), 1.5);
        let Err(Fault::Store(StoreError::Unreadable(text))) = from_bson(Collection::AggregatedData, &bson) else {
            panic!("a binary fraction was taken");
        };
        assert!(text.contains("revenue") && text.contains("\"a\""), "{text}");
        let foreign = RawDocumentBuf::new();
        assert!(from_bson(Collection::AggregatedData, &foreign).is_err());
    }

    #[test]
    fn bytes_beyond_what_fits_are_cut() {
        let RawBson::Binary(binary) = value_to_bson(&Value::Bytes(vec![7; FIELD_MAX + 1])).unwrap() else {
            panic!("bytes became something else");
        };
        assert_eq!(binary.bytes.len(), FIELD_MAX);
    }
}
