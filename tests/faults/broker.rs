//! F09 to F11 and F24 to F27: the broker is killed, slow, silent, gives errors, or no longer has what it had.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use tillflow_dataflows::records::Topic;

use crate::proxy::{Proxy, Service};
use crate::row::{Row, times};
use crate::services::Server;
use crate::sink::Load;
use crate::support::program::{Running, script, start_script};
use crate::support::world::{Hostile, Topics};
use crate::support::{SOON, kafka, wait_for};
use crate::world::{Log, Store, Watermark};

fn client(servers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", servers).create().expect("a client")
}

fn wait_until<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Sends a hostile history to whatever broker `log` names.
fn send(log: &Log, seed: u64, count: u32) -> i64 {
    let arguments = [format!("--seed={seed}"), format!("--count={count}")];
    let said = script("pipeline/send.py", &[log.oracle_flags(), arguments.into()].concat());
    said.split(' ').next().and_then(|count| count.parse().ok()).expect("a count")
}

#[test]
fn f09_broker_killed_and_started_again() {
    let mut row = Row::begin("F09", "broker killed (kill -9), and ended gracefully, and started again under load");
    let server = Server::kafka();
    let prefix = format!("{}.", crate::support::unique("f09"));
    let log = Log { through: server.address.clone(), direct: server.address.clone(), prefix };
    let store = Store::sqlite();
    let mut sent = send(&log, row.dice.below(1 << 30), 200);
    let mut run = store.run(&log, "--workers 2 --tick-ms 20").start();
    store.wait_for_all(&mut run, sent);
    for round in 0..times(2, 50) {
        let count = 400;
        let mut arguments = log.oracle_flags();
        arguments.extend([
            format!("--seed={}", row.dice.below(1 << 30)),
            format!("--count={count}"),
            "--rate=200".into(),
        ]);
        let sending = start_script("pipeline/send.py", &arguments);
        std::thread::sleep(row.dice.millis(300, 1_200));
        if round % 2 == 0 {
            server.kill();
        }
        // Ends what runs first.
        server.again();
        let output = sending.wait_with_output().expect("a script");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout);
        sent += said.split(' ').next().and_then(|count| count.parse::<i64>().ok()).expect("a count");
        // Retries of a producer whose broker forgot its acknowledgement may leave records twice: the log says.
        wait_for(SOON, "all of it counted", || {
            assert!(run.is_running(), "{}", run.stderr());
            (store.counted() >= sent).then_some(())
        });
        store.assert_exact(&log, "");
        row.count("restarts", 1);
    }
    assert_eq!(run.end("TERM", SOON).code, Some(0));
    store.assert_exact(&log, "--complete");
}

#[test]
fn f10_broker_slow_silent_and_cut_off() {
    let mut row = Row::begin("F10", "broker delayed, stalled, cut off, half open (TCP proxy)");
    let proxy = Proxy::new(Service::Kafka, &kafka());
    let topics = Topics::named("f10");
    let log = Log::through(&topics.prefix, &proxy.address());
    let mut load = Load::start_at(&mut row, Store::sqlite(), log, topics, times(1_500, 20_000));
    let seconds = |short, long| Duration::from_secs(u64::from(times(short, long)));
    for _ in 0..times(1, 12) {
        proxy.delay(Duration::from_millis(200));
        load.goes_on();
        proxy.delay(Duration::ZERO);
        for (what, order) in
            [("stall", Proxy::stall as fn(&Proxy, bool)), ("cut", Proxy::cut), ("half open", Proxy::half_open)]
        {
            order(&proxy, true);
            std::thread::sleep(seconds(4, 30));
            assert!(load.run().is_running(), "ended while {what}: {}", load.run().stderr());
            order(&proxy, false);
            if what == "half open" {
                // What vanished does not come any more; a new connection is needed.
                proxy.cut(true);
                std::thread::sleep(Duration::from_millis(100));
                proxy.cut(false);
            }
            load.goes_on();
            row.count("faults", 1);
        }
    }
    load.finish();
}

