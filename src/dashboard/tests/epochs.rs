//! One instant, whatever the store does meanwhile.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::fixture::{AS_OF, Bench, live, progress, text};
use super::shop::shop;
use crate::dashboard::rows::Record as _;
use crate::document::{Collection, Document, Value};

/// Commits an epoch in which last hour's revenue is `epoch` units.
fn commit(bench: &Bench, epoch: u64) {
    {
        let mut store = bench.store.lock();
        store.progress = Some(progress(epoch));
        let metric =
            store.documents.iter_mut().find(|document| document.id == "metric|sales_last_hour").expect("the metric");
        metric.fields.iter_mut().find(|field| field.0 == "revenue").expect("revenue").1 =
            Value::money(i128::from(epoch) * 10_000);
    }
    bench.status.update(|status| status.epoch = epoch);
}

fn shop_bench() -> Bench {
    let bench = Bench::shop();
    commit(&bench, 900);
    bench
}

#[test]
fn an_epoch_asked_for_by_number_stays_what_it_was() {
    let bench = shop_bench();
    let page = bench.get("/");
    assert_eq!(page.epoch, Some(900));
    assert!(text(&page).contains("$900.00"));
    commit(&bench, 901);
    assert!(bench.text("/").contains("$901.00"));
    for target in [
        "/?epoch=900",
        "/?epoch=900&fragment=1",
        "/sales?epoch=900",
        "/api/v1/metrics?epoch=900",
        "/api/v1/progress?epoch=900",
        "/api/v1/views/sales_total?granularity=minute&from=2026-03-05T12:00:00Z&epoch=900",
        "/api/v1/alerts?epoch=900",
        "/charts/revenue.svg?epoch=900",
        "/charts/top-products.svg?epoch=900",
    ] {
        assert_eq!(bench.get(target).epoch, Some(900), "{target}");
    }
    assert!(bench.text("/?epoch=900").contains("$900.00"));
    assert_eq!(bench.json("/api/v1/metrics?epoch=900")["metrics"]["sales_last_hour"]["revenue"], "900.0000");
    // What the snapshot does not hold belongs to the store's epoch, or is refused.
    assert_eq!(bench.get("/api/v1/views/sales_by_product?granularity=day&epoch=901").status, 200);
    assert_eq!(bench.get("/api/v1/views/sales_by_product?granularity=day&epoch=900").status, 410);
}

#[test]
fn letters_that_came_later_do_not_push_out_an_epoch_s_own() {
    let bench = shop_bench();
    assert!(bench.text("/quality").contains("no RFC 3339 time"));
    let after: Vec<Document> = (0..200)
        .map(|offset| Document {
            collection: Collection::DeadLetters,
            id: format!("inventory|0|{offset}"),
            fields: vec![
                ("kafka_timestamp".into(), Value::Time(AS_OF + offset)),
                ("reason".into(), Value::Text("not_object".to_owned())),
                ("detail".into(), Value::Text("a list, no object".to_owned())),
                ("epoch".into(), Value::Int(901)),
            ],
        })
        .collect();
    bench.store.lock().documents.extend(after);
    commit(&bench, 901);
    let of_901 = bench.text("/quality?epoch=901");
    assert!(of_901.contains("a list, no object") && !of_901.contains("no RFC 3339 time"), "{of_901}");
    let of_900 = bench.text("/quality?epoch=900");
    assert!(!of_900.contains("a list, no object") && of_900.contains("no RFC 3339 time"), "{of_900}");
}

#[test]
fn eight_epochs_are_held() {
    let bench = shop_bench();
    for epoch in 900..=908 {
        commit(&bench, epoch);
        assert_eq!(bench.get("/api/v1/metrics").epoch, Some(epoch));
    }
    assert_eq!(bench.get("/api/v1/metrics?epoch=901").epoch, Some(901));
    assert_eq!(bench.get("/api/v1/metrics?epoch=900").status, 410);
    assert_eq!(bench.get("/api/v1/metrics?epoch=909").status, 404);
    let page = bench.get("/?epoch=900");
    assert_eq!((page.status, page.epoch), (200, Some(908)));
    assert!(text(&page).contains("Epoch 900 is no longer held"));
    assert!(bench.text("/?epoch=x").contains("is not an epoch&#39;s number"));
}

