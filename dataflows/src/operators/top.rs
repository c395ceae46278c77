//! The best few of many, by levels, so that a change costs the size of a small group and not of the whole.

use std::hash::Hash;

use differential_dataflow::hashable::Hashable;
use differential_dataflow::{ExchangeData, VecCollection};
use serde::{Deserialize, Serialize};

use crate::time::{Diff, Tick};

/// How many groups each level has, coarsest last. A million candidates make groups of about 250, then 640
/// survivors a group, then 640.
const LEVELS: [u64; 3] = [4096, 64, 1];

/// Which group of a level a candidate competes in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Group<K> {
    key: K,
    group: u64,
}

/// For each key its `limit` least values, as one list in ascending order. A key without values has no list.
///
/// Values are distinct within a key (each is in force once or not at all); a value that is negative would be a
/// broken collection upstream and panics.
pub fn top<'scope, K, V>(
    candidates: VecCollection<'scope, Tick, (K, V), Diff>,
    name: &str,
    limit: usize,
) -> VecCollection<'scope, Tick, (K, Vec<V>), Diff>
where
    K: ExchangeData + Hash,
    V: ExchangeData + Hash,
{
    let mut best = candidates;
    for groups in LEVELS {
        best = best
            .map(move |(key, value)| {
                let group = value.hashed() % groups;
                (Group { key, group }, value)
            })
            .reduce_named(&format!("{name}: best of {groups} groups"), move |_group, input, output| {
                for (value, count) in input.iter().take(limit) {
                    assert!(*count > 0, "a candidate of a ranking has count {count}: {value:?}");
                    output.push(((*value).clone(), 1));
                }
            })
            .map(|(group, value): (Group<K>, V)| (group.key, value));
    }
    best.reduce_named(&format!("{name}: list"), |_key, input, output| {
        output.push((input.iter().map(|(value, _)| (*value).clone()).collect::<Vec<_>>(), 1));
    })
}
