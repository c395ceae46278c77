//! Every index that more than one operator reads, and every index that holds rows of records: this page is where
//! memory goes.

use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::{KeySpine, ValSpine};

use crate::measures::{ActivityMeasures, SalesMeasures};
use crate::outputs::RollupKey;
use crate::records::Text;
use crate::time::{Diff, Tick, Window};

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

    /// Key: minute or hour; value: product; difference: its sums. Only windows of the live ranges: at most
    /// (60 + 24) x products sold in them.
    /// Readers: the rankings of products, and the sweep that empties it.
    pub live_products: Arranged<'scope, TraceAgent<ValSpine<Window, Text, Tick, SalesMeasures>>>,

    /// Key: a window of the live ranges. 84 entries.
    /// Reader: the rankings of products. (The sliding sales metrics look rollups up by whole keys.)
    pub live_windows: Arranged<'scope, TraceAgent<KeySpine<Window, Tick, Diff>>>,
}
