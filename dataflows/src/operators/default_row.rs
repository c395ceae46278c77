//! A row that is always there.

use differential_dataflow::{AsCollection, Data, VecCollection};
use timely::dataflow::operators::vec::ToStream;

use crate::time::{Diff, Tick};

/// `rows`, or `default` while they are empty. `rows` holds at most one row at any tick.
///
/// The default is there from the first tick on; each row cancels it while it is in force.
pub fn with_default<'scope, D: Data>(
    rows: VecCollection<'scope, Tick, D, Diff>,
    default: D,
) -> VecCollection<'scope, Tick, D, Diff> {
    let scope = rows.scope();
    let first = (scope.index() == 0).then(|| (default.clone(), 0, 1));
    let always = first.into_iter().to_stream(scope).as_collection();
    let cancelled = rows.clone().map(move |_| default.clone()).negate();
    always.concat(cancelled).concat(rows)
}
