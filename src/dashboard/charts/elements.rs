//! The elements that plotters places and our backend writes.
//!
//! Each one is a concrete struct that holds its points in data coordinates. Plotters maps them to the drawing;
//! the element then says what they mean.

use std::convert::Infallible;

use plotters::element::{Drawable, PointCollection};
use plotters_backend::text_anchor::HPos;
use plotters_backend::{BackendCoord, DrawingErrorKind};

use super::backend::{Stroke, Svg};
use super::palette::Ink;
use super::path::Point;

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// A line through points that all lie inside the window.
pub struct TaggedPath {
    /// Where it runs.
    pub points: Vec<Point>,
    /// Its colour.
    pub ink: Ink,
    /// Its dashes.
    pub stroke: Stroke,
}

/// A filled shape: `area` under a single line, `band` between two stacked ones, `pending` where it may still grow.
pub struct TaggedArea {
    /// Its outline.
    pub points: Vec<Point>,
    /// Its colour.
    pub ink: Ink,
    /// `area`, `band` or `pending`.
    pub class: &'static str,
}

/// A rectangle between two corners.
pub struct TaggedBar {
    /// Two opposite corners.
    pub corners: [Point; 2],
    /// Its colour.
    pub ink: Ink,
    /// What it stands for, with the exact value.
    pub title: String,
}

/// A hollow dot.
pub struct TaggedRing {
    /// Where it is.
    pub at: [Point; 1],
    /// Its colour.
    pub ink: Ink,
}

/// A straight mark: a zero line, a threshold.
pub struct TaggedRule {
    /// Its ends.
    pub ends: [Point; 2],
    /// Its colour.
    pub ink: Ink,
    /// Its width in units of the view box.
    pub width: i32,
}

/// Text beside a point.
pub struct TaggedText {
    /// The point.
    pub at: [Point; 1],
    /// How far from it, in plotters' pixels.
    pub offset: BackendCoord,
    /// What is written.
    pub text: String,
    /// Its colour.
    pub ink: Ink,
    /// Which part of the text is at the point.
    pub anchor: HPos,
}

macro_rules! drawable {
    ($element:ty, $points:ident, |$this:ident, $at:ident, $svg:ident| $draw:expr) => {
        impl<'a> PointCollection<'a, Point> for &'a $element {
            type Point = &'a Point;
            type IntoIter = &'a [Point];

            fn point_iter(self) -> &'a [Point] {
                &self.$points
            }
        }

        impl Drawable<Svg<'_>> for $element {
            fn draw<I: Iterator<Item = BackendCoord>>(
                &self,
                places: I,
                $svg: &mut Svg<'_>,
                _parent: (u32, u32),
            ) -> Drawn {
                let $this = self;
                let $at: Vec<BackendCoord> = places.collect();
                $draw;
                Ok(())
            }
        }
    };
}

drawable!(TaggedPath, points, |this, at, svg| svg.line(&at, this.ink, this.stroke));
drawable!(TaggedArea, points, |this, at, svg| svg.area(&at, this.ink, this.class));
drawable!(TaggedBar, corners, |this, at, svg| if let [a, b] = at[..] {
    svg.bar(a, b, this.ink, &this.title);
});
drawable!(TaggedRing, at, |this, at, svg| if let [center] = at[..] {
    svg.dot(center, this.ink, 3, false);
});
drawable!(TaggedRule, ends, |this, at, svg| if let [from, to] = at[..] {
    svg.rule(from, to, this.ink, this.width);
});
drawable!(TaggedText, at, |this, at, svg| if let [(x, y)] = at[..] {
    svg.text(&this.text, (x + this.offset.0, y + this.offset.1), this.ink, this.anchor);
});
