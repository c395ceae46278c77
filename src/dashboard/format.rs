//! How numbers and times are written for people. Pure; the exact values stand in tables, CSV and JSON.

use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;
use tillflow_dataflows::records::{Millis, Money};

/// What stands for a value that is not there.
pub const MISSING: &str = "—";

/// The sign in front of amounts. The records name no currency; the original program wrote dollars.
const CURRENCY: &str = "$";

/// The minus sign of HTML; CSV and JSON have a plain hyphen.
const MINUS: char = '\u{2212}';

/// From here on an amount (in units of the currency) is written with three significant digits.
const MONEY_SHORT_FROM: u128 = 10_000;

/// From here on a count is written with three significant digits.
const COUNT_SHORT_FROM: u128 = 1_000_000;

const SUFFIXES: [(u128, &str); 5] =
    [(1, ""), (1_000, "k"), (1_000_000, "M"), (1_000_000_000, "B"), (1_000_000_000_000, "T")];

/// What a measure counts, which decides how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Amounts of money, in 1/10,000.
    Money,
    /// Whole things.
    Count,
    /// Durations, in 1/1,000 s.
    Seconds,
    /// Durations, in 1/10 day.
    Days,
}

impl Unit {
    /// How many decimals the integers of this unit stand for.
    pub const fn scale(self) -> u8 {
        match self {
            Unit::Money => 4,
            Unit::Count => 0,
            Unit::Seconds => 3,
            Unit::Days => 1,
        }
    }

    /// The number as a chart places it.
    #[expect(clippy::cast_precision_loss, reason = "a pixel needs no more than 53 bits")]
    pub fn plotted(self, value: i128) -> f64 {
        value as f64 / 10f64.powi(i32::from(self.scale()))
    }

    /// The number as a tile or a bar shows it.
    pub fn short(self, value: i128) -> String {
        match self {
            Unit::Money => money(value),
            Unit::Count => count(value),
            Unit::Seconds => duration(i64::try_from(value).unwrap_or(i64::MAX)),
            Unit::Days => format!("{} d", grouped_decimal(value, 1, 1)),
        }
    }

    /// The number as a table shows it.
    pub fn exact(self, value: i128) -> String {
        match self {
            Unit::Money => money_exact(value),
            Unit::Count => grouped_decimal(value, 0, 0),
            Unit::Seconds => format!("{} s", grouped_decimal(value, 3, 3)),
            Unit::Days => format!("{} d", grouped_decimal(value, 1, 1)),
        }
    }
}

/// `numerator / unit`, rounded half to even.
const fn rounded(numerator: u128, unit: u128) -> u128 {
    let (quotient, rest) = (numerator / unit, numerator % unit);
    let twice = rest.saturating_mul(2);
    if twice > unit || (twice == unit && quotient % 2 == 1) { quotient + 1 } else { quotient }
}

fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn sign(value: i128) -> String {
    if value < 0 { MINUS.to_string() } else { String::new() }
}

/// `value / 10^scale` with thousands separated and `decimals` decimals, rounded half to even.
fn grouped_decimal(value: i128, scale: u8, decimals: u8) -> String {
    let dropped = 10u128.pow(u32::from(scale.saturating_sub(decimals)));
    let unit = 10u128.pow(u32::from(decimals));
    let magnitude = rounded(value.unsigned_abs(), dropped);
    let minus = if magnitude == 0 { String::new() } else { sign(value) };
    let whole = grouped(magnitude / unit);
    if decimals == 0 {
        format!("{minus}{whole}")
    } else {
        format!("{minus}{whole}.{:0width$}", magnitude % unit, width = usize::from(decimals))
    }
}

/// Three significant digits and a suffix; `one` is how many of `magnitude` make 1.
fn abbreviated(magnitude: u128, one: u128) -> String {
    for (index, (size, suffix)) in SUFFIXES.iter().enumerate() {
        let unit = one.saturating_mul(*size);
        let last = index + 1 == SUFFIXES.len();
        for decimals in [2u8, 1, 0] {
            let scaled = rounded(magnitude.saturating_mul(10u128.pow(u32::from(decimals))), unit);
            if scaled < 1_000 {
                let power = 10u128.pow(u32::from(decimals));
                return if decimals == 0 {
                    format!("{scaled}{suffix}")
                } else {
                    format!("{}.{:0width$}{suffix}", scaled / power, scaled % power, width = usize::from(decimals))
                };
            }
            if last && decimals == 0 {
                return format!("{}{suffix}", grouped(scaled));
            }
        }
    }
    unreachable!("the last suffix takes every magnitude")
}

/// An amount in 1/10,000: `$9,412.50`, and from 10,000 on `$48.2k`, `$1.23M`.
pub fn money(amount: i128) -> String {
    let magnitude = amount.unsigned_abs();
    let one = u128::from(Money::SCALE.unsigned_abs());
    // What rounds up to 10,000.00 is written as that.
    if rounded(magnitude, one / 100) < MONEY_SHORT_FROM * 100 {
        return money_exact(amount);
    }
    format!("{}{CURRENCY}{}", sign(amount), abbreviated(magnitude, one))
}

