//! `publish` and `sweep` by themselves, with inputs that run ahead of each other as no engine would let them.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use differential_dataflow::AsCollection;
use differential_dataflow::input::InputSession;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use support::{Alarm, finish};
use tillflow_dataflows::operators::{Dating, FinalBefore, Reach, publish, sweep};
use tillflow_dataflows::outputs::{RollupKey, View};
use tillflow_dataflows::records::{Millis, Text};
use tillflow_dataflows::time::{Diff, Granularity, HOUR, LiveRange, MINUTE, Tick, Window};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{ConnectLoop, Feedback};
use timely::progress::Antichain;

fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/operators.regressions"
        )))),
        max_shrink_iters: 2_000,
        ..ProptestConfig::with_cases(cases)
    }
}

/// What is told in one tick, and how far each input is behind the script when the graph works.
#[derive(Clone, Debug)]
struct Script<A, B> {
    first: Vec<Vec<A>>,
    second: Vec<Option<B>>,
    first_lag: usize,
    second_lag: usize,
    /// The distance of two ticks.
    stride: Tick,
    /// Every how many ticks the graph works.
    work: usize,
}

impl<A, B> Script<A, B> {
    fn ticks(&self) -> usize {
        self.first.len().max(self.second.len())
    }

    fn tick(&self, n: usize) -> Tick {
        (n as Tick + 1) * self.stride
    }
}

fn script<A: std::fmt::Debug + Clone, B: std::fmt::Debug + Clone>(
    first: impl Strategy<Value = A>,
    second: impl Strategy<Value = B>,
) -> impl Strategy<Value = Script<A, B>> {
    let first = proptest::collection::vec(proptest::collection::vec(first, 0..4), 1..25);
    let second = proptest::collection::vec(proptest::option::weighted(0.4, second), 1..25);
    let stride = prop_oneof![Just(1), Just(3), Just(17_000_000_000)];
    (first, second, 0usize..6, 0usize..6, stride, 1usize..5).prop_map(
        |(first, second, first_lag, second_lag, stride, work)| Script {
            first,
            second,
            first_lag,
            second_lag,
            stride,
            work,
        },
    )
}

/// Tells a script to two inputs, the second from worker 0 alone, and ends the graph.
fn tell<A: Clone, B, D, R>(
    worker: &mut timely::worker::Worker,
    script: &Script<A, B>,
    mut first: InputSession<Tick, D, R>,
    mut second: InputSession<Tick, B, Diff>,
    mut update: impl FnMut(&mut InputSession<Tick, D, R>, A),
    failed: &AtomicBool,
) where
    D: differential_dataflow::ExchangeData,
    R: differential_dataflow::ExchangeData + differential_dataflow::difference::Semigroup,
    B: differential_dataflow::ExchangeData + Copy,
{
    let mut in_force: Option<B> = None;
    for turn in 0..script.ticks() + 6 {
        if let Some(n) = turn.checked_sub(script.first_lag)
            && n < script.ticks()
        {
            first.advance_to(script.tick(n));
            for (index, given) in script.first.get(n).into_iter().flatten().enumerate() {
                if index % worker.peers() == worker.index() {
                    update(&mut first, given.clone());
                }
            }
            first.advance_to(script.tick(n) + 1);
        }
        if let Some(n) = turn.checked_sub(script.second_lag)
            && n < script.ticks()
        {
            second.advance_to(script.tick(n));
            if let Some(Some(value)) = script.second.get(n)
                && worker.index() == 0
            {
                if let Some(old) = in_force.replace(*value) {
                    second.update(old, -1);
                }
                second.update(*value, 1);
            }
            second.advance_to(script.tick(n) + 1);
        }
        first.flush();
        second.flush();
        if turn % script.work == 0 {
            worker.step();
            worker.step();
        }
    }
    drop((first, second));
    finish(worker, failed);
}

type Published = (RollupKey, i64, bool);

