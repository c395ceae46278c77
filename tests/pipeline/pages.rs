//! The pages of a run: of one epoch, of the store's numbers, and the same for whoever reads the store alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use chrono::DateTime;
use serde_json::{Map, Value};
use tillflow::store::Progress;

use crate::support::oracle::{Documents, assert_equal, documents};
use crate::support::program::{Running, Tillflow};
use crate::support::world::{Store, Topics, counted};
use crate::support::{SOON, wait_for};

const STOP: Duration = Duration::from_secs(10);

/// An answer of the dashboard.
struct Answer {
    status: u16,
    fields: BTreeMap<String, String>,
    body: String,
}

/// Where pages are.
struct Site {
    /// `http://127.0.0.1:PORT`
    base: String,
    agent: ureq::Agent,
}

impl Site {
    fn of(run: &mut Running) -> Site {
        let base = run.wait_for_line("dashboard: ").trim_end_matches('/').to_owned();
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(SOON)).build();
        Site { base, agent: config.into() }
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut response = request.call().unwrap_or_else(|error| panic!("{path}: {error}"));
        let status = response.status().as_u16();
        let fields = response.headers().iter();
        let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned())).collect();
        let body = response.body_mut().read_to_string().unwrap_or_else(|error| panic!("{path}: {error}"));
        Answer { status, fields, body }
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.fields["content-type"].starts_with("application/json"), "{path}");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn wait_until_ready(&self) {
        wait_for(SOON, "/readyz to turn 200", || (self.get("/readyz").status == 200).then_some(()));
    }
}

impl Answer {
    fn epoch(&self) -> Option<u64> {
        self.fields.get("x-tillflow-epoch").map(|text| text.parse().expect("an epoch"))
    }
}

fn millis(text: &Value) -> i64 {
    let text = text.as_str().unwrap_or_else(|| panic!("no time: {text}"));
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}")).timestamp_millis()
}

/// A row of the API with its times as numbers, as a store's documents have them.
fn as_stored(row: &Value) -> Value {
    let times = ["timestamp", "window_end", "as_of", "last_updated", "opened_at", "resolved_at"];
    let fields = row.as_object().expect("a row").iter().map(|(name, value)| {
        let value = if times.contains(&name.as_str()) { Value::from(millis(value)) } else { value.clone() };
        (name.clone(), value)
    });
    Value::Object(fields.collect())
}

fn of_type<'a>(documents: &'a Documents, kind: &str) -> Vec<&'a Value> {
    documents.values().filter(|document| document["type"] == kind).collect()
}

fn assert_progress(found: &Value, stored: &Progress) {
    assert_eq!(found["epoch"], stored.epoch);
    assert_eq!(Some(millis(&found["as_of"])), stored.as_of);
    assert_eq!(found["fence"], stored.fence);
    assert_eq!(found["instance"], stored.instance.as_str());
    assert_eq!(Some(millis(&found["committed_at"])), stored.committed_at);
    let mut offsets = Map::new();
    for ((topic, partition), next) in &stored.offsets {
        let topic = offsets.entry(topic.name()).or_insert_with(|| Value::Object(Map::new()));
        topic[partition.to_string()] = Value::from(*next);
    }
    assert_eq!(found["offsets"], Value::Object(offsets));
}

/// Everything that the API says is what the store holds.
fn assert_numbers(site: &Site, store: &Store) {
    let (progress, documents) = (store.progress().expect("progress"), documents(store));
    assert_progress(&site.json("/api/v1/progress"), &progress);

    let found = site.json("/api/v1/metrics");
    assert_eq!((found["epoch"].as_u64(), Some(millis(&found["as_of"]))), (Some(progress.epoch), progress.as_of));
    let mut metrics = Map::new();
    for document in of_type(&documents, "metric") {
        let common = ["_id", "type", "name", "timestamp", "epoch", "as_of"];
        let own = document.as_object().expect("a document").iter();
        let own = own.filter(|(field, _)| !common.contains(&field.as_str()));
        let own = own.map(|(field, value)| (field.clone(), value.clone())).collect();
        metrics.insert(document["name"].as_str().expect("a name").to_owned(), Value::Object(own));
    }
    assert!(metrics.len() >= 7, "{:?}", metrics.keys());
    assert_eq!(found["metrics"], Value::Object(metrics));

    let views = [
        ("sales_total", "minute"),
        ("sales_total", "hour"),
        ("sales_by_category", "day"),
        ("sales_by_store", "hour"),
        ("sales_by_product", "day"),
        ("activity_by_type", "hour"),
        ("active_users", "day"),
    ];
    for (kind, granularity) in views {
        let found = site.json(&format!("/api/v1/views/{kind}?granularity={granularity}&limit=10000"));
        let stored = of_type(&documents, kind).into_iter().filter(|document| document["granularity"] == granularity);
        assert_rows(&found, stored.collect(), &progress, kind);
    }
    for kind in ["stock", "alert"] {
        let found = site.json(&format!("/api/v1/views/{kind}?limit=10000"));
        assert_rows(&found, of_type(&documents, kind), &progress, kind);
    }
    for state in ["open", "resolved"] {
        let found = site.json(&format!("/api/v1/alerts?state={state}&limit=10000"));
        let stored = of_type(&documents, "alert").into_iter().filter(|document| document["state"] == state);
        assert_rows(&found, stored.collect(), &progress, state);
    }
}

