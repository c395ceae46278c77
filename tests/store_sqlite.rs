//! The SQLite store: the suite that every store passes, and what is SQLite's own.

mod store;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use store::{AT, Fixture, all, ask, commit, raw, read, row};
use tempfile::TempDir;
use tillflow::document::{Collection, Value};
use tillflow::store::{Query, StoreAddress, StoreError, StoreOptions};

struct File {
    address: StoreAddress,
    path: PathBuf,
    options: StoreOptions,
    folder: TempDir,
}

impl File {
    fn new() -> File {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a store.db");
        let options = StoreOptions { timeout: Duration::from_secs(10), ..StoreOptions::default() };
        File { address: StoreAddress::Sqlite { path: path.clone() }, path, options, folder }
    }
}

impl Fixture for File {
    fn address(&self) -> &StoreAddress {
        &self.address
    }

    fn options(&self) -> StoreOptions {
        self.options.clone()
    }
}

/// 2024-01-15T00:00:00Z.
const MIDNIGHT: i64 = 1_705_276_800_000;

conformance_suite!(File::new());
conformance!(File::new(); readers_see_whole_commits_only, scans_see_whole_commits_only);

fn sqlite(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

#[test]
fn the_file_reads_as_the_contract_says() {
    let file = File::new();
    let mut store = file.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, vec![row("sales_total|hour|2024-01-15T10:00:00Z", 1, 2)])).unwrap();
    let found: (String, i64, String, i64, String, Option<i64>) = sqlite(&file.path)
        .query_row(
            "SELECT _id, timestamp, key, final, revenue, users FROM aggregated_data WHERE typeof(units) = 'integer'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
        )
        .unwrap();
    let id = "sales_total|hour|2024-01-15T10:00:00Z".to_owned();
    assert_eq!(found, (id, AT - AT.rem_euclid(3_600_000), "{}".into(), 0, "2.4690".into(), None));
    let offsets: String = sqlite(&file.path)
        .query_row("SELECT offsets FROM pipeline_state WHERE _id = 'progress'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(offsets, r#"{"sales":{"0":1},"inventory":{"2":7}}"#);
    let mut indexes = Vec::new();
    let connection = sqlite(&file.path);
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE INDEX%'").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        indexes.push(row.get::<_, String>(0).unwrap());
    }
    indexes.sort();
    assert_eq!(
        indexes,
        [
            "aggregated_data_timestamp",
            "aggregated_data_type",
            "dead_letters_kafka_timestamp",
            "dead_letters_reason",
            "raw_data_timestamp",
            "raw_data_topic",
            "real_time_metrics_timestamp",
        ]
    );
}

#[test]
fn a_query_without_a_limit_has_one() {
    let file = File::new();
    let mut store = file.open();
    store.write_raw(&(0..10_020).map(|offset| raw(offset, None)).collect::<Vec<_>>()).unwrap();
    let mut reader = file.reader();
    let query = ask(Collection::RawData);
    assert_eq!(read(&mut *reader, query.clone()).len(), 10_000);
    assert_eq!(read(&mut *reader, Query { limit: Some(10_010), ..query }).len(), 10_010);
}

#[test]
fn another_process_that_writes_is_waited_for_and_reported() {
    let mut file = File::new();
    let retries = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = retries.clone();
    file.options.report = std::sync::Arc::new(move |problem| {
        counted.fetch_add(usize::from(problem.is_some()), std::sync::atomic::Ordering::Relaxed);
    });
    let mut store = file.open();
    store.acquire("a").unwrap();
    let other = sqlite(&file.path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let holding = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(6));
        other.execute_batch("ROLLBACK").unwrap();
    });
    store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    holding.join().unwrap();
    assert!(retries.load(std::sync::atomic::Ordering::Relaxed) >= 1);
    assert_eq!(all(&file, Collection::AggregatedData).len(), 1);
}

