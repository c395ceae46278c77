//! The whole path: a log in memory -> decode -> admission -> graph -> commits, into SQLite and into a store that
//! forgets everything, beside a single-threaded hash-map program that computes the same rollups from the same bytes.
//!
//! `cargo bench --bench pipeline`; `TILLFLOW_BENCH_RECORDS` sets the number of sales (default 1,000,000). Each row is
//! the best of three runs; ratios are against the hash-map program of the same run. Every run's number of records and
//! revenue is checked against the hash-map program's before it counts.
//!
//! What exactness costs: the same into SQLite with commits that are neither atomic nor durable, with durable transactions,
//! and with these and a checkpoint a second (the default is one in ten), in turns, until the last commit. How long a start
//! takes: one that goes on from the last checkpoint of such a run, until it commits one more sale.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tillflow::codec::Decoder;
use tillflow::document::{Document, Value};
use tillflow::engine::{CheckpointOptions, EngineOptions, Run};
use tillflow::source::channel::OwnedRecord;
use tillflow::source::{Assignment, PartitionInfo, Position, RawRecord, Reader, Source, SourceError};
use tillflow::store::{
    Commit, Fingerprints, Offsets, Origin, Progress, Store, StoreAddress, StoreError, StoreOptions, StoreScan,
};
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::records::{Sale, Text, Topic};
use tillflow_dataflows::time::{Granularity, HOUR, MINUTE};

const PARTITIONS: usize = 3;
const RUNS: usize = 3;

/// A log that is there as a whole.
struct Log {
    partitions: Arc<[Vec<OwnedRecord>; PARTITIONS]>,
}

struct LogReader {
    partitions: Arc<[Vec<OwnedRecord>; PARTITIONS]>,
    read: Vec<(usize, usize)>,
}

impl Source for Log {
    fn identity(&self) -> String {
        String::from("bench")
    }

    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        let sales = |partition: usize| PartitionInfo {
            topic: Topic::Sales,
            partition: partition as i32,
            low: 0,
            high: Some(self.partitions[partition].len() as i64),
        };
        Ok((0..PARTITIONS).map(sales).collect())
    }

    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        let read = assignments.iter().map(|it| (it.partition as usize, it.start as usize)).collect();
        Ok(Box::new(LogReader { partitions: Arc::clone(&self.partitions), read }))
    }
}

impl Reader for LogReader {
    fn poll(
        &mut self,
        index: usize,
        limit: usize,
        until: i64,
        give: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, SourceError> {
        let (partition, next) = &mut self.read[index];
        let until = usize::try_from(until).unwrap_or(usize::MAX).clamp(*next, self.partitions[*partition].len());
        let records = &self.partitions[*partition][*next..until];
        let records = &records[..limit.min(records.len())];
        for record in records {
            give(RawRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
            });
        }
        *next += records.len();
        Ok(records.len())
    }

    fn position(&self, index: usize) -> Position {
        let (partition, next) = self.read[index];
        let end = self.partitions[partition].len();
        Position { next: next as i64, at_end: next == end, end: Some(end as i64) }
    }
}

/// Forgets everything but the revenue of `sales_all`, and when it was told last.
#[derive(Clone, Default)]
struct Null {
    revenue: Arc<Mutex<i128>>,
    last: Arc<Mutex<Option<Instant>>>,
}

impl Null {
    fn look(&self, documents: &[Document]) {
        for document in documents.iter().filter(|document| document.id == "metric|sales_all") {
            if let Some(Value::Decimal { digits, .. }) = document.get("revenue") {
                *self.revenue.lock().unwrap() = *digits;
            }
        }
    }
}

impl Store for Null {
    fn init(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError> {
        Ok((None, None))
    }

    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError> {
        Ok(Fingerprints::new())
    }

    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError> {
        let progress = Progress {
            epoch: 0,
            as_of: None,
            offsets: Offsets::new(),
            committed_at: None,
            instance: instance.to_owned(),
            fence: 1,
        };
        Ok((progress, None))
    }

    fn write_raw(&mut self, _documents: &[Document]) -> Result<(), StoreError> {
        Ok(())
    }

    fn forget_raw(&mut self, _topic: Topic, _partition: i32) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.look(&commit.upserts);
        Ok(())
    }

    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> {
        Ok(Vec::new())
    }

    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError> {
        Ok(None)
    }

