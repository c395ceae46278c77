//! Records that Kafka no longer has, or has others for: refused, and accepted only by name and where it can be exact.

use tillflow::store::Progress;
use tillflow_dataflows::records::Topic;

use crate::refusals::refused;
use crate::support::SOON;
use crate::support::oracle::{assert_equal, documents};
use crate::support::program::Ended;
use crate::support::world::{Hostile, Store, Topics, counted};

fn progress(store: &Store) -> Progress {
    store.progress().expect("progress")
}

fn try_again(store: &Store, topics: &Topics, flags: &str) -> Ended {
    // With a checkpoint less is lost.
    store.forget_state();
    store.run(topics, flags).flags(["--until-caught-up"]).run(SOON)
}

/// Records without a time: no clock can tell one history from another, only the records themselves.
fn fill(topics: &Topics, history: &str, records: usize) {
    for topic in Topic::ALL {
        topics.produce(topic, 0, (0..records).map(|number| format!("{history} {number:04}")));
    }
}

/// However long it has become meanwhile.
fn made_anew(store: &Store, name: &str, lengths: &[usize]) {
    let topics = Topics::named(name);
    topics.make(1);
    fill(&topics, "before", 10);
    store.catch_up(&topics, "");
    // As long as the topics are the same, so is the answer.
    store.catch_up(&topics, "--workers 1");
    let before = progress(store);
    assert_eq!(counted(&before), 30);
    for (turn, length) in lengths.iter().enumerate() {
        topics.delete().expect("deleted");
        topics.make(1);
        fill(&topics, &format!("after{turn:1}"), *length);
        let first = Topic::ALL[0].name();
        for flags in ["", "--accept-gone user_activity/0:10", "--accept-loss user_activity/0:0-9"] {
            let ended = try_again(store, &topics, flags);
            refused(&ended, 4, &[first, "partition 0", "created anew", "offset 10", "empty store"]);
        }
        // Not even the fence: an instance that runs elsewhere is not disturbed.
        assert_eq!(progress(store), before);
    }
}

#[test]
fn topics_that_were_made_anew_with_fewer_as_many_or_more_records() {
    made_anew(&Store::sqlite(), "anew-s", &[9, 10, 25]);
}

#[test]
fn topics_that_were_made_anew_under_a_store_in_mongodb() {
    made_anew(&Store::mongodb("anew"), "anew-m", &[10]);
}

#[test]
fn counted_records_that_were_deleted_cannot_be_accepted() {
    let topics = Topics::named("counted");
    topics.make(1);
    fill(&topics, "all", 10);
    let store = Store::sqlite();
    store.catch_up(&topics, "");
    let before = progress(&store);
    topics.delete_records(Topic::Sales, 0, 4);
    for flags in ["", "--accept-loss sales/0:0-3"] {
        refused(&try_again(&store, &topics, flags), 4, &["sales partition 0", "offsets 0 to 3", "retention.ms"]);
    }
    // Beyond the last one that is counted, which is gone as well.
    fill(&topics, "more", 10);
    topics.delete_records(Topic::Sales, 0, 15);
    for flags in ["", "--accept-loss sales/0:10-14"] {
        refused(&try_again(&store, &topics, flags), 4, &["sales partition 0", "offsets 0 to 14", "retention.ms"]);
    }
    assert_eq!(progress(&store), before);
}

/// Records came and went before any was counted.
fn never_counted(store: &Store, name: &str) {
    let topics = Topics::named(name);
    let history = Hostile { seed: 61, count: 1_500 };
    assert_eq!(topics.send(history, 0.0, 0.0), 0);
    topics.produce(Topic::Inventory, 0, ["no record"]);
    store.catch_up(&topics, "");
    let before = progress(store);
    assert_eq!((counted(&before), before.offsets[&(Topic::Sales, 0)]), (1, 0));

    let first = topics.send(history, 0.0, 0.6);
    topics.delete_records(Topic::Sales, 0, 20);
    let fits = "--accept-loss sales/0:0-19";
    refused(&try_again(store, &topics, ""), 4, &["sales partition 0: offsets 0 to 19", fits]);
    for unfit in ["--accept-loss sales/0:0-18", "--accept-loss sales/0:1-19", "--accept-gone sales/0:0"] {
        refused(&try_again(store, &topics, unfit), 2, &[unfit, fits]);
    }
    refused(&try_again(store, &topics, &format!("{fits} --accept-loss sales/2:0-1")), 2, &["sales/2", "leave it out"]);
    refused(&try_again(store, &topics, "--accept-loss sales/0"), 2, &["--accept-loss", "sales/0:100-250"]);
    assert_eq!(progress(store), before);

    let ended = try_again(store, &topics, fits);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains(fits), "what is given up is said: {ended:?}");
    assert_eq!(counted(&progress(store)), 1 + first);
    assert_equal(&topics, store, "--complete");
    let origin = || documents(store)[&(String::from("pipeline_state"), String::from("origin"))].clone();
    let accepted = origin()["accepted"].to_string();
    assert!(accepted.contains(fits) && accepted.contains(&progress(store).instance), "{accepted}");

    // A supervisor starts the same command line again.
    let second = topics.send(history, 0.6, 1.0);
    let ended = try_again(store, &topics, &format!("{fits} --workers 3"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    store.catch_up(&topics, "");
    assert_eq!(counted(&progress(store)), 1 + first + second);
    assert_equal(&topics, store, "--complete");
    assert_eq!(origin()["accepted"].to_string(), accepted, "it was accepted once");
    store.verify(&topics);
}

#[test]
fn records_that_were_never_counted_are_given_up_by_name_in_sqlite() {
    never_counted(&Store::sqlite(), "uncounted-s");
}

#[test]
fn records_that_were_never_counted_are_given_up_by_name_in_mongodb() {
    never_counted(&Store::mongodb("uncounted"), "uncounted-m");
}

/// Nothing new comes: what was accepted is in the store all the same when the run ends well.
#[test]
fn what_was_accepted_is_remembered_without_a_record() {
    let topics = Topics::named("remembered");
    topics.make(1);
    topics.produce(Topic::Inventory, 0, ["no record"]);
    let store = Store::sqlite();
    store.catch_up(&topics, "");
    topics.produce(Topic::Sales, 0, ["lost", "lost too"]);
    topics.delete_records(Topic::Sales, 0, 2);
    let flag = "--accept-loss sales/0:0-1";
    refused(&try_again(&store, &topics, ""), 4, &[flag]);
    // As a run that was interrupted before its commit leaves it.
    let Store::Sqlite { file, .. } = &store else { unreachable!("it is one") };
    let row =
        "INSERT INTO raw_data (_id, topic, partition, offset, outcome) VALUES ('sales|0|1', 'sales', 0, 1, 'late')";
    rusqlite::Connection::open(file).and_then(|file| file.execute(row, [])).expect("a row");
    let before = progress(&store);
    store.catch_up(&topics, flag);
    let after = progress(&store);
    assert_eq!((after.epoch, after.offsets[&(Topic::Sales, 0)]), (before.epoch + 1, 2));
    store.catch_up(&topics, "");
    assert_eq!(progress(&store).epoch, after.epoch);
    topics.produce(Topic::Sales, 0, ["kept"]);
    store.catch_up(&topics, "");
    // The row is neither of a record that counts nor a difference.
    store.verify(&topics);
}
