//! What holds for every generated history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::Value;
use tillflow_dataflows::records::{Millis, Outcome, Reason, Topic};

use super::catalogue::{STORES, warehouse_of};
use super::*;
use crate::partitioner::murmur2_partition;

const START: Millis = 1_767_225_600_000;
const HOUR: Millis = 3_600_000;

fn generator(seed: u64, pace: Pace, shares: Shares) -> Generator {
    Generator::new(GeneratorOptions { shares, ..GeneratorOptions::new(seed, START, pace) }).expect("valid options")
}

fn parsed(record: &GeneratedRecord) -> Value {
    serde_json::from_slice(record.value.as_deref().expect("a value")).expect("JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value} is no text"))
}

fn instant(value: &Value, field: &str) -> Millis {
    DateTime::parse_from_rfc3339(text(value, field)).expect("RFC 3339").timestamp_millis()
}

fn cents(value: &Value) -> i64 {
    let number = match value {
        Value::String(text) => text.parse().expect("a number"),
        other => other.as_f64().expect("a number"),
    };
    (number * 100.0).round() as i64
}

/// FNV-1a over everything that a record is.
fn fingerprint(records: impl Iterator<Item = GeneratedRecord>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for record in records {
        add(record.topic.name().as_bytes());
        add(record.key.as_deref().unwrap_or(b"(none)"));
        add(record.value.as_deref().unwrap_or(b"(none)"));
        add(&record.timestamp.to_be_bytes());
    }
    hash
}

#[test]
fn a_seed_and_a_start_decide_every_byte() {
    let make = |seed, start| {
        let shares = Shares { duplicates: 0.05, corrections: 0.05, cancellations: 0.02, late: 0.02, corrupt: 0.05 };
        let options =
            GeneratorOptions { shares, ..GeneratorOptions::new(seed, start, Pace::Daily { per_second: 20.0 }) };
        let mut generator = Generator::new(options).expect("valid options");
        let before: Vec<_> = generator.by_ref().take(15_000).collect();
        generator.set_pace(Pace::Steady { per_second: 333.0 }).expect("a valid pace");
        fingerprint(before.into_iter().chain(generator.take(15_000)))
    };
    // A change of this number is a change of what a seed means: say so in the change log.
    assert_eq!(format!("{:016x}", make(7, START)), "GOLDEN");
    assert_eq!(make(7, START), make(7, START));
    assert_ne!(make(8, START), make(7, START));
    assert_ne!(make(7, START + 1), make(7, START));
}

#[test]
fn shares_and_mix_are_kept() {
    let shares = Shares { duplicates: 0.05, corrections: 0.04, cancellations: 0.03, late: 0.02, corrupt: 0.01 };
    let records = 200_000;
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    let mut topics: BTreeMap<Topic, u32> = BTreeMap::new();
    for record in generator(3, Pace::Daily { per_second: 200.0 }, shares).take(records) {
        let name = match record.kind {
            Kind::Plain => {
                *topics.entry(record.topic).or_default() += 1;
                "plain"
            }
            Kind::Duplicate => "duplicates",
            Kind::Correction => "corrections",
            Kind::Cancellation => "cancellations",
            Kind::Late => "late",
            Kind::Corrupt(_) => "corrupt",
        };
        *kinds.entry(name).or_default() += 1;
    }
    for (name, share) in [
        ("plain", 0.85),
        ("duplicates", 0.05),
        ("corrections", 0.04),
        ("cancellations", 0.03),
        ("late", 0.02),
        ("corrupt", 0.01),
    ] {
        let found = f64::from(kinds[name]) / records as f64;
        assert!((found - share).abs() < 0.0025, "{name}: {found}");
    }
    for (topic, share) in [(Topic::UserActivity, 0.7), (Topic::Sales, 0.25), (Topic::Inventory, 0.05)] {
        let found = f64::from(topics[&topic]) / f64::from(kinds["plain"]);
        assert!((found - share).abs() < 0.005, "{topic:?}: {found}");
    }
}

