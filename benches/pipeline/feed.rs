//! How many documents our side can feed into MongoDB: a log in memory into a server that answers at once.

use std::sync::Arc;
use std::time::Duration;

use tillflow::document::decimal_text;
use tillflow::engine::EngineOptions;
use tillflow::store::StoreAddress;

use crate::sink::Sink;
use crate::support::log::{Partitions, log};
use crate::support::memory::{hash_maps, pipeline};
use crate::support::sales::{EVEN_PARTITIONS, START, Sales};
use crate::support::{options, w1};

/// W1 with and without raw_data, from memory into a server that keeps nothing.
pub fn feed(count: usize, runs: usize) {
    let partitions = log(Sales::new(START).in_partitions(EVEN_PARTITIONS).take(count));
    let (_, revenue) = hash_maps(&partitions, false);
    let revenue = decimal_text(revenue, 4);
    println!("\nfeed: {count} sales, W1, memory -> a MongoDB-wire server that answers at once, best of {runs}");
    for workers in [1, 2] {
        for raw_data in [false, true] {
            let best = (0..runs).map(|_| measure(&partitions, workers, raw_data, &revenue)).min().expect("a run");
            let seconds = best.time.as_secs_f64();
            println!(
                "{:<44} {:>11.0} records/s {:>11.0} documents/s {:>6} commits, {} ms apart at most",
                format!("raw_data {}, {workers} worker(s)", if raw_data { "on" } else { "off" }),
                count as f64 / seconds,
                best.documents as f64 / seconds,
                best.commits,
                best.apart.as_millis(),
            );
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Measured {
    time: Duration,
    documents: usize,
    commits: usize,
    /// The longest time between two commits.
    apart: Duration,
}

fn measure(partitions: &Arc<Partitions>, workers: usize, raw_data: bool, revenue: &str) -> Measured {
    let sink = Sink::start();
    let store = StoreAddress::parse("mongodb", &sink.uri(), "sink").expect("an address").open().expect("it opens");
    let options = EngineOptions { raw_data, ..options(workers, w1(), None) };
    let time = pipeline(partitions, options, store);
    let seen = sink.take();
    assert_eq!(seen.revenue, revenue, "the revenue is another one");
    let records: usize = partitions.iter().map(Vec::len).sum();
    assert_eq!(seen.raw, if raw_data { records } else { 0 }, "raw documents are missing, or came twice");
    let apart = seen.commits.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    Measured { time, documents: seen.raw + seen.views, commits: seen.commits.len(), apart }
}
