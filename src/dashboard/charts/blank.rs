//! The outline of a chart that has nothing to show, and the words that say why.

use super::Frame;
use super::backend::SUBPIXELS;
use super::elements::{TaggedRule, TaggedText};
use super::palette::Ink;
use super::plot::{AxisSpec, axes, document, window};
use super::scale::Range;
use plotters_backend::text_anchor::HPos;

/// Draws empty axes and the words.
pub fn render(frame: &Frame, words: &str) -> String {
    let unit = Range { low: 0.0, high: 1.0 };
    let no_label = |_: &f64| String::new();
    document(frame, |area| {
        let axis = |ticks: Vec<f64>, mesh, room| AxisSpec { range: unit, ticks, label: &no_label, mesh, room };
        let plot = axes(area, &axis(vec![], false, 24), &axis(vec![0.25, 0.5, 0.75, 1.0], true, 24), (8, 10))?;
        let canvas = plot.plotting_area();
        canvas.draw(&TaggedRule { ends: [(0.0, 0.0), (1.0, 0.0)], ink: Ink::Axis, width: 1 })?;
        canvas.draw(&TaggedText {
            at: [(0.5, 0.625)],
            offset: (0, 4 * SUBPIXELS),
            text: words.to_owned(),
            ink: Ink::Muted,
            anchor: HPos::Center,
        })?;
        Ok(window(&plot))
    })
}
