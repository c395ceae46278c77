//! The whole path, beside what a user might do instead, in the same run.
//!
//! `cargo bench --bench pipeline` measures everything, `cargo bench --bench pipeline -- kafka latency` some of these parts:
//!
//! - `memory`: a log in memory into SQLite, and into a store that forgets everything, beside a single-threaded program of
//!   hash maps;
//! - `feed`: the same into a server that speaks MongoDB's protocol and answers at once, with raw_data and without;
//! - `exactness`: what transactions and checkpoints cost, and how long a start takes;
//! - `kafka`: sales from Kafka into SQLite, MongoDB and nothing, in whole processes, beside a client that reads and drops
//!   and beside the hash maps, with CPU and memory (as Linux tells them);
//! - `unusual`: the same with sales that are longer, with more fields, texts beyond ASCII, corrections and duplicates;
//! - `mixed`: the same with records of all three topics, as `tillflow generate` sends them;
//! - `latency`: from Kafka timestamps to commits at 50,000 records a second, from there to a page, and how soon it is what it
//!   was after the store was held up.
//!
//! `-- fill` measures nothing: it leaves the sales of `kafka` and of `unusual` in the topics `bench-w1.sales` and
//! `bench-unusual.sales`, for another program to read, and says what that has to find.
//!
//! `kafka`, `unusual`, `mixed`, `latency` and `fill` need the servers that `KAFKA_BOOTSTRAP_SERVERS` and `MONGO_URI` name (`scripts/services.sh
//! start DIR` makes a pair). `TILLFLOW_BENCH_RECORDS` is the number of records (default 2,000,000), `TILLFLOW_BENCH_RATE` those
//! of a second for `latency` (default 50,000). The rows of a table are run in turns, three times (five times in `memory`), and
//! what a run wrote is checked before it counts: the revenue always, and where there is a database, everything, by `tillflow
//! verify`.

mod broker;
mod child;
mod feed;
mod kafka;
mod latency;
mod memory;
mod sink;
#[path = "../support/mod.rs"]
mod support;

use support::number;

/// As in the program that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FILL: &str = "fill";
const PARTS: [&str; 7] = ["memory", "feed", "exactness", "kafka", "unusual", "mixed", "latency"];
const RUNS: usize = 3;
/// Of what takes a second or two: with two workers a moment of anything else on two cores is in the result.
const SHORT_RUNS: usize = 5;
const RATE: usize = 50_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--program") {
        return kafka::program(&arguments[place + 1..]);
    }
    // `cargo test --benches` runs them with this flag, to see that they work.
    let test = arguments.iter().any(|argument| argument == "--test");
    let (default, runs, seconds) = if test { (20_000, 1, 2) } else { (2_000_000, RUNS, 20) };
    let (count, rate) = (number("TILLFLOW_BENCH_RECORDS", default), number("TILLFLOW_BENCH_RATE", RATE));
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    if chosen.contains(&FILL) {
        let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").expect("KAFKA_BOOTSTRAP_SERVERS, which broker to fill");
        return kafka::fill(&servers, count);
    }
    if let Some(unknown) = chosen.iter().find(|part| !PARTS.contains(part)) {
        panic!("{unknown}: no such part; there are {}", PARTS.join(", "));
    }
    support::tell_of_the_machine();
    let kafka = std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok();
    for part in PARTS.into_iter().filter(|part| chosen.is_empty() || chosen.contains(part)) {
        match (part, &kafka) {
            ("memory", _) => memory::throughput(count, if test { 1 } else { SHORT_RUNS }),
            ("feed", _) => feed::feed(count / 2, runs),
            ("exactness", _) => memory::exactness(count / 2, runs),
            (_, None) => println!("\n{part}: not measured, KAFKA_BOOTSTRAP_SERVERS is not set"),
            ("kafka", Some(servers)) => {
                kafka::sales(servers, std::env::var("MONGO_URI").ok().as_deref(), count, runs);
            }
            ("unusual", Some(servers)) => kafka::unusual(servers, count / 2, runs),
            ("mixed", Some(servers)) => kafka::mixed(servers, count, runs),
            (_, Some(servers)) => latency::latency(servers, rate, seconds),
        }
    }
}
