//! `sessions`: how many visits were there, how long were they, and what came of them?
//!
//! ```sql
//! SELECT window(first), count(*) AS sessions, count(*) FILTER (WHERE events = 1) AS bounced,
//!        count(*) FILTER (WHERE purchases > 0) AS converted, sum(page_views), sum(last - first) AS duration
//! FROM visits GROUP BY window(first)
//! ```
//!
//! Granularities: hour, day, of the session's first event. Key: none. Units: sessions; milliseconds of duration.
//! State: none of its own (one entry per row in `visit_rollups`). Bound: windows with visits, until
//! they are final and a day old.

use differential_dataflow::VecCollection;

use super::visits::{Visit, dated_by_first_event};
use crate::measures::VisitMeasures;
use crate::outputs::View;
use crate::time::{Diff, Tick};
use crate::views::Contributions;

/// What each session adds to the view's rows.
pub fn sessions<'scope>(visits: VecCollection<'scope, Tick, Visit, Diff>) -> Contributions<'scope, VisitMeasures> {
    dated_by_first_event(visits, View::Sessions, "Combine: sessions", |visit| VisitMeasures {
        sessions: 1,
        bounced: i64::from(visit.events == 1),
        converted: i64::from(visit.purchased),
        page_views: visit.page_views,
        duration: visit.last - visit.first,
        ..VisitMeasures::default()
    })
}
