//! Exact money from decimal text. No binary float is ever in between.

use std::iter::{once, repeat_n};

use tillflow_dataflows::records::Money;

use super::number::{Exponent, Number};

/// Decimal places that [`Money`] keeps.
const PLACES: usize = 4;
/// Decimal digits of [`Money::BOUND`]; an amount that has more before rounding is beyond it.
const BOUND_DIGITS: i64 = 16;

/// Why a text is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyFault {
    /// It is not exactly a JSON number.
    #[error("expected a decimal number")]
    NotANumber,
    /// Rounded to 4 places, it is beyond 10^11 units.
    #[error("beyond 10^11")]
    OutOfRange,
}

/// Reads a text that is exactly a JSON number as money: any number of digits, any exponent, rounded
/// half-to-even to 4 places. The bound is checked after rounding.
///
/// Takes time linear in the text's length, whatever the exponent.
#[inline]
pub fn parse_money(text: &str) -> Result<Money, MoneyFault> {
    let number = Number::read(text.as_bytes()).ok_or(MoneyFault::NotANumber)?;
    // Prices as they are mostly written: 11 + 4 digits fit an i64 and are within the bound.
    let units = if number.exponent.is_none() && number.integer.len() <= 11 && number.fraction.len() <= PLACES {
        let digits = number.integer.iter().chain(number.fraction);
        let padding = PLACES - number.fraction.len();
        digits.chain(repeat_n(&b'0', padding)).fold(0, |units, digit| units * 10 + i64::from(digit - b'0'))
    } else {
        rounded(&number)?
    };
    Ok(Money(if number.negative { -units } else { units }))
}

/// The absolute value in 1/10,000, rounded half-to-even.
fn rounded(number: &Number) -> Result<i64, MoneyFault> {
    let mut digits = number.integer.iter().chain(number.fraction).copied().enumerate();
    // Leading zeros carry no value, and a number without any other digit is 0 whatever its exponent.
    let Some((leading_zeros, first)) = digits.find(|&(_, digit)| digit != b'0') else {
        return Ok(0);
    };

    // How many digits, from the first one that is not 0, stand before the point once the value is scaled.
    // Saturation is exact enough: a text has fewer digits than the distance to either limit.
    let whole = (number.integer.len() as i64)
        .saturating_add(PLACES as i64)
        .saturating_sub(leading_zeros as i64)
        .saturating_add(number.exponent.map_or(0, exponent_value));
    if whole > BOUND_DIGITS {
        return Err(MoneyFault::OutOfRange);
    }
    if whole < 0 {
        return Ok(0);
    }

    let mut digits = once(first).chain(digits.map(|(_, digit)| digit));
    let mut units = 0;
    for _ in 0..whole {
        units = units * 10 + i64::from(digits.next().unwrap_or(b'0') - b'0');
    }
    let half = digits.next().unwrap_or(b'0').cmp(&b'5');
    let exactly_half = half.is_eq() && digits.all(|digit| digit == b'0');
    let up = half.is_ge() && (!exactly_half || units % 2 == 1);
    let units = units + i64::from(up);
    if units > Money::BOUND { Err(MoneyFault::OutOfRange) } else { Ok(units) }
}

