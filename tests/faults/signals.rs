//! F07 and F08: panics; SIGTERM, SIGINT, and a second one, while records come in.

use std::time::Duration;

use crate::row::{Row, times};
use crate::support::world::{Hostile, Topics};
use crate::world::{Log, Store, Watermark};

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(10);

/// How long a start, and the end after a panic in it, may take.
const PANIC: Duration = Duration::from_secs(15);

fn asked_to_stop(row: &mut Row, store: &Store, rounds: u32) {
    let topics = Topics::named("asked");
    let log = Log::of(&topics.prefix);
    let mut sent = topics.send(Hostile { seed: 1, count: 60 }, 0.0, 1.0);
    let mut watermark = Watermark::default();
    for round in 0..rounds {
        let history = Hostile { seed: row.dice.below(1 << 30), count: 200 };
        let sending = topics.start_sending(history, 300);
        let mut run = store.run(&log, "--workers 2 --tick-ms 20").start();
        store.wait_for_more(&mut run, store.counted());
        std::thread::sleep(row.dice.millis(0, 300));
        let twice = round % 3 == 2;
        if twice {
            // Both are there before the program can look at either.
            run.signal("STOP");
            run.signal("INT");
            run.signal("TERM");
            let ended = run.end("CONT", STOP);
            // Mostly 130. Two threads may take one signal each at the same instant, and then both are the first one.
            // (That a second one ends it is a test of its own in tests/pipeline/restarts.rs.)
            assert!(matches!(ended.code, Some(0 | 130)), "{ended:?}");
        } else {
            let ended = run.end(["TERM", "INT"][round as usize % 2], STOP);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            row.at_most("longest stop, ms", ended.took.as_millis() as u64);
        }
        watermark.look(store);
        store.assert_exact(&log, "");
        sent += sending.finish();
        row.count("stops", 1);
    }
    store.catch_up(&log, "--workers 1");
    assert_eq!(store.counted(), sent);
    store.assert_exact(&log, "--complete");
}

#[test]
fn f08_signals_sqlite() {
    let mut row = Row::begin("F08", "SIGTERM, SIGINT, both at once under load, SQLite");
    asked_to_stop(&mut row, &Store::sqlite(), times(6, 50));
}

#[test]
fn f08_signals_mongodb() {
    let mut row = Row::begin("F08", "SIGTERM, SIGINT, both at once under load, MongoDB");
    asked_to_stop(&mut row, &Store::mongodb("asked"), times(4, 50));
}

/// F07: a panic in a worker, in a thread of the source, in the committer or in that of checkpoints ends the process with 70,
/// and what it left is exact.
#[test]
fn f07_panics() {
    let mut row =
        Row::begin("F07", "panic in a worker, in the source, in the committer, within a transaction, in a checkpoint");
    let points = [
        "worker.tick",
        "commit.begun",
        "commit.stored",
        "sqlite.ready",
        "gate.reached",
        "rebuild.listened",
        "checkpoint.shard",
        "checkpoint.whole",
        "source.watched",
    ];
    let topics = Topics::named("panics");
    let log = Log::of(&topics.prefix);
    let mut store = Store::sqlite();
    store.checkpoints = "10ms";
    topics.send(Hostile { seed: row.dice.below(1 << 30), count: 100 }, 0.0, 1.0);
    store.catch_up(&log, "--workers 2");
    for round in 0..times(1, 10) {
        for point in points {
            topics.send(Hostile { seed: row.dice.below(1 << 30), count: 60 }, 0.0, 1.0);
            if point.starts_with("rebuild") {
                store.forget_state();
            }
            let run = store.run(&log, "--workers 2 --tick-ms 5").env("TILLFLOW_LIMITS", &store.small_commits());
            let hit = if point.starts_with("gate") { 1 } else { 1 + round % 3 };
            let ended = run.env("TILLFLOW_PANIC_AT", &format!("{point}:{hit}")).run(PANIC);
            assert_eq!(ended.code, Some(70), "{point}: {ended:?}");
            store.assert_exact(&log, "");
            row.count("panics", 1);
        }
    }
    store.catch_up(&log, "--workers 2");
    store.assert_exact(&log, "--complete");
}

/// F07: a page that panics is a page that is missing, and nothing else.
#[test]
fn f07_panicking_page() {
    let mut row = Row::begin("F07", "panic in a page, the pipeline goes on");
    let topics = Topics::named("page");
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let mut sent = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 100 }, 0.0, 1.0);
    for hit in 1..=times(2, 20) {
        let run = store.run_with_pages(&log, "--listen 127.0.0.1:0 --tick-ms 20");
        let mut run = run.env("TILLFLOW_PANIC_AT", &format!("page.asked:{hit}")).start();
        let page = run.wait_for_line("dashboard: ");
        store.wait_for_all(&mut run, sent);
        for asked in 1..=hit + 5 {
            let status = match ureq::get(&page).call() {
                Ok(answer) => answer.status().as_u16(),
                Err(ureq::Error::StatusCode(status)) => status,
                Err(error) => panic!("{page}: {error}"),
            };
            assert_eq!(status, if asked == hit { 500 } else { 200 }, "request {asked}");
        }
        sent += topics.send(Hostile { seed: row.dice.below(1 << 30), count: 60 }, 0.0, 1.0);
        store.wait_for_all(&mut run, sent);
        assert_eq!(run.end("TERM", STOP).code, Some(0));
        store.assert_exact(&log, "--complete");
        row.count("panics", 1);
    }
}
