//! The running pipeline: the only place that knows timely workers *and* I/O.
//!
//! ```text
//!  source ─► reader ─► ingest ─► inputs ─► graph ─► drain ─► committer ─► store
//!            └──────── each worker ───────────────┘  worker 0   └─ its own thread
//! ```
//!
//! A worker reads the partitions it owns for one tick, hands the facts to the graph and closes the tick. When a tick
//! is complete on every worker, the drain on worker 0 has all its row changes, offsets and dead letters, and passes
//! them to the committer, which numbers them as an epoch and writes them in one transaction.

mod alerts;
mod budget;
mod checkpoint;
mod committer;
mod control;
mod correction;
mod documents;
mod drain;
mod expiry;
mod fingerprint;
mod follow;
mod ingest;
mod operator_times;
mod plan;
mod rebuild;
mod shared;
#[cfg(feature = "faults")]
pub mod simulation;
mod start;
mod state_sizes;
mod ticks;
mod watchdog;
mod worker;
mod workers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;
use tillflow_dataflows::admission::{AdmissionSettings, SavedPartition};
use tillflow_dataflows::assembly;
use tillflow_dataflows::records::Millis;
use tillflow_dataflows::state::ChunkError;

use crate::cluster::Cluster;
use crate::cluster::links::Links;
use crate::configuration::Configuration;
use crate::metrics::Metrics;
use crate::source::{Source, SourceError};
use crate::status::{PartitionStatus, Phase, Status};
use crate::store::{Acceptance, Store, StoreError};
use crate::views::ViewSet;

pub use self::checkpoint::CheckpointOptions;
pub use self::documents::{document, document_id};
pub use self::operator_times::{OperatorRow, OperatorSummary, OperatorTimes};

use self::checkpoint::{Folder, Owner, Schedule, Writer, Written};
use self::committer::{Beginning, Committer, ReadStored};
use self::control::{Control, Told};
use self::correction::Stored;
use self::expiry::{Expiring, Expiry};
use self::plan::Planned;
use self::shared::{Channels, Gate, Shared};
use self::start::Start;
use self::watchdog::Watchdog;

/// How the pipeline runs.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Worker threads.
    pub workers: usize,
    /// The length of a tick.
    pub tick: Duration,
    /// Whether every record is kept in `raw_data`.
    pub raw_data: bool,
    /// Whether to stop once everything present at the start is committed.
    pub until_caught_up: bool,
    /// What decides outcomes.
    pub admission: AdmissionSettings,
    /// What zone-less times are read in.
    pub timezone: Tz,
    /// This run's name in `progress`.
    pub instance: String,
    /// What is maintained.
    pub views: ViewSet,
    /// Where checkpoints are kept; without, each start reads everything again.
    pub checkpoints: Option<CheckpointOptions>,
    /// What the user accepts as lost.
    pub accepted: Vec<Acceptance>,
}

impl EngineOptions {
    fn assembly(&self) -> assembly::Settings {
        assembly::Settings {
            correction_window: self.admission.correction_window,
            selection: self.views.selection.clone(),
            added: Arc::clone(&self.views.added),
        }
    }

    /// What a store is filled with by this run.
    pub fn configuration(&self, source: &dyn Source) -> Configuration {
        Configuration {
            source: source.identity(),
            correction_window: self.admission.correction_window,
            max_future: self.admission.max_future,
            timezone: self.timezone.name().to_owned(),
            views: self.views.selection.chosen().map(|names| names.map(str::to_owned).collect()),
            added: self.views.written().map(str::to_owned).collect(),
            view_file: self.views.file.clone(),
        }
    }
}

/// Why the pipeline ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The source cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store cannot go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Going on would lose or falsify data; the text says what, and what accepts it (exit code 4).
    #[error("{0}")]
    Refused(String),
    /// What was accepted as lost is not what is lost (exit code 2).
    #[error("{0}")]
    Settings(String),
    /// A bug of tillflow (exit code 70).
    #[error("{0}")]
    Bug(String),
}

