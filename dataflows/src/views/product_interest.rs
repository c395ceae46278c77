//! `product_interest`: what was looked at, and what was bought of it?
//!
//! ```sql
//! SELECT day, product_id, views, purchases, units_sold, revenue
//! FROM (SELECT day, product_id, count(*) FILTER (WHERE activity_type = 'page_view') AS views,
//!              count(*) FILTER (WHERE activity_type = 'purchase') AS purchases
//!       FROM user_activity WHERE activity_type IN ('page_view', 'purchase') AND product_id IS NOT NULL
//!       GROUP BY day, product_id)
//! FULL JOIN (SELECT day, product_id, sum(quantity) AS units_sold, sum(total_amount) AS revenue
//!            FROM sales GROUP BY day, product_id) USING (day, product_id)
//! ```
//!
//! Granularity: day. Key: product_id. Units: events; pieces; 1/10,000 of the currency.
//! The join is a sum: either side adds its part to the same row. State: one entry per row in `interest_rollups`.
//! Bound: days x products, until they are final and a day old.

use crate::cells::{ProductCell, ProductCells};
use crate::measures::{InterestMeasures, SalesMeasures};
use crate::operators::combine;
use crate::outputs::{RollupKey, View};
use crate::records::Activity;
use crate::time::{Granularity, Window};
use crate::views::{Contributions, rollup};

/// What an activity adds to the view's rows.
pub fn interest_of(activity: &Activity<&str>) -> Option<(RollupKey, InterestMeasures)> {
    let product = activity.product_id?;
    let nothing = InterestMeasures::default();
    let measures = match activity.activity_type {
        "page_view" => InterestMeasures { rows: 1, views: 1, ..nothing },
        "purchase" => InterestMeasures { rows: 1, purchases: 1, ..nothing },
        _ => return None,
    };
    let window = Window::of(Granularity::Day, activity.timestamp);
    Some((rollup(View::ProductInterest, window, product.into()), measures))
}

/// What activities and each day's sales of a product add to the view's rows.
pub fn product_interest<'scope>(
    seen: Contributions<'scope, InterestMeasures>,
    product_days: ProductCells<'scope>,
) -> Contributions<'scope, InterestMeasures> {
    let sold = combine(
        product_days,
        "Combine: products sold",
        |(window, product): ProductCell, SalesMeasures { transactions, units, revenue }, give| {
            let measures =
                InterestMeasures { rows: transactions, units_sold: units, revenue, ..InterestMeasures::default() };
            give(rollup(View::ProductInterest, window, product), measures);
        },
    );
    seen.concat(sold)
}
