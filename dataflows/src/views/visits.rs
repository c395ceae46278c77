//! Visits: what happened within each session? (`sessions` and `funnel` count them.)
//!
//! ```sql
//! SELECT session_id, day, min(timestamp) AS first, max(timestamp) AS last, count(*) AS events, ...
//! FROM user_activity GROUP BY session_id, date_trunc('day', timestamp) AS day
//! ```
//!
//! Key: session_id and UTC day; a session ends at midnight. Units: events, milliseconds. State: one entry per event of a
//! session, and one per session. Bound: all accepted activities of days that are not final and a day old: any of them may turn
//! out to be the first, which dates the session. Two sessions never become one: the id and the day tell them apart. An event that comes late belongs to its session
//! whatever came before it, so it may move the session to an earlier hour, and the session leaves the later one.

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Multiply;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use serde::{Deserialize, Serialize};

use crate::inputs::MomentOfVisit;
use crate::measures::VisitMeasures;
use crate::operators::combine;
use crate::outputs::View;
use crate::records::{Activity, Millis, Text};
use crate::state::State;
use crate::time::{DAY, Diff, Granularity, Tick, Window};
use crate::views::{Contributions, rollup};

/// What of an event matters to its session, the earliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment {
    timestamp: Millis,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Kind {
    PageView,
    ProductView,
    Purchase,
    Other,
}

/// An activity as it matters to its session.
pub fn moment_of(activity: &Activity<&str>) -> MomentOfVisit {
    let kind = match (activity.activity_type, activity.product_id) {
        ("page_view", None) => Kind::PageView,
        ("page_view", Some(_)) => Kind::ProductView,
        ("purchase", _) => Kind::Purchase,
        _ => Kind::Other,
    };
    let session = (Granularity::Day.start(activity.timestamp), activity.session_id.into());
    (session, Moment { timestamp: activity.timestamp, kind })
}

/// A session of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Visit {
    /// Its first event.
    pub first: Millis,
    /// Its last event.
    pub last: Millis,
    /// Its events.
    pub events: i64,
    /// Its events of type `page_view`.
    pub page_views: i64,
    /// Whether one of them has a product.
    pub viewed_product: bool,
    /// Whether there is an event of type `purchase`.
    pub purchased: bool,
    /// Whether there is one at or after the first `page_view`.
    pub purchased_after_view: bool,
}

impl Visit {
    /// Of moments in order, each with how often it is there.
    fn of(moments: &[(&Moment, Diff)]) -> Visit {
        let (first, last) = (moments[0].0.timestamp, moments[moments.len() - 1].0.timestamp);
        let is_view = |kind| matches!(kind, Kind::PageView | Kind::ProductView);
        let first_view = moments.iter().find(|(moment, _)| is_view(moment.kind)).map(|(moment, _)| moment.timestamp);
        let purchases = || moments.iter().filter(|(moment, _)| moment.kind == Kind::Purchase);
        Visit {
            first,
            last,
            events: moments.iter().map(|(_, count)| count).sum(),
            page_views: moments.iter().filter(|(moment, _)| is_view(moment.kind)).map(|(_, count)| count).sum(),
            viewed_product: moments.iter().any(|(moment, _)| moment.kind == Kind::ProductView),
            purchased: purchases().next().is_some(),
            purchased_after_view: first_view
                .is_some_and(|view| purchases().any(|(moment, _)| moment.timestamp >= view)),
        }
    }
}

/// Every session of every day.
pub fn visits<'scope>(
    moments: VecCollection<'scope, Tick, MomentOfVisit, Diff>,
    state: &mut State,
) -> VecCollection<'scope, Tick, Visit, Diff> {
    let end: fn(&(Millis, Text)) -> Millis = |(day, _)| day + DAY;
    let moments =
        state.values("Visits: moments", moments, Some(end), |moments| moments.arrange_by_key_named("Visits: moments"));
    moments
        .reduce_abelian::<_, ValBuilder<_, _, _, _>, ValSpine<_, _, _, _>, _, _>(
            "Visits",
            |session: &(Millis, Text), moments, output| {
                for (moment, count) in moments {
                    assert!(*count > 0, "{moment:?} of {session:?} is there {count} times");
                }
                output.push((Visit::of(moments), 1));
            },
            |vec, key, upds| {
                vec.clear();
                vec.extend(upds.drain(..).map(|(visit, tick, count)| ((key.clone(), visit), tick, count)));
            },
        )
        .as_collection(|_session, visit| *visit)
}

/// What each session adds to the rows of `view`, in the hour and in the day of its first event.
pub(super) fn dated_by_first_event<'scope>(
    visits: VecCollection<'scope, Tick, Visit, Diff>,
    view: View,
    name: &str,
    measures: impl Fn(&Visit) -> VisitMeasures + 'static,
) -> Contributions<'scope, VisitMeasures> {
    combine(visits, name, move |visit: Visit, difference: Diff, give| {
        for granularity in [Granularity::Hour, Granularity::Day] {
            let window = Window::of(granularity, visit.first);
            give(rollup(view, window, Text::default()), measures(&visit).multiply(&difference));
        }
    })
}
