//! F04: two instances want the same store. The newer one has it; the older one ends with 5 and changes nothing.

use std::time::{Duration, Instant};

use crate::row::{Row, times};
use crate::support::program::{Running, Tillflow};
use crate::support::world::{Hostile, Topics};
use crate::support::{SOON, wait_for};
use crate::world::{Log, Store};

/// How soon the older one has to be gone once it can act.
const GONE: Duration = Duration::from_secs(5);

fn fenced(older: Running, since: Instant) {
    let ended = older.wait(2 * GONE);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let last = ended.last_line();
    assert!(last.starts_with("error: fenced: "), "{last}");
    assert!(since.elapsed() < GONE, "gone after {:?}", since.elapsed());
}

fn wait_for_fence(store: &Store, newer: &mut Running, above: i64) {
    wait_for(SOON, "a higher fence", || {
        assert!(newer.is_running(), "{}", newer.stderr());
        store.progress().filter(|progress| progress.fence > above)
    });
}

/// The older one is stopped while records come in, sleeps while a newer one takes over, and wakes.
fn woken(row: &mut Row, store: &Store) {
    let topics = Topics::named("woken");
    let log = Log::of(&topics.prefix);
    let history = Hostile { seed: row.dice.below(1 << 30), count: 900 };
    let mut sent = topics.send(history, 0.0, 0.3);
    let mut older = store.run(&log, "--workers 2 --tick-ms 5").start();
    store.wait_for_more(&mut older, 0);
    let sending = topics.start_sending(Hostile { seed: row.dice.below(1 << 30), count: 400 }, 400);
    std::thread::sleep(row.dice.millis(0, 600));
    older.signal("STOP");
    let fence = store.progress().expect("progress").fence;
    let mut newer = store.run(&log, "--workers 1").start();
    wait_for_fence(store, &mut newer, fence);
    sent += sending.finish() + topics.send(history, 0.3, 0.6);
    store.wait_for_all(&mut newer, sent);
    std::thread::sleep(row.dice.millis(0, u64::from(times(500, 20_000))));
    let before = store.results();
    let woken = Instant::now();
    older.signal("CONT");
    // It reads what it slept through, and has something to commit.
    fenced(older, woken);
    store.assert_unchanged(&before, "the older instance, woken,");
    assert!(newer.is_running(), "{}", newer.stderr());
    sent += topics.send(history, 0.6, 1.0);
    store.wait_for_all(&mut newer, sent);
    assert_eq!(newer.end("TERM", SOON).code, Some(0));
    store.assert_exact(&log, "--complete");
    row.count("takeovers", 1);
}

#[test]
fn f04_the_older_one_sleeps_sqlite() {
    let mut row = Row::begin("F04", "older instance stopped, newer takes over, older continued, SQLite");
    for _ in 0..times(2, 60) {
        // Stopped within a transaction it would hold the file's lock, and the newer one would wait for it: then that is
        // what has to happen, but no takeover. So it is stopped between its commits.
        stopped_at(&mut row, &Store::sqlite(), "commit.ready");
    }
}

#[test]
fn f04_the_older_one_sleeps_mongodb() {
    let mut row = Row::begin("F04", "older instance stopped, newer takes over, older continued, MongoDB");
    for _ in 0..times(2, 60) {
        woken(&mut row, &Store::mongodb("woken"));
    }
}

/// The older one stops itself at a point of a commit; the newer one finishes everything; the older one goes on.
pub fn stopped_at(row: &mut Row, store: &Store, point: &str) {
    let hit = 3 + row.dice.below(6);
    stopped_at_hit(row, store, point, hit);
}