    fn guarantee(&self) -> String {
        String::from("none")
    }
}

/// SQLite, with an eye on the revenue.
struct Watched {
    store: Box<dyn Store>,
    eye: Null,
}

impl Store for Watched {
    fn init(&mut self) -> Result<(), StoreError> {
        self.store.init()
    }

    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError> {
        self.store.peek()
    }

    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError> {
        self.store.fingerprints()
    }

    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError> {
        self.store.acquire(instance)
    }

    fn write_raw(&mut self, documents: &[Document]) -> Result<(), StoreError> {
        self.store.write_raw(documents)
    }

    fn forget_raw(&mut self, topic: Topic, partition: i32) -> Result<(), StoreError> {
        self.store.forget_raw(topic, partition)
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.eye.look(&commit.upserts);
        self.store.commit(commit)?;
        *self.eye.last.lock().unwrap() = Some(Instant::now());
        Ok(())
    }

    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> {
        self.store.alerts()
    }

    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError> {
        self.store.scanner()
    }

    fn guarantee(&self) -> String {
        self.store.guarantee()
    }
}

/// About 12,000 sales of 260 bytes a minute: 1,000 products, 5 categories, 20 stores, 4 payment methods.
fn records(count: usize) -> [Vec<OwnedRecord>; PARTITIONS] {
    let mut partitions: [Vec<OwnedRecord>; PARTITIONS] =
        std::array::from_fn(|_| Vec::with_capacity(count / PARTITIONS + 1));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for n in 0..count {
        let timestamp = 1_760_000_000_000 + n as i64 * 5;
        let time = chrono::DateTime::from_timestamp_millis(timestamp).unwrap();
        let (product, quantity, cents) = (random(1000), random(5) + 1, random(20_000) + 100);
        let value = format!(
            r#"{{"transaction_id":"txn_{n:012}","user_id":"user_{:06}","product_id":"prod_{product:04}","quantity":{quantity},"unit_price":{}.{:02},"total_amount":{}.{:02},"payment_method":"{}","timestamp":"{}","store_id":"store_{:02}","category":"category_{}"}}"#,
            random(200_000),
            cents / 100,
            cents % 100,
            cents * quantity / 100,
            cents * quantity % 100,
            ["cash", "credit_card", "debit_card", "paypal"][random(4) as usize],
            time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            random(20),
            product % 5,
        );
        let partition = &mut partitions[n % PARTITIONS];
        partition.push(OwnedRecord {
            offset: partition.len() as i64,
            timestamp: Some(timestamp),
            key: Some(format!("txn_{n:012}").into_bytes()),
            value: Some(value.into_bytes()),
        });
    }
    partitions
}

/// (transactions, units, revenue)
type Sums = (i64, i64, i128);

/// The same rollups in plain hash maps: drop repeated ids, sum by window and key.
fn hash_maps(partitions: &[Vec<OwnedRecord>; PARTITIONS]) -> (Duration, i128) {
    let begun = Instant::now();
    let decoder = Decoder::new(chrono_tz::Tz::UTC);
    let mut known: HashMap<Text, Sale> = HashMap::new();
    let mut rollups: HashMap<(u8, Granularity, i64, Text), Sums> = HashMap::new();
    let mut all: Sums = (0, 0, 0);
    for record in partitions.iter().flatten() {
        let Some(Ok(sale)) = record.value.as_deref().map(|value| decoder.decode_sale(value)) else { continue };
        if known.insert(sale.transaction_id.clone(), sale.clone()).is_some() {
            continue;
        }
        let mut add = |view: u8, granularity: Granularity, key: &Text| {
            let sums = rollups.entry((view, granularity, granularity.start(sale.timestamp), key.clone())).or_default();
            sums.0 += 1;
            sums.1 += sale.quantity;
            sums.2 += i128::from(sale.total_amount.0);
        };
        for granularity in Granularity::ALL {
            add(0, granularity, &Text::default());
            add(1, granularity, &sale.category);
            add(2, granularity, &sale.store_id);
            add(3, granularity, &sale.payment_method);
            if granularity != Granularity::Minute {
                add(4, granularity, &sale.product_id);
            }
        }
        all = (all.0 + 1, all.1 + sale.quantity, all.2 + i128::from(sale.total_amount.0));
    }
    let took = begun.elapsed();
    assert!(rollups.len() > 1);
    (took, all.2)
}

