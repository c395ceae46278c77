//! From a record's bytes to facts: decode, admit, and note what is to be written about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tillflow_dataflows::admission::{AdmissionSettings, Decision, Partition, Reading, SavedPartition};
use tillflow_dataflows::feed::Feed;
use tillflow_dataflows::inputs::PartitionClock;
use tillflow_dataflows::measures::QualityMeasures;
use tillflow_dataflows::records::{Millis, Outcome, Reason, Topic};

use super::checkpoint::Shard;
use super::fingerprint::LastRecord;
use super::plan::Planned;
use super::{EngineError, EngineOptions, now, shown};
use crate::codec::{Decoder, Record};
use crate::document::{Collection, Document, Fields, Value};
use crate::source::{Assignment, RawRecord};

/// A record that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct DeadLetter {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) kafka_timestamp: Option<Millis>,
    pub(super) reason: Reason,
    pub(super) detail: String,
}

/// What a tick did to one partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Consumed {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    /// Whose it is.
    pub(super) worker: usize,
    /// Where the partition was begun.
    pub(super) start: i64,
    /// The offset after the last record.
    pub(super) next: i64,
    /// The fingerprint of the last record, if there was one.
    pub(super) crc: Option<u32>,
    /// The partition clock, if there was a record.
    pub(super) clock: Option<Option<Millis>>,
    /// If it was the first record, and windows had left memory: what is dated before this is late.
    pub(super) late_before: Option<Millis>,
    /// How many records had which outcome, by [`Outcome::ALL`]'s order.
    pub(super) outcomes: [u64; Outcome::ALL.len()],
    /// How many dead letters had which reason, by [`Reason::ALL`]'s order.
    pub(super) reasons: [u64; Reason::ALL.len()],
    /// The greatest Kafka timestamp.
    pub(super) newest: Option<Millis>,
    /// When the tick began, by this worker's clock.
    pub(super) begun: Millis,
    /// The records' ages when the tick began, in milliseconds, by classes of about the same age: (sum, count).
    pub(super) ages: Vec<(i64, u64)>,
}

/// What travels through the graph beside the rows, so that it arrives with its tick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Note {
    Consumed(Box<Consumed>),
    DeadLetter(Box<DeadLetter>),
    /// Of the partitions that this worker begins from this tick on, what is dated before the instant is late.
    Agreed {
        worker: usize,
        before: Millis,
    },
    /// A raw_data document, from a process without a committer.
    Raw(Box<Document>),
    /// A worker's part of a checkpoint, from such a process.
    Shard(Box<Shard>),
}

/// Bytes of a record that count as one row change more: about what a row takes.
const ROW_BYTES: usize = 256;

impl DeadLetter {
    /// As how many row changes it counts where what waits, or is committed at once, is bounded.
    pub(super) fn weight(&self) -> usize {
        1 + [&self.key, &self.value].into_iter().flatten().map(Vec::len).sum::<usize>() / ROW_BYTES
    }
}

impl Note {
    /// The same; what is not bounded by it counts nothing.
    pub(super) fn weight(&self) -> usize {
        match self {
            Note::DeadLetter(letter) => letter.weight(),
            Note::Raw(document) => 1 + document.text_bytes() / ROW_BYTES,
            // One for each partition; one checkpoint at a time.
            Note::Consumed(_) | Note::Agreed { .. } | Note::Shard(_) => 0,
        }
    }
}

/// The classes of [`Consumed::ages`]: doubling from 1 ms, so that a class's mean stands for its records.
const AGE_CLASSES: usize = 24;

/// The greatest age that is told apart: ten years. A timestamp may be anything; a sum of ages must not overflow.
const AGE_MAX: i64 = 10 * 366 * 86_400_000;

/// What the current tick did so far.
struct TickCounts {
    outcomes: [u64; Outcome::ALL.len()],
    reasons: [u64; Reason::ALL.len()],
    next: Option<i64>,
    newest: Option<Millis>,
    late_before: Option<Millis>,
    ages: [(i64, u64); AGE_CLASSES],
}

impl TickCounts {
    const EMPTY: TickCounts = TickCounts {
        outcomes: [0; Outcome::ALL.len()],
        reasons: [0; Reason::ALL.len()],
        next: None,
        newest: None,
        late_before: None,
        ages: [(0, 0); AGE_CLASSES],
    };
}

