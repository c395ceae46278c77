//! From rows of windows to numbers in a line.

use std::collections::BTreeMap;

use tillflow_dataflows::records::Millis;

use super::charts::palette::SERIES_MAX;
use super::kinds::{Granularity, Measure};
use super::rows::{Record as _, key_text};
use super::snapshot::Snapshot;
use crate::document::Document;

/// A chart shows at least this many windows, however young the data.
const WINDOWS_MIN: i64 = 15;

/// What the sum of all series without a colour of their own is called.
pub const OTHER: &str = "other";

/// Consecutive windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Start of the first.
    pub first: Millis,
    /// Start of the last.
    pub last: Millis,
    /// Their length.
    pub granularity: Granularity,
}

impl Windows {
    /// The `count` windows that end with the one that holds `as_of`.
    pub const fn ending_with(as_of: Millis, granularity: Granularity, count: i64) -> Windows {
        let last = granularity.floor(as_of);
        Windows { first: last.saturating_sub((count - 1) * granularity.millis()), last, granularity }
    }

    /// The equally many windows just before.
    pub const fn before(self) -> Windows {
        let span = self.end() - self.first;
        Windows { first: self.first - span, last: self.last - span, granularity: self.granularity }
    }

    /// Where the last one ends.
    pub const fn end(self) -> Millis {
        self.last.saturating_add(self.granularity.millis())
    }

    /// How many there are.
    pub fn len(self) -> usize {
        usize::try_from((self.last - self.first) / self.granularity.millis() + 1).unwrap_or(0)
    }

    /// Their starts.
    pub fn starts(self) -> Vec<Millis> {
        (0..self.len())
            .map(|index| self.first + i64::try_from(index).unwrap_or(0) * self.granularity.millis())
            .collect()
    }

    /// Which of them starts at `at`.
    fn index(self, at: Millis) -> Option<usize> {
        if at < self.first || at > self.last {
            return None;
        }
        usize::try_from((at - self.first) / self.granularity.millis()).ok()
    }

    /// Without most of what lies before the oldest data.
    pub fn since(self, oldest: Option<Millis>) -> Windows {
        let Some(oldest) = oldest else { return self };
        let latest = self.last.saturating_sub((WINDOWS_MIN - 1) * self.granularity.millis());
        Windows { first: self.first.max(oldest.min(latest)), ..self }
    }
}

/// Rows of one view within a range.
#[derive(Clone, Debug)]
pub struct Slice<'a> {
    /// The rows, by window.
    pub rows: Vec<&'a Document>,
    /// The oldest window there is, where that is known; before it, nothing is not zero.
    pub oldest: Option<Millis>,
    /// Whether no row of the range is missing.
    pub complete: bool,
}

impl<'a> Slice<'a> {
    /// What a snapshot has of a view in these windows.
    pub fn of(snapshot: &'a Snapshot, kind: &str, windows: Windows) -> Slice<'a> {
        match snapshot.holding(kind, windows.granularity) {
            Some(holding) => Slice {
                rows: holding.between(Some(windows.first), Some(windows.end())).collect(),
                oldest: holding.oldest(),
                complete: snapshot.covering(kind, windows.granularity, Some(windows.first)).is_some(),
            },
            None => Slice { rows: Vec::new(), oldest: None, complete: false },
        }
    }

    /// The sum of a measure over all rows.
    pub fn total(&self, measure: &Measure) -> i128 {
        self.rows.iter().filter_map(|row| row.measure(measure.name, measure.unit)).fold(0, i128::saturating_add)
    }

    /// One value per window: the sum of its rows. What is additive is zero where there is no row, except before
    /// the oldest window there is.
    pub fn line(&self, windows: Windows, measure: &Measure) -> Vec<Option<i128>> {
        line(self.rows.iter().copied(), self.oldest, windows, measure)
    }

    /// One line per key: those with the greatest totals in alphabetical order, so that they keep their colours
    /// from epoch to epoch; the rest as [`OTHER`], if the measure can be added up.
    pub fn lines_by_key(&self, windows: Windows, measure: &Measure) -> Vec<(String, Vec<Option<i128>>)> {
        let mut rows_by_key: BTreeMap<String, Vec<&Document>> = BTreeMap::new();
        for row in &self.rows {
            rows_by_key.entry(key_text(row)).or_default().push(row);
        }
        let mut greatest = self.totals_by_key(measure);
        let rest = greatest.split_off(SERIES_MAX.min(greatest.len()));
        let mut named: Vec<String> = greatest.into_iter().map(|(key, _)| key).collect();
        named.sort();
        let mut lines = Vec::new();
        for key in named {
            let rows = rows_by_key.remove(&key).unwrap_or_default();
            let values = line(rows.into_iter(), self.oldest, windows, measure);
            lines.push((key, values));
        }
        if !rest.is_empty() && measure.additive {
            let rows = rows_by_key.into_values().flatten();
            lines.push((OTHER.to_owned(), line(rows, self.oldest, windows, measure)));
        }
        lines
    }

    /// The total of each key, the greatest first.
    pub fn totals_by_key(&self, measure: &Measure) -> Vec<(String, i128)> {
        let mut totals: BTreeMap<String, i128> = BTreeMap::new();
        for row in &self.rows {
            if let Some(value) = row.measure(measure.name, measure.unit) {
                let total = totals.entry(key_text(row)).or_default();
                *total = total.saturating_add(value);
            }
        }
        let mut totals: Vec<(String, i128)> = totals.into_iter().collect();
        totals.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        totals
    }
}

fn line<'a>(
    rows: impl Iterator<Item = &'a Document>,
    oldest: Option<Millis>,
    windows: Windows,
    measure: &Measure,
) -> Vec<Option<i128>> {
    let nothing = if measure.additive { Some(0) } else { None };
    let mut values: Vec<Option<i128>> = windows
        .starts()
        .into_iter()
        .map(|start| if oldest.is_some_and(|oldest| start < oldest) { None } else { nothing })
        .collect();
    for row in rows {
        let at = row.time("timestamp").and_then(|at| windows.index(at));
        if let (Some(index), Some(value)) = (at, row.measure(measure.name, measure.unit)) {
            values[index] = Some(values[index].unwrap_or(0).saturating_add(value));
        }
    }
    values
}
