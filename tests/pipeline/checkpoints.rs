//! What a start makes of a checkpoint, and of one that is damaged, foreign or missing; and of a store that holds what it
//! should not.

use std::path::PathBuf;

use tillflow_dataflows::records::Topic;

use crate::cluster;
use crate::refusals::refused;
use crate::support::SOON;
use crate::support::oracle::{assert_equal, documents};
use crate::support::program::Ended;
use crate::support::world::{Hostile, Store, Topics, counted};

const GOING_ON: &str = "going on from a checkpoint";

fn went_on(ended: &Ended) -> bool {
    ended.stderr.contains(GOING_ON)
}

/// Every shard of every checkpoint, the newest checkpoint first.
fn shards(store: &Store) -> Vec<Vec<PathBuf>> {
    let entries = |folder: PathBuf| -> Vec<PathBuf> {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        entries
    };
    let is_shard = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shard-"));
    let checkpoints = entries(store.state().join("checkpoints")).into_iter().rev();
    checkpoints.map(|folder| entries(folder).into_iter().filter(is_shard).collect()).collect()
}

/// Whatever numbers of processes and workers save and restore.
fn goes_on(store: &Store, name: &str) {
    let topics = Topics::named(name);
    let history = Hostile { seed: 41, count: 3_000 };
    let mut sent = 0;
    let parts = [(0.0, 0.3, 1, 2), (0.3, 0.5, 2, 1), (0.5, 0.7, 2, 2), (0.7, 0.9, 1, 3), (0.9, 1.0, 1, 1)];
    for (turn, (first, last, processes, workers)) in parts.into_iter().enumerate() {
        sent += topics.send(history, first, last);
        let flags = format!("--workers {workers}");
        let ended = match processes {
            1 => store.catch_up(&topics, &flags),
            _ => cluster::catch_up(store, &topics, processes, &flags),
        };
        assert_eq!(went_on(&ended), turn > 0, "{ended:?}");
        assert_eq!(counted(&store.progress().expect("progress")), sent);
        assert_equal(&topics, store, "--complete");
    }
    // What a checkpoint holds need not be there any more.
    let progress = store.progress().expect("progress");
    for ((topic, partition), next) in &progress.offsets {
        topics.delete_records(*topic, *partition, *next);
    }
    let before = documents(store);
    let ended = store.catch_up(&topics, "--workers 2");
    assert!(went_on(&ended), "{ended:?}");
    let after = documents(store);
    let views = |((collection, _), _): &(&(String, String), &serde_json::Value)| collection != "pipeline_state";
    assert!(before.iter().filter(views).eq(after.iter().filter(views)));
    // But without the checkpoint it has to be.
    store.forget_state();
    let ended = store.run(&topics, "--until-caught-up").run(SOON);
    refused(&ended, 4, &["no longer there"]);
}

#[test]
fn a_start_goes_on_from_a_checkpoint_with_sqlite() {
    goes_on(&Store::sqlite(), "checkpoints-s");
}

#[test]
fn a_start_goes_on_from_a_checkpoint_with_mongodb() {
    goes_on(&Store::mongodb("checkpoints"), "checkpoints-m");
}

#[test]
fn a_damaged_checkpoint_is_left_out() {
    let (topics, store) = (Topics::named("damaged"), Store::sqlite());
    let history = Hostile { seed: 42, count: 1_500 };
    for (first, last) in [(0.0, 0.4), (0.4, 0.7)] {
        topics.send(history, first, last);
        store.catch_up(&topics, "--workers 2");
    }
    let newest = &shards(&store)[0];
    assert_eq!(newest.len(), 2);
    let mut bytes = std::fs::read(&newest[1]).expect("a shard");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest[1], bytes).expect("a shard");
    topics.send(history, 0.7, 0.8);
    let ended = store.catch_up(&topics, "--workers 2");
    assert!(went_on(&ended) && ended.stderr.contains("is damaged"), "{ended:?}");
    assert_equal(&topics, &store, "--complete");

    // With none that is whole everything is read again.
    for shard in shards(&store).into_iter().flatten() {
        std::fs::write(&shard, b"").expect("a shard");
    }
    topics.send(history, 0.8, 1.0);
    let ended = store.catch_up(&topics, "--workers 1");
    assert!(!went_on(&ended), "{ended:?}");
    assert_equal(&topics, &store, "--complete");
}

