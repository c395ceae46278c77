//! F25: partitions that are gone, accepted as gone, and there again. Each goes on with what it remembers, so that in the
//! end everything is as if its records had always been in one place.

use serde_json::Value;
use tillflow_dataflows::records::Topic;

use crate::row::{Row, times};
use crate::support::oracle::Documents;
use crate::support::world::{Hostile, Topics};
use crate::support::{SOON, wait_for};
use crate::world::{Log, Shape, Store, Watermark};

/// The flags that a refused start offers.
fn offered(store: &Store, log: &Log, flags: &str) -> String {
    let refused = store.run(log, flags).flags(["--until-caught-up"]).run(SOON);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let line = refused.last_line();
    let begin = line.find("--accept-gone").unwrap_or_else(|| panic!("no flag is offered: {line}"));
    line[begin..].to_owned()
}

/// What the views say, whatever commits led to it: of an alert that is over, and of when, they decide.
fn views(store: &Store) -> Documents {
    let mut documents = store.results();
    documents.retain(|(collection, _), document| {
        let Value::Object(fields) = document else { panic!("no document: {document}") };
        fields.remove("epoch");
        fields.remove("as_of");
        if collection == "real_time_metrics" {
            // It is that of `as_of`.
            fields.remove("timestamp");
        }
        collection != "dead_letters" && fields["type"] != "alert"
    });
    documents
}

/// No window is final, so that nothing leaves memory while a partition is away.
const WINDOW: &str = "--correction-window 90d";

#[test]
fn f25_gone_and_there_again() {
    let mut row =
        Row::begin("F25", "topics created anew with one partition, later with all again, while kill -9 goes on");
    for round in 0..times(3, 30) {
        let history = Hostile { seed: row.dice.below(1 << 30), count: 900 };
        let (topics, always) = (Topics::named("f25-gone"), Topics::named("f25-always"));
        let (log, store) = (Log::of(&topics.prefix), Store::sqlite());
        let cut = 0.2 + row.dice.below(60) as f64 / 100.0;
        topics.send(history, 0.0, cut);
        store.catch_up(&log, WINDOW);
        let partitions = store.progress().expect("progress").offsets.len();
        let most = partitions / Topic::ALL.len();
        topics.delete().expect("deleted");
        topics.make(1);
        let accepted = offered(&store, &log, WINDOW);
        // Two processes now and then: who reads a partition that is there again is not who has read it.
        let shape = Shape { processes: 1 + round as usize % 2, workers: 1 + row.dice.below(3) as usize };
        let flags = format!("{WINDOW} --tick-ms 20");
        let mut running = store.start(&log, shape, &format!("{flags} {accepted}"));
        wait_for(SOON, "the loss to be accepted", || {
            (store.progress()?.offsets.len() == Topic::ALL.len()).then_some(())
        });
        topics.widen(most);
        let rest = topics.send(history, cut, 1.0);
        // Taken up while it runs, or by a start.
        if round % 3 < 2 {
            wait_for(2 * SOON, "all partitions to be read", || {
                assert!(running.iter_mut().all(|run| run.is_running()), "{}", running[0].stderr());
                (store.progress()?.offsets.len() == partitions).then_some(())
            });
        }
        let mut watermark = Watermark::default();
        for _ in 0..times(3, 8) {
            std::thread::sleep(row.dice.millis(0, 700));
            running.drain(..).for_each(|run| drop(run.end("KILL", SOON)));
            let shape = Shape { processes: 1, workers: 1 + row.dice.below(4) as usize };
            running = store.start(&log, shape, &flags);
            row.count("kills", 1);
            watermark.look(&store);
        }
        store.wait_for_all(&mut running, rest);
        running.drain(..).for_each(|run| drop(run.end("KILL", SOON)));
        always.send(history, 0.0, 1.0);
        let reference = Store::sqlite();
        reference.catch_up(&Log::of(&always.prefix), WINDOW);
        let (found, expected) = (views(&store), views(&reference));
        for (name, document) in &expected {
            assert_eq!(found.get(name), Some(document), "{name:?} in round {round}");
        }
        assert_eq!(found.len(), expected.len());
        row.count("documents compared", expected.len() as u64);
        store.catch_up(&log, &format!("{WINDOW} --workers 3"));
        assert!(views(&store) == found, "another start changed documents");
        row.count("returns", 1);
    }
}

fn sale(id: &str, timestamp: &str) -> String {
    format!(
        r#"{{"transaction_id":"{id}","user_id":"u","product_id":"p","quantity":1,"unit_price":"1.25","total_amount":"1.25","payment_method":"cash","timestamp":"{timestamp}","store_id":"s","category":"c"}}"#
    )
}

