//! The drawing backend: plotters' shapes as SVG.
//!
//! Plotters works in whole pixels; this backend has four of them to each unit of the view box, so lines are
//! smooth. What is drawn carries classes, and the page's style sheet gives them colours in both themes. A chart
//! that is served as a file of its own has no style sheet, and gets its colours written out.

use std::convert::Infallible;
use std::fmt::Write as _;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind};

use super::palette::{Ink, Theme};
use crate::dashboard::text::push_xml;

/// Plotters' pixels to one unit of the view box.
pub const SUBPIXELS: i32 = 4;

/// Axis text, in units of the view box.
pub const FONT_SIZE: i32 = 12;

/// Half the height of digits, by which text is moved down to stand centred on a tick.
const HALF_DIGIT: i32 = 4;

/// How shapes get their colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Paint {
    /// By class, from the page's style sheet.
    Classes,
    /// Written out, for a file that stands alone.
    Literal(Theme),
}

/// How a shape is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A line of a series.
    Solid,
    /// A line that says "not yet": the bucket in progress, or the period before.
    Dashed,
    /// The line of a series that has its own dash pattern.
    Series(usize),
    /// The upper edge of a filled band.
    Edge,
}

impl Stroke {
    /// The dash pattern: colour is never the only sign. Empty for a line without gaps.
    pub const fn dashes(self) -> &'static str {
        match self {
            Stroke::Solid | Stroke::Edge => "",
            Stroke::Dashed => "3 4",
            Stroke::Series(index) => ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 4"][index % 6],
        }
    }
}

/// The backend: writes elements to `out`.
pub struct Svg<'a> {
    out: &'a mut String,
    width: i32,
    height: i32,
    paint: Paint,
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// A coordinate in the view box's units, with at most two decimals.
fn push_coordinate(out: &mut String, subpixels: i32) {
    let (whole, rest) = (subpixels.div_euclid(SUBPIXELS), subpixels.rem_euclid(SUBPIXELS));
    let _ = write!(out, "{whole}");
    out.push_str(match rest {
        1 => ".25",
        2 => ".5",
        3 => ".75",
        _ => "",
    });
}

