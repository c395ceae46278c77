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
use tillflow_dataflows::records::{Millis, Topic};
use tillflow_dataflows::state::Chunk;

use super::plan::{self, Planned};

pub(super) use self::folder::{Folder, Found, Owner};
pub(super) use self::schedule::{Asked, Schedule};
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
    /// Admission, by partition. One that is gone is among them: what it gave stays, and should it be there again, it goes on
    /// with what it remembers. Until then it has given nothing.
    pub(super) partitions: BTreeMap<(Topic, i32), SavedPartition>,
    /// Windows that end at or before this instant may lack in it.
    pub(super) expired: Option<Millis>,
}

impl Restored {
    /// Takes out what belongs to other processes: by process, what there is of the partitions that its workers read, or
    /// would read if they were there again. What there is of the graph's state stays, and finds its way through the graph.
    pub(super) fn split_off(
        &mut self,
        workers: usize,
        processes: usize,
        partitions: &[Planned],
    ) -> Vec<Vec<SavedPartition>> {
        let mut elsewhere = vec![Vec::new(); processes];
        let places: BTreeMap<_, _> = (0..).zip(partitions).map(|(index, it)| (it.assignment.place(), index)).collect();
        let all = workers * processes;
        for (place, saved) in std::mem::take(&mut self.partitions) {
            let reader = places.get(&place).map_or_else(|| plan::taker(place, all), |index: &usize| index % all);
            match reader / workers {
                0 => drop(self.partitions.insert(place, saved)),
                process => elsewhere[process].push(saved),
            }
        }
        elsewhere
    }

    /// What the shards of a checkpoint give a run that goes on where some of its partitions ended. The others are gone, or
    /// were made anew.
    pub(super) fn of(shards: Vec<Shard>, goes_on: impl Fn((Topic, i32)) -> bool) -> Restored {
        let mut restored = Restored::default();
        for Shard { partitions, chunks, expired, .. } in shards {
            restored.chunks.extend(chunks);
            restored.expired = restored.expired.max(expired);
            for (mut saved, next) in partitions {
                let place = (saved.topic, saved.number);
                saved.has_given &= next.is_some() && goes_on(place);
                restored.partitions.insert(place, saved);
            }
        }
        restored
    }
}
