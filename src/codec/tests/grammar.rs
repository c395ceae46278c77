//! JSON's grammar (RFC 8259) in every place of a value, known and unknown.

use super::*;

/// Values that are JSON.
const VALID: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "0.0",
    "-0.1",
    "10",
    "123456789012345678901234567890",
    "1e5",
    "1E5",
    "1e+5",
    "1e-5",
    "1.5e05",
    "0e0",
    "0e+1",
    "1e400",
    "-1e-400",
    "\"\"",
    "\"a\"",
    "\"\u{7f}\"",
    "\"\u{2028}\u{2029}\"",
    "\"\u{fdd0}\u{10ffff}\u{feff}\"",
    r#""\"\\\/\b\f\n\r\t""#,
    r#""\u0000\u001F\uabCD\uFFFE""#,
    r#""\\u12""#,
    r#""\ud83d\uDE00""#,
    "[]",
    "[ ]",
    "[null, 1, \"1\", {}]",
    "[[],[[]]]",
    "[1 ,2]\t",
    "{}",
    "{ }",
    r#"{"a":"b","c":"d"}"#,
    r#"{"a":1,"a":1}"#,
    r#"{"":0}"#,
    r#"{"a\u0000b": 12}"#,
    "\r\n\t [\r\n\t 2\r\n\t ] ",
];

/// Texts that are no JSON value, even with more of a value after them.
const INVALID: &[&str] = &[
    "",
    " ",
    "nul",
    "nulll",
    "Null",
    "TRUE",
    "truth",
    "fals",
    "undefined",
    "nan",
    "NaN",
    "-NaN",
    "Infinity",
    "-Infinity",
    "+1",
    "++1",
    "-",
    "--1",
    "- 1",
    "-01",
    "-012",
    "01",
    "00",
    "012.3",
    ".5",
    "-.5",
    "1.",
    "1.e1",
    "1.5.",
    "1..5",
    "0.e1",
    "0e",
    "0e+",
    "1e",
    "1e-",
    "1eE2",
    "1e1.5",
    "1 000",
    "1_000",
    "1,000",
    "0x1F",
    "1a",
    "1-1",
    "1f",
    "２",
    "\"",
    "\"a",
    "\"a\"b",
    "\"\\\"",
    "\"\\x00\"",
    "\"\\a\"",
    "\"\\'\"",
    "\"\\ \"",
    "\"\\U0041\"",
    "\"\\u\"",
    "\"\\u1\"",
    "\"\\u12\"",
    "\"\\u123\"",
    "\"\\u123g\"",
    "\"\\u+123\"",
    "\"\\u 123\"",
    "\"\\ud8\"",
    "\"\\é\"",
    "\"\\\\\\\"",
    "\"\u{0}\"",
    "\"a\u{1}b\"",
    "\"\t\"",
    "\"\n\"",
    "\"\u{1f}\"",
    "'a'",
    "`a`",
    "a",
    "\u{201c}a\u{201d}",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[,]",
    "[1,,2]",
    "[1 2]",
    "[1;2]",
    "[1}",
    "[\"a\",\n4\n,1,",
    "[[]",
    "[]]",
    "[1:2]",
    "[\"\": 1]",
    "[*]",
    "[\u{c}]",
    "[\u{a0}]",
    "[\u{feff}]",
    "[\u{2060}]",
    "{",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":}",
    "{\"a\" 1}",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{,}",
    "{,\"a\":1}",
    "{\"a\":1,,\"b\":2}",
    "{\"a\":1 \"b\":2}",
    "{\"a\"::1}",
    "{\"a\",1}",
    "{\"a\"=1}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{null:1}",
    "{[]:1}",
    "{\"a\":1]",
    "{}}",
    "{\"a\":1/**/}",
    "/**/1",
    "// x\n1",
    "# x\n1",
    "1 // x",
    "1 2",
    "{} {}",
    "[] []",
    "\u{0}",
    "1\u{0}",
    "<null>",
    "\u{c}1",
    "\u{a0}1",
    "\u{3000}1",
    "\u{85}1",
    "\u{2028}1",
    "é",
    "$",
    "{{}}",
    "[\"\\ud800\"]",
    "{\"\\udfff\":1}",
];

