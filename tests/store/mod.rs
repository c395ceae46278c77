//! What every store must do, whatever keeps its documents: run against SQLite in `store_sqlite.rs` and against a
//! MongoDB server in `store_mongodb.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use tillflow::document::{Collection, Document, Fields, Value};
use tillflow::store::{
    Acceptance, Accepted, Commit, Fingerprint, Fingerprints, Offsets, Origin, Progress, Query, Scanned, Store,
    StoreAddress, StoreError, StoreOptions, StoreReader, StoreScan,
};
use tillflow_dataflows::records::Topic;

/// A fresh, empty store.
pub trait Fixture: Sync {
    fn address(&self) -> &StoreAddress;
    fn options(&self) -> StoreOptions;

    /// How many documents a great commit has: more than one command or page takes.
    fn many(&self) -> i64 {
        50_000
    }

    fn open(&self) -> Box<dyn Store> {
        let mut store = self.address().open_with(self.options()).unwrap();
        store.init().unwrap();
        store
    }

    fn reader(&self) -> Box<dyn StoreReader> {
        self.address().open_reader_with(self.options()).unwrap()
    }

    fn scan(&self) -> Box<dyn StoreScan> {
        self.address().open_scan(self.options()).unwrap()
    }
}

/// One test per named function of this module, each on a fixture of its own.
#[macro_export]
macro_rules! conformance {
    ($fixture:expr; $($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { $crate::store::$name(&$fixture); })+
    };
}

/// What every store passes. Beside it stands `readers_see_whole_commits_only`, which asks for transactions.
#[macro_export]
macro_rules! conformance_suite {
    ($fixture:expr) => {
        $crate::conformance!($fixture;
            every_kind_of_value_comes_back,
            a_new_store_has_no_progress_and_init_repeats,
            a_commit_is_visible_as_one,
            a_repeated_commit_changes_nothing,
            an_older_instance_is_fenced_and_leaves_no_trace,
            an_epoch_that_does_not_follow_is_fenced,
            a_store_must_be_acquired,
            a_replaced_document_loses_what_it_no_longer_has,
            deleted_documents_are_gone,
            the_first_dead_letter_stays,
            raw_records_are_written_once,
            raw_records_of_one_partition_are_forgotten,
            the_origin_changes_with_a_commit_only,
            fingerprints_are_those_of_the_last_commit,
            alerts_are_found,
            fields_of_a_users_own_view_come_back,
            queries_select_what_they_say,
            queries_sort_numbers_as_numbers,
            hostile_names_in_a_query_find_nothing,
            a_great_commit_is_one_commit,
            a_scan_gives_everything,
        );
    };
}

pub const AT: i64 = 1_705_312_800_123;
const HOUR: i64 = 3_600_000;

