//! The contract's clauses about the content of single fields, a table for each.

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
