//! When windows leave memory: once they are final and nothing that is live is made of them. Their documents stay.
//!
//! A partition that gives its first record afterwards must not change them. So this takes three steps:
//!
//! 1. The committer *offers* an instant, when the clocks it has committed allow it.
//! 2. Each worker *agrees*, in a note of a tick: whatever partition of its own begins from that tick on, what it gives of
//!    windows before the instant is late. A worker whose partitions may have begun without it knowing, because they are
//!    neither read nor known to be empty, does not agree yet.
//! 3. When the ticks of all these notes are committed, no partition is unknown any more. If the clocks still allow it, the
//!    committer *decides*: with a commit of its own the instant is in the store's origin, and then each worker lets go at a
//!    tick of its own. Every later start begins with it, so that no instance that goes on, from whatever checkpoint, can
//!    begin a partition without it.
//!
//! Which records are late because of it depends on when they came, so the instant that a partition began with is in the
//! store's origin: reading the partition again decides the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tillflow_dataflows::outputs::{RowBody, RowKey};
use tillflow_dataflows::records::{Millis, Topic};
use tillflow_dataflows::state::expirable;
use tillflow_dataflows::time::Tick;

use super::checkpoint::Restored;
use super::ingest::{Consumed, Note};

/// How far things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bounds {
    /// What workers are asked to agree to.
    pub(super) offered: Option<Millis>,
    /// What may leave memory: windows that end at or before this instant, when the tick is complete.
    pub(super) decided: Option<(Millis, Tick)>,
}

/// What the workers of a process are told.
#[derive(Debug, Default)]
pub(super) struct Expiry(Mutex<Bounds>);

impl Expiry {
    /// That of a run which begins with what was decided before, and offers it to its own workers.
    pub(super) fn beginning_at(before: Option<Millis>) -> Expiry {
        Expiry(Mutex::new(Bounds { offered: before, decided: None }))
    }

    pub(super) fn bounds(&self) -> Bounds {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, bounds: Bounds) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
    }
}

/// The committer's part.
#[derive(Debug)]
pub(super) struct Expiring {
    correction_window: Millis,
    /// All workers of all processes.
    workers: usize,
    /// Of the partitions that have given a record and whose records belong to windows.
    clocks: BTreeMap<(Topic, i32), Option<Millis>>,
    /// By worker.
    agreed: BTreeMap<usize, Millis>,
    /// What the state lacked when the run began.
    begun: Option<Millis>,
    /// What the store's origin has.
    stored: Option<Millis>,
    bounds: Bounds,
}

impl Expiring {
    /// `restored` is what the run began with, `stored` what the store's origin has.
    pub(super) fn new(
        correction_window: Millis,
        workers: usize,
        restored: &Restored,
        stored: Option<Millis>,
    ) -> Expiring {
        let given = restored.partitions.values().filter(|saved| saved.has_given);
        let mut expiring = Expiring {
            correction_window,
            workers,
            clocks: BTreeMap::new(),
            // Workers begin with it.
            agreed: stored.into_iter().flat_map(|before| (0..workers).map(move |worker| (worker, before))).collect(),
            begun: restored.expired,
            stored,
            bounds: Bounds { offered: stored, decided: None },
        };
        given.for_each(|saved| expiring.tell((saved.topic, saved.number), saved.clock));
        expiring
    }

    fn tell(&mut self, place: (Topic, i32), clock: Option<Millis>) {
        // Windows of stock levels are never final, and none of them leaves.
        if place.0 != Topic::Inventory {
            self.clocks.insert(place, clock);
        }
    }

    /// Takes note of what a tick says.
    pub(super) fn listen(&mut self, note: &Note) {
        match note {
            Note::Consumed(consumed) => {
                let Consumed { topic, partition, clock, .. } = consumed.as_ref();
                clock.iter().for_each(|clock| self.tell((*topic, *partition), *clock));
            }
            Note::Agreed { worker, before } => drop(self.agreed.insert(*worker, *before)),
            Note::DeadLetter(_) | Note::Raw(_) | Note::Shard(_) => {}
        }
    }

