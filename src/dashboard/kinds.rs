//! The views there are: where each lives, how it is keyed, and what it measures.
//!
//! A view that is not listed (one that another program with other added views has filled the store with) can be asked
//! for all the same; it only has no descriptions.

use tillflow_dataflows::added::AddedView;
use tillflow_dataflows::fields::FieldKind;
use tillflow_dataflows::records::Topic;
use tillflow_dataflows::time;

use super::format::Unit;
use crate::document::Collection;

/// A window's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// 60 s.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours of UTC.
    Day,
}

impl Granularity {
    /// Every one.
    pub const ALL: [Granularity; 3] = [Granularity::Minute, Granularity::Hour, Granularity::Day];

    /// Its name in documents and queries.
    pub const fn name(self) -> &'static str {
        match self {
            Granularity::Minute => "minute",
            Granularity::Hour => "hour",
            Granularity::Day => "day",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Granularity> {
        Granularity::ALL.into_iter().find(|granularity| granularity.name() == name)
    }

    /// Its length in milliseconds.
    pub const fn millis(self) -> i64 {
        match self {
            Granularity::Minute => 60_000,
            Granularity::Hour => 3_600_000,
            Granularity::Day => 86_400_000,
        }
    }

    /// The start of the window that holds `instant`.
    pub const fn floor(self, instant: i64) -> i64 {
        instant.saturating_sub(instant.rem_euclid(self.millis()))
    }
}

/// One number of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its field.
    pub name: &'static str,
    /// What it is called on pages.
    pub title: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Whether windows and keys can be added up, and nothing means zero.
    pub additive: bool,
}

const fn measure(name: &'static str, title: &'static str, unit: Unit) -> Measure {
    Measure { name, title, unit, additive: true }
}

const TRANSACTIONS: Measure = measure("transactions", "Transactions", Unit::Count);
const UNITS: Measure = measure("units", "Units", Unit::Count);
const REVENUE: Measure = measure("revenue", "Revenue", Unit::Money);
const AVERAGE: Measure =
    Measure { name: "average_order_value", title: "Average order value", unit: Unit::Money, additive: false };
const SESSIONS: Measure = measure("sessions", "Sessions", Unit::Count);
const SALES: &[Measure] = &[REVENUE, TRANSACTIONS, UNITS, AVERAGE];

/// One view.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its `type`.
    pub name: &'static str,
    /// What it is called on pages.
    pub title: &'static str,
    /// Where it lives.
    pub collection: Collection,
    /// The windows it is kept for; none for what only has a present.
    pub granularities: &'static [Granularity],
    /// The field of its key, inside `key` for windowed views and at the top for others.
    pub key: Option<&'static str>,
    /// Its numbers, the main one first.
    pub measures: &'static [Measure],
}

impl Kind {
    /// The windows of its chart on a page: hours, or else what there is.
    pub fn charted(&self) -> Granularity {
        let hours = self.granularities.contains(&Granularity::Hour);
        self.granularities.first().copied().filter(|_| !hours).unwrap_or(Granularity::Hour)
    }
}

const MINUTE_HOUR_DAY: &[Granularity] = &[Granularity::Minute, Granularity::Hour, Granularity::Day];
const HOUR_DAY: &[Granularity] = &[Granularity::Hour, Granularity::Day];
const DAY: &[Granularity] = &[Granularity::Day];

const fn windowed(
    name: &'static str,
    title: &'static str,
    key: Option<&'static str>,
    granularities: &'static [Granularity],
    measures: &'static [Measure],
) -> Kind {
    Kind { name, title, collection: Collection::AggregatedData, granularities, key, measures }
}

const fn present(name: &'static str, title: &'static str, key: &'static str, measures: &'static [Measure]) -> Kind {
    Kind { name, title, collection: Collection::RealTimeMetrics, granularities: &[], key: Some(key), measures }
}

