//! Records to Kafka.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaConfRes;
use tillflow_dataflows::records::Topic;

use super::GenerateError;
use super::generator::GeneratedRecord;
use crate::partitioner::murmur2_partition;

/// How long to wait for the brokers' list of topics.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to look for reports that tell why there is no list.
const REPORTS_TIMEOUT: Duration = Duration::from_millis(50);

/// How long the records that are under way may take once the program is told to stop: less than the 10 s it has.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(8);

/// How long to wait for the end at a time, before looking whether to stop.
const FLUSH_STEP: Duration = Duration::from_millis(100);

/// How long a record may take. A broker that restarts is waited for, one that is gone is told of.
const MESSAGE_TIMEOUT_MS: &str = "60000";

/// How long to wait for room when the client's queue is full, before looking whether to stop.
const ROOM_TIMEOUT: Duration = Duration::from_millis(10);

/// Reports are fetched once in so many records.
const POLL_EVERY: u64 = 512;

/// How to reach Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaOptions {
    /// `host:port`, several with commas.
    pub bootstrap_servers: String,
    /// Put in front of each topic's name.
    pub topic_prefix: String,
    /// Any of librdkafka's properties, over what this program sets. Values may be secrets.
    pub properties: Vec<(String, String)>,
}

/// What the client tells on the side.
#[derive(Default)]
struct Reports {
    /// The first record that was refused: its topic and why.
    refused: Mutex<Option<(String, String)>>,
    /// The first thing that went wrong with a connection.
    connection: Mutex<Option<String>>,
}

impl ClientContext for Reports {
    fn error(&self, _: KafkaError, reason: &str) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.get_or_insert_with(|| reason.to_owned());
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert_with(|| (message.topic().to_owned(), problem(error)));
        }
    }
}

/// A producer for the three topics, each of which must be there.
///
/// Records go to the partition that Kafka's own clients pick for the key (without a key: that of an empty one), with
/// the record's timestamp, and in order. What waits to be sent is bounded to 100,000 records and 64 MiB; when that is
/// full, [`KafkaSink::write`] waits.
pub struct KafkaSink {
    producer: BaseProducer<Reports>,
    servers: String,
    /// Full name and number of partitions, by topic.
    topics: Vec<(String, i32)>,
    sent: u64,
}

