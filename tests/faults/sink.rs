//! F12 to F19: the store is killed, goes back in time, loses answers, refuses, is slow, or is emptied.

use std::time::Duration;

use mongodb::bson::{Document as Bson, doc};

use crate::proxy::{Proxy, Service};
use crate::row::{Row, times};
use crate::services::{Server, copy_folder};
use crate::support::program::Running;
use crate::support::world::{Hostile, Sending, Topics};
use crate::support::{SOON, mongodb, unique, wait_for};
use crate::world::{Log, Place, Store, Watermark};

/// Runs a command on a server of tests.
pub fn command(uri: &str, database: &str, command: Bson) -> Result<Bson, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = mongodb::Client::with_uri_str(uri).await.map_err(|error| error.to_string())?;
        client.database(database).run_command(command).await.map_err(|error| error.to_string())
    })
}

/// A fail point for one application's commands; gone when dropped.
pub struct FailPoint;

impl FailPoint {
    pub fn set(application: &str, times: u32, mut data: Bson) -> FailPoint {
        data.insert("appName", application);
        let times = i32::try_from(times).expect("a small number");
        let order = doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data };
        command(&mongodb(), "admin", order).expect("the server takes fail points: start it with test commands enabled");
        FailPoint
    }
}

impl Drop for FailPoint {
    fn drop(&mut self) {
        let _ = command(&mongodb(), "admin", doc! { "configureFailPoint": "failCommand", "mode": "off" });
    }
}

/// A MongoDB address by which fail points and proxies know the program.
pub fn named(uri: &str, application: &str) -> String {
    let mark = if uri.contains('?') { '&' } else { '?' };
    let slash = if uri.contains('?') || uri.ends_with('/') { "" } else { "/" };
    // A pretended election changes nothing that the server would tell of at once: the driver has to look often.
    format!("{uri}{slash}{mark}appName={application}&heartbeatFrequencyMS=500")
}

/// A pipeline under load, whose process has to live through whatever a row does to its store.
pub struct Load {
    pub log: Log,
    pub store: Store,
    topics: Topics,
    run: Option<Running>,
    sending: Option<Sending>,
    sent: i64,
}

impl Load {
    pub fn start(row: &mut Row, store: Store, count: u32) -> Load {
        let topics = Topics::named("load");
        let log = Log::of(&topics.prefix);
        Load::start_at(row, store, log, topics, count)
    }

    pub fn start_at(row: &mut Row, store: Store, log: Log, topics: Topics, count: u32) -> Load {
        let sent = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 60 }, 0.0, 1.0);
        let mut run = store.run(&log, "--workers 2 --tick-ms 20").start();
        store.wait_for_more(&mut run, 0);
        let sending = topics.start_sending(Hostile { seed: row.dice.below(1 << 30), count }, 80);
        Load { log, store, topics, run: Some(run), sending: Some(sending), sent }
    }

    pub fn run(&mut self) -> &mut Running {
        self.run.as_mut().expect("a run")
    }

    pub fn more(&mut self, row: &mut Row, count: u32) {
        self.sent += self.sending.take().map_or(0, |sending| sending.finish());
        self.sent += self.topics.send(Hostile { seed: row.dice.below(1 << 30), count }, 0.0, 1.0);
    }

    /// Lets more records come if no more do.
    pub fn keep_coming(&mut self, row: &mut Row) {
        if self.sending.as_mut().is_none_or(Sending::is_over) {
            self.sent += self.sending.take().map_or(0, |sending| sending.finish());
            let history = Hostile { seed: row.dice.below(1 << 30), count: 400 };
            self.sending = Some(self.topics.start_sending(history, 80));
        }
    }

    /// Waits until something more is counted.
    pub fn goes_on(&mut self) {
        let before = self.store.counted();
        if self.sending.as_mut().is_none_or(Sending::is_over) && before >= self.sent {
            return;
        }
        let run = self.run.as_mut().expect("a run");
        self.store.wait_for_more(run, before);
    }

    /// Everything sent is counted once, by the process that was started; returns all it said.
    pub fn finish(mut self) -> String {
        let mut run = self.run.take().expect("a run");
        self.sent += self.sending.take().map_or(0, |sending| sending.finish());
        self.store.wait_for_all(&mut run, self.sent);
        let ended = run.end("TERM", SOON);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        self.store.assert_exact(&self.log, "--complete");
        ended.output()
    }

    /// Lets the process end by itself, and returns how.
    pub fn ended(&mut self, limit: Duration) -> crate::support::program::Ended {
        self.run.take().expect("a run").wait(limit)
    }

    pub fn kill(&mut self) {
        self.run().signal("KILL");
        self.ended(SOON);
    }

    /// Goes on with another process.
    pub fn again(&mut self) {
        self.run = Some(self.store.run(&self.log, "--workers 2 --tick-ms 20").start());
    }
}

