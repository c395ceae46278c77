//! Final windows leave memory and stay in the store: across restarts, for a partition that begins afterwards, and for
//! whoever computes everything again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use tillflow::document::{Collection, Document, Value};
use tillflow::engine::{CheckpointOptions, EngineOptions, Run, Summary};
use tillflow::source::channel::OwnedRecord;
use tillflow::source::ndjson::NdjsonSource;
use tillflow::source::{Assignment, PartitionInfo, Reader, Source, SourceError};
use tillflow::store::{Query, StoreAddress};
use tillflow::verify::{AdmissionWindows, VerifyOptions, Watcher, verify};
use tillflow::views::ViewSet;
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::time::{DAY, HOUR, MINUTE};

/// 2026-01-05.
const START: i64 = 1_767_571_200_000;
const DAYS: i64 = 12;
const CORRECTION_WINDOW: i64 = 48 * HOUR;
/// What runs on after the start has to reach its end.
const PATIENCE: Duration = Duration::from_secs(60);

struct Shop {
    folder: tempfile::TempDir,
    address: StoreAddress,
}

impl Shop {
    fn open() -> Shop {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = StoreAddress::Sqlite { path: folder.path().join("shop.sqlite") };
        for name in ["sales", "user_activity", "inventory"] {
            std::fs::write(folder.path().join(format!("{name}.ndjson")), "").expect("a file");
        }
        Shop { folder, address }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn append(&self, name: &str, lines: &str) {
        let path = self.folder.path().join(format!("{name}.ndjson"));
        let before = std::fs::read_to_string(&path).expect("a file");
        std::fs::write(path, before + lines).expect("a file");
    }

    /// Sales and activities of an hour each, in a partition.
    fn trade(&self, partition: i32, hours: impl Iterator<Item = i64>) {
        let (mut sales, mut activities) = (String::new(), String::new());
        for hour in hours {
            let at = START + hour * HOUR;
            let time = chrono::DateTime::from_timestamp_millis(at).expect("an instant").to_rfc3339();
            let user = hour % 7;
            writeln!(
                sales,
                "{{\"partition\":{partition},\"timestamp_ms\":{at},\"value\":{{\"transaction_id\":\"t{partition}-{hour}\",\
                 \"user_id\":\"u{user}\",\"product_id\":\"p{user}\",\"quantity\":1,\"unit_price\":5,\"total_amount\":5,\
                 \"payment_method\":\"card\",\"timestamp\":\"{time}\",\"store_id\":\"s\",\"category\":\"c\"}}}}"
            )
            .expect("memory");
            writeln!(
                activities,
                "{{\"partition\":{partition},\"timestamp_ms\":{at},\"value\":{{\"user_id\":\"u{user}\",\
                 \"activity_type\":\"page_view\",\"timestamp\":\"{time}\",\"session_id\":\"s{hour}\"}}}}"
            )
            .expect("memory");
        }
        self.append("sales", &sales);
        self.append("user_activity", &activities);
    }

    fn run(&self, workers: usize, until_caught_up: bool) -> Run {
        self.run_of(workers, until_caught_up, Arc::new(NdjsonSource::new(self.folder.path(), true, Tz::UTC)))
    }

    fn run_of(&self, workers: usize, until_caught_up: bool, source: Arc<dyn Source>) -> Run {
        let folder = self.state();
        let options = EngineOptions {
            workers,
            tick: Duration::from_millis(10),
            raw_data: true,
            until_caught_up,
            admission: AdmissionSettings { correction_window: CORRECTION_WINDOW, max_future: 10 * MINUTE },
            timezone: Tz::UTC,
            instance: String::from("expiry"),
            views: ViewSet::default(),
            checkpoints: Some(CheckpointOptions { folder, interval: Duration::from_secs(3600) }),
            accepted: Vec::new(),
        };
        Run::new(options, source)
    }

    fn catch_up(&self, workers: usize) -> Summary {
        self.run(workers, true).alone(self.address.open().expect("a store")).expect("the pipeline runs")
    }

    /// Runs until windows have left memory on every worker; returns how many sales rollups were held then, at most.
    fn run_until_windows_leave(&self, workers: usize) -> f64 {
        self.until_windows_leave(&self.run(workers, false), workers)
    }

    fn until_windows_leave(&self, run: &Run, workers: usize) -> f64 {
        let store = self.address.open().expect("a store");
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run.alone(store));
            // A failure here must not wait for ever for what runs.
            let stop = Stop(run);
            let begun = Instant::now();
            let mut held = f64::MAX;
            // Four days are live at most, with five rows of the hour, the minute and the day each. A worker tells of what it
            // holds a few times a second.
            while value(run, "tillflow_expired_before_seconds") == Some(0.0) || held > 4.0 * 25.0 * 3.0 * 5.0 {
                assert!(begun.elapsed() < PATIENCE && !running.is_finished(), "{}", run.metrics.encode());
                std::thread::sleep(Duration::from_millis(20));
                let name =
                    |worker| format!("tillflow_arrangement_records{{name=\"Sales rollups\",worker=\"{worker}\"}}");
                held = (0..workers).filter_map(|worker| value(run, &name(worker))).sum();
            }
            drop(stop);
            running.join().expect("no panic").expect("the pipeline runs");
            held
        })
    }

    /// The documents of windows, by `_id`.
    fn windows(&self) -> BTreeMap<String, Document> {
        let mut reader = self.address.open_reader().expect("a reader");
        let query = Query { collection: Some(Collection::AggregatedData), ..Query::default() };
        let (_, mut answers) = reader.read(&[query]).expect("an answer");
        answers.pop().expect("one answer").into_iter().map(|document| (document.id.clone(), document)).collect()
    }

    fn late(&self) -> usize {
        let mut reader = self.address.open_reader().expect("a reader");
        let query = Query { collection: Some(Collection::DeadLetters), ..Query::default() };
        let (_, mut answers) = reader.read(&[query]).expect("an answer");
        let late = Value::Text("late".into());
        answers.pop().expect("one answer").iter().filter(|letter| letter.get("reason") == Some(&late)).count()
    }

    fn verify(&self) {
        let mut scan = self.address.open_scan(Default::default()).expect("a scan");
        let windows = AdmissionWindows { correction_window: CORRECTION_WINDOW, max_future: 10 * MINUTE };
        let options = VerifyOptions { source: None, windows, timezone: Tz::UTC, raw_data: true, limit: 10 };
        let found = verify(scan.as_mut(), &options, &mut Silent).expect("it can be verified").expect("something");
        assert_eq!(found.total, 0, "{:#?}", found.differences);
    }
}

