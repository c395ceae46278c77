//! The tricky rules, each on its own.

use std::collections::BTreeMap;

use tillflow_dataflows::records::{Activity, Money, Outcome, Reason, Sale, StockLevel, Topic};

use super::activity::ActivityViews;
use super::admission::{AdmissionWindows, Change, Partition, Place};
use super::customers::Customers;
use super::names::Names;
use super::numbers::{DAY, HOUR};
use super::windows::Closing;
use super::*;
use crate::codec::Record;
use crate::document::Document;

const WINDOWS: AdmissionWindows = AdmissionWindows { correction_window: 100, max_future: 10 };
const ALL: Closing = Closing { settled: 0, all: true };

fn sale(transaction_id: &str, at: Millis, amount: i64) -> Sale {
    Sale {
        transaction_id: transaction_id.into(),
        user_id: "u".into(),
        product_id: "p".into(),
        quantity: 1,
        unit_price: Money(amount),
        total_amount: Money(amount),
        payment_method: "card".into(),
        timestamp: at,
        store_id: "s".into(),
        category: "c".into(),
    }
}

/// A partition, and the sum of what its sales in force amount to.
struct Log {
    partition: Partition,
    names: Names,
    offset: i64,
    revenue: i64,
    rows: i64,
}

impl Log {
    fn of(topic: Topic) -> Log {
        let partition = Partition::new(topic, 0, WINDOWS);
        Log { partition, names: Names::default(), offset: 0, revenue: 0, rows: 0 }
    }

    fn offer(
        &mut self,
        kafka: Option<Millis>,
        key: Option<&[u8]>,
        record: Option<Record>,
    ) -> (Outcome, Option<Reason>) {
        let place = Place { partition: 0, offset: self.offset };
        self.offset += 1;
        let (revenue, rows) = (&mut self.revenue, &mut self.rows);
        let mut change = |change: Change<'_>, _: &mut Names| {
            if let Change::Sale { row, sign, .. } = change {
                *revenue += sign * row.total_amount;
                *rows += sign;
            }
        };
        let verdict = self.partition.offer(place, kafka, key, record.map(Ok), &mut self.names, &mut change);
        (verdict.outcome, verdict.reason)
    }

    fn sale(&mut self, transaction_id: &str, at: Millis, amount: i64) -> Outcome {
        self.offer(None, None, Some(Record::Sale(sale(transaction_id, at, amount)))).0
    }
}

#[test]
fn a_known_sale_is_repeated_corrected_and_cancelled() {
    let mut log = Log::of(Topic::Sales);
    assert_eq!(log.sale("a", 1_000, 5), Outcome::Accepted);
    assert_eq!(log.sale("a", 1_000, 5), Outcome::Duplicate);
    assert_eq!(log.sale("a", 1_000, 7), Outcome::Correction);
    assert_eq!((log.rows, log.revenue), (1, 7));
    assert_eq!(log.offer(None, Some(b"a"), None), (Outcome::Cancelled, None));
    assert_eq!((log.rows, log.revenue), (0, 0));
    // Once cancelled it is new again, and a tombstone for nothing is cancelled all the same.
    assert_eq!(log.offer(None, Some(b"a"), None), (Outcome::Cancelled, None));
    assert_eq!(log.sale("a", 1_000, 5), Outcome::Accepted);
    assert_eq!(log.offer(None, Some(b"\xff"), None), (Outcome::Cancelled, None));
    for key in [None, Some(&b""[..])] {
        assert_eq!(log.offer(None, key, None), (Outcome::Rejected, Some(Reason::NullValue)));
    }
}

#[test]
fn a_sale_is_known_down_to_the_clock_less_the_window_and_not_below() {
    let mut log = Log::of(Topic::Sales);
    log.sale("old", 1_000, 1);
    log.sale("new", 1_100, 1);
    assert_eq!(log.sale("old", 1_000, 2), Outcome::Correction, "exactly at the edge");
    log.sale("newer", 1_101, 1);
    // The old row is known no more: the same id is another transaction, which stands beside it.
    assert_eq!(log.sale("old", 1_050, 4), Outcome::Accepted);
    assert_eq!((log.rows, log.revenue), (4, 8));
    // A tombstone reaches the new one alone.
    log.offer(None, Some(b"old"), None);
    assert_eq!((log.rows, log.revenue), (3, 4));
}