#[test]
fn f12_mongodb_killed_and_started_again() {
    let mut row = Row::begin("F12", "MongoDB server killed (kill -9) and started again under load");
    let server = Server::mongodb();
    let store = Store::mongodb_at("killed", &server.uri(), &named(&server.uri(), "killed"));
    let kills = times(4, 200);
    let mut load = Load::start(&mut row, store, 300 + 150 * kills);
    let mut watermark = Watermark::default();
    for _ in 0..kills {
        std::thread::sleep(row.dice.millis(50, 900));
        server.kill();
        std::thread::sleep(row.dice.millis(0, 1_500));
        server.again();
        watermark.look(&load.store);
        load.goes_on();
        row.count("kills", 1);
    }
    load.finish();
}

/// Puts an older copy of a store in its place, while the program runs or while it is down.
///
/// `copy` keeps the store as it is, of which nobody has to write to it then; `put_back` replaces the store by that copy.
fn goes_back(row: &mut Row, mut load: Load, running: bool, mut copy: impl FnMut(&mut Load), put_back: impl FnOnce()) {
    copy(&mut load);
    load.goes_on();
    load.goes_on();
    let epoch = load.store.progress().expect("progress").epoch;
    if !running {
        load.kill();
    }
    put_back();
    assert!(load.store.progress().is_none_or(|progress| progress.epoch < epoch), "the copy is no older");
    if running {
        load.more(row, 60);
        let ended = load.ended(SOON);
        assert_eq!(ended.code, Some(5), "{ended:?}");
    }
    load.store.assert_exact(&load.log, "");
    load.again();
    load.finish();
    row.count("rollbacks", 1);
}

#[test]
fn f13_mongodb_goes_back() {
    let mut row = Row::begin("F13", "MongoDB's data replaced by an older copy, while running and while down");
    for round in 0..times(2, 50) {
        let server = Server::mongodb();
        let store = Store::mongodb_at("back", &server.uri(), &named(&server.uri(), "back"));
        let load = Load::start(&mut row, store, 250);
        let copies = tempfile::tempdir().expect("a temporary folder");
        let kept = copies.path().join("data");
        let copy = |_: &mut Load| {
            server.kill();
            copy_folder(&server.data(), &kept);
            server.again();
        };
        let put_back = || {
            server.kill();
            copy_folder(&kept, &server.data());
            server.again();
        };
        goes_back(&mut row, load, round % 2 == 0, copy, put_back);
    }
}

#[test]
fn f13_sqlite_goes_back() {
    let mut row = Row::begin("F13", "SQLite's file replaced by an older copy, while running and while down");
    for round in 0..times(2, 50) {
        let load = Load::start(&mut row, Store::sqlite(), 250);
        let Place::Sqlite { file, .. } = &load.store.place else { unreachable!("a SQLite store") };
        let file = file.clone();
        let companion = |suffix: &str| file.with_file_name(format!("shop.sqlite{suffix}"));
        let copies = tempfile::tempdir().expect("a temporary folder");
        let kept = |suffix: &str| copies.path().join(format!("copy{suffix}"));
        let copy = |load: &mut Load| {
            // A copy that is whole: of a file that nobody writes to.
            load.kill();
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::copy(companion(suffix), kept(suffix));
            }
            load.again();
        };
        let put_back = || {
            for suffix in ["-shm", "-wal", ""] {
                let _ = std::fs::remove_file(companion(suffix));
            }
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::copy(kept(suffix), companion(suffix));
            }
        };
        goes_back(&mut row, load, round % 2 == 0, copy, put_back);
    }
}