/// One partition of this worker.
struct Ingested {
    /// Below `committed`, `raw_data` has been written by an earlier run.
    planned: Planned,
    admission: Partition,
    last: LastRecord,
    /// What the graph knows of its clock; nothing while the partition has given no record.
    told: Option<PartitionClock>,
    /// The next offset.
    next: i64,
    tick: TickCounts,
}

impl Ingested {
    fn new(planned: Planned, settings: AdmissionSettings) -> Ingested {
        let Assignment { topic, partition, start } = planned.assignment;
        Ingested {
            planned,
            admission: Partition::new(topic, partition, settings),
            last: LastRecord::default(),
            told: None,
            next: start,
            tick: TickCounts::EMPTY,
        }
    }

    fn place(&self) -> (Topic, i32) {
        self.planned.assignment.place()
    }

    /// Goes on where it was saved, before the first tick: its clock and its candidates enter the graph beside the state.
    /// One that is gone has a clock and gives nothing.
    fn restore(
        &mut self,
        saved: &SavedPartition,
        settings: AdmissionSettings,
        feed: &mut Feed,
    ) -> Result<(), EngineError> {
        self.admission = Partition::restore(saved, settings, &mut |fact| feed.take(fact))
            .map_err(|error| EngineError::unreadable_checkpoint(&error))?;
        if saved.has_given || saved.clock.is_some() {
            let clock = PartitionClock { place: self.place(), clock: saved.clock, is_gone: !saved.has_given };
            self.told = Some(clock);
            feed.move_clock(None, clock);
        }
        Ok(())
    }
}

/// Takes the records of one worker's partitions.
pub(super) struct Ingest {
    /// Whose it is, among the workers of all processes.
    worker: usize,
    decoder: Decoder,
    partitions: Vec<Ingested>,
    /// Those that are gone, and this worker takes up should they be there again.
    gone: Vec<Ingested>,
    admission: AdmissionSettings,
    /// What a partition that gives its first record now gives of windows before this is late: they may have left memory.
    late_before: Option<Millis>,
    raw_data: bool,
    /// When the tick began, by this worker's clock.
    begun: Millis,
}

impl Ingest {
    /// With no partition yet. What partitions that give their first record give of windows before `late_before` is late.
    pub(super) fn new(options: &EngineOptions, worker: usize, late_before: Option<Millis>) -> Ingest {
        Ingest {
            worker,
            decoder: Decoder::new(options.timezone),
            partitions: Vec::new(),
            gone: Vec::new(),
            admission: options.admission,
            late_before,
            raw_data: options.raw_data,
            begun: now(),
        }
    }

    /// Begins partitions where they are assigned, with what is saved of them.
    pub(super) fn begin_all(
        &mut self,
        partitions: &[Planned],
        saved: &mut BTreeMap<(Topic, i32), SavedPartition>,
        feed: &mut Feed,
    ) -> Result<(), EngineError> {
        for planned in partitions {
            let mut partition = Ingested::new(*planned, self.admission);
            if let Some(saved) = saved.remove(&partition.place()) {
                partition.restore(&saved, self.admission, feed)?;
            }
            self.partitions.push(partition);
        }
        Ok(())
    }

    /// Keeps what is saved of partitions that are gone and, should they be there again, this worker's.
    pub(super) fn keep(
        &mut self,
        saved: &mut BTreeMap<(Topic, i32), SavedPartition>,
        is_mine: impl Fn((Topic, i32)) -> bool,
        feed: &mut Feed,
    ) -> Result<(), EngineError> {
        let mine: Vec<_> = saved.keys().copied().filter(|place| is_mine(*place)).collect();
        for saved in mine.iter().filter_map(|place| saved.remove(place)) {
            let assignment = Assignment { topic: saved.topic, partition: saved.number, start: 0 };
            let planned = Planned { assignment, committed: 0, end: None, late_before: None };
            let mut partition = Ingested::new(planned, self.admission);
            partition.restore(&saved, self.admission, feed)?;
            self.gone.push(partition);
        }
        Ok(())
    }

