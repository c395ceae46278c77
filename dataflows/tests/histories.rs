//! Random histories through admission and the graph: equal to the oracle at every tick, for any batching, any
//! interleaving of partitions, and 1, 2 and 4 workers.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, RngAlgorithm, TestRng, TestRunner};
use support::check::{check, check_restart, expect};
use support::group_bys::group_bys;
use support::samples::START;
use support::{Pace, Plan, Timed};
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::assembly::Settings;
use tillflow_dataflows::oracle::RowsByKey;
use tillflow_dataflows::oracle::admission::{Given, Record};
use tillflow_dataflows::outputs::{AlertKind, Metric, RowBody, RowKey, Selection, View};
use tillflow_dataflows::records::{Activity, Millis, Money, Outcome, Reason, Sale, StockLevel, Topic};
use tillflow_dataflows::time::{HOUR, LiveRange, MINUTE, Tick};

const PARTITIONS: [(Topic, i32); 7] = [
    (Topic::Sales, 0),
    (Topic::UserActivity, 0),
    (Topic::Inventory, 0),
    (Topic::Sales, 1),
    (Topic::Inventory, 1),
    (Topic::Sales, 2),
    (Topic::UserActivity, 1),
];

/// One record, in numbers that shrink; what they mean is [`build`]'s.
#[derive(Clone, Debug)]
struct Spec {
    partition: u8,
    kind: u8,
    values: [u8; 8],
    advance: u8,
    lag: u8,
    kafka: u8,
    gap: u8,
}

#[derive(Clone, Debug)]
struct History {
    records: Vec<Spec>,
    /// By partition: how far it lags, and after how many eighths of the records it appears.
    partitions: [(u8, u8); PARTITIONS.len()],
    correction_window: u8,
    first_tick: u8,
    /// Whether time stands almost still and transactions are many, so that the live ranges fill.
    calm: bool,
    /// Whether an hour passes with each record, and sales of one category are mostly worth the same.
    hourly: bool,
    /// Which views are maintained, by the bits of their names' places; absent: all.
    selection: Option<u32>,
    /// Whether what is final and not live leaves memory.
    expires: bool,
}

fn spec() -> impl Strategy<Value = Spec> {
    let kind = prop_oneof![10 => Just(0u8), 3 => Just(1u8), 2 => Just(2u8), 1 => 3u8..7];
    let advance = prop_oneof![6 => 0u8..4, 3 => 4u8..8, 1 => 8u8..12];
    let lag = prop_oneof![5 => Just(0u8), 3 => 1u8..5, 2 => 5u8..12];
    let kafka = prop_oneof![6 => Just(0u8), 3 => 1u8..4, 1 => 4u8..6];
    let gap = prop_oneof![5 => Just(0u8), 4 => Just(1u8), 2 => 2u8..4, 1 => 4u8..6];
    (0..PARTITIONS.len() as u8, kind, any::<[u8; 8]>(), advance, lag, kafka, gap).prop_map(
        |(partition, kind, values, advance, lag, kafka, gap)| Spec {
            partition,
            kind,
            values,
            advance,
            lag,
            kafka,
            gap,
        },
    )
}

fn history() -> impl Strategy<Value = History> {
    let records = proptest::collection::vec(spec(), 1..120);
    let partitions = proptest::array::uniform7((0u8..6, 0u8..8));
    let correction_window = prop_oneof![4 => Just(0u8), 1 => Just(1u8), 1 => Just(2u8), 1 => Just(3u8)];
    let calm = proptest::bool::weighted(0.3);
    let hourly = proptest::bool::weighted(0.15);
    let selection = prop_oneof![3 => Just(None), 1 => any::<u32>().prop_map(Some)];
    (records, partitions, correction_window, 0u8..3, calm, hourly, selection, any::<bool>()).prop_map(
        |(records, partitions, correction_window, first_tick, calm, hourly, selection, expires)| History {
            records,
            partitions,
            correction_window,
            first_tick,
            calm: calm && !hourly,
            hourly,
            selection,
            expires,
        },
    )
}

