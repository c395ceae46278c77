//! F16: more comes than the store takes, because it takes nothing: memory stays bounded, and then everything is caught up.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tillflow_dataflows::records::Topic;

use crate::held::held;
use crate::proxy::{Proxy, Service};
use crate::row::{Row, times};
use crate::sink::{named, server_of};
use crate::support::world::{Hostile, Topics};
use crate::support::{SOON, kafka, mongodb, unique};
use crate::world::{Log, Store};

/// Bytes of each value. None is JSON, so that all of them are on their way to the store, too.
const VALUE: usize = 8 << 10;

/// What librdkafka may hold of each of the nine partitions.
const QUEUE: u64 = 2 << 20;

/// By how much the process may grow: fetched records, and ticks that wait for the store, each of them many times smaller
/// than what comes.
const GROWTH: u64 = 9 * QUEUE + (110 << 20);

/// How long the store answers nothing after everything is there.
const SILENCE: Duration = Duration::from_secs(6);

/// Sends values that are no records to every partition of `sales`.
fn send(topics: &Topics, count: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka())
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .expect("a producer");
    let (name, value) = (format!("{}{}", topics.prefix, Topic::Sales.name()), "x".repeat(VALUE));
    for number in 0..count {
        let partition = (number % 3) as i32;
        // The queue of a producer is bounded as well.
        while producer.send(BaseRecord::<(), str>::to(&name).partition(partition).payload(&value)).is_err() {
            producer.poll(Duration::from_millis(50));
        }
    }
    producer.flush(SOON).expect("sent");
}

#[test]
fn f16_a_backlog_while_the_store_is_silent() {
    let mut row = Row::begin("F16", "MongoDB silent while a backlog of many times what may wait comes in");
    let application = unique("f16b");
    let proxy = Proxy::new(Service::Other, server_of(&mongodb()).as_str());
    let through = mongodb().replace(&server_of(&mongodb()), &proxy.address());
    let store = Store::mongodb_at("backlog", &mongodb(), &named(&through, &application));
    let topics = Topics::named("f16b");
    let log = Log::of(&topics.prefix);
    let first = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 300 }, 0.0, 1.0);
    let queue = format!("queued.max.messages.kbytes={}", QUEUE >> 10);
    let flags = format!("--workers 2 --raw-data off -X {queue}");
    let mut run = store.run(&log, &flags).start();
    store.wait_for_all(&mut run, first);
    let before = held(run.id()).kilobytes << 10;

    let count = 30_000 * times(1, 4) as usize;
    proxy.stall(true);
    send(&topics, count);
    let (silent, mut most) = (Instant::now(), 0);
    while silent.elapsed() < SILENCE {
        assert!(run.is_running(), "{}", run.stderr());
        most = held(run.id()).kilobytes.max(most);
        std::thread::sleep(Duration::from_millis(20));
    }
    let grown = (most << 10).saturating_sub(before);
    row.at_most("megabytes grown", grown >> 20);
    row.count("megabytes sent", (count * VALUE) as u64 >> 20);
    assert!(grown < GROWTH, "{} MiB more than the {} MiB before", grown >> 20, before >> 20);
    proxy.stall(false);

    let all = first + i64::try_from(count).expect("a small number");
    store.wait_for_all(&mut run, all);
    let settled = held(run.id()).kilobytes << 10;
    row.at_most("megabytes grown", settled.saturating_sub(before) >> 20);
    assert!(settled.saturating_sub(before) < GROWTH, "{} MiB after {} MiB", settled >> 20, before >> 20);
    assert_eq!(run.end("TERM", SOON).code, Some(0));
    store.assert_exact(&log, "--complete --raw-data off");
}
