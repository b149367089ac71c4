//! Forms made of several simple ones.

use rand::{Rng, RngExt};

use super::contour::{Blob, Polygon, Round};
use crate::random::chance;
use crate::synthetic::curve::{direction, vary};
use crate::synthetic::figure::{Figure, Mark, Point, disc};

#[derive(Debug, Clone)]
enum Simple {
    Blob(Blob),
    Polygon(Polygon),
    Round(Round),
}

impl Simple {
    fn design(rng: &mut impl Rng) -> Self {
        match rng.random_range(0..3_u32) {
            0 => Self::Blob(Blob::design(rng)),
            1 => Self::Polygon(Polygon::design(rng)),
            _ => Self::Round(Round::design(rng)),
        }
    }

    /// Within about the unit circle.
    fn marks(&self, rng: &mut impl Rng) -> Vec<Mark> {
        match self {
            Self::Blob(form) => form.marks(rng),
            Self::Polygon(form) => form.marks(rng),
            Self::Round(form) => form.marks(rng),
        }
    }
}

/// A simple form at a place, turned and scaled.
#[derive(Debug, Clone)]
struct Part {
    form: Simple,
    center: Point,
    size: f32,
    turn: f32,
}

impl Part {
    fn marks(&self, rng: &mut impl Rng) -> Vec<Mark> {
        let size = vary(self.size, 0.1, rng);
        let [cos, sin] = direction(self.turn + rng.random_range(-0.02..0.02));
        let [cx, cy] = self.center.map(|part| part + rng.random_range(-0.06..0.06));
        Figure::of(self.form.marks(rng))
            .moved(|[x, y]| {
                [
                    cx + size * (cos * x - sin * y),
                    cy + size * (sin * x + cos * y),
                ]
            })
            .body
    }
}

/// Two or three simple forms joined together. The last of them may have another tone.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Compound {
    parts: Vec<Part>,
    has_inner: bool,
}

impl Compound {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let mut at: Point = [0.0, 0.0];
        let parts = (0..rng.random_range(2..=3_u32)).map(|_| {
            let size = rng.random_range(0.35..1.0);
            let [cos, sin] = direction(rng.random());
            let part = Part {
                form: Simple::design(rng),
                center: at,
                size,
                turn: rng.random(),
            };
            at = [at[0] + 0.9 * size * cos, at[1] + 0.9 * size * sin];
            part
        });
        Self {
            parts: parts.collect(),
            has_inner: chance(0.6, rng),
        }
    }

    pub(super) fn figure(&self, rng: &mut impl Rng) -> Figure {
        let mut figure = Figure::default();
        let last = self.parts.len() - 1;
        for (index, part) in self.parts.iter().enumerate() {
            let marks = part.marks(rng);
            if self.has_inner && index == last {
                figure.inner.extend(marks.iter().cloned());
            }
            // Holes are only in the inner part: they would cut the parts below.
            figure.body.extend(
                marks
                    .into_iter()
                    .filter(|mark| !matches!(mark, Mark::Cut(_))),
            );
        }
        figure
    }
}

/// A smooth outline around a nucleus of one or several lobes, or with a pale center.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Cell {
    outline: Blob,
    lobes: Vec<Part>,
    granules: usize,
}

impl Cell {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let strength = rng.random_range(0.02..0.15);
        let count = if chance(0.3, rng) {
            0
        } else {
            rng.random_range(1..=4_u32)
        };
        let spread = if count < 2 {
            rng.random_range(0.0..0.25)
        } else {
            rng.random_range(0.25..0.45)
        };
        let size = if count < 2 {
            rng.random_range(0.3..0.65)
        } else {
            rng.random_range(0.22..0.38)
        };
        let start: f32 = rng.random();
        let sweep = rng.random_range(0.4..1.0);
        let lobes = (0..count).map(|index| {
            let [cos, sin] = direction(start + sweep * index as f32 / count as f32);
            Part {
                form: Simple::Blob(Blob::with_strength(0.25, rng)),
                center: [spread * cos, spread * sin],
                size: vary(size, 0.2, rng),
                turn: rng.random(),
            }
        });
        let lobes: Vec<Part> = lobes.collect();
        let granules = if lobes.is_empty() || chance(0.3, rng) {
            rng.random_range(4..=24)
        } else {
            0
        };
        let mut outline = Blob::with_strength(strength, rng);
        outline.widen();
        Self {
            outline,
            lobes,
            granules,
        }
    }

    pub(super) fn figure(&self, rng: &mut impl Rng) -> Figure {
        let body = self.outline.marks(rng);
        // The nucleus has any direction in its cell.
        let [cos, sin] = direction(rng.random());
        let mut inner: Vec<Mark> = self.lobes.iter().flat_map(|lobe| lobe.marks(rng)).collect();
        for _ in 0..self.granules {
            let [dx, dy] = direction(rng.random());
            let distance = 0.75 * rng.random::<f32>().sqrt();
            inner.push(Mark::Fill(disc(
                [distance * dx, distance * dy],
                rng.random_range(0.05..0.11),
                8,
            )));
        }
        let inner = Figure::of(inner)
            .moved(|[x, y]| [cos * x - sin * y, sin * x + cos * y])
            .body;
        Figure { body, inner }
    }
}

