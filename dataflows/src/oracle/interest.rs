//! `product_interest`: page views and purchases that name a product, and sales of it, by day.

use std::collections::BTreeMap;

use super::{Facts, times};
use crate::measures::InterestMeasures;
use crate::outputs::{RollupKey, RowBody, RowKey, View};
use crate::records::{Millis, Text, Topic};
use crate::time::{Granularity, Window};

pub(super) fn rows(facts: &Facts, correction_window: Millis, give: &mut impl FnMut(RowKey, RowBody)) {
    let mut sums: BTreeMap<(Window, &Text), InterestMeasures> = BTreeMap::new();
    for activity in &facts.activities {
        let Some(product) = &activity.product_id else { continue };
        let (views, purchases) = match activity.activity_type.as_str() {
            "page_view" => (1, 0),
            "purchase" => (0, 1),
            _ => continue,
        };
        let sums = sums.entry((times::window(Granularity::Day, activity.timestamp), product)).or_default();
        sums.rows += 1;
        sums.views += views;
        sums.purchases += purchases;
    }
    for sale in &facts.sales {
        let sums = sums.entry((times::window(Granularity::Day, sale.timestamp), &sale.product_id)).or_default();
        sums.rows += 1;
        sums.units_sold += sale.quantity;
        sums.revenue += i128::from(sale.total_amount.0);
    }
    for ((window, product), sums) in sums {
        let is_final = [Topic::UserActivity, Topic::Sales]
            .into_iter()
            .all(|topic| times::is_final(facts, topic, window, correction_window));
        let key = RollupKey { window, view: View::ProductInterest, key: product.clone() };
        give(RowKey::Rollup(key), RowBody::Interest(sums, is_final));
    }
}
