//! F09 to F11, F21 and F24 to F27: the broker is killed, slow, silent, gives errors, or no longer has what it had.

use std::path::Path;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tillflow_dataflows::records::Topic;

use crate::proxy::{Proxy, Service};
use crate::row::{Row, times};
use crate::services::Server;
use crate::sink::Load;
use crate::support::broker::delete_records;
use crate::support::program::{Ended, Running, script, start_script};
use crate::support::world::Topics;
use crate::support::{SOON, kafka, wait_for};
use crate::world::{Log, Store, Watermark};

/// How soon a run has to notice that records are gone.
const NOTICED: Duration = Duration::from_secs(20);

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
    // Only a start is sure to ask for offsets. It may ask again or say that it cannot go on, but not go on wrongly.
    more(20);
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3]);
    let ended = store.run(&log, "--until-caught-up").run(SOON);
    cluster.clear_request_errors(RDKafkaApiKey::ListOffsets);
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    row.count("errors", 3);
    store.catch_up(&log, "");
    store.assert_exact(&log, "--complete");
}

/// A sale by its number: key, value and Kafka timestamp.
fn sale_of(number: i64) -> (String, String, i64) {
    let value = format!(
        r#"{{"transaction_id":"t{number}","user_id":"u{}","product_id":"p{}","quantity":{},"unit_price":"1.25","total_amount":"2.50","payment_method":"cash","timestamp":"2024-01-15T10:{:02}:00Z","store_id":"s1","category":"c{}"}}"#,
        number % 17,
        number % 5,
        1 + number % 3,
        // Not so far after the record's own time that it would be of the future.
        number % 9,
        number % 4
    );
    (format!("t{number}"), value, 1_705_312_800_000 + number)
}

fn sale(producer: &BaseProducer, topic: &str, number: i64) {
    let (key, value, timestamp) = sale_of(number);
    let record = BaseRecord::to(topic).partition((number % 3) as i32).key(&key).payload(&value);
    producer.send(record.timestamp(timestamp)).map_err(|(error, _)| error).expect("room in the queue");
    producer.poll(Duration::ZERO);
}

/// Sales in three partitions that are kept in a file as well: the oracle knows from it what the broker has no more.
struct Kept {
    folder: tempfile::TempDir,
    log: Log,
    /// The next number; every third sale is in the same partition.
    next: i64,
    ends: [i64; 3],
    /// Partition, offset, envelope.
    lines: Vec<(usize, i64, String)>,
}

impl Kept {
    fn new(log: &Log) -> Kept {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Kept { folder, log: log.clone(), next: 0, ends: [0; 3], lines: Vec::new() }
    }

    /// Sends so many to each of these partitions.
    fn send(&mut self, partitions: &[usize], count: i64) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.log.direct).create().expect("a producer");
        let name = format!("{}sales", self.log.prefix);
        for _ in 0..count {
            for partition in 0..3_usize {
                let number = self.next;
                self.next += 1;
                if !partitions.contains(&partition) {
                    continue;
                }
                sale(&producer, &name, number);
                let (key, value, timestamp) = sale_of(number);
                let offset = self.ends[partition];
                self.ends[partition] += 1;
                let line = format!(
                    r#"{{"partition":{partition},"offset":{offset},"timestamp_ms":{timestamp},"key":"{key}","value":{value}}}"#
                );
                self.lines.push((partition, offset, line));
            }
        }
        producer.flush(SOON).expect("sent");
    }

    /// Deletes the records of a partition below an offset; returns the flag that accepts the loss of those that were
    /// not counted.
    fn lose(&mut self, store: &Store, partition: usize, below: i64) -> String {
        let number = i32::try_from(partition).expect("a partition");
        delete_records(&self.log.direct, &format!("{}sales", self.log.prefix), number, below);
        let next = store.progress().expect("progress").offsets[&(Topic::Sales, number)];
        assert!(next < below, "nothing is lost of partition {partition}");
        self.lines.retain(|(place, offset, _)| *place != partition || !(next..below).contains(offset));
        format!("--accept-loss sales/{partition}:{next}-{}", below - 1)
    }

    /// What is counted: all but what was lost.
    fn folder(&self) -> &Path {
        let lines: Vec<&str> = self.lines.iter().map(|(.., line)| line.as_str()).collect();
        std::fs::write(self.folder.path().join("sales.ndjson"), lines.join("\n")).expect("a file");
        self.folder.path()
    }

    /// A run is refused, each loss by its flag; goes on with the flags, and later without.
    fn accept(&mut self, row: &mut Row, store: &Store, flags: &[String]) {
        let before = (store.results(), store.progress().map(|progress| (progress.epoch, progress.fence)));
        let refused = store.run(&self.log, "--until-caught-up").run(SOON);
        refused_for_loss(&refused, flags);
        // One loss is not the other.
        let other = format!("--until-caught-up {}0", flags[0]);
        let ended = store.run(&self.log, &other).run(SOON);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let after = (store.results(), store.progress().map(|progress| (progress.epoch, progress.fence)));
        assert!(before == after, "a refused run changed the store");
        // The oracle knows an offset by a record before or after it.
        self.send(&[0, 1, 2], 10);
        store.catch_up(&self.log, &flags.join(" "));
        store.assert_exact_files(self.folder(), "--complete");
        self.send(&[0, 1, 2], 10);
        store.catch_up(&self.log, "--workers 2");
        store.assert_exact_files(self.folder(), "--complete");
        row.count("losses accepted", flags.len() as u64);
    }
}

