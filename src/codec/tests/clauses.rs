//! One table per clause of the contract.

use std::time::{Duration, Instant};

use super::*;
use Reason::*;

const IDENTIFIERS: [(Topic, &str, bool); 14] = [
    (Topic::Sales, "transaction_id", true),
    (Topic::Sales, "user_id", true),
    (Topic::Sales, "product_id", true),
    (Topic::Sales, "payment_method", true),
    (Topic::Sales, "store_id", true),
    (Topic::Sales, "category", true),
    (Topic::UserActivity, "user_id", true),
    (Topic::UserActivity, "activity_type", true),
    (Topic::UserActivity, "session_id", true),
    (Topic::UserActivity, "product_id", false),
    (Topic::Inventory, "product_id", true),
    (Topic::Inventory, "warehouse_id", true),
    (Topic::Inventory, "category", true),
    // Not an identifier; see `free_texts`.
    (Topic::Inventory, "status", false),
];

#[test]
fn correct_values() {
    assert_eq!(decode(Topic::Sales, SALE_TEXT.as_bytes()), Ok(Record::Sale(sale())));
    assert_eq!(decode(Topic::UserActivity, ACTIVITY_TEXT.as_bytes()), Ok(Record::Activity(activity())));
    assert_eq!(decode(Topic::Inventory, STOCK_LEVEL_TEXT.as_bytes()), Ok(Record::StockLevel(stock_level())));
    assert_eq!(Record::Sale(sale()).event_time(), 1_705_314_600_000);
    assert_eq!(Record::Activity(activity()).event_time(), 1_705_314_600_125);
    assert_eq!(Record::StockLevel(stock_level()).event_time(), 1_705_314_600_000);
}

#[test]
fn the_short_way_takes_what_is_common() {
    assert!(flat::split(SALE_TEXT, &SALE).is_some());
    assert!(flat::split(ACTIVITY_TEXT, &ACTIVITY).is_some());
    assert!(flat::split(STOCK_LEVEL_TEXT, &STOCK_LEVEL).is_some());
    let value: serde_json::Value = serde_json::from_str(SALE_TEXT).unwrap();
    assert!(flat::split(&serde_json::to_string_pretty(&value).unwrap(), &SALE).is_some());
}

#[test]
fn size() {
    let fill = |bytes: usize| format!("{SALE_TEXT}{}", " ".repeat(bytes - SALE_TEXT.len()));
    assert_eq!(decode(Topic::Sales, fill(1_048_576).as_bytes()), Ok(Record::Sale(sale())));
    assert_eq!(decode(Topic::Sales, fill(1_048_577).as_bytes()), Err(TooLarge));
    // Size is looked at before anything else.
    assert_eq!(decode(Topic::Sales, &[0xff; 1_048_577]), Err(TooLarge));
    assert_eq!(decode(Topic::Sales, &[0xff; 1_048_576]), Err(InvalidUtf8));
}

#[test]
fn utf8_comes_before_json() {
    for bytes in [
        &b"\xff"[..],
        b"{\"a\":\"\xc3\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"{\xc0\xaf",
        b"\xff\xfe{\0}\0",
        b"\xf4\x90\x80\x80",
    ] {
        for topic in Topic::ALL {
            assert_eq!(decode(topic, bytes), Err(InvalidUtf8), "{bytes:?}");
        }
    }
}

#[test]
fn json_comes_before_anything_in_it() {
    // Each holds a later fault as well: no object, a field twice, missing fields.
    for text in ["[1,]", "\"\\ud800\"", r#"{"a":1,"a":1,}"#, r#"{"a":1,"a":"\ud800"}"#, "{} {}", "{}]", "nul", ""] {
        assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(InvalidJson), "{text}");
    }
    let text = with(Topic::Sales, "quantity", "\"\\udc00\"");
    assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(InvalidJson));
}

#[test]
fn only_an_object_is_a_record() {
    for text in ["null", "true", "false", "1", "-1.5e400", "\"x\"", "\"\"", "[]", " [ {} ] \n", "[[]]"] {
        assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(WrongType), "{text}");
    }
    // Positional values are no record either.
    let values = serde_json::from_str::<serde_json::Value>(SALE_TEXT).unwrap();
    let values: Vec<_> = SALE.iter().map(|name| values[name].clone()).collect();
    assert_eq!(decode(Topic::Sales, serde_json::to_string(&values).unwrap().as_bytes()), Err(WrongType));
}

