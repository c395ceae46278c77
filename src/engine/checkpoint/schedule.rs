//! When a checkpoint is made, and of which tick: what the workers of all processes agree on.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tillflow_dataflows::time::Tick;

/// Making checkpoints takes at most one part in so many of the time.
const SHARE: usize = 20;

/// After a checkpoint that came to nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// A checkpoint that took longer is not made again when a run is stopped.
const LAST_MAX: Duration = Duration::from_secs(2);

/// How long a stop waits for the last checkpoint.
const LAST_WITHIN: Duration = Duration::from_secs(3);

/// A checkpoint that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Asked {
    tick: Tick,
    /// Whether nothing is read after it.
    is_last: bool,
}

/// What the workers agree on. A worker's tick is its own; a checkpoint is of a tick that none of them has closed yet.
///
/// Worker 0 asks for it. In other processes the same is said by what process 0 tells.
#[derive(Debug)]
pub(in crate::engine) struct Schedule {
    interval: Duration,
    /// Of all processes.
    workers: usize,
    /// How many ticks other processes may be ahead when they hear what is asked for.
    ahead: u64,
    asked: Mutex<Option<Asked>>,
    /// The greatest tick that a worker here has opened.
    newest: AtomicU64,
    /// When the next one may be asked for, and how long the last one took.
    times: Mutex<Times>,
    /// Workers that read nothing any more, and since when the first does, as far as is known here.
    ended: AtomicUsize,
    ending: OnceLock<Instant>,
    /// Whether there is a checkpoint when nothing is read any more.
    ends_with_one: OnceLock<bool>,
    /// The last tick that was abandoned here.
    abandoned: AtomicU64,
    /// The last checkpoint is written, or could not be.
    is_over: AtomicBool,
    /// Nobody waits for a checkpoint any more.
    is_given_up: AtomicBool,
}

#[derive(Debug)]
struct Times {
    due: Instant,
    asked: Instant,
    took: Option<Duration>,
}

impl Schedule {
    /// For so many workers of all processes, which may be `ahead` ticks further when they hear of a checkpoint.
    pub(in crate::engine) fn new(interval: Duration, workers: usize, ahead: u64) -> Schedule {
        let now = Instant::now();
        Schedule {
            interval,
            workers,
            ahead,
            asked: Mutex::new(None),
            newest: AtomicU64::new(0),
            times: Mutex::new(Times { due: now + interval, asked: now, took: None }),
            ended: AtomicUsize::new(0),
            ending: OnceLock::new(),
            ends_with_one: OnceLock::new(),
            abandoned: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker opens a tick, or has said that it is beyond it.
    pub(in crate::engine) fn opening(&self, tick: Tick) {
        self.newest.fetch_max(tick, Ordering::SeqCst);
    }

    /// Asks for a checkpoint of a tick that no worker has closed, if it is time. Should a worker get past it unseen, it
    /// says so and the checkpoint is abandoned.
    pub(super) fn ask_if_due(&self, next: Tick) {
        let mut times = self.times();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_last = self.have_all_ended();
        let is_time = match *asked {
            Some(_) => false,
            None => is_last || Instant::now() >= times.due,
        };
        if is_time {
            times.asked = Instant::now();
            let tick = self.newest.load(Ordering::SeqCst).max(next) + 2 + self.ahead;
            *asked = Some(Asked { tick, is_last });
        }
    }

    /// What is asked for.
    pub(in crate::engine) fn asked(&self) -> Option<Asked> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What process 0 asks for.
    pub(in crate::engine) fn is_told(&self, asked: Option<Asked>) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    /// The tick that is to be saved.
    pub(super) fn wanted(&self) -> Option<Tick> {
        self.asked().map(|asked| asked.tick)
    }

    /// The tick that is saved last, once it is known: nobody reads any more, and nothing else is asked for.
    pub(in crate::engine) fn last(&self) -> Option<Tick> {
        self.asked().filter(|asked| asked.is_last).map(|asked| asked.tick)
    }

    /// The checkpoint of `tick` comes to nothing.
    pub(in crate::engine) fn abandon(&self, tick: Tick) {
        let mut times = self.times();
        self.abandoned.store(tick, Ordering::SeqCst);
        if self.forget(tick) {
            times.due = Instant::now() + AGAIN;
        }
    }

    /// The last tick that was abandoned here.
    pub(in crate::engine) fn abandoned(&self) -> Option<Tick> {
        Some(self.abandoned.load(Ordering::SeqCst)).filter(|tick| *tick != 0)
    }

    /// The greatest tick that a worker here has opened.
    pub(in crate::engine) fn newest(&self) -> Tick {
        self.newest.load(Ordering::SeqCst)
    }

    fn forget(&self, tick: Tick) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.take_if(|asked| asked.tick == tick).is_some()
    }

    /// The checkpoint of `tick` is written, or could not be. Returns how long it took.
    pub(super) fn finished(&self, tick: Tick) -> Duration {
        let mut times = self.times();
        let took = times.asked.elapsed();
        times.took = Some(took);
        let share = u32::try_from(crate::fault::limit("checkpoint_share", SHARE)).unwrap_or(u32::MAX);
        times.due = Instant::now() + self.interval.max(took.saturating_mul(share));
        // After the last one there is no other.
        match self.asked() {
            Some(asked) if asked.tick == tick && asked.is_last => self.set_over(),
            _ => drop(self.forget(tick)),
        }
        took
    }

    /// Whether there is a checkpoint when nothing is read any more: the next start then need not read anything again. A
    /// stop is not held up by one that would take long. Decided once.
    pub(in crate::engine) fn ends_with_one(&self, until_caught_up: bool) -> bool {
        let is_quick = || self.times().took.is_none_or(|took| took < LAST_MAX);
        *self.ends_with_one.get_or_init(|| until_caught_up || is_quick())
    }

    /// The same, if it is decided.
    pub(in crate::engine) fn is_decided_to_end_with_one(&self) -> Option<bool> {
        self.ends_with_one.get().copied()
    }

    /// Process 0 has decided.
    pub(in crate::engine) fn decide_to_end_with_one(&self, ends_with_one: bool) {
        let _ = self.ends_with_one.set(ends_with_one);
    }

    /// Some workers read nothing any more. When none does, one last checkpoint is asked for.
    pub(in crate::engine) fn end(&self, workers: usize) {
        self.ending.get_or_init(Instant::now);
        self.ended.fetch_add(workers, Ordering::SeqCst);
    }

    /// How many workers read nothing any more.
    pub(in crate::engine) fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    /// Whether no worker of any process reads any more, as far as is known here.
    pub(in crate::engine) fn have_all_ended(&self) -> bool {
        self.ended() == self.workers
    }

    /// Whether the last checkpoint is written, or could not be. Until then workers go on: one that had ended could not take
    /// part when it is abandoned and asked for again.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Lets a stop wait for the last checkpoint no longer than is sensible: the state may be large, or another process may
    /// not answer. The next start then goes on from an older one.
    pub(in crate::engine) fn hurry(&self) {
        if self.ending.get().is_some_and(|ending| ending.elapsed() > LAST_WITHIN) && !self.is_over() {
            tracing::info!("not waiting for the last checkpoint any longer: the next start reads a little more again");
            self.is_given_up.store(true, Ordering::SeqCst);
            self.set_over();
        }
    }

    /// Whether a checkpoint that is not whole yet is to be left.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::SeqCst)
    }

