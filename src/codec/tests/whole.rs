//! The contract's clauses about a value as a whole, and the order in which faults are looked for.

use super::*;
use Reason::*;

#[test]
fn correct_values() {
    assert_eq!(decode(Topic::Sales, SALE_TEXT.as_bytes()), Ok(Record::Sale(sale())));
    assert_eq!(decode(Topic::UserActivity, ACTIVITY_TEXT.as_bytes()), Ok(Record::Activity(activity())));
    assert_eq!(decode(Topic::Inventory, STOCK_LEVEL_TEXT.as_bytes()), Ok(Record::StockLevel(stock_level())));
    assert_eq!(Record::Sale(sale()).event_time(), 1_705_314_600_000);
    assert_eq!(Record::Activity(activity()).event_time(), 1_705_314_600_125);
    assert_eq!(Record::<Text>::StockLevel(stock_level()).event_time(), 1_705_314_600_000);
}

#[test]
fn the_short_way_takes_what_is_common() {
    assert!(flat::split(SALE_TEXT, &SALE).is_some());
    assert!(flat::split(ACTIVITY_TEXT, &ACTIVITY).is_some());
    assert!(flat::split(STOCK_LEVEL_TEXT, &STOCK_LEVEL).is_some());
    // As other languages space it.
    let spaced = SALE_TEXT.replace("\":", "\": ").replace(",\"", ", \"");
    assert!(flat::split(&spaced, &SALE).is_some());
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
    let rejection = UTC.decode_sale(br#"{"x":1,"b\u0061d":1,"bad":2,"x":3}"#).unwrap_err();
    assert_eq!(rejection.to_string(), "duplicate_field: field \"bad\" is given twice");
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
