//! What a form draws for one object, in a frame of its own, and how it is placed in the image.

use super::curve::{direction, sine};
use super::mask::Mask;

pub(super) type Point = [f32; 2];

/// The smallest radius of a line or a dot, in pixels.
const MIN_RADIUS: f32 = 0.6;

/// A part of a drawing, in the order of drawing.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// Adds the inside of a polygon.
    Fill(Vec<Point>),
    /// Takes away the inside of a polygon.
    Cut(Vec<Point>),
    /// Adds a line through points, with a radius at each.
    Line(Vec<[f32; 3]>),
    /// Adds squares of this half-length in pixels.
    Dots(Vec<Point>, f32),
}

impl Mark {
    fn move_points(&mut self, place: impl Fn(Point) -> Point) {
        match self {
            Self::Fill(points) | Self::Cut(points) | Self::Dots(points, _) => {
                points.iter_mut().for_each(|point| *point = place(*point));
            }
            Self::Line(points) => {
                for [x, y, _] in points {
                    [*x, *y] = place([*x, *y]);
                }
            }
        }
    }

    /// Multiplies the radii of a line.
    fn thicken(&mut self, factor: f32) {
        if let Self::Line(points) = self {
            points.iter_mut().for_each(|point| point[2] *= factor);
        }
    }

    /// Left, top, right and bottom bounds of what the mark adds.
    fn extent(&self) -> [f32; 4] {
        let around = |points: &[Point]| {
            points
                .iter()
                .fold(NOTHING, |bounds, &[x, y]| union(bounds, [x, y, x, y]))
        };
        match self {
            // Dots have their size in pixels, whatever the frame.
            Self::Fill(points) | Self::Dots(points, _) => around(points),
            Self::Line(points) => points.iter().fold(NOTHING, |bounds, &[x, y, radius]| {
                union(bounds, [x - radius, y - radius, x + radius, y + radius])
            }),
            Self::Cut(_) => NOTHING,
        }
    }
}

/// The bounds of nothing.
const NOTHING: [f32; 4] = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];

/// The bounds of two rectangles together.
fn union([x1, y1, x2, y2]: [f32; 4], other: [f32; 4]) -> [f32; 4] {
    [
        x1.min(other[0]),
        y1.min(other[1]),
        x2.max(other[2]),
        y2.max(other[3]),
    ]
}

/// The bounds of all marks.
fn extent(marks: &[Mark]) -> [f32; 4] {
    marks.iter().map(Mark::extent).fold(NOTHING, union)
}

/// The outline of an object, and a part of it in another tone.
#[derive(Debug, Clone, Default)]
pub(super) struct Figure {
    pub body: Vec<Mark>,
    pub inner: Vec<Mark>,
}

/// The position of an object: its frame is turned, scaled along both axes and moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    pub center: Point,
    /// Half the length along the axes of the object, in pixels.
    pub half: Point,
    /// Cosine and sine.
    pub rotation: Point,
}

impl Pose {
    fn image(&self, [u, v]: Point) -> Point {
        let ([cx, cy], [cos, sin]) = (self.center, self.rotation);
        let (u, v) = (u * self.half[0], v * self.half[1]);
        [cx + cos * u - sin * v, cy + sin * u + cos * v]
    }

    /// A direction of the object's frame, in the image.
    pub(super) fn image_vector(&self, [u, v]: Point) -> Point {
        let [cos, sin] = self.rotation;
        [cos * u - sin * v, sin * u + cos * v]
    }

    /// The point of the object's frame at a point of the image.
    pub(super) fn own(&self, [x, y]: Point) -> Point {
        let ([cx, cy], [cos, sin]) = (self.center, self.rotation);
        let (dx, dy) = (x - cx, y - cy);
        [
            (cos * dx + sin * dy) / self.half[0],
            (cos * dy - sin * dx) / self.half[1],
        ]
    }
}

impl Figure {
    pub(super) fn of(body: Vec<Mark>) -> Self {
        Self {
            body,
            inner: Vec::new(),
        }
    }

