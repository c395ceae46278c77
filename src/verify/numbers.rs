//! Times and quotients as documents have them.

use chrono::{DateTime, SecondsFormat};
use tillflow_dataflows::records::Millis;

pub(super) const MINUTE: Millis = 60_000;
pub(super) const HOUR: Millis = 60 * MINUTE;
pub(super) const DAY: Millis = 24 * HOUR;

/// The start of the window of this width that holds an instant.
pub(super) const fn start_of(at: Millis, width: Millis) -> Millis {
    at - at.rem_euclid(width)
}

/// What a granularity of this width is called.
pub(super) const fn granularity(width: Millis) -> &'static str {
    match width {
        MINUTE => "minute",
        HOUR => "hour",
        _ => "day",
    }
}

/// A window's start as an `_id` has it: `2024-01-15T10:00:00Z`.
pub(super) fn instant(at: Millis) -> String {
    // Event times are from 1970 to 9999.
    DateTime::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `dividend / divisor` as the nearest integer, a tie to the even one. The divisor is above zero.
pub(super) fn half_even(dividend: i128, divisor: i128) -> i128 {
    let below = dividend.div_euclid(divisor);
    let rest = dividend.rem_euclid(divisor);
    let up = 2 * rest > divisor || (2 * rest == divisor && below.rem_euclid(2) == 1);
    below + i128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_goes_to_the_even_neighbour() {
        let cases = [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (-5, 2, -2), (7, 3, 2), (-7, 3, -2)];
        for (dividend, divisor, quotient) in cases {
            assert_eq!(half_even(dividend, divisor), quotient, "{dividend} / {divisor}");
        }
    }

    #[test]
    fn windows_are_named_by_their_start() {
        assert_eq!(instant(start_of(1_705_314_645_678, HOUR)), "2024-01-15T10:00:00Z");
        assert_eq!(granularity(DAY), "day");
    }
}
