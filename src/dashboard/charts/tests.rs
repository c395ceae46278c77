//! What holds for every chart, whatever its rows.

use std::time::{Duration, Instant};

use super::backend::Paint;
use super::bars::{self, Bar, Bars};
use super::line::{self, Lines, Series};
use super::palette::{Ink, Theme};
use super::{Frame, spark, stacked};
use crate::dashboard::format::{Clock, Unit};

const MINUTE: i64 = 60_000;
const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "a & b",
    "nul\u{0}one\u{1}",
    "\u{202E}gnp.exe",
    "🛒👩‍👩‍👧‍👦 café",
    "quote' \"",
    "]]><!--",
    "\u{FFFE}",
];

fn frame(paint: Paint, title: &str) -> Frame {
    Frame {
        id: "t".into(),
        title: title.into(),
        description: title.into(),
        width: 448,
        height: 240,
        paint,
        stretched: false,
    }
}

fn lines(rows: &[Vec<Option<i128>>], name: &str) -> Lines {
    let buckets = rows.iter().map(Vec::len).max().unwrap_or(0);
    Lines {
        buckets: (0..buckets).map(|n| 1_705_314_600_000 + i64::try_from(n).unwrap_or(0) * MINUTE).collect(),
        series: rows
            .iter()
            .enumerate()
            .map(|(index, values)| Series {
                name: name.to_owned(),
                values: values.clone(),
                ink: Ink::Series(index),
                faint: index == 3,
            })
            .collect(),
        unit: Unit::Money,
        from_zero: true,
        in_progress: true,
        clock: Clock { zone: chrono_tz::Europe::Vienna },
    }
}

fn bar_chart(values: &[i128], name: &str) -> Bars {
    let bars = values
        .iter()
        .map(|value| Bar {
            name: name.to_owned(),
            value: *value,
            threshold: Some(value / 2 + 7),
            ink: Ink::Series(0),
            note: None,
        })
        .collect();
    Bars { bars, unit: Unit::Count }
}

/// Every kind of chart over the same values.
fn all(values: &[i128], name: &str, paint: Paint) -> Vec<String> {
    let series: Vec<Option<i128>> = values.iter().copied().map(Some).collect();
    let holes: Vec<Option<i128>> = values.iter().enumerate().map(|(n, v)| (n % 3 != 1).then_some(*v)).collect();
    let rows = [series.clone(), holes, series.iter().map(|v| v.map(|v| v / 3)).collect(), series.clone()];
    let frame = frame(paint, name);
    let mut loose = lines(&rows, name);
    loose.from_zero = false;
    loose.unit = Unit::Count;
    vec![
        line::render(&frame, &lines(&rows, name)),
        line::render(&frame, &loose),
        stacked::render(&frame, &lines(&rows, name)),
        bars::render(&frame, &bar_chart(&values[..values.len().min(40)], name)),
        spark::render(&frame, &series, Unit::Money),
    ]
}

