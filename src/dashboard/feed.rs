//! Where snapshots come from: one thread owns the store's reader, loads a snapshot when the epoch has moved and
//! somebody asks, and answers single questions. The pipeline is never asked anything.
//!
//! ```text
//! handler threads ──jobs (at most 16; a full queue answers "busy")──► reader thread ──► StoreReader
//!        ▲                                                                  │
//!        └────────── the last 8 snapshots (ArcSwap), one load at a time ◄───┘
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tillflow_dataflows::records::Millis;

use super::kinds::Kinds;
use super::snapshot::{Snapshot, queries};
use crate::document::Document;
use crate::status::{Phase, Problem, Status};
use crate::store::{Progress, Query, StoreReader};

/// How many epochs can be asked for by number.
const KEPT: usize = 8;
/// Questions that wait for the reader; one more is answered "busy".
const JOBS_MAX: usize = 16;
/// The shortest time between two loads.
const LOAD_INTERVAL: Duration = Duration::from_millis(200);
/// How often the store is asked for its epoch where no pipeline tells it.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// After this long without a request the store is left alone.
const WATCHED_FOR: Duration = Duration::from_secs(60);
/// How long a request waits for a snapshot that is being loaded, if there is an older one.
const WAIT_FOR_NEWER: Duration = Duration::from_millis(1_000);
/// How long it waits for the very first one.
const WAIT_FOR_FIRST: Duration = Duration::from_secs(5);
/// How long it waits for the answer to a question of its own.
const WAIT_FOR_ANSWER: Duration = Duration::from_secs(10);
/// After a failed load the store is asked again this much later.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// A load that takes longer than this is told on the page.
const SLOW_LOAD: Duration = Duration::from_secs(3);

/// Why the store gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// Too many questions wait already.
    #[error("the store is busy with other questions; ask again in a moment")]
    Busy,
    /// The store takes too long.
    #[error("the store did not answer within 10 s; ask for a shorter range or ask again")]
    Slow,
    /// The store cannot be read.
    #[error("{0}")]
    Store(String),
}

/// What a read gave: the progress it belongs to and the documents per query.
pub type Answers = (Option<Progress>, Vec<Vec<Document>>);

/// The snapshots there are, and what is wrong.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The newest first.
    pub snapshots: Vec<Arc<Snapshot>>,
    /// Why there is no newer one, if reading goes wrong.
    pub trouble: Option<Problem>,
}

enum Job {
    Load,
    Ask(Vec<Query>, Sender<Result<Answers, ReadFailure>>),
}

#[derive(Debug, Default)]
struct Flight {
    /// Since when a load is under way.
    running: Option<Instant>,
    /// How many loads have ended.
    landed: u64,
    /// When the last load ended.
    ended: Option<Instant>,
    /// Whether it failed.
    failed: bool,
    /// When somebody last asked.
    asked: Option<Instant>,
}

struct Shared {
    history: ArcSwap<History>,
    flight: Mutex<Flight>,
    landed: Condvar,
    status: Arc<Status>,
    read_only: bool,
    kinds: Kinds,
}

/// The handle that requests use.
pub struct Feed {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
}

/// This machine's clock, for ages and notices; no number of the data depends on it.
pub fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Feed {
    /// Starts the reader thread, which ends when the feed is dropped. With `read_only`, no pipeline of this process
    /// fills the store: the feed polls it and keeps `status` by what it finds.
    pub fn new(
        reader: Box<dyn StoreReader>,
        status: Arc<Status>,
        read_only: bool,
        kinds: Kinds,
    ) -> std::io::Result<Feed> {
        let (jobs, waiting) = bounded(JOBS_MAX);
        let shared = Arc::new(Shared {
            history: ArcSwap::default(),
            flight: Mutex::default(),
            landed: Condvar::new(),
            status,
            read_only,
            kinds,
        });
        let reading = Reading { reader, shared: Arc::clone(&shared), begun: None };
        thread::Builder::new().name("dashboard-reader".to_owned()).spawn(move || reading.run(&waiting))?;
        Ok(Feed { shared, jobs })
    }

    /// The views there are.
    pub fn kinds(&self) -> &Kinds {
        &self.shared.kinds
    }

    /// The snapshots, the newest of them as new as the pipeline's epoch if it can be had within a second.
    pub fn current(&self) -> Arc<History> {
        let history = self.shared.history.load_full();
        let mut flight = self.shared.flight();
        flight.asked = Some(Instant::now());
        if flight.running.is_none() {
            if !self.is_wanted(&history, &flight) || self.jobs.try_send(Job::Load).is_err() {
                return self.told(history, &flight);
            }
            flight.running = Some(Instant::now());
        }
        let patience = if history.snapshots.is_empty() { WAIT_FOR_FIRST } else { WAIT_FOR_NEWER };
        let before = flight.landed;
        // A load that is late already keeps nobody else waiting.
        let waited = flight.running.map_or(Duration::ZERO, |since| since.elapsed());
        let flight = self
            .shared
            .landed
            .wait_timeout_while(flight, patience.saturating_sub(waited), |flight| flight.landed == before)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        self.told(self.shared.history.load_full(), &flight)
    }

    /// Asks the store itself; the answer may belong to a newer epoch than any snapshot.
    pub fn ask(&self, queries: Vec<Query>) -> Result<Answers, ReadFailure> {
        let (reply, answer) = bounded(1);
        self.jobs.try_send(Job::Ask(queries, reply)).map_err(|_| ReadFailure::Busy)?;
        answer.recv_timeout(WAIT_FOR_ANSWER).map_err(|_| ReadFailure::Slow)?
    }

    fn is_wanted(&self, history: &History, flight: &Flight) -> bool {
        let since = flight.ended.map_or(Duration::MAX, |ended| ended.elapsed());
        if flight.failed {
            return since >= RETRY_AFTER;
        }
        let Some(newest) = history.snapshots.first() else { return true };
        if self.shared.read_only {
            since >= POLL_INTERVAL
        } else {
            self.shared.status.snapshot().epoch > newest.epoch()
        }
    }

    /// Adds the notice of a load that takes too long.
    fn told(&self, history: Arc<History>, flight: &Flight) -> Arc<History> {
        match flight.running.map(|since| since.elapsed()) {
            Some(waited) if waited > SLOW_LOAD && history.trouble.is_none() => {
                let since = now().saturating_sub(i64::try_from(waited.as_millis()).unwrap_or(0));
                let text = "The store has not answered yet; nothing needs to be done unless this stays.".to_owned();
                Arc::new(History { snapshots: history.snapshots.clone(), trouble: Some(Problem { since, text }) })
            }
            _ => history,
        }
    }
}

