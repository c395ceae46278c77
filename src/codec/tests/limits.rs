//! What is bounded: nesting, what a detail quotes, the time that the largest values take; and surrogates.

use std::time::{Duration, Instant};

use super::*;
use Reason::*;

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
