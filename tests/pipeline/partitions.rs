//! Partitions that come while a run is reading: taken up without a restart, and nothing of them is missed.

use std::time::{Duration, Instant};

use tillflow_dataflows::records::Topic;

use crate::support::cluster::{free_hosts, process};
use crate::support::oracle::{assert_equal, documents};
use crate::support::world::{Store, Topics, counted};
use crate::support::{SOON, wait_for};

/// Within which a new partition is read.
const TAKEN_UP: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);

fn added(store: &Store, name: &str, rate: &str) {
    let topics = Topics::named(name);
    topics.make(2);
    topics.generate(71, 500);
    // It knows of two partitions, and goes on with them.
    let mut load = topics.generate_command(72).flags(["--rate", rate]).start();
    let mut run = store.run_with_pages(&topics, "--listen 127.0.0.1:0 --workers 2").start();
    let page = run.wait_for_line("dashboard: ");
    let committed = |least: i64| {
        move || store.progress().filter(|progress| counted(progress) >= least).map(|progress| counted(&progress))
    };
    let before = wait_for(SOON, "the first records", committed(501));

    topics.widen(4);
    let widened = Instant::now();
    // What is sent at once was there before anybody looked.
    topics.generate(73, 800);
    let places: Vec<(Topic, i32)> = Topic::ALL.into_iter().flat_map(|topic| [(topic, 2), (topic, 3)]).collect();
    let progress = wait_for(2 * TAKEN_UP, "the new partitions to be counted", || {
        assert!(run.is_running(), "{}", run.stderr());
        let progress = store.progress()?;
        places.iter().all(|place| progress.offsets.get(place).is_some_and(|next| *next > 0)).then_some(progress)
    });
    assert!(widened.elapsed() < TAKEN_UP, "{:?}", widened.elapsed());
    assert!(counted(&progress) > before, "the others stood still");
    assert!(load.is_running());
    let get = |path: &str| {
        let mut answer = ureq::get(format!("{}{path}", page.trim_end_matches('/'))).call().expect("an answer");
        answer.body_mut().read_to_string().expect("text")
    };
    for (topic, partition) in places.iter().copied() {
        let labels = format!("tillflow_kafka_lag_records{{topic=\"{}\",partition=\"{partition}\"}}", topic.name());
        wait_for(SOON, &labels, || get("/metrics").contains(&labels).then_some(()));
    }
    // Ready is who has caught up, the new partitions too.
    wait_for(SOON, "/readyz", || ureq::get(format!("{}/readyz", page.trim_end_matches('/'))).call().ok());

    assert_eq!(load.end("TERM", STOP).code, Some(0));
    assert_eq!(run.end("TERM", STOP).code, Some(0));
    assert_equal(&topics, store, "");
    let origin = documents(store)[&(String::from("pipeline_state"), String::from("origin"))]["offsets"].clone();
    for (topic, partition) in &places {
        assert_eq!(origin[topic.name()][partition.to_string()], 0, "{origin}");
    }

    topics.generate(74, 300);
    store.catch_up(&topics, "--workers 3");
    assert_equal(&topics, store, "--complete");
    store.verify(&topics);
}

#[test]
fn partitions_that_come_under_load_in_sqlite() {
    added(&Store::sqlite(), "added-s", "400");
}

#[test]
fn partitions_that_come_under_load_in_mongodb() {
    added(&Store::mongodb("added"), "added-m", "60");
}

#[test]
fn partitions_that_come_are_read_by_the_processes_they_belong_to() {
    let (store, topics) = (Store::sqlite(), Topics::init("added-c", 1));
    topics.generate(75, 300);
    let hosts = free_hosts(2);
    let mut running: Vec<_> = (0..2).map(|index| process(store.run(&topics, "--workers 1"), &hosts, index)).collect();
    let store = &store;
    let all = |least: i64| move || store.progress().filter(|progress| counted(progress) >= least);
    wait_for(SOON, "the first records", all(300));
    topics.widen(3);
    topics.generate(76, 900);
    // By topic and number every second one is the other process's.
    let progress = wait_for(2 * TAKEN_UP, "the new partitions to be counted", all(1_200));
    assert_eq!(progress.offsets.len(), 9, "{progress:?}");
    for process in running.drain(..).rev().collect::<Vec<_>>() {
        assert_eq!(process.end("TERM", STOP).code, Some(0));
    }
    assert_equal(&topics, store, "--complete");
    store.catch_up(&topics, "--workers 1");
    assert_equal(&topics, store, "--complete");
}
