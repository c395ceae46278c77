//! What the tests stand on: services, topics and stores of their own, the program, and the oracle.

pub mod broker;
pub mod cluster;
pub mod oracle;
pub mod program;
pub mod world;

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// How long anything may take that is neither a pipeline with much to do nor a wait for a time limit.
pub const SOON: Duration = Duration::from_secs(60);

/// A setting that the tests cannot do without.
fn required(name: &str, what: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("set {name} to {what}; ./test.sh does so, and starts what is missing"),
    }
}

pub fn kafka() -> String {
    required("KAFKA_BOOTSTRAP_SERVERS", "the address of a Kafka broker for tests")
}

pub fn mongodb() -> String {
    required("MONGO_URI", "the connection string of a MongoDB server for tests")
}

pub fn python() -> String {
    required("TILLFLOW_TEST_PYTHON", "a Python that has the packages of tests/requirements.txt")
}

/// A name that no other test, run or machine has.
pub fn unique(name: &str) -> String {
    format!("pipeline-{name}-{:016x}", rand::random::<u64>())
}

/// Asks until there is an answer, at most for `limit`.
pub fn wait_for<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An address of this machine where nobody listens.
pub fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}
