//! A worker's graph, fed by hand.

use std::hint::black_box;
use std::time::Duration;

use differential_dataflow::input::InputSession;
use tillflow_dataflows::admission::Fact;
use tillflow_dataflows::assembly::{Settings, assemble};
use tillflow_dataflows::inputs::{Inputs, PartitionClock, PlacedSale, StockCandidate};
use tillflow_dataflows::measures::QualityMeasures;
use tillflow_dataflows::records::{Activity, Millis, Topic};
use tillflow_dataflows::state::State;
use tillflow_dataflows::time::{Diff, Tick};
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

/// The inputs of one worker's graph, its state, and how far it is.
pub struct Sessions {
    sales: InputSession<Tick, PlacedSale, Diff>,
    activities: InputSession<Tick, Activity, Diff>,
    stock: InputSession<Tick, StockCandidate, Diff>,
    clocks: InputSession<Tick, PartitionClock, Diff>,
    quality: InputSession<Tick, (), QualityMeasures>,
    pub state: State,
    probe: ProbeHandle<Tick>,
    told: Vec<PartitionClock>,
    pub tick: Tick,
}

impl Sessions {
    /// Builds the graph; its rows go nowhere.
    pub fn build(worker: &mut Worker, settings: &Settings) -> Sessions {
        let mut sales: InputSession<Tick, PlacedSale, Diff> = InputSession::new();
        let mut activities: InputSession<Tick, Activity, Diff> = InputSession::new();
        let mut stock: InputSession<Tick, StockCandidate, Diff> = InputSession::new();
        let mut clocks: InputSession<Tick, PartitionClock, Diff> = InputSession::new();
        let mut quality: InputSession<Tick, (), QualityMeasures> = InputSession::new();
        let mut state = State::new();
        let probe = worker.dataflow::<Tick, _, _>(|scope| {
            let inputs = Inputs {
                sales: sales.to_collection(scope),
                activities: activities.to_collection(scope),
                stock: stock.to_collection(scope),
                clocks: clocks.to_collection(scope),
                quality: quality.to_collection(scope),
            };
            let rows = assemble(inputs, settings, &mut state);
            rows.inspect(|row| {
                black_box(row);
            })
            .probe()
            .0
        });
        // Ticks of the engine are times of day since 1970 by its tick length; any number above 0 does.
        Sessions { sales, activities, stock, clocks, quality, state, probe, told: Vec::new(), tick: 17_000_000_000 }
    }

    /// Opens the tick.
    pub fn begin(&mut self) {
        self.advance();
    }

    pub fn give(&mut self, fact: Fact) {
        match fact {
            Fact::Sale(sale, change) => self.sales.update(sale, change),
            Fact::Activity(activity) => self.activities.update(activity, 1),
            Fact::Stock(candidate, change) => self.stock.update(candidate, change),
        }
    }

    /// Tells how far a partition's clock is.
    pub fn tell(&mut self, place: (Topic, i32), clock: Option<Millis>) {
        match self.told.iter_mut().find(|told| told.0 == place) {
            Some(told) => {
                self.clocks.update(*told, -1);
                told.1 = clock;
            }
            None => self.told.push((place, clock)),
        }
        self.clocks.update((place, clock), 1);
    }

    pub fn count(&mut self, outcomes: QualityMeasures) {
        self.quality.update((), outcomes);
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
        let tick = self.tick;
        self.sales.advance_to(tick);
        self.activities.advance_to(tick);
        self.stock.advance_to(tick);
        self.clocks.advance_to(tick);
        self.quality.advance_to(tick);
        self.state.advance_to(tick);
        self.sales.flush();
        self.activities.flush();
        self.stock.flush();
        self.clocks.flush();
        self.quality.flush();
    }
}
