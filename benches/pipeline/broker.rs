//! Topics of a broker: made, filled, read by a plain client, and deleted.

use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tillflow_dataflows::records::Topic;

use crate::child;
use crate::support::sales::{PARTITIONS, Sent};

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// The program that is measured.
const TILLFLOW: &str = env!("CARGO_BIN_EXE_tillflow");

/// Topics of a broker that go with this.
pub struct Topics {
    pub servers: String,
    pub prefix: String,
}

impl Topics {
    /// Ones that nobody else has.
    pub fn make(servers: &str, name: &str) -> Topics {
        Topics::named(servers, &format!("bench-{}-{name}.", std::process::id()))
    }

    /// Those of this prefix, which are not there yet.
    pub fn named(servers: &str, prefix: &str) -> Topics {
        let topics = Topics { servers: servers.into(), prefix: prefix.into() };
        let names = Topic::ALL.map(|topic| topics.name(topic));
        // Sales have times of their own, and must not be deleted for their age.
        let new = names
            .each_ref()
            .map(|name| NewTopic::new(name, PARTITIONS as i32, TopicReplication::Fixed(1)).set("retention.ms", "-1"));
        let made = wait(topics.admin().create_topics(&new, &AdminOptions::new())).expect("the broker answers");
        made.into_iter().for_each(|made| drop(made.expect("a new topic")));
        topics
    }

    pub fn name(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    /// Leaves them in the broker.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.servers).create().expect("a client")
    }

    /// Sends sales, one partition after the other in turn, with the times that they have happened at.
    pub fn fill(&self, sales: impl Iterator<Item = Sent>) {
        let (producer, name) = (producer(&self.servers), self.name(Topic::Sales));
        for sale in sales {
            send(&producer, &name, &sale);
        }
        producer.flush(ANSWER).expect("everything is sent");
    }

    /// Lets the program's own generator fill them.
    pub fn generate(&self, count: usize) {
        let count = count.to_string();
        child::run(vec![self.tillflow(&["generate", "-q", "--rate", "0", "--count", &count])]);
    }

    /// The program, reading them.
    pub fn tillflow(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TILLFLOW);
        command.args(arguments).args(["--bootstrap-servers", &self.servers, "--topic-prefix", &self.prefix]);
        command.current_dir(std::env::temp_dir());
        // What is set here must not be what is measured.
        std::env::vars().filter(|(name, _)| name.starts_with("TILLFLOW_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command
    }

    /// This program, being another one.
    pub fn another(&self, program: &str, more: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program's file"));
        command.args(["--program", program, &self.servers, &self.prefix]).args(more);
        command
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        let names = Topic::ALL.map(|topic| self.name(topic));
        let names = names.each_ref().map(String::as_str);
        if let Err(error) = wait(self.admin().delete_topics(&names, &AdminOptions::new())) {
            eprintln!("the topics {}* stay: {error}", self.prefix);
        }
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

pub fn producer(servers: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("linger.ms", "5").set("batch.size", "1000000");
    config.create().expect("a producer")
}

/// Sends one record, when there is room for it.
pub fn send(producer: &BaseProducer, topic: &str, sent: &Sent) {
    loop {
        let record = BaseRecord::to(topic).partition(sent.partition as i32).timestamp(sent.timestamp);
        let record = record.key(&sent.key).payload(&sent.value);
        match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => panic!("{topic}: {error}"),
        }
    }
    producer.poll(Duration::ZERO);
}

/// Reads all records with a plain client, in one thread.
pub fn read(servers: &str, prefix: &str, mut take: impl FnMut(&[u8])) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("group.id", "bench").set("enable.auto.commit", "false");
    // It must not wait where it has nothing to wait for: with the defaults it would, at its start and at its end.
    config.set("enable.partition.eof", "true").set("fetch.queue.backoff.ms", "5").set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for topic in Topic::ALL {
        let name = format!("{prefix}{}", topic.name());
        for partition in 0..PARTITIONS as i32 {
            list.add_partition_offset(&name, partition, Offset::Beginning).expect("a list");
        }
    }
    consumer.assign(&list).expect("assigned");
    let mut left = list.count();
    while left > 0 {
        match consumer.poll(ANSWER).expect("a record") {
            Ok(message) => take(message.payload().unwrap_or_default()),
            Err(KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => panic!("{error}"),
        }
    }
}
