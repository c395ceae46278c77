//! A run that ends, in whatever way, is continued by the next as if it had never ended.

use std::time::Duration;

use crate::support::oracle::{Documents, assert_equal, documents, integer};
use crate::support::program::Running;
use crate::support::world::{Hostile, Store, Topics, counted};
use crate::support::{SOON, wait_for};

/// How long a stop may take, with room for a machine that is busy with other tests.
const STOP: Duration = Duration::from_secs(10);

/// Views and live documents, without the account that the pipeline keeps of itself.
fn results(documents: &Documents) -> impl Iterator<Item = (&(String, String), &serde_json::Value)> {
    documents.iter().filter(|((collection, _), _)| collection != "pipeline_state")
}

fn in_two_halves(store: &Store, name: &str, count: u32) {
    let topics = Topics::named(name);
    let history = Hostile { seed: 21, count };
    let first = topics.send(history, 0.0, 0.5);
    store.catch_up(&topics, "--workers 1");
    assert_equal(&topics, store, "--complete");
    let (half, before) = (store.progress().expect("progress"), documents(store));

    // Nothing new: nothing is written.
    store.catch_up(&topics, "--workers 2");
    let again = store.progress().expect("progress");
    assert_eq!((again.epoch, again.as_of, &again.offsets), (half.epoch, half.as_of, &half.offsets));
    assert!(again.fence > half.fence);
    let idle = documents(store);
    assert!(results(&before).eq(results(&idle)), "a run without new records changed documents");

    let second = topics.send(history, 0.5, 1.0);
    store.catch_up(&topics, "--workers 2");
    assert_equal(&topics, store, "--complete");
    let (all, after) = (store.progress().expect("progress"), documents(store));
    assert!(all.epoch > half.epoch);
    assert_eq!((counted(&half), counted(&all)), (first, first + second));
    let last = i64::try_from(half.epoch).expect("an epoch");
    for ((collection, id), document) in results(&after) {
        let known = before.get(&(collection.clone(), id.clone()));
        let kept = match collection.as_str() {
            // No epoch says when these were written: they never change.
            "raw_data" => known.is_some(),
            "dead_letters" => integer(document, "epoch") <= last,
            _ => integer(document, "epoch") <= last,
        };
        assert!(!kept || known == Some(document), "{collection} {id}: was {known:?}, is {document}");
        let is_new = collection == "raw_data" || integer(document, "epoch") > last;
        assert!(is_new || known.is_some(), "{collection} {id} came with an epoch that was over: {document}");
    }
    for (key, document) in results(&before).filter(|((collection, _), _)| collection == "dead_letters") {
        assert_eq!(after.get(key), Some(document), "{key:?}");
    }
}

#[test]
fn a_second_run_goes_on_in_mongodb() {
    in_two_halves(&Store::mongodb("halves"), "halves-m", 2_000);
}

#[test]
fn a_second_run_goes_on_in_sqlite() {
    in_two_halves(&Store::sqlite(), "halves-s", 5_000);
}

/// Waits until a run has committed more than `before` records.
fn wait_for_commits(store: &Store, run: &mut Running, before: i64) {
    wait_for(SOON, "more commits", || {
        assert!(run.is_running(), "the run ended by itself: {}", run.stderr());
        store.progress().filter(|progress| counted(progress) > before)
    });
}

/// Interrupts runs again and again while records come in, lets the last one finish, and compares.
fn interrupted(store: &Store, name: &str, history: Hostile, rate: u32, flags: &[&str], signal: &str) {
    let topics = Topics::named(name);
    // The topics have to be there, and something in them.
    let first = topics.send(Hostile { seed: 1, count: 60 }, 0.0, 1.0);
    let mut sending = topics.start_sending(history, rate);
    let (mut seen, mut epoch, mut interrupted) = (0, 0, 0);
    for (turn, flags) in flags.iter().cycle().take(2 * flags.len()).enumerate() {
        // Without a checkpoint everything is read again.
        if turn % 3 == 2 {
            store.forget_state();
        }
        let mut run = store.run(&topics, flags).start();
        wait_for_commits(store, &mut run, seen);
        let under_load = !sending.is_over();
        let ended = run.end(signal, STOP);
        match signal {
            "KILL" => assert_eq!(ended.code, None, "{ended:?}"),
            _ => assert_eq!(ended.code, Some(0), "{ended:?}"),
        }
        let progress = store.progress().expect("progress");
        assert!(progress.epoch > epoch, "epoch {} after {epoch}", progress.epoch);
        epoch = progress.epoch;
        seen = counted(&progress);
        if !under_load {
            break;
        }
        interrupted += 1;
    }
    assert!(interrupted >= 2, "the machine is too slow for this test: all was sent before two interruptions");
    // What it left is exact up to its offsets, whatever moment it was.
    assert_equal(&topics, store, "");
    let rest = sending.finish();
    store.catch_up(&topics, "--workers 2");
    let progress = store.progress().expect("progress");
    assert_eq!(counted(&progress), first + rest);
    assert!(progress.epoch >= epoch);
    assert_equal(&topics, store, "--complete");
}

