//! From a record's Kafka timestamp to its commit, at a steady rate, as somebody sees it who asks the store all the time; and
//! from there to a page that is open.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::producer::Producer as _;
use tillflow_dataflows::records::{Millis, Topic};

use crate::broker::{Topics, producer, send};
use crate::child;
use crate::kafka::{DATABASE, Target, cluster};
use crate::support::free_addresses;
use crate::support::sales::{PARTITIONS, Sales};

/// How long the first records are not counted: the program starts.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long the last records may take to be sent.
const SENT_WITHIN: Duration = Duration::from_secs(10);
/// How often the store is asked.
const LOOK: Duration = Duration::from_millis(1);
/// How often records are sent, so many at once that the rate is kept.
const SENT_EVERY: Duration = Duration::from_millis(2);

/// How long the store is held up, once, in a run of its own.
const OUTAGE: Duration = Duration::from_secs(5);
/// What the latency is again after an outage, at the latest by twice its length.
const RECOVERED: Millis = 300;

/// Sends `rate` sales a second for `seconds`, while the program maintains all views with a tick of 100 ms.
pub fn latency(servers: &str, rate: usize, seconds: u64) {
    println!("\nlatency: {rate} sales/s for {seconds} s, all views, Kafka -> SQLite, tick 100 ms");
    for (processes, workers) in [(1, 1), (1, 2), (2, 1)] {
        let topics = Topics::make(servers, "latency");
        let size = Size { processes, workers };
        let Measured { mut times, mut page, .. } = measure(&topics, size, rate, Duration::from_secs(seconds), None);
        times.sort_unstable_by_key(|(_, time)| *time);
        page.sort_unstable();
        fn place(length: usize, share: f64) -> usize {
            ((length - 1) as f64 * share) as usize
        }
        let at = |share: f64| times[place(times.len(), share)].1;
        println!(
            "{:<44} p50 {} ms, p99 {} ms, p99.9 {} ms, most {} ms, of {} records",
            format!("{processes} process(es), {workers} worker(s)"),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            times.len(),
        );
        assert!(!page.is_empty(), "the page hears nothing");
        let at = |share: f64| page[place(page.len(), share)].as_secs_f64() * 1e3;
        println!(
            "{:<44} p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms, of {} commits",
            "  and to a page that hears of it",
            at(0.5),
            at(0.99),
            at(1.0),
            page.len()
        );
    }
    let length = Duration::from_secs(seconds).max(4 * OUTAGE);
    let topics = Topics::make(servers, "outage");
    let size = Size { processes: 1, workers: 2 };
    let Measured { times, over, .. } = measure(&topics, size, rate, length, Some(OUTAGE));
    let over = over.expect("an outage");
    let slow = times.iter().filter(|(committed, time)| *committed > over && *time > RECOVERED);
    let recovered = slow.map(|(committed, _)| committed.duration_since(over)).max().unwrap_or_default();
    // What was seen committed at once.
    let largest = times.chunk_by(|(one, _), (other, _)| one == other).map(<[_]>::len).max().unwrap_or_default();
    println!(
        "{:<44} under {RECOVERED} ms again {:.1} s after it, for good; {} ms at most; {largest} records in its largest commit",
        format!("2 worker(s), a store held up for {} s", OUTAGE.as_secs()),
        recovered.as_secs_f64(),
        times.iter().map(|(_, time)| *time).max().unwrap_or_default(),
    );
}

/// Holds the write lock of a database as another program would that has much to write; returns when it let go.
fn hold_up(file: &Path, length: Duration) -> Instant {
    let other = rusqlite::Connection::open(file).expect("the store");
    other.busy_timeout(SENT_WITHIN).and_then(|()| other.execute_batch("BEGIN IMMEDIATE")).expect("its lock");
    std::thread::sleep(length);
    other.execute_batch("COMMIT").expect("an empty transaction");
    Instant::now()
}

/// How many processes, and workers of each.
#[derive(Clone, Copy)]
struct Size {
    processes: usize,
    workers: usize,
}

impl Size {
    /// Starts the program. Process 0 has the page.
    fn start(self, topics: &Topics, folder: &Path, dashboard: SocketAddr) -> Vec<Child> {
        let process = |process: usize| {
            let mut command = topics.tillflow(&["run", "-q", "--raw-data", "off"]);
            command.args(["--workers", &self.workers.to_string()]).args(Target::Sqlite.flags(folder));
            command.arg("--state").arg(folder.join("state"));
            match process {
                0 => command.args(["--listen", &dashboard.to_string()]),
                _ => command.arg("--no-dashboard"),
            };
            cluster(&mut command, process, self.processes, folder);
            child::start(command)
        };
        (0..self.processes).map(process).collect()
    }
}

/// What one run gave.
struct Measured {
    /// Of each record after the warm-up: when its commit was seen, and how many milliseconds after its timestamp that was.
    times: Vec<(Instant, Millis)>,
    /// Of each commit after the warm-up: from when it was seen in the store to when a page heard of it, or of a later one.
    page: Vec<Duration>,
    /// When the store's outage was over.
    over: Option<Instant>,
}

