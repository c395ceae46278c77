//! How long each operator of the graph runs, for `/metrics` and for a summary at the end of a run.
//!
//! timely logs when it begins and ends to run an operator. That is an event for every time that one runs, so it is
//! only asked for with [`Run::operator_times`](super::Run::operator_times).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

use super::state_sizes::Names;
use crate::metrics::Metrics;

/// What the operators of a name took on one worker, without operators inside them, and the most records they held.
#[derive(Clone, Copy, Debug, Default)]
struct Ran {
    took: Duration,
    most: Option<i64>,
}

/// What all operators took on this process's workers.
#[derive(Debug, Default)]
pub struct OperatorTimes(Mutex<BTreeMap<String, BTreeMap<usize, Ran>>>);

impl OperatorTimes {
    fn add(&self, name: &str, worker: usize, took: Duration, records: Option<i64>) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !times.contains_key(name) {
            times.insert(name.to_owned(), BTreeMap::new());
        }
        let Some(workers) = times.get_mut(name) else { return };
        let ran = workers.entry(worker).or_default();
        ran.took += took;
        ran.most = ran.most.max(records);
    }

    /// Who took the longest.
    pub fn summary(&self) -> OperatorSummary {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<OperatorRow> = times
            .iter()
            .map(|(name, workers)| OperatorRow {
                name: name.clone(),
                took: workers.values().map(|ran| ran.took).sum(),
                records: workers
                    .values()
                    .filter_map(|ran| ran.most)
                    .fold(None, |sum, most| Some(sum.unwrap_or(0) + most)),
            })
            .collect();
        rows.sort_by(|a, b| b.took.cmp(&a.took).then_with(|| a.name.cmp(&b.name)));
        OperatorSummary { rows }
    }
}

/// Operators of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRow {
    /// Their name.
    pub name: String,
    /// How long they ran, on all workers of this process, without operators inside them.
    pub took: Duration,
    /// The most records that they held on each worker, added up, if they hold any.
    pub records: Option<i64>,
}

/// What the operators of a run took, the longest first. Displayed as a table of those that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorSummary {
    /// By name.
    pub rows: Vec<OperatorRow>,
}

impl fmt::Display for OperatorSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ROWS: usize = 25;
        let all: Duration = self.rows.iter().map(|row| row.took).sum();
        writeln!(f, "{:>10} {:>6} {:>12}  operator", "seconds", "share", "most records")?;
        for OperatorRow { name, took, records } in self.rows.iter().take(ROWS) {
            let share = took.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0;
            let records = records.map(|records| records.to_string()).unwrap_or_default();
            writeln!(f, "{:>10.3} {share:>5.1}% {records:>12}  {name}", took.as_secs_f64())?;
        }
        let others = self.rows.len().saturating_sub(ROWS);
        let rest: Duration = self.rows.iter().skip(ROWS).map(|row| row.took).sum();
        write!(f, "{:>10.3} in all, {:.3} of them in {others} others", all.as_secs_f64(), rest.as_secs_f64())
    }
}

/// Adds up what the operators of this worker's graph take. To be called before the graph is built.
pub(super) fn watch(worker: &Worker, names: &Arc<Names>, metrics: &Arc<Metrics>, times: &Arc<OperatorTimes>) {
    let (index, names, metrics, times) = (worker.index(), Arc::clone(names), Arc::clone(metrics), Arc::clone(times));
    let Some(mut registry) = worker.log_register() else { return };
    let mut stack = Stack::default();
    registry.insert::<TimelyEventBuilder, _>("timely", move |_time, data| {
        let mut ran: BTreeMap<usize, Duration> = BTreeMap::new();
        for (at, event) in data.iter().flat_map(|data| data.iter()) {
            if let TimelyEvent::Schedule(event) = event {
                stack.take(*at, event.id, &event.start_stop, |operator, took| {
                    *ran.entry(operator).or_default() += took;
                });
            }
        }
        for (operator, took) in ran {
            // What is not in the graph is timely's own: the dataflow as a whole.
            let name = names.get(&operator).map_or("(scheduling)", String::as_str);
            // At the end of a run they let go of all they hold.
            times.add(name, index, took, metrics.state(name, index));
            metrics.operators_ran(name, index, took);
        }
    });
}

/// The operators that run, each inside the one before.
#[derive(Default)]
struct Stack(Vec<Running>);

struct Running {
    operator: usize,
    begun: Duration,
    /// What operators inside it took.
    inside: Duration,
}

impl Stack {
    /// Takes an event, and gives the time of an operator that ends with it.
    fn take(&mut self, at: Duration, operator: usize, event: &StartStop, mut give: impl FnMut(usize, Duration)) {
        match event {
            StartStop::Start => self.0.push(Running { operator, begun: at, inside: Duration::ZERO }),
            StartStop::Stop => {
                let Some(Running { operator, begun, inside }) = self.0.pop() else { return };
                let took = at.saturating_sub(begun);
                give(operator, took.saturating_sub(inside));
                if let Some(around) = self.0.last_mut() {
                    around.inside += took;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_operator_is_without_those_inside_it() {
        let mut stack = Stack::default();
        let mut ran = BTreeMap::new();
        let events = [
            (0, 1, StartStop::Start),
            (2, 2, StartStop::Start),
            (5, 2, StartStop::Stop),
            (6, 3, StartStop::Start),
            (7, 3, StartStop::Stop),
            (10, 1, StartStop::Stop),
            (12, 2, StartStop::Start),
            (13, 2, StartStop::Stop),
        ];
        for (at, operator, event) in events {
            stack.take(Duration::from_millis(at), operator, &event, |operator, took| {
                *ran.entry(operator).or_default() += took;
            });
        }
        let millis = [(1, 6), (2, 4), (3, 1)].map(|(operator, millis)| (operator, Duration::from_millis(millis)));
        assert_eq!(ran, BTreeMap::from(millis));
    }

    #[test]
    fn the_longest_come_first_and_say_what_they_hold() {
        let times = OperatorTimes::default();
        times.add("Map", 0, Duration::from_millis(5), None);
        times.add("Sales rollups", 0, Duration::from_millis(20), Some(7));
        times.add("Sales rollups", 0, Duration::from_millis(10), Some(0));
        times.add("Sales rollups", 1, Duration::from_millis(10), Some(8));
        let summary = times.summary();
        let rows: Vec<_> =
            summary.rows.iter().map(|row| (row.name.as_str(), row.took.as_millis(), row.records)).collect();
        assert_eq!(rows, [("Sales rollups", 40, Some(15)), ("Map", 5, None)]);
        assert!(summary.to_string().contains("0.040  88.9%           15  Sales rollups"), "{summary}");
    }
}
