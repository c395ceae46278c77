//! Several processes of the program that work as one.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::program::{Ended, Running, Tillflow, write};

/// Addresses where nobody listens yet, one a line. They lie below the ports that systems hand out to clients, so that no
/// connection takes one before its process does.
pub fn free_hosts(processes: usize) -> String {
    let mut listeners: Vec<TcpListener> = Vec::new();
    while listeners.len() < processes {
        listeners.extend(TcpListener::bind(("127.0.0.1", rand::random_range(20_000..32_000))));
    }
    let lines = listeners.iter().map(|it| format!("{}\n", it.local_addr().expect("an address")));
    format!("# the processes of one test\n{}", lines.collect::<String>())
}

/// Starts one process of a cluster.
pub fn process(command: Tillflow, hosts: &str, process: usize) -> Running {
    let processes = hosts.lines().count() - 1;
    command
        .flags(["--processes", &processes.to_string(), "--process", &process.to_string(), "--hosts", "hosts"])
        .env("TILLFLOW_CLUSTER_SECRET", "the secret of the cluster tests")
        .start_with(|folder| write(&folder.join("hosts"), hosts.as_bytes()))
}

/// Waits for the ends of all.
pub fn wait_all(running: Vec<Running>, limit: Duration) -> Vec<Ended> {
    let deadline = Instant::now() + limit;
    running.into_iter().map(|it| it.wait(deadline.saturating_duration_since(Instant::now()))).collect()
}

/// The process found the cluster incomplete, and said so.
pub fn assert_lost(ended: &Ended, words: &str) {
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.last_line().starts_with("error: process ") && ended.last_line().contains(words), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}
