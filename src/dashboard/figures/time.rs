//! Figures over time.

use tillflow_dataflows::records::Millis;

use super::{Drawing, Figure, legend, series_ink};
use crate::dashboard::charts::line::{Lines, Series};
use crate::dashboard::charts::palette::Ink;
use crate::dashboard::format::{Clock, MISSING};
use crate::dashboard::kinds::{Granularity, Measure};
use crate::dashboard::series::{Slice, Windows};
use crate::dashboard::table::{Cell, Table};
use crate::dashboard::text::label;

/// What a figure over time is about.
pub struct Subject<'a> {
    /// Its name in `/charts/NAME.svg`.
    pub name: &'a str,
    /// The question it answers.
    pub title: &'a str,
    /// What is shown.
    pub measure: &'a Measure,
    /// Which windows.
    pub windows: Windows,
    /// The epoch's `as_of`: the window that holds it is still in progress.
    pub as_of: Option<Millis>,
    /// The zone of its times.
    pub clock: Clock,
    /// What to say when there is nothing.
    pub nothing: &'a str,
}

impl Subject<'_> {
    fn hint(&self) -> String {
        if self.as_of.is_none() {
            return String::new();
        }
        let windows = self.windows;
        let zone = self.clock.zone_name(windows.last);
        let from = window_text(windows.first, windows.granularity, self.clock);
        let to = window_text(windows.last, windows.granularity, self.clock);
        let per = format!("per {}", windows.granularity.name());
        let said = if self.title.ends_with(&per) { String::new() } else { format!("{per}, ") };
        let axis = if self.measure.additive { "" } else { "; the axis need not begin at zero" };
        format!("{said}{from} to {to} {zone}{axis}")
    }

    fn in_progress(&self) -> bool {
        self.as_of.is_some_and(|as_of| (self.windows.last..self.windows.end()).contains(&as_of))
    }

    fn figure(&self, description: String, drawing: Drawing, table: Table) -> Figure {
        let legend = legend(&drawing, &format!("{} in progress", self.windows.granularity.name()));
        Figure {
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            hint: self.hint(),
            description,
            drawing,
            legend,
            table,
        }
    }
}

/// A window as a table names it.
pub fn window_text(start: Millis, granularity: Granularity, clock: Clock) -> String {
    match granularity {
        Granularity::Minute => clock.minute(start),
        Granularity::Hour => format!("{} {}", clock.day(start), clock.minute(start)),
        Granularity::Day => clock.date_minute(start).chars().take(10).collect(),
    }
}

/// One line, and if given the line of equally many windows before it.
pub fn single(subject: &Subject<'_>, slice: &Slice<'_>, before: Option<(&str, Vec<Option<i128>>)>) -> Figure {
    let measure = subject.measure;
    let values = slice.line(subject.windows, measure);
    if slice.rows.is_empty() {
        return subject.figure(
            subject.nothing.to_owned(),
            Drawing::Nothing(subject.nothing.to_owned()),
            Table::default(),
        );
    }
    let mut series = vec![Series { name: measure.title.to_owned(), values, ink: Ink::Series(0), faint: false }];
    if let Some((name, values)) = before {
        series.push(Series { name: name.to_owned(), values, ink: Ink::Other, faint: true });
    }
    drawn(subject, series, Drawing::Lines)
}

/// One line per key; stacked, where `stack` says that they are parts of a whole.
pub fn by_key(subject: &Subject<'_>, slice: &Slice<'_>, stack: bool) -> Figure {
    if slice.rows.is_empty() {
        return subject.figure(
            subject.nothing.to_owned(),
            Drawing::Nothing(subject.nothing.to_owned()),
            Table::default(),
        );
    }
    let series = slice
        .lines_by_key(subject.windows, subject.measure)
        .into_iter()
        .enumerate()
        .map(|(index, (name, values))| Series {
            ink: series_ink(index, &name),
            name: label(&name),
            values,
            faint: false,
        })
        .collect();
    drawn(subject, series, if stack { Drawing::Stacked } else { Drawing::Lines })
}

fn drawn(subject: &Subject<'_>, series: Vec<Series>, drawing: impl FnOnce(Lines) -> Drawing) -> Figure {
    let unit = subject.measure.unit;
    let starts = subject.windows.starts();
    let mut table = Table::new(subject.title, &["Time"]);
    for series in &series {
        table.columns.push(crate::dashboard::table::Column { name: series.name.clone(), numeric: true });
    }
    for (index, start) in starts.iter().enumerate() {
        let mut row = vec![Cell::titled(
            window_text(*start, subject.windows.granularity, subject.clock),
            subject.clock.full(*start),
        )];
        for series in &series {
            let value = series.values.get(index).copied().flatten();
            row.push(Cell::new(value.map_or_else(|| MISSING.to_owned(), |value| unit.exact(value))));
        }
        table.rows.push(row);
    }
    let description = describe(subject, &series);
    let lines = Lines {
        buckets: starts,
        series,
        unit,
        from_zero: subject.measure.additive,
        in_progress: subject.in_progress(),
        clock: subject.clock,
    };
    subject.figure(description, drawing(lines), table)
}

fn describe(subject: &Subject<'_>, series: &[Series]) -> String {
    let unit = subject.measure.unit;
    let name = |series: &Series| series.name.clone();
    let parts: Vec<String> = series
        .iter()
        .filter(|series| !series.faint)
        .filter_map(|series| {
            let values = || series.values.iter().flatten().copied();
            let (least, greatest) = (values().min()?, values().max()?);
            Some(if subject.measure.additive {
                let total = values().fold(0, i128::saturating_add);
                format!(
                    "{}: {} in all, {} to {}",
                    name(series),
                    unit.short(total),
                    unit.short(least),
                    unit.short(greatest)
                )
            } else {
                format!("{}: {} to {}", name(series), unit.short(least), unit.short(greatest))
            })
        })
        .collect();
    format!("{}; {}.", subject.hint(), parts.join("; "))
}
