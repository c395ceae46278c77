//! What holds for every generated history.

mod command;
mod history;
mod trouble;

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::Value;
use tillflow_dataflows::records::Millis;

use super::*;

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
    assert_eq!(format!("{:016x}", make(7, START)), "9bcc00418de0565d");
    assert_eq!(make(7, START), make(7, START));
    assert_ne!(make(8, START), make(7, START));
    assert_ne!(make(7, START + 1), make(7, START));
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