pub fn fields(fields: Vec<(&'static str, Value)>) -> Fields {
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub fn document(collection: Collection, id: &str, content: Vec<(&'static str, Value)>) -> Document {
    Document { collection, id: id.into(), fields: fields(content) }
}

pub fn commit(epoch: u64, upserts: Vec<Document>) -> Commit {
    Commit {
        epoch,
        as_of: Some(AT),
        offsets: Offsets::from([((Topic::Sales, 0), epoch as i64), ((Topic::Inventory, 2), 7)]),
        committed_at: AT + epoch as i64,
        upserts,
        ..Commit::default()
    }
}

/// A view row that counts `units`, last changed in `epoch`.
pub fn row(id: &str, epoch: u64, units: i64) -> Document {
    document(
        Collection::AggregatedData,
        id,
        vec![
            ("type", text("sales_total")),
            ("granularity", text("hour")),
            ("timestamp", Value::Time(AT - AT.rem_euclid(HOUR))),
            ("key", Value::Document(Vec::new())),
            ("final", Value::Bool(false)),
            ("epoch", Value::Int(epoch as i64)),
            ("units", Value::Int(units)),
            ("revenue", Value::money(i128::from(units) * 12_345)),
        ],
    )
}

pub fn ask(collection: Collection) -> Query {
    Query { collection: Some(collection), ..Query::default() }
}

/// Fields in the order of their names: a store may give them in another order than they were written in.
fn sorted(mut document: Document) -> Document {
    document.fields.sort_by(|a, b| a.0.cmp(&b.0));
    document
}

pub fn read(reader: &mut dyn StoreReader, query: Query) -> Vec<Document> {
    let (_, mut answers) = reader.read(&[query]).unwrap();
    answers.pop().unwrap().into_iter().map(sorted).collect()
}

pub fn all(fixture: &dyn Fixture, collection: Collection) -> Vec<Document> {
    read(&mut *fixture.reader(), ask(collection))
}

fn ids(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|document| document.id.as_str()).collect()
}

fn int(document: &Document, field: &str) -> i64 {
    match document.get(field) {
        Some(Value::Int(number)) => *number,
        other => panic!("{field} of {} is {other:?}", document.id),
    }
}

fn assert_fenced(result: Result<(), StoreError>) {
    assert!(matches!(result, Err(StoreError::Fenced(_))), "{result:?}");
}

/// Every document of every collection, as text.
pub fn everything(fixture: &dyn Fixture) -> String {
    Collection::ALL.into_iter().map(|collection| format!("{:?}\n", all(fixture, collection))).collect()
}

pub fn every_kind_of_value_comes_back(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let product = |revenue| {
        Value::Document(fields(vec![
            ("rank", Value::Int(1)),
            ("product_id", text("p|\\\"\u{1f600}")),
            ("revenue", Value::money(revenue)),
            ("units", Value::Int(-3)),
        ]))
    };
    let mut written = vec![
        document(
            Collection::AggregatedData,
            r"sales_by_category|hour|2024-01-15T10:00:00Z|a\|b",
            vec![
                ("type", text("sales_by_category")),
                ("granularity", text("hour")),
                ("timestamp", Value::Time(AT)),
                ("window_end", Value::Time(253_402_300_799_999)),
                ("key", Value::Document(fields(vec![("category", text("a|b 12.5000"))]))),
                ("final", Value::Bool(true)),
                ("epoch", Value::Int(3)),
                ("as_of", Value::Time(0)),
                ("units", Value::Int(i64::MIN)),
                ("revenue", Value::money(-1)),
                ("average_order_value", Value::money(999_999_999_999_999_999_999_999)),
                ("duration_seconds", Value::Decimal { digits: 1_500, scale: 3 }),
            ],
        ),
        document(
            Collection::RealTimeMetrics,
            "metric|top_products_last_hour",
            vec![
                ("type", text("metric")),
                ("name", text("top_products_last_hour")),
                ("products", Value::List(vec![product(1_000_000), product(-50)])),
                ("days_of_supply", Value::Decimal { digits: -5, scale: 1 }),
                ("revenue", Value::money(0)),
            ],
        ),
        document(
            Collection::RealTimeMetrics,
            "metric|inventory_summary",
            vec![("type", text("metric")), ("products", Value::Int(4)), ("last_updated", Value::Time(-1))],
        ),
        document(
            Collection::RealTimeMetrics,
            "metric|top_products_last_24h",
            vec![("type", text("metric")), ("products", Value::List(Vec::new()))],
        ),
        document(
            Collection::RealTimeMetrics,
            "metric|data_quality",
            vec![
                ("outcomes", Value::Document(fields(vec![("accepted", Value::Int(3)), ("late", Value::Int(0))]))),
                ("reasons", Value::Document(Vec::new())),
            ],
        ),
    ];
    let dead = document(
        Collection::DeadLetters,
        "sales|0|17",
        vec![
            ("topic", text("sales")),
            ("partition", Value::Int(0)),
            ("offset", Value::Int(17)),
            ("key", Value::Bytes(b"t-1".to_vec())),
            ("value", Value::Bytes(vec![0, 159, 146, 150, b'{'])),
            ("kafka_timestamp", Value::Time(AT)),
            ("reason", text("invalid_utf8")),
            ("detail", text("value: byte 1\nis no UTF-8")),
            ("epoch", Value::Int(3)),
        ],
    );
    let mut first = commit(3, written.clone());
    first.dead_letters = vec![dead.clone()];
    store.commit(&first).unwrap();

    let metrics = written.split_off(1);
    assert_eq!(all(fixture, Collection::AggregatedData), written.into_iter().map(sorted).collect::<Vec<_>>());
    let mut metrics: Vec<Document> = metrics.into_iter().map(sorted).collect();
    metrics.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(all(fixture, Collection::RealTimeMetrics), metrics);
    assert_eq!(all(fixture, Collection::DeadLetters), [sorted(dead)]);
}

pub fn a_new_store_has_no_progress_and_init_repeats(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.init().unwrap();
    let mut reader = fixture.reader();
    assert_eq!(reader.read(&[ask(Collection::AggregatedData)]).unwrap(), (None, vec![Vec::new()]));
    let (progress, origin) = store.acquire("host-1").unwrap();
    assert_eq!((progress.epoch, progress.fence, progress.instance.as_str(), origin), (0, 1, "host-1", None));
    assert!(progress.offsets.is_empty() && progress.as_of.is_none() && progress.committed_at.is_none());
    assert_eq!(reader.read(&[]).unwrap(), (None, Vec::new()));
    store.commit(&commit(1, Vec::new())).unwrap();
    store.init().unwrap();
    assert_eq!(reader.read(&[]).unwrap().0.unwrap().epoch, 1);
    assert!(!store.guarantee().is_empty());
}

pub fn a_commit_is_visible_as_one(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("host-1").unwrap();
    store.commit(&commit(5, vec![row("a", 5, 1), row("b", 5, 2)])).unwrap();
    let (progress, answers) = fixture.reader().read(&[ask(Collection::AggregatedData)]).unwrap();
    let progress = progress.unwrap();
    assert_eq!((progress.epoch, progress.as_of, progress.committed_at), (5, Some(AT), Some(AT + 5)));
    assert_eq!((progress.fence, progress.instance.as_str()), (1, "host-1"));
    assert_eq!(progress.offsets, commit(5, Vec::new()).offsets);
    assert_eq!(ids(&answers[0]), ["a", "b"]);
}

pub fn a_repeated_commit_changes_nothing(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let mut second = commit(2, vec![row("a", 2, 7)]);
    second.deletes = vec![(Collection::AggregatedData, "b".into())];
    second.dead_letters = vec![document(Collection::DeadLetters, "sales|0|1", vec![("reason", text("late"))])];
    store.commit(&commit(1, vec![row("a", 1, 1), row("b", 1, 2)])).unwrap();
    store.commit(&second).unwrap();
    let before = everything(fixture);
    store.commit(&second).unwrap();
    assert_eq!(everything(fixture), before);
    // And the store goes on from there.
    store.commit(&commit(3, vec![row("a", 3, 8)])).unwrap();
    assert_eq!(int(&all(fixture, Collection::AggregatedData)[0], "units"), 8);
}

pub fn an_older_instance_is_fenced_and_leaves_no_trace(fixture: &dyn Fixture) {
    let mut older = fixture.open();
    older.acquire("older").unwrap();
    older.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    let mut newer = fixture.open();
    let (progress, _) = newer.acquire("newer").unwrap();
    assert_eq!((progress.epoch, progress.fence, progress.instance.as_str()), (1, 2, "newer"));
    let before = everything(fixture);
    let mut late = commit(2, vec![row("a", 2, 999)]);
    late.dead_letters = vec![document(Collection::DeadLetters, "sales|0|1", vec![("reason", text("late"))])];
    late.deletes = vec![(Collection::AggregatedData, "a".into())];
    let refused = older.commit(&late).unwrap_err().to_string();
    assert!(refused.contains("newer"), "{refused}");
    assert_eq!(everything(fixture), before);
    newer.commit(&commit(2, vec![row("a", 2, 5)])).unwrap();
    assert_fenced(older.commit(&commit(3, Vec::new())));
    // The same epoch by another hand is not our commit.
    assert_fenced(older.commit(&commit(2, Vec::new())));
    assert_eq!(int(&all(fixture, Collection::AggregatedData)[0], "units"), 5);
}

pub fn an_epoch_that_does_not_follow_is_fenced(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    store.commit(&commit(10, vec![row("a", 10, 1)])).unwrap();
    assert_fenced(store.commit(&commit(9, vec![row("a", 9, 2)])));
    assert_eq!(int(&all(fixture, Collection::AggregatedData)[0], "units"), 1);
}

pub fn a_store_must_be_acquired(fixture: &dyn Fixture) {
    assert_fenced(fixture.open().commit(&commit(1, vec![row("a", 1, 1)])));
    assert!(all(fixture, Collection::AggregatedData).is_empty());
}

pub fn a_replaced_document_loses_what_it_no_longer_has(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, vec![row("a", 1, 1)])).unwrap();
    // One that keeps its indexed fields, and one that does not.
    let mut shorter = row("a", 2, 2);
    shorter.fields.retain(|(name, _)| name != "revenue");
    store.commit(&commit(2, vec![shorter.clone()])).unwrap();
    assert_eq!(all(fixture, Collection::AggregatedData), [sorted(shorter)]);
    let other = document(Collection::AggregatedData, "a", vec![("epoch", Value::Int(3)), ("users", Value::Int(1))]);
    store.commit(&commit(3, vec![other.clone()])).unwrap();
    assert_eq!(all(fixture, Collection::AggregatedData), [sorted(other)]);
}

