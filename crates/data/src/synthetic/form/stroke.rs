//! Forms made of lines.

use rand::{Rng, RngExt};

use crate::random::chance;
use crate::synthetic::curve::{direction, vary};
use crate::synthetic::figure::{Mark, Point};

/// A line that wanders: its direction changes by a random amount that persists.
fn wander(
    start: Point,
    heading: f32,
    steps: usize,
    stride: f32,
    bend: f32,
    rng: &mut impl Rng,
) -> Vec<Point> {
    let mut points = vec![start];
    let (mut at, mut heading, mut turn) = (start, heading, 0.0);
    for _ in 0..steps {
        turn = 0.6 * turn + bend * rng.random_range(-1.0..=1.0);
        heading += turn;
        let [cos, sin] = direction(heading);
        at = [at[0] + stride * cos, at[1] + stride * sin];
        points.push(at);
    }
    points
}

/// A line through these points that is thickest in the middle, or has the same thickness everywhere.
fn drawn(points: &[Point], radius: f32, taper: f32) -> Mark {
    let last = (points.len().max(2) - 1) as f32;
    let point = |(index, [x, y]): (usize, &Point)| {
        let along = index as f32 / last;
        [*x, *y, radius * (1.0 - taper * (2.0 * along - 1.0).abs())]
    };
    Mark::Line(points.iter().enumerate().map(point).collect())
}

/// A scratch, a crack, a hair or a root.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Thread {
    bend: f32,
    radius: f32,
    taper: f32,
    branches: usize,
    branch_angle: f32,
    strands: usize,
    gaps: f32,
}

impl Thread {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let is_straight = chance(0.4, rng);
        Self {
            bend: if is_straight {
                rng.random_range(0.0..0.01)
            } else {
                rng.random_range(0.015..0.09)
            },
            radius: rng.random_range(0.03..0.12),
            taper: rng.random_range(0.0..0.9),
            branches: if chance(0.45, rng) {
                rng.random_range(1..=5)
            } else {
                0
            },
            branch_angle: rng.random_range(0.08..0.22),
            strands: if chance(0.25, rng) {
                rng.random_range(2..=3)
            } else {
                1
            },
            gaps: if chance(0.25, rng) {
                rng.random_range(0.1..0.3)
            } else {
                0.0
            },
        }
    }

    pub(super) fn marks(&self, length: f32, rng: &mut impl Rng) -> Vec<Mark> {
        let steps = (length / 3.0).clamp(6.0, 26.0) as usize;
        let stride = 2.0 / steps as f32;
        let bend = self.bend * 18.0 / steps as f32;
        let mut marks = Vec::new();
        let radius = vary(self.radius, 0.3, rng);
        for strand in 0..self.strands {
            let offset = strand as f32 * radius * rng.random_range(2.5..4.0);
            let start = [rng.random_range(-0.15..0.15), offset];
            let points = wander(start, 0.0, steps, stride, bend, rng);
            let mut first = 0;
            for end in 1..=points.len() {
                if end == points.len() || chance(self.gaps, rng) {
                    if end - first >= 2 {
                        marks.push(drawn(&points[first..end], radius, self.taper));
                    }
                    first = end;
                }
            }
            for _ in 0..self.branches {
                let root = rng.random_range(0..points.len());
                let side = if rng.random() {
                    self.branch_angle
                } else {
                    -self.branch_angle
                };
                let heading = vary(side, 0.3, rng);
                let steps = rng.random_range(2..=steps.max(4) / 2);
                let branch = wander(points[root], heading, steps, stride, bend, rng);
                marks.push(drawn(&branch, 0.7 * radius, self.taper));
            }
        }
        marks
    }
}

/// Strokes between the nodes of a lattice, like letters.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Glyph {
    strokes: Vec<Vec<Point>>,
    radius: f32,
}

impl Glyph {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let strokes = (0..rng.random_range(2..=4_u32)).map(|_| {
            if chance(0.35, rng) {
                arc(rng)
            } else {
                (0..rng.random_range(2..=3_u32))
                    .map(|_| node(rng))
                    .collect()
            }
        });
        Self {
            strokes: strokes.collect(),
            radius: rng.random_range(0.07..0.2),
        }
    }

    pub(super) fn marks(&self, rng: &mut impl Rng) -> Vec<Mark> {
        let radius = vary(self.radius, 0.25, rng);
        let mut jitter = || rng.random_range(-0.06..0.06);
        let stroke = |points: &Vec<Point>| {
            let (dx, dy) = (jitter(), jitter());
            Mark::Line(
                points
                    .iter()
                    .map(|[x, y]| [x + dx, y + dy, radius])
                    .collect(),
            )
        };
        self.strokes.iter().map(stroke).collect()
    }
}

/// A node of a lattice of three columns and four rows.
fn node(rng: &mut impl Rng) -> Point {
    [
        rng.random_range(0..3_u32) as f32 * 0.6 - 0.6,
        rng.random_range(0..4_u32) as f32 * 0.6 - 0.9,
    ]
}

fn arc(rng: &mut impl Rng) -> Vec<Point> {
    let ([cx, cy], start): (_, f32) = (node(rng).map(|part| 0.5 * part), rng.random());
    let sweep = rng.random_range(0.4..1.0);
    let radius = rng.random_range(0.3..0.6);
    let point = |step: u32| {
        let [cos, sin] = direction(start + sweep * step as f32 / 10.0);
        [cx + radius * cos, cy + radius * sin]
    };
    (0..=10).map(point).collect()
}

/// Thin lines that cross an area: crazing, scales, hair.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Mesh {
    lines: usize,
    line_length: f32,
    heading: f32,
    spread: f32,
    bend: f32,
    radius: f32,
    aspect: f32,
}

impl Mesh {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        Self {
            lines: rng.random_range(10..=34),
            line_length: rng.random_range(0.3..1.2),
            heading: rng.random(),
            spread: if chance(0.5, rng) {
                0.5
            } else {
                rng.random_range(0.02..0.1)
            },
            bend: rng.random_range(0.02..0.12),
            radius: rng.random_range(0.015..0.045),
            aspect: rng.random_range(0.4..1.0),
        }
    }

    pub(super) fn marks(&self, length: f32, rng: &mut impl Rng) -> Vec<Mark> {
        let steps = (0.25 * length * self.line_length).clamp(3.0, 9.0) as usize;
        let stride = self.line_length / steps as f32;
        let count =
            (vary(self.lines as f32, 0.25, rng) * (length / 40.0).clamp(0.35, 1.0)) as usize;
        let radius = vary(self.radius, 0.3, rng);
        let line = |_| {
            let [cos, sin] = direction(rng.random());
            let distance = rng.random::<f32>().sqrt();
            let heading = self.heading + self.spread * rng.random_range(-1.0..=1.0);
            let points = wander(
                [distance * cos, distance * sin],
                heading,
                steps,
                stride,
                self.bend,
                rng,
            );
            let flat: Vec<Point> = points.iter().map(|[x, y]| [*x, self.aspect * y]).collect();
            drawn(&flat, radius * rng.random_range(0.6..1.4), 0.6)
        };
        (0..count.max(4)).map(line).collect()
    }
}
