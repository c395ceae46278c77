//! `top_products_last_hour` and `top_products_last_24h`: which products brought the most revenue in the last 60
//! minute buckets, or 24 hour buckets?
//!
//! ```sql
//! SELECT product_id, sum(total_amount) AS revenue, sum(quantity) AS units
//! FROM sales WHERE bucket IN (SELECT bucket FROM live_windows)
//! GROUP BY product_id ORDER BY revenue DESC, product_id LIMIT 10
//! ```
//!
//! Key: none; one row for each range, with an empty list when it is empty. Units: pieces and 1/10,000 of the currency.
//! State: `live_products`, one entry per product and
//! range, and the ranking's groups (three levels, so a change costs a few hundred comparisons among a million
//! products). Bound: products sold in the last hour and in the last 24 hours.

use std::cmp::Reverse;

use differential_dataflow::operators::CountTotal;

use crate::arrangements::Arrangements;
use crate::operators::{top, with_default};
use crate::outputs::{Metric, RankedProduct, RowBody, RowKey, Rows};
use crate::time::LiveRange;

/// How many products a ranking has.
const LIMIT: usize = 10;

/// The metrics' rows.
pub fn top_products<'scope>(arrangements: &Arrangements<'scope>) -> Rows<'scope> {
    let sums = arrangements
        .live_products
        .clone()
        .join_core(arrangements.live_windows.clone(), |window, product, ()| {
            LiveRange::of(window.granularity).map(|range| (range, product.clone()))
        })
        .arrange_by_self_named("Top products: sums")
        .count_total_core();
    let candidates =
        sums.map(|((range, product), measures)| (range, (Reverse(measures.revenue), product, measures.units)));
    let row = |range, products| (RowKey::Metric(Metric::TopProducts(range)), RowBody::Ranking(products));
    let rankings = top(candidates, "Top products", LIMIT).map(move |(range, best)| {
        let products = best
            .into_iter()
            .map(|(Reverse(revenue), product_id, units)| RankedProduct { product_id, revenue, units })
            .collect();
        row(range, products)
    });
    let [hour, day] = LiveRange::ALL.map(|range| {
        let rows = rankings.clone().filter(move |(key, _)| *key == RowKey::Metric(Metric::TopProducts(range)));
        with_default(rows, row(range, Vec::new()))
    });
    hour.concat(day)
}
