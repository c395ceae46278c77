//! Where the records come from: the store's own raw_data, or the source it was filled from.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tillflow_dataflows::records::{Reason, Topic};

use super::VerifyError;
use super::windows::{int, text};
use crate::document::{Collection, Document, Fields, Value};
use crate::source::channel::OwnedRecord;
use crate::source::{Assignment, Reader, Source, SourceError};
use crate::store::{Offsets, StoreScan};

/// A partition, and which of its records count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) start: i64,
    pub(super) until: i64,
}

/// The partitions below whose committed offsets there is something.
pub(super) fn spans(begun: &Offsets, committed: &Offsets) -> Vec<Span> {
    let span = |((topic, partition), until): (&(Topic, i32), &i64)| {
        let start = begun.get(&(*topic, *partition)).copied().unwrap_or(0);
        Span { topic: *topic, partition: *partition, start, until: *until }
    };
    committed.iter().map(span).filter(|span| span.start < span.until).collect()
}

/// A record, and what raw_data says of it if it came from there.
pub(super) struct Given {
    pub(super) record: OwnedRecord,
    pub(super) stored: Option<Fields>,
}

/// Records partition by partition.
pub(super) trait Input {
    /// The next record of the `index`th span; absent at its end.
    fn next(&mut self, store: &mut dyn StoreScan, index: usize) -> Result<Option<Given>, VerifyError>;

    /// Offsets that had no record, where it is for others to say whether there should have been one.
    fn gaps(&mut self) -> Gaps {
        Gaps::default()
    }
}

/// Where a record is, as documents have it.
pub(super) fn place_fields(topic: Topic, partition: i32, offset: i64) -> Fields {
    vec![text("topic", topic.name()), int("partition", i64::from(partition)), int("offset", offset)]
}

/// The name of a record.
pub(super) fn record_id(topic: Topic, partition: i32, offset: i64) -> String {
    format!("{}|{partition}|{offset}", topic.name())
}

/// Records that are asked for at once. Each may have a megabyte.
const AT_ONCE: usize = 256;

/// Offsets without a record: all of them counted, the first of them kept.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    pub(super) offsets: u64,
    pub(super) first: Vec<String>,
}

/// How many of them are kept.
const GAPS_KEPT: usize = 10_000;

/// From raw_data. Rows are asked for by their `_id`s, one for each offset, because no index has them in order.
pub(super) struct RawInput {
    spans: Vec<Span>,
    waiting: Vec<VecDeque<Given>>,
    next: Vec<i64>,
    gaps: Gaps,
}

impl RawInput {
    pub(super) fn new(spans: &[Span]) -> RawInput {
        RawInput {
            spans: spans.to_vec(),
            waiting: spans.iter().map(|_| VecDeque::new()).collect(),
            next: spans.iter().map(|span| span.start).collect(),
            gaps: Gaps::default(),
        }
    }

