//! Lines of YOLO label files.

use std::collections::BTreeMap;

use super::description::{Outline, span};
use super::yolo_box::is_box;
use super::yolo_pose::PosePairs;

/// Larger values cannot be fractions of the image size, even for a box that extends past the border.
const LARGEST_SHARE: f64 = 2.0;

/// How to read the lines of a data set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LabelFormat {
    /// The number of classes.
    pub classes: usize,
    /// The number of keypoint values after a box, if the data set states it.
    pub keypoints: Option<usize>,
    /// Whether the data set states that its boxes are oriented.
    pub oriented: bool,
}

/// An object: its class and its box, or the bounding box of its polygon.
#[derive(Debug, PartialEq)]
pub(super) struct Label {
    pub class: usize,
    pub outline: Outline,
    /// The shape of the polygon, if it has four points.
    pub quadrilateral: Option<Quadrilateral>,
    /// Keypoints, if the coordinates may be a box with keypoints instead of a polygon.
    pub keypoints: Option<Keypoints>,
    /// Keypoints without visibilities, if the coordinates may be a box with such keypoints instead of a polygon.
    pub pairs: Option<PosePairs>,
    /// Whether a score follows the box. It is not used.
    pub has_score: bool,
    /// A box, if the coordinates may be one with a score and the number of a track instead of a triangle.
    tracked: Option<TrackedBox>,
}

/// A box that a score and the number of a track may follow, as trackers write them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct TrackedBox {
    /// The center and the size, as fractions.
    shares: [f64; 4],
    /// Whether the number of the track is too large for a coordinate.
    is_certain: bool,
}

/// Numbers after a box that may be keypoints: every third number is a visibility of 0, 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keypoints {
    count: usize,
    /// Whether one of the visibilities is 2, which is not a valid coordinate.
    is_certain: bool,
}

/// Oriented boxes are written like polygons of four points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quadrilateral {
    /// A rectangle with sides parallel to the axes: a box.
    Upright,
    /// A rotated rectangle for some aspect ratio of the image.
    Tilted,
    Other,
}

/// Why an oriented box is rejected.
const ORIENTED: &str =
    "an oriented box (OBB); only axis-aligned boxes are supported: class, center, width and height";

/// Why coordinates beyond the image are rejected.
const PIXELS: &str = "the values are pixels, not fractions of the image size";

impl Label {
    /// Reads `class cx cy w h`, also with a score after it, or `class x1 y1 x2 y2 x3 y3 …`, a polygon. Whether six numbers
    /// are a box with a score and the number of a track is known only from [all labels](are_tracks).
    pub fn parse(line: &str, format: LabelFormat) -> Result<Self, String> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if is_dota(&fields) {
            return Err(ORIENTED.into());
        }
        let (class, fields) = fields.split_first().unwrap_or((&"", &[]));
        let class = class_index(class, format.classes)?;
        let numbers: Vec<f64> = fields
            .iter()
            .map(|field| {
                field
                    .parse()
                    .map_err(|_| format!("'{field}' is not a number"))
            })
            .collect::<Result<_, _>>()?;
        let after = numbers.len().saturating_sub(4);
        let keypoints = Keypoints::of(&numbers);
        // A polygon has an even number of coordinates.
        let is_polygon = numbers.len().is_multiple_of(2);
        if after > 0 && (format.keypoints == Some(after) || (keypoints.is_some() && !is_polygon)) {
            return Err(pose(after));
        }
        // Five numbers cannot be a polygon. Detectors write a score after the box.
        let score = numbers.get(4).copied().filter(|_| after == 1);
        let coordinates = match score {
            Some(_) => &numbers[..4],
            None => numbers.as_slice(),
        };
        let outline = match *coordinates {
            [cx, cy, width, height] => Outline::CenterAndSizeShares([cx, cy, width, height]),
            ref polygon if polygon.len() >= 6 && polygon.len().is_multiple_of(2) => {
                span(polygon.iter().copied()).map_or(Outline::Missing, Outline::SegmentShares)
            }
            ref other => {
                return Err(format!(
                    "expected 'class cx cy w h' or a polygon, found {} numbers after the class",
                    other.len()
                ));
            }
        };
        let tracked = TrackedBox::of(coordinates);
        let is_pixel = |value: &f64| value.is_finite() && value.abs() > LARGEST_SHARE;
        if tracked.is_none() && coordinates.iter().any(is_pixel) {
            return Err(match *coordinates {
                [cx, cy, width, height, score, track] if is_box([cx, cy, width, height]) => {
                    format!(
                        "expected a score from 0 to 1 and the number of a track after 'class cx cy w h', found {score} {track}"
                    )
                }
                _ => PIXELS.into(),
            });
        }
        let quadrilateral = <[f64; 8]>::try_from(coordinates)
            .ok()
            .map(Quadrilateral::of);
        // The number after the box may also be an angle.
        if format.oriented && (quadrilateral.is_some() || score.is_some()) {
            return Err(ORIENTED.into());
        }
        if let Some(score) = score.filter(|score| !(0.0..=1.0).contains(score)) {
            return Err(format!(
                "expected a score from 0 to 1 after 'class cx cy w h', found {score}"
            ));
        }
        Ok(Self {
            class,
            outline,
            quadrilateral,
            keypoints: keypoints.filter(|_| format.keypoints.is_none()),
            pairs: PosePairs::of(coordinates).filter(|_| format.keypoints.is_none()),
            has_score: score.is_some(),
            tracked,
        })
    }

    /// Why this label of a data set without tracks cannot be read, although its line could be.
    pub fn refusal_without_tracks(&self) -> Option<&'static str> {
        let is_certain = self.tracked.is_some_and(|tracked| tracked.is_certain);
        is_certain.then_some(PIXELS)
    }

    /// Whether the label was [read as a track](Self::read_as_track).
    pub fn is_track(&self) -> bool {
        let tracked = self.tracked.map(|tracked| tracked.shares);
        tracked.is_some_and(|shares| self.outline == Outline::CenterAndSizeShares(shares))
    }

    /// Replaces the triangle by the box with a score and the number of a track, if it may be one.
    pub fn read_as_track(&mut self) {
        if let Some(tracked) = self.tracked {
            self.outline = Outline::CenterAndSizeShares(tracked.shares);
        }
    }
}