#[test]
fn f11_broker_errors() {
    let mut row = Row::begin("F11", "broker errors on fetches, metadata and offsets (mock cluster)");
    let cluster = MockCluster::new(1).expect("a cluster");
    let servers = cluster.bootstrap_servers();
    let log = Log { through: servers.clone(), direct: servers.clone(), prefix: "f11.".into() };
    for topic in Topic::ALL {
        cluster.create_topic(&format!("f11.{}", topic.name()), 3, 1).expect("a topic");
    }
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().expect("a producer");
    let mut sent = 0;
    let mut more = |count: i64| {
        for _ in 0..count {
            sale(&producer, "f11.sales", sent);
            sent += 1;
        }
        producer.flush(SOON).expect("sent");
        sent
    };
    let store = Store::sqlite();
    more(50);
    let mut run = store.run(&log, "--workers 2 --tick-ms 20").start();
    store.wait_for_all(&mut run, 50);
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
    };
    let faults = [
        (RDKafkaApiKey::Fetch, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
        (RDKafkaApiKey::Fetch, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
        (RDKafkaApiKey::Fetch, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
        (RDKafkaApiKey::Fetch, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
        (RDKafkaApiKey::Fetch, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH),
        (RDKafkaApiKey::Metadata, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
        (RDKafkaApiKey::ListOffsets, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
    ];
    let mut watermark = Watermark::default();
    for _ in 0..times(1, 15) {
        for (request, error) in faults {
            cluster.request_errors(request, &[error; 3]);
            let all = more(20);
            store.wait_for_all(&mut run, all);
            watermark.look(&store);
            row.count("errors", 3);
        }
    }
    assert_eq!(run.end("TERM", SOON).code, Some(0));
    store.assert_exact(&log, "--complete");
}

fn sale(producer: &BaseProducer, topic: &str, number: i64) {
    let value = format!(
        r#"{{"transaction_id":"t{number}","user_id":"u{}","product_id":"p{}","quantity":{},"unit_price":"1.25","total_amount":"2.50","payment_method":"cash","timestamp":"2024-01-15T10:{:02}:00Z","store_id":"s1","category":"c{}"}}"#,
        number % 17,
        number % 5,
        1 + number % 3,
        // Not so far after the record's own time that it would be of the future.
        number % 9,
        number % 4
    );
    let key = format!("t{number}");
    let record = BaseRecord::to(topic).partition((number % 3) as i32).key(&key).payload(&value);
    producer.send(record.timestamp(1_705_312_800_000 + number)).map_err(|(error, _)| error).expect("room in the queue");
    producer.poll(Duration::ZERO);
}

fn delete_records(topics: &Topics, below: i64) {
    let mut list = TopicPartitionList::new();
    for topic in Topic::ALL {
        for partition in 0..3 {
            let name = format!("{}{}", topics.prefix, topic.name());
            list.add_partition_offset(&name, partition, Offset::Offset(below)).expect("an offset");
        }
    }
    let deleted = wait_until(client(&kafka()).delete_records(&list, &AdminOptions::new()));
    deleted.expect("deleted records");
}

/// Records go before they were read: the run ends with 4 and says which.
pub fn retention_while_running(row: &mut Row) {
    let topics = Topics::named("f24");
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let sent = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 200 }, 0.0, 1.0);
    let proxy = Proxy::new(Service::Kafka, &kafka());
    let through = Log::through(&topics.prefix, &proxy.address());
    let mut run = store.run(&through, "--workers 1").start();
    store.wait_for_all(&mut run, sent);
    proxy.cut(true);
    topics.send(Hostile { seed: row.dice.below(1 << 30), count: 300 }, 0.0, 1.0);
    let next = store.progress().expect("progress").offsets.values().copied().max().unwrap_or_default();
    // At least one partition has lost records that nobody has read.
    delete_records(&topics, next + 5);
    proxy.cut(false);
    let ended = run.wait(SOON);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains("at offset"), "{last}");
    assert_eq!(store.counted(), sent);
    let again = store.run(&log, "").run(SOON);
    assert_eq!(again.code, Some(4), "{again:?}");
    row.count("refusals", 2);
}

#[test]
fn f24_records_gone() {
    let mut row = Row::begin("F24", "retention passes what was not read, while running and while down");
    for _ in 0..times(1, 15) {
        retention_while_running(&mut row);
    }
}

fn run_into_refusal(row: &mut Row, store: &Store, log: &Log) {
    let before = store.results();
    let ended = store.run(log, "").run(SOON);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: "), "{last}");
    assert!(store.results() == before, "a refused run changed documents");
    row.count("refusals", 1);
}

#[test]
fn f25_topics_created_anew_with_fewer_records() {
    let mut row = Row::begin("F25", "topics deleted and created anew, with fewer records than before");
    for _ in 0..times(1, 20) {
        let topics = Topics::named("f25");
        let log = Log::of(&topics.prefix);
        let store = Store::sqlite();
        topics.send(Hostile { seed: row.dice.below(1 << 30), count: 200 }, 0.0, 1.0);
        store.catch_up(&log, "");
        topics.delete().expect("deleted");
        let names = Topic::ALL.map(|topic| format!("{}{}", topics.prefix, topic.name()));
        wait_for(SOON, "topics created anew", || {
            let wanted: Vec<NewTopic<'_>> =
                names.iter().map(|name| NewTopic::new(name, 3, TopicReplication::Fixed(1))).collect();
            let created = wait_until(client(&kafka()).create_topics(&wanted, &AdminOptions::new())).expect("an answer");
            created.iter().all(|it| matches!(it, Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))).then_some(())
        });
        topics.send(Hostile { seed: row.dice.below(1 << 30), count: 20 }, 0.0, 1.0);
        run_into_refusal(&mut row, &store, &log);
    }
}

/// Sends sales in a transaction of Kafka's, which is then committed, aborted or left open.
#[test]
fn f27_transactional_producers() {
    let mut row = Row::begin("F27", "producers' transactions committed, aborted, left open, their producer gone");
    let topics = Topics::init("f27", 3);
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let name = format!("{}sales", topics.prefix);
    let mut number = 0;
    let mut committed = 0;
    let mut run: Running = store.run(&log, "--workers 2 --tick-ms 20").start();
    for round in 0..times(4, 50) {
        let id = format!("{}{round}", topics.prefix);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka())
            .set("transactional.id", &id)
            .set("transaction.timeout.ms", "3000")
            .create()
            .expect("a producer");
        producer.init_transactions(SOON).expect("transactions");
        producer.begin_transaction().expect("a transaction");
        for _ in 0..20 {
            sale(&producer, &name, number);
            number += 1;
        }
        producer.flush(SOON).expect("sent");
        match round % 3 {
            0 => {
                producer.commit_transaction(SOON).expect("committed");
                committed += 20;
            }
            1 => producer.abort_transaction(SOON).expect("aborted"),
            // The broker aborts what its producer has left.
            _ => drop(producer),
        }
        row.count("transactions", 1);
    }
    // The last words are behind every transaction that was left open.
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", kafka()).create().expect("a producer");
    for _ in 0..3 {
        sale(&producer, &name, number);
        number += 1;
    }
    producer.flush(SOON).expect("sent");
    committed += 3;
    wait_for(SOON, "what was committed", || {
        assert!(run.is_running(), "{}", run.stderr());
        let all = store.results().into_iter().find(|((_, id), _)| id == "metric|sales_all")?.1;
        (all["transactions"].as_i64() == Some(committed)).then_some(())
    });
    assert_eq!(run.end("TERM", SOON).code, Some(0));
    store.assert_exact(&log, "--complete");
}

#[test]
fn f26_partitions_added_while_down() {
    let mut row = Row::begin("F26", "partitions added while down (while running: not yet)");
    let topics = Topics::init("f26", 2);
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    topics.generate(row.dice.below(1 << 30), 300);
    store.catch_up(&log, "");
    let names = Topic::ALL.map(|topic| format!("{}{}", topics.prefix, topic.name()));
    let more: Vec<_> = names.iter().map(|name| rdkafka::admin::NewPartitions::new(name, 5)).collect();
    wait_until(client(&kafka()).create_partitions(&more, &AdminOptions::new())).expect("more partitions");
    topics.generate(row.dice.below(1 << 30), 300);
    store.catch_up(&log, "--workers 2");
    assert_eq!(store.counted(), 600);
    store.assert_exact(&log, "--complete");
    row.count("partitions added", 9);
}
