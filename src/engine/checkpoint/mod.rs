//! Checkpoints: the state of the graph and of admission as of one tick, so that a start need not read everything again.
//!
//! ```text
//!  worker ─► its shard ──┐
//!  worker ─► its shard ──┴─► writer, its own thread ─► FOLDER/checkpoints/ID/worker-N
//!                                                    └► FOLDER/checkpoints/ID/manifest-CRC.json, last
//! ```
//!
//! A checkpoint counts once its manifest is there, and the manifest is written only after the commit that reaches the
//! checkpoint's offsets: state that is ahead of the store would lose dead letters. Nothing depends on which checkpoint a
//! start finds: it reads the source on from that one's offsets and compares the outcome with what the store holds.

mod folder;
mod manifest;
mod schedule;
mod shard;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tillflow_dataflows::admission::SavedPartition;
use tillflow_dataflows::records::Topic;
use tillflow_dataflows::state::Chunk;

pub(super) use self::folder::{Folder, Found, Owner};
pub(super) use self::schedule::Schedule;
pub(super) use self::shard::{Saving, Shard};
pub(super) use self::writer::{Writer, Written};

/// Where checkpoints are kept, and how often one is made.
#[derive(Clone, Debug)]
pub struct CheckpointOptions {
    /// The folder; it belongs to one store.
    pub folder: PathBuf,
    /// The least time from one to the next.
    pub interval: Duration,
}

impl CheckpointOptions {
    /// The default of `interval`.
    pub const INTERVAL: Duration = Duration::from_secs(10);
}

/// What a start restores.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// The state of the graph; each worker takes some.
    pub(super) chunks: Vec<Chunk>,
    /// Admission, by partition.
    pub(super) partitions: BTreeMap<(Topic, i32), SavedPartition>,
    /// That of partitions which are not read any more: what they gave stays.
    pub(super) unread: Vec<SavedPartition>,
}