impl KafkaSink {
    /// Connects, and looks whether the topics are there.
    pub fn connect(options: &KafkaOptions) -> Result<KafkaSink, GenerateError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &options.bootstrap_servers)
            .set("client.id", "tillflow-generate")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("delivery.report.only.error", "true")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "65536");
        for (property, value) in &options.properties {
            config.set(property, value);
        }
        let servers = options.bootstrap_servers.clone();
        let producer: BaseProducer<Reports> =
            config.create_with_context(Reports::default()).map_err(|error| match error {
                // The client's own words would show the value.
                KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, property, _) => {
                    GenerateError::Property { property, problem: "there is none of that name" }
                }
                KafkaError::ClientConfig(_, _, property, _) => {
                    GenerateError::Property { property, problem: "it cannot have the value that is given" }
                }
                error => GenerateError::Settings(format!("the Kafka client: {}", problem(&error))),
            })?;
        let topics = find_topics(&producer, &servers, &options.topic_prefix)?;
        Ok(KafkaSink { producer, servers, topics, sent: 0 })
    }

    /// Hands one record over. Waits for room if there is none, for as long as `waiting` says true; if it does not,
    /// the record is not sent and the answer is false. An earlier record that was refused is the error.
    pub fn write(
        &mut self,
        record: &GeneratedRecord,
        mut waiting: impl FnMut() -> bool,
    ) -> Result<bool, GenerateError> {
        let (topic, partitions) = &self.topics[record.topic as usize];
        let partition = murmur2_partition(record.key.as_deref().unwrap_or_default(), *partitions);
        self.sent += 1;
        if self.sent.is_multiple_of(POLL_EVERY) {
            self.poll(Duration::ZERO)?;
        }
        let mut message: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(topic).partition(partition).timestamp(record.timestamp);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        loop {
            message = match self.producer.send(message) {
                Ok(()) => return Ok(true),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), message)) => message,
                Err((error, _)) => {
                    // What made it impossible was reported earlier, if anything was.
                    self.poll(Duration::ZERO)?;
                    return Err(self.delivery(topic.clone(), problem(&error)));
                }
            };
            if !waiting() {
                return Ok(false);
            }
            self.poll(ROOM_TIMEOUT)?;
        }
    }

    /// Takes reports for as long as `wait`; the error is a record that was refused.
    pub fn poll(&self, wait: Duration) -> Result<(), GenerateError> {
        self.producer.poll(wait);
        let refused = self.producer.context().refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        match refused {
            Some((topic, problem)) => Err(self.delivery(topic, problem)),
            None => Ok(()),
        }
    }

    /// Waits until the brokers have everything, or one record is refused. Once `stopping` says true, it waits for 8 s
    /// more at most.
    pub fn finish(self, mut stopping: impl FnMut() -> bool) -> Result<(), GenerateError> {
        let mut deadline = None;
        loop {
            let flushed = self.producer.flush(FLUSH_STEP);
            self.poll(Duration::ZERO)?;
            if flushed.is_ok() {
                return Ok(());
            }
            if stopping() && Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + FLUSH_TIMEOUT) {
                let left = self.producer.in_flight_count();
                let problem = format!("{left} records were not confirmed within {} s", FLUSH_TIMEOUT.as_secs());
                return Err(self.delivery("any".to_owned(), problem));
            }
        }
    }

    fn delivery(&self, topic: String, problem: String) -> GenerateError {
        GenerateError::Delivery { servers: self.servers.clone(), topic, problem }
    }
}

/// The full names and partitions of the three topics.
fn find_topics(
    producer: &BaseProducer<Reports>,
    servers: &str,
    prefix: &str,
) -> Result<Vec<(String, i32)>, GenerateError> {
    // Asked for all topics, the broker creates none; asked for one by name, it may.
    let metadata = producer.client().fetch_metadata(None, METADATA_TIMEOUT).map_err(|error| {
        // The connection's own trouble (refused, no such host, a wrong password) says more than that none came about.
        producer.poll(REPORTS_TIMEOUT);
        let connection = producer.context().connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        let problem = connection.unwrap_or_else(|| problem(&error));
        GenerateError::Unreachable { servers: servers.to_owned(), problem }
    })?;
    let find = |topic: Topic| {
        let name = format!("{prefix}{}", topic.name());
        let partitions =
            metadata.topics().iter().find(|found| found.name() == name).map(|found| found.partitions().len());
        match partitions.and_then(|partitions| i32::try_from(partitions).ok()) {
            Some(partitions) if partitions > 0 => Ok((name, partitions)),
            _ => Err(GenerateError::MissingTopic { servers: servers.to_owned(), topic: name }),
        }
    };
    Topic::ALL.into_iter().map(find).collect()
}

/// What the client says, without the names of the error's kind and code.
fn problem(error: &KafkaError) -> String {
    let Some(code) = error.rdkafka_error_code() else { return error.to_string() };
    // Such as `BrokerTransportFailure (Local: Broker transport failure)`.
    let text = code.to_string();
    match text.split_once(" (").and_then(|(_, words)| words.strip_suffix(')')) {
        Some(words) => words.to_owned(),
        None => text,
    }
}

/// Sends `records` as fast as the brokers take them, and returns how many they have taken.
pub fn send_to_kafka(
    options: &KafkaOptions,
    records: impl IntoIterator<Item = GeneratedRecord>,
) -> Result<u64, GenerateError> {
    let mut sink = KafkaSink::connect(options)?;
    let mut sent = 0;
    for record in records {
        sink.write(&record, || true)?;
        sent += 1;
    }
    sink.finish(|| false)?;
    Ok(sent)
}
