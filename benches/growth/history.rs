//! One long run: what its millions cost, one after the other.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tillflow::engine::Run;
use tillflow::source::{Assignment, PartitionInfo, Position, RawRecord, Reader, Source, SourceError};
use tillflow::store::StoreAddress;
use tillflow_dataflows::records::{Millis, Topic};

use crate::picture::{Curve, Picture};
use crate::support::sales::{PARTITIONS, START, Sales, Sent};
use crate::support::stores::{Null, Watched};
use crate::support::{options, w1};

/// From one sale to the next: 20 a second.
const APART: Millis = 50;
/// How many points the curve has.
const POINTS: usize = 50;

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
        let sales = |partition: usize| PartitionInfo {
            topic: Topic::Sales,
            partition: partition as i32,
            low: 0,
            high: Some(self.each),
        };
        Ok((0..PARTITIONS).map(sales).collect())
    }

    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        let partitions = assignments
            .iter()
            .map(|it| {
                let sales = Sales::new(START).apart(APART);
                (sales.of_partition(it.partition as usize), it.start)
            })
            .collect();
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

/// W1 into SQLite, while the log goes on and on.
pub fn history(count: usize) {
    let marks = Arc::new(Mutex::new(Marks { every: count / POINTS, ..Marks::default() }));
    let source = Endless { each: (count / PARTITIONS) as i64, marks: Arc::clone(&marks) };
    let (eye, folder) = (Null::default(), tempfile::tempdir().expect("a temporary folder"));
    let address = StoreAddress::Sqlite { path: folder.path().join("bench.sqlite") };
    let store = Box::new(Watched { store: address.open().expect("SQLite opens"), eye: eye.clone() });
    Run::new(options(2, w1(), None), Arc::new(source)).alone(store).expect("the pipeline runs");
    let revenue: i128 = (0..PARTITIONS)
        .map(|partition| {
            let sales = Sales::new(START).apart(APART).of_partition(partition);
            sales.take(count / PARTITIONS).map(|sent| sent.cents).sum::<i128>()
        })
        .sum();
    assert_eq!(eye.revenue(), revenue * 100, "the revenue is another one");
    let points = std::mem::take(&mut marks.lock().unwrap().points);
    let rates = points.windows(2).map(|pair| {
        let [(before, begun, _), (read, ended, _)] = pair else { unreachable!("windows of two") };
        (*read as f64, (read - before) as f64 / ended.duration_since(*begun).as_secs_f64())
    });
    let curve = Curve { name: "W1 -> SQLite, 2 workers".into(), points: rates.collect() };
    let title = format!("One run of {count} sales");
    let x = "records so far";
    Picture { name: "history", title: title.clone(), x, y: "records/s", powers: false, curves: vec![curve] }.show();
    let memory = points.iter().map(|(read, _, memory)| (*read as f64, *memory as f64 / f64::from(1 << 20))).collect();
    let curve = Curve { name: "resident".into(), points: memory };
    Picture { name: "history-memory", title, x, y: "MiB", powers: false, curves: vec![curve] }.show();
}
