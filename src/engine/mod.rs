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
mod committer;
mod documents;
mod drain;
mod ingest;
mod plan;
mod rebuild;
#[cfg(feature = "faults")]
pub mod simulation;
mod state_sizes;
mod worker;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::assembly;
use tillflow_dataflows::records::Millis;

use crate::configuration::Configuration;
use crate::metrics::Metrics;
use crate::source::{Source, SourceError};
use crate::status::{Phase, Status};
use crate::store::{Store, StoreError};
use crate::views::ViewSet;

pub use self::documents::{document, document_id};

use self::committer::Committer;
use self::worker::{Channels, Gate, Shared};

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
}

impl EngineOptions {
    fn assembly(&self) -> assembly::Settings {
        assembly::Settings {
            correction_window: self.admission.correction_window,
            selection: self.views.selection.clone(),
            added: Arc::clone(&self.views.added),
        }
    }

    fn configuration(&self, source: &dyn Source) -> Configuration {
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
    /// A bug of tillflow (exit code 70).
    #[error("{0}")]
    Bug(String),
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

/// Runs the pipeline until `stop` is set, until it has caught up if so asked, or until it cannot go on.
///
/// On a stop everything read is committed before it returns.
pub fn run(
    options: &EngineOptions,
    source: Arc<dyn Source>,
    mut store: Box<dyn Store>,
    status: &Arc<Status>,
    metrics: &Arc<Metrics>,
    stop: &Arc<AtomicBool>,
) -> Result<Summary, EngineError> {
    store.init()?;
    let configuration = options.configuration(source.as_ref());
    // A start that is refused must leave an instance that runs alone, so it is planned before the fence is taken. How far
    // the source reaches is asked for afterwards: what that instance commits meanwhile would else lie beyond it.
    let (found, origin) = store.peek()?;
    let mut partitions = source.discover()?;
    if let Some(found) = &found {
        plan::plan(&partitions, found, origin.as_ref(), &configuration)?;
    }
    crate::fault::point("start.planned");
    let (progress, origin) = store.acquire(&options.instance)?;
    crate::fault::point("start.fenced");
    if found.map(|found| found.offsets).unwrap_or_default() != progress.offsets {
        partitions = source.discover()?;
    }
    tracing::info!(epoch = progress.epoch, fence = progress.fence, guarantee = %store.guarantee(), "store opened");
    let plan = plan::plan(&partitions, &progress, origin.as_ref(), &configuration)?;
    let known = if crate::fault::mutant("alerts_are_forgotten") { Vec::new() } else { store.alerts()? };
    let alerts = alerts::AlertBook::load(known)?;
    crate::fault::point("start.loaded");
    status.update(|status| {
        status.epoch = progress.epoch;
        status.as_of = progress.as_of;
        status.committed_at = progress.committed_at;
        status.phase = if plan.rebuild { Phase::Rebuilding } else { Phase::CatchingUp };
    });

    // Bounded by the workers, which stop reading while more than a few ticks wait.
    let (batches, batches_waiting) = crossbeam_channel::unbounded();
    let (raw, raw_waiting) = crossbeam_channel::bounded(worker::RAW_BATCHES);
    let shared = Arc::new(Shared {
        options: options.clone(),
        assembly: options.assembly(),
        operators: Arc::new(state_sizes::names(options.assembly())),
        source: Arc::clone(&source),
        committed: plan.assignments.iter().map(|it| plan.committed[&(it.topic, it.partition)]).collect(),
        ends: partitions.iter().map(|info| info.high).collect(),
        assignments: plan.assignments.clone(),
        gate: Gate::new(options.workers, plan.rebuild),
        pending: worker::Pending::default(),
        channels: Mutex::new(Channels { batches: Some(batches), raw: options.raw_data.then_some(raw) }),
        status: Arc::clone(status),
        metrics: Arc::clone(metrics),
        stop: Arc::clone(stop),
        failed: AtomicBool::new(false),
        error: Mutex::default(),
    });

    let committer = Committer::new(store, progress, plan, alerts, Arc::clone(&shared));
    let committing = std::thread::Builder::new()
        .name("tillflow-commit".into())
        .spawn(move || committer.run(&batches_waiting, &raw_waiting))
        .map_err(|error| EngineError::Bug(format!("starting the committer's thread: {error}")))?;

    let for_workers = Arc::clone(&shared);
    let config = timely::Config::process(options.workers);
    let guards = timely::execute(config, move |worker| worker::run(worker, &for_workers)).map_err(EngineError::Bug)?;
    let panics: Vec<String> = guards.join().into_iter().filter_map(Result::err).collect();
    // The committer ends with the last sender.
    shared.close_channels();
    let committed = committing.join().map_err(|_| EngineError::Bug(String::from("the committer panicked")))?;
    if !panics.is_empty() {
        return Err(EngineError::Bug(format!("a worker panicked: {}", panics.join("; "))));
    }
    let summary = committed?;
    shared.take_error().map_or(Ok(summary), Err)
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