fn refused_for_loss(ended: &Ended, flags: &[String]) {
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let last = ended.last_line();
    assert!(last.starts_with("error: ") && flags.iter().all(|flag| last.contains(flag)), "{flags:?}: {last}");
}

#[test]
fn f21_damaged_batch() {
    let mut row =
        Row::begin("F21", "a byte of a batch changed in the broker's files: named, and given up by its range");
    for _ in 0..times(1, 20) {
        let server = Server::kafka();
        let prefix = format!("{}.", crate::support::unique("f21"));
        let log = Log { through: server.address.clone(), direct: server.address.clone(), prefix };
        // Nothing of a history: this makes the topics.
        let nothing = ["--seed=1", "--count=1", "--first=0", "--last=0"].map(String::from);
        script("pipeline/send.py", &[log.oracle_flags(), nothing.into()].concat());
        let store = Store::sqlite();
        let mut kept = Kept::new(&log);
        kept.send(&[0, 1, 2], 40);
        store.catch_up(&log, "");
        store.assert_exact_files(kept.folder(), "--complete");
        let (first, victim) = (kept.ends[0], kept.next + 3 * row.dice.below(20) as i64);
        kept.send(&[0], 20);
        // A broker that was killed would look through its files itself.
        server.stop();
        let segment = server.data().join(format!("{}sales-0", log.prefix)).join("00000000000000000000.log");
        let mut bytes = std::fs::read(&segment).expect("a segment");
        let text = format!("\"t{victim}\"").into_bytes();
        let place = bytes.windows(text.len()).position(|part| part == text).expect("the sale in the segment");
        bytes[place + 1] ^= 1;
        std::fs::write(&segment, bytes).expect("a segment");
        server.again();
        let ended = store.run(&log, "--until-caught-up").run(SOON);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let named = format!("{}sales partition 0 at offset ", log.prefix);
        let offset =
            ended.last_line().split(&named).nth(1).and_then(|rest| rest.split(':').next()?.parse::<i64>().ok());
        let offset = offset.unwrap_or_else(|| panic!("no offset after {named}: {ended:?}"));
        assert!((first..kept.ends[0]).contains(&offset) && ended.last_line().contains("damaged"), "{ended:?}");
        row.count("damaged batches", 1);
        // What is there to do: its records are deleted, and their loss is accepted.
        let below = kept.ends[0];
        let flag = kept.lose(&store, 0, below);
        kept.accept(&mut row, &store, &[flag]);
    }
}

/// Records go before they were read: the run ends with 4 and says which.
pub fn retention_while_running(row: &mut Row) {
    let topics = Topics::named("f24");
    topics.make(3);
    let proxy = Proxy::new(Service::Kafka, &kafka());
    let log = Log::through(&topics.prefix, &proxy.address());
    let store = Store::sqlite();
    let mut kept = Kept::new(&log);
    kept.send(&[0, 1, 2], 30);
    store.catch_up(&log, "");
    let mut run = store.run(&log, "--workers 1").start();
    kept.send(&[0, 1, 2], 5);
    store.wait_for_all(&mut run, 105);
    // So that what lies below is not needed any more.
    store.wait_for_checkpoint();
    proxy.cut(true);
    kept.send(&[0, 1, 2], 30);
    let flags = [(0, 41), (2, 60)].map(|(partition, below)| kept.lose(&store, partition, below));
    proxy.cut(false);
    let ended = run.wait(NOTICED);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let last = ended.last_line();
    assert!(last.starts_with("error: ") && last.contains("at offset 35"), "{last}");
    row.count("refusals", 1);
    kept.accept(row, &store, &flags);
}