#[test]
fn f25_nothing_waits_for_what_is_gone() {
    let mut row =
        Row::begin("F25", "a partition that is gone holds no window open; there again, it changes none that left");
    let topics = Topics::named("f25-waits");
    topics.make(2);
    let (log, store) = (Log::of(&topics.prefix), Store::sqlite());
    for partition in 0..2 {
        topics.produce(Topic::Sales, partition, [sale(&format!("old{partition}"), "2024-01-10T10:00:30Z")]);
    }
    store.catch_up(&log, "");
    let window = |store: &Store| {
        let documents = store.results();
        let name = (String::from("aggregated_data"), String::from("sales_total|minute|2024-01-10T10:00:00Z"));
        documents.get(&name).unwrap_or_else(|| panic!("no {name:?} in {:?}", documents.keys())).clone()
    };
    assert_eq!(window(&store)["final"], false);
    topics.delete().expect("deleted");
    topics.make(1);
    topics.produce(Topic::Sales, 0, [sale("new", "2024-01-20T10:00:00Z")]);
    let accepted = offered(&store, &log, "");
    let mut run = store.run(&log, &accepted).start();
    wait_for(SOON, "the window to be final", || {
        assert!(run.is_running(), "{}", run.stderr());
        (window(&store)["final"] == true).then_some(())
    });
    // 11 January.
    wait_for(SOON, "the window to leave memory", || {
        (store.state_of("origin")["expiring_before"].as_i64() > Some(1_704_931_200_000)).then_some(())
    });
    topics.widen(2);
    // Known there, and its minute has left: it cannot be taken back. Nor can one come that would be in time by what the
    // partition has given.
    topics.produce(
        Topic::Sales,
        1,
        [
            sale("old1", "2024-01-10T10:00:40Z"),
            sale("late", "2024-01-10T10:00:50Z"),
            sale("fits", "2024-01-20T09:00:00Z"),
        ],
    );
    store.wait_for_all(&mut run, 4);
    assert_eq!(run.end("KILL", SOON).code, None);
    let before = store.results();
    let letters = before
        .iter()
        .filter(|((collection, _), document)| collection == "dead_letters" && document["reason"] == "late");
    assert_eq!(letters.count(), 2, "{before:?}");
    assert_eq!(window(&store)["transactions"], 2);
    let all = (String::from("real_time_metrics"), String::from("metric|sales_all"));
    assert_eq!(before[&all]["transactions"], 4, "{}", before[&all]);
    for workers in [1, 3] {
        store.catch_up(&log, &format!("--workers {workers}"));
        store.assert_unchanged(&before, "another start");
    }
    row.count("returns", 1);
}

/// What was read and not counted is not what is there to be read.
fn never_counted(row: &mut Row, store: &Store, some: bool) {
    let topics = Topics::named("f25-raw");
    topics.make(2);
    let log = Log::of(&topics.prefix);
    if some {
        topics.produce(Topic::Sales, 0, [sale("counted", "2024-01-10T10:00:00Z")]);
        store.catch_up(&log, "");
    }
    topics.produce(Topic::Inventory, 0, (0..30).map(|number| format!("before {number}")));
    topics.produce(Topic::Inventory, 1, (0..30).map(|number| format!("before {number}")));
    let crashed = store.run(&log, "--workers 2").env("TILLFLOW_CRASH_AT", "commit.begun:1").run(SOON);
    assert_eq!(crashed.code, Some(137), "{crashed:?}");
    topics.delete().expect("deleted");
    topics.make(2);
    topics.produce(Topic::Inventory, 0, (0..20).map(|number| format!("after {number}")));
    let accepted = if some { offered(store, &log, "") } else { String::new() };
    store.catch_up(&log, &accepted);
    topics.produce(Topic::Inventory, 1, (0..40).map(|number| format!("after {number}")));
    store.catch_up(&log, "");
    let documents = store.documents();
    let of_inventory =
        documents.iter().filter(|((collection, id), _)| collection == "raw_data" && id.starts_with("inventory|"));
    let values: Vec<String> = of_inventory.map(|(_, document)| document["value"].to_string()).collect();
    assert_eq!(values.len(), 60, "{values:?}");
    // Bytes, in hexadecimal: what is not JSON is kept as it is.
    let before = "before".bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(values.iter().all(|value| !value.contains("before") && !value.contains(&before)), "{values:?}");
    if !some {
        store.assert_exact(&log, "--complete");
    }
    row.count("topics made anew", 1);
}

#[test]
fn f25_read_and_never_counted() {
    let mut row = Row::begin("F25", "topics created anew after their records were read and none was counted");
    for some in [false, true] {
        never_counted(&mut row, &Store::sqlite(), some);
        never_counted(&mut row, &Store::mongodb("f25"), some);
    }
}
