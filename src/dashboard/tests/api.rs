//! What programs see.

use super::fixture::{AS_OF, Bench, Shared, text};
use super::shop::{real_time, sales, shop, view};
use crate::document::Value;
use crate::status::{Phase, Problem};

#[test]
fn metrics_are_by_name_with_money_as_text() {
    let body = Bench::shop().json("/api/v1/metrics");
    assert_eq!(body["epoch"], 812);
    assert_eq!(body["as_of"], "2026-03-05T12:31:07.000Z");
    assert_eq!(
        body["metrics"]["sales_last_hour"],
        serde_json::json!({
            "transactions": 1_024, "units": 2_048, "revenue": "48211.3400", "average_order_value": "47.0813",
        })
    );
    assert_eq!(body["metrics"]["top_products_last_hour"]["products"][0]["product_id"], "PROD-0042");
    assert_eq!(body["metrics"]["data_quality"]["outcomes"]["quarantined"], 0);
}

#[test]
fn view_rows_are_documents() {
    let bench = Bench::shop();
    let body = bench.json(
        "/api/v1/views/sales_by_category?granularity=minute&from=2026-03-05T12:30:00Z&to=1772713860000&key=electronics",
    );
    assert_eq!(body["epoch"], 812);
    assert_eq!(
        (&body["type"], &body["granularity"], &body["count"]),
        (&"sales_by_category".into(), &"minute".into(), &1.into())
    );
    let row = &body["rows"][0];
    assert_eq!(row["timestamp"], "2026-03-05T12:30:00.000Z");
    assert_eq!(row["window_end"], "2026-03-05T12:31:00.000Z");
    assert_eq!(row["key"], serde_json::json!({"category": "electronics"}));
    assert!(
        row["revenue"]
            .as_str()
            .is_some_and(|text| text.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 4))
    );
    assert!(row["transactions"].is_i64() && row["final"] == false && row["epoch"] == 812);
}

#[test]
fn parts_add_up_to_the_whole() {
    let bench = Bench::shop();
    let sum = |target: &str| -> i64 {
        bench.json(target)["rows"]
            .as_array()
            .map_or(0, |rows| rows.iter().filter_map(|row| row["transactions"].as_i64()).sum())
    };
    let range = "granularity=minute&from=2026-03-05T11:32:00Z";
    assert_eq!(
        sum(&format!("/api/v1/views/sales_by_category?{range}")),
        sum(&format!("/api/v1/views/sales_total?{range}"))
    );
}

#[test]
fn a_limit_keeps_the_newest_and_says_so() {
    let bench = Bench::shop();
    for target in [
        "/api/v1/views/sales_total?granularity=minute&limit=2",
        "/api/v1/views/sales_total?granularity=minute&limit=2&from=0",
    ] {
        let body = bench.json(target);
        assert_eq!((&body["count"], &body["truncated"]), (&2.into(), &true.into()), "{target}");
        assert_eq!(body["rows"][1]["timestamp"], "2026-03-05T12:31:00.000Z");
    }
    assert_eq!(bench.json("/api/v1/views/sales_total?granularity=day&limit=100")["truncated"], false);
}

#[test]
fn rows_from_the_store_and_from_the_snapshot_are_the_same() {
    let bench = Bench::shop();
    let held = bench.json("/api/v1/views/sales_by_store?granularity=hour&from=2026-03-04T13:00:00Z");
    let reads = bench.store.lock().reads;
    let asked =
        bench.json("/api/v1/views/sales_by_store?from=2026-03-04T13:00:00Z&granularity=hour&to=2026-03-06T00:00:00Z");
    assert_eq!(bench.store.lock().reads, reads, "the snapshot has these rows");
    assert_eq!(held["rows"], asked["rows"]);
    let older = bench.json("/api/v1/views/sales_by_product?granularity=hour");
    assert_eq!((&older["count"], &older["epoch"]), (&0.into(), &812.into()));
    assert!(bench.store.lock().reads > reads);
}

#[test]
fn the_present_can_be_asked_for_too() {
    let bench = Bench::shop();
    let stock = bench.json("/api/v1/views/stock?key=PROD-0001");
    assert_eq!((&stock["count"], &stock["rows"][0]["current_stock"]), (&1.into(), &0.into()));
    assert_eq!(bench.json("/api/v1/views/metric?key=sales_all")["count"], 1);
    assert_eq!(bench.json("/api/v1/views/supply")["count"], 0);
    let open = bench.json("/api/v1/alerts?state=open");
    let resolved = bench.json("/api/v1/alerts?state=resolved");
    let all = bench.json("/api/v1/alerts");
    assert_eq!(resolved["count"], 1);
    assert_eq!(all["count"].as_i64(), Some(open["count"].as_i64().unwrap_or(0) + 1));
    assert!(open["rows"].as_array().is_some_and(|rows| rows.iter().all(|row| row["state"] == "open")));
}

#[test]
fn a_view_of_the_users_own_is_found_by_its_rows() {
    let store = shop(812);
    store.lock().documents.push(view(
        "sales_by_region",
        "hour",
        AS_OF - AS_OF % 3_600_000,
        &[("region", "north")],
        sales(3, 10),
    ));
    let bench = Bench::new(store, true);
    assert_eq!(bench.json("/api/v1/views/sales_by_region?granularity=hour&key=north")["count"], 1);
    assert_eq!(bench.json("/api/v1/views/sales_by_region?granularity=hour&key=south")["count"], 0);
    let missing = bench.get("/api/v1/views/sales_by_moon");
    assert_eq!((missing.status, missing.content_type), (404, "application/problem+json; charset=utf-8"));
}

