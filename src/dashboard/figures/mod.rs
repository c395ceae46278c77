//! Figures: a chart with its title, legend, numbers in words, and the table behind it.
//!
//! A figure is built once from the rows of one epoch; it is drawn for a page (by class, at the sizes the page has)
//! or for a file of its own.

pub mod bars;
pub mod catalogue;
pub mod time;

use super::charts::backend::{Paint, Stroke};
use super::charts::palette::Ink;
use super::charts::{Frame, bars as bar_chart, blank, line, stacked};
use super::table::Table;

/// What is drawn.
#[derive(Clone, Debug)]
pub enum Drawing {
    /// Lines over time.
    Lines(line::Lines),
    /// Parts of a whole over time.
    Stacked(line::Lines),
    /// One bar per name.
    Bars(bar_chart::Bars),
    /// Nothing, for the reason given in these words.
    Nothing(String),
}

/// An entry of a legend.
#[derive(Clone, Debug)]
pub struct LegendItem {
    /// The class that gives it its colour.
    pub class: &'static str,
    /// Its line's dash pattern; absent for what is filled.
    pub dashes: Option<&'static str>,
    /// What it is.
    pub name: String,
}

/// A chart and what belongs to it.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name in `/charts/NAME.svg`.
    pub name: String,
    /// The question it answers.
    pub title: String,
    /// Its unit and range.
    pub hint: String,
    /// One sentence with the numbers.
    pub description: String,
    /// The chart.
    pub drawing: Drawing,
    /// What the colours stand for; empty where there is only one.
    pub legend: Vec<LegendItem>,
    /// The numbers.
    pub table: Table,
}

impl Figure {
    /// Draws it. `suffix` tells apart several drawings of one figure on a page.
    pub fn svg(&self, suffix: &str, width: i32, height: i32, paint: Paint) -> String {
        let frame = Frame {
            id: format!("{}{suffix}", self.name),
            title: self.title.clone(),
            description: self.description.clone(),
            width,
            height,
            paint,
            stretched: false,
        };
        match &self.drawing {
            Drawing::Lines(lines) => line::render(&frame, lines),
            Drawing::Stacked(lines) => stacked::render(&frame, lines),
            Drawing::Bars(bars) => bar_chart::render(&frame, bars),
            Drawing::Nothing(words) => blank::render(&frame, words),
        }
    }

    /// Whether a position along the width is a moment in time, each with a row of the table.
    pub const fn is_over_time(&self) -> bool {
        matches!(self.drawing, Drawing::Lines(_) | Drawing::Stacked(_))
    }

    /// Whether there is nothing to draw.
    pub const fn is_empty(&self) -> bool {
        matches!(self.drawing, Drawing::Nothing(_))
    }

    /// The height at which it looks its best on a page.
    pub fn height(&self, usual: i32) -> i32 {
        match &self.drawing {
            // Bars keep their distance whatever their number.
            Drawing::Bars(bars) => usual.max(i32::try_from(bars.bars.len()).unwrap_or(40) * 24 + 28),
            _ => usual,
        }
    }
}

/// What the colours and dashes of a chart over time stand for.
fn legend(drawing: &Drawing, in_progress: &str) -> Vec<LegendItem> {
    let (lines, stacked) = match drawing {
        Drawing::Lines(lines) => (lines, false),
        Drawing::Stacked(lines) => (lines, true),
        Drawing::Bars(_) | Drawing::Nothing(_) => return Vec::new(),
    };
    let mut items: Vec<LegendItem> = lines
        .series
        .iter()
        .enumerate()
        .map(|(index, series)| LegendItem {
            class: series.ink.class(),
            dashes: (!stacked).then(|| lines.stroke(index).dashes()),
            name: series.name.clone(),
        })
        .collect();
    if lines.in_progress && !stacked && lines.buckets.len() > 1 {
        let class = lines.series.first().map_or("c1", |series| series.ink.class());
        items.push(LegendItem { class, dashes: Some(Stroke::Dashed.dashes()), name: in_progress.to_owned() });
    }
    items
}

/// The colour of the series at `index`, of which the last may be the sum of the others.
fn series_ink(index: usize, name: &str) -> Ink {
    if name == super::series::OTHER { Ink::Other } else { Ink::Series(index) }
}
