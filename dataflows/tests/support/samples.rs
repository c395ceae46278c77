//! Records to test with.

use tillflow_dataflows::oracle::admission::{Given, Record};
use tillflow_dataflows::records::{Activity, Millis, Money, Sale, StockLevel};
use tillflow_dataflows::time::{HOUR, MINUTE};

use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::assembly::Settings;

/// 2024-01-15T23:30:00Z.
pub const START: Millis = 1_705_361_400_000;

pub const SETTINGS: AdmissionSettings = AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE };

/// What the graph is built with.
pub fn graph() -> Settings {
    Settings::new(SETTINGS.correction_window)
}

pub fn sale(id: &str, timestamp: Millis) -> Sale {
    Sale {
        transaction_id: id.into(),
        user_id: "u".into(),
        product_id: "p".into(),
        quantity: 1,
        unit_price: Money(10_000),
        total_amount: Money(10_000),
        payment_method: "cash".into(),
        timestamp,
        store_id: "s".into(),
        category: "c".into(),
    }
}

pub fn activity(user: &str, timestamp: Millis) -> Activity {
    Activity {
        user_id: user.into(),
        activity_type: "page_view".into(),
        timestamp,
        session_id: "session".into(),
        product_id: None,
        amount: None,
    }
}

pub fn level(product: &str, last_updated: Millis) -> StockLevel {
    StockLevel {
        product_id: product.into(),
        warehouse_id: "w".into(),
        current_stock: 10,
        reorder_level: 5,
        last_updated,
        category: "c".into(),
        status: None,
    }
}

pub fn record(given: Given, offset: i64) -> Record {
    Record { given, offset, kafka_timestamp: None }
}
