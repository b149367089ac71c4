//! Attractors of iterated function systems.

use rand::{Rng, RngExt};

use crate::synthetic::curve::{direction, vary};
use crate::synthetic::figure::{Mark, Point};

/// An affine map: a 2 x 2 matrix by rows, and a translation.
#[derive(Debug, Clone, Copy)]
struct Affine {
    matrix: [f32; 4],
    shift: Point,
}

/// Points of the attractor of contractions, drawn by the chaos game: the classes of FractalDB.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Fractal {
    maps: Vec<Affine>,
}

impl Fractal {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        let count = rng.random_range(2..=4_usize);
        let scales: Vec<f32> = (0..count).map(|_| rng.random_range(0.45..0.9)).collect();
        // Sums of squares near 1 are of attractors that fill an area, smaller ones of dust.
        let squares: f32 = scales.iter().map(|scale| scale * scale).sum();
        let factor = (rng.random_range(0.75..1.15) / squares).sqrt();
        let maps = scales.iter().map(|scale| {
            let scale = (scale * factor).min(0.86);
            let [cos, sin] = direction(rng.random());
            let stretch = rng.random_range(0.7..1.0);
            let mirror = if rng.random() { 1.0 } else { -1.0 };
            Affine {
                matrix: [
                    scale * cos,
                    -scale * sin * stretch,
                    scale * sin * mirror,
                    scale * cos * stretch * mirror,
                ],
                shift: [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)],
            }
        });
        Self {
            maps: maps.collect(),
        }
    }

    pub(super) fn marks(&self, length: f32, rng: &mut impl Rng) -> Vec<Mark> {
        const SKIPPED: usize = 20;
        let maps: Vec<Affine> = self
            .maps
            .iter()
            .map(|map| Affine {
                matrix: map
                    .matrix
                    .map(|part| vary(part, 0.08, rng).clamp(-0.9, 0.9)),
                shift: map.shift.map(|part| vary(part, 0.12, rng)),
            })
            .collect();
        let areas: Vec<f32> = maps
            .iter()
            .map(|map| {
                (map.matrix[0] * map.matrix[3] - map.matrix[1] * map.matrix[2])
                    .abs()
                    .max(0.02)
            })
            .collect();
        let total: f32 = areas.iter().sum();
        let radius = 0.5 + 0.012 * length;
        let count = (0.7 * length * length / (radius * radius)).clamp(150.0, 3000.0) as usize;
        let mut at = [0.0, 0.0];
        let mut points = Vec::with_capacity(count);
        for step in 0..count + SKIPPED {
            let mut left = total * rng.random::<f32>();
            let chosen = areas.iter().position(|area| {
                left -= area;
                left < 0.0
            });
            let Affine { matrix, shift } = &maps[chosen.unwrap_or(0)];
            let [x, y] = at;
            // Varied maps may expand slightly; the bound keeps the points finite.
            at = [
                (matrix[0] * x + matrix[1] * y + shift[0]).clamp(-16.0, 16.0),
                (matrix[2] * x + matrix[3] * y + shift[1]).clamp(-16.0, 16.0),
            ];
            if step >= SKIPPED {
                points.push(at);
            }
        }
        vec![Mark::Dots(points, radius)]
    }
}