const IDS: [&str; 7] = ["t1", "t2", "t|3", "tä\\4", "t5", "", "t 7"];
/// A transaction_id in a calm history is one of these behind one of those.
const CALM_IDS: u8 = 3;
const USERS: [&str; 5] = ["u1", "u|2", "жук", "u4", "an identifier of more than twenty-four bytes"];
const PRODUCTS: [&str; 14] =
    ["p", "p0", "p1", "p|1", "p\\1", "ä", "z", "p7", "p8", "p9", "pA", "pB", "\u{10ffff}", "\u{e000}"];
const CATEGORIES: [&str; 4] = ["c1", "c|2", "кухня", "c4"];
const STORES: [&str; 3] = ["s1", "s\\2", "店"];
const PAYMENTS: [&str; 3] = ["cash", "card|x", "💳"];
const TYPES: [&str; 5] = ["login", "page_view", "purchase", "an unknown one", "сменить"];
const WAREHOUSES: [&str; 3] = ["w1", "w|2", "w"];
const STATUSES: [Option<&str>; 6] =
    [None, Some(""), Some("in_stock"), Some("discontinued"), Some("low_stock"), Some("out_of_stock")];
const QUANTITIES: [i64; 6] = [1, 2, -1, -3, 1_000_000_000, -1_000_000_000];
const AMOUNTS: [i64; 7] = [10_000, -10_000, 0, 5, 20_000, Money::BOUND, -Money::BOUND];
const STOCKS: [i64; 6] = [0, 5, 6, -3, 1_000_000_000, 1];
const ADVANCES: [Millis; 12] =
    [0, 1, 1_000, 30_000, 61_000, 10 * MINUTE, 59 * MINUTE, HOUR, 5 * HOUR, 24 * HOUR, 48 * HOUR + 1, 400 * HOUR];
const LAGS: [Millis; 12] = [
    0,
    1,
    MINUTE,
    59 * MINUTE,
    60 * MINUTE,
    2 * HOUR,
    23 * HOUR,
    24 * HOUR,
    48 * HOUR - 1,
    48 * HOUR,
    48 * HOUR + 1,
    60 * HOUR,
];
const PARTITION_LAGS: [Millis; 6] = [0, 20 * MINUTE, 3 * HOUR, 50 * HOUR, 1_000 * HOUR, -10 * HOUR];
const CORRECTION_WINDOWS: [Millis; 4] = [48 * HOUR, 2 * HOUR, 0, 90_001];
const FIRST_TICKS: [Tick; 3] = [0, 1, 17_000_000_000];
const GAPS: [Tick; 6] = [0, 1, 2, 3, 100, 17_000_000_000];
const REASONS: [Reason; 3] = [Reason::InvalidJson, Reason::MissingField, Reason::TooLarge];

fn pick<T: Copy>(from: &[T], by: u8) -> T {
    from[usize::from(by) % from.len()]
}

fn given(topic: Topic, spec: &Spec, at: Millis, earlier: &[Given], calm: bool) -> Given {
    let [a, b, c, d, e, f, g, h] = spec.values;
    match spec.kind {
        // The same content again: a duplicate, or something stale.
        1 if !earlier.is_empty() => earlier[earlier.len() - 1 - usize::from(a) % earlier.len().min(6)].clone(),
        2 | 3 => Given::Tombstone(Some(match topic {
            Topic::Inventory => pick(&PRODUCTS, a % 5).into(),
            _ => pick(&IDS, a).into(),
        })),
        4 => Given::Tombstone(None),
        5 => Given::Tombstone(Some(vec![0xff, a])),
        6 => Given::Unreadable(pick(&REASONS, a)),
        _ => match topic {
            Topic::Sales => Given::Sale(Sale {
                transaction_id: match calm.then_some(b % CALM_IDS) {
                    Some(more) if more > 0 => format!("{} {more}", pick(&IDS, a)).as_str().into(),
                    _ => pick(&IDS, a).into(),
                },
                user_id: pick(&USERS, b).into(),
                product_id: pick(&PRODUCTS, c).into(),
                quantity: pick(&QUANTITIES, d),
                unit_price: Money(pick(&AMOUNTS, e / 16)),
                total_amount: Money(pick(&AMOUNTS, e)),
                payment_method: pick(&PAYMENTS, f).into(),
                timestamp: at,
                store_id: pick(&STORES, g).into(),
                category: pick(&CATEGORIES, h).into(),
            }),
            Topic::UserActivity => Given::Activity(Activity {
                user_id: pick(&USERS, a).into(),
                activity_type: pick(&TYPES, b).into(),
                timestamp: at,
                session_id: pick(&IDS, c).into(),
                product_id: (d % 2 == 0).then(|| pick(&PRODUCTS, d / 2).into()),
                amount: (e % 2 == 0).then(|| Money(pick(&AMOUNTS, e / 2))),
            }),
            Topic::Inventory => Given::StockLevel(StockLevel {
                product_id: pick(&PRODUCTS, a % 5).into(),
                warehouse_id: pick(&WAREHOUSES, b).into(),
                current_stock: pick(&STOCKS, c),
                reorder_level: pick(&STOCKS, d),
                last_updated: at,
                category: pick(&CATEGORIES, e).into(),
                status: pick(&STATUSES, f).map(Into::into),
            }),
        },
    }
}

