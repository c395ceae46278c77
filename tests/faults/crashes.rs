//! F01, F03 and F05: processes are killed, at any time and while they recover from having been killed.

use std::time::{Duration, Instant};

use crate::row::{Row, times};
use crate::support::SOON;
use crate::support::cluster::assert_lost;
use crate::support::program::Running;
use crate::support::world::{Hostile, Topics};
use crate::world::{Log, Shape, Store, Watermark};

/// How soon the others have to be gone when a process of a cluster is killed.
const LOST: Duration = Duration::from_secs(5);

const ONE: Shape = Shape { processes: 1, workers: 1 };
const TWO_WORKERS: Shape = Shape { processes: 1, workers: 2 };
const TWO_PROCESSES: Shape = Shape { processes: 2, workers: 1 };

/// Kills one process, or all at once. The others have to end by themselves once they work as one.
fn kill(row: &mut Row, mut running: Vec<Running>) {
    let victim = row.dice.below(running.len() as u64) as usize;
    let all_at_once = row.dice.below(4) == 0;
    let work_as_one: Vec<bool> = running.iter().map(|run| run.stderr().contains(" processes are there")).collect();
    let killed = running.remove(victim);
    if all_at_once {
        running.iter().for_each(|run| run.signal("KILL"));
    }
    let since = Instant::now();
    let ended = killed.end("KILL", SOON);
    assert_eq!(ended.code, None, "{ended:?}");
    let others = (0..work_as_one.len()).filter(|other| *other != victim);
    for (other, run) in others.zip(running) {
        if all_at_once {
            run.wait(SOON);
        } else if work_as_one[other] {
            let ended = run.wait(LOST);
            // Of three, the second to notice may hear of the first one's end.
            assert_lost(&ended, " of the cluster ");
            row.at_most("longest life of an incomplete cluster, ms", since.elapsed().as_millis() as u64);
        } else {
            // It would wait for the other to come back, for a minute.
            run.end("KILL", SOON);
        }
    }
}

/// Kills runs at random times while records come in; every document is compared after each kill.
fn killed_at_random(row: &mut Row, store: &mut Store, shape: Shape, kills: u32) {
    let topics = Topics::named("kills");
    let log = Log::of(&topics.prefix);
    let first = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 100 }, 0.0, 1.0);
    let count = 400 + 100 * kills.min(20);
    let history = Hostile { seed: row.dice.below(1 << 30), count };
    let mut sending = Some(topics.start_sending(history, 60));
    let (mut watermark, mut rest) = (Watermark::default(), 0);
    for kill_number in 0..kills {
        if sending.as_mut().is_some_and(|sending| sending.is_over()) {
            rest += sending.take().map_or(0, |sending| sending.finish());
            let history = Hostile { seed: row.dice.below(1 << 30), count: 1_000 };
            sending = Some(topics.start_sending(history, 60));
        }
        let tick = [1, 20, 100, 300][row.dice.below(4) as usize];
        store.checkpoints = ["10ms", "200ms", "10s"][row.dice.below(3) as usize];
        if row.dice.below(5) == 0 {
            store.forget_state();
        }
        let before = store.counted();
        let mut running = store.start(&log, shape, &format!("--tick-ms {tick}"));
        if kill_number % 4 == 3 {
            // How long a restart takes until something new is committed.
            let took = store.wait_for_more(&mut running, before);
            row.at_most("longest restart to first commit, ms", took.as_millis() as u64);
            assert!(took < Duration::from_secs(20), "first new commit after {took:?}");
        } else {
            std::thread::sleep(row.dice.millis(100, if shape.processes == 1 { 1_200 } else { 2_000 }));
        }
        for run in &mut running {
            assert!(run.is_running(), "{}", run.stderr());
            row.count("starts from a checkpoint", u64::from(run.stderr().contains("going on from a checkpoint")));
        }
        kill(row, running);
        watermark.look(store);
        store.assert_exact(&log, "");
        row.count("kills", 1);
    }
    rest += sending.take().map_or(0, |sending| sending.finish());
    store.catch_up(&log, &format!("--workers {}", shape.workers));
    watermark.look(store);
    assert_eq!(store.counted(), first + rest);
    store.assert_exact(&log, "--complete");
    row.count("records", (first + rest) as u64);
}

#[test]
fn f01_killed_at_random_sqlite_1_worker() {
    let mut row = Row::begin("F01", "kill -9 at random, SQLite, 1 worker");
    killed_at_random(&mut row, &mut Store::sqlite(), ONE, times(8, 500));
}

#[test]
fn f01_killed_at_random_sqlite_2_workers() {
    let mut row = Row::begin("F01", "kill -9 at random, SQLite, 2 workers");
    killed_at_random(&mut row, &mut Store::sqlite(), TWO_WORKERS, times(8, 500));
}

#[test]
fn f01_killed_at_random_mongodb_1_worker() {
    let mut row = Row::begin("F01", "kill -9 at random, MongoDB, 1 worker");
    killed_at_random(&mut row, &mut Store::mongodb("kills"), ONE, times(8, 500));
}

#[test]
fn f01_killed_at_random_mongodb_2_workers() {
    let mut row = Row::begin("F01", "kill -9 at random, MongoDB, 2 workers");
    killed_at_random(&mut row, &mut Store::mongodb("kills"), TWO_WORKERS, times(8, 500));
}

#[test]
fn f05_process_of_a_cluster_killed_sqlite() {
    let mut row = Row::begin("F05", "kill -9 of one process of two, or of both, at random, SQLite");
    killed_at_random(&mut row, &mut Store::sqlite(), TWO_PROCESSES, times(8, 200));
}

#[test]
fn f05_process_of_a_cluster_killed_mongodb() {
    let mut row = Row::begin("F05", "kill -9 of one process of two, or of both, at random, MongoDB");
    killed_at_random(&mut row, &mut Store::mongodb("kills"), TWO_PROCESSES, times(8, 200));
}

#[test]
fn f05_process_of_a_greater_cluster_killed() {
    let mut row = Row::begin("F05", "kill -9 of processes of 2x2 and of 4x1, at random, SQLite");
    for shape in [Shape { processes: 2, workers: 2 }, Shape { processes: 4, workers: 1 }] {
        killed_at_random(&mut row, &mut Store::sqlite(), shape, times(3, 100));
    }
}

/// Kills a run within the first half second, again and again before anything can be finished.
fn killed_while_recovering(row: &mut Row, store: &mut Store, rounds: u32) {
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
            store.checkpoints = ["10ms", "200ms"][row.dice.below(2) as usize];
            if row.dice.below(3) == 0 {
                store.forget_state();
            }
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
    killed_while_recovering(&mut row, &mut Store::sqlite(), times(3, 50));
}

#[test]
fn f03_killed_while_recovering_mongodb() {
    let mut row = Row::begin("F03", "kill -9 during recovery, up to 5 deep, MongoDB");
    killed_while_recovering(&mut row, &mut Store::mongodb("nested"), times(3, 50));
}