impl Shared {
    fn flight(&self) -> MutexGuard<'_, Flight> {
        // Plain values: what a panicking holder left behind is usable.
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader thread's own.
struct Reading {
    reader: Box<dyn StoreReader>,
    shared: Arc<Shared>,
    /// When the last load began.
    begun: Option<Instant>,
}

impl Reading {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = if self.shared.read_only {
                match jobs.recv_timeout(POLL_INTERVAL) {
                    Err(RecvTimeoutError::Timeout) if self.is_watched() => Ok(Job::Load),
                    Err(RecvTimeoutError::Timeout) => continue,
                    other => other.map_err(|_| ()),
                }
            } else {
                jobs.recv().map_err(|_| ())
            };
            match job {
                Ok(Job::Load) => self.load(),
                Ok(Job::Ask(queries, reply)) => {
                    // A requester that has stopped waiting wants no answer.
                    let _ = reply.try_send(self.read(&queries));
                }
                Err(()) => return,
            }
        }
    }

    fn is_watched(&self) -> bool {
        self.shared.flight().asked.is_some_and(|asked| asked.elapsed() < WATCHED_FOR)
    }

    fn read(&mut self, queries: &[Query]) -> Result<Answers, ReadFailure> {
        // A reader that panics must not take the pages with it: they stay on the last snapshot.
        catch_unwind(AssertUnwindSafe(|| self.reader.read(queries)))
            .map_err(|_| {
                ReadFailure::Store("Reading the store broke off; this is a bug, please report it.".to_owned())
            })?
            .map_err(|error| ReadFailure::Store(error.to_string()))
    }

    fn load(&mut self) {
        if let Some(early) = self.begun.and_then(|begun| LOAD_INTERVAL.checked_sub(begun.elapsed())) {
            thread::sleep(early);
        }
        self.begun = Some(Instant::now());
        let before = self.shared.history.load_full();
        let loaded = self.next_snapshot(&before);
        if self.shared.read_only {
            self.tell_status(&loaded);
        }
        let failed = loaded.is_err();
        let mut history = History { snapshots: before.snapshots.clone(), trouble: None };
        match loaded {
            Ok(Some(snapshot)) => {
                history.snapshots.retain(|kept| kept.epoch() < snapshot.epoch());
                history.snapshots.insert(0, Arc::new(snapshot));
                history.snapshots.truncate(KEPT);
            }
            Ok(None) => {}
            Err(failure) => {
                let since = before.trouble.as_ref().map_or_else(now, |trouble| trouble.since);
                history.trouble = Some(Problem { since, text: failure.to_string() });
            }
        }
        self.shared.history.store(Arc::new(history));
        let mut flight = self.shared.flight();
        flight.running = None;
        flight.landed += 1;
        flight.failed = failed;
        flight.ended = Some(Instant::now());
        drop(flight);
        self.shared.landed.notify_all();
    }

    /// The store's present, or nothing if it is the newest snapshot already.
    fn next_snapshot(&mut self, history: &History) -> Result<Option<Snapshot>, ReadFailure> {
        let newest = history.snapshots.first();
        let mut hint = newest.and_then(|newest| newest.as_of());
        if newest.is_none() || self.shared.read_only {
            let (progress, _) = self.read(&[])?;
            match newest {
                Some(newest) if progress == newest.progress => return Ok(None),
                Some(_) => {}
                None => hint = progress.and_then(|progress| progress.as_of),
            }
        }
        let (progress, answers) = self.read(&queries(&self.shared.kinds, hint))?;
        let as_of = progress.as_ref().and_then(|progress| progress.as_of);
        if hint.is_some() && as_of < hint {
            // The store went back (it was replaced): what the hint promised does not hold.
            let (progress, answers) = self.read(&queries(&self.shared.kinds, None))?;
            return Ok(Some(Snapshot::assemble(&self.shared.kinds, progress, answers, None)));
        }
        Ok(Some(Snapshot::assemble(&self.shared.kinds, progress, answers, hint)))
    }

    /// Where no pipeline runs in this process, the store's progress is the status.
    fn tell_status(&self, loaded: &Result<Option<Snapshot>, ReadFailure>) {
        self.shared.status.update(|status| match loaded {
            Ok(snapshot) => {
                status.phase = Phase::Live;
                status.store_problem = None;
                if let Some(progress) = snapshot.as_ref().and_then(|snapshot| snapshot.progress.as_ref()) {
                    status.epoch = progress.epoch;
                    status.as_of = progress.as_of;
                    status.committed_at = progress.committed_at;
                }
            }
            Err(failure) => {
                let since = status.store_problem.as_ref().map_or_else(now, |problem| problem.since);
                status.store_problem = Some(Problem { since, text: failure.to_string() });
            }
        });
    }
}
