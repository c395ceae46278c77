//! What the workers of a process, its drain and its committer share, and what holds the workers up.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;
use tillflow_dataflows::assembly;
use tillflow_dataflows::time::Tick;

use super::budget::{self, Budget};
use super::checkpoint::{CheckpointOptions, Restored, Schedule, Shard, Written};
use super::control::Told;
use super::drain::TickBatch;
use super::expiry::Expiry;
use super::plan::Planned;
use super::ticks::Ticks;
use super::watchdog::Pulse;
use super::{EngineError, EngineOptions, OperatorTimes, Run, now, state_sizes};
use crate::document::Document;
use crate::metrics::Metrics;
use crate::source::Source;
use crate::status::Status;

/// Complete ticks that may wait for the store before workers stop reading.
const TICKS_PENDING: usize = 8;

/// How many of the largest ticks' row changes and dead letters may wait for the store before workers stop reading.
const LARGE_TICKS_PENDING: usize = 4;

/// Batches of raw documents that may wait for the store; a full queue makes workers stop reading.
pub(super) const RAW_BATCHES: usize = 8;

/// Row changes, dead letters and ticks between the drain and the store.
#[derive(Debug, Default)]
pub(super) struct Pending {
    ticks: AtomicUsize,
    rows: AtomicUsize,
    taken: AtomicUsize,
}

