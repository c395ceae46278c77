//! The short way through the records that producers mostly send: one object on one line, its fields' names without escapes.
//!
//! It never rejects. Whatever it does not take at first sight (a line break, an escape in a name, a repeated field, an
//! error) it leaves to [`super::json::split`], and what it takes, it takes exactly as that does.

use memchr::{memchr, memchr2};
use serde::Deserialize as _;
use serde_json::value::RawValue;

use super::json::{self, NESTING_MAX, Token};
use super::number::Number;

/// The most fields that no topic knows; a record with more goes the long way.
const UNKNOWN_MAX: usize = 32;

/// Takes a flat JSON object apart: the token of each of the fields `names`, into `tokens`, which are all absent before. If
/// it is none, `tokens` are of no use afterwards.
///
/// A producer mostly writes its fields in the same order, so each name is first compared with the one after the
/// last.
#[inline(always)]
pub(super) fn split_into<'a, const N: usize>(
    text: &'a str,
    names: &[&'static str; N],
    tokens: &mut [Token<'a>; N],
) -> Option<()> {
    if has_control(text.as_bytes()) {
        return None;
    }
    let has_escapes = memchr(b'\\', text.as_bytes()).is_some();
    // It goes by the grammar, which is judged only now: what does not match that is not taken either.
    if has_escapes && json::lone_surrogate(text.as_bytes()).is_some() {
        return None;
    }
    let mut unknown = [""; UNKNOWN_MAX];
    let mut unknown_count = 0;
    let mut expected = 0;

    let mut cursor = Cursor { text, at: 0, has_escapes };
    cursor.take(b'{')?;
    if cursor.peek()? == b'}' {
        cursor.at += 1;
        return cursor.is_at_end().then_some(());
    }
    cursor.take(b'"')?;
    loop {
        let (known, name) = match names.get(expected) {
            Some(name) if cursor.take_name(name) => (Some(expected), *name),
            _ => {
                let name = cursor.string()?;
                if cursor.has_escapes && name.contains('\\') {
                    return None;
                }
                (names.iter().position(|known| *known == name), name)
            }
        };
        cursor.take(b':')?;
        let token = cursor.value()?;
        if let Some(known) = known {
            if tokens[known] != Token::Absent {
                return None;
            }
            tokens[known] = token;
            expected = known + 1;
        } else {
            if unknown[..unknown_count].contains(&name) {
                return None;
            }
            *unknown.get_mut(unknown_count)? = name;
            unknown_count += 1;
        }
        if !cursor.another()? {
            return cursor.is_at_end().then_some(());
        }
    }
}

/// The tokens, if there are any.
#[cfg(test)]
pub(super) fn split<'a, const N: usize>(text: &'a str, names: &[&'static str; N]) -> Option<[Token<'a>; N]> {
    let mut tokens = [Token::Absent; N];
    split_into(text, names, &mut tokens).map(|()| tokens)
}

/// Whether there is a control character: none may be in a string, and line breaks between fields are some.
fn has_control(bytes: &[u8]) -> bool {
    // Without a way out of the loop, the compiler judges many bytes at a time.
    bytes.iter().fold(false, |found, &byte| found | (byte < b' '))
}

/// A place in a text without control characters.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Whether there is a backslash anywhere. If not, each quote begins or ends a string.
    has_escapes: bool,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no space, without taking it.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) == Some(&b' ') {
            self.at = spaces_end(bytes, self.at);
        }
        bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Takes the next byte that is no space if it is `wanted`.
    #[inline(always)]
    fn take(&mut self, wanted: u8) -> Option<()> {
        if self.peek()? != wanted {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// Takes what stands between two fields, up to the next one's opening quote, or the end of the object: whether
    /// there is another field.
    #[inline(always)]
    fn another(&mut self) -> Option<bool> {
        if let Some(b",\"") = self.text.as_bytes().get(self.at..self.at + 2) {
            self.at += 2;
            return Some(true);
        }
        match self.peek()? {
            b',' => {
                self.at += 1;
                self.take(b'"')?;
                Some(true)
            }
            b'}' => {
                self.at += 1;
                Some(false)
            }
            _ => None,
        }
    }

    /// Takes `name` and the closing quote if they are what comes next.
    #[inline(always)]
    fn take_name(&mut self, name: &str) -> bool {
        let end = self.at + name.len();
        let bytes = self.text.as_bytes();
        let found = bytes.get(end) == Some(&b'"') && bytes.get(self.at..end) == Some(name.as_bytes());
        if found {
            self.at = end + 1;
        }
        found
    }

    /// Takes the rest of a string that has no escapes, and its closing quote.
    #[inline(always)]
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        let end = start + quote(self.text.as_bytes().get(start..)?)?;
        self.at = end + 1;
        self.text.get(start..end)
    }

    /// Takes the rest of a string that may have escapes, and its closing quote.
    #[inline(never)]
    fn string_with_escapes(&mut self) -> Option<Token<'a>> {
        let (bytes, start) = (self.text.as_bytes(), self.at);
        let mut at = start;
        loop {
            let found = at + memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[found] == b'\\' {
                at = escape_end(bytes, found)?;
                continue;
            }
            self.at = found + 1;
            return if at == start {
                self.text.get(start..found).map(Token::Plain)
            } else {
                self.text.get(start - 1..=found).map(Token::Escaped)
            };
        }
    }

    /// Takes an array or an object.
    #[inline(never)]
    fn nested(&mut self) -> Option<Token<'a>> {
        let mut reader = serde_json::Deserializer::from_str(self.text.get(self.at..)?);
        let raw = <&RawValue>::deserialize(&mut reader).ok()?.get();
        self.at += raw.len();
        (json::nesting(raw) < NESTING_MAX).then(|| Token::of(raw))
    }

    /// Takes a value.
    #[inline(always)]
    fn value(&mut self) -> Option<Token<'a>> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                if self.has_escapes { self.string_with_escapes() } else { self.string().map(Token::Plain) }
            }
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                let (_, length) = Number::prefix(self.text.as_bytes().get(start..)?)?;
                self.at += length;
                self.text.get(start..self.at).map(Token::Number)
            }
            b'n' => self.word("null", Token::Null),
            b't' => self.word("true", Token::Boolean),
            b'f' => self.word("false", Token::Boolean),
            b'[' | b'{' => self.nested(),
            _ => None,
        }
    }

    #[inline(always)]
    fn word(&mut self, word: &str, token: Token<'a>) -> Option<Token<'a>> {
        self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()).then_some(())?;
        self.at += word.len();
        Some(token)
    }
}

