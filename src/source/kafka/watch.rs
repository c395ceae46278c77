//! A thread beside the readers: asks the brokers how long each partition is and whether there are new ones, and tells
//! them how far records are committed. Lag is measured and shown by it, and new partitions are taken up after it has
//! found them; nothing else depends on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tillflow_dataflows::records::Topic;

use super::added::Added;
use super::client::{Client, Context};
use crate::source::SourceError;
use crate::store::Offsets;

/// How often it looks and tells.
const EVERY: Duration = Duration::from_secs(2);

/// How often it looks for new partitions.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long a broker may take to answer; nobody waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The offset after the last record of each partition, as last seen.
#[derive(Clone, Default)]
pub(super) struct Ends {
    ends: Arc<Mutex<HashMap<(Topic, i32), i64>>>,
}

impl Ends {
    pub(super) fn get(&self, topic: Topic, partition: i32) -> Option<i64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(&(topic, partition)).copied()
    }

    pub(super) fn set(&self, topic: Topic, partition: i32, end: i64) {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).insert((topic, partition), end);
    }
}

/// The thread; it ends with the value.
pub(super) struct Watch {
    ends: Ends,
    added: Added,
    committed: Arc<Mutex<Offsets>>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn start(client: &Client) -> Result<Watch, SourceError> {
        let watch =
            Watch { ends: Ends::default(), added: Added::default(), committed: Arc::default(), stop: Arc::default() };
        // It tells the group how far records are committed.
        let consumer = client.consumer_of(0)?;
        let names = Topic::ALL.map(|topic| client.topic_name(topic));
        let (ends, added) = (watch.ends.clone(), watch.added.clone());
        let (committed, stop) = (Arc::clone(&watch.committed), Arc::clone(&watch.stop));
        std::thread::Builder::new()
            .name("tillflow-lag".into())
            .spawn(move || {
                let mut told = Offsets::new();
                let mut looked = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(EVERY);
                    crate::fault::point("source.watched");
                    let offsets = committed.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    for (topic, partition) in offsets.keys().copied() {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let name = &names[topic as usize];
                        if let Ok((_, high)) = consumer.fetch_watermarks(name, partition, ANSWER_WITHIN) {
                            ends.set(topic, partition, high);
                        }
                    }
                    if looked.elapsed() >= LOOK_EVERY {
                        looked = Instant::now();
                        added.look(&consumer, &names, &ends, ANSWER_WITHIN);
                    }
                    if offsets != told && tell(&consumer, &names, &offsets) {
                        told = offsets;
                    }
                }
            })
            .map_err(|error| SourceError::Unavailable(format!("starting a thread: {error}")))?;
        Ok(watch)
    }

    pub(super) fn ends(&self) -> Ends {
        self.ends.clone()
    }

    pub(super) fn added(&self) -> &Added {
        &self.added
    }

    pub(super) fn committed(&self, offsets: &Offsets) {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone_from(offsets);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Not joined: it may be waiting for a broker, and holds nothing that anybody needs.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn tell(consumer: &BaseConsumer<Context>, names: &[String; 3], offsets: &Offsets) -> bool {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), next) in offsets {
        if list.add_partition_offset(&names[*topic as usize], *partition, Offset::Offset(*next)).is_err() {
            return false;
        }
    }
    match consumer.commit(&list, CommitMode::Async) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "the group's offsets were not written; only lag tools read them");
            false
        }
    }
}
