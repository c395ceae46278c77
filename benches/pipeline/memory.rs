//! A log in memory -> decode -> admission -> graph -> commits, into SQLite and into a store that forgets everything, beside
//! the hash-map program.
//!
//! What exactness costs: the same into SQLite with commits that are neither atomic nor durable, with durable transactions,
//! and with these and a checkpoint a second (the default is one in ten), in turns, until the last commit. How long a start
//! takes: one that goes on from the last checkpoint of such a run, until it commits one more sale.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tillflow::codec::Decoder;
use tillflow::engine::{EngineOptions, Run};
use tillflow::source::channel::OwnedRecord;
use tillflow::store::{Store, StoreAddress, StoreOptions};
use tillflow::views::ViewSet;

use crate::child::own_cpu;
use crate::support::log::{Log, Partitions, log};
use crate::support::sales::{EVEN_PARTITIONS, HashMaps, START, Sales};
use crate::support::stores::{Null, Watched};
use crate::support::{options, w1};

/// How long a run takes that reads a log in memory.
pub fn pipeline(partitions: &Arc<Partitions>, options: EngineOptions, store: Box<dyn Store>) -> Duration {
    let begun = Instant::now();
    let source = Arc::new(Log { partitions: Arc::clone(partitions) });
    Run::new(options, source).alone(store).expect("the pipeline runs");
    begun.elapsed()
}

/// A file for a store, a folder for checkpoints, and what is looked at.
struct Place {
    folder: tempfile::TempDir,
    eye: Null,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a temporary folder"), eye: Null::default() }
    }

    fn store(&self, journal: bool) -> Box<dyn Store> {
        let address = StoreAddress::Sqlite { path: self.folder.path().join("bench.sqlite") };
        let store = address.open_with(StoreOptions { journal, ..StoreOptions::default() }).expect("SQLite opens");
        Box::new(Watched { store, eye: self.eye.clone() })
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    fn assert_revenue(&self, revenue: i128) {
        assert_eq!(self.eye.revenue(), revenue, "the revenue is another one");
    }
}

/// One run of those that exactness is measured with.
#[derive(Clone, Copy)]
struct Measured {
    /// Until the last commit.
    committed: Duration,
    /// Of all threads, with the end of the run.
    cpu: Duration,
}

fn median(runs: &[Measured], of: impl Fn(&Measured) -> Duration) -> f64 {
    let mut times: Vec<Duration> = runs.iter().map(of).collect();
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// What exactness costs, and how long a start takes.
fn exactness_of(partitions: &Arc<Partitions>, revenue: i128, runs: usize, workers: usize) {
    let mut more = (**partitions).clone();
    let last = more[0].last().expect("a record").clone();
    let value = String::from_utf8(last.value.expect("a value")).expect("text").replace("\"txn_", "\"one_more_");
    more[0].push(OwnedRecord { offset: last.offset + 1, value: Some(value.into_bytes()), ..last });
    let more = Arc::new(more);
    let measured = |partitions, place: &Place, journal: bool, state: Option<&Path>| {
        let (begun, cpu) = (Instant::now(), own_cpu());
        pipeline(partitions, options(workers, ViewSet::default(), state), place.store(journal));
        let committed = place.eye.last().expect("a commit").duration_since(begun);
        Measured { committed, cpu: own_cpu() - cpu }
    };
    let (mut plain, mut journal, mut exact, mut restart) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        for (times, is_journal) in [(&mut plain, false), (&mut journal, true)] {
            let place = Place::new();
            times.push(measured(partitions, &place, is_journal, None));
            place.assert_revenue(revenue);
        }
        let place = Place::new();
        exact.push(measured(partitions, &place, true, Some(&place.state())));
        place.assert_revenue(revenue);
        restart.push(measured(&more, &place, true, Some(&place.state())));
        assert_ne!(place.eye.revenue(), revenue, "one more sale counts");
    }
    let (time, cpu) = (median(&plain, |run| run.committed), median(&plain, |run| run.cpu));
    for (name, runs) in [("durable transactions", &journal), ("and checkpoints", &exact)] {
        let (its_time, its_cpu) = (median(runs, |run| run.committed), median(runs, |run| run.cpu));
        println!(
            "{:<36} {:>11.1} % more time, {:.1} % more CPU: {its_time:.2} s and {its_cpu:.2} s, not {time:.2} s and {cpu:.2} s",
            format!("{name}, {workers} worker(s)"),
            (its_time / time - 1.0) * 100.0,
            (its_cpu / cpu - 1.0) * 100.0,
        );
    }
    println!(
        "{:<36} {:>11.2} s from a checkpoint to one more sale, committed",
        format!("restart, {workers} worker(s)"),
        median(&restart, |run| run.committed),
    );
}

