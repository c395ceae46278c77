//! What all charts with axes share: the document around the drawing, the axes, the mesh.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::ops::Range as Span;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::style::{IntoFont as _, ShapeStyle, TextStyle};

use super::Frame;
use super::backend::{FONT_SIZE, Paint, SUBPIXELS, Svg};
use super::elements::TaggedRule;
use super::palette::Ink;
use super::scale::Range;
use crate::dashboard::text::push_xml;

/// What drawing on our backend can say: nothing goes wrong but plotters' own refusals.
pub type DrawError = DrawingAreaErrorKind<Infallible>;

/// A linear axis whose ticks are given: plotters has nothing to search.
pub struct Axis {
    range: Range,
    ticks: Vec<f64>,
}

impl Axis {
    /// An axis that is not shown.
    pub const fn bare(range: Range) -> Axis {
        Axis { range, ticks: Vec::new() }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "a share of a pixel range is one of its pixels")]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.low) / (self.range.high - self.range.low);
        limit.0 + (share.clamp(0.0, 1.0) * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Span<f64> {
        self.range.low..self.range.high
    }
}

/// A chart that has its axes and waits for its elements.
pub type Plot<'c, 'a> = ChartContext<'c, Svg<'a>, Cartesian2d<Axis, Axis>>;

/// Writes the SVG document around what `draw` draws. Where plotters refuses (it is given nothing to refuse), the
/// document says so in place of the drawing.
pub fn document(frame: &Frame, draw: impl FnOnce(&DrawingArea<Svg<'_>, Shift>) -> Result<Span2, DrawError>) -> String {
    let mut body = String::with_capacity(8 * 1024);
    let window = {
        let area = Svg::new(&mut body, frame.width, frame.height, frame.paint).into_drawing_area();
        draw(&area)
    };
    let mut out = String::with_capacity(body.len() + 1024);
    if matches!(frame.paint, Paint::Literal(_)) {
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    }
    let id = &frame.id;
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" class=\"plot\" role=\"img\" \
         aria-labelledby=\"{id}-t {id}-d\"",
        frame.width, frame.height
    );
    if frame.stretched {
        out.push_str(" preserveAspectRatio=\"none\"");
    }
    if let Ok(window) = &window {
        let _ = write!(
            out,
            " data-plot=\"{} {} {} {}\"",
            window.x.start / SUBPIXELS,
            window.y.start / SUBPIXELS,
            window.x.end / SUBPIXELS,
            window.y.end / SUBPIXELS
        );
    }
    let _ = write!(out, "><title id=\"{id}-t\">");
    push_xml(&mut out, &frame.title);
    let _ = write!(out, "</title><desc id=\"{id}-d\">");
    push_xml(&mut out, &frame.description);
    out.push_str("</desc><g aria-hidden=\"true\">");
    match window {
        Ok(_) => out.push_str(&body),
        Err(_) => out.push_str("<text x=\"12\" y=\"24\">This chart could not be drawn.</text>"),
    }
    out.push_str("</g></svg>");
    out
}

/// The plot's window in plotters' pixels.
pub struct Span2 {
    /// From left to right.
    pub x: Span<i32>,
    /// From top to bottom.
    pub y: Span<i32>,
}

/// One axis: its range, its ticks, and what is written at them.
pub struct AxisSpec<'t> {
    /// What is drawn.
    pub range: Range,
    /// Where labels stand.
    pub ticks: Vec<f64>,
    /// What a label says.
    pub label: &'t dyn Fn(&f64) -> String,
    /// Whether lines run through the plot at the ticks.
    pub mesh: bool,
    /// Room for labels, in units of the view box.
    pub room: i32,
}

/// Sets up axes and mesh. Nothing is drawn outside of `margin` (top, right), left and bottom label room.
pub fn axes<'c, 'a>(
    area: &DrawingArea<Svg<'a>, Shift>,
    x: &AxisSpec<'_>,
    y: &AxisSpec<'_>,
    margin: (i32, i32),
) -> Result<Plot<'c, 'a>, DrawError> {
    let grid: ShapeStyle = Ink::Grid.sentinel().into();
    let muted = Ink::Muted.sentinel();
    let text = TextStyle::from(("sans-serif", FONT_SIZE * SUBPIXELS).into_font()).color(&muted);
    let mut builder = ChartBuilder::on(area);
    builder
        .margin_top(margin.0 * SUBPIXELS)
        .margin_right(margin.1 * SUBPIXELS)
        .x_label_area_size(x.room * SUBPIXELS)
        .y_label_area_size(y.room * SUBPIXELS);
    let mut plot = builder.build_cartesian_2d(
        Axis { range: x.range, ticks: x.ticks.clone() },
        Axis { range: y.range, ticks: y.ticks.clone() },
    )?;
    let mut mesh = plot.configure_mesh();
    mesh.bold_line_style(grid)
        .axis_style(ShapeStyle { color: plotters::style::TRANSPARENT, filled: false, stroke_width: 0 })
        .label_style(text)
        .set_all_tick_mark_size(3 * SUBPIXELS)
        .x_labels(x.ticks.len().max(1))
        .y_labels(y.ticks.len().max(1))
        .x_label_formatter(&x.label)
        .y_label_formatter(&y.label);
    if !x.mesh {
        mesh.disable_x_mesh();
    }
    if !y.mesh {
        mesh.disable_y_mesh();
    }
    mesh.draw()?;
    Ok(plot)
}

/// The window of a plot.
pub fn window(plot: &Plot<'_, '_>) -> Span2 {
    let (x, y) = plot.plotting_area().get_pixel_range();
    Span2 { x, y }
}

/// The line at zero, where bars and areas begin.
pub fn zero_rule(plot: &Plot<'_, '_>, ends: [super::path::Point; 2]) -> Result<(), DrawError> {
    plot.plotting_area().draw(&TaggedRule { ends, ink: Ink::Axis, width: 1 })
}
