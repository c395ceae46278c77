//! From Kafka: the program as a user runs it, beside a client that reads and drops, and beside the hash maps.
//!
//! Every row is a process of its own from its start to its end, so that time, CPU and memory are of nothing else. What the
//! program wrote counts only if its revenue is that of the hash maps, or of the other rows, and `tillflow verify` finds no
//! difference.

use std::path::Path;
use std::sync::Arc;

use tillflow::codec::Decoder;
use tillflow::document::{Collection, Value};
use tillflow::engine::Run;
use tillflow::source::kafka::{KafkaSettings, KafkaSource};
use tillflow::store::{Query, StoreAddress};
use tillflow::views::ViewSet;

use crate::broker::{Topics, read};
use crate::child::{self, Taken};
use crate::support::sales::{HashMaps, PARTITIONS, START, Sales, Sent, W1};
use crate::support::stores::Null;
use crate::support::{options, w1};

/// What the program gives a reader's queues, unless told.
const QUEUE_BYTES: usize = 128 << 20;

/// What this process is when it is started as another program: `NAME SERVERS PREFIX [MORE]`.
pub fn program(arguments: &[String]) {
    let [name, servers, prefix, more @ ..] = arguments else { panic!("{arguments:?}: a name, servers and a prefix") };
    match name.as_str() {
        "read-and-drop" => {
            let mut bytes = 0;
            read(servers, prefix, |value| bytes += value.len());
            assert!(bytes > 0, "nothing was read");
        }
        "hash-maps" => {
            let (decoder, mut maps) = (Decoder::new(chrono_tz::Tz::UTC), HashMaps::default());
            read(servers, prefix, |value| maps.take(&decoder, value));
            let [revenue] = more else { panic!("{more:?}: the revenue") };
            assert_eq!(maps.all.2.to_string(), *revenue, "the revenue is another one");
        }
        "null" => {
            let [views, workers, revenue] = more else { panic!("{more:?}: views, workers and the revenue") };
            let settings = KafkaSettings {
                bootstrap_servers: servers.clone(),
                group_id: String::from("bench"),
                topic_prefix: prefix.clone(),
                properties: Vec::new(),
                queue_bytes: QUEUE_BYTES,
            };
            let source = Arc::new(KafkaSource::new(settings).expect("a source"));
            let views = if views == "w1" { w1() } else { ViewSet::default() };
            let workers = workers.parse().expect("a number");
            let eye = Null::default();
            Run::new(options(workers, views, None), source).alone(Box::new(eye.clone())).expect("the pipeline runs");
            assert_eq!(eye.revenue().to_string(), *revenue, "the revenue is another one");
        }
        other => panic!("{other}: no such program"),
    }
}

/// The name of a SQLite database.
pub const DATABASE: &str = "bench.sqlite";

/// Where a run writes to.
pub enum Target<'a> {
    Sqlite,
    /// A server, and a name of a database that is not there.
    Mongodb(&'a str, String),
}

impl Target<'_> {
    pub fn flags(&self, folder: &Path) -> Vec<String> {
        match self {
            Target::Sqlite => {
                vec![String::from("--store"), format!("sqlite:{}", folder.join(DATABASE).display())]
            }
            Target::Mongodb(uri, database) => {
                ["--store", "mongodb", "--mongo-uri", uri, "--database", database].map(String::from).into()
            }
        }
    }

    pub fn address(&self, folder: &Path) -> StoreAddress {
        match self {
            Target::Sqlite => StoreAddress::Sqlite { path: folder.join(DATABASE) },
            Target::Mongodb(uri, database) => StoreAddress::parse("mongodb", uri, database).expect("an address"),
        }
    }
}

/// A run of the program.
#[derive(Clone, Copy)]
struct How<'a> {
    views: Option<&'a str>,
    processes: usize,
    workers: usize,
    raw_data: &'a str,
}