/// As [`stopped_at`], when it comes to the point for the `hit`th time.
fn stopped_at_hit(row: &mut Row, store: &Store, point: &str, hit: u64) {
    let topics = if store.guarded { Topics::init("stopped", 3) } else { Topics::named("stopped") };
    let log = Log::of(&topics.prefix);
    let mut sent = if store.guarded { shop(row, &topics, 200) } else { hostile(row, &topics, 150) };
    let limits = store.small_commits();
    let older = store.run(&log, "--workers 1 --tick-ms 1").env("TILLFLOW_LIMITS", &limits);
    let mut older = older.env("TILLFLOW_STOP_AT", &format!("{point}:{hit}")).start();
    older.wait_for_line("stopped at ");
    let fence = store.progress().map_or(0, |progress| progress.fence);
    let mut newer = store.run(&log, "--workers 2 --tick-ms 5").start();
    wait_for(SOON, "the newer one's commits", || {
        assert!(newer.is_running(), "{}", newer.stderr());
        store.progress().filter(|progress| progress.fence > fence)
    });
    sent += if store.guarded { shop(row, &topics, 50) } else { hostile(row, &topics, 50) };
    store.wait_for_all(&mut newer, sent);
    let before = store.results();
    let woken = Instant::now();
    older.signal("CONT");
    fenced(older, woken);
    store.assert_unchanged(&before, &format!("the older instance, stopped at {point},"));
    assert_eq!(newer.end("TERM", SOON).code, Some(0));
    store.assert_exact(&log, "--complete");
    row.count("takeovers", 1);
}

fn hostile(row: &mut Row, topics: &Topics, count: u32) -> i64 {
    topics.send(Hostile { seed: row.dice.below(1 << 30), count }, 0.0, 1.0)
}

/// Records that take nothing back, and so delete no document: a paused older instance of a standalone server may leave an
/// outdated document where the newer one has none, until the next start, and says so.
fn shop(row: &mut Row, topics: &Topics, count: u32) -> i64 {
    let seed = row.dice.below(1 << 30).to_string();
    let flags = ["generate", "--seed", &seed, "--rate", "0", "--count", &count.to_string()].map(String::from);
    let none = ["--corrections", "0", "--cancellations", "0", "--late", "0"].map(String::from);
    Tillflow::new(flags).flags(none).flags(topics.flags()).succeed(SOON);
    i64::from(count)
}

#[test]
fn f04_stopped_at_every_step_of_a_transaction() {
    let mut row = Row::begin("F04", "older instance stopped at a step of a transaction, newer takes over");
    let steps =
        ["commit.ready", "transaction.begun", "transaction.advanced", "transaction.written", "transaction.ready"];
    for _ in 0..times(1, 20) {
        for point in steps {
            stopped_at(&mut row, &Store::mongodb("stopped"), point);
        }
    }
}

#[test]
fn f04_stopped_at_every_step_of_guarded_writes() {
    let mut row = Row::begin("F04", "older instance stopped at a step of guarded writes, newer takes over");
    for _ in 0..times(1, 20) {
        for point in ["commit.ready", "guarded.looked", "guarded.written", "guarded.ready"] {
            stopped_at(&mut row, &Store::guarded("stopped"), point);
        }
    }
}

#[test]
fn f04_stopped_before_it_takes_back_what_was_cut_off() {
    let mut row = Row::begin("F04", "older instance stopped when it has a standalone server's fence, newer takes over");
    for _ in 0..times(1, 20) {
        stopped_at_hit(&mut row, &Store::guarded("took"), "mongodb.fence", 1);
    }
}

/// The newer one sleeps as soon as it has the fence: the older one has to end all the same.
pub fn newer_sleeps(row: &mut Row, store: &Store) {
    let topics = Topics::named("sleeps");
    let log = Log::of(&topics.prefix);
    let mut sent = hostile(row, &topics, 100);
    let mut older = store.run(&log, "--workers 1").start();
    store.wait_for_all(&mut older, sent);
    let mut newer = store.run(&log, "--workers 1").env("TILLFLOW_STOP_AT", "start.fenced:1").start();
    newer.wait_for_line("stopped at ");
    sent += hostile(row, &topics, 60);
    let begun = Instant::now();
    fenced(older, begun);
    newer.signal("CONT");
    store.wait_for_all(&mut newer, sent);
    assert_eq!(newer.end("TERM", SOON).code, Some(0));
    store.assert_exact(&log, "--complete");
    row.count("takeovers", 1);
}

#[test]
fn f04_the_newer_one_sleeps() {
    let mut row = Row::begin("F04", "newer instance stopped as soon as it has the fence");
    for _ in 0..times(1, 20) {
        newer_sleeps(&mut row, &Store::sqlite());
        newer_sleeps(&mut row, &Store::mongodb("sleeps"));
    }
}
