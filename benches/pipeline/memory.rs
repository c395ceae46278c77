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
/// does meanwhile is shared out among all rows.
pub fn throughput(count: usize, runs: usize) {
    let partitions = log(Sales::new(START).in_partitions(EVEN_PARTITIONS).take(count));
    let bytes: usize = partitions.iter().flatten().filter_map(|record| record.value.as_ref()).map(Vec::len).sum();
    let each = bytes / count.max(1);
    println!(
        "\nmemory: {count} sales of {each} bytes in {EVEN_PARTITIONS} partitions, {runs} runs in turns, no checkpoints"
    );
    let plain = "W1 in hash maps, serde_json, 1 thread";
    let mut rows = vec![
        Row::new(plain.into(), What::HashMaps { plainly: true }),
        Row::new("W1 in hash maps, tillflow's decoder, 1 thread".into(), What::HashMaps { plainly: false }),
    ];
    for (name, views) in [("W1", w1()), ("all views", ViewSet::default())] {
        for (workers, sqlite) in [(1, false), (1, true), (2, false), (2, true)] {
            let store = if sqlite { "SQLite" } else { "null" };
            let name = format!("{name}, memory -> {store}, {workers} worker(s)");
            rows.push(Row::new(name, What::Pipeline { views: views.clone(), workers, sqlite }));
        }
    }
    let (_, revenue) = hash_maps(&partitions, false);
    for _ in 0..runs {
        rows.iter_mut().for_each(|row| row.run(&partitions, revenue));
    }
    println!("{:<46} {:>10} {:>10} {:>6} {:>8} {:>8}", "", "records/s", "median", "MB/s", "CPU s/M", "of maps");
    let baseline = rows[0].best().committed;
    for row in &rows {
        let Measured { committed: time, cpu } = row.best();
        let rate = |time: f64| count as f64 / time;
        println!(
            "{:<46} {:>10.0} {:>10.0} {:>6.0} {:>8.2} {:>8.2}",
            row.name,
            rate(time.as_secs_f64()),
            rate(median(&row.runs, |run| run.committed)),
            bytes as f64 / time.as_secs_f64() / 1e6,
            cpu.as_secs_f64() / count as f64 * 1e6,
            baseline.as_secs_f64() / time.as_secs_f64(),
        );
    }
}

/// What a row measures.
enum What {
    HashMaps { plainly: bool },
    Pipeline { views: ViewSet, workers: usize, sqlite: bool },
}

struct Row {
    name: String,
    what: What,
    runs: Vec<Measured>,
}

impl Row {
    fn new(name: String, what: What) -> Row {
        Row { name, what, runs: Vec::new() }
    }

    fn run(&mut self, partitions: &Arc<Partitions>, revenue: i128) {
        let cpu = own_cpu();
        let committed = match &self.what {
            What::HashMaps { plainly } => {
                let (took, found) = hash_maps(partitions, *plainly);
                assert_eq!(found, revenue, "the revenue is another one");
                took
            }
            What::Pipeline { views, workers, sqlite } => {
                let place = Place::new();
                let took = pipeline(partitions, options(*workers, views.clone(), None), place.store(*sqlite));
                place.assert_revenue(revenue);
                took
            }
        };
        self.runs.push(Measured { committed, cpu: own_cpu() - cpu });
    }

    fn best(&self) -> Measured {
        *self.runs.iter().min_by_key(|run| run.committed).expect("a run")
    }
}

/// What exactness costs, and how long a start takes.
pub fn exactness(count: usize, runs: usize) {
    let partitions = log(Sales::new(START).in_partitions(EVEN_PARTITIONS).take(count));
    let (_, revenue) = hash_maps(&partitions, false);
    println!("\nexactness: {count} sales, all views, memory -> SQLite, medians of {runs}");
    for workers in [1, 2] {
        exactness_of(&partitions, revenue, runs, workers);
    }
}