pub fn deleted_documents_are_gone(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let metric = document(Collection::RealTimeMetrics, "a", vec![("epoch", Value::Int(1))]);
    store.commit(&commit(1, vec![row("a", 1, 1), row("b", 1, 1), metric])).unwrap();
    let mut second = commit(2, vec![row("c", 2, 1)]);
    second.deletes =
        ["a", "never there", "it's \"quoted\""].iter().map(|id| (Collection::AggregatedData, (*id).into())).collect();
    store.commit(&second).unwrap();
    assert_eq!(ids(&all(fixture, Collection::AggregatedData)), ["b", "c"]);
    assert_eq!(ids(&all(fixture, Collection::RealTimeMetrics)), ["a"]);
}

pub fn the_first_dead_letter_stays(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let dead = |reason: &str| document(Collection::DeadLetters, "sales|0|1", vec![("reason", text(reason))]);
    for (epoch, reason) in [(1, "late"), (2, "bad_money")] {
        let mut commit = commit(epoch, Vec::new());
        commit.dead_letters = vec![dead(reason)];
        store.commit(&commit).unwrap();
    }
    assert_eq!(all(fixture, Collection::DeadLetters), [dead("late")]);
}

/// raw_data's document of a record whose value is this.
pub fn raw(offset: i64, value: Option<Value>) -> Document {
    let mut document = document(
        Collection::RawData,
        &format!("sales|0|{offset:03}"),
        vec![
            ("topic", text("sales")),
            ("partition", Value::Int(0)),
            ("offset", Value::Int(offset)),
            ("key", text("t-1")),
            ("kafka_timestamp", Value::Time(AT)),
            ("timestamp", Value::Time(AT)),
            ("outcome", text("accepted")),
        ],
    );
    document.fields.extend(value.map(|value| ("value".into(), value)));
    document
}

