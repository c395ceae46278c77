//! The figures there are, by name.

use tillflow_dataflows::records::{Outcome, Reason};

use super::{Figure, bars, time};
use crate::dashboard::format::{Clock, Unit};
use crate::dashboard::kinds::{Granularity, Kind, Measure, kind};
use crate::dashboard::rows::Record as _;
use crate::dashboard::series::{Slice, Windows};
use crate::dashboard::snapshot::Snapshot;
use crate::document::Value;

/// How many windows a figure shows unless told otherwise.
pub const fn usual_windows(granularity: Granularity) -> i64 {
    match granularity {
        Granularity::Minute => 60,
        Granularity::Hour => 24,
        Granularity::Day => 30,
    }
}

/// How the rows of a view become a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One line.
    Line,
    /// A line per key.
    Lines,
    /// Parts of a whole over time.
    Stack,
    /// A bar per key, summed over the windows.
    Bars,
}

/// A figure over the windows of a view.
#[derive(Clone, Copy, Debug)]
pub struct ViewFigure {
    /// Its name in `/charts/NAME.svg`.
    pub name: &'static str,
    /// Its title.
    title: &'static str,
    /// The view.
    pub kind: &'static str,
    measure: &'static str,
    shape: Shape,
    /// The windows it shows unless told otherwise.
    pub granularity: Granularity,
    nothing: &'static str,
}

const NO_SALES: &str = "No sales here yet";
const NO_ACTIVITY: &str = "No activity here yet";

const fn sales(
    name: &'static str,
    title: &'static str,
    kind: &'static str,
    measure: &'static str,
    shape: Shape,
    granularity: Granularity,
) -> ViewFigure {
    ViewFigure { name, title, kind, measure, shape, granularity, nothing: NO_SALES }
}

const fn activity(
    name: &'static str,
    title: &'static str,
    kind: &'static str,
    measure: &'static str,
    shape: Shape,
    granularity: Granularity,
) -> ViewFigure {
    ViewFigure { name, title, kind, measure, shape, granularity, nothing: NO_ACTIVITY }
}

/// Every figure over the windows of a view.
pub const VIEW_FIGURES: &[ViewFigure] = &[
    sales("revenue", "Revenue", "sales_total", "revenue", Shape::Line, Granularity::Minute),
    sales("transactions", "Transactions", "sales_total", "transactions", Shape::Line, Granularity::Minute),
    sales(
        "average-order-value",
        "Average order value",
        "sales_total",
        "average_order_value",
        Shape::Line,
        Granularity::Hour,
    ),
    sales(
        "revenue-by-category",
        "Revenue by category",
        "sales_by_category",
        "revenue",
        Shape::Bars,
        Granularity::Minute,
    ),
    sales(
        "category-trend",
        "Revenue of the largest categories",
        "sales_by_category",
        "revenue",
        Shape::Lines,
        Granularity::Hour,
    ),
    sales("revenue-by-store", "Revenue by store", "sales_by_store", "revenue", Shape::Bars, Granularity::Hour),
    sales(
        "revenue-by-payment-method",
        "Revenue by payment method",
        "sales_by_payment_method",
        "revenue",
        Shape::Bars,
        Granularity::Hour,
    ),
    activity("activity-by-type", "Activity by type", "activity_by_type", "events", Shape::Stack, Granularity::Minute),
    activity("active-users", "Active users", "active_users", "users", Shape::Line, Granularity::Hour),
];

/// The names of figures that only have a present.
pub const PRESENT_FIGURES: &[&str] = &["top-products", "stock-levels", "outcomes", "dead-letter-reasons"];

/// The figure of that name.
pub fn view_figure(name: &str) -> Option<&'static ViewFigure> {
    VIEW_FIGURES.iter().find(|figure| figure.name == name)
}

impl ViewFigure {
    fn described(&self) -> Option<(&'static Kind, &'static Measure)> {
        let kind = kind(self.kind)?;
        Some((kind, kind.measures.iter().find(|measure| measure.name == self.measure)?))
    }

    /// The figure over the windows that end with the snapshot's `as_of`.
    pub fn of_snapshot(&self, snapshot: &Snapshot, granularity: Granularity, count: i64, clock: Clock) -> Figure {
        let as_of = snapshot.as_of();
        let windows = Windows::ending_with(as_of.unwrap_or(0), granularity, count);
        let slice = Slice::of(snapshot, self.kind, windows);
        let before = (self.name == "revenue" && granularity == Granularity::Minute)
            .then(|| Slice::of(snapshot, self.kind, windows.before()))
            .filter(|before| before.complete && !before.rows.is_empty());
        let mut figure = self.draw(windows.since(slice.oldest), &slice, before.as_ref(), as_of, clock);
        if granularity != self.granularity {
            // A page may show one figure at two granularities.
            figure.name = format!("{}-{}", self.name, granularity.name());
        }
        figure
    }

