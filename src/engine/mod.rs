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
mod checkpoint;
mod committer;
mod control;
mod correction;
mod documents;
mod drain;
mod fingerprint;
mod follow;
mod ingest;
mod plan;
mod rebuild;
#[cfg(feature = "faults")]
pub mod simulation;
mod state_sizes;
mod watchdog;
mod worker;
mod workers;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::assembly;
use tillflow_dataflows::records::Millis;

use crate::cluster::Cluster;
use crate::cluster::links::Links;
use crate::configuration::Configuration;
use crate::metrics::Metrics;
use crate::source::{Source, SourceError};
use crate::status::{PartitionStatus, Phase, Status};
use crate::store::{Acceptance, Accepted, Fingerprints, Offsets, Origin, Store, StoreError};
use crate::views::ViewSet;

pub use self::checkpoint::CheckpointOptions;
pub use self::documents::{document, document_id};
pub use self::follow::follow;

use self::checkpoint::{Folder, Found, Owner, Restored, Schedule, Writer, Written};
use self::committer::Committer;
use self::control::{Control, Told};
use self::plan::{Circumstances, Left, Plan};
use self::watchdog::{Pulse, Watchdog};
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
    store: Box<dyn Store>,
    status: &Arc<Status>,
    metrics: &Arc<Metrics>,
    stop: &Arc<AtomicBool>,
) -> Result<Summary, EngineError> {
    run_with(options, source, store, status, metrics, stop, None)
}

/// The same as process 0 of a cluster: it makes the plan for all processes, and commits what they read.
pub fn lead(
    options: &EngineOptions,
    source: Arc<dyn Source>,
    store: Box<dyn Store>,
    status: &Arc<Status>,
    metrics: &Arc<Metrics>,
    stop: &Arc<AtomicBool>,
    cluster: Cluster,
) -> Result<Summary, EngineError> {
    let Cluster { process, processes, data, links } = cluster;
    let links = Arc::new(links);
    let others = Others { processes, links: Arc::clone(&links), sockets: (process, data) };
    let result = run_with(options, source, store, status, metrics, stop, Some(others));
    result.inspect_err(|error| control::fail(&links, error))
}

/// The other processes of a cluster, as process 0 has them.
struct Others {
    /// All processes, this one among them.
    processes: usize,
    links: Arc<Links>,
    sockets: workers::Sockets,
}

