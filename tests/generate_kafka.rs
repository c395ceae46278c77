//! Generated records in a real broker: read back, they are the generator's, byte for byte.
//!
//! `KAFKA_BOOTSTRAP_SERVERS` names the broker.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tillflow::generate::{
    GenerateArgs, GenerateError, GeneratedRecord, Generator, GeneratorOptions, KafkaOptions, Pace, Shares, run,
};
use tillflow::partitioner::murmur2_partition;
use tillflow_dataflows::records::Topic;

const PARTITIONS: i32 = 3;

fn servers() -> String {
    std::env::var("KAFKA_BOOTSTRAP_SERVERS")
        .expect("set KAFKA_BOOTSTRAP_SERVERS to the address of a Kafka broker for tests")
}

/// Options for topics that no other test has.
fn options(name: &str) -> KafkaOptions {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    KafkaOptions {
        bootstrap_servers: servers(),
        topic_prefix: format!("generate-{name}-{now}."),
        properties: Vec::new(),
    }
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", servers()).create().expect("an admin client")
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

fn create_topics(options: &KafkaOptions) {
    let names = Topic::ALL.map(|topic| format!("{}{}", options.topic_prefix, topic.name()));
    // The records are dated in the past, where the broker's retention would delete them.
    let new = |name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let topics = names.each_ref().map(|name| new(name.as_str()));
    let results = wait(admin().create_topics(&topics, &AdminOptions::new())).expect("the broker answers");
    results.into_iter().for_each(|result| {
        result.expect("a new topic");
    });
}

fn delete_topics(options: &KafkaOptions) {
    let names = Topic::ALL.map(|topic| format!("{}{}", options.topic_prefix, topic.name()));
    wait(admin().delete_topics(&names.each_ref().map(String::as_str), &AdminOptions::new()))
        .expect("the broker answers");
}

fn args(flags: &str) -> GenerateArgs {
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: GenerateArgs,
    }
    Command::try_parse_from(std::iter::once("generate").chain(flags.split_whitespace())).expect("valid flags").args
}

type Sent = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>);

/// What the topics hold, by topic and partition, in the order of offsets.
fn read_back(options: &KafkaOptions, count: usize) -> BTreeMap<(Topic, i32), Vec<Sent>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers())
        .set("group.id", "generate-test")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for topic in Topic::ALL {
        for partition in 0..PARTITIONS {
            let name = format!("{}{}", options.topic_prefix, topic.name());
            assignment.add_partition_offset(&name, partition, Offset::Beginning).expect("a partition");
        }
    }
    consumer.assign(&assignment).expect("assigned");
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut read = 0;
    while read < count {
        assert!(Instant::now() < deadline, "{read} of {count} records within a minute");
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let message = message.expect("a message");
        let name = message.topic().strip_prefix(&options.topic_prefix).expect("one of ours");
        let topic = Topic::from_name(name).expect("a topic");
        found.entry((topic, message.partition())).or_default().push((
            message.key().map(<[u8]>::to_vec),
            message.payload().map(<[u8]>::to_vec),
            message.timestamp().to_millis(),
        ));
        read += 1;
    }
    assert!(consumer.poll(Duration::from_millis(500)).is_none(), "more than was sent");
    found
}

#[test]
fn a_topic_holds_exactly_what_was_generated() {
    const COUNT: usize = 30_000;
    let options = options("exact");
    create_topics(&options);
    let flags = format!(
        "--rate 0 --count {COUNT} --seed 77 --start {} --duplicates 0.05 --corrections 0.05 --cancellations 0.05 \
         --late 0.02 --corrupt 0.1",
        "2026-01-01T00:00:00Z"
    );
    let summary = run(&args(&flags), &options, &AtomicBool::new(false), |_| {}).expect("sent");
    assert_eq!(summary.records, COUNT as u64);

    let shares = Shares { duplicates: 0.05, corrections: 0.05, cancellations: 0.05, late: 0.02, corrupt: 0.1 };
    let pace = Pace::Daily { per_second: 200.0 };
    let expected = GeneratorOptions { shares, ..GeneratorOptions::new(77, 1_767_225_600_000, pace) };
    let mut partitions: BTreeMap<(Topic, i32), Vec<Sent>> = BTreeMap::new();
    for record in Generator::new(expected).expect("valid options").take(COUNT) {
        let GeneratedRecord { topic, key, value, timestamp, .. } = record;
        let partition = murmur2_partition(key.as_deref().unwrap_or_default(), PARTITIONS);
        partitions.entry((topic, partition)).or_default().push((key, value, Some(timestamp)));
    }
    let found = read_back(&options, COUNT);
    delete_topics(&options);
    assert_eq!(partitions.len(), 9, "every partition has records");
    assert_eq!(found.keys().collect::<Vec<_>>(), partitions.keys().collect::<Vec<_>>());
    for (place, expected) in &partitions {
        for (offset, (found, expected)) in found[place].iter().zip(expected).enumerate() {
            assert_eq!(found, expected, "{place:?} at {offset}");
        }
        assert_eq!(found[place].len(), expected.len(), "{place:?}");
    }
}

#[test]
fn a_missing_topic_is_named_and_not_made() {
    let options = options("missing");
    let error = run(&args("--rate 0 --count 10"), &options, &AtomicBool::new(false), |_| {}).expect_err("no topic");
    let expected = format!("{}user_activity", options.topic_prefix);
    assert!(matches!(&error, GenerateError::MissingTopic { topic, .. } if *topic == expected), "{error}");
    assert!(error.to_string().contains("tillflow init") && error.exit_code() == 3, "{error}");
    let metadata = admin().inner().fetch_metadata(None, Duration::from_secs(10)).expect("the broker answers");
    assert!(metadata.topics().iter().all(|topic| !topic.name().starts_with(&options.topic_prefix)));
}

#[test]
fn a_quiet_program_that_cannot_send_fails_and_says_why() {
    let options = options("quiet");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tillflow"))
        .args(["generate", "-q", "--rate", "0", "--count", "10", "--bootstrap-servers", &options.bootstrap_servers])
        .args(["--topic-prefix", &options.topic_prefix])
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("{}user_activity", options.topic_prefix)), "{said}");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let options = KafkaOptions { bootstrap_servers: format!("127.0.0.1:{port}"), ..KafkaOptions::default() };
    let begun = Instant::now();
    let error = run(&args("--rate 0 --count 10"), &options, &AtomicBool::new(false), |_| {}).expect_err("no broker");
    assert!(matches!(error, GenerateError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&options.bootstrap_servers) && error.exit_code() == 3, "{error}");
    assert!(error.to_string().contains("refused") && !error.to_string().contains('\n'), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_record_that_the_broker_refuses_ends_the_run() {
    let mut options = options("refused");
    create_topics(&options);
    // No answer comes within a millisecond.
    options.properties.push(("message.timeout.ms".into(), "1".into()));
    options.properties.push(("linger.ms".into(), "0".into()));
    let result = run(&args("--rate 0 --count 200000"), &options, &AtomicBool::new(false), |_| {});
    delete_topics(&options);
    let error = result.expect_err("timed out");
    assert!(matches!(error, GenerateError::Delivery { .. }) && error.exit_code() == 3, "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}
