//! Conductors with pads, as on circuit boards.

use rand::{Rng, RngExt};

use crate::random::chance;
use crate::synthetic::curve::vary;
use crate::synthetic::figure::{Mark, Point, disc};

/// Traces between the nodes of a lattice, in eight directions, some of them ending in pads.
#[derive(Debug, Clone)]
pub(in crate::synthetic) struct Circuit {
    traces: Vec<Vec<Point>>,
    pads: Vec<Pad>,
    radius: f32,
}

#[derive(Debug, Clone, Copy)]
struct Pad {
    center: Point,
    half: Point,
    is_round: bool,
    /// Relative radius of the hole.
    hole: f32,
}

impl Circuit {
    pub(super) fn design(rng: &mut impl Rng) -> Self {
        const DIRECTIONS: [Point; 8] = [
            [1.0, 0.0],
            [0.0, 1.0],
            [-1.0, 0.0],
            [0.0, -1.0],
            [1.0, 1.0],
            [1.0, -1.0],
            [-1.0, 1.0],
            [-1.0, -1.0],
        ];
        let radius = rng.random_range(0.12..0.35);
        let mut at: Point = [0.0, 0.0];
        let (mut traces, mut pads) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..=2_u32) {
            let mut trace = vec![at];
            for _ in 0..rng.random_range(1..=3_u32) {
                let kinds = if chance(0.7, rng) { 4 } else { 8 };
                let [dx, dy] = DIRECTIONS[rng.random_range(0..kinds)];
                let steps = rng.random_range(1..=2_u32) as f32;
                at = [at[0] + steps * dx, at[1] + steps * dy];
                trace.push(at);
            }
            for end in [trace[0], at] {
                if chance(0.6, rng) {
                    let size = radius * rng.random_range(1.6..3.0);
                    let is_round = rng.random();
                    let long = if is_round {
                        1.0
                    } else {
                        rng.random_range(0.7..1.6)
                    };
                    pads.push(Pad {
                        center: end,
                        half: [size * long, size],
                        is_round,
                        hole: if chance(0.5, rng) {
                            rng.random_range(0.3..0.65)
                        } else {
                            0.0
                        },
                    });
                }
            }
            at = trace[rng.random_range(0..trace.len())];
            traces.push(trace);
        }
        Self {
            traces,
            pads,
            radius,
        }
    }

    pub(super) fn marks(&self, rng: &mut impl Rng) -> Vec<Mark> {
        let radius = vary(self.radius, 0.2, rng);
        let mut marks: Vec<Mark> = self
            .traces
            .iter()
            .map(|trace| Mark::Line(trace.iter().map(|[x, y]| [*x, *y, radius]).collect()))
            .collect();
        let mut holes = Vec::new();
        for pad in &self.pads {
            let [a, b] = pad.half.map(|part| vary(part, 0.12, rng));
            let [x, y] = pad.center;
            marks.push(Mark::Fill(match pad.is_round {
                true => disc([x, y], a, 24),
                false => vec![
                    [x - a, y - b],
                    [x + a, y - b],
                    [x + a, y + b],
                    [x - a, y + b],
                ],
            }));
            if pad.hole > 0.0 {
                holes.push(Mark::Cut(disc([x, y], a.min(b) * pad.hole, 16)));
            }
        }
        marks.extend(holes);
        marks
    }
}