    /// Takes one more partition, which becomes the last. One that was gone goes on with what it remembers: a transaction
    /// that is sent again is a duplicate, whatever its topic went through.
    pub(super) fn add(&mut self, planned: Planned) {
        let place = planned.assignment.place();
        let known = self.gone.iter().position(|partition| partition.place() == place);
        self.partitions.push(match known.map(|index| self.gone.swap_remove(index)) {
            Some(known) => Ingested { planned, next: planned.assignment.start, ..known },
            None => Ingested::new(planned, self.admission),
        });
    }

    /// Agrees that windows before an instant leave memory: what partitions that give their first record from now on give of
    /// them is late. Refused unless the others, of which `is_empty` tells, are known to be empty.
    pub(super) fn agree(&mut self, before: Millis, is_empty: impl Fn(usize) -> bool) -> bool {
        let agrees =
            || (0..).zip(&self.partitions).all(|(index, partition)| partition.admission.has_given() || is_empty(index));
        let is_news = self.late_before < Some(before) && agrees();
        if is_news {
            self.late_before = Some(before);
        }
        is_news
    }

    /// What each partition remembers at this moment, between two ticks, and its next offset. One that is gone has none.
    pub(super) fn saved(&self) -> Vec<(SavedPartition, Option<i64>)> {
        let read = self.partitions.iter().map(|partition| (partition.admission.save(), Some(partition.next)));
        read.chain(self.gone.iter().map(|partition| (partition.admission.save(), None))).collect()
    }

    /// What there is to note of a partition that has given nothing yet, so that the store knows of it.
    pub(super) fn begin(&self, assignment: Assignment) -> Note {
        Note::Consumed(Box::new(Consumed {
            topic: assignment.topic,
            partition: assignment.partition,
            worker: self.worker,
            start: assignment.start,
            next: assignment.start,
            crc: None,
            clock: None,
            late_before: None,
            outcomes: [0; Outcome::ALL.len()],
            reasons: [0; Reason::ALL.len()],
            newest: None,
            begun: self.begun,
            ages: Vec::new(),
        }))
    }

    /// Takes the next record of the `index`th partition.
    pub(super) fn take(
        &mut self,
        index: usize,
        record: RawRecord<'_>,
        feed: &mut Feed,
        raw: &mut Vec<Document>,
        notes: &mut Vec<Note>,
    ) {
        let partition = &mut self.partitions[index];
        let Planned { assignment: Assignment { topic, partition: number, .. }, committed, .. } = partition.planned;
        partition.last.remember(record);
        if !partition.admission.has_given() {
            let is_counted = record.offset < committed;
            let known = partition.planned.late_before;
            let late_before = if is_counted { known } else { known.max(self.late_before) };
            late_before.into_iter().for_each(|late_before| partition.admission.begin_at(late_before));
            partition.tick.late_before = late_before.filter(|_| !is_counted);
        }
        let decoded = record.value.map(|value| self.decoder.decode_in_place(topic, value));
        let reading = match &decoded {
            None => Reading::Tombstone(record.key),
            Some(Ok(record)) => record.into(),
            Some(Err(rejection)) => Reading::Unreadable(rejection.reason),
        };
        let event_time = decoded.as_ref().and_then(|decoded| decoded.as_ref().ok()).map(Record::event_time);
        let decision = partition.admission.admit(reading, record.offset, record.timestamp, &mut |fact| feed.take(fact));

        let tick = &mut partition.tick;
        tick.next = Some(record.offset + 1);
        tick.outcomes[decision.outcome as usize] += 1;
        if let Some(reason) = decision.reason {
            tick.reasons[reason as usize] += 1;
            notes.push(Note::DeadLetter(Box::new(DeadLetter {
                topic,
                partition: number,
                offset: record.offset,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                kafka_timestamp: record.timestamp,
                reason,
                detail: match decoded {
                    Some(Err(rejection)) => rejection.detail,
                    _ => words(reason, event_time, record, partition.admission.clock()),
                },
            })));
        }
        if let Some(timestamp) = record.timestamp {
            tick.newest = tick.newest.max(Some(timestamp));
            let age = self.begun.saturating_sub(timestamp).clamp(-AGE_MAX, AGE_MAX);
            let class = (i64::BITS - age.max(0).leading_zeros()) as usize;
            let (sum, count) = &mut tick.ages[class.min(AGE_CLASSES - 1)];
            *sum += age;
            *count += 1;
        }
        if self.raw_data && record.offset >= committed {
            raw.push(raw_document(topic, number, record, decision, event_time));
        }
    }