fn assert_rows(found: &Value, stored: Vec<&Value>, progress: &Progress, what: &str) {
    assert_eq!(found["epoch"], progress.epoch, "{what}");
    assert_eq!(found["truncated"], false, "{what}");
    let by_id = |row: &Value| (row["_id"].as_str().expect("an _id").to_owned(), row.clone());
    let found: BTreeMap<String, Value> =
        found["rows"].as_array().expect("rows").iter().map(|row| by_id(&as_stored(row))).collect();
    let stored: BTreeMap<String, Value> = stored.into_iter().map(by_id).collect();
    assert!(!stored.is_empty() || what == "resolved", "nothing to compare: {what}");
    assert_eq!(found, stored, "{what}");
}

/// The addresses of one page load.
const ADDRESSES: [&str; 13] = [
    "/",
    "/sales",
    "/activity",
    "/inventory",
    "/alerts",
    "/quality",
    "/history",
    "/charts/revenue.svg",
    "/charts/top-products.svg",
    "/charts/stock-levels.svg",
    "/api/v1/metrics",
    "/api/v1/progress",
    "/api/v1/alerts",
];

/// A body without its status line, which tells of the pipeline at this moment and belongs to no epoch.
fn without_status(body: &str) -> String {
    let Some(start) = body.find("<section class=\"status ") else { return body.to_owned() };
    let end = start + body[start..].find("</section>").expect("its end");
    format!("{}{}", &body[..start], &body[end..])
}

/// While epochs come, everything that is asked for of one epoch is of that epoch, and the same each time.
fn assert_one_epoch(site: &Site) {
    let epoch = site.get("/").epoch().expect("an epoch");
    let mut bodies = BTreeMap::new();
    for path in ADDRESSES {
        let answer = site.get(&format!("{path}?epoch={epoch}"));
        assert_eq!((answer.status, answer.epoch()), (200, Some(epoch)), "{path}: {}", answer.body);
        let tag = &answer.fields["etag"];
        assert!(tag.starts_with(&format!("\"{epoch}-")), "{path}: {tag}");
        let unchanged = site.get_with(&format!("{path}?epoch={epoch}"), &[("If-None-Match", tag)]);
        assert_eq!(unchanged.epoch(), Some(epoch), "{path}");
        if unchanged.status == 304 {
            assert_eq!((unchanged.fields.get("etag"), unchanged.body.as_str()), (Some(tag), ""), "{path}");
        } else {
            assert!(answer.body.contains("<section class=\"status "), "{path} has no status line, but no 304");
            assert_ne!((unchanged.fields.get("etag"), &unchanged.body), (Some(tag), &answer.body), "{path}");
        }
        if path.starts_with("/api/") {
            let body: Value = serde_json::from_str(&answer.body).expect("JSON");
            assert_eq!(body["epoch"], epoch, "{path}");
        }
        bodies.insert(path, answer);
    }
    for path in ADDRESSES {
        let again = site.get(&format!("{path}?epoch={epoch}"));
        let first = &bodies[path];
        assert_eq!(again.epoch(), Some(epoch), "{path}");
        assert_eq!(
            again.body == first.body,
            again.fields["etag"] == first.fields["etag"],
            "{path}: the validator lies"
        );
        assert!(without_status(&again.body) == without_status(&first.body), "{path} changed within epoch {epoch}");
    }
}

/// The stream of epochs tells of one that is newer.
fn assert_events(site: &Site) {
    let address = site.base.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(SOON)).expect("a limit");
    let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut epochs = BTreeSet::new();
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    while epochs.len() < 2 {
        let name = lines.find(|line| line.starts_with("event:")).expect("an event");
        assert_eq!(name.trim_start_matches("event:").trim(), "epoch");
        let data = lines.find(|line| line.starts_with("data:")).expect("its data");
        let digits: String =
            data.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        let epoch: u64 = digits.parse().unwrap_or_else(|_| panic!("no epoch in {data:?}"));
        assert!(epochs.last().is_none_or(|last| *last <= epoch), "{epoch} after {epochs:?}");
        epochs.insert(epoch);
    }
}