#[test]
fn what_is_late_is_late_before_it_is_anything_else() {
    let mut log = Log::of(Topic::Sales);
    log.sale("a", 1_000, 1);
    log.sale("b", 1_101, 1);
    assert_eq!(log.offer(Some(0), None, Some(Record::Sale(sale("a", 1_000, 1)))), (Outcome::Late, Some(Reason::Late)));
    let future = Some(Record::Sale(sale("a", 1_500, 1)));
    assert_eq!(log.offer(Some(1_489), None, future.clone()), (Outcome::Quarantined, Some(Reason::FutureTimestamp)));
    assert_eq!(log.partition.clock(), Some(1_101), "a quarantined record moves no clock");
    assert_eq!(log.offer(Some(1_490), None, future).0, Outcome::Accepted);
    assert_eq!(log.partition.clock(), Some(1_500));
}

#[test]
fn a_duplicate_moves_no_clock_and_a_correction_may_go_back_in_time() {
    let mut log = Log::of(Topic::Sales);
    log.sale("a", 1_000, 1);
    assert_eq!(log.sale("a", 950, 1), Outcome::Correction);
    assert_eq!(log.partition.clock(), Some(1_000));
    assert_eq!(log.sale("a", 950, 1), Outcome::Duplicate);
    assert_eq!(log.partition.clock(), Some(1_000));
}

#[test]
fn stock_is_never_late_and_a_cancelled_product_starts_anew() {
    let mut log = Log::of(Topic::Inventory);
    let level = |current_stock, last_updated| {
        Some(Record::StockLevel(StockLevel {
            product_id: "p".into(),
            warehouse_id: "w".into(),
            current_stock,
            reorder_level: 1,
            last_updated,
            category: "c".into(),
            status: None,
        }))
    };
    for (stock, at) in [(1, 5_000), (2, 1), (3, 5_000), (4, 4_999)] {
        assert_eq!(log.offer(None, None, level(stock, at)).0, Outcome::Accepted);
    }
    let current =
        |log: &Log| log.partition.levels().map(|(offset, level)| (offset, level.current_stock)).collect::<Vec<_>>();
    assert_eq!(current(&log), [(2, 3)], "of two at the same time the later record");
    log.offer(None, Some(b"p"), None);
    assert_eq!(current(&log), []);
    log.offer(None, None, level(9, 2));
    assert_eq!(current(&log), [(5, 9)], "whatever its last_updated");
}

fn given(mut close: impl FnMut(&mut dyn FnMut(Document))) -> BTreeMap<String, Document> {
    let mut documents = BTreeMap::new();
    close(&mut |document| {
        let known = documents.insert(document.id.clone(), document);
        assert!(known.is_none(), "{known:?} was given twice");
    });
    documents
}

fn ints(document: &Document, names: &[&str]) -> Vec<i64> {
    let int = |name: &&str| match document.get(name) {
        Some(Value::Int(number)) => *number,
        other => panic!("{name} is {other:?}"),
    };
    names.iter().map(int).collect()
}

