//! `active_users`: how many different users did anything?
//!
//! ```sql
//! SELECT window, count(DISTINCT user_id) AS users FROM user_activity GROUP BY window
//! ```
//!
//! Granularities: hour, day. Key: none. Units: users. A window without activity has no row.
//! State: one entry per user and hour, one per user and day (a day's users are the distinct users of its hours,
//! so a user's every further hour costs the day one count), and one per row in `user_rollups`. Bound: users x hours and days
//! in which they did something, until these are final and a day old.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::ThresholdTotal;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::KeySpine;

use crate::inputs::UserHour;
use crate::operators::combine;
use crate::outputs::View;
use crate::records::{Activity, Text};
use crate::state::State;
use crate::time::{Diff, Granularity, Tick, Window};
use crate::views::{Contributions, rollup};

/// The user and the hour of an activity.
pub fn user_hour(activity: &Activity<&str>) -> UserHour {
    (Window::of(Granularity::Hour, activity.timestamp), activity.user_id.into())
}

/// What each user present in an hour or a day adds to the view's rows.
pub fn active_users<'scope>(
    hours: VecCollection<'scope, Tick, UserHour, Diff>,
    state: &mut State,
) -> Contributions<'scope, i64> {
    let name = "Active users: hours";
    let hours = state.keys(name, hours, Some(|(hour, _)| hour.end()), |hours| hours.arrange_by_self_named(name));
    let hours = distinct(hours);
    let days = combine(hours.clone(), "Combine: users by day", |(window, user): UserHour, difference, give| {
        give((Window::of(Granularity::Day, window.start), user), difference);
    });
    let days = distinct(days.arrange_by_self_named("Active users: days"));
    hours.concat(days).map(|(window, _user)| rollup(View::ActiveUsers, window, Text::default()))
}

/// Users by their windows.
type Users<'scope> = Arranged<'scope, TraceAgent<KeySpine<UserHour, Tick, Diff>>>;

fn distinct<'scope>(users: Users<'scope>) -> VecCollection<'scope, Tick, UserHour, Diff> {
    users.threshold_total(|user, count: &Diff| {
        assert!(*count > 0, "{user:?} is active {count} times");
        1
    })
}
