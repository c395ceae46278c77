//! Turns an arrangement of rollups into rows that carry their sums and whether their window is final.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use differential_dataflow::difference::{Abelian, Semigroup};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::cursor::{CursorList, cursor_list};
use differential_dataflow::trace::implementations::KeySpine;
use differential_dataflow::trace::{BatchCursor, Cursor, SpanOf, TraceReader};
use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::CapabilitySet;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Broadcast;
use timely::progress::Antichain;

use crate::outputs::{RollupKey, View};
use crate::records::{Millis, Text};
use crate::time::{Diff, Granularity, Tick, Window};

/// The instant before which windows are final: a window is final when it ends at or before it. Absent while a
/// partition has no clock.
pub type FinalBefore = Option<Millis>;

/// An arrangement of rollups: sums in the difference.
pub type RollupTrace<M> = TraceAgent<KeySpine<RollupKey, Tick, M>>;

/// A change to the published rows.
type Update<M> = ((RollupKey, M, bool), Tick, Diff);

/// What decides when a window's row can change no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dating {
    /// Each event counts in its own window.
    Event,
    /// Each event counts in the window of its session's first: until the day is over, a session can begin earlier.
    Session,
}

impl Dating {
    fn is_final(self, window: Window, final_before: FinalBefore) -> bool {
        let settled = match self {
            Dating::Event => window.end(),
            Dating::Session => Window::of(Granularity::Day, window.start).end(),
        };
        final_before.is_some_and(|before| settled <= before)
    }

    /// The starts of the windows that settle after `low`, and not after `high`; the end is not included.
    fn settling(self, granularity: Granularity, low: Millis, high: Millis) -> Range<Millis> {
        let decided_by = match self {
            Dating::Event => granularity,
            Dating::Session => Granularity::Day,
        };
        // It settles when a window of that length ends, and that one's start is one length before.
        let after = |end: Millis| {
            let first = end.saturating_sub(decided_by.length()).saturating_add(1);
            let start = decided_by.start(first);
            if start < first { start.saturating_add(decided_by.length()) } else { start }
        };
        after(low)..after(high)
    }
}

/// For each key that is not zero one row `(key, sums, final)`.
///
/// `final_before` holds at most one row at any tick, on any one worker. When it moves, the rows of the windows it
/// passes are found as ranges of the arrangement: nothing is held but the arrangement itself. It can move back (a
/// new partition has a lower clock); the rows are final no more then.
pub fn publish<'scope, M>(
    rollups: Arranged<'scope, RollupTrace<M>>,
    final_before: VecCollection<'scope, Tick, FinalBefore, Diff>,
    dating: Dating,
    name: &str,
) -> VecCollection<'scope, Tick, (RollupKey, M, bool), Diff>
where
    M: ExchangeData + Abelian,
{
    let mut trace = rollups.trace;
    rollups
        .stream
        .binary_frontier(final_before.inner.broadcast(), Pipeline, Pipeline, name, |_capability, _info| {
            // Batches that wait for `final_before` to be known up to their end, and where the last one ends.
            let mut batches: VecDeque<SpanOf<RollupTrace<M>>> = VecDeque::new();
            let mut upper = Antichain::from_elem(0);
            // `final_before` from each tick on, for ticks not yet published.
            let mut moves: BTreeMap<Tick, FinalBefore> = BTreeMap::new();
            // One that covers everything in `batches` and `moves`.
            let mut capabilities = CapabilitySet::new();
            // `final_before` at the ticks published last.
            let mut current: FinalBefore = None;
            // Every tick below is published; `None` once both inputs have ended.
            let mut published = Some(0);

            move |(rollups, _), (final_before, final_frontier), output| {
                rollups.for_each(|capability, data| {
                    for capability in capability.retain_stamp(0).iter() {
                        capabilities.insert(capability.clone());
                    }
                    for batch in data.drain(..) {
                        upper.clone_from(batch.upper());
                        batches.push_back(batch);
                    }
                });
                final_before.for_each(|capability, data| {
                    for (value, tick, difference) in data.drain(..) {
                        capabilities.insert(capability.delayed(&tick, 0));
                        if difference > 0 {
                            moves.insert(tick, value);
                        } else {
                            // Where the old row goes without another in its place, nothing is final.
                            moves.entry(tick).or_insert(None);
                        }
                    }
                });
                trace.advance_upper(&mut upper);

                // Publish whole batches only.
                let mut until = earlier(first(&upper), final_frontier.frontier().first().copied());
                let mut ready = Vec::new();
                while let Some(batch) = batches.front() {
                    if earlier(first(batch.upper()), until) != first(batch.upper()) {
                        until = earlier(until, first(batch.lower()));
                        break;
                    }
                    ready.extend(batches.pop_front());
                }
                if until != published {
                    let later = until.map(|until| moves.split_off(&until)).unwrap_or_default();
                    let due = std::mem::replace(&mut moves, later);
                    let changes = changes_of(ready);
                    if !changes.is_empty() || !due.is_empty() {
                        let mut round = Round::new(&mut trace, dating, published);
                        let mut session = output.session(&capabilities);
                        round.publish(changes, &due, &mut current, &mut |row| session.give(row));
                    }
                    published = until;
                    let reached: Antichain<Tick> = published.into_iter().collect();
                    trace.set_logical_compaction(reached.borrow());
                    trace.set_physical_compaction(reached.borrow());
                }

                if batches.is_empty() && moves.is_empty() {
                    capabilities = CapabilitySet::new();
                } else if let Some(until) = published
                    && capabilities.iter().any(|capability| *capability.time() < until)
                {
                    capabilities.downgrade([until]);
                }
            }
        })
        .as_collection()
}

