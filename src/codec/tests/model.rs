//! A model of values: each field's text together with what it has to become, so that nothing here reads JSON.

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;

/// What a field's value is to become.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Missing,
    Fault(Reason),
    Text(String),
    Integer(i64),
    Money(i64),
    Time(i64),
}

/// A field's value as JSON text, nothing for an absent field, and what it is to become.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) json: String,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Identifier,
    FreeText,
    Integer,
    NonZero,
    Money,
    Time,
}

/// The fields of a topic with their kinds, and how many are required; written down once more, from the contract.
pub(super) fn schema(topic: Topic) -> (Vec<(&'static str, Kind)>, usize) {
    use Kind::*;
    match topic {
        Topic::Sales => {
            let fields = vec![
                ("transaction_id", Identifier),
                ("user_id", Identifier),
                ("product_id", Identifier),
                ("quantity", NonZero),
                ("unit_price", Money),
                ("total_amount", Money),
                ("payment_method", Identifier),
                ("timestamp", Time),
                ("store_id", Identifier),
                ("category", Identifier),
            ];
            (fields, 10)
        }
        Topic::UserActivity => {
            let fields = vec![
                ("user_id", Identifier),
                ("activity_type", Identifier),
                ("timestamp", Time),
                ("session_id", Identifier),
                ("ip_address", FreeText),
                ("user_agent", FreeText),
                ("product_id", Identifier),
                ("amount", Money),
            ];
            (fields, 4)
        }
        Topic::Inventory => {
            let fields = vec![
                ("product_id", Identifier),
                ("current_stock", Integer),
                ("reorder_level", Integer),
                ("last_updated", Time),
                ("warehouse_id", Identifier),
                ("category", Identifier),
                ("status", FreeText),
            ];
            (fields, 6)
        }
    }
}

/// Writes `text` as a JSON string; `dice` decides which characters are escaped, and how.
pub(super) fn spell(text: &str, dice: &[u8]) -> String {
    let mut json = String::from("\"");
    for (index, character) in text.chars().enumerate() {
        let die = dice.get(index % dice.len().max(1)).copied().unwrap_or(0);
        let short = match character {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '/' => Some("\\/"),
            '\u{8}' => Some("\\b"),
            '\u{c}' => Some("\\f"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            _ => None,
        };
        let must_escape = character < ' ' || character == '"' || character == '\\';
        match (die % 4, short) {
            (0 | 1, _) if !must_escape => json.push(character),
            (0..=2, Some(short)) => json.push_str(short),
            (die, _) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    json.push_str(&if die == 3 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") });
                }
            }
        }
    }
    json.push('"');
    json
}

pub(super) fn dice() -> impl Strategy<Value = Vec<u8>> {
    // Mostly without escapes, so that many a record has none at all and goes the short way.
    prop_oneof![15 => Just(vec![0]), 1 => proptest::collection::vec(any::<u8>(), 1..8)]
}

pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => "[A-Za-z0-9_-]{1,30}",
        4 => proptest::collection::vec(any::<char>(), 1..12).prop_map(|characters| characters.into_iter().collect()),
        1 => "[\"\\\\/\u{0}-\u{1f}]{1,8}",
    ]
}

pub(super) fn time_text(millis: i64, form: u8) -> String {
    let moment = DateTime::from_timestamp_millis(millis).unwrap();
    match form % 6 {
        0 => moment.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        1 => moment.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        2 => moment.format("%Y-%m-%dT%H:%M:%S%.6f999").to_string(),
        3 => moment.format("%Y-%m-%dt%H:%M:%S%.3fz").to_string(),
        4 => moment.format("%Y-%m-%d %H:%M:%S%.3f-00:00").to_string(),
        _ => (moment + chrono::TimeDelta::minutes(150)).format("%Y-%m-%dT%H:%M:%S%.3f+02:30").to_string(),
    }
}

pub(super) fn money_text(units: i64, form: u8) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let plain = format!("{sign}{}.{:04}", units.abs() / 10_000, units.abs() % 10_000);
    match form % 7 {
        0 => plain,
        1 => plain.trim_end_matches('0').trim_end_matches('.').to_owned(),
        2 => format!("\"{plain}\""),
        3 => format!("{units}e-4"),
        4 => format!("\"{plain}0000000000000000000\""),
        5 => spell(&format!("{plain}E+00"), &[3, 0]),
        // Nearer to this amount than to its neighbours.
        _ => format!("{plain}49"),
    }
}

