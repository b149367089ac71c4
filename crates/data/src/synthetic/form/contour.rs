//! Forms that are bounded by one curve, or by several around the same center.

use rand::{Rng, RngExt};

use crate::random::chance;
use crate::synthetic::curve::{direction, sine, vary};
use crate::synthetic::figure::{Mark, Point, disc};

/// A closed curve whose distance from the center is a Fourier series of the angle.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Blob {
    /// Amplitude and phase of the harmonics from the second on.
    harmonics: Vec<[f32; 2]>,
    aspect: f32,
}

impl Blob {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let strength = rng.random_range(0.1..0.38);
        Self::with_strength(strength, rng)
    }

    /// `strength` is the sum of the largest amplitudes of the first harmonics.
    pub(super) fn with_strength(strength: f32, rng: &mut impl Rng) -> Self {
        let count = rng.random_range(2..=5_u32);
        let harmonics = (0..count).map(|order| {
            let amplitude = strength * rng.random_range(0.3..1.0) / (1.0 + 0.5 * order as f32);
            [amplitude, rng.random()]
        });
        Self {
            harmonics: harmonics.collect(),
            aspect: rng.random_range(0.45..1.0),
        }
    }

    /// Makes the curve rounder.
    pub(super) fn widen(&mut self) {
        self.aspect = 1.0 - 0.3 * (1.0 - self.aspect);
    }

    /// The curve with changed amplitudes and phases.
    pub(super) fn curve(&self, rng: &mut impl Rng) -> Vec<Point> {
        const CORNERS: usize = 44;
        let harmonics: Vec<[f32; 2]> = self
            .harmonics
            .iter()
            .map(|[amplitude, phase]| {
                [
                    vary(*amplitude, 0.35, rng),
                    phase + rng.random_range(-0.1..0.1),
                ]
            })
            .collect();
        let corner = |index: usize| {
            let angle = index as f32 / CORNERS as f32;
            let waves = harmonics.iter().zip(2_u16..);
            let radius = waves.fold(1.0, |radius, ([amplitude, phase], order)| {
                radius + amplitude * sine(f32::from(order) * angle + phase)
            });
            let [cos, sin] = direction(angle);
            [radius.max(0.1) * cos, self.aspect * radius.max(0.1) * sin]
        };
        (0..CORNERS).map(corner).collect()
    }

    pub(super) fn marks(&self, rng: &mut impl Rng) -> Vec<Mark> {
        vec![Mark::Fill(self.curve(rng))]
    }
}

/// A polygon or a star, regular or not.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Polygon {
    /// Angle in turns and distance from the center.
    corners: Vec<[f32; 2]>,
    aspect: f32,
}

impl Polygon {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let count = rng.random_range(3..=8_usize);
        let is_star = count >= 4 && chance(0.5, rng);
        let notch = rng.random_range(0.3..0.75);
        let irregular = if chance(0.5, rng) {
            rng.random_range(0.1..0.4)
        } else {
            0.0
        };
        let total = if is_star { 2 * count } else { count };
        let corners = (0..total).map(|index| {
            let angle = (index as f32 + irregular * rng.random_range(-1.0..=1.0)) / total as f32;
            let radius = if is_star && index % 2 == 1 {
                notch
            } else {
                1.0
            };
            [angle, radius * (1.0 - irregular * rng.random::<f32>())]
        });
        Self {
            corners: corners.collect(),
            aspect: if chance(0.5, rng) {
                1.0
            } else {
                rng.random_range(0.35..1.0)
            },
        }
    }

    pub(super) fn curve(&self, rng: &mut impl Rng) -> Vec<Point> {
        let total = self.corners.len() as f32;
        let corner = |[angle, radius]: &[f32; 2]| {
            let [cos, sin] = direction(angle + rng.random_range(-0.07..0.07) / total);
            let radius = vary(*radius, 0.07, rng);
            [radius * cos, self.aspect * radius * sin]
        };
        self.corners.iter().map(corner).collect()
    }

    pub(super) fn marks(&self, rng: &mut impl Rng) -> Vec<Mark> {
        vec![Mark::Fill(self.curve(rng))]
    }
}

/// An ellipse, whole, with a hole, or with a part cut off.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Round {
    aspect: f32,
    cut: Option<RoundCut>,
}

#[derive(Debug, Clone, Copy)]
enum RoundCut {
    /// Relative radius and distance from the center: a ring or a crescent.
    Hole(f32, f32),
    /// What is beyond this distance from the center.
    Segment(f32),
    /// Half the angle of a sector, in turns.
    Sector(f32),
}