/// Ticks that are shorter than what they do, and one that never ends before the signal.
const FLAGS: [&str; 3] = ["--workers 2", "--workers 3 --tick-ms 1", "--workers 1 --tick-ms 500"];

#[test]
fn stopped_again_and_again_with_sqlite() {
    interrupted(&Store::sqlite(), "stops-s", Hostile { seed: 22, count: 6_000 }, 500, &FLAGS, "TERM");
}

#[test]
fn stopped_again_and_again_with_mongodb() {
    interrupted(&Store::mongodb("stops"), "stops-m", Hostile { seed: 23, count: 2_400 }, 120, &FLAGS[..2], "TERM");
}

#[test]
fn killed_again_and_again_with_sqlite() {
    interrupted(&Store::sqlite(), "kills-s", Hostile { seed: 24, count: 6_000 }, 500, &FLAGS, "KILL");
}

#[test]
fn killed_again_and_again_with_mongodb() {
    interrupted(&Store::mongodb("kills"), "kills-m", Hostile { seed: 25, count: 2_400 }, 120, &FLAGS[..2], "KILL");
}

/// A newer instance takes the store over; the older one ends with 5 and spoils nothing.
fn fenced(store: &Store, name: &str) {
    let topics = Topics::init(name, 3);
    topics.generate(26, 200);
    let mut first = store.run(&topics, "--workers 2").start();
    wait_for_commits(store, &mut first, 0);
    let fence = store.progress().expect("progress").fence;
    let mut second = store.run(&topics, "--workers 1").start();
    wait_for(SOON, "a higher fence", || store.progress().filter(|progress| progress.fence > fence));
    // Only a commit can find out, and only records make one.
    let mut generating = topics.generate_command(27).flags(["--rate", "100", "--count", "1000"]).start();
    let first = first.wait(SOON);
    assert_eq!(first.code, Some(5), "{first:?}");
    let last = first.last_line();
    assert!(last.starts_with("error: fenced: "), "{last}");
    assert!(generating.is_running(), "the older instance noticed only when nothing came any more");
    assert_eq!(generating.wait(SOON).code, Some(0));
    let all = |run: &mut Running| {
        assert!(run.is_running(), "{}", run.stderr());
        store.progress().filter(|progress| counted(progress) == 1_200)
    };
    wait_for(SOON, "everything committed by the newer instance", || all(&mut second));
    let ended = second.end("TERM", STOP);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_equal(&topics, store, "--complete");
}

#[test]
fn a_newer_instance_fences_the_older_in_mongodb() {
    fenced(&Store::mongodb("fence"), "fence-m");
}

#[test]
fn a_newer_instance_fences_the_older_in_sqlite() {
    fenced(&Store::sqlite(), "fence-s");
}

#[test]
fn one_signal_stops_and_a_second_ends_at_once() {
    let topics = Topics::init("signals", 3);
    topics.generate(28, 1_000);
    for signal in ["INT", "TERM"] {
        let store = Store::sqlite();
        let mut run = store.run_with_pages(&topics, "--listen 127.0.0.1:0").start();
        wait_for_commits(&store, &mut run, 999);
        let ended = run.end(signal, STOP);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.took < STOP, "{:?}", ended.took);
        assert_equal(&topics, &store, "--complete");
    }
    let store = Store::sqlite();
    let mut run = store.run(&topics, "").start();
    wait_for_commits(&store, &mut run, 999);
    // Both are there before the program can look at either.
    run.signal("STOP");
    run.signal("INT");
    run.signal("TERM");
    let ended = run.end("CONT", STOP);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    store.catch_up(&topics, "");
    assert_equal(&topics, &store, "--complete");
}

#[test]
fn generate_stops_at_a_signal() {
    let topics = Topics::init("generating", 3);
    let mut generating = topics.generate_command(29).flags(["--rate", "200"]).start();
    let store = Store::sqlite();
    let mut run = store.run(&topics, "").start();
    wait_for_commits(&store, &mut run, 100);
    assert!(generating.is_running());
    let ended = generating.end("INT", STOP);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // An end that never comes: everything present at the start is enough.
    let mut generating = topics.generate_command(30).flags(["--rate", "3000"]).start();
    let ended = run.end("INT", STOP);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    store.catch_up(&topics, "");
    assert!(generating.is_running());
    assert_eq!(generating.end("TERM", STOP).code, Some(0));
    assert_equal(&topics, &store, "");
}
