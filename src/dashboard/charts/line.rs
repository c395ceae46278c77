//! Lines over time.

use tillflow_dataflows::records::Millis;

use super::Frame;
use super::backend::Stroke;
use super::elements::{TaggedArea, TaggedPath, TaggedRing};
use super::palette::Ink;
use super::path::{Point, polylines, thinned};
use super::plot::{AxisSpec, axes, document, window, zero_rule};
use super::scale::{Range, ValueAxis, time_ticks};
use crate::dashboard::format::{Clock, Unit};

/// Room for the value axis's labels.
const LEFT: i32 = 56;
/// Room for the time axis's labels.
const BOTTOM: i32 = 24;
/// One time label per this many units of width.
const TICK_WIDTH: i32 = 80;

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// One value per bucket; absent where there is none.
    pub values: Vec<Option<i128>>,
    /// Its colour.
    pub ink: Ink,
    /// Whether it only serves to compare.
    pub faint: bool,
}

/// Lines over equal buckets of time.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The starts of the buckets, ascending.
    pub buckets: Vec<Millis>,
    /// The lines, the main one first.
    pub series: Vec<Series>,
    /// What is measured.
    pub unit: Unit,
    /// Whether zero belongs to the axis. The area under a lone line is filled then.
    pub from_zero: bool,
    /// Whether the last bucket can still grow as time goes on.
    pub in_progress: bool,
    /// The zone of the time axis.
    pub clock: Clock,
}

impl Lines {
    /// How the line at `index` is drawn.
    pub fn stroke(&self, index: usize) -> Stroke {
        match self.series.get(index) {
            Some(series) if series.faint => Stroke::Dashed,
            _ => Stroke::Series(index),
        }
    }
}

/// `$75.0k` as `$75k`, `$500.00` as `$500`: round numbers need no decimals on an axis.
fn without_zeroes(text: &str) -> String {
    let Some((whole, rest)) = text.split_once('.') else { return text.to_owned() };
    let decimals = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = rest[..rest.len() - decimals.len()].trim_end_matches('0');
    if digits.is_empty() { format!("{whole}{decimals}") } else { text.to_owned() }
}

/// Formatter of a value axis.
#[expect(clippy::cast_possible_truncation, reason = "an axis ends at 1e30, and i128 beyond")]
pub fn axis_label(unit: Unit) -> impl Fn(&f64) -> String {
    move |value| {
        let scaled = (value * 10f64.powi(i32::from(unit.scale()))).round() as i128;
        without_zeroes(&unit.short(scaled))
    }
}

/// The time axis over `buckets`, as plotters takes it: seconds as `f64` are exact for any instant there is.
#[expect(clippy::cast_precision_loss, reason = "milliseconds up to the year 9999 fit 53 bits")]
pub fn time_axis(buckets: &[Millis], width: i32, clock: Clock) -> (Range, Vec<(f64, String)>) {
    let first = buckets.first().copied().unwrap_or(0);
    let last = buckets.last().copied().unwrap_or(first).max(first);
    // A lone bucket stands in the middle of a minute.
    let (first, last) = if first == last { (first - 30_000, last + 30_000) } else { (first, last) };
    let most = usize::try_from(width / TICK_WIDTH).unwrap_or(2).max(2);
    let ticks = time_ticks(first, last, most, clock).into_iter().map(|(at, text)| (at as f64, text)).collect();
    (Range { low: first as f64, high: last as f64 }, ticks)
}

/// The text of the tick at `value`.
pub fn tick_text(ticks: &[(f64, String)], value: f64) -> String {
    ticks.iter().find(|(at, _)| *at == value).map(|(_, text)| text.clone()).unwrap_or_default()
}

/// Draws the lines.
#[expect(clippy::cast_precision_loss, reason = "milliseconds up to the year 9999 fit 53 bits")]
pub fn render(frame: &Frame, lines: &Lines) -> String {
    let plotted = |value: &Option<i128>| value.map(|value| lines.unit.plotted(value));
    let values = lines.series.iter().flat_map(|series| series.values.iter().filter_map(plotted));
    let y = ValueAxis::over(Range::checked(values, lines.from_zero), lines.unit == Unit::Count);
    let (x, ticks) = time_axis(&lines.buckets, frame.width - LEFT, lines.clock);
    let columns = usize::try_from(frame.width - LEFT).unwrap_or(1);

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
        let floor = y.range.low.max(0.0).min(y.range.high);
        let alone = lines.series.iter().filter(|series| !series.faint).count() == 1;
        for (index, series) in lines.series.iter().enumerate().rev() {
            let points: Vec<Option<Point>> = lines
                .buckets
                .iter()
                .zip(&series.values)
                .map(|(at, value)| plotted(value).map(|value| (*at as f64, value)))
                .collect();
            let current = lines.in_progress && !series.faint && points.len() > 1;
            let settled = if current { &points[..points.len() - 1] } else { &points[..] };
            for points in polylines(&thinned(settled, columns), x, y.range) {
                if index == 0 && lines.from_zero && alone {
                    canvas.draw(&area_under(&points, floor, series.ink))?;
                }
                canvas.draw(&TaggedPath { points, ink: series.ink, stroke: lines.stroke(index) })?;
            }
            if current {
                let tail = &points[points.len() - 2..];
                for points in polylines(tail, x, y.range).into_iter().filter(|points| points.len() > 1) {
                    canvas.draw(&TaggedPath { points, ink: series.ink, stroke: Stroke::Dashed })?;
                }
                if let Some(Some(at)) = points.last() {
                    canvas.draw(&TaggedRing { at: [*at], ink: series.ink })?;
                }
            }
        }
        if y.range.low <= 0.0 {
            zero_rule(&plot, [(x.low, 0.0), (x.high, 0.0)])?;
        }
        Ok(window(&plot))
    })
}

fn area_under(points: &[Point], floor: f64, ink: Ink) -> TaggedArea {
    let mut outline = points.to_vec();
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        outline.extend([(last.0, floor), (first.0, floor)]);
    }
    TaggedArea { points: outline, ink, class: "area" }
}
