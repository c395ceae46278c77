//! Admission and the graph in records per second, beside a single-threaded program of plain hash maps that computes
//! the same rows from the same records in the same run; each view alone; and the state, saved and restored.
//!
//! `cargo bench --bench graph`, or with the names of some: `cargo bench --bench graph -- view/sessions`. At the end stands
//! what the sales views did at their best, and as a share of the hash-map program for each worker.

mod hash_maps;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod views;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use tillflow_dataflows::admission::{AdmissionSettings, Partition, Reading};
use tillflow_dataflows::assembly::Settings;
use tillflow_dataflows::measures::QualityMeasures;
use tillflow_dataflows::records::{Millis, Money, Sale, Topic};
use tillflow_dataflows::time::{HOUR, MINUTE};

use hash_maps::hash_maps;
use support::sessions::Sessions;

const RECORDS: usize = 2_000_000;
const EPOCH: usize = 50_000;
const PER_MINUTE: usize = 12_000;
/// 2024-01-15T00:00:00Z.
const START: Millis = 1_705_276_800_000;
const SETTINGS: AdmissionSettings = AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE };

/// Sales of 1,000 products, 5 categories, 20 stores and 4 payment methods, in the order of their times.
fn sales() -> Vec<Sale> {
    let mut state = 1u64;
    let mut number = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..RECORDS)
        .map(|n| {
            let product = number(1_000);
            let (quantity, price) = (1 + number(3) as i64, 10_000 * (1 + product as i64 % 90));
            Sale {
                transaction_id: format!("txn-{n:09}").as_str().into(),
                user_id: format!("user-{}", number(50_000)).as_str().into(),
                product_id: format!("product-{product}").as_str().into(),
                quantity,
                unit_price: Money(price),
                total_amount: Money(price * quantity),
                payment_method: ["card", "cash", "voucher", "transfer"][number(4) as usize].into(),
                timestamp: START + (n as i64 * MINUTE) / PER_MINUTE as i64,
                store_id: format!("store-{}", number(20)).as_str().into(),
                category: format!("category-{}", product % 5).as_str().into(),
            }
        })
        .collect()
}

fn admission(sales: &[Sale]) -> Duration {
    let start = Instant::now();
    let mut partition = Partition::new(Topic::Sales, 0, SETTINGS);
    for (offset, sale) in sales.iter().enumerate() {
        partition.admit(Reading::from(sale), offset as i64, None, &mut |fact| {
            black_box(&fact);
        });
    }
    start.elapsed()
}

/// Runs the graph with as many partitions as workers; each takes its share of every epoch.
fn graph(sales: &Arc<Vec<Sale>>, workers: usize) -> Duration {
    let sales = sales.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let mut sessions = Sessions::build(worker, &Settings::new(SETTINGS.correction_window));
        let number = worker.index() as i32;
        let mut partition = Partition::new(Topic::Sales, number, SETTINGS);
        let start = Instant::now();
        sessions.begin();
        for epoch in sales.chunks(EPOCH) {
            let mut outcomes = QualityMeasures::default();
            for (offset, sale) in epoch.iter().enumerate().skip(worker.index()).step_by(worker.peers()) {
                let reading = Reading::from(sale);
                let decision = partition.admit(reading, offset as i64, None, &mut |fact| sessions.give(fact));
                outcomes.outcomes[decision.outcome as usize] += 1;
            }
            partition.recycle();
            sessions.tell((Topic::Sales, number), partition.clock());
            sessions.count(outcomes);
            sessions.end(worker);
        }
        start.elapsed()
    })
    .expect("workers start");
    guards.join().into_iter().map(|time| time.expect("no worker fails")).max().unwrap_or_default()
}

fn main() {
    let sales = Arc::new(sales());
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("graph");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(RECORDS as u64));
    let mut best: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    let mut measure = |name: &'static str, workers: usize, run: &dyn Fn() -> Duration| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let time = run();
                    let entry = best.entry(name).or_insert((workers, time));
                    entry.1 = entry.1.min(time);
                    total += time;
                }
                total
            });
        });
    };
    measure("hash maps", 1, &|| hash_maps(&sales));
    measure("admission", 1, &|| admission(&sales));
    measure("admission and graph, 1 worker", 1, &|| graph(&sales, 1));
    measure("admission and graph, 2 workers", 2, &|| graph(&sales, 2));
    group.finish();
    let shop = Arc::new(views::Shop::open());
    views::admission(&mut criterion, &shop);
    views::views(&mut criterion, &shop);
    state::state(&mut criterion, &shop);

    let rate = |time: Duration| RECORDS as f64 / time.as_secs_f64();
    if let Some((_, maps)) = best.get("hash maps").copied() {
        for (name, (workers, time)) in &best {
            let share = rate(*time) / rate(maps);
            println!(
                "{name:<32} {:>12.0} records/s   {share:.2} of the hash maps, {:.2} for each worker",
                rate(*time),
                share / *workers as f64
            );
        }
    }
}
