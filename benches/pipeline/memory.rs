//! A log in memory -> decode -> admission -> graph -> commits, into SQLite and into a store that forgets everything, beside
//! the hash-map program.
//!
//! What exactness costs: the same into SQLite with commits that are neither atomic nor durable, with durable transactions,
//! and with these and a checkpoint a second (the default is one in ten), in turns, until the last commit. How long a start
//! takes: one that goes on from the last checkpoint of such a run, until it commits one more sale.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tillflow::source::channel::OwnedRecord;
use tillflow::views::ViewSet;

use crate::child::own_cpu;
use crate::support::log::{Partitions, log};
use crate::support::memory::{Place, hash_maps, pipeline};
use crate::support::sales::{EVEN_PARTITIONS, START, Sales};
use crate::support::{options, w1};

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
        pipeline(partitions, options(workers, ViewSet::default(), state), place.sqlite(journal));
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
        let took = pipeline(partitions, options(self.workers, self.views.clone(), None), place.store(self.sqlite));
        place.assert_revenue(revenue);
        took
    }
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
