//! How event time passes: so many records to the second, evenly or with the rhythm of a day.

use std::time::{Duration, Instant};

use tillflow_dataflows::records::Millis;

use super::GenerateError;

/// The least and the greatest number of records per second that can be asked for.
pub(super) const RATES: std::ops::RangeInclusive<f64> = 0.001..=10_000_000.0;

/// The last instant that a record may carry: the end of the year 9999, less what a corrupt record is ahead by.
pub(super) const LAST_INSTANT: Millis = 253_370_764_800_000;

/// How busy each hour of the day (UTC) is, in thousandths of the day's mean: quiet nights, a peak at lunch and one in
/// the evening. Minutes in between are interpolated. The sum is 24,000.
const HOURS: [u32; 24] = [
    260, 160, 110, 90, 100, 180, 400, 740, 980, 1_090, 1_210, 1_500, 1_830, 1_560, 1_220, 1_160, 1_290, 1_640, 2_030,
    1_990, 1_740, 1_340, 880, 500,
];

const PICOS_PER_MILLI: u64 = 1_000_000_000;
const MILLIS_PER_MINUTE: Millis = 60_000;
const MINUTES_PER_DAY: Millis = 1_440;

/// How many records fall on a second of event time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The same at any time of day.
    Steady {
        /// Records per second.
        per_second: f64,
    },
    /// With quiet nights, a lunch peak and an evening peak (in UTC).
    Daily {
        /// Records per second, as the mean of a whole day.
        per_second: f64,
    },
}

impl Pace {
    /// Records per second, as the mean of a whole day.
    pub fn per_second(self) -> f64 {
        match self {
            Pace::Steady { per_second } | Pace::Daily { per_second } => per_second,
        }
    }

    pub(super) fn check(self) -> Result<(), GenerateError> {
        if RATES.contains(&self.per_second()) {
            return Ok(());
        }
        Err(GenerateError::Settings(format!(
            "a rate of {} records per second: it must be from {} to {}",
            self.per_second(),
            RATES.start(),
            RATES.end()
        )))
    }

    /// The start from which about `count` records end just before `end`, never after it.
    pub fn start_for(self, count: u64, end: Millis) -> Millis {
        let per_day = self.per_second() * 86_400.0;
        let days = (count as f64 / per_day).floor();
        let mut left = count as f64 - days * per_day;
        let mut start = end.saturating_sub((days * 86_400_000.0) as Millis);
        while left > 0.0 {
            let minute = start.saturating_sub(1).div_euclid(MILLIS_PER_MINUTE);
            let per_milli = self.per_second() * self.busyness(minute) / 1_000.0;
            let length = start - minute * MILLIS_PER_MINUTE;
            let held = per_milli * length as f64;
            if held >= left {
                start -= (left / per_milli).ceil() as Millis;
            } else {
                start = minute * MILLIS_PER_MINUTE;
            }
            left -= held;
        }
        // Steps are longer or shorter than their minute's share of a record: a second makes up for it, and so do
        // two of the longest steps where records are far apart.
        let longest_step = (1_000.0 / (self.per_second() * self.least_busyness())).ceil() as Millis;
        start.saturating_sub(1_000).saturating_sub(longest_step.saturating_mul(2))
    }

    /// How busy a minute (counted from 1970) is, the day's mean being 1.
    fn busyness(self, minute: Millis) -> f64 {
        match self {
            Pace::Steady { .. } => 1.0,
            Pace::Daily { .. } => {
                let minute = minute.rem_euclid(MINUTES_PER_DAY) as usize;
                let (hour, into) = (minute / 60, (minute % 60) as u32);
                f64::from(HOURS[hour] * (60 - into) + HOURS[(hour + 1) % 24] * into) / 60_000.0
            }
        }
    }

    fn least_busyness(self) -> f64 {
        match self {
            Pace::Steady { .. } => 1.0,
            Pace::Daily { .. } => f64::from(HOURS.into_iter().min().unwrap_or(1_000)) / 1_000.0,
        }
    }
}

/// The clock of the simulated chain: each record moves it on by one step.
pub(super) struct Clock {
    pace: Pace,
    now: Millis,
    /// What has passed since `now`.
    picos: u64,
    step: u64,
    /// The minute that `step` was computed for.
    minute: Millis,
}

impl Clock {
    pub(super) fn new(start: Millis, pace: Pace) -> Clock {
        let mut clock = Clock { pace, now: start, picos: 0, step: 0, minute: 0 };
        clock.set_pace(pace);
        clock
    }

