//! The short way through the records that producers mostly send: one flat object, strings without escapes.
//!
//! It never rejects. Whatever it does not take at first sight (an escape, a nested value, a repeated field, an
//! error) it leaves to [`super::json::split`], and what it takes, it takes exactly as that does.

use super::json::Token;
use super::number::Number;

/// The most fields that no topic knows; a record with more goes the long way.
const UNKNOWN_MAX: usize = 8;

/// Takes a flat JSON object apart: the token of each of the fields `names`.
///
/// A producer mostly writes its fields in the same order, so the search for a name begins after the one that was
/// found last.
pub(super) fn split<'a, const N: usize>(text: &'a str, names: &[&'static str; N]) -> Option<[Token<'a>; N]> {
    let mut tokens = [Token::Absent; N];
    let mut unknown = [""; UNKNOWN_MAX];
    let mut unknown_count = 0;
    let mut expected = 0;

    let mut cursor = Cursor { text, at: 0 };
    cursor.take(b'{')?;
    if cursor.peek()? == b'}' {
        cursor.at += 1;
    } else {
        loop {
            cursor.take(b'"')?;
            let name = cursor.string()?;
            cursor.take(b':')?;
            let token = cursor.value()?;

            let known = if names.get(expected) == Some(&name) {
                Some(expected)
            } else {
                names.iter().position(|known| *known == name)
            };
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

            match cursor.peek()? {
                b',' => cursor.at += 1,
                b'}' => break cursor.at += 1,
                _ => return None,
            }
        }
    }
    match cursor.peek() {
        None => Some(tokens),
        Some(_) => None,
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no space, without taking it.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Takes the next byte that is no space if it is `wanted`.
    #[inline]
    fn take(&mut self, wanted: u8) -> Option<()> {
        if self.peek()? != wanted {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// Takes the content and the closing quote of a string without escapes and control characters.
    #[inline]
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        let end = plain_end(self.text.as_bytes(), start)?;
        self.at = end + 1;
        self.text.get(start..end)
    }

    /// Takes a value that is not nested.
    #[inline]
    fn value(&mut self) -> Option<Token<'a>> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.string().map(Token::Plain)
            }
            b'-' | b'0'..=b'9' => {
                let rest = &self.text.as_bytes()[self.at..];
                let (_, length) = Number::prefix(rest)?;
                let start = self.at;
                self.at += length;
                self.text.get(start..self.at).map(Token::Number)
            }
            b'n' => self.word("null", Token::Null),
            b't' => self.word("true", Token::Boolean),
            b'f' => self.word("false", Token::Boolean),
            _ => None,
        }
    }

    #[inline]
    fn word(&mut self, word: &str, token: Token<'a>) -> Option<Token<'a>> {
        self.text.get(self.at..)?.starts_with(word).then_some(())?;
        self.at += word.len();
        Some(token)
    }
}

/// Where the string whose content begins at `at` has its closing quote; `None` if an escape, a control character
/// or the end comes first. Eight bytes are judged at a time.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH_BITS: u64 = ONES << 7;

    let mut rest = bytes.get(at..)?;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let chunk = u64::from_le_bytes(*chunk);
        let quotes = chunk ^ (ONES * b'"' as u64);
        let backslashes = chunk ^ (ONES * b'\\' as u64);
        // Each term has the high bit of a byte set where the byte is below 0x20, a quote or a backslash. A borrow
        // can set more of them, but only above a true one, and the lowest is what counts.
        let special = (chunk.wrapping_sub(ONES * 0x20) & !chunk)
            | (quotes.wrapping_sub(ONES) & !quotes)
            | (backslashes.wrapping_sub(ONES) & !backslashes);
        let special = special & HIGH_BITS;
        if special != 0 {
            at += special.trailing_zeros() as usize / 8;
            return (bytes.get(at) == Some(&b'"')).then_some(at);
        }
        at += 8;
        rest = after;
    }
    let found = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
    (rest[found] == b'"').then_some(at + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["a", "bb", "longer_name"];

    #[test]
    fn takes_flat_objects() {
        assert_eq!(split("{}", &NAMES), Some([Token::Absent; 3]));
        assert_eq!(split(" \t\r\n{ \n} ", &NAMES), Some([Token::Absent; 3]));
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
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":"\n"}"#,
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
            r#"{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0}"#,
        ] {
            assert_eq!(split(text, &NAMES), None, "{text}");
        }
    }

    #[test]
    fn a_string_ends_where_it_ends() {
        for length in 0..40 {
            for special in ['"', '\\', '\u{1f}', '\u{0}', '\n'] {
                for filler in ["x", "\u{7f}", " ", "!", "#", "[", "]", "é", "\u{10ffff}"] {
                    let text = format!("{}{special}\"\"\"", filler.repeat(length));
                    let expected = (special == '"').then_some(filler.len() * length);
                    assert_eq!(plain_end(text.as_bytes(), 0), expected, "{text:?}");
                }
            }
        }
        assert_eq!(plain_end(b"no end at all", 0), None);
    }
}
