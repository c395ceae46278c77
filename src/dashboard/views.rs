//! Answers to "which rows does this view have": from a snapshot where it has them all, else from the store.

use tillflow_dataflows::records::Millis;

use super::feed::{Feed, ReadFailure};
use super::kinds::{Granularity, Kind};
use super::rows::Record as _;
use super::snapshot::{Snapshot, has_key};
use crate::document::{Collection, Document, Value};
use crate::store::Query;

/// No answer has more rows.
pub const LIMIT_MAX: usize = 10_000;

/// Which rows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewRequest {
    /// The view's `type`.
    pub kind: String,
    /// Its windows; absent: all.
    pub granularity: Option<Granularity>,
    /// Windows (or, without windows, last changes) from here on.
    pub from: Option<Millis>,
    /// And before here.
    pub to: Option<Millis>,
    /// The key's value.
    pub key: Option<String>,
    /// An alert's state.
    pub state: Option<String>,
    /// At most this many, the newest.
    pub limit: usize,
}

/// The rows.
#[derive(Clone, Debug)]
pub struct ViewAnswer {
    /// The epoch that they belong to.
    pub epoch: u64,
    /// Its `as_of`.
    pub as_of: Option<Millis>,
    /// By timestamp, then by `_id`.
    pub documents: Vec<Document>,
    /// Whether the limit left older ones out.
    pub truncated: bool,
}

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// There is no such view.
    #[error("there is no view `{0}`")]
    NoSuchView(String),
    /// The view has no windows of that length.
    #[error("`{0}` has no windows of that length; it has: {1}")]
    NoSuchGranularity(String, String),
    /// That epoch's rows are gone.
    #[error("epoch {wanted} is no longer held for this view, the store is at epoch {held}; ask without `epoch`")]
    Gone {
        /// What was asked for.
        wanted: u64,
        /// What there is.
        held: u64,
    },
    /// The store gave no answer.
    #[error(transparent)]
    Read(#[from] ReadFailure),
}

/// The rows of a view. With `pinned`, of the snapshot's epoch and no other.
pub fn answer(feed: &Feed, snapshot: &Snapshot, pinned: bool, request: &ViewRequest) -> Result<ViewAnswer, ViewError> {
    let known = feed.kinds().get(&request.kind);
    if let (Some(known), Some(granularity)) = (known, request.granularity)
        && !known.granularities.contains(&granularity)
    {
        let has: Vec<&str> = known.granularities.iter().map(|granularity| granularity.name()).collect();
        let has = if has.is_empty() { "only the present".to_owned() } else { has.join(", ") };
        return Err(ViewError::NoSuchGranularity(request.kind.clone(), has));
    }
    if let Some(known) = known
        && let Some(documents) = held(snapshot, known, request)
    {
        return Ok(finish(snapshot.epoch(), snapshot.as_of(), documents, request));
    }
    let key = key_filter(feed, known, request)?;
    let (progress, mut answers) = feed.ask(vec![query(known, request, key)])?;
    let epoch = progress.as_ref().map_or(0, |progress| progress.epoch);
    if pinned && epoch != snapshot.epoch() {
        return Err(ViewError::Gone { wanted: snapshot.epoch(), held: epoch });
    }
    let documents = answers.pop().unwrap_or_default();
    if known.is_none() && documents.is_empty() && first_of(feed, request)?.is_none() {
        return Err(ViewError::NoSuchView(super::text::label(&request.kind)));
    }
    Ok(finish(epoch, progress.and_then(|progress| progress.as_of), documents, request))
}

fn finish(epoch: u64, as_of: Option<Millis>, mut documents: Vec<Document>, request: &ViewRequest) -> ViewAnswer {
    documents.sort_by(|a, b| a.time("timestamp").cmp(&b.time("timestamp")).then_with(|| a.id.cmp(&b.id)));
    let surplus = documents.len().saturating_sub(request.limit);
    documents.drain(..surplus);
    ViewAnswer { epoch, as_of, documents, truncated: surplus > 0 }
}

