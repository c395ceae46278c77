//! The shop's own history agrees with itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tillflow_dataflows::records::Topic;

use super::*;
use crate::generate::catalogue::{STORES, warehouse_of};

#[test]
fn sound_records_have_exactly_the_contracts_fields() {
    let activity_required = ["user_id", "activity_type", "timestamp", "session_id"];
    let activity_optional = ["ip_address", "user_agent", "product_id", "amount"];
    let sales = [
        "transaction_id",
        "user_id",
        "product_id",
        "quantity",
        "unit_price",
        "total_amount",
        "payment_method",
        "timestamp",
        "store_id",
        "category",
    ];
    let inventory_required =
        ["product_id", "current_stock", "reorder_level", "last_updated", "warehouse_id", "category"];
    let mut seen: BTreeMap<Topic, BTreeSet<String>> = BTreeMap::new();
    for record in generator(4, Pace::Daily { per_second: 100.0 }, Shares::NONE).take(30_000) {
        let members = members(record.value.as_deref().expect("a value"));
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        let (required, optional): (&[&str], &[&str]) = match record.topic {
            Topic::UserActivity => (&activity_required, &activity_optional),
            Topic::Sales => (&sales, &[]),
            Topic::Inventory => (&inventory_required, &["status"]),
        };
        let order: Vec<&str> = required.iter().chain(optional).copied().filter(|name| names.contains(name)).collect();
        assert_eq!(names, order);
        assert!(required.iter().all(|name| names.contains(name)), "{names:?}");
        let event_time = if record.topic == Topic::Inventory { "last_updated" } else { "timestamp" };
        for (name, value) in &members {
            match name.as_str() {
                "quantity" | "current_stock" | "reorder_level" => assert!(value.is_i64(), "{name}: {value}"),
                "unit_price" | "total_amount" | "amount" => assert!(value.is_number(), "{name}: {value}"),
                _ => assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{name}: {value}"),
            }
            if name == record.topic.key_field() {
                assert_eq!(value.as_str().map(str::as_bytes), record.key.as_deref());
            }
            if name == event_time {
                let event = DateTime::parse_from_rfc3339(value.as_str().unwrap_or("")).expect("RFC 3339");
                let behind = record.timestamp - event.timestamp_millis();
                assert!((-5..=300_000).contains(&behind), "{behind} ms behind the clock");
            }
            seen.entry(record.topic).or_default().insert(name.clone());
        }
    }
    assert_eq!(seen[&Topic::UserActivity].len(), 8);
    assert_eq!(seen[&Topic::Inventory].len(), 7);
}

#[test]
fn money_is_written_with_two_decimals_and_totals_are_right() {
    let mut returns = 0;
    let mut sales = 0;
    for record in generator(4, Pace::Daily { per_second: 100.0 }, Shares::NONE).take(40_000) {
        if record.topic != Topic::Sales {
            continue;
        }
        let json = String::from_utf8(record.value.clone().expect("a value")).expect("UTF-8");
        let price = json.split("\"unit_price\":").nth(1).and_then(|rest| rest.split(',').next()).expect("a price");
        assert_eq!(price.split_once('.').map(|(_, decimals)| decimals.len()), Some(2), "{price}");
        let sale = parsed(&record);
        let quantity = sale["quantity"].as_i64().expect("an integer");
        assert_eq!(cents(&sale["total_amount"]), quantity * cents(&sale["unit_price"]));
        assert_ne!(quantity, 0);
        sales += 1;
        returns += i32::from(quantity < 0);
    }
    let share = f64::from(returns) / f64::from(sales);
    assert!((0.005..0.03).contains(&share), "{share} are returns");
}

