//! What a user accepted as lost: the flag that says so is also what the store keeps of it.

use std::fmt;

use tillflow_dataflows::records::{Millis, Topic};

/// A loss with its exact extent. Its text is the flag that accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acceptance {
    /// Records that were never counted and are no longer there.
    Loss {
        /// Their topic.
        topic: Topic,
        /// Their partition.
        partition: i32,
        /// The first offset that is lost.
        from: i64,
        /// The last one.
        to: i64,
    },
    /// A partition whose counted records are gone, with it or because it was created anew. What is counted stays.
    Gone {
        /// Its topic.
        topic: Topic,
        /// Its number.
        partition: i32,
        /// The records below this offset are counted.
        next: i64,
    },
}

/// An acceptance that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What.
    pub what: Acceptance,
    /// When, by the accepting machine's clock.
    pub at: Millis,
    /// By which instance.
    pub by: String,
    /// Where the partition was begun at the time: what lay from there up to the loss is in the store's numbers.
    pub begun: i64,
}

impl Accepted {
    /// Whether the store's numbers hold records that no source will give again, because others have their offsets now.
    pub fn cannot_be_read_again(&self) -> bool {
        matches!(self.what, Acceptance::Gone { next, .. } if next > self.begun)
    }
}

/// The flag of [`Acceptance::Loss`].
const LOSS: &str = "--accept-loss";
/// The flag of [`Acceptance::Gone`].
const GONE: &str = "--accept-gone";

impl fmt::Display for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Acceptance::Loss { topic, partition, from, to } => {
                write!(f, "{LOSS} {}/{partition}:{from}-{to}", topic.name())
            }
            Acceptance::Gone { topic, partition, next } => write!(f, "{GONE} {}/{partition}:{next}", topic.name()),
        }
    }
}

impl Acceptance {
    /// The partition.
    pub fn place(&self) -> (Topic, i32) {
        match *self {
            Acceptance::Loss { topic, partition, .. } | Acceptance::Gone { topic, partition, .. } => (topic, partition),
        }
    }

    /// Reads a flag with its value, as it is displayed.
    pub fn parse(text: &str) -> Option<Acceptance> {
        match text.split_once(' ')? {
            (LOSS, value) => Acceptance::parse_loss(value),
            (GONE, value) => Acceptance::parse_gone(value),
            _ => None,
        }
    }

    /// Reads `TOPIC/PARTITION:FROM-TO`.
    pub fn parse_loss(value: &str) -> Option<Acceptance> {
        let ((topic, partition), range) = place(value)?;
        let (from, to) = range.split_once('-')?;
        let (from, to) = (offset(from)?, offset(to)?);
        (from <= to).then_some(Acceptance::Loss { topic, partition, from, to })
    }

    /// Reads `TOPIC/PARTITION:NEXT`.
    pub fn parse_gone(value: &str) -> Option<Acceptance> {
        let ((topic, partition), next) = place(value)?;
        Some(Acceptance::Gone { topic, partition, next: offset(next)? })
    }
}

/// Splits `TOPIC/PARTITION:REST`.
fn place(value: &str) -> Option<((Topic, i32), &str)> {
    let (place, rest) = value.split_once(':')?;
    let (topic, partition) = place.split_once('/')?;
    let partition = digits(partition)?.parse().ok()?;
    Some(((Topic::from_name(topic)?, partition), rest))
}

fn offset(text: &str) -> Option<i64> {
    digits(text)?.parse().ok()
}

/// `parse` would also take a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_is_read_again() {
        let loss = Acceptance::Loss { topic: Topic::Sales, partition: 0, from: 100, to: 250 };
        let gone = Acceptance::Gone { topic: Topic::UserActivity, partition: 12, next: 0 };
        assert_eq!(loss.to_string(), "--accept-loss sales/0:100-250");
        assert_eq!(gone.to_string(), "--accept-gone user_activity/12:0");
        for acceptance in [loss, gone] {
            assert_eq!(Acceptance::parse(&acceptance.to_string()), Some(acceptance));
        }
    }

    #[test]
    fn what_is_not_exact_is_not_read() {
        for value in [
            "",
            "sales",
            "sales/0",
            "sales/0:",
            "sales/0:5",
            "sales/0:5-",
            "sales/0:5-4",
            "sales/0:-1-4",
            "sales/0:+1-4",
            "sales/x:1-4",
            "sales/-1:1-4",
            "orders/0:1-4",
            "sales/0:1-4 ",
            "sales/0:1-9223372036854775808",
            "/0:1-4",
        ] {
            assert_eq!(Acceptance::parse_loss(value), None, "{value:?}");
        }
        for value in ["sales/0:", "sales/0:1-4", "sales:4", "sales/0:-4"] {
            assert_eq!(Acceptance::parse_gone(value), None, "{value:?}");
        }
        assert_eq!(Acceptance::parse("--accept-all sales/0:4"), None);
    }
}
