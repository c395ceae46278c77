//! `revenue_anomaly`: the last whole hour before `as_of`'s against the mean and the population standard deviation of the
//! 24 hours before it, for categories with sales in at least 12 of them.

use std::collections::BTreeMap;

use ethnum::I256;

use super::{Facts, times};
use crate::outputs::{AlertKind, RevenueAnomaly, RowBody, RowKey, Subject};
use crate::records::{Millis, Text};
use crate::time::{Granularity, HOUR};

pub(super) fn rows(facts: &Facts, give: &mut impl FnMut(RowKey, RowBody)) {
    let Some(as_of) = times::as_of(facts) else { return };
    let judged = times::window(Granularity::Hour, as_of).start - HOUR;
    let mut categories: BTreeMap<&Text, BTreeMap<Millis, i128>> = BTreeMap::new();
    for sale in &facts.sales {
        let hours = categories.entry(&sale.category).or_default();
        *hours.entry(times::window(Granularity::Hour, sale.timestamp).start).or_default() +=
            i128::from(sale.total_amount.0);
    }
    for (category, hours) in categories {
        let base: Vec<i128> =
            (1..=24).map(|back| hours.get(&(judged - back * HOUR)).copied().unwrap_or_default()).collect();
        let with_sales = (1..=24).filter(|back| hours.contains_key(&(judged - back * HOUR))).count();
        let revenue = hours.get(&judged).copied().unwrap_or_default();
        // All times 24, so that the mean is whole; the variance times 24 * 24 * 24.
        let mean: i128 = base.iter().sum();
        let square = |number: i128| I256::from(number) * I256::from(number);
        let variance: I256 = base.iter().map(|hour| square(24 * hour - mean)).sum();
        if with_sales >= 12 && square(24 * revenue - mean) * I256::from(24) > I256::from(9) * variance {
            let subject = Subject::Category(category.clone());
            let body = RowBody::Anomaly(RevenueAnomaly { revenue, base: mean });
            give(RowKey::Alert(AlertKind::RevenueAnomaly, subject), body);
        }
    }
}