/// The rows from the snapshot, if it has all of them.
fn held(snapshot: &Snapshot, known: &Kind, request: &ViewRequest) -> Option<Vec<Document>> {
    let key = request.key.as_deref();
    if known.granularities.is_empty() {
        let documents: Vec<&Document> = match known.name {
            "metric" => snapshot.metrics.iter().collect(),
            "stock" if snapshot.stock.complete => snapshot.stock.documents.iter().collect(),
            "alert" => {
                let wanted = request.state.as_deref();
                let open = &snapshot.open_alerts;
                let resolved = &snapshot.resolved_alerts;
                let has = |listing: &super::snapshot::Listing, state| {
                    wanted.is_some_and(|wanted| wanted != state) || listing.complete
                };
                if !has(open, "open") || !has(resolved, "resolved") {
                    return None;
                }
                open.documents.iter().chain(&resolved.documents).collect()
            }
            _ => return None,
        };
        let wanted = |document: &&Document| {
            let at = document.time("timestamp").unwrap_or(0);
            key.is_none_or(|key| known.key.is_some_and(|field| document.text(field) == Some(key)))
                && request.state.as_deref().is_none_or(|state| document.text("state") == Some(state))
                && request.from.is_none_or(|from| at >= from)
                && request.to.is_none_or(|to| at < to)
        };
        return Some(documents.into_iter().filter(wanted).cloned().collect());
    }
    let one = request.granularity.map(|granularity| vec![granularity]);
    let mut documents = Vec::new();
    for granularity in one.as_deref().unwrap_or(known.granularities) {
        let rows = |holding: &super::snapshot::Holding| -> Vec<Document> {
            holding.between(request.from, request.to).filter(|row| has_key(row, key)).cloned().collect()
        };
        let Some(holding) = snapshot.covering(known.name, *granularity, request.from) else {
            // Where more of the newest rows are held than are wanted, older ones would be left out anyway.
            let newest = snapshot.holding(known.name, *granularity).map(rows).unwrap_or_default();
            let enough = newest.len() > request.limit && request.granularity.is_some();
            return enough.then_some(newest);
        };
        documents.extend(rows(holding));
    }
    Some(documents)
}

fn base_query(request: &ViewRequest, known: Option<&Kind>) -> Query {
    Query {
        collection: Some(known.map_or(Collection::AggregatedData, |known| known.collection)),
        type_is: Some(request.kind.clone()),
        ..Query::default()
    }
}

fn query(known: Option<&Kind>, request: &ViewRequest, key: Option<(String, String)>) -> Query {
    let mut query = Query {
        granularity: request.granularity.map(|granularity| granularity.name().to_owned()),
        from: request.from,
        to: request.to,
        order: vec![("timestamp".to_owned(), true)],
        // One more than asked for tells whether any is left out.
        limit: Some(request.limit.saturating_add(1)),
        ..base_query(request, known)
    };
    if let Some(state) = &request.state {
        query.equals.push(("state".to_owned(), state.clone()));
    }
    match key {
        Some(key) if known.is_some_and(|known| known.granularities.is_empty()) => query.equals.push(key),
        key => query.key = key,
    }
    query
}

/// The key's field and value: of a view that nothing describes, the field is learnt from one of its rows.
fn key_filter(feed: &Feed, known: Option<&Kind>, request: &ViewRequest) -> Result<Option<(String, String)>, ViewError> {
    let Some(value) = request.key.clone() else { return Ok(None) };
    let field = match known {
        Some(known) => known.key.map(str::to_owned),
        None => first_of(feed, request)?.as_ref().and_then(key_field),
    };
    // A view without a key has no row with that key: no field is ever called by the empty name.
    Ok(Some((field.unwrap_or_default(), value)))
}

fn key_field(row: &Document) -> Option<String> {
    match row.get("key") {
        Some(Value::Document(fields)) => fields.first().map(|(name, _)| name.to_string()),
        _ => None,
    }
}

fn first_of(feed: &Feed, request: &ViewRequest) -> Result<Option<Document>, ViewError> {
    let query = Query { limit: Some(1), ..base_query(request, None) };
    let (_, mut answers) = feed.ask(vec![query])?;
    Ok(answers.pop().unwrap_or_default().pop())
}
