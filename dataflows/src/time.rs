//! Times: the epoch that orders changes, and the windows that event times fall into.

use serde::{Deserialize, Serialize};

use crate::records::Millis;

/// The differential timestamp: one tick of a worker's reading. Totally ordered; means nothing outside.
pub type Tick = u64;

/// The difference type of collections that are sets of rows.
pub type Diff = i64;

/// One minute, in milliseconds.
pub const MINUTE: Millis = 60_000;
/// One hour, in milliseconds.
pub const HOUR: Millis = 60 * MINUTE;
/// One day, in milliseconds.
pub const DAY: Millis = 24 * HOUR;

/// The length of a window. Windows are UTC and begin at whole multiples of their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Granularity {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
}

impl Granularity {
    /// Every granularity, finest first.
    pub const ALL: [Granularity; 3] = [Granularity::Minute, Granularity::Hour, Granularity::Day];

    /// The window's length.
    pub const fn length(self) -> Millis {
        match self {
            Granularity::Minute => MINUTE,
            Granularity::Hour => HOUR,
            Granularity::Day => DAY,
        }
    }

    /// The start of the window that holds `instant`.
    pub const fn start(self, instant: Millis) -> Millis {
        instant - instant.rem_euclid(self.length())
    }

    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Granularity::Minute => "minute",
            Granularity::Hour => "hour",
            Granularity::Day => "day",
        }
    }

    /// The granularity of that name.
    pub fn from_name(name: &str) -> Option<Granularity> {
        Granularity::ALL.into_iter().find(|granularity| granularity.name() == name)
    }
}

/// A window: its length and its start. Ordered by length first, so that the windows of one length that begin in
/// a span of time are a range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// How long.
    pub granularity: Granularity,
    /// From when.
    pub start: Millis,
}

impl Window {
    /// The window of that length which holds `instant`.
    pub const fn of(granularity: Granularity, instant: Millis) -> Window {
        Window { granularity, start: granularity.start(instant) }
    }

    /// The first instant after the window.
    pub const fn end(self) -> Millis {
        self.start + self.granularity.length()
    }
}

/// The hour buckets that a week's sales are counted in.
pub const WEEK_HOURS: i64 = 168;

/// The sliding ranges of the metrics: whole buckets that end with the one which holds `as_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LiveRange {
    /// 60 minute buckets.
    LastHour,
    /// 24 hour buckets.
    Last24Hours,
}

impl LiveRange {
    /// Every range.
    pub const ALL: [LiveRange; 2] = [LiveRange::LastHour, LiveRange::Last24Hours];

    /// The length of the buckets it is made of.
    pub const fn granularity(self) -> Granularity {
        match self {
            LiveRange::LastHour => Granularity::Minute,
            LiveRange::Last24Hours => Granularity::Hour,
        }
    }

    /// How many buckets.
    pub const fn buckets(self) -> i64 {
        match self {
            LiveRange::LastHour => 60,
            LiveRange::Last24Hours => 24,
        }
    }

    /// The range whose buckets have that length, if there is one.
    pub const fn of(granularity: Granularity) -> Option<LiveRange> {
        match granularity {
            Granularity::Minute => Some(LiveRange::LastHour),
            Granularity::Hour => Some(LiveRange::Last24Hours),
            Granularity::Day => None,
        }
    }

    /// The first bucket's start when the range ends with the bucket that holds `as_of`.
    pub const fn first(self, as_of: Millis) -> Millis {
        let granularity = self.granularity();
        granularity.start(as_of) - (self.buckets() - 1) * granularity.length()
    }

    /// Its buckets when it ends with the one that holds `as_of`.
    pub fn windows(self, as_of: Millis) -> impl Iterator<Item = Window> {
        let first = self.first(as_of);
        let granularity = self.granularity();
        (0..self.buckets()).map(move |n| Window { granularity, start: first + n * granularity.length() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_starts_at_a_multiple_of_its_length_before_1970_too() {
        assert_eq!(Granularity::Hour.start(-1), -HOUR);
        assert_eq!(Granularity::Day.start(DAY), DAY);
        assert_eq!(Window::of(Granularity::Minute, 61_000).end(), 2 * MINUTE);
    }

    #[test]
    fn the_last_hour_ends_with_the_minute_of_as_of() {
        let windows: Vec<_> = LiveRange::LastHour.windows(10 * HOUR + 1).collect();
        assert_eq!(windows.len(), 60);
        assert_eq!(windows[59].start, 10 * HOUR);
        assert_eq!(windows[0].start, 9 * HOUR + MINUTE);
    }
}