    /// Reads on in a span until there is something.
    fn fill(&mut self, store: &mut dyn StoreScan, index: usize) -> Result<(), VerifyError> {
        let Span { topic, partition, until, .. } = self.spans[index];
        while self.waiting[index].is_empty() && self.next[index] < until {
            let from = self.next[index];
            let to = until.min(from + AT_ONCE as i64);
            self.next[index] = to;
            let ids: Vec<String> = (from..to).map(|offset| record_id(topic, partition, offset)).collect();
            let mut rows: Vec<Option<Document>> = ids.iter().map(|_| None).collect();
            for row in store.by_id(Collection::RawData, &ids)? {
                let offset = row.id.rsplit('|').next().and_then(|offset| offset.parse::<i64>().ok());
                let place = offset.and_then(|offset| usize::try_from(offset - from).ok());
                if let Some(slot) = place.and_then(|place| rows.get_mut(place)) {
                    *slot = Some(row);
                }
            }
            for ((offset, id), row) in (from..to).zip(ids).zip(rows) {
                match row {
                    Some(row) => {
                        let given = given(store, offset, row)?;
                        self.waiting[index].push_back(given);
                    }
                    None => {
                        self.gaps.offsets += 1;
                        if self.gaps.first.len() < GAPS_KEPT {
                            self.gaps.first.push(id);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Input for RawInput {
    fn next(&mut self, store: &mut dyn StoreScan, index: usize) -> Result<Option<Given>, VerifyError> {
        self.fill(store, index)?;
        Ok(self.waiting[index].pop_front())
    }

    fn gaps(&mut self) -> Gaps {
        std::mem::take(&mut self.gaps)
    }
}

/// The record that a row of raw_data tells of.
fn given(store: &mut dyn StoreScan, offset: i64, row: Document) -> Result<Given, VerifyError> {
    let is_too_large = matches!(row.get("reason"), Some(Value::Text(reason)) if reason == Reason::TooLarge.name());
    let timestamp = match row.get("kafka_timestamp") {
        Some(Value::Time(timestamp)) => Some(*timestamp),
        _ => None,
    };
    let key = row.get("key").map(bytes);
    let mut value = row.get("value").map(bytes);
    if is_too_large {
        // A store may keep a document without its blanks, and then it is not too large any more. The dead letter has
        // the bytes as they came.
        let letters = store.by_id(Collection::DeadLetters, std::slice::from_ref(&row.id))?;
        let untouched = letters.first().and_then(|letter| letter.get("value"));
        if let Some(Value::Bytes(untouched)) = untouched {
            value = Some(untouched.clone());
        }
    }
    let stored = row.fields.into_iter().filter(|(name, _)| !matches!(&**name, "value" | "key")).collect();
    Ok(Given { record: OwnedRecord { offset, timestamp, key, value }, stored: Some(stored) })
}

/// Bytes of a key or a value. What is neither text nor bytes was not written by us, and will not be read as a record.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(text) | Value::Json(text) => text.clone().into_bytes(),
        Value::Bytes(bytes) => bytes.clone(),
        other => super::difference::shown(other).into_bytes(),
    }
}

/// How long a source may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// How often events that belong to no partition are served, at the least.
const SERVE: Duration = Duration::from_millis(200);

/// From a source.
pub(super) struct SourceInput {
    reader: Box<dyn Reader>,
    spans: Vec<Span>,
    waiting: Vec<VecDeque<OwnedRecord>>,
    served: Instant,
}

impl SourceInput {
    /// Checks that the source still has what the spans name, and begins to read.
    pub(super) fn open(source: &dyn Source, spans: &[Span]) -> Result<SourceInput, VerifyError> {
        let present = source.discover()?;
        for Span { topic, partition, start, until } in spans {
            let place = format!("{} partition {partition}", topic.name());
            let found = present.iter().find(|info| info.topic == *topic && info.partition == *partition);
            let Some(info) = found else {
                return Err(lost(format!("{place} is gone, but the store counts its records below offset {until}")));
            };
            if info.low > *start {
                return Err(lost(format!(
                    "{place}: offsets {start} to {} are no longer there, but the store counts them",
                    info.low - 1
                )));
            }
            if info.high.is_some_and(|high| high < *until) {
                return Err(lost(format!("{place} ends before offset {until}, up to which the store counts it")));
            }
        }
        let assignments: Vec<Assignment> = spans
            .iter()
            .map(|span| Assignment { topic: span.topic, partition: span.partition, start: span.start })
            .collect();
        Ok(SourceInput {
            reader: source.open(&assignments)?,
            spans: spans.to_vec(),
            waiting: spans.iter().map(|_| VecDeque::new()).collect(),
            served: Instant::now(),
        })
    }

    fn fill(&mut self, index: usize) -> Result<(), VerifyError> {
        let Span { topic, partition, until, .. } = self.spans[index];
        let waiting = &mut self.waiting[index];
        let mut heard = Instant::now();
        while waiting.is_empty() {
            if self.served.elapsed() >= SERVE || heard.elapsed() >= SERVE {
                self.served = Instant::now();
                let problem = self.reader.serve()?;
                if heard.elapsed() >= SILENCE {
                    return Err(VerifyError::Source(SourceError::Unavailable(format!(
                        "reading {} partition {partition}: nothing came for {} s{}",
                        topic.name(),
                        SILENCE.as_secs(),
                        problem.map(|problem| format!("; {problem}")).unwrap_or_default()
                    ))));
                }
            }
            let before = self.reader.position(index);
            if before.next >= until {
                return Ok(());
            }
            let mut last = None;
            self.reader.poll(index, AT_ONCE, until, &mut |record| {
                last = Some(record.offset);
                waiting.push_back(OwnedRecord {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                });
            })?;
            let position = self.reader.position(index);
            // The offset before the committed one was a record's when it was committed.
            let passed = position.next >= until && last.is_some_and(|last| last + 1 != until);
            if passed || (last.is_none() && position.at_end && position.next < until) {
                return Err(lost(format!(
                    "{} partition {partition} has no record at offset {}, which the store counts",
                    topic.name(),
                    until - 1
                )));
            }
            if last.is_some() {
                heard = Instant::now();
            } else if position.next < until {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
        Ok(())
    }
}

fn lost(what: String) -> VerifyError {
    VerifyError::Lost(format!(
        "{what}: verify from what still has all of them (`--from raw-data`), or keep records longer (retention.ms, \
         retention.bytes)"
    ))
}

impl Input for SourceInput {
    fn next(&mut self, _: &mut dyn StoreScan, index: usize) -> Result<Option<Given>, VerifyError> {
        if self.waiting[index].is_empty() {
            self.fill(index)?;
        }
        Ok(self.waiting[index].pop_front().map(|record| Given { record, stored: None }))
    }
}