/// One metric family of an OpenMetrics text.
#[derive(Default, Debug)]
struct Family {
    kind: String,
    /// Sample name and labels, value.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads OpenMetrics text strictly: what a scraper would refuse fails the test.
fn open_metrics(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let [keyword, name, rest] = comment.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(["TYPE", "HELP", "UNIT"].contains(&keyword), "{line}");
            if name != current {
                assert!(!families.contains_key(name), "{name} comes twice");
                families.insert(name.to_owned(), Family::default());
                current = name.to_owned();
            }
            if keyword == "TYPE" {
                families.get_mut(name).expect("known").kind = rest.to_owned();
            }
            if keyword == "UNIT" {
                assert!(name.ends_with(&format!("_{rest}")), "{line}");
            }
            continue;
        }
        assert!(seen.insert(line.rsplit_once(' ').expect("a sample").0.to_owned()), "twice: {line}");
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} within {current}"));
        let family = families.get_mut(&current).expect("a family");
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" => &["_total", "_created"],
            "histogram" => &["_bucket", "_sum", "_count", "_created"],
            "gauge" => &[""],
            "info" => &["_info"],
            other => panic!("{current} is a {other}"),
        };
        assert!(allowed.contains(&suffix), "{line} within a {}", family.kind);
        family.samples.push((name, labels, value));
    }
    for (name, family) in &families {
        if family.kind == "histogram" && !family.samples.is_empty() {
            let of = |suffix: &'static str| family.samples.iter().filter(move |it| it.0 == format!("{name}{suffix}"));
            let buckets: Vec<f64> = of("_bucket").map(|it| it.2).collect();
            assert!(buckets.is_sorted(), "{name}: {buckets:?}");
            let last = of("_bucket").next_back().expect("buckets");
            assert_eq!(last.1["le"], "+Inf", "{name}");
            assert_eq!(Some(last.2), of("_count").next().map(|it| it.2), "{name}");
        }
    }
    families
}

/// `name{label="value",…} number`
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (head, value) = line.rsplit_once(' ').expect("a value");
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let (name, labels) = head
        .split_once('{')
        .map_or((head, ""), |(name, rest)| (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))));
    // A comma may be part of a value; no value has quotes.
    let labels = labels.trim_end_matches('"').split("\",").filter(|label| !label.is_empty()).map(|label| {
        let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), value.to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}

fn sum(family: &Family) -> f64 {
    family.samples.iter().map(|it| it.2).sum()
}

