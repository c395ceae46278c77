//! What several benchmarks share.

#![allow(dead_code, reason = "each benchmark uses its own part")]

pub mod log;
pub mod memory;
pub mod sales;
pub mod sessions;
pub mod stores;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tillflow::engine::{CheckpointOptions, EngineOptions};
use tillflow::views::ViewSet;
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::outputs::Selection;
use tillflow_dataflows::time::{HOUR, MINUTE};

use sales::W1;

/// How a run of the program is told to go.
pub fn options(workers: usize, views: ViewSet, state: Option<&Path>) -> EngineOptions {
    let interval = Duration::from_secs(1);
    EngineOptions {
        workers,
        tick: Duration::from_millis(100),
        raw_data: false,
        until_caught_up: true,
        admission: admission(),
        timezone: chrono_tz::Tz::UTC,
        instance: String::from("bench"),
        views,
        checkpoints: state.map(|folder| CheckpointOptions { folder: folder.to_path_buf(), interval }),
        accepted: Vec::new(),
    }
}

/// The views of W1 alone.
pub fn w1() -> ViewSet {
    let selection = Selection::of(W1.split(',')).expect("views that there are");
    ViewSet { selection, added: Arc::default(), file: None }
}

/// The defaults.
pub fn admission() -> AdmissionSettings {
    AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE }
}

/// A number that the environment may set.
pub fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number")),
        Err(_) => default,
    }
}

/// Addresses of ports that nobody else has at this moment.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    // All are held until all are found, or one might be given twice.
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("its address")).collect()
}

/// Prints what the numbers are of: the machine, and the versions of what they depend on.
pub fn tell_of_the_machine() {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let value = |text: String, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        line.unwrap_or("unknown").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{cores} cores of {}, {} of memory, {} {}",
        value(read("/proc/cpuinfo"), "model name"),
        value(read("/proc/meminfo"), "MemTotal"),
        std::env::consts::OS,
        read("/proc/sys/kernel/osrelease").trim(),
    );
    println!(
        "tillflow {}, librdkafka {}, SQLite {}",
        env!("CARGO_PKG_VERSION"),
        rdkafka::util::get_rdkafka_version().1,
        rusqlite::version(),
    );
}
