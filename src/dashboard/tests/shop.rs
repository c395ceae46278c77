//! A shop's worth of documents: what a store holds after a busy day.

use std::collections::BTreeMap;

use tillflow_dataflows::records::{Millis, Outcome, Reason};

use super::fixture::{AS_OF, Shared, progress};
use crate::dashboard::kinds::Granularity;
use crate::document::{Collection, Document, FieldName, Fields, Value, push_id_part};

/// A view's document, with its `_id` as the contract builds it.
pub fn view(kind: &str, granularity: &str, start: Millis, key: &[(&str, &str)], measures: Fields) -> Document {
    let length = Granularity::from_name(granularity).map_or(0, Granularity::millis);
    let mut id = format!("{kind}|{granularity}|{start}");
    for (_, value) in key {
        id.push('|');
        push_id_part(&mut id, value);
    }
    let key = key.iter().map(|(name, value)| ((*name).to_owned().into(), Value::Text((*value).to_owned()))).collect();
    let mut fields: Fields = vec![
        ("type".into(), Value::Text(kind.to_owned())),
        ("granularity".into(), Value::Text(granularity.to_owned())),
        ("timestamp".into(), Value::Time(start)),
        ("window_end".into(), Value::Time(start + length)),
        ("key".into(), Value::Document(key)),
        ("final".into(), Value::Bool(false)),
    ];
    fields.extend(measures);
    fields.extend([("epoch".into(), Value::Int(812)), ("as_of".into(), Value::Time(AS_OF))]);
    Document { collection: Collection::AggregatedData, id, fields }
}

pub fn real_time(id: &str, kind: &str, own: Fields) -> Document {
    let mut fields: Fields = vec![("type".into(), Value::Text(kind.to_owned()))];
    fields.extend(own);
    fields.extend([
        ("timestamp".into(), Value::Time(AS_OF)),
        ("epoch".into(), Value::Int(812)),
        ("as_of".into(), Value::Time(AS_OF)),
    ]);
    Document { collection: Collection::RealTimeMetrics, id: id.to_owned(), fields }
}

fn text_field(name: &'static str, text: &str) -> (FieldName, Value) {
    (name.into(), Value::Text(text.to_owned()))
}

fn int(name: &'static str, number: i64) -> (FieldName, Value) {
    (name.into(), Value::Int(number))
}

pub fn sales(transactions: i64, revenue: i128) -> Fields {
    let mut fields: Fields = vec![
        int("transactions", transactions),
        int("units", transactions * 2),
        ("revenue".into(), Value::money(revenue)),
    ];
    if transactions > 0 {
        fields.push(("average_order_value".into(), Value::money(revenue / i128::from(transactions))));
    }
    fields
}

fn metric(name: &str, own: Fields) -> Document {
    let mut fields: Fields = vec![text_field("name", name)];
    fields.extend(own);
    real_time(&format!("metric|{name}"), "metric", fields)
}

/// Without randomness: a wave with some jitter, about `around`.
fn wave(n: i64, around: i64) -> i64 {
    let phase = (n.rem_euclid(1_440) * 360 / 1_440) - 180;
    let hill = 100 - (phase.abs() - 90).abs() * 60 / 90;
    (around * hill / 100 + (n * 7_919).rem_euclid(97) * around / 260).max(0)
}

const CATEGORIES: [(&str, i64); 6] =
    [("electronics", 34), ("home & kitchen", 22), ("clothing", 18), ("sports", 12), ("books", 8), ("toys", 6)];
const TYPES: [(&str, i64); 7] = [
    ("page_view", 48),
    ("search", 17),
    ("add_to_cart", 12),
    ("login", 10),
    ("logout", 6),
    ("checkout", 4),
    ("purchase", 3),
];
const PRODUCTS: [&str; 10] = [
    "PROD-0042",
    "PROD-0007",
    "PROD-0113",
    "PROD-0001",
    "PROD-0256",
    "PROD-0078",
    "PROD-0019",
    "PROD-0305",
    "PROD-0150",
    "PROD-0064",
];

