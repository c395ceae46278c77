//! One worker's consumer.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tillflow_dataflows::records::Topic;

use super::client::{Client, Context, close, explain};
use super::watch::Ends;
use crate::source::channel::OwnedRecord;
use crate::source::{Assignment, Position, RawRecord, Reader, SourceError};

struct Partition {
    assignment: Assignment,
    name: String,
    queue: PartitionQueue<Context>,
    next: i64,
    at_end: bool,
    /// A record that was met at or above `until`.
    kept: Option<OwnedRecord>,
}

/// Reads the partitions of one worker.
pub(super) struct KafkaReader {
    consumer: Arc<BaseConsumer<Context>>,
    /// The topics' names in Kafka.
    names: [String; 3],
    partitions: Vec<Partition>,
    ends: Ends,
    servers: String,
    problem: Option<String>,
}

impl KafkaReader {
    pub(super) fn new(
        client: &Client,
        consumer: Arc<BaseConsumer<Context>>,
        assignments: &[Assignment],
        ends: Ends,
    ) -> Result<KafkaReader, SourceError> {
        let mut list = TopicPartitionList::new();
        let mut partitions = Vec::new();
        for assignment in assignments {
            partitions.push(Partition::split(&consumer, client.topic_name(assignment.topic), *assignment, &mut list)?);
        }
        consumer.assign(&list).map_err(|error| refused(&error))?;
        let servers = client.settings().bootstrap_servers.clone();
        let names = Topic::ALL.map(|topic| client.topic_name(topic));
        Ok(KafkaReader { consumer, names, partitions, ends, servers, problem: None })
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        close(&self.consumer);
    }
}

fn refused(error: &KafkaError) -> SourceError {
    SourceError::Unavailable(format!("assigning partitions: {}", explain(error, &error.to_string())))
}

impl Partition {
    /// Puts a partition on the list of what is to be assigned next.
    ///
    /// Its queue is split before the assignment, which begins to fetch at once: what arrives before a split goes to the
    /// consumer's own queue, behind which nobody stands. An assignment leaves a queue that is split as it is.
    fn split(
        consumer: &Arc<BaseConsumer<Context>>,
        name: String,
        assignment: Assignment,
        list: &mut TopicPartitionList,
    ) -> Result<Partition, SourceError> {
        // The offset belongs into the assignment: a seek right after it is refused by librdkafka.
        list.add_partition_offset(&name, assignment.partition, Offset::Offset(assignment.start))
            .map_err(|error| refused(&error))?;
        let mut queue = consumer.split_partition_queue(&name, assignment.partition).ok_or_else(|| {
            SourceError::Unavailable(format!("{name} partition {} cannot be assigned", assignment.partition))
        })?;
        let worker = std::thread::current();
        queue.set_nonempty_callback(move || worker.unpark());
        Ok(Partition { assignment, name, queue, next: assignment.start, at_end: false, kept: None })
    }
}

impl Reader for KafkaReader {
    fn poll(
        &mut self,
        index: usize,
        limit: usize,
        until: i64,
        give: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, SourceError> {
        let partition = &mut self.partitions[index];
        let mut given = 0;
        if let Some(record) = partition.kept.take_if(|record| record.offset < until) {
            give(RawRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
            });
            partition.next = record.offset + 1;
            given += 1;
        }
        while given < limit && partition.next < until && partition.kept.is_none() {
            match partition.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let record = RawRecord {
                        offset: message.offset(),
                        timestamp: message.timestamp().to_millis().filter(|millis| *millis >= 0),
                        key: message.key(),
                        value: message.payload(),
                    };
                    partition.at_end = false;
                    if record.offset >= until {
                        partition.next = until;
                        partition.kept = Some(OwnedRecord {
                            offset: record.offset,
                            timestamp: record.timestamp,
                            key: record.key.map(<[u8]>::to_vec),
                            value: record.value.map(<[u8]>::to_vec),
                        });
                    } else {
                        give(record);
                        partition.next = record.offset + 1;
                        given += 1;
                    }
                    self.problem = None;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    partition.at_end = true;
                    self.problem = None;
                    break;
                }
                Some(Err(error)) => {
                    self.problem = Some(classify(&error, partition)?);
                    break;
                }
            }
        }
        Ok(given)
    }

    fn add(&mut self, assignment: Assignment) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        let name = self.names[assignment.topic as usize].clone();
        self.partitions.push(Partition::split(&self.consumer, name, assignment, &mut list)?);
        // Not `assign`: it would take the queues of the others back. The queue of an added partition may hold as much as
        // each of the others: until the next start the bound of all together grows with it.
        self.consumer.incremental_assign(&list).map_err(|error| refused(&error))
    }

    fn position(&self, index: usize) -> Position {
        let partition = &self.partitions[index];
        let known = self.ends.get(partition.assignment.topic, partition.assignment.partition);
        let end = match (known, partition.at_end) {
            (_, true) => Some(partition.next),
            (known, false) => known,
        };
        Position { next: partition.next, at_end: partition.at_end && partition.kept.is_none(), end }
    }

    fn serve(&mut self) -> Result<Option<String>, SourceError> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                // Split queues take every record and every end of a partition. One that comes here is missing there.
                Ok(record) => {
                    return Err(SourceError::Lost(format!(
                        "{} partition {}: the record at offset {} came beside its partition's queue and would not be \
                         counted; this is a bug of tillflow. Nothing wrong was written: start again",
                        record.topic(),
                        record.partition(),
                        record.offset()
                    )));
                }
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => {
                    if let Some(partition) = self.partitions.first() {
                        self.problem = Some(classify(&error, partition)?);
                    }
                }
            }
        }
        Ok(self.problem.as_ref().map(|problem| format!("Kafka at {}: {problem}", self.servers)))
    }
}

