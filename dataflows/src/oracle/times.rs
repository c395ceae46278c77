//! Windows, live ranges and finality, each by its definition.

use super::Facts;
use crate::records::{Millis, Topic};
use crate::time::{Granularity, LiveRange, Window};

fn length(granularity: Granularity) -> Millis {
    match granularity {
        Granularity::Minute => 60 * 1_000,
        Granularity::Hour => 60 * 60 * 1_000,
        Granularity::Day => 24 * 60 * 60 * 1_000,
    }
}

/// The window that holds `instant`.
pub(super) fn window(granularity: Granularity, instant: Millis) -> Window {
    let length = length(granularity);
    Window { granularity, start: instant.div_euclid(length) * length }
}

/// The greatest partition clock over all topics.
pub(super) fn as_of(facts: &Facts) -> Option<Millis> {
    facts.clocks.values().flatten().copied().max()
}

/// Whether an event at `instant` is in the range that ends with the bucket of `as_of`.
pub(super) fn is_live(range: LiveRange, instant: Millis, as_of: Millis) -> bool {
    let (granularity, buckets) = match range {
        LiveRange::LastHour => (Granularity::Minute, 60),
        LiveRange::Last24Hours => (Granularity::Hour, 24),
    };
    let bucket = |instant: Millis| instant.div_euclid(length(granularity));
    let age = bucket(as_of) - bucket(instant);
    (0..buckets).contains(&age)
}

/// Whether no record of `topic` can change the window any more: every partition that has given a record has a
/// clock at or after the window's end plus the correction window.
pub(super) fn is_final(facts: &Facts, topic: Topic, window: Window, correction_window: Millis) -> bool {
    let end = window.start + length(window.granularity);
    let mut partitions = facts.clocks.iter().filter(|((of, _), _)| *of == topic);
    partitions.all(|(_, clock)| clock.is_some_and(|clock| clock >= end + correction_window))
}
