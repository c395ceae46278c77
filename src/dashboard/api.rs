//! `/api/v1/…`: the same numbers as the pages, for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::Serializer;

use super::csv;
use super::feed::Feed;
use super::format::rfc3339;
use super::json::{JsonDocument, JsonFields};
use super::message::{Request, Response};
use super::params::BadParameter;
use super::reply::{CSV, JSON, of_epoch, problem};
use super::rows::Record as _;
use super::snapshot::Snapshot;
use super::text::label;
use super::views::{LIMIT_MAX, ViewAnswer, ViewError, ViewRequest, answer};
use crate::document::{Document, Fields};

/// What an answer is made from.
pub struct Source<'a> {
    /// The epoch to answer for.
    pub snapshot: &'a Snapshot,
    /// Whether the client asked for that epoch and no other.
    pub pinned: bool,
    /// For what the snapshot does not hold.
    pub feed: &'a Feed,
    /// The zone of times that are given without one.
    pub zone: chrono_tz::Tz,
}

/// Why a request was refused.
pub enum Refusal {
    /// A parameter that cannot be understood.
    Bad(BadParameter),
    /// No rows.
    View(ViewError),
}

impl From<BadParameter> for Refusal {
    fn from(bad: BadParameter) -> Refusal {
        Refusal::Bad(bad)
    }
}

impl From<ViewError> for Refusal {
    fn from(error: ViewError) -> Refusal {
        Refusal::View(error)
    }
}

impl Refusal {
    /// As the API says it.
    pub fn response(&self) -> Response {
        match self {
            Refusal::Bad(bad) => problem(400, "Bad parameter", &bad.to_string()),
            Refusal::View(error) => {
                let (status, title) = match error {
                    ViewError::NoSuchView(_) => (404, "No such view"),
                    ViewError::NoSuchGranularity(..) => (400, "Bad parameter"),
                    ViewError::Gone { .. } => (410, "Epoch is gone"),
                    ViewError::Read(_) => (503, "The store gave no answer"),
                };
                problem(status, title, &error.to_string())
            }
        }
    }
}

struct Instant(Option<i64>);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.map(rfc3339).serialize(serializer)
    }
}

struct Rows<'a>(&'a [Document]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(JsonDocument))
    }
}

#[derive(Serialize)]
struct MetricsBody<'a> {
    epoch: u64,
    as_of: Instant,
    metrics: BTreeMap<&'a str, MetricFields>,
}

/// A metric's own fields: those that every metric has are said once, outside.
struct MetricFields(Fields);

impl Serialize for MetricFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        JsonFields(&self.0).serialize(serializer)
    }
}

#[derive(Serialize)]
struct RowsBody<'a> {
    epoch: u64,
    as_of: Instant,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    granularity: Option<&'static str>,
    count: usize,
    truncated: bool,
    rows: Rows<'a>,
}

#[derive(Serialize)]
struct ProgressBody<'a> {
    epoch: u64,
    as_of: Instant,
    offsets: BTreeMap<&'static str, BTreeMap<i32, i64>>,
    committed_at: Instant,
    instance: &'a str,
    fence: i64,
}

fn json(body: &impl Serialize) -> String {
    // Maps have text keys and nothing else can go wrong in memory.
    serde_json::to_string(body).unwrap_or_default()
}

/// Answers a request below `/api/v1/`; `path` is what follows. Absent: there is no such address.
pub fn respond(
    path: &str,
    request: &Request,
    source: &Source<'_>,
    cache_key: &str,
) -> Option<Result<Response, Refusal>> {
    if let Some(name) = path.strip_prefix("views/") {
        return Some(views(name, request, source, cache_key));
    }
    let epoch = source.snapshot.epoch();
    match path {
        "metrics" => Some(Ok(of_epoch(JSON, epoch, cache_key, metrics(source.snapshot)))),
        "progress" => Some(Ok(of_epoch(JSON, epoch, cache_key, progress(source.snapshot)))),
        "alerts" => Some(views("alert", request, source, cache_key)),
        _ => None,
    }
}

fn metrics(snapshot: &Snapshot) -> String {
    let mut metrics = BTreeMap::new();
    for document in &snapshot.metrics {
        let Some(name) = document.text("name") else { continue };
        let common = ["type", "name", "timestamp", "epoch", "as_of"];
        let own = document.fields.iter().filter(|(field, _)| !common.contains(&&**field)).cloned().collect();
        metrics.insert(name, MetricFields(own));
    }
    json(&MetricsBody { epoch: snapshot.epoch(), as_of: Instant(snapshot.as_of()), metrics })
}

fn progress(snapshot: &Snapshot) -> String {
    let mut offsets: BTreeMap<&'static str, BTreeMap<i32, i64>> = BTreeMap::new();
    let progress = snapshot.progress.as_ref();
    for ((topic, partition), next) in progress.into_iter().flat_map(|progress| &progress.offsets) {
        offsets.entry(topic.name()).or_default().insert(*partition, *next);
    }
    json(&ProgressBody {
        epoch: snapshot.epoch(),
        as_of: Instant(snapshot.as_of()),
        offsets,
        committed_at: Instant(progress.and_then(|progress| progress.committed_at)),
        instance: progress.map_or("", |progress| &progress.instance),
        fence: progress.map_or(0, |progress| progress.fence),
    })
}

/// The rows that a request's query asks for.
pub fn view_request(name: &str, request: &Request, zone: chrono_tz::Tz) -> Result<ViewRequest, BadParameter> {
    let state = request.parameter("state").filter(|_| name == "alert");
    if let Some(state) = state.filter(|state| !["open", "resolved"].contains(state)) {
        return Err(BadParameter { name: "state", value: label(state), expected: "open or resolved" });
    }
    Ok(ViewRequest {
        kind: name.to_owned(),
        granularity: request.granularity()?,
        from: request.instant("from", zone)?,
        to: request.instant("to", zone)?,
        key: request.parameter("key").map(str::to_owned),
        state: state.map(str::to_owned),
        limit: request.limit(LIMIT_MAX)?.unwrap_or(LIMIT_MAX),
    })
}

fn views(name: &str, request: &Request, source: &Source<'_>, cache_key: &str) -> Result<Response, Refusal> {
    let as_csv = match request.parameter("format") {
        None | Some("json") => false,
        Some("csv") => true,
        Some(other) => return Err(BadParameter { name: "format", value: label(other), expected: "json or csv" }.into()),
    };
    let wanted = view_request(name, request, source.zone)?;
    let answer = answer(source.feed, source.snapshot, source.pinned, &wanted)?;
    if as_csv {
        let mut response = of_epoch(CSV, answer.epoch, cache_key, csv::render(&answer.documents));
        // A view that nothing describes has a name from the address: it names no file.
        let name = source.feed.kinds().get(name).map_or("view", |kind| kind.name);
        let granularity = wanted.granularity.map_or(String::new(), |granularity| format!("-{}", granularity.name()));
        response.download = Some(format!("{name}{granularity}-epoch-{}.csv", answer.epoch));
        return Ok(response);
    }
    Ok(of_epoch(JSON, answer.epoch, cache_key, rows(name, &wanted, &answer)))
}

fn rows(name: &str, wanted: &ViewRequest, answer: &ViewAnswer) -> String {
    json(&RowsBody {
        epoch: answer.epoch,
        as_of: Instant(answer.as_of),
        r#type: name,
        granularity: wanted.granularity.map(|granularity| granularity.name()),
        count: answer.documents.len(),
        truncated: answer.truncated,
        rows: Rows(&answer.documents),
    })
}
