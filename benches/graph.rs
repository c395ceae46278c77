//! Admission and the graph in records per second, beside a single-threaded program of plain hash maps that computes
//! the same rows from the same records in the same run.
//!
//! `cargo bench --bench graph`. At the end stands what each did at its best, and as a share of the hash-map program
//! for each worker.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use differential_dataflow::input::InputSession;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use tillflow_dataflows::admission::{AdmissionSettings, Fact, Partition, Reading};
use tillflow_dataflows::assembly::{Settings, assemble};
use tillflow_dataflows::inputs::{Inputs, PartitionClock, PlacedSale, StockCandidate};
use tillflow_dataflows::measures::{QualityMeasures, SalesMeasures};
use tillflow_dataflows::outputs::{Metric, RankedProduct, RollupKey, RowBody, RowKey, View};
use tillflow_dataflows::records::{Activity, Millis, Money, Outcome, Sale, Text, Topic};
use tillflow_dataflows::state::State;
use tillflow_dataflows::time::{Diff, Granularity, HOUR, LiveRange, MINUTE, Tick, Window};

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

fn rollups_of(sale: &Sale) -> impl Iterator<Item = RollupKey> {
    let views = [
        (View::SalesTotal, None, &Granularity::ALL[..]),
        (View::SalesByCategory, Some(&sale.category), &Granularity::ALL[..]),
        (View::SalesByStore, Some(&sale.store_id), &Granularity::ALL[..]),
        (View::SalesByPaymentMethod, Some(&sale.payment_method), &Granularity::ALL[..]),
        (View::SalesByProduct, Some(&sale.product_id), &[Granularity::Hour, Granularity::Day][..]),
    ];
    let at = sale.timestamp;
    views.into_iter().flat_map(move |(view, key, granularities)| {
        granularities.iter().map(move |granularity| RollupKey {
            window: Window::of(*granularity, at),
            view,
            key: key.cloned().unwrap_or_default(),
        })
    })
}

/// What the hash-map program holds.
#[derive(Default)]
struct Maps {
    known: HashMap<Text, Sale>,
    clock: Option<Millis>,
    all: SalesMeasures,
    outcomes: BTreeMap<Outcome, i64>,
    rollups: HashMap<RollupKey, SalesMeasures>,
    /// By minute and product.
    products: BTreeMap<Millis, HashMap<Text, SalesMeasures>>,
}

fn add(sums: &mut SalesMeasures, sale: &Sale, times: i64) {
    sums.transactions += times;
    sums.units += times * sale.quantity;
    sums.revenue += i128::from(times) * i128::from(sale.total_amount.0);
}

fn add_all(sums: &mut SalesMeasures, more: &SalesMeasures) {
    sums.transactions += more.transactions;
    sums.units += more.units;
    sums.revenue += more.revenue;
}

impl Maps {
    /// Takes an epoch's records and returns the rows that it changes.
    fn epoch(&mut self, sales: &[Sale]) -> Vec<(RowKey, RowBody)> {
        let mut changed: HashMap<RollupKey, SalesMeasures> = HashMap::new();
        for sale in sales {
            let oldest = self.clock.map(|clock| clock - SETTINGS.correction_window);
            if oldest.is_some_and(|oldest| sale.timestamp < oldest) {
                *self.outcomes.entry(Outcome::Late).or_default() += 1;
                continue;
            }
            let (old, outcome) = match self.known.entry(sale.transaction_id.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(sale.clone());
                    (None, Outcome::Accepted)
                }
                Entry::Occupied(entry) if entry.get() == sale => (None, Outcome::Duplicate),
                Entry::Occupied(mut entry) => (Some(entry.insert(sale.clone())), Outcome::Correction),
            };
            *self.outcomes.entry(outcome).or_default() += 1;
            if outcome == Outcome::Duplicate {
                continue;
            }
            self.clock = self.clock.max(Some(sale.timestamp));
            for (sale, times) in old.iter().map(|old| (old, -1)).chain([(sale, 1)]) {
                add(&mut self.all, sale, times);
                for key in rollups_of(sale) {
                    add(changed.entry(key).or_default(), sale, times);
                }
                let minute = Granularity::Minute.start(sale.timestamp);
                let products = self.products.entry(minute).or_default();
                add(products.entry(sale.product_id.clone()).or_default(), sale, times);
            }
        }
        let mut rows = Vec::with_capacity(changed.len() + 8);
        for (key, change) in changed {
            let sums = self.rollups.entry(key.clone()).or_default();
            add_all(sums, &change);
            rows.push((RowKey::Rollup(key), RowBody::Sales(*sums, false)));
        }
        self.metrics(&mut rows);
        rows
    }

    fn metrics(&mut self, rows: &mut Vec<(RowKey, RowBody)>) {
        let Some(as_of) = self.clock else { return };
        rows.push((RowKey::AsOf, RowBody::Instant(as_of)));
        rows.push((RowKey::Metric(Metric::SalesAll), RowBody::Sales(self.all, false)));
        let mut quality = QualityMeasures::default();
        for (outcome, count) in &self.outcomes {
            quality.outcomes[*outcome as usize] = *count;
        }
        rows.push((RowKey::Metric(Metric::DataQuality), RowBody::Quality(Box::new(quality))));
        self.products = self.products.split_off(&LiveRange::Last24Hours.first(as_of));
        for range in LiveRange::ALL {
            let mut last = SalesMeasures::default();
            for window in range.windows(as_of) {
                let key = RollupKey { window, view: View::SalesTotal, key: Text::default() };
                if let Some(sums) = self.rollups.get(&key) {
                    add_all(&mut last, sums);
                }
            }
            rows.push((RowKey::Metric(Metric::SalesLast(range)), RowBody::Sales(last, false)));
            let mut products: HashMap<&Text, SalesMeasures> = HashMap::new();
            for minute in self.products.range(range.first(as_of)..) {
                for (product, sums) in minute.1 {
                    add_all(products.entry(product).or_default(), sums);
                }
            }
            let mut ranking: Vec<RankedProduct> = products
                .into_iter()
                .map(|(product, sums)| RankedProduct {
                    product_id: product.clone(),
                    revenue: sums.revenue,
                    units: sums.units,
                })
                .collect();
            ranking.sort_by(|a, b| b.revenue.cmp(&a.revenue).then_with(|| a.product_id.cmp(&b.product_id)));
            ranking.truncate(10);
            rows.push((RowKey::Metric(Metric::TopProducts(range)), RowBody::Ranking(ranking)));
        }
    }
}