#[test]
fn bytes_and_validator_of_an_epoch_do_not_change() {
    let bench = shop_bench();
    let first = bench.get("/charts/revenue.svg");
    let again = bench.get("/charts/revenue.svg?epoch=900");
    assert_eq!(text(&first), text(&again));
    assert_eq!(first.etag, bench.get("/charts/revenue.svg").etag);
    commit(&bench, 901);
    assert_ne!(first.etag, bench.get("/charts/revenue.svg").etag);
    let either = bench.get("/api/v1/views/sales_total?granularity=day&limit=3").etag;
    assert_eq!(either, bench.get("/api/v1/views/sales_total?limit=3&granularity=day").etag);
}

#[test]
fn many_who_ask_at_once_cause_one_load() {
    let bench = Arc::new(shop_bench());
    let _ = bench.get("/");
    bench.store.lock().slow = Duration::from_millis(50);
    commit(&bench, 901);
    let before = bench.store.lock().reads;
    let askers: Vec<_> = (0..16)
        .map(|_| {
            let bench = Arc::clone(&bench);
            thread::spawn(move || bench.get("/").epoch)
        })
        .collect();
    for asker in askers {
        assert_eq!(asker.join().expect("no panic"), Some(901));
    }
    assert_eq!(bench.store.lock().reads, before + 1);
}

#[test]
fn a_fast_pipeline_causes_few_loads() {
    let bench = shop_bench();
    let _ = bench.get("/");
    let before = bench.store.lock().reads;
    let begun = Instant::now();
    let mut epoch = 900;
    while begun.elapsed() < Duration::from_secs(1) {
        epoch += 1;
        commit(&bench, epoch);
        let _ = bench.get("/api/v1/progress");
    }
    assert!(bench.store.lock().reads - before <= 7, "{}", bench.store.lock().reads - before);
}

#[test]
fn a_broken_store_leaves_the_last_numbers_and_says_so() {
    let bench = shop_bench();
    assert!(bench.text("/").contains("$900.00"));
    bench.store.lock().broken = Some("MongoDB at localhost:27017 cannot be reached".to_owned());
    commit(&bench, 901);
    let page = bench.get("/");
    assert_eq!((page.status, page.epoch), (200, Some(900)));
    let words = text(&page);
    assert!(words.contains("$900.00") && words.contains("Cannot read the store since"), "{words}");
    assert!(words.contains("localhost:27017") && words.contains("those of epoch 900"));
    assert_eq!(bench.get("/api/v1/metrics").epoch, Some(900));
    assert_eq!(bench.get("/api/v1/views/sales_by_product?granularity=day").status, 503);
    assert!(bench.text("/quality").contains("dead letters cannot be read"));
    bench.store.lock().broken = None;
    thread::sleep(Duration::from_millis(2_100));
    let page = bench.get("/");
    assert_eq!(page.epoch, Some(901));
    assert!(!text(&page).contains("Cannot read the store"));
    assert!(bench.text("/quality").contains("invalid_json"), "an error is not kept");
}

#[test]
fn a_store_that_never_answered_is_an_error_for_programs() {
    let store = shop(900);
    store.lock().broken = Some("no such file".to_owned());
    let bench = Bench::new(store, false);
    assert_eq!(bench.get("/api/v1/metrics").status, 503);
    let page = bench.get("/");
    assert_eq!(page.status, 200);
    assert!(text(&page).contains("There are no earlier numbers to show. no such file"));
}

