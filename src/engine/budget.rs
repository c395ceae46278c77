//! How many records a tick has at most.
//!
//! A tick is never split, so what it changes is in one commit however many documents that are, and a store that takes long
//! for it holds up everything. How many rows a record changes depends on the data: a thousand products are a few rows each
//! tick, a million users are several for each record. So it is learned from the ticks that leave the graph.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Records of a worker's tick, at most: a backfill is not to be one giant commit, and what is read waits in memory until
/// its tick is complete.
pub(super) const MOST: usize = 100_000;

/// And at least, whatever they change: ticks have a cost of their own.
const FEWEST: usize = 250;

/// As long as nothing is known.
const FIRST: usize = 12_500;

/// Row changes of a tick, of all workers, that are not worth a smaller one. A document that changes is two of them.
const ROWS: usize = 40_000;

/// The bound for the ticks of this process's workers.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Default for Budget {
    fn default() -> Budget {
        Budget(AtomicUsize::new(FIRST))
    }
}

impl Budget {
    /// Records of a tick of one worker.
    pub(super) fn records(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// What process 0 has learned.
    pub(super) fn set(&self, records: usize) {
        self.0.store(records.clamp(FEWEST, MOST), Ordering::Relaxed);
    }

    /// Learns from a tick in which all `workers` together have read `records` and changed `rows`.
    pub(super) fn learn(&self, records: usize, rows: usize, workers: usize) {
        let (now, share) = (self.records(), records / workers.max(1));
        if rows > ROWS {
            // In proportion; windows that become final change rows that nothing was read for.
            let fitting = usize::try_from(share as u128 * ROWS as u128 / rows as u128).unwrap_or(MOST);
            self.set(fitting.min(now));
        } else if rows < ROWS / 2 && share >= now / 2 {
            self.set(now * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_grow_while_they_change_little() {
        let budget = Budget::default();
        for _ in 0..5 {
            budget.learn(2 * budget.records(), ROWS / 4, 2);
        }
        assert_eq!(budget.records(), MOST);
        // Quiet hours say nothing of a backlog.
        let budget = Budget::default();
        budget.learn(100, 800, 2);
        assert_eq!(budget.records(), FIRST);
    }

    #[test]
    fn ticks_shrink_to_what_a_commit_may_change() {
        let budget = Budget::default();
        // Six row changes a record.
        budget.learn(2 * FIRST, 12 * FIRST, 2);
        assert_eq!(budget.records(), FIRST * ROWS / (12 * FIRST));
        let fitting = budget.records();
        // Ticks that were on their way.
        budget.learn(2 * FIRST, 12 * FIRST, 2);
        assert_eq!(budget.records(), fitting);
        budget.learn(2 * fitting, 12 * fitting, 2);
        assert_eq!(budget.records(), fitting, "and stay there");
        // A day's windows become final.
        budget.learn(10, 1_000_000, 2);
        assert_eq!(budget.records(), FEWEST);
        budget.learn(2 * FEWEST, 12 * FEWEST, 2);
        assert_eq!(budget.records(), 2 * FEWEST);
    }
}