/// Loses answers to commits: the server has acted, or has not, and the program cannot know.
pub fn answers_lost(row: &mut Row, cases: u32) {
    let application = unique("f14");
    let proxy = Proxy::new(Service::Other, server_of(&mongodb()).as_str());
    let through = mongodb().replace(&server_of(&mongodb()), &proxy.address());
    let store = Store::mongodb_at("answers", &mongodb(), &named(&through, &application));
    let mut load = Load::start(row, store, 400);
    let mut watermark = Watermark::default();
    for case in 0..cases {
        load.keep_coming(row);
        // The driver asks twice at a time, the store six times: after more it cannot know.
        let times = [1, 2, 14, 14, 3, 5, 15, 16][case as usize % 8];
        if case % 2 == 0 {
            // The server never hears of it.
            let data = doc! { "failCommands": ["commitTransaction"], "closeConnection": true };
            let _fail_point = FailPoint::set(&application, times, data);
            load.goes_on();
            // More than once in a row, so that asking again does not tell either.
            std::thread::sleep(Duration::from_millis(u64::from(times) * 100));
        } else {
            // The server does it, and nobody hears of that.
            let before = proxy.lost();
            proxy.lose_replies(b"commitTransaction", times);
            wait_for(SOON, "lost replies", || {
                assert!(load.run().is_running(), "a run ended by itself: {}", load.run().stderr());
                // Where the store finds out what became of a commit, it takes more commits to lose so many answers.
                load.keep_coming(row);
                (proxy.lost() >= before + times).then_some(())
            });
        }
        load.goes_on();
        watermark.look(&load.store);
        row.count("answers lost", u64::from(times));
    }
    load.finish();
}

/// The host and port of a MongoDB address.
pub fn server_of(uri: &str) -> String {
    let rest = uri.trim_start_matches("mongodb://");
    rest[..rest.find('/').unwrap_or(rest.len())].to_owned()
}

#[test]
fn f14_answers_to_commits_lost() {
    let mut row = Row::begin("F14", "answer to a commit lost: the server acted, or it never heard");
    answers_lost(&mut row, times(12, 300));
}

#[test]
fn f15_conflicts_and_f17_elections() {
    let mut row = Row::begin("F15 F17", "write conflicts, lost transactions, unmet write concerns, step-downs");
    let application = unique("f15");
    let store = Store::mongodb_at("conflicts", &mongodb(), &named(&mongodb(), &application));
    let labels = ["TransientTransactionError"];
    let faults = [
        doc! { "failCommands": ["update"], "errorCode": 112, "errorLabels": labels },
        doc! { "failCommands": ["commitTransaction"], "errorCode": 112, "errorLabels": labels },
        doc! { "failCommands": ["commitTransaction"], "errorCode": 251 },
        doc! { "failCommands": ["update", "delete"], "closeConnection": true },
        doc! { "failCommands": ["insert"], "closeConnection": true },
        doc! { "failCommands": ["commitTransaction"], "writeConcernError": { "code": 64, "errmsg": "waited" } },
        doc! { "failCommands": ["update", "commitTransaction"], "errorCode": 10107 },
        doc! { "failCommands": ["update", "commitTransaction"], "errorCode": 189 },
        doc! { "failCommands": ["update", "insert", "commitTransaction"], "errorCode": 91 },
        doc! { "failCommands": ["insert"], "errorCode": 11600 },
    ];
    let rounds = times(1, 20);
    let mut load = Load::start(&mut row, store, 300 + 600 * rounds);
    let mut watermark = Watermark::default();
    for _ in 0..rounds {
        for data in &faults {
            let times = 1 + row.dice.below(3);
            {
                let _fail_point = FailPoint::set(&application, times as u32, data.clone());
                load.goes_on();
            }
            load.goes_on();
            watermark.look(&load.store);
            row.count("faults", times);
        }
    }
    load.finish();
}

