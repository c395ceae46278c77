//! Runs the graph as an engine would, and compares what leaves it with the oracle at every tick.

#![allow(dead_code, reason = "each test crate uses its own part")]

pub mod check;
pub mod group_bys;
pub mod log;
pub mod samples;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tillflow_dataflows::admission::{AdmissionSettings, Decision, Fact, Partition, Reading, SavedPartition};
use tillflow_dataflows::assembly::{Settings, assemble, parts};
use tillflow_dataflows::feed::Feed;
use tillflow_dataflows::inputs::PartitionClock;
use tillflow_dataflows::measures::QualityMeasures;
use tillflow_dataflows::oracle::admission::{Given, Record};
use tillflow_dataflows::outputs::Row;
use tillflow_dataflows::records::{Millis, Topic};
use tillflow_dataflows::state::{Chunk, State};
use tillflow_dataflows::time::{Diff, Tick};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::progress::Antichain;
use timely::worker::Worker;

/// A graph that does not end within this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Records of some partitions, and the tick at which each is read.
#[derive(Clone, Debug)]
pub struct Plan {
    pub settings: AdmissionSettings,
    /// What the graph is built with.
    pub graph: Settings,
    pub partitions: Vec<(Topic, i32)>,
    /// In the order of each partition's offsets; a partition's ticks do not fall.
    pub records: Vec<Timed>,
    /// Whether what is final and not live leaves memory.
    pub expires: bool,
}

/// What may leave memory when, and what is late because it may have.
#[derive(Clone, Debug, Default)]
pub struct Expiry {
    /// Windows that end at or before the instant may leave after the tick.
    pub bounds: BTreeMap<Tick, Millis>,
    /// By their place in [`Plan::partitions`], those whose first record came later.
    pub late_before: BTreeMap<usize, Millis>,
}

impl Expiry {
    /// The bound in force when `tick` is open.
    pub fn before(&self, tick: Tick) -> Option<(Tick, Millis)> {
        self.bounds.range(..tick).next_back().map(|(tick, bound)| (*tick, *bound))
    }
}

/// A record, where it comes from and when it is read.
#[derive(Clone, Debug)]
pub struct Timed {
    pub tick: Tick,
    /// Its place in [`Plan::partitions`].
    pub partition: usize,
    pub record: Record,
}

/// How a plan is run.
#[derive(Clone, Debug)]
pub struct Pace {
    pub workers: usize,
    /// How many ticks worker n (modulo the length) reads before it lets the graph work.
    pub ahead: Vec<usize>,
}

impl Pace {
    pub fn even(workers: usize) -> Pace {
        Pace { workers, ahead: vec![1] }
    }
}

/// The state of a graph and of its partitions, between two ticks.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    pub chunks: Vec<Chunk>,
    /// By their place in [`Plan::partitions`].
    pub partitions: BTreeMap<usize, SavedPartition>,
}

/// Where a run begins and what it saves.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    pub from: Option<Saved>,
    /// The tick that is saved.
    pub at: Option<Tick>,
    pub expiry: Expiry,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    pub updates: Vec<(Row, Tick, Diff)>,
    /// By partition, in offset order.
    pub decisions: BTreeMap<usize, Vec<Decision>>,
    pub saved: Saved,
}

/// Ends `tick` for everything but sales, with a sale in it: what a worker looks like that others wait for.
pub fn hold_sales_back(feed: &mut Feed, partition: &mut Owned, at: Millis, tick: Tick) {
    feed.advance_to(tick);
    partition.take(&samples::record(Given::Sale(samples::sale("held back", at)), i64::MAX), feed);
    partition.tell_clock(feed);
    feed.hold_sales_back(tick + 1);
}

/// A partition as its owner sees it.
pub struct Owned {
    id: (Topic, i32),
    admission: Partition,
    /// What the graph was told of its clock.
    told: Option<PartitionClock>,
}

impl Owned {
    pub fn new(id: (Topic, i32), settings: AdmissionSettings) -> Owned {
        Owned { id, admission: Partition::new(id.0, id.1, settings), told: None }
    }

    /// One that gives its first record when windows have left memory.
    pub fn begin_at(mut self, late_before: Option<&Millis>) -> Owned {
        late_before.into_iter().for_each(|late_before| self.admission.begin_at(*late_before));
        self
    }

