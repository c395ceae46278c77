//! `activity_by_type`: how much of each kind of activity was there?
//!
//! ```sql
//! SELECT window, activity_type, count(*) AS events, sum(coalesce(amount, 0)) AS amount
//! FROM user_activity GROUP BY window, activity_type
//! ```
//!
//! Granularities: minute, hour, day. Key: activity_type, an unknown one under its own name.
//! Units: events; 1/10,000 of the currency. State: one entry per row, in the arrangement `activity_rollups`. Bound:
//! windows x types, until they are final and a day old.

use crate::cells::{ActivityCell, ActivityCells};
use crate::measures::ActivityMeasures;
use crate::outputs::View;
use crate::records::Activity;
use crate::time::{Granularity, Window};
use crate::views::{Contributions, rollup};

/// What each cell adds to the view's rows.
pub fn activity_by_type<'scope>(cells: ActivityCells<'scope>) -> Contributions<'scope, ActivityMeasures> {
    cells.map(|(window, kind)| rollup(View::ActivityByType, window, kind))
}

/// What an activity adds to its cell.
pub fn cell_of(activity: &Activity<&str>) -> (ActivityCell, ActivityMeasures) {
    let amount = i128::from(activity.amount.unwrap_or_default().0);
    let cell = (Window::of(Granularity::Minute, activity.timestamp), activity.activity_type.into());
    (cell, ActivityMeasures { events: 1, amount })
}