fn pipeline(
    partitions: &Arc<[Vec<OwnedRecord>; PARTITIONS]>,
    workers: usize,
    store: Box<dyn Store>,
    state: Option<&Path>,
) -> Duration {
    let interval = Duration::from_secs(1);
    let options = EngineOptions {
        workers,
        tick: Duration::from_millis(100),
        raw_data: false,
        until_caught_up: true,
        admission: AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE },
        timezone: chrono_tz::Tz::UTC,
        instance: String::from("bench"),
        views: tillflow::views::ViewSet::default(),
        checkpoints: state.map(|folder| CheckpointOptions { folder: folder.to_path_buf(), interval }),
        accepted: Vec::new(),
    };
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
        assert_eq!(*self.eye.revenue.lock().unwrap(), revenue, "the revenue is another one");
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
fn exactness(partitions: &Arc<[Vec<OwnedRecord>; PARTITIONS]>, revenue: i128, runs: usize, workers: usize) {
    let mut more = (**partitions).clone();
    let last = more[0].last().expect("a record").clone();
    let value = String::from_utf8(last.value.expect("a value")).expect("text").replace("\"txn_", "\"one_more_");
    more[0].push(OwnedRecord { offset: last.offset + 1, value: Some(value.into_bytes()), ..last });
    let more = Arc::new(more);
    let measured = |partitions, place: &Place, journal: bool, state: Option<&Path>| {
        let (begun, cpu) = (Instant::now(), cpu());
        pipeline(partitions, workers, place.store(journal), state);
        let committed = place.eye.last.lock().unwrap().expect("a commit").duration_since(begun);
        Measured { committed, cpu: self::cpu() - cpu }
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
        assert_ne!(*place.eye.revenue.lock().unwrap(), revenue, "one more sale counts");
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

/// What all threads of this process have used; nothing where it cannot be known.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: user and system time are the 14th and 15th field, in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn main() {
    // `cargo test` runs benches with this flag, to see that they work.
    let test = std::env::args().any(|argument| argument == "--test");
    let default = if test { 20_000 } else { 1_000_000 };
    let count = std::env::var("TILLFLOW_BENCH_RECORDS").ok().and_then(|count| count.parse().ok()).unwrap_or(default);
    let runs = if test { 1 } else { RUNS };
    let partitions = Arc::new(records(count));
    let bytes: usize = partitions.iter().flatten().filter_map(|record| record.value.as_ref()).map(Vec::len).sum();
    println!("{count} sales of {} bytes in {PARTITIONS} partitions, best of {runs}", bytes / count.max(1));

    let best = |run: &mut dyn FnMut() -> Duration| (0..runs).map(|_| run()).min().unwrap_or_default();
    let mut revenue = 0;
    let baseline = best(&mut || {
        let (took, sum) = hash_maps(&partitions);
        revenue = sum;
        took
    });
    let row = |name: &str, took: Duration| {
        let rate = count as f64 / took.as_secs_f64();
        println!(
            "{name:<36} {rate:>12.0} records/s {:>6.2} of the hash maps",
            baseline.as_secs_f64() / took.as_secs_f64()
        );
    };
    row("hash maps, 1 thread", baseline);
    for workers in [1, 2] {
        let took = best(&mut || {
            let eye = Null::default();
            let took = pipeline(&partitions, workers, Box::new(eye.clone()), None);
            assert_eq!(*eye.revenue.lock().unwrap(), revenue, "the revenue is another one");
            took
        });
        row(&format!("memory -> null, {workers} worker(s)"), took);
        let took = best(&mut || {
            let place = Place::new();
            let took = pipeline(&partitions, workers, place.store(true), None);
            place.assert_revenue(revenue);
            took
        });
        row(&format!("memory -> SQLite, {workers} worker(s)"), took);
        exactness(&partitions, revenue, runs, workers);
    }
}
