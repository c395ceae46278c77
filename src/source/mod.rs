//! Where records come from: Kafka, newline-delimited JSON files, or a log in memory, behind one pair of traits.
//!
//! A [`Source`] knows which partitions there are; a [`Reader`] is one worker's share of them. Records of a partition
//! come in offset order, each offset at most once per reader, gaps allowed; between partitions there is no order.
//! Nothing here decides what a record means, and nothing here keeps an offset: a reader is told where to begin.

pub mod channel;
pub mod kafka;
mod look;
pub mod memory;
pub mod ndjson;

use serde::{Deserialize, Serialize};
use tillflow_dataflows::records::{Millis, Topic};

use self::channel::OwnedRecord;

/// One record as it came.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// Its offset in its partition.
    pub offset: i64,
    /// When Kafka says it was written, if it says so.
    pub timestamp: Option<Millis>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; absent in a tombstone.
    pub value: Option<&'a [u8]>,
}

/// A partition as the source finds it before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its topic.
    pub topic: Topic,
    /// Its number.
    pub partition: i32,
    /// The first offset there is.
    pub low: i64,
    /// The offset after the last one there is, where that is known without reading.
    pub high: Option<i64>,
}

/// A partition that a reader is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its topic.
    pub topic: Topic,
    /// Its number.
    pub partition: i32,
    /// The offset to begin at.
    pub start: i64,
}

impl Assignment {
    /// Its topic and number.
    pub const fn place(&self) -> (Topic, i32) {
        (self.topic, self.partition)
    }
}

/// How far a reader is in one of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The offset after the last record given.
    pub next: i64,
    /// Whether everything that was there when last looked at has been given.
    pub at_end: bool,
    /// The offset after the last record there is, as far as is known.
    pub end: Option<i64>,
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached, refused us, or lacks what was asked for (exit code 3). One line: what was attempted, on
    /// what, what to do; never a secret.
    #[error("{0}")]
    Unavailable(String),
    /// A setting of the source is wrong (exit code 2).
    #[error("{0}")]
    Settings(String),
    /// Records that were not read yet are gone (exit code 4).
    #[error("{0}")]
    Lost(String),
}

/// A source of records.
pub trait Source: Send + Sync {
    /// The source in a few words, the same for every run over the same data: a store remembers it.
    fn identity(&self) -> String;

    /// Every partition there is, in order of topic and number.
    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError>;

    /// A reader of `assignments`, for the calling thread alone, which it unparks when there is something to read.
    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError>;

    /// The record at each place's start, absent where there is none: what a start needs to know before it may read on.
    fn records_at(&self, places: &[Assignment]) -> Result<Vec<Option<OwnedRecord>>, SourceError> {
        look::records_at(self.open(places)?.as_mut(), places)
    }

    /// Names the partitions that there are where another process has discovered them.
    fn go_on_from(&self, _places: &[(Topic, i32)]) {}

    /// Partitions that came after [`Source::discover`] or [`Source::go_on_from`], in the order in which they were noticed,
    /// less the first `known` of them. Those given once are given again in the same order.
    fn added(&self, _known: usize) -> Vec<PartitionInfo> {
        Vec::new()
    }

    /// Tells the outside how far records are committed, for lag tools alone; never read back.
    fn committed(&self, _offsets: &crate::store::Offsets) {}

    /// The offset after the last record of a partition, as far as is known without a reader of it.
    fn end(&self, _topic: Topic, _partition: i32) -> Option<i64> {
        None
    }
}

/// One worker's share of a source.
pub trait Reader {
    /// Gives the next records of the `index`th assignment, at most `limit` of them and none at or above `until`,
    /// and returns how many. Never waits. When a record at or above `until` is met it is kept for a later call, and
    /// the position says `next >= until`.
    fn poll(
        &mut self,
        index: usize,
        limit: usize,
        until: i64,
        give: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, SourceError>;

    /// How far the `index`th assignment is read.
    fn position(&self, index: usize) -> Position;

    /// Begins to read one more partition, which becomes the last; the others are read on meanwhile. Only for what
    /// [`Source::added`] gave.
    fn add(&mut self, assignment: Assignment) -> Result<(), SourceError> {
        let Assignment { topic, partition, .. } = assignment;
        Err(SourceError::Unavailable(format!(
            "reading {} partition {partition}: this source cannot take up a partition while it is read; start again",
            topic.name()
        )))
    }

    /// Serves events that belong to no partition; to be called a few times a second. What is returned is wrong at
    /// the moment, and the reader goes on trying.
    fn serve(&mut self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }
}
