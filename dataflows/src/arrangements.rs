//! Every index that more than one operator reads, with its readers. What only one view reads stands in the head of its
//! file: the events of sessions, the users of hours and days, current stock, and what the followers hold of buyers, of
//! purchases and sales, and of the values of group-bys.
//!
//! "One entry per document" is of those whose windows have not left memory, see [`crate::state::State::expire`].

use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::{KeySpine, ValSpine};

use crate::added::Finality;
use crate::measures::{
    ActivityMeasures, AddedMeasures, CustomerMeasures, InterestMeasures, SalesMeasures, VisitMeasures,
};
use crate::outputs::RollupKey;
use crate::records::Text;
use crate::time::{Diff, Tick, Window};
use crate::views::activity_last_hour::Seen;
use crate::views::revenue_anomaly::Role;

/// Rollups by key, their sums in the difference.
pub type Rollups<'scope, M> = Arranged<'scope, TraceAgent<KeySpine<RollupKey, Tick, M>>>;

/// The shared indexes, each built once.
pub struct Arrangements<'scope> {
    /// Key: a row of a sales view; difference: its sums. One entry per document of the five sales views.
    /// Readers: publishing the views; `sales_last_hour` and `sales_last_24h`.
    pub sales_rollups: Rollups<'scope, SalesMeasures>,

    /// Key: a row of `activity_by_type`; difference: its sums. One entry per document.
    /// Reader: publishing the view.
    pub activity_rollups: Rollups<'scope, ActivityMeasures>,

    /// Key: a row of `active_users`; difference: distinct users. One entry per document.
    /// Reader: publishing the view.
    pub user_rollups: Rollups<'scope, i64>,

    /// Key: a row of `sessions` or `funnel`; difference: its sums. One entry per document.
    /// Reader: publishing the views.
    pub visit_rollups: Rollups<'scope, VisitMeasures>,

    /// Key: a row of `product_interest`; difference: its sums. One entry per document.
    /// Reader: publishing the view.
    pub interest_rollups: Rollups<'scope, InterestMeasures>,

    /// Key: a row of `customers`; difference: its sums. One entry per document.
    /// Reader: publishing the view.
    pub customer_rollups: Rollups<'scope, CustomerMeasures>,

    /// Key: a row of an added view; difference: its numbers. One entry per document; an arrangement for each time at
    /// which windows are final, as far as there are such views.
    /// Reader: publishing the views.
    pub added_rollups: Vec<(Finality, Rollups<'scope, AddedMeasures>)>,

    /// Key: minute or hour; value: product; difference: its sums. Only windows of the last hour and of the last week: at
    /// most (60 + 168) x products sold in them.
    /// Readers: the rankings of products, `supply`, and the sweep that empties it.
    pub live_products: Arranged<'scope, TraceAgent<ValSpine<Window, Text, Tick, SalesMeasures>>>,

    /// Key: minute; value: user, session and whether it is a purchase; difference: how many. Only minutes of the last
    /// hour.
    /// Readers: `activity_last_hour`, and the sweep that empties it.
    pub live_activity: Arranged<'scope, TraceAgent<ValSpine<Window, Seen, Tick, Diff>>>,

    /// Key: hour; value: category; difference: its sums. Only the last 26 hours.
    /// Readers: `revenue_anomaly`, and the sweep that empties it.
    pub live_categories: Arranged<'scope, TraceAgent<ValSpine<Window, Text, Tick, SalesMeasures>>>,

    /// Key: hour; value: what it is to `revenue_anomaly`. 25 entries.
    /// Reader: `revenue_anomaly`.
    pub judged_hours: Arranged<'scope, TraceAgent<ValSpine<Window, Role, Tick, Diff>>>,

    /// Key: an hour of the last week. 168 entries.
    /// Reader: `supply`.
    pub week_windows: Arranged<'scope, TraceAgent<KeySpine<Window, Tick, Diff>>>,

    /// Key: a window of the live ranges. 84 entries.
    /// Readers: the rankings of products, `activity_last_hour`. (The sliding sales metrics look rollups up by whole
    /// keys.)
    pub live_windows: Arranged<'scope, TraceAgent<KeySpine<Window, Tick, Diff>>>,
}
