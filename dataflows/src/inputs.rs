//! What enters the graph: what facts in force add up to, as differences, and what admission knows about partitions.

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::cells::{ActivityCells, ProductCells, SalesCells};
use crate::measures::{InterestMeasures, QualityMeasures};
use crate::records::{Activity, Millis, Sale, StockLevel, Text, Topic};
use crate::time::{Diff, Tick, Window};
use crate::views::Contributions;
use crate::views::activity_last_hour::Seen;
use crate::views::customers::BuyersSale;
use crate::views::visits::Moment;

pub use crate::views::purchases_unmatched::Dealing;

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

/// How far one partition is that has given a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionClock {
    /// Its topic and number.
    pub place: (Topic, i32),
    /// Its clock; `None` while none of its records was accepted.
    pub clock: Option<Millis>,
    /// Whether the topic does not have it any more: what it gave stays, and nothing waits for it.
    pub is_gone: bool,
}

impl PartitionClock {
    /// That of a partition which is read.
    pub const fn new(place: (Topic, i32), clock: Option<Millis>) -> PartitionClock {
        PartitionClock { place, clock, is_gone: false }
    }
}

/// The collections that the views are functions of. [`crate::feed::Feed`] makes them of facts; those that no view reads
/// stay empty.
pub struct Inputs<'scope> {
    /// What sales in force add up to. A correction takes the old row back and adds the new one.
    pub sales: SalesInputs<'scope>,
    /// What accepted activities add up to.
    pub activities: ActivityInputs<'scope>,
    /// For each partition, product and warehouse at most one row.
    pub stock: VecCollection<'scope, Tick, StockCandidate, Diff>,
    /// For each partition that has given a record exactly one row.
    pub clocks: VecCollection<'scope, Tick, PartitionClock, Diff>,
    /// Outcomes and reasons, counted in the difference.
    pub quality: VecCollection<'scope, Tick, (), QualityMeasures>,
}

/// What is made of sales in force.
pub struct SalesInputs<'scope> {
    /// Sums by minute and cell.
    pub cells: SalesCells<'scope>,
    /// Sums by minute and product.
    pub products: ProductCells<'scope>,
    /// How many sales have a total that is not quantity times price.
    pub mismatches: VecCollection<'scope, Tick, (), Diff>,
    /// Each sale under its user.
    pub buyers_sales: BuyersSales<'scope>,
    /// Each sale under what a purchase would have in common with it.
    pub dealings: Dealings<'scope>,
    /// The sales themselves.
    pub records: VecCollection<'scope, Tick, Sale, Diff>,
}

/// What is made of accepted activities.
pub struct ActivityInputs<'scope> {
    /// Sums by minute and type.
    pub cells: ActivityCells<'scope>,
    /// Activities by hour and user.
    pub users: VecCollection<'scope, Tick, UserHour, Diff>,
    /// Activities by session.
    pub moments: VecCollection<'scope, Tick, MomentOfVisit, Diff>,
    /// Activities by minute, user and session.
    pub seen: VecCollection<'scope, Tick, SeenByMinute, Diff>,
    /// Sums of what was looked at and bought.
    pub interest: Contributions<'scope, InterestMeasures>,
    /// Each purchase under what its sale would have in common with it.
    pub dealings: Dealings<'scope>,
    /// The activities themselves.
    pub records: VecCollection<'scope, Tick, Activity, Diff>,
}

/// Sales by user.
pub type BuyersSales<'scope> = VecCollection<'scope, Tick, (Text, BuyersSale), Diff>;

/// Purchases and sales as they can be matched.
pub type Dealings<'scope> = VecCollection<'scope, Tick, Dealing, Diff>;

/// A user who did something in an hour.
pub type UserHour = (Window, Text);

/// What an activity means to its session, which ends at midnight: the day, the session, and the rest.
pub type MomentOfVisit = ((Millis, Text), Moment);

/// What of an activity the last hour's metric depends on, by its minute.
pub type SeenByMinute = (Window, Seen);
