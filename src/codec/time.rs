//! Instants from the texts that producers and users write.

use chrono::{Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{GapInfo, Tz};
use tillflow_dataflows::records::Millis;

/// 9999-12-31T23:59:59.999Z.
const LAST: Millis = 253_402_300_799_999;

/// chrono-tz lists a zone's changes of offset up to this year and knows no rule for the years after it.
const LAST_LISTED_YEAR: i32 = 2099;

/// Reads an RFC 3339 time, or one without a zone, which is then read in `zone`. Between date and time stands `T`
/// or one space.
///
/// A local time that occurs twice in `zone` is the earlier one; one that is skipped moves forward by the gap.
/// The fraction may have any number of digits and is cut to milliseconds. `None` for any other text, for second
/// 60 and hour 24, and for instants before 1970 or after 9999 (UTC).
#[inline]
pub fn parse_timestamp(text: &str, zone: Tz) -> Option<Millis> {
    let bytes = text.as_bytes();
    let (date_time, rest) = bytes.split_first_chunk::<19>()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T' | b't' | b' ', _, _, b':', _, _, b':', _, _] = date_time else {
        return None;
    };
    let year = two_digits(date_time, 0)? * 100 + two_digits(date_time, 2)?;
    let (month, day) = (two_digits(date_time, 5)?, two_digits(date_time, 8)?);
    let (hour, minute, second) = (two_digits(date_time, 11)?, two_digits(date_time, 14)?, two_digits(date_time, 17)?);
    let (millisecond, rest) = fraction(rest)?;

    let local = NaiveDate::from_ymd_opt(year as i32, month, day)?.and_hms_opt(hour, minute, second)?;
    let offset_seconds = match rest {
        [] if zone == Tz::UTC => 0,
        [] => offset_in(zone, local)?,
        [b'Z' | b'z'] => 0,
        _ => written_offset(rest)?,
    };
    let millis = (local.and_utc().timestamp() - i64::from(offset_seconds)) * 1000 + i64::from(millisecond);
    (0..=LAST).contains(&millis).then_some(millis)
}

/// The value of the two digits at `at`.
#[inline]
fn two_digits(bytes: &[u8], at: usize) -> Option<u32> {
    match bytes.get(at..at + 2) {
        Some(&[tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0')),
        _ => None,
    }
}

/// The whole milliseconds of the fraction that `rest` begins with, and what follows it.
#[inline]
fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', rest)) = rest.split_first() else {
        return Some((0, rest));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let (digits, rest) = rest.split_at(length);
    let digit = |at: usize| digits.get(at).map_or(0, |digit| u32::from(digit - b'0'));
    Some((digit(0) * 100 + digit(1) * 10 + digit(2), rest))
}

/// The seconds east of UTC that `+HH:MM` or `-HH:MM` stands for.
fn written_offset(text: &[u8]) -> Option<i32> {
    let [sign @ (b'+' | b'-'), _, _, b':', _, _] = text else {
        return None;
    };
    let (hours, minutes) = (two_digits(text, 1)?, two_digits(text, 4)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60) as i32;
    Some(if *sign == b'-' { -seconds } else { seconds })
}

/// The seconds east of UTC to read a local time with. For a skipped time it is the offset before the gap, which
/// moves it forward by the gap.
fn offset_in(zone: Tz, local: NaiveDateTime) -> Option<i32> {
    let local = with_listed_year(local)?;
    match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) => Some(offset.fix().local_minus_utc()),
        MappedLocalTime::Ambiguous(one, other) => {
            // The earlier instant is the one further east.
            Some(one.fix().local_minus_utc().max(other.fix().local_minus_utc()))
        }
        MappedLocalTime::None => {
            let (_, before) = GapInfo::new(&local, &zone)?.begin?;
            Some(before.fix().local_minus_utc())
        }
    }
}