/// The (tick, key, change) of some batches, in order.
fn changes_of<M: ExchangeData + Semigroup>(spans: Vec<SpanOf<RollupTrace<M>>>) -> Vec<(Tick, RollupKey, M)> {
    let mut changes = Vec::new();
    for batch in spans.into_iter().filter_map(|span| span.inner) {
        let (mut cursor, storage) = cursor_list(vec![batch]);
        while let Some(key) = cursor.get_key(&storage) {
            cursor.map_times(&storage, |tick, change| changes.push((*tick, key.clone(), change.clone())));
            cursor.step_key(&storage);
        }
    }
    changes.sort_by(|a: &(Tick, RollupKey, M), b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    changes
}

/// One run over consecutive ticks, on top of the arrangement as it was before them.
struct Round<M: ExchangeData + Semigroup> {
    dating: Dating,
    cursor: CursorList<BatchCursor<RollupTrace<M>>>,
    storage: Vec<<RollupTrace<M> as TraceReader>::Batch>,
    /// What the ticks of this round have changed so far.
    overlay: BTreeMap<RollupKey, M>,
}

impl<M: ExchangeData + Abelian> Round<M> {
    fn new(trace: &mut RollupTrace<M>, dating: Dating, published: Option<Tick>) -> Self {
        let before: Antichain<Tick> = published.into_iter().collect();
        let batches = trace.batches_through(before.borrow()).expect("the trace is held where publishing stopped");
        let (cursor, storage) = cursor_list(batches);
        Round { dating, cursor, storage, overlay: BTreeMap::new() }
    }

    fn publish(
        &mut self,
        changes: Vec<(Tick, RollupKey, M)>,
        due: &BTreeMap<Tick, FinalBefore>,
        current: &mut FinalBefore,
        give: &mut dyn FnMut(Update<M>),
    ) {
        let ticks: BTreeSet<Tick> = changes.iter().map(|change| change.0).chain(due.keys().copied()).collect();
        let last = ticks.last().copied();
        let mut changes = changes.into_iter().peekable();
        for tick in ticks {
            let next = due.get(&tick).copied().unwrap_or(*current);
            // In the order of their keys.
            let mut touched: Vec<(RollupKey, M)> = Vec::new();
            while let Some((_, key, change)) = changes.next_if(|change| change.0 == tick) {
                match touched.last_mut() {
                    Some((known, sums)) if *known == key => sums.plus_equals(&change),
                    _ => touched.push((key, change)),
                }
            }
            self.cursor.rewind_keys(&self.storage);
            for (key, change) in &touched {
                let before = self.sums(key);
                let mut after = before.clone();
                after.plus_equals(change);
                self.replace(key, (before, *current), (after, next), tick, give);
            }
            for range in passed(self.dating, *current, next) {
                for (key, sums) in self.sums_in(range) {
                    if touched.binary_search_by(|(known, _)| known.cmp(&key)).is_err() {
                        self.replace(&key, (sums.clone(), *current), (sums, next), tick, give);
                    }
                }
            }
            if Some(tick) != last {
                for (key, change) in touched {
                    add(&mut self.overlay, key, &change);
                }
            }
            *current = next;
        }
    }

    /// The sums of a key; keys must be asked for in ascending order after each rewind.
    fn sums(&mut self, key: &RollupKey) -> M {
        let mut sums = self.overlay.get(key).cloned().unwrap_or_else(M::zero);
        self.cursor.seek_key(&self.storage, key);
        if self.cursor.get_key(&self.storage) == Some(key) {
            self.cursor.map_times(&self.storage, |_tick, change| sums.plus_equals(change));
        }
        sums
    }

    /// Gives the retraction and the addition that replace a key's row, unless they are the same.
    fn replace(
        &self,
        key: &RollupKey,
        (before, final_was): (M, FinalBefore),
        (after, final_is): (M, FinalBefore),
        tick: Tick,
        give: &mut dyn FnMut(Update<M>),
    ) {
        let (was, is) = (self.dating.is_final(key.window, final_was), self.dating.is_final(key.window, final_is));
        if before == after && was == is {
            return;
        }
        if !before.is_zero() {
            give(((key.clone(), before, was), tick, -1));
        }
        if !after.is_zero() {
            give(((key.clone(), after, is), tick, 1));
        }
    }

    /// The keys of a range with their sums.
    fn sums_in(&mut self, range: Range<RollupKey>) -> BTreeMap<RollupKey, M> {
        let mut found: BTreeMap<RollupKey, M> =
            self.overlay.range(range.clone()).map(|(key, sums)| (key.clone(), sums.clone())).collect();
        self.cursor.rewind_keys(&self.storage);
        self.cursor.seek_key(&self.storage, &range.start);
        while let Some(key) = self.cursor.get_key(&self.storage).filter(|key| **key < range.end) {
            let sums = found.entry(key.clone()).or_insert_with(M::zero);
            self.cursor.map_times(&self.storage, |_tick, change| sums.plus_equals(change));
            self.cursor.step_key(&self.storage);
        }
        found
    }
}

fn add<M: Semigroup>(sums: &mut BTreeMap<RollupKey, M>, key: RollupKey, change: &M) {
    match sums.entry(key) {
        Entry::Occupied(mut entry) => entry.get_mut().plus_equals(change),
        Entry::Vacant(entry) => {
            entry.insert(change.clone());
        }
    }
}

/// The keys of the windows that become final, or are final no more, when the instant moves from `a` to `b`: a
/// range for each granularity, its end not included.
fn passed(dating: Dating, a: FinalBefore, b: FinalBefore) -> Vec<Range<RollupKey>> {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let Some(high) = high.filter(|_| low != high) else { return Vec::new() };
    let bound = |granularity: Granularity, start: Millis| RollupKey {
        window: Window { granularity, start },
        view: View::ALL[0],
        key: Text::default(),
    };
    Granularity::ALL
        .into_iter()
        .map(|granularity| {
            let starts = dating.settling(granularity, low.unwrap_or(Millis::MIN / 2), high);
            bound(granularity, starts.start)..bound(granularity, starts.end)
        })
        .collect()
}

fn first(frontier: &Antichain<Tick>) -> Option<Tick> {
    frontier.elements().first().copied()
}

/// The earlier of two frontiers; `None` is the end of time.
fn earlier(a: Option<Tick>, b: Option<Tick>) -> Option<Tick> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, None) => a,
        (None, b) => b,
    }
}
