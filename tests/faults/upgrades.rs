//! F32: what another version left: a checkpoint, a state folder, a store. Passed over or refused, never misread.

use mongodb::bson::doc;

use crate::files::Files;
use crate::row::{Row, times};
use crate::sink::command;
use crate::support::SOON;
use crate::support::program::{Ended, Tillflow};
use crate::world::{Place, Store};

/// Gives a field of a document of `pipeline_state` another text, or takes it away.
fn set(store: &Store, id: &str, field: &str, text: Option<&str>) {
    match &store.place {
        Place::Sqlite { file, .. } => {
            let database = rusqlite::Connection::open(file).expect("the file");
            let change = format!("UPDATE pipeline_state SET \"{field}\" = ? WHERE _id = ?");
            assert_eq!(database.execute(&change, (text, id)).expect("a change"), 1);
        }
        Place::Mongodb { direct, database, .. } => {
            let change = match text {
                Some(text) => doc! { "$set": { field: text } },
                None => doc! { "$unset": { field: "" } },
            };
            let change = doc! { "q": { "_id": id }, "u": change };
            let reply = command(direct, database, doc! { "update": "pipeline_state", "updates": [change] });
            assert_eq!(reply.expect("a change").get_i32("n").ok(), Some(1));
        }
    }
}

fn remove(store: &Store, id: &str) {
    match &store.place {
        Place::Sqlite { file, .. } => {
            let database = rusqlite::Connection::open(file).expect("the file");
            assert_eq!(database.execute("DELETE FROM pipeline_state WHERE _id = ?", (id,)).expect("a change"), 1);
        }
        Place::Mongodb { direct, database, .. } => {
            let change = doc! { "q": { "_id": id }, "limit": 1 };
            command(direct, database, doc! { "delete": "pipeline_state", "deletes": [change] }).expect("a change");
        }
    }
}

/// Makes every checkpoint one of another format, whole and with the right checksum.
fn of_another_format(store: &Store, format: u32) {
    let manifests = store.manifests();
    assert!(!manifests.is_empty(), "no checkpoint was made");
    for path in manifests {
        let text = std::fs::read_to_string(&path).expect("a manifest");
        let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("a manifest");
        manifest["format"] = format.into();
        let bytes = serde_json::to_vec(&manifest).expect("a manifest");
        std::fs::remove_file(&path).expect("removed");
        let name = format!("manifest-{:08x}.json", crc32fast::hash(&bytes));
        std::fs::write(path.with_file_name(name), bytes).expect("a manifest");
    }
}

fn run(files: &Files, store: &Store) -> Tillflow {
    store.run_files(files.folder(), "--workers 2 --tick-ms 5 --until-caught-up")
}

fn goes_on_from_a_checkpoint(ended: &Ended) -> bool {
    ended.stderr.contains("going on from a checkpoint")
}

/// Refused in one line, and nothing is changed.
fn refused(row: &mut Row, files: &Files, store: &Store, words: &str) {
    let before = store.documents();
    let ended = run(files, store).run(SOON);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.last_line().starts_with("error: ") && ended.last_line().contains(words), "{words}: {ended:?}");
    assert!(store.documents() == before, "a refused run changed the store");
    row.count("refusals", 1);
}

fn another_version(row: &mut Row, store: &Store) {
    let mut files = Files::hostile(row.dice.below(1 << 30), 600);
    files.grow(40);
    run(&files, store).succeed(SOON);
    for format in [0, 99, u32::MAX] {
        of_another_format(store, format);
        files.grow(10);
        let ended = run(&files, store).succeed(SOON);
        assert!(!goes_on_from_a_checkpoint(&ended), "a checkpoint of format {format} was read: {ended:?}");
        store.assert_exact_files(files.folder(), "--complete");
        row.count("checkpoints passed over", 1);
        // It has left one of its own.
        files.grow(10);
        let ended = run(&files, store).succeed(SOON);
        assert!(goes_on_from_a_checkpoint(&ended), "{ended:?}");
        store.assert_exact_files(files.folder(), "--complete");
    }

    let owner = store.state().join("tillflow.json");
    let ours = std::fs::read(&owner).expect("an owner");
    for other in ["", "{\"version\": 2}", "another program's"] {
        std::fs::write(&owner, other).expect("an owner");
        refused(row, &files, store, "does not say whose it is");
    }
    std::fs::write(&owner, ours).expect("an owner");

    files.grow(10);
    let configuration = store.state_of("origin")["configuration"].as_str().expect("a text").to_owned();
    set(store, "origin", "configuration", Some(&format!("{configuration}; sampling=0.5")));
    refused(row, &files, store, "does not understand the store's settings: sampling");
    set(store, "origin", "configuration", Some(&configuration));

    // A version that knew neither names of histories nor fingerprints: taken over.
    set(store, "origin", "lineage", None);
    remove(store, "fingerprints");
    let ended = run(&files, store).run(SOON);
    // The checkpoints belong to a history with a name.
    assert_eq!(ended.code, Some(4), "{ended:?}");
    store.forget_state();
    run(&files, store).succeed(SOON);
    store.assert_exact_files(files.folder(), "--complete");
    // In SQLite nested fields are text.
    assert!(store.state_of("origin")["lineage"].is_string() && !store.state_of("fingerprints")["records"].is_null());
    row.count("stores taken over", 1);

    // One that keeps its progress otherwise: not to be guessed at.
    set(store, "progress", "epoch", Some("twelve"));
    refused(row, &files, store, "was not written by this version");
}

#[test]
fn f32_another_version_sqlite() {
    let mut row = Row::begin("F32", "checkpoints, state folder and store of other versions, SQLite");
    for _ in 0..times(1, 5) {
        another_version(&mut row, &Store::sqlite());
    }
}

#[test]
fn f32_another_version_mongodb() {
    let mut row = Row::begin("F32", "checkpoints, state folder and store of other versions, MongoDB");
    for _ in 0..times(1, 5) {
        another_version(&mut row, &Store::mongodb("f32"));
    }
}
