//! F20, F22, F23 and F33: poison, records given twice, every order that partitions can come in, and every number of
//! workers and processes.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::row::{Dice, Row, times};
use crate::support::cluster::wait_all;
use crate::support::program::script;
use crate::support::world::{Hostile, Topics};
use crate::support::{SOON, kafka};
use crate::world::{Log, Shape, Store, Watermark};

/// Values that no view can use, and some that look so.
const POISON: [&[u8]; 40] = [
    b"",
    b" ",
    b"null",
    b"true",
    b"0",
    b"-",
    b"[]",
    b"{}",
    b"{",
    b"}",
    b"[{}",
    b"\"",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"{\"a\":1,}",
    b"{\"a\":01}",
    b"{\"a\":.5}",
    b"{\"a\":1.}",
    b"{\"a\":1e}",
    b"{\"a\":NaN}",
    b"{\"a\":Infinity}",
    b"{'a':1}",
    b"{a:1}",
    b"{\"a\" 1}",
    b"{\"a\":\"\\x\"}",
    b"{\"a\":\"\\ud800\"}",
    b"{\"a\":\"\\u12\"}",
    b"{\"a\":\"\x00\"}",
    b"{\"a\":\"\xc3\x28\"}",
    b"{} {}",
    b"{}x",
    b"[\"t1\",\"u1\",\"p1\",1,1,1]",
    b"{\"transaction_id\":\"t\",\"transaction_id\":\"t\"}",
    b"{\"quantity\":1e400}",
    b"{\"quantity\":9223372036854775808}",
    b"{\"user_id\":\"\\u0000\\u202e\"}",
    b"/* */{}",
    b"<html>",
    b"\x00\x00\x00\x01",
    b"{\"a\":tru}",
];

/// A good record, broken in one place or cut short.
fn broken(dice: &mut Dice, number: i64) -> Vec<u8> {
    let good = format!(
        r#"{{"transaction_id":"t{number}","user_id":"u1","product_id":"p1","quantity":1,"unit_price":"1.25","total_amount":"1.25","payment_method":"cash","timestamp":"2024-01-15T10:00:00Z","store_id":"s1","category":"c1"}}"#
    );
    let mut bytes = good.into_bytes();
    let at = dice.below(bytes.len() as u64) as usize;
    match dice.below(4) {
        0 => bytes.truncate(at),
        1 => bytes[at] = dice.below(256) as u8,
        2 => bytes.insert(at, dice.below(256) as u8),
        _ => {
            bytes.remove(at);
        }
    }
    bytes
}

#[test]
fn f20_poison() {
    let mut row = Row::begin("F20", "poison: no JSON, broken JSON, no objects, empty, great, deep, across kills");
    let topics = Topics::named("f20");
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let mut sent = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 60 }, 0.0, 1.0);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka())
        .set("message.max.bytes", "4194304")
        .create()
        .expect("a producer");
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let great = [b"{\"a\":\"".to_vec(), b"x".repeat((1 << 20) + 1), b"\"}".to_vec()].concat();
    let count = i64::from(times(5_000, 1_000_000));
    let mut watermark = Watermark::default();
    for part in 0..4 {
        for number in part * count / 4..(part + 1) * count / 4 {
            let topic = ["user_activity", "sales", "inventory"][row.dice.below(3) as usize];
            let value = match row.dice.below(400) {
                0 => deep.clone(),
                1 => great.clone(),
                2..120 => POISON[row.dice.below(POISON.len() as u64) as usize].to_vec(),
                _ => broken(&mut row.dice, number),
            };
            let name = format!("{}{topic}", topics.prefix);
            let key = format!("k{}", number % 50);
            let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&name).partition((number % 3) as i32);
            if number % 7 != 0 {
                record = record.key(&key);
            }
            if number % 31 != 0 {
                record = record.payload(&value);
            }
            let mut waiting = Some(record);
            while let Some(record) = waiting.take() {
                if let Err((_, back)) = producer.send(record) {
                    producer.poll(Duration::from_millis(100));
                    waiting = Some(back);
                }
            }
            producer.poll(Duration::ZERO);
        }
        producer.flush(SOON).expect("sent");
        let mut run = store.run(&log, "--workers 2 --tick-ms 5").start();
        let before = store.counted();
        store.wait_for_more(&mut run, before);
        std::thread::sleep(row.dice.millis(0, 300));
        assert!(run.is_running(), "{}", run.stderr());
        run.end("KILL", SOON);
        watermark.look(&store);
        store.assert_exact(&log, "");
        row.count("kills", 1);
    }
    sent += count;
    store.catch_up(&log, "--workers 2");
    assert_eq!(store.counted(), sent);
    store.assert_exact(&log, "--complete");
    row.count("poison", count as u64);
}

