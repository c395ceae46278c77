//! The command `generate`: records at their time, to where they go, until there are enough or it is told to stop.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tillflow_dataflows::records::{Millis, Topic};

use super::GenerateError;
use super::args::{GenerateArgs, Target};
use super::generator::{GeneratedRecord, Generator, GeneratorOptions, Kind};
use super::kafka::{KafkaOptions, KafkaSink};
use super::ndjson::NdjsonSink;
use super::pace::{Pace, Throttle};

/// The records of a run that goes as fast as it can, unless told how many.
const DEFAULT_COUNT: u64 = 100_000;

/// The longest time between two looks at whether to stop, and between two calls of `progress`.
const ATTENTION: Duration = Duration::from_millis(100);

/// How many records may pass between two looks at the wall clock.
const LOOK_EVERY: u64 = 1_024;

/// What a run has made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records that were sent or written.
    pub records: u64,
    /// The same, by topic.
    pub by_topic: BTreeMap<Topic, u64>,
    /// The same, by kind.
    pub by_kind: BTreeMap<Kind, u64>,
    /// Records that were made, but that a plain line cannot hold.
    pub left_out: u64,
    /// The clock at the first record and after the last.
    pub span: Option<(Millis, Millis)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    fn count(&mut self, record: &GeneratedRecord) {
        self.records += 1;
        *self.by_topic.entry(record.topic).or_default() += 1;
        *self.by_kind.entry(record.kind).or_default() += 1;
    }

    /// How many records a kind has, all reasons of corruption being one.
    fn kind(&self, wanted: impl Fn(&Kind) -> bool) -> u64 {
        self.by_kind.iter().filter(|(kind, _)| wanted(kind)).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records in {:.1} s", self.records, self.elapsed.as_secs_f64())?;
        let mut before = ": ";
        for topic in Topic::ALL {
            write!(f, "{before}{} {}", topic.name(), self.by_topic.get(&topic).unwrap_or(&0))?;
            before = ", ";
        }
        before = "; among them ";
        for (count, name) in [
            (self.kind(|kind| *kind == Kind::Duplicate), "duplicates"),
            (self.kind(|kind| *kind == Kind::Correction), "corrections"),
            (self.kind(|kind| *kind == Kind::Cancellation), "cancellations"),
            (self.kind(|kind| *kind == Kind::Late), "late"),
            (self.kind(|kind| matches!(kind, Kind::Corrupt(_))), "corrupt"),
        ] {
            write!(f, "{before}{count} {name}")?;
            before = ", ";
        }
        if self.left_out > 0 {
            write!(
                f,
                "; {} more were left out, because plain lines cannot hold tombstones and dates to come (--envelope can)",
                self.left_out
            )?;
        }
        Ok(())
    }
}

enum Sink {
    Kafka(Box<KafkaSink>),
    Ndjson(NdjsonSink),
}

impl Sink {
    /// Takes a record; false if it is left out, or not sent because of `stop`.
    fn write(&mut self, record: &GeneratedRecord, stop: &AtomicBool) -> Result<bool, GenerateError> {
        match self {
            Sink::Kafka(sink) => sink.write(record, || !stop.load(Ordering::Relaxed)),
            Sink::Ndjson(sink) => sink.write(record),
        }
    }

    /// What there is to do while no record is due.
    fn idle(&mut self) -> Result<(), GenerateError> {
        match self {
            Sink::Kafka(sink) => sink.poll(Duration::ZERO),
            Sink::Ndjson(sink) => sink.flush(),
        }
    }

    fn finish(self, stop: &AtomicBool) -> Result<(), GenerateError> {
        match self {
            Sink::Kafka(sink) => sink.finish(|| stop.load(Ordering::Relaxed)),
            Sink::Ndjson(mut sink) => sink.flush(),
        }
    }
}

/// Generates what `args` ask for, until there are enough records or `stop` is set; then everything that was made is
/// where it belongs when this returns. `progress` is told the number of records about ten times a second.
pub fn run(
    args: &GenerateArgs,
    kafka: &KafkaOptions,
    stop: &AtomicBool,
    mut progress: impl FnMut(u64),
) -> Result<Summary, GenerateError> {
    let live = args.rate > 0.0;
    let pace = if live { Pace::Steady { per_second: args.rate } } else { Pace::Daily { per_second: args.density } };
    // Before start_for, which walks through the days that a pace needs.
    pace.check()?;
    let count = args.count.unwrap_or(if live { u64::MAX } else { DEFAULT_COUNT });
    let start = args.start.unwrap_or_else(|| if live { now() } else { pace.start_for(count, now()) });
    let options = GeneratorOptions { seed: args.seed, start, pace, stocked_for: None, shares: args.shares() };
    let mut generator = Generator::new(options)?;
    let mut sink = match &args.to {
        Target::Kafka if args.envelope => {
            return Err(GenerateError::Settings("--envelope goes with --to ndjson:DIR only".to_owned()));
        }
        Target::Kafka => Sink::Kafka(Box::new(KafkaSink::connect(kafka)?)),
        Target::Ndjson(folder) => Sink::Ndjson(NdjsonSink::create(folder, args.envelope)?),
    };

    let begun = Instant::now();
    let mut told = begun;
    let mut summary = Summary::default();
    let mut throttle = live.then(|| Throttle::new(start));
    for made in 0..count {
        if let Some(throttle) = &mut throttle {
            while !stop.load(Ordering::Relaxed)
                && let Some(wait) = throttle.wait(generator.clock())
            {
                sink.idle()?;
                thread::sleep(wait.min(ATTENTION));
                tell(&mut progress, &mut told, summary.records);
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if made % LOOK_EVERY == 0 {
            tell(&mut progress, &mut told, summary.records);
        }
        let Some(record) = generator.next() else { break };
        if sink.write(&record, stop)? {
            summary.count(&record);
        } else if matches!(sink, Sink::Ndjson(_)) {
            summary.left_out += 1;
        }
    }
    sink.finish(stop)?;
    progress(summary.records);
    summary.span = Some((start, generator.clock()));
    summary.elapsed = begun.elapsed();
    Ok(summary)
}

fn tell(progress: &mut impl FnMut(u64), told: &mut Instant, records: u64) {
    if told.elapsed() >= ATTENTION {
        *told = Instant::now();
        progress(records);
    }
}

/// The wall clock.
fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}
