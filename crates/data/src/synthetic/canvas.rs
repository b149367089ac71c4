//! The picture while it is painted.

use super::mask::Coverage;
use super::paint::Paint;
use super::palette::brightness;
use crate::drawing::{Color, mix};

/// Colors of all pixels, by rows.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<Color>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![[0.0; 3]; width * height],
        }
    }

    /// Paints all pixels.
    pub(super) fn fill(&mut self, paint: &Paint) {
        for (y, line) in self.pixels.chunks_exact_mut(self.width).enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                *pixel = paint.color(x, y);
            }
        }
    }

    /// Paints over the covered pixels.
    pub(super) fn paint(&mut self, coverage: &Coverage, paint: &Paint, opacity: f32) {
        self.change(coverage, |below, x, y, alpha| {
            mix(below, paint.color(x, y), alpha * opacity)
        });
    }

    /// Multiplies the covered pixels.
    pub(super) fn darken(&mut self, coverage: &Coverage, strength: f32) {
        self.change(coverage, |below, _, _, alpha| {
            below.map(|value| value * (1.0 - strength * alpha))
        });
    }

    fn change(&mut self, coverage: &Coverage, change: impl Fn(Color, usize, usize, f32) -> Color) {
        for (y, line) in coverage.rows() {
            let start = y * self.width + coverage.x;
            let pixels = &mut self.pixels[start..start + line.len()];
            for (index, (pixel, alpha)) in pixels.iter_mut().zip(line).enumerate() {
                if *alpha > 0.0 {
                    *pixel = change(*pixel, coverage.x + index, y, *alpha);
                }
            }
        }
    }

    /// The colors of the covered pixels; gray if there are none.
    pub(super) fn below(&self, coverage: &Coverage) -> Below {
        let (mut sum, mut squares, mut weight) = ([0.0; 3], 0.0, 0.0);
        for (y, line) in coverage.rows() {
            let start = y * self.width + coverage.x;
            for (pixel, alpha) in self.pixels[start..start + line.len()].iter().zip(line) {
                if *alpha > 0.0 {
                    let tone = brightness(*pixel);
                    weight += alpha;
                    squares += alpha * tone * tone;
                    sum = std::array::from_fn(|channel| sum[channel] + alpha * pixel[channel]);
                }
            }
        }
        if weight == 0.0 {
            return Below {
                color: [127.0; 3],
                deviation: 0.0,
            };
        }
        let color: Color = sum.map(|part: f32| part / weight);
        let tone = brightness(color);
        Below {
            color,
            deviation: (squares / weight - tone * tone).max(0.0).sqrt(),
        }
    }
}

/// What an object is painted on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Below {
    /// The mean color.
    pub color: Color,
    /// The standard deviation of the brightness.
    pub deviation: f32,
}