#[test]
fn f16_mongodb_slow_and_stalled() {
    let mut row = Row::begin("F16", "MongoDB slow (2 s a command), then silent");
    let application = unique("f16");
    let proxy = Proxy::new(Service::Other, server_of(&mongodb()).as_str());
    let through = mongodb().replace(&server_of(&mongodb()), &proxy.address());
    let store = Store::mongodb_at("slow", &mongodb(), &named(&through, &application));
    let mut load = Load::start(&mut row, store, times(900, 9_000));
    for round in 0..times(1, 15) {
        let data =
            doc! { "failCommands": ["update", "commitTransaction"], "blockConnection": true, "blockTimeMS": 2_000 };
        {
            let _fail_point = FailPoint::set(&application, 6, data);
            load.goes_on();
            load.goes_on();
        }
        proxy.stall(true);
        std::thread::sleep(Duration::from_secs(u64::from(times(8, 90))));
        proxy.stall(false);
        load.goes_on();
        if round % 2 == 0 {
            proxy.cut(true);
            std::thread::sleep(Duration::from_secs(u64::from(times(2, 30))));
            proxy.cut(false);
            load.goes_on();
        }
        row.count("stalls", 1);
    }
    load.finish();
}

#[test]
fn f19_the_store_is_emptied_while_running() {
    let mut row = Row::begin("F19", "database dropped, progress deleted, rights withdrawn while running");
    for case in 0..3 {
        let application = unique("f19");
        let store = Store::mongodb_at("emptied", &mongodb(), &named(&mongodb(), &application));
        let Place::Mongodb { database, .. } = &store.place else { unreachable!("a MongoDB store") };
        let database = database.clone();
        let mut load = Load::start(&mut row, store, 300);
        let fail_point = match case {
            0 => {
                command(&mongodb(), &database, doc! { "dropDatabase": 1 }).expect("dropped");
                None
            }
            1 => {
                let delete = doc! { "q": { "_id": "progress" }, "limit": 1 };
                command(&mongodb(), &database, doc! { "delete": "pipeline_state", "deletes": [delete] })
                    .expect("deleted");
                None
            }
            _ => Some(FailPoint::set(
                &application,
                1_000,
                doc! { "failCommands": ["update", "insert"], "errorCode": 13 },
            )),
        };
        let ended = load.ended(SOON);
        drop(fail_point);
        assert_eq!(ended.code, Some(if case == 2 { 3 } else { 5 }), "{ended:?}");
        let last = ended.last_line();
        assert!(last.starts_with("error: "), "{last}");
        if case == 2 {
            load.again();
            load.finish();
        } else {
            assert!(load.store.progress().is_none(), "it began again from nothing");
        }
        row.count("ends", 1);
    }
}

/// F29: the server's writes fail, as on a full disk, until somebody makes room.
#[test]
fn f29_mongodb_cannot_write() {
    let mut row = Row::begin("F29", "MongoDB server's writes fail (limit of file size), then it is started with room");
    for _ in 0..times(1, 10) {
        let server = Server::mongodb();
        let store = Store::mongodb_at("full", &server.uri(), &named(&server.uri(), "full"));
        let mut load = Load::start(&mut row, store, 300);
        server.limit_files(1 << 12);
        // It goes on, it waits, or it ends: it never says that it has written what it has not.
        std::thread::sleep(row.dice.millis(1_000, 4_000));
        if server.is_running() {
            server.kill();
        }
        server.again();
        let before = load.store.counted();
        wait_for(SOON, "an end, or more commits", || {
            load.keep_coming(&mut row);
            (!load.run().is_running() || load.store.counted() > before).then_some(())
        });
        if !load.run().is_running() {
            let ended = load.ended(SOON);
            assert_eq!(ended.code, Some(3), "{ended:?}");
            row.count("ends", 1);
            load.again();
        }
        load.store.assert_exact(&load.log, "");
        load.finish();
        row.count("full disks", 1);
    }
}