/// `/metrics` has the names that scrapers look for, and their numbers are the store's.
fn assert_metrics(site: &Site, store: &Store) {
    let answer = site.get("/metrics");
    assert_eq!(answer.status, 200);
    let content_type = &answer.fields["content-type"];
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
    let families = open_metrics(&answer.body);
    let family = |name: &str| families.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", families.keys()));
    let (progress, documents) = (store.progress().expect("progress"), documents(store));

    let records = family("tillflow_records");
    assert_eq!(sum(records) as i64, counted(&progress));
    let quality = &documents[&("real_time_metrics".into(), "metric|data_quality".into())];
    for (outcome, count) in quality["outcomes"].as_object().expect("outcomes") {
        let of = records.samples.iter().filter(|it| it.1["outcome"] == *outcome);
        assert_eq!(of.map(|it| it.2).sum::<f64>() as i64, count.as_i64().expect("a count"), "{outcome}");
    }
    for topic in ["user_activity", "sales", "inventory"] {
        let of = records.samples.iter().filter(|it| it.1["topic"] == topic).map(|it| it.2).sum::<f64>();
        let stored: i64 = progress.offsets.iter().filter(|((it, _), _)| it.name() == topic).map(|(_, next)| next).sum();
        assert_eq!(of as i64, stored, "{topic}");
    }
    for (reason, count) in quality["reasons"].as_object().expect("reasons") {
        let of = family("tillflow_dead_letters").samples.iter().filter(|it| it.1["reason"] == *reason);
        assert_eq!(of.map(|it| it.2).sum::<f64>() as i64, count.as_i64().expect("a count"), "{reason}");
    }
    assert_eq!(family("tillflow_epoch").samples[0].2 as u64, progress.epoch);
    assert_eq!(family("tillflow_commits").samples[0].2 as u64, progress.epoch, "one commit for each epoch");
    let count = |name: &str| {
        let found = family(name).samples.iter().find(|it| it.0 == format!("{name}_count"));
        found.unwrap_or_else(|| panic!("no {name}_count")).2
    };
    assert_eq!(count("tillflow_commit_duration_seconds") as u64, progress.epoch);
    assert!(count("tillflow_end_to_end_seconds") > 0.0);
    let freshness = family("tillflow_freshness_seconds").samples[0].2;
    assert!((0.0..600.0).contains(&freshness), "{freshness}");
    let lag = family("tillflow_kafka_lag_records");
    assert_eq!(lag.samples.len(), 9);
    assert!(lag.samples.iter().all(|it| it.2 == 0.0 && it.1.contains_key("topic") && it.1.contains_key("partition")));
    assert_eq!(family("tillflow_build").samples[0].1["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(family("tillflow_store_retries").kind, "counter");
    for name in
        ["process_cpu_seconds", "process_resident_memory_bytes", "process_start_time_seconds", "process_open_fds"]
    {
        assert!(family(name).samples[0].2 > 0.0, "{name}");
    }
}

fn pages_of_a_run(store: &Store, name: &str, rate: u32) {
    let topics = Topics::init(name, 3);
    // A tick that is long enough to look at an epoch before it is gone.
    let mut run = store.run_with_pages(&topics, "--listen 127.0.0.1:0 --tick-ms 1000 --workers 2").start();
    let site = Site::of(&mut run);
    assert_eq!(site.get("/healthz").status, 200);
    let unready = site.get("/readyz");
    assert_eq!(unready.status, 503, "ready before anything was committed: {}", unready.body);
    // An evening's worth, of a day on which some of the shop's shelves are nearly empty.
    let evening = ["--start", "2026-03-02T18:00:00Z", "--rate", "0", "--count", "2000"];
    topics.generate_command(51).flags(evening).succeed(SOON);
    let mut generating = topics.generate_command(52).flags(["--rate", &rate.to_string()]).start();
    site.wait_until_ready();
    assert_one_epoch(&site);
    assert_events(&site);
    assert_one_epoch(&site);
    assert!(generating.is_running(), "epochs did not come while pages were looked at");
    assert_eq!(generating.end("INT", STOP).code, Some(0));

    // Quiet: everything that was sent is committed, and stays as it is.
    let sent = || -> i64 {
        let lags = open_metrics(&site.get("/metrics").body);
        lags["tillflow_kafka_lag_records"].samples.iter().map(|it| it.2 as i64).sum()
    };
    let mut last = (None, std::time::Instant::now());
    wait_for(SOON, "quiet", || {
        let epoch = store.progress().map(|progress| progress.epoch);
        if last.0 != epoch || sent() > 0 {
            last = (epoch, std::time::Instant::now());
        }
        // The broker is asked every two seconds how long its partitions are.
        (last.1.elapsed() > Duration::from_secs(5)).then_some(())
    });
    let progress = store.progress().expect("progress");
    // A page waits a second for a newer epoch; on a busy machine it takes longer to be read.
    wait_for(SOON, "the page of the last epoch", || (site.get("/").epoch() == Some(progress.epoch)).then_some(()));
    assert_numbers(&site, store);
    assert_metrics(&site, store);
    assert_eq!(site.get("/readyz").status, 200);
    let gone = site.get(&format!("/api/v1/metrics?epoch={}", progress.epoch + 1));
    assert_eq!(gone.status, 404, "{}", gone.body);

    // The pages alone, beside the run and after it.
    let flags = ["dashboard", "--listen", "127.0.0.1:0"];
    let mut alone = Tillflow::new(flags).flags(store.flags()).start();
    let beside = Site::of(&mut alone);
    beside.wait_until_ready();
    assert_numbers(&beside, store);
    for path in ["/api/v1/metrics", "/api/v1/progress", "/api/v1/views/sales_by_category?granularity=hour"] {
        assert_eq!(site.get(path).body, beside.get(path).body, "{path}");
    }
    let ended = run.end("TERM", STOP);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_numbers(&beside, store);
    assert_eq!(alone.end("INT", STOP).code, Some(0));
    assert_equal(&topics, store, "--complete");
}

#[test]
fn pages_of_a_run_into_sqlite() {
    pages_of_a_run(&Store::sqlite(), "pages-s", 200);
}

#[test]
fn pages_of_a_run_into_mongodb() {
    pages_of_a_run(&Store::mongodb("pages"), "pages-m", 30);
}