pub fn raw_records_are_written_once(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let json = |text: &str| Some(Value::Json(text.into()));
    let values = [
        None,
        json(r#"{"unit_price":12.50,"quantity":3,"note":"a\"b","tags":[1,true,null,{"x":"y"}],"empty":{}}"#),
        json(r#"{"a":1e2,"b":-0,"c":0.1000,"d":9223372036854775807,"e":-9223372036854775808}"#),
        // What BSON cannot hold.
        json(r#"{"n":9223372036854775808}"#),
        json(r#"{"a":1,"a":2}"#),
        json(r#"{"$where":"1"}"#),
        json("{\"a\\u0000b\":1}"),
        json(r#"{"x":0.12345678901234567890123456789012345678901234567890}"#),
        json(r#"{"x":1e9999}"#),
        // No documents, and texts that look like what they are not.
        json("null"),
        json("[1,[2.5,\"three\"]]"),
        json("\"plain\""),
        json(r#""{\"a\":1}""#),
        json(r#""{\"n\":9223372036854775808}""#),
        json("3.00"),
        Some(Value::Bytes(vec![0xff, 0, b'{'])),
        Some(Value::Bytes(b"{not json".to_vec())),
    ];
    let documents: Vec<Document> = values.into_iter().enumerate().map(|(at, value)| raw(at as i64, value)).collect();
    store.write_raw(&documents[..3]).unwrap();
    store.write_raw(&documents).unwrap();
    let mut changed = documents[1].clone();
    changed.fields.retain(|(name, _)| name != "value");
    store.write_raw(&[changed]).unwrap();
    store.write_raw(&[]).unwrap();
    let found = all(fixture, Collection::RawData);
    assert_eq!(found.len(), documents.len());
    for (found, written) in found.into_iter().zip(documents) {
        let written = sorted(written);
        // White space and the spelling of a number may change, what they say may not.
        if let (Some(Value::Json(found)), Some(Value::Json(written))) = (found.get("value"), written.get("value")) {
            assert_eq!(found.replace("1E+2", "1e2"), *written);
        }
        assert_eq!(found.id, written.id);
        let rest = |document: &Document| -> Fields {
            document.fields.iter().filter(|(_, value)| !matches!(value, Value::Json(_))).cloned().collect()
        };
        assert_eq!(rest(&found), rest(&written));
        assert_eq!(found.fields.len(), written.fields.len(), "{}", found.id);
    }
}

pub fn raw_records_of_one_partition_are_forgotten(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let ids = ["sales|0|1", "sales|1|0", "sales|1|22", "sales|10|0", "user_activity|1|0"];
    let of = |id: &str| {
        let offset = id.rsplit('|').next().and_then(|offset| offset.parse().ok()).expect("an offset");
        Document { id: id.into(), ..raw(offset, None) }
    };
    store.write_raw(&ids.map(of)).unwrap();
    let left = || all(fixture, Collection::RawData).into_iter().map(|document| document.id).collect::<Vec<_>>();
    store.forget_raw(Topic::Sales, 1, 5).unwrap();
    // In order of the text: "0" comes before "|".
    assert_eq!(left(), [ids[0], ids[3], ids[1], ids[4]]);
    store.forget_raw(Topic::Sales, 1, 0).unwrap();
    assert_eq!(left(), [ids[0], ids[3], ids[4]]);
}

pub fn the_origin_changes_with_a_commit_only(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let origin = |next| Origin {
        offsets: Offsets::from([((Topic::UserActivity, 1), next)]),
        configuration: "source=kafka timezone=UTC".into(),
        lineage: format!("{next:032x}"),
        accepted: vec![Accepted {
            what: Acceptance::Loss { topic: Topic::Sales, partition: 0, from: 0, to: next },
            at: AT,
            begun: 0,
            by: "a".into(),
        }],
        late_before: BTreeMap::from([((Topic::UserActivity, 1), AT - next)]),
        expiring_before: Some(AT + next),
    };
    let mut first = commit(1, Vec::new());
    first.origin = Some(origin(4));
    store.commit(&first).unwrap();
    store.commit(&commit(2, Vec::new())).unwrap();
    assert_eq!(fixture.open().acquire("b").unwrap().1, Some(origin(4)));
    first.epoch = 3;
    first.origin = Some(origin(9));
    assert_fenced(store.commit(&first));
    let (progress, found) = fixture.open().acquire("c").unwrap();
    assert_eq!((progress.epoch, progress.fence, found), (2, 3, Some(origin(4))));
}

pub fn fingerprints_are_those_of_the_last_commit(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    assert!(store.fingerprints().unwrap().is_empty(), "of a store that nobody has written to");
    store.acquire("a").unwrap();
    let fingerprints = |offset| {
        Fingerprints::from([
            ((Topic::Sales, 0), Fingerprint { offset, crc: u32::MAX }),
            ((Topic::Inventory, 12), Fingerprint { offset: 0, crc: 7 }),
        ])
    };
    let with = |epoch, offset| Commit { fingerprints: fingerprints(offset), ..commit(epoch, Vec::new()) };
    store.commit(&with(1, 4)).unwrap();
    assert_eq!(fixture.open().fingerprints().unwrap(), fingerprints(4));
    // A commit without any leaves them.
    store.commit(&commit(2, Vec::new())).unwrap();
    store.commit(&with(3, 9)).unwrap();
    assert_eq!(fixture.open().fingerprints().unwrap(), fingerprints(9));
    fixture.open().acquire("b").unwrap();
    assert_fenced(store.commit(&with(4, 11)));
    assert_eq!(fixture.open().fingerprints().unwrap(), fingerprints(9));
}

pub fn alerts_are_found(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let of = |id: &str, kind: &str| {
        let content = vec![("type", text(kind)), ("epoch", Value::Int(1)), ("opened_at", Value::Time(AT))];
        document(Collection::RealTimeMetrics, id, content)
    };
    let alerts = [of("alert|low_stock|p|w", "alert"), of("alert|out_of_stock|p|w", "alert")];
    let mut upserts = vec![of("metric|sales_all", "metric"), of("stock|alert|w", "stock")];
    upserts.extend(alerts.iter().cloned());
    store.commit(&commit(1, upserts)).unwrap();
    assert_eq!(store.alerts().unwrap().into_iter().map(sorted).collect::<Vec<_>>(), alerts.map(sorted));
}

pub fn fields_of_a_users_own_view_come_back(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let mut reader = fixture.reader();
    assert!(read(&mut *reader, ask(Collection::AggregatedData)).is_empty());
    let mut own = row("mine|hour|2024-01-15T10:00:00Z|x", 1, 1);
    own.fields.extend(fields(vec![
        ("total_discount", Value::money(-12_345)),
        ("distinct \"buyers\"; --", Value::Int(12)),
        ("note", text("plain")),
        ("extra", Value::List(vec![Value::Int(1), text("a")])),
    ]));
    store.commit(&commit(1, vec![own.clone()])).unwrap();
    // A count where another row has money.
    let mut other = row("other|hour|2024-01-15T10:00:00Z|x", 2, 1);
    other.fields.push(("total_discount".into(), Value::Int(3)));
    store.commit(&commit(2, vec![other.clone()])).unwrap();
    // A reader that was there before the columns were.
    assert_eq!(read(&mut *reader, ask(Collection::AggregatedData)), [sorted(own), sorted(other)]);
}

/// Hourly rows by category over one day: c0, c1, c2 with revenue 9, 10, 100 and so on.
fn day_of_categories() -> Vec<Document> {
    let midnight = 1_705_276_800_000;
    let mut rows = Vec::new();
    for hour in 0..24 {
        for (category, money) in [("c0", 9), ("c1", 10), ("c2", 100)] {
            let id = format!("sales_by_category|hour|2024-01-15T{hour:02}:00:00Z|{category}");
            let mut row = row(&id, 1, hour);
            for (name, value) in &mut row.fields {
                match &**name {
                    "type" => *value = text("sales_by_category"),
                    "timestamp" => *value = Value::Time(midnight + hour * HOUR),
                    "key" => *value = Value::Document(fields(vec![("category", text(category))])),
                    "revenue" => *value = Value::money(money * 10_000 - 5 * i128::from(hour)),
                    _ => {}
                }
            }
            rows.push(row);
        }
    }
    let mut whole_day = row("sales_by_category|day|2024-01-15T00:00:00Z|c0", 1, 0);
    whole_day.fields[0].1 = text("sales_by_category");
    whole_day.fields[1].1 = text("day");
    rows.push(whole_day);
    rows.push(row("sales_total|hour|2024-01-15T10:00:00Z", 1, 5));
    rows
}

fn hours_by_category() -> Query {
    Query {
        type_is: Some("sales_by_category".into()),
        granularity: Some("hour".into()),
        ..ask(Collection::AggregatedData)
    }
}

pub fn queries_select_what_they_say(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, day_of_categories())).unwrap();
    let mut reader = fixture.reader();
    let mut count = |query: Query| read(&mut *reader, query).len();
    let midnight = 1_705_276_800_000;

    assert_eq!(count(ask(Collection::AggregatedData)), 74);
    assert_eq!(count(hours_by_category()), 72);
    assert_eq!(count(Query { granularity: None, ..hours_by_category() }), 73);
    assert_eq!(count(Query { type_is: None, ..hours_by_category() }), 73);
    assert_eq!(count(Query { from: Some(midnight + 22 * HOUR), ..hours_by_category() }), 6);
    assert_eq!(count(Query { from: Some(midnight + 22 * HOUR + 1), ..hours_by_category() }), 3);
    assert_eq!(count(Query { to: Some(midnight + 2 * HOUR), ..hours_by_category() }), 6);
    assert_eq!(count(Query { to: Some(midnight + 2 * HOUR + 1), ..hours_by_category() }), 9);
    let one_hour = Query { from: Some(midnight + HOUR), to: Some(midnight + 2 * HOUR), ..hours_by_category() };
    assert_eq!(count(one_hour.clone()), 3);
    let key = |value: &str| Some(("category".to_owned(), value.to_owned()));
    assert_eq!(count(Query { key: key("c1"), ..hours_by_category() }), 24);
    assert_eq!(count(Query { key: key("c1"), ..one_hour }), 1);
    assert_eq!(count(Query { key: key("c9"), ..hours_by_category() }), 0);
    let equals = vec![("type".to_owned(), "sales_total".to_owned()), ("granularity".to_owned(), "hour".to_owned())];
    assert_eq!(count(Query { equals, ..ask(Collection::AggregatedData) }), 1);
    let all = count(hours_by_category());
    assert_eq!(count(Query { until_epoch: Some(0), ..hours_by_category() }), 0);
    assert_eq!(count(Query { until_epoch: Some(1), ..hours_by_category() }), all);
    assert_eq!(count(Query { limit: Some(5), ..hours_by_category() }), 5);
    assert_eq!(count(Query { limit: Some(0), ..hours_by_category() }), 0);
    assert_eq!(count(ask(Collection::DeadLetters)), 0);
    // Beside what a store needs for itself.
    let states = read(&mut *reader, ask(Collection::PipelineState));
    assert_eq!(states.iter().filter(|document| document.id == "progress").count(), 1);
}

pub fn queries_sort_numbers_as_numbers(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, day_of_categories())).unwrap();
    let mut reader = fixture.reader();
    let mut first = |order: &[(&str, bool)]| {
        let order = order.iter().map(|(field, descending)| ((*field).to_owned(), *descending)).collect();
        let found = read(&mut *reader, Query { order, limit: Some(3), ..hours_by_category() });
        found.into_iter().map(|document| document.id[23..].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(first(&[("revenue", true)])[..2], ["2024-01-15T00:00:00Z|c2", "2024-01-15T01:00:00Z|c2"]);
    assert_eq!(first(&[("revenue", false)])[0], "2024-01-15T23:00:00Z|c0");
    assert_eq!(
        first(&[("timestamp", true)]),
        ["2024-01-15T23:00:00Z|c0", "2024-01-15T23:00:00Z|c1", "2024-01-15T23:00:00Z|c2"]
    );
    assert_eq!(first(&[("timestamp", true), ("revenue", true)])[0], "2024-01-15T23:00:00Z|c2");
    assert_eq!(first(&[("no such field", true)])[0], "2024-01-15T00:00:00Z|c0");
}

pub fn hostile_names_in_a_query_find_nothing(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    store.commit(&commit(1, day_of_categories())).unwrap();
    store.write_raw(&[raw(1, None)]).unwrap();
    let mut reader = fixture.reader();
    for name in ["\"; DROP TABLE raw_data; --", "$where", "a.b", "a\0b", "", "_id\"", "'", "\\"] {
        for value in ["1", "' OR 1=1 --", "{\"$gt\":\"\"}", "a\0b"] {
            let pair = (name.to_owned(), value.to_owned());
            for query in [
                Query { key: Some(pair.clone()), ..hours_by_category() },
                Query { key: Some(pair.clone()), ..ask(Collection::RawData) },
                Query { equals: vec![pair.clone()], ..ask(Collection::AggregatedData) },
                Query { type_is: Some(name.to_owned()), ..ask(Collection::AggregatedData) },
            ] {
                assert!(read(&mut *reader, query.clone()).is_empty(), "{query:?}");
            }
        }
        let order = vec![(name.to_owned(), true)];
        assert_eq!(read(&mut *reader, Query { order, ..hours_by_category() }).len(), 72, "{name}");
    }
    assert!(reader.read(&[Query::default()]).is_err());
    assert_eq!(read(&mut *reader, ask(Collection::RawData)).len(), 1);
}

/// Rows of every commit that [`while_commits_are_made`] makes.
const ROWS: usize = 40;

/// Makes commits while `look` looks again and again, each time at what a reader sees: an epoch and all rows.
fn while_commits_are_made(
    fixture: &dyn Fixture,
    look: impl Fn() -> Box<dyn FnMut() -> (u64, Vec<Document>)> + Send + Sync,
) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    // Half of the rows are replaced, the other half deleted and written anew under another name.
    let name = |at: usize, epoch: u64| format!("r{at:02}-{}", if at.is_multiple_of(2) { 0 } else { epoch % 2 });
    let state = |epoch: u64| (0..ROWS).map(|at| row(&name(at, epoch), epoch, epoch as i64)).collect::<Vec<_>>();
    store.commit(&commit(1, state(1))).unwrap();
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut look = look();
            let mut seen = std::collections::BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                let (epoch, rows) = look();
                assert_eq!(rows.len(), ROWS, "epoch {epoch}");
                for document in &rows {
                    assert_eq!(int(document, "units"), epoch as i64, "{} in epoch {epoch}", document.id);
                }
                seen.insert(epoch);
            }
            seen
        });
        for epoch in 2..=60 {
            let mut next = commit(epoch, state(epoch));
            let gone = (1..ROWS).step_by(2).map(|at| (Collection::AggregatedData, name(at, epoch - 1)));
            next.deletes = gone.collect();
            store.commit(&next).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        reading.join().unwrap()
    });
    assert!(seen.len() > 3, "the reader saw only {seen:?}");
}

pub fn readers_see_whole_commits_only(fixture: &dyn Fixture) {
    while_commits_are_made(fixture, || {
        let mut reader = fixture.reader();
        Box::new(move || {
            let one = Query { limit: Some(1), ..ask(Collection::AggregatedData) };
            let (progress, mut answers) = reader.read(&[ask(Collection::AggregatedData), one]).unwrap();
            let epoch = progress.unwrap().epoch;
            assert_eq!(int(&answers[1][0], "units"), epoch as i64);
            (epoch, answers.swap_remove(0))
        })
    });
}

pub fn scans_see_whole_commits_only(fixture: &dyn Fixture) {
    while_commits_are_made(fixture, || {
        let mut scan = fixture.scan();
        Box::new(move || {
            let (progress, rows) = scanned(scan.as_mut(), &[Collection::AggregatedData]);
            (progress.unwrap().epoch, rows)
        })
    });
}

/// What a scan gives in the end.
fn scanned(scan: &mut dyn StoreScan, collections: &[Collection]) -> (Option<Progress>, Vec<Document>) {
    let mut documents = None;
    let progress = scan.scan(collections, &mut |scanned| match scanned {
        Scanned::Begin => documents = Some(Vec::new()),
        Scanned::Document(document) => documents.as_mut().unwrap().push(sorted(document)),
    });
    let mut documents = documents.unwrap();
    documents.sort_by(|a, b| (a.collection, &a.id).cmp(&(b.collection, &b.id)));
    (progress.unwrap(), documents)
}

pub fn a_scan_gives_everything(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    let mut scan = fixture.scan();
    let collections = [Collection::AggregatedData, Collection::DeadLetters];
    assert_eq!(scanned(scan.as_mut(), &collections), (None, Vec::new()));
    assert!(scan.is_empty(Collection::RawData).unwrap() && scan.origin().unwrap().is_none());
    store.acquire("a").unwrap();
    assert_eq!(scanned(scan.as_mut(), &collections), (None, Vec::new()), "a fence is no commit");

    // More than are handed over at once.
    let rows: Vec<Document> = (0..700).map(|at| sorted(row(&format!("r{at:03}"), 1, at))).collect();
    let letter =
        document(Collection::DeadLetters, "sales|0|1", vec![("epoch", Value::Int(1)), ("reason", text("late"))]);
    let offsets = Offsets::from([((Topic::Sales, 0), 0)]);
    let origin = Origin { offsets, configuration: "c".into(), ..Origin::default() };
    let mut first = commit(1, rows.clone());
    first.dead_letters = vec![letter.clone()];
    first.origin = Some(origin.clone());
    store.commit(&first).unwrap();
    let json = |offset| raw(offset, Some(Value::Json(r#"{"a":1.50,"b":7e0}"#.into())));
    store.write_raw(&(0..9).map(json).collect::<Vec<_>>()).unwrap();

    let (progress, documents) = scanned(scan.as_mut(), &collections);
    assert_eq!(progress.unwrap().epoch, 1);
    assert_eq!(documents, [rows, vec![letter]].concat());
    assert_eq!(scan.origin().unwrap(), Some(origin));
    assert!(!scan.is_empty(Collection::RawData).unwrap());
    assert_eq!(scan.raw_below(Topic::Sales, 0, 5).unwrap(), 5);
    assert_eq!(scan.raw_below(Topic::Sales, 1, 5).unwrap() + scan.raw_below(Topic::Inventory, 0, 5).unwrap(), 0);
    let ids = ["sales|0|003", "sales|0|100", "sales|0|001"].map(String::from);
    let mut found = scan.by_id(Collection::RawData, &ids).unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["sales|0|001", "sales|0|003"]);
    let kept = scan.json_kept()(r#"{"a":1.50,"b":7e0}"#);
    assert_eq!(found[0].get("value"), Some(&Value::Json(kept)));
}

pub fn a_great_commit_is_one_commit(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    store.acquire("a").unwrap();
    let count = fixture.many();
    let many = |epoch| (0..count).map(|at| row(&format!("r{at:05}"), epoch, at)).collect::<Vec<_>>();
    store.commit(&commit(1, many(1))).unwrap();
    let query = Query { limit: Some(usize::MAX), ..ask(Collection::AggregatedData) };
    let (progress, answers) = fixture.reader().read(&[query]).unwrap();
    assert_eq!((progress.unwrap().epoch, answers[0].len() as i64), (1, count));
    let mut second = commit(2, Vec::new());
    second.deletes = (1..count).map(|at| (Collection::AggregatedData, format!("r{at:05}"))).collect();
    store.commit(&second).unwrap();
    assert_eq!(ids(&all(fixture, Collection::AggregatedData)), ["r00000"]);
}
