//! What `/metrics` tells, in OpenMetrics text. Counts of this process since it started; no label holds a value
//! from the stream.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tillflow_dataflows::records::{Millis, Outcome, Reason, Topic};

use crate::status::PartitionStatus;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    topic: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    topic: &'static str,
    partition: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    name: String,
    worker: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    class: &'static str,
}

type FloatGauge = Gauge<f64, AtomicU64>;

/// The metrics of one process.
pub struct Metrics {
    registry: Mutex<Registry>,
    records: Family<OutcomeLabels, Counter>,
    dead_letters: Family<ReasonLabels, Counter>,
    epoch: Gauge,
    commits: Counter,
    commit_duration: Histogram,
    checkpoint_duration: Histogram,
    expired_before: FloatGauge,
    freshness: FloatGauge,
    end_to_end: Histogram,
    lag: Family<PartitionLabels, Gauge>,
    state: Family<StateLabels, Gauge>,
    operators: Family<StateLabels, Counter<f64, AtomicU64>>,
    store_retries: Counter,
    http_requests: Family<ClassLabels, Counter>,
    http_refused: Counter,
    http_restarts: Counter,
    http_streams: Gauge,
    process: Process,
    /// The Kafka timestamp of the newest committed record; `i64::MIN` before there is one.
    newest: AtomicI64,
}

/// What the operating system says of the process, under the customary names.
#[derive(Default)]
struct Process {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    virtual_memory: Gauge,
    open_files: Gauge,
    threads: Gauge,
}

impl Default for Metrics {
    /// Of a process with a pipeline.
    fn default() -> Metrics {
        Metrics::new(true)
    }
}

impl Metrics {
    /// Of a process that only shows pages: what a pipeline would count is not there, rather than 0.
    pub fn of_pages_alone() -> Metrics {
        Metrics::new(false)
    }