#[test]
fn a_lock_that_never_ends_is_unavailable() {
    let mut file = File::new();
    file.options.timeout = Duration::from_millis(1);
    let mut store = file.open();
    store.acquire("a").unwrap();
    let other = sqlite(&file.path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.commit(&commit(1, Vec::new()));
    assert!(matches!(&refused, Err(StoreError::Unavailable(text)) if text.contains("write lock")), "{refused:?}");
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let file = File::new();
    std::fs::write(
        &file.path,
        "a letter that must not be lost, longer than a header of a hundred bytes is. ".repeat(9),
    )
    .unwrap();
    let before = std::fs::read(&file.path).unwrap();
    let refused = file.address.open().err();
    assert!(matches!(&refused, Some(StoreError::Unreadable(_))), "{refused:?}");
    assert_eq!(std::fs::read(&file.path).unwrap(), before);
}

#[test]
fn what_cannot_be_opened_says_so() {
    let file = File::new();
    let missing = StoreAddress::Sqlite { path: file.folder.path().join("no folder/file.db") };
    let refused = missing.open().err();
    assert!(matches!(&refused, Some(StoreError::Unavailable(text)) if text.contains("folder")), "{refused:?}");
    let refused = file.address.open_reader().err();
    assert!(matches!(&refused, Some(StoreError::Unavailable(text)) if text.contains("no such file")), "{refused:?}");
    assert!(!file.path.exists());
}

#[test]
fn a_store_whose_writer_is_gone_is_read() {
    let file = File::new();
    let mut store = file.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    drop(store);
    assert_eq!(all(&file, Collection::AggregatedData).len(), 1);
}

#[test]
fn a_store_without_tables_says_what_to_do() {
    let file = File::new();
    let mut store = file.address.open().unwrap();
    for refused in [store.acquire("a").err(), store.write_raw(&[raw(1, None)]).err()] {
        assert!(
            matches!(&refused, Some(StoreError::Unavailable(text)) if text.contains("tillflow init")),
            "{refused:?}"
        );
    }
    assert_eq!(file.reader().read(&[ask(Collection::RawData)]).unwrap(), (None, vec![Vec::new()]));
}

#[test]
fn a_removed_file_stops_the_writer_and_a_new_one_is_read() {
    let file = File::new();
    let mut store = file.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    let mut reader = file.reader();
    assert_eq!(reader.read(&[]).unwrap().0.unwrap().epoch, 1);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.path.display()));
    }
    let refused = store.commit(&commit(2, Vec::new()));
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    drop(store);
    let mut store = file.open();
    store.acquire("b").unwrap();
    store.commit(&commit(7, Vec::new())).unwrap();
    assert_eq!(reader.read(&[]).unwrap().0.unwrap().epoch, 7);
}

#[test]
fn a_store_that_went_back_fences_its_writer() {
    let file = File::new();
    let mut store = file.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, Vec::new())).unwrap();
    store.commit(&commit(2, Vec::new())).unwrap();
    sqlite(&file.path).execute("UPDATE pipeline_state SET epoch = 1 WHERE _id = 'progress'", []).unwrap();
    let refused = store.commit(&commit(3, vec![row("a", 3, 1)]));
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    sqlite(&file.path).execute("DELETE FROM pipeline_state", []).unwrap();
    assert!(matches!(store.commit(&commit(3, Vec::new())), Err(StoreError::Fenced(_))));
    assert!(all(&file, Collection::AggregatedData).is_empty());
}

#[test]
fn tables_of_somebody_else_are_left_alone() {
    let file = File::new();
    sqlite(&file.path).execute_batch("CREATE TABLE raw_data (a, b); INSERT INTO raw_data VALUES (1, 2)").unwrap();
    let before = std::fs::read(&file.path).unwrap();
    let refused = file.address().open().err();
    let Some(StoreError::Unreadable(text)) = &refused else { panic!("{refused:?}") };
    assert!(text.contains("raw_data") && text.contains("another file"), "{text}");
    assert_eq!(std::fs::read(&file.path).unwrap(), before);
}

#[test]
fn a_progress_that_cannot_be_understood_is_not_written_over() {
    let file = File::new();
    file.open().acquire("a").unwrap();
    sqlite(&file.path).execute("UPDATE pipeline_state SET offsets = '{\"orders\":{}}'", []).unwrap();
    let refused = file.open().acquire("b");
    assert!(matches!(refused, Err(StoreError::Unreadable(_))), "{refused:?}");
    let fence: i64 = sqlite(&file.path).query_row("SELECT fence FROM pipeline_state", [], |row| row.get(0)).unwrap();
    assert_eq!(fence, 1);
}

