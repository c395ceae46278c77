//! `stock`: what is on hand of each product in each warehouse?
//!
//! ```sql
//! SELECT DISTINCT ON (product_id, warehouse_id) * FROM inventory
//! ORDER BY product_id, warehouse_id, last_updated DESC, partition DESC, offset DESC
//! ```
//!
//! Key: product and warehouse. Units: pieces. State: each partition's admission gives at most one candidate per key, so a
//! key costs as many entries as partitions have spoken of it. Bound: stock rows x partitions.

use differential_dataflow::VecCollection;

use crate::inputs::StockCandidate;
use crate::outputs::StockKey;
use crate::records::StockLevel;
use crate::time::{Diff, Tick};

/// The current rows.
pub fn stock<'scope>(
    candidates: VecCollection<'scope, Tick, StockCandidate, Diff>,
) -> VecCollection<'scope, Tick, StockLevel, Diff> {
    candidates
        .map(|candidate| {
            let StockLevel { product_id, warehouse_id, last_updated, .. } = &candidate.level;
            let key = StockKey { product_id: product_id.clone(), warehouse_id: warehouse_id.clone() };
            (key, ((*last_updated, candidate.partition, candidate.offset), candidate.level))
        })
        .reduce_named("Stock: latest", |key, candidates, output| {
            for (candidate, count) in candidates {
                assert!(*count == 1, "candidate {candidate:?} of {key:?} has count {count}");
            }
            if let Some((((_, _, _), level), _)) = candidates.last() {
                output.push((level.clone(), 1));
            }
        })
        .map(|(_key, level)| level)
}
