//! `funnel`: how many visits came how far?
//!
//! ```sql
//! SELECT window(first), count(*) AS sessions, count(*) FILTER (WHERE page_views > 0) AS viewed,
//!        count(*) FILTER (WHERE product_views > 0) AS viewed_product,
//!        count(*) FILTER (WHERE last_purchase >= first_page_view) AS purchased
//! FROM visits GROUP BY window(first)
//! ```
//!
//! Granularities: hour, day, of the session's first event. Key: none. Units: sessions.
//! State: none of its own (one entry per row in `visit_rollups`). Bound: windows with visits, until
//! they are final and a day old.

use differential_dataflow::VecCollection;

use super::visits::{Visit, dated_by_first_event};
use crate::measures::VisitMeasures;
use crate::outputs::View;
use crate::time::{Diff, Tick};
use crate::views::Contributions;

/// What each session adds to the view's rows.
pub fn funnel<'scope>(visits: VecCollection<'scope, Tick, Visit, Diff>) -> Contributions<'scope, VisitMeasures> {
    dated_by_first_event(visits, View::Funnel, "Combine: funnel", |visit| VisitMeasures {
        sessions: 1,
        viewed: i64::from(visit.page_views > 0),
        viewed_product: i64::from(visit.viewed_product),
        purchased: i64::from(visit.purchased_after_view),
        ..VisitMeasures::default()
    })
}
