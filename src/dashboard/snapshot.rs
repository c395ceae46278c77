//! What a committed epoch says, as far as pages show it without asking the store again.

use tillflow_dataflows::records::Millis;

use super::figures::catalogue::usual_windows;
use super::kinds::{AddedKind, Granularity, Kinds};
use super::rows::Record as _;
use crate::document::{Collection, Document, Value};
use crate::store::{Progress, Query};

/// The most open alerts of one severity that are kept.
const ALERTS_MAX: usize = 1_000;
/// The most resolved alerts that are kept.
const RESOLVED_MAX: usize = 200;
/// The most stock rows that are kept, the emptiest ones first.
const STOCK_MAX: usize = 2_000;
/// More metrics than this there are not.
const METRICS_MAX: usize = 200;

/// One windowed view that a snapshot holds.
#[derive(Clone, Copy, Debug)]
struct Plan {
    kind: &'static str,
    granularity: Granularity,
    /// How many windows back from the one that holds `as_of`.
    windows: i64,
    /// The most rows that are kept, the newest first.
    limit: usize,
}

const PLANS: &[Plan] = &[
    // Two hours of minutes: the last one and the one to compare it with.
    Plan { kind: "sales_total", granularity: Granularity::Minute, windows: 121, limit: 121 },
    Plan { kind: "sales_total", granularity: Granularity::Hour, windows: 49, limit: 49 },
    Plan { kind: "sales_total", granularity: Granularity::Day, windows: 31, limit: 31 },
    Plan { kind: "sales_by_category", granularity: Granularity::Minute, windows: 60, limit: 6_000 },
    Plan { kind: "sales_by_category", granularity: Granularity::Hour, windows: 48, limit: 5_000 },
    Plan { kind: "sales_by_store", granularity: Granularity::Hour, windows: 24, limit: 5_000 },
    Plan { kind: "sales_by_payment_method", granularity: Granularity::Hour, windows: 24, limit: 2_000 },
    Plan { kind: "activity_by_type", granularity: Granularity::Minute, windows: 60, limit: 3_000 },
    Plan { kind: "activity_by_type", granularity: Granularity::Hour, windows: 48, limit: 2_500 },
    Plan { kind: "active_users", granularity: Granularity::Hour, windows: 48, limit: 48 },
];

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// Documents in order, and whether they are all there are.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The documents.
    pub documents: Vec<Document>,
    /// Whether none was left out.
    pub complete: bool,
}

/// The rows of one windowed view.
#[derive(Clone, Debug)]
pub struct Holding {
    kind: &'static str,
    granularity: Granularity,
    /// From this window start on nothing is missing; absent when nothing is missing at all.
    since: Option<Millis>,
    /// The oldest window there is, whether held or not.
    first: Option<Millis>,
    /// By window, then by `_id`.
    documents: Vec<Document>,
}

impl Holding {
    /// The rows of windows that start in `from..to`.
    pub fn between(&self, from: Option<Millis>, to: Option<Millis>) -> impl Iterator<Item = &Document> {
        self.documents.iter().filter(move |document| {
            let at = document.time("timestamp").unwrap_or(0);
            from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to)
        })
    }

    /// The start of the oldest window there is, whether it is held or not.
    pub const fn oldest(&self) -> Option<Millis> {
        self.first
    }
}

/// Everything that pages, charts and most of the API read, as of one epoch. Never changes once it is built.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The epoch it belongs to; absent before the first commit.
    pub progress: Option<Progress>,
    /// The documents of `type: "metric"`.
    pub metrics: Vec<Document>,
    /// Open alerts: by severity, then the youngest first.
    pub open_alerts: Listing,
    /// Resolved alerts, the latest first.
    pub resolved_alerts: Listing,
    /// Stock rows, the worst first.
    pub stock: Listing,
    holdings: Vec<Holding>,
}

