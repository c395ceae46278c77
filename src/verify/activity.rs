//! The windowed views of activities: events by type, distinct users, sessions and the funnel.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use tillflow_dataflows::records::{Activity, Millis, Text};

use super::names::{Name, Names};
use super::numbers::{DAY, HOUR, MINUTE, start_of};
use super::windows::{Closing, Windows, int, money, window_document};
use crate::document::{Document, Fields, Value};

#[derive(Debug, Default)]
struct EventSums {
    events: i64,
    amount: i128,
}

/// What a session is told by. Activities are never taken back, so it needs no list of its events.
#[derive(Debug)]
struct Session {
    first: Millis,
    last: Millis,
    events: i64,
    page_views: i64,
    first_page_view: Option<Millis>,
    last_purchase: Option<Millis>,
    viewed_product: bool,
}

impl Session {
    fn begin(at: Millis) -> Session {
        Session {
            first: at,
            last: at,
            events: 0,
            page_views: 0,
            first_page_view: None,
            last_purchase: None,
            viewed_product: false,
        }
    }

    fn add(&mut self, activity: &Activity) {
        let at = activity.timestamp;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.events += 1;
        match activity.activity_type.as_str() {
            "page_view" => {
                self.page_views += 1;
                self.first_page_view = Some(self.first_page_view.map_or(at, |first| first.min(at)));
                self.viewed_product |= activity.product_id.is_some();
            }
            "purchase" => self.last_purchase = self.last_purchase.max(Some(at)),
            _ => {}
        }
    }

    /// Whether something was bought at or after the first page view: exactly if the last purchase was.
    fn purchased_after_a_view(&self) -> bool {
        matches!((self.first_page_view, self.last_purchase), (Some(view), Some(purchase)) if purchase >= view)
    }
}

#[derive(Clone, Debug, Default)]
struct VisitSums {
    sessions: i64,
    bounced: i64,
    converted: i64,
    page_views: i64,
    duration: i128,
    viewed: i64,
    viewed_product: i64,
    purchased: i64,
}

impl VisitSums {
    fn add(&mut self, session: &Session) {
        self.sessions += 1;
        self.bounced += i64::from(session.events == 1);
        self.converted += i64::from(session.last_purchase.is_some());
        self.page_views += session.page_views;
        self.duration += i128::from(session.last - session.first);
        self.viewed += i64::from(session.first_page_view.is_some());
        self.viewed_product += i64::from(session.viewed_product);
        self.purchased += i64::from(session.purchased_after_a_view());
    }

    fn sessions_fields(&self) -> Fields {
        vec![
            int("sessions", self.sessions),
            int("bounced", self.bounced),
            int("converted", self.converted),
            int("page_views", self.page_views),
            ("duration_seconds".into(), Value::Decimal { digits: self.duration, scale: 3 }),
        ]
    }

    fn funnel_fields(&self) -> Fields {
        vec![
            int("sessions", self.sessions),
            int("viewed", self.viewed),
            int("viewed_product", self.viewed_product),
            int("purchased", self.purchased),
        ]
    }
}

/// All of them.
pub(super) struct ActivityViews {
    by_type: Option<[Windows<Name, EventSums>; 3]>,
    users: Option<[Windows<(), HashSet<Name>>; 2]>,
    sessions: bool,
    funnel: bool,
    /// Sessions end at midnight, so their days are theirs alone.
    days: BTreeMap<Millis, HashMap<Text, Session>>,
}

impl ActivityViews {
    /// Those whose names `maintained` knows.
    pub(super) fn new(maintained: impl Fn(&str) -> bool) -> ActivityViews {
        ActivityViews {
            by_type: maintained("activity_by_type").then(|| [MINUTE, HOUR, DAY].map(Windows::of)),
            users: maintained("active_users").then(|| [HOUR, DAY].map(Windows::of)),
            sessions: maintained("sessions"),
            funnel: maintained("funnel"),
            days: BTreeMap::new(),
        }
    }

    pub(super) fn activity(&mut self, activity: &Activity, user: Name, names: &mut Names) {
        let at = activity.timestamp;
        if let Some(by_type) = &mut self.by_type {
            let kind = names.name(&activity.activity_type);
            for windows in by_type {
                let sums = windows.at(at, kind);
                sums.events += 1;
                sums.amount += i128::from(activity.amount.unwrap_or_default().0);
            }
        }
        for windows in self.users.iter_mut().flatten() {
            windows.at(at, ()).insert(user);
        }
        if self.sessions || self.funnel {
            let day = self.days.entry(start_of(at, DAY)).or_default();
            day.entry_ref(&activity.session_id).or_insert_with(|| Session::begin(at)).add(activity);
        }
    }

    pub(super) fn close(&mut self, closing: Closing, names: &Names, give: &mut dyn FnMut(Document)) {
        for windows in self.by_type.iter_mut().flatten() {
            while let Some((start, is_final, sums)) = windows.close_first(closing) {
                for (kind, sum) in sums {
                    let fields = vec![int("events", sum.events), money("amount", sum.amount)];
                    let (key, of) = (Some(("activity_type", kind)), (start, windows.width));
                    give(window_document("activity_by_type", of, key, names, fields, is_final));
                }
            }
        }
        for windows in self.users.iter_mut().flatten() {
            while let Some((start, is_final, users)) = windows.close_first(closing) {
                let users = users.values().map(HashSet::len).sum::<usize>();
                let fields = vec![int("users", i64::try_from(users).unwrap_or(i64::MAX))];
                give(window_document("active_users", (start, windows.width), None, names, fields, is_final));
            }
        }
        self.close_days(closing, names, give);
    }

    fn close_days(&mut self, closing: Closing, names: &Names, give: &mut dyn FnMut(Document)) {
        while let Some(first) = self.days.first_entry() {
            let day = *first.key();
            let is_final = closing.is_final(day + DAY);
            if !is_final && !closing.all {
                return;
            }
            let mut windows: BTreeMap<(Millis, Millis), VisitSums> = BTreeMap::new();
            for session in first.remove().values() {
                for width in [HOUR, DAY] {
                    windows.entry((start_of(session.first, width), width)).or_default().add(session);
                }
            }
            for (of, sums) in windows {
                if self.sessions {
                    give(window_document("sessions", of, None, names, sums.sessions_fields(), is_final));
                }
                if self.funnel {
                    give(window_document("funnel", of, None, names, sums.funnel_fields(), is_final));
                }
            }
        }
    }
}
