//! Colors and textures.

use rand::{Rng, RngExt};

use crate::drawing::{Color, mix, unit_vector};

/// A texture of two colors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    base: Color,
    accent: Color,
    pattern: Pattern,
}

#[derive(Debug, Clone, Copy)]
enum Pattern {
    Flat,
    /// From one color to the other along a direction, in 1/pixel.
    Gradient {
        direction: [f32; 2],
        start: f32,
    },
    /// Bands across a direction, in periods per pixel.
    Stripes {
        direction: [f32; 2],
    },
    /// Squares of this many pixels.
    Checker {
        cell: f32,
    },
    /// Smooth random spots of about this many pixels.
    Spots {
        cell: f32,
        key: u32,
    },
}

impl Paint {
    pub(super) const fn flat(color: Color) -> Self {
        Self {
            base: color,
            accent: color,
            pattern: Pattern::Flat,
        }
    }

    /// A texture with colors around `base`, for a region of `size` pixels around `center`.
    pub(super) fn textured(base: Color, center: [f32; 2], size: f32, rng: &mut impl Rng) -> Self {
        let strength = rng.random_range(15.0..45.0);
        let accent = base.map(|value| value + if value > 127.0 { -strength } else { strength });
        let direction = unit_vector(rng);
        let pattern = match rng.random_range(0..10_u32) {
            0..4 => Pattern::Flat,
            4..6 => {
                let [dx, dy] = direction.map(|part| part / size);
                Pattern::Gradient {
                    direction: [dx, dy],
                    start: dx * center[0] + dy * center[1] - 0.5,
                }
            }
            6..8 => {
                let period = rng.random_range(4.0..10.0);
                Pattern::Stripes {
                    direction: direction.map(|part| part / period),
                }
            }
            8 => Pattern::Checker {
                cell: rng.random_range(3.0..7.0),
            },
            _ => Pattern::Spots {
                cell: rng.random_range(3.0..8.0),
                key: rng.next_u32(),
            },
        };
        Self {
            base,
            accent,
            pattern,
        }
    }

    /// Smooth spots between two colors, like a photographed surface.
    pub(super) fn spots(base: Color, accent: Color, cell: f32, rng: &mut impl Rng) -> Self {
        Self {
            base,
            accent,
            pattern: Pattern::Spots {
                cell,
                key: rng.next_u32(),
            },
        }
    }

    pub(super) fn gradient(base: Color, accent: Color, size: f32, rng: &mut impl Rng) -> Self {
        let direction = unit_vector(rng).map(|part| part / size);
        Self {
            base,
            accent,
            pattern: Pattern::Gradient {
                direction,
                start: rng.random_range(-0.5..0.5),
            },
        }
    }

    pub(super) fn stripes(base: Color, accent: Color, period: f32, rng: &mut impl Rng) -> Self {
        let direction = unit_vector(rng).map(|part| part / period);
        Self {
            base,
            accent,
            pattern: Pattern::Stripes { direction },
        }
    }

    pub(super) fn color(&self, x: f32, y: f32) -> Color {
        let fraction = match self.pattern {
            Pattern::Flat => 0.0,
            Pattern::Gradient {
                direction: [dx, dy],
                start,
            } => (dx * x + dy * y - start).clamp(0.0, 1.0),
            Pattern::Stripes {
                direction: [dx, dy],
            } => {
                let phase = dx * x + dy * y;
                // A triangle wave from 0 to 1, made steeper for bands with soft edges.
                let wave = 2.0 * (phase - phase.floor() - 0.5).abs();
                ((wave - 0.5) * 3.0 + 0.5).clamp(0.0, 1.0)
            }
            Pattern::Checker { cell } => {
                let parity = (x / cell).floor() as i32 + (y / cell).floor() as i32;
                (parity & 1) as f32
            }
            Pattern::Spots { cell, key } => spots(x / cell, y / cell, key),
        };
        mix(self.base, self.accent, fraction)
    }
}

/// Random values from 0 to 1 on a unit grid, interpolated smoothly.
fn spots(x: f32, y: f32, key: u32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (smooth(x - column), smooth(y - row));
    let corner = |dx: i32, dy: i32| hash(column as i32 + dx, row as i32 + dy, key);
    let upper = corner(0, 0) * (1.0 - u) + corner(1, 0) * u;
    let lower = corner(0, 1) * (1.0 - u) + corner(1, 1) * u;
    upper * (1.0 - v) + lower * v
}

/// A value from 0 to 1 for each grid point, by an integer hash.
fn hash(x: i32, y: i32, key: u32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ key;
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    ((h ^ (h >> 15)) >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spots_fill_the_range_and_are_smooth() {
        let values: Vec<f32> = (0..4000).map(|i| spots(i as f32 * 0.01, 3.3, 9)).collect();
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(
            values
                .windows(2)
                .all(|pair| (pair[0] - pair[1]).abs() < 0.02)
        );
    }
}