/// The epochs that a page hears of, and when.
type Heard = Arc<Mutex<Vec<(u64, Instant)>>>;

/// Listens to the stream of epochs as a page does, until the program ends.
fn listen(dashboard: SocketAddr) -> Heard {
    let heard = Heard::default();
    let all = Arc::clone(&heard);
    std::thread::spawn(move || {
        let begun = Instant::now();
        let stream = loop {
            match TcpStream::connect(dashboard) {
                Ok(stream) => break stream,
                Err(error) => assert!(begun.elapsed() < SENT_WITHIN, "{dashboard}: {error}"),
            }
            std::thread::sleep(LOOK);
        };
        write!(&stream, "GET /events HTTP/1.1\r\nHost: {dashboard}\r\n\r\n").expect("the server reads");
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(epoch) = line.strip_prefix("id: ").and_then(|epoch| epoch.parse().ok()) {
                all.lock().unwrap().push((epoch, Instant::now()));
            }
        }
    });
    heard
}

/// From each commit that was seen to when it was heard of.
fn delays(committed: &[(u64, Instant)], heard: &[(u64, Instant)]) -> Vec<Duration> {
    let mut heard = heard.iter().peekable();
    let mut delays = Vec::new();
    for (epoch, seen) in committed {
        while heard.next_if(|(newest, _)| newest < epoch).is_some() {}
        // The last ones may be seen when nobody listens any more.
        let Some((_, at)) = heard.peek() else { break };
        delays.push(at.saturating_duration_since(*seen));
    }
    delays
}

fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}

fn measure(topics: &Topics, size: Size, rate: usize, length: Duration, outage: Option<Duration>) -> Measured {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = Target::Sqlite;
    let dashboard = free_addresses(1)[0];
    let mut running = size.start(topics, folder.path(), dashboard);
    let heard = listen(dashboard);
    let (servers, name) = (topics.servers.clone(), topics.name(Topic::Sales));
    let (told, sent) = crossbeam_channel::unbounded::<(usize, Millis)>();
    let sender = std::thread::spawn(move || {
        let (producer, mut sales, begun) = (producer(&servers), Sales::new(now()), Instant::now());
        let mut number = 0;
        while begun.elapsed() < WARM_UP + length {
            let due = (begun.elapsed().as_secs_f64() * rate as f64) as usize;
            let timestamp = now();
            while number < due {
                let sale = sales.next_at(timestamp);
                send(&producer, &name, &sale);
                told.send((sale.partition, timestamp)).expect("somebody listens");
                number += 1;
            }
            std::thread::sleep(SENT_EVERY);
        }
        // What is still in its queue would go with it.
        producer.flush(SENT_WITHIN).expect("everything is sent");
    });
    let holding_up = outage.map(|outage| {
        let file = folder.path().join(DATABASE);
        std::thread::spawn(move || {
            std::thread::sleep(WARM_UP + outage);
            hold_up(&file, outage)
        })
    });
    let begun = Instant::now();
    let mut waiting: [(i64, VecDeque<Millis>); PARTITIONS] = Default::default();
    let mut times = Vec::with_capacity(rate * length.as_secs() as usize);
    let mut reader = None;
    let mut commits: Vec<(u64, Instant)> = Vec::new();
    while begun.elapsed() < WARM_UP + length + Duration::from_secs(5) {
        std::thread::sleep(LOOK);
        let has_ended = |child: &mut Child| child.try_wait().expect("a child").is_some();
        assert!(!running.iter_mut().any(has_ended), "the program has ended");
        if reader.is_none() {
            reader = target.address(folder.path()).open_reader().ok();
        }
        // Before its first commit there is nothing to ask.
        let Some(Ok((Some(progress), _))) = reader.as_mut().map(|reader| reader.read(&[])) else { continue };
        let (seen, committed) = (Instant::now(), now());
        if begun.elapsed() > WARM_UP && commits.last().is_none_or(|(epoch, _)| *epoch < progress.epoch) {
            commits.push((progress.epoch, seen));
        }
        for (partition, timestamp) in sent.try_iter() {
            waiting[partition].1.push_back(timestamp);
        }
        for (partition, (next, waiting)) in waiting.iter_mut().enumerate() {
            let reached = progress.offsets.get(&(Topic::Sales, partition as i32)).copied().unwrap_or_default();
            while *next < reached {
                let Some(timestamp) = waiting.pop_front() else { break };
                *next += 1;
                if begun.elapsed() > WARM_UP {
                    times.push((seen, committed - timestamp));
                }
            }
        }
        if sender.is_finished() && sent.is_empty() && waiting.iter().all(|(_, waiting)| waiting.is_empty()) {
            break;
        }
    }
    sender.join().expect("the sender ends");
    let left: usize = waiting.iter().map(|(_, waiting)| waiting.len()).sum();
    assert!(left == 0 && sent.is_empty(), "{left} records are not committed");
    for child in &mut running {
        child.kill().and_then(|()| child.wait()).expect("a child");
    }
    let page = delays(&commits, &heard.lock().unwrap());
    Measured { times, page, over: holding_up.map(|thread| thread.join().expect("the outage ends")) }
}