    fn new(has_pipeline: bool) -> Metrics {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 18));
        let metrics = Metrics {
            registry: Mutex::new(Registry::default()),
            records: Family::default(),
            dead_letters: Family::default(),
            epoch: Gauge::default(),
            commits: Counter::default(),
            commit_duration: seconds(),
            checkpoint_duration: seconds(),
            expired_before: FloatGauge::default(),
            freshness: FloatGauge::default(),
            end_to_end: seconds(),
            lag: Family::default(),
            state: Family::default(),
            operators: Family::default(),
            store_retries: Counter::default(),
            http_requests: Family::default(),
            http_refused: Counter::default(),
            http_restarts: Counter::default(),
            http_streams: Gauge::default(),
            process: Process::default(),
            newest: AtomicI64::new(i64::MIN),
        };
        metrics.register(has_pipeline);
        metrics
    }

    fn register(&self, has_pipeline: bool) {
        let mut registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut root = std::mem::take(&mut *registry);
        let own = root.sub_registry_with_prefix("tillflow");
        if has_pipeline {
            own.register("records", "Committed records by topic and outcome", self.records.clone());
            own.register("dead_letters", "Committed dead letters by reason", self.dead_letters.clone());
            own.register("epoch", "The last committed epoch", self.epoch.clone());
            own.register("commits", "Commits made", self.commits.clone());
            own.register_with_unit(
                "commit_duration",
                "Time a commit took",
                Unit::Seconds,
                self.commit_duration.clone(),
            );
            own.register_with_unit(
                "checkpoint_duration",
                "Time a checkpoint took, from the moment it was asked for until it was whole",
                Unit::Seconds,
                self.checkpoint_duration.clone(),
            );
            own.register_with_unit(
                "expired_before",
                "Windows that end at or before this time since 1970 have left memory; 0 while none has",
                Unit::Seconds,
                self.expired_before.clone(),
            );
            own.register_with_unit(
                "freshness",
                "Now less the Kafka timestamp of the newest committed record",
                Unit::Seconds,
                self.freshness.clone(),
            );
            own.register_with_unit(
                "end_to_end",
                "Time of commit less the record's Kafka timestamp",
                Unit::Seconds,
                self.end_to_end.clone(),
            );
            own.register("kafka_lag_records", "Records in Kafka that are not read yet", self.lag.clone());
            own.register(
                "arrangement_records",
                "Records that an arrangement or another state of the graph holds",
                self.state.clone(),
            );
            own.register_with_unit(
                "operator",
                "Time that operators of the graph ran, with --operator-times",
                Unit::Seconds,
                self.operators.clone(),
            );
            own.register("store_retries", "Writes to the store that were tried again", self.store_retries.clone());
        }
        own.register("http_requests", "Answers of the dashboard by status class", self.http_requests.clone());
        own.register("http_refused", "Connections closed without an answer", self.http_refused.clone());
        own.register("http_restarts", "Times the dashboard's inner server was built anew", self.http_restarts.clone());
        own.register("http_event_streams", "Event streams that are open", self.http_streams.clone());
        own.register("build", "What is running", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let process = root.sub_registry_with_prefix("process");
        process.register_with_unit("cpu", "User and system CPU time", Unit::Seconds, self.process.cpu.clone());
        process.register_with_unit("resident_memory", "Resident memory", Unit::Bytes, self.process.resident.clone());
        process.register_with_unit(
            "virtual_memory",
            "Virtual memory",
            Unit::Bytes,
            self.process.virtual_memory.clone(),
        );
        process.register("open_fds", "Open file descriptors", self.process.open_files.clone());
        process.register("threads", "Threads", self.process.threads.clone());
        let started: FloatGauge = Gauge::default();
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        process.register_with_unit("start_time", "When the process started, since 1970", Unit::Seconds, started);
        *registry = root;
    }

    /// A commit was made; `newest` is the greatest Kafka timestamp committed so far.
    pub fn committed(&self, epoch: u64, took: Duration, newest: Option<Millis>) {
        self.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
        self.commits.inc();
        self.commit_duration.observe(took.as_secs_f64());
        if let Some(newest) = newest {
            self.newest.store(newest, Ordering::Relaxed);
        }
    }

    /// A checkpoint was made.
    pub fn checkpointed(&self, took: Duration) {
        self.checkpoint_duration.observe(took.as_secs_f64());
    }

    /// Windows that end at or before an instant have left memory.
    pub fn expired(&self, before: Millis) {
        self.expired_before.set(before as f64 / 1000.0);
    }

    /// Records of a topic were committed: how many with which outcome, and dead letters by reason.
    pub fn consumed(&self, topic: Topic, outcomes: &[u64; Outcome::ALL.len()], reasons: &[u64; Reason::ALL.len()]) {
        for (outcome, count) in Outcome::ALL.into_iter().zip(outcomes).filter(|(_, count)| **count > 0) {
            let labels = OutcomeLabels { topic: topic.name(), outcome: outcome.name() };
            self.records.get_or_create(&labels).inc_by(*count);
        }
        for (reason, count) in Reason::ALL.into_iter().zip(reasons).filter(|(_, count)| **count > 0) {
            self.dead_letters.get_or_create(&ReasonLabels { reason: reason.name() }).inc_by(*count);
        }
    }

    /// Records were committed `since` milliseconds after their tick began; their ages then, in milliseconds, as (sum,
    /// count) of records of about the same age.
    pub fn end_to_end(&self, since: Millis, ages: &[(i64, u64)]) {
        for (sum, count) in ages.iter().filter(|(_, count)| *count > 0) {
            let mean = *sum as f64 / *count as f64;
            let seconds = ((since as f64 + mean) / 1000.0).max(0.0);
            for _ in 0..*count {
                self.end_to_end.observe(seconds);
            }
        }
    }

    /// How far partitions are read.
    pub fn set_lag(&self, partitions: &[PartitionStatus]) {
        for status in partitions {
            if let Some(lag) = status.lag() {
                let labels = PartitionLabels { topic: status.topic.name(), partition: status.partition };
                self.lag.get_or_create(&labels).set(lag);
            }
        }
    }

    /// How many records a state of a worker's graph holds, by the name of its operator.
    pub fn set_state(&self, name: &str, worker: usize, records: i64) {
        self.state.get_or_create(&StateLabels { name: name.to_owned(), worker }).set(records);
    }

    /// How many records a state of a worker's graph holds, if it is one; see [`Metrics::set_state`].
    pub fn state(&self, name: &str, worker: usize) -> Option<i64> {
        self.state.get(&StateLabels { name: name.to_owned(), worker }).map(|records| records.get())
    }

    /// Operators of a worker's graph with this name ran for so long.
    pub fn operators_ran(&self, name: &str, worker: usize, took: Duration) {
        self.operators.get_or_create(&StateLabels { name: name.to_owned(), worker }).inc_by(took.as_secs_f64());
    }

    /// What the dashboard's server has counted: answers by status class, refusals, restarts, open streams.
    pub fn set_http(&self, answered: [(&'static str, u64); 4], refused: u64, restarts: u64, streams: u64) {
        for (class, count) in answered {
            self.http_requests.get_or_create(&ClassLabels { class }).inner().store(count, Ordering::Relaxed);
        }
        self.http_refused.inner().store(refused, Ordering::Relaxed);
        self.http_restarts.inner().store(restarts, Ordering::Relaxed);
        self.http_streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
    }

    /// A write to the store was tried again.
    pub fn store_retried(&self) {
        self.store_retries.inc();
    }

    /// Everything, as OpenMetrics text.
    pub fn encode(&self) -> String {
        let newest = self.newest.load(Ordering::Relaxed);
        if newest != i64::MIN {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            self.freshness.set((now - newest as f64 / 1000.0).max(0.0));
        }
        self.process.look();
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match encode(&mut text, &registry) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n# EOF\n"),
        }
    }
}

impl Process {
    /// Reads /proc; where there is none, the numbers stay zero.
    fn look(&self) {
        /// Kernel ticks of /proc/self/stat per second, fixed at 100 for user space on Linux.
        const TICKS: f64 = 100.0;
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
            && let Some((_, rest)) = stat.rsplit_once(')')
        {
            let field =
                |number: usize| rest.split_whitespace().nth(number - 3).and_then(|text| text.parse::<i64>().ok());
            if let (Some(user), Some(system)) = (field(14), field(15)) {
                let seconds = (user + system) as f64 / TICKS;
                self.cpu.inner().store(seconds.to_bits(), Ordering::Relaxed);
            }
            self.threads.set(field(20).unwrap_or(0));
        }
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            let bytes = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok()).map_or(0, |kib| kib * 1024)
            };
            self.resident.set(bytes("VmRSS:"));
            self.virtual_memory.set(bytes("VmSize:"));
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files.set(i64::try_from(files.count()).unwrap_or(i64::MAX));
        }
    }
}
