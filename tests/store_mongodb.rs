//! The MongoDB store against the server that MONGO_URI names: the suite that every store passes, with transactions
//! and with guarded writes, and what is MongoDB's own. Each test has a database of its own and drops it.

mod store;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Bson, Document as BsonDocument, doc};
use store::{Fixture, all, commit, document, everything, raw, row, text};
use tillflow::document::{Collection, Value};
use tillflow::store::{Origin, Query, StoreAddress, StoreError, StoreOptions};
use tokio::runtime::Runtime;

fn uri() -> String {
    match std::env::var("MONGO_URI") {
        Ok(uri) if !uri.is_empty() => uri,
        _ => panic!("these tests need a MongoDB server: set MONGO_URI (./test.sh starts one)"),
    }
}

struct Database {
    address: StoreAddress,
    options: StoreOptions,
    name: String,
    /// Counts the retries that the store reports.
    retries: Arc<AtomicUsize>,
    runtime: Runtime,
    client: Client,
}

impl Database {
    fn new(guarded_writes: bool) -> Database {
        let uri = uri();
        let name = format!("tillflow_test_{:016x}", rand::random::<u64>());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(Client::with_uri_str(&uri)).unwrap();
        let retries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&retries);
        let options = StoreOptions {
            timeout: Duration::from_secs(120),
            report: Arc::new(move |problem| {
                counted.fetch_add(usize::from(problem.is_some()), Ordering::Relaxed);
            }),
            guarded_writes,
            ..StoreOptions::default()
        };
        let address = StoreAddress::parse("mongodb", &uri, &name).unwrap();
        Database { address, options, name, retries, runtime, client }
    }

    fn transactions() -> Database {
        Database::new(false)
    }

    fn guarded() -> Database {
        Database::new(true)
    }

    fn run(&self, command: BsonDocument) -> BsonDocument {
        self.runtime.block_on(async { self.client.database(&self.name).run_command(command).await }).unwrap()
    }

    fn one(&self, collection: Collection) -> BsonDocument {
        let documents = self.client.database(&self.name).collection::<BsonDocument>(collection.name());
        self.runtime.block_on(async { documents.find_one(doc! {}).await }).unwrap().unwrap()
    }

    fn retries(&self) -> usize {
        self.retries.load(Ordering::Relaxed)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test that failed may have left a transaction open, which SecantusDB waits for without end; a server that is
        // thrown away needs no cleaning at all.
        if !std::thread::panicking() && std::env::var_os("TILLFLOW_TEST_SERVICES_END").is_none() {
            self.runtime.block_on(async { self.client.database(&self.name).drop().await }).unwrap();
        }
    }
}

impl Fixture for Database {
    fn address(&self) -> &StoreAddress {
        &self.address
    }

    fn options(&self) -> StoreOptions {
        self.options.clone()
    }

    fn many(&self) -> i64 {
        let great = std::env::var("TILLFLOW_GREAT_COMMIT").ok().and_then(|count| count.parse().ok());
        great.unwrap_or(2_500)
    }
}

mod with_transactions {
    crate::conformance_suite!(super::Database::transactions());
    crate::conformance!(super::Database::transactions();
        readers_see_whole_commits_only, scans_see_whole_commits_only);
}

mod with_guarded_writes {
    crate::conformance_suite!(super::Database::guarded());
}

#[test]
fn documents_have_the_types_that_the_contract_names() {
    let database = Database::transactions();
    let mut store = database.open();
    store.acquire("a").unwrap();
    let mut first = commit(1, vec![row("sales_total|hour|2024-01-15T10:00:00Z", 1, 2)]);
    let dead = document(Collection::DeadLetters, "sales|0|1", vec![("value", Value::Bytes(vec![1, 2]))]);
    first.dead_letters = vec![dead];
    store.commit(&first).unwrap();
    let found = database.one(Collection::AggregatedData);
    assert!(matches!(found.get("timestamp"), Some(Bson::DateTime(_))), "{found}");
    assert!(matches!(found.get("units"), Some(Bson::Int64(2))), "{found}");
    assert!(matches!(found.get("final"), Some(Bson::Boolean(false))), "{found}");
    assert_eq!(found.get("revenue"), Some(&Bson::Decimal128("2.4690".parse().unwrap())), "{found}");
    assert_eq!(found.get("key"), Some(&Bson::Document(doc! {})), "{found}");
    assert!(matches!(database.one(Collection::DeadLetters).get("value"), Some(Bson::Binary(_))));
    let progress = database.one(Collection::PipelineState);
    assert_eq!(
        progress.get_document("offsets").unwrap(),
        &doc! { "sales": { "0": 1_i64 }, "inventory": { "2": 7_i64 } }
    );

    let json = r#"{"product_id":"p","unit_price":12.50,"quantity":3,"tags":[null,"a"]}"#;
    store.write_raw(&[raw(1, Some(Value::Json(json.into())))]).unwrap();
    let value = database.one(Collection::RawData).get_document("value").unwrap().clone();
    let price = Bson::Decimal128("12.50".parse().unwrap());
    let expected = doc! { "product_id": "p", "unit_price": price, "quantity": 3_i64, "tags": [Bson::Null, "a"] };
    assert_eq!(value, expected);
}