#[test]
fn every_purchase_follows_its_funnel_and_has_its_sale() {
    // The last is so fast that more sessions would be open than there may be.
    for (pace, records, longest_wait, least) in [
        (Pace::Daily { per_second: 0.4 }, 40_000, 300_000, 1_000),
        (Pace::Daily { per_second: 200.0 }, 150_000, 40_000, 4_000),
        (Pace::Steady { per_second: 20_000.0 }, 900_000, 25_000, 1_000),
    ] {
        let mut sessions: HashMap<String, Vec<(Millis, String, Option<String>)>> = HashMap::new();
        let mut sales: HashMap<(String, String, i64), Vec<Millis>> = HashMap::new();
        let mut purchases = Vec::new();
        let mut ended = 0;
        for record in generator(6, pace, Shares::NONE).take(records) {
            ended = record.timestamp;
            if record.topic == Topic::Inventory {
                continue;
            }
            let value = parsed(&record);
            let time = instant(&value, "timestamp");
            assert!(time <= record.timestamp + 1_000, "{} ms ahead", time - record.timestamp);
            if record.topic == Topic::Sales {
                let what =
                    (text(&value, "user_id").into(), text(&value, "product_id").into(), cents(&value["total_amount"]));
                sales.entry(what).or_default().push(time);
                continue;
            }
            let product = value["product_id"].as_str().map(str::to_owned);
            let session = sessions.entry(text(&value, "session_id").to_owned()).or_default();
            assert!(session.last().is_none_or(|(before, ..)| *before < time), "a session goes back in time");
            if text(&value, "activity_type") == "purchase" {
                let had = |wanted: &str, of: &Option<String>| {
                    session.iter().any(|(_, what, which)| what == wanted && (of.is_none() || which == of))
                };
                assert!(had("page_view", &product) && had("add_to_cart", &product) && had("checkout", &None));
                let user = text(&value, "user_id").to_owned();
                purchases.push((
                    record.timestamp,
                    time,
                    (user, product.clone().expect("a product"), cents(&value["amount"])),
                ));
            }
            session.push((time, text(&value, "activity_type").to_owned(), product));
        }
        // The last purchases may wait for their sales yet.
        purchases.retain(|(sent, ..)| *sent < ended - longest_wait);
        assert!(purchases.len() > least, "{} purchases", purchases.len());
        for (sent, time, what) in purchases {
            let times = sales.get_mut(&what).map(std::mem::take).unwrap_or_default();
            let found = times.iter().position(|sold| (0..=300_000).contains(&(sold - time)));
            let found =
                found.unwrap_or_else(|| panic!("{what:?}, sent {} ms before the end, has no sale", ended - sent));
            // Each sale is of one purchase.
            sales.insert(
                what,
                times.into_iter().enumerate().filter(|(at, _)| *at != found).map(|(_, time)| time).collect(),
            );
        }
    }
}

#[test]
fn sessions_differ_in_how_far_they_get() {
    let mut sessions: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut events: HashMap<String, usize> = HashMap::new();
    for record in generator(6, Pace::Daily { per_second: 50.0 }, Shares::NONE).take(150_000) {
        if record.topic == Topic::UserActivity {
            let value = parsed(&record);
            let session = text(&value, "session_id").to_owned();
            *events.entry(session.clone()).or_default() += 1;
            sessions.entry(session).or_default().insert(text(&value, "activity_type").to_owned());
        }
    }
    let share = |count: usize| count as f64 / sessions.len() as f64;
    let bounced = share(events.values().filter(|events| **events == 1).count());
    let bought = share(sessions.values().filter(|types| types.contains("purchase")).count());
    let logged_in = share(sessions.values().filter(|types| types.contains("login")).count());
    assert!((0.1..0.35).contains(&bounced), "{bounced} bounce");
    assert!((0.1..0.4).contains(&bought), "{bought} buy");
    assert!((0.45..0.65).contains(&logged_in), "{logged_in} log in");
}

#[test]
fn stock_changes_by_sales_returns_and_deliveries_alone() {
    struct Shelf {
        stock: i64,
        reorder_level: i64,
        was_low: bool,
    }
    let mut shelves: HashMap<(String, usize), Shelf> = HashMap::new();
    let (mut deliveries, mut went_low, mut wrong_status, mut reports) = (0, 0, 0, 0);
    for record in generator(9, Pace::Daily { per_second: 20.0 }, Shares::default()).take(600_000) {
        if record.kind != Kind::Plain || record.topic == Topic::UserActivity {
            continue;
        }
        let value = parsed(&record);
        let product = text(&value, "product_id").to_owned();
        if record.topic == Topic::Sales {
            let store: usize = text(&value, "store_id").trim_start_matches("store_").parse().expect("a number");
            assert!((1..=STORES).contains(&store));
            if let Some(shelf) = shelves.get_mut(&(product, warehouse_of(store - 1))) {
                shelf.stock -= value["quantity"].as_i64().expect("an integer");
                if shelf.stock <= shelf.reorder_level && !shelf.was_low {
                    shelf.was_low = true;
                    went_low += 1;
                }
            }
            continue;
        }
        let warehouse: usize = text(&value, "warehouse_id").trim_start_matches("warehouse_").parse().expect("a number");
        let stock = value["current_stock"].as_i64().expect("an integer");
        let reorder_level = value["reorder_level"].as_i64().expect("an integer");
        reports += 1;
        let right = match stock {
            ..=0 => "out_of_stock",
            stock if stock <= reorder_level => "low_stock",
            _ => "in_stock",
        };
        wrong_status += i32::from(value["status"].as_str().is_some_and(|status| status != right));
        let low = stock <= reorder_level;
        let shelf = shelves.entry((product, warehouse - 1)).or_insert(Shelf { stock, reorder_level, was_low: low });
        if stock != shelf.stock {
            // A delivery, of something that had been low, and to well above the reorder level.
            assert!(shelf.was_low, "{value} was {} and never low", shelf.stock);
            assert!(stock > shelf.stock && stock > reorder_level, "{value} was {}", shelf.stock);
            deliveries += 1;
            shelf.was_low = low;
        }
        shelf.stock = stock;
        shelf.was_low |= low;
    }
    assert!(deliveries > 100 && went_low > 100, "{deliveries} deliveries, {went_low} went low");
    assert!((1..reports / 100).contains(&wrong_status), "{wrong_status} of {reports} statuses are wrong");
}