#[test]
fn a_field_given_twice() {
    let body = &SALE_TEXT[1..];
    for extra in [
        r#""quantity":2"#,
        r#""quantity":null"#,
        r#""quant\u0069ty":2"#,
        r#""x":1,"x":1"#,
        r#""x":1,"\u0078":1"#,
        r#""":1,"":2"#,
        r#""x":null,"y":2,"x":null"#,
        r#""\ud83d\ude00":1,"😀":1"#,
        r#""\/":1,"/":1"#,
    ] {
        let text = format!("{{{extra},{body}");
        assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(DuplicateField), "{text}");
        let text = format!("{},{extra}}}", &SALE_TEXT[..SALE_TEXT.len() - 1]);
        assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(DuplicateField), "{text}");
    }
    // It comes before missing fields and content, and below the top it is nobody's business.
    assert_eq!(decode(Topic::Sales, br#"{"quantity":"x","quantity":1}"#), Err(DuplicateField));
    for extra in
        [r#""x":{"a":1,"a":2}"#, r#""x":[{"a":1,"a":2}]"#, r#""x":1,"X":1"#, r#""Quantity":0"#, r#""quantity ":0"#]
    {
        let text = format!("{{{extra},{body}");
        assert_eq!(decode(Topic::Sales, text.as_bytes()), Ok(Record::Sale(sale())), "{text}");
    }
    let many: Vec<_> = (0..50).map(|n| format!("\"x{n}\":{n}")).collect();
    let text = format!("{{{},{body}", many.join(","));
    assert_eq!(decode(Topic::Sales, text.as_bytes()), Ok(Record::Sale(sale())));
    let text = format!("{{{},\"x7\":0,{body}", many.join(","));
    assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(DuplicateField));
}

#[test]
fn required_fields_are_there() {
    for (topic, names, required) in [
        (Topic::Sales, &SALE[..], 10),
        (Topic::UserActivity, &ACTIVITY[..], 4),
        (Topic::Inventory, &STOCK_LEVEL[..], 6),
    ] {
        for (index, name) in names.iter().enumerate() {
            let expected = (index < required).then_some(MissingField);
            assert_eq!(reason_with(topic, name, ""), expected, "{name} absent");
            assert_eq!(reason_with(topic, name, "null"), expected, "{name} null");
        }
        assert_eq!(decode(topic, b"{}"), Err(MissingField));
        assert_eq!(decode(topic, br#"{"unknown":null}"#), Err(MissingField));
    }
    let rejection = UTC.decode_sale(with(Topic::Sales, "store_id", "null").as_bytes()).unwrap_err();
    assert_eq!(rejection.to_string(), "missing_field: field `store_id`: is null");
}

#[test]
fn optional_fields_left_out_or_null_are_absent() {
    let absent = Activity { product_id: None, amount: None, ..activity() };
    let text = r#"{"user_id":"USR-2","activity_type":"page_view","timestamp":"2024-01-15T10:30:00.125Z","session_id":"SES-5"}"#;
    assert_eq!(UTC.decode_activity(text.as_bytes()), Ok(absent.clone()));
    let text =
        format!(r#"{},"ip_address":null,"user_agent":null,"product_id":null,"amount":null}}"#, &text[..text.len() - 1]);
    assert_eq!(UTC.decode_activity(text.as_bytes()), Ok(absent));
    for value in ["", "null"] {
        let text = with(Topic::Inventory, "status", value);
        assert_eq!(UTC.decode_stock_level(text.as_bytes()), Ok(StockLevel { status: None, ..stock_level() }));
    }
}

#[test]
fn missing_fields_come_before_content_and_the_first_field_decides() {
    let reject = |text: &str| UTC.decode_sale(text.as_bytes()).unwrap_err();
    // The last field is missing, all others have the wrong type.
    let wrong: Vec<_> = SALE[..9].iter().map(|name| format!("\"{name}\":[]")).collect();
    let rejection = reject(&format!("{{{}}}", wrong.join(",")));
    assert_eq!((rejection.reason, &rejection.detail[..]), (MissingField, "field `category`: is absent"));

    // Every field at fault in its own way; they are put right one by one from the first. The text's order is
    // another one, and does not matter.
    let faults = [
        ("transaction_id", "\"\"", OutOfRange),
        ("user_id", "7", WrongType),
        ("product_id", "\"LONG\"", TooLarge),
        ("quantity", "0", OutOfRange),
        ("unit_price", "\"1,50\"", BadMoney),
        ("total_amount", "1e12", OutOfRange),
        ("payment_method", "{}", WrongType),
        ("timestamp", "\"today\"", BadTimestamp),
        ("store_id", "true", WrongType),
        ("category", "\"\"", OutOfRange),
    ];
    let right: serde_json::Value = serde_json::from_str(SALE_TEXT).unwrap();
    for put_right in 0..faults.len() {
        let fields = faults.iter().enumerate().map(|(index, (name, fault, _))| {
            let value =
                if index < put_right { right[name].to_string() } else { fault.replace("LONG", &"x".repeat(257)) };
            format!("\"{name}\":{value}")
        });
        let mut fields: Vec<_> = fields.collect();
        fields.reverse();
        let rejection = reject(&format!("{{{}}}", fields.join(",")));
        let (name, _, reason) = faults[put_right];
        assert_eq!(rejection.reason, reason, "{rejection}");
        assert!(rejection.detail.starts_with(&format!("field `{name}`: ")), "{rejection}");
    }

    // Required fields before optional ones, optional ones in their order.
    let activity = |optional: &str, session: &str| {
        let text = format!(
            r#"{{{optional},"user_id":"u","activity_type":"x","timestamp":"2024-01-15T10:30:00Z","session_id":{session}}}"#
        );
        UTC.decode_activity(text.as_bytes()).unwrap_err().detail
    };
    let all = r#""amount":[],"product_id":[],"user_agent":[],"ip_address":[]"#;
    assert!(activity(all, "[]").starts_with("field `session_id`"));
    assert!(activity(all, "\"s\"").starts_with("field `ip_address`"));
    assert!(activity(r#""amount":[],"product_id":[],"user_agent":[]"#, "\"s\"").starts_with("field `user_agent`"));
    assert!(activity(r#""amount":[],"product_id":[]"#, "\"s\"").starts_with("field `product_id`"));
    assert!(activity(r#""amount":[]"#, "\"s\"").starts_with("field `amount`"));
}

#[test]
fn identifiers() {
    for (topic, name, required) in IDENTIFIERS {
        let is_status = name == "status";
        let fault = |reason| (!is_status).then_some(reason);
        assert_eq!(reason_with(topic, name, "\"\""), fault(OutOfRange), "{name}");
        assert_eq!(reason_with(topic, name, "\" \""), None, "{name}");
        assert_eq!(reason_with(topic, name, "\"\\u0000\""), None, "{name}");
        assert_eq!(reason_with(topic, name, &format!("\"{}\"", "x".repeat(256))), None, "{name}");
        assert_eq!(reason_with(topic, name, &format!("\"{}\"", "x".repeat(257))), fault(TooLarge), "{name}");
        // Bytes are counted, not characters, and after unescaping.
        assert_eq!(reason_with(topic, name, &format!("\"{}\"", "é".repeat(128))), None, "{name}");
        assert_eq!(reason_with(topic, name, &format!("\"{}\"", "é".repeat(129))), fault(TooLarge), "{name}");
        assert_eq!(reason_with(topic, name, &format!("\"{}\"", "\\u0041".repeat(256))), None, "{name}");
        assert_eq!(reason_with(topic, name, &format!("\"{}\"", "\\u00e9".repeat(129))), fault(TooLarge), "{name}");
        assert_eq!(reason_with(topic, name, &format!("\"{}\"", "\\ud83d\\ude00".repeat(64))), None, "{name}");
        assert_eq!(
            reason_with(topic, name, &format!("\"{}\"", "\\ud83d\\ude00".repeat(65))),
            fault(TooLarge),
            "{name}"
        );
        for wrong in ["1", "1.5", "true", "false", "[]", "{}", "[\"x\"]"] {
            assert_eq!(reason_with(topic, name, wrong), Some(WrongType), "{name}: {wrong}");
        }
        assert_eq!(reason_with(topic, name, "null"), required.then_some(MissingField), "{name}");
    }
}

#[test]
fn identifiers_are_as_sent_after_unescaping() {
    let read = |value: &str| UTC.decode_sale(with(Topic::Sales, "category", value).as_bytes()).unwrap().category;
    assert_eq!(read(r#""\u0041\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000""#), "A\"\\/\u{8}\u{c}\n\r\té😀\0");
    assert_eq!(read("\"\u{202e}<script>\""), "\u{202e}<script>");
    assert_eq!(read("\"e\u{301}\""), "e\u{301}");
    assert_eq!(read("\" x \""), " x ");
    let activity = |value: &str| UTC.decode_activity(with(Topic::UserActivity, "activity_type", value).as_bytes());
    assert_eq!(activity("\"wave\"").unwrap().activity_type, "wave");
}

#[test]
fn free_texts() {
    for (topic, name) in
        [(Topic::UserActivity, "ip_address"), (Topic::UserActivity, "user_agent"), (Topic::Inventory, "status")]
    {
        assert_eq!(reason_with(topic, name, "\"\""), None, "{name}");
        assert_eq!(reason_with(topic, name, &format!("\"{}\"", "x".repeat(100_000))), None, "{name}");
        assert_eq!(reason_with(topic, name, "\"\\n\\ud83d\\ude00\""), None, "{name}");
        for wrong in ["0", "-1.5", "true", "[]", "{}"] {
            assert_eq!(reason_with(topic, name, wrong), Some(WrongType), "{name}: {wrong}");
        }
    }
    let status =
        |value: &str| UTC.decode_stock_level(with(Topic::Inventory, "status", value).as_bytes()).unwrap().status;
    assert_eq!(status("\"\"").as_deref(), Some(""));
    assert_eq!(status("\"low\\u005fstock\"").as_deref(), Some("low_stock"));
}

#[test]
fn integers() {
    for (topic, name, zero) in [
        (Topic::Sales, "quantity", Some(OutOfRange)),
        (Topic::Inventory, "current_stock", None),
        (Topic::Inventory, "reorder_level", None),
    ] {
        for (value, expected) in [
            ("1", None),
            ("-1", None),
            ("1000000000", None),
            ("-1000000000", None),
            ("1000000001", Some(OutOfRange)),
            ("-1000000001", Some(OutOfRange)),
            ("9999999999", Some(OutOfRange)),
            ("10000000000", Some(OutOfRange)),
            ("9223372036854775808", Some(OutOfRange)),
            ("1234567890123456789012345678901234567890", Some(OutOfRange)),
            ("-1234567890123456789012345678901234567890", Some(OutOfRange)),
            ("0", zero),
            ("-0", zero),
            ("2.0", Some(WrongType)),
            ("-0.0", Some(WrongType)),
            ("1e2", Some(WrongType)),
            ("1E0", Some(WrongType)),
            ("1e400", Some(WrongType)),
            ("1234567890123456789012345678901234567890.0", Some(WrongType)),
            ("\"3\"", Some(WrongType)),
            ("\"\"", Some(WrongType)),
            ("true", Some(WrongType)),
            ("[]", Some(WrongType)),
            ("{}", Some(WrongType)),
            ("01", Some(InvalidJson)),
            ("+1", Some(InvalidJson)),
            ("1.", Some(InvalidJson)),
            ("NaN", Some(InvalidJson)),
        ] {
            assert_eq!(reason_with(topic, name, value), expected, "{name}: {value}");
        }
    }
    let read = |value: &str| UTC.decode_stock_level(with(Topic::Inventory, "current_stock", value).as_bytes()).unwrap();
    assert_eq!(read("-0").current_stock, 0);
    assert_eq!(read("-1000000000").current_stock, -1_000_000_000);
    assert_eq!(read("987654321").current_stock, 987_654_321);
    let returned = UTC.decode_sale(with(Topic::Sales, "quantity", "-3").as_bytes()).unwrap();
    assert_eq!(returned.quantity, -3);
}

#[test]
fn money() {
    for (topic, name) in [(Topic::Sales, "unit_price"), (Topic::Sales, "total_amount"), (Topic::UserActivity, "amount")]
    {
        for (value, expected) in [
            ("0", None),
            ("-0", None),
            ("-0.0", None),
            ("1.50", None),
            ("\"1.50\"", None),
            ("\"-1.5e-3\"", None),
            ("\"\\u0031.5\"", None),
            ("1e5", None),
            ("1e-400", None),
            ("0e400", None),
            ("100000000000", None),
            ("\"100000000000.00005\"", None),
            ("100000000000.00006", Some(OutOfRange)),
            ("-100000000001", Some(OutOfRange)),
            ("1e400", Some(OutOfRange)),
            ("-1e400", Some(OutOfRange)),
            ("1e99999999999999999999", Some(OutOfRange)),
            ("\"1e400\"", Some(OutOfRange)),
            ("\"\"", Some(BadMoney)),
            ("\" 1.5\"", Some(BadMoney)),
            ("\"1.5 \"", Some(BadMoney)),
            ("\"1.5\\n\"", Some(BadMoney)),
            ("\"+1.5\"", Some(BadMoney)),
            ("\".5\"", Some(BadMoney)),
            ("\"1.\"", Some(BadMoney)),
            ("\"01\"", Some(BadMoney)),
            ("\"1,50\"", Some(BadMoney)),
            ("\"$1\"", Some(BadMoney)),
            ("\"NaN\"", Some(BadMoney)),
            ("\"Infinity\"", Some(BadMoney)),
            ("\"null\"", Some(BadMoney)),
            ("\"0x10\"", Some(BadMoney)),
            ("\"\\\"1\\\"\"", Some(BadMoney)),
            ("true", Some(WrongType)),
            ("false", Some(WrongType)),
            ("[]", Some(WrongType)),
            ("[1]", Some(WrongType)),
            ("{}", Some(WrongType)),
            ("01.5", Some(InvalidJson)),
            (".5", Some(InvalidJson)),
            ("1.5.5", Some(InvalidJson)),
            ("NaN", Some(InvalidJson)),
            ("Infinity", Some(InvalidJson)),
            ("-Infinity", Some(InvalidJson)),
        ] {
            assert_eq!(reason_with(topic, name, value), expected, "{name}: {value}");
        }
    }
    let read = |value: &str| UTC.decode_sale(with(Topic::Sales, "unit_price", value).as_bytes()).unwrap().unit_price;
    for same in
        ["1.5", "1.50", "\"1.5\"", "\"1.500000000000000000000000000\"", "15e-1", "0.15E+1", "\"\\u0031\\u002e5\""]
    {
        assert_eq!(read(same), Money(15_000), "{same}");
    }
    assert_eq!(read("0.00005"), Money(0));
    assert_eq!(read("0.00015"), Money(2));
    assert_eq!(read("-0.00015"), Money(-2));
}

#[test]
fn times() {
    for (topic, name) in
        [(Topic::Sales, "timestamp"), (Topic::UserActivity, "timestamp"), (Topic::Inventory, "last_updated")]
    {
        for (value, expected) in [
            ("\"2024-01-15T10:30:00Z\"", None),
            ("\"2024-01-15 10:30:00.5\"", None),
            ("\"2024\\u002d01-15T10:30:00+02:00\"", None),
            ("\"\"", Some(BadTimestamp)),
            ("\"today\"", Some(BadTimestamp)),
            ("\"2024-01-15T10:30:60Z\"", Some(BadTimestamp)),
            ("\"2024-01-15T10:30:00 Z\"", Some(BadTimestamp)),
            ("\"1969-12-31T23:59:59Z\"", Some(BadTimestamp)),
            ("\"1705314600000\"", Some(BadTimestamp)),
            ("1705314600000", Some(WrongType)),
            ("true", Some(WrongType)),
            ("{\"$date\":0}", Some(WrongType)),
            ("[]", Some(WrongType)),
            ("null", Some(MissingField)),
        ] {
            assert_eq!(reason_with(topic, name, value), expected, "{name}: {value}");
        }
    }
    let berlin = Decoder::new(Tz::Europe__Berlin);
    let text = with(Topic::Sales, "timestamp", "\"2024-01-15T11:30:00\"");
    assert_eq!(berlin.decode_sale(text.as_bytes()), Ok(sale()));
    assert_eq!(berlin.decode_sale(SALE_TEXT.as_bytes()), Ok(sale()));
}

/// `levels` arrays, or objects and arrays in turn, one in the other.
fn nested(levels: usize, objects: bool) -> String {
    let opening = |level| if objects && level % 2 == 0 { r#"{"[":"# } else { "[" };
    let closing = |level| if objects && level % 2 == 0 { "}" } else { "]" };
    // The innermost level is an array, whose content may be nothing.
    let inner: String = (1..levels).map(opening).collect();
    let outer: String = (1..levels).rev().map(closing).collect();
    if levels == 0 { "1".to_owned() } else { format!("{inner}[]{outer}") }
}

#[test]
fn nesting() {
    for objects in [false, true] {
        for (levels, too_deep) in
            [(0, false), (1, false), (126, false), (127, false), (128, true), (129, true), (200_000, true)]
        {
            // In a field that nobody knows, the record is fine; in one whose type is wrong, grammar comes first.
            let value = nested(levels, objects);
            let unknown = format!("{{\"x\":{value},{}", &SALE_TEXT[1..]);
            let expected = if too_deep { Err(InvalidJson) } else { Ok(Record::Sale(sale())) };
            assert_eq!(decode(Topic::Sales, unknown.as_bytes()), expected, "{levels}");
            let expected = Some(match (too_deep, levels) {
                (true, _) => InvalidJson,
                (false, 0) => continue,
                (false, _) => WrongType,
            });
            assert_eq!(reason_with(Topic::Sales, "quantity", &value), expected, "{levels}");
            assert_eq!(reason_with(Topic::UserActivity, "user_agent", &value), expected, "{levels}");
            // A field given twice is looked for after the grammar, in its first and in its second value.
            for text in [
                format!("{{\"x\":{value},\"x\":1}}"),
                format!("{{\"x\":1,\"x\":{value}}}"),
                format!("{{\"x\":1,\"x\":1,\"y\":{value}}}"),
            ] {
                let expected = if too_deep { InvalidJson } else { DuplicateField };
                assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(expected), "{levels}");
            }
        }
        // No object: the outermost value counts as well.
        for (levels, expected) in
            [(1, WrongType), (127, WrongType), (128, WrongType), (129, InvalidJson), (200_000, InvalidJson)]
        {
            let text = nested(levels, objects);
            if text.starts_with('[') {
                assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(expected), "{levels}");
            }
            let text = format!(" {text}\n");
            if text.starts_with(" [") {
                assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(expected), "{levels}");
            }
        }
    }
    // What looks like nesting within strings is none, and siblings are not deeper than one of them.
    let brackets = format!("{{\"x\":[\"{}\\\"{}\"],{}", "[".repeat(500), "{".repeat(500), &SALE_TEXT[1..]);
    assert_eq!(decode(Topic::Sales, brackets.as_bytes()), Ok(Record::Sale(sale())));
    let siblings = format!("{{\"x\":[{}1],\"y\":[[[[]]]],{}", "[[]],".repeat(500), &SALE_TEXT[1..]);
    assert_eq!(decode(Topic::Sales, siblings.as_bytes()), Ok(Record::Sale(sale())));
    // Broken at any depth, it is no JSON.
    assert_eq!(decode(Topic::Sales, "[".repeat(1_000_000).as_bytes()), Err(InvalidJson));
    assert_eq!(decode(Topic::Sales, "{\"a\":".repeat(200_000).as_bytes()), Err(InvalidJson));
}

#[test]
fn surrogates() {
    for lone in [
        r"\ud800",
        r"\uD800",
        r"\udbff",
        r"\udc00",
        r"\uDFFF",
        r"\ud800x",
        r"\ud800\n",
        r"\ud800\\udc00",
        r"\ud800\ud800",
        r"\udc00\ud800",
        r"\ud800\u0041",
        r"\ud83d\ude00\ud83d",
        r"\\\ud800",
        r"x\ude00\ud83d",
    ] {
        for text in [
            format!("{{\"x\":\"{lone}\",{}", &SALE_TEXT[1..]),
            format!("{{\"{lone}\":1,{}", &SALE_TEXT[1..]),
            format!("{{\"x\":[{{\"y\":\"{lone}\"}}],{}", &SALE_TEXT[1..]),
            format!("{{\"x\":[{{\"{lone}\":1}}],{}", &SALE_TEXT[1..]),
            with(Topic::Sales, "category", &format!("\"{lone}\"")),
            with(Topic::Sales, "quantity", &format!("\"{lone}\"")),
            format!("\"{lone}\""),
            format!("[\"{lone}\"]"),
        ] {
            assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(InvalidJson), "{text}");
        }
        assert_eq!(reason_with(Topic::UserActivity, "user_agent", &format!("\"{lone}\"")), Some(InvalidJson), "{lone}");
    }
    for fine in [
        r"\ud83d\ude00",
        r"\uD83D\uDE00\ud83d\ude00",
        r"\\ud800",
        r"\\\\udc00",
        r"\\\ud83d\ude00",
        r"\ud7ff\ue000",
        r"\uffff",
    ] {
        let text = format!("{{\"x\":[\"{fine}\"],\"{fine}\":0,{}", &SALE_TEXT[1..]);
        assert_eq!(decode(Topic::Sales, text.as_bytes()), Ok(Record::Sale(sale())), "{text}");
    }
}

#[test]
fn details_quote_little_and_nothing_raw() {
    let long = "\\u0007<b>\\u202e".repeat(20_000);
    for (topic, name) in [(Topic::Sales, "timestamp"), (Topic::Sales, "unit_price"), (Topic::UserActivity, "amount")] {
        let text = with(topic, name, &format!("\"{long}\""));
        let rejection = UTC.decode(topic, text.as_bytes()).unwrap_err();
        assert!(rejection.detail.chars().count() < 220, "{rejection}");
        assert!(!rejection.detail.contains(['\u{7}', '\u{202e}']), "{rejection}");
    }
    for text in [format!("{{\"{long}\":1,\"{long}\":2}}"), with(Topic::Sales, "quantity", &"9".repeat(100_000))] {
        let rejection = UTC.decode_sale(text.as_bytes()).unwrap_err();
        assert!(rejection.detail.chars().count() < 220, "{rejection}");
        assert!(!rejection.detail.contains(['\u{7}', '\u{202e}']), "{rejection}");
    }
    let rejection = UTC.decode_sale(with(Topic::Sales, "quantity", "\"3\"").as_bytes()).unwrap_err();
    assert_eq!(rejection.to_string(), "wrong_type: field `quantity`: expected an integer, found a string");
}

#[test]
fn the_largest_values_take_no_long_time() {
    let fit = |unit: &str| unit.repeat((VALUE_BYTES_MAX - 600) / unit.len());
    let many: String = (0..110_000)
        .map(|n| format!("\"{n:x}\":0,"))
        .take_while({
            let mut length = 600;
            move |field| {
                length += field.len();
                length < VALUE_BYTES_MAX
            }
        })
        .collect();
    let body = &SALE_TEXT[1..];
    let texts = [
        (format!("{{{many}{body}"), None),
        (format!("{{\"x\":[{}0],{body}", fit("[],")), None),
        (format!("{{\"x\":\"{}\",{body}", fit("\\ud83d\\ude00")), None),
        (format!("{{\"x\":\"{}\",{body}", fit("\\\\")), None),
        (format!("{{\"x\":{}{},{body}", "[".repeat(500_000), "]".repeat(500_000)), Some(InvalidJson)),
        (format!("{{{}{body}", fit("\"x\":0,")), Some(DuplicateField)),
        (with(Topic::Sales, "unit_price", &format!("0.{}", fit("7"))), None),
        (with(Topic::Sales, "unit_price", &format!("\"1e{}\"", fit("9"))), Some(OutOfRange)),
        (with(Topic::Sales, "unit_price", &format!("1e-{}", fit("9"))), None),
        (with(Topic::Sales, "timestamp", &format!("\"2024-01-15T10:30:00.{}Z\"", fit("1"))), None),
        (with(Topic::Sales, "quantity", &fit("9")), Some(OutOfRange)),
        (with(Topic::Sales, "category", &format!("\"{}\"", fit("x"))), Some(TooLarge)),
        (format!("{}{SALE_TEXT}", fit(" \n")), None),
    ];
    for (text, expected) in texts {
        assert!((VALUE_BYTES_MAX * 9 / 10..=VALUE_BYTES_MAX).contains(&text.len()), "{}", text.len());
        let start = Instant::now();
        let reason = UTC.decode_sale(text.as_bytes()).err().map(|rejection| rejection.reason);
        // About a millisecond; anything quadratic would take minutes.
        assert!(start.elapsed() < Duration::from_secs(5), "{}", &text[..40]);
        assert_eq!(reason, expected, "{}", &text[..40]);
    }
}