/// A folder whose later readers are slow to open.
struct Slow {
    folder: NdjsonSource,
    opened: AtomicUsize,
}

impl Source for Slow {
    fn identity(&self) -> String {
        self.folder.identity()
    }

    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        self.folder.discover()
    }

    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        if self.opened.fetch_add(1, Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(500));
        }
        self.folder.open(assignments)
    }

    fn records_at(&self, places: &[Assignment]) -> Result<Vec<Option<OwnedRecord>>, SourceError> {
        self.folder.records_at(places)
    }
}

/// Ends a run when it is dropped.
struct Stop<'a>(&'a Run);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

struct Silent;

impl Watcher for Silent {
    fn begin(&mut self, _records: u64) {}
    fn read(&mut self, _records: u64) {}
    fn warn(&mut self, words: &str) {
        panic!("{words}");
    }
}

fn value(run: &Run, name: &str) -> Option<f64> {
    let text = run.metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

fn ends(document: &Document) -> i64 {
    match document.get("window_end") {
        Some(Value::Time(end)) => *end,
        other => panic!("{}: {other:?}", document.id),
    }
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).expect("a folder of checkpoints");
}

#[test]
fn windows_that_left_memory_stay_in_the_store_whatever_comes() {
    let shop = Shop::open();
    shop.trade(0, 0..DAYS * 24);
    shop.catch_up(2);
    let filled = shop.windows();
    let held = shop.run_until_windows_leave(2);
    assert!(held < filled.len() as f64 / 2.0, "{held} of {} documents", filled.len());
    assert_eq!(shop.windows(), filled, "nothing changes for those who look");
    shop.verify();

    // Windows before this may have left: clocks less the correction window, and a whole day.
    let bound = START + (DAYS - 3) * DAY;
    // Another number of workers goes on from what is left; a new partition brings what is too late, and what is not.
    shop.trade(1, (0..24).chain(DAYS * 24..DAYS * 24 + 3));
    shop.trade(0, DAYS * 24..DAYS * 24 + 3);
    shop.catch_up(3);
    assert_eq!(shop.late(), 2 * 24);
    let later = shop.windows();
    assert!(later.len() > filled.len());
    for (id, document) in filled.iter().filter(|(_, document)| ends(document) <= bound) {
        assert_eq!(later.get(id), Some(document), "final and gone from memory");
    }
    shop.verify();

    // Without a checkpoint everything is read again, with the same outcomes and nothing to correct.
    remove(&shop.state());
    let summary = shop.catch_up(1);
    // There may be one that says how far windows have left.
    assert!(summary.records == 0 && summary.commits <= 1, "{summary:?}");
    assert_eq!(shop.windows(), later);
    let held = shop.run_until_windows_leave(1);
    assert!(held < filled.len() as f64 / 2.0, "{held}");
    assert_eq!(shop.windows(), later);
    shop.verify();
    assert_eq!(
        shop.address.open().expect("a store").peek().expect("an answer").1.expect("an origin").late_before.len(),
        2
    );
}

#[test]
fn windows_leave_whenever_the_workers_begin() {
    let shop = Shop::open();
    shop.trade(0, 0..DAYS * 24);
    shop.catch_up(2);
    let folder = NdjsonSource::new(shop.folder.path(), true, Tz::UTC);
    let run = shop.run_of(2, false, Arc::new(Slow { folder, opened: AtomicUsize::new(0) }));
    shop.until_windows_leave(&run, 2);
    shop.verify();
}

#[test]
fn what_has_left_memory_is_not_taken_for_too_much_and_what_is_too_much_goes() {
    let shop = Shop::open();
    shop.trade(0, 0..DAYS * 24);
    shop.catch_up(1);
    shop.run_until_windows_leave(1);
    let filled = shop.windows();
    // Another hand moves the document of a live day.
    let live = format!("sales_total|day|{}", "2026-01-16T00:00:00Z");
    assert!(filled.contains_key(&live), "{:?}", filled.keys().last());
    let connection = rusqlite::Connection::open(shop.folder.path().join("shop.sqlite")).expect("a database");
    let moved = connection.execute("UPDATE aggregated_data SET _id = _id || '|x' WHERE _id = ?1", [&live]);
    assert_eq!(moved.expect("an update"), 1);
    drop(connection);
    shop.catch_up(2);
    let later = shop.windows();
    assert_eq!(later.keys().collect::<Vec<_>>(), filled.keys().collect::<Vec<_>>());
    shop.verify();
}
