//! Each view alone, and all of them, with admission before them, over what `tillflow generate` sends: 70 % activity,
//! 25 % sales, 5 % inventory.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use tillflow::codec::{Decoder, Record};
use tillflow::generate::{GeneratedRecord, Generator, GeneratorOptions, Pace};
use tillflow_dataflows::admission::{Partition, Reading};
use tillflow_dataflows::assembly::Settings;
use tillflow_dataflows::measures::QualityMeasures;
use tillflow_dataflows::outputs::Selection;
use tillflow_dataflows::records::{Millis, Reason, Topic};
use timely::worker::Worker;

use crate::support::sessions::Sessions;
use crate::{EPOCH, SETTINGS, START};

const RECORDS: usize = 500_000;
/// Records a second of event time: the log is of 42 minutes.
const DENSITY: f64 = 200.0;

/// A record that was read.
struct Given {
    topic: Topic,
    key: Option<Vec<u8>>,
    timestamp: Millis,
    record: Option<Result<Record, Reason>>,
}

impl Given {
    fn reading(&self) -> Reading<'_> {
        match &self.record {
            Some(Ok(record)) => record.into(),
            Some(Err(reason)) => Reading::Unreadable(*reason),
            None => Reading::Tombstone(self.key.as_deref()),
        }
    }
}

/// A history of a shop chain, one partition a topic.
pub struct Shop {
    records: Vec<Given>,
}

impl Shop {
    pub fn open() -> Shop {
        let options = GeneratorOptions::new(1, START, Pace::Steady { per_second: DENSITY });
        let decoder = Decoder::new(chrono_tz::Tz::UTC);
        let records = Generator::new(options).expect("options").take(RECORDS).map(|generated| {
            let GeneratedRecord { topic, key, value, timestamp, .. } = generated;
            let read = |value: &[u8]| decoder.decode(topic, value).map_err(|rejection| rejection.reason);
            Given { topic, key, timestamp, record: value.as_deref().map(read) }
        });
        Shop { records: records.collect() }
    }

    fn of_topic(&self, topic: Topic) -> impl Iterator<Item = &Given> {
        self.records.iter().filter(move |given| given.topic == topic)
    }

    /// Gives everything to the graph of the only worker, through admission. Returns what that remembers then.
    pub fn replay(&self, sessions: &mut Sessions, worker: &mut Worker) -> Vec<Partition> {
        let mut partitions: Vec<Partition> =
            Topic::ALL.into_iter().map(|topic| Partition::new(topic, 0, SETTINGS)).collect();
        let mut offset = 0;
        for records in self.records.chunks(EPOCH) {
            let mut outcomes = QualityMeasures::default();
            for given in records {
                let partition = &mut partitions[given.topic as usize];
                let reading = given.reading();
                let decision = partition.admit(reading, offset, Some(given.timestamp), &mut |fact| sessions.give(fact));
                outcomes.outcomes[decision.outcome as usize] += 1;
                offset += 1;
            }
            for (topic, partition) in Topic::ALL.into_iter().zip(&mut partitions) {
                partition.recycle();
                sessions.tell((topic, 0), partition.clock());
            }
            sessions.count(outcomes);
            sessions.end(worker);
        }
        partitions
    }
}

fn measure(shop: &Arc<Shop>, selection: Selection) -> Duration {
    let shop = Arc::clone(shop);
    let settings = Settings { selection, ..Settings::new(SETTINGS.correction_window) };
    timely::execute_directly(move |worker| {
        let mut sessions = Sessions::build(worker, &settings);
        sessions.begin();
        let start = Instant::now();
        shop.replay(&mut sessions, worker);
        start.elapsed()
    })
}

/// What it takes to decide about the records of each topic, corrections, tombstones and all.
pub fn admission(criterion: &mut Criterion, shop: &Shop) {
    let mut group = criterion.benchmark_group("admission");
    for topic in Topic::ALL {
        group.throughput(Throughput::Elements(shop.of_topic(topic).count() as u64));
        group.sample_size(10).bench_function(topic.name(), |bencher| {
            bencher.iter(|| {
                let mut partition = Partition::new(topic, 0, SETTINGS);
                for (offset, given) in (0..).zip(shop.of_topic(topic)) {
                    partition.admit(given.reading(), offset, Some(given.timestamp), &mut |fact| drop(black_box(fact)));
                }
                partition
            });
        });
    }
    group.finish();
}

pub fn views(criterion: &mut Criterion, shop: &Arc<Shop>) {
    let mut group = criterion.benchmark_group("view");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(RECORDS as u64));
    let mut row = |name: &str, selection: Selection| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| (0..iterations).map(|_| measure(shop, selection.clone())).sum());
        });
    };
    row("all", Selection::all());
    row("none", Selection::of([]).expect("no names"));
    for name in Selection::names() {
        row(name, Selection::of([name]).expect("a view"));
    }
    group.finish();
}