fn hash_maps(sales: &[Sale]) -> Duration {
    let start = Instant::now();
    let mut maps = Maps::default();
    for epoch in sales.chunks(EPOCH) {
        black_box(maps.epoch(epoch));
    }
    start.elapsed()
}

fn admission(sales: &[Sale]) -> Duration {
    let start = Instant::now();
    let mut partition = Partition::new(Topic::Sales, 0, SETTINGS);
    for (offset, sale) in sales.iter().enumerate() {
        partition.admit(Reading::Sale(sale.clone()), offset as i64, None, &mut |fact| {
            black_box(fact);
        });
    }
    start.elapsed()
}

/// Runs the graph with as many partitions as workers; each takes its share of every epoch.
fn graph(sales: &Arc<Vec<Sale>>, workers: usize, admit: bool) -> Duration {
    let sales = sales.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let mut sale_input: InputSession<Tick, PlacedSale, Diff> = InputSession::new();
        let mut activities: InputSession<Tick, Activity, Diff> = InputSession::new();
        let mut stock: InputSession<Tick, StockCandidate, Diff> = InputSession::new();
        let mut clocks: InputSession<Tick, PartitionClock, Diff> = InputSession::new();
        let mut quality: InputSession<Tick, (), QualityMeasures> = InputSession::new();
        let probe = worker.dataflow::<Tick, _, _>(|scope| {
            let inputs = Inputs {
                sales: sale_input.to_collection(scope),
                activities: activities.to_collection(scope),
                stock: stock.to_collection(scope),
                clocks: clocks.to_collection(scope),
                quality: quality.to_collection(scope),
            };
            let rows = assemble(inputs, &Settings::new(SETTINGS.correction_window), &mut State::new());
            rows.inspect(|row| {
                black_box(row);
            })
            .probe()
            .0
        });
        let number = worker.index() as i32;
        let mut partition = Partition::new(Topic::Sales, number, SETTINGS);
        let mut told: Option<PartitionClock> = None;
        let mut tick: Tick = 17_000_000_000;
        let start = Instant::now();
        for epoch in sales.chunks(EPOCH) {
            sale_input.advance_to(tick);
            activities.advance_to(tick);
            stock.advance_to(tick);
            clocks.advance_to(tick);
            quality.advance_to(tick);
            let mut latest = None;
            let mut outcomes = QualityMeasures::default();
            for (offset, sale) in epoch.iter().enumerate().skip(worker.index()).step_by(worker.peers()) {
                if admit {
                    let reading = Reading::Sale(sale.clone());
                    let decision = partition.admit(reading, offset as i64, None, &mut |fact| {
                        if let Fact::Sale(sale, change) = fact {
                            sale_input.update(sale, change);
                        }
                    });
                    outcomes.outcomes[decision.outcome as usize] += 1;
                } else {
                    latest = latest.max(Some(sale.timestamp));
                    outcomes.outcomes[Outcome::Accepted as usize] += 1;
                    sale_input.update(PlacedSale { sale: sale.clone(), partition: number }, 1);
                }
            }
            let now = ((Topic::Sales, number), if admit { partition.clock() } else { latest });
            if let Some(old) = told.replace(now) {
                clocks.update(old, -1);
            }
            clocks.update(now, 1);
            quality.update((), outcomes);
            tick += 1;
            sale_input.advance_to(tick);
            activities.advance_to(tick);
            stock.advance_to(tick);
            clocks.advance_to(tick);
            quality.advance_to(tick);
            sale_input.flush();
            activities.flush();
            stock.flush();
            clocks.flush();
            quality.flush();
            while probe.less_than(&tick) {
                worker.step_or_park(Some(Duration::from_micros(100)));
            }
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
    measure("graph, 1 worker", 1, &|| graph(&sales, 1, false));
    measure("graph, 2 workers", 2, &|| graph(&sales, 2, false));
    measure("admission and graph, 1 worker", 1, &|| graph(&sales, 1, true));
    measure("admission and graph, 2 workers", 2, &|| graph(&sales, 2, true));
    group.finish();

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
