//! What the running pipeline tells about itself: where it is, how far behind, and what troubles it.
//!
//! The engine writes it, the terminal and the dashboard read it. It says nothing about the data: numbers that
//! users see come from a committed epoch in the store, never from here.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tillflow_dataflows::records::{Millis, Topic};

/// Where the pipeline stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Connecting; nothing read yet.
    #[default]
    Starting,
    /// Reading again what is committed already, writing nothing.
    Rebuilding,
    /// Committing, with more than a few ticks of records still to read.
    CatchingUp,
    /// Committing what comes as it comes.
    Live,
    /// Asked to stop; committing what was read.
    Stopping,
}

/// Something that keeps the pipeline from going on, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Since when, by this machine's clock.
    pub since: Millis,
    /// One line, without secrets: what is wrong and what to do.
    pub text: String,
}

/// How far one partition is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its topic.
    pub topic: Topic,
    /// Its number.
    pub partition: i32,
    /// The next offset to read.
    pub position: i64,
    /// The offset after the last record there is, as far as is known.
    pub end: Option<i64>,
}

impl PartitionStatus {
    /// Records there that are not read yet.
    pub fn lag(&self) -> Option<i64> {
        self.end.map(|end| (end - self.position).max(0))
    }
}

/// One moment of [`Status`].
#[derive(Clone, Debug, Default)]
pub struct StatusSnapshot {
    /// Whether the data are made up by `demo`.
    pub demo: bool,
    /// Where the pipeline stands.
    pub phase: Phase,
    /// The last committed epoch.
    pub epoch: u64,
    /// Its `as_of`.
    pub as_of: Option<Millis>,
    /// When it was committed.
    pub committed_at: Option<Millis>,
    /// The greatest Kafka timestamp among committed records.
    pub newest_record: Option<Millis>,
    /// Records committed so far by this process.
    pub records: u64,
    /// Recent rate of committed records.
    pub records_per_second: f64,
    /// Every partition that is read, in order.
    pub partitions: Vec<PartitionStatus>,
    /// Epochs that are computed and wait for the store.
    pub pending_epochs: usize,
    /// Why nothing can be read, if so.
    pub source_problem: Option<Problem>,
    /// Why nothing can be written, if so.
    pub store_problem: Option<Problem>,
}

impl StatusSnapshot {
    /// Records known to be there and not read yet, over all partitions.
    pub fn lag(&self) -> i64 {
        self.partitions.iter().filter_map(PartitionStatus::lag).sum()
    }

    /// Whether the process has caught up and is committing (what `/readyz` tells).
    pub fn ready(&self) -> bool {
        self.phase == Phase::Live && self.source_problem.is_none() && self.store_problem.is_none()
    }
}

/// The shared cell.
#[derive(Debug, Default)]
pub struct Status {
    current: Mutex<StatusSnapshot>,
    epoch_changed: Condvar,
}

impl Status {
    fn lock(&self) -> MutexGuard<'_, StatusSnapshot> {
        // A panic while holding the lock leaves plain values behind: they stay readable.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the status and wakes those that wait for an epoch.
    pub fn update(&self, change: impl FnOnce(&mut StatusSnapshot)) {
        change(&mut self.lock());
        self.epoch_changed.notify_all();
    }

    /// A copy of this moment.
    pub fn snapshot(&self) -> StatusSnapshot {
        self.lock().clone()
    }

    /// Waits until an epoch other than `epoch` is committed, or `timeout` is over; returns the last epoch.
    pub fn wait_for_epoch_after(&self, epoch: u64, timeout: Duration) -> u64 {
        let deadline = Instant::now() + timeout;
        let mut current = self.lock();
        while current.epoch == epoch {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            current = self.epoch_changed.wait_timeout(current, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        current.epoch
    }
}