#[test]
fn without_shares_everything_is_plain_and_with_all_of_them_nothing_breaks() {
    assert!(
        generator(3, Pace::Steady { per_second: 50.0 }, Shares::NONE)
            .take(20_000)
            .all(|record| record.kind == Kind::Plain)
    );
    // Nothing is known at first, and all that is known is soon cancelled: the history goes on instead.
    let shares = Shares { cancellations: 1.0, ..Shares::NONE };
    let cancelled: Vec<_> = generator(3, Pace::Steady { per_second: 50.0 }, shares).take(20_000).collect();
    let sales = cancelled.iter().filter(|record| record.topic == Topic::Sales && record.kind == Kind::Plain).count();
    let tombstones = cancelled.iter().filter(|record| record.kind == Kind::Cancellation).count();
    assert!(sales > 3_000 && sales.abs_diff(tombstones) <= 1, "{sales} sales, {tombstones} tombstones");
    let shares = Shares { corrupt: 1.0, ..Shares::NONE };
    assert!(
        generator(3, Pace::Steady { per_second: 50.0 }, shares).take(5_000).all(|record| record.kind != Kind::Plain)
    );
}

#[test]
fn options_out_of_range_are_refused() {
    let good = GeneratorOptions::new(1, START, Pace::Steady { per_second: 1.0 });
    for options in [
        GeneratorOptions { shares: Shares { late: 1.1, ..Shares::NONE }, ..good },
        GeneratorOptions { shares: Shares { late: f64::NAN, ..Shares::NONE }, ..good },
        GeneratorOptions { shares: Shares { late: 0.6, corrupt: 0.6, ..Shares::NONE }, ..good },
        GeneratorOptions { pace: Pace::Steady { per_second: 0.0 }, ..good },
        GeneratorOptions { pace: Pace::Daily { per_second: 1e9 }, ..good },
        GeneratorOptions { stocked_for: Some(-1.0), ..good },
        GeneratorOptions { start: -1, ..good },
        GeneratorOptions { start: Millis::MAX, ..good },
    ] {
        assert!(matches!(Generator::new(options), Err(GenerateError::Settings(_))), "{options:?}");
    }
    let tenths = Shares { duplicates: 0.3, corrections: 0.3, cancellations: 0.3, late: 0.05, corrupt: 0.05 };
    assert!(Generator::new(GeneratorOptions { shares: tenths, ..good }).is_ok());
}