/// The coordinates of every path, bar and dot, in units of the view box.
fn coordinates(document: &roxmltree::Document<'_>) -> Vec<(f64, f64)> {
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| {
        node.attribute(name).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    let mut found = Vec::new();
    for node in document.descendants() {
        match node.tag_name().name() {
            "path" => {
                for pair in
                    node.attribute("d").unwrap_or_default().split(['M', 'L', 'Z']).filter(|pair| !pair.is_empty())
                {
                    let (x, y) = pair.split_once(' ').unwrap_or(("none", "none"));
                    found.push((x.parse().unwrap_or(f64::NAN), y.parse().unwrap_or(f64::NAN)));
                }
            }
            "rect" => {
                let (x, y) = (number(&node, "x"), number(&node, "y"));
                found.extend([(x, y), (x + number(&node, "width"), y + number(&node, "height"))]);
            }
            "circle" => found.push((number(&node, "cx"), number(&node, "cy"))),
            _ => {}
        }
    }
    found
}

#[test]
fn awkward_values_draw_quickly_and_inside_the_plot() {
    let big = 10i128.pow(15) * 10_000;
    let long: Vec<i128> = (0..3_000).map(|n| n * n % 7_919).collect();
    let cases: [&[i128]; 12] = [
        &[],
        &[0],
        &[5],
        &[-5],
        &[7, 7, 7],
        &[0, 0, 0],
        &[-10, -20, -30],
        &[1, -1, 1, -1],
        &[big, 0, big],
        &[i128::MAX, i128::MIN + 1, 0],
        &[i128::MAX, i128::MAX, i128::MAX],
        &long,
    ];
    for values in cases {
        let begun = Instant::now();
        let drawn = all(values, "a", Paint::Classes);
        assert!(begun.elapsed() < Duration::from_millis(250), "{values:?} took {:?}", begun.elapsed());
        for svg in drawn {
            let lower = svg.to_lowercase();
            assert!(!lower.contains("nan") && !lower.contains("inf"), "{svg}");
            let document = roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{error}: {svg}"));
            let window: Vec<f64> = document
                .root_element()
                .attribute("data-plot")
                .unwrap_or_default()
                .split(' ')
                .filter_map(|text| text.parse().ok())
                .collect();
            let [left, top, right, bottom] = window[..] else { panic!("no plot box in {svg}") };
            for (x, y) in coordinates(&document) {
                // Marks at thresholds and bars of a sliver may reach over by their own thickness.
                assert!(
                    (left - 1.0..=right + 1.5).contains(&x) && (top - 1.0..=bottom + 1.0).contains(&y),
                    "({x}, {y}) {svg}"
                );
            }
        }
    }
}

#[test]
fn hostile_labels_stay_text() {
    let long = "x".repeat(300);
    for name in HOSTILE.into_iter().chain([long.as_str()]) {
        for paint in [Paint::Classes, Paint::Literal(Theme::Dark)] {
            for svg in all(&[1, 2, 3], name, paint) {
                let document = roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{error}: {svg}"));
                let allowed = ["svg", "title", "desc", "g", "path", "rect", "circle", "text"];
                for node in document.descendants().filter(roxmltree::Node::is_element) {
                    assert!(allowed.contains(&node.tag_name().name()), "{svg}");
                    assert!(node.attributes().all(|attribute| !attribute.name().starts_with("on")), "{svg}");
                }
                for node in document.descendants().filter(|node| node.tag_name().name() == "text") {
                    assert!(node.text().unwrap_or_default().chars().count() <= 64, "{svg}");
                }
                assert!(svg.len() < 40_000);
            }
        }
    }
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let values = [3, 1, 4, 1, 5, 9, 2, 6];
    assert_eq!(all(&values, "same", Paint::Classes), all(&values, "same", Paint::Classes));
}

#[test]
fn a_file_of_its_own_has_colours_and_a_page_has_none() {
    for svg in all(&[1, 2], "a", Paint::Literal(Theme::Light)) {
        assert!(svg.starts_with("<?xml") && svg.contains("#0072B2"), "{svg}");
        assert!(!svg.contains("style="));
    }
    for svg in all(&[1, 2], "a", Paint::Classes) {
        assert!(svg.starts_with("<svg") && !svg.contains('#'), "{svg}");
    }
}

#[test]
fn a_value_of_zero_has_no_bar_and_a_small_one_has_some() {
    let count =
        |values: &[i128]| bars::render(&frame(Paint::Classes, "t"), &bar_chart(values, "n")).matches("<rect").count();
    assert_eq!(count(&[0, 1, 1_000_000]), 2);
}

#[test]
fn the_last_bucket_is_drawn_as_in_progress() {
    let svg = line::render(&frame(Paint::Classes, "t"), &lines(&[vec![Some(1), Some(2), Some(3)]], "n"));
    assert!(svg.contains("stroke-dasharray=\"3 4\"") && svg.contains("class=\"ring c1\""), "{svg}");
}