/// A shop at an epoch: two hours of minutes, two days of hours, a month of days, stock, alerts, dead letters.
pub fn shop(epoch: u64) -> Shared {
    let store = Shared::default();
    {
        let mut inner = store.lock();
        inner.progress = Some(progress(epoch));
        inner.documents = windows();
        inner.documents.extend(metrics());
        inner.documents.extend(stock_and_alerts());
        inner.documents.extend(dead_letters());
    }
    store
}

fn windows() -> Vec<Document> {
    let mut documents = Vec::new();
    for (granularity, count, size) in
        [(Granularity::Minute, 130, 22), (Granularity::Hour, 60, 1_150), (Granularity::Day, 35, 26_000)]
    {
        let last = granularity.floor(AS_OF);
        for n in 0..count {
            let start = last - n * granularity.millis();
            let step = if granularity == Granularity::Minute { n * 5 } else { n * 60 };
            let mut transactions = wave(720 + step, size);
            let mut events = wave(700 + step, size * 9);
            if n == 0 {
                // The newest window has only begun.
                transactions = transactions / 6 + 1;
                events = events / 6 + 1;
            }
            let name = granularity.name();
            let mut whole = (0, 0i128);
            for (index, (category, share)) in CATEGORIES.into_iter().enumerate() {
                let part = transactions * share / 100 + i64::from(index == 0);
                let revenue = i128::from(part) * (31 + i128::from(n % 13) + i128::from(share)) * 9_987;
                whole = (whole.0 + part, whole.1 + revenue);
                if part > 0 {
                    documents.push(view(
                        "sales_by_category",
                        name,
                        start,
                        &[("category", category)],
                        sales(part, revenue),
                    ));
                }
            }
            documents.push(view("sales_total", name, start, &[], sales(whole.0, whole.1)));
            for (index, store) in ["store_01", "store_02", "store_03", "store_04"].into_iter().enumerate() {
                let divisor = 2i64 << index;
                documents.push(view(
                    "sales_by_store",
                    name,
                    start,
                    &[("store_id", store)],
                    sales(whole.0 / divisor, whole.1 / i128::from(divisor)),
                ));
            }
            for (method, divisor) in [("credit_card", 2), ("paypal", 4), ("debit_card", 5), ("gift_card", 20)] {
                let part = sales(whole.0 / divisor, whole.1 / i128::from(divisor));
                documents.push(view("sales_by_payment_method", name, start, &[("payment_method", method)], part));
            }
            for (kind, share) in TYPES {
                let fields = vec![
                    int("events", events * share / 100 + 1),
                    ("amount".into(), Value::money(if kind == "purchase" { 990_000 } else { 0 })),
                ];
                documents.push(view("activity_by_type", name, start, &[("activity_type", kind)], fields));
            }
            if granularity != Granularity::Minute {
                documents.push(view("active_users", name, start, &[], vec![int("users", events / 5)]));
            }
        }
    }
    documents
}

fn metrics() -> Vec<Document> {
    let products = |scale: i128| {
        let rows = PRODUCTS.iter().enumerate().map(|(index, product)| {
            let revenue = scale * (1_300 - 97 * i128::try_from(index).unwrap_or(0)) * 10_000;
            Value::Document(vec![
                int("rank", i64::try_from(index).unwrap_or(0) + 1),
                text_field("product_id", product),
                ("revenue".into(), Value::money(revenue)),
                int("units", 40 - i64::try_from(index).unwrap_or(0)),
            ])
        });
        vec![("products".into(), Value::List(rows.collect()))]
    };
    let counts = |pairs: &[(&str, i64)], names: Vec<&'static str>| {
        let given: BTreeMap<&str, i64> = pairs.iter().copied().collect();
        Value::Document(names.into_iter().map(|name| int(name, given.get(name).copied().unwrap_or(0))).collect())
    };
    vec![
        metric("sales_all", sales(812_004, 382_004_120_000)),
        metric("sales_last_hour", sales(1_024, 482_113_400)),
        metric("sales_last_24h", sales(24_711, 12_345_678_900)),
        metric("top_products_last_hour", products(1)),
        metric("top_products_last_24h", products(23)),
        metric(
            "inventory_summary",
            vec![
                int("products", 300),
                int("rows", 900),
                int("units", 148_220),
                int("out_of_stock", 2),
                int("low_stock", 9),
            ],
        ),
        metric(
            "data_quality",
            vec![
                (
                    "outcomes".into(),
                    counts(
                        &[
                            ("accepted", 1_231_000),
                            ("correction", 4_120),
                            ("duplicate", 4_870),
                            ("cancelled", 310),
                            ("late", 3),
                            ("rejected", 8),
                        ],
                        Outcome::ALL.iter().map(|outcome| outcome.name()).collect(),
                    ),
                ),
                (
                    "reasons".into(),
                    counts(
                        &[("invalid_json", 5), ("bad_timestamp", 2), ("missing_field", 1), ("late", 3)],
                        Reason::ALL.iter().map(|reason| reason.name()).collect(),
                    ),
                ),
            ],
        ),
    ]
}