/// The plan that a history of numbers means.
fn build(history: &History) -> Plan {
    let settings = AdmissionSettings {
        correction_window: pick(&CORRECTION_WINDOWS, history.correction_window),
        max_future: 10 * MINUTE,
    };
    let mut now = START;
    let mut tick = pick(&FIRST_TICKS, history.first_tick);
    let mut latest_sale: Option<Sale> = None;
    let mut earlier: [Vec<Given>; PARTITIONS.len()] = Default::default();
    let mut records = Vec::new();
    for (index, spec) in history.records.iter().enumerate() {
        now += match (history.hourly, history.calm) {
            (true, _) => HOUR,
            (_, true) => pick(&ADVANCES, spec.advance % 4),
            _ => pick(&ADVANCES, spec.advance),
        };
        if index > 0 {
            tick += pick(&GAPS, spec.gap);
        }
        let mut partition = usize::from(spec.partition);
        if index * 8 < usize::from(history.partitions[partition].1) * history.records.len() {
            partition %= 3;
        }
        if history.hourly {
            // Sales, but for some.
            partition = if spec.values[7] % 8 == 0 { partition % 3 } else { 0 };
        }
        let topic = PARTITIONS[partition].0;
        let (partition_lag, lag) = match history.calm || history.hourly {
            true => (history.partitions[partition].0 % 2, spec.lag % 3),
            false => (history.partitions[partition].0, spec.lag),
        };
        let at = now - pick(&PARTITION_LAGS, partition_lag) - pick(&LAGS, lag);
        let mut given = given(topic, spec, at, &earlier[partition], history.calm);
        if let (true, Given::Sale(sale)) = (history.hourly, &mut given) {
            sale.transaction_id = format!("{} {index}", sale.transaction_id).as_str().into();
            sale.category = CATEGORIES[0].into();
            if spec.values[4] < 235 {
                sale.total_amount = Money(10_000);
            }
        }
        match (&mut given, &latest_sale) {
            (Given::Sale(sale), _) => latest_sale = Some(sale.clone()),
            // What was just bought, as the activity tells it.
            (Given::Activity(activity), Some(sale)) if spec.values[6] % 2 == 0 => {
                activity.user_id = sale.user_id.clone();
                activity.activity_type = "purchase".into();
                activity.product_id = Some(sale.product_id.clone());
                activity.amount = Some(sale.total_amount);
            }
            _ => {}
        }
        let at = match &given {
            Given::Sale(sale) => sale.timestamp,
            Given::Activity(activity) => activity.timestamp,
            Given::StockLevel(level) => level.last_updated,
            _ => at,
        };
        let kafka_timestamp = match spec.kafka {
            1 => Some(at),
            2 => Some(at - settings.max_future),
            3 => Some(at + HOUR),
            4 => Some(at - settings.max_future - 1),
            5 => Some(at - 8_760 * HOUR),
            _ => None,
        };
        // Offsets have gaps.
        let offset = (earlier[partition].len() * 2) as i64;
        earlier[partition].push(given.clone());
        records.push(Timed { tick, partition, record: Record { given, offset, kafka_timestamp } });
    }
    let selection = history.selection.map_or_else(Selection::all, |bits| {
        let names = (0..).zip(Selection::names()).filter(|(place, _)| bits >> place & 1 == 1);
        Selection::of(names.map(|(_, name)| name)).expect("there are views of these names")
    });
    let added = group_bys().into();
    let graph = Settings { selection, added, ..Settings::new(settings.correction_window) };
    Plan { settings, graph, partitions: PARTITIONS.to_vec(), records, expires: history.expires }
}