#[test]
fn the_contracts_indexes_are_there_and_expiry_is_set_and_changed() {
    let mut database = Database::transactions();
    let indexes = |database: &Database, collection: Collection| -> Vec<(String, Option<i64>)> {
        let reply = database.run(doc! { "listIndexes": collection.name() });
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap().clone();
        let mut names: Vec<(String, Option<i64>)> = batch
            .iter()
            .map(|index| index.as_document().unwrap())
            .map(|index| {
                let seconds = index.get("expireAfterSeconds");
                let seconds = seconds.and_then(|bson| bson.as_i64().or(bson.as_i32().map(i64::from)));
                (index.get_str("name").unwrap().to_owned(), seconds)
            })
            .collect();
        names.sort();
        names
    };
    let plain = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), None)).collect::<Vec<_>>();
    database.open();
    assert_eq!(indexes(&database, Collection::RawData), plain(&["_id_", "timestamp_1", "topic_1"]));
    assert_eq!(indexes(&database, Collection::AggregatedData), plain(&["_id_", "timestamp_1", "type_1"]));
    assert_eq!(indexes(&database, Collection::RealTimeMetrics), plain(&["_id_", "timestamp_1"]));
    assert_eq!(indexes(&database, Collection::DeadLetters), plain(&["_id_", "kafka_timestamp_1", "reason_1"]));
    assert_eq!(indexes(&database, Collection::PipelineState), plain(&["_id_"]));
    // What says nothing of expiry leaves it as it is.
    for (seconds, expected) in [(Some(3600), 3600), (None, 3600), (Some(7200), 7200), (None, 7200)] {
        database.options.raw_ttl = seconds.map(Duration::from_secs);
        database.open();
        assert_eq!(indexes(&database, Collection::RawData)[1], ("timestamp_1".to_owned(), Some(expected)));
    }
}

/// The server has one set of fail points; tests that set them take turns.
static FAIL_POINTS: Mutex<()> = Mutex::new(());

struct FailPoint<'a> {
    database: &'a Database,
    _turn: MutexGuard<'static, ()>,
}

impl FailPoint<'_> {
    fn set(database: &Database, times: i32, data: BsonDocument) -> FailPoint<'_> {
        let turn = FAIL_POINTS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut data = data;
        // Only the store's own connections: other tests run beside this one.
        data.insert("appName", "tillflow-failpoint");
        FailPoint::configure(
            database,
            doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data },
        );
        FailPoint { database, _turn: turn }
    }

    fn configure(database: &Database, command: BsonDocument) {
        let admin = database.client.database("admin");
        let configured = database.runtime.block_on(async { admin.run_command(command).await });
        if let (Err(error), false) = (configured, std::thread::panicking()) {
            panic!("the server takes no fail points (start it with test commands enabled): {error}");
        }
    }
}

impl Drop for FailPoint<'_> {
    fn drop(&mut self) {
        FailPoint::configure(self.database, doc! { "configureFailPoint": "failCommand", "mode": "off" });
    }
}

/// A database whose store connects under the name that fail points are set for.
fn failing(guarded: bool) -> Database {
    let mut database = Database::new(guarded);
    let uri = uri();
    let mark = if uri.contains('?') { '&' } else { '?' };
    let slash = if uri.contains('?') || uri.ends_with('/') { "" } else { "/" };
    // A pretended election changes nothing that the server would tell of at once: the driver has to look often.
    let options = "appName=tillflow-failpoint&heartbeatFrequencyMS=500";
    database.address = StoreAddress::parse("mongodb", &format!("{uri}{slash}{mark}{options}"), &database.name).unwrap();
    database
}

