//! The times that views depend on, computed from the partition clocks and nothing else.

use differential_dataflow::VecCollection;

use crate::inputs::PartitionClock;
use crate::operators::FinalBefore;
use crate::records::{Millis, Topic};
use crate::time::{Diff, Granularity, HOUR, LiveRange, Tick, WEEK_HOURS, Window};

/// The greatest partition clock over all topics; empty before the first accepted record. Never goes back.
pub fn as_of<'scope>(
    clocks: VecCollection<'scope, Tick, PartitionClock, Diff>,
) -> VecCollection<'scope, Tick, Millis, Diff> {
    clocks
        .flat_map(|partition| partition.clock.map(|clock| ((), clock)))
        .reduce_named("As of", |(), clocks, output| {
            if let Some((latest, _)) = clocks.last() {
                output.push((**latest, 1));
            }
        })
        .map(|((), latest)| latest)
}

/// `as_of` cut to its window of that length, which moves when the next one begins: what live ranges depend on.
pub fn cut<'scope>(
    as_of: VecCollection<'scope, Tick, Millis, Diff>,
    granularity: Granularity,
) -> VecCollection<'scope, Tick, Millis, Diff> {
    as_of
        .map(move |instant| ((), granularity.start(instant)))
        .reduce_named(&format!("As of: {}", granularity.name()), |(), starts, output| output.push((*starts[0].0, 1)))
        .map(|((), start)| start)
}

/// The 168 hours that end with `as_of`'s.
pub fn week_windows<'scope>(
    as_of_hour: VecCollection<'scope, Tick, Millis, Diff>,
) -> VecCollection<'scope, Tick, Window, Diff> {
    as_of_hour.flat_map(|hour| {
        (0..WEEK_HOURS).map(move |back| Window { granularity: Granularity::Hour, start: hour - back * HOUR })
    })
}

/// For each partition of `sales` that has a clock the instant before which none of its sales can be taken back.
pub type SettledBefore = Vec<(i32, Millis)>;

/// For each partition of `sales` that has a clock the instant before which its rows cannot be corrected or cancelled
/// any more: its clock less the correction window, cut to its minute so that it moves once a minute.
pub fn settled_before<'scope>(
    clocks: VecCollection<'scope, Tick, PartitionClock, Diff>,
    correction_window: Millis,
) -> VecCollection<'scope, Tick, SettledBefore, Diff> {
    clocks
        .flat_map(move |PartitionClock { place: (topic, partition), clock, .. }| {
            let clock = clock.filter(|_| topic == Topic::Sales)?;
            Some(((), (partition, Granularity::Minute.start(clock - correction_window))))
        })
        .reduce_named("Settled: sales", |(), partitions, output| {
            output.push((partitions.iter().map(|(partition, _)| **partition).collect(), 1));
        })
        .map(|((), partitions)| partitions)
}

/// The windows that the sliding metrics are made of.
pub fn live_windows<'scope>(
    as_of_minute: VecCollection<'scope, Tick, Millis, Diff>,
) -> VecCollection<'scope, Tick, Window, Diff> {
    as_of_minute.flat_map(|minute| LiveRange::ALL.into_iter().flat_map(move |range| range.windows(minute)))
}

/// The instant before which no record of `topics` can change a window any more: the least clock of their
/// partitions less the correction window, cut to its minute (every window ends at a whole minute). A partition
/// that has given a record but has no clock yet holds everything open; one that is gone holds nothing.
pub fn final_before<'scope>(
    clocks: VecCollection<'scope, Tick, PartitionClock, Diff>,
    topics: &'static [Topic],
    correction_window: Millis,
    name: &str,
) -> VecCollection<'scope, Tick, FinalBefore, Diff> {
    clocks
        .filter(move |partition| topics.contains(&partition.place.0) && !partition.is_gone)
        .map(|partition| ((), partition.clock))
        .reduce_named(name, move |(), clocks, output| {
            let least = clocks[0].0.map(|clock| Granularity::Minute.start(clock - correction_window));
            output.push((least, 1));
        })
        .map(|((), least)| least)
}