/// The members of an object as they are written.
fn members(json: &[u8]) -> Vec<(String, Value)> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, Value)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    serde::Deserializer::deserialize_map(&mut deserializer, Members).expect("an object")
}

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
    for (pace, records) in [
        (Pace::Daily { per_second: 0.4 }, 40_000),
        (Pace::Daily { per_second: 200.0 }, 150_000),
        (Pace::Steady { per_second: 50_000.0 }, 600_000),
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
        assert!(purchases.len() > records / 60, "{} purchases", purchases.len());
        let all = purchases.len();
        let mut matched = 0;
        let mut pending = 0;
        for (sent, time, what) in purchases {
            let of_sale = sales.get_mut(&what);
            let found = of_sale.and_then(|times| {
                let place = times.iter().position(|sold| (0..=300_000).contains(&(sold - time)))?;
                Some(times.swap_remove(place))
            });
            if found.is_some() {
                matched += 1;
            } else {
                // Only the last minutes' purchases may still wait, and at 0.4 records a second the last few.
                assert!(
                    ended - sent < 300_000,
                    "a purchase of {} ms before the end has no sale: {what:?}",
                    ended - sent
                );
                pending += 1;
            }
        }
        assert_eq!(matched + pending, all);
        assert!(pending <= 11_000 && matched * 2 > all, "{pending} of {all} have no sale yet");
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

/// A plain reading of the contract's rules for sales, to hold each record's kind against.
#[derive(Default)]
struct Partition {
    clock: Option<Millis>,
    known: HashMap<Vec<u8>, (Vec<String>, Millis)>,
}

#[test]
fn each_kind_has_its_outcome() {
    const WINDOW: Millis = 48 * HOUR;
    let shares = Shares { duplicates: 0.1, corrections: 0.1, cancellations: 0.03, late: 0.05, corrupt: 0.0 };
    for pace in [Pace::Daily { per_second: 200.0 }, Pace::Daily { per_second: 0.5 }] {
        let mut partitions: HashMap<(Topic, i32), Partition> = HashMap::new();
        for record in generator(12, pace, shares).take(150_000) {
            if record.topic == Topic::Inventory {
                continue;
            }
            let key = record.key.clone().expect("a key");
            let partition = partitions.entry((record.topic, murmur2_partition(&key, 3))).or_default();
            let open = partition.clock.map_or(Millis::MIN, |clock| clock - WINDOW);
            let known = partition.known.get(&key).filter(|(_, time)| *time >= open).cloned();
            let outcome = match record.value {
                None => {
                    assert!(known.is_some(), "a cancellation of what is not known");
                    partition.known.remove(&key);
                    Outcome::Cancelled
                }
                Some(_) => {
                    let value = parsed(&record);
                    let time = instant(&value, "timestamp");
                    let mut content: Vec<String> = ["user_id", "product_id", "payment_method", "store_id", "category"]
                        .iter()
                        .map(|field| value[field].to_string())
                        .collect();
                    content.push(value["quantity"].to_string());
                    content.push(format!("{} {} {time}", cents(&value["unit_price"]), cents(&value["total_amount"])));
                    let outcome = if time < open {
                        Outcome::Late
                    } else if time > record.timestamp + 600_000 {
                        Outcome::Quarantined
                    } else if record.topic == Topic::UserActivity {
                        Outcome::Accepted
                    } else {
                        match known {
                            Some((before, _)) if before == content => Outcome::Duplicate,
                            Some(_) => Outcome::Correction,
                            None => Outcome::Accepted,
                        }
                    };
                    if matches!(outcome, Outcome::Accepted | Outcome::Correction) {
                        partition.clock = partition.clock.max(Some(time));
                        if record.topic == Topic::Sales {
                            partition.known.insert(key, (content, time));
                        }
                    }
                    outcome
                }
            };
            assert_eq!(outcome, record.kind.outcome(), "{:?}: {:?}", record.kind, record.value.map(String::from_utf8));
        }
    }
}

#[test]
fn every_reason_that_a_record_can_have_occurs_and_is_meant() {
    let shares = Shares { corrupt: 1.0, ..Shares::NONE };
    let mut reasons: BTreeMap<Reason, u32> = BTreeMap::new();
    for record in generator(2, Pace::Steady { per_second: 100.0 }, shares).take(20_000) {
        let Kind::Corrupt(reason) = record.kind else { panic!("{record:?} is sound") };
        *reasons.entry(reason).or_default() += 1;
        let Some(value) = record.value.as_deref() else {
            assert_eq!(reason, Reason::NullValue);
            assert!(record.topic == Topic::UserActivity || (record.topic == Topic::Sales && record.key.is_none()));
            continue;
        };
        let shown = String::from_utf8_lossy(value);
        let json = serde_json::from_slice::<Value>(value);
        match reason {
            Reason::InvalidUtf8 => assert!(str::from_utf8(value).is_err()),
            Reason::InvalidJson => assert!(str::from_utf8(value).is_ok() && json.is_err(), "{shown}"),
            Reason::DuplicateField => {
                let names: Vec<_> = members(value).into_iter().map(|(name, _)| name).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len() + 1, names.len());
            }
            Reason::FutureTimestamp => {
                let field = if record.topic == Topic::Inventory { "last_updated" } else { "timestamp" };
                assert!(instant(&json.expect("JSON"), field) > record.timestamp + 12 * HOUR);
            }
            Reason::WrongType => {
                let json = json.expect("JSON");
                assert!(json.is_array() || json.as_object().is_some_and(|all| all.values().any(Value::is_array)));
            }
            Reason::TooLarge => {
                assert!(json.expect("JSON")[record.topic.key_field()].as_str().is_some_and(|id| id.len() > 256))
            }
            Reason::MissingField | Reason::OutOfRange | Reason::BadMoney | Reason::BadTimestamp => {
                assert!(json.is_ok_and(|json| json.is_object()), "{shown}");
            }
            Reason::NullValue | Reason::Late => panic!("{reason:?} of {shown}"),
        }
    }
    let expected: BTreeSet<Reason> = Reason::ALL.into_iter().filter(|reason| *reason != Reason::Late).collect();
    assert_eq!(reasons.keys().copied().collect::<BTreeSet<_>>(), expected, "{reasons:?}");
}