fn run_publish(
    script: &Script<(RollupKey, i64), FinalBefore>,
    dating: Dating,
    workers: usize,
) -> Vec<(Published, Tick, Diff)> {
    let script = Arc::new(script.clone());
    let failed = Arc::new(AtomicBool::new(false));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let alarm = Alarm(failed.clone());
        let mut rollups: InputSession<Tick, RollupKey, i64> = InputSession::new();
        let mut final_before: InputSession<Tick, FinalBefore, Diff> = InputSession::new();
        let (sender, receiver) = std::sync::mpsc::channel();
        worker.dataflow::<Tick, _, _>(|scope| {
            let rollups = rollups.to_collection(scope).arrange_by_self_named("Rollups");
            let final_before = final_before.to_collection(scope);
            let mut open = Antichain::from_elem(0);
            publish(rollups, final_before, dating, "Publish").inner.sink(
                Pipeline,
                "Capture",
                move |(input, frontier)| {
                    input.for_each(|_, data| {
                        for update in data.drain(..) {
                            assert!(open.less_equal(&update.1), "{update:?}, but only {open:?} is open");
                            sender.send(update).expect("the receiver outlives the graph");
                        }
                    });
                    open = frontier.frontier().to_owned();
                },
            );
        });
        let update = |input: &mut InputSession<_, _, _>, (key, change)| input.update(key, change);
        tell(worker, &script, rollups, final_before, update, &alarm.0);
        receiver.try_iter().collect::<Vec<_>>()
    })
    .expect("workers start");
    guards.join().into_iter().flat_map(|result| result.expect("no worker fails")).collect()
}

fn rollup_key() -> impl Strategy<Value = RollupKey> {
    let window = prop_oneof![
        (0..4i64).prop_map(|n| Window { granularity: Granularity::Minute, start: n * MINUTE }),
        prop_oneof![0..3i64, 23..26i64].prop_map(|n| Window { granularity: Granularity::Hour, start: n * HOUR }),
        (0..2i64).prop_map(|n| Window { granularity: Granularity::Day, start: n * 24 * HOUR }),
    ];
    let view = prop_oneof![Just(View::SalesTotal), Just(View::ActiveUsers)];
    let key = prop_oneof![Just(Text::default()), Just("\u{10ffff}".into())];
    (window, view, key).prop_map(|(window, view, key)| RollupKey { window, view, key })
}

fn final_before() -> impl Strategy<Value = FinalBefore> {
    proptest::option::weighted(
        0.85,
        prop_oneof![
            (-1..6i64).prop_map(|n| n * MINUTE),
            (0..4i64).prop_map(|n| n * HOUR),
            Just(23 * HOUR + 59 * MINUTE),
            Just(24 * HOUR),
            Just(48 * HOUR),
        ],
    )
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn published_rows_are_the_sums_and_their_finality_at_every_tick(
        script in script((rollup_key(), prop_oneof![Just(1i64), Just(-1), Just(2), Just(-2)]), final_before()),
    ) {
        for (dating, workers) in [(Dating::Event, 1), (Dating::Event, 2), (Dating::Session, 1), (Dating::Session, 2)] {
            let settled = |window: Window| match dating {
                Dating::Event => window.end(),
                Dating::Session => window.start.div_euclid(24 * HOUR) * 24 * HOUR + 24 * HOUR,
            };
            let mut by_tick: BTreeMap<Tick, Vec<(Published, Diff)>> = BTreeMap::new();
            for (row, tick, change) in run_publish(&script, dating, workers) {
                by_tick.entry(tick).or_default().push((row, change));
            }
            let mut rows: BTreeMap<Published, Diff> = BTreeMap::new();
            let mut sums: BTreeMap<RollupKey, i64> = BTreeMap::new();
            let mut before: FinalBefore = None;
            for n in 0..script.ticks() {
                for (key, change) in script.first.get(n).into_iter().flatten() {
                    *sums.entry(key.clone()).or_default() += change;
                }
                if let Some(Some(moved)) = script.second.get(n) {
                    before = *moved;
                }
                let updates = by_tick.remove(&script.tick(n)).unwrap_or_default();
                let needless = updates.len();
                for (row, change) in updates {
                    *rows.entry(row).or_default() += change;
                }
                rows.retain(|_, count| *count != 0);
                let expected: BTreeMap<Published, Diff> = sums
                    .iter()
                    .filter(|(_, sum)| **sum != 0)
                    .map(|(key, sum)| {
                        ((key.clone(), *sum, before.is_some_and(|before| settled(key.window) <= before)), 1)
                    })
                    .collect();
                prop_assert_eq!(&rows, &expected, "tick {}, {:?}, {} workers", n, dating, workers);
                prop_assert!(needless <= 2 * sums.len());
            }
            prop_assert!(by_tick.is_empty(), "updates at ticks that are none: {:?}", by_tick);
        }
    }
}

