//! Teeth: for each guard that the program can be made to do without, the row that has to notice.
//!
//! Each scenario is run twice: as the program is, when it has to pass, and as the mutant, when it has to fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use crate::files::Files;
use crate::points::Crash;
use crate::row::Row;
use crate::world::{Place, Store};
use crate::{broker, owners, points, sink};

static CURRENT: Mutex<Option<String>> = Mutex::new(None);

/// The mutant that every run is to be, if any.
pub fn current() -> Option<String> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set(mutant: Option<&str>) {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = mutant.map(str::to_owned);
}

/// Passes without the mutant, and fails with it.
fn caught(row: &mut Row, mutant: &str, scenario: impl Fn(&mut Row)) {
    scenario(row);
    set(Some(mutant));
    let failed = catch_unwind(AssertUnwindSafe(|| scenario(row)));
    set(None);
    let Err(panic) = failed else { panic!("nobody noticed the mutant {mutant}") };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    // A scenario that broke for want of a service has noticed nothing.
    let by = text.lines().next().unwrap_or_default().chars().take(160).collect::<String>();
    let compared = !text.contains("oracle/compare.py") || text.contains("exit status: 1");
    let a_script_failed = text.contains("services.sh") || text.contains("send.py") || text.contains("hostile.py");
    assert!(compared && !a_script_failed && !text.is_empty(), "{mutant} was not the reason: {text}");
    eprintln!("caught {mutant}: {by}");
    row.count("mutants caught", 1);
}

/// F02 with one point.
fn crash(row: &mut Row, mut store: Store, point: &'static str) {
    let mut files = Files::hostile(row.dice.below(1 << 30), 400);
    files.grow(60);
    points::crash_at(&files, &mut store, Crash { point, hit: 4, workers: 1 });
    points::finish(&files, &store);
}

/// F01 in small: a run, a kill at the first commit of its continuation, a comparison, and the rest. Each start reads
/// everything again, as if its checkpoints were lost.
fn continued(row: &mut Row, mut store: Store, workers: u32) {
    let mut files = Files::hostile(row.dice.below(1 << 30), 1_500);
    files.grow(200);
    points::finish(&files, &store);
    files.grow(100);
    store.forget_state();
    points::crash_at(&files, &mut store, Crash { point: "commit.stored", hit: 1, workers });
    files.grow(100);
    store.forget_state();
    points::finish(&files, &store);
    // What is remembered beside the records is not in the oracle: a start without new ones changes nothing of it.
    let before = store.results();
    store.forget_state();
    points::finish(&files, &store);
    store.assert_unchanged(&before, "a start without new records");
}

/// A run, and another one that goes on from its checkpoint.
fn restored(row: &mut Row, store: &Store) {
    let mut files = Files::hostile(row.dice.below(1 << 30), 600);
    files.grow(200);
    points::finish(&files, store);
    files.grow(100);
    points::finish(&files, store);
}

/// A run, another hand that changes, adds and removes documents, and the next run, which has nothing to read.
fn meddled_with(row: &mut Row, store: &Store) {
    let Place::Sqlite { file, .. } = &store.place else { panic!("a file is easy to change") };
    let mut files = Files::hostile(row.dice.below(1 << 30), 300);
    files.grow(100);
    points::finish(&files, store);
    let connection = rusqlite::Connection::open(file).expect("a database");
    for change in [
        "UPDATE aggregated_data SET revenue = '7.00' WHERE _id IN (SELECT _id FROM aggregated_data WHERE type = \
         'sales_total' LIMIT 1)",
        "UPDATE aggregated_data SET _id = _id || '|x' WHERE _id IN (SELECT _id FROM aggregated_data WHERE type = \
         'activity_by_type' LIMIT 1)",
    ] {
        assert_eq!(connection.execute(change, []).expect("a change"), 1, "{change}");
    }
    drop(connection);
    points::finish(&files, store);
}

#[test]
fn mutants_of_the_commit() {
    let mut row = Row::begin("Teeth", "mutants of the commit, caught by F02");
    let row = &mut row;
    caught(row, "progress_in_a_write_before", |row| crash(row, Store::sqlite(), "sqlite.advanced"));
    caught(row, "progress_in_a_write_before", |row| crash(row, Store::mongodb("mutant"), "transaction.advanced"));
    caught(row, "views_in_a_write_before", |row| crash(row, Store::sqlite(), "sqlite.begun"));
    caught(row, "raw_after_commit", |row| crash(row, Store::sqlite(), "commit.stored"));
    caught(row, "raw_after_commit", |row| crash(row, Store::mongodb("mutant"), "commit.stored"));
    caught(row, "a_record_is_dropped", |row| crash(row, Store::sqlite(), "commit.stored"));
}

#[test]
fn mutants_of_the_recovery() {
    let mut row = Row::begin("Teeth", "mutants of the recovery, caught by F01");
    let row = &mut row;
    caught(row, "rebuild_drops_a_record", |row| continued(row, Store::sqlite(), 1));
    caught(row, "gate_opens_early", |row| continued(row, Store::sqlite(), 3));
    caught(row, "alerts_are_forgotten", |row| continued(row, Store::sqlite(), 1));
    caught(row, "restore_drops_rollups", |row| restored(row, &Store::sqlite()));
    caught(row, "no_correction", |row| meddled_with(row, &Store::sqlite()));
}

#[test]
fn mutants_of_the_fence() {
    let mut row = Row::begin("Teeth", "mutants of the fence, caught by F04");
    let row = &mut row;
    for mutant in ["no_compare_and_set", "no_fence"] {
        caught(row, mutant, |row| owners::newer_sleeps(row, &Store::sqlite()));
        caught(row, mutant, |row| owners::newer_sleeps(row, &Store::mongodb("mutant")));
    }
    caught(row, "no_compare_and_set", |row| owners::stopped_at(row, &Store::sqlite(), "commit.ready"));
    caught(row, "no_guard", |row| owners::stopped_at(row, &Store::guarded("mutant"), "guarded.looked"));
}

#[test]
fn mutants_of_unknown_outcomes() {
    let mut row = Row::begin("Teeth", "mutants of unknown outcomes, caught by F14");
    let row = &mut row;
    for mutant in ["unknown_is_committed", "unknown_is_repeated_blindly"] {
        caught(row, mutant, |row| sink::answers_lost(row, 4));
    }
}

#[test]
fn mutants_of_the_source() {
    let mut row = Row::begin("Teeth", "mutants of the source, caught by F24 and F25");
    let row = &mut row;
    caught(row, "lost_offsets_are_skipped", broker::retention_while_running);
    caught(row, "no_fingerprint", |row| broker::created_anew(row, &Store::sqlite(), 30));
}