impl TrackedBox {
    /// `cx cy w h score track`: a box in the image, a share, and a whole number, which is -1 for an object without track.
    fn of(numbers: &[f64]) -> Option<Self> {
        let &[cx, cy, width, height, score, track] = numbers else {
            return None;
        };
        let is_track = track.fract() == 0.0 && track >= -1.0;
        let fits = is_box([cx, cy, width, height]) && (0.0..=1.0).contains(&score) && is_track;
        fits.then_some(Self {
            shares: [cx, cy, width, height],
            is_certain: track > LARGEST_SHARE,
        })
    }
}

/// Whether the labels of a data set are those of a tracker: boxes, and at least one with a score and the number of a track.
/// Triangles of a data set rarely all end with a whole number.
pub(super) fn are_tracks<'a>(mut labels: impl Iterator<Item = &'a Label> + Clone) -> bool {
    let is_tracked = |label: &Label| label.tracked.is_some();
    let is_plain = |label: &Label| matches!(label.outline, Outline::CenterAndSizeShares(_));
    let mut all = labels.clone();
    labels.any(is_tracked) && all.all(|label| is_tracked(label) || is_plain(label))
}

/// DOTA's `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`.
fn is_dota(fields: &[&str]) -> bool {
    let is_number = |field: &&str| field.parse::<f64>().is_ok();
    matches!(fields.len(), 9 | 10) && fields[..8].iter().all(is_number) && !is_number(&fields[8])
}

/// A class index, which some tools write as a float.
fn class_index(text: &str, classes: usize) -> Result<usize, String> {
    let whole = |value: f64| (value >= 0.0 && value.fract() == 0.0).then_some(value as usize);
    let class = text.parse().ok().or_else(|| whole(text.parse().ok()?));
    let class: usize = class.ok_or_else(|| format!("'{text}' is not a class index"))?;
    match class < classes {
        true => Ok(class),
        false => Err(format!(
            "class {class} is out of range: {}",
            match classes {
                1 => "the only class is 0".to_string(),
                classes => format!("there are {classes} classes, from 0"),
            }
        )),
    }
}

/// Why a box with this many keypoint values is rejected.
fn pose(numbers: usize) -> String {
    format!(
        "a pose: a box and {numbers} keypoint values; only boxes are supported: class, center, width and height"
    )
}

impl Keypoints {
    fn of(numbers: &[f64]) -> Option<Self> {
        let points = numbers.get(4..).filter(|points| !points.is_empty())?;
        let visibility = |point: &[f64]| match *point {
            [_, _, visibility] if [0.0, 1.0, 2.0].contains(&visibility) => Some(visibility),
            _ => None,
        };
        let visibilities: Vec<f64> = points.chunks(3).map(visibility).collect::<Option<_>>()?;
        visibilities.iter().any(|value| *value > 0.0).then(|| Self {
            count: points.len(),
            is_certain: visibilities.contains(&2.0),
        })
    }
}