#[test]
fn a_slow_store_holds_up_nobody_for_long() {
    let bench = shop_bench();
    let _ = bench.get("/");
    bench.store.lock().slow = Duration::from_millis(1_500);
    commit(&bench, 901);
    let begun = Instant::now();
    assert_eq!(bench.get("/").epoch, Some(900));
    assert!(begun.elapsed() < Duration::from_millis(1_400), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(bench.get("/").epoch, Some(900));
    assert!(begun.elapsed() < Duration::from_millis(300), "the second one waits no full second: {:?}", begun.elapsed());
    thread::sleep(Duration::from_millis(800));
    assert_eq!(bench.get("/").epoch, Some(901));
}

#[test]
fn pages_alone_follow_the_store() {
    let bench = Bench::new(shop(900), true);
    assert_eq!(bench.get("/").epoch, Some(900));
    assert_eq!(bench.status.snapshot().epoch, 900);
    assert_eq!(bench.get("/readyz").status, 200);
    bench.store.lock().progress = Some(progress(905));
    // Nobody asks: the feed polls by itself while pages are open, so that event streams hear of it.
    assert_eq!(bench.status.wait_for_epoch_after(900, Duration::from_secs(4)), 905);
    assert_eq!(bench.get("/").epoch, Some(905));
    bench.store.lock().broken = Some("gone".to_owned());
    thread::sleep(Duration::from_millis(2_300));
    assert_eq!(bench.get("/readyz").status, 503);
}

#[test]
fn a_store_that_went_back_is_read_anew() {
    let bench = Bench::new(shop(900), true);
    assert_eq!(bench.get("/").epoch, Some(900));
    {
        let mut store = bench.store.lock();
        let mut earlier = progress(3);
        earlier.as_of = earlier.as_of.map(|as_of| as_of - 100 * 86_400_000);
        store.progress = Some(earlier);
        for document in &mut store.documents {
            for (_, value) in &mut document.fields {
                if let Value::Time(at) = value {
                    *at -= 100 * 86_400_000;
                }
            }
        }
    }
    thread::sleep(Duration::from_millis(1_100));
    let page = bench.get("/");
    assert_eq!(page.epoch, Some(3));
    assert!(!text(&page).contains("No sales here yet"));
}

#[test]
fn loads_after_the_first_ask_for_what_is_shown_alone() {
    let bench = shop_bench();
    let full = bench.json("/api/v1/views/sales_total?granularity=minute")["count"].clone();
    commit(&bench, 901);
    // Now the snapshot holds two hours of minutes; the rest comes from the store.
    assert_eq!(bench.json("/api/v1/views/sales_total?granularity=minute")["count"], full);
    live(&bench.status, 901);
    assert_eq!(bench.get("/").epoch, Some(901));
}

#[test]
fn a_young_store_shows_its_beginning_at_every_epoch() {
    let store = shop(900);
    let from = AS_OF - AS_OF % 60_000 - 4 * 60_000;
    store.lock().documents.retain(|document| document.time("timestamp").is_none_or(|at| at >= from));
    let bench = Bench::new(store, false);
    for epoch in 901..904 {
        commit(&bench, epoch);
        let page = bench.text("/?fragment=1");
        let at = page.find("id=\"figure-revenue\"").expect("the figure");
        let rows = &page[at..at + page[at..].find("</table>").expect("its table")];
        assert_eq!(rows.matches("<tr>").count(), 1 + 15, "a quarter of an hour at least");
        assert_eq!(
            rows.matches("<td class=\"number\">—</td>").count(),
            10,
            "nothing is not zero before the first window"
        );
        assert!(page.contains("no earlier hour"));
    }
}

#[test]
fn a_large_store_is_asked_for_its_present_alone() {
    let bench = shop_bench();
    let _ = bench.get("/");
    let reads = bench.store.lock().reads;
    // More minutes than a snapshot holds; but the newest few it does.
    assert_eq!(bench.json("/api/v1/views/sales_total?granularity=minute&limit=5")["count"], 5);
    assert_eq!(bench.store.lock().reads, reads);
    assert_eq!(bench.json("/api/v1/views/sales_total?granularity=minute")["count"], 130);
    assert_eq!(bench.store.lock().reads, reads + 1);
}
