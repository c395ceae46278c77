//! What people see.

use super::fixture::{AS_OF, Bench, Shared, live, progress, text};
use super::shop::{real_time, sales, shop, view};
use crate::dashboard::message::Caching;
use crate::document::{Document, Fields, Value};
use crate::status::{Phase, Problem};

const PAGES: [&str; 8] = ["/", "/sales", "/activity", "/inventory", "/alerts", "/quality", "/history", "/pipeline"];

/// The main part of every page but `/history` (whose form has void elements) is well-formed XML.
fn check_markup(path: &str, fragment: &str) {
    assert!(!fragment.contains(" style="), "{path}: inline style");
    assert!(!fragment.contains("<script"), "{path}: script");
    let plain = fragment.replace("Info", "").replace("info", "");
    for word in ["NaN", "inf<", "null", "None", "Some("] {
        assert!(!plain.contains(word), "{path} says {word}");
    }
    if path.starts_with("/history") {
        return;
    }
    let document = roxmltree::Document::parse(fragment).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut ids = std::collections::BTreeSet::new();
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id), "{path}: id {id} twice");
        }
        assert!(node.attributes().all(|attribute| !attribute.name().starts_with("on")), "{path}: handler");
    }
}

#[test]
fn every_page_renders_with_data_without_and_in_any_zone() {
    let empty = Bench::new(Shared::default(), false);
    let nowhere = Bench::new(Shared::default(), true);
    let beirut = Bench::in_zone(shop(812), true, chrono_tz::Asia::Beirut);
    for bench in [&Bench::shop(), &empty, &nowhere, &beirut] {
        for path in PAGES {
            let response = bench.get(&format!("{path}?fragment=1"));
            assert_eq!(response.status, 200, "{path}");
            assert_eq!(response.caching, Caching::Revalidate);
            let fragment = text(&response);
            assert!(fragment.starts_with("<main"), "{path}");
            check_markup(path, &fragment);
            let whole = bench.text(path);
            assert!(whole.starts_with("<!doctype html>") && whole.matches("<h1").count() == 1, "{path}");
            assert!(!whole.contains(" style=") && !whole.contains("<style"), "{path}");
        }
    }
}

#[test]
fn the_overview_shows_the_numbers_of_the_store() {
    let page = Bench::shop().text("/");
    for words in [
        "$48.2k",
        "1,024",
        "$47.08",
        "$1.23M",
        "24,711 transactions",
        "PROD-0042",
        "home &#38; kitchen",
        "DEMO DATA",
        "epoch 812",
    ] {
        assert!(page.contains(words), "{words}");
    }
    for chart in ["revenue", "top-products", "revenue-by-category", "activity-by-type", "stock-levels"] {
        assert!(page.contains(&format!("id=\"figure-{chart}\"")), "{chart}");
    }
    assert!(page.contains("data through 2026-03-05 12:31:07 UTC"));
    assert!(page.len() < 300_000, "{}", page.len());
}

#[test]
fn an_empty_store_says_what_to_do() {
    let empty = Bench::new(Shared::default(), false);
    empty.status.update(|status| status.phase = Phase::Live);
    let page = empty.text("/");
    assert!(page.contains("tillflow generate --rate 50"), "{page}");
    assert!(page.contains("No sales here yet"));
    let alone = Bench::new(Shared::default(), true);
    assert!(alone.text("/").contains("tillflow run"));
}

#[test]
fn zero_is_zero_and_missing_is_a_dash() {
    let store = Shared::default();
    {
        let mut inner = store.lock();
        inner.progress = Some(progress(3));
        let mut fields: Fields = vec![("name".into(), Value::Text("sales_last_hour".to_owned()))];
        fields.extend(sales(0, 0));
        inner.documents = vec![real_time("metric|sales_last_hour", "metric", fields)];
    }
    let page = Bench::new(store, true).text("/");
    assert!(page.contains("<p class=\"value\">$0.00</p>"), "{page}");
    assert!(page.contains("<p class=\"value\">—</p>"));
}

