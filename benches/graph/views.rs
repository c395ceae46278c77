//! Each view alone, and all of them, over what `tillflow generate` sends: 70 % activity, 25 % sales, 5 % inventory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use tillflow::codec::{Decoder, Record};
use tillflow::generate::{Generator, GeneratorOptions, Pace};
use tillflow_dataflows::admission::{Fact, Partition, Reading};
use tillflow_dataflows::assembly::Settings;
use tillflow_dataflows::measures::QualityMeasures;
use tillflow_dataflows::outputs::Selection;
use tillflow_dataflows::records::{Millis, Topic};
use timely::worker::Worker;

use crate::support::sessions::Sessions;
use crate::{EPOCH, SETTINGS, START};

const RECORDS: usize = 500_000;
/// Records a second of event time: the log is of 42 minutes.
const DENSITY: f64 = 200.0;

/// What one epoch's records are, after admission.
struct Epoch {
    facts: Vec<Fact>,
    clocks: Vec<((Topic, i32), Option<Millis>)>,
    outcomes: QualityMeasures,
}

/// A history of a shop chain, one partition a topic.
pub struct Shop {
    epochs: Vec<Epoch>,
    pub partitions: Vec<Partition>,
}

impl Shop {
    pub fn open() -> Shop {
        let options = GeneratorOptions::new(1, START, Pace::Steady { per_second: DENSITY });
        let records: Vec<_> = Generator::new(options).expect("options").take(RECORDS).collect();
        let decoder = Decoder::new(chrono_tz::Tz::UTC);
        let mut partitions: Vec<Partition> =
            Topic::ALL.into_iter().map(|topic| Partition::new(topic, 0, SETTINGS)).collect();
        let mut offset = 0;
        let mut admit = |records: &[_]| {
            let mut epoch = Epoch { facts: Vec::new(), clocks: Vec::new(), outcomes: QualityMeasures::default() };
            for record in records {
                let tillflow::generate::GeneratedRecord { topic, key, value, timestamp, .. } = record;
                let reading = match value.as_deref().map(|value| decoder.decode(*topic, value)) {
                    Some(Ok(Record::Sale(sale))) => Reading::Sale(sale),
                    Some(Ok(Record::Activity(activity))) => Reading::Activity(activity),
                    Some(Ok(Record::StockLevel(level))) => Reading::StockLevel(level),
                    Some(Err(rejection)) => Reading::Unreadable(rejection.reason),
                    None => Reading::Tombstone(key.as_deref()),
                };
                let partition = &mut partitions[*topic as usize];
                let decision = partition.admit(reading, offset, Some(*timestamp), &mut |fact| epoch.facts.push(fact));
                epoch.outcomes.outcomes[decision.outcome as usize] += 1;
                offset += 1;
            }
            epoch.clocks = Topic::ALL
                .into_iter()
                .zip(&partitions)
                .map(|(topic, partition)| ((topic, 0), partition.clock()))
                .collect();
            epoch
        };
        let epochs = records.chunks(EPOCH).map(&mut admit).collect();
        Shop { epochs, partitions }
    }

    /// Gives everything to the graph of the only worker.
    pub fn replay(&self, sessions: &mut Sessions, worker: &mut Worker) {
        for Epoch { facts, clocks, outcomes } in &self.epochs {
            facts.iter().for_each(|fact| sessions.give(fact.clone()));
            clocks.iter().for_each(|(place, clock)| sessions.tell(*place, *clock));
            sessions.count(*outcomes);
            sessions.end(worker);
        }
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