impl EngineError {
    fn unreadable_checkpoint(error: &ChunkError) -> EngineError {
        EngineError::Refused(format!(
            "the checkpoint cannot be read ({error}); it was made by another version: remove the state folder, and \
             everything is read again"
        ))
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records whose outcome was committed by this run.
    pub records: u64,
    /// Commits made.
    pub commits: u64,
    /// The last epoch in the store.
    pub epoch: u64,
}

/// A run of the pipeline.
pub struct Run {
    /// How.
    pub options: EngineOptions,
    /// Where the records come from.
    pub source: Arc<dyn Source>,
    /// What pages and the status line show of it.
    pub status: Arc<Status>,
    /// What `/metrics` says of it.
    pub metrics: Arc<Metrics>,
    /// When this is set it ends.
    pub stop: Arc<AtomicBool>,
    /// Where the time of the graph's operators is added up, if somebody wants to know: it costs some.
    pub operator_times: Option<Arc<OperatorTimes>>,
}

/// The other processes of a cluster, as process 0 has them.
struct Others {
    /// All processes, this one among them.
    processes: usize,
    links: Arc<Links>,
    sockets: workers::Sockets,
}

impl Run {
    /// A run that nobody looks at, nor ends.
    pub fn new(options: EngineOptions, source: Arc<dyn Source>) -> Run {
        Run {
            options,
            source,
            status: Arc::default(),
            metrics: Arc::default(),
            stop: Arc::default(),
            operator_times: None,
        }
    }

    /// Runs until `stop` is set, until it has caught up if so asked, or until it cannot go on.
    ///
    /// On a stop everything read is committed before it returns.
    pub fn alone(&self, store: Box<dyn Store>) -> Result<Summary, EngineError> {
        self.commit_into(store, None)
    }

    /// The same as process 0 of a cluster: it makes the plan for all processes, and commits what they read.
    pub fn lead(&self, store: Box<dyn Store>, cluster: Cluster) -> Result<Summary, EngineError> {
        let Cluster { process, processes, data, links } = cluster;
        let links = Arc::new(links);
        let others = Others { processes, links: Arc::clone(&links), sockets: (process, data) };
        self.commit_into(store, Some(others)).inspect_err(|error| control::fail(&links, error))
    }

