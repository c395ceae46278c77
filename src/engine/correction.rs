//! What the store holds against what it should hold, when a start knows both: nothing that a crash, a restored backup or
//! another hand left in the store outlives the first commit.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};

use tillflow_dataflows::outputs::{Row, RowBody, RowKey};
use tillflow_dataflows::records::Millis;

use super::documents::{Stamp, document, document_id};
use super::expiry::has_left;
use crate::document::{Collection, Document, Fields, Value};
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

/// The documents of views that a store holds, each in short: there may be millions, and they are held until the state is
/// rebuilt. Alerts are not among them.
#[derive(Debug, Default)]
pub(super) struct Stored {
    documents: HashMap<(Collection, String), Brief>,
    /// Makes digests.
    hasher: RandomState,
}

#[derive(Debug)]
struct Brief {
    /// What it says of its last change; none if that cannot be understood.
    stamp: Option<Stamp>,
    /// Of all its fields, in any order, by a secret key: two that differ have the same one with a chance of 2^-64.
    digest: u64,
    /// When its window ends, if it is final.
    final_end: Option<Millis>,
    /// Whether there is a row that becomes it.
    is_met: AtomicBool,
}

/// Rows that are not worth a thread.
const FEW: usize = 4096;

/// Threads that compare, at most.
const THREADS: usize = 4;

impl Stored {
    /// Reads what a store holds.
    pub(super) fn read(store: &mut dyn StoreScan) -> Result<Stored, StoreError> {
        let mut stored = Stored::default();
        let collections = [Collection::AggregatedData, Collection::RealTimeMetrics];
        store.scan(&collections, &mut |scanned| match scanned {
            Scanned::Begin => stored.documents.clear(),
            Scanned::Document(found) if is_alert(&found) => {}
            Scanned::Document(found) => stored.add(found),
        })?;
        Ok(stored)
    }

    fn add(&mut self, found: Document) {
        let brief = Brief {
            stamp: stamp(&found),
            digest: digest(&self.hasher, &found.fields),
            final_end: final_end(&found),
            is_met: AtomicBool::new(false),
        };
        self.documents.insert((found.collection, found.id), brief);
    }

    /// Compares the documents with the rows in force, when `committed` is the newest commit. A document that is as it should
    /// be keeps its epoch; what differs, is missing or is too much is corrected with `stamp`. Windows that are final and end
    /// at or before `expired` have left memory, or a part of them has: their documents stay as they are. An error where there
    /// is no room for a thread.
    pub(super) fn correction(
        self,
        rows: RowsInForce,
        (committed, stamp): (Stamp, Stamp),
        expired: Option<Millis>,
        views: &ViewSet,
    ) -> std::io::Result<Correction> {
        let rows: Vec<Row> = rows.into_iter().collect();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
        let share = rows.len().div_ceil(threads).max(FEW);
        let wanted = |row: &Row| self.wanted(row, (committed, stamp), expired, views);
        let upserts = std::thread::scope(|scope| {
            let of_share = |rows: &[Row]| rows.iter().filter_map(wanted).collect::<Vec<_>>();
            let compare = |rows| {
                let thread = std::thread::Builder::new().name("tillflow-compare".into());
                thread.spawn_scoped(scope, move || of_share(rows))
            };
            let comparing: Vec<_> = rows.chunks(share).map(compare).collect::<Result<_, _>>()?;
            let found = comparing.into_iter().flat_map(|thread| match thread.join() {
                Ok(found) => found,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            Ok::<_, std::io::Error>(found.collect())
        })?;
        let unmet = self.documents.into_iter().filter(|(_, brief)| !brief.is_met.load(Ordering::Relaxed));
        let too_much = unmet.filter(|(_, brief)| brief.final_end.is_none() || brief.final_end > expired);
        Ok(Correction { upserts, deletes: too_much.map(|(id, _)| id).collect() })
    }

    /// The document of a row, if the store does not hold it as it should.
    fn wanted(
        &self,
        row: &Row,
        (committed, stamp): (Stamp, Stamp),
        expired: Option<Millis>,
        views: &ViewSet,
    ) -> Option<Document> {
        let (key, body) = row;
        let found = self.documents.get(&document_id(key, views)?);
        found.inspect(|found| found.is_met.store(true, Ordering::Relaxed));
        if has_left(key, body, expired) {
            return None;
        }
        let is_as_it_should_be = |found: &Brief| {
            // One that a commit left which was cut off may have the committed epoch, and not its instant.
            let said = found.stamp.filter(|said| said.epoch < committed.epoch || *said == committed);
            let same = said.and_then(|said| document(row, said, views));
            same.is_some_and(|same| digest(&self.hasher, &same.fields) == found.digest)
        };
        if found.is_some_and(is_as_it_should_be) {
            return None;
        }
        document(row, stamp, views)
    }
}

fn is_alert(document: &Document) -> bool {
    document.collection == Collection::RealTimeMetrics && document.get("type") == Some(&Value::Text("alert".into()))
}

fn final_end(document: &Document) -> Option<Millis> {
    match (document.get("final"), document.get("window_end")) {
        (Some(Value::Bool(true)), Some(Value::Time(end))) => Some(*end),
        _ => None,
    }
}

fn stamp(document: &Document) -> Option<Stamp> {
    let Some(Value::Int(epoch)) = document.get("epoch") else { return None };
    let as_of = match document.get("as_of") {
        Some(Value::Time(as_of)) => Some(*as_of),
        None => None,
        Some(_) => return None,
    };
    Some(Stamp { epoch: u64::try_from(*epoch).ok()?, as_of })
}

/// A sum, as the fields may have another order.
fn digest(hasher: &RandomState, fields: &Fields) -> u64 {
    fields.iter().map(|field| hasher.hash_one(field)).fold(0, u64::wrapping_add)
}