/// The same time in a year that chrono-tz lists, with the same days of the week: what zones follow in the long
/// run are rules such as "the last Sunday of March", and among any 28 years without an odd century each of the
/// fourteen calendars occurs. (Morocco and Palestine, whose changes follow the moon, may be an hour off there.)
fn with_listed_year(local: NaiveDateTime) -> Option<NaiveDateTime> {
    if local.year() <= LAST_LISTED_YEAR {
        return Some(local);
    }
    let calendar = |year| NaiveDate::from_ymd_opt(year, 1, 1).map(|first| (first.weekday(), first.leap_year()));
    let wanted = calendar(local.year());
    let year = (LAST_LISTED_YEAR - 27..=LAST_LISTED_YEAR).rev().find(|&year| calendar(year) == wanted)?;
    local.with_year(year)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> Option<Millis> {
        parse_timestamp(text, Tz::UTC)
    }

    /// The instant that chrono reads in `text`, which has to be in its strict RFC 3339 form.
    fn instant(text: &str) -> Millis {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn the_forms_that_are_read() {
        let expected = Some(instant("2024-01-15T10:30:00Z"));
        for text in [
            "2024-01-15T10:30:00Z",
            "2024-01-15t10:30:00z",
            "2024-01-15 10:30:00Z",
            "2024-01-15T10:30:00",
            "2024-01-15 10:30:00",
            "2024-01-15T10:30:00+00:00",
            "2024-01-15T10:30:00-00:00",
            "2024-01-15T12:30:00+02:00",
            "2024-01-15 05:00:00.000-05:30",
            "2024-01-16T10:29:00+23:59",
            "2024-01-14T10:31:00.0-23:59",
            "2024-01-15T10:30:00.0",
        ] {
            assert_eq!(utc(text), expected, "{text}");
        }
    }

    #[test]
    fn fractions_are_cut_not_rounded() {
        let second = instant("2024-01-15T10:30:00Z");
        for (text, millis) in [
            (".1", 100),
            (".12", 120),
            (".123", 123),
            (".1239999", 123),
            (".999999999999999999999999", 999),
            (".0009", 0),
            (".001", 1),
        ] {
            for zone in ["", "Z", "+00:00"] {
                assert_eq!(utc(&format!("2024-01-15T10:30:00{text}{zone}")), Some(second + millis), "{text}{zone}");
            }
        }
        let long = format!("2024-01-15T10:30:00.5{}Z", "0".repeat(100_000));
        assert_eq!(utc(&long), Some(second + 500));
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "now",
            "1705314600",
            "1705314600000",
            "2024-01-15",
            "2024-01-15T",
            "2024-01-15T10:30",
            "2024-01-15T10:30Z",
            "2024-01-15T10:30:0",
            "2024-01-15T10:30:00 Z",
            "2024-01-15T10:30:00 +00:00",
            "2024-01-15T10:30:00.5 +00:00",
            "2024-01-15T10:30:00  ",
            " 2024-01-15T10:30:00Z",
            "2024-01-15T10:30:00Z ",
            "2024-01-15T10:30:00ZZ",
            "2024-01-15T10:30:00.",
            "2024-01-15T10:30:00.Z",
            "2024-01-15T10:30:00,5Z",
            "2024-01-15T10:30:00.5.5Z",
            "2024-01-15T10:30:00.-5Z",
            "2024-01-15T10:30:60Z",
            "2016-12-31T23:59:60Z",
            "2024-01-15T10:60:00Z",
            "2024-01-15T24:00:00Z",
            "2024-01-15T25:00:00Z",
            "2024-00-15T10:30:00Z",
            "2024-13-15T10:30:00Z",
            "2024-01-00T10:30:00Z",
            "2024-01-32T10:30:00Z",
            "2024-02-30T10:30:00Z",
            "2023-02-29T10:30:00Z",
            "2100-02-29T10:30:00Z",
            "24-01-15T10:30:00Z",
            "02024-01-15T10:30:00Z",
            "+2024-01-15T10:30:00Z",
            "-2024-01-15T10:30:00Z",
            "2024-1-15T10:30:00Z",
            "2024-01-15T1:30:00Z",
            "2024/01/15T10:30:00Z",
            "2024-01-15_10:30:00Z",
            "2024-01-15  10:30:00Z",
            "2024-01-15\t10:30:00Z",
            "2024-01-15T10.30.00Z",
            "20240115T103000Z",
            "2024-W03-1T10:30:00Z",
            "2024-015T10:30:00Z",
            "2024-01-15T10:30:00+24:00",
            "2024-01-15T10:30:00+00:60",
            "2024-01-15T10:30:00+0000",
            "2024-01-15T10:30:00+00",
            "2024-01-15T10:30:00+0:00",
            "2024-01-15T10:30:00+00:0",
            "2024-01-15T10:30:00+00:00:00",
            "2024-01-15T10:30:00\u{2212}05:00",
            "2024-01-15T10:30:00UTC",
            "2024-01-15T10:30:00[UTC]",
            "2024-01-15T10:30:00Z[UTC]",
            "２０２４-01-15T10:30:00Z",
            "2024-01-15T10:30:00\0",
            "Mon, 15 Jan 2024 10:30:00 GMT",
        ] {
            assert_eq!(utc(text), None, "{text}");
        }
        assert_eq!(utc("2024-02-29T10:30:00Z"), Some(instant("2024-02-29T10:30:00Z")));
        assert_eq!(utc("2000-02-29T23:59:59Z"), Some(instant("2000-02-29T23:59:59Z")));
    }

    #[test]
    fn instants_from_1970_to_9999() {
        assert_eq!(utc("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(utc("1970-01-01T00:00:00.001Z"), Some(1));
        assert_eq!(utc("1969-12-31T23:59:59.999Z"), None);
        assert_eq!(utc("1969-12-31T23:59:59.9999Z"), None);
        assert_eq!(utc("1969-12-31T23:30:00-00:30"), Some(0));
        assert_eq!(utc("1970-01-01T00:29:59.999+00:30"), None);
        assert_eq!(utc("9999-12-31T23:59:59.999Z"), Some(LAST));
        assert_eq!(utc("9999-12-31T23:59:59.9999999Z"), Some(LAST));
        assert_eq!(utc("9999-12-31T23:59:59.999-00:01"), None);
        assert_eq!(utc("9999-12-31T23:59:59.999+00:01"), Some(LAST - 60_000));
        assert_eq!(utc("0000-01-01T00:00:00Z"), None);
        assert_eq!(utc("0001-01-01T00:00:00Z"), None);
        assert_eq!(parse_timestamp("1969-12-31T19:00:00", Tz::America__New_York), Some(0));
        assert_eq!(parse_timestamp("1969-12-31T18:59:59", Tz::America__New_York), None);
        assert_eq!(parse_timestamp("9999-12-31T19:00:00", Tz::America__New_York), None);
    }

    #[track_caller]
    fn local(zone: Tz, text: &str, expected: &str) {
        assert_eq!(parse_timestamp(text, zone), Some(instant(expected)), "{text} in {zone}");
    }

    #[test]
    fn a_zone_is_for_times_without_one() {
        local(Tz::Europe__Berlin, "2024-01-15T10:30:00", "2024-01-15T09:30:00Z");
        local(Tz::Europe__Berlin, "2024-07-15 10:30:00.25", "2024-07-15T08:30:00.250Z");
        local(Tz::Europe__Berlin, "2024-07-15T10:30:00Z", "2024-07-15T10:30:00Z");
        local(Tz::Europe__Berlin, "2024-07-15T10:30:00-05:00", "2024-07-15T15:30:00Z");
        local(Tz::Asia__Kathmandu, "2024-07-15T10:30:00", "2024-07-15T04:45:00Z");
    }

    #[test]
    fn a_time_that_occurs_twice_is_the_earlier() {
        local(Tz::Europe__Berlin, "2024-10-27T01:59:59", "2024-10-26T23:59:59Z");
        local(Tz::Europe__Berlin, "2024-10-27T02:00:00", "2024-10-27T00:00:00Z");
        local(Tz::Europe__Berlin, "2024-10-27T02:59:59.999", "2024-10-27T00:59:59.999Z");
        local(Tz::Europe__Berlin, "2024-10-27T03:00:00", "2024-10-27T02:00:00Z");
        local(Tz::America__New_York, "2024-11-03T01:30:00", "2024-11-03T05:30:00Z");
        local(Tz::Australia__Lord_Howe, "2024-04-07T01:45:00", "2024-04-06T14:45:00Z");
    }

    #[test]
    fn a_time_that_is_skipped_moves_forward_by_the_gap() {
        local(Tz::Europe__Berlin, "2024-03-31T01:59:59.999", "2024-03-31T00:59:59.999Z");
        local(Tz::Europe__Berlin, "2024-03-31T02:00:00", "2024-03-31T01:00:00Z");
        local(Tz::Europe__Berlin, "2024-03-31T02:30:00", "2024-03-31T01:30:00Z");
        local(Tz::Europe__Berlin, "2024-03-31T03:00:00", "2024-03-31T01:00:00Z");
        local(Tz::America__New_York, "2024-03-10T02:30:00", "2024-03-10T07:30:00Z");
        local(Tz::Australia__Lord_Howe, "2024-10-06T02:15:00", "2024-10-05T15:45:00Z");
        // A whole day that Samoa never had.
        local(Tz::Pacific__Apia, "2011-12-30T12:00:00", "2011-12-30T22:00:00Z");
    }

    #[test]
    fn the_rules_of_a_zone_hold_beyond_the_listed_years() {
        local(Tz::America__New_York, "2099-07-01T12:00:00", "2099-07-01T16:00:00Z");
        local(Tz::America__New_York, "2100-07-01T12:00:00", "2100-07-01T16:00:00Z");
        local(Tz::America__New_York, "2100-01-01T12:00:00", "2100-01-01T17:00:00Z");
        local(Tz::America__New_York, "2104-02-29T12:00:00", "2104-02-29T17:00:00Z");
        local(Tz::Europe__Berlin, "9999-07-01T12:00:00", "9999-07-01T10:00:00Z");
        // The last Sunday of March 2150 is the 29th.
        local(Tz::Europe__Berlin, "2150-03-29T01:59:59", "2150-03-29T00:59:59Z");
        local(Tz::Europe__Berlin, "2150-03-29T03:00:00", "2150-03-29T01:00:00Z");
        local(Tz::Europe__Berlin, "2150-03-29T02:30:00", "2150-03-29T01:30:00Z");
    }

    /// Reads a local time by looking only from UTC to local, the direction that is never in doubt.
    fn by_search(zone: Tz, local: NaiveDateTime) -> NaiveDateTime {
        let offset_at =
            |utc: NaiveDateTime| TimeDelta::seconds(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc().into());
        let nearby = (-30..=30).step_by(10).map(|hours| offset_at(local + TimeDelta::hours(hours)));
        let instants = nearby.map(|offset| (local - offset, offset)).filter(|&(utc, offset)| offset_at(utc) == offset);
        instants.map(|(utc, _)| utc).min().unwrap_or_else(|| local - offset_at(local - TimeDelta::hours(24)))
    }

    const ZONES: [Tz; 12] = [
        Tz::Europe__Berlin,
        Tz::Europe__London,
        Tz::Europe__Moscow,
        Tz::America__New_York,
        Tz::America__Sao_Paulo,
        Tz::Africa__Casablanca,
        Tz::Africa__Monrovia,
        Tz::Asia__Kathmandu,
        Tz::Asia__Pyongyang,
        Tz::Australia__Lord_Howe,
        Tz::Pacific__Apia,
        Tz::Antarctica__Troll,
    ];

    #[test]
    fn every_quarter_of_an_hour_agrees_with_a_search() {
        for zone in ZONES {
            let mut local = NaiveDate::from_ymd_opt(2009, 12, 31).unwrap().and_hms_opt(12, 7, 3).unwrap();
            while local.year() < 2019 {
                let text = local.format("%Y-%m-%dT%H:%M:%S").to_string();
                let expected = by_search(zone, local).and_utc().timestamp_millis();
                assert_eq!(parse_timestamp(&text, zone), Some(expected), "{text} in {zone}");
                local += TimeDelta::minutes(15);
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(
            millis in 0..=LAST,
            offset_minutes in -1439..=1439_i64,
            separator in "[Tt ]",
            more_digits in "[0-9]{0,9}",
        ) {
            let moment = DateTime::from_timestamp_millis(millis).unwrap().naive_utc() + TimeDelta::minutes(offset_minutes);
            prop_assume!((0..=9999).contains(&moment.year()));
            let sign = if offset_minutes < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
            let text = format!("{}{more_digits}{sign}{hours:02}:{minutes:02}", moment.format("%Y-%m-%dT%H:%M:%S%.3f"));
            prop_assert_eq!(instant(&text), millis);
            let text = text.replace('T', &separator);
            prop_assert_eq!(utc(&text), Some(millis), "{}", text);
        }

        #[test]
        fn local_times_agree_with_a_search(seconds in 0..4_102_444_800_i64, zone in proptest::sample::select(&ZONES[..])) {
            let local = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let expected = by_search(zone, local).and_utc().timestamp_millis();
            let read = parse_timestamp(&local.format("%Y-%m-%d %H:%M:%S").to_string(), zone);
            prop_assert_eq!(read, (expected >= 0).then_some(expected), "{} in {}", local, zone);
        }

        #[test]
        fn any_text_gives_an_answer(text in "\\PC{0,40}|[-0-9TtZz:. +]{0,40}|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}[-+.Z0-9:]{0,8}") {
            for zone in [Tz::UTC, Tz::Europe__Berlin] {
                if let Some(millis) = parse_timestamp(&text, zone) {
                    prop_assert!((0..=LAST).contains(&millis));
                }
            }
        }

        #[test]
        fn what_chrono_rejects_with_an_offset_is_rejected(text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,4})?(Z|[-+][0-2][0-9]:[0-6][0-9])") {
            let leap_second = &text[17..19] == "60";
            let expected = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_millis());
            let expected = expected.filter(|millis| (0..=LAST).contains(millis) && !leap_second);
            prop_assert_eq!(utc(&text), expected, "{}", text);
        }
    }
}
