//! F01 and F03: the process is killed, at any time and while it recovers from having been killed.

use std::time::Duration;

use crate::row::{Row, times};
use crate::support::SOON;
use crate::support::world::{Hostile, Topics};
use crate::world::{Log, Store, Watermark};

/// Kills runs at random times while records come in; every document is compared after each kill.
fn killed_at_random(row: &mut Row, store: &Store, workers: u32, kills: u32) {
    let topics = Topics::named("kills");
    let log = Log::of(&topics.prefix);
    let first = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 100 }, 0.0, 1.0);
    let count = 400 + 100 * kills;
    let history = Hostile { seed: row.dice.below(1 << 30), count };
    let mut sending = Some(topics.start_sending(history, 60));
    let (mut watermark, mut rest) = (Watermark::default(), 0);
    for kill in 0..kills {
        if sending.as_mut().is_some_and(|sending| sending.is_over()) {
            rest += sending.take().map_or(0, |sending| sending.finish());
            let history = Hostile { seed: row.dice.below(1 << 30), count: 1_000 };
            sending = Some(topics.start_sending(history, 60));
        }
        let tick = [1, 20, 100, 300][row.dice.below(4) as usize];
        let before = store.counted();
        let mut run = store.run(&log, &format!("--workers {workers} --tick-ms {tick}")).start();
        if kill % 4 == 3 {
            // How long a restart takes until something new is committed.
            let took = store.wait_for_more(&mut run, before);
            row.at_most("longest restart to first commit, ms", took.as_millis() as u64);
            assert!(took < Duration::from_secs(20), "first new commit after {took:?}");
        } else {
            std::thread::sleep(row.dice.millis(100, 1_200));
        }
        assert!(run.is_running(), "{}", run.stderr());
        let ended = run.end("KILL", SOON);
        assert_eq!(ended.code, None, "{ended:?}");
        watermark.look(store);
        store.assert_exact(&log, "");
        row.count("kills", 1);
    }
    rest += sending.take().map_or(0, |sending| sending.finish());
    store.catch_up(&log, &format!("--workers {workers}"));
    watermark.look(store);
    assert_eq!(store.counted(), first + rest);
    store.assert_exact(&log, "--complete");
    row.count("records", (first + rest) as u64);
}

#[test]
fn f01_killed_at_random_sqlite_1_worker() {
    let mut row = Row::begin("F01", "kill -9 at random, SQLite, 1 worker");
    killed_at_random(&mut row, &Store::sqlite(), 1, times(8, 500));
}

#[test]
fn f01_killed_at_random_sqlite_2_workers() {
    let mut row = Row::begin("F01", "kill -9 at random, SQLite, 2 workers");
    killed_at_random(&mut row, &Store::sqlite(), 2, times(8, 500));
}

#[test]
fn f01_killed_at_random_mongodb_1_worker() {
    let mut row = Row::begin("F01", "kill -9 at random, MongoDB, 1 worker");
    killed_at_random(&mut row, &Store::mongodb("kills"), 1, times(8, 500));
}

#[test]
fn f01_killed_at_random_mongodb_2_workers() {
    let mut row = Row::begin("F01", "kill -9 at random, MongoDB, 2 workers");
    killed_at_random(&mut row, &Store::mongodb("kills"), 2, times(8, 500));
}

/// Kills a run within the first half second, again and again before anything can be finished.
fn killed_while_recovering(row: &mut Row, store: &Store, rounds: u32) {
    let topics = Topics::named("nested");
    let log = Log::of(&topics.prefix);
    let history = Hostile { seed: row.dice.below(1 << 30), count: 1_500 };
    let mut watermark = Watermark::default();
    let mut sent = topics.send(history, 0.0, 0.5);
    store.catch_up(&log, "--workers 2");
    for round in 0..rounds {
        let part = |round: u32| 0.5 + 0.5 * f64::from(round) / f64::from(rounds);
        sent += topics.send(history, part(round), part(round + 1));
        watermark.look(store);
        let depth = 1 + row.dice.below(5);
        for _ in 0..depth {
            let workers = 1 + row.dice.below(3);
            let run = store.run(&log, &format!("--workers {workers} --tick-ms 10")).start();
            std::thread::sleep(row.dice.millis(0, 500));
            let ended = run.end("KILL", SOON);
            assert_eq!(ended.code, None, "{ended:?}");
            watermark.look(store);
            row.count("kills", 1);
        }
        store.assert_exact(&log, "");
        let fence = watermark.fence();
        store.catch_up(&log, "--workers 2");
        watermark.look(store);
        assert!(watermark.fence() > fence, "the fence stayed at {fence}");
        store.assert_exact(&log, "--complete");
    }
    assert_eq!(store.counted(), sent);
}

#[test]
fn f03_killed_while_recovering_sqlite() {
    let mut row = Row::begin("F03", "kill -9 during recovery, up to 5 deep, SQLite");
    killed_while_recovering(&mut row, &Store::sqlite(), times(3, 50));
}

#[test]
fn f03_killed_while_recovering_mongodb() {
    let mut row = Row::begin("F03", "kill -9 during recovery, up to 5 deep, MongoDB");
    killed_while_recovering(&mut row, &Store::mongodb("nested"), times(3, 50));
}