#[test]
fn raw_data_expires_by_its_time() {
    let mut file = File::new();
    file.options.raw_ttl = Some(Duration::from_secs(3600));
    let mut store = file.open();
    store.acquire("a").unwrap();
    let mut old = raw(1, None);
    for (name, value) in &mut old.fields {
        if name == "timestamp" {
            *value = Value::Time(AT - 3_600_001);
        }
    }
    store.write_raw(&[old, raw(2, None)]).unwrap();
    let mut expiring = commit(1, Vec::new());
    expiring.committed_at = AT;
    store.commit(&expiring).unwrap();
    let left: Vec<String> = all(&file, Collection::RawData).into_iter().map(|document| document.id).collect();
    assert_eq!(left, ["sales|0|002"]);
}

#[test]
fn a_commit_that_was_cut_off_leaves_nothing() {
    let file = File::new();
    let mut store = file.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    // The log as a crash in the middle of the second commit leaves it: its last frame, the commit mark, is missing.
    store.commit(&commit(2, vec![row("a", 2, 2), row("b", 2, 2)])).unwrap();
    let (copy, log) = (file.folder.path().join("copy.db"), format!("{}-wal", file.path.display()));
    std::fs::copy(&file.path, &copy).unwrap();
    let log = std::fs::read(log).unwrap();
    std::fs::write(file.folder.path().join("copy.db-wal"), &log[..log.len() - 100]).unwrap();
    let mut reader = StoreAddress::Sqlite { path: copy }.open_reader().unwrap();
    let (progress, answers) =
        reader.read(&[Query { collection: Some(Collection::AggregatedData), ..Default::default() }]).unwrap();
    assert_eq!(progress.unwrap().epoch, 1);
    assert_eq!(answers[0].len(), 1);
}

/// Processor time of this thread so far, which other programs on the machine change less than the clock on the wall.
fn processor_seconds() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// `cargo test --release --test store_sqlite -- --ignored --nocapture` prints rows per second of commits of 10,000.
#[test]
#[ignore = "a measurement"]
fn rows_per_second() {
    let file = File::new();
    let mut store = file.open();
    store.acquire("a").unwrap();
    let mut epoch = 0;
    // 10,000 rows of `hours` hours and 2,000 products each.
    let mut rows = |hours: i64, turn: i64| {
        epoch += 1;
        let rows = (0..10_000).map(|at| {
            let (hour, product) = ((turn * 5 + at / 2_000) % hours, at % 2_000);
            let id = format!("sales_total|hour|2024-01-15T{hour:02}:00:00Z|product-{product:05}");
            let mut row = row(&id, epoch, turn + at);
            row.fields[2].1 = Value::Time(MIDNIGHT + hour * 3_600_000);
            row.fields.push(("window_end".into(), Value::Time(MIDNIGHT + (hour + 1) * 3_600_000)));
            row.fields.push(("as_of".into(), Value::Time(AT)));
            row.fields.push(("transactions".into(), Value::Int(at)));
            row.fields.push(("average_order_value".into(), Value::money(i128::from(at) * 1_111)));
            row
        });
        commit(epoch, rows.collect())
    };
    for (name, hours, commits) in [("insert", 25, 5), ("replace the same", 5, 20), ("replace in turn", 25, 20)] {
        let prepared: Vec<_> = (0..commits).map(|turn| rows(hours, turn)).collect();
        let (begun, processor) = (Instant::now(), processor_seconds());
        for commit in &prepared {
            store.commit(commit).unwrap();
        }
        let (seconds, processor) = (begun.elapsed().as_secs_f64(), processor_seconds() - processor);
        let rows = commits as f64 * 1e4;
        println!("{name}: {:.0} rows/s, {:.0} rows per second of processor time", rows / seconds, rows / processor);
    }
    let query = Query {
        collection: Some(Collection::AggregatedData),
        type_is: Some("sales_total".into()),
        granularity: Some("hour".into()),
        ..Query::default()
    };
    let mut reader = file.reader();
    for (name, query) in [
        ("all of a granularity", Query { limit: Some(50_000), ..query.clone() }),
        ("one hour", Query { from: Some(MIDNIGHT + 3 * 3_600_000), to: Some(MIDNIGHT + 4 * 3_600_000), ..query }),
    ] {
        let begun = Instant::now();
        let mut found = 0;
        for _ in 0..20 {
            found += reader.read(std::slice::from_ref(&query)).unwrap().1[0].len();
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("read {name}: {} documents in {:.2} ms", found / 20, seconds * 1e3 / 20.0);
    }
}