/// An amount in 1/10,000, to the cent.
pub fn money_exact(amount: i128) -> String {
    let text = grouped_decimal(amount, 4, 2);
    match text.strip_prefix(MINUS) {
        Some(magnitude) => format!("{MINUS}{CURRENCY}{magnitude}"),
        None => format!("{CURRENCY}{text}"),
    }
}

/// A count: `12,408`, and from a million on `1.24M`.
pub fn count(number: i128) -> String {
    let magnitude = number.unsigned_abs();
    let text = if magnitude < COUNT_SHORT_FROM { grouped(magnitude) } else { abbreviated(magnitude, 1) };
    format!("{}{text}", sign(number))
}

/// A part of a whole: `4.27 %`; nothing of nothing is [`MISSING`].
pub fn share(part: i128, whole: i128) -> String {
    if whole == 0 {
        return MISSING.to_owned();
    }
    let negative = (part < 0) != (whole < 0) && part != 0;
    let hundredths = rounded(part.unsigned_abs().saturating_mul(10_000), whole.unsigned_abs());
    if hundredths == 0 && part != 0 {
        return "<0.01 %".to_owned();
    }
    let minus = if negative { MINUS.to_string() } else { String::new() };
    if hundredths >= 1_000 {
        let tenths = rounded(hundredths, 10);
        format!("{minus}{}.{} %", grouped(tenths / 10), tenths % 10)
    } else {
        format!("{minus}{}.{:02} %", hundredths / 100, hundredths % 100)
    }
}

/// How a number moved against an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// More than before.
    Up,
    /// Less than before.
    Down,
    /// The same, or nothing to compare.
    Flat,
}

/// The difference of two numbers of equal unit: an arrow, a sign and a share; `new` after zero.
pub fn change(now: i128, before: i128) -> (Direction, String) {
    if now == before {
        return (Direction::Flat, if now == 0 { MISSING.to_owned() } else { "no change".to_owned() });
    }
    let (direction, arrow, plus) =
        if now > before { (Direction::Up, '▲', "+") } else { (Direction::Down, '▼', "\u{2212}") };
    if before == 0 {
        return (direction, format!("{arrow} new"));
    }
    let moved = share(now.saturating_sub(before).saturating_abs(), before.saturating_abs());
    (direction, format!("{arrow} {plus}{moved}"))
}

