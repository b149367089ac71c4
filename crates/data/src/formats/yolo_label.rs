//! The lines of YOLO's label files.

use super::description::{Outline, span};

/// Larger values are no shares of an image's size, even of a box that reaches beyond it.
const LARGEST_SHARE: f64 = 2.0;

/// What the lines of a data set are to be read as.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LabelFormat {
    /// The number of classes.
    pub classes: usize,
    /// How many numbers follow a box for its keypoints, if the data set says so.
    pub keypoints: Option<usize>,
    /// Whether the data set says that its boxes are oriented.
    pub oriented: bool,
}

/// An object: its class and its box, or what its polygon spans.
#[derive(Debug, PartialEq)]
pub(super) struct Label {
    pub class: usize,
    pub outline: Outline,
    /// What the polygon is, if it has four points.
    pub quadrilateral: Option<Quadrilateral>,
}

/// Oriented boxes are written like polygons of four points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quadrilateral {
    /// Its sides are along the axes: it is a box.
    Upright,
    /// A parallelogram with other sides. Every rectangle is one, whatever the aspect ratio of the image.
    Tilted,
    Other,
}

/// The cause of refusing an oriented box.
pub(super) const ORIENTED: &str =
    "an oriented box (OBB); boxes along the axes are needed: class, center, width and height";

impl Label {
    /// Reads `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 …`, a polygon.
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
        if let Some(keypoints) = keypoints(&numbers, format.keypoints) {
            return Err(format!(
                "a pose: a box and {keypoints} numbers of keypoints; boxes alone are needed: class, center, width and height"
            ));
        }
        let outline = match *numbers.as_slice() {
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
        let is_pixel = |value: &f64| value.is_finite() && value.abs() > LARGEST_SHARE;
        if numbers.iter().any(is_pixel) {
            return Err("the values are pixels, not shares of the image's size".into());
        }
        let quadrilateral = <[f64; 8]>::try_from(numbers).ok().map(Quadrilateral::of);
        if format.oriented && quadrilateral.is_some() {
            return Err(ORIENTED.into());
        }
        Ok(Self {
            class,
            outline,
            quadrilateral,
        })
    }
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
                1 => "there is only the class 0".to_string(),
                classes => format!("there are {classes} classes, from 0"),
            }
        )),
    }
}

/// How many numbers of keypoints follow a box, if these are the numbers of a pose: as many as the data set says, or
/// keypoints whose third numbers all are a visibility of 0, 1 or 2, which are not those of a polygon.
fn keypoints(numbers: &[f64], stated: Option<usize>) -> Option<usize> {
    let after = numbers.len().checked_sub(4).filter(|after| *after > 0)?;
    let points = numbers[4..].chunks(3);
    let visible = |point: &[f64]| matches!(point, [_, _, v] if [0.0, 1.0, 2.0].contains(v));
    let is_pose = match stated {
        Some(stated) => stated == after,
        None => points.clone().all(visible) && points.clone().any(|point| point[2] > 0.0),
    };
    is_pose.then_some(after)
}

impl Quadrilateral {
    fn of(points: [f64; 8]) -> Self {
        let [x0, y0, x1, y1, x2, y2, x3, y3] = points;
        let Some([left, top, right, bottom]) = span(points) else {
            return Self::Other;
        };
        // Coordinates are rounded, and clipped to the image.
        let (x, y) = (0.02 * (right - left), 0.02 * (bottom - top));
        let is_parallelogram = (x0 + x2 - x1 - x3).abs() <= x && (y0 + y2 - y1 - y3).abs() <= y;
        let is_straight = |dx: f64, dy: f64| dx.abs() <= x || dy.abs() <= y;
        match is_parallelogram {
            true if is_straight(x1 - x0, y1 - y0) && is_straight(x2 - x1, y2 - y1) => Self::Upright,
            true => Self::Tilted,
            false => Self::Other,
        }
    }
}

/// Whether labels are oriented boxes: all have four points, nearly all are parallelograms, and some are tilted. Polygons
/// that people draw have other shapes, too.
pub(super) fn are_oriented<'a>(labels: impl Iterator<Item = &'a Label>) -> bool {
    let (mut all, mut parallelograms, mut tilted) = (0_usize, 0_usize, 0_usize);
    for label in labels {
        let Some(shape) = label.quadrilateral else {
            return false;
        };
        all += 1;
        parallelograms += usize::from(shape != Quadrilateral::Other);
        tilted += usize::from(shape == Quadrilateral::Tilted);
    }
    tilted > 0 && 10 * parallelograms >= 9 * all
}

/// Whether a file has labels, by its first line: a class and at least four numbers.
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
    fn a_polygon_becomes_what_it_spans() {
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
            assert!(cause(pixels).contains("pixels, not shares"), "{pixels}");
        }
        assert_eq!(cause("0 1.02 -0.1 0.3 0.2"), "", "slightly outside");
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
    }
}