/// The same while no run is there to see it.
fn retention_while_down(row: &mut Row) {
    let topics = Topics::named("f24");
    topics.make(3);
    let log = Log::of(&topics.prefix);
    let store = Store::mongodb("f24");
    let mut kept = Kept::new(&log);
    kept.send(&[0, 1, 2], 30);
    store.catch_up(&log, "--workers 2");
    kept.send(&[0, 1, 2], 20);
    let below = 31 + row.dice.below(20) as i64;
    let flag = kept.lose(&store, 1, below);
    row.count("refusals", 1);
    kept.accept(row, &store, &[flag]);
    // Without its checkpoint the numbers cannot be known again, and nothing can be accepted.
    store.forget_state();
    let ended = store.run(&log, "").run(SOON);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.last_line().contains("no longer there") && !ended.last_line().contains("--accept"), "{ended:?}");
}

#[test]
fn f24_records_gone() {
    let mut row = Row::begin("F24", "retention passes what was not read, while running and while down; then accepted");
    for _ in 0..times(1, 15) {
        retention_while_running(&mut row);
        retention_while_down(&mut row);
    }
}

/// Topics are deleted and created anew, with so many sales for each partition instead of 30.
pub fn created_anew(row: &mut Row, store: &Store, count: i64) {
    let topics = Topics::named("f25");
    topics.make(3);
    let log = Log::of(&topics.prefix);
    let mut kept = Kept::new(&log);
    kept.send(&[0, 1, 2], 30);
    store.catch_up(&log, "");
    topics.delete().expect("deleted");
    topics.make(3);
    // It goes on counting: these are other sales.
    kept.send(&[0, 1, 2], count);
    let flags: Vec<String> = (0..3).map(|partition| format!("--accept-gone sales/{partition}:30")).collect();
    let before = store.results();
    let ended = store.run(&log, "--until-caught-up").run(SOON);
    refused_for_loss(&ended, &flags);
    store.assert_unchanged(&before, "a refused run");
    row.count("refusals", 1);
    store.catch_up(&log, &flags.join(" "));
    // What was counted stays, and what is new comes to it.
    let all = store.results().remove(&(String::from("real_time_metrics"), String::from("metric|sales_all")));
    assert_eq!(all.expect("a document")["transactions"].as_i64(), Some(90 + 3 * count));
    // That cannot be rebuilt.
    store.forget_state();
    let ended = store.run(&log, "--until-caught-up").run(SOON);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    row.count("refusals", 1);
}

#[test]
fn f25_topics_created_anew() {
    let mut row =
        Row::begin("F25", "topics deleted and created anew, with fewer, as many and more records than before");
    for _ in 0..times(1, 20) {
        for count in [1 + row.dice.below(29) as i64, 30, 31 + row.dice.below(60) as i64] {
            created_anew(&mut row, &Store::sqlite(), count);
        }
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
    // Not "complete": the marker that ends the transaction left open is no record, and lies above the last one.
    store.assert_exact(&log, "");
}

#[test]
fn f26_partitions_added() {
    let mut row = Row::begin("F26", "partitions added while running under load, while killed, while down");
    let topics = Topics::named("f26");
    topics.make(1);
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let mut partitions = 1;
    let mut sent = 0;
    topics.generate(row.dice.below(1 << 30), 200);
    sent += 200;
    store.catch_up(&log, "");
    for round in 0..times(3, 30) {
        let mut run = store.run(&log, "--workers 2 --tick-ms 20").start();
        // Everything is counted already; a signal is for a run that has begun.
        wait_for(SOON, "the start", || run.stderr().contains("store opened").then_some(()));
        store.wait_for_all(&mut run, sent);
        // Down, running, and killed before it can have looked.
        if round % 3 == 0 {
            assert_eq!(run.end("TERM", SOON).code, Some(0));
            partitions += 1;
            topics.widen(partitions);
            topics.generate(row.dice.below(1 << 30), 200);
        } else {
            let load =
                topics.generate_command(row.dice.below(1 << 30)).flags(["--rate", "200", "--count", "200"]).start();
            partitions += 1 + row.dice.below(2) as usize;
            topics.widen(partitions);
            topics.generate(row.dice.below(1 << 30), 200);
            if round % 3 == 1 {
                assert_eq!(load.wait(SOON).code, Some(0));
                // Without a restart.
                store.wait_for_all(&mut run, sent + 400);
                assert_eq!(run.end("TERM", SOON).code, Some(0));
            } else {
                std::thread::sleep(row.dice.millis(0, 12_000));
                assert!(run.is_running(), "{}", run.stderr());
                run.end("KILL", SOON);
                store.assert_exact(&log, "");
                assert_eq!(load.wait(SOON).code, Some(0));
                row.count("kills", 1);
            }
            sent += 200;
        }
        sent += 200;
        store.catch_up(&log, "--workers 2");
        assert_eq!(store.counted(), sent);
        store.assert_exact(&log, "--complete");
    }
    row.count("partitions added", 3 * (partitions as u64 - 1));
}
