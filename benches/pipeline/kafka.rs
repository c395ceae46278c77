//! From Kafka: the program as a user runs it, beside a client that reads and drops, and beside the hash maps.
//!
//! Every row is a process of its own from its start to its end, so that time, CPU and memory are of nothing else. What the
//! program wrote counts only if its revenue is that of the hash maps, or of the other rows, and `tillflow verify` finds no
//! difference.

use std::path::Path;
use std::process::Command;
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
use crate::support::{free_addresses, options, w1};

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
    /// Without a checkpoint into a store that is filled: everything is read again, and nothing is to be written.
    again: bool,
}

impl How<'_> {
    /// Runs the program until it has caught up.
    fn run(self, topics: &Topics, target: &Target<'_>, folder: &Path) -> Taken {
        let state = folder.join("state");
        let commands = (0..self.processes).map(|process| {
            let workers = self.workers.to_string();
            let run = ["run", "--no-dashboard", "--until-caught-up", "-q", "--workers", &workers];
            let mut command = topics.tillflow(&run);
            command.args(["--raw-data", self.raw_data]).args(target.flags(folder)).arg("--state").arg(&state);
            if let Some(views) = self.views {
                command.args(["--views", views]);
            }
            cluster(&mut command, process, self.processes, folder);
            command
        });
        child::run(commands.collect())
    }

    /// Measures it, and lets the program verify what it wrote. Returns the revenue that is there, too.
    fn measure(self, topics: &Topics, target: &Target<'_>) -> (Taken, i128) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut taken = self.run(topics, target, folder.path());
        if self.again {
            std::fs::remove_dir_all(folder.path().join("state")).expect("checkpoints");
            taken = self.run(topics, target, folder.path());
        }
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
}

/// Makes a command one of so many processes, if there are several. The first one makes their hosts file, of free ports.
pub fn cluster(command: &mut Command, process: usize, processes: usize, folder: &Path) {
    if processes == 1 {
        return;
    }
    let hosts = folder.join("hosts");
    if process == 0 {
        let lines = free_addresses(processes).into_iter().map(|address| format!("{address}\n"));
        std::fs::write(&hosts, lines.collect::<String>()).expect("a file");
    }
    let [count, index] = [processes, process].map(|number| number.to_string());
    command.args(["--processes", &count, "--process", &index, "--hosts"]).arg(&hosts);
    command.env("TILLFLOW_CLUSTER_SECRET", "the secret of the benchmarks");
}

/// Rows of one log, each beside the client that reads it and drops it.
struct Table<'a> {
    topics: &'a Topics,
    runs: usize,
    records: usize,
    bytes: usize,
    /// What is sold in all, in ten-thousandths.
    revenue: i128,
    rows: Vec<Row<'a>>,
}

/// A program, and what its runs took.
struct Row<'a> {
    name: String,
    run: Box<dyn FnMut() -> Taken + 'a>,
    taken: Vec<Taken>,
}