    pub(super) fn now(&self) -> Millis {
        self.now
    }

    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.measure();
    }

    pub(super) fn advance(&mut self) {
        let picos = self.picos + self.step;
        self.now += (picos / PICOS_PER_MILLI) as Millis;
        self.picos = picos % PICOS_PER_MILLI;
        if self.now.div_euclid(MILLIS_PER_MINUTE) != self.minute {
            self.measure();
        }
    }

    fn measure(&mut self) {
        self.minute = self.now.div_euclid(MILLIS_PER_MINUTE);
        // Multiplication and division alone are the same on every machine.
        self.step = (1e12 / (self.pace.per_second() * self.pace.busyness(self.minute))) as u64;
    }
}

/// Holds event time to the wall clock: from its making on, as much of the one passes as of the other.
pub struct Throttle {
    from: Millis,
    begun: Instant,
    due: Millis,
}

impl Throttle {
    /// A throttle for a generator whose clock stands at `clock` now.
    pub fn new(clock: Millis) -> Throttle {
        Throttle { from: clock, begun: Instant::now(), due: clock }
    }

    /// How long to wait before the record at `clock` may go; nothing if it is due. A record that is overdue, because
    /// whoever takes the records was slow, is due at once: no record is left out.
    pub fn wait(&mut self, clock: Millis) -> Option<Duration> {
        if clock <= self.due {
            return None;
        }
        self.due = self.from.saturating_add(self.begun.elapsed().as_millis() as Millis);
        u64::try_from(clock - self.due).ok().filter(|wait| *wait > 0).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: Millis = 1_767_225_600_000;

    #[test]
    fn the_hours_average_to_one() {
        assert_eq!(HOURS.iter().sum::<u32>(), 24_000);
        let day: f64 = (0..MINUTES_PER_DAY).map(|minute| Pace::Daily { per_second: 1.0 }.busyness(minute)).sum();
        assert!((day / MINUTES_PER_DAY as f64 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_steady_clock_keeps_time_for_a_million_records() {
        for rate in [0.001, 3.0, 100.0, 300_000.0, 7_000_000.0] {
            let mut clock = Clock::new(MIDNIGHT, Pace::Steady { per_second: rate });
            let records = 1_000_000;
            (0..records).for_each(|_| clock.advance());
            let passed = (clock.now() - MIDNIGHT) as f64 / 1_000.0;
            let due = f64::from(records) / rate;
            assert!((passed - due).abs() <= due * 1e-4 + 0.001, "{rate}/s: {passed} s instead of {due} s");
        }
    }

    #[test]
    fn a_daily_clock_gives_the_mean_over_a_day_and_less_at_night() {
        let mut clock = Clock::new(MIDNIGHT, Pace::Daily { per_second: 2.0 });
        let mut hours = [0; 24];
        while clock.now() < MIDNIGHT + 86_400_000 {
            hours[((clock.now() - MIDNIGHT) / 3_600_000) as usize] += 1;
            clock.advance();
        }
        let total: i32 = hours.iter().sum();
        assert!((total - 172_800).abs() < 200, "{total}");
        assert!(hours[3] * 10 < hours[12] && hours[15] < hours[12] && hours[15] < hours[18], "{hours:?}");
    }

    #[test]
    fn a_computed_start_ends_just_before_the_end() {
        let end = MIDNIGHT + 45_296_789;
        for pace in
            [Pace::Steady { per_second: 40.0 }, Pace::Daily { per_second: 0.3 }, Pace::Daily { per_second: 200.0 }]
        {
            for count in [1, 1_000, 100_000] {
                let mut clock = Clock::new(pace.start_for(count, end), pace);
                (0..count).for_each(|_| clock.advance());
                assert!(clock.now() <= end, "{pace:?} {count}: {} ms too late", clock.now() - end);
                assert!(end - clock.now() < 120_000 + 100_000_000 / (pace.per_second() * 1_000.0) as i64);
            }
        }
    }

    #[test]
    fn a_throttle_lets_the_past_go_and_holds_the_future() {
        let mut throttle = Throttle::new(1_000);
        assert_eq!(throttle.wait(1_000), None);
        let wait = throttle.wait(61_000).expect("a minute ahead");
        assert!(wait <= Duration::from_secs(60) && wait > Duration::from_secs(50), "{wait:?}");
    }
}
