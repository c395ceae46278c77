//! Records a second of whole runs, from memory.

use std::sync::Arc;
use std::time::Duration;

use tillflow::engine::EngineOptions;

use crate::picture::{Curve, Picture};
use crate::processes;
use crate::support::log::{Partitions, log};
use crate::support::memory::{Place, hash_maps, pipeline};
use crate::support::sales::{EVEN_PARTITIONS, START, Sales};
use crate::support::{options, w1};

/// The best of so many.
const RUNS: usize = 3;
const RATE: &str = "records/s";

/// Records a second.
fn rate(records: usize, took: Duration) -> f64 {
    records as f64 / took.as_secs_f64()
}

/// The quickest of some runs.
fn best(run: impl Fn() -> f64) -> f64 {
    (0..RUNS).map(|_| run()).fold(0.0, f64::max)
}

/// W1's records a second.
fn w1_rate(partitions: &Arc<Partitions>, options: &EngineOptions, sqlite: bool, revenue: i128) -> f64 {
    best(|| {
        let place = Place::new();
        let took = pipeline(partitions, options.clone(), place.store(sqlite));
        place.assert_revenue(revenue);
        rate(partitions.iter().map(Vec::len).sum(), took)
    })
}

/// Against the number of products.
pub fn keys(count: usize) {
    let names = ["W1 -> SQLite, 1 worker", "W1 -> SQLite, 2 workers", "hash maps, 1 thread"];
    let mut curves = names.map(|name| Curve { name: name.into(), points: Vec::new() });
    for products in [1_000, 10_000, 100_000, 1_000_000] {
        let partitions = log(Sales::new(START).in_partitions(EVEN_PARTITIONS).of_products(products).take(count));
        let (maps, revenue) = hash_maps(&partitions, true);
        let [one, two] = [1, 2].map(|workers| w1_rate(&partitions, &options(workers, w1(), None), true, revenue));
        for (curve, rate) in curves.iter_mut().zip([one, two, rate(count, maps)]) {
            curve.points.push((products as f64, rate));
        }
    }
    let title = format!("Products, of {count} sales");
    Picture { name: "keys", title, x: "products", y: RATE, powers: true, curves: curves.into() }.show();
}

/// Against the length of a tick.
pub fn ticks(count: usize) {
    let partitions = log(Sales::new(START).in_partitions(EVEN_PARTITIONS).take(count));
    let (_, revenue) = hash_maps(&partitions, true);
    let curves = [1, 2].map(|workers| {
        let points = [10, 30, 100, 300, 1_000, 3_000].map(|millis| {
            let tick = Duration::from_millis(millis);
            let options = EngineOptions { tick, ..options(workers, w1(), None) };
            (millis as f64, w1_rate(&partitions, &options, true, revenue))
        });
        Curve { name: format!("W1 -> SQLite, {workers} worker(s)"), points: points.into() }
    });
    let title = format!("Length of a tick, {count} sales");
    Picture { name: "ticks", title, x: "milliseconds", y: RATE, powers: true, curves: curves.into() }.show();
}

/// Against workers, in one process and in as many.
pub fn workers(count: usize) {
    let partitions = log(Sales::new(START).in_partitions(EVEN_PARTITIONS).take(count));
    let (maps, revenue) = hash_maps(&partitions, true);
    let mut curves = Vec::new();
    for (store, sqlite) in [("null", false), ("SQLite", true)] {
        let points = [1, 2, 4].map(|workers| {
            let rate = w1_rate(&partitions, &options(workers, w1(), None), sqlite, revenue);
            (workers as f64, rate)
        });
        curves.push(Curve { name: format!("W1 -> {store}, workers of one process"), points: points.into() });
        let task = processes::Task { records: count, sqlite, revenue };
        let points = [2, 4].map(|processes| (processes as f64, best(|| processes::rate(processes, task))));
        let points = curves[curves.len() - 1].points[..1].iter().copied().chain(points).collect();
        curves.push(Curve { name: format!("W1 -> {store}, processes of one worker"), points });
    }
    let maps = rate(count, maps);
    curves.push(Curve { name: "hash maps, 1 thread".into(), points: vec![(1.0, maps), (4.0, maps)] });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let title = format!("Workers, on {cores} cores, {count} sales");
    Picture { name: "workers", title, x: "workers", y: RATE, powers: false, curves }.show();
}
