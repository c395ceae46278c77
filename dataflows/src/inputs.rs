//! What enters the graph: facts in force, as differences, and what admission knows about partitions.

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::measures::QualityMeasures;
use crate::records::{Activity, Millis, Sale, StockLevel, Topic};
use crate::time::{Diff, Tick};

/// A sale and the partition that gave it: the same transaction_id in two partitions is two sales.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlacedSale {
    /// What the record said.
    pub sale: Sale,
    /// The partition that gave it.
    pub partition: i32,
}

/// A stock level that one partition holds for the current one of its product and warehouse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StockCandidate {
    /// What the record said.
    pub level: StockLevel,
    /// The partition that gave it.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// The clock of one partition that has given a record; `None` while none of its records was accepted.
pub type PartitionClock = ((Topic, i32), Option<Millis>);

/// The collections that the views are functions of.
pub struct Inputs<'scope> {
    /// Sales in force. A correction retracts the old row and adds the new one.
    pub sales: VecCollection<'scope, Tick, PlacedSale, Diff>,
    /// Accepted activities.
    pub activities: VecCollection<'scope, Tick, Activity, Diff>,
    /// For each partition, product and warehouse at most one row.
    pub stock: VecCollection<'scope, Tick, StockCandidate, Diff>,
    /// For each partition that has given a record exactly one row.
    pub clocks: VecCollection<'scope, Tick, PartitionClock, Diff>,
    /// Outcomes and reasons, counted in the difference.
    pub quality: VecCollection<'scope, Tick, (), QualityMeasures>,
}