fn metrics_query() -> Query {
    Query {
        collection: Some(Collection::RealTimeMetrics),
        type_is: Some("metric".to_owned()),
        limit: Some(METRICS_MAX),
        ..Query::default()
    }
}

fn alerts_query(equals: &[(&str, &str)], newest: &str, limit: usize) -> Query {
    Query {
        collection: Some(Collection::RealTimeMetrics),
        type_is: Some("alert".to_owned()),
        equals: equals.iter().map(|(field, text)| ((*field).to_owned(), (*text).to_owned())).collect(),
        order: vec![(newest.to_owned(), true)],
        limit: Some(limit),
        ..Query::default()
    }
}

/// Everything a snapshot is built from, as one read. `hint` is where `as_of` is at least: older windows than a
/// snapshot shows are not asked for, but for the oldest of all, so that "nothing yet" and "nothing sold" differ.
pub fn queries(kinds: &Kinds, hint: Option<Millis>) -> Vec<Query> {
    let mut queries = vec![metrics_query()];
    for severity in SEVERITIES {
        queries.push(alerts_query(&[("state", "open"), ("severity", severity)], "opened_at", ALERTS_MAX));
    }
    queries.push(alerts_query(&[("state", "resolved")], "resolved_at", RESOLVED_MAX));
    queries.push(Query {
        collection: Some(Collection::RealTimeMetrics),
        type_is: Some("stock".to_owned()),
        order: vec![("current_stock".to_owned(), false)],
        limit: Some(STOCK_MAX),
        ..Query::default()
    });
    for plan in plans(kinds) {
        let all = Query {
            collection: Some(Collection::AggregatedData),
            type_is: Some(plan.kind.to_owned()),
            granularity: Some(plan.granularity.name().to_owned()),
            ..Query::default()
        };
        // In the order of `_id`, which is that of windows.
        queries.push(Query { limit: Some(1), ..all.clone() });
        queries.push(Query {
            from: hint.map(|as_of| plan.from(as_of)),
            order: vec![("timestamp".to_owned(), true)],
            limit: Some(plan.limit),
            ..all
        });
    }
    queries
}

/// The windows of added views that are held: as many as their charts show, and no more rows than this.
const ADDED_ROWS: usize = 2_000;

/// The windowed views that are held.
fn plans(kinds: &Kinds) -> impl Iterator<Item = Plan> {
    let added = kinds.added().map(|AddedKind { kind, .. }| {
        let granularity = kind.charted();
        let windows = usual_windows(granularity);
        let one_row_each = usize::try_from(windows).unwrap_or(ADDED_ROWS);
        Plan {
            kind: kind.name,
            granularity,
            windows,
            limit: if kind.key.is_some() { ADDED_ROWS } else { one_row_each },
        }
    });
    PLANS.iter().copied().chain(added)
}

impl Plan {
    const fn from(self, as_of: Millis) -> Millis {
        self.granularity.floor(as_of).saturating_sub((self.windows - 1) * self.granularity.millis())
    }
}

fn listing(documents: Vec<Document>, limit: usize) -> Listing {
    Listing { complete: documents.len() < limit, documents }
}

/// How full a stock row is against its reorder level: the order of "worst first". Out of stock comes before
/// everything else; rows without a reorder level come last among those that have stock.
pub fn fullness(row: &Document) -> (bool, f64) {
    let stock = row.count("current_stock").unwrap_or(0);
    let level = row.count("reorder_level").unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "stock and levels are below 10^9")]
    let share = if level > 0 { stock as f64 / level as f64 } else { f64::from(u8::from(stock > 0)) * f64::MAX };
    (stock > 0, share)
}

