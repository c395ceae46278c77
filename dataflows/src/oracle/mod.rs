//! The naive twins of admission and of every view: what the rows must be, said as plainly as it can be said.
//!
//! Each twin is written from the meaning of the documents, over plain lists of the facts in force, and shares with
//! the incremental code only the types of records and of rows. It is as slow as looking at everything, and right
//! for that reason. Tests compare the views with it at every tick; a batch program can do so with a whole store.

pub mod admission;

mod activity;
mod anomaly;
mod customers;
mod group_by;
mod interest;
mod inventory;
mod quality;
mod sales;
mod sliding;
mod supply;
mod times;
mod unmatched;
mod visits;

use std::collections::BTreeMap;

use crate::added::AddedView;
use crate::inputs::StockCandidate;
use crate::outputs::{RowBody, RowKey};
use crate::records::{Activity, Millis, Outcome, Reason, Sale, Topic};

/// What counts at an instant.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Sales in force: a transaction that is in force twice (in two partitions, say) is here twice.
    pub sales: Vec<Sale>,
    /// By the order of `sales`: the partition that gave each.
    pub sales_partitions: Vec<i32>,
    /// Accepted activities.
    pub activities: Vec<Activity>,
    /// Every stock level that was accepted and not cancelled since, whether it is the current one or not.
    pub stock: Vec<StockCandidate>,
    /// The clock of each partition that has given a record.
    pub clocks: BTreeMap<(Topic, i32), Option<Millis>>,
    /// How many records had which outcome, for which reason.
    pub outcomes: BTreeMap<(Outcome, Option<Reason>), i64>,
}

/// Rows in force, by key.
pub type RowsByKey = BTreeMap<RowKey, RowBody>;

/// Every row of every view at an instant; of the added views those of group-bys.
pub fn rows(facts: &Facts, correction_window: Millis, added: &[AddedView]) -> RowsByKey {
    let mut rows = RowsByKey::new();
    let mut give = |key: RowKey, body: RowBody| {
        let other = rows.insert(key.clone(), body);
        assert!(other.is_none(), "two rows for {key:?}");
    };
    sales::rows(facts, correction_window, &mut give);
    activity::rows(facts, correction_window, &mut give);
    visits::rows(facts, correction_window, &mut give);
    interest::rows(facts, correction_window, &mut give);
    customers::rows(facts, correction_window, &mut give);
    unmatched::rows(facts, &mut give);
    sliding::rows(facts, &mut give);
    inventory::rows(facts, &mut give);
    supply::rows(facts, &mut give);
    anomaly::rows(facts, &mut give);
    quality::rows(facts, &mut give);
    group_by::rows(facts, correction_window, added, &mut give);
    if let Some(as_of) = times::as_of(facts) {
        give(RowKey::AsOf, RowBody::Instant(as_of));
    }
    rows
}
