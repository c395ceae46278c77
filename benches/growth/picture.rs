//! Curves, told as a table and drawn as SVG.

use std::ops::Range;
use std::path::PathBuf;

use plotters::coord::Shift;
use plotters::coord::combinators::IntoLogRange;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters_svg::SVGBackend;

/// Some curves over one axis.
pub struct Picture {
    /// The file's name.
    pub name: &'static str,
    pub title: String,
    /// What the axes are of.
    pub x: &'static str,
    pub y: &'static str,
    /// Whether the first axis is of powers.
    pub powers: bool,
    pub curves: Vec<Curve>,
}

/// A name, and points in the order of the first axis.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (800, 360);
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(127, 127, 127),
];

/// The folder for pictures.
fn folder() -> PathBuf {
    std::env::var_os("TILLFLOW_BENCH_PICTURES").map_or_else(|| PathBuf::from("target/growth"), PathBuf::from)
}

/// A number as a label: at most three digits, and thousands by letter.
fn label(value: f64) -> String {
    let (value, letter) = match value.abs() {
        billions if billions >= 1e9 => (value / 1e9, "G"),
        millions if millions >= 1e6 => (value / 1e6, "M"),
        thousands if thousands >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{}{letter}", text.strip_suffix(".0").unwrap_or(&text))
}

impl Picture {
    /// Prints the table, and writes the file.
    pub fn show(&self) {
        let Picture { name, title, x, y, .. } = self;
        println!("\n{title}: {y} by {x}");
        for Curve { name, points } in &self.curves {
            let points: Vec<String> = points.iter().map(|(x, y)| format!("{} {}", label(*x), label(*y))).collect();
            println!("  {name}: {}", points.join(" | "));
        }
        std::fs::create_dir_all(folder()).expect("a folder for pictures");
        let file = folder().join(format!("{name}.svg"));
        let area = SVGBackend::new(&file, SIZE).into_drawing_area();
        area.fill(&WHITE).expect("a picture");
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let (least, most) = all().fold((f64::MAX, f64::MIN), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
        let top = all().map(|(_, y)| *y).fold(0.0, f64::max) * 1.1;
        match self.powers {
            true => self.draw(&area, (least..most).log_scale(), 0.0..top),
            false => self.draw(&area, least.min(0.0)..most, 0.0..top),
        }
        area.present().expect("a picture");
        println!("  {}", file.display());
    }

    fn draw<X>(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, x: X, y: Range<f64>)
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)
            .expect("axes");
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|value| label(*value))
            .y_label_formatter(&|value| label(*value))
            .light_line_style(TRANSPARENT)
            .draw()
            .expect("a mesh");
        for (Curve { name, points }, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            chart
                .draw_series(line)
                .expect("a line")
                .label(name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            if points.len() <= 20 {
                let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
                chart.draw_series(dots).expect("points");
            }
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::LowerRight).border_style(BLACK.mix(0.3)).background_style(WHITE.mix(0.8));
        legend.draw().expect("a legend");
    }
}