#[test]
fn a_session_ends_at_midnight_of_utc_and_stands_in_the_hour_of_its_first_event() {
    let mut names = Names::default();
    let mut views = ActivityViews::new(|_| true);
    let mut event = |kind: &str, at, product: bool| {
        let activity = Activity {
            user_id: "u".into(),
            activity_type: kind.into(),
            timestamp: at,
            session_id: "x".into(),
            product_id: product.then(|| "p".into()),
            amount: None,
        };
        let user = names.name(&activity.user_id);
        views.activity(&activity, user, &mut names);
    };
    // Out of order; the purchase before the only page view of its day is none after it.
    event("page_view", DAY - 1, false);
    event("purchase", DAY - 2 * HOUR, false);
    event("purchase", DAY, false);
    let documents = given(|give| views.close(Closing { settled: DAY, all: true }, &names, give));
    let session = |id: &str| ints(&documents[id], &["sessions", "bounced", "converted", "page_views"]);
    assert_eq!(session("sessions|day|1970-01-01T00:00:00Z"), [1, 0, 1, 1]);
    assert_eq!(session("sessions|hour|1970-01-01T22:00:00Z"), [1, 0, 1, 1]);
    assert!(!documents.contains_key("sessions|hour|1970-01-01T23:00:00Z"));
    assert_eq!(session("sessions|day|1970-01-02T00:00:00Z"), [1, 1, 1, 0]);
    let first = &documents["sessions|hour|1970-01-01T22:00:00Z"];
    assert_eq!(first.get("duration_seconds"), Some(&Value::Decimal { digits: i128::from(2 * HOUR - 1), scale: 3 }));
    // The hour is final with its day, the day after is not.
    assert_eq!(first.get("final"), Some(&Value::Bool(true)));
    assert_eq!(documents["sessions|day|1970-01-02T00:00:00Z"].get("final"), Some(&Value::Bool(false)));
    let funnel =
        ints(&documents["funnel|day|1970-01-01T00:00:00Z"], &["sessions", "viewed", "viewed_product", "purchased"]);
    assert_eq!(funnel, [1, 1, 0, 0]);
    assert_eq!(ints(&documents["active_users|day|1970-01-01T00:00:00Z"], &["users"]), [1]);
}

#[test]
fn only_windows_that_nothing_can_change_are_given_before_the_end() {
    let mut names = Names::default();
    let mut views = ActivityViews::new(|name| name == "active_users");
    for at in [0, HOUR] {
        let activity = Activity {
            user_id: "u".into(),
            activity_type: "login".into(),
            timestamp: at,
            session_id: "x".into(),
            product_id: None,
            amount: None,
        };
        let user = names.name(&activity.user_id);
        views.activity(&activity, user, &mut names);
    }
    let early = given(|give| views.close(Closing { settled: 2 * HOUR - 1, all: false }, &names, give));
    assert_eq!(early.keys().collect::<Vec<_>>(), ["active_users|hour|1970-01-01T00:00:00Z"]);
    let rest = given(|give| views.close(ALL, &names, give));
    assert_eq!(rest.len(), 2);
}

#[test]
fn a_customer_is_new_once_and_by_the_first_sale_in_force() {
    let mut names = Names::default();
    let mut log = Log::of(Topic::Sales);
    let mut customers = Customers::new();
    let row = |log: &mut Log, id: &str, at, amount| {
        let mut row = None;
        let place = Place { partition: 0, offset: 0 };
        let mut change = |change: Change<'_>, _: &mut Names| {
            if let Change::Sale { row: of, .. } = change {
                row = Some(of);
            }
        };
        let mut partition = Partition::new(Topic::Sales, 0, WINDOWS);
        let record = Some(Ok(Record::Sale(sale(id, at, amount))));
        partition.offer(place, None, None, record, &mut log.names, &mut change);
        row.expect("a sale")
    };
    let first = row(&mut log, "b", 5, 100);
    let same_time = row(&mut log, "a", 5, 10);
    let next_day = row(&mut log, "c", DAY, 1);
    customers.sale(&first, &"b".into(), 0, 1);
    customers.sale(&same_time, &"a".into(), 0, 1);
    customers.sale(&next_day, &"c".into(), 0, 1);
    let mut taken_back = Customers::new();
    for sign in [1, -1] {
        taken_back.sale(&first, &"b".into(), 0, sign);
    }
    taken_back.sale(&next_day, &"c".into(), 0, 1);
    names.name(&"unused".into());

    let fields = ["new_customers", "returning_customers"];
    let documents = given(|give| customers.close(ALL, &names, give));
    let day = &documents["customers|day|1970-01-01T00:00:00Z"];
    assert_eq!(ints(day, &fields), [1, 0]);
    // The first of two at the same time is the one with the lesser id.
    assert_eq!(day.get("new_revenue"), Some(&Value::money(10)));
    assert_eq!(day.get("returning_revenue"), Some(&Value::money(100)));
    assert_eq!(ints(&documents["customers|day|1970-01-02T00:00:00Z"], &fields), [0, 1]);
    let documents = given(|give| taken_back.close(ALL, &names, give));
    assert_eq!(documents.len(), 1, "a day without a sale in force has no document");
    assert_eq!(ints(&documents["customers|day|1970-01-02T00:00:00Z"], &fields), [1, 0]);
}
