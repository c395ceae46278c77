//! Sums a tick's contributions on the worker where they arise, before anything is exchanged or sorted.
//!
//! Ten thousand sales of a minute touch a few hundred cells: what crosses threads and enters arrangements is a
//! function of the keys a tick touches, not of its records.

use std::collections::BTreeMap;

use differential_dataflow::difference::Semigroup;
use differential_dataflow::{AsCollection, Data, VecCollection};
use hashbrown::HashMap;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::time::Tick;

/// Turns each update `(data, difference)` into any number of contributions `(key, measure)`, and sums them per
/// tick and key. The result is the same collection as mapping each update to its contributions; only its updates
/// are fewer, and they appear when the tick is complete.
///
/// Holds the cells of incomplete ticks, nothing else.
pub fn combine<'scope, D, R, K, M>(
    collection: VecCollection<'scope, Tick, D, R>,
    name: &str,
    contribute: impl Fn(D, R, &mut dyn FnMut(K, M)) + 'static,
) -> VecCollection<'scope, Tick, K, M>
where
    D: Data,
    R: Semigroup + 'static,
    K: Data + std::hash::Hash,
    M: Semigroup + 'static,
{
    collection
        .inner
        .unary_frontier(Pipeline, name, |_capability, _info| {
            let mut cells: BTreeMap<Tick, (_, HashMap<K, M>)> = BTreeMap::new();
            move |(input, frontier), output| {
                input.for_each_stamp(|capability, data| {
                    for (datum, tick, difference) in data.flat_map(|batch| batch.drain(..)) {
                        let (_, cells) =
                            cells.entry(tick).or_insert_with(|| (capability.delayed(&tick, 0), HashMap::new()));
                        contribute(datum, difference, &mut |key, measure| match cells.entry(key) {
                            hashbrown::hash_map::Entry::Occupied(mut cell) => cell.get_mut().plus_equals(&measure),
                            hashbrown::hash_map::Entry::Vacant(cell) => {
                                cell.insert(measure);
                            }
                        });
                    }
                });
                while let Some(entry) = cells.first_entry() {
                    if frontier.less_equal(entry.key()) {
                        break;
                    }
                    let (tick, (capability, cells)) = entry.remove_entry();
                    let mut session = output.session(&capability);
                    for (key, measure) in cells {
                        if !measure.is_zero() {
                            session.give((key, tick, measure));
                        }
                    }
                }
            }
        })
        .as_collection()
}
