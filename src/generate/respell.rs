//! The same sale in other words: what a duplicate may look like when another system sends it again.

use tillflow_dataflows::records::Millis;

use super::dice::Dice;
use super::rows::{self, SaleRow, Token};

/// A sale as JSON whose ten fields mean exactly what [`rows::json`] would write, spelled in one or more other ways.
pub(super) fn respelled(sale: &SaleRow, dice: &mut Dice) -> Vec<u8> {
    let mut fields = rows::fields(sale);
    let mut space = "";
    // Each bit that is set is one difference, at least one of the first two.
    let ways = dice.below(63) + 1;
    if ways & 0b01_0000 != 0 {
        fields.reverse();
    }
    let length = fields.len() as u32;
    fields.rotate_left(dice.below(length) as usize);
    for (name, value) in &mut fields {
        match *name {
            "unit_price" | "total_amount" if ways & 0b01 != 0 => *value = money_respelled(value, dice),
            "timestamp" if ways & 0b10 != 0 => *value = time_respelled(sale.timestamp, dice),
            "category" if ways & 0b100 != 0 => escape_first_letter(value),
            _ => {}
        }
    }
    if ways & 0b1000 != 0 {
        space = " ";
    }
    if ways & 0b10_0000 != 0 {
        fields.push(("resent_by", br#"{"system":"till","attempt":2}"#.to_vec()));
    }
    rows::object(&fields, space)
}

/// Cents such as `1.50`, as `1.5`, `"1.50"`, `1.500` or `1.50e0`.
fn money_respelled(written: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut value = written.to_vec();
    match dice.below(4) {
        0 => {
            while value.last() == Some(&b'0') {
                value.pop();
            }
            if value.last() == Some(&b'.') {
                value.pop();
            }
        }
        1 => {
            value.insert(0, b'"');
            value.push(b'"');
        }
        2 => value.push(b'0'),
        _ => value.extend_from_slice(b"e0"),
    }
    value
}

/// An instant with an offset: `+00:00`, or `+02:00` and the clock two hours on.
fn time_respelled(instant: Millis, dice: &mut Dice) -> Vec<u8> {
    let (shift, offset) = dice.pick(&[(0, "+00:00"), (2 * 3_600_000, "+02:00"), (-5 * 3_600_000, "-05:00")]);
    let mut value = vec![b'"'];
    rows::push_text(&mut value, Token::Time(instant + shift));
    // The last letter is Z.
    value.pop();
    value.extend_from_slice(offset.as_bytes());
    value.push(b'"');
    value
}

/// `"books"` as `"\u0062ooks"`.
fn escape_first_letter(value: &mut Vec<u8>) {
    if let Some(letter) = value.get(1).copied() {
        value.splice(1..2, format!("\\u{letter:04x}").into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn a_respelled_sale_means_the_same() {
        let mut dice = Dice::new(11, 0);
        let sale = SaleRow {
            run: 9,
            number: 4,
            user: 17,
            product: 3,
            quantity: -2,
            unit_price: 150,
            total: -300,
            payment_method: 0,
            timestamp: 1_767_225_600_120,
            store: 3,
            category: 3,
        };
        let plain: serde_json::Value = serde_json::from_slice(&rows::json(&sale)).expect("JSON");
        let number = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.parse::<f64>().expect("a number"),
            other => other.as_f64().expect("a number"),
        };
        let instant = |value: &serde_json::Value| {
            DateTime::parse_from_rfc3339(value.as_str().expect("text")).expect("RFC 3339").timestamp_millis()
        };
        let mut different = 0;
        for _ in 0..2_000 {
            let bytes = respelled(&sale, &mut dice);
            let other: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            different += usize::from(bytes != rows::json(&sale));
            for (name, value) in plain.as_object().expect("an object") {
                match name.as_str() {
                    "unit_price" | "total_amount" => assert_eq!(number(&other[name]), number(value)),
                    "timestamp" => assert_eq!(instant(&other[name]), instant(value)),
                    _ => assert_eq!(&other[name], value),
                }
            }
        }
        assert!(different > 1_950, "only {different} of 2000 are spelled differently");
    }
}
