//! Periodic random textures, computed once and read at any position, direction and zoom.

use std::sync::LazyLock;

use rand::{Rng, RngExt};

use super::curve::direction;
use crate::random::keyed_rng;

/// Texels along each side of a tile.
const SIDE: usize = 128;

/// Bits of a fraction of a texel.
const FRACTION: u32 = 16;

/// The statistics of a texture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texture {
    /// Spectra that fall off fast, as those of natural images do, and slowly.
    Smooth,
    Clouds,
    Rough,
    /// Almost white noise.
    Grain,
    /// Thin bright lines.
    Veins,
    /// Distance from the nearest of random points.
    Cells,
    /// Borders between the nearest of random points.
    Cracks,
    Spots,
    /// Stretched along one direction.
    Fibers,
    /// Short marks in one direction.
    Dashes,
    /// Two tones with ragged borders.
    Blotches,
    Weave,
}

impl Texture {
    pub(super) const ALL: [Self; 12] = [
        Self::Smooth,
        Self::Clouds,
        Self::Rough,
        Self::Grain,
        Self::Veins,
        Self::Cells,
        Self::Cracks,
        Self::Spots,
        Self::Fibers,
        Self::Dashes,
        Self::Blotches,
        Self::Weave,
    ];

    /// The texture at a random place and direction. `zoom` is in texels per pixel.
    pub(super) fn placed(self, zoom: f32, turn: f32, rng: &mut impl Rng) -> Sampler {
        static TILES: LazyLock<Vec<Vec<f32>>> = LazyLock::new(|| Texture::ALL.map(tile).into());
        Sampler {
            tile: &TILES[self as usize],
            frame: Frame::new(zoom, turn, rng),
        }
    }
}

/// Coordinates of a texture, in 16.16 fixed point, which wrap around.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    origin: [i32; 2],
    cos: i32,
    sin: i32,
}

impl Frame {
    /// Coordinates with a random origin that change by `scale` per pixel.
    pub(super) fn new(scale: f32, turn: f32, rng: &mut impl Rng) -> Self {
        let [cos, sin] = direction(turn).map(|part| (part * scale * (1 << FRACTION) as f32) as i32);
        Self {
            origin: [rng.random(), rng.random()],
            cos,
            sin,
        }
    }

    pub(super) fn at(&self, x: i32, y: i32) -> [i32; 2] {
        let [u, v] = self.origin;
        let along = self
            .cos
            .wrapping_mul(x)
            .wrapping_add(self.sin.wrapping_mul(y));
        let across = self
            .cos
            .wrapping_mul(y)
            .wrapping_sub(self.sin.wrapping_mul(x));
        [u.wrapping_add(along), v.wrapping_add(across)]
    }
}

/// A texture at a place. Values have mean 0 and standard deviation 0.5.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampler {
    tile: &'static [f32],
    frame: Frame,
}

impl Sampler {
    pub(super) fn at(&self, x: i32, y: i32) -> f32 {
        const MASK: usize = SIDE - 1;
        let [u, v] = self.frame.at(x, y);
        let texel = |value: i32| (value >> FRACTION) as usize & MASK;
        let part = |value: i32| (value & ((1 << FRACTION) - 1)) as f32 / (1 << FRACTION) as f32;
        let (column, row) = (texel(u), texel(v) * SIDE);
        let (right, below) = ((column + 1) & MASK, (row + SIDE) & (SIDE * SIDE - 1));
        let (a, b) = (part(u), part(v));
        let tile = self.tile;
        let upper = tile[row + column] + a * (tile[row + right] - tile[row + column]);
        let lower = tile[below + column] + a * (tile[below + right] - tile[below + column]);
        upper + b * (lower - upper)
    }
}

/// Random values on a periodic grid, interpolated smoothly to all texels.
fn octave(columns: usize, rows: usize, rng: &mut impl Rng) -> Vec<f32> {
    let grid: Vec<f32> = (0..columns * rows)
        .map(|_| rng.random_range(-1.0..=1.0))
        .collect();
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let place = |texel: usize, cells: usize| {
        let position = texel as f32 * cells as f32 / SIDE as f32;
        let cell = position as usize;
        (cell, (cell + 1) % cells, smooth(position - cell as f32))
    };
    let texel = |index: usize| {
        let (left, right, a) = place(index % SIDE, columns);
        let (upper, lower, b) = place(index / SIDE, rows);
        let row =
            |row: usize| grid[row * columns + left] * (1.0 - a) + grid[row * columns + right] * a;
        row(upper) * (1.0 - b) + row(lower) * b
    };
    (0..SIDE * SIDE).map(texel).collect()
}

/// A sum of octaves whose amplitudes fall off by `gain`, the coarsest with this many cells.
fn octaves(coarsest: [usize; 2], gain: f32, rng: &mut impl Rng) -> Vec<f32> {
    let mut sum = vec![0.0; SIDE * SIDE];
    let ([mut columns, mut rows], mut amplitude) = (coarsest, 1.0);
    while columns.max(rows) <= SIDE {
        for (sum, value) in sum.iter_mut().zip(octave(columns, rows, rng)) {
            *sum += amplitude * value;
        }
        (columns, rows, amplitude) = (2 * columns, 2 * rows, amplitude * gain);
    }
    sum
}

