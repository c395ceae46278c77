//! What the store holds against what it should hold, when a start knows both: nothing that a crash, a restored backup or
//! another hand left in the store outlives the first commit.

use std::collections::HashMap;

use tillflow_dataflows::outputs::{RowBody, RowKey};
use tillflow_dataflows::records::Millis;

use super::documents::{Stamp, document, document_id};
use super::expiry::has_left;
use crate::document::{Collection, Document, Value};
use crate::store::{Scanned, StoreError, StoreScan};
use crate::views::ViewSet;

/// The rows in force.
pub(super) type RowsInForce = HashMap<RowKey, RowBody>;

/// What makes the store hold what it should.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Correction {
    pub(super) upserts: Vec<Document>,
    pub(super) deletes: Vec<(Collection, String)>,
}

/// Documents by their collection and `_id`.
type Expected = HashMap<(Collection, String), (RowKey, RowBody)>;

/// Compares the documents of views with the rows in force. A document that is as it should be keeps its epoch; what
/// differs, is missing or is too much is corrected with `stamp`. Windows that are final and end at or before `expired` have
/// left memory, or a part of them has: their documents stay as they are. Alerts are not looked at.
pub(super) fn correction(
    rows: RowsInForce,
    store: &mut dyn StoreScan,
    (committed, stamp): (u64, Stamp),
    expired: Option<Millis>,
    views: &ViewSet,
) -> Result<Correction, StoreError> {
    let mut by_id: Expected = HashMap::with_capacity(rows.len());
    by_id.extend(rows.into_iter().filter_map(|(key, body)| Some((document_id(&key, views)?, (key, body)))));
    let mut expected = by_id;
    // Documents that were met once, for a scan that begins anew.
    let mut met: Vec<((Collection, String), (RowKey, RowBody))> = Vec::new();
    let mut correction = Correction::default();
    let collections = [Collection::AggregatedData, Collection::RealTimeMetrics];
    store.scan(&collections, &mut |scanned| match scanned {
        Scanned::Begin => {
            expected.extend(met.drain(..));
            correction = Correction::default();
        }
        Scanned::Document(found) => {
            if is_alert(&found) {
                return;
            }
            let id = (found.collection, found.id.clone());
            match expected.remove_entry(&id) {
                Some((id, row)) => {
                    let has_left = has_left(&row.0, &row.1, expired);
                    if !has_left && !is_as_it_should_be(&found, &row, committed, views) {
                        correction.upserts.extend(document(&row, stamp, views));
                    }
                    met.push((id, row));
                }
                None if is_of_what_has_left(&found, expired) => {}
                None => correction.deletes.push(id),
            }
        }
    })?;
    let missing = expected.into_values().filter(|(key, body)| !has_left(key, body, expired));
    correction.upserts.extend(missing.filter_map(|row| document(&row, stamp, views)));
    Ok(correction)
}

fn is_alert(document: &Document) -> bool {
    document.collection == Collection::RealTimeMetrics && document.get("type") == Some(&Value::Text("alert".into()))
}

fn is_of_what_has_left(document: &Document, expired: Option<Millis>) -> bool {
    let ends = match document.get("window_end") {
        Some(Value::Time(end)) => *end,
        _ => return false,
    };
    document.get("final") == Some(&Value::Bool(true)) && expired.is_some_and(|expired| ends <= expired)
}

/// Whether a document says what its row says, at the epoch that it names.
fn is_as_it_should_be(found: &Document, row: &(RowKey, RowBody), committed: u64, views: &ViewSet) -> bool {
    let Some(Value::Int(epoch)) = found.get("epoch") else { return false };
    let Some(epoch) = u64::try_from(*epoch).ok().filter(|epoch| *epoch <= committed) else { return false };
    let as_of = match found.get("as_of") {
        Some(Value::Time(as_of)) => Some(*as_of),
        None => None,
        Some(_) => return false,
    };
    let Some(wanted) = document(row, Stamp { epoch, as_of }, views) else { return false };
    wanted.fields.len() == found.fields.len()
        && wanted.fields.iter().all(|(name, value)| found.get(name) == Some(value))
}
