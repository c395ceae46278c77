//! Whole runs over a log in memory, and what they are compared with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tillflow::codec::Decoder;
use tillflow::engine::{EngineOptions, Run};
use tillflow::store::{Store, StoreAddress, StoreOptions};

use super::log::{Log, Partitions};
use super::sales::HashMaps;
use super::stores::{Null, Watched};

/// How long a run takes that reads a log in memory.
pub fn pipeline(partitions: &Arc<Partitions>, options: EngineOptions, store: Box<dyn Store>) -> Duration {
    let begun = Instant::now();
    let source = Arc::new(Log { partitions: Arc::clone(partitions) });
    Run::new(options, source).alone(store).expect("the pipeline runs");
    begun.elapsed()
}

/// W1 in hash maps, read with serde_json or with the program's own decoder: how long it takes, and the revenue in
/// ten-thousandths.
pub fn hash_maps(partitions: &Partitions, plainly: bool) -> (Duration, i128) {
    let (begun, decoder, mut maps) = (Instant::now(), Decoder::new(chrono_tz::Tz::UTC), HashMaps::default());
    for value in partitions.iter().flatten().filter_map(|record| record.value.as_deref()) {
        if plainly { maps.take_plainly(value) } else { maps.take(&decoder, value) }
    }
    (begun.elapsed(), maps.all.2)
}

/// A file for a store, a folder for checkpoints, and what is looked at.
pub struct Place {
    folder: tempfile::TempDir,
    pub eye: Null,
}

impl Place {
    pub fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a temporary folder"), eye: Null::default() }
    }

    /// SQLite, or what forgets everything.
    pub fn store(&self, sqlite: bool) -> Box<dyn Store> {
        if sqlite { self.sqlite(true) } else { Box::new(self.eye.clone()) }
    }

    /// SQLite, with commits that are atomic and durable or without a journal.
    pub fn sqlite(&self, journal: bool) -> Box<dyn Store> {
        let address = StoreAddress::Sqlite { path: self.folder.path().join("bench.sqlite") };
        let store = address.open_with(StoreOptions { journal, ..StoreOptions::default() }).expect("SQLite opens");
        Box::new(Watched { store, eye: self.eye.clone() })
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn assert_revenue(&self, revenue: i128) {
        assert_eq!(self.eye.revenue(), revenue, "the revenue is another one");
    }
}