fn around(value: &str) -> String {
    format!("{{\"x\":{value},{}", &SALE_TEXT[1..])
}

#[test]
fn what_is_json_is_taken() {
    for value in VALID {
        let expected = Ok(Record::Sale(sale()));
        assert_eq!(decode(Topic::Sales, around(value).as_bytes()), expected, "{value}");
        assert_eq!(decode(Topic::Sales, around(&format!(" {value}\n")).as_bytes()), expected, "{value}");
        assert_eq!(decode(Topic::Sales, around(&format!("[[{value}],{value}]")).as_bytes()), expected, "{value}");
        assert_eq!(decode(Topic::Sales, around(&format!("{{\"y\":{value}}}")).as_bytes()), expected, "{value}");
        // By itself it is one thing or the other, but never broken.
        let by_itself = decode(Topic::Sales, value.as_bytes());
        assert!(by_itself.is_err_and(|reason| reason != Reason::InvalidJson), "{value}");
    }
}

#[test]
fn what_is_no_json_is_not() {
    for value in INVALID {
        let expected = Err(Reason::InvalidJson);
        assert_eq!(decode(Topic::Sales, value.as_bytes()), expected, "{value}");
        assert_eq!(decode(Topic::Sales, around(value).as_bytes()), expected, "{value}");
        assert_eq!(decode(Topic::Sales, around(&format!("[{value}{{]")).as_bytes()), expected, "{value}");
        for name in SALE {
            let text = match *value {
                // An empty replacement takes the field away.
                "" => with(Topic::Sales, name, " "),
                value => with(Topic::Sales, name, value),
            };
            assert_eq!(decode(Topic::Sales, text.as_bytes()), expected, "{text}");
        }
    }
}

#[test]
fn nothing_but_space_stands_around_the_object() {
    for space in [" ", "\t", "\n", "\r", " \r\n\t "] {
        let text = format!("{space}{SALE_TEXT}{space}");
        assert_eq!(decode(Topic::Sales, text.as_bytes()), Ok(Record::Sale(sale())));
    }
    for (before, after) in [
        ("\u{feff}", ""),
        ("", "\u{feff}"),
        ("", "\u{0}"),
        ("\u{c}", ""),
        ("", "\u{b}"),
        ("\u{a0}", ""),
        ("", "x"),
        ("", "{}"),
        ("", "}"),
        ("", ","),
        ("", "null"),
        ("x", ""),
        ("1", ""),
        (",", ""),
        ("//\n", ""),
        ("", "//"),
        (")]}'\n", ""),
        ("\u{0}\u{0}\u{0}\u{0}\u{1}", ""),
    ] {
        let text = format!("{before}{SALE_TEXT}{after}");
        assert_eq!(decode(Topic::Sales, text.as_bytes()), Err(Reason::InvalidJson), "{text}");
    }
}

#[test]
fn every_cut_and_every_swapped_byte_has_its_outcome() {
    for (topic, text) in
        [(Topic::Sales, SALE_TEXT), (Topic::UserActivity, ACTIVITY_TEXT), (Topic::Inventory, STOCK_LEVEL_TEXT)]
    {
        for end in 0..text.len() {
            assert_eq!(decode(topic, &text.as_bytes()[..end]), Err(Reason::InvalidJson), "{}", &text[..end]);
        }
        for at in 0..text.len() {
            for byte in [0, b'"', b'\\', b'{', b'}', b'[', b',', b':', b'0', b'-', b'e', b' ', b'\n', 0x80, 0xff] {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = byte;
                let outcome = decode(topic, &bytes);
                if byte >= 0x80 {
                    assert_eq!(outcome, Err(Reason::InvalidUtf8));
                }
                if byte == 0 {
                    assert_eq!(outcome, Err(Reason::InvalidJson));
                }
            }
        }
    }
}