#[test]
fn a_folder_of_another_store_or_source_is_refused() {
    let (topics, store, other) = (Topics::named("foreign"), Store::sqlite(), Store::sqlite());
    topics.send(Hostile { seed: 43, count: 300 }, 0.0, 1.0);
    store.catch_up(&topics, "");
    let state = store.state().display().to_string();
    let ended = other.run(&topics, "--until-caught-up").flags(["--state", &state]).run(SOON);
    refused(&ended, 4, &["--state", "belongs to another store"]);
    other.catch_up(&topics, "");
    let ended = other.run(&topics, "--until-caught-up").flags(["--state", &state]).run(SOON);
    refused(&ended, 4, &["--state", "belongs to another store"]);
    // It is as good as before.
    assert!(went_on(&store.catch_up(&topics, "")));
    assert_equal(&topics, &store, "--complete");
}

/// Documents changed, missing and made up by another hand, with or without new records.
#[test]
fn what_the_store_should_not_hold_is_corrected_with_the_first_commit() {
    let (topics, store) = (Topics::named("corrected"), Store::sqlite());
    let history = Hostile { seed: 44, count: 2_000 };
    topics.send(history, 0.0, 0.7);
    store.catch_up(&topics, "--workers 2");
    let Store::Sqlite { file, .. } = &store else { unreachable!("it was made so") };
    let spoil = |turn: usize| {
        let database = rusqlite::Connection::open(file).expect("the file");
        let statements = [
            "UPDATE aggregated_data SET revenue = '7.0000' WHERE type = 'sales_total'",
            "DELETE FROM aggregated_data WHERE type = 'sessions' AND granularity = 'day'",
            "INSERT INTO aggregated_data (_id, type, granularity, epoch) VALUES ('sales_total|day|1999', 'sales_total', 'day', 1)",
            "DELETE FROM real_time_metrics WHERE type IN ('metric', 'supply')",
            "UPDATE real_time_metrics SET current_stock = current_stock + 1 WHERE type = 'stock'",
        ];
        for statement in statements {
            let changed = database.execute(&statement.replace("1999", &format!("1999{turn}")), []).expect(statement);
            assert!(changed > 0, "{statement} changed nothing");
        }
    };
    for (turn, (first, last)) in [(0.7, 0.7), (0.7, 0.9), (0.9, 1.0)].into_iter().enumerate() {
        spoil(turn);
        if first < last {
            topics.send(history, first, last);
        }
        if turn == 2 {
            store.forget_state();
        }
        let epoch = store.progress().expect("progress").epoch;
        store.catch_up(&topics, "--workers 2");
        assert!(store.progress().expect("progress").epoch > epoch);
        assert_equal(&topics, &store, "--complete");
    }
}

/// Killed before it is complete, a checkpoint is none.
#[test]
fn a_checkpoint_without_its_manifest_is_none() {
    let (topics, store) = (Topics::named("torn"), Store::sqlite());
    topics.send(Hostile { seed: 45, count: 500 }, 0.0, 1.0);
    store.catch_up(&topics, "");
    let folder = shards(&store)[0][0].parent().expect("a folder").to_owned();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("manifest-")) {
            std::fs::remove_file(path).expect("removed");
        }
    }
    let ended = store.catch_up(&topics, "");
    assert!(!went_on(&ended), "{ended:?}");
    assert_equal(&topics, &store, "--complete");
    let begun = store.progress().expect("progress").offsets;
    assert!(begun.contains_key(&(Topic::Sales, 0)));
}