/// Commits 1, then 2 under a fail point, then 3, and looks whether each counts exactly once.
fn survives(guarded: bool, times: i32, data: BsonDocument) -> usize {
    let database = failing(guarded);
    let mut store = database.open();
    store.acquire("a").unwrap();
    let mut second = commit(2, vec![row("b", 2, 2), row("a", 2, 20)]);
    second.deletes = vec![(Collection::AggregatedData, "gone".into())];
    second.dead_letters = vec![document(Collection::DeadLetters, "sales|0|1", vec![("reason", text("late"))])];
    second.origin = Some(Origin { configuration: "c".into(), ..Origin::default() });
    store.commit(&commit(1, vec![row("a", 1, 1), row("gone", 1, 1)])).unwrap();
    {
        let _fail_point = FailPoint::set(&database, times, data);
        store.commit(&second).unwrap();
    }
    let after = everything(&database);
    store.commit(&second).unwrap();
    assert_eq!(everything(&database), after);
    let units: Vec<_> = all(&database, Collection::AggregatedData)
        .into_iter()
        .map(|document| (document.id.clone(), document.get("units").cloned()))
        .collect();
    assert_eq!(units, [("a".into(), Some(Value::Int(20))), ("b".into(), Some(Value::Int(2)))]);
    assert_eq!(all(&database, Collection::DeadLetters).len(), 1);
    store.commit(&commit(3, Vec::new())).unwrap();
    assert_eq!(database.reader().read(&[]).unwrap().0.unwrap().epoch, 3);
    assert_eq!(database.open().acquire("b").unwrap().1.unwrap().configuration, "c");
    database.retries()
}

#[test]
fn a_lost_answer_to_a_commit_neither_doubles_nor_loses() {
    for times in [1, 2, 3] {
        survives(false, times, doc! { "failCommands": ["commitTransaction"], "closeConnection": true });
    }
}

#[test]
fn a_write_conflict_is_retried_and_reported() {
    let labels = ["TransientTransactionError"];
    let data = doc! { "failCommands": ["update"], "errorCode": 112, "errorLabels": labels };
    assert!(survives(false, 3, data) >= 3);
    let data = doc! { "failCommands": ["commitTransaction"], "errorCode": 112, "errorLabels": labels };
    assert!(survives(false, 2, data) >= 2);
}

#[test]
fn a_connection_lost_within_a_transaction_is_retried() {
    assert!(survives(false, 2, doc! { "failCommands": ["update"], "closeConnection": true }) >= 1);
    assert!(survives(false, 2, doc! { "failCommands": ["delete"], "closeConnection": true }) >= 1);
}

#[test]
fn an_election_is_waited_for() {
    for code in [10107, 189, 91, 11600] {
        survives(false, 2, doc! { "failCommands": ["update", "commitTransaction"], "errorCode": code });
    }
}

#[test]
fn a_lost_transaction_is_repeated() {
    survives(false, 2, doc! { "failCommands": ["commitTransaction"], "errorCode": 251 });
}

#[test]
fn an_unknown_outcome_is_resolved_by_reading_progress() {
    let data = doc! {
        "failCommands": ["commitTransaction"],
        "writeConcernError": { "code": 64, "errmsg": "waiting for replication timed out" },
    };
    survives(false, 2, data);
}

#[test]
fn guarded_writes_survive_the_same() {
    for command in ["update", "delete", "find"] {
        survives(true, 2, doc! { "failCommands": [command], "closeConnection": true });
    }
    survives(true, 2, doc! { "failCommands": ["update"], "errorCode": 10107 });
}

#[test]
fn raw_data_survives_a_lost_connection() {
    let database = failing(false);
    let mut store = database.open();
    let documents: Vec<_> = (0..2_500).map(|offset| raw(offset, Some(Value::Json("{}".into())))).collect();
    {
        let _fail_point = FailPoint::set(&database, 2, doc! { "failCommands": ["insert"], "closeConnection": true });
        store.write_raw(&documents).unwrap();
    }
    assert_eq!(all(&database, Collection::RawData).len(), 2_500);
}

