//! What both readers make of a [`Query`]: its bounds on `_id`, and its defaults.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use tillflow_dataflows::records::Millis;

use super::{Query, StoreError};
use crate::document::{Collection, push_id_part};

/// Documents that a query without `limit` gives at most.
const DEFAULT_LIMIT: usize = 10_000;
/// 9999-12-31T23:59:59Z, in seconds: the greatest instant whose text sorts as its number does.
const LAST_SECOND: i64 = 253_402_300_799;

/// A half-open range of `_id`s that holds every answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IdRange {
    pub(super) from: String,
    pub(super) below: String,
}

impl Query {
    pub(super) fn collection_asked(&self) -> Result<Collection, StoreError> {
        self.collection.ok_or_else(|| StoreError::Unreadable("a query names no collection".into()))
    }

    pub(super) fn limit_or_default(&self) -> i64 {
        i64::try_from(self.limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(i64::MAX)
    }

    /// Where the answers are by `_id`, in collections whose `_id`s begin with `type|` and, in aggregated_data,
    /// `type|granularity|window start`: the primary key answers such a query without any other index.
    pub(super) fn id_range(&self) -> Option<IdRange> {
        let mut prefix = String::new();
        push_id_part(&mut prefix, self.type_is.as_deref()?);
        prefix.push('|');
        match (self.collection?, &self.granularity) {
            (Collection::AggregatedData, Some(granularity)) => {
                push_id_part(&mut prefix, granularity);
                prefix.push('|');
                let mut range = prefix_range(&prefix);
                if let Some(start) = self.from.and_then(|from| second_text(from.div_euclid(1000))) {
                    range.from.push_str(&start);
                }
                if let Some(end) = self.to.and_then(|to| second_text(to.div_euclid(1000) + 1)) {
                    range.below = prefix + &end;
                }
                Some(range)
            }
            (Collection::AggregatedData | Collection::RealTimeMetrics, _) => Some(prefix_range(&prefix)),
            _ => None,
        }
    }
}

/// The texts that begin with `prefix`, which ends with `|`: those below the same with `}`, the next character.
fn prefix_range(prefix: &str) -> IdRange {
    let mut below = prefix.to_owned();
    below.pop();
    below.push('}');
    IdRange { from: prefix.to_owned(), below }
}

/// `2024-01-15T10:00:00Z`, as window starts are written in an `_id`; absent where texts would not sort by time.
fn second_text(seconds: Millis) -> Option<String> {
    if !(0..=LAST_SECOND).contains(&seconds) {
        return None;
    }
    let instant = DateTime::<Utc>::from_timestamp(seconds, 0)?;
    let mut text = String::with_capacity(20);
    write!(text, "{}", instant.format("%Y-%m-%dT%H:%M:%SZ")).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sales_by_hour() -> Query {
        Query {
            collection: Some(Collection::AggregatedData),
            type_is: Some("sales_total".into()),
            granularity: Some("hour".into()),
            ..Query::default()
        }
    }

    #[test]
    fn a_window_inside_the_bounds_is_inside_the_range_and_its_neighbours_are_not() {
        let query = Query { from: Some(1_705_312_800_000), to: Some(1_705_316_400_000), ..sales_by_hour() };
        let range = query.id_range().unwrap();
        let inside = |id: &str| range.from.as_str() <= id && id < range.below.as_str();
        assert!(inside("sales_total|hour|2024-01-15T10:00:00Z"));
        assert!(!inside("sales_total|hour|2024-01-15T09:00:00Z"));
        assert!(!inside("sales_total|hour|2024-01-15T12:00:00Z"));
        assert!(!inside("sales_total|day|2024-01-15T10:00:00Z"));
    }

    #[test]
    fn without_bounds_the_whole_prefix_is_the_range() {
        let range = sales_by_hour().id_range().unwrap();
        assert_eq!((range.from.as_str(), range.below.as_str()), ("sales_total|hour|", "sales_total|hour}"));
        let far = Query { from: Some(i64::MIN), to: Some(i64::MAX), ..sales_by_hour() };
        assert_eq!(far.id_range().unwrap(), range);
    }

    #[test]
    fn ids_without_the_form_have_no_range() {
        let raw = Query { collection: Some(Collection::RawData), type_is: Some("x".into()), ..Query::default() };
        assert_eq!(raw.id_range(), None);
        let metrics = Query {
            collection: Some(Collection::RealTimeMetrics),
            type_is: Some("alert".into()),
            granularity: Some("hour".into()),
            from: Some(0),
            ..Query::default()
        };
        assert_eq!(metrics.id_range().unwrap().below, "alert}");
    }
}
