//! How one worker's facts enter the graph.
//!
//! Facts come record by record, and most views are sums. So what a record adds to a sum is added while the record is at
//! hand, on the worker that read it, and with the record's own texts: ten thousand sales of a minute become a few hundred
//! cells before anything is copied, sorted or exchanged. What a view needs of single records goes on as it is.
//!
//! Nothing here outlives a tick. What enters the graph at a tick is what was taken in while it was open.

mod activities;
mod names;
mod sales;
mod sums;

use differential_dataflow::input::InputSession;
use timely::dataflow::Scope;

use crate::admission::Fact;
use crate::inputs::{Inputs, PartitionClock, StockCandidate};
use crate::measures::QualityMeasures;
use crate::time::{Diff, Tick};

use self::activities::ActivityFeed;
use self::sales::SalesFeed;

/// What the graph is made of; what it is not made of stays empty.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// [`crate::inputs::SalesInputs::cells`].
    pub sales_cells: bool,
    /// [`crate::inputs::SalesInputs::products`].
    pub sales_products: bool,
    /// [`crate::inputs::SalesInputs::mismatches`].
    pub mismatches: bool,
    /// [`crate::inputs::SalesInputs::buyers_sales`].
    pub buyers_sales: bool,
    /// [`crate::inputs::SalesInputs::dealings`] and [`crate::inputs::ActivityInputs::dealings`].
    pub dealings: bool,
    /// [`crate::inputs::SalesInputs::records`].
    pub sales_records: bool,
    /// [`crate::inputs::ActivityInputs::cells`].
    pub activity_cells: bool,
    /// [`crate::inputs::ActivityInputs::users`].
    pub users: bool,
    /// [`crate::inputs::ActivityInputs::moments`].
    pub moments: bool,
    /// [`crate::inputs::ActivityInputs::seen`].
    pub seen: bool,
    /// [`crate::inputs::ActivityInputs::interest`].
    pub interest: bool,
    /// [`crate::inputs::ActivityInputs::records`].
    pub activity_records: bool,
}

/// One worker's inputs.
pub struct Feed {
    sales: SalesFeed,
    activities: ActivityFeed,
    stock: InputSession<Tick, StockCandidate, Diff>,
    clocks: InputSession<Tick, PartitionClock, Diff>,
    quality: InputSession<Tick, (), QualityMeasures>,
}

impl Feed {
    /// A feed of what `parts` names.
    pub fn new(parts: Parts) -> Feed {
        Feed {
            sales: SalesFeed::new(parts),
            activities: ActivityFeed::new(parts),
            stock: InputSession::new(),
            clocks: InputSession::new(),
            quality: InputSession::new(),
        }
    }

    /// The collections that it feeds, in a graph that is being built. To be called once.
    pub fn inputs<'scope>(&mut self, scope: Scope<'scope, Tick>) -> Inputs<'scope> {
        Inputs {
            sales: self.sales.inputs(scope),
            activities: self.activities.inputs(scope),
            stock: self.stock.to_collection(scope),
            clocks: self.clocks.to_collection(scope),
            quality: self.quality.to_collection(scope),
        }
    }

    /// Takes a fact in, at the open tick. Only the choice is inlined: a fact is large, and would be copied to be handed over.
    #[inline(always)]
    pub fn take(&mut self, fact: Fact<'_>) {
        match fact {
            Fact::Sale(placed, difference) => self.sales.take(&placed, difference),
            Fact::Activity(activity) => self.activities.take(&activity),
            Fact::Stock(candidate, difference) => self.stock.update(candidate, difference),
        }
    }

    /// Tells how far a partition is, where it was `from` for the graph: absent before its first record.
    pub fn move_clock(&mut self, from: Option<PartitionClock>, to: PartitionClock) {
        if let Some(from) = from {
            self.clocks.update(from, -1);
        }
        self.clocks.update(to, 1);
    }

    /// Counts outcomes and reasons.
    pub fn count(&mut self, outcomes: QualityMeasures) {
        self.quality.update((), outcomes);
    }

    /// Closes every tick before `tick`, and opens it.
    pub fn advance_to(&mut self, tick: Tick) {
        self.sales.advance_to(tick);
        self.advance_all_but_sales_to(tick);
    }

    /// What a worker looks like that others wait for: sales lag behind.
    fn advance_all_but_sales_to(&mut self, tick: Tick) {
        self.activities.advance_to(tick);
        sums::advance(&mut self.stock, tick);
        sums::advance(&mut self.clocks, tick);
        sums::advance(&mut self.quality, tick);
    }

    /// For tests of what must not wait for sales: closes every tick before `tick` for everything else.
    #[cfg(feature = "oracle")]
    pub fn hold_sales_back(&mut self, tick: Tick) {
        self.advance_all_but_sales_to(tick);
    }
}