#[test]
fn a_refusal_is_final_at_once_and_says_what_to_do() {
    let database = failing(false);
    let mut store = database.open();
    store.acquire("a").unwrap();
    let begun = Instant::now();
    let data = doc! { "failCommands": ["update"], "errorCode": 13 };
    let refused = {
        let _fail_point = FailPoint::set(&database, 1, data);
        store.commit(&commit(1, vec![row("a", 1, 1)]))
    };
    let Err(StoreError::Unavailable(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("readWrite") && text.contains(&database.name) && !text.contains('\n'), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    // Nothing of it counts, and the store can go on.
    assert!(all(&database, Collection::AggregatedData).is_empty());
    store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
}

#[test]
fn trouble_that_does_not_end_is_unavailable_after_the_limit() {
    let mut database = failing(false);
    database.options.timeout = Duration::from_secs(2);
    let mut store = database.open();
    store.acquire("a").unwrap();
    let begun = Instant::now();
    let refused = {
        let _fail_point = FailPoint::set(&database, 10_000, doc! { "failCommands": ["update"], "errorCode": 10107 });
        store.commit(&commit(1, vec![row("a", 1, 1)]))
    };
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!((1..60).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert!(database.retries() >= 1, "{refused:?}");
    assert!(all(&database, Collection::AggregatedData).is_empty());
}

#[test]
fn a_server_that_falls_silent_is_reported_and_given_up_after_the_limit() {
    let mut database = failing(false);
    database.options.timeout = Duration::from_secs(8);
    let mut store = database.open();
    store.acquire("a").unwrap();
    let begun = Instant::now();
    let data = doc! { "failCommands": ["update"], "blockConnection": true, "blockTimeMS": 20_000 };
    let refused = {
        let _fail_point = FailPoint::set(&database, 1, data);
        store.commit(&commit(1, vec![row("a", 1, 1)]))
    };
    let Err(StoreError::Unavailable(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("no answer"), "{text}");
    assert!(begun.elapsed() >= Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(database.retries() >= 1);
    // What never answered may still happen: this store tries nothing more.
    let begun = Instant::now();
    assert!(matches!(store.commit(&commit(1, Vec::new())), Err(StoreError::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(1));
    // And here it does.
    let mut reader = database.reader();
    while reader.read(&[]).unwrap().0.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the attempt was dropped midway");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(all(&database, Collection::AggregatedData).len(), 1);
}

#[test]
fn an_unreachable_server_is_unavailable_within_seconds() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = StoreAddress::parse("mongodb", &format!("mongodb://ann:s3cret@{free}/"), "d").unwrap();
    let begun = Instant::now();
    for refused in [address.open().err(), address.open_reader().err()] {
        let Some(StoreError::Unavailable(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains(&free.to_string()) && text.contains("refused") && text.contains("MONGO_URI"), "{text}");
        assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_server_that_never_answers_is_unavailable_within_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = StoreAddress::parse("mongodb", &format!("mongodb://{}/", silent.local_addr().unwrap()), "d").unwrap();
    let begun = Instant::now();
    let refused = address.open().err();
    assert!(matches!(refused, Some(StoreError::Unavailable(_))), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_dropped_database_fences_its_writer() {
    for guarded in [false, true] {
        let database = Database::new(guarded);
        let mut store = database.open();
        store.acquire("a").unwrap();
        store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
        database.run(doc! { "dropDatabase": 1 });
        let refused = store.commit(&commit(2, vec![row("a", 2, 1)]));
        assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
        assert!(all(&database, Collection::AggregatedData).is_empty());
    }
}

#[test]
fn a_store_that_went_back_fences_its_writer() {
    let database = Database::transactions();
    let mut store = database.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, Vec::new())).unwrap();
    store.commit(&commit(2, Vec::new())).unwrap();
    let back = doc! { "q": { "_id": "progress" }, "u": { "$set": { "epoch": 1_i64 } } };
    database.run(doc! { "update": "pipeline_state", "updates": [back] });
    let refused = store.commit(&commit(3, vec![row("a", 3, 1)]));
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    assert!(all(&database, Collection::AggregatedData).is_empty());
}

/// A transaction that nobody ends holds `progress`, on MongoDB for a minute.
#[test]
fn an_instance_that_was_killed_within_a_commit_is_not_waited_for() {
    let database = Database::transactions();
    let mut killed = database.open();
    killed.acquire("killed").unwrap();
    killed.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    // A session of the test's own stands in for the killed instance's, which nobody else can write in.
    let state = database.client.database(&database.name).collection::<BsonDocument>("pipeline_state");
    let mut left_open = database.runtime.block_on(async { database.client.start_session().await }).unwrap();
    let lsid = left_open.id().clone();
    database.runtime.block_on(async {
        let named = state.find_one(doc! { "_id": "session" }).await.unwrap().unwrap();
        assert_eq!(named.get_document("lsid").unwrap().keys().collect::<Vec<_>>(), lsid.keys().collect::<Vec<_>>());
        state.update_one(doc! { "_id": "session" }, doc! { "$set": { "lsid": lsid } }).await.unwrap();
        left_open.start_transaction().await.unwrap();
        let advance = doc! { "$set": { "epoch": 2_i64 } };
        state.update_one(doc! { "_id": "progress" }, advance).session(&mut left_open).await.unwrap();
    });
    let begun = Instant::now();
    let mut next = database.open();
    assert_eq!(next.acquire("next").unwrap().0.epoch, 1);
    next.commit(&commit(2, vec![row("a", 2, 2)])).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let refused = killed.commit(&commit(2, vec![row("a", 2, 1)]));
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    let late = database.runtime.block_on(async { left_open.commit_transaction().await });
    assert!(late.is_err(), "the transaction of a killed instance was committed after all");
}

#[test]
fn a_progress_that_cannot_be_understood_is_not_written_over() {
    let database = Database::transactions();
    database.open().acquire("a").unwrap();
    let spoil = doc! { "q": { "_id": "progress" }, "u": { "$set": { "offsets": { "orders": {} } } } };
    database.run(doc! { "update": "pipeline_state", "updates": [spoil] });
    let refused = database.open().acquire("b");
    assert!(matches!(refused, Err(StoreError::Unreadable(_))), "{refused:?}");
    assert_eq!(database.one(Collection::PipelineState).get_i64("fence").unwrap(), 1);
}

#[test]
fn two_instances_that_start_at_once_get_different_fences() {
    let database = Database::transactions();
    database.open();
    let fences = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| database.address.open_with(database.options()).unwrap().acquire("x").unwrap().0.fence)
            })
            .collect();
        let mut fences: Vec<i64> = starting.into_iter().map(|thread| thread.join().unwrap()).collect();
        fences.sort_unstable();
        fences
    });
    assert_eq!(fences, [1, 2, 3, 4]);
}

/// Without transactions: what a commit that was cut off left behind is neither in the way of a lesser epoch nor kept.
#[test]
fn guarded_writes_recover_from_half_a_commit() {
    let database = Database::guarded();
    let mut store = database.open();
    store.acquire("a").unwrap();
    let letter =
        |id: &str| document(Collection::DeadLetters, id, vec![("detail", text("1")), ("epoch", Value::Int(1))]);
    let mut first = commit(1, vec![row("a", 1, 1), row("b", 1, 1)]);
    first.origin = Some(Origin { configuration: "first".into(), ..Origin::default() });
    first.dead_letters = vec![letter("kept")];
    store.commit(&first).unwrap();
    // Half of epoch 9, without its progress.
    let half = doc! { "q": { "_id": "a" }, "u": { "$set": { "epoch": 9_i64, "units": 99_i64 } } };
    database.run(doc! { "update": "aggregated_data", "updates": [half] });
    let mut next = database.open();
    assert_eq!(next.acquire("b").unwrap().0.epoch, 1);
    assert!(next.epoch_after(1) > 9, "its guard would turn it away");
    let epoch = next.epoch_after(1);
    let mut correcting = commit(epoch, vec![row("a", epoch, 5)]);
    correcting.deletes = vec![(Collection::AggregatedData, "b".into())];
    correcting.dead_letters = vec![letter("redone")];
    correcting.origin = Some(Origin { configuration: "second".into(), ..Origin::default() });
    next.commit(&correcting).unwrap();
    assert_eq!(all(&database, Collection::DeadLetters), [letter("kept"), letter("redone")]);
    assert_eq!(database.open().acquire("c").unwrap().1.unwrap().configuration, "second");
    // A fenced instance, late with its origin.
    first.epoch = 2;
    assert!(matches!(store.commit(&first), Err(StoreError::Fenced(_))));
    let state = all(&database, Collection::PipelineState);
    let origin = state.iter().find(|document| document.id == "origin").unwrap();
    assert_eq!(origin.get("configuration"), Some(&text("second")));
    let left = all(&database, Collection::AggregatedData);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].get("units"), Some(&Value::Int(5)));
    assert!(next.guarantee().contains("standalone"), "{}", next.guarantee());
}

/// What somebody has put back may be of any epoch, and its progress of another one: it is in nobody's way, and goes.
#[test]
fn documents_of_epochs_that_are_not_counted_are_replaced() {
    let database = Database::guarded();
    let mut store = database.open();
    store.acquire("a").unwrap();
    for epoch in 1..=6 {
        store.commit(&commit(epoch, vec![row("a", epoch, 1), row(&format!("of {epoch}"), epoch, 1)])).unwrap();
    }
    let state = doc! { "q": { "_id": "progress" }, "u": { "$set": { "epoch": 2_i64, "fence": 0_i64 } } };
    database.run(doc! { "update": "pipeline_state", "updates": [state] });
    let mut next = database.open();
    let (progress, _) = next.acquire("b").unwrap();
    assert_eq!((progress.epoch, progress.fence), (2, 2), "above the fence that was");
    let epoch = next.epoch_after(2);
    let mut correcting = commit(epoch, vec![row("a", epoch, 7)]);
    correcting.deletes = (3..=6).map(|epoch| (Collection::AggregatedData, format!("of {epoch}"))).collect();
    next.commit(&correcting).unwrap();
    let left: Vec<_> = all(&database, Collection::AggregatedData);
    assert_eq!(left.iter().map(|document| document.id.as_str()).collect::<Vec<_>>(), ["a", "of 1", "of 2"]);
    assert_eq!(left[0].get("units"), Some(&Value::Int(7)));

    // Nothing was ever committed, and there are documents.
    let gone = doc! { "q": { "_id": { "$in": ["progress", "session"] } }, "limit": 0 };
    database.run(doc! { "delete": "pipeline_state", "deletes": [gone] });
    let mut next = database.open();
    assert_eq!(next.acquire("c").unwrap().0.epoch, 0);
    assert_eq!(all(&database, Collection::AggregatedData), []);
    let epoch = next.epoch_after(0);
    next.commit(&commit(epoch, vec![row("a", epoch, 8)])).unwrap();
    assert_eq!(all(&database, Collection::AggregatedData)[0].get("units"), Some(&Value::Int(8)));
}

/// Without transactions: what an earlier instance may still be writing is of another epoch.
#[test]
fn no_two_instances_write_guarded_in_one_epoch() {
    let database = Database::guarded();
    let next = |name: &str| {
        let mut store = database.open();
        let (progress, _) = store.acquire(name).unwrap();
        let epoch = store.epoch_after(progress.epoch);
        (store, epoch)
    };
    let (mut first, epoch) = next("a");
    assert_eq!(epoch, 1);
    first.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    assert_eq!(first.epoch_after(1), 2);
    assert_eq!(next("b").1, 3);
    // One that has not committed may be writing, too.
    let (mut third, epoch) = next("c");
    assert_eq!(epoch, 4);
    third.commit(&commit(4, vec![row("a", 4, 2)])).unwrap();
    assert_eq!(third.epoch_after(4), 5);
    assert_eq!(next("d").1, 6);

    let database = Database::transactions();
    for _ in 0..2 {
        let mut store = database.open();
        let epoch = store.acquire("a").unwrap().0.epoch;
        assert_eq!((epoch, store.epoch_after(epoch)), (0, 1));
    }
}

/// Without transactions, a reader that comes in the middle of a commit waits for its end.
#[test]
fn guarded_writes_are_read_when_their_commit_is_whole() {
    let database = Database::guarded();
    let mut store = database.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    let half = doc! { "q": { "_id": "a" }, "u": { "$set": { "epoch": 2_i64, "units": 2_i64 } } };
    database.run(doc! { "update": "aggregated_data", "updates": [half] });
    let mut reader = database.reader();
    let query = Query { collection: Some(Collection::AggregatedData), ..Query::default() };
    let (progress, answers) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| reader.read(&[query]).unwrap());
        std::thread::sleep(Duration::from_millis(300));
        store.commit(&commit(2, vec![row("a", 2, 2)])).unwrap();
        reading.join().unwrap()
    });
    assert_eq!(progress.unwrap().epoch, 2);
    assert_eq!(answers[0][0].get("units"), Some(&Value::Int(2)));
}

#[test]
fn a_reader_finds_its_way_back_after_trouble() {
    let database = failing(false);
    let mut store = database.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    let mut reader = database.reader();
    let query = Query { collection: Some(Collection::AggregatedData), ..Query::default() };
    for data in [
        doc! { "failCommands": ["find"], "closeConnection": true },
        doc! { "failCommands": ["find"], "errorCode": 246, "errorLabels": ["TransientTransactionError"] },
        doc! { "failCommands": ["commitTransaction"], "closeConnection": true },
    ] {
        let _fail_point = FailPoint::set(&database, 2, data);
        let (progress, answers) = reader.read(std::slice::from_ref(&query)).unwrap();
        assert_eq!((progress.unwrap().epoch, answers[0].len()), (1, 1));
    }
}
