//! Charts: pure functions from rows to SVG.
//!
//! A chart knows nothing of stores, snapshots or requests. The same rows give the same bytes, and no row can make
//! it panic, hang, or say anything but text: ranges are checked ([`scale`]), lines are cut to the window
//! ([`path`]), and text is escaped where it is written ([`backend`]).

pub mod backend;
pub mod bars;
pub mod blank;
mod elements;
pub mod line;
pub mod palette;
mod path;
mod plot;
mod scale;
pub mod spark;
pub mod stacked;
#[cfg(test)]
mod tests;

use backend::Paint;

/// What every chart needs beside its rows.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Distinguishes the chart's ids from those of others on the page: ASCII letters, digits and `-`.
    pub id: String,
    /// The question that the chart answers.
    pub title: String,
    /// One sentence with the numbers.
    pub description: String,
    /// Width in units of the view box (about one CSS pixel).
    pub width: i32,
    /// Height, likewise.
    pub height: i32,
    /// How it gets its colours.
    pub paint: Paint,
    /// Whether it fills whatever box it is put in, its proportions lost.
    pub stretched: bool,
}
