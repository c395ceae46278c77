//! `sessions` and `funnel`: all events of one session_id within one UTC day are a session, which counts in the hour and
//! in the day of its first event. No record can change such an hour any more when none can change its day.

use std::collections::BTreeMap;

use super::{Facts, times};
use crate::measures::VisitMeasures;
use crate::outputs::{RollupKey, RowBody, RowKey, View};
use crate::records::{Activity, Millis, Text, Topic};
use crate::time::{Granularity, Window};

pub(super) fn rows(facts: &Facts, correction_window: Millis, give: &mut impl FnMut(RowKey, RowBody)) {
    let mut events: BTreeMap<(Window, &Text), Vec<&Activity>> = BTreeMap::new();
    for activity in &facts.activities {
        let day = times::window(Granularity::Day, activity.timestamp);
        events.entry((day, &activity.session_id)).or_default().push(activity);
    }
    let mut sums: BTreeMap<(View, Window), VisitMeasures> = BTreeMap::new();
    for events in events.values() {
        let instants = || events.iter().map(|event| event.timestamp);
        let (first, last) = (instants().min().expect("an event"), instants().max().expect("an event"));
        let of_type = |wanted: &'static str| events.iter().filter(move |event| event.activity_type == wanted);
        let viewed = of_type("page_view").map(|event| event.timestamp).min();
        for granularity in [Granularity::Hour, Granularity::Day] {
            let window = times::window(granularity, first);
            let sessions = sums.entry((View::Sessions, window)).or_default();
            sessions.sessions += 1;
            sessions.bounced += i64::from(events.len() == 1);
            sessions.converted += i64::from(of_type("purchase").count() >= 1);
            sessions.page_views += of_type("page_view").count() as i64;
            sessions.duration += last - first;
            let funnel = sums.entry((View::Funnel, window)).or_default();
            funnel.sessions += 1;
            funnel.viewed += i64::from(viewed.is_some());
            funnel.viewed_product += i64::from(of_type("page_view").any(|event| event.product_id.is_some()));
            let bought = |view| of_type("purchase").any(|event| event.timestamp >= view);
            funnel.purchased += i64::from(viewed.is_some_and(bought));
        }
    }
    for ((view, window), sums) in sums {
        let day = times::window(Granularity::Day, window.start);
        let is_final = times::is_final(facts, Topic::UserActivity, day, correction_window);
        let key = RollupKey { window, view, key: Text::default() };
        give(RowKey::Rollup(key), RowBody::Visits(sums, is_final));
    }
}
