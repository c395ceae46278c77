//! How long pages and charts take, from the documents of an epoch to bytes, when none is kept from an earlier answer.
//!
//! `cargo bench --bench dashboard`

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tillflow::dashboard::message::{Method, Request, Response};
use tillflow::dashboard::{Dashboard, DashboardOptions};
use tillflow::store::StoreAddress;

const PAGES: [&str; 8] = ["/", "/sales", "/activity", "/inventory", "/alerts", "/quality", "/history", "/pipeline"];
const CHARTS: [&str; 14] = [
    "revenue",
    "transactions",
    "average-order-value",
    "revenue-by-category",
    "category-trend",
    "revenue-by-store",
    "revenue-by-payment-method",
    "activity-by-type",
    "active-users",
    "top-products",
    "stock-levels",
    "outcomes",
    "dead-letter-reasons",
    "history",
];
/// Records a second of event time: a day and a bit in all.
const DENSITY: &str = "2";
const RECORDS: &str = "200000";
/// How long the first answer may take, which waits for the store.
const FIRST: Duration = Duration::from_secs(10);

fn tillflow(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_tillflow")).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A dashboard over what a day of a shop chain leaves in a store.
fn dashboard(folder: &std::path::Path) -> Dashboard {
    let records = format!("ndjson:{}", folder.join("records").display());
    let (path, start) = (folder.join("shop.sqlite"), "2026-01-05T00:00:00Z");
    let store = format!("sqlite:{}", path.display());
    let generate = ["generate", "-q", "--to", &records, "--envelope", "--rate", "0", "--density", DENSITY];
    tillflow(&[&generate[..], &["--count", RECORDS, "--start", start]].concat());
    let run = ["run", "-q", "--source", &records, "--envelope", "--store", &store, "--until-caught-up"];
    tillflow(&[&run[..], &["--no-dashboard", "--raw-data", "off"]].concat());
    Dashboard::new(DashboardOptions {
        reader: StoreAddress::Sqlite { path }.open_reader().expect("the store opens"),
        status: Arc::default(),
        metrics: Arc::new(String::new),
        refresh_interval: Duration::from_secs(5),
        timezone: chrono_tz::Tz::UTC,
        version: String::from("bench"),
        read_only: true,
        added: Arc::default(),
    })
    .expect("a dashboard")
}

/// Asks as nobody has asked before.
fn ask(dashboard: &Dashboard, path: &str, number: &mut u64) -> Response {
    *number += 1;
    dashboard.respond(&Request {
        method: Method::Get,
        path: path.to_owned(),
        query: vec![(String::from("asked"), number.to_string())],
        if_none_match: None,
        accepts_gzip: false,
        last_event_id: None,
    })
}

fn answers(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dashboard, mut number) = (dashboard(folder.path()), 0);
    let begun = Instant::now();
    while ask(&dashboard, "/api/v1/metrics", &mut number).epoch.is_none_or(|epoch| epoch == 0) {
        assert!(begun.elapsed() < FIRST, "the store is not read");
        std::thread::sleep(Duration::from_millis(20));
    }
    let charts = CHARTS.map(|name| format!("/charts/{name}.svg"));
    for (group, paths) in [("page", PAGES.to_vec()), ("chart", charts.iter().map(String::as_str).collect())] {
        let mut group = criterion.benchmark_group(group);
        for path in paths {
            group.bench_function(path, |bencher| {
                bencher.iter(|| {
                    let response = ask(&dashboard, path, &mut number);
                    assert_eq!(response.status, 200, "{path}");
                    black_box(response)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, answers);
criterion_main!(benches);
