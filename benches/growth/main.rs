//! What becomes slower when there is more of it, and what does not: curves, as tables and as SVG.
//!
//! `cargo bench --bench growth` draws all of them, `cargo bench --bench growth -- history` some:
//!
//! - `keys`: records a second against the number of products;
//! - `history`: records a second, and resident memory, while one run goes on, into the same two (`TILLFLOW_BENCH_HISTORY` records, default
//!   50,000,000: 29 days of event time, of which two can be corrected);
//! - `ticks`: records a second against the length of a tick;
//! - `workers`: records a second against workers, in one process and in as many, into SQLite and into a store that forgets
//!   everything;
//! - `correction`: the time of one correction against the number of sales in the hour that it corrects.
//!
//! The pictures go to `target/growth`, or to the folder that `TILLFLOW_BENCH_PICTURES` names. `TILLFLOW_BENCH_RECORDS` is the
//! number of sales for each point of the others (default 1,000,000).

mod correction;
mod history;
mod picture;
mod processes;
#[path = "../support/mod.rs"]
mod support;
mod throughput;

use support::number;

/// As in the program that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTS: [&str; 5] = ["keys", "history", "ticks", "workers", "correction"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == processes::ONE_OF_SEVERAL) {
        return processes::one_of_several(&arguments[place + 1..]);
    }
    // `cargo test --benches` runs them with this flag, to see that they work.
    let test = arguments.iter().any(|argument| argument == "--test");
    let count = number("TILLFLOW_BENCH_RECORDS", if test { 20_000 } else { 1_000_000 });
    let history = number("TILLFLOW_BENCH_HISTORY", if test { 100_000 } else { 50_000_000 });
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = chosen.iter().find(|part| !PARTS.contains(part)) {
        panic!("{unknown}: no such part; there are {}", PARTS.join(", "));
    }
    support::tell_of_the_machine();
    for part in PARTS.into_iter().filter(|part| chosen.is_empty() || chosen.contains(part)) {
        match part {
            "keys" => throughput::keys(count),
            "history" => history::history(history),
            "ticks" => throughput::ticks(count),
            "workers" => throughput::workers(count),
            _ => correction::correction(if test { 1_000 } else { 1_000_000 }),
        }
    }
}
