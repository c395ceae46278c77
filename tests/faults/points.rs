//! F02: the process ends at every crash point, at its first, second and seventh passing, with each kind of store.

use tillflow::fault::{POINTS, Part};

use crate::files::Files;
use crate::row::{Row, is_long, times};
use crate::support::SOON;
use crate::world::{Store, Watermark};

/// After so many crashes another store and history are taken, so that a comparison stays short.
const CRASHES_OF_A_STORE: usize = 12;

/// A place to crash at.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    pub point: &'static str,
    pub hit: u32,
    pub workers: u32,
}

/// Crashes at the `hit`th passing of a point, which has to be reached, and looks at what is left.
pub fn crash_at(files: &Files, store: &mut Store, crash: Crash) {
    let Crash { point, hit, workers } = crash;
    let part = POINTS.iter().find(|(_, name, _)| *name == point).map(|(part, ..)| *part).expect("a point");
    // Several workers need more than a moment to agree that a tick is over.
    let tick = if workers == 1 { 1 } else { 10 };
    let mut flags = format!("--workers {workers} --tick-ms {tick}");
    let mut limits = store.small_commits();
    store.checkpoints = "200ms";
    match part {
        Part::Checkpoint => {
            // As many checkpoints as are needed.
            limits.push_str(",checkpoint_share=1");
            store.checkpoints = "10ms";
        }
        Part::Rebuild => {
            // There has to be something to rebuild.
            catch_up(files, store);
            store.forget_state();
            flags.push_str(" --until-caught-up");
        }
        _ => flags.push_str(" --until-caught-up"),
    }
    let run = store.run_files(files.folder(), &flags).env("TILLFLOW_LIMITS", &limits);
    let ended = run.env("TILLFLOW_CRASH_AT", &format!("{point}:{hit}")).run(SOON);
    assert_eq!(ended.code, Some(137), "{crash:?} was not reached: {ended:?}");
    if !store.guarded {
        store.assert_exact_files(files.folder(), "");
    }
}

fn catch_up(files: &Files, store: &Store) {
    store.run_files(files.folder(), "--workers 2 --tick-ms 5 --until-caught-up").succeed(SOON);
}

pub fn finish(files: &Files, store: &Store) {
    catch_up(files, store);
    store.assert_exact_files(files.folder(), "--complete");
}

/// All points of these parts: in the long form at each of their passings, in the short one at one of them.
fn every_point(row: &mut Row, store: impl Fn() -> Store, parts: &[Part], workers: &[u32]) {
    for _ in 0..times(1, 3) {
        let mut crashes = Vec::new();
        for (_, point, often) in POINTS.iter().filter(|(part, ..)| parts.contains(part)) {
            let hits: &[u32] = if *often { &[1, 2, 7] } else { &[1] };
            let one = row.dice.below(hits.len() as u64) as usize;
            let hits = if is_long() { hits } else { &hits[one..=one] };
            for workers in workers {
                crashes.extend(hits.iter().map(|hit| Crash { point, hit: *hit, workers: *workers }));
            }
            row.count("points", 1);
        }
        for crashes in crashes.chunks(CRASHES_OF_A_STORE) {
            let mut store = store();
            let mut files = Files::hostile(row.dice.below(1 << 30), 100 + 120 * crashes.len() as u32);
            let mut watermark = Watermark::default();
            files.grow(12);
            for crash in crashes {
                // A tick takes one record of each of three partitions: as many as there have to be commits, and not many
                // more, because a write that is not in a transaction is slow.
                files.grow(if crash.hit > 2 { 27 } else { 12 });
                crash_at(&files, &mut store, *crash);
                watermark.look(&store);
                row.count("crashes", 1);
                // A commit of guarded writes is whole again when its records have been read again.
                if store.guarded {
                    finish(&files, &store);
                }
            }
            finish(&files, &store);
            watermark.look(&store);
        }
    }
}

const SQLITE: &[Part] = &[Part::Engine, Part::Sqlite, Part::Rebuild, Part::Checkpoint];
const TRANSACTIONS: &[Part] = &[Part::Engine, Part::Mongodb, Part::Transactions, Part::Rebuild, Part::Checkpoint];
const GUARDED: &[Part] = &[Part::Engine, Part::Mongodb, Part::Guarded, Part::Rebuild, Part::Checkpoint];

#[test]
fn f02_every_point_sqlite() {
    let mut row = Row::begin("F02", "crash at every point, SQLite, 1 and 2 workers");
    every_point(&mut row, Store::sqlite, SQLITE, &[1, 2]);
}

#[test]
fn f02_every_point_transactions() {
    let mut row = Row::begin("F02", "crash at every point, MongoDB with transactions, 2 workers");
    every_point(&mut row, || Store::mongodb("points"), TRANSACTIONS, &[2]);
}

#[test]
fn f02_every_point_guarded_writes() {
    let mut row = Row::begin("F02", "crash at every point, MongoDB with guarded writes, 1 worker");
    every_point(&mut row, || Store::guarded("points"), GUARDED, &[1]);
}

#[test]
fn f02_no_point_is_left_out() {
    for (part, point, _) in POINTS {
        let taken = [SQLITE, TRANSACTIONS, GUARDED].concat().contains(&part);
        // Nothing is written where a page is made or topics are watched; panics there are rows of F07.
        assert!(taken || matches!(part, Part::Pages | Part::Watch), "no row crashes at {point}");
    }
}