impl Round {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let cut = match rng.random_range(0..6_u32) {
            0 => None,
            1 => Some(RoundCut::Hole(rng.random_range(0.3..0.75), 0.0)),
            2 | 3 => Some(RoundCut::Hole(
                rng.random_range(0.5..0.95),
                rng.random_range(0.3..0.6),
            )),
            4 => Some(RoundCut::Segment(rng.random_range(-0.1..0.5))),
            _ => Some(RoundCut::Sector(rng.random_range(0.06..0.2))),
        };
        Self {
            aspect: if chance(0.4, rng) {
                1.0
            } else {
                rng.random_range(0.3..1.0)
            },
            cut,
        }
    }

    pub(super) fn marks(&self, rng: &mut impl Rng) -> Vec<Mark> {
        let mut marks = vec![Mark::Fill(disc([0.0; 2], 1.0, 40))];
        match self.cut {
            None => {}
            Some(RoundCut::Hole(radius, distance)) => {
                let radius = vary(radius, 0.12, rng).min(0.95);
                marks.push(Mark::Cut(disc(
                    [vary(distance, 0.15, rng), 0.0],
                    radius,
                    36,
                )));
            }
            Some(RoundCut::Segment(distance)) => {
                let edge = distance + rng.random_range(-0.08..0.08);
                marks.push(Mark::Cut(vec![
                    [edge, -1.5],
                    [1.5, -1.5],
                    [1.5, 1.5],
                    [edge, 1.5],
                ]));
            }
            Some(RoundCut::Sector(half)) => {
                let half = vary(half, 0.2, rng);
                let [upper, lower] = [half, -half].map(direction);
                marks.push(Mark::Cut(vec![
                    [0.0, 0.0],
                    upper.map(|part| 2.0 * part),
                    [2.0, 0.0],
                    lower.map(|part| 2.0 * part),
                ]));
            }
        }
        for mark in &mut marks {
            if let Mark::Fill(points) | Mark::Cut(points) = mark {
                points.iter_mut().for_each(|point| point[1] *= self.aspect);
            }
        }
        marks
    }
}

/// Outlines around the same center, with the same irregularity: the classes of RCDB.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Rings {
    corners: usize,
    count: usize,
    /// How far the innermost outline is from the center.
    innermost: f32,
    /// Relative distances of the corners.
    profile: Vec<f32>,
    turn: f32,
    radius: f32,
    aspect: f32,
}

impl Rings {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let corners = rng.random_range(3..=24_usize);
        let roughness = rng.random_range(0.0..0.5);
        Self {
            corners,
            count: rng.random_range(2..=5),
            innermost: rng.random_range(0.12..0.45),
            profile: (0..corners)
                .map(|_| 1.0 - roughness * rng.random::<f32>())
                .collect(),
            turn: if chance(0.4, rng) {
                rng.random_range(-0.06..0.06)
            } else {
                0.0
            },
            radius: rng.random_range(0.03..0.07),
            aspect: rng.random_range(0.55..1.0),
        }
    }

    pub(super) fn marks(&self, length: f32, rng: &mut impl Rng) -> Vec<Mark> {
        // Lines need about three pixels each to be told apart.
        let count = self.count.min((length / 7.0) as usize).max(1);
        let profile: Vec<f32> = self
            .profile
            .iter()
            .map(|part| vary(*part, 0.06, rng))
            .collect();
        let radius = vary(self.radius, 0.25, rng);
        let ring = |ring: usize| {
            let share = ring as f32 / count as f32;
            let size = 1.0 - share * (1.0 - self.innermost);
            let point = |corner: usize| {
                let corner = corner % self.corners;
                let [cos, sin] =
                    direction(corner as f32 / self.corners as f32 + self.turn * ring as f32);
                let distance = size * profile[corner];
                [distance * cos, self.aspect * distance * sin, radius]
            };
            Mark::Line((0..=self.corners).map(point).collect())
        };
        (0..count).map(ring).collect()
    }
}

/// An area with a ragged edge: the harmonics fall off slowly.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Patch {
    roughness: f32,
    aspect: f32,
    holes: usize,
    /// Broad features are stretched along the length.
    islands: usize,
}

impl Patch {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        Self {
            roughness: rng.random_range(0.1..0.32),
            aspect: rng.random_range(0.25..1.0),
            holes: if chance(0.3, rng) {
                rng.random_range(1..=4)
            } else {
                0
            },
            islands: if chance(0.4, rng) {
                rng.random_range(1..=5)
            } else {
                0
            },
        }
    }

    pub(super) fn marks(&self, length: f32, rng: &mut impl Rng) -> Vec<Mark> {
        let mut marks = vec![Mark::Fill(self.ragged([0.0; 2], 1.0, length, rng))];
        for _ in 0..self.islands {
            let center = [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
            let size = rng.random_range(0.12..0.4);
            marks.push(Mark::Fill(self.ragged(center, size, length, rng)));
        }
        for _ in 0..self.holes {
            let center = [rng.random_range(-0.5..0.5), rng.random_range(-0.5..0.5)];
            let size = rng.random_range(0.1..0.25);
            marks.push(Mark::Cut(self.ragged(center, size, length, rng)));
        }
        marks.iter_mut().for_each(|mark| {
            if let Mark::Fill(points) | Mark::Cut(points) = mark {
                points.iter_mut().for_each(|point| point[1] *= self.aspect);
            }
        });
        marks
    }

    fn ragged(&self, [cx, cy]: Point, size: f32, length: f32, rng: &mut impl Rng) -> Vec<Point> {
        let corners = ((length * size * 1.5) as usize).clamp(12, 90);
        let orders = (corners / 3).min(16);
        let waves: Vec<[f32; 2]> = (0..orders)
            .map(|order| {
                let fall = (1.0 + order as f32).sqrt();
                [
                    self.roughness * rng.random_range(0.2..1.0) / fall,
                    rng.random(),
                ]
            })
            .collect();
        let corner = |index: usize| {
            let angle = index as f32 / corners as f32;
            let radius =
                waves
                    .iter()
                    .zip(2_u16..)
                    .fold(1.0, |radius, ([amplitude, phase], order)| {
                        radius + amplitude * sine(f32::from(order) * angle + phase)
                    });
            let radius = size * radius.max(0.15);
            let [cos, sin] = direction(angle);
            [cx + radius * cos, cy + radius * sin]
        };
        (0..corners).map(corner).collect()
    }
}