    /// One that goes on where another was saved.
    pub fn restore(saved: &SavedPartition, settings: AdmissionSettings, feed: &mut Feed) -> Owned {
        let emit = &mut |fact: Fact<'_>| match fact {
            Fact::Stock(..) => feed.take(fact),
            other => panic!("{other:?} is in the graph already"),
        };
        let admission = Partition::restore(saved, settings, emit).expect("what was saved is restored");
        let mut owned = Owned { id: (saved.topic, saved.number), admission, told: None };
        owned.tell_clock(feed);
        owned
    }

    pub fn take(&mut self, record: &Record, feed: &mut Feed) -> Decision {
        let reading = match &record.given {
            Given::Sale(sale) => sale.into(),
            Given::Activity(activity) => activity.into(),
            Given::StockLevel(level) => Reading::StockLevel(level.clone()),
            Given::Tombstone(key) => Reading::Tombstone(key.as_deref()),
            Given::Unreadable(reason) => Reading::Unreadable(*reason),
        };
        let decision =
            self.admission.admit(reading, record.offset, record.kafka_timestamp, &mut |fact| feed.take(fact));
        feed.count(QualityMeasures::of(decision.outcome, decision.reason));
        decision
    }

    /// At the end of a tick in which it gave records.
    pub fn tell_clock(&mut self, feed: &mut Feed) {
        let now = PartitionClock::new(self.id, self.admission.clock());
        if self.told != Some(now) {
            feed.move_clock(self.told.replace(now), now);
        }
    }
}

/// Builds the graph on a worker; `give` gets every update that leaves it.
///
/// Each must leave before its tick is over: that is when an engine commits. Returns the first tick that is not over.
pub fn build(
    worker: &mut Worker,
    feed: &mut Feed,
    settings: &Settings,
    state: &mut State,
    mut give: impl FnMut(Row, Tick, Diff) + 'static,
) -> Rc<Cell<Option<Tick>>> {
    let first_open = Rc::new(Cell::new(Some(0)));
    let told = Rc::clone(&first_open);
    worker.dataflow::<Tick, _, _>(|scope| {
        let rows = assemble(feed.inputs(scope), settings, state);
        let mut open = Antichain::from_elem(0);
        rows.inner.sink(Pipeline, "Capture", move |(input, frontier)| {
            input.for_each(|_capability, data| {
                for (row, tick, change) in data.drain(..) {
                    assert!(open.less_equal(&tick), "{row:?} at {tick}, but only {open:?} is open");
                    give(row, tick, change);
                }
            });
            open = frontier.frontier().to_owned();
            told.set(open.first().copied());
        });
    });
    first_open
}

/// Lets the graph end. A worker that fails lets the others fail too.
pub fn finish(worker: &mut Worker, failed: &AtomicBool) {
    let start = Instant::now();
    while worker.has_dataflows() {
        assert!(!failed.load(Ordering::Relaxed), "another worker failed");
        assert!(start.elapsed() < PATIENCE, "worker {} hangs: the graph does not end", worker.index());
        worker.step_or_park(Some(Duration::from_millis(2)));
    }
}

/// Says to the other workers that this one panics.
pub struct Alarm(pub Arc<AtomicBool>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs a plan; partition n belongs to worker n modulo their number.
pub fn run(plan: &Plan, pace: &Pace) -> Outcome {
    run_cut(plan, pace, &Cut::default())
}

/// Runs a plan, or a part of it.
pub fn run_cut(plan: &Plan, pace: &Pace, cut: &Cut) -> Outcome {
    let (plan, pace, cut) = (Arc::new(plan.clone()), pace.clone(), cut.clone());
    let failed = Arc::new(AtomicBool::new(false));
    let workers = pace.workers;
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let alarm = Alarm(failed.clone());
        work(worker, &plan, &pace, &cut, &alarm.0)
    })
    .expect("workers start");
    let mut all = Outcome::default();
    let mut failures = Vec::new();
    for result in guards.join() {
        match result {
            Ok(outcome) => {
                all.updates.extend(outcome.updates);
                all.decisions.extend(outcome.decisions);
                all.saved.chunks.extend(outcome.saved.chunks);
                all.saved.partitions.extend(outcome.saved.partitions);
            }
            Err(message) => failures.push(message),
        }
    }
    assert!(failures.is_empty(), "with {workers} workers: {failures:#?}");
    all
}

