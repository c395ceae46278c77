//! Where committed results live: MongoDB or SQLite, behind one pair of traits.
//!
//! A [`Store`] belongs to the one instance that holds the fence and writes whole commits. A [`StoreReader`] is
//! for everybody else (dashboard, API, checks) and sees whole commits only.
//!
//! This module never interprets a document beyond the fields it indexes and queries by.

mod accepted;
mod address;
mod mongodb;
mod query;
mod retry;
mod sqlite;
mod state;

use std::collections::BTreeMap;

use tillflow_dataflows::records::{Millis, Topic};

use crate::document::{Collection, Document};

pub use self::accepted::{Acceptance, Accepted};
pub use self::address::{AddressError, StoreAddress, StoreOptions};
pub use self::retry::Report;

/// Next offset to read, by topic and partition.
pub type Offsets = BTreeMap<(Topic, i32), i64>;

/// A record that was consumed, so that it is known again: a topic that was created anew has another one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// Its offset.
    pub offset: i64,
    /// CRC-32 of its key, value and Kafka timestamp.
    pub crc: u32,
}

/// The last consumed record of each partition that has given one.
pub type Fingerprints = BTreeMap<(Topic, i32), Fingerprint>;

/// What `pipeline_state`'s `progress` says: the instant that every number in the store belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last committed epoch; 0 before the first commit.
    pub epoch: u64,
    /// The greatest partition clock over all topics, absent before the first accepted record.
    pub as_of: Option<Millis>,
    /// The records below these offsets are counted, and no others.
    pub offsets: Offsets,
    /// When that commit was made, by the committing machine's clock.
    pub committed_at: Option<Millis>,
    /// Which instance made it (or, before its first commit, took the fence).
    pub instance: String,
    /// Raised by each new instance; an older instance can no longer commit.
    pub fence: i64,
}

/// What a store's state was built from: the document `origin` of `pipeline_state`, written with the first commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Where each partition was begun.
    pub offsets: Offsets,
    /// The source and every setting that decides a record's outcome or a row's content, as one line of text.
    pub configuration: String,
    /// A random name of this store's history: what belongs to it is told by it from what belongs to another. Empty in a
    /// store of an older version until its next commit.
    pub lineage: String,
    /// What was accepted as lost, in the order of time.
    pub accepted: Vec<Accepted>,
    /// Of partitions whose first record came when windows had left memory: their records dated before this are late.
    pub late_before: BTreeMap<(Topic, i32), Millis>,
    /// Windows that end at or before this may have left memory, or will: a partition that gives its first record from now
    /// on begins with it.
    pub expiring_before: Option<Millis>,
}

/// Everything that one epoch changes. Writing it twice is the same as writing it once.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The epoch that follows; greater than the stored one.
    pub epoch: u64,
    /// As in [`Progress`].
    pub as_of: Option<Millis>,
    /// As in [`Progress`].
    pub offsets: Offsets,
    /// As in [`Progress`].
    pub committed_at: Millis,
    /// Documents to insert or replace, at most one per `_id` in a commit.
    pub upserts: Vec<Document>,
    /// Documents to delete; none of them is among `upserts`.
    pub deletes: Vec<(Collection, String)>,
    /// Dead letters to insert; an `_id` that is there already is left alone.
    pub dead_letters: Vec<Document>,
    /// Present when the origin changes (the first commit, a new partition, a loss that was accepted, windows that may leave
    /// memory).
    pub origin: Option<Origin>,
    /// The last consumed record of every partition below `offsets`. Where there is none, those in the store stay.
    pub fingerprints: Fingerprints,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The service cannot be reached or refused us, after the retries that make sense (exit code 3). The text
    /// is one line: what was attempted, on what, and what to do; never a secret.
    #[error("{0}")]
    Unavailable(String),
    /// A newer instance holds the fence, or the store went back behind us: nothing of ours may be written any
    /// more (exit code 5).
    #[error("fenced: {0}")]
    Fenced(String),
    /// What the store holds cannot be understood (exit code 4: writing over it might lose data).
    #[error("{0}")]
    Unreadable(String),
}

/// The writing side, owned by the committer of one instance.
pub trait Store: Send {
    /// Creates collections (tables) and indexes; safe to repeat.
    fn init(&mut self) -> Result<(), StoreError>;

    /// The progress and origin found, taking nothing: what a start needs to know before it may take the fence.
    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError>;

    /// The last consumed records as they were committed; none in a store of an older version. Without transactions a
    /// crash can leave some of them at or above the offsets of `progress`.
    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError>;