    fn allowed(&self, as_of: Option<Millis>) -> Option<Millis> {
        expirable(self.clocks.values().copied(), as_of, self.correction_window)
    }

    /// What everybody has agreed to and clocks allow, if the store's origin does not have it yet. It is to be written there
    /// before this is asked for anything else.
    pub(super) fn decide(&mut self, as_of: Option<Millis>) -> Option<Millis> {
        let offered =
            self.bounds.offered.filter(|offered| Some(*offered) > self.stored && self.may_leave(*offered, as_of))?;
        self.stored = Some(offered);
        self.stored
    }

    fn may_leave(&self, offered: Millis, as_of: Option<Millis>) -> bool {
        let agrees = |worker| self.agreed.get(&worker).is_some_and(|agreed| *agreed >= offered);
        self.allowed(as_of) >= Some(offered) && (0..self.workers).all(agrees)
    }

    /// What changes when everything up to `tick` is committed, and what was decided is in the origin.
    pub(super) fn consider(&mut self, as_of: Option<Millis>, tick: Tick) -> Option<Bounds> {
        let Bounds { offered, decided } = self.bounds;
        match offered {
            Some(offered) if decided.is_none_or(|(decided, _)| decided < offered) => {
                if self.stored < Some(offered) || !self.may_leave(offered, as_of) {
                    return None;
                }
                self.bounds.decided = Some((offered, tick));
            }
            _ => self.bounds.offered = Some(self.allowed(as_of).filter(|allowed| Some(*allowed) > offered)?),
        }
        Some(self.bounds)
    }

    /// What the state lacked when the run began.
    pub(super) const fn begun(&self) -> Option<Millis> {
        self.begun
    }

    /// Whether a change of a row is only that its window leaves memory, and the document stays as it is. Workers let go at
    /// ticks of their own: a row that is made of what several of them hold leaves in parts.
    pub(super) fn leaves(&self, key: &RowKey, body: &RowBody) -> bool {
        has_left(key, body, self.bounds.decided.map(|(decided, _)| decided))
    }
}

/// Whether a row may have left memory, or a part of what it is made of, where windows that end at or before `expired` have.
pub(super) fn has_left(key: &RowKey, body: &RowBody, expired: Option<Millis>) -> bool {
    matches!(key, RowKey::Rollup(key) if body.is_final() && Some(key.window.end()) <= expired)
}

#[cfg(test)]
mod tests {
    use tillflow_dataflows::time::DAY;

    use super::*;

    fn expiring(workers: usize) -> Expiring {
        Expiring::new(2 * DAY, workers, &Restored::default(), None)
    }

    /// A commit, and what changes with it.
    fn commit(expiring: &mut Expiring, as_of: Millis, tick: Tick) -> Option<Bounds> {
        expiring.decide(Some(as_of));
        expiring.consider(Some(as_of), tick)
    }

    const NOON: Millis = DAY / 2;