#[test]
fn a_thin_past_joins_a_live_present() {
    let now = START + 24 * HOUR;
    let backfill = Pace::Daily { per_second: 30_000.0 / 86_400.0 };
    let options = GeneratorOptions { stocked_for: Some(20.0), ..GeneratorOptions::new(1, now - 24 * HOUR, backfill) };
    let mut generator = Generator::new(options).expect("valid options");
    let mut past = 0;
    let mut hours = BTreeSet::new();
    while generator.clock() < now {
        hours.insert(generator.next().expect("no end").timestamp / HOUR);
        past += 1;
    }
    assert!((29_500..30_500).contains(&past), "{past}");
    assert_eq!(hours.len(), 24);
    generator.set_pace(Pace::Steady { per_second: 20.0 }).expect("a valid pace");
    let begun = generator.clock();
    assert!(begun - now < 60_000);
    let last = generator.by_ref().take(2_001).last().expect("no end");
    assert_eq!(last.timestamp - begun, 100_000);
}

fn args(flags: &str) -> GenerateArgs {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: GenerateArgs,
    }
    let words = std::iter::once("generate").chain(flags.split_whitespace());
    <Command as clap::Parser>::try_parse_from(words).expect("valid flags").args
}

#[test]
fn a_run_writes_what_the_generator_makes() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = format!(
        "--rate 0 --count 4000 --seed 5 --start 2026-01-01 --corrupt 0.05 --to ndjson:{} --envelope",
        folder.path().join("new").display()
    );
    let mut told = 0;
    let summary = run(&args(&flags), &KafkaOptions::default(), &AtomicBool::new(false), |records| told = records)
        .expect("written");
    assert_eq!((summary.records, told, summary.left_out), (4_000, 4_000, 0));
    assert_eq!(summary.by_topic.values().sum::<u64>(), 4_000);
    let lines: usize = Topic::ALL
        .into_iter()
        .map(|topic| std::fs::read(folder.path().join("new").join(format!("{}.ndjson", topic.name()))).expect("a file"))
        .map(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
        .sum();
    assert_eq!(lines, 4_000);
    let options = GeneratorOptions {
        shares: Shares { corrupt: 0.05, ..Shares::default() },
        ..GeneratorOptions::new(5, START, Pace::Daily { per_second: 200.0 })
    };
    let mut kinds = BTreeMap::new();
    for record in Generator::new(options).expect("valid options").take(4_000) {
        *kinds.entry(record.kind).or_default() += 1;
    }
    assert_eq!(summary.by_kind, kinds);
    assert!(summary.to_string().starts_with("4000 records in "), "{summary}");
}

#[test]
fn a_run_without_a_start_ends_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = format!("--rate 0 --count 2000 --to ndjson:{}", folder.path().display());
    let summary = run(&args(&flags), &KafkaOptions::default(), &AtomicBool::new(false), |_| {}).expect("written");
    let (_, end) = summary.span.expect("records");
    let behind = chrono::Utc::now().timestamp_millis() - end;
    assert!((0..120_000).contains(&behind), "{behind} ms before now");
    assert!(summary.left_out > 0 && summary.records + summary.left_out == 2_000, "{summary}");
}

#[test]
fn a_rate_is_kept_and_a_stop_obeyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = |name: &str| format!("--rate 200 --to ndjson:{} --envelope", folder.path().join(name).display());
    let begun = Instant::now();
    run(&args(&format!("{} --count 101", flags("a"))), &KafkaOptions::default(), &AtomicBool::new(false), |_| {})
        .expect("written");
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let summary = run(&args(&flags("b")), &KafkaOptions::default(), &stop, |records| {
        if records >= 20 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    })
    .expect("stopped");
    assert!((20..200).contains(&summary.records) && begun.elapsed() < Duration::from_secs(5), "{summary}");
}

#[test]
fn an_envelope_for_kafka_is_refused() {
    let refused = run(&args("--envelope"), &KafkaOptions::default(), &AtomicBool::new(false), |_| {});
    assert_eq!(refused.expect_err("nonsense").exit_code(), 2);
}

#[test]
fn a_refused_property_does_not_show_its_value() {
    let options = KafkaOptions {
        bootstrap_servers: "127.0.0.1:1".into(),
        topic_prefix: String::new(),
        properties: vec![("security.protocol".into(), "hunter2".into())],
    };
    let error = KafkaSink::connect(&options).err().expect("refused");
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("security.protocol") && !error.to_string().contains("hunter2"), "{error}");
}