    /// It is, or process 0 says so.
    pub(in crate::engine) fn set_over(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(workers: usize) -> Schedule {
        Schedule::new(Duration::ZERO, workers, 0)
    }

    #[test]
    fn one_at_a_time_and_of_a_tick_to_come() {
        let schedule = schedule(2);
        schedule.opening(9);
        schedule.ask_if_due(5);
        let asked = schedule.asked().expect("it is due");
        assert_eq!((asked, schedule.last()), (Asked { tick: 11, is_last: false }, None));
        schedule.ask_if_due(20);
        assert_eq!(schedule.asked(), Some(asked));
        schedule.finished(11);
        assert_eq!(schedule.asked(), None);
    }

    #[test]
    fn what_is_abandoned_is_asked_for_again() {
        let schedule = schedule(1);
        schedule.ask_if_due(1);
        schedule.abandon(7);
        assert_eq!(schedule.wanted(), Some(3), "another one");
        schedule.abandon(3);
        assert_eq!((schedule.wanted(), schedule.abandoned()), (None, Some(3)));
        schedule.ask_if_due(5);
        assert_eq!(schedule.wanted(), None, "not at once");
        schedule.end(1);
        schedule.ask_if_due(5);
        assert_eq!((schedule.asked(), schedule.last()), (Some(Asked { tick: 7, is_last: true }), Some(7)));
        schedule.abandon(7);
        assert_eq!(schedule.last(), None);
        assert!(!schedule.is_over());
        schedule.ask_if_due(9);
        assert_eq!(schedule.asked(), Some(Asked { tick: 11, is_last: true }), "at once");
        schedule.finished(11);
        assert!(schedule.is_over());
        schedule.ask_if_due(13);
        assert_eq!(schedule.wanted(), Some(11), "no other one");
    }

    #[test]
    fn whether_a_stop_waits_for_a_checkpoint_is_decided_once() {
        let undecided = schedule(2);
        assert!(undecided.ends_with_one(false));
        undecided.times().took = Some(LAST_MAX);
        assert!(undecided.ends_with_one(false));
        let slow = schedule(2);
        slow.times().took = Some(LAST_MAX);
        assert!(!slow.ends_with_one(false));
        assert!(!slow.ends_with_one(true));
        let told = schedule(2);
        assert_eq!(told.is_decided_to_end_with_one(), None);
        told.decide_to_end_with_one(false);
        assert!(!told.ends_with_one(true));
    }
}