fn run_with(
    options: &EngineOptions,
    source: Arc<dyn Source>,
    mut store: Box<dyn Store>,
    status: &Arc<Status>,
    metrics: &Arc<Metrics>,
    stop: &Arc<AtomicBool>,
    others: Option<Others>,
) -> Result<Summary, EngineError> {
    let processes = others.as_ref().map_or(1, |others| others.processes);
    store.init()?;
    let configuration = options.configuration(source.as_ref());
    // A start that is refused must leave an instance that runs alone, so it is planned before the fence is taken. How far
    // the source reaches is asked for afterwards: what that instance commits meanwhile would else lie beyond it.
    let (found, origin) = store.peek()?;
    let mut partitions = source.discover()?;
    let (mut replaced, mut fingerprints) = (BTreeSet::new(), Fingerprints::new());
    if let Some(found) = &found {
        fingerprints = fingerprint::counted(store.fingerprints()?, &found.offsets);
        replaced = fingerprint::find_other_records(source.as_ref(), &partitions, &fingerprints)?;
    }
    // A cluster reads everything again.
    let checkpoints = options.checkpoints.as_ref().filter(|_| processes == 1);
    let folder = checkpoints.map(|options| Folder::open(&options.folder)).transpose()?;
    let lineage = format!("{:032x}", rand::random::<u128>());
    let nothing = BTreeSet::new();
    let circumstances = Circumstances {
        partitions: &[],
        others: &nothing,
        configuration: &configuration,
        accepted: &options.accepted,
        instance: &options.instance,
        lineage: &lineage,
        now: now(),
    };
    let checkpoints = folder.as_ref().map(Folder::checkpoints).unwrap_or_default();
    if let Some(folder) = &folder {
        plan::check_folder(folder, origin.as_ref())?;
    }
    if let Some(progress) = &found {
        let left = Left { progress, origin: origin.as_ref(), fingerprints: &fingerprints };
        let checkpoint = usable(&checkpoints, left, &configuration).next().map(|it| it.1);
        plan::plan(left, checkpoint, Circumstances { partitions: &partitions, others: &replaced, ..circumstances })?;
    }
    crate::fault::point("start.planned");
    let (progress, origin) = store.acquire(&options.instance)?;
    crate::fault::point("start.fenced");
    if found.map(|found| found.offsets).unwrap_or_default() != progress.offsets {
        partitions = source.discover()?;
    }
    tracing::info!(epoch = progress.epoch, fence = progress.fence, guarantee = %store.guarantee(), "store opened");
    // Another instance may have committed since.
    let fingerprints = store.fingerprints()?;
    let left = Left { progress: &progress, origin: origin.as_ref(), fingerprints: &fingerprints };
    let (plan, restored) = restore(
        folder.as_ref(),
        &checkpoints,
        left,
        Circumstances { partitions: &partitions, others: &replaced, ..circumstances },
    )?;
    for accepted in &plan.accepted {
        tracing::warn!("going on without what is lost, as accepted by {}", accepted.what);
    }
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
    let (shards, shards_waiting) = crossbeam_channel::bounded(options.workers);
    let interval = options.checkpoints.as_ref().map_or(CheckpointOptions::INTERVAL, |options| options.interval);
    let schedule = Arc::new(Schedule::new(interval, options.workers));
    let written = Arc::new(Written::default());
    written.reach(&plan.committed);
    let writer = folder.map(|folder| Writer {
        folder,
        owner: Owner { lineage: plan.origin.lineage.clone(), source: configuration.source.clone() },
        configuration: configuration.text(),
        instance: options.instance.clone(),
        workers: options.workers,
        schedule: Arc::clone(&schedule),
        written: Arc::clone(&written),
        metrics: Arc::clone(metrics),
    });
    let shared = Arc::new(Shared {
        options: options.clone(),
        assembly: options.assembly(),
        operators: Arc::new(state_sizes::names(options.assembly())),
        source: Arc::clone(&source),
        committed: plan.assignments.iter().map(|it| plan.committed[&(it.topic, it.partition)]).collect(),
        ends: partitions.iter().map(|info| info.high).collect(),
        assignments: plan.assignments.clone(),
        gate: Gate::new(options.workers * processes, plan.rebuild),
        pending: worker::Pending::default(),
        channels: Mutex::new(Channels {
            batches: Some(batches),
            raw: options.raw_data.then_some(raw),
            shards: writer.is_some().then_some(shards),
        }),
        restored: Mutex::new(restored),
        schedule,
        written: Arc::clone(&written),
        pulse: Arc::new(Pulse::new(options.workers)),
        told: others.as_ref().map_or_else(Told::default, |_| Told::in_cluster(options.tick)),
        status: Arc::clone(status),
        metrics: Arc::clone(metrics),
        stop: Arc::clone(stop),
        failed: AtomicBool::new(false),
        error: Mutex::default(),
    });

    let control = others.as_ref().map(|others| shared.begin_cluster(others, plan.rebuild)).transpose()?;
    let _watchdog = Watchdog::start(&shared)?;
    let store = watchdog::watched(store, &shared.pulse);
    let committer = Committer::new(store, progress, plan, alerts, Arc::clone(&shared));
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

    let panics = workers::run(&shared, others.map(|others| others.sockets))?;
    // The committer ends with the last sender.
    shared.close_channels();
    let committed = committing.join().map_err(|_| EngineError::Bug(String::from("the committer panicked")))?;
    written.end();
    if let Some(writing) = writing {
        writing.join().map_err(|_| EngineError::Bug(String::from("the thread of checkpoints panicked")))?;
    }
    if !panics.is_empty() {
        return Err(EngineError::Bug(format!("a worker panicked: {}", panics.join("; "))));
    }
    let summary = committed?;
    if let Some(error) = shared.take_error() {
        return Err(error);
    }
    if let Some(control) = control {
        control.finish();
    }
    Ok(summary)
}

