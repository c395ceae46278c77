//! Walks through `docs/adding-a-view.md`: its file and its two lines compile where the page puts them, and the view
//! has documents, rows in the API and a chart.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use tillflow::dashboard::message::{Body, Method, Request};
use tillflow::dashboard::{Dashboard, DashboardOptions};
use tillflow::document::{Document, Value};
use tillflow::engine::{EngineOptions, Run};
use tillflow::source::ndjson::NdjsonSource;
use tillflow::status::Status;
use tillflow::store::{Query, StoreAddress};
use tillflow::verify::{AdmissionWindows, VerifyOptions, Watcher, verify};
use tillflow::views::ViewSet;
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::outputs::Selection;
use tillflow_dataflows::time::{HOUR, MINUTE};
// The names under which the example finds them where it belongs.
use tillflow_dataflows::{added, fields, measures, operators, outputs, records, time, views};

#[path = "../docs/adding-a-view/basket_size.rs"]
mod basket_size;

const EXAMPLE: &str = include_str!("../docs/adding-a-view/basket_size.rs");
const PAGE: &str = include_str!("../docs/adding-a-view.md");

/// The page's blocks of Rust, in order.
fn blocks() -> Vec<String> {
    let blocks = PAGE.split("\n```rust\n").skip(1);
    // The end of a block is at the start of a line; comments in it may have fences too.
    blocks.map(|rest| format!("{}\n", rest.split("\n```").next().unwrap_or_default())).collect()
}

/// The root of this package.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => {
                std::fs::copy(entry.path(), to).expect("a copy");
            }
        }
    }
}

#[test]
fn the_file_and_the_two_lines_of_the_page_are_all_it_takes() {
    let blocks = blocks();
    let [file, module, entry] = &blocks[..] else { panic!("the page has a file and two lines: {blocks:?}") };
    assert_eq!(file, EXAMPLE, "the page shows the file that the other test runs");
    assert_eq!((module.lines().count(), entry.lines().count()), (1, 1), "two lines");

    // The views' package, with what the page says, checked by the compiler.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copied = folder.path().join("dataflows");
    copy(&root().join("dataflows/src"), &copied.join("src"));
    std::fs::copy(root().join("dataflows/Cargo.toml"), copied.join("Cargo.toml")).expect("a copy");
    std::fs::copy(root().join("Cargo.lock"), folder.path().join("Cargo.lock")).expect("a copy");
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).expect("the package's file");
    let workspace = workspace.split("\n[package]").next().expect("a split has a first part");
    std::fs::write(folder.path().join("Cargo.toml"), workspace).expect("a file");

    std::fs::write(copied.join("src/views/basket_size.rs"), file).expect("a file");
    let list = copied.join("src/views/mod.rs");
    let before = std::fs::read_to_string(&list).expect("the list of views");
    let (first, vector) = ("pub mod active_users;\n", "    vec![\n");
    assert!(before.matches(first).count() == 1 && before.matches(vector).count() == 1, "one place for each line");
    let after = before.replace(first, &format!("{first}{module}")).replace(vector, &format!("{vector}        {entry}"));
    assert_eq!(after.lines().count(), before.lines().count() + 2);
    std::fs::write(&list, after).expect("a file");

    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("adding_a_view");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet", "--package", "tillflow-dataflows", "--lib"])
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", &target)
        // Not even a warning: unused things would be more to touch.
        .env("RUSTFLAGS", "-D warnings")
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Counts what it is warned of.
struct Warned(usize);

impl Watcher for Warned {
    fn begin(&mut self, _records: u64) {}
    fn read(&mut self, _records: u64) {}
    fn warn(&mut self, words: &str) {
        assert!(words.contains("basket_size") && words.contains("not verified"), "{words}");
        self.0 += 1;
    }
}

/// Some sales: quantity, price, and whether it is cancelled.
const SALES: [(i64, i64, bool); 6] =
    [(1, 10, false), (1, 5, false), (3, 2, false), (-1, 10, false), (40, 1, true), (6, 1, false)];

fn write_sales(folder: &Path) {
    let mut lines = String::new();
    for (turn, (quantity, price, is_cancelled)) in SALES.into_iter().enumerate() {
        let value = format!(
            "{{\"transaction_id\":\"t{turn}\",\"user_id\":\"u\",\"product_id\":\"p\",\"quantity\":{quantity},\
             \"unit_price\":{price},\"total_amount\":{},\"payment_method\":\"card\",\
             \"timestamp\":\"2026-01-05T10:0{turn}:00Z\",\"store_id\":\"s\",\"category\":\"c\"}}",
            quantity * price
        );
        let mut tell = |value: &str| {
            lines.push_str(&format!("{{\"partition\":0,\"key\":\"t{turn}\",\"value\":{value}}}\n"));
        };
        tell(&value);
        if is_cancelled {
            tell("null");
        }
    }
    std::fs::write(folder.join("sales.ndjson"), lines).expect("a file");
    for name in ["user_activity", "inventory"] {
        std::fs::write(folder.join(format!("{name}.ndjson")), "").expect("a file");
    }
}