impl Snapshot {
    /// Builds the snapshot from the answers to [`queries`], asked with the same hint.
    pub fn assemble(
        kinds: &Kinds,
        progress: Option<Progress>,
        answers: Vec<Vec<Document>>,
        hint: Option<Millis>,
    ) -> Snapshot {
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or_default();
        let metrics = next();
        let mut open_alerts = Listing { documents: Vec::new(), complete: true };
        for _ in SEVERITIES {
            let part = listing(next(), ALERTS_MAX);
            open_alerts.complete &= part.complete;
            open_alerts.documents.extend(part.documents);
        }
        let resolved_alerts = listing(next(), RESOLVED_MAX);
        let mut stock = listing(next(), STOCK_MAX);
        stock.documents.sort_by(|a, b| {
            let (a_key, b_key) = (fullness(a), fullness(b));
            a_key.0.cmp(&b_key.0).then(a_key.1.total_cmp(&b_key.1)).then_with(|| a.id.cmp(&b.id))
        });
        let holdings = plans(kinds)
            .map(|plan| {
                let first = next().first().and_then(|document| document.time("timestamp"));
                let mut documents = next();
                // What was not asked for does not exist where the oldest window is later.
                let asked = hint.map(|as_of| plan.from(as_of)).filter(|from| first.is_some_and(|first| first < *from));
                let oldest = documents.iter().filter_map(|document| document.time("timestamp")).min();
                // Where the limit cut, the oldest window may have lost rows.
                let since = match oldest {
                    Some(oldest) if documents.len() >= plan.limit && plan.limit_cuts_windows(kinds) => {
                        Some(oldest.saturating_add(1))
                    }
                    Some(oldest) if documents.len() >= plan.limit => Some(oldest),
                    _ => asked,
                };
                documents.sort_by(|a, b| a.time("timestamp").cmp(&b.time("timestamp")).then_with(|| a.id.cmp(&b.id)));
                Holding { kind: plan.kind, granularity: plan.granularity, since, first, documents }
            })
            .collect();
        Snapshot { progress, metrics, open_alerts, resolved_alerts, stock, holdings }
    }

    /// The epoch; 0 before the first commit.
    pub fn epoch(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| progress.epoch)
    }

    /// The epoch's `as_of`.
    pub fn as_of(&self) -> Option<Millis> {
        self.progress.as_ref().and_then(|progress| progress.as_of)
    }

    /// The metric of that name.
    pub fn metric(&self, name: &str) -> Option<&Document> {
        self.metrics.iter().find(|document| document.text("name") == Some(name))
    }

    /// The rows of a view, if the snapshot keeps it at all.
    pub fn holding(&self, kind: &str, granularity: Granularity) -> Option<&Holding> {
        self.holdings.iter().find(|holding| holding.kind == kind && holding.granularity == granularity)
    }

    /// The rows of a view, if the snapshot has every one from `from` on (absent: from the beginning on).
    pub fn covering(&self, kind: &str, granularity: Granularity, from: Option<Millis>) -> Option<&Holding> {
        let covers = |holding: &&Holding| match (holding.since, from) {
            (None, _) => true,
            (Some(since), Some(from)) => from >= since,
            (Some(_), None) => false,
        };
        self.holding(kind, granularity).filter(covers)
    }

    /// How many alerts of a severity are open.
    pub fn open(&self, severity: &str) -> usize {
        self.open_alerts.documents.iter().filter(|alert| alert.text("severity") == Some(severity)).count()
    }

    /// Whether nothing was ever committed to the store.
    pub fn is_empty(&self) -> bool {
        self.progress.as_ref().is_none_or(|progress| progress.epoch == 0)
    }
}

impl Plan {
    /// Whether a window can have several rows, so that a limit may cut through one.
    fn limit_cuts_windows(self, kinds: &Kinds) -> bool {
        kinds.get(self.kind).is_some_and(|kind| kind.key.is_some())
    }
}

/// The rows whose key is `value`; of several fields the first one.
pub fn has_key(document: &Document, value: Option<&str>) -> bool {
    value.is_none_or(|value| match document.document("key").and_then(|key| key.first()) {
        Some((_, Value::Text(text))) => text == value,
        Some((_, Value::Int(number))) => number.to_string() == value,
        _ => false,
    })
}