    fn commit_into(&self, mut store: Box<dyn Store>, others: Option<Others>) -> Result<Summary, EngineError> {
        let Run { options, source, .. } = self;
        let processes = others.as_ref().map_or(1, |others| others.processes);
        let lineage = format!("{:032x}", rand::random::<u128>());
        let folder = || options.checkpoints.as_ref().map(|options| Folder::open(&options.folder)).transpose();
        let start = Start::of(options, source.as_ref(), store.as_mut(), folder, &lineage)?;
        let Start { progress, plan, alerts, folder, mut restored, configuration } = start;
        self.status.update(|status| {
            status.epoch = progress.epoch;
            status.as_of = progress.as_of;
            status.committed_at = progress.committed_at;
            status.phase = if plan.rebuild { Phase::Rebuilding } else { Phase::CatchingUp };
        });

        // Bounded by the workers, which stop reading while more than a few ticks wait.
        let (batches, batches_waiting) = crossbeam_channel::unbounded();
        let (raw, raw_waiting) = crossbeam_channel::bounded(shared::RAW_BATCHES);
        // At most one checkpoint is made at a time. (The committer must never wait for its writer, which waits for commits.)
        let (shards, shards_waiting) = crossbeam_channel::unbounded();
        let interval = options.checkpoints.as_ref().map_or(CheckpointOptions::INTERVAL, |options| options.interval);
        let workers = options.workers * processes;
        let told = others.as_ref().map_or_else(Told::default, |_| Told::in_cluster(options.tick));
        // In a cluster others may be ahead by as much when they are told what to save.
        let ahead = if others.is_some() { told.most_ahead(options.tick) } else { 0 };
        let schedule = Arc::new(Schedule::new(interval, workers, ahead));
        let written = Arc::new(Written::default());
        written.reach(&plan.committed);
        let writer = folder.map(|folder| Writer {
            folder,
            owner: Owner { lineage: plan.origin.lineage.clone(), source: configuration.source.clone() },
            configuration: configuration.text(),
            instance: options.instance.clone(),
            workers,
            schedule: Arc::clone(&schedule),
            written: Arc::clone(&written),
            metrics: Arc::clone(&self.metrics),
        });
        let decided = plan.origin.expiring_before;
        let expiring = Expiring::new(options.admission.correction_window, workers, &restored, decided);
        let channels = Channels {
            batches: Some(batches),
            raw: options.raw_data.then_some(raw),
            shards: writer.is_some().then_some(shards),
        };
        let shards = channels.shards.clone();
        let elsewhere = restored.split_off(options.workers, processes, &plan.partitions);
        let expired = restored.expired;
        let shared = Arc::new(Shared {
            told,
            checkpoints: writer.is_some(),
            expiry: Expiry::beginning_at(decided),
            restored: Mutex::new(restored),
            schedule,
            written: Arc::clone(&written),
            ..Shared::new(self, plan.partitions.clone(), Gate::new(workers, plan.rebuild), channels)
        });

        let control =
            others.as_ref().map(|others| shared.begin_cluster(others, plan.rebuild, elsewhere, expired)).transpose()?;
        let _watchdog = Watchdog::start(&shared)?;
        let stored = if plan.rebuild { read_meanwhile(store.as_ref())? } else { None };
        let store = watchdog::watched(store, &shared.pulse);
        let beginning = Beginning { progress, plan, alerts, expiring, shards, stored };
        let committer = Committer::new(store, beginning, Arc::clone(&shared));
        let committing = std::thread::Builder::new()
            .name("tillflow-commit".into())
            .spawn(move || committer.run(&batches_waiting, &raw_waiting))
            .map_err(|error| EngineError::Bug(format!("starting the committer's thread: {error}")))?;

        let writing = writer
            .map(|writer| {
                let thread = std::thread::Builder::new().name("tillflow-checkpoint".into());
                let shared = Arc::clone(&shared);
                thread.spawn(move || {
                    // Nobody waits for a checkpoint: without this, there would be none any more, and no word of it.
                    if catch_unwind(AssertUnwindSafe(|| writer.run(&shards_waiting))).is_err() {
                        shared.fail(EngineError::Bug(String::from("the thread of checkpoints panicked")));
                    }
                })
            })
            .transpose()
            .map_err(|error| EngineError::Bug(format!("starting the checkpoints' thread: {error}")))?;

        let ended = workers::run(&shared, others.map(|others| others.sockets));
        // The committer ends with the last sender.
        shared.close_channels();
        let committed = committing.join().map_err(|_| EngineError::Bug(String::from("the committer panicked")))?;
        written.end();
        if let Some(writing) = writing {
            writing.join().map_err(|_| EngineError::Bug(String::from("the thread of checkpoints panicked")))?;
        }
        ended?;
        let summary = committed?;
        if let Some(error) = shared.take_error() {
            return Err(error);
        }
        if let Some(control) = control {
            control.finish();
        }
        Ok(summary)
    }
}

impl Shared {
    /// Hands the plan to the other processes, and begins to talk with them.
    /// `elsewhere` is what a checkpoint says of the partitions of each process, `expired` what it lacks.
    fn begin_cluster(
        self: &Arc<Shared>,
        others: &Others,
        rebuild: bool,
        elsewhere: Vec<Vec<SavedPartition>>,
        expired: Option<Millis>,
    ) -> Result<Control, EngineError> {
        // What others read is behind until they say how far they are.
        let partitions = self.partitions.iter().map(|Planned { assignment, end, .. }| PartitionStatus {
            topic: assignment.topic,
            partition: assignment.partition,
            position: assignment.start,
            end: *end,
        });
        let partitions: Vec<PartitionStatus> = partitions.collect();
        self.status.update(|status| control::merge(status, partitions));
        let handed = control::Handed {
            partitions: self.partitions.clone(),
            rebuild,
            checkpoints: self.checkpoints,
            expired,
            decided: self.expiry.bounds().offered,
            now: now(),
        };
        control::hand(&others.links, elsewhere, handed);
        Control::start(&others.links, others.sockets.0, others.processes, self)
    }
}

/// Reads what the store holds while the state is rebuilt: nothing is written before the two are compared. Where the rest of
/// another instance's commit may still come, it is read as late as possible.
fn read_meanwhile(store: &dyn Store) -> Result<Option<ReadStored>, EngineError> {
    let Some(mut scan) = store.scanner()? else { return Ok(None) };
    if !store.commits_are_whole() {
        return Ok(Some(Box::new(move || Ok(Stored::read(scan.as_mut())?))));
    }
    let reading = std::thread::Builder::new()
        .name("tillflow-scan".into())
        .spawn(move || (Stored::read(scan.as_mut()), scan))
        .map_err(|error| EngineError::Bug(format!("starting a thread: {error}")))?;
    Ok(Some(Box::new(move || {
        let read = reading.join().map_err(|_| EngineError::Bug(String::from("the store's reader panicked")))?;
        match read {
            // It may have been too slow beside the rebuild, or a store that was away meanwhile is back.
            (Err(StoreError::Unavailable(why)), mut scan) => {
                tracing::warn!("reading the store once more: {why}");
                Ok(Stored::read(scan.as_mut())?)
            }
            (read, _) => Ok(read?),
        }
    })))
}

/// Milliseconds since 1970 by this machine's clock.
fn now() -> Millis {
    crate::fault::clock(chrono::Utc::now().timestamp_millis())
}

/// An instant as messages have it.
fn shown(instant: Option<Millis>) -> String {
    instant
        .and_then(DateTime::from_timestamp_millis)
        .map_or_else(|| String::from("no time"), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
