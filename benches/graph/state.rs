//! The state of the graph and of admission: saved into the chunks of a checkpoint, and restored from them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use tillflow_dataflows::admission::{Partition, SavedPartition};
use tillflow_dataflows::assembly::Settings;
use tillflow_dataflows::state::Chunk;

use crate::SETTINGS;
use crate::support::sessions::Sessions;
use crate::views::Shop;

/// What a checkpoint has of the graph, what it has of admission, and how long the graph's took.
fn cut(shop: &Arc<Shop>) -> (Vec<Chunk>, Vec<Partition>, Duration) {
    let shop = Arc::clone(shop);
    timely::execute_directly(move |worker| {
        let mut sessions = Sessions::build(worker, &Settings::new(SETTINGS.correction_window));
        sessions.begin();
        let partitions = shop.replay(&mut sessions, worker);
        sessions.state.hold(sessions.tick);
        sessions.end(worker);
        let (mut chunks, start) = (Vec::new(), Instant::now());
        for index in 0..sessions.state.cuts() {
            sessions.state.save(index, &mut |chunk| chunks.push(chunk));
        }
        (chunks, partitions, start.elapsed())
    })
}

/// A graph that begins with it, until all its rows are there again.
fn restore(chunks: &Arc<Vec<Chunk>>) -> Duration {
    let chunks = Arc::clone(chunks);
    timely::execute_directly(move |worker| {
        let mut sessions = Sessions::build(worker, &Settings::new(SETTINGS.correction_window));
        let start = Instant::now();
        for chunk in chunks.iter() {
            sessions.state.restore(chunk).expect("chunks of this graph");
        }
        sessions.begin();
        sessions.end(worker);
        start.elapsed()
    })
}

fn records(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| u64::from(chunk.records)).sum()
}

pub fn state(criterion: &mut Criterion, shop: &Arc<Shop>) {
    let (chunks, partitions, _) = cut(shop);
    let saved: Vec<SavedPartition> = partitions.iter().map(Partition::save).collect();
    let remembered = partitions.iter().map(|partition| partition.remembered() as u64).sum();
    let mut group = criterion.benchmark_group("state");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(records(&chunks)));
    group.bench_function("save the graph's", |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| cut(shop).2).sum());
    });
    let chunks = Arc::new(chunks);
    group.bench_function("restore the graph's", |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| restore(&chunks)).sum());
    });
    group.throughput(Throughput::Elements(remembered));
    group.bench_function("save what admission remembers", |bencher| {
        bencher.iter(|| partitions.iter().map(Partition::save).collect::<Vec<_>>());
    });
    group.bench_function("restore what admission remembers", |bencher| {
        bencher.iter(|| {
            saved
                .iter()
                .map(|saved| Partition::restore(saved, SETTINGS, &mut |_| {}).expect("what was saved"))
                .collect::<Vec<_>>()
        });
    });
    group.finish();
}