/// Why the labels of a data set are neither boxes nor polygons; `None` if they are.
pub(super) fn refusal<'a>(labels: impl Iterator<Item = &'a Label> + Clone) -> Option<String> {
    match are_oriented(labels.clone()) {
        true => Some(ORIENTED.into()),
        false => {
            let keypoints = keypoints_of_all(labels.clone());
            let pairs = || PosePairs::of_all(labels.map(|label| label.pairs));
            keypoints.or_else(pairs).map(pose)
        }
    }
}

/// The number of keypoint values after each box, if nearly all labels have the same number of possible keypoint values.
/// A few polygons have such coordinates by chance.
fn keypoints_of_all<'a>(labels: impl Iterator<Item = &'a Label>) -> Option<usize> {
    let (mut all, mut certain) = (0_usize, false);
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for label in labels {
        all += 1;
        if let Some(keypoints) = label.keypoints {
            *counts.entry(keypoints.count).or_default() += 1;
            certain |= keypoints.is_certain;
        }
    }
    let (numbers, labels) = counts.into_iter().max_by_key(|(_, labels)| *labels)?;
    (10 * labels >= 9 * all && (certain || labels >= 10)).then_some(numbers)
}

impl Quadrilateral {
    fn of(points: [f64; 8]) -> Self {
        let [x0, y0, x1, y1, x2, y2, x3, y3] = points;
        let Some([left, top, right, bottom]) = span(points) else {
            return Self::Other;
        };
        // The tolerance allows for coordinates that were rounded or clipped to the image.
        let (x, y) = (0.02 * (right - left), 0.02 * (bottom - top));
        let is_parallelogram = (x0 + x2 - x1 - x3).abs() <= x && (y0 + y2 - y1 - y3).abs() <= y;
        let is_straight = |dx: f64, dy: f64| dx.abs() <= x || dy.abs() <= y;
        let (first, second) = ([x1 - x0, y1 - y0], [x2 - x1, y2 - y1]);
        // The sides of a rectangle are perpendicular in pixels: width² dx dx' + height² dy dy' = 0.
        let squared_aspect = -(first[1] * second[1]) / (first[0] * second[0]);
        let straight = [first, second].map(|[dx, dy]| is_straight(dx, dy));
        match (is_parallelogram, straight) {
            (true, [true, true]) => Self::Upright,
            (true, [false, false]) if (0.04..25.0).contains(&squared_aspect) => Self::Tilted,
            _ => Self::Other,
        }
    }
}

/// Whether labels are oriented boxes: all have four points, nearly all are rectangles, and some are rotated. Polygons
/// drawn by hand also have other shapes.
fn are_oriented<'a>(labels: impl Iterator<Item = &'a Label>) -> bool {
    let (mut all, mut rectangles, mut tilted) = (0_usize, 0_usize, 0_usize);
    for label in labels {
        let Some(shape) = label.quadrilateral else {
            return false;
        };
        all += 1;
        rectangles += usize::from(shape != Quadrilateral::Other);
        tilted += usize::from(shape == Quadrilateral::Tilted);
    }
    tilted > 0 && 10 * rectangles >= 9 * all
}