    /// To be called when what the last tick adds up to has left the feed.
    pub(super) fn recycle(&mut self) {
        self.partitions.iter_mut().for_each(|partition| partition.admission.recycle());
    }

    /// Closes the tick: gives the graph the clocks and counts that changed, and notes the offsets.
    pub(super) fn close_tick(&mut self, feed: &mut Feed, notes: &mut Vec<Note>) {
        for partition in &mut self.partitions {
            let Assignment { topic, partition: number, start } = partition.planned.assignment;
            let tick = std::mem::replace(&mut partition.tick, TickCounts::EMPTY);
            let Some(next) = tick.next else { continue };
            partition.next = next;
            let clock = partition.admission.clock();
            let told = PartitionClock::new((topic, number), clock);
            if partition.told != Some(told) {
                feed.move_clock(partition.told.replace(told), told);
            }
            feed.count(QualityMeasures { outcomes: tick.outcomes.map(count), reasons: tick.reasons.map(count) });
            notes.push(Note::Consumed(Box::new(Consumed {
                topic,
                partition: number,
                worker: self.worker,
                start,
                next,
                crc: Some(partition.last.crc()),
                clock: Some(clock),
                late_before: tick.late_before,
                outcomes: tick.outcomes,
                reasons: tick.reasons,
                newest: tick.newest,
                begun: self.begun,
                ages: tick.ages.into_iter().filter(|(_, count)| *count > 0).collect(),
            })));
        }
        self.begun = now();
    }
}

fn count(count: u64) -> i64 {
    i64::try_from(count).expect("a tick has fewer than 2^63 records")
}

/// Why admission refused a record that can be read.
fn words(reason: Reason, event_time: Option<Millis>, record: RawRecord<'_>, clock: Option<Millis>) -> String {
    match reason {
        Reason::Late => format!(
            "event time {} is before the partition clock {} less the correction window",
            shown(event_time),
            shown(clock)
        ),
        Reason::FutureTimestamp => format!(
            "event time {} is after the Kafka timestamp {} by more than --max-future",
            shown(event_time),
            shown(record.timestamp)
        ),
        Reason::NullValue => String::from("no value, and no key that could say what is cancelled"),
        other => format!("the record was refused: {}", other.name()),
    }
}

/// The name of a record: `_id` of raw_data and of dead letters.
pub(super) fn record_id(topic: Topic, partition: i32, offset: i64) -> String {
    format!("{}|{partition}|{offset}", topic.name())
}

fn raw_document(
    topic: Topic,
    partition: i32,
    record: RawRecord<'_>,
    decision: Decision,
    event_time: Option<Millis>,
) -> Document {
    let mut fields: Fields = Vec::with_capacity(9);
    let mut field = |name: &'static str, value: Value| fields.push((name.into(), value));
    field("topic", Value::Text(topic.name().to_owned()));
    field("partition", Value::Int(i64::from(partition)));
    field("offset", Value::Int(record.offset));
    if let Some(key) = record.key {
        field("key", text_or_bytes(key));
    }
    if let Some(timestamp) = record.timestamp {
        field("kafka_timestamp", Value::Time(timestamp));
    }
    let readable = decision.outcome != Outcome::Rejected;
    if let Some(timestamp) = event_time.filter(|_| readable).or(record.timestamp) {
        field("timestamp", Value::Time(timestamp));
    }
    field("outcome", Value::Text(decision.outcome.name().to_owned()));
    if let Some(reason) = decision.reason {
        field("reason", Value::Text(reason.name().to_owned()));
    }
    if let Some(value) = record.value {
        // Only what was found not to be JSON needs another look; the store decides what it can hold of the rest.
        let json = match decision.reason {
            Some(Reason::InvalidUtf8 | Reason::InvalidJson) => None,
            Some(Reason::TooLarge) => std::str::from_utf8(value)
                .ok()
                .filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()),
            _ => std::str::from_utf8(value).ok(),
        };
        field("value", json.map_or_else(|| Value::Bytes(value.to_vec()), |text| Value::Json(text.to_owned())));
    }
    Document { collection: Collection::RawData, id: record_id(topic, partition, record.offset), fields }
}

/// A key as people read it, where it is text.
fn text_or_bytes(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| Value::Bytes(bytes.to_vec()), |text| Value::Text(text.to_owned()))
}