/// Small elements scattered over an area.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Cluster {
    element: Element,
    layout: Layout,
    count: usize,
    size: f32,
    /// Largest element in relation to the smallest.
    variety: f32,
    aspect: f32,
    turn: f32,
}

#[derive(Debug, Clone)]
enum Element {
    Spot,
    Dash,
    Simple(Simple),
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    Disc,
    Ring,
    Streak,
}

impl Cluster {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        Self {
            element: match rng.random_range(0..3_u32) {
                0 => Element::Spot,
                1 => Element::Dash,
                _ => Element::Simple(Simple::design(rng)),
            },
            layout: match rng.random_range(0..4_u32) {
                0 | 1 => Layout::Disc,
                2 => Layout::Ring,
                _ => Layout::Streak,
            },
            count: rng.random_range(5..=32),
            size: rng.random_range(0.06..0.16),
            variety: rng.random_range(1.0..3.0),
            aspect: rng.random_range(0.4..1.0),
            turn: rng.random(),
        }
    }

    pub(super) fn marks(&self, length: f32, rng: &mut impl Rng) -> Vec<Mark> {
        let count = (vary(self.count as f32, 0.3, rng) * (length / 30.0).clamp(0.3, 1.0)) as usize;
        // Elements of less than two pixels cannot be recognized.
        let smallest = (2.0 / length).max(self.size / self.variety.sqrt());
        let turn = self.turn + rng.random_range(-0.03..0.03);
        let mut marks = Vec::new();
        for _ in 0..count.max(3) {
            let [cos, sin] = direction(rng.random());
            let [x, y] = match self.layout {
                Layout::Disc => {
                    let distance = rng.random::<f32>().sqrt();
                    [distance * cos, self.aspect * distance * sin]
                }
                Layout::Ring => {
                    let distance = rng.random_range(0.75..1.0);
                    [distance * cos, self.aspect * distance * sin]
                }
                Layout::Streak => [rng.random_range(-1.0..1.0), 0.3 * self.aspect * sin],
            };
            let size = smallest * rng.random_range(1.0..=self.variety);
            match &self.element {
                Element::Spot => marks.push(Mark::Fill(disc([x, y], size, 10))),
                Element::Dash => {
                    let [dx, dy] = direction(turn);
                    let (dx, dy) = (1.6 * size * dx, 1.6 * size * dy);
                    let radius = 0.4 * size;
                    marks.push(Mark::Line(vec![
                        [x - dx, y - dy, radius],
                        [x + dx, y + dy, radius],
                    ]));
                }
                Element::Simple(form) => {
                    let [cos, sin] = direction(turn);
                    let placed = Figure::of(form.marks(rng)).moved(|[u, v]| {
                        [
                            x + size * (cos * u - sin * v),
                            y + size * (sin * u + cos * v),
                        ]
                    });
                    // A hole would cut the elements below.
                    let solid = placed.body.into_iter();
                    marks.extend(solid.filter(|mark| !matches!(mark, Mark::Cut(_))));
                }
            }
        }
        marks
    }
}

/// Equal elements in rows and columns: teeth, bars, holes, windows.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Array {
    columns: usize,
    rows: usize,
    /// Half the length of an element in relation to the distance of elements.
    fill: Point,
    is_round: bool,
    frame: ArrayFrame,
    pitch: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum ArrayFrame {
    None,
    /// A bar along one side joins the elements.
    Spine,
    /// The elements are holes in a plate.
    Plate,
}

impl Array {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let rows = rng.random_range(1..=4);
        Self {
            columns: rng.random_range(2..=6),
            rows,
            fill: [rng.random_range(0.18..0.38), rng.random_range(0.2..0.42)],
            is_round: chance(0.35, rng),
            frame: match rng.random_range(0..3_u32) {
                0 => ArrayFrame::None,
                1 if rows == 1 => ArrayFrame::Spine,
                _ => ArrayFrame::Plate,
            },
            pitch: if rows == 1 {
                rng.random_range(1.5..3.5)
            } else {
                rng.random_range(0.7..1.4)
            },
        }
    }

    pub(super) fn marks(&self, rng: &mut impl Rng) -> Vec<Mark> {
        let [a, b] = self.fill.map(|part| vary(part, 0.15, rng));
        let pitch = vary(self.pitch, 0.1, rng);
        let (columns, rows) = (self.columns as f32, self.rows as f32);
        let rectangle =
            |x1: f32, y1: f32, x2: f32, y2: f32| vec![[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
        let mut marks = Vec::new();
        if self.frame == ArrayFrame::Plate {
            marks.push(Mark::Fill(rectangle(
                -0.6,
                -0.6 * pitch,
                columns - 0.4,
                (rows - 0.4) * pitch,
            )));
        }
        for row in 0..self.rows {
            for column in 0..self.columns {
                let (x, y) = (column as f32, row as f32 * pitch);
                let element = match self.is_round {
                    true => disc([x, y], a.min(b * pitch), 14),
                    false => rectangle(x - a, y - b * pitch, x + a, y + b * pitch),
                };
                marks.push(match self.frame {
                    ArrayFrame::Plate => Mark::Cut(element),
                    _ => Mark::Fill(element),
                });
            }
        }
        if self.frame == ArrayFrame::Spine {
            let y = b * pitch;
            marks.push(Mark::Fill(rectangle(
                -a,
                y - 0.2,
                columns - 1.0 + a,
                y + 0.2,
            )));
        }
        marks
    }
}
