//! Axes: ranges that cannot hang or panic plotters, and the places of their ticks.
//!
//! Ticks are computed here and handed to plotters as they are, because its own search for them never ends on an
//! infinite range.

use tillflow_dataflows::records::Millis;

use crate::dashboard::format::Clock;

/// About this many steps does a value axis have.
const VALUE_STEPS: f64 = 4.0;

/// No axis has more ticks than this, whatever its range.
const MAX_TICKS: usize = 24;

/// Values beyond this are drawn at it: sums of money end long before.
const MAGNITUDE_MAX: f64 = 1e30;

/// A finite, non-empty range of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Its lower end.
    pub low: f64,
    /// Its upper end, greater than `low`.
    pub high: f64,
}

impl Range {
    /// The smallest range over the finite ones of `values` and, if asked, zero; widened where it would be empty.
    pub fn checked(values: impl IntoIterator<Item = f64>, with_zero: bool) -> Range {
        let (mut low, mut high) = if with_zero { (0.0, 0.0) } else { (f64::INFINITY, f64::NEG_INFINITY) };
        for value in values.into_iter().filter(|value| value.is_finite()) {
            let value = value.clamp(-MAGNITUDE_MAX, MAGNITUDE_MAX);
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return Range { low: 0.0, high: 1.0 };
        }
        if high - low <= high.abs().max(low.abs()) * 1e-9 {
            // All equal: zero stays in sight, and the value stands clear of the edge.
            return match high.total_cmp(&0.0) {
                std::cmp::Ordering::Greater => Range { low: 0.0, high: high * 1.25 },
                std::cmp::Ordering::Less => Range { low: low * 1.25, high: 0.0 },
                std::cmp::Ordering::Equal => Range { low: 0.0, high: 1.0 },
            };
        }
        Range { low, high }
    }
}

/// A value axis: a range that begins and ends on a tick.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueAxis {
    /// What is drawn.
    pub range: Range,
    /// Where lines and labels stand.
    pub ticks: Vec<f64>,
}

impl ValueAxis {
    /// An axis of round numbers over `range`; of whole numbers if `whole`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most MAX_TICKS, and finite")]
    pub fn over(range: Range, whole: bool) -> ValueAxis {
        let raw = (range.high - range.low) / VALUE_STEPS;
        let power = 10f64.powf(raw.log10().floor());
        let mut step =
            [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw * 0.999).unwrap_or(raw);
        if whole {
            step = step.ceil().max(1.0);
        }
        let first = (range.low / step).floor();
        let last = (range.high / step).ceil();
        let steps = ((last - first) as usize).clamp(1, MAX_TICKS);
        let ticks: Vec<f64> = (0..=steps).map(|index| (first + index as f64) * step).collect();
        let range = Range { low: first * step, high: (first + steps as f64) * step };
        ValueAxis { range, ticks }
    }

    /// The same ticks, as far as they lie inside `range`, which stays as it is.
    pub fn within(range: Range, whole: bool) -> ValueAxis {
        let mut ticks = ValueAxis::over(range, whole).ticks;
        ticks.retain(|tick| (range.low..=range.high).contains(tick));
        ValueAxis { range, ticks }
    }
}

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

const TIME_STEPS: [Millis; 22] = [
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    4 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    90 * DAY,
    180 * DAY,
    365 * DAY,
    5 * 365 * DAY,
    50 * 365 * DAY,
];

/// Round times of the day in the zone of `clock`, between `from` and `to`, at most about `most` of them, each
/// with its label; a date is written where the day changes.
pub fn time_ticks(from: Millis, to: Millis, most: usize, clock: Clock) -> Vec<(Millis, String)> {
    let most = most.clamp(2, MAX_TICKS);
    let span = to.saturating_sub(from).max(1);
    let room = i64::try_from(most).unwrap_or(2);
    let step = TIME_STEPS.into_iter().find(|step| span / step < room).unwrap_or(span / room + 1);
    let offset = clock.offset(from);
    let first = from.saturating_add(offset).div_euclid(step).saturating_mul(step).saturating_sub(offset);
    let mut ticks = Vec::new();
    let mut before: Option<String> = None;
    for index in 0..=MAX_TICKS {
        let at = first.saturating_add(step.saturating_mul(i64::try_from(index).unwrap_or(0)));
        if at < from {
            continue;
        }
        if at > to {
            break;
        }
        let day = clock.day(at);
        let text = if step >= 90 * DAY {
            clock.month(at)
        } else if step >= DAY || before.as_ref().is_some_and(|before| *before != day) {
            day.clone()
        } else {
            clock.minute(at)
        };
        before = Some(day);
        ticks.push((at, text));
    }
    ticks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UTC: Clock = Clock { zone: chrono_tz::UTC };

    #[test]
    fn awkward_values_give_a_range() {
        let unusable = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(Range::checked(unusable, false), Range { low: 0.0, high: 1.0 });
        assert_eq!(Range::checked([], true), Range { low: 0.0, high: 1.0 });
        assert_eq!(Range::checked([8.0, 8.0], false), Range { low: 0.0, high: 10.0 });
        assert_eq!(Range::checked([-8.0], false), Range { low: -10.0, high: 0.0 });
        assert_eq!(Range::checked([3.0, 9.0, f64::NAN], true), Range { low: 0.0, high: 9.0 });
    }

    #[test]
    fn value_ticks_are_round() {
        let axis = ValueAxis::over(Range { low: 0.0, high: 937.0 }, false);
        assert_eq!(axis.ticks, [0.0, 250.0, 500.0, 750.0, 1_000.0]);
        let few = ValueAxis::over(Range { low: 0.0, high: 2.0 }, true);
        assert_eq!(few.ticks, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn time_ticks_stand_on_round_local_times() {
        let noon = 1_705_320_000_000;
        let texts =
            |clock, from, to| time_ticks(from, to, 8, clock).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(UTC, noon - HOUR + MINUTE, noon), ["11:10", "11:20", "11:30", "11:40", "11:50", "12:00"]);
        assert_eq!(
            texts(UTC, noon - 24 * HOUR + 1, noon),
            ["15:00", "18:00", "21:00", "15 Jan", "03:00", "06:00", "09:00", "12:00"]
        );
        let kolkata = Clock { zone: chrono_tz::Asia::Kolkata };
        assert_eq!(texts(kolkata, noon, noon + HOUR).first().map(String::as_str), Some("17:30"));
    }

    proptest! {
        #[test]
        fn an_axis_covers_its_range(low in -1e18f64..1e18, width in 1e-6f64..1e18, whole in any::<bool>()) {
            let range = Range::checked([low, low + width], false);
            let axis = ValueAxis::over(range, whole);
            prop_assert!(axis.range.low <= range.low + range.high.abs() * 1e-9);
            prop_assert!(axis.range.high >= range.high - range.high.abs() * 1e-9);
            prop_assert!(axis.range.low < axis.range.high);
            prop_assert!(axis.ticks.len() <= MAX_TICKS + 1 && axis.ticks.iter().all(|tick| tick.is_finite()));
        }

        #[test]
        fn time_ticks_are_few_and_inside(from in -1i64 << 50..1 << 50, width in 0i64..1 << 48) {
            let zone = Clock { zone: chrono_tz::Asia::Beirut };
            let ticks = time_ticks(from, from + width, 8, zone);
            prop_assert!(ticks.len() <= MAX_TICKS + 1);
            prop_assert!(ticks.iter().all(|(at, _)| (from..=from + width).contains(at)));
        }
    }
}
