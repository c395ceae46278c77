//! Empties buckets that no sliding range can reach any more.

use std::ops::Range;

use differential_dataflow::difference::Abelian;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::ValSpine;
use differential_dataflow::trace::{Cursor, TraceReader};
use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Broadcast;
use timely::progress::Antichain;

use crate::records::Millis;
use crate::time::{Diff, Granularity, Tick, Window};

/// An arrangement of buckets: sums in the difference.
pub type BucketTrace<V, M> = TraceAgent<ValSpine<Window, V, Tick, M>>;

type Batch<V, M> = <BucketTrace<V, M> as TraceReader>::Batch;

/// How many windows of a length are looked at, the one that holds `as_of` among them.
pub type Reach = &'static [(Granularity, i64)];

/// The negation of everything that `buckets` holds of windows beyond `reach`, for a feedback of one tick into the
/// collection that `buckets` arranges.
///
/// `as_of` holds at most one row at any tick and never goes back, so a window that has left its range never
/// returns to it, and nobody can see that its rows are gone. A sweep takes place when `as_of` moves, and when rows
/// arrive for a window that has left before: a partition that is behind the others brings nothing else, perhaps
/// for months, and `as_of` may stand still all the while.
pub fn sweep<'scope, V, M>(
    buckets: Arranged<'scope, BucketTrace<V, M>>,
    as_of: VecCollection<'scope, Tick, Millis, Diff>,
    reach: Reach,
    name: &str,
) -> VecCollection<'scope, Tick, (Window, V), M>
where
    V: ExchangeData,
    M: ExchangeData + Abelian,
{
    let mut trace = buckets.trace;
    buckets
        .stream
        .binary_frontier(as_of.inner.broadcast(), Pipeline, Pipeline, name, |_capability, _info| {
            let mut upper = Antichain::from_elem(0);
            // The latest `as_of`, and the tick since when.
            let mut latest: Option<(Tick, Millis)> = None;
            // That of the sweep to come, which takes effect after this tick.
            let mut due: Option<Capability<Tick>> = None;
            // The tick of the last sweep's negations. The next sweep has to see them, and its capability must not
            // keep the arrangement from getting there.
            let mut swept = 0;

            move |(buckets, _), (as_of, _), output| {
                as_of.for_each(|capability, data| {
                    for (instant, tick, difference) in data.drain(..) {
                        if difference > 0 && latest.is_none_or(|(since, _)| since < tick) {
                            latest = Some((tick, instant));
                            postpone(&mut due, capability.delayed(&tick.max(swept), 0));
                        }
                    }
                });
                buckets.for_each(|capability, data| {
                    for batch in data.drain(..) {
                        upper.clone_from(batch.upper());
                        if let Some((since, instant)) = latest
                            && let Some(capability) = capability.retain_least(0)
                            && batch.inner.is_some_and(|batch| has_dead::<V, M>(batch, reach, instant))
                        {
                            let tick = since.max(*capability.time()).max(swept);
                            postpone(&mut due, capability.delayed(&tick));
                        }
                    }
                });
                trace.advance_upper(&mut upper);
                trace.set_logical_compaction(upper.borrow());
                trace.set_physical_compaction(upper.borrow());
                // While a sweep is due its capability keeps the arrangement from ending.
                let Some(end) = upper.elements().first().copied() else { return };
                let Some((_, instant)) = latest else { return };
                let Some(capability) = due.take_if(|due| *due.time() < end) else { return };

                // Everything below `end` is there, and nothing else: the negation takes effect at `end`.
                let batches = trace.batches_through(upper.borrow()).expect("the trace is held at its upper end");
                let (mut cursor, storage) = cursor_list(batches);
                let capability = capability.delayed(&(end - 1));
                let mut session = output.session(&capability);
                let mut found = false;
                for dead in dead_windows(reach, instant) {
                    cursor.rewind_keys(&storage);
                    cursor.seek_key(&storage, &dead.start);
                    while let Some(window) = cursor.get_key(&storage).filter(|window| **window < dead.end) {
                        while let Some(value) = cursor.get_val(&storage) {
                            let mut sums = M::zero();
                            cursor.map_times(&storage, |_tick, change| sums.plus_equals(change));
                            if !sums.is_zero() {
                                found = true;
                                sums.negate();
                                session.give(((*window, value.clone()), end, sums));
                            }
                            cursor.step_val(&storage);
                        }
                        cursor.step_key(&storage);
                    }
                }
                swept = end;
                // Rows that arrive at `end` may cancel these negations, and then no batch speaks of them.
                if found {
                    postpone(&mut due, capability.delayed(&end));
                }
            }
        })
        .as_collection()
}

/// The windows beyond reach, for each length a range of keys.
fn dead_windows(reach: Reach, as_of: Millis) -> impl Iterator<Item = Range<Window>> {
    reach.iter().map(move |(granularity, windows)| {
        let window = |start| Window { granularity: *granularity, start };
        window(Millis::MIN)..window(granularity.start(as_of) - (windows - 1) * granularity.length())
    })
}

/// Whether a batch speaks of a window beyond reach.
fn has_dead<V: ExchangeData, M: ExchangeData + Abelian>(batch: Batch<V, M>, reach: Reach, as_of: Millis) -> bool {
    let (mut cursor, storage) = cursor_list(vec![batch]);
    dead_windows(reach, as_of).any(|dead| {
        cursor.rewind_keys(&storage);
        cursor.seek_key(&storage, &dead.start);
        cursor.get_key(&storage).is_some_and(|window| *window < dead.end)
    })
}

/// Of two sweeps that are due the later one does for both.
fn postpone(due: &mut Option<Capability<Tick>>, to: Capability<Tick>) {
    if due.as_ref().is_none_or(|due| due.time() < to.time()) {
        *due = Some(to);
    }
}