/// Everything in memory: the hash maps, W1 and all views, with stores and without. In turns, so that what else the machine
/// does meanwhile is shared out among all rows, and the best of each.
pub fn throughput(count: usize, runs: usize) {
    let partitions = log(Sales::new(START).in_partitions(EVEN_PARTITIONS).take(count));
    let bytes: usize = partitions.iter().flatten().filter_map(|record| record.value.as_ref()).map(Vec::len).sum();
    let each = bytes / count.max(1);
    println!("\nmemory: {count} sales of {each} bytes in {EVEN_PARTITIONS} partitions, best of {runs}, in turns");
    let mut rows: Vec<Row> = Vec::new();
    for (name, views) in [("W1", w1()), ("all views", ViewSet::default())] {
        for (workers, sqlite) in [(1, false), (1, true), (2, false), (2, true)] {
            let store = if sqlite { "SQLite" } else { "null" };
            let name = format!("{name}, memory -> {store}, {workers} worker(s)");
            rows.push(Row { name, views: views.clone(), workers, sqlite, best: Duration::MAX });
        }
    }
    let mut baseline = Duration::MAX;
    for _ in 0..runs {
        let (took, revenue) = hash_maps(&partitions);
        baseline = baseline.min(took);
        for row in &mut rows {
            row.best = row.best.min(row.run(&partitions, revenue));
        }
    }
    let show = |name: &str, took: Duration| {
        let rate = count as f64 / took.as_secs_f64();
        let ratio = baseline.as_secs_f64() / took.as_secs_f64();
        println!("{name:<44} {rate:>12.0} records/s {ratio:>6.2} of the hash maps");
    };
    show("W1 in hash maps, 1 thread", baseline);
    rows.iter().for_each(|row| show(&row.name, row.best));
}

/// A way to run the pipeline, and how long the quickest run took.
struct Row {
    name: String,
    views: ViewSet,
    workers: usize,
    sqlite: bool,
    best: Duration,
}

impl Row {
    fn run(&self, partitions: &Arc<Partitions>, revenue: i128) -> Duration {
        let place = Place::new();
        let store = if self.sqlite { place.store(true) } else { Box::new(place.eye.clone()) };
        let took = pipeline(partitions, options(self.workers, self.views.clone(), None), store);
        place.assert_revenue(revenue);
        took
    }
}

/// W1 in hash maps: how long it takes, and the revenue in ten-thousandths.
pub fn hash_maps(partitions: &Partitions) -> (Duration, i128) {
    let begun = Instant::now();
    let decoder = Decoder::new(chrono_tz::Tz::UTC);
    let mut maps = HashMaps::default();
    for value in partitions.iter().flatten().filter_map(|record| record.value.as_deref()) {
        maps.take(&decoder, value);
    }
    (begun.elapsed(), maps.all.2)
}

/// What exactness costs, and how long a start takes.
pub fn exactness(count: usize, runs: usize) {
    let partitions = log(Sales::new(START).take(count));
    let (_, revenue) = hash_maps(&partitions);
    println!("\nexactness: {count} sales, all views, memory -> SQLite, medians of {runs}");
    for workers in [1, 2] {
        exactness_of(&partitions, revenue, runs, workers);
    }
}