/// Distances of each texel from the nearest and the second nearest of random points, in cells.
fn distances(cells: usize, rng: &mut impl Rng) -> Vec<[f32; 2]> {
    let points: Vec<[f32; 2]> = (0..cells * cells)
        .map(|_| [rng.random(), rng.random()])
        .collect();
    let texel = |index: usize| {
        let position =
            [index % SIDE, index / SIDE].map(|at| at as f32 * cells as f32 / SIDE as f32);
        let (column, row) = (position[0] as usize, position[1] as usize);
        let mut nearest = [f32::MAX; 2];
        for dy in 0..3 {
            for dx in 0..3 {
                let (x, y) = (
                    (column + cells + dx - 1) % cells,
                    (row + cells + dy - 1) % cells,
                );
                let [px, py] = points[y * cells + x];
                let ex = column as f32 + dx as f32 - 1.0 + px - position[0];
                let ey = row as f32 + dy as f32 - 1.0 + py - position[1];
                let distance = (ex * ex + ey * ey).sqrt();
                if distance < nearest[0] {
                    nearest = [distance, nearest[0]];
                } else {
                    nearest[1] = nearest[1].min(distance);
                }
            }
        }
        nearest
    };
    (0..SIDE * SIDE).map(texel).collect()
}

fn tile(texture: Texture) -> Vec<f32> {
    let rng = &mut keyed_rng(*b"texture.", texture as u64, 0, 0);
    // A step from -1 to 1 around `at`, `width` wide.
    let step = |value: f32, at: f32, width: f32| ((value - at) / width).clamp(-1.0, 1.0);
    let values: Vec<f32> = match texture {
        Texture::Smooth => octaves([4, 4], 0.4, rng),
        Texture::Clouds => octaves([4, 4], 0.6, rng),
        Texture::Rough => octaves([8, 8], 0.85, rng),
        Texture::Grain => octaves([64, 64], 1.0, rng),
        Texture::Veins => {
            let values = octaves([4, 4], 0.55, rng);
            values
                .iter()
                .map(|value| 1.0 - (4.0 * value.abs()).min(1.5))
                .collect()
        }
        Texture::Cells => distances(12, rng).iter().map(|[first, _]| -first).collect(),
        Texture::Cracks => {
            let borders = distances(9, rng);
            let coarse = octaves([16, 16], 0.7, rng);
            let crack = |([first, second], bend): (&[f32; 2], &f32)| {
                step(second - first + 0.1 * bend, 0.1, 0.12)
            };
            borders.iter().zip(&coarse).map(crack).collect()
        }
        Texture::Spots => distances(14, rng)
            .iter()
            .map(|[first, _]| -step(*first, 0.25, 0.1))
            .collect(),
        Texture::Fibers => octaves([2, 32], 0.75, rng),
        Texture::Dashes => {
            let values = octaves([8, 32], 0.6, rng);
            values
                .iter()
                .map(|value| step(*value, 0.75, 0.25))
                .collect()
        }
        Texture::Blotches => {
            let values = octaves([6, 6], 0.65, rng);
            values.iter().map(|value| step(*value, 0.0, 0.15)).collect()
        }
        Texture::Weave => {
            let noise = octaves([8, 8], 0.7, rng);
            let thread = |index: usize| {
                let (x, y) = (index % SIDE / 4, index / SIDE / 4);
                let (a, b) = (
                    (index % SIDE % 4) as f32 - 1.5,
                    (index / SIDE % 4) as f32 - 1.5,
                );
                let across = if (x + y) % 2 == 0 { a } else { b };
                1.0 - 0.6 * across.abs() + 0.25 * noise[index]
            };
            (0..SIDE * SIDE).map(thread).collect()
        }
    };
    normalized(&values)
}

/// The values with mean 0 and standard deviation 0.5, without outliers.
fn normalized(values: &[f32]) -> Vec<f32> {
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    let variance = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum::<f32>()
        / count;
    let factor = 0.5 / variance.sqrt();
    values
        .iter()
        .map(|value| ((value - mean) * factor).clamp(-1.6, 1.6))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    #[test]
    fn textures_are_normalized_periodic_and_continuous() {
        for texture in Texture::ALL {
            let values = tile(texture);
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            let square =
                values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
            assert!(mean.abs() < 0.06, "{texture:?}: mean {mean}");
            assert!(
                (0.15..0.3).contains(&square),
                "{texture:?}: variance {square}"
            );
            let sampler = texture.placed(0.05, 0.0, &mut sample_rng(0, 0, 0));
            let line: Vec<f32> = (0..4000).map(|x| sampler.at(x, 7)).collect();
            assert!(
                line.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.17),
                "{texture:?}"
            );
            // 128 texels are 2560 pixels, up to the rounding of the step.
            assert!((line[0] - line[2560]).abs() < 0.2, "{texture:?}");
        }
    }
}
