//! What is done to points before they are drawn: clipping to the plot's window and thinning to its width.
//!
//! Plotters moves a point that lies outside of the window to the window's edge, which bends the line that leads
//! there. Here the line is cut instead, so what is left of it keeps its slope.

use super::scale::Range;

/// A point in data coordinates.
pub type Point = (f64, f64);

/// The part of the segment that lies inside the window, or nothing.
pub fn clip(from: Point, to: Point, x: Range, y: Range) -> Option<(Point, Point)> {
    if ![from.0, from.1, to.0, to.1].iter().all(|value| value.is_finite()) {
        return None;
    }
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut start, mut end) = (0.0f64, 1.0f64);
    for (delta, distance) in
        [(-dx, from.0 - x.low), (dx, x.high - from.0), (-dy, from.1 - y.low), (dy, y.high - from.1)]
    {
        if delta == 0.0 {
            if distance < 0.0 {
                return None;
            }
        } else {
            let at = distance / delta;
            if delta < 0.0 {
                start = start.max(at);
            } else {
                end = end.min(at);
            }
        }
    }
    if start > end {
        return None;
    }
    let inside = |at: f64| ((from.0 + at * dx).clamp(x.low, x.high), (from.1 + at * dy).clamp(y.low, y.high));
    // The ends that need no cut stay exactly what they are.
    Some((if start == 0.0 { from } else { inside(start) }, if end == 1.0 { to } else { inside(end) }))
}

/// The lines through `points`, cut at the window and wherever a point is missing. A lone point is a line of one.
pub fn polylines(points: &[Option<Point>], x: Range, y: Range) -> Vec<Vec<Point>> {
    let mut lines: Vec<Vec<Point>> = Vec::new();
    let mut line: Vec<Point> = Vec::new();
    let inside = |point: Point| (x.low..=x.high).contains(&point.0) && (y.low..=y.high).contains(&point.1);
    for (index, point) in points.iter().enumerate() {
        let before = if index == 0 { None } else { points[index - 1] };
        match (before, *point) {
            (Some(from), Some(to)) => match clip(from, to, x, y) {
                Some((start, end)) => {
                    if line.last() != Some(&start) {
                        lines.push(std::mem::take(&mut line));
                        line.push(start);
                    }
                    line.push(end);
                }
                None => lines.push(std::mem::take(&mut line)),
            },
            (_, point) => {
                lines.push(std::mem::take(&mut line));
                line.extend(point.filter(|point| inside(*point)));
            }
        }
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty());
    lines
}

/// At most two points per column: the least and the greatest of those that share it, in their order.
pub fn thinned(points: &[Option<Point>], columns: usize) -> Vec<Option<Point>> {
    let columns = columns.max(1);
    if points.len() <= columns * 2 {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(columns * 2);
    for column in 0..columns {
        let chunk = &points[points.len() * column / columns..points.len() * (column + 1) / columns];
        let present = || chunk.iter().enumerate().filter_map(|(index, point)| point.map(|point| (index, point)));
        let least = present().min_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let greatest = present().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
        match (least, greatest) {
            (Some(a), Some(b)) if a.0 == b.0 => kept.push(Some(a.1)),
            (Some(a), Some(b)) if a.0 < b.0 => kept.extend([Some(a.1), Some(b.1)]),
            (Some(a), Some(b)) => kept.extend([Some(b.1), Some(a.1)]),
            _ => kept.push(None),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Range = Range { low: 0.0, high: 10.0 };

    #[test]
    fn a_segment_is_cut_not_bent() {
        assert_eq!(clip((-10.0, 0.0), (5.0, 5.0), WINDOW, WINDOW).map(|cut| cut.0.0), Some(0.0));
        let start = clip((-10.0, 0.0), (5.0, 5.0), WINDOW, WINDOW).map_or(f64::NAN, |cut| cut.0.1);
        assert!((start - 10.0 / 3.0).abs() < 1e-9, "{start}");
        assert_eq!(clip((-1.0, -1.0), (-1.0, 20.0), WINDOW, WINDOW), None);
    }

    #[test]
    fn a_gap_ends_a_line() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 4.0))];
        assert_eq!(polylines(&points, WINDOW, WINDOW), [vec![(0.0, 1.0), (1.0, 2.0)], vec![(3.0, 4.0)]]);
    }

    #[test]
    fn a_line_that_leaves_and_returns_is_two_lines() {
        let points = [Some((0.0, 5.0)), Some((2.0, 15.0)), Some((4.0, 5.0))];
        assert_eq!(polylines(&points, WINDOW, WINDOW), [vec![(0.0, 5.0), (1.0, 10.0)], vec![(3.0, 10.0), (4.0, 5.0)]]);
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let points: Vec<_> =
            (0..10_000).map(|n| Some((f64::from(n), if n == 4_321 { 99.0 } else { f64::from(n % 7) }))).collect();
        let kept = thinned(&points, 400);
        assert!(kept.len() <= 800);
        assert!(kept.contains(&Some((4_321.0, 99.0))));
    }

    proptest! {
        #[test]
        fn clipped_segments_keep_their_slope(
            a in -50f64..50.0, b in -50f64..50.0, c in -50f64..50.0, d in -50f64..50.0,
        ) {
            if let Some((p, q)) = clip((a, b), (c, d), WINDOW, WINDOW) {
                for point in [p, q] {
                    prop_assert!((0.0..=10.0).contains(&point.0) && (0.0..=10.0).contains(&point.1));
                    // Zero cross product: the point lies on the line.
                    let cross = (c - a) * (point.1 - b) - (d - b) * (point.0 - a);
                    prop_assert!(cross.abs() < 1e-6, "{cross}");
                }
            }
        }
    }
}
