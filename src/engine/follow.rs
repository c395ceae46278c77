//! A process of a cluster other than process 0: workers alone, no plan of its own, no committer and no store.

use std::sync::{Arc, Mutex};

use super::control::{self, Control, Told};
use super::expiry::Expiry;
use super::shared::{Channels, Gate, Shared};
use super::watchdog::Watchdog;
use super::{EngineError, Run, Summary, workers};
use crate::cluster::Cluster;
use crate::status::Phase;

impl Run {
    /// Runs the workers of this process until process 0 says that everything is committed. The summary is process 0's, as
    /// far as it is known here.
    pub fn follow(&self, cluster: Cluster) -> Result<Summary, EngineError> {
        let Cluster { process, processes, data, links } = cluster;
        let links = Arc::new(links);
        let follow = || {
            let (handed, mut restored) = control::wait_for_plan(&links, &self.stop)?;
            restored.expired = handed.expired;
            let places: Vec<_> = handed.partitions.iter().map(|planned| planned.assignment.place()).collect();
            self.source.go_on_from(&places);
            self.status.update(|status| {
                status.phase = if handed.rebuild { Phase::Rebuilding } else { Phase::CatchingUp };
            });
            let told = Told::in_cluster(self.options.tick);
            told.set_clock(handed.now);
            // Complete ticks go to the drain of process 0; here none ever comes out.
            let (batches, _) = crossbeam_channel::unbounded();
            let channels = Channels { batches: Some(batches), raw: None, shards: None };
            let gate = Gate::opened_elsewhere(self.options.workers, handed.rebuild);
            let shared = Arc::new(Shared {
                told,
                checkpoints: handed.checkpoints,
                expiry: Expiry::beginning_at(handed.decided),
                restored: Mutex::new(restored),
                ..Shared::new(self, handed.partitions, gate, channels)
            });
            let control = Control::start(&links, process, processes, &shared)?;
            let _watchdog = Watchdog::start(&shared)?;
            workers::run(&shared, Some((process, data)))?;
            if let Some(error) = shared.take_error() {
                return Err(error);
            }
            control.finish();
            let known = self.status.snapshot();
            Ok(Summary { records: known.records, commits: 0, epoch: known.epoch })
        };
        follow().inspect_err(|error| control::fail(&links, error))
    }
}
