//! Why a value cannot be read, in words that are safe to keep and to show.

use std::fmt::Write as _;

use tillflow_dataflows::records::Reason;

/// The most characters of foreign text, escapes included, that a detail quotes.
const EXCERPT_CHARS_MAX: usize = 100;

/// Why a record's value was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.name())]
pub struct Rejection {
    /// The one reason that applies first.
    pub reason: Reason,
    /// What is wrong and where, on one line of bounded length: it quotes at most about a hundred characters of
    /// the value, with control and invisible characters escaped.
    pub detail: String,
}

impl Rejection {
    #[cold]
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Rejection {
        Rejection { reason, detail: detail.into() }
    }

    /// A fault of one known field.
    #[cold]
    pub(super) fn field(reason: Reason, name: &str, what: impl std::fmt::Display) -> Rejection {
        Rejection::new(reason, format!("field `{name}`: {what}"))
    }
}

/// The beginning of `text`, quoted and escaped.
#[cold]
pub(super) fn excerpt(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut length = 0;
    for character in text.chars() {
        let escaped = character.escape_debug();
        length += escaped.len();
        if length > EXCERPT_CHARS_MAX {
            quoted.push('…');
            break;
        }
        // Writing to a String cannot fail.
        let _ = write!(quoted, "{escaped}");
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_bounded_and_escaped() {
        assert_eq!(excerpt("2024-13-01"), "\"2024-13-01\"");
        assert_eq!(excerpt("a\u{0}\n\u{202e}\"<b>"), r#""a\0\n\u{202e}\"<b>""#);
        assert_eq!(excerpt(&"x".repeat(100)).chars().count(), 102);
        assert_eq!(excerpt(&"x".repeat(101)).chars().count(), 103);
        assert!(excerpt(&"\u{202e}".repeat(10_000)).chars().count() <= 103);
        assert!(excerpt(&"é".repeat(10_000)).chars().count() <= 103);
    }

    #[test]
    fn a_rejection_reads_as_reason_and_detail() {
        let rejection = Rejection::field(Reason::WrongType, "quantity", "expected an integer, found a string");
        assert_eq!(rejection.to_string(), "wrong_type: field `quantity`: expected an integer, found a string");
    }
}