/// What the sweep keeps: the live ranges.
const REACH: Reach = &[(Granularity::Minute, 60), (Granularity::Hour, 24)];

type Bucketed = ((Window, Text), i64);

fn run_sweep(script: &Script<Bucketed, Millis>, workers: usize) -> Vec<((Window, Text), Tick, i64)> {
    let script = Arc::new(script.clone());
    let failed = Arc::new(AtomicBool::new(false));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let alarm = Alarm(failed.clone());
        let mut buckets: InputSession<Tick, (Window, Text), i64> = InputSession::new();
        let mut as_of: InputSession<Tick, Millis, Diff> = InputSession::new();
        let (sender, receiver) = std::sync::mpsc::channel();
        worker.dataflow::<Tick, _, _>(|scope| {
            let (dead, swept) = scope.feedback(1);
            let buckets = buckets.to_collection(scope).concat(swept.as_collection()).arrange_by_key_named("Buckets");
            let as_of = as_of.to_collection(scope);
            sweep(buckets.clone(), as_of, REACH, "Sweep").inner.connect_loop(dead);
            buckets
                .as_collection(|window, value: &Text| (*window, value.clone()))
                .inspect(move |update| sender.send(update.clone()).expect("the receiver outlives the graph"));
        });
        let update = |input: &mut InputSession<_, _, _>, (key, change)| input.update(key, change);
        tell(worker, &script, buckets, as_of, update, &alarm.0);
        receiver.try_iter().collect::<Vec<_>>()
    })
    .expect("workers start");
    guards.join().into_iter().flat_map(|result| result.expect("no worker fails")).collect()
}

fn bucket() -> impl Strategy<Value = (Window, Text)> {
    let window = prop_oneof![
        (0..200i64).prop_map(|n| Window { granularity: Granularity::Minute, start: n * MINUTE }),
        (0..40i64).prop_map(|n| Window { granularity: Granularity::Hour, start: n * HOUR }),
    ];
    (window, prop_oneof![Just(Text::from("p")), Just(Text::from("q"))])
}

fn is_live(window: &Window, as_of: Millis) -> bool {
    LiveRange::of(window.granularity).is_some_and(|range| range.windows(as_of).next().is_some_and(|w| w <= *window))
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn a_sweep_takes_what_is_dead_and_nothing_else(
        script in script((bucket(), prop_oneof![Just(1i64), Just(-1), Just(2)]), 0..40 * 60i64),
    ) {
        // `as_of` never goes back.
        let mut script = script;
        let mut latest = 0;
        for moved in script.second.iter_mut().flatten() {
            latest = latest.max(*moved * MINUTE);
            *moved = latest;
        }
        for workers in [1, 2] {
            let mut updates = run_sweep(&script, workers);
            updates.sort_by_key(|(_, tick, _)| *tick);
            let mut updates = updates.into_iter().peekable();
            let mut found: BTreeMap<(Window, Text), i64> = BTreeMap::new();
            let mut told: BTreeMap<(Window, Text), i64> = BTreeMap::new();
            let mut as_of = None;
            for n in 0..script.ticks() {
                for (key, change) in script.first.get(n).into_iter().flatten() {
                    *told.entry(key.clone()).or_default() += change;
                }
                if let Some(Some(moved)) = script.second.get(n) {
                    as_of = Some(*moved);
                }
                while let Some((key, _, change)) = updates.next_if(|(_, tick, _)| *tick <= script.tick(n)) {
                    *found.entry(key).or_default() += change;
                }
                let live = |rows: &BTreeMap<(Window, Text), i64>| -> BTreeMap<(Window, Text), i64> {
                    let rows = rows.iter().filter(|((window, _), sum)| {
                        **sum != 0 && as_of.is_none_or(|as_of| is_live(window, as_of))
                    });
                    rows.map(|(key, sum)| (key.clone(), *sum)).collect()
                };
                prop_assert_eq!(live(&found), live(&told), "tick {}, {} workers", n, workers);
            }
            // In the end nothing is left of what is dead.
            for (key, _, change) in updates {
                *found.entry(key).or_default() += change;
            }
            if let Some(as_of) = as_of {
                found.retain(|(window, _), sum| *sum != 0 && !is_live(window, as_of));
                prop_assert!(found.is_empty(), "left at the end: {:?}", found);
            }
        }
    }
}
