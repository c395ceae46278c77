//! Partitions that came after the start.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tillflow_dataflows::records::Topic;

use super::client::Context;
use super::watch::Ends;
use crate::source::PartitionInfo;

/// What has been found so far, shared by the watching thread and the workers.
#[derive(Clone, Default)]
pub(super) struct Added {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Those that were there at the start, and those found since. None before the start.
    known: BTreeSet<(Topic, i32)>,
    found: Vec<PartitionInfo>,
    readers: Vec<Weak<BaseConsumer<Context>>>,
}

impl Added {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on, a partition that is not among these is a new one.
    pub(super) fn begin(&self, places: impl Iterator<Item = (Topic, i32)>) {
        let mut state = self.lock();
        state.known = places.collect();
        // What a look has found before is among them.
        state.found.clear();
    }

    /// Names a consumer that may be asked to read what is found.
    pub(super) fn tell(&self, reader: &Arc<BaseConsumer<Context>>) {
        let mut state = self.lock();
        state.readers.retain(|reader| reader.strong_count() > 0);
        state.readers.push(Arc::downgrade(reader));
    }

    /// What was found, less the first `known`.
    pub(super) fn after(&self, known: usize) -> Vec<PartitionInfo> {
        self.lock().found.get(known..).unwrap_or_default().to_vec()
    }

    /// Looks for new partitions. What the brokers do not tell now is asked again the next time.
    pub(super) fn look(
        &self,
        consumer: &BaseConsumer<Context>,
        names: &[String; 3],
        ends: &Ends,
        answer_within: Duration,
    ) {
        let (known, readers) = {
            let state = self.lock();
            (state.known.clone(), state.readers.clone())
        };
        if known.is_empty() {
            return;
        }
        for topic in Topic::ALL {
            let name = names[topic as usize].as_str();
            let Ok(metadata) = consumer.fetch_metadata(Some(name), answer_within) else { continue };
            let numbers: BTreeSet<i32> = metadata
                .topics()
                .iter()
                .filter(|found| found.name() == name)
                .flat_map(|found| found.partitions().iter().map(|partition| partition.id()))
                .filter(|number| !known.contains(&(topic, *number)))
                .collect();
            if numbers.is_empty() {
                continue;
            }
            // A consumer that is to read a partition it has not heard of calls it an error until it has: this is how it
            // hears, on this thread, where nobody waits.
            for reader in readers.iter().filter_map(Weak::upgrade) {
                if let Err(error) = reader.fetch_metadata(Some(name), answer_within) {
                    tracing::debug!(%error, topic = name, "a reader has not heard of the new partitions yet");
                }
            }
            for partition in numbers {
                match consumer.fetch_watermarks(name, partition, answer_within) {
                    Ok((low, high)) => {
                        ends.set(topic, partition, high);
                        let mut state = self.lock();
                        if state.known.insert((topic, partition)) {
                            state.found.push(PartitionInfo { topic, partition, low, high: Some(high) });
                        }
                    }
                    // It may have no leader yet.
                    Err(error) => {
                        tracing::debug!(%error, topic = name, partition, "a new partition cannot be asked yet")
                    }
                }
            }
        }
    }
}