#[test]
fn the_view_has_documents_rows_and_a_chart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_sales(folder.path());
    let views = ViewSet::beside(vec![basket_size::view()], Selection::all(), None).expect("names that are free");
    let address = StoreAddress::Sqlite { path: folder.path().join("shop.sqlite") };
    let options = EngineOptions {
        workers: 2,
        tick: Duration::from_millis(20),
        raw_data: true,
        until_caught_up: true,
        admission: AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE },
        timezone: Tz::UTC,
        instance: String::from("adding a view"),
        views: views.clone(),
        checkpoints: None,
        accepted: Vec::new(),
    };
    let source = Arc::new(NdjsonSource::new(folder.path(), true, Tz::UTC));
    let run = |options: &EngineOptions| {
        let store = address.open().expect("a store");
        Run::new(options.clone(), source.clone()).alone(store)
    };
    run(&options).expect("the pipeline runs");

    // Documents.
    let mut reader = address.open_reader().expect("a reader");
    let rows = Query { type_is: Some("basket_size".into()), granularity: Some("hour".into()), ..Query::default() };
    let rows = Query { collection: Some(tillflow::document::Collection::AggregatedData), ..rows };
    let (_, mut answers) = reader.read(&[rows]).expect("an answer");
    let mut documents = answers.pop().expect("one answer for one question");
    documents.sort_by(|a, b| a.id.cmp(&b.id));
    let said: Vec<(&str, Option<&Value>, Option<&Value>)> =
        documents.iter().map(|row: &Document| (row.id.as_str(), row.get("sales"), row.get("revenue"))).collect();
    let (two, one) = (Value::Int(2), Value::Int(1));
    let money = |units: i128| Value::money(units * 10_000);
    let expected =
        [("a few", &one, money(6)), ("many", &one, money(6)), ("one", &two, money(15)), ("returned", &one, money(-10))];
    let expected: Vec<(String, &Value, &Value)> = expected
        .iter()
        .map(|(size, sales, revenue)| (format!("basket_size|hour|2026-01-05T10:00:00Z|{size}"), *sales, revenue))
        .collect();
    let expected: Vec<_> =
        expected.iter().map(|(id, sales, money)| (id.as_str(), Some(*sales), Some(*money))).collect();
    assert_eq!(said, expected);

    // Everything else of the store is verified.
    let mut scan = address.open_scan(Default::default()).expect("a scan");
    let windows = AdmissionWindows { correction_window: 48 * HOUR, max_future: 10 * MINUTE };
    let mut warned = Warned(0);
    let verification = verify(
        scan.as_mut(),
        &VerifyOptions { source: None, windows, timezone: Tz::UTC, raw_data: true, limit: 10 },
        &mut warned,
    );
    assert_eq!(warned.0, 1, "verify says what it passes over");
    assert_eq!(verification.expect("it can be verified").expect("something is committed").total, 0);

    // Its chart, its page, its rows.
    let dashboard = Dashboard::new(DashboardOptions {
        reader: address.open_reader().expect("a reader"),
        status: Arc::new(Status::default()),
        metrics: Arc::new(|| String::from("# EOF\n")),
        refresh_interval: Duration::from_secs(30),
        timezone: Tz::UTC,
        version: String::from("test"),
        read_only: true,
        added: Arc::clone(&views.added),
    })
    .expect("threads to be had");
    let get = |path: &str, query: &[(&str, &str)]| {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let response = dashboard.respond(&Request {
            method: Method::Get,
            path: path.to_owned(),
            query,
            if_none_match: None,
            accepts_gzip: false,
            last_event_id: None,
        });
        let Body::Bytes(body) = &response.body else { panic!("{path} has no body") };
        let body = String::from_utf8(body.to_vec()).expect("text");
        assert_eq!(response.status, 200, "{path}: {body}");
        body
    };
    let sales = get("/sales", &[]);
    assert!(sales.contains("Basket size: sales") && sales.contains("a few"), "{sales}");
    let history = get("/history", &[("type", "basket_size"), ("granularity", "hour"), ("measure", "revenue")]);
    assert!(history.contains("Basket size: revenue") && history.contains("returned"), "{history}");
    let chart = get("/charts/history.svg", &[("type", "basket_size"), ("granularity", "hour")]);
    assert!(chart.contains("<svg") && chart.contains("many"), "{chart}");
    let api = get("/api/v1/views/basket_size", &[("granularity", "hour"), ("key", "one")]);
    assert!(api.contains("\"15.0000\"") && !api.contains("returned"), "{api}");

    // A store that was filled with it is not continued without it, and the other way round.
    let without = EngineOptions { views: ViewSet::default(), ..options };
    let refused = run(&without).expect_err("it would mix two meanings").to_string();
    assert!(refused.contains("the store has basket_size, this run none"), "{refused}");
}
