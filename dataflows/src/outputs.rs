//! What leaves the graph: rows, each under the key of the document it becomes.

use std::collections::BTreeSet;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::measures::{
    ActivityMeasures, AddedMeasures, CustomerMeasures, InterestMeasures, InventoryMeasures, LastHourMeasures,
    QualityMeasures, SalesMeasures, SupplyMeasures, UnmatchedMeasures, VisitMeasures,
};
use crate::records::{Millis, StockLevel, Text};
use crate::time::{Diff, LiveRange, Tick, Window};

/// A windowed view of `aggregated_data`, by its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum View {
    /// All sales.
    SalesTotal,
    /// Sales by category.
    SalesByCategory,
    /// Sales by store_id.
    SalesByStore,
    /// Sales by payment_method.
    SalesByPaymentMethod,
    /// Sales by product_id.
    SalesByProduct,
    /// Activities by activity_type.
    ActivityByType,
    /// Distinct users with any activity.
    ActiveUsers,
    /// Sessions: their number, length and outcome.
    Sessions,
    /// Sessions by how far they came.
    Funnel,
    /// Views, purchases and sales by product_id.
    ProductInterest,
    /// New and returning buyers.
    Customers,
    /// An added view, by its place among them.
    Added(u16),
}

impl View {
    /// Every built-in windowed view; the first is the least.
    pub const ALL: [View; 11] = [
        View::SalesTotal,
        View::SalesByCategory,
        View::SalesByStore,
        View::SalesByPaymentMethod,
        View::SalesByProduct,
        View::ActivityByType,
        View::ActiveUsers,
        View::Sessions,
        View::Funnel,
        View::ProductInterest,
        View::Customers,
    ];

    /// The document's `type`; none for an added view, whose layout has it.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            View::SalesTotal => "sales_total",
            View::SalesByCategory => "sales_by_category",
            View::SalesByStore => "sales_by_store",
            View::SalesByPaymentMethod => "sales_by_payment_method",
            View::SalesByProduct => "sales_by_product",
            View::ActivityByType => "activity_by_type",
            View::ActiveUsers => "active_users",
            View::Sessions => "sessions",
            View::Funnel => "funnel",
            View::ProductInterest => "product_interest",
            View::Customers => "customers",
            View::Added(_) => return None,
        })
    }

    /// The field of the document's `key`, if the view has one; those of an added view are in its layout.
    pub const fn key_field(self) -> Option<&'static str> {
        match self {
            View::SalesTotal | View::ActiveUsers | View::Sessions | View::Funnel | View::Customers => None,
            View::Added(_) => None,
            View::SalesByCategory => Some("category"),
            View::SalesByStore => Some("store_id"),
            View::SalesByPaymentMethod => Some("payment_method"),
            View::SalesByProduct | View::ProductInterest => Some("product_id"),
            View::ActivityByType => Some("activity_type"),
        }
    }
}

/// What a row of a windowed view is about. Ordered window first: a window's rows are a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RollupKey {
    /// The window.
    pub window: Window,
    /// The view.
    pub view: View,
    /// The value of the view's key field; empty if it has none. Of an added view: [`crate::added::composite_key`].
    pub key: Text,
}