#[test]
fn labels_from_the_stream_stay_text() {
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onclick='x",
        "\u{202E}\u{1}\u{0}",
        "{{7*7}}",
        "🛒\u{FFFE}",
    ];
    let long = "y".repeat(300);
    for name in hostile.into_iter().chain([long.as_str()]) {
        let store = shop(812);
        {
            let mut inner = store.lock();
            let start = AS_OF - AS_OF % 60_000;
            inner.documents.retain(|document| document.id.starts_with("metric"));
            inner.documents.push(view("sales_total", "minute", start, &[], sales(2, 90_000)));
            inner.documents.push(view("sales_by_category", "minute", start, &[("category", name)], sales(2, 90_000)));
            inner.documents.push(view(
                "activity_by_type",
                "minute",
                start,
                &[("activity_type", name)],
                vec![("events".into(), Value::Int(4))],
            ));
            for (kind, severity) in [("out_of_stock", "critical"), (name, name)] {
                let fields: Fields = [
                    ("kind", kind),
                    ("severity", severity),
                    ("product_id", name),
                    ("warehouse_id", name),
                    ("message", name),
                    ("state", "open"),
                    ("category", name),
                    ("status", name),
                ]
                .into_iter()
                .map(|(field, text)| (field.into(), Value::Text(text.to_owned())))
                .collect();
                inner.documents.push(real_time(&format!("alert|{kind}"), "alert", fields.clone()));
                inner.documents.push(real_time(&format!("stock|{kind}"), "stock", fields));
            }
            let letter = |value: &str| {
                vec![
                    ("reason".into(), Value::Text(value.to_owned())),
                    ("detail".into(), Value::Text(value.to_owned())),
                    ("value".into(), Value::Bytes(value.as_bytes().to_vec())),
                    ("epoch".into(), Value::Int(812)),
                ]
            };
            inner.documents.push(Document {
                collection: crate::document::Collection::DeadLetters,
                id: "x".into(),
                fields: letter(name),
            });
        }
        let bench = Bench::new(store, false);
        live(&bench.status, 812);
        for path in PAGES {
            let fragment = bench.text(&format!("{path}?fragment=1"));
            check_markup(path, &fragment);
            assert!(!fragment.contains("<img"), "{path}");
        }
        let history = bench.text(&format!(
            "/history?type=sales_by_category&key={}",
            form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>()
        ));
        assert!(!history.contains("<script>alert") && !history.contains("<img src=x"), "{history}");
        for chart in ["revenue-by-category", "activity-by-type", "stock-levels"] {
            let svg = bench.text(&format!("/charts/{chart}.svg"));
            roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{chart}: {error}"));
        }
    }
}

#[test]
fn the_status_line_has_the_words_for_each_state() {
    let bench = Bench::shop();
    let line = || {
        let page = bench.text("/pipeline?fragment=1");
        page[..page.find("</section>").unwrap_or(0)].to_owned()
    };
    assert!(line().contains("LIVE"));
    bench.status.update(|status| {
        status.phase = Phase::CatchingUp;
        status.partitions[5].end = Some(200_000);
        status.records_per_second = 1_000.0;
    });
    assert!(line().contains("CATCHING UP") && line().contains("95 %, about 1 min 2 s left"), "{}", line());
    bench.status.update(|status| {
        status.phase = Phase::Live;
        status.committed_at = status.committed_at.map(|at| at - 20_000);
    });
    assert!(line().contains("DELAYED") && line().contains("sales[2] is 62,188 records behind"), "{}", line());
    bench.status.update(|status| status.committed_at = status.committed_at.map(|at| at - 120_000));
    assert!(line().contains("STALLED"), "{}", line());
    bench.status.update(|status| {
        status.source_problem =
            Some(Problem { since: AS_OF, text: "Kafka at localhost:9092 cannot be reached".to_owned() });
    });
    assert!(line().contains("STALLED") && line().contains("since 12:31:07 UTC: Kafka at localhost:9092"), "{}", line());
}

#[test]
fn a_changed_status_changes_the_validator() {
    let bench = Bench::shop();
    let before = bench.get("/").etag;
    assert_eq!(before, bench.get("/").etag);
    bench.status.update(|status| status.source_problem = Some(Problem { since: 0, text: "gone".to_owned() }));
    assert_ne!(before, bench.get("/").etag);
    assert!(before.is_some_and(|etag| etag.starts_with("\"812-") && etag.ends_with('"')));
}

