//! How the workers of a process keep pace with each other. A tick is complete when the last worker has closed it: what one
//! reads ahead of the others waits in memory, and what one holds open keeps the others waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tillflow_dataflows::records::Millis;
use tillflow_dataflows::time::Tick;

/// Ticks that may be in the graph before a worker stops reading.
const TICKS_IN_GRAPH: u64 = 3;

/// With short ticks more may be in the graph: what passes in this time, or a busy machine would only ever count ticks.
const GRAPH_MAY_TAKE: Duration = Duration::from_millis(300);

/// How many ticks of this length may be in the graph before a worker stops reading.
pub(super) fn ticks_in_graph(tick: Duration) -> u64 {
    let short = GRAPH_MAY_TAKE.as_millis() / tick.as_millis().max(1);
    TICKS_IN_GRAPH.max(u64::try_from(short).unwrap_or(u64::MAX))
}

/// The ticks of one process's workers.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// The newest that a worker has opened, and when it ends.
    newest: Mutex<Option<(Tick, Instant)>>,
}

impl Ticks {
    fn newest(&self) -> MutexGuard<'_, Option<(Tick, Instant)>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tick of at least `least` that a worker opens at `clock`, and when it ends. Ticks have the number of the clock, in
    /// units of `length`; whoever opens one first says how long it is `lasting`. Workers open the same ones at the same time:
    /// one that is behind those that read beside it goes where they are, or what they read would wait for it ever after.
    pub(super) fn next(&self, least: Tick, clock: Millis, length: Duration, lasting: Duration) -> (Tick, Instant) {
        let mut newest = self.newest();
        match *newest {
            Some((tick, ends)) if tick >= least => (tick, ends),
            _ => {
                let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
                let tick = u64::try_from(clock).unwrap_or(0) / millis;
                *newest.insert((tick.max(least), Instant::now() + lasting))
            }
        }
    }

    /// Whether others are past the tick after `tick`, so that a worker that has nothing for it only holds them up. One tick
    /// is no reason: the others may have opened it a moment ago.
    pub(super) fn have_gone_on(&self, tick: Tick) -> bool {
        self.newest().is_some_and(|(newest, _)| newest > tick + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_millis(100);

    #[test]
    fn workers_open_the_same_ticks() {
        let ticks = Ticks::default();
        let first = ticks.next(0, 1_000, LENGTH, LENGTH);
        assert_eq!(first.0, 10);
        // The other one opens it a moment later, and it ends when it would have.
        assert_eq!(ticks.next(0, 1_050, LENGTH, LENGTH), first);
        // Who was quick goes ahead of the clock, and the other one follows, however far.
        let ahead = (11..15).map(|least| ticks.next(least, 1_060, LENGTH, LENGTH)).last().expect("a tick");
        assert_eq!(ahead.0, 14);
        assert_eq!(ticks.next(11, 1_070, LENGTH, LENGTH), ahead);
        // One that lasts longer does so for all.
        let long = ticks.next(15, 1_080, LENGTH, 10 * LENGTH);
        assert!(long.0 == 15 && long.1 > ahead.1 + 8 * LENGTH);
        assert_eq!(ticks.next(15, 1_090, LENGTH, LENGTH), long);
    }

    #[test]
    fn who_reads_nothing_lets_the_others_go_on() {
        let ticks = Ticks::default();
        assert!(!ticks.have_gone_on(0));
        ticks.next(0, 1_000, LENGTH, LENGTH);
        ticks.next(11, 1_000, LENGTH, LENGTH);
        assert!(!ticks.have_gone_on(10));
        ticks.next(12, 1_000, LENGTH, LENGTH);
        assert!(ticks.have_gone_on(10));
        assert!(!ticks.have_gone_on(11));
    }
}