/// A metric of `real_time_metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Metric {
    /// All sales in force.
    SalesAll,
    /// Sales of the last hour or the last 24 hours.
    SalesLast(LiveRange),
    /// The products with the most revenue in the last hour or the last 24 hours.
    TopProducts(LiveRange),
    /// Stock over all rows.
    InventorySummary,
    /// Outcomes and reasons.
    DataQuality,
    /// Sales whose total is not quantity times price.
    ArithmeticMismatch,
    /// Activities of the last hour.
    ActivityLastHour,
    /// Purchases without a sale, and sales without a purchase, of the last 24 hours.
    PurchasesUnmatched,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 10] = [
        Metric::SalesAll,
        Metric::SalesLast(LiveRange::LastHour),
        Metric::SalesLast(LiveRange::Last24Hours),
        Metric::TopProducts(LiveRange::LastHour),
        Metric::TopProducts(LiveRange::Last24Hours),
        Metric::InventorySummary,
        Metric::DataQuality,
        Metric::ArithmeticMismatch,
        Metric::ActivityLastHour,
        Metric::PurchasesUnmatched,
    ];

    /// The document's `name`.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::SalesAll => "sales_all",
            Metric::SalesLast(LiveRange::LastHour) => "sales_last_hour",
            Metric::SalesLast(LiveRange::Last24Hours) => "sales_last_24h",
            Metric::TopProducts(LiveRange::LastHour) => "top_products_last_hour",
            Metric::TopProducts(LiveRange::Last24Hours) => "top_products_last_24h",
            Metric::InventorySummary => "inventory_summary",
            Metric::DataQuality => "data_quality",
            Metric::ArithmeticMismatch => "arithmetic_mismatch",
            Metric::ActivityLastHour => "activity_last_hour",
            Metric::PurchasesUnmatched => "purchases_unmatched",
        }
    }
}

/// What an alert warns of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertKind {
    /// current_stock <= 0.
    OutOfStock,
    /// 0 < current_stock <= reorder_level.
    LowStock,
    /// The reported status is not the one that the numbers give.
    StatusMismatch,
    /// The stock of a product does for fewer than 3 days.
    StockOutSoon,
    /// The revenue of a category's last whole hour is unlike that of the day before.
    RevenueAnomaly,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [AlertKind; 5] = [
        AlertKind::OutOfStock,
        AlertKind::LowStock,
        AlertKind::StatusMismatch,
        AlertKind::StockOutSoon,
        AlertKind::RevenueAnomaly,
    ];

    /// The document's `kind`.
    pub const fn name(self) -> &'static str {
        match self {
            AlertKind::OutOfStock => "out_of_stock",
            AlertKind::LowStock => "low_stock",
            AlertKind::StatusMismatch => "status_mismatch",
            AlertKind::StockOutSoon => "stock_out_soon",
            AlertKind::RevenueAnomaly => "revenue_anomaly",
        }
    }

    /// The document's `severity`.
    pub const fn severity(self) -> &'static str {
        match self {
            AlertKind::OutOfStock => "critical",
            AlertKind::LowStock | AlertKind::StockOutSoon | AlertKind::RevenueAnomaly => "warning",
            AlertKind::StatusMismatch => "info",
        }
    }
}

/// A product in a warehouse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StockKey {
    /// The product.
    pub product_id: Text,
    /// The warehouse.
    pub warehouse_id: Text,
}

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A product in a warehouse.
    Stock(StockKey),
    /// A product, wherever it is.
    Product(Text),
    /// A category of sales.
    Category(Text),
}

/// Which document a row becomes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowKey {
    /// A document of `aggregated_data`.
    Rollup(RollupKey),
    /// A metric.
    Metric(Metric),
    /// A current inventory row.
    Stock(StockKey),
    /// The supply of a product.
    Supply(Text),
    /// A condition that an alert is open for.
    Alert(AlertKind, Subject),
    /// The greatest partition clock; not a document of its own.
    AsOf,
}

/// A product in a ranking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RankedProduct {
    /// The product.
    pub product_id: Text,
    /// Its revenue, in 1/10,000.
    pub revenue: i128,
    /// Its units.
    pub units: i64,
}

/// An hour's revenue that is unlike the day before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RevenueAnomaly {
    /// The hour's, in 1/10,000.
    pub revenue: i128,
    /// That of the 24 hours before, in 1/10,000.
    pub base: i128,
}