/// Every view of the contract.
pub const KINDS: &[Kind] = &[
    windowed("sales_total", "Sales", None, MINUTE_HOUR_DAY, SALES),
    windowed("sales_by_category", "Sales by category", Some("category"), MINUTE_HOUR_DAY, SALES),
    windowed("sales_by_store", "Sales by store", Some("store_id"), MINUTE_HOUR_DAY, SALES),
    windowed("sales_by_payment_method", "Sales by payment method", Some("payment_method"), MINUTE_HOUR_DAY, SALES),
    windowed("sales_by_product", "Sales by product", Some("product_id"), HOUR_DAY, SALES),
    windowed(
        "activity_by_type",
        "Activity by type",
        Some("activity_type"),
        MINUTE_HOUR_DAY,
        &[measure("events", "Events", Unit::Count), measure("amount", "Amount", Unit::Money)],
    ),
    windowed(
        "active_users",
        "Active users",
        None,
        HOUR_DAY,
        &[Measure { name: "users", title: "Users", unit: Unit::Count, additive: false }],
    ),
    windowed(
        "sessions",
        "Sessions",
        None,
        HOUR_DAY,
        &[
            SESSIONS,
            measure("bounced", "Bounced", Unit::Count),
            measure("converted", "Converted", Unit::Count),
            measure("page_views", "Page views", Unit::Count),
            measure("duration_seconds", "Duration", Unit::Seconds),
        ],
    ),
    windowed(
        "funnel",
        "Funnel",
        None,
        HOUR_DAY,
        &[
            SESSIONS,
            measure("viewed", "Viewed", Unit::Count),
            measure("viewed_product", "Viewed a product", Unit::Count),
            measure("purchased", "Purchased", Unit::Count),
        ],
    ),
    windowed(
        "product_interest",
        "Interest in products",
        Some("product_id"),
        DAY,
        &[
            measure("views", "Views", Unit::Count),
            measure("purchases", "Purchases", Unit::Count),
            measure("units_sold", "Units sold", Unit::Count),
            REVENUE,
        ],
    ),
    windowed(
        "customers",
        "Customers",
        None,
        DAY,
        &[
            measure("new_customers", "New customers", Unit::Count),
            Measure { name: "returning_customers", title: "Returning customers", unit: Unit::Count, additive: false },
            measure("new_revenue", "Revenue from new customers", Unit::Money),
            measure("returning_revenue", "Revenue from returning customers", Unit::Money),
        ],
    ),
    present(
        "stock",
        "Stock",
        "product_id",
        &[measure("current_stock", "Stock", Unit::Count), measure("reorder_level", "Reorder level", Unit::Count)],
    ),
    present(
        "supply",
        "Supply",
        "product_id",
        &[
            measure("stock", "Stock", Unit::Count),
            measure("units_sold_7d", "Units sold in 7 days", Unit::Count),
            Measure { name: "days_of_supply", title: "Days of supply", unit: Unit::Days, additive: false },
        ],
    ),
    present("alert", "Alerts", "kind", &[]),
    present("metric", "Metrics", "name", &[]),
];

/// The view of the contract of that name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// An added view, and the page that shows its chart.
#[derive(Clone, Copy, Debug)]
pub struct AddedKind {
    /// The view.
    pub kind: &'static Kind,
    /// The page of this topic.
    pub page: Topic,
}

/// The views of the contract and the added ones.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    added: Vec<AddedKind>,
}

impl Kinds {
    /// Beside the views of the contract these. What measures nothing but times has no chart and is not listed.
    pub fn new(added: &[AddedView]) -> Kinds {
        Kinds { added: added.iter().filter_map(described).collect() }
    }

    /// The view of that name.
    pub fn get(&self, name: &str) -> Option<&'static Kind> {
        kind(name).or_else(|| self.added.iter().map(|added| added.kind).find(|kind| kind.name == name))
    }

    /// Every view with windows.
    pub fn windowed(&self) -> impl Iterator<Item = &'static Kind> {
        let added = self.added.iter().map(|added| added.kind);
        KINDS.iter().filter(|kind| !kind.granularities.is_empty()).chain(added)
    }

    /// The added ones.
    pub fn added(&self) -> impl Iterator<Item = AddedKind> {
        self.added.iter().copied()
    }
}

/// What is said of an added view. There are a few, and they stay for as long as the program runs.
fn described(view: &AddedView) -> Option<AddedKind> {
    fn kept(text: &str) -> &'static str {
        String::leak(text.to_owned())
    }
    let layout = &view.layout;
    let measures: Vec<Measure> = layout
        .measures
        .iter()
        .filter_map(|field| {
            let unit = match field.kind {
                FieldKind::Integer => Unit::Count,
                FieldKind::Money => Unit::Money,
                FieldKind::Text | FieldKind::Time => return None,
            };
            Some(Measure { name: kept(&field.name), title: kept(&field.title), unit, additive: field.additive })
        })
        .collect();
    if measures.is_empty() {
        return None;
    }
    let granularity = |granularity: &time::Granularity| match granularity {
        time::Granularity::Minute => Granularity::Minute,
        time::Granularity::Hour => Granularity::Hour,
        time::Granularity::Day => Granularity::Day,
    };
    let kind = Kind {
        name: kept(&layout.name),
        title: kept(&layout.title),
        collection: Collection::AggregatedData,
        granularities: Vec::leak(layout.granularities.iter().map(granularity).collect()),
        // Rows are chosen by the first of several fields.
        key: layout.key.first().map(|field| kept(&field.name)),
        measures: Vec::leak(measures),
    };
    Some(AddedKind { kind: Box::leak(Box::new(kind)), page: layout.topics.first().copied().unwrap_or(Topic::Sales) })
}
