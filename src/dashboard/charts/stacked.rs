//! Parts of a whole over time, one on top of the other.

use super::Frame;
use super::backend::Stroke;
use super::elements::{TaggedArea, TaggedPath};
use super::line::{Lines, axis_label, tick_text, time_axis};
use super::path::Point;
use super::plot::{AxisSpec, axes, document, window, zero_rule};
use super::scale::{Range, ValueAxis};
use crate::dashboard::format::Unit;

/// Room for the value axis's labels.
const LEFT: i32 = 52;
/// Room for the time axis's labels.
const BOTTOM: i32 = 24;

/// Draws the series stacked in their order, the first at the bottom. What is missing or negative counts as zero.
#[expect(clippy::cast_precision_loss, reason = "milliseconds up to the year 9999 fit 53 bits")]
pub fn render(frame: &Frame, lines: &Lines) -> String {
    let columns = lines.buckets.len();
    let mut tops: Vec<Vec<f64>> = Vec::with_capacity(lines.series.len());
    let mut sums = vec![0.0; columns];
    for series in &lines.series {
        for (sum, value) in sums.iter_mut().zip(&series.values) {
            *sum += lines.unit.plotted(value.unwrap_or(0).max(0));
        }
        tops.push(sums.clone());
    }
    let y = ValueAxis::over(Range::checked(sums.iter().copied(), true), lines.unit == Unit::Count);
    let (x, ticks) = time_axis(&lines.buckets, frame.width - LEFT, lines.clock);
    // A lone bucket is drawn as wide as the axis.
    let at = |index: usize| lines.buckets[index] as f64;
    let line_of = |values: &[f64]| -> Vec<Point> {
        match values {
            [value] => vec![(x.low, *value), (x.high, *value)],
            _ => values.iter().enumerate().map(|(index, value)| (at(index), *value)).collect(),
        }
    };

    document(frame, |area| {
        let x_label = |value: &f64| tick_text(&ticks, *value);
        let y_label = axis_label(lines.unit);
        let plot = axes(
            area,
            &AxisSpec {
                range: x,
                ticks: ticks.iter().map(|tick| tick.0).collect(),
                label: &x_label,
                mesh: false,
                room: BOTTOM,
            },
            &AxisSpec { range: y.range, ticks: y.ticks.clone(), label: &y_label, mesh: true, room: LEFT },
            (8, 10),
        )?;
        let canvas = plot.plotting_area();
        let ground = vec![0.0; columns];
        // The bucket in progress is drawn paler and without an edge: it may still grow.
        let settled = if lines.in_progress && columns > 2 { columns - 1 } else { columns };
        for (index, series) in lines.series.iter().enumerate() {
            let below = line_of(if index == 0 { &ground } else { &tops[index - 1] });
            let top = line_of(&tops[index]);
            let whole = if settled < columns { settled } else { top.len() };
            let outline =
                |from: usize, to: usize| top[from..to].iter().chain(below[from..to].iter().rev()).copied().collect();
            canvas.draw(&TaggedArea { points: outline(0, whole), ink: series.ink, class: "band" })?;
            if whole < top.len() {
                canvas.draw(&TaggedArea {
                    points: outline(whole - 1, top.len()),
                    ink: series.ink,
                    class: "pending",
                })?;
            }
            canvas.draw(&TaggedPath { points: top[..whole].to_vec(), ink: series.ink, stroke: Stroke::Edge })?;
        }
        zero_rule(&plot, [(x.low, 0.0), (x.high, 0.0)])?;
        Ok(window(&plot))
    })
}