/// Whether librdkafka goes on by itself (then: what is wrong meanwhile), or reading cannot go on.
fn classify(error: &KafkaError, partition: &Partition) -> Result<String, SourceError> {
    let Partition { name, assignment, next, .. } = partition;
    let place = format!("{name} partition {} at offset {next}", assignment.partition);
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
            Err(SourceError::Lost(format!(
                "reading {place}: the brokers no longer have that offset; records that were not read are lost. Start \
             again: the start says which, and what can be done"
            )))
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed,
        ) => Err(SourceError::Unavailable(format!("reading {place}: {}", explain(error, &error.to_string())))),
        Some(RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::BadCompression | RDKafkaErrorCode::NotImplemented) => {
            Err(SourceError::Unavailable(format!(
                "reading {place}: the batch there is damaged or compressed in a way this build cannot read ({error})"
            )))
        }
        _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
            Err(SourceError::Unavailable(format!("reading {place}: {}", explain(error, &error.to_string()))))
        }
        // A topic that is unknown for a moment is one of these: a broker that comes back knows it later.
        _ => Ok(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::time::Instant;

    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;
    use crate::source::kafka::KafkaSettings;

    /// Three partitions of 100 records each, and what reads of them.
    fn reader(cluster: &MockCluster<'_, impl rdkafka::ClientContext>, partitions: Range<i32>) -> KafkaReader {
        cluster.create_topic("sales", 3, 1).expect("a topic");
        let producer: BaseProducer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .expect("a producer");
        for number in 0..300 {
            let value = number.to_string();
            let record = BaseRecord::<(), _>::to("sales").partition(number % 3).payload(&value);
            producer.send(record).expect("room in the queue");
        }
        producer.flush(Duration::from_secs(30)).expect("sent");
        let settings = KafkaSettings {
            bootstrap_servers: cluster.bootstrap_servers(),
            group_id: "readers".into(),
            topic_prefix: String::new(),
            properties: Vec::new(),
            queue_bytes: 16 << 20,
        };
        let client = Client::new(settings).expect("a client");
        let consumer = Arc::new(client.consumer_of(3).expect("a consumer"));
        let assignments: Vec<Assignment> = partitions.map(assignment).collect();
        KafkaReader::new(&client, consumer, &assignments, Ends::default()).expect("a reader")
    }

    fn assignment(partition: i32) -> Assignment {
        Assignment { topic: Topic::Sales, partition, start: 0 }
    }

    /// Reads until `partitions` of them are at their ends; at most `limit` records at once.
    fn read(reader: &mut KafkaReader, given: &mut [Vec<i64>], partitions: usize, limit: usize) {
        let begun = Instant::now();
        while !(0..partitions).all(|index| reader.position(index).at_end) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{given:?}");
            for (index, given) in given.iter_mut().take(partitions).enumerate() {
                reader.poll(index, limit, i64::MAX, &mut |record| given.push(record.offset)).expect("records");
            }
            assert_eq!(reader.serve().expect("no stray record"), None);
        }
    }

    #[test]
    fn records_that_come_before_the_first_look_are_all_given() {
        let cluster = MockCluster::new(1).expect("a cluster");
        let mut reader = reader(&cluster, 0..3);
        // Long enough for librdkafka to have fetched everything, as when a worker is slow to begin.
        std::thread::sleep(Duration::from_secs(2));
        let mut given: Vec<Vec<i64>> = vec![Vec::new(); 3];
        read(&mut reader, &mut given, 3, 1_000);
        assert!(given.iter().all(|given| given.iter().copied().eq(0..100)), "{given:?}");
    }

    #[test]
    fn partitions_that_are_added_later_leave_the_others_as_they_are() {
        let cluster = MockCluster::new(1).expect("a cluster");
        let mut reader = reader(&cluster, 0..1);
        let mut given: Vec<Vec<i64>> = vec![Vec::new(); 3];
        // Some are given and some wait in the queue when the next one comes.
        while given[0].len() < 10 {
            reader.poll(0, 10 - given[0].len(), i64::MAX, &mut |record| given[0].push(record.offset)).expect("records");
        }
        for partition in 1..3 {
            reader.add(assignment(partition)).expect("assigned");
            std::thread::sleep(Duration::from_secs(1));
        }
        read(&mut reader, &mut given, 3, 7);
        assert!(given.iter().all(|given| given.iter().copied().eq(0..100)), "{given:?}");
    }

    #[test]
    fn a_reader_may_begin_with_nothing() {
        let cluster = MockCluster::new(1).expect("a cluster");
        let mut reader = reader(&cluster, 0..0);
        reader.add(assignment(2)).expect("assigned");
        let mut given = [Vec::new()];
        read(&mut reader, &mut given, 1, 1_000);
        assert!(given[0].iter().copied().eq(0..100), "{given:?}");
    }
}
