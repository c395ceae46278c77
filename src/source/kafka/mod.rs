//! Kafka: manual assignment, offsets from the store alone.
//!
//! Each worker has a consumer of its own with the partitions it owns, each partition a queue of its own. The
//! group's offsets are written after commits, for lag tools, and never read.

mod added;
mod client;
mod reader;
mod topics;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use tillflow_dataflows::records::Topic;

use self::client::Client;
use self::reader::KafkaReader;
use self::watch::Watch;
use super::{Assignment, PartitionInfo, Reader, Source, SourceError};
use crate::store::Offsets;

pub use self::topics::Layout;

/// How long a broker may take to answer when tillflow starts.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How Kafka is reached.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port`, several with commas.
    pub bootstrap_servers: String,
    /// The group whose offsets lag tools watch.
    pub group_id: String,
    /// What stands before the topics' plain names in Kafka.
    pub topic_prefix: String,
    /// librdkafka properties that the user gave; they win, except over those that exactness needs.
    pub properties: Vec<(String, String)>,
    /// Bytes that all of a reader's queues may hold together.
    pub queue_bytes: usize,
}

/// The Kafka source.
pub struct KafkaSource {
    client: Client,
    watch: Watch,
}

impl KafkaSource {
    /// A source over these settings; nothing is connected yet, but the properties are checked.
    pub fn new(settings: KafkaSettings) -> Result<KafkaSource, SourceError> {
        let client = Client::new(settings)?;
        let watch = Watch::start(&client)?;
        Ok(KafkaSource { client, watch })
    }
}

impl Source for KafkaSource {
    fn identity(&self) -> String {
        // Not the servers: they may move while the log stays the same.
        format!("kafka topics {}*", self.client.settings().topic_prefix)
    }

    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        let consumer = self.client.asker()?;
        let metadata = self.client.metadata("asking for the topics", &consumer)?;
        let mut partitions = Vec::new();
        let mut missing = Vec::new();
        for topic in Topic::ALL {
            let name = self.client.topic_name(topic);
            let Some(found) =
                metadata.topics().iter().find(|found| found.name() == name && !found.partitions().is_empty())
            else {
                missing.push(name);
                continue;
            };
            for partition in found.partitions() {
                let (low, high) = consumer
                    .fetch_watermarks(&name, partition.id(), ANSWER_WITHIN)
                    .map_err(|error| self.client.unavailable("asking for offsets", &error, &consumer))?;
                self.watch.ends().set(topic, partition.id(), high);
                partitions.push(PartitionInfo { topic, partition: partition.id(), low, high: Some(high) });
            }
        }
        if !missing.is_empty() {
            return Err(SourceError::Unavailable(format!(
                "the Kafka brokers at {} have no topic {}: create what is missing with `tillflow init`, or name \
                 another prefix with --topic-prefix",
                self.client.settings().bootstrap_servers,
                missing.join(", ")
            )));
        }
        partitions.sort_by_key(|info| (info.topic, info.partition));
        self.watch.added().begin(partitions.iter().map(|info| (info.topic, info.partition)));
        Ok(partitions)
    }

    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        let consumer = Arc::new(self.client.consumer_of(assignments.len())?);
        self.watch.added().tell(&consumer);
        Ok(Box::new(KafkaReader::new(&self.client, consumer, assignments, self.watch.ends())?))
    }

    fn go_on_from(&self, places: &[(Topic, i32)]) {
        self.watch.added().begin(places.iter().copied());
    }

    fn added(&self, known: usize) -> Vec<PartitionInfo> {
        self.watch.added().after(known)
    }

    fn committed(&self, offsets: &Offsets) {
        self.watch.committed(offsets);
    }

    fn end(&self, topic: Topic, partition: i32) -> Option<i64> {
        self.watch.ends().get(topic, partition)
    }
}
