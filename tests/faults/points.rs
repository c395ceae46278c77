//! F02: the process ends at every crash point, at its first, second and seventh passing, with each kind of store.

use tillflow::fault::{POINTS, Part};

use crate::files::Files;
use crate::row::{Row, times};
use crate::support::SOON;
use crate::world::{Store, Watermark};

/// Crashes at the `hit`th passing of `point`, which has to be reached, and looks at what is left.
pub fn crash_at(files: &Files, store: &Store, point: &str, hit: u32, workers: u32) {
    // Several workers need more than a moment to agree that a tick is over.
    let tick = if workers == 1 { 1 } else { 10 };
    let run = store.run_files(files.folder(), &format!("--workers {workers} --tick-ms {tick} --until-caught-up"));
    let run = run.env("TILLFLOW_LIMITS", &store.small_commits());
    let ended = run.env("TILLFLOW_CRASH_AT", &format!("{point}:{hit}")).run(SOON);
    assert_eq!(ended.code, Some(137), "{point}:{hit} was not reached: {ended:?}");
    if !store.guarded {
        store.assert_exact_files(files.folder(), "");
    }
}

pub fn finish(files: &Files, store: &Store) {
    let run = store.run_files(files.folder(), "--workers 2 --tick-ms 5 --until-caught-up");
    run.succeed(SOON);
    store.assert_exact_files(files.folder(), "--complete");
}

fn every_point(row: &mut Row, store: impl Fn() -> Store, parts: &[Part]) {
    let cases: Vec<(&str, u32)> = POINTS
        .iter()
        .filter(|(part, _, _)| parts.contains(part))
        .flat_map(|(_, point, often)| {
            let hits: &[u32] = if *often { &[1, 2, 7] } else { &[1] };
            hits.iter().map(move |hit| (*point, *hit))
        })
        .collect();
    for _ in 0..times(1, 3) {
        let store = store();
        let mut files = Files::hostile(row.dice.below(1 << 30), 120 * cases.len() as u32);
        let mut watermark = Watermark::default();
        files.grow(40);
        for (number, (point, hit)) in cases.iter().enumerate() {
            // Nothing is left from the case before where each is finished.
            files.grow(if store.guarded { 40 } else { 20 });
            crash_at(&files, &store, point, *hit, 1);
            watermark.look(&store);
            row.count("crashes", 1);
            // A commit of guarded writes is whole again when its records have been read again.
            if store.guarded || number % 10 == 9 {
                finish(&files, &store);
            }
        }
        finish(&files, &store);
        watermark.look(&store);
    }
    row.count("points", POINTS.iter().filter(|(part, _, _)| parts.contains(part)).count() as u64);
}

#[test]
fn f02_every_point_sqlite() {
    let mut row = Row::begin("F02", "crash at every point, hits 1, 2, 7, SQLite");
    every_point(&mut row, Store::sqlite, &[Part::Engine, Part::Sqlite, Part::Rebuild]);
}

#[test]
fn f02_every_point_transactions() {
    let mut row = Row::begin("F02", "crash at every point, hits 1, 2, 7, MongoDB with transactions");
    let parts = [Part::Engine, Part::Mongodb, Part::Transactions, Part::Rebuild];
    every_point(&mut row, || Store::mongodb("points"), &parts);
}

#[test]
fn f02_every_point_guarded_writes() {
    let mut row = Row::begin("F02", "crash at every point, hits 1, 2, 7, MongoDB with guarded writes");
    every_point(&mut row, || Store::guarded("points"), &[Part::Engine, Part::Mongodb, Part::Guarded, Part::Rebuild]);
}
