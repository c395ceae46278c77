//! The colours of charts, as classes for the page and written out for files.
//!
//! Both sets keep a contrast of 3:1 to their background and stay apart for people who see fewer colours.

use plotters::style::RGBColor;

/// The two themes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Theme {
    /// Dark on white.
    Light,
    /// Light on near-black.
    Dark,
}

/// How many series have a colour of their own; what is beyond them is summed up as "other".
pub const SERIES_MAX: usize = 5;

/// What a shape is, as far as its colour goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ink {
    /// One of the series, counted from 0.
    Series(usize),
    /// Everything that has no colour of its own, and the period before.
    Other,
    /// State: something must be done.
    Critical,
    /// State: something should be looked at.
    Warning,
    /// State: all is well.
    Good,
    /// Lines behind the data.
    Grid,
    /// The zero line and marks.
    Axis,
    /// Text at axes.
    Muted,
    /// Text that names data.
    Text,
}

impl Ink {
    /// The class that the style sheet gives a colour.
    pub const fn class(self) -> &'static str {
        match self {
            Ink::Series(index) => ["c1", "c2", "c3", "c4", "c5"][index % SERIES_MAX],
            Ink::Other => "c0",
            Ink::Critical => "critical",
            Ink::Warning => "warning",
            Ink::Good => "good",
            Ink::Grid => "grid",
            Ink::Axis => "axis",
            Ink::Muted => "muted",
            Ink::Text => "text",
        }
    }

    /// The colour in a file of its own.
    pub const fn colour(self, theme: Theme) -> &'static str {
        let (light, dark) = match self {
            Ink::Series(index) => [
                ("#0072B2", "#56B4E9"),
                ("#D55E00", "#E69F00"),
                ("#009E73", "#009E73"),
                ("#CC79A7", "#F0E442"),
                ("#4B5563", "#CC79A7"),
            ][index % SERIES_MAX],
            Ink::Other => ("#9CA3AF", "#64748B"),
            Ink::Critical => ("#C0362C", "#F2786B"),
            Ink::Warning => ("#B26A00", "#FFB224"),
            Ink::Good => ("#0072B2", "#56B4E9"),
            Ink::Grid => ("#E5E7EB", "#1E293B"),
            Ink::Axis => ("#9CA3AF", "#475569"),
            Ink::Muted => ("#4B5563", "#94A3B8"),
            Ink::Text => ("#1F2937", "#E5E7EB"),
        };
        match theme {
            Theme::Light => light,
            Theme::Dark => dark,
        }
    }

    /// A colour by which plotters' own shapes (grid, axes, their text) are recognised in the backend.
    pub const fn sentinel(self) -> RGBColor {
        match self {
            Ink::Grid => RGBColor(1, 0, 0),
            Ink::Axis => RGBColor(2, 0, 0),
            Ink::Muted => RGBColor(3, 0, 0),
            _ => RGBColor(4, 0, 0),
        }
    }

    /// The inverse of [`Ink::sentinel`].
    pub const fn of_sentinel(rgb: (u8, u8, u8)) -> Ink {
        match rgb.0 {
            1 => Ink::Grid,
            2 => Ink::Axis,
            3 => Ink::Muted,
            _ => Ink::Text,
        }
    }
}
