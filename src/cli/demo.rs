//! `tillflow demo`: everything in one process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use clap::Args;
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::records::{Millis, Topic};
use tillflow_dataflows::time::{HOUR, MINUTE};

use super::CliError;
use super::options::{ListenArgs, ViewFileArgs, default_workers, workers};
use super::run::instance;
use super::serve::{Pages, serve};
use super::signals::{enforce_stop, stop_flag};
use super::terminal::StatusLine;
use crate::engine::{EngineOptions, Run};
use crate::generate::{GenerateError, GeneratedRecord, Generator, GeneratorOptions, Pace, Throttle};
use crate::metrics::Metrics;
use crate::partitioner::murmur2_partition;
use crate::source::channel::{Feed, OwnedRecord};
use crate::source::memory::MemoryLog;
use crate::status::Status;
use crate::store::StoreAddress;

/// Partitions of each topic.
const PARTITIONS: i32 = 3;

/// How much of the past the demo begins with, so that a day's charts have their shape at once.
const PAST: Millis = 26 * HOUR;

/// Records of the past at the most: what a machine takes in a few seconds.
const PAST_RECORDS: f64 = 300_000.0;

/// Records that are made before they are handed over.
const BATCH: usize = 256;

/// So long the past comes no faster than a batch in [`FIRST_LOOK_PAUSE`], which leaves a browser on the same machine
/// the time to open the page and to draw the first charts.
const FIRST_LOOK: Duration = Duration::from_millis(2_500);
const FIRST_LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Everything in one process, nothing else to start: generator, pipeline, SQLite store, dashboard.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Records per second; 0 = as fast as it goes
    #[arg(long, value_name = "RECORDS", default_value_t = 3.0)]
    rate: f64,
    /// Stop after so many records, once they are committed [default: no end]
    #[arg(long, value_name = "RECORDS")]
    count: Option<u64>,
    /// Another seed, another shop
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worker threads
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers)]
    workers: usize,
    /// Keep the SQLite file in this folder [default: a temporary one that goes with the demo]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    view_file: ViewFileArgs,
    #[command(flatten)]
    listen: ListenArgs,
}

