//! `activity_last_hour`: what was done in the last 60 minute buckets, and by how many?
//!
//! ```sql
//! SELECT count(*) AS events, count(DISTINCT user_id) AS users, count(DISTINCT (session_id, day)) AS sessions,
//!        count(DISTINCT (session_id, day)) FILTER (WHERE activity_type = 'purchase') AS converted
//! FROM user_activity WHERE bucket IN (SELECT bucket FROM live_windows)
//! ```
//!
//! Key: none; one row, zero when the hour is empty. Units: events, users, sessions. A session is judged by what of it lies in these buckets, and ends at midnight.
//! State: `live_activity`, one entry per minute, user and session; and of the hour one per user and per session.
//! Bound: the activities of the last hour, swept once they are older.

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Multiply;
use differential_dataflow::operators::{CountTotal, ThresholdTotal};
use serde::{Deserialize, Serialize};

use crate::arrangements::Arrangements;
use crate::inputs::SeenByMinute;
use crate::measures::LastHourMeasures;
use crate::operators::{combine, with_default};
use crate::outputs::{Metric, RowBody, RowKey, Rows};
use crate::records::{Activity, Millis, Text};
use crate::time::{Diff, Granularity, Tick, Window};

/// What of an activity the metric depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seen {
    session_id: Text,
    user_id: Text,
    is_purchase: bool,
}

/// What matters of an activity, by its minute.
pub fn seen_by_minute(activity: &Activity<&str>) -> SeenByMinute {
    let (session_id, user_id) = (activity.session_id.into(), activity.user_id.into());
    let seen = Seen { session_id, user_id, is_purchase: activity.activity_type == "purchase" };
    (Window::of(Granularity::Minute, activity.timestamp), seen)
}

/// The metric's row.
pub fn activity_last_hour<'scope>(arrangements: &Arrangements<'scope>) -> Rows<'scope> {
    let live = arrangements.live_activity.clone().join_core(arrangements.live_windows.clone(), |window, seen, ()| {
        Some((Granularity::Day.start(window.start), seen.clone()))
    });
    let nothing = LastHourMeasures::default();
    let counted = |name: &str, one: LastHourMeasures| {
        let name = name.to_owned();
        move |each: VecCollection<'scope, Tick, (Text, Millis), Diff>| {
            let each = each.arrange_by_self_named(&name).threshold_total(|_, _: &Diff| 1);
            combine(each, &format!("Combine: {name}"), move |_, difference: Diff, give| {
                give((), one.multiply(&difference));
            })
        }
    };
    let events = combine(live.clone(), "Combine: last hour, events", move |_, difference: Diff, give| {
        give((), LastHourMeasures { events: 1, ..nothing }.multiply(&difference));
    });
    let users = counted("Last hour: users", LastHourMeasures { users: 1, ..nothing });
    let users = users(live.clone().map(|(_day, seen)| (seen.user_id, 0)));
    let sessions = counted("Last hour: sessions", LastHourMeasures { sessions: 1, ..nothing });
    let sessions = sessions(live.clone().map(|(day, seen)| (seen.session_id, day)));
    let converted = counted("Last hour: converted", LastHourMeasures { converted: 1, ..nothing });
    let converted = converted(live.filter(|(_, seen)| seen.is_purchase).map(|(day, seen)| (seen.session_id, day)));

    let row = |measures| (RowKey::Metric(Metric::ActivityLastHour), RowBody::LastHour(measures));
    let sums = events
        .concat(users)
        .concat(sessions)
        .concat(converted)
        .arrange_by_self_named("Activity, last hour")
        .count_total_core();
    with_default(sums.map(move |((), measures)| row(measures)), row(nothing))
}
