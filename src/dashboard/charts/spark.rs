//! Sparklines: the shape of a number's recent past, without axes.

use plotters::chart::ChartBuilder;

use super::Frame;
use super::backend::{SUBPIXELS, Stroke};
use super::elements::{TaggedArea, TaggedPath};
use super::palette::Ink;
use super::path::{Point, polylines};
use super::plot::{Axis, Span2, document};
use super::scale::Range;
use crate::dashboard::format::Unit;

/// Draws the values, equally spaced; zero belongs to the range.
#[expect(clippy::cast_precision_loss, reason = "a sparkline has some sixty points")]
pub fn render(frame: &Frame, values: &[Option<i128>], unit: Unit) -> String {
    let points: Vec<Option<Point>> = values
        .iter()
        .enumerate()
        .map(|(index, value)| value.map(|value| (index as f64, unit.plotted(value))))
        .collect();
    let y = Range::checked(points.iter().flatten().map(|point| point.1), true);
    let x = Range { low: 0.0, high: values.len().saturating_sub(1).max(1) as f64 };
    document(frame, |area| {
        let plot = ChartBuilder::on(area)
            .margin_top(2 * SUBPIXELS)
            .margin_bottom(SUBPIXELS)
            .build_cartesian_2d(Axis::bare(x), Axis::bare(y))?;
        let canvas = plot.plotting_area();
        let floor = y.low.max(0.0);
        for line in polylines(&points, x, y) {
            let mut outline = line.clone();
            if let (Some(first), Some(last)) = (line.first(), line.last()) {
                outline.extend([(last.0, floor), (first.0, floor)]);
            }
            canvas.draw(&TaggedArea { points: outline, ink: Ink::Series(0), class: "area" })?;
            canvas.draw(&TaggedPath { points: line, ink: Ink::Series(0), stroke: Stroke::Solid })?;
        }
        let (x, y) = canvas.get_pixel_range();
        Ok(Span2 { x, y })
    })
}
