//! `customers`: by day, the users whose first sale it is and the others who bought.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, times};
use crate::measures::CustomerMeasures;
use crate::outputs::{RollupKey, RowBody, RowKey, View};
use crate::records::{Millis, Sale, Text, Topic};
use crate::time::{Granularity, Window};

pub(super) fn rows(facts: &Facts, correction_window: Millis, give: &mut impl FnMut(RowKey, RowBody)) {
    let sales = || facts.sales.iter().zip(&facts.sales_partitions);
    let mut firsts: BTreeMap<&Text, (&Sale, i32)> = BTreeMap::new();
    for (sale, partition) in sales() {
        let first = firsts.entry(&sale.user_id).or_insert((sale, *partition));
        let order = |(sale, partition): (&Sale, i32)| (sale.timestamp, sale.transaction_id.clone(), partition);
        if order((sale, *partition)) < order(*first) {
            *first = (sale, *partition);
        }
    }
    let day = |sale: &Sale| times::window(Granularity::Day, sale.timestamp);
    let mut days: BTreeMap<Window, (BTreeSet<&Text>, i128)> = BTreeMap::new();
    for (sale, _) in sales() {
        let (buyers, revenue) = days.entry(day(sale)).or_default();
        buyers.insert(&sale.user_id);
        *revenue += i128::from(sale.total_amount.0);
    }
    for (window, (buyers, revenue)) in days {
        let new = firsts.values().filter(|(sale, _)| day(sale) == window);
        let sums = CustomerMeasures {
            buyers: buyers.len() as i64,
            new_customers: new.clone().count() as i64,
            revenue,
            new_revenue: new.map(|(sale, _)| i128::from(sale.total_amount.0)).sum(),
        };
        let is_final = times::is_final(facts, Topic::Sales, window, correction_window);
        let key = RollupKey { window, view: View::Customers, key: Text::default() };
        give(RowKey::Rollup(key), RowBody::Customers(sums, is_final));
    }
}
