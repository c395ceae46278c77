//! `activity_last_hour`, `sales_all`, `sales_last_hour`, `sales_last_24h`, `top_products_last_hour`, `top_products_last_24h`: always there,
//! zero or an empty list when nothing counts.

use std::collections::{BTreeMap, BTreeSet};

use super::sales::count;
use super::{Facts, times};
use crate::measures::{LastHourMeasures, SalesMeasures};
use crate::outputs::{Metric, RankedProduct, RowBody, RowKey};
use crate::records::{Activity, Millis, Sale, Text};
use crate::time::Granularity::Day;
use crate::time::LiveRange;

/// The length of a ranking.
const BEST: usize = 10;

fn total<'a>(sales: impl IntoIterator<Item = &'a Sale>) -> SalesMeasures {
    let mut sums = SalesMeasures::default();
    sales.into_iter().for_each(|sale| count(&mut sums, sale));
    sums
}

fn ranking<'a>(sales: impl IntoIterator<Item = &'a Sale>) -> Vec<RankedProduct> {
    let mut products: BTreeMap<&Text, SalesMeasures> = BTreeMap::new();
    for sale in sales {
        count(products.entry(&sale.product_id).or_default(), sale);
    }
    let mut ranking: Vec<RankedProduct> = products
        .into_iter()
        .map(|(product, sums)| RankedProduct { product_id: product.clone(), revenue: sums.revenue, units: sums.units })
        .collect();
    ranking
        .sort_by(|a, b| b.revenue.cmp(&a.revenue).then_with(|| a.product_id.as_bytes().cmp(b.product_id.as_bytes())));
    ranking.truncate(BEST);
    ranking
}

fn last_hour(facts: &Facts, as_of: Option<Millis>) -> LastHourMeasures {
    let live = |activity: &&Activity| {
        as_of.is_some_and(|as_of| times::is_live(LiveRange::LastHour, activity.timestamp, as_of))
    };
    let live: Vec<&Activity> = facts.activities.iter().filter(live).collect();
    let session = |activity: &&Activity| (activity.session_id.clone(), times::window(Day, activity.timestamp));
    let users: BTreeSet<&Text> = live.iter().map(|activity| &activity.user_id).collect();
    let sessions: BTreeSet<_> = live.iter().map(session).collect();
    let purchases = live.iter().filter(|activity| activity.activity_type == "purchase");
    let converted: BTreeSet<_> = purchases.map(session).collect();
    LastHourMeasures {
        events: live.len() as i64,
        users: users.len() as i64,
        sessions: sessions.len() as i64,
        converted: converted.len() as i64,
    }
}

pub(super) fn rows(facts: &Facts, give: &mut impl FnMut(RowKey, RowBody)) {
    give(RowKey::Metric(Metric::SalesAll), RowBody::Sales(total(&facts.sales), false));
    let as_of = times::as_of(facts);
    give(RowKey::Metric(Metric::ActivityLastHour), RowBody::LastHour(last_hour(facts, as_of)));
    for range in [LiveRange::LastHour, LiveRange::Last24Hours] {
        let live = |sale: &&Sale| as_of.is_some_and(|as_of| times::is_live(range, sale.timestamp, as_of));
        let sales: Vec<&Sale> = facts.sales.iter().filter(live).collect();
        give(RowKey::Metric(Metric::SalesLast(range)), RowBody::Sales(total(sales.iter().copied()), false));
        give(RowKey::Metric(Metric::TopProducts(range)), RowBody::Ranking(ranking(sales)));
    }
}
