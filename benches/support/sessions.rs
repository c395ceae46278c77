//! A worker's graph, fed by hand.

use std::hint::black_box;
use std::time::Duration;

use tillflow_dataflows::admission::Fact;
use tillflow_dataflows::assembly::{Settings, assemble, parts};
use tillflow_dataflows::feed::Feed;
use tillflow_dataflows::inputs::PartitionClock;
use tillflow_dataflows::measures::QualityMeasures;
use tillflow_dataflows::records::{Millis, Topic};
use tillflow_dataflows::state::State;
use tillflow_dataflows::time::Tick;
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

/// One worker's graph, its inputs and its state, and how far it is.
pub struct Sessions {
    feed: Feed,
    pub state: State,
    probe: ProbeHandle<Tick>,
    told: Vec<PartitionClock>,
    pub tick: Tick,
}

impl Sessions {
    /// Builds the graph; its rows go nowhere.
    pub fn build(worker: &mut Worker, settings: &Settings) -> Sessions {
        let (mut feed, mut state) = (Feed::new(parts(settings)), State::new());
        let probe = worker.dataflow::<Tick, _, _>(|scope| {
            let rows = assemble(feed.inputs(scope), settings, &mut state);
            rows.inspect(|row| {
                black_box(row);
            })
            .probe()
            .0
        });
        // Ticks of the engine are times of day since 1970 by its tick length; any number above 0 does.
        Sessions { feed, state, probe, told: Vec::new(), tick: 17_000_000_000 }
    }

    /// Opens the tick.
    pub fn begin(&mut self) {
        self.advance();
    }

    pub fn give(&mut self, fact: Fact<'_>) {
        self.feed.take(fact);
    }

    /// Tells how far a partition's clock is.
    pub fn tell(&mut self, place: (Topic, i32), clock: Option<Millis>) {
        let now = PartitionClock::new(place, clock);
        let told = self.told.iter_mut().find(|told| told.place == place);
        let from = told.map(|told| std::mem::replace(told, now));
        if from.is_none() {
            self.told.push(now);
        }
        self.feed.move_clock(from, now);
    }

    pub fn count(&mut self, outcomes: QualityMeasures) {
        self.feed.count(outcomes);
    }

    /// Closes the tick, and waits until it is complete on all workers.
    pub fn end(&mut self, worker: &mut Worker) {
        self.tick += 1;
        self.advance();
        while self.probe.less_than(&self.tick) {
            worker.step_or_park(Some(Duration::from_micros(100)));
        }
        self.state.compact(self.tick - 1);
    }

    fn advance(&mut self) {
        self.feed.advance_to(self.tick);
        self.state.advance_to(self.tick);
    }
}
