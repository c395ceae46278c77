//! How much each arrangement and each other state of the graph holds, for `/metrics`.
//!
//! Differential dataflow logs what enters and leaves arrangements, once a batch. It names them by numbers; their names
//! are in a log that has an event for every time an operator runs, too much to keep for a lifetime. The same graph
//! has the same numbers on every worker and in every run of the program, so it is built once more beside the workers,
//! never fed, to read the names off it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::logging::{DifferentialEvent, DifferentialEventBuilder};
use tillflow_dataflows::assembly::{Settings, assemble, parts};
use tillflow_dataflows::feed::Feed;
use tillflow_dataflows::state::State;
use timely::logging::{TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

use crate::metrics::Metrics;

/// The names of the graph's operators, by their numbers.
pub(super) type Names = BTreeMap<usize, String>;

/// Builds the graph for its names.
pub(super) fn names(settings: Settings) -> Names {
    timely::execute_directly(move |worker| {
        let names = Rc::new(RefCell::new(Names::new()));
        let sink = Rc::clone(&names);
        if let Some(mut registry) = worker.log_register() {
            registry.insert::<TimelyEventBuilder, _>("timely", move |_time, data| {
                for (_, event) in data.iter().flat_map(|data| data.iter()) {
                    if let TimelyEvent::Operates(event) = event {
                        sink.borrow_mut().insert(event.id, event.name.clone());
                    }
                }
            });
        }
        let mut feed = Feed::new(parts(&settings));
        worker.dataflow_named::<u64, _, _>("tillflow", |scope| {
            assemble(feed.inputs(scope), &settings, &mut State::new());
        });
        drop(feed);
        while worker.has_dataflows() {
            worker.step();
        }
        flush(worker);
        names.take()
    })
}

/// Keeps the metrics up to date with what this worker's arrangements hold. To be called before its graph is built.
pub(super) fn watch(worker: &Worker, names: &Arc<Names>, metrics: &Arc<Metrics>) {
    let (index, names, metrics) = (worker.index(), Arc::clone(names), Arc::clone(metrics));
    let mut held: BTreeMap<usize, i64> = BTreeMap::new();
    let Some(mut registry) = worker.log_register() else { return };
    registry.insert::<DifferentialEventBuilder, _>("differential/arrange", move |_time, data| {
        let mut changed = BTreeMap::new();
        for (_, event) in data.iter().flat_map(|data| data.iter()) {
            let (operator, change) = match event {
                DifferentialEvent::Batch(event) => (event.operator, size(event.length)),
                DifferentialEvent::Drop(event) => (event.operator, -size(event.length)),
                DifferentialEvent::Merge(event) => match event.complete {
                    Some(merged) => (event.operator, size(merged) - size(event.length1) - size(event.length2)),
                    None => continue,
                },
                _ => continue,
            };
            let held = held.entry(operator).or_default();
            *held += change;
            changed.insert(operator, *held);
        }
        for (operator, held) in changed {
            if let Some(name) = names.get(&operator) {
                metrics.set_state(name, index, held);
            }
        }
    });
}

/// Hands over what the log still holds.
pub(super) fn flush(worker: &Worker) {
    if let Some(mut registry) = worker.log_register() {
        registry.flush();
    }
}

fn size(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