impl Shared {
    /// Hands the plan to the other processes, and begins to talk with them.
    fn begin_cluster(self: &Arc<Shared>, others: &Others, rebuild: bool) -> Result<Control, EngineError> {
        let (assignments, committed, ends) = (self.assignments.clone(), self.committed.clone(), self.ends.clone());
        // What others read is behind until they say how far they are.
        let partitions = assignments.iter().zip(&ends).map(|(it, end)| PartitionStatus {
            topic: it.topic,
            partition: it.partition,
            position: it.start,
            end: *end,
        });
        let partitions: Vec<PartitionStatus> = partitions.collect();
        self.status.update(|status| control::merge(status, partitions));
        control::hand(&others.links, control::Handed { assignments, committed, ends, rebuild, now: now() });
        Control::start(&others.links, others.sockets.0, others.processes, self)
    }
}

/// Those of the checkpoints that a start can go on from: of this store's history, made with these settings, and not ahead
/// of what it holds. The newest first.
fn usable<'a>(
    checkpoints: &'a [Found],
    left: Left<'a>,
    configuration: &Configuration,
) -> impl Iterator<Item = (&'a Found, Offsets)> {
    let lineage = left.origin.map(|origin| origin.lineage.clone()).unwrap_or_default();
    let counted = left.progress.offsets.clone();
    let configuration = configuration.text();
    checkpoints.iter().filter_map(move |found| {
        let mut offsets = found.manifest.offsets()?;
        if let Some(origin) = left.origin {
            pass_over_losses(&mut offsets, origin, found.manifest.made_at);
        }
        let is_behind = offsets.iter().all(|(place, next)| counted.get(place).is_some_and(|counted| next <= counted));
        let is_ours = found.manifest.lineage == lineage && found.manifest.configuration == configuration;
        (is_ours && is_behind).then_some((found, offsets))
    })
}

/// Moves the offsets of a checkpoint past what was accepted as lost since it was made.
fn pass_over_losses(offsets: &mut Offsets, origin: &Origin, made_at: Millis) {
    for Accepted { what, at, .. } in origin.accepted.iter().filter(|accepted| accepted.at >= made_at) {
        let place = what.place();
        let Some(next) = offsets.get(&place).copied() else { continue };
        match what {
            Acceptance::Loss { from, to, .. } if next == *from => drop(offsets.insert(place, to + 1)),
            Acceptance::Gone { next: gone, .. } if next == *gone => match origin.offsets.get(&place) {
                Some(begun) => drop(offsets.insert(place, *begun)),
                None => drop(offsets.remove(&place)),
            },
            other => tracing::debug!(%other, at, "not in the way of the checkpoint"),
        }
    }
}

/// Plans a run from the newest checkpoint that is whole, or from the beginning, and gives what that checkpoint holds.
fn restore(
    folder: Option<&Folder>,
    checkpoints: &[Found],
    left: Left<'_>,
    circumstances: Circumstances<'_>,
) -> Result<(Plan, Restored), EngineError> {
    for (found, offsets) in usable(checkpoints, left, circumstances.configuration) {
        let Some(folder) = folder else { break };
        let shards = match folder.load(found) {
            Ok(shards) => shards,
            Err(error) => {
                tracing::warn!("a checkpoint in {} is left out: {error}", folder.shown());
                continue;
            }
        };
        let plan = plan::plan(left, Some(offsets), circumstances)?;
        let mut restored = Restored::default();
        for shard in shards {
            restored.chunks.extend(shard.chunks);
            for (saved, _) in shard.partitions {
                let place = (saved.topic, saved.number);
                match plan.assignments.iter().any(|assignment| assignment.place() == place) {
                    true => drop(restored.partitions.insert(place, saved)),
                    false => restored.unread.push(saved),
                }
            }
        }
        let made_at = shown(Some(found.manifest.made_at));
        tracing::info!(%made_at, "going on from a checkpoint");
        return Ok((plan, restored));
    }
    Ok((plan::plan(left, None, circumstances)?, Restored::default()))
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
