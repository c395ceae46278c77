//! A JSON text taken apart into the raw values of the fields that a topic knows.
//!
//! serde_json judges the grammar. What it does not look at in values that nobody reads is judged here: how deep
//! they nest, and whether each surrogate escape has its other half.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use memchr::{memchr, memchr2};
use serde::de::{Deserialize, DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use tillflow_dataflows::records::Reason;

use super::rejection::{Rejection, excerpt};

/// How deep a value may nest, the outer object included.
pub(super) const NESTING_MAX: usize = 128;

/// The value of a field, by its kind and with as little read as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// The field is not there.
    Absent,
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number, as written.
    Number(&'a str),
    /// A string without escapes: what is between its quotes.
    Plain(&'a str),
    /// A string with escapes, as written, quotes included.
    Escaped(&'a str),
    /// An array.
    Array,
    /// An object.
    Object,
}

impl<'a> Token<'a> {
    /// The token of a value that is known to be valid JSON, without space around it.
    pub(super) fn of(raw: &'a str) -> Token<'a> {
        match raw.as_bytes() {
            [b'"', inner @ .., b'"'] => match memchr(b'\\', inner) {
                None => Token::Plain(&raw[1..raw.len() - 1]),
                Some(_) => Token::Escaped(raw),
            },
            [b'n', ..] => Token::Null,
            [b't' | b'f', ..] => Token::Boolean,
            [b'[', ..] => Token::Array,
            [b'{', ..] => Token::Object,
            _ => Token::Number(raw),
        }
    }

    /// What the value is, in words.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Token::Absent => "nothing",
            Token::Null => "null",
            Token::Boolean => "a boolean",
            Token::Number(_) => "a number",
            Token::Plain(_) | Token::Escaped(_) => "a string",
            Token::Array => "an array",
            Token::Object => "an object",
        }
    }
}

/// Takes a JSON object apart: the token of each of the fields `names`.
///
/// Rejects, in this order, what is not JSON, what is not an object, and an object with a field given twice.
pub(super) fn split<'a, const N: usize>(text: &'a str, names: &[&'static str; N]) -> Result<[Token<'a>; N], Rejection> {
    let is_object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    let mut fields = Fields { names, tokens: [Token::Absent; N], unknown: HashSet::new(), repeated: None, nesting: 0 };
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = if is_object {
        reader.deserialize_map(&mut fields)
    } else {
        <&RawValue>::deserialize(&mut reader).map(|raw| fields.nesting = nesting(raw.get()))
    };
    parsed.and_then(|()| reader.end()).map_err(|error| Rejection::new(Reason::InvalidJson, error.to_string()))?;

    if fields.nesting > NESTING_MAX {
        return Err(Rejection::new(Reason::InvalidJson, format!("nests deeper than {NESTING_MAX}")));
    }
    if let Some(at) = lone_surrogate(text.as_bytes()) {
        return Err(Rejection::new(Reason::InvalidJson, format!("half of a surrogate pair at byte {at}")));
    }
    if !is_object {
        let kind = Token::of(text.trim_matches([' ', '\t', '\n', '\r'])).kind();
        return Err(Rejection::new(Reason::WrongType, format!("expected an object, found {kind}")));
    }
    match fields.repeated {
        Some(name) => Err(Rejection::new(Reason::DuplicateField, format!("field {} is given twice", excerpt(&name)))),
        None => Ok(fields.tokens),
    }
}

/// What is found while an object is read. It takes any object, so that an error of its reader is one of grammar.
struct Fields<'n, 'a, const N: usize> {
    names: &'n [&'static str; N],
    tokens: [Token<'a>; N],
    unknown: HashSet<Cow<'a, str>>,
    /// The first field that came a second time.
    repeated: Option<Cow<'a, str>>,
    /// The deepest nesting so far, the outer object included.
    nesting: usize,
}

impl<'a, const N: usize> Fields<'_, 'a, N> {
    fn add(&mut self, name: Cow<'a, str>, raw: &'a str) {
        if let [b'[' | b'{', ..] = raw.as_bytes() {
            self.nesting = self.nesting.max(1 + nesting(raw));
        }
        if self.repeated.is_some() {
            return;
        }
        let first_time = match self.names.iter().position(|known| *known == name) {
            Some(known) => std::mem::replace(&mut self.tokens[known], Token::of(raw)) == Token::Absent,
            None => !self.unknown.contains(&name) && self.unknown.insert(name.clone()),
        };
        if !first_time {
            self.repeated = Some(name);
        }
    }
}

impl<'de, const N: usize> Visitor<'de> for &mut Fields<'_, 'de, N> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            self.add(name, map.next_value::<&RawValue>()?.get());
        }
        Ok(())
    }
}

/// Reads a field's name, borrowed if it is written without escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// How deep a text that is known to be valid JSON nests; 0 for a scalar.
pub(super) fn nesting(json: &str) -> usize {
    let bytes = json.as_bytes();
    let (mut at, mut depth, mut deepest) = (0, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = string_end(bytes, at),
            _ => {}
        }
    }
    deepest
}

/// Where the string whose content begins at `at` ends, after its closing quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// Where in a text that is known to match JSON's grammar the first `\u` escape of half a surrogate pair stands.
pub(super) fn lone_surrogate(json: &[u8]) -> Option<usize> {
    // A backslash occurs only within a string, as the begin of an escape.
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        let escape = at + found;
        at = escape + 2;
        match code_unit(json, escape) {
            Some(0xD800..=0xDBFF) => {
                let Some(0xDC00..=0xDFFF) = code_unit(json, escape + 6) else {
                    return Some(escape);
                };
                at = escape + 12;
            }
            Some(0xDC00..=0xDFFF) => return Some(escape),
            _ => {}
        }
    }
    None
}

/// The UTF-16 code unit of the `\uXXXX` escape at `at`, if there is one.
pub(super) fn code_unit(json: &[u8], at: usize) -> Option<u32> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}
