//! Empties buckets that no sliding range can reach any more.

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
use crate::time::{Diff, LiveRange, Tick, Window};

/// The negation of everything that `buckets` holds of windows before the live ranges, for a feedback of one tick
/// into the collection that `buckets` arranges.
///
/// `as_of` holds at most one row at any tick and never goes back, so a window that has left its range never
/// returns to it, and nobody can see that its rows are gone. Rows that arrive for such a window later are taken
/// by the next sweep. A sweep takes place when `as_of` moves.
pub fn sweep<'scope, V, M>(
    buckets: Arranged<'scope, TraceAgent<ValSpine<Window, V, Tick, M>>>,
    as_of: VecCollection<'scope, Tick, Millis, Diff>,
    name: &str,
) -> VecCollection<'scope, Tick, (Window, V), M>
where
    V: ExchangeData,
    M: ExchangeData + Abelian,
{
    let scope = as_of.scope();
    let mut trace = buckets.trace;
    buckets
        .stream
        .binary_frontier(as_of.inner.broadcast(), Pipeline, Pipeline, name, |_capability, info| {
            let activator = scope.activator_for(info.address);
            let mut upper = Antichain::from_elem(0);
            // The sweep to come: the tick at which it became due, and the instant.
            let mut due: Option<(Capability<Tick>, Millis)> = None;
            // The tick at which the last sweep's negations are in the arrangement.
            let mut swept = 0;

            move |(buckets, _), (as_of, _), output| {
                buckets.for_each(|_capability, data| {
                    for batch in data.drain(..) {
                        upper.clone_from(batch.upper());
                    }
                });
                as_of.for_each(|capability, data| {
                    for (instant, tick, difference) in data.drain(..) {
                        if difference > 0 {
                            // Of two that are due the later one does for both.
                            let instant = due.as_ref().map_or(instant, |(_, other)| instant.max(*other));
                            due = Some((capability.delayed(&tick, 0), instant));
                        }
                    }
                });
                trace.advance_upper(&mut upper);
                trace.set_logical_compaction(upper.borrow());
                trace.set_physical_compaction(upper.borrow());
                let Some(end) = upper.elements().first().copied() else {
                    due = None;
                    return;
                };
                let Some((capability, instant)) = due.take() else { return };
                if end <= *capability.time() || end <= swept {
                    due = Some((capability, instant));
                    activator.activate();
                    return;
                }

                // Everything below `end` is there, and nothing else: the negation takes effect at `end`.
                let batches = trace.batches_through(upper.borrow()).expect("the trace is held at its upper end");
                let (mut cursor, storage) = cursor_list(batches);
                let capability = capability.delayed(&(end - 1));
                let mut session = output.session(&capability);
                for range in LiveRange::ALL {
                    let granularity = range.granularity();
                    let live = Window { granularity, start: range.first(instant) };
                    cursor.rewind_keys(&storage);
                    cursor.seek_key(&storage, &Window { granularity, start: Millis::MIN });
                    while let Some(window) = cursor.get_key(&storage).filter(|window| **window < live) {
                        while let Some(value) = cursor.get_val(&storage) {
                            let mut sums = M::zero();
                            cursor.map_times(&storage, |_tick, change| sums.plus_equals(change));
                            if !sums.is_zero() {
                                sums.negate();
                                session.give(((*window, value.clone()), end, sums));
                            }
                            cursor.step_val(&storage);
                        }
                        cursor.step_key(&storage);
                    }
                }
                swept = end;
            }
        })
        .as_collection()
}
