//! The grammar of a JSON number (RFC 8259, section 6).

/// The parts of a JSON number, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<'a> {
    /// Whether it begins with `-`.
    pub negative: bool,
    /// The digits before the point: `0`, or digits that do not begin with 0.
    pub integer: &'a [u8],
    /// The digits after the point; empty if there is no point.
    pub fraction: &'a [u8],
    /// The exponent, `None` if none is written.
    pub exponent: Option<Exponent<'a>>,
}

/// The part of a JSON number after its `e`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exponent<'a> {
    /// Whether a `-` follows the `e`.
    pub negative: bool,
    /// One digit or more; leading zeros are allowed.
    pub digits: &'a [u8],
}

impl<'a> Number<'a> {
    /// Reads text that is exactly one JSON number.
    #[inline]
    pub(super) fn read(text: &'a [u8]) -> Option<Number<'a>> {
        let (number, length) = Number::prefix(text)?;
        (length == text.len()).then_some(number)
    }

    /// Reads the longest JSON number that `text` begins with, and its length.
    #[inline]
    pub(super) fn prefix(text: &'a [u8]) -> Option<(Number<'a>, usize)> {
        let negative = text.first() == Some(&b'-');
        let start = usize::from(negative);
        let mut at = start;
        if text.get(at) == Some(&b'0') {
            at += 1;
        } else {
            at = digits_end(text, at);
            if at == start {
                return None;
            }
        }
        let integer = &text[start..at];

        let mut fraction: &[u8] = &[];
        if text.get(at) == Some(&b'.') {
            let end = digits_end(text, at + 1);
            fraction = &text[at + 1..end];
            if fraction.is_empty() {
                return None;
            }
            at = end;
        }

        let mut exponent = None;
        if let Some(b'e' | b'E') = text.get(at) {
            at += 1;
            let negative = text.get(at) == Some(&b'-');
            if let Some(b'+' | b'-') = text.get(at) {
                at += 1;
            }
            let end = digits_end(text, at);
            let digits = &text[at..end];
            if digits.is_empty() {
                return None;
            }
            exponent = Some(Exponent { negative, digits });
            at = end;
        }
        Some((Number { negative, integer, fraction, exponent }, at))
    }
}

/// Where the run of ASCII digits that begins at `at` ends.
#[inline]
fn digits_end(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_grammar_is_a_number() {
        for text in
            ["0", "-0", "7", "10", "-10", "0.0", "1.50", "1e5", "1E+05", "-1.25e-07", "0e0", "123456789012345678901"]
        {
            assert!(Number::read(text.as_bytes()).is_some(), "{text}");
            assert!(serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-01",
            "00",
            "1.",
            ".5",
            "-.5",
            "1.e5",
            "1e",
            "1e+",
            "1e-",
            "1e5.0",
            "e5",
            " 1",
            "1 ",
            "1,5",
            "1_000",
            "0x10",
            "NaN",
            "Infinity",
            "-Infinity",
            "1f",
            "--1",
            "1-",
            "１",
        ] {
            assert!(Number::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn the_parts_are_as_written() {
        let number = Number::read(b"-12.050e+07").unwrap();
        assert!(number.negative);
        assert_eq!(number.integer, b"12");
        assert_eq!(number.fraction, b"050");
        assert_eq!(number.exponent, Some(Exponent { negative: false, digits: b"07" }));
        assert_eq!(Number::prefix(b"12.5,").map(|(_, length)| length), Some(4));
        assert_eq!(Number::prefix(b"01").map(|(_, length)| length), Some(1));
    }
}
