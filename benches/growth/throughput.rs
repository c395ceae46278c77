//! Records a second of whole runs, from memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tillflow::codec::Decoder;
use tillflow::engine::{EngineOptions, Run};
use tillflow::store::{Store, StoreAddress};

use crate::picture::{Curve, Picture};
use crate::support::log::{Log, Partitions, log};
use crate::support::sales::{EVEN_PARTITIONS, HashMaps, START, Sales};
use crate::support::stores::{Null, Watched};
use crate::support::{options, w1};

/// The best of so many.
const RUNS: usize = 2;
const RATE: &str = "records/s";

/// The hash-map program's records a second, and the revenue that all others have to find.
fn hash_maps(partitions: &Partitions) -> (f64, i128) {
    let (begun, decoder, mut maps, mut count) =
        (Instant::now(), Decoder::new(chrono_tz::Tz::UTC), HashMaps::default(), 0);
    for value in partitions.iter().flatten().filter_map(|record| record.value.as_deref()) {
        maps.take(&decoder, value);
        count += 1;
    }
    (f64::from(count) / begun.elapsed().as_secs_f64(), maps.all.2)
}

/// Records a second of W1.
fn rate(partitions: &Arc<Partitions>, options: &EngineOptions, sqlite: bool, revenue: i128) -> f64 {
    let count: usize = partitions.iter().map(Vec::len).sum();
    let once = || {
        let (eye, folder) = (Null::default(), tempfile::tempdir().expect("a temporary folder"));
        let store: Box<dyn Store> = if sqlite {
            let address = StoreAddress::Sqlite { path: folder.path().join("bench.sqlite") };
            Box::new(Watched { store: address.open().expect("SQLite opens"), eye: eye.clone() })
        } else {
            Box::new(eye.clone())
        };
        let begun = Instant::now();
        let source = Arc::new(Log { partitions: Arc::clone(partitions) });
        Run::new(options.clone(), source).alone(store).expect("the pipeline runs");
        let took = begun.elapsed();
        assert_eq!(eye.revenue(), revenue, "the revenue is another one");
        took
    };
    let took = (0..RUNS).map(|_| once()).min().unwrap_or_default();
    count as f64 / took.as_secs_f64()
}

/// Against the number of products.
pub fn keys(count: usize) {
    let names = ["W1 -> SQLite, 1 worker", "W1 -> SQLite, 2 workers", "hash maps, 1 thread"];
    let mut curves = names.map(|name| Curve { name: name.into(), points: Vec::new() });
    for products in [1_000, 10_000, 100_000, 1_000_000] {
        let partitions = log(Sales::new(START).of_products(products).take(count));
        let (maps, revenue) = hash_maps(&partitions);
        let [one, two] = [1, 2].map(|workers| rate(&partitions, &options(workers, w1(), None), true, revenue));
        for (curve, rate) in curves.iter_mut().zip([one, two, maps]) {
            curve.points.push((products as f64, rate));
        }
    }
    let title = format!("Products, of {count} sales");
    Picture { name: "keys", title, x: "products", y: RATE, powers: true, curves: curves.into() }.show();
}

/// Against the length of a tick.
pub fn ticks(count: usize) {
    let partitions = log(Sales::new(START).take(count));
    let (_, revenue) = hash_maps(&partitions);
    let curves = [1, 2].map(|workers| {
        let points = [10, 30, 100, 300, 1_000, 3_000].map(|millis| {
            let tick = Duration::from_millis(millis);
            let options = EngineOptions { tick, ..options(workers, w1(), None) };
            (millis as f64, rate(&partitions, &options, true, revenue))
        });
        Curve { name: format!("W1 -> SQLite, {workers} worker(s)"), points: points.into() }
    });
    let title = format!("Length of a tick, {count} sales");
    Picture { name: "ticks", title, x: "milliseconds", y: RATE, powers: true, curves: curves.into() }.show();
}

/// Against workers.
pub fn workers(count: usize) {
    let partitions = log(Sales::new(START).in_partitions(EVEN_PARTITIONS).take(count));
    let (maps, revenue) = hash_maps(&partitions);
    let mut curves: Vec<Curve> = [("W1 -> null", false), ("W1 -> SQLite", true)]
        .into_iter()
        .map(|(name, sqlite)| {
            let points = [1, 2, 4]
                .map(|workers| (workers as f64, rate(&partitions, &options(workers, w1(), None), sqlite, revenue)));
            Curve { name: name.into(), points: points.into() }
        })
        .collect();
    curves.push(Curve { name: "hash maps, 1 thread".into(), points: vec![(1.0, maps), (4.0, maps)] });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let title = format!("Workers, on {cores} cores, {count} sales");
    Picture { name: "workers", title, x: "workers", y: RATE, powers: false, curves }.show();
}
