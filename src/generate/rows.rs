//! The rows of the three topics as the generator holds them, and their JSON.

use chrono::{DateTime, Datelike as _};
use tillflow_dataflows::records::{Millis, Topic};

use super::catalogue;

/// One value of a row, not yet text.
#[derive(Clone, Copy)]
pub(super) enum Token {
    /// Text that needs no escaping.
    Word(&'static str),
    /// A prefix and a number of at least `width` digits.
    Id {
        prefix: &'static str,
        number: u64,
        width: usize,
    },
    /// A session's name.
    Session(u64),
    /// A transaction's name: `run` tells one run of the generator from another.
    Transaction {
        run: u32,
        number: u64,
    },
    /// A client's address, in a range reserved for documentation.
    Address(u32),
    Integer(i64),
    /// Hundredths, written with both decimals.
    Cents(i64),
    Time(Millis),
}

/// A row that can be written as a record.
pub(super) trait Row {
    const TOPIC: Topic;

    /// The value of the key field.
    fn key(&self) -> Token;

    /// Every field that the row has, in the contract's order.
    fn each_field(&self, field: impl FnMut(&'static str, Token));
}

/// A row of any topic.
pub(super) enum AnyRow {
    Activity(ActivityRow),
    Sale(SaleRow),
    Stock(StockRow),
}

#[derive(Clone, Copy)]
pub(super) struct SaleRow {
    pub(super) run: u32,
    pub(super) number: u64,
    pub(super) user: u32,
    pub(super) product: usize,
    pub(super) quantity: i64,
    pub(super) unit_price: i64,
    pub(super) total: i64,
    pub(super) payment_method: usize,
    pub(super) timestamp: Millis,
    pub(super) store: usize,
    pub(super) category: usize,
}

#[derive(Clone, Copy)]
pub(super) struct ActivityRow {
    pub(super) user: u32,
    pub(super) activity_type: &'static str,
    pub(super) timestamp: Millis,
    pub(super) session: u64,
    pub(super) address: u32,
    pub(super) user_agent: Option<&'static str>,
    pub(super) product: Option<usize>,
    pub(super) amount: Option<i64>,
}

#[derive(Clone, Copy)]
pub(super) struct StockRow {
    pub(super) product: usize,
    pub(super) stock: i64,
    pub(super) reorder_level: i64,
    pub(super) timestamp: Millis,
    pub(super) warehouse: usize,
    pub(super) status: Option<&'static str>,
}

fn user(number: u32) -> Token {
    Token::Id { prefix: "user_", number: u64::from(number), width: 5 }
}

fn product(product: usize) -> Token {
    Token::Id { prefix: "product_", number: product as u64 + 1, width: 4 }
}

impl Row for SaleRow {
    const TOPIC: Topic = Topic::Sales;

    fn key(&self) -> Token {
        Token::Transaction { run: self.run, number: self.number }
    }

    fn each_field(&self, mut field: impl FnMut(&'static str, Token)) {
        field("transaction_id", self.key());
        field("user_id", user(self.user));
        field("product_id", product(self.product));
        field("quantity", Token::Integer(self.quantity));
        field("unit_price", Token::Cents(self.unit_price));
        field("total_amount", Token::Cents(self.total));
        field("payment_method", Token::Word(catalogue::payment_method_name(self.payment_method)));
        field("timestamp", Token::Time(self.timestamp));
        field("store_id", Token::Id { prefix: "store_", number: self.store as u64 + 1, width: 2 });
        field("category", Token::Word(catalogue::category_name(self.category)));
    }
}

impl Row for ActivityRow {
    const TOPIC: Topic = Topic::UserActivity;

    fn key(&self) -> Token {
        user(self.user)
    }

    fn each_field(&self, mut field: impl FnMut(&'static str, Token)) {
        field("user_id", self.key());
        field("activity_type", Token::Word(self.activity_type));
        field("timestamp", Token::Time(self.timestamp));
        field("session_id", Token::Session(self.session));
        field("ip_address", Token::Address(self.address));
        if let Some(user_agent) = self.user_agent {
            field("user_agent", Token::Word(user_agent));
        }
        if let Some(number) = self.product {
            field("product_id", product(number));
        }
        if let Some(amount) = self.amount {
            field("amount", Token::Cents(amount));
        }
    }
}

impl Row for StockRow {
    const TOPIC: Topic = Topic::Inventory;

    fn key(&self) -> Token {
        product(self.product)
    }

    fn each_field(&self, mut field: impl FnMut(&'static str, Token)) {
        field("product_id", self.key());
        field("current_stock", Token::Integer(self.stock));
        field("reorder_level", Token::Integer(self.reorder_level));
        field("last_updated", Token::Time(self.timestamp));
        field("warehouse_id", Token::Id { prefix: "warehouse_", number: self.warehouse as u64 + 1, width: 1 });
        field("category", Token::Word(catalogue::category_name(catalogue::category(self.product))));
        if let Some(status) = self.status {
            field("status", Token::Word(status));
        }
    }
}

/// The bytes of a row's key.
pub(super) fn key_bytes(row: &impl Row) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    push_text(&mut key, row.key());
    key
}

/// A row as a JSON object.
pub(super) fn json(row: &impl Row) -> Vec<u8> {
    let mut json = Vec::with_capacity(320);
    let mut before = b'{';
    row.each_field(|name, token| {
        json.extend_from_slice(&[before, b'"']);
        json.extend_from_slice(name.as_bytes());
        json.extend_from_slice(b"\":");
        push_json(&mut json, token);
        before = b',';
    });
    json.push(b'}');
    json
}

/// A row's fields with their JSON, for those that write a row otherwise than [`json`] does.
pub(super) fn fields(row: &impl Row) -> Vec<(&'static str, Vec<u8>)> {
    let mut fields = Vec::with_capacity(10);
    row.each_field(|name, token| {
        let mut text = Vec::new();
        push_json(&mut text, token);
        fields.push((name, text));
    });
    fields
}

/// A JSON object of fields, with `space` after each comma and colon.
pub(super) fn object(fields: &[(&str, Vec<u8>)], space: &str) -> Vec<u8> {
    let mut json = vec![b'{'];
    for (place, (name, value)) in fields.iter().enumerate() {
        if place > 0 {
            json.push(b',');
            json.extend_from_slice(space.as_bytes());
        }
        json.push(b'"');
        json.extend_from_slice(name.as_bytes());
        json.extend_from_slice(b"\":");
        json.extend_from_slice(space.as_bytes());
        json.extend_from_slice(value);
    }
    json.push(b'}');
    json
}

fn push_json(out: &mut Vec<u8>, token: Token) {
    match token {
        Token::Integer(_) | Token::Cents(_) => push_text(out, token),
        _ => {
            out.push(b'"');
            push_text(out, token);
            out.push(b'"');
        }
    }
}

/// A token without the quotes that JSON puts around text.
pub(super) fn push_text(out: &mut Vec<u8>, token: Token) {
    match token {
        Token::Word(word) => out.extend_from_slice(word.as_bytes()),
        Token::Id { prefix, number, width } => {
            out.extend_from_slice(prefix.as_bytes());
            push_number(out, number, width);
        }
        Token::Session(number) => {
            out.extend_from_slice(b"sess_");
            push_hex(out, number, 16);
        }
        Token::Transaction { run, number } => {
            out.extend_from_slice(b"txn_");
            push_hex(out, u64::from(run), 8);
            out.push(b'_');
            push_number(out, number, 7);
        }
        Token::Address(number) => push_address(out, number),
        Token::Integer(number) => {
            if number < 0 {
                out.push(b'-');
            }
            push_number(out, number.unsigned_abs(), 1);
        }
        Token::Cents(cents) => {
            if cents < 0 {
                out.push(b'-');
            }
            push_number(out, cents.unsigned_abs() / 100, 1);
            out.push(b'.');
            push_number(out, cents.unsigned_abs() % 100, 2);
        }
        Token::Time(instant) => push_time(out, instant),
    }
}

/// A decimal number, with zeros in front up to `width` digits.
fn push_number(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let first = first.min(digits.len() - width.min(digits.len()));
    out.extend_from_slice(&digits[first..]);
}

fn push_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * place)) as usize & 15]);
    }
}

