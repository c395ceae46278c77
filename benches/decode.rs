//! How many records a second one thread decodes, beside serde_json reading the same bytes into its own tree.
//!
//! `cargo bench --bench decode`

use std::hint::black_box;

use chrono_tz::Tz;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tillflow::codec::Decoder;
use tillflow_dataflows::records::Topic;

/// Different records in turn, so that no branch is learnt by heart.
const RECORDS: usize = 1024;

fn values(topic: Topic) -> Vec<String> {
    let value = |n: usize| {
        let (seconds, millis) = (n % 60, n * 7 % 1000);
        let time = format!("2024-{:02}-{:02}T{:02}:30:{seconds:02}.{millis:03}Z", n % 12 + 1, n % 28 + 1, n % 24);
        let (user, product, cents) = (n * 7919 % 50_000, n * 104_729 % 5_000, n * 31 % 20_000);
        let (whole, part) = (cents / 100, cents % 100);
        match topic {
            Topic::Sales => format!(
                r#"{{"transaction_id":"TXN-{n:010}","user_id":"USR-{user:06}","product_id":"PRD-{product:05}","quantity":{},"unit_price":{whole}.{part:02},"total_amount":{}.{part:02},"payment_method":"credit_card","timestamp":"{time}","store_id":"STORE-{:03}","category":"Electronics"}}"#,
                n % 5 + 1,
                whole * 3,
                n % 120,
            ),
            Topic::UserActivity => format!(
                r#"{{"user_id":"USR-{user:06}","activity_type":"page_view","timestamp":"{time}","session_id":"SES-{:012}","ip_address":"10.1.{}.{}","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0","product_id":"PRD-{product:05}","amount":null}}"#,
                n * 31,
                n % 256,
                n * 7 % 256,
            ),
            Topic::Inventory => format!(
                r#"{{"product_id":"PRD-{product:05}","current_stock":{cents},"reorder_level":50,"last_updated":"{time}","warehouse_id":"WH-{:02}","category":"Electronics","status":"in_stock"}}"#,
                n % 12,
            ),
        }
    };
    (0..RECORDS).map(value).collect()
}

fn decode(criterion: &mut Criterion) {
    let decoder = Decoder::new(Tz::UTC);
    for topic in Topic::ALL {
        let values = values(topic);
        // The same record with one escape and one nested value more.
        let unusual: Vec<_> = values.iter().map(|value| format!(r#"{{"note":["a\n"],{}"#, &value[1..])).collect();
        // On two lines: the long way.
        let lines: Vec<_> = values.iter().map(|value| format!("{{\n{}", &value[1..])).collect();
        let mut group = criterion.benchmark_group(format!("decode/{}", topic.name()));
        group.throughput(Throughput::Elements(RECORDS as u64));
        for (name, values) in [("common", &values), ("unusual", &unusual), ("lines", &lines)] {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    for value in values {
                        assert!(black_box(decoder.decode(topic, black_box(value.as_bytes()))).is_ok());
                    }
                });
            });
        }
        group.bench_function("serde_json_value", |bencher| {
            bencher.iter(|| {
                for value in &values {
                    let value = serde_json::from_slice::<serde_json::Value>(black_box(value.as_bytes()));
                    assert!(black_box(value).is_ok());
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
