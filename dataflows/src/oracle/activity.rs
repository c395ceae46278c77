//! `activity_by_type` and `active_users`: accepted activities by window and type, and the different users of each
//! window. A window without activity has no row.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, times};
use crate::measures::ActivityMeasures;
use crate::outputs::{RollupKey, RowBody, RowKey, View};
use crate::records::{Millis, Text, Topic};
use crate::time::Granularity;
use crate::time::Window;

pub(super) fn rows(facts: &Facts, correction_window: Millis, give: &mut impl FnMut(RowKey, RowBody)) {
    let mut types: BTreeMap<(Window, &Text), ActivityMeasures> = BTreeMap::new();
    let mut users: BTreeMap<Window, BTreeSet<&Text>> = BTreeMap::new();
    for activity in &facts.activities {
        for granularity in [Granularity::Minute, Granularity::Hour, Granularity::Day] {
            let window = times::window(granularity, activity.timestamp);
            let sums = types.entry((window, &activity.activity_type)).or_default();
            sums.events += 1;
            if let Some(amount) = activity.amount {
                sums.amount += i128::from(amount.0);
            }
            if granularity != Granularity::Minute {
                users.entry(window).or_default().insert(&activity.user_id);
            }
        }
    }
    let is_final = |window| times::is_final(facts, Topic::UserActivity, window, correction_window);
    for ((window, kind), sums) in types {
        let key = RollupKey { window, view: View::ActivityByType, key: kind.clone() };
        give(RowKey::Rollup(key), RowBody::Activity(sums, is_final(window)));
    }
    for (window, users) in users {
        let key = RollupKey { window, view: View::ActiveUsers, key: Text::default() };
        give(RowKey::Rollup(key), RowBody::Users(users.len() as i64, is_final(window)));
    }
}
