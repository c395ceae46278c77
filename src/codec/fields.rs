//! The content of single fields: what the contract asks of identifiers, texts, integers, money and times.

use std::borrow::Cow;

use chrono_tz::Tz;
use tillflow_dataflows::records::{Millis, Money, Reason, Text};

use super::json::Token;
use super::money::{MoneyFault, parse_money};
use super::number::Number;
use super::rejection::{Rejection, excerpt};
use super::time::parse_timestamp;

/// The most bytes of an identifier, after unescaping.
const IDENTIFIER_BYTES_MAX: usize = 256;

/// The greatest absolute value of an integer.
const INTEGER_BOUND: i64 = 1_000_000_000;

/// One field of a record: its name and what is written there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub name: &'static str,
    pub token: Token<'a>,
}

impl<'a> Field<'a> {
    /// Whether there is a value; `null` is none.
    #[inline]
    pub(super) fn is_given(self) -> bool {
        !matches!(self.token, Token::Absent | Token::Null)
    }

    /// The field if there is a value.
    #[inline]
    pub(super) fn given(self) -> Option<Field<'a>> {
        self.is_given().then_some(self)
    }

    /// That a required field has no value.
    #[cold]
    pub(super) fn missing(self) -> Rejection {
        let what = if self.token == Token::Null { "is null" } else { "is absent" };
        Rejection::field(Reason::MissingField, self.name, what)
    }

    /// A name for something: not empty, at most 256 bytes.
    #[inline]
    pub(super) fn identifier<T: From<Cow<'a, str>>>(self) -> Result<T, Rejection> {
        let text = self.string()?;
        match text.len() {
            1..=IDENTIFIER_BYTES_MAX => Ok(T::from(text)),
            0 => Err(self.fault(Reason::OutOfRange, "an empty identifier")),
            length => Err(self.fault(
                Reason::TooLarge,
                format_args!("{length} bytes, an identifier has at most {IDENTIFIER_BYTES_MAX}"),
            )),
        }
    }

    /// Any string.
    #[inline]
    pub(super) fn text(self) -> Result<Text, Rejection> {
        self.string().map(Text::new)
    }

    /// Checks that a value that no view reads is a string.
    #[inline]
    pub(super) fn check_text(self) -> Result<(), Rejection> {
        match self.token {
            Token::Plain(_) | Token::Escaped(_) => Ok(()),
            _ => Err(self.wrong_type("a string")),
        }
    }

    /// A whole number of at most 10^9, written without point or exponent.
    #[inline]
    pub(super) fn integer(self) -> Result<i64, Rejection> {
        let Token::Number(written) = self.token else {
            return Err(self.wrong_type("an integer"));
        };
        match Number::read(written.as_bytes()) {
            Some(Number { negative, integer, fraction: [], exponent: None }) => {
                // JSON has no leading zeros, so more digits than the bound's are beyond it.
                let absolute = match integer.len() {
                    0..=10 => integer.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')),
                    _ => i64::MAX,
                };
                if absolute > INTEGER_BOUND {
                    return Err(self.fault(Reason::OutOfRange, format_args!("{} is beyond 10^9", excerpt(written))));
                }
                Ok(if negative { -absolute } else { absolute })
            }
            _ => Err(self.fault(Reason::WrongType, format_args!("expected an integer, found {}", excerpt(written)))),
        }
    }

    /// An integer that is not 0.
    #[inline]
    pub(super) fn integer_but_zero(self) -> Result<i64, Rejection> {
        match self.integer()? {
            0 => Err(self.fault(Reason::OutOfRange, "is 0")),
            integer => Ok(integer),
        }
    }

    /// An amount: a number, or a string that is exactly one.
    #[inline]
    pub(super) fn money(self) -> Result<Money, Rejection> {
        let written = match self.token {
            Token::Number(written) => Cow::Borrowed(written),
            Token::Plain(_) | Token::Escaped(_) => self.string()?,
            _ => return Err(self.wrong_type("a number, or a string that is one")),
        };
        parse_money(&written).map_err(|fault| {
            let reason = match fault {
                MoneyFault::NotANumber => Reason::BadMoney,
                MoneyFault::OutOfRange => Reason::OutOfRange,
            };
            self.fault(reason, format_args!("{}: {fault}", excerpt(&written)))
        })
    }

    /// An instant.
    #[inline]
    pub(super) fn time(self, zone: Tz) -> Result<Millis, Rejection> {
        let written = self.string()?;
        parse_timestamp(&written, zone).ok_or_else(|| {
            let what = "no time such as 2024-01-15T10:30:00Z, from 1970 to 9999";
            self.fault(Reason::BadTimestamp, format_args!("{}: {what}", excerpt(&written)))
        })
    }

    /// A string's content, unescaped.
    #[inline]
    fn string(self) -> Result<Cow<'a, str>, Rejection> {
        match self.token {
            Token::Plain(text) => Ok(Cow::Borrowed(text)),
            Token::Escaped(raw) => self.unescaped(raw).map(Cow::Owned),
            _ => Err(self.wrong_type("a string")),
        }
    }

    #[cold]
    fn unescaped(self, raw: &str) -> Result<String, Rejection> {
        // The text was judged before, so this does not fail; if it should, the record is what is wrong.
        serde_json::from_str(raw).map_err(|error| self.fault(Reason::InvalidJson, error))
    }

    #[cold]
    fn wrong_type(self, expected: &str) -> Rejection {
        self.fault(Reason::WrongType, format_args!("expected {expected}, found {}", self.token.kind()))
    }

    #[cold]
    fn fault(self, reason: Reason, what: impl std::fmt::Display) -> Rejection {
        Rejection::field(reason, self.name, what)
    }
}