/// Where the escape whose backslash is at `at` ends, if it is one.
fn escape_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => json::code_unit(bytes, at).map(|_| at + 6),
        _ => None,
    }
}

/// Where the spaces that begin at `at` end. A place goes in and out by value and so stays in a register.
fn spaces_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    at
}

/// Where the first quote stands. Eight bytes are judged at a time: most strings are short.
#[inline(always)]
fn quote(mut bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH_BITS: u64 = ONES << 7;

    let mut before = 0;
    while let Some((chunk, after)) = bytes.split_first_chunk::<8>() {
        // The high bit of a byte is set where a quote was. A borrow can set more of them, but only above a true
        // one, and the lowest is what counts.
        let quotes = u64::from_le_bytes(*chunk) ^ (ONES * b'"' as u64);
        let found = quotes.wrapping_sub(ONES) & !quotes & HIGH_BITS;
        if found != 0 {
            return Some(before + found.trailing_zeros() as usize / 8);
        }
        before += 8;
        bytes = after;
    }
    bytes.iter().position(|&byte| byte == b'"').map(|at| before + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["a", "bb", "longer_name"];

    #[test]
    fn takes_flat_objects() {
        assert_eq!(split("{}", &NAMES), Some([Token::Absent; 3]));
        assert_eq!(split("  {  }  ", &NAMES), Some([Token::Absent; 3]));
        assert_eq!(
            split(r#"{"a":"x","bb":-1.5e3,"longer_name":null}"#, &NAMES),
            Some([Token::Plain("x"), Token::Number("-1.5e3"), Token::Null])
        );
        assert_eq!(
            split(r#" { "longer_name" : "é – long enough for words" , "u1" : true , "a" : false, "u2":1 } "#, &NAMES),
            Some([Token::Boolean, Token::Absent, Token::Plain("é – long enough for words")])
        );
    }

    #[test]
    fn takes_escapes_and_nested_values() {
        assert_eq!(
            split(r#"{"a":"\u00e9\ud83d\ude00 \"x\" \\","bb":"plain","u":"\n","longer_name":{"a":["}"]}}"#, &NAMES),
            Some([Token::Escaped(r#""\u00e9\ud83d\ude00 \"x\" \\""#), Token::Plain("plain"), Token::Object])
        );
        assert_eq!(
            split(r#"{"u":["\t"], "a" : [ 1, {"a":2} ] ,"bb":{}}"#, &NAMES),
            Some([Token::Array, Token::Object, Token::Absent])
        );
    }

    #[test]
    fn leaves_the_rest_alone() {
        for text in [
            "",
            "{",
            "}",
            "[]",
            "null",
            "{}x",
            "{}{}",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "bb":2}"#,
            r#"{a:1}"#,
            r#"{"a":[}"#,
            r#"{"a":{"b"}}"#,
            r#"{"a":["\ud800"]}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            r#"{"a":"\u+123"}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"\"}"#,
            r#"{"a":"\ud83d"}"#,
            r#"{"a":"\ud83dx\ude00"}"#,
            r#"{"a":"\ude00\ud83d"}"#,
            r#"{"x\n":1}"#,
            r#"{"\u0061":1}"#,
            "{\"a\":\"tab\there\"}",
            "{\"a\":\"line\nbroken at a later place\"}",
            r#"{"a":"open"#,
            r#"{"a":01}"#,
            r#"{"a":-}"#,
            r#"{"a":nul}"#,
            r#"{"a":nullx}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":null,"a":2}"#,
            r#"{"x":1,"x":2}"#,
        ] {
            assert_eq!(split(text, &NAMES), None, "{text}");
        }
        let unknown = |count| format!("{{{}}}", (0..count).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
        assert_eq!(split(&unknown(UNKNOWN_MAX), &NAMES), Some([Token::Absent; 3]));
        assert_eq!(split(&unknown(UNKNOWN_MAX + 1), &NAMES), None);
        let nested = |depth| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(split(&nested(NESTING_MAX - 1), &NAMES), Some([Token::Array, Token::Absent, Token::Absent]));
        assert_eq!(split(&nested(NESTING_MAX), &NAMES), None);
    }

    #[test]
    fn a_quote_is_found_where_it_is() {
        for length in 0..40 {
            for filler in ["x", "\u{7f}", " ", "!", "#", "é", "\u{a2}", "\u{10ffff}"] {
                let text = format!("{}\"\"x\"", filler.repeat(length));
                assert_eq!(quote(text.as_bytes()), Some(filler.len() * length), "{text:?}");
                assert_eq!(quote(filler.repeat(length).as_bytes()), None);
            }
        }
    }

    #[test]
    fn control_characters_are_found_wherever_they_are() {
        for special in 0..b' ' {
            for at in 0..70 {
                let mut bytes = [b'x'; 70];
                bytes[at] = special;
                assert!(has_control(&bytes), "{special} at {at}");
            }
        }
        assert!(!has_control(&(b' '..=0xff).collect::<Vec<_>>()));
        assert!(!has_control(b""));
    }
}