/// The same records at other ticks: each partition goes at its own pace.
fn reschedule(plan: &Plan, paces: &[u8; PARTITIONS.len()]) -> Plan {
    let mut taken = [0u64; PARTITIONS.len()];
    let records = plan.records.iter().map(|timed| {
        let pace = u64::from(paces[timed.partition]);
        let turn = &mut taken[timed.partition];
        let tick = 1 + (pace % 11) + *turn * (1 + pace % 3) / (1 + pace % 5);
        *turn += 1;
        Timed { tick, ..timed.clone() }
    });
    Plan { records: records.collect(), ..plan.clone() }
}

fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/histories.regressions"
        )))),
        max_shrink_iters: 2_000,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config(250))]

    #[test]
    fn every_view_equals_its_twin_at_every_tick(history in history(), ahead in any::<[u8; 4]>()) {
        let plan = build(&history);
        let expected = expect(&plan);
        let ahead: Vec<usize> = ahead.iter().map(|ahead| 1 + usize::from(*ahead) % 9).collect();
        for workers in [1, 2, 4] {
            check(&plan, &expected, &Pace { workers, ahead: ahead.clone() });
        }
    }

    #[test]
    fn neither_batching_nor_interleaving_matters(history in history(), paces in any::<[u8; PARTITIONS.len()]>()) {
        // When a window leaves memory depends on the ticks, and so does what is late then.
        let plan = build(&History { expires: false, ..history });
        let other = reschedule(&plan, &paces);
        let (expected, expected_other) = (expect(&plan), expect(&other));
        prop_assert_eq!(&expected.decisions, &expected_other.decisions);
        let last = |expected: &support::check::Expected| expected.rows.last_key_value().map(|(_, rows)| rows.clone());
        prop_assert_eq!(last(&expected), last(&expected_other));
        for workers in [1, 2, 4] {
            check(&other, &expected_other, &Pace { workers, ahead: vec![1, 7] });
        }
        // All at once.
        let records = plan.records.iter().map(|timed| Timed { tick: 5, ..timed.clone() }).collect();
        let at_once = Plan { records, ..plan };
        let expected_at_once = expect(&at_once);
        prop_assert_eq!(last(&expected), last(&expected_at_once));
        check(&at_once, &expected_at_once, &Pace::even(2));
    }
}

proptest! {
    #![proptest_config(config(250))]

    #[test]
    fn a_restart_at_any_tick_is_not_to_be_seen(
        history in history(),
        at in any::<proptest::sample::Index>(),
        workers in (1..5usize, 1..5usize),
        ahead in any::<[u8; 4]>(),
    ) {
        let plan = build(&history);
        let expected = expect(&plan);
        let ticks: Vec<_> = expected.rows.keys().copied().collect();
        let ahead: Vec<usize> = ahead.iter().map(|ahead| 1 + usize::from(*ahead) % 9).collect();
        let (before, after) = (Pace { workers: workers.0, ahead: ahead.clone() }, Pace { workers: workers.1, ahead });
        check_restart(&plan, &expected, *at.get(&ticks), &before, &after);
    }
}

/// What happened in some histories, by the oracle alone.
#[derive(Debug, Default)]
struct Happened {
    outcomes: BTreeMap<Outcome, usize>,
    final_given: usize,
    final_withdrawn: usize,
    rows_gone: usize,
    full_rankings: usize,
    ties: usize,
    worth_nothing: usize,
    alerts_resolved: usize,
    alerts_opened: BTreeMap<AlertKind, usize>,
    sessions_moved: usize,
    extremes_gone: usize,
    as_of_by_days: usize,
    firsts_gone: usize,
    returning: usize,
    matched: usize,
    unmatched: usize,
    expiries: usize,
    begun_late: usize,
}

