//! `sales_all`: what was ever sold?
//!
//! ```sql
//! SELECT count(*) AS transactions, sum(quantity) AS units, sum(total_amount) AS revenue FROM sales
//! ```
//!
//! Key: none; one row, zero when there are no sales. Units: pieces and 1/10,000 of the currency. State: one entry.
//! Bound: that one.

use differential_dataflow::operators::CountTotal;

use crate::cells::SalesCells;
use crate::measures::SalesMeasures;
use crate::operators::{combine, with_default};
use crate::outputs::{Metric, RowBody, RowKey, Rows};
use crate::state::State;
use crate::time::Granularity;

/// The metric's row.
pub fn sales_all<'scope>(cells: SalesCells<'scope>, state: &mut State) -> Rows<'scope> {
    let row = |measures| (RowKey::Metric(Metric::SalesAll), RowBody::Sales(measures, false));
    let sums = combine(cells, "Combine: sales, all", |cell: crate::cells::SalesCell, measures, give| {
        if cell.window.granularity == Granularity::Day {
            give((), measures);
        }
    });
    let name = "Sales, all";
    let sums = state.keys(name, sums, None, |sums| sums.arrange_by_self_named(name)).count_total_core();
    with_default(sums.map(move |((), measures)| row(measures)), row(SalesMeasures::default()))
}
