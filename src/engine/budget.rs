//! How many records a tick has at most, and how many row changes a commit.
//!
//! A tick is never split, so what it changes is in one commit however many documents that are, and a store that takes long
//! for it holds up everything, a stop too. How many rows a record changes depends on the data: a thousand products are a
//! few rows each tick, a million users are several for each record. And what a store takes in a second differs a
//! hundredfold. Both are learned while running: the one from the ticks that leave the graph, the other from the commits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Records of a worker's tick, at most: a backfill is not to be one giant commit, and what is read waits in memory until
/// its tick is complete.
pub(super) const MOST_RECORDS: usize = 100_000;

/// With raw_data, which has to be written before the commit that makes it count: it is not to wait for many documents.
const MOST_RAW_RECORDS: usize = 20_000;

/// And at least, whatever they change: ticks have a cost of their own.
const FEWEST_RECORDS: usize = 100;

/// As long as nothing is known.
const FIRST_RECORDS: usize = 250;

/// Row changes of a tick of all workers, at most, as long as it has more than the fewest records: a tick is in one commit. A
/// document that changes is two of them; a dead letter is one, and one more for each quarter of a KiB.
pub(super) const MOST_ROWS: usize = 40_000;

/// Row changes of a commit of several ticks, at most: where many ticks change the same documents they are written once.
const MOST_MERGED_ROWS: usize = 4 * MOST_ROWS;

/// However slow the store is.
const FEWEST_ROWS: usize = 2_000;

/// As long as nothing is known.
const FIRST_ROWS: usize = 10_000;

/// How long a commit is to take at most, if it can be helped.
const COMMIT: Duration = Duration::from_secs(1);

/// Commits of fewer documents say nothing of how many a store takes.
const TELLING: usize = 500;

/// The bounds for this process's workers and, on process 0, for its committer.
#[derive(Debug)]
pub(super) struct Budget {
    /// Records of a tick, however few rows it changes.
    most_records: usize,
    records: AtomicUsize,
    rows: AtomicUsize,
    merged_rows: AtomicUsize,
    /// Documents and duration of the quickest commit.
    quickest: Mutex<Option<(usize, Duration)>>,
}

impl Budget {
    /// Of a run with raw_data, or without.
    pub(super) fn new(raw_data: bool) -> Budget {
        Budget {
            most_records: if raw_data { MOST_RAW_RECORDS } else { MOST_RECORDS },
            records: AtomicUsize::new(FIRST_RECORDS),
            rows: AtomicUsize::new(FIRST_ROWS),
            merged_rows: AtomicUsize::new(FIRST_ROWS),
            quickest: Mutex::new(None),
        }
    }

    /// Records of a tick of one worker.
    pub(super) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// What process 0 has learned.
    pub(super) fn set_records(&self, records: usize) {
        self.records.store(records.clamp(FEWEST_RECORDS, self.most_records), Ordering::Relaxed);
    }

    /// Row changes of a tick of all workers.
    pub(super) fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// Row changes of a commit of several ticks.
    pub(super) fn merged_rows(&self) -> usize {
        self.merged_rows.load(Ordering::Relaxed)
    }

    /// Learns from a tick in which all workers together have changed `rows`, and the one that read most has read `records`.
    pub(super) fn learn_of_tick(&self, records: usize, rows: usize) {
        let (now, most) = (self.records(), self.rows());
        if records < now / 2 {
            // Rows that nothing was read for, because windows become final or leave memory, say nothing of records, nor do
            // quiet hours.
            return;
        }
        if rows > most {
            self.set_records((records.saturating_mul(most) / rows).min(now));
        } else if rows < most / 2 {
            self.set_records(now * 2);
        }
    }

