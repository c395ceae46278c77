//! Creating the topics.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use tillflow_dataflows::records::Topic;

use super::client::explain;
use super::{ANSWER_WITHIN, KafkaSource};
use crate::source::SourceError;

/// How a topic is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas.
    pub replication_factor: i32,
}

impl KafkaSource {
    /// Creates the topics that are not there, and says of each by its full name whether it was created.
    pub fn create_topics(&self, layout: Layout) -> Result<Vec<(String, bool)>, SourceError> {
        let names = Topic::ALL.map(|topic| self.client.topic_name(topic));
        let servers = &self.client.settings().bootstrap_servers;
        // A consumer first: its errors say more than "timed out".
        let consumer = self.client.asker()?;
        self.client.metadata("creating topics", &consumer)?;
        let failed = |problem: String| {
            SourceError::Unavailable(format!("creating topics on the Kafka brokers at {servers}: {problem}"))
        };
        let admin: AdminClient<DefaultClientContext> =
            self.client.admin_config().create().map_err(|error| failed(error.to_string()))?;
        let topics: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| NewTopic::new(name, layout.partitions, TopicReplication::Fixed(layout.replication_factor)))
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN)).request_timeout(Some(ANSWER_WITHIN));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let results = runtime
            .block_on(admin.create_topics(&topics, &options))
            .map_err(|error| failed(explain(&error, &error.to_string())))?;
        results
            .into_iter()
            .map(|result| match result {
                Ok(name) => Ok((name, true)),
                Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => Ok((name, false)),
                Err((name, code)) => Err(failed(format!("{name}: {code}"))),
            })
            .collect()
    }
}