/// What the document says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowBody {
    /// Sums over sales, and whether the window is final. Metrics are never final.
    Sales(SalesMeasures, bool),
    /// Sums over activities, and whether the window is final.
    Activity(ActivityMeasures, bool),
    /// Distinct users, and whether the window is final.
    Users(i64, bool),
    /// Sums over sessions, and whether the window is final.
    Visits(VisitMeasures, bool),
    /// Sums over what concerns a product, and whether the window is final.
    Interest(InterestMeasures, bool),
    /// Sums over a day's customers, and whether the window is final.
    Customers(CustomerMeasures, bool),
    /// Sums of an added view, and whether the window is final.
    Added(AddedMeasures, bool),
    /// A count.
    Count(i64),
    /// Counts of what has no counterpart.
    Unmatched(UnmatchedMeasures),
    /// Counts over the last hour.
    LastHour(LastHourMeasures),
    /// Sums over what concerns the supply of a product.
    Supply(SupplyMeasures),
    /// The revenue that the alert's condition holds for.
    Anomaly(RevenueAnomaly),
    /// A ranking, best first, at most 10.
    Ranking(Vec<RankedProduct>),
    /// Sums over stock rows.
    Inventory(InventoryMeasures),
    /// Counts of outcomes and reasons.
    Quality(Box<QualityMeasures>),
    /// The stock row, or the stock row that the alert's condition holds for.
    Stock(Box<StockLevel>),
    /// An instant.
    Instant(Millis),
}

impl RowBody {
    /// Whether the row is that of a window which no record can change any more.
    pub const fn is_final(&self) -> bool {
        match self {
            RowBody::Sales(_, is_final)
            | RowBody::Activity(_, is_final)
            | RowBody::Users(_, is_final)
            | RowBody::Visits(_, is_final)
            | RowBody::Interest(_, is_final)
            | RowBody::Customers(_, is_final)
            | RowBody::Added(_, is_final) => *is_final,
            RowBody::Count(_)
            | RowBody::Unmatched(_)
            | RowBody::LastHour(_)
            | RowBody::Supply(_)
            | RowBody::Anomaly(_)
            | RowBody::Ranking(_)
            | RowBody::Inventory(_)
            | RowBody::Quality(_)
            | RowBody::Stock(_)
            | RowBody::Instant(_) => false,
        }
    }
}

/// Which of the built-in views are maintained, by the names that documents have: those of [`View`], [`Metric`] and
/// [`AlertKind`], `stock` and `supply`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Option<BTreeSet<&'static str>>);

impl Selection {
    /// All of them.
    pub const fn all() -> Selection {
        Selection(None)
    }

    /// Every name that can be chosen.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let views = View::ALL.into_iter().filter_map(View::name);
        views.chain(Metric::ALL.map(Metric::name)).chain(["stock", "supply"]).chain(AlertKind::ALL.map(AlertKind::name))
    }

    /// Those of these names, or the first name that there is not.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Selection, &'a str> {
        let chosen = names.into_iter().map(|name| Selection::names().find(|known| *known == name).ok_or(name));
        Ok(Selection(Some(chosen.collect::<Result<_, _>>()?)))
    }

    /// Whether one of these is maintained.
    pub fn has(&self, names: &[&str]) -> bool {
        self.0.as_ref().is_none_or(|chosen| names.iter().any(|name| chosen.contains(name)))
    }

    /// The names, in order, unless it is all of them.
    pub fn chosen(&self) -> Option<impl Iterator<Item = &'static str>> {
        self.0.as_ref().map(|chosen| chosen.iter().copied())
    }

    /// Whether the documents of a row are maintained. What is not made of the built-in views is always.
    pub fn keeps(&self, key: &RowKey) -> bool {
        let name = match key {
            RowKey::Rollup(key) => key.view.name(),
            RowKey::Metric(metric) => Some(metric.name()),
            RowKey::Stock(_) => Some("stock"),
            RowKey::Supply(_) => Some("supply"),
            RowKey::Alert(kind, _) => Some(kind.name()),
            RowKey::AsOf => None,
        };
        name.is_none_or(|name| self.has(&[name]))
    }
}

/// A row: at every epoch, at most one per key is in force.
pub type Row = (RowKey, RowBody);

/// Every row of every view, as one collection.
pub type Rows<'scope> = VecCollection<'scope, Tick, Row, Diff>;
