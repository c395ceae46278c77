//! `purchases_unmatched`: both sides of the last 24 hours, walked as the rule is worded.

use std::collections::{BTreeMap, VecDeque};

use super::{Facts, times};
use crate::measures::UnmatchedMeasures;
use crate::outputs::{Metric, RowBody, RowKey};
use crate::records::{Millis, Text};
use crate::time::LiveRange;

const FIVE_MINUTES: Millis = 5 * 60 * 1_000;

pub(super) fn rows(facts: &Facts, give: &mut impl FnMut(RowKey, RowBody)) {
    let as_of = times::as_of(facts);
    let live = |at: Millis| as_of.is_some_and(|as_of| times::is_live(LiveRange::Last24Hours, at, as_of));
    let mut deals: BTreeMap<(&Text, &Text, i64), [Vec<Millis>; 2]> = BTreeMap::new();
    for activity in facts.activities.iter().filter(|activity| activity.activity_type == "purchase") {
        if let (Some(product), Some(amount)) = (&activity.product_id, activity.amount)
            && live(activity.timestamp)
        {
            deals.entry((&activity.user_id, product, amount.0)).or_default()[0].push(activity.timestamp);
        }
    }
    for sale in facts.sales.iter().filter(|sale| live(sale.timestamp)) {
        deals.entry((&sale.user_id, &sale.product_id, sale.total_amount.0)).or_default()[1].push(sale.timestamp);
    }
    let mut sums = UnmatchedMeasures::default();
    for (_, sides) in deals {
        let [mut purchases, mut sales] = sides.map(|mut side| {
            side.sort_unstable();
            VecDeque::from(side)
        });
        loop {
            match (purchases.front().copied(), sales.front().copied()) {
                (None, None) => break,
                (Some(purchase), Some(sale)) if (purchase - sale).abs() <= FIVE_MINUTES => {
                    purchases.pop_front();
                    sales.pop_front();
                }
                (purchase, sale) => {
                    if sale.is_none_or(|sale| purchase.is_some_and(|purchase| purchase < sale)) {
                        purchases.pop_front();
                        sums.purchases += 1;
                    } else {
                        sales.pop_front();
                        sums.sales += 1;
                    }
                }
            }
        }
    }
    give(RowKey::Metric(Metric::PurchasesUnmatched), RowBody::Unmatched(sums));
}