/// One address in eight is of 2001:db8::/32, the others of 192.0.2.0/24, 198.51.100.0/24 and 203.0.113.0/24.
fn push_address(out: &mut Vec<u8>, number: u32) {
    if number & 7 == 0 {
        out.extend_from_slice(b"2001:db8:");
        push_hex(out, u64::from(number >> 24) | 0x100, 4);
        out.extend_from_slice(b"::");
        push_hex(out, u64::from(number >> 8 & 0xffff) | 0x1000, 4);
        return;
    }
    out.extend_from_slice(match number >> 3 & 3 {
        0 => b"192.0.2.".as_slice(),
        1 => b"198.51.100.",
        _ => b"203.0.113.",
    });
    push_number(out, u64::from(number >> 8 & 0xff), 1);
}

/// RFC 3339 in UTC with milliseconds. An instant outside chrono's years is written as 1970's beginning.
fn push_time(out: &mut Vec<u8>, instant: Millis) {
    let date = DateTime::from_timestamp_millis(instant).unwrap_or_default().date_naive();
    push_number(out, u64::from(date.year().unsigned_abs()), 4);
    let millis = instant.rem_euclid(86_400_000) as u64;
    for (mark, number, width) in [
        (b'-', u64::from(date.month()), 2),
        (b'-', u64::from(date.day()), 2),
        (b'T', millis / 3_600_000, 2),
        (b':', millis / 60_000 % 60, 2),
        (b':', millis / 1_000 % 60, 2),
        (b'.', millis % 1_000, 3),
    ] {
        out.push(mark);
        push_number(out, number, width);
    }
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(token: Token) -> String {
        let mut out = Vec::new();
        push_text(&mut out, token);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn numbers_and_money_are_exact() {
        assert_eq!(text(Token::Integer(0)), "0");
        assert_eq!(text(Token::Integer(-37)), "-37");
        assert_eq!(text(Token::Integer(i64::MIN)), "-9223372036854775808");
        assert_eq!(text(Token::Cents(5)), "0.05");
        assert_eq!(text(Token::Cents(-1_990)), "-19.90");
        assert_eq!(text(Token::Cents(-5)), "-0.05");
        assert_eq!(text(Token::Id { prefix: "product_", number: 7, width: 4 }), "product_0007");
        assert_eq!(text(Token::Id { prefix: "user_", number: 123_456, width: 5 }), "user_123456");
        assert_eq!(text(Token::Transaction { run: 0xab, number: 12 }), "txn_000000ab_0000012");
    }

    #[test]
    fn times_agree_with_chrono() {
        for instant in [0, 1, 951_827_696_789, 1_709_164_799_999, 1_767_225_600_000, 253_402_300_799_999] {
            let chrono = DateTime::from_timestamp_millis(instant).expect("in range");
            assert_eq!(text(Token::Time(instant)), chrono.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
        }
    }

    #[test]
    fn addresses_are_addresses_of_documentation_ranges() {
        for number in (0..u32::MAX).step_by(999_983) {
            let address: std::net::IpAddr = text(Token::Address(number)).parse().expect("an address");
            match address {
                std::net::IpAddr::V4(address) => assert!(address.is_documentation(), "{address}"),
                std::net::IpAddr::V6(address) => assert_eq!(address.segments()[..2], [0x2001, 0xdb8]),
            }
        }
    }

    #[test]
    fn a_sale_is_written_in_the_contracts_order() {
        let sale = SaleRow {
            run: 1,
            number: 2,
            user: 3,
            product: 3,
            quantity: 2,
            unit_price: 150,
            total: 300,
            payment_method: 2,
            timestamp: 1_767_225_600_001,
            store: 0,
            category: 2,
        };
        let expected = r#"{"transaction_id":"txn_00000001_0000002","user_id":"user_00003","product_id":"product_0004","quantity":2,"unit_price":1.50,"total_amount":3.00,"payment_method":"cash","timestamp":"2026-01-01T00:00:00.001Z","store_id":"store_01","category":"groceries"}"#;
        assert_eq!(String::from_utf8(json(&sale)).expect("UTF-8"), expected);
        assert_eq!(object(&fields(&sale), ""), json(&sale));
        assert_eq!(key_bytes(&sale), b"txn_00000001_0000002");
    }
}