    fn marks_mut(&mut self) -> impl Iterator<Item = &mut Mark> {
        self.body.iter_mut().chain(&mut self.inner)
    }

    /// Moves every point.
    pub(super) fn moved(mut self, place: impl Fn(Point) -> Point) -> Self {
        self.marks_mut().for_each(|mark| mark.move_points(&place));
        self
    }

    /// Bends the figure smoothly.
    pub(super) fn warped(self, strength: f32, [a, b]: [f32; 2]) -> Self {
        self.moved(|[x, y]| {
            [
                x + strength * sine(0.35 * y + a),
                y + strength * sine(0.35 * x + b),
            ]
        })
    }

    /// The figure, moved and scaled so that it is centered and its longer side is from -1 to 1.
    pub(super) fn normalized(self) -> Self {
        let [x1, y1, x2, y2] = extent(&self.body);
        let scale = 2.0 / (x2 - x1).max(y2 - y1).max(1e-6);
        let (cx, cy) = (0.5 * (x1 + x2), 0.5 * (y1 + y2));
        let mut figure = self.moved(|[x, y]| [(x - cx) * scale, (y - cy) * scale]);
        figure.marks_mut().for_each(|mark| mark.thicken(scale));
        figure
    }

    /// The grid points of the body.
    pub(super) fn mask(&self, pose: &Pose) -> Mask {
        rasterize(&self.body, pose)
    }

    /// The grid points of the inner part, which are all in the body.
    pub(super) fn inner_mask(&self, pose: &Pose, body: &Mask) -> Option<Mask> {
        let mut inner = (!self.inner.is_empty()).then(|| rasterize(&self.inner, pose))?;
        inner.intersect(body);
        Some(inner)
    }
}

fn rasterize(marks: &[Mark], pose: &Pose) -> Mask {
    let unit = pose.half[0].min(pose.half[1]);
    let placed: Vec<Mark> = marks
        .iter()
        .map(|mark| {
            let mut mark = mark.clone();
            mark.move_points(|point| pose.image(point));
            mark.thicken(unit);
            if let Mark::Line(points) = &mut mark {
                points
                    .iter_mut()
                    .for_each(|point| point[2] = point[2].max(MIN_RADIUS));
            }
            mark
        })
        .collect();
    let dots = placed.iter().map(|mark| match mark {
        Mark::Dots(_, radius) => *radius,
        _ => 0.0,
    });
    let reach = dots.fold(0.0, f32::max);
    let [x1, y1, x2, y2] = extent(&placed);
    let mut mask = Mask::within([x1 - reach, y1 - reach, x2 + reach, y2 + reach]);
    for mark in &placed {
        match mark {
            Mark::Fill(points) => mask.fill(points, true),
            Mark::Cut(points) => mask.fill(points, false),
            Mark::Dots(points, radius) => points.iter().for_each(|&point| mask.dot(point, *radius)),
            Mark::Line(points) => line(&mut mask, points),
        }
    }
    mask
}

/// Adds discs at the points, and what is between them.
fn line(mask: &mut Mask, points: &[[f32; 3]]) {
    for &[x, y, radius] in points {
        mask.fill(&disc([x, y], radius, 10), true);
    }
    for pair in points.windows(2) {
        let [[ax, ay, a], [bx, by, b]] = [pair[0], pair[1]];
        let (dx, dy) = (bx - ax, by - ay);
        let length = (dx * dx + dy * dy).sqrt();
        if length > 0.0 {
            let (nx, ny) = (-dy / length, dx / length);
            let quad = [
                [ax + nx * a, ay + ny * a],
                [bx + nx * b, by + ny * b],
                [bx - nx * b, by - ny * b],
                [ax - nx * a, ay - ny * a],
            ];
            mask.fill(&quad, true);
        }
    }
}

/// A circle as a polygon.
pub(super) fn disc([x, y]: Point, radius: f32, corners: usize) -> Vec<Point> {
    let corner = |index: usize| {
        let [cos, sin] = direction(index as f32 / corners as f32);
        [x + radius * cos, y + radius * sin]
    };
    (0..corners).map(corner).collect()
}