impl<'a> Svg<'a> {
    /// A backend of `width` by `height` units.
    pub const fn new(out: &'a mut String, width: i32, height: i32, paint: Paint) -> Svg<'a> {
        Svg { out, width, height, paint }
    }

    fn attribute(&mut self, name: &str, subpixels: i32) {
        let _ = write!(self.out, " {name}=\"");
        push_coordinate(self.out, subpixels);
        self.out.push('"');
    }

    /// The class of a shape and, in a file of its own, its colour.
    fn paint(&mut self, class: &str, ink: Ink, filled: bool) {
        let _ = write!(self.out, " class=\"{class} {}\"", ink.class());
        if let Paint::Literal(theme) = self.paint {
            let colour = ink.colour(theme);
            let (fill, stroke) = if filled { (colour, "none") } else { ("none", colour) };
            let _ = write!(self.out, " fill=\"{fill}\" stroke=\"{stroke}\"");
            match class {
                "area" => self.out.push_str(" fill-opacity=\".16\""),
                "band" => self.out.push_str(" fill-opacity=\".55\""),
                "pending" => self.out.push_str(" fill-opacity=\".2\""),
                _ => {}
            }
        }
    }

    fn path_data(&mut self, points: &[BackendCoord], closed: bool) {
        self.out.push_str(" d=\"");
        for (index, (x, y)) in points.iter().enumerate() {
            self.out.push(if index == 0 { 'M' } else { 'L' });
            push_coordinate(self.out, *x);
            self.out.push(' ');
            push_coordinate(self.out, *y);
        }
        self.out.push_str(if closed { "Z\"" } else { "\"" });
    }

    /// A line through the points; a single point is a dot.
    pub fn line(&mut self, points: &[BackendCoord], ink: Ink, stroke: Stroke) {
        match points {
            [] => {}
            [point] => self.dot(*point, ink, 3, true),
            _ => {
                self.out.push_str("<path");
                self.paint("line", ink, false);
                let width = if stroke == Stroke::Edge { "1" } else { "2" };
                let _ =
                    write!(self.out, " stroke-width=\"{width}\" stroke-linejoin=\"round\" stroke-linecap=\"round\"");
                let dashes = stroke.dashes();
                if !dashes.is_empty() {
                    let _ = write!(self.out, " stroke-dasharray=\"{dashes}\"");
                }
                self.path_data(points, false);
                self.out.push_str("/>");
            }
        }
    }

    /// A filled shape under a line (`area`) or between two (`band`, or `pending` for a bucket in progress).
    pub fn area(&mut self, points: &[BackendCoord], ink: Ink, class: &str) {
        if points.len() > 2 {
            self.out.push_str("<path");
            self.paint(class, ink, true);
            self.path_data(points, true);
            self.out.push_str("/>");
        }
    }

    /// A filled rectangle between two corners, with a title that names its value.
    pub fn bar(&mut self, a: BackendCoord, b: BackendCoord, ink: Ink, title: &str) {
        self.out.push_str("<rect");
        self.paint("bar", ink, true);
        self.attribute("x", a.0.min(b.0));
        self.attribute("y", a.1.min(b.1));
        // A value that is not zero stays visible.
        self.attribute("width", (a.0 - b.0).abs().max(SUBPIXELS));
        self.attribute("height", (a.1 - b.1).abs().max(1));
        self.out.push_str(" rx=\"2\"");
        if title.is_empty() {
            self.out.push_str("/>");
        } else {
            self.out.push_str("><title>");
            push_xml(self.out, title);
            self.out.push_str("</title></rect>");
        }
    }

    /// A dot of `radius` units; a hollow one stands for a bucket in progress.
    pub fn dot(&mut self, at: BackendCoord, ink: Ink, radius: i32, filled: bool) {
        self.out.push_str("<circle");
        self.paint(if filled { "dot" } else { "ring" }, ink, filled);
        self.attribute("cx", at.0);
        self.attribute("cy", at.1);
        let _ = write!(self.out, " r=\"{radius}\"");
        if !filled {
            self.out.push_str(" stroke-width=\"2\"");
        }
        self.out.push_str("/>");
    }

    /// A straight line of axis, grid or mark.
    pub fn rule(&mut self, from: BackendCoord, to: BackendCoord, ink: Ink, width: i32) {
        self.out.push_str("<path");
        self.paint("rule", ink, false);
        let _ = write!(self.out, " stroke-width=\"{width}\"");
        self.path_data(&[from, to], false);
        self.out.push_str("/>");
    }

    /// Text whose anchor point is `at`.
    pub fn text(&mut self, text: &str, at: BackendCoord, ink: Ink, anchor: HPos) {
        self.out.push_str("<text");
        self.paint("label", ink, true);
        self.attribute("x", at.0);
        self.attribute("y", at.1);
        let anchor = match anchor {
            HPos::Left => "start",
            HPos::Center => "middle",
            HPos::Right => "end",
        };
        let _ = write!(self.out, " text-anchor=\"{anchor}\" font-size=\"{FONT_SIZE}\"");
        if matches!(self.paint, Paint::Literal(_)) {
            self.out.push_str(" font-family=\"system-ui, sans-serif\"");
        }
        self.out.push('>');
        push_xml(self.out, text);
        self.out.push_str("</text>");
    }
}

impl DrawingBackend for Svg<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.width.unsigned_abs() * SUBPIXELS.unsigned_abs(), self.height.unsigned_abs() * SUBPIXELS.unsigned_abs())
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        self.bar(point, point, Ink::of_sentinel(color.rgb), "");
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        if style.color().alpha > 0.0 {
            let ink = Ink::of_sentinel(style.color().rgb);
            let points: Vec<BackendCoord> = path.into_iter().collect();
            for pair in points.windows(2) {
                self.rule(pair[0], pair[1], ink, 1);
            }
        }
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(&mut self, a: BackendCoord, b: BackendCoord, style: &S, _fill: bool) -> Drawn {
        self.bar(a, b, Ink::of_sentinel(style.color().rgb), "");
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, points: I, style: &S) -> Drawn {
        let points: Vec<BackendCoord> = points.into_iter().collect();
        self.area(&points, Ink::of_sentinel(style.color().rgb), "band");
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn {
        let radius = i32::try_from(radius).unwrap_or(0) / SUBPIXELS;
        self.dot(center, Ink::of_sentinel(style.color().rgb), radius, fill);
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, pos: BackendCoord) -> Drawn {
        let down = match style.anchor().v_pos {
            VPos::Top => FONT_SIZE,
            VPos::Center => HALF_DIGIT,
            VPos::Bottom => 0,
        };
        let at = (pos.0, pos.1 + down * SUBPIXELS);
        self.text(text, at, Ink::of_sentinel(style.color().rgb), style.anchor().h_pos);
        Ok(())
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        _style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let width = u32::try_from(text.chars().count()).unwrap_or(0) * 7;
        Ok((width * SUBPIXELS.unsigned_abs(), (FONT_SIZE * SUBPIXELS).unsigned_abs()))
    }
}
