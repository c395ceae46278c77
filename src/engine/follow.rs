//! A process of a cluster other than process 0: workers alone, no plan of its own, no committer and no store.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::checkpoint::{CheckpointOptions, Schedule};
use super::control::{self, Control, Told};
use super::watchdog::{Pulse, Watchdog};
use super::worker::{self, Channels, Gate, Shared};
use super::{EngineError, EngineOptions, Summary, state_sizes, workers};
use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::source::Source;
use crate::status::{Phase, Status};

/// Runs the workers of this process until process 0 says that everything is committed. The summary is process 0's, as
/// far as it is known here.
pub fn follow(
    options: &EngineOptions,
    source: Arc<dyn Source>,
    status: &Arc<Status>,
    metrics: &Arc<Metrics>,
    stop: &Arc<AtomicBool>,
    cluster: Cluster,
) -> Result<Summary, EngineError> {
    let Cluster { process, processes, data, links } = cluster;
    let links = Arc::new(links);
    let run = || {
        let handed = control::wait_for_plan(&links, stop)?;
        status.update(|status| {
            status.phase = if handed.rebuild { Phase::Rebuilding } else { Phase::CatchingUp };
        });
        let told = Told::in_cluster(options.tick);
        told.set_clock(handed.now);
        // Complete ticks go to the drain of process 0; here none ever comes out.
        let (batches, _) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared {
            options: options.clone(),
            assembly: options.assembly(),
            operators: Arc::new(state_sizes::names(options.assembly())),
            source: Arc::clone(&source),
            assignments: handed.assignments,
            committed: handed.committed,
            ends: handed.ends,
            gate: Gate::opened_elsewhere(options.workers, handed.rebuild),
            pending: worker::Pending::default(),
            pulse: Arc::new(Pulse::new(options.workers)),
            told,
            channels: Mutex::new(Channels { batches: Some(batches), raw: None, shards: None }),
            restored: Mutex::default(),
            schedule: Arc::new(Schedule::new(CheckpointOptions::INTERVAL, options.workers)),
            written: Arc::default(),
            status: Arc::clone(status),
            metrics: Arc::clone(metrics),
            stop: Arc::clone(stop),
            failed: AtomicBool::new(false),
            error: Mutex::default(),
        });
        let control = Control::start(&links, process, processes, &shared)?;
        let _watchdog = Watchdog::start(&shared)?;
        let panics = workers::run(&shared, Some((process, data)))?;
        if !panics.is_empty() {
            return Err(EngineError::Bug(format!("a worker panicked: {}", panics.join("; "))));
        }
        if let Some(error) = shared.take_error() {
            return Err(error);
        }
        control.finish();
        let known = status.snapshot();
        Ok(Summary { records: known.records, commits: 0, epoch: known.epoch })
    };
    run().inspect_err(|error| control::fail(&links, error))
}