pub(super) fn of_kind(kind: Kind) -> BoxedStrategy<Given> {
    let string =
        (text(), dice()).prop_map(|(text, dice)| Given { json: spell(&text, &dice), verdict: Verdict::Text(text) });
    let bound = 1_000_000_000_i64;
    match kind {
        Kind::Identifier | Kind::FreeText => string.boxed(),
        Kind::Integer => prop_oneof![-bound..=bound, -3..3_i64, Just(bound), Just(-bound)]
            .prop_map(|n| Given { json: n.to_string(), verdict: Verdict::Integer(n) })
            .boxed(),
        Kind::NonZero => (1..=bound, any::<bool>())
            .prop_map(|(n, negative)| if negative { -n } else { n })
            .prop_map(|n| Given { json: n.to_string(), verdict: Verdict::Integer(n) })
            .boxed(),
        Kind::Money => (prop_oneof![-Money::BOUND..=Money::BOUND, -100_000..100_000_i64], any::<u8>())
            .prop_map(|(units, form)| Given { json: money_text(units, form), verdict: Verdict::Money(units) })
            .boxed(),
        Kind::Time => (0..253_402_300_799_999_i64, any::<u8>(), dice())
            .prop_map(|(millis, form, dice)| Given {
                json: spell(&time_text(millis, form), &dice),
                verdict: Verdict::Time(millis),
            })
            .boxed(),
    }
}

/// Values at fault, by what the contract says of the kind.
pub(super) fn fault_of_kind(kind: Kind) -> BoxedStrategy<Given> {
    use Reason::*;
    let fault = |json: &str, reason| Given { json: json.to_owned(), verdict: Verdict::Fault(reason) };
    let mut faults = vec![
        fault("true", WrongType),
        fault("[]", WrongType),
        fault("{\"a\":[1,2,{}]}", WrongType),
        fault("[\"\\ud83d\\ude00\"]", WrongType),
    ];
    faults.extend(match kind {
        Kind::Identifier => {
            vec![fault("\"\"", OutOfRange), fault(&format!("\"{}\"", "é".repeat(129)), TooLarge), fault("7", WrongType)]
        }
        Kind::FreeText => vec![fault("7.5", WrongType), fault("false", WrongType)],
        Kind::Integer => vec![
            fault("1000000001", OutOfRange),
            fault("-99999999999999999999", OutOfRange),
            fault("2.0", WrongType),
            fault("1e2", WrongType),
            fault("\"3\"", WrongType),
        ],
        Kind::NonZero => vec![fault("0", OutOfRange), fault("-0", OutOfRange), fault("0.5", WrongType)],
        Kind::Money => vec![
            fault("\"\"", BadMoney),
            fault("\"1,5\"", BadMoney),
            fault("\"abc\"", BadMoney),
            fault("1e400", OutOfRange),
            fault("\"-100000000000.0001\"", OutOfRange),
        ],
        Kind::Time => vec![
            fault("\"\"", BadTimestamp),
            fault("\"2024-01-15T10:30:60Z\"", BadTimestamp),
            fault("\"2024-01-15T10:30:00 Z\"", BadTimestamp),
            fault("1705314600", WrongType),
        ],
    });
    proptest::sample::select(faults).boxed()
}

pub(super) fn missing() -> BoxedStrategy<Given> {
    proptest::sample::select(vec![String::new(), "null".to_owned()])
        .prop_map(|json| Given { json, verdict: Verdict::Missing })
        .boxed()
}