impl Happened {
    fn watch(&mut self, before: &RowsByKey, after: &RowsByKey) {
        for (key, body) in before {
            match (body.is_final(), after.get(key).map(RowBody::is_final)) {
                (false, Some(true)) => self.final_given += 1,
                (true, Some(false)) => self.final_withdrawn += 1,
                _ => {}
            }
            match (key, after.get(key), body) {
                (RowKey::Rollup(_), None, _) => self.rows_gone += 1,
                (RowKey::Alert(..), None, _) => self.alerts_resolved += 1,
                (RowKey::Rollup(_), Some(RowBody::Visits(after, _)), RowBody::Visits(before, _)) => {
                    self.sessions_moved += usize::from(after.sessions < before.sessions);
                }
                // See `group_bys` for what the sums are.
                (RowKey::Rollup(key), Some(RowBody::Added(after, _)), RowBody::Added(before, _)) => {
                    let is_gone = match key.view {
                        // The last of the returns, the dearest sale, the smallest stock.
                        View::Added(0) => after.sums[3] < before.sums[3],
                        View::Added(1) => after.sums[1] < before.sums[1],
                        View::Added(5) => after.sums[1] > before.sums[1],
                        _ => false,
                    };
                    self.extremes_gone += usize::from(is_gone);
                }
                (RowKey::Rollup(_), Some(RowBody::Customers(after, _)), RowBody::Customers(before, _)) => {
                    self.firsts_gone += usize::from(after.new_customers < before.new_customers);
                }
                (RowKey::AsOf, Some(RowBody::Instant(after)), RowBody::Instant(before)) => {
                    self.as_of_by_days += usize::from(after - before > 24 * HOUR);
                }
                _ => {}
            }
        }
        for key in after.keys().filter(|key| !before.contains_key(key)) {
            if let RowKey::Alert(kind, _) = key {
                *self.alerts_opened.entry(*kind).or_default() += 1;
            }
        }
        let metric = |metric| &after[&RowKey::Metric(metric)];
        if let (RowBody::Sales(sales, _), RowBody::Unmatched(unmatched)) =
            (metric(Metric::SalesLast(LiveRange::Last24Hours)), metric(Metric::PurchasesUnmatched))
        {
            self.matched += usize::from(unmatched.sales < sales.transactions);
            self.unmatched += usize::from(unmatched.sales > 0 && unmatched.purchases > 0);
        }
        for body in after.values() {
            match body {
                RowBody::Ranking(products) => {
                    self.full_rankings += usize::from(products.len() == 10);
                    self.ties += usize::from(products.windows(2).any(|pair| pair[0].revenue == pair[1].revenue));
                }
                RowBody::Customers(sums, _) if sums.returning_customers() > 0 => self.returning += 1,
                RowBody::Sales(sums, _) if sums.revenue == 0 && sums.transactions > 0 => self.worth_nothing += 1,
                _ => {}
            }
        }
    }
}

#[test]
fn the_histories_contain_what_they_are_for() {
    let mut runner =
        TestRunner::new_with_rng(ProptestConfig::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut happened = Happened::default();
    for _ in 0..300 {
        let history = history().new_tree(&mut runner).expect("a history").current();
        let expected = expect(&build(&History { selection: None, ..history }));
        for decision in expected.decisions.values().flatten() {
            *happened.outcomes.entry(decision.outcome).or_default() += 1;
        }
        happened.expiries += expected.expiry.bounds.len();
        happened.begun_late += expected.expiry.late_before.len();
        for (before, after) in expected.rows.values().zip(expected.rows.values().skip(1)) {
            happened.watch(before, after);
        }
    }
    let Happened { outcomes, .. } = &happened;
    assert!(Outcome::ALL.iter().all(|outcome| outcomes.get(outcome).is_some_and(|count| *count >= 50)), "{happened:?}");
    let opened = |kind| happened.alerts_opened.get(kind).is_some_and(|count| *count >= 5);
    assert!(AlertKind::ALL.iter().all(opened), "{happened:?}");
    assert!(happened.sessions_moved >= 3, "{happened:?}");
    let counts = [
        happened.extremes_gone,
        happened.final_given,
        happened.final_withdrawn,
        happened.rows_gone,
        happened.full_rankings,
        happened.ties,
        happened.worth_nothing,
        happened.alerts_resolved,
        happened.as_of_by_days,
        happened.firsts_gone,
        happened.returning,
        happened.matched,
        happened.unmatched,
        happened.expiries,
        happened.begun_late,
    ];
    assert!(counts.iter().all(|count| *count >= 10), "{happened:?}");
}
