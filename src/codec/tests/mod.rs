//! The decoder as a whole: tables for the contract's clauses, JSON's grammar, and properties.

mod content;
mod grammar;
mod limits;
mod model;
mod properties;
mod whole;

use chrono_tz::Tz;
use tillflow_dataflows::records::{Activity, Money, Reason, Sale, StockLevel, Topic};

use super::*;

const UTC: Decoder = Decoder { zone: Tz::UTC };

/// A correct value of each topic, with the record it stands for.
const SALE_TEXT: &str = r#"{"transaction_id":"TXN-1","user_id":"USR-2","product_id":"PRD-3","quantity":2,"unit_price":19.99,"total_amount":39.98,"payment_method":"card","timestamp":"2024-01-15T10:30:00Z","store_id":"STO-4","category":"Books"}"#;
const ACTIVITY_TEXT: &str = r#"{"user_id":"USR-2","activity_type":"page_view","timestamp":"2024-01-15T10:30:00.125Z","session_id":"SES-5","ip_address":"10.0.0.1","user_agent":"Mozilla/5.0","product_id":"PRD-3","amount":12.5}"#;
const STOCK_LEVEL_TEXT: &str = r#"{"product_id":"PRD-3","current_stock":-7,"reorder_level":20,"last_updated":"2024-01-15T10:30:00Z","warehouse_id":"WHS-6","category":"Books","status":"in_stock"}"#;

fn sale() -> Sale {
    Sale {
        transaction_id: "TXN-1".into(),
        user_id: "USR-2".into(),
        product_id: "PRD-3".into(),
        quantity: 2,
        unit_price: Money(199_900),
        total_amount: Money(399_800),
        payment_method: "card".into(),
        timestamp: 1_705_314_600_000,
        store_id: "STO-4".into(),
        category: "Books".into(),
    }
}

fn activity() -> Activity {
    Activity {
        user_id: "USR-2".into(),
        activity_type: "page_view".into(),
        timestamp: 1_705_314_600_125,
        session_id: "SES-5".into(),
        product_id: Some("PRD-3".into()),
        amount: Some(Money(125_000)),
    }
}

fn stock_level() -> StockLevel {
    StockLevel {
        product_id: "PRD-3".into(),
        warehouse_id: "WHS-6".into(),
        current_stock: -7,
        reorder_level: 20,
        last_updated: 1_705_314_600_000,
        category: "Books".into(),
        status: Some("in_stock".into()),
    }
}

/// What the short and the long way say of a text, which has to be the same wherever the short one says anything.
fn split_both<'a, const N: usize>(text: &'a str, names: &[&'static str; N]) -> Result<[Token<'a>; N], Rejection> {
    let long = json::split(text, names);
    if let Some(short) = flat::split(text, names) {
        assert_eq!(Ok(short), long, "{text}");
    }
    long
}

/// Decodes, and checks on the way that a rejection's detail is short and on one line.
fn decode(topic: Topic, value: &[u8]) -> Result<Record, Reason> {
    if let Ok(text) = std::str::from_utf8(value) {
        let _ = match topic {
            Topic::Sales => split_both(text, &SALE).map(|_| ()),
            Topic::UserActivity => split_both(text, &ACTIVITY).map(|_| ()),
            Topic::Inventory => split_both(text, &STOCK_LEVEL).map(|_| ()),
        };
    }
    UTC.decode(topic, value).map_err(|rejection| {
        assert!(rejection.detail.chars().count() <= 250, "{}", rejection.detail);
        assert!(!rejection.detail.is_empty() && !rejection.detail.contains(char::is_control), "{rejection:?}");
        rejection.reason
    })
}

/// The text of a topic's correct value with one field's value replaced; an empty one takes the field away.
fn with(topic: Topic, name: &str, value: &str) -> String {
    let (names, text): (&[&str], &str) = match topic {
        Topic::Sales => (&SALE, SALE_TEXT),
        Topic::UserActivity => (&ACTIVITY, ACTIVITY_TEXT),
        Topic::Inventory => (&STOCK_LEVEL, STOCK_LEVEL_TEXT),
    };
    assert!(names.contains(&name), "{name} is no field of {topic:?}");
    let original: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    let fields = names.iter().filter_map(|&field| {
        let value = if field == name { value.to_owned() } else { original[field].to_string() };
        (!value.is_empty()).then(|| format!("\"{field}\":{value}"))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// The outcome of replacing one field's value, as reason or `None` for a record.
#[track_caller]
fn reason_with(topic: Topic, name: &str, value: &str) -> Option<Reason> {
    decode(topic, with(topic, name, value).as_bytes()).err()
}
