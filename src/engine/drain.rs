//! The graph's end: gathers on worker 0, for each complete tick, every row change and note of every worker.

use std::collections::BTreeMap;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use tillflow_dataflows::outputs::{Row, Rows};
use tillflow_dataflows::time::{Diff, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Probe};
use timely::dataflow::{Stream, StreamVec};

use super::ingest::Note;
use super::shared::Shared;

/// One complete tick.
#[derive(Debug, Default)]
pub(super) struct TickBatch {
    pub(super) tick: Tick,
    /// Row changes, not consolidated.
    pub(super) rows: Vec<(Row, Diff)>,
    pub(super) notes: Vec<Note>,
    /// How many rows and dead letters it changes, great records counted as several: see [`Note::weight`].
    pub(super) changes: usize,
}

impl TickBatch {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.notes.is_empty()
    }

    /// How many records the worker that read most has read in it.
    fn records(&self) -> usize {
        let mut read = BTreeMap::<usize, u64>::new();
        for note in &self.notes {
            if let Note::Consumed(consumed) = note {
                *read.entry(consumed.worker).or_default() += consumed.outcomes.iter().sum::<u64>();
            }
        }
        usize::try_from(read.into_values().max().unwrap_or(0)).unwrap_or(usize::MAX)
    }
}

/// What is gathered. One tick is sent as several of these.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Output {
    Row(Row, Diff),
    Note(Note),
}

/// Sends complete ticks to the committer and returns a handle to how far they are.
///
/// The channel is bounded by the workers: they stop reading while more than a few ticks wait in it.
pub(super) fn drain<'scope>(
    rows: Rows<'scope>,
    notes: Stream<'scope, Tick, Vec<(Tick, Note)>>,
    batches: Sender<TickBatch>,
    shared: &std::sync::Arc<Shared>,
) -> Handle<Tick> {
    let rows: StreamVec<'scope, Tick, (Tick, Output)> =
        rows.inner.map(|(row, tick, difference)| (tick, Output::Row(row, difference)));
    let notes = notes.map(|(tick, note)| (tick, Output::Note(note)));
    let shared = std::sync::Arc::clone(shared);
    let everything = rows.concat(notes);
    let complete = everything.unary_frontier::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
        Exchange::new(|_: &(Tick, Output)| 0),
        "Drain",
        move |_capability, _info| {
            let mut open: BTreeMap<Tick, TickBatch> = BTreeMap::new();
            move |(input, frontier), _output| {
                input.for_each_stamp(|_capability, data| {
                    for (tick, output) in data.flat_map(|batch| batch.drain(..)) {
                        let batch = open.entry(tick).or_default();
                        match output {
                            Output::Row(row, difference) => {
                                batch.changes += 1;
                                batch.rows.push((row, difference));
                            }
                            Output::Note(note) => {
                                batch.changes += note.weight();
                                batch.notes.push(note);
                            }
                        }
                    }
                });
                while let Some(entry) = open.first_entry() {
                    if frontier.less_equal(entry.key()) {
                        break;
                    }
                    let (tick, mut batch) = entry.remove_entry();
                    batch.tick = tick;
                    if !batch.is_empty() {
                        shared.budget.learn_of_tick(batch.records(), batch.changes);
                        shared.pending.add(batch.changes);
                        // A committer that has ended has said why; the workers are on their way out.
                        let _ = batches.send(batch);
                    }
                }
            }
        },
    );
    complete.probe().0
}
