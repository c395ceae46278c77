//! Horizontal bars: one per name, the value written at its end; and the same against a threshold.

use plotters_backend::text_anchor::HPos;

use super::Frame;
use super::backend::SUBPIXELS;
use super::elements::{TaggedBar, TaggedRule, TaggedText};
use super::line::axis_label;
use super::palette::Ink;
use super::plot::{AxisSpec, axes, document, window};
use super::scale::{Range, ValueAxis};
use crate::dashboard::format::Unit;
use crate::dashboard::text::{label, shortened};

/// Room for the axis's labels below.
const BOTTOM: i32 = 24;
/// Room for the values behind the bars.
const RIGHT: i32 = 66;
/// About how wide a character of a name is.
const NAME_CHARACTER: i32 = 7;
/// No name takes more than this share of the width: 2 of 5.
const NAME_SHARE: (i32, i32) = (2, 5);
/// Half of a bar's thickness, where 1 is the distance of two.
const HALF_BAR: f64 = 0.33;
/// A bar is never thicker than this, in units of the view box: few bars do not become blocks.
const THICKEST: f64 = 22.0;
/// From the middle of a bar down to the base line of its text.
const BASELINE: i32 = 4 * SUBPIXELS;

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands for.
    pub name: String,
    /// How much.
    pub value: i128,
    /// What it should be above, drawn as a mark.
    pub threshold: Option<i128>,
    /// Its colour.
    pub ink: Ink,
    /// What is written behind it; the short value if absent.
    pub note: Option<String>,
}

/// Bars from top to bottom.
#[derive(Clone, Debug)]
pub struct Bars {
    /// In this order.
    pub bars: Vec<Bar>,
    /// What is measured.
    pub unit: Unit,
}

/// Draws the bars.
#[expect(clippy::cast_precision_loss, reason = "a page has no more than a few dozen bars")]
pub fn render(frame: &Frame, chart: &Bars) -> String {
    let unit = chart.unit;
    let values =
        chart.bars.iter().flat_map(|bar| [Some(bar.value), bar.threshold]).flatten().map(|value| unit.plotted(value));
    let x = ValueAxis::within(Range::checked(values, true), unit == Unit::Count);
    let rows = chart.bars.len().max(1) as f64;
    let names: Vec<String> = chart.bars.iter().map(|bar| label(&bar.name)).collect();
    let room = name_room(&names, frame.width);
    let fitting = usize::try_from(room / NAME_CHARACTER).unwrap_or(4).max(4);
    let row_height = f64::from(frame.height - BOTTOM) / rows;
    let half = HALF_BAR.min(THICKEST / 2.0 / row_height.max(1.0));

    document(frame, |area| {
        let x_label = axis_label(unit);
        let no_label = |_: &f64| String::new();
        let plot = axes(
            area,
            &AxisSpec { range: x.range, ticks: every_other(&x.ticks), label: &x_label, mesh: true, room: BOTTOM },
            &AxisSpec { range: Range { low: 0.0, high: rows }, ticks: vec![], label: &no_label, mesh: false, room },
            (2, RIGHT),
        )?;
        let canvas = plot.plotting_area();
        for (index, (bar, name)) in chart.bars.iter().zip(&names).enumerate() {
            let middle = rows - index as f64 - 0.5;
            let value = unit.plotted(bar.value);
            let title = format!("{name}: {}", unit.exact(bar.value));
            if bar.value != 0 {
                canvas.draw(&TaggedBar {
                    corners: [(0.0, middle + half), (value, middle - half)],
                    ink: bar.ink,
                    title,
                })?;
            }
            let mut end = value.max(0.0);
            if let Some(threshold) = bar.threshold {
                let at = unit.plotted(threshold);
                let ends = [(at, middle + half * 1.35), (at, middle - half * 1.35)];
                canvas.draw(&TaggedRule { ends, ink: Ink::Text, width: 2 })?;
                end = end.max(at);
            }
            canvas.draw(&TaggedText {
                at: [(x.range.low, middle)],
                offset: (-8 * SUBPIXELS, BASELINE),
                text: shortened(name, fitting),
                ink: Ink::Text,
                anchor: HPos::Right,
            })?;
            canvas.draw(&TaggedText {
                at: [(end, middle)],
                offset: (6 * SUBPIXELS, BASELINE),
                text: bar.note.clone().unwrap_or_else(|| unit.short(bar.value)),
                ink: Ink::Text,
                anchor: HPos::Left,
            })?;
        }
        canvas.draw(&TaggedRule { ends: [(0.0, 0.0), (0.0, rows)], ink: Ink::Axis, width: 1 })?;
        Ok(window(&plot))
    })
}

fn name_room(names: &[String], width: i32) -> i32 {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let wanted = i32::try_from(longest).unwrap_or(64).saturating_mul(NAME_CHARACTER) + 14;
    wanted.clamp(40, width * NAME_SHARE.0 / NAME_SHARE.1)
}

/// Few labels fit under narrow bars: every other tick, zero always among them.
fn every_other(ticks: &[f64]) -> Vec<f64> {
    let zero = ticks.iter().position(|tick| *tick == 0.0).unwrap_or(0);
    ticks
        .iter()
        .enumerate()
        .filter(|(index, _)| ticks.len() <= 3 || index % 2 == zero % 2)
        .map(|(_, tick)| *tick)
        .collect()
}