    #[test]
    fn nothing_leaves_before_every_worker_has_agreed_and_every_clock_allows_it() {
        let mut expiring = expiring(2);
        let place = |partition| (Topic::Sales, partition);
        expiring.tell(place(0), Some(10 * DAY + NOON));
        expiring.tell((Topic::Inventory, 0), None);
        let offered = Bounds { offered: Some(8 * DAY), decided: None };
        assert_eq!(commit(&mut expiring, 10 * DAY + NOON, 1), Some(offered));
        assert_eq!(commit(&mut expiring, 10 * DAY + NOON, 2), None);
        expiring.listen(&Note::Agreed { worker: 1, before: 8 * DAY });
        assert_eq!(commit(&mut expiring, 20 * DAY, 3), None);
        // One that had begun before the last worker agreed, and is behind.
        expiring.tell((Topic::UserActivity, 3), Some(9 * DAY));
        expiring.listen(&Note::Agreed { worker: 0, before: 8 * DAY });
        assert_eq!(commit(&mut expiring, 20 * DAY, 4), None);
        expiring.tell((Topic::UserActivity, 3), None);
        assert_eq!(commit(&mut expiring, 20 * DAY, 5), None);
        expiring.tell((Topic::UserActivity, 3), Some(10 * DAY));
        let decided = Bounds { offered: Some(8 * DAY), decided: Some((8 * DAY, 6)) };
        assert_eq!(commit(&mut expiring, 20 * DAY, 6), Some(decided));
        assert_eq!(commit(&mut expiring, 20 * DAY, 7), None);
        // The next one.
        expiring.tell(place(0), Some(12 * DAY));
        expiring.tell((Topic::UserActivity, 3), Some(12 * DAY));
        assert_eq!(commit(&mut expiring, 20 * DAY, 8), Some(Bounds { offered: Some(10 * DAY), ..decided }));
    }

    #[test]
    fn what_the_metrics_of_the_last_day_are_made_of_stays() {
        let mut expiring = Expiring::new(0, 1, &Restored::default(), None);
        expiring.tell((Topic::Sales, 0), Some(10 * DAY + NOON));
        let bounds = commit(&mut expiring, 10 * DAY + NOON, 1).expect("an offer");
        assert_eq!(bounds.offered, Some(9 * DAY));
    }

    #[test]
    fn a_run_that_begins_without_windows_lets_the_rest_of_them_go() {
        let restored = Restored { expired: Some(5 * DAY), ..Restored::default() };
        let mut expiring = Expiring::new(0, 3, &restored, Some(5 * DAY));
        assert_eq!(commit(&mut expiring, 9 * DAY, 1), None);
        expiring.tell((Topic::Sales, 0), Some(9 * DAY));
        let decided = Bounds { offered: Some(5 * DAY), decided: Some((5 * DAY, 2)) };
        assert_eq!(commit(&mut expiring, 9 * DAY, 2), Some(decided));
        assert_eq!(commit(&mut expiring, 9 * DAY, 3).and_then(|bounds| bounds.offered), Some(8 * DAY));
    }

    #[test]
    fn nothing_leaves_that_the_store_does_not_know_of() {
        let mut expiring = expiring(1);
        expiring.tell((Topic::Sales, 0), Some(10 * DAY));
        assert_eq!(expiring.decide(Some(10 * DAY)), None, "nobody has agreed");
        assert_eq!(expiring.consider(Some(10 * DAY), 1).and_then(|bounds| bounds.offered), Some(8 * DAY));
        assert_eq!(expiring.decide(Some(10 * DAY)), None, "nobody has agreed");
        expiring.listen(&Note::Agreed { worker: 0, before: 8 * DAY });
        assert_eq!(expiring.consider(Some(10 * DAY), 2), None);
        assert_eq!(expiring.decide(Some(10 * DAY)), Some(8 * DAY));
        assert_eq!(expiring.decide(Some(10 * DAY)), None, "once");
        assert_eq!(expiring.consider(Some(10 * DAY), 3).and_then(|bounds| bounds.decided), Some((8 * DAY, 3)));
    }

    #[test]
    fn a_run_begins_with_what_was_decided_before() {
        let mut expiring = Expiring::new(0, 2, &Restored::default(), Some(5 * DAY));
        expiring.tell((Topic::Sales, 0), Some(4 * DAY));
        assert_eq!(commit(&mut expiring, 4 * DAY, 1), None);
        expiring.tell((Topic::Sales, 0), Some(9 * DAY));
        let decided = Bounds { offered: Some(5 * DAY), decided: Some((5 * DAY, 2)) };
        assert_eq!(commit(&mut expiring, 9 * DAY, 2), Some(decided));
    }
}