/// A length of time in milliseconds: `0.8 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(millis: Millis) -> String {
    let millis = millis.max(0);
    let seconds = millis / 1_000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, millis % 1_000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => two_units(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two_units(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two_units(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two_units(big: i64, big_name: &str, small: i64, small_name: &str) -> String {
    if small == 0 {
        format!("{} {big_name}", grouped(big.unsigned_abs().into()))
    } else {
        format!("{} {big_name} {small} {small_name}", grouped(big.unsigned_abs().into()))
    }
}

/// RFC 3339 in UTC with milliseconds, as the API gives every time.
pub fn rfc3339(instant: Millis) -> String {
    DateTime::from_timestamp_millis(instant)
        .map_or_else(|| MISSING.to_owned(), |time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// Writes instants in the zone that the pages are shown in.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The zone.
    pub zone: Tz,
}

impl Clock {
    fn written(self, instant: Millis, pattern: &str) -> String {
        DateTime::from_timestamp_millis(instant)
            .map_or_else(|| MISSING.to_owned(), |time| time.with_timezone(&self.zone).format(pattern).to_string())
    }

    /// `12:31:07 UTC`.
    pub fn time(self, instant: Millis) -> String {
        self.written(instant, "%H:%M:%S %Z")
    }

    /// `UTC`: what the zone is called at that instant.
    pub fn zone_name(self, instant: Millis) -> String {
        self.written(instant, "%Z")
    }

    /// `12:31`.
    pub fn minute(self, instant: Millis) -> String {
        self.written(instant, "%H:%M")
    }

    /// `5 Mar`.
    pub fn day(self, instant: Millis) -> String {
        self.written(instant, "%-d %b")
    }

    /// `2026-03`.
    pub fn month(self, instant: Millis) -> String {
        self.written(instant, "%Y-%m")
    }

    /// `2026-03-05 12:31`.
    pub fn date_minute(self, instant: Millis) -> String {
        self.written(instant, "%Y-%m-%d %H:%M")
    }

    /// `2026-03-05 12:31:07 UTC`.
    pub fn full(self, instant: Millis) -> String {
        self.written(instant, "%Y-%m-%d %H:%M:%S %Z")
    }

    /// `2026-03-05T12:31`, as a form's date field takes it.
    pub fn form(self, instant: Millis) -> String {
        self.written(instant, "%Y-%m-%dT%H:%M")
    }

    /// How far the zone is ahead of UTC at that instant, in milliseconds.
    pub fn offset(self, instant: Millis) -> Millis {
        DateTime::from_timestamp_millis(instant).map_or(0, |time| {
            i64::from(self.zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc()) * 1_000
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn units(amount: i128) -> i128 {
        amount * 10_000
    }

    #[test]
    fn money_has_three_digits_from_ten_thousand_on() {
        assert_eq!(money(94_125_000), "$9,412.50");
        assert_eq!(money(99_999_949), "$9,999.99");
        assert_eq!(money(99_999_951), "$10.0k");
        assert_eq!(money(482_000_000), "$48.2k");
        assert_eq!(money(units(999_499)), "$999k");
        assert_eq!(money(units(999_500)), "$1.00M");
        assert_eq!(money(units(1_234_567)), "$1.23M");
        assert_eq!(money(-units(5)), "−$5.00");
        assert_eq!(money(-1), "$0.00");
        assert_eq!(money_exact(1_234_567_850), "$123,456.78");
        assert_eq!(money(units(7_654_000_000_000_000)), "$7,654T");
    }

    #[test]
    fn counts_and_shares() {
        assert_eq!(count(12_408), "12,408");
        assert_eq!(count(999_999), "999,999");
        assert_eq!(count(1_240_000), "1.24M");
        assert_eq!(count(-3), "−3");
        assert_eq!(share(427, 10_000), "4.27 %");
        assert_eq!(share(1, 3), "33.3 %");
        assert_eq!(share(1, 1_000_000), "<0.01 %");
        assert_eq!(share(1, 0), MISSING);
        assert_eq!(share(-1, 8), "−12.5 %");
    }

    #[test]
    fn changes_have_an_arrow_and_a_sign() {
        assert_eq!(change(1_124, 1_000), (Direction::Up, "▲ +12.4 %".to_owned()));
        assert_eq!(change(994, 1_000), (Direction::Down, "▼ −0.60 %".to_owned()));
        assert_eq!(change(7, 7), (Direction::Flat, "no change".to_owned()));
        assert_eq!(change(0, 0), (Direction::Flat, MISSING.to_owned()));
        assert_eq!(change(7, 0), (Direction::Up, "▲ new".to_owned()));
    }

    #[test]
    fn durations_and_instants() {
        assert_eq!(duration(830), "0.8 s");
        assert_eq!(duration(200_000), "3 min 20 s");
        assert_eq!(duration(7_500_000), "2 h 5 min");
        assert_eq!(duration(273_600_000), "3 d 4 h");
        assert_eq!(rfc3339(1_705_314_600_123), "2024-01-15T10:30:00.123Z");
        let clock = Clock { zone: chrono_tz::Asia::Beirut };
        assert_eq!(clock.full(1_705_314_600_123), "2024-01-15 12:30:00 EET");
        assert_eq!(clock.time(i64::MAX), MISSING);
    }

    /// What a written number stands for, to its last digit, and half of that digit.
    fn read_back(text: &str) -> (f64, f64) {
        let plain: String = text.chars().filter(|c| !matches!(c, '$' | ',' | '−')).collect();
        let (number, factor) = match plain.chars().last() {
            Some('k') => (&plain[..plain.len() - 1], 1e3),
            Some('M') => (&plain[..plain.len() - 1], 1e6),
            Some('B') => (&plain[..plain.len() - 1], 1e9),
            Some('T') => (&plain[..plain.len() - 1], 1e12),
            _ => (plain.as_str(), 1.0),
        };
        let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let value: f64 = number.parse().unwrap_or(f64::NAN);
        let negative = if text.starts_with('−') { -1.0 } else { 1.0 };
        (negative * value * factor, factor * 10f64.powi(-i32::try_from(decimals).unwrap_or(0)) / 2.0)
    }

    proptest! {
        #[test]
        fn money_reads_back_within_what_is_shown(amount in -10i128.pow(18)..10i128.pow(18)) {
            let (value, half) = read_back(&money(amount));
            prop_assert!((value - Unit::Money.plotted(amount)).abs() <= half * 1.000_001, "{}", money(amount));
        }

        #[test]
        fn counts_read_back_within_what_is_shown(number in -10i128.pow(14)..10i128.pow(14)) {
            let (value, half) = read_back(&count(number));
            prop_assert!((value - Unit::Count.plotted(number)).abs() <= half * 1.000_001);
        }

        #[test]
        fn more_is_never_written_as_less(a in 0i128..10i128.pow(18), step in 0i128..10i128.pow(15)) {
            prop_assert!(read_back(&money(a + step)).0 >= read_back(&money(a)).0);
            prop_assert!(read_back(&count(a + step)).0 >= read_back(&count(a)).0);
        }

        #[test]
        fn numbers_stay_narrow(amount in -10i128.pow(18)..10i128.pow(18)) {
            prop_assert!(money(amount).chars().count() <= 10);
            prop_assert!(count(amount / 10_000).chars().count() <= 8);
        }

        #[test]
        fn no_instant_panics(instant in any::<i64>()) {
            let clock = Clock { zone: chrono_tz::America::Sao_Paulo };
            let _ = (clock.full(instant), clock.offset(instant), rfc3339(instant), duration(instant));
        }
    }
}