/// The folder of the database, removed at the end unless the user named it.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn create(named: Option<&Path>) -> Result<Folder, CliError> {
        let path = match named {
            Some(path) => path.to_path_buf(),
            None => {
                std::env::temp_dir().join(format!("tillflow-demo-{}-{:08x}", std::process::id(), rand::random::<u32>()))
            }
        };
        std::fs::create_dir_all(&path)
            .map_err(|error| CliError::System(format!("making the folder {}: {error}", path.display())))?;
        Ok(Folder { path, temporary: named.is_none() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // What is left of a temporary folder does no harm.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

pub(super) fn run(args: &DemoArgs) -> Result<(), CliError> {
    if !(args.rate.is_finite() && args.rate >= 0.0) {
        return Err(CliError::Settings(String::from("--rate is a number of records per second, or 0")));
    }
    let views = args.view_file.set()?;
    let stop = stop_flag()?;
    let begun = enforce_stop(&stop);
    let folder = Folder::create(args.dir.as_deref())?;
    let file = folder.path.join("demo.sqlite");
    if file.exists() {
        return Err(CliError::Refused(format!(
            "{} holds an earlier demo, whose made-up records cannot be continued: look at it with `tillflow dashboard \
             --store sqlite:{}`, remove it, or name another --dir",
            file.display(),
            file.display()
        )));
    }
    let address = StoreAddress::Sqlite { path: file };
    let mut store = address.open()?;
    store.init()?;

    let status = Arc::new(Status::default());
    status.update(|status| status.demo = true);
    let metrics = Arc::new(Metrics::default());
    let pages = serve(
        &args.listen,
        Pages {
            address: &address,
            status: &status,
            metrics: &metrics,
            timezone: Tz::UTC,
            added: &views.added,
            alone: false,
        },
    )?;

    let log = Arc::new(MemoryLog::new(PARTITIONS));
    let producer = Producer::new(args, Arc::clone(&log), Arc::clone(&stop))?;
    let producing = std::thread::Builder::new()
        .name("tillflow-generate".into())
        .spawn(move || producer.run())
        .map_err(|error| CliError::System(format!("starting a thread: {error}")))?;
    let options = EngineOptions {
        workers: args.workers,
        tick: Duration::from_millis(100),
        raw_data: true,
        until_caught_up: args.count.is_some(),
        admission: AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE },
        timezone: Tz::UTC,
        instance: instance(),
        views,
        checkpoints: None,
        accepted: Vec::new(),
    };
    begun.store(true, Ordering::SeqCst);
    let line = StatusLine::start(Arc::clone(&status), false);
    let run = Run { options, source: log, status, metrics, stop: Arc::clone(&stop), operator_times: None };
    let result = run.alone(store);
    stop.store(true, Ordering::SeqCst);
    drop(line);
    pages.stop();
    let produced = producing.join().map_err(|_| CliError::System(String::from("the generator panicked")))?;
    let summary = result?;
    produced?;
    tracing::info!(records = summary.records, epoch = summary.epoch, "demo over");
    Ok(())
}

/// Makes records and hands them to the log: the past at once, then the present as it comes.
struct Producer {
    generator: Generator,
    log: Arc<MemoryLog>,
    rate: f64,
    count: u64,
    stop: Arc<AtomicBool>,
    offsets: HashMap<(Topic, i32), i64>,
}

impl Producer {
    fn new(args: &DemoArgs, log: Arc<MemoryLog>, stop: Arc<AtomicBool>) -> Result<Producer, GenerateError> {
        // The past is as busy as the present will be, as far as that can be had at once.
        let most = PAST_RECORDS / (PAST as f64 / 1000.0);
        let past = Pace::Daily { per_second: if args.rate > 0.0 { args.rate.min(most) } else { most } };
        let options = GeneratorOptions {
            stocked_for: Some(if args.rate > 0.0 { args.rate } else { past.per_second() }),
            ..GeneratorOptions::new(args.seed, chrono::Utc::now().timestamp_millis() - PAST, past)
        };
        Ok(Producer {
            generator: Generator::new(options)?,
            log,
            rate: args.rate,
            count: args.count.unwrap_or(u64::MAX),
            stop,
            offsets: HashMap::new(),
        })
    }

    fn run(mut self) -> Result<(), GenerateError> {
        let feeds = loop {
            if self.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let feeds = self.log.feeds(Duration::from_millis(200));
            if !feeds.is_empty() {
                break feeds;
            }
        };
        let began = Instant::now();
        let mut throttle: Option<Throttle> = None;
        let mut batch = Batch::default();
        for _ in 0..self.count {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            if throttle.is_none() && self.rate > 0.0 && self.generator.clock() >= chrono::Utc::now().timestamp_millis()
            {
                self.generator.set_pace(Pace::Steady { per_second: self.rate })?;
                throttle = Some(Throttle::new(self.generator.clock()));
            }
            if let Some(throttle) = &mut throttle {
                while let Some(wait) = throttle.wait(self.generator.clock()) {
                    batch.send(&feeds);
                    if self.stop.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    std::thread::sleep(wait.min(Duration::from_millis(100)));
                }
            }
            let Some(record) = self.generator.next() else { break };
            let (place, record) = self.placed(record);
            batch.records.entry(place).or_default().push(record);
            batch.size += 1;
            if batch.size >= BATCH {
                if !batch.send(&feeds) {
                    break;
                }
                if throttle.is_none() && self.rate > 0.0 && began.elapsed() < FIRST_LOOK {
                    std::thread::sleep(FIRST_LOOK_PAUSE);
                }
            }
        }
        batch.send(&feeds);
        Ok(())
    }

    fn placed(&mut self, record: GeneratedRecord) -> ((Topic, i32), OwnedRecord) {
        let partition = murmur2_partition(record.key.as_deref().unwrap_or_default(), self.log.partitions());
        let place = (record.topic, partition);
        let next = self.offsets.entry(place).or_insert(0);
        let offset = *next;
        *next += 1;
        (place, OwnedRecord { offset, timestamp: Some(record.timestamp), key: record.key, value: record.value })
    }
}

#[derive(Default)]
struct Batch {
    records: HashMap<(Topic, i32), Vec<OwnedRecord>>,
    size: usize,
}

impl Batch {
    /// False when nobody reads any more.
    fn send(&mut self, feeds: &HashMap<(Topic, i32), Feed>) -> bool {
        self.size = 0;
        self.records.drain().all(|((topic, partition), records)| MemoryLog::push(feeds, topic, partition, records))
    }
}