/// Runs the program until it has caught up, and lets it verify what it wrote. Returns the revenue that is there, too.
fn measure(topics: &Topics, target: &Target<'_>, how: How<'_>) -> (Taken, i128) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hosts = folder.path().join("hosts");
    if how.processes > 1 {
        std::fs::write(&hosts, free_hosts(how.processes)).expect("a file");
    }
    let commands = (0..how.processes).map(|process| {
        let workers = how.workers.to_string();
        let mut command = topics.tillflow(&["run", "--no-dashboard", "--until-caught-up", "-q", "--workers", &workers]);
        command.args(["--raw-data", how.raw_data]).args(target.flags(folder.path()));
        command.arg("--state").arg(folder.path().join("state"));
        if let Some(views) = how.views {
            command.args(["--views", views]);
        }
        if how.processes > 1 {
            let [count, index] = [how.processes, process].map(|number| number.to_string());
            command.args(["--processes", &count, "--process", &index, "--hosts"]).arg(&hosts);
            command.env("TILLFLOW_CLUSTER_SECRET", "the secret of the benchmarks");
        }
        command
    });
    let taken = child::run(commands.collect());
    let mut reader = target.address(folder.path()).open_reader().expect("the store opens");
    let collection = Some(Collection::RealTimeMetrics);
    let all = Query { collection, type_is: Some(String::from("metric")), ..Query::default() };
    let (_, found) = reader.read(&[all]).expect("the store answers");
    let all = found.iter().flatten().find(|document| document.id == "metric|sales_all").expect("sales_all");
    let Some(Value::Decimal { digits, .. }) = all.get("revenue") else { panic!("no revenue in {all:?}") };
    let mut verify = topics.tillflow(&["verify", "--from", "kafka", "--raw-data", "off", "-q"]);
    verify.args(target.flags(folder.path()));
    child::run(vec![verify]);
    (taken, *digits)
}

/// A hosts file of free ports.
fn free_hosts(processes: usize) -> String {
    let free: Vec<_> = (0..processes).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    free.iter().map(|listener| format!("{}\n", listener.local_addr().expect("its address"))).collect()
}

/// Rows of one log, each beside the client that reads it and drops it.
struct Table<'a> {
    topics: &'a Topics,
    runs: usize,
    records: usize,
    bytes: usize,
    dropped: Taken,
    /// The hash maps, where they can do the same.
    mapped: Option<Taken>,
    /// What is sold in all, in ten-thousandths.
    revenue: i128,
}

impl Table<'_> {
    fn best(runs: usize, mut run: impl FnMut() -> Taken) -> Taken {
        (0..runs).map(|_| run()).min_by_key(|taken| taken.time).expect("at least one run")
    }

    fn head(&self, what: &str) {
        println!(
            "\nKafka: {} {what} of {} bytes in {PARTITIONS} partitions a topic, whole processes, best of {}",
            self.records,
            self.bytes / self.records,
            self.runs
        );
        println!(
            "{:<44} {:>11} {:>7} {:>9} {:>8} {:>9} {:>9}",
            "", "records/s", "MB/s", "CPU s/M", "MB peak", "of drop", "of maps"
        );
        self.row("read and drop, 1 thread", self.dropped);
        if let Some(mapped) = self.mapped {
            self.row("W1 in hash maps, 1 thread", mapped);
        }
    }

    fn row(&self, name: &str, taken: Taken) {
        let seconds = taken.time.as_secs_f64();
        println!(
            "{name:<44} {:>11.0} {:>7.0} {:>9.2} {:>8.0} {:>9.2} {:>9}",
            self.records as f64 / seconds,
            self.bytes as f64 / seconds / 1e6,
            taken.cpu.as_secs_f64() / self.records as f64 * 1e6,
            taken.memory as f64 / f64::from(1 << 20),
            self.dropped.time.as_secs_f64() / seconds,
            self.mapped.map(|mapped| format!("{:.2}", mapped.time.as_secs_f64() / seconds)).unwrap_or_default(),
        );
    }

    fn null(&self, name: &str, views: &str, workers: usize) {
        let more = [views, &workers.to_string(), &self.revenue.to_string()];
        let taken = Self::best(self.runs, || child::run(vec![self.topics.another("null", &more)]));
        self.row(&format!("{name} -> null, {workers} worker(s)"), taken);
    }

    fn store<'a>(&self, name: &str, how: How<'_>, mut target: impl FnMut() -> Target<'a>) {
        let taken = Self::best(self.runs, || {
            let (taken, revenue) = measure(self.topics, &target(), how);
            assert_eq!(revenue, self.revenue, "the revenue is another one");
            taken
        });
        let How { processes, workers, .. } = how;
        self.row(&format!("{name}, {processes} process(es), {workers} worker(s)"), taken);
    }

    /// Into nothing and into SQLite, with 1 and 2 workers, and 2 processes.
    fn everywhere(&self, name: &str, key: &str, views: Option<&str>) {
        for workers in [1, 2] {
            self.null(name, key, workers);
        }
        for (processes, workers) in [(1, 1), (1, 2), (2, 1)] {
            let how = How { views, processes, workers, raw_data: "off" };
            self.store(&format!("{name} -> SQLite"), how, || Target::Sqlite);
        }
    }
}

