//! `sales_last_hour` and `sales_last_24h`: what was sold in the last 60 minute buckets, or 24 hour buckets?
//!
//! ```sql
//! SELECT count(*) AS transactions, sum(quantity) AS units, sum(total_amount) AS revenue
//! FROM sales WHERE bucket IN (SELECT bucket FROM live_windows)
//! ```
//!
//! Key: none; one row for each range, zero when it is empty. Units: pieces and 1/10,000 of the currency. The live windows name rows of `sales_total`, so the metric is a
//! join of 84 keys with the rollups that are there anyway. State: the 84 keys and one entry per
//! range. Bound: those 86.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;

use crate::arrangements::Rollups;
use crate::measures::SalesMeasures;
use crate::operators::with_default;
use crate::outputs::{Metric, RowBody, RowKey, Rows, View};
use crate::records::Text;
use crate::time::{Diff, LiveRange, Tick, Window};
use crate::views::rollup;

/// The metrics' rows.
pub fn sales_last<'scope>(
    sales_rollups: Rollups<'scope, SalesMeasures>,
    live_windows: VecCollection<'scope, Tick, Window, Diff>,
) -> Rows<'scope> {
    let row = |range, measures| (RowKey::Metric(Metric::SalesLast(range)), RowBody::Sales(measures, false));
    let keys = live_windows
        .map(|window| rollup(View::SalesTotal, window, Text::default()))
        .arrange_by_self_named("Sales, last: live rows of sales_total");
    let sums = sales_rollups
        .join_core(keys, |key, (), ()| LiveRange::of(key.window.granularity))
        .arrange_by_self_named("Sales, last")
        .count_total_core()
        .map(move |(range, measures)| row(range, measures));
    let [hour, day] = LiveRange::ALL.map(|range| {
        let rows = sums.clone().filter(move |(key, _)| *key == RowKey::Metric(Metric::SalesLast(range)));
        with_default(rows, row(range, SalesMeasures::default()))
    });
    hour.concat(day)
}