impl<'a> Table<'a> {
    /// Begins with the client that reads and drops.
    fn new(topics: &'a Topics, runs: usize, (records, bytes): (usize, usize), revenue: i128) -> Table<'a> {
        let mut table = Table { topics, runs, records, bytes, revenue, rows: Vec::new() };
        table.another("read and drop, 1 thread", "read-and-drop", &[]);
        table
    }

    fn row(&mut self, name: impl Into<String>, run: impl FnMut() -> Taken + 'a) {
        self.rows.push(Row { name: name.into(), run: Box::new(run), taken: Vec::new() });
    }

    /// This program as another one.
    fn another(&mut self, name: &str, program: &'a str, more: &[&str]) {
        let (topics, more) = (self.topics, more.iter().map(|it| String::from(*it)).collect::<Vec<_>>());
        self.row(name, move || {
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            child::run(vec![topics.another(program, &more)])
        });
    }

    fn store(&mut self, name: &str, how: How<'a>, mut target: impl FnMut() -> Target<'a> + 'a) {
        let (topics, revenue) = (self.topics, self.revenue);
        let How { processes, workers, .. } = how;
        self.row(format!("{name}, {processes} process(es), {workers} worker(s)"), move || {
            let (taken, found) = how.measure(topics, &target());
            assert_eq!(found, revenue, "the revenue is another one");
            taken
        });
    }

    /// Into nothing and into SQLite, with 1 and 2 workers, and 2 processes.
    fn everywhere(&mut self, name: &str, key: &str, views: Option<&'a str>) {
        for workers in [1, 2] {
            let more = [key, &workers.to_string(), &self.revenue.to_string()];
            self.another(&format!("{name} -> null, {workers} worker(s)"), "null", &more);
        }
        for (processes, workers) in [(1, 1), (1, 2), (2, 1)] {
            let how = How { views, processes, workers, raw_data: "off", again: false };
            self.store(&format!("{name} -> SQLite"), how, || Target::Sqlite);
        }
    }

    /// Runs all rows in turns, so that what else the machine does meanwhile is shared out among them.
    fn show(mut self, what: &str) {
        for _ in 0..self.runs {
            self.rows.iter_mut().for_each(|row| row.taken.push((row.run)()));
        }
        self.rows.iter_mut().for_each(|row| row.taken.sort_by_key(|taken| taken.time));
        println!(
            "\nKafka: {} {what} of {} bytes in {PARTITIONS} partitions a topic, whole processes, best of {} in turns",
            self.records,
            self.bytes / self.records,
            self.runs
        );
        println!(
            "{:<46} {:>10} {:>10} {:>6} {:>8} {:>8} {:>8}",
            "", "records/s", "median", "MB/s", "CPU s/M", "MiB peak", "of drop"
        );
        let dropped = self.rows[0].taken[0].time.as_secs_f64();
        for row in &self.rows {
            let (best, median) = (row.taken[0], row.taken[row.taken.len() / 2]);
            let rate = |taken: Taken| self.records as f64 / taken.time.as_secs_f64();
            println!(
                "{:<46} {:>10.0} {:>10.0} {:>6.0} {:>8.2} {:>8.0} {:>8.2}",
                row.name,
                rate(best),
                rate(median),
                self.bytes as f64 / best.time.as_secs_f64() / 1e6,
                best.cpu.as_secs_f64() / self.records as f64 * 1e6,
                best.memory as f64 / f64::from(1 << 20),
                dropped / best.time.as_secs_f64(),
            );
        }
    }
}

/// What hash maps have of these sales, and their bytes.
fn in_hash_maps(sales: impl Iterator<Item = Sent>) -> (HashMaps, usize) {
    let (mut bytes, mut maps, decoder) = (0, HashMaps::default(), Decoder::new(chrono_tz::Tz::UTC));
    for Sent { value, .. } in sales {
        bytes += value.len();
        maps.take(&decoder, value.as_bytes());
    }
    (maps, bytes)
}

/// Sales alone: W1 and all views, raw documents, and MongoDB if there is one.
pub fn sales(servers: &str, mongodb: Option<&str>, count: usize, runs: usize) {
    let topics = Topics::make(servers, "sales");
    topics.fill(Sales::new(START).take(count));
    let (maps, bytes) = in_hash_maps(Sales::new(START).take(count));
    let revenue = maps.all.2;
    drop(maps);
    let mut table = Table::new(&topics, runs, (count, bytes), revenue);
    table.another("W1 in hash maps, 1 thread", "hash-maps", &[&revenue.to_string()]);
    table.everywhere("W1", "w1", Some(W1));
    let how = How { views: Some(W1), processes: 1, workers: 2, raw_data: "off", again: true };
    table.store("W1 read again, no checkpoint", How { workers: 1, ..how }, || Target::Sqlite);
    table.store("W1 read again, no checkpoint", how, || Target::Sqlite);
    let how = How { again: false, ..how };
    table.everywhere("all views", "all", None);
    table.store("W1 and raw_data -> SQLite", How { raw_data: "on", ..how }, || Target::Sqlite);
    table.show("sales");
    let Some(uri) = mongodb else {
        println!("MongoDB: not measured, MONGO_URI is not set");
        return;
    };
    // A table of its own, of a tenth: the servers that tests have in MongoDB's place take minutes for all.
    let topics = Topics::make(servers, "mongodb");
    let (maps, bytes) = in_hash_maps(Sales::new(START).take(count / 10));
    topics.fill(Sales::new(START).take(count / 10));
    let mut table = Table::new(&topics, runs, (count / 10, bytes), maps.all.2);
    let mut number = 0;
    table.store("W1 -> SQLite", how, || Target::Sqlite);
    table.store("W1 -> MongoDB", how, || {
        number += 1;
        Target::Mongodb(uri, format!("bench-{}-{number}", std::process::id()))
    });
    table.show("sales");
}

/// Longer sales, with more fields, texts beyond ASCII, corrections and duplicates: W1. (The hash maps know no corrections.)
pub fn unusual(servers: &str, count: usize, runs: usize) {
    let topics = Topics::make(servers, "unusual");
    let sales = || Sales::new(START).unusual().take(count);
    topics.fill(sales());
    let cents: i128 = sales().map(|sent| sent.cents).sum();
    let (maps, bytes) = in_hash_maps(sales());
    let mut table = Table::new(&topics, runs, (count, bytes), cents * 100);
    table.another("W1 in hash maps, 1 thread, uncorrected", "hash-maps", &[&maps.all.2.to_string()]);
    drop(maps);
    for workers in [1, 2] {
        let how = How { views: Some(W1), processes: 1, workers, raw_data: "off", again: false };
        table.store("W1 -> SQLite", how, || Target::Sqlite);
    }
    table.show("unusual sales");
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
    let how = How { views: None, processes: 1, workers: 1, raw_data: "off", again: false };
    // Verified against an independent recomputation; what the others have to find.
    let (_, revenue) = how.measure(&topics, &Target::Sqlite);
    let mut table = Table::new(&topics, runs, (records, bytes), revenue);
    table.everywhere("all views", "all", None);
    table.store("all views and raw_data -> SQLite", How { workers: 2, raw_data: "on", ..how }, || Target::Sqlite);
    table.show("records, 70 % activity, 25 % sales, 5 % inventory,");
}

/// Leaves sales behind for whoever compares another program, and says what it has to find.
pub fn fill(servers: &str, count: usize) {
    for (name, sales) in [("w1", Sales::new(START)), ("unusual", Sales::new(START).unusual())] {
        let prefix = format!("bench-{name}.");
        let topics = Topics::named(servers, &prefix);
        topics.fill(sales.clone().take(count));
        topics.keep();
        let (maps, bytes) = in_hash_maps(sales.take(count));
        println!("\n{prefix}sales: {count} records, {bytes} bytes; the first of each transaction_id:");
        maps.tell();
    }
}