#[test]
fn bad_parameters_are_refused_with_words() {
    let bench = Bench::shop();
    for target in [
        "/api/v1/views/sales_total?granularity=week",
        "/api/v1/views/sales_by_product?granularity=minute",
        "/api/v1/views/stock?granularity=hour",
        "/api/v1/views/sales_total?from=yesterday",
        "/api/v1/views/sales_total?limit=0",
        "/api/v1/views/sales_total?limit=10001",
        "/api/v1/views/sales_total?format=xml",
        "/api/v1/alerts?state=closed",
        "/api/v1/metrics?epoch=new",
        "/charts/revenue.svg?theme=pink",
        "/charts/revenue.svg?granularity=minute&from=0",
        "/charts/history.svg?type=stock",
    ] {
        let response = bench.get(target);
        assert_eq!(
            (response.status, response.content_type),
            (400, "application/problem+json; charset=utf-8"),
            "{target}"
        );
        let body: serde_json::Value = serde_json::from_str(&text(&response)).expect("JSON");
        assert_eq!(body["status"], 400);
        assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{target}: {body}");
    }
}

#[test]
fn csv_says_the_same_as_json() {
    let bench = Bench::shop();
    let target = "/api/v1/views/sales_by_category?granularity=hour&from=2026-03-05T00:00:00Z";
    let response = bench.get(&format!("{target}&format=csv"));
    assert_eq!(response.content_type, "text/csv; charset=utf-8");
    assert_eq!(response.download.as_deref(), Some("sales_by_category-hour-epoch-812.csv"));
    let csv = text(&response);
    let mut lines = csv.split_terminator("\r\n");
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let column = |name: &str| header.iter().position(|column| *column == name).expect("a column");
    let body = bench.json(target);
    let rows = body["rows"].as_array().expect("rows");
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), rows.len());
    assert!(lines.len() > 10);
    for (line, row) in lines.iter().zip(rows) {
        assert_eq!(line[column("revenue")], row["revenue"].as_str().unwrap_or_default());
        assert_eq!(line[column("category")], row["key"]["category"].as_str().unwrap_or_default());
        assert_eq!(line[column("timestamp")], row["timestamp"].as_str().unwrap_or_default());
        assert_eq!(line[column("transactions")], row["transactions"].to_string());
    }
}

#[test]
fn a_formula_in_a_label_is_text_in_csv() {
    let store = Shared::default();
    store.lock().progress = Some(super::fixture::progress(1));
    let fields = vec![
        ("product_id".into(), Value::Text("=HYPERLINK(\"http://evil\")".to_owned())),
        ("current_stock".into(), Value::Int(-4)),
    ];
    store.lock().documents = vec![real_time("stock|=x", "stock", fields)];
    let csv = Bench::new(store, true).text("/api/v1/views/stock?format=csv");
    assert!(csv.contains("\"'=HYPERLINK(\"\"http://evil\"\")\",-4,"), "{csv}");
}

#[test]
fn progress_lists_offsets_by_topic() {
    let body = Bench::shop().json("/api/v1/progress");
    assert_eq!((&body["epoch"], &body["instance"], &body["fence"]), (&812.into(), &"till-1".into(), &3.into()));
    assert_eq!(body["offsets"]["sales"]["2"], 137_812);
    let empty = Bench::new(Shared::default(), false).json("/api/v1/progress");
    assert_eq!((&empty["epoch"], &empty["as_of"]), (&0.into(), &serde_json::Value::Null));
}

#[test]
fn charts_are_files_of_one_epoch() {
    let bench = Bench::shop();
    for target in [
        "revenue.svg",
        "revenue.svg?granularity=hour&theme=dark",
        "revenue.svg?granularity=day",
        "revenue.svg?from=2026-03-05T11:00:00Z&to=2026-03-05T12:00:00Z",
        "transactions.svg",
        "average-order-value.svg",
        "revenue-by-category.svg?granularity=day",
        "category-trend.svg",
        "revenue-by-store.svg",
        "revenue-by-payment-method.svg",
        "activity-by-type.svg",
        "active-users.svg",
        "top-products.svg?granularity=minute",
        "stock-levels.svg",
        "outcomes.svg",
        "dead-letter-reasons.svg",
        "history.svg?type=sales_by_store&measure=units&granularity=hour",
    ] {
        let response = bench.get(&format!("/charts/{target}"));
        assert_eq!(
            (response.status, response.content_type, response.epoch),
            (200, "image/svg+xml; charset=utf-8", Some(812)),
            "{target}"
        );
        let svg = text(&response);
        roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{target}: {error}"));
        assert!(svg.len() < 40_000 && !svg.contains("NaN"), "{target}");
        assert!(svg.contains("#0072B2") || svg.contains("#56B4E9"), "{target}");
    }
}

#[test]
fn probes_tell_health_and_readiness() {
    let bench = Bench::shop();
    assert_eq!(bench.get("/healthz").status, 200);
    assert_eq!(bench.get("/readyz").status, 200);
    bench.status.update(|status| {
        status.phase = Phase::CatchingUp;
        status.store_problem = Some(Problem { since: 0, text: "MongoDB cannot be reached".to_owned() });
    });
    let response = bench.get("/readyz");
    assert_eq!(response.status, 503);
    let words = text(&response);
    assert!(words.contains("store: MongoDB cannot be reached") && words.contains("catching up"), "{words}");
    assert_eq!(bench.get("/healthz").status, 200);
    let metrics = bench.get("/metrics");
    assert!(metrics.content_type.starts_with("application/openmetrics-text") && text(&metrics) == "# EOF\n");
}