    /// Learns from a commit of so many documents, or of what counts as many.
    pub(super) fn learn_of_commit(&self, documents: usize, took: Duration) {
        let (few, alone) = {
            let mut quickest = self.quickest.lock().unwrap_or_else(PoisonError::into_inner);
            let least = quickest.filter(|(_, least)| *least <= took).unwrap_or((documents, took));
            *quickest = Some(least);
            // A server far away takes its time for a commit of nothing, too. Of one as large nothing can be told.
            Some(least).filter(|(few, _)| 2 * few <= documents).unwrap_or_default()
        };
        if documents < TELLING {
            return;
        }
        let each = (took - alone).as_secs_f64().max(0.001) / (documents - few) as f64;
        // Where that alone takes the time, the documents may take as long.
        let fitting = 2.0 * COMMIT.saturating_sub(alone).max(alone).as_secs_f64() / each;
        let learn = |rows: &AtomicUsize, most: usize| {
            let fitting = fitting.min(most as f64) as usize;
            // Less at once, because others are on their way; more by and by.
            let learned = fitting.min((rows.load(Ordering::Relaxed) + fitting) / 2);
            rows.store(learned.max(FEWEST_ROWS), Ordering::Relaxed);
        };
        learn(&self.rows, MOST_ROWS);
        learn(&self.merged_rows, MOST_MERGED_ROWS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Budget {
        let budget = Budget::new(false);
        for _ in 0..20 {
            budget.learn_of_commit(2_000, Duration::from_millis(20));
        }
        assert!(budget.rows() > MOST_ROWS - 10, "{}", budget.rows());
        assert!(budget.merged_rows() > MOST_MERGED_ROWS - 10, "{}", budget.merged_rows());
        budget
    }

    #[test]
    fn ticks_grow_while_they_change_little() {
        let budget = quick();
        for _ in 0..9 {
            budget.learn_of_tick(budget.records(), MOST_ROWS / 4);
        }
        assert_eq!(budget.records(), MOST_RECORDS);
        // Quiet hours say nothing of a backlog.
        let budget = quick();
        budget.learn_of_tick(100, 800);
        assert_eq!(budget.records(), FIRST_RECORDS);
    }

    #[test]
    fn ticks_with_raw_data_shrink_as_well() {
        let budget = Budget::new(true);
        for _ in 0..20 {
            budget.learn_of_commit(2_000, Duration::from_millis(20));
            budget.learn_of_tick(budget.records(), MOST_ROWS / 4);
        }
        assert_eq!(budget.records(), MOST_RAW_RECORDS);
        budget.learn_of_tick(MOST_RAW_RECORDS, 4 * MOST_ROWS);
        assert!(budget.records() <= MOST_RAW_RECORDS / 4, "{}", budget.records());
    }

    #[test]
    fn ticks_shrink_to_what_a_commit_may_change() {
        let budget = quick();
        budget.set_records(20_000);
        // Two workers, six row changes a record.
        budget.learn_of_tick(20_000, 240_000);
        let fitting = budget.records();
        assert_eq!(fitting, 20_000 * budget.rows() / 240_000);
        // Ticks that were on their way.
        budget.learn_of_tick(20_000, 240_000);
        assert_eq!(budget.records(), fitting);
        budget.learn_of_tick(fitting, 12 * fitting);
        assert_eq!(budget.records(), fitting, "and stay there");
        // A day's windows become final, or a checkpoint is restored.
        budget.learn_of_tick(10, 1_000_000);
        budget.learn_of_tick(0, 1_000_000);
        assert_eq!(budget.records(), fitting);
        budget.learn_of_tick(fitting, 3_000_000);
        assert_eq!(budget.records(), FEWEST_RECORDS);
        budget.learn_of_tick(FEWEST_RECORDS, 12 * FEWEST_RECORDS);
        assert_eq!(budget.records(), 2 * FEWEST_RECORDS);
    }

    #[test]
    fn commits_shrink_at_once_where_the_store_is_slow_and_grow_by_and_by() {
        let budget = quick();
        budget.learn_of_commit(TELLING - 1, Duration::from_secs(60));
        assert!(budget.rows() > MOST_ROWS - 10, "nothing is said");
        budget.learn_of_commit(20_000, Duration::from_secs(4));
        assert!((8_000..=10_000).contains(&budget.rows()), "{}", budget.rows());
        assert_eq!(budget.merged_rows(), budget.rows());
        budget.learn_of_commit(1_000, Duration::from_secs(60));
        assert_eq!(budget.rows(), FEWEST_ROWS);
        budget.learn_of_commit(2_000, Duration::from_millis(20));
        assert_eq!(budget.rows(), (FEWEST_ROWS + MOST_ROWS) / 2);
    }

    #[test]
    fn a_server_far_away_gets_more_at_once() {
        let budget = Budget::new(false);
        // Two seconds of a commit, whatever is in it, and 100 microseconds for a document.
        let takes = |documents: usize| Duration::from_secs(2) + Duration::from_micros(100) * documents as u32;
        budget.learn_of_commit(100, takes(100));
        for _ in 0..20 {
            let documents = budget.rows() / 2;
            budget.learn_of_commit(documents, takes(documents));
        }
        assert!((39_000..=MOST_ROWS).contains(&budget.rows()), "{}", budget.rows());
        // One that is slow at documents, and quick at nothing.
        let budget = Budget::new(false);
        let takes = |documents: usize| Duration::from_millis(50) + Duration::from_millis(1) * documents as u32;
        for documents in [1, 5_000, 1_000, 1_000] {
            budget.learn_of_commit(documents, takes(documents));
        }
        assert!((FEWEST_ROWS..2 * FEWEST_ROWS).contains(&budget.rows()), "{}", budget.rows());
    }
}