/// A fault of the whole text, put into an object's body.
#[derive(Clone, Debug)]
pub(super) enum Spoiler {
    /// Fields that no topic knows: no fault at all.
    Unknown(Vec<&'static str>),
    /// The value is given again under this already given or unknown name.
    Twice(usize),
    /// Not JSON.
    Broken(&'static str),
    /// 128 arrays in the object.
    Deep,
}

pub(super) fn spoiler() -> impl Strategy<Value = Spoiler> {
    let unknown = proptest::sample::subsequence(
        vec![
            "\"a\":1",
            "\"b\":{\"user_id\":null,\"user_id\":[{}]}",
            "\"\\u0000\":\"\\ud83d\\ude00\"",
            "\"USER_ID\":-1e999",
            "\"\":null",
            "\"f\":\"{[\\\"\"",
            "\"g\":true",
            "\"h\":false",
            "\"i\":0",
            "\"j\":0",
            "\"k\":0",
        ],
        0..11,
    );
    let broken = proptest::sample::select(vec![
        "\"z\":\"\\ud800\"",
        "\"z\":[\"\\udc00\"]",
        "\"\\udbff\":1",
        "\"z\":NaN",
        "\"z\":01",
        "\"z\":'a'",
        "\"z\"",
        "\"z\":\"\t\"",
        "\"z\":[1,]",
        "\"z\":1}",
    ]);
    prop_oneof![
        12 => unknown.prop_map(Spoiler::Unknown),
        2 => (0..12_usize).prop_map(Spoiler::Twice),
        2 => broken.prop_map(Spoiler::Broken),
        1 => Just(Spoiler::Deep),
    ]
}

/// A topic and its fields' values, at fault with the given weight beside 20 for being right.
pub(super) fn fields(topic: Topic, fault_weight: u32) -> BoxedStrategy<Vec<(&'static str, Given)>> {
    let (fields, required) = schema(topic);
    let strategies = fields.into_iter().enumerate().map(|(index, (name, kind))| {
        let optional_weight = if index < required { fault_weight } else { 6 };
        let mut choices = vec![(20, of_kind(kind))];
        if fault_weight > 0 {
            choices.push((fault_weight, fault_of_kind(kind)));
        }
        if optional_weight > 0 {
            choices.push((optional_weight, missing()));
        }
        (Just(name), proptest::strategy::Union::new_weighted(choices))
    });
    strategies.collect::<Vec<_>>().boxed()
}

/// Writes fields as one object: in an order and with spaces and escapes in names as the dice fall.
pub(super) fn write(fields: &[(&str, Given)], more: &[String], order: &[u16], dice: &[u8]) -> String {
    let mut parts: Vec<_> = fields
        .iter()
        .filter(|(_, given)| !given.json.is_empty())
        .map(|(name, given)| {
            let space = [" ", "", "", "\n\t"][usize::from(dice[0] % 4)];
            format!("{}{space}:{space}{}", spell(name, dice), given.json)
        })
        .chain(more.iter().cloned())
        .enumerate()
        .collect();
    parts.sort_by_key(|(index, _)| order.get(index % order.len()).copied());
    let parts: Vec<_> = parts.into_iter().map(|(_, part)| part).collect();
    format!("{{{}}}", parts.join(if dice[0] < 128 { " , " } else { "," }))
}

/// What has to become of fields that are JSON and given once each.
pub(super) fn expected(topic: Topic, fields: &[(&'static str, Given)]) -> Result<Record, Reason> {
    let required = schema(topic).1;
    if fields[..required].iter().any(|(_, given)| given.verdict == Verdict::Missing) {
        return Err(Reason::MissingField);
    }
    for (_, given) in fields {
        if let Verdict::Fault(reason) = given.verdict {
            return Err(reason);
        }
    }
    let values: BTreeMap<_, _> = fields.iter().map(|(name, given)| (*name, given.verdict.clone())).collect();
    let text = |name| match &values[name] {
        Verdict::Text(text) => Some(text.as_str().into()),
        Verdict::Missing => None,
        other => panic!("{name}: {other:?}"),
    };
    let integer = |name| match values[name] {
        Verdict::Integer(integer) | Verdict::Time(integer) => integer,
        ref other => panic!("{name}: {other:?}"),
    };
    let money = |name| match values[name] {
        Verdict::Money(units) => Some(Money(units)),
        Verdict::Missing => None,
        ref other => panic!("{name}: {other:?}"),
    };
    Ok(match topic {
        Topic::Sales => Record::Sale(Sale {
            transaction_id: text("transaction_id").unwrap(),
            user_id: text("user_id").unwrap(),
            product_id: text("product_id").unwrap(),
            quantity: integer("quantity"),
            unit_price: money("unit_price").unwrap(),
            total_amount: money("total_amount").unwrap(),
            payment_method: text("payment_method").unwrap(),
            timestamp: integer("timestamp"),
            store_id: text("store_id").unwrap(),
            category: text("category").unwrap(),
        }),
        Topic::UserActivity => Record::Activity(Activity {
            user_id: text("user_id").unwrap(),
            activity_type: text("activity_type").unwrap(),
            timestamp: integer("timestamp"),
            session_id: text("session_id").unwrap(),
            product_id: text("product_id"),
            amount: money("amount"),
        }),
        Topic::Inventory => Record::StockLevel(StockLevel {
            product_id: text("product_id").unwrap(),
            warehouse_id: text("warehouse_id").unwrap(),
            current_stock: integer("current_stock"),
            reorder_level: integer("reorder_level"),
            last_updated: integer("last_updated"),
            category: text("category").unwrap(),
            status: text("status"),
        }),
    })
}
