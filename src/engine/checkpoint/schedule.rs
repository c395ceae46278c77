//! When a checkpoint is made, and of which tick: what the workers of a process agree on.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tillflow_dataflows::time::Tick;

/// Making checkpoints takes at most one part in so many of the time.
const SHARE: usize = 20;

/// After a checkpoint that came to nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// What the workers agree on. A worker's tick is its own; a checkpoint is of a tick that none of them has closed yet.
#[derive(Debug)]
pub(in crate::engine) struct Schedule {
    interval: Duration,
    workers: usize,
    /// The tick that is to be saved; 0 while none is.
    wanted: AtomicU64,
    /// The greatest tick that a worker has opened.
    newest: AtomicU64,
    /// When the next one may be asked for, and how long the last one took.
    times: Mutex<Times>,
    /// Workers that read nothing any more.
    ended: AtomicUsize,
    /// The tick of the last checkpoint; 0 before it is asked for.
    last: AtomicU64,
}

#[derive(Debug)]
struct Times {
    due: Instant,
    asked: Instant,
    took: Option<Duration>,
}

impl Schedule {
    pub(in crate::engine) fn new(interval: Duration, workers: usize) -> Schedule {
        let now = Instant::now();
        Schedule {
            interval,
            workers,
            wanted: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            times: Mutex::new(Times { due: now + interval, asked: now, took: None }),
            ended: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        }
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker opens a tick.
    pub(super) fn opening(&self, tick: Tick) {
        self.newest.fetch_max(tick, Ordering::SeqCst);
    }

    /// Asks for a checkpoint of a tick that no worker has closed, if it is time. Should a worker get past it unseen, it
    /// says so and the checkpoint is abandoned.
    pub(super) fn ask_if_due(&self, next: Tick) {
        let mut times = self.times();
        let all_ended = self.ended.load(Ordering::SeqCst) == self.workers;
        let is_time = if all_ended { self.last().is_none() } else { Instant::now() >= times.due };
        if self.wanted.load(Ordering::SeqCst) != 0 || !is_time {
            return;
        }
        times.asked = Instant::now();
        let tick = self.newest.load(Ordering::SeqCst).max(next) + 2;
        if all_ended {
            self.last.store(tick, Ordering::SeqCst);
        }
        self.wanted.store(tick, Ordering::SeqCst);
    }

    /// The tick that is to be saved.
    pub(super) fn wanted(&self) -> Option<Tick> {
        Some(self.wanted.load(Ordering::SeqCst)).filter(|tick| *tick != 0)
    }

    /// The checkpoint of `tick` comes to nothing.
    pub(super) fn abandon(&self, tick: Tick) {
        let mut times = self.times();
        if self.wanted.compare_exchange(tick, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            times.due = Instant::now() + AGAIN;
            let _ = self.last.compare_exchange(tick, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// The checkpoint of `tick` is written, or could not be. Returns how long it took.
    pub(super) fn finished(&self, tick: Tick) -> Duration {
        let mut times = self.times();
        let took = times.asked.elapsed();
        times.took = Some(took);
        let share = u32::try_from(crate::fault::limit("checkpoint_share", SHARE)).unwrap_or(u32::MAX);
        times.due = Instant::now() + self.interval.max(took.saturating_mul(share));
        let _ = self.wanted.compare_exchange(tick, 0, Ordering::SeqCst, Ordering::SeqCst);
        took
    }

    /// A worker reads nothing any more. When none does, one last checkpoint is made.
    pub(in crate::engine) fn end(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    /// The tick of the last checkpoint.
    pub(super) fn last(&self) -> Option<Tick> {
        Some(self.last.load(Ordering::SeqCst)).filter(|tick| *tick != 0)
    }

    /// How long the last checkpoint took.
    pub(in crate::engine) fn took(&self) -> Option<Duration> {
        self.times().took
    }
}
