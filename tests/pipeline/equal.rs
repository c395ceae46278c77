//! Whatever the records, the store and the number of workers: every document is the oracle's.

use crate::support::SOON;
use crate::support::oracle::{assert_equal, assert_equal_to_files};
use crate::support::program::{Tillflow, script, write};
use crate::support::world::{Hostile, Store, Topics, counted};

/// Runs once with one worker and once with two, into a new store each time.
fn both(topics: &Topics, mut store: impl FnMut() -> Store, records: i64) {
    for workers in ["--workers 1", "--workers 2"] {
        let store = store();
        store.catch_up(topics, workers);
        let progress = store.progress().expect("progress");
        assert_eq!(counted(&progress), records, "{workers}");
        assert_equal(topics, &store, "--complete");
        if workers.ends_with('2') {
            store.verify(topics);
        }
    }
}

#[test]
fn the_shops_records_in_mongodb() {
    let topics = Topics::init("shop-m", 3);
    topics.generate(11, 2_500);
    both(&topics, || Store::mongodb("shop"), 2_500);
}

#[test]
fn the_shops_records_in_sqlite() {
    // More partitions than workers, and no multiple of them.
    let topics = Topics::init("shop-s", 5);
    topics.generate(12, 6_000);
    both(&topics, Store::sqlite, 6_000);
}

#[test]
fn a_hostile_history_in_mongodb() {
    let (topics, records) = Topics::hostile("hostile-m", Hostile { seed: 13, count: 2_500 });
    both(&topics, || Store::mongodb("hostile"), records);
}

#[test]
fn a_hostile_history_in_sqlite() {
    let (topics, records) = Topics::hostile("hostile-s", Hostile { seed: 14, count: 6_000 });
    both(&topics, Store::sqlite, records);
}

/// What `verify` sees is one epoch, however many are committed meanwhile.
fn verified_meanwhile(store: &Store, name: &str, history: Hostile, rate: u32) {
    let topics = Topics::named(name);
    topics.send(Hostile { seed: 1, count: 60 }, 0.0, 1.0);
    let mut sending = topics.start_sending(history, rate);
    let mut run = store.run(&topics, "--workers 2 --tick-ms 20").start();
    let mut committed_meanwhile = 0;
    while !sending.is_over() {
        let Some(before) = store.progress() else { continue };
        store.verify(&topics);
        committed_meanwhile += u32::from(store.progress() != Some(before));
    }
    sending.finish();
    assert!(committed_meanwhile > 0, "nothing was committed while the store was verified");
    assert!(run.is_running(), "{}", run.stderr());
    assert_eq!(run.end("TERM", SOON).code, Some(0));
    store.verify(&topics);
}

#[test]
fn verified_while_a_run_goes_on_in_sqlite() {
    verified_meanwhile(&Store::sqlite(), "meanwhile-s", Hostile { seed: 32, count: 3_000 }, 500);
}

#[test]
fn verified_while_a_run_goes_on_in_mongodb() {
    verified_meanwhile(&Store::mongodb("meanwhile"), "meanwhile-m", Hostile { seed: 33, count: 1_500 }, 150);
}

#[test]
fn views_of_a_file_in_both_stores() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/views.toml");
    let (topics, _) = Topics::hostile("views", Hostile { seed: 43, count: 2_000 });
    for store in [Store::sqlite(), Store::mongodb("views")] {
        store.catch_up(&topics, &format!("--workers 1 --view-file {file}"));
        store.verify(&topics);
    }
    // More of everything, after a restart.
    let store = Store::mongodb("views");
    store.catch_up(&topics, &format!("--workers 2 --view-file {file}"));
    topics.generate(44, 1_500);
    store.catch_up(&topics, &format!("--workers 2 --view-file {file}"));
    store.verify(&topics);
}

#[test]
fn more_workers_than_partitions() {
    let topics = Topics::init("few", 1);
    topics.generate(15, 2_000);
    let store = Store::sqlite();
    store.catch_up(&topics, "--workers 8 --tick-ms 5");
    assert_equal(&topics, &store, "--complete");
}

#[test]
fn topics_without_a_record() {
    let topics = Topics::init("empty", 2);
    let store = Store::sqlite();
    store.catch_up(&topics, "");
    // Metrics are always present, and say nothing.
    let progress = store.progress().expect("progress");
    assert_eq!((progress.as_of, counted(&progress)), (None, 0));
    assert_equal(&topics, &store, "--complete");
    topics.generate(16, 300);
    store.catch_up(&topics, "");
    assert_eq!(counted(&store.progress().expect("progress")), 300);
    assert_equal(&topics, &store, "--complete");
}

#[test]
fn init_can_be_repeated_and_leaves_topics_as_they_are() {
    let (topics, _) = Topics::hostile("init", Hostile { seed: 17, count: 300 });
    let store = Store::mongodb("init");
    for _ in 0..2 {
        let init = Tillflow::new(["init", "--partitions", "7"]).flags(topics.flags()).flags(store.flags());
        init.succeed(SOON);
    }
    store.catch_up(&topics, "");
    assert_eq!(store.progress().expect("progress").offsets.len(), 9, "three partitions of each topic");
    assert_equal(&topics, &store, "--complete");
}

#[test]
fn raw_data_can_be_left_out() {
    let topics = Topics::init("raw", 3);
    topics.generate(18, 1_500);
    for store in [Store::sqlite(), Store::mongodb("raw")] {
        store.catch_up(&topics, "--raw-data off");
        assert_equal(&topics, &store, "--complete --raw-data off");
    }
}

fn catch_up_with_files(folder: &std::path::Path, store: &Store, flags: &str) {
    let source = format!("ndjson:{}", folder.display());
    let run = Tillflow::new(["run", "--source", &source, "--until-caught-up", "--no-dashboard"]);
    run.flags(store.flags()).flags(flags.split_whitespace()).succeed(2 * SOON);
}

#[test]
fn plain_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let to = format!("ndjson:{}", folder.path().display());
    let generate = Tillflow::new(["generate", "--to", &to, "--rate", "0", "--count", "5000", "--corrupt", "0.1"]);
    generate.succeed(SOON);
    // What other programs write: blank lines, line ends of two characters, no end at all.
    let sales = folder.path().join("sales.ndjson");
    let mut bytes = std::fs::read(&sales).expect("sales");
    bytes.extend_from_slice(b"\n\r\n{}\r\n\xff\nnull\n{\"transaction_id\": \"t\"");
    write(&sales, &bytes);
    std::fs::remove_file(folder.path().join("inventory.ndjson")).expect("a file");
    let store = Store::sqlite();
    catch_up_with_files(folder.path(), &store, "--workers 2");
    assert_equal_to_files(folder.path(), &store, "--complete");
}

#[test]
fn files_with_envelopes_and_other_settings() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = "--correction-window 6h --max-future 90s --timezone America/St_Johns";
    let mut arguments = vec![String::from("--seed=19"), String::from("--count=5000")];
    arguments.push(format!("--to=ndjson:{}", folder.path().display()));
    // A clock is put back in that zone within these days.
    arguments.push(String::from("--start=2024-11-01T00:00:00Z"));
    arguments.extend(settings.split(' ').map(String::from));
    script("oracle/hostile.py", &arguments);
    for workers in [1, 2] {
        let store = Store::sqlite();
        catch_up_with_files(folder.path(), &store, &format!("--envelope --workers {workers} {settings}"));
        assert_equal_to_files(folder.path(), &store, &format!("--envelope --complete {settings}"));
    }
}