    /// The figure over given rows of given windows.
    pub fn draw(
        &self,
        windows: Windows,
        slice: &Slice<'_>,
        before: Option<&Slice<'_>>,
        as_of: Option<i64>,
        clock: Clock,
    ) -> Figure {
        let Some((kind, measure)) = self.described() else {
            unreachable!("the catalogue names a measure that its view does not have: {}", self.name)
        };
        let title = match self.shape {
            Shape::Line if measure.additive => format!("{} per {}", self.title, windows.granularity.name()),
            _ => self.title.to_owned(),
        };
        let subject =
            time::Subject { name: self.name, title: &title, measure, windows, as_of, clock, nothing: self.nothing };
        match self.shape {
            Shape::Line => {
                let before = before.map(|before| ("The hour before", before.line(windows.before(), measure)));
                time::single(&subject, slice, before)
            }
            Shape::Lines => time::by_key(&subject, slice, false),
            Shape::Stack => time::by_key(&subject, slice, true),
            Shape::Bars => {
                let hint = as_of.map_or_else(String::new, |_| range_words(windows, clock));
                let subject = bars::Subject {
                    name: self.name,
                    title: self.title,
                    hint: &hint,
                    of: kind.title,
                    unit: measure.unit,
                    nothing: self.nothing,
                };
                let makes = if measure.additive { bars::Whole::Sum } else { bars::Whole::Nothing };
                bars::parts(&subject, &slice.totals_by_key(measure), makes)
            }
        }
    }
}

/// What windows cover, in words.
pub fn range_words(windows: Windows, clock: Clock) -> String {
    let last = windows.end().saturating_sub(1);
    let (from, to) = (clock.day(windows.first), clock.day(last));
    let to = if from == to { String::new() } else { format!("{to} ") };
    format!("{from} {} to {to}{} {}", clock.minute(windows.first), clock.minute(last), clock.zone_name(last))
}

/// A figure that only has a present. `hour` chooses the last hour instead of the last 24 where there are both.
pub fn present_figure(name: &str, snapshot: &Snapshot, hour: bool, rows: usize) -> Option<Figure> {
    match name {
        "top-products" => Some(top_products(snapshot, hour)),
        "stock-levels" => Some(stock_levels(snapshot, rows)),
        "outcomes" => Some(outcomes(snapshot)),
        "dead-letter-reasons" => Some(reasons(snapshot)),
        _ => None,
    }
}

/// The best-selling products.
pub fn top_products(snapshot: &Snapshot, hour: bool) -> Figure {
    let (metric, hint) = if hour {
        ("top_products_last_hour", "revenue, last hour")
    } else {
        ("top_products_last_24h", "revenue, last 24 h")
    };
    let mut totals = Vec::new();
    if let Some(Value::List(products)) = snapshot.metric(metric).and_then(|metric| metric.field("products")) {
        for product in products {
            if let Value::Document(fields) = product
                && let (Some(id), Some(revenue)) = (fields.text("product_id"), fields.money("revenue"))
            {
                totals.push((id.to_owned(), revenue));
            }
        }
    }
    let subject = bars::Subject {
        name: "top-products",
        title: "Top products",
        hint,
        of: "Product",
        unit: Unit::Money,
        nothing: NO_SALES,
    };
    bars::parts(&subject, &totals, bars::Whole::Nothing)
}

/// The stock rows that are worst off.
pub fn stock_levels(snapshot: &Snapshot, rows: usize) -> Figure {
    let worst = &snapshot.stock.documents[..snapshot.stock.documents.len().min(rows)];
    let subject = bars::Subject {
        name: "stock-levels",
        title: "Stock against reorder level",
        hint: "units, worst first; the mark is the reorder level",
        of: "Product",
        unit: Unit::Count,
        nothing: "No stock reported yet",
    };
    bars::stock(&subject, worst)
}

/// The counts of a sub-document of `data_quality`, by the names given, zeroes left out.
fn quality_counts<'n>(snapshot: &Snapshot, field: &str, names: impl Iterator<Item = &'n str>) -> Vec<(String, i128)> {
    let counts = snapshot.metric("data_quality").and_then(|metric| metric.document(field));
    let Some(counts) = counts else { return Vec::new() };
    names
        .filter_map(|name| {
            counts.count(name).filter(|count| *count != 0).map(|count| (name.to_owned(), i128::from(count)))
        })
        .collect()
}

/// What became of records.
pub fn outcomes(snapshot: &Snapshot) -> Figure {
    let subject = bars::Subject {
        name: "outcomes",
        title: "What became of the records",
        hint: "records since the beginning",
        of: "Outcome",
        unit: Unit::Count,
        nothing: "No records yet",
    };
    bars::parts(
        &subject,
        &quality_counts(snapshot, "outcomes", Outcome::ALL.iter().map(|outcome| outcome.name())),
        bars::Whole::SumOfAll,
    )
}

/// Why records became dead letters.
pub fn reasons(snapshot: &Snapshot) -> Figure {
    let subject = bars::Subject {
        name: "dead-letter-reasons",
        title: "Why records could not be used",
        hint: "dead letters since the beginning",
        of: "Reason",
        unit: Unit::Count,
        nothing: "No dead letters",
    };
    let mut counts = quality_counts(snapshot, "reasons", Reason::ALL.iter().map(|reason| reason.name()));
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    bars::parts(&subject, &counts, bars::Whole::SumOfAll)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_names_a_view_its_measure_and_its_windows() {
        for figure in VIEW_FIGURES {
            let (kind, _) = figure.described().unwrap_or_else(|| panic!("{}", figure.name));
            assert!(kind.granularities.contains(&figure.granularity), "{}", figure.name);
        }
    }
}
