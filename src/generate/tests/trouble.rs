//! Duplicates, corrections, cancellations, late and corrupt records: how many, and what they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tillflow_dataflows::records::{Outcome, Reason, Topic};

use super::*;
use crate::partitioner::murmur2_partition;

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

/// A plain reading of the contract's rules for sales, to hold each record's kind against.
#[derive(Default)]
struct Partition {
    clock: Option<Millis>,
    known: HashMap<Vec<u8>, (Vec<String>, Millis)>,
}

fn sale_content(sale: &Value, time: Millis) -> Vec<String> {
    let words = ["user_id", "product_id", "payment_method", "store_id", "category", "quantity"];
    let mut content: Vec<String> = words.iter().map(|field| sale[field].to_string()).collect();
    content.push(format!("{} {} {time}", cents(&sale["unit_price"]), cents(&sale["total_amount"])));
    content
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
                    let content = match record.topic {
                        Topic::Sales => sale_content(&value, time),
                        _ => Vec::new(),
                    };
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
