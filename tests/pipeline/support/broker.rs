//! What an administrator does to topics while nobody watches.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tillflow_dataflows::records::Topic;

use super::world::{Topics, wait};
use super::{SOON, kafka, wait_for};

fn admin_of(servers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", servers).create().expect("an admin client")
}

fn admin() -> AdminClient<DefaultClientContext> {
    admin_of(&kafka())
}

/// Deletes the records of a partition below an offset.
pub fn delete_records(servers: &str, topic: &str, partition: i32, below: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(below)).expect("a list");
    let deleted = wait(admin_of(servers).delete_records(&list, &AdminOptions::new())).expect("the broker answers");
    for element in deleted.elements() {
        element.error().expect("deleted");
        assert_eq!(element.offset(), Offset::Offset(below));
    }
}

impl Topics {
    fn name(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    /// Makes all three, as soon as the broker has let go of those of the same name.
    pub fn make(&self, partitions: i32) {
        let admin = admin();
        wait_for(SOON, "the topics to be made", || {
            let names = Topic::ALL.map(|topic| self.name(topic));
            let new = names.each_ref().map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1)));
            let made = wait(admin.create_topics(&new, &AdminOptions::new())).expect("the broker answers");
            made.iter().all(Result::is_ok).then_some(())
        });
    }

    /// Gives each of them so many partitions.
    pub fn widen(&self, partitions: usize) {
        let names = Topic::ALL.map(|topic| self.name(topic));
        let wider = names.each_ref().map(|name| NewPartitions::new(name, partitions));
        let made = wait(admin().create_partitions(&wider, &AdminOptions::new())).expect("the broker answers");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    /// Deletes the records of a partition below an offset.
    pub fn delete_records(&self, topic: Topic, partition: i32, below: i64) {
        delete_records(&kafka(), &self.name(topic), partition, below);
    }

    /// Sends values to one partition, in order.
    pub fn produce<Value: AsRef<str>>(&self, topic: Topic, partition: i32, values: impl IntoIterator<Item = Value>) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", kafka()).create().expect("a producer");
        let name = self.name(topic);
        for value in values {
            let record = BaseRecord::<(), _>::to(&name).partition(partition).payload(value.as_ref());
            producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        }
        producer.flush(Duration::from_secs(30)).expect("sent");
    }
}
