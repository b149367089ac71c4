//! Poses with two values per keypoint, which are written like polygons: `cx cy w h x1 y1 x2 y2 …`.

use std::collections::BTreeMap;

use super::description::span;
use super::yolo_box::is_box;

/// The most keypoints of a pose. Longer labels are polygons.
const MAX_KEYPOINTS: usize = 200;

/// How far a keypoint may lie outside its box, as a share of the side of the box.
const MARGIN: f64 = 0.1;

/// Smaller areas, as shares of the image, are those of points on a line.
const NO_AREA: f64 = 1e-9;

type Point = [f64; 2];

/// Numbers that may be a box and keypoints without visibilities: every point after the box lies inside the box.
///
/// The points of a small polygon in the middle of the image do so, too. Hence the same numbers are also judged as a
/// polygon: the size of a box is rarely a point between the keypoints, and lines through keypoints cross each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PosePairs {
    /// The number of values after the box.
    count: usize,
    /// Whether nobody would draw these numbers as a polygon.
    is_no_polygon: bool,
}

impl PosePairs {
    /// `None` if the numbers are not such a box with points inside.
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let (&shares, rest) = numbers.split_first_chunk::<4>()?;
        let (points, []) = rest.as_chunks::<2>() else {
            return None;
        };
        let is_pose = (1..=MAX_KEYPOINTS).contains(&points.len()) && is_box(shares);
        let [cx, cy, width, height] = shares;
        let is_near =
            |at: f64, center: f64, side: f64| (at - center).abs() <= (0.5 + MARGIN) * side;
        // A keypoint that is not in the image is written as zeros.
        let is_absent = |point: &Point| *point == [0.0, 0.0];
        let holds = |point: &Point| {
            is_absent(point) || (is_near(point[0], cx, width) && is_near(point[1], cy, height))
        };
        if !is_pose || !points.iter().all(holds) {
            return None;
        }
        let keypoints = points.iter().copied().filter(|point| !is_absent(point));
        let polygon: Vec<Point> = [[cx, cy], [width, height]]
            .into_iter()
            .chain(keypoints)
            .collect();
        Some(Self {
            count: rest.len(),
            is_no_polygon: is_spike(&polygon) || has_no_area(&polygon) || crosses_itself(&polygon),
        })
    }

    /// The number of values after each box, if nearly all labels are poses with as many keypoints, and most of these are no
    /// polygons.
    pub fn of_all(labels: impl Iterator<Item = Option<Self>>) -> Option<usize> {
        let mut all = 0_usize;
        // For each number of values, the labels, and those that are no polygons.
        let mut counts: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
        for pairs in labels {
            all += 1;
            if let Some(Self {
                count,
                is_no_polygon,
            }) = pairs
            {
                let [labels, no_polygons] = counts.entry(count).or_default();
                *labels += 1;
                *no_polygons += usize::from(is_no_polygon);
            }
        }
        let most = counts.into_iter().max_by_key(|(_, [labels, _])| *labels);
        let (count, [labels, no_polygons]) = most?;
        (10 * labels >= 9 * all && 2 * no_polygons > labels).then_some(count)
    }
}

/// Whether the second point lies farther from all others than these are from each other.
fn is_spike(polygon: &[Point]) -> bool {
    let [first, second, others @ ..] = polygon else {
        return true;
    };
    let others = [first].into_iter().chain(others);
    let Some([left, top, right, bottom]) = span(others.flatten().copied()) else {
        return true;
    };
    let reach = (right - left).max(bottom - top);
    let is_near = |at: f64, from: f64, to: f64| (from - reach..=to + reach).contains(&at);
    !(is_near(second[0], left, right) && is_near(second[1], top, bottom))
}

fn has_no_area(polygon: &[Point]) -> bool {
    let sum: f64 = sides(polygon)
        .map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1)
        .sum();
    (sum / 2.0).abs() <= NO_AREA
}

/// The sides of a polygon, which is closed.
fn sides(polygon: &[Point]) -> impl Iterator<Item = (Point, Point)> {
    let next = polygon.iter().cycle().skip(1);
    polygon.iter().copied().zip(next.copied())
}

/// Whether two sides of a polygon have a point in common that is not an end of either.
fn crosses_itself(polygon: &[Point]) -> bool {
    let sides: Vec<(Point, Point)> = sides(polygon).collect();
    // On which side of the line through `a` and `b` a point lies.
    let turn = |[a, b]: [Point; 2], c: Point| {
        (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    };
    let separates = |line: [Point; 2], from: Point, to: Point| {
        let (one, other) = (turn(line, from), turn(line, to));
        (one > 0.0 && other < 0.0) || (one < 0.0 && other > 0.0)
    };
    let crosses = |(a, b): (Point, Point), (c, d): (Point, Point)| {
        separates([a, b], c, d) && separates([c, d], a, b)
    };
    (0..sides.len()).any(|at| sides[..at].iter().any(|other| crosses(sides[at], *other)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pairs(numbers: &[f64]) -> Option<bool> {
        PosePairs::of(numbers).map(|pairs| pairs.is_no_polygon)
    }

    #[test]
    fn points_inside_of_a_box_are_no_polygon() {
        for pose in [
            &[0.5, 0.5, 0.2, 0.2, 0.45, 0.45, 0.55, 0.55][..],
            // One keypoint, and one at the center.
            &[0.7, 0.3, 0.2, 0.1, 0.72, 0.28],
            &[0.7, 0.3, 0.2, 0.1, 0.7, 0.3],
            // A keypoint that is missing, and one slightly outside of the box.
            &[0.7, 0.7, 0.2, 0.2, 0.0, 0.0, 0.595, 0.75],
            // A face that fills the image: the eyes, the nose and the corners of the mouth.
            &[
                0.5, 0.5, 0.6, 0.7, 0.4, 0.4, 0.6, 0.4, 0.5, 0.52, 0.42, 0.65, 0.58, 0.65,
            ],
        ] {
            assert_eq!(pairs(pose), Some(true), "{pose:?}");
        }
        // A square in the middle, a plate and a triangle.
        for polygon in [
            &[0.4, 0.4, 0.6, 0.4, 0.6, 0.6, 0.4, 0.6][..],
            &[0.30, 0.30, 0.50, 0.32, 0.50, 0.42, 0.30, 0.40],
            &[0.5, 0.3, 0.6, 0.6, 0.4, 0.6],
        ] {
            assert_eq!(pairs(polygon), Some(false), "{polygon:?}");
        }
        for other in [
            &[0.5, 0.5, 0.2, 0.2][..],
            &[0.5, 0.5, 0.2, 0.2, 0.45, 0.45, 2.0],
            &[0.8, 0.8, 0.9, 0.8, 0.9, 0.9, 0.8, 0.9],
            &[0.5, 0.5, 0.2, 0.2, 0.1, 0.45, 0.55, 0.55],
        ] {
            assert_eq!(pairs(other), None, "{other:?}");
        }
    }

    #[test]
    fn nearly_all_labels_must_be_poses() {
        let pose = |count, is_no_polygon| {
            Some(PosePairs {
                count,
                is_no_polygon,
            })
        };
        let of_all = |labels: &[Option<PosePairs>]| PosePairs::of_all(labels.iter().copied());
        assert_eq!(
            of_all(&[pose(4, true), pose(4, true), pose(4, false)]),
            Some(4)
        );
        assert_eq!(of_all(&[pose(4, true), pose(4, false)]), None);
        assert_eq!(of_all(&[pose(4, true), pose(6, true)]), None);
        assert_eq!(of_all(&[pose(4, true), None]), None);
        assert_eq!(of_all(&[]), None);
    }
}
