//! A store in memory and a dashboard over it.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tillflow_dataflows::records::{Millis, Topic};

use super::shop::shop;
use crate::dashboard::feed::now;
use crate::dashboard::message::{Body, Method, Request, Response};
use crate::dashboard::rows::Record as _;
use crate::dashboard::{Dashboard, DashboardOptions};
use crate::document::{Document, Value};
use crate::status::{PartitionStatus, Phase, Status};
use crate::store::{Progress, Query, StoreError, StoreReader};

/// 2026-03-05T12:31:07Z.
pub const AS_OF: Millis = 1_772_713_867_000;

/// What a [`MemoryReader`] reads, to be changed by tests.
#[derive(Default)]
pub struct Store {
    pub progress: Option<Progress>,
    pub documents: Vec<Document>,
    /// What every read answers instead, if set.
    pub broken: Option<String>,
    /// How long a read takes.
    pub slow: Duration,
    /// How many reads there were that asked something.
    pub reads: usize,
}

#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Store>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryReader(Shared);

impl StoreReader for MemoryReader {
    fn read(&mut self, queries: &[Query]) -> Result<(Option<Progress>, Vec<Vec<Document>>), StoreError> {
        let slow = self.0.lock().slow;
        std::thread::sleep(slow);
        let mut store = self.0.lock();
        store.reads += usize::from(!queries.is_empty());
        if let Some(text) = &store.broken {
            return Err(StoreError::Unavailable(text.clone()));
        }
        Ok((store.progress.clone(), queries.iter().map(|query| answer(&store.documents, query)).collect()))
    }
}

fn answer(documents: &[Document], query: &Query) -> Vec<Document> {
    let mut found: Vec<Document> = documents.iter().filter(|document| fits(document, query)).cloned().collect();
    found.sort_by(|a, b| {
        for (field, descending) in &query.order {
            let order = compared(a.get(field), b.get(field));
            let order = if *descending { order.reverse() } else { order };
            if order != Ordering::Equal {
                return order;
            }
        }
        a.id.cmp(&b.id)
    });
    found.truncate(query.limit.unwrap_or(10_000));
    found
}

fn fits(document: &Document, query: &Query) -> bool {
    let at = document.time("timestamp");
    query.collection == Some(document.collection)
        && query.type_is.as_deref().is_none_or(|kind| document.text("type") == Some(kind))
        && query.granularity.as_deref().is_none_or(|granularity| document.text("granularity") == Some(granularity))
        && query.from.is_none_or(|from| at.is_some_and(|at| at >= from))
        && query.to.is_none_or(|to| at.is_some_and(|at| at < to))
        && query.until_epoch.is_none_or(|last| {
            document.count("epoch").is_some_and(|epoch| epoch <= i64::try_from(last).unwrap_or(i64::MAX))
        })
        && query.equals.iter().all(|(field, text)| document.text(field) == Some(text))
        && query
            .key
            .as_ref()
            .is_none_or(|(field, text)| document.document("key").is_some_and(|key| key.text(field) == Some(text)))
}

fn compared(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(Value::Int(a)), Some(Value::Int(b))) | (Some(Value::Time(a)), Some(Value::Time(b))) => a.cmp(b),
        (Some(Value::Text(a)), Some(Value::Text(b))) => a.cmp(b),
        _ => a.is_some().cmp(&b.is_some()),
    }
}

/// A dashboard over a store in memory.
pub struct Bench {
    pub store: Shared,
    pub status: Arc<Status>,
    pub dashboard: Dashboard,
}

impl Bench {
    pub fn new(store: Shared, read_only: bool) -> Bench {
        Bench::in_zone(store, read_only, chrono_tz::UTC)
    }

    pub fn in_zone(store: Shared, read_only: bool, timezone: chrono_tz::Tz) -> Bench {
        let status = Arc::new(Status::default());
        let dashboard = Dashboard::new(DashboardOptions {
            reader: Box::new(MemoryReader(store.clone())),
            status: Arc::clone(&status),
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            refresh_interval: Duration::from_secs(30),
            timezone,
            version: "0.1.0".to_owned(),
            read_only,
            added: [].into(),
        })
        .expect("threads to be had");
        Bench { store, status, dashboard }
    }

    /// Over a shop's documents at epoch 812, with a live pipeline.
    pub fn shop() -> Bench {
        let bench = Bench::new(shop(812), false);
        live(&bench.status, 812);
        bench
    }

    pub fn get(&self, target: &str) -> Response {
        self.dashboard.respond(&request(target))
    }

    pub fn text(&self, target: &str) -> String {
        text(&self.get(target))
    }

    pub fn json(&self, target: &str) -> serde_json::Value {
        let response = self.get(target);
        assert_eq!(response.status, 200, "{target}: {}", text(&response));
        serde_json::from_str(&text(&response)).expect("JSON")
    }
}

pub fn request(target: &str) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: Method::Get,
        path: path.to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        if_none_match: None,
        accepts_gzip: false,
        last_event_id: None,
    }
}

pub fn text(response: &Response) -> String {
    match &response.body {
        Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
        Body::Events => "events".to_owned(),
    }
}

pub fn live(status: &Status, epoch: u64) {
    status.update(|status| {
        status.phase = Phase::Live;
        status.demo = true;
        status.epoch = epoch;
        status.as_of = Some(AS_OF);
        status.committed_at = Some(now());
        status.newest_record = Some(now() - 800);
        status.records = 1_240_311;
        status.records_per_second = 48.2;
        status.partitions = Topic::ALL
            .into_iter()
            .flat_map(|topic| (0..3).map(move |partition| (topic, partition)))
            .map(|(topic, partition)| PartitionStatus { topic, partition, position: 137_812, end: Some(137_812) })
            .collect();
    });
}

pub fn progress(epoch: u64) -> Progress {
    let offsets =
        Topic::ALL.into_iter().flat_map(|topic| (0..3).map(move |partition| ((topic, partition), 137_812))).collect();
    Progress { epoch, as_of: Some(AS_OF), offsets, committed_at: Some(now()), instance: "till-1".to_owned(), fence: 3 }
}
