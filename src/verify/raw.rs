//! raw_data itself: does each row say of its record what it should?

use hashbrown::HashMap;
use tillflow_dataflows::records::{Outcome, Reason};

use super::VerifyError;
use super::admission::Verdict;
use super::compare::Comparison;
use super::difference::{DifferenceKind, Evidence, fields_that_differ};
use super::input::{Span, place_fields, record_id};
use super::windows::text;
use crate::document::{Collection, FieldName, Fields, Value};
use crate::source::channel::OwnedRecord;
use crate::store::StoreScan;

/// The value of a record as raw_data has it: JSON where it is JSON, and bytes where it is not.
pub(super) fn value_form(reason: Option<Reason>, value: Vec<u8>, json_kept: fn(&str) -> String) -> Value {
    let text = match reason {
        Some(Reason::InvalidUtf8 | Reason::InvalidJson) => None,
        // Nobody has looked whether it is JSON.
        Some(Reason::TooLarge) => {
            std::str::from_utf8(&value).ok().filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
        }
        _ => std::str::from_utf8(&value).ok(),
    };
    match text {
        Some(text) => Value::Json(json_kept(text)),
        None => Value::Bytes(value),
    }
}

/// What a row says beside the record itself.
fn verdict_fields(span: &Span, record: &OwnedRecord, verdict: &Verdict) -> Fields {
    let mut fields = place_fields(span.topic, span.partition, record.offset);
    fields.push(text("outcome", verdict.outcome.name()));
    let timestamp = verdict.event_time.or(record.timestamp);
    fields.extend(timestamp.map(|timestamp| ("timestamp".into(), Value::Time(timestamp))));
    fields.extend(verdict.reason.map(|reason| text("reason", reason.name())));
    fields
}

/// Holds a row that the record came from against what became of it.
pub(super) fn check_row(
    span: &Span,
    record: &OwnedRecord,
    verdict: &Verdict,
    stored: &Fields,
    comparison: &mut Comparison,
) {
    let text = |value: &Value, wanted: &str| matches!(value, Value::Text(text) if text == wanted);
    let is_right = |(name, value): &(FieldName, Value)| match &**name {
        "topic" => text(value, span.topic.name()),
        "partition" => *value == Value::Int(i64::from(span.partition)),
        "offset" => *value == Value::Int(record.offset),
        "outcome" => text(value, verdict.outcome.name()),
        "reason" => verdict.reason.is_some_and(|reason| text(value, reason.name())),
        "timestamp" => verdict.event_time.or(record.timestamp).is_some_and(|at| *value == Value::Time(at)),
        "kafka_timestamp" => record.timestamp.is_some_and(|at| *value == Value::Time(at)),
        _ => false,
    };
    let wanted = 4
        + usize::from(verdict.reason.is_some())
        + usize::from(verdict.event_time.or(record.timestamp).is_some())
        + usize::from(record.timestamp.is_some());
    if stored.len() == wanted && stored.iter().all(is_right) {
        return;
    }
    let expected = verdict_fields(span, record, verdict);
    // The Kafka timestamp was taken from the row: if it cannot be one, it was taken as absent.
    let besides: &[&str] = if record.timestamp.is_some() { &["kafka_timestamp"] } else { &[] };
    let id = record_id(span.topic, span.partition, record.offset);
    comparison.wrong(Collection::RawData, id, fields_that_differ(stored, &expected, besides));
}

/// Rows that are looked up at once.
const AT_ONCE: usize = 256;

/// Looks rows up for records that came from elsewhere.
pub(super) struct RawCheck {
    json_kept: fn(&str) -> String,
    waiting: Vec<(String, Fields)>,
    /// Rows that were there.
    pub(super) found: u64,
}

impl RawCheck {
    pub(super) fn new(json_kept: fn(&str) -> String) -> RawCheck {
        RawCheck { json_kept, waiting: Vec::with_capacity(AT_ONCE), found: 0 }
    }

    pub(super) fn add(
        &mut self,
        span: &Span,
        record: &OwnedRecord,
        verdict: &Verdict,
        store: &mut dyn StoreScan,
        comparison: &mut Comparison,
    ) -> Result<(), VerifyError> {
        let mut expected = verdict_fields(span, record, verdict);
        let timestamp = record.timestamp.map(|at| ("kafka_timestamp".into(), Value::Time(at)));
        expected.extend(timestamp);
        if let Some(key) = &record.key {
            let key = String::from_utf8(key.clone()).map_or_else(|_| Value::Bytes(key.clone()), Value::Text);
            expected.push(("key".into(), key));
        }
        if let Some(value) = &record.value {
            expected.push(("value".into(), value_form(verdict.reason, value.clone(), self.json_kept)));
        }
        self.waiting.push((record_id(span.topic, span.partition, record.offset), expected));
        if self.waiting.len() >= AT_ONCE { self.look_up(store, comparison) } else { Ok(()) }
    }

    /// Compares the records that wait with their rows.
    pub(super) fn look_up(
        &mut self,
        store: &mut dyn StoreScan,
        comparison: &mut Comparison,
    ) -> Result<(), VerifyError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = self.waiting.iter().map(|(id, _)| id.clone()).collect();
        let rows: HashMap<String, Fields> =
            store.by_id(Collection::RawData, &ids)?.into_iter().map(|row| (row.id, row.fields)).collect();
        self.found += rows.len() as u64;
        for (id, expected) in self.waiting.drain(..) {
            match rows.get(&id) {
                None => {
                    comparison.differences.add(Collection::RawData, id, DifferenceKind::Missing, Evidence::default())
                }
                Some(stored) => {
                    let fields = fields_that_differ(stored, &expected, &[]);
                    if !fields.is_empty() {
                        comparison.wrong(Collection::RawData, id, fields);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The sum of a data_quality document's outcomes, if it is one.
pub(super) fn counted(fields: &Fields) -> Option<u64> {
    let outcomes = fields.iter().find(|(name, _)| name == "outcomes").map(|(_, value)| value)?;
    let Value::Document(outcomes) = outcomes else { return None };
    let known = |name: &str| Outcome::ALL.iter().any(|outcome| outcome.name() == name);
    let count = |(name, value): &(FieldName, Value)| match value {
        Value::Int(count) if known(name) => u64::try_from(*count).ok(),
        _ => None,
    };
    outcomes.iter().map(count).try_fold(0u64, |sum, count| sum.checked_add(count?))
}