/// Whether the first line of a file is a label: a class and at least four numbers.
pub(super) fn is_label_text(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty());
    first.is_some_and(|line| {
        let mut fields = line.split_whitespace();
        let numbers = fields.clone().count();
        numbers >= 5 && fields.all(|field| field.parse::<f64>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TWO: LabelFormat = LabelFormat {
        classes: 2,
        keypoints: None,
        oriented: false,
    };

    fn cause(line: &str) -> String {
        Label::parse(line, TWO).err().unwrap_or_default()
    }

    #[test]
    fn a_polygon_becomes_its_bounding_box() {
        let label = Label::parse("1.0 0.25 0.5 0.75 0.25 0.5 1.0", TWO).unwrap();
        let expected = Outline::SegmentShares([0.25, 0.25, 0.75, 1.0]);
        assert_eq!((label.class, label.outline), (1, expected));
    }

    #[test]
    fn malformed_labels_name_the_cause() {
        assert_eq!(cause("cat 0 0 1 1"), "'cat' is not a class index");
        assert_eq!(cause("0.5 0 0 1 1"), "'0.5' is not a class index");
        assert_eq!(
            cause("2 0 0 1 1"),
            "class 2 is out of range: there are 2 classes, from 0"
        );
        assert_eq!(cause("0 0 x 1 1"), "'x' is not a number");
        assert!(cause("0 0.5 0.5 0.1").ends_with("found 3 numbers after the class"));
        for pixels in ["0 92.5 126.0 169 252", "1 10 10 20 10 20 30"] {
            assert!(cause(pixels).contains("pixels, not fractions"), "{pixels}");
        }
        assert_eq!(cause("0 1.02 -0.1 0.3 0.2"), "", "slightly outside");
    }

    #[test]
    fn a_score_after_a_box_is_ignored() {
        let plain = Label::parse("1 0.5 0.5 0.2 0.1", TWO).unwrap();
        for score in ["0", "0.87", "1", "1.0"] {
            let label = Label::parse(&format!("1 0.5 0.5 0.2 0.1 {score}"), TWO).unwrap();
            assert!(label.has_score && !plain.has_score);
            assert_eq!((label.class, label.outline), (plain.class, plain.outline));
        }
        // An angle or the number of a track.
        for other in ["1.57", "-0.3", "12", "NaN"] {
            let cause = cause(&format!("1 0.5 0.5 0.2 0.1 {other}"));
            assert!(cause.starts_with("expected a score from 0 to 1"), "{cause}");
        }
        assert!(cause("0 92.5 126.0 169 252 0.9").contains("pixels, not fractions"));
        let oriented = LabelFormat {
            oriented: true,
            ..TWO
        };
        let angle = Label::parse("1 0.5 0.5 0.2 0.1 0.3", oriented);
        assert!(angle.unwrap_err().contains("OBB"));
    }

    #[test]
    fn boxes_of_trackers_and_triangles_are_distinguished_over_all_labels() {
        let label = |line: &str| Label::parse(line, TWO).unwrap();
        let tracked = |track: &str| label(&format!("1 0.5 0.5 0.2 0.1 0.9 {track}"));
        let plain = || label("1 0.5 0.5 0.2 0.1 0.9");
        let triangle = || label("1 0.5 0.3 0.6 0.6 0.4 0.6");
        assert!(are_tracks(
            [tracked("1"), plain(), tracked("17"), tracked("-1")].iter()
        ));
        assert!(!are_tracks([plain(), plain()].iter()));
        assert!(!are_tracks([tracked("1"), triangle()].iter()));
        assert_eq!(tracked("1").refusal_without_tracks(), None);
        assert_eq!(tracked("17").refusal_without_tracks(), Some(PIXELS));
        let mut label = tracked("17");
        label.read_as_track();
        assert_eq!(label.outline, plain().outline);
        assert!(cause("0 0.5 0.5 0.2 0.1 7 0.9").contains("found 7 0.9"));
        assert_eq!(cause("0 0.5 0.5 20 10 0.9 7"), PIXELS);
    }

    #[test]
    fn poses_and_oriented_boxes_are_named() {
        let three = "0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 1 0 0 0";
        assert!(cause(three).starts_with("a pose"), "{}", cause(three));
        let two = "0 0.5 0.5 0.2 0.2 0.4 0.4 0.6 0.6";
        let stated = LabelFormat {
            keypoints: Some(4),
            ..TWO
        };
        assert!(Label::parse(two, stated).unwrap_err().starts_with("a pose"));
        assert!(Label::parse("0 0.5 0.5 0.2 0.2", stated).is_ok());
        let dota = "921.0 874.0 913.0 883.0 877.0 840.0 885.0 833.0 small-vehicle 0";
        assert!(cause(dota).contains("OBB"));
    }

    #[test]
    fn tilted_rectangles_are_oriented_boxes() {
        let label = |line: &str| Label::parse(line, TWO).unwrap();
        let upright = || label("0 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2");
        let tilted = || label("0 0.5 0.4 0.7 0.5 0.6 0.6 0.4 0.5");
        let drawn = || label("0 0.5 0.4 0.7 0.45 0.6 0.9 0.4 0.5");
        let boxed = || label("0 0.5 0.5 0.2 0.2");
        assert!(are_oriented([upright(), tilted()].iter()));
        assert!(!are_oriented([upright(), upright()].iter()));
        assert!(!are_oriented([tilted(), drawn()].iter()));
        assert!(!are_oriented([tilted(), boxed()].iter()));
        // Its left and right sides are upright.
        let plate = || label("0 0.3 0.3 0.5 0.32 0.5 0.42 0.3 0.4");
        assert!(!are_oriented([plate(), plate()].iter()));
    }

    #[test]
    fn keypoints_and_polygons_are_distinguished_over_all_labels() {
        let label = |line: &str| Label::parse(line, TWO).unwrap();
        let pose = || label("0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 1");
        let polygon = || label("0 0.7 0.9 0.72 0.6 0.85 0.55 1.0 0.6 0.7 1.0");
        let other = || label("0 0.6 0.5 0.8 0.5 0.9 0.55 0.6 0.9");
        assert!(refusal([pose(), pose()].iter()).is_some_and(|cause| cause.starts_with("a pose")));
        assert_eq!(refusal([polygon(), other(), other()].iter()), None);
        assert_eq!(refusal([polygon()].iter()), None);
    }
}
