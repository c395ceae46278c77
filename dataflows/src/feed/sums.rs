//! Sums of an open tick.

use std::hash::Hash;

use differential_dataflow::difference::Semigroup;
use differential_dataflow::input::InputSession;
use differential_dataflow::{Data, VecCollection};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use timely::dataflow::Scope;

use crate::time::Tick;

/// Closes every tick before `tick`.
pub(super) fn advance<D: Data, R: Semigroup + 'static>(session: &mut InputSession<Tick, D, R>, tick: Tick) {
    session.advance_to(tick);
    session.flush();
}

/// So many times more room than is used is given back: a tick may have had many more cells than the others.
const SPARE: usize = 16;

/// The least room that is worth it.
const ROOM: usize = 1024;

pub(super) fn is_too_much(capacity: usize, used: usize) -> bool {
    capacity / SPARE > used.max(ROOM)
}

/// What a tick adds to the cells of a collection.
pub(super) struct Sums<C: Data, M: Semigroup + 'static> {
    sums: HashMap<C, M>,
    session: InputSession<Tick, C, M>,
}

impl<C: Data + Hash, M: Semigroup + 'static> Sums<C, M> {
    pub(super) fn new() -> Self {
        Sums { sums: HashMap::new(), session: InputSession::new() }
    }

    pub(super) fn collection<'scope>(&mut self, scope: Scope<'scope, Tick>) -> VecCollection<'scope, Tick, C, M> {
        self.session.to_collection(scope)
    }

    #[inline]
    pub(super) fn add(&mut self, cell: C, measure: M) {
        match self.sums.entry(cell) {
            Entry::Occupied(mut sum) => sum.get_mut().plus_equals(&measure),
            Entry::Vacant(sum) => drop(sum.insert(measure)),
        }
    }

    pub(super) fn advance_to(&mut self, tick: Tick) {
        self.give();
        advance(&mut self.session, tick);
    }
}

impl<C: Data, M: Semigroup + 'static> Sums<C, M> {
    /// Gives the open tick what it adds up to.
    fn give(&mut self) {
        let used = self.sums.len();
        for (cell, measure) in self.sums.drain().filter(|(_, measure)| !measure.is_zero()) {
            self.session.update(cell, measure);
        }
        if is_too_much(self.sums.capacity(), used) {
            self.sums = HashMap::new();
        }
    }
}

/// The last tick is closed by dropping its inputs.
impl<C: Data, M: Semigroup + 'static> Drop for Sums<C, M> {
    fn drop(&mut self) {
        self.give();
    }
}

/// The same, where a cell is found by a `K` that is smaller than it and stands for it until a tick's sums have left.
///
/// What each record needs lies close together, apart from the cells: a tick may have ten thousand of them, and whether their
/// sums are in a near cache is most of what it takes to find one.
pub(super) struct NamedSums<K, C: Data, M: Semigroup + 'static> {
    places: HashMap<K, u32>,
    cells: Vec<C>,
    /// By the same places.
    sums: Vec<M>,
    session: InputSession<Tick, C, M>,
}

impl<K: Hash + Eq, C: Data, M: Semigroup + 'static> NamedSums<K, C, M> {
    pub(super) fn new() -> Self {
        NamedSums { places: HashMap::new(), cells: Vec::new(), sums: Vec::new(), session: InputSession::new() }
    }

    pub(super) fn collection<'scope>(&mut self, scope: Scope<'scope, Tick>) -> VecCollection<'scope, Tick, C, M> {
        self.session.to_collection(scope)
    }

    #[inline]
    pub(super) fn add(&mut self, name: K, measure: M, cell: impl FnOnce() -> C) {
        match self.places.entry(name) {
            Entry::Occupied(place) => self.sums[*place.get() as usize].plus_equals(&measure),
            Entry::Vacant(place) => {
                place.insert(u32::try_from(self.cells.len()).expect("a tick has fewer than 2^32 records"));
                self.cells.push(cell());
                self.sums.push(measure);
            }
        }
    }

    pub(super) fn advance_to(&mut self, tick: Tick) {
        self.give();
        advance(&mut self.session, tick);
    }
}

impl<K, C: Data, M: Semigroup + 'static> NamedSums<K, C, M> {
    /// Gives the open tick what it adds up to.
    fn give(&mut self) {
        let used = self.cells.len();
        for (cell, sum) in self.cells.drain(..).zip(self.sums.drain(..)).filter(|(_, sum)| !sum.is_zero()) {
            self.session.update(cell, sum);
        }
        if is_too_much(self.cells.capacity(), used) {
            (self.places, self.cells, self.sums) = (HashMap::new(), Vec::new(), Vec::new());
        }
        self.places.clear();
    }
}

/// The last tick is closed by dropping its inputs.
impl<K, C: Data, M: Semigroup + 'static> Drop for NamedSums<K, C, M> {
    fn drop(&mut self) {
        self.give();
    }
}