#[test]
fn only_panels_with_other_content_have_another_hash() {
    let bench = Bench::shop();
    let hashes = |fragment: &str| -> std::collections::BTreeMap<String, String> {
        fragment
            .split("data-panel=\"")
            .skip(1)
            .filter_map(|rest| {
                let (name, rest) = rest.split_once('"')?;
                let hash = rest.split_once("data-hash=\"")?.1.split_once('"')?.0;
                Some((name.to_owned(), hash.to_owned()))
            })
            .collect()
    };
    let before = hashes(&bench.text("/?fragment=1"));
    {
        let mut store = bench.store.lock();
        store.progress = Some(progress(813));
        let stock = store.documents.iter_mut().find(|document| document.id.starts_with("stock|")).expect("stock");
        stock.fields.iter_mut().find(|field| field.0 == "reorder_level").expect("a level").1 = Value::Int(99);
    }
    bench.status.update(|status| status.epoch = 813);
    let after = hashes(&bench.text("/?fragment=1"));
    let changed: Vec<&String> =
        after.iter().filter(|(name, hash)| before.get(*name) != Some(hash)).map(|(name, _)| name).collect();
    assert_eq!(changed, ["status", "stock-levels"]);
}

#[test]
fn bad_parameters_of_history_are_named_and_answered_with_defaults() {
    let bench = Bench::shop();
    let page = bench.text("/history?type=sales_nothing&range=9z&granularity=week");
    for words in ["sales_nothing", "range=9z", "granularity=week", "24 hours"] {
        assert!(page.contains(words), "{words}");
    }
    let swapped = bench.text("/history?from=2026-03-05T12:00&to=2026-03-04T12:00&range=custom");
    assert!(swapped.contains("exchanged") && swapped.contains("figure-history"));
    for extreme in [
        "from=1970-01-01T00:00&to=9999-12-31T23:59&granularity=minute&range=custom",
        "from=0&to=0&range=custom",
        "to=0&range=custom",
    ] {
        assert_eq!(bench.get(&format!("/history?{extreme}")).status, 200, "{extreme}");
    }
}

#[test]
fn history_shows_any_view_and_links_to_its_rows() {
    let bench = Bench::shop();
    let page = bench.text("/history?type=sales_by_category&granularity=hour&range=6h&measure=units&key=books");
    assert!(page.contains("<h2 id=\"h-rows\">6 rows</h2>"), "{page}");
    assert!(page.contains("/api/v1/views/sales_by_category?granularity=hour&#38;from=2026-03-05T07%3A00%3A00.000Z&#38;to=2026-03-05T13%3A00%3A00.000Z&#38;key=books&#38;format=csv"), "{page}");
    assert!(!page.contains("electronics"));
}

#[test]
fn unknown_addresses_are_not_found() {
    let bench = Bench::shop();
    let page = bench.get("/nothing");
    assert_eq!((page.status, page.content_type), (404, "text/html; charset=utf-8"));
    for target in ["/api/v1/nothing", "/api/v2", "/charts/nothing.svg", "/charts/revenue"] {
        let response = bench.get(target);
        assert_eq!(
            (response.status, response.content_type),
            (404, "application/problem+json; charset=utf-8"),
            "{target}"
        );
    }
}

#[test]
fn assets_are_immutable_and_named_by_their_content() {
    let bench = Bench::shop();
    let page = bench.text("/");
    for (extension, kind) in [("css", "text/css"), ("js", "text/javascript"), ("svg", "image/svg+xml")] {
        let at = page.find(&format!(".{extension}\"")).expect("a link");
        let start = page[..at].rfind('"').expect("a quote") + 1;
        let response = bench.get(&page[start..at + extension.len() + 1]);
        assert_eq!((response.status, response.caching), (200, Caching::Immutable));
        assert!(response.content_type.starts_with(kind));
    }
    assert_eq!(bench.get("/assets/tillflow.0000000000000000.css").status, 404);
}
