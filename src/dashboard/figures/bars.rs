//! Figures of bars.

use super::{Drawing, Figure};
use crate::dashboard::charts::bars::{Bar, Bars};
use crate::dashboard::charts::palette::Ink;
use crate::dashboard::format::{Unit, count, share};
use crate::dashboard::rows::Record as _;
use crate::dashboard::table::{Cell, Table};
use crate::dashboard::text::{clean, label};
use crate::document::Document;

/// A chart has at most this many bars; the rest is summed up.
pub const BARS_MAX: usize = 10;

/// What a figure of bars is about.
pub struct Subject<'a> {
    /// Its name in `/charts/NAME.svg`.
    pub name: &'a str,
    /// The question it answers.
    pub title: &'a str,
    /// Its unit and range.
    pub hint: &'a str,
    /// What the bars stand for: the heading of the names.
    pub of: &'a str,
    /// What is measured.
    pub unit: Unit,
    /// What to say when there is nothing.
    pub nothing: &'a str,
}

impl Subject<'_> {
    fn figure(&self, description: String, drawing: Drawing, table: Table) -> Figure {
        Figure {
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            hint: self.hint.to_owned(),
            description,
            drawing,
            legend: Vec::new(),
            table,
        }
    }

    fn nothing(&self) -> Figure {
        self.figure(self.nothing.to_owned(), Drawing::Nothing(self.nothing.to_owned()), Table::default())
    }
}

/// What the values of bars make together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// Their sum; what is beyond [`BARS_MAX`] is one bar.
    Sum,
    /// Their sum, and each has its bar.
    SumOfAll,
    /// Nothing: they are averages, or the best of more than are given.
    Nothing,
}

/// Bars of values, in the order given, at most [`BARS_MAX`] unless each has to be there.
pub fn parts(subject: &Subject<'_>, totals: &[(String, i128)], makes: Whole) -> Figure {
    if totals.is_empty() {
        return subject.nothing();
    }
    let unit = subject.unit;
    let whole = totals.iter().fold(0i128, |sum, (_, value)| sum.saturating_add(*value));
    let shown = match makes {
        Whole::Sum if totals.len() > BARS_MAX => BARS_MAX - 1,
        Whole::SumOfAll => totals.len(),
        Whole::Sum | Whole::Nothing => BARS_MAX.min(totals.len()),
    };
    let mut bars: Vec<Bar> = totals[..shown]
        .iter()
        .map(|(name, value)| Bar {
            name: name.clone(),
            value: *value,
            threshold: None,
            ink: Ink::Series(0),
            note: None,
        })
        .collect();
    let rest = &totals[shown..];
    if makes == Whole::Sum && !rest.is_empty() {
        bars.push(Bar {
            name: format!("{} others", rest.len()),
            value: rest.iter().fold(0, |sum, (_, value)| sum.saturating_add(*value)),
            threshold: None,
            ink: Ink::Other,
            note: None,
        });
    }
    let has_share = makes != Whole::Nothing;
    let columns = [subject.of, "#Value", "#Share"];
    let mut table = Table::new(subject.title, if has_share { &columns } else { &columns[..2] });
    table.rows = totals
        .iter()
        .map(|(name, value)| {
            let mut cells = vec![Cell::titled(label(name), clean(name)), Cell::new(unit.exact(*value))];
            if has_share {
                let of = format!("{} of {}", unit.exact(*value), unit.exact(whole));
                cells.push(Cell::titled(share(*value, whole), of));
            }
            cells
        })
        .collect();
    let in_all = if has_share { format!("; {} in all", unit.short(whole)) } else { String::new() };
    let description = format!(
        "{}: {}{in_all}.",
        subject.hint,
        totals
            .iter()
            .take(3)
            .map(|(name, value)| format!("{} {}", label(name), unit.short(*value)))
            .collect::<Vec<_>>()
            .join(", ")
    );
    subject.figure(description, Drawing::Bars(Bars { bars, unit }), table.cut())
}

/// How a stock row stands against its reorder level, in words, with its colour and its class on pages.
pub fn stock_state(row: &Document) -> (&'static str, Ink, &'static str) {
    let stock = row.count("current_stock").unwrap_or(0);
    let level = row.count("reorder_level").unwrap_or(0);
    if stock <= 0 {
        ("out of stock", Ink::Critical, "chip critical")
    } else if stock <= level {
        ("low", Ink::Warning, "chip warning")
    } else {
        ("in stock", Ink::Good, "chip ok")
    }
}

/// Stock rows against their reorder levels, in the order given.
pub fn stock(subject: &Subject<'_>, rows: &[Document]) -> Figure {
    if rows.is_empty() {
        return subject.nothing();
    }
    let mut table = Table::new(subject.title, &["Product", "Warehouse", "#Stock", "#Reorder level", "State"]);
    let mut bars = Vec::new();
    for row in rows {
        let product = row.text("product_id").unwrap_or("?");
        let warehouse = row.text("warehouse_id").unwrap_or("?");
        let stock = i128::from(row.count("current_stock").unwrap_or(0));
        let level = i128::from(row.count("reorder_level").unwrap_or(0));
        let (state, ink, class) = stock_state(row);
        bars.push(Bar {
            name: format!("{product} · {warehouse}"),
            value: stock,
            threshold: Some(level),
            ink,
            note: Some(format!("{} / {}", count(stock), count(level))),
        });
        table.rows.push(vec![
            Cell::titled(label(product), clean(product)),
            Cell::titled(label(warehouse), clean(warehouse)),
            Cell::new(count(stock)),
            Cell::new(count(level)),
            Cell::classed(state, class),
        ]);
    }
    let first = &bars[0];
    let description = format!(
        "{}: the worst is {} with {} in stock against a reorder level of {}.",
        subject.hint,
        label(&first.name),
        count(first.value),
        count(first.threshold.unwrap_or(0)),
    );
    subject.figure(description, Drawing::Bars(Bars { bars, unit: Unit::Count }), table)
}