fn stock_and_alerts() -> Vec<Document> {
    let mut documents = Vec::new();
    for n in 0..40i64 {
        let product = format!("PROD-{:04}", n * 7 + 1);
        let warehouse = format!("WH-{}", n % 3 + 1);
        let level = 40 + n % 5 * 15;
        let stock = if n < 2 { -n } else { level * (n - 1) / 8 };
        documents.push(real_time(
            &format!("stock|{product}|{warehouse}"),
            "stock",
            vec![
                text_field("product_id", &product),
                text_field("warehouse_id", &warehouse),
                text_field("category", CATEGORIES[usize::try_from(n).unwrap_or(0) % CATEGORIES.len()].0),
                int("current_stock", stock),
                int("reorder_level", level),
                text_field("status", if stock <= 0 { "out_of_stock" } else { "in_stock" }),
                ("last_updated".into(), Value::Time(AS_OF - n * 61_000)),
            ],
        ));
        if stock <= level {
            let (kind, severity) = if stock <= 0 { ("out_of_stock", "critical") } else { ("low_stock", "warning") };
            documents.push(alert(
                kind,
                severity,
                &product,
                &warehouse,
                stock,
                level,
                AS_OF - (n + 1) * 412_000,
                n == 9,
            ));
        }
    }
    documents
}

#[expect(clippy::too_many_arguments, reason = "a document with that many fields")]
fn alert(
    kind: &str,
    severity: &str,
    product: &str,
    warehouse: &str,
    stock: i64,
    level: i64,
    opened: Millis,
    resolved: bool,
) -> Document {
    let mut fields: Fields = vec![
        text_field("kind", kind),
        text_field("severity", severity),
        text_field("product_id", product),
        text_field("warehouse_id", warehouse),
        text_field("message", &format!("{product} in {warehouse}: {stock} in stock, reorder level {level}")),
        text_field("state", if resolved { "resolved" } else { "open" }),
        ("opened_at".into(), Value::Time(opened)),
        int("times_opened", 1),
    ];
    if resolved {
        fields.push(("resolved_at".into(), Value::Time(opened + 60_000)));
    }
    real_time(&format!("alert|{kind}|{product}|{warehouse}"), "alert", fields)
}

fn dead_letters() -> Vec<Document> {
    [
        ("invalid_json", "expected `,` or `}` at column 12", &b"{\"user_id\": <script>alert(1)</script>\x01"[..]),
        ("bad_timestamp", "`timestamp` is no RFC 3339 time", &b"{\"timestamp\":\"yesterday\"}"[..]),
        ("invalid_utf8", "byte 3 is not UTF-8", &b"abc\xff\xfe"[..]),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, (reason, detail, value))| {
        let offset = i64::try_from(index).unwrap_or(0) + 40;
        Document {
            collection: Collection::DeadLetters,
            id: format!("sales|0|{offset}"),
            fields: vec![
                text_field("topic", "sales"),
                int("partition", 0),
                int("offset", offset),
                ("key".into(), Value::Bytes(b"tx-1".to_vec())),
                ("value".into(), Value::Bytes(value.to_vec())),
                ("kafka_timestamp".into(), Value::Time(AS_OF - offset * 1_000)),
                text_field("reason", reason),
                text_field("detail", detail),
                int("epoch", 812),
            ],
        }
    })
    .collect()
}
