//! What a worker's own log says about the graph: its operators, and how much its arrangements hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::logging::{DifferentialEvent, DifferentialEventBuilder};
use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

#[derive(Debug, Default)]
pub struct Log {
    /// Address and name of each operator, by identifier.
    pub operators: BTreeMap<usize, (Vec<usize>, String)>,
    /// Updates in each arrangement's trace, by its operator's identifier.
    pub updates: BTreeMap<usize, isize>,
    /// Updates in batchers: received and of a tick that is not complete.
    pub waiting: BTreeMap<usize, isize>,
    /// How many times each operator ran.
    pub runs: BTreeMap<usize, usize>,
}

impl Log {
    /// Starts to log on this worker; call it before the graph is built.
    pub fn start(worker: &mut Worker) -> Rc<RefCell<Log>> {
        let log = Rc::new(RefCell::new(Log::default()));
        let mut registry = worker.log_register().expect("logging is compiled in");
        let sink = log.clone();
        registry.insert::<TimelyEventBuilder, _>("timely", move |_time, data| {
            let mut log = sink.borrow_mut();
            for (_, event) in data.iter().flat_map(|data| data.iter()) {
                match event {
                    TimelyEvent::Operates(event) => {
                        log.operators.insert(event.id, (event.addr.clone(), event.name.clone()));
                    }
                    TimelyEvent::Schedule(event) if event.start_stop == StartStop::Start => {
                        *log.runs.entry(event.id).or_default() += 1;
                    }
                    _ => {}
                }
            }
        });
        let sink = log.clone();
        registry.insert::<DifferentialEventBuilder, _>("differential/arrange", move |_time, data| {
            let mut log = sink.borrow_mut();
            for (_, event) in data.iter().flat_map(|data| data.iter()) {
                let (operator, change) = match event {
                    DifferentialEvent::Batch(event) => (event.operator, event.length as isize),
                    DifferentialEvent::Drop(event) => (event.operator, -(event.length as isize)),
                    DifferentialEvent::Merge(event) => match event.complete {
                        Some(merged) => (event.operator, merged as isize - (event.length1 + event.length2) as isize),
                        None => continue,
                    },
                    DifferentialEvent::Batcher(event) => {
                        *log.waiting.entry(event.operator).or_default() += event.records_diff;
                        continue;
                    }
                    _ => continue,
                };
                *log.updates.entry(operator).or_default() += change;
            }
        });
        drop(registry);
        log
    }

    /// Hands over what the loggers still hold.
    pub fn flush(worker: &Worker) {
        worker.log_register().expect("logging is compiled in").flush();
    }

    /// The updates held by the arrangements of that name.
    pub fn held(&self, name: &str) -> isize {
        let held: Vec<isize> = self
            .operators
            .iter()
            .filter(|(_, (_, of))| of == name)
            .map(|(id, _)| self.updates.get(id).copied().unwrap_or(0))
            .collect();
        assert!(!held.is_empty(), "no operator is named {name:?}");
        held.into_iter().sum()
    }

    /// How many times the operators of that name ran.
    pub fn runs(&self, name: &str) -> usize {
        let ids = self.operators.iter().filter(|(_, (_, of))| of == name).map(|(id, _)| id);
        ids.map(|id| self.runs.get(id).copied().unwrap_or(0)).sum()
    }
}