#[test]
fn f22_records_given_twice() {
    let mut row = Row::begin("F22", "the same records produced twice, and read again by every restart");
    let topics = Topics::named("f22");
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let mut sent = 0;
    for _ in 0..times(3, 40) {
        let history = Hostile { seed: row.dice.below(1 << 30), count: 150 };
        for _ in 0..2 {
            sent += topics.send(history, 0.0, 1.0);
            store.catch_up(&log, "--workers 2 --tick-ms 1");
            assert_eq!(store.counted(), sent, "a record counted twice, or not at all");
            store.assert_exact(&log, "--complete");
        }
        row.count("histories", 1);
    }
}

#[test]
fn f23_any_order_of_partitions() {
    let mut row = Row::begin("F23", "partitions in any order, any number of workers, late and future records");
    for _ in 0..times(6, 1_000) {
        let seed = row.dice.below(1 << 30);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let to = format!("--to=ndjson:{}", folder.path().display());
        script("oracle/hostile.py", &[format!("--seed={seed}"), String::from("--count=400"), to]);
        for name in ["user_activity", "sales", "inventory"] {
            shuffle(&folder.path().join(format!("{name}.ndjson")), &mut row.dice);
        }
        let workers = [1, 2, 4, 8][row.dice.below(4) as usize];
        let store = Store::sqlite();
        let flags = format!("--workers {workers} --tick-ms {} --until-caught-up", 1 + row.dice.below(40));
        let run = store.run_files(folder.path(), &flags).env("TILLFLOW_LIMITS", "tick_records=50");
        run.succeed(SOON);
        store.assert_exact_files(folder.path(), "--complete");
        row.count("orders", 1);
    }
}

/// Another order of the lines, in which each partition's lines keep theirs.
fn shuffle(path: &std::path::Path, dice: &mut Dice) {
    let text = std::fs::read_to_string(path).expect("a file");
    let partition = |line: &str| {
        let number = line.split("\"partition\":").nth(1).and_then(|rest| rest.chars().next());
        number.and_then(|digit| digit.to_digit(10)).expect("a partition") as usize
    };
    let mut parts: Vec<std::collections::VecDeque<&str>> = vec![Default::default(); 10];
    for line in text.lines() {
        parts[partition(line)].push_back(line);
    }
    let mut shuffled = String::new();
    while parts.iter().any(|part| !part.is_empty()) {
        let part = dice.below(10) as usize;
        // Runs of some length: a partition may be far ahead of the others.
        for _ in 0..1 + dice.below(30) {
            if let Some(line) = parts[part].pop_front() {
                shuffled.push_str(line);
                shuffled.push('\n');
            }
        }
    }
    std::fs::write(path, shuffled).expect("a file");
}

/// F33: other numbers of workers and processes after each restart.
#[test]
fn f33_other_numbers_of_workers_and_processes() {
    let mut row = Row::begin("F33", "other numbers of workers and processes after each restart, some of them killed");
    let topics = Topics::named("f33");
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let rounds = times(7, 70);
    let history = Hostile { seed: row.dice.below(1 << 30), count: 200 * rounds };
    let mut sent = 0;
    // One process and two, back and forth.
    let shapes = [(1, 2), (2, 1), (1, 1), (1, 4), (2, 2), (1, 3), (3, 1)];
    for round in 0..rounds {
        let part = |round: u32| f64::from(round) / f64::from(rounds);
        let (processes, workers) = shapes[round as usize % shapes.len()];
        let shape = Shape { processes, workers };
        sent += topics.send(history, part(round), part(round + 1));
        if round % 3 == 1 {
            // A crash leaves it to the next shape.
            let mut running = store.start(&log, shape, "--tick-ms 5");
            store.wait_for_more(&mut running, store.counted());
            for run in running {
                run.end("KILL", SOON);
            }
            store.assert_exact(&log, "");
            row.count("kills", 1);
        } else {
            for ended in wait_all(store.start(&log, shape, "--tick-ms 5 --until-caught-up"), 2 * SOON) {
                assert_eq!(ended.code, Some(0), "{ended:?}");
            }
            assert_eq!(store.counted(), sent);
            store.assert_exact(&log, "--complete");
        }
        row.count("restarts", 1);
    }
    store.catch_up(&log, "--workers 2");
    assert_eq!(store.counted(), sent);
    store.assert_exact(&log, "--complete");
}