impl Pending {
    pub(super) fn add(&self, rows: usize) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, rows: usize) {
        self.ticks.fetch_sub(1, Ordering::Relaxed);
        self.rows.fetch_sub(rows, Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Ticks that the committer has done with.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn ticks(&self) -> usize {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Whether it is too much where a tick has so many row changes at most.
    fn is_full(&self, rows: usize) -> bool {
        self.ticks() >= TICKS_PENDING || self.rows.load(Ordering::Relaxed) >= LARGE_TICKS_PENDING * rows
    }
}

/// Where all workers wait for each other after a rebuild, so that no tick mixes what is committed already with what
/// is not.
#[derive(Debug)]
pub(super) struct Gate {
    /// Workers that have not read up to the committed offsets yet.
    rebuilding: AtomicUsize,
    /// The last tick in which a worker read something committed.
    last: AtomicU64,
}

impl Gate {
    pub(super) fn new(workers: usize, rebuild: bool) -> Gate {
        Gate { rebuilding: AtomicUsize::new(if rebuild { workers } else { 0 }), last: AtomicU64::new(0) }
    }

    /// The gate of a process that is told when all workers of all processes have arrived: it opens with the last of
    /// its own workers, and the word of process 0.
    pub(super) fn opened_elsewhere(workers: usize, rebuild: bool) -> Gate {
        Gate::new(workers + 1, rebuild)
    }

    /// The last tick of this process's workers, once nothing but the word of process 0 is missing.
    pub(super) fn waits_to_be_opened(&self) -> Option<Tick> {
        (self.rebuilding.load(Ordering::SeqCst) == 1).then(|| self.last.load(Ordering::SeqCst))
    }

    /// Process 0 says that the last tick of the rebuild is `last`.
    pub(super) fn open(&self, last: Tick) {
        if self.waits_to_be_opened().is_some() {
            self.arrive(last);
        }
    }

    /// A worker has closed `tick`, its last one of the rebuild.
    pub(super) fn arrive(&self, tick: Tick) {
        self.arrive_all(1, tick);
    }

    /// So have `workers` workers, none of them in a later tick.
    pub(super) fn arrive_all(&self, workers: usize, tick: Tick) {
        self.last.fetch_max(tick, Ordering::SeqCst);
        self.rebuilding.fetch_sub(workers, Ordering::SeqCst);
    }

    /// The last tick of the rebuild, once every worker has arrived. 0 when there was none.
    pub(super) fn opened(&self) -> Option<Tick> {
        let missing = usize::from(crate::fault::mutant("gate_opens_early"));
        (self.rebuilding.load(Ordering::SeqCst) <= missing).then(|| self.last.load(Ordering::SeqCst))
    }
}

/// What the workers, the drain and the committer share.
pub(super) struct Shared {
    pub(super) options: EngineOptions,
    pub(super) assembly: assembly::Settings,
    /// The names of the graph's operators, once a worker asks for them.
    pub(super) operators: OnceLock<Arc<state_sizes::Names>>,
    pub(super) source: Arc<dyn Source>,
    /// Of all processes.
    pub(super) partitions: Vec<Planned>,
    pub(super) gate: Gate,
    pub(super) pending: Pending,
    pub(super) budget: Budget,
    /// What shows that the run moves.
    pub(super) pulse: Arc<Pulse>,
    /// What other processes have told this one.
    pub(super) told: Told,
    pub(super) channels: Mutex<Channels>,
    /// What a checkpoint gave; taken by the workers.
    pub(super) restored: Mutex<Restored>,
    /// Whether checkpoints are made.
    pub(super) checkpoints: bool,
    pub(super) schedule: Arc<Schedule>,
    pub(super) written: Arc<Written>,
    pub(super) expiry: Expiry,
    pub(super) ticks: Ticks,
    pub(super) status: Arc<Status>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) operator_times: Option<Arc<OperatorTimes>>,
    /// Asked from outside: stop reading, commit what was read.
    pub(super) stop: Arc<AtomicBool>,
    /// Something cannot go on: end at once.
    pub(super) failed: AtomicBool,
    pub(super) error: Mutex<Option<EngineError>>,
}

/// The sending ends towards the committer, which ends when they are gone; each worker takes a copy.
pub(super) struct Channels {
    pub(super) batches: Option<Sender<TickBatch>>,
    pub(super) raw: Option<Sender<Vec<Document>>>,
    pub(super) shards: Option<Sender<Shard>>,
}

impl Shared {
    /// That of a run of one process without checkpoints.
    pub(super) fn new(run: &Run, partitions: Vec<Planned>, gate: Gate, channels: Channels) -> Shared {
        let Run { options, source, status, metrics, stop, operator_times } = run;
        Shared {
            options: options.clone(),
            assembly: options.assembly(),
            operators: OnceLock::new(),
            source: Arc::clone(source),
            partitions,
            gate,
            pending: Pending::default(),
            budget: Budget::new(options.raw_data),
            pulse: Arc::new(Pulse::new(options.workers)),
            told: Told::default(),
            channels: Mutex::new(channels),
            restored: Mutex::default(),
            checkpoints: false,
            schedule: Arc::new(Schedule::new(CheckpointOptions::INTERVAL, options.workers, 0)),
            written: Arc::default(),
            expiry: Expiry::default(),
            ticks: Ticks::default(),
            status: Arc::clone(status),
            metrics: Arc::clone(metrics),
            operator_times: operator_times.clone(),
            stop: Arc::clone(stop),
            failed: AtomicBool::new(false),
            error: Mutex::default(),
        }
    }

    pub(super) fn operators(&self) -> &Arc<state_sizes::Names> {
        self.operators.get_or_init(|| Arc::new(state_sizes::names(self.assembly.clone())))
    }

    pub(super) fn shards(&self) -> Option<Sender<Shard>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).shards.clone()
    }

    /// Notes why the run fails (the first reason counts) and makes everybody end.
    pub(super) fn fail(&self, error: EngineError) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Why the run failed, if it did.
    pub(super) fn take_error(&self) -> Option<EngineError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Lets go of the sending ends, when every worker has ended.
    pub(super) fn close_channels(&self) {
        *self.channels.lock().unwrap_or_else(PoisonError::into_inner) =
            Channels { batches: None, raw: None, shards: None };
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.has_failed()
    }

    /// Whether workers have to stop reading, because too much waits for the store.
    pub(super) fn is_full(&self) -> bool {
        let raw_is_full = || {
            let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.raw.as_ref().is_some_and(Sender::is_full)
        };
        self.too_much_waits() || raw_is_full()
    }

    /// Whether more row changes wait for the store than should.
    pub(super) fn too_much_waits(&self) -> bool {
        // What is read again waits for no store.
        let rows = if self.gate.opened().is_none() { budget::MOST_ROWS } else { self.budget.rows() };
        self.pending.is_full(rows)
    }

    /// The tick of at least `least` that a worker opens now, and when it ends. That of one which is `ahead` of other processes
    /// lasts half as long again, until they are where it is: what it reads waits for them.
    pub(super) fn next_tick(&self, least: Tick, ahead: bool) -> (Tick, Instant) {
        // By the clock of process 0: a worker whose ticks were ahead would wait for the others and never read.
        let clock = now().saturating_add(self.told.clock.load(Ordering::Relaxed));
        let length = self.options.tick;
        self.ticks.next(least, clock, length, if ahead { length.mul_f64(1.5) } else { length })
    }
}