/// The exponent's value, saturated far beyond any text's length but far from overflow.
fn exponent_value(exponent: Exponent) -> i64 {
    let limit = i64::MAX / 4;
    let mut value = 0_i64;
    for digit in exponent.digits {
        value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(limit);
    }
    if exponent.negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: i64) {
        assert_eq!(parse_money(text), Ok(Money(expected)), "{text}");
    }

    #[track_caller]
    fn beyond(text: &str) {
        assert_eq!(parse_money(text), Err(MoneyFault::OutOfRange), "{text}");
    }

    #[test]
    fn common_amounts() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0.0000", 0),
            ("1", 10_000),
            ("1.5", 15_000),
            ("1.50", 15_000),
            ("1.5000", 15_000),
            ("1.50000000", 15_000),
            ("-19.99", -199_900),
            ("0.0001", 1),
            ("99999999999.9999", 999_999_999_999_999),
            ("100000000000", 1_000_000_000_000_000),
            ("-100000000000.0000", -1_000_000_000_000_000),
        ] {
            reads(text, expected);
        }
    }

    #[test]
    fn binary_floats_have_no_part_in_it() {
        reads("0.1", 1_000);
        reads("90071992547.4099", 900_719_925_474_099);
        reads("8.41", 84_100);
        reads("1.00005000000000000000000000000000000000000001", 10_001);
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (text, expected) in [
            ("0.00005", 0),
            ("0.000050", 0),
            ("0.00005000000000000000000000000001", 1),
            ("0.00004999999999999999999999999999", 0),
            ("0.00015", 2),
            ("0.00025", 2),
            ("0.00035", 4),
            ("-0.00005", 0),
            ("-0.00015", -2),
            ("-0.00025", -2),
            ("0.00009", 1),
            ("0.000009", 0),
            ("1.99995", 20_000),
            ("5e-5", 0),
            ("15e-5", 2),
            ("50000001e-12", 1),
            ("9.9e-5", 1),
            ("9.9e-6", 0),
        ] {
            reads(text, expected);
        }
    }

    #[test]
    fn exponents() {
        for (text, expected) in [
            ("1e5", 1_000_000_000),
            ("1E+5", 1_000_000_000),
            ("1e-2", 100),
            ("1.25e1", 125_000),
            ("0.00000000000000000001e20", 10_000),
            ("1e11", 1_000_000_000_000_000),
            ("0.1e12", 1_000_000_000_000_000),
            ("100000000000000000000000e-12", 1_000_000_000_000_000),
            ("1e-400", 0),
            ("-1e-400", 0),
            ("0e400", 0),
            ("0.000e999999999999999999999999", 0),
            ("1e-999999999999999999999999999999999", 0),
            ("1e000000000000000000000000000000000000000001", 100_000),
        ] {
            reads(text, expected);
        }
        for text in ["1e12", "1e400", "-1e400", "1e999999999999999999999999999999999", "1.0e9223372036854775807"] {
            beyond(text);
        }
    }

    #[test]
    fn the_bound_is_checked_after_rounding() {
        reads("100000000000.00004", Money::BOUND);
        reads("100000000000.00005", Money::BOUND);
        beyond("100000000000.000050000001");
        beyond("100000000000.0001");
        reads("-100000000000.00005", -Money::BOUND);
        beyond("-100000000000.00006");
        reads("99999999999.99999", Money::BOUND);
        beyond("123456789012");
        beyond(&"9".repeat(100_000));
    }

    #[test]
    fn long_digits_meet_long_exponents() {
        reads(&format!("1{}e-1000000", "0".repeat(1_000_000)), 10_000);
        reads(&format!("0.{}1e1000001", "0".repeat(1_000_000)), 10_000);
        reads(&format!("0.0000{}1", "0".repeat(1_000_000)), 0);
        reads(&format!("0.00005{}1", "0".repeat(1_000_000)), 1);
    }

    #[test]
    fn anything_else_is_no_number() {
        for text in [
            "", " ", " 1", "1 ", "+1", "1.", ".5", "1,50", "$1", "abc", "NaN", "1e", "0x1", "١", "01", "1\u{0}", "null",
        ] {
            assert_eq!(parse_money(text), Err(MoneyFault::NotANumber), "{text:?}");
        }
    }

    /// Rounds by writing the number out in full, as on paper, and comparing strings.
    fn on_paper(negative: bool, integer: &str, fraction: &str, exponent: i32) -> Option<i64> {
        let mut digits = format!("{integer}{fraction}");
        let mut point = integer.len() as i32 + exponent + 4;
        while point < 0 {
            digits.insert(0, '0');
            point += 1;
        }
        while (digits.len() as i32) < point {
            digits.push('0');
        }
        let (whole, rest) = digits.split_at(point as usize);
        let whole = whole.trim_start_matches('0');
        if whole.len() > 30 {
            return None;
        }
        let mut units: i128 = if whole.is_empty() { 0 } else { whole.parse().unwrap() };
        let rest = format!("{rest:0<1}");
        let half = format!("5{}", "0".repeat(rest.len() - 1));
        if rest > half || (rest == half && units % 2 == 1) {
            units += 1;
        }
        let units = if negative { -units } else { units };
        (units.abs() <= 1_000_000_000_000_000).then_some(units as i64)
    }

    proptest! {
        #[test]
        fn agrees_with_rounding_on_paper(
            negative: bool,
            integer in "0|[1-9][0-9]{0,20}",
            fraction in "|[0-9]{1,12}|0{0,8}[0-9]{0,4}50{0,6}1?",
            exponent in prop_oneof![Just(None), (-30..30_i32).prop_map(Some)],
        ) {
            let mut text = format!("{}{integer}", if negative { "-" } else { "" });
            if !fraction.is_empty() {
                text = format!("{text}.{fraction}");
            }
            if let Some(exponent) = exponent {
                text = format!("{text}e{exponent}");
            }
            let expected = on_paper(negative, &integer, &fraction, exponent.unwrap_or(0));
            prop_assert_eq!(parse_money(&text), expected.map(Money).ok_or(MoneyFault::OutOfRange), "{}", text);
        }

        #[test]
        fn four_places_survive(units in -Money::BOUND..=Money::BOUND) {
            let text = format!("{}{}.{:04}", if units < 0 { "-" } else { "" }, units.abs() / 10_000, units.abs() % 10_000);
            prop_assert_eq!(parse_money(&text), Ok(Money(units)));
        }

        #[test]
        fn any_text_gives_an_answer(text in "\\PC{0,20}|[-+0-9.eE]{0,40}") {
            let is_number = serde_json::from_str::<&serde_json::value::RawValue>(&text)
                .is_ok_and(|raw| raw.get() == text && text.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
            prop_assert_eq!(parse_money(&text) != Err(MoneyFault::NotANumber), is_number);
        }
    }
}
