//! One long run: what its millions cost, one after the other.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tillflow::engine::Run;
use tillflow::source::{Assignment, PartitionInfo, Position, RawRecord, Reader, Source, SourceError};
use tillflow_dataflows::records::{Millis, Topic};

use crate::picture::{Curve, Picture};
use crate::support::memory::Place;
use crate::support::sales::{EVEN_PARTITIONS, START, Sales, Sent};
use crate::support::{options, w1};

/// From one sale to the next: 20 a second.
const APART: Millis = 50;
/// How many points the curve has.
const POINTS: usize = 50;

/// Those of a partition, without an end. As many partitions for each worker: one that has read its own leaves the rest to
/// the other one.
fn sales(partition: usize) -> Sales {
    Sales::new(START).in_partitions(EVEN_PARTITIONS).apart(APART).of_partition(partition)
}

/// A log whose records are made when they are read: none of it is held.
struct Endless {
    each: i64,
    marks: Arc<Mutex<Marks>>,
}

/// When how much was read, and how much memory there was.
#[derive(Default)]
struct Marks {
    read: usize,
    next: usize,
    every: usize,
    points: Vec<(usize, Instant, u64)>,
}

impl Marks {
    fn add(&mut self, read: usize) {
        self.read += read;
        if self.read >= self.next {
            self.points.push((self.read, Instant::now(), resident()));
            self.next = self.read + self.every;
        }
    }
}

/// Resident bytes of this process, as Linux tells them.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

struct EndlessReader {
    each: i64,
    marks: Arc<Mutex<Marks>>,
    partitions: Vec<(Sales, i64)>,
}

impl Source for Endless {
    fn identity(&self) -> String {
        String::from("endless")
    }

    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        let info = |partition: usize| PartitionInfo {
            topic: Topic::Sales,
            partition: partition as i32,
            low: 0,
            high: Some(self.each),
        };
        Ok((0..EVEN_PARTITIONS).map(info).collect())
    }

    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        let partitions = assignments.iter().map(|it| (sales(it.partition as usize), it.start)).collect();
        Ok(Box::new(EndlessReader { each: self.each, marks: Arc::clone(&self.marks), partitions }))
    }
}

impl Reader for EndlessReader {
    fn poll(
        &mut self,
        index: usize,
        limit: usize,
        until: i64,
        give: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, SourceError> {
        let (sales, next) = &mut self.partitions[index];
        let end = until.min(self.each);
        let count = limit.min(usize::try_from(end - *next).unwrap_or_default());
        for Sent { timestamp, key, value, .. } in sales.take(count) {
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            give(RawRecord { offset: *next, timestamp: Some(timestamp), key, value });
            *next += 1;
        }
        self.marks.lock().unwrap().add(count);
        Ok(count)
    }

    fn position(&self, index: usize) -> Position {
        let next = self.partitions[index].1;
        Position { next, at_end: next == self.each, end: Some(self.each) }
    }
}

/// W1 into SQLite, and into nothing, while the log goes on and on.
pub fn history(count: usize) {
    let revenue: i128 = (0..EVEN_PARTITIONS)
        .flat_map(|partition| sales(partition).take(count / EVEN_PARTITIONS).map(|sent| sent.cents))
        .sum();
    let (mut rates, mut memory) = (Vec::new(), Vec::new());
    for (store, sqlite) in [("SQLite", true), ("null", false)] {
        let marks = Arc::new(Mutex::new(Marks { every: count / POINTS, ..Marks::default() }));
        let source = Endless { each: (count / EVEN_PARTITIONS) as i64, marks: Arc::clone(&marks) };
        let place = Place::new();
        Run::new(options(2, w1(), None), Arc::new(source)).alone(place.store(sqlite)).expect("the pipeline runs");
        place.assert_revenue(revenue * 100);
        let points = std::mem::take(&mut marks.lock().unwrap().points);
        let name = format!("W1 -> {store}, 2 workers");
        let points_of_rates = points.windows(2).map(|pair| {
            let [(before, begun, _), (read, ended, _)] = pair else { unreachable!("windows of two") };
            (*read as f64, (read - before) as f64 / ended.duration_since(*begun).as_secs_f64())
        });
        rates.push(Curve { name: name.clone(), points: points_of_rates.collect() });
        if sqlite {
            // The first: what it leaves to the allocator would count for the other.
            let points = points.iter().map(|(read, _, resident)| (*read as f64, *resident as f64 / f64::from(1 << 20)));
            memory.push(Curve { name, points: points.collect() });
        }
    }
    let title = format!("One run of {count} sales");
    let x = "records so far";
    Picture { name: "history", title: title.clone(), x, y: "records/s", powers: false, curves: rates }.show();
    Picture { name: "history-memory", title, x, y: "MiB resident", powers: false, curves: memory }.show();
}