/// Sales alone: W1 and all views, raw documents, and MongoDB if there is one.
pub fn sales(servers: &str, mongodb: Option<&str>, count: usize, runs: usize) {
    let topics = Topics::make(servers, "sales");
    topics.fill(Sales::new(START).take(count));
    let (mut bytes, mut maps, decoder) = (0, HashMaps::default(), Decoder::new(chrono_tz::Tz::UTC));
    for Sent { value, .. } in Sales::new(START).take(count) {
        bytes += value.len();
        maps.take(&decoder, value.as_bytes());
    }
    let revenue = maps.all.2;
    drop(maps);
    let dropped = Table::best(runs, || child::run(vec![topics.another("read-and-drop", &[])]));
    let mapped = Table::best(runs, || child::run(vec![topics.another("hash-maps", &[&revenue.to_string()])]));
    let table = Table { topics: &topics, runs, records: count, bytes, dropped, mapped: Some(mapped), revenue };
    table.head("sales");
    table.everywhere("W1", "w1", Some(W1));
    table.everywhere("all views", "all", None);
    let how = How { views: Some(W1), processes: 1, workers: 2, raw_data: "on" };
    table.store("W1 and raw_data -> SQLite", how, || Target::Sqlite);
    let Some(uri) = mongodb else {
        println!("MongoDB: not measured, MONGO_URI is not set");
        return;
    };
    let mut number = 0;
    table.store("W1 -> MongoDB", How { raw_data: "off", ..how }, || {
        number += 1;
        Target::Mongodb(uri, format!("bench-{}-{number}", std::process::id()))
    });
}

/// Longer sales, with more fields, texts beyond ASCII, corrections and duplicates: W1.
pub fn unusual(servers: &str, count: usize, runs: usize) {
    let topics = Topics::make(servers, "unusual");
    let sales = || Sales::new(START).unusual().take(count);
    topics.fill(sales());
    let (bytes, cents) = sales().fold((0, 0), |(bytes, cents), sent| (bytes + sent.value.len(), cents + sent.cents));
    let dropped = Table::best(runs, || child::run(vec![topics.another("read-and-drop", &[])]));
    let revenue = cents * 100;
    let table = Table { topics: &topics, runs, records: count, bytes, dropped, mapped: None, revenue };
    table.head("unusual sales");
    for workers in [1, 2] {
        let how = How { views: Some(W1), processes: 1, workers, raw_data: "off" };
        table.store("W1 -> SQLite", how, || Target::Sqlite);
    }
}

/// What `tillflow generate` sends: 70 % activity, 25 % sales, 5 % inventory, with duplicates, corrections, cancellations,
/// late and corrupt records as by default.
pub fn mixed(servers: &str, count: usize, runs: usize) {
    let topics = Topics::make(servers, "mixed");
    topics.generate(count);
    let (mut records, mut bytes) = (0, 0);
    read(servers, &topics.prefix, |value| {
        records += 1;
        bytes += value.len();
    });
    let dropped = Table::best(runs, || child::run(vec![topics.another("read-and-drop", &[])]));
    let how = How { views: None, processes: 1, workers: 1, raw_data: "off" };
    // Verified against an independent recomputation; what the others have to find.
    let (_, revenue) = measure(&topics, &Target::Sqlite, how);
    let table = Table { topics: &topics, runs, records, bytes, dropped, mapped: None, revenue };
    table.head("records, 70 % activity, 25 % sales, 5 % inventory,");
    table.everywhere("all views", "all", None);
}
