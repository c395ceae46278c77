//! What single activities add to.

use differential_dataflow::input::InputSession;
use timely::dataflow::Scope;

use super::Parts;
use super::sums::{Sums, advance};
use crate::cells::ActivityCell;
use crate::inputs::{ActivityInputs, Dealing, MomentOfVisit, SeenByMinute, UserHour};
use crate::measures::{ActivityMeasures, InterestMeasures};
use crate::outputs::RollupKey;
use crate::records::Activity;
use crate::time::{Diff, Tick};
use crate::views::active_users::user_hour;
use crate::views::activity_by_type::cell_of;
use crate::views::activity_last_hour::seen_by_minute;
use crate::views::product_interest::interest_of;
use crate::views::purchases_unmatched::deal_of_purchase;
use crate::views::visits::moment_of;

/// The inputs that are made of activities. None is ever taken back.
pub(super) struct ActivityFeed {
    parts: Parts,
    cells: Sums<ActivityCell, ActivityMeasures>,
    users: Sums<UserHour, Diff>,
    /// Few are alike, and what is alike is summed where they are arranged.
    moments: InputSession<Tick, MomentOfVisit, Diff>,
    seen: Sums<SeenByMinute, Diff>,
    interest: Sums<RollupKey, InterestMeasures>,
    dealings: InputSession<Tick, Dealing, Diff>,
    records: InputSession<Tick, Activity, Diff>,
}

impl ActivityFeed {
    pub(super) fn new(parts: Parts) -> ActivityFeed {
        ActivityFeed {
            parts,
            cells: Sums::new(),
            users: Sums::new(),
            moments: InputSession::new(),
            seen: Sums::new(),
            interest: Sums::new(),
            dealings: InputSession::new(),
            records: InputSession::new(),
        }
    }

    pub(super) fn inputs<'scope>(&mut self, scope: Scope<'scope, Tick>) -> ActivityInputs<'scope> {
        ActivityInputs {
            cells: self.cells.collection(scope),
            users: self.users.collection(scope),
            moments: self.moments.to_collection(scope),
            seen: self.seen.collection(scope),
            interest: self.interest.collection(scope),
            dealings: self.dealings.to_collection(scope),
            records: self.records.to_collection(scope),
        }
    }

    #[inline(never)]
    pub(super) fn take(&mut self, activity: &Activity<&str>) {
        if self.parts.activity_cells {
            let (cell, measures) = cell_of(activity);
            self.cells.add(cell, measures);
        }
        if self.parts.users {
            self.users.add(user_hour(activity), 1);
        }
        if self.parts.moments {
            self.moments.update(moment_of(activity), 1);
        }
        if self.parts.seen {
            self.seen.add(seen_by_minute(activity), 1);
        }
        if self.parts.interest
            && let Some((key, measures)) = interest_of(activity)
        {
            self.interest.add(key, measures);
        }
        if self.parts.dealings
            && let Some(dealing) = deal_of_purchase(activity)
        {
            self.dealings.update(dealing, 1);
        }
        if self.parts.activity_records {
            self.records.update(activity.owned(), 1);
        }
    }

    pub(super) fn advance_to(&mut self, tick: Tick) {
        self.cells.advance_to(tick);
        self.users.advance_to(tick);
        advance(&mut self.moments, tick);
        self.seen.advance_to(tick);
        self.interest.advance_to(tick);
        advance(&mut self.dealings, tick);
        advance(&mut self.records, tick);
    }
}