fn work(worker: &mut Worker, plan: &Plan, pace: &Pace, cut: &Cut, failed: &AtomicBool) -> Outcome {
    let mut feed = Feed::new(parts(&plan.graph));
    let mut state = State::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let first_open = build(worker, &mut feed, &plan.graph, &mut state, move |row, tick, change| {
        sender.send((row, tick, change)).expect("the receiver outlives the graph");
    });
    let ahead = pace.ahead[worker.index() % pace.ahead.len()];
    let is_mine = |index: &usize| index % worker.peers() == worker.index();
    let mut owned: BTreeMap<usize, Owned> = BTreeMap::new();
    let mut decisions: BTreeMap<usize, Vec<Decision>> = BTreeMap::new();
    let mut saved = Saved::default();
    let mut expired = None;
    if let Some(from) = &cut.from {
        for (_, chunk) in from.chunks.iter().enumerate().filter(|(index, _)| is_mine(index)) {
            state.restore(chunk).expect("the same graph");
        }
        for (index, partition) in from.partitions.iter().filter(|(index, _)| is_mine(index)) {
            owned.insert(*index, Owned::restore(partition, plan.settings, &mut feed));
        }
    }

    let mut mine: Vec<&Timed> = plan.records.iter().filter(|timed| is_mine(&timed.partition)).collect();
    mine.sort_by_key(|timed| timed.tick);
    // Before the first tick after the one that is saved, if that is to come.
    let mut hold = |next: Option<Tick>, owned: &BTreeMap<usize, Owned>, state: &mut State| {
        if let Some(at) = cut.at.filter(|at| state.held().is_none() && next.is_none_or(|next| next > *at)) {
            saved.partitions.extend(owned.iter().map(|(index, owned)| (*index, owned.admission.save())));
            state.hold(at);
        }
    };
    for (turn, records) in mine.chunk_by(|a, b| a.tick == b.tick).enumerate() {
        assert!(!failed.load(Ordering::Relaxed), "another worker failed");
        hold(Some(records[0].tick), &owned, &mut state);
        feed.advance_to(records[0].tick);
        state.advance_to(records[0].tick);
        if turn % ahead.max(1) == 0 {
            worker.step();
            first_open.get().into_iter().for_each(|tick| state.compact(tick));
        }
        if let Some((settled, before)) = first_open.get().and_then(|open| cut.expiry.before(open))
            && expired.is_none_or(|expired| expired < before)
            && state.expire(before, settled).is_some()
        {
            expired = Some(before);
        }
        for timed in records {
            let partition = owned.entry(timed.partition).or_insert_with(|| {
                let late_before = cut.expiry.late_before.get(&timed.partition);
                Owned::new(plan.partitions[timed.partition], plan.settings).begin_at(late_before)
            });
            let decision = partition.take(&timed.record, &mut feed);
            decisions.entry(timed.partition).or_default().push(decision);
        }
        owned.values_mut().for_each(|partition| {
            partition.tell_clock(&mut feed);
            partition.admission.recycle();
        });
    }
    hold(None, &owned, &mut state);
    if let Some(at) = cut.at {
        feed.advance_to(Tick::MAX);
        state.advance_to(Tick::MAX);
        let start = Instant::now();
        while first_open.get().is_some_and(|open| open <= at) {
            assert!(!failed.load(Ordering::Relaxed), "another worker failed");
            assert!(start.elapsed() < PATIENCE, "tick {at} is never complete");
            worker.step_or_park(Some(Duration::from_millis(2)));
            first_open.get().into_iter().for_each(|tick| state.compact(tick));
        }
        for index in 0..state.cuts() {
            state.save(index, &mut |chunk| saved.chunks.push(chunk));
        }
        state.release();
    }
    drop((feed, state));
    finish(worker, failed);
    Outcome { updates: receiver.try_iter().collect(), decisions, saved }
}

/// Compares a text with a file beside the tests, or writes the file if the environment has `UPDATE_EXPECT=1`.
pub fn expect_file(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    if std::env::var("UPDATE_EXPECT").is_ok_and(|value| value == "1") {
        std::fs::write(&path, found).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    if expected == found {
        return;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    panic!(
        "{} differs from line {} on (UPDATE_EXPECT=1 writes it anew):\n  expected: {:?}\n  found:    {:?}",
        path.display(),
        same + 1,
        old.get(same..old.len().min(same + 5)),
        new.get(same..new.len().min(same + 5)),
    );
}