    /// Takes the fence for `instance`: raises it by one, and returns the progress and origin found. From here on
    /// an instance that held the fence before gets [`StoreError::Fenced`] from every commit.
    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError>;

    /// Inserts raw_data documents, idempotently by `_id` (those that are there already are left alone), outside
    /// any commit. They do not count until a commit's offsets pass them.
    fn write_raw(&mut self, documents: &[Document]) -> Result<(), StoreError>;

    /// Deletes the raw documents of a partition from an offset on, of which nothing is counted: what an attempt that came to
    /// nothing made of its records may not be what the next one makes of them, or there may be other records by then.
    /// Fenced if another instance has taken the store.
    fn forget_raw(&mut self, topic: Topic, partition: i32, from: i64) -> Result<(), StoreError>;

    /// Makes one commit: all of it, or nothing, or [`StoreError`]. The compare-and-set on (fence, epoch) comes
    /// first. Transient failures are retried inside with back-off; an unknown outcome is resolved by reading
    /// `progress`. Returns only when the outcome is known.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError>;

    /// Every document of `real_time_metrics` with `type: "alert"`, for an instance that starts.
    fn alerts(&mut self) -> Result<Vec<Document>, StoreError>;

    /// The store for going over all that it holds, on connections of its own; none if it keeps nothing.
    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError>;

    /// What the store promises in this deployment, in one line for the log (transactions, or guarded writes).
    fn guarantee(&self) -> String;

    /// Whether nothing of another instance's commit can come after the fence is taken.
    fn commits_are_whole(&self) -> bool {
        true
    }

    /// The epoch that follows a committed one. Where commits are not whole, the first one of an instance is another than
    /// that of any commit which an earlier instance may still be making.
    fn epoch_after(&self, committed: u64) -> u64 {
        committed + 1
    }
}

/// One question to a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Where to look.
    pub collection: Option<Collection>,
    /// `type` equals.
    pub type_is: Option<String>,
    /// `granularity` equals.
    pub granularity: Option<String>,
    /// `timestamp` at or after.
    pub from: Option<Millis>,
    /// `timestamp` before.
    pub to: Option<Millis>,
    /// A field of the sub-document `key` equals, as (field, text).
    pub key: Option<(String, String)>,
    /// Top-level text fields that equal, as (field, text): `state`, `kind`, `reason`, `topic`, `status` …
    pub equals: Vec<(String, String)>,
    /// `epoch` at most: what had been written by then, where documents never change.
    pub until_epoch: Option<u64>,
    /// Sort by these fields (true = descending), then by `_id`. The empty list sorts by `_id`.
    pub order: Vec<(String, bool)>,
    /// At most this many; absent = 10,000.
    pub limit: Option<usize>,
}

/// What a [`StoreScan::scan`] gives, one after another.
#[derive(Clone, Debug, PartialEq)]
pub enum Scanned {
    /// The scan begins; anew if it comes again, and what was given before is void.
    Begin,
    /// A document. What this version cannot understand in it is text that says so.
    Document(Document),
}

/// The side for whoever checks everything that a store holds: it streams, where a [`StoreReader`] answers questions.
pub trait StoreScan: Send {
    /// What the store's state was built from; absent before the first commit.
    fn origin(&mut self) -> Result<Option<Origin>, StoreError>;

    /// Gives every document of `collections` as of one committed epoch, and returns that epoch's progress (absent
    /// before the first commit). Holds a few documents at a time. Begins anew where the store could not keep that
    /// epoch for long enough, a few times.
    fn scan(
        &mut self,
        collections: &[Collection],
        give: &mut dyn FnMut(Scanned),
    ) -> Result<Option<Progress>, StoreError>;

    /// The documents of these `_id`s that are there, in any order, as they are now.
    fn by_id(&mut self, collection: Collection, ids: &[String]) -> Result<Vec<Document>, StoreError>;

    /// Whether the collection holds nothing.
    fn is_empty(&mut self, collection: Collection) -> Result<bool, StoreError>;

    /// How many documents of raw_data say that they are of this partition and below this offset.
    fn raw_below(&mut self, topic: Topic, partition: i32, offset: i64) -> Result<u64, StoreError>;

    /// Gives what raw_data of this store gives back for a value that was this JSON text: the same text, or another that
    /// says the same.
    fn json_kept(&self) -> fn(&str) -> String;
}

/// The reading side. Cheap enough to keep one per reader thread.
pub trait StoreReader: Send {
    /// Answers all queries as of one committed epoch, together with that epoch's progress (absent before the
    /// first commit).
    fn read(&mut self, queries: &[Query]) -> Result<(Option<Progress>, Vec<Vec<Document>>), StoreError>;
}
