//! From the painted scene to an image: light, blur, exposure, noise and compression.

use image::{Rgb, RgbImage};
use rand::{Rng, RngExt};

use super::canvas::Canvas;
use super::compression::compress;
use super::curve::direction;
use super::palette::brightness;
use crate::SampleRng;
use crate::random::chance;

/// The light over the whole image: it falls off from one side to the other, and towards the corners.
#[derive(Debug, Clone, Copy)]
pub(super) struct Falloff {
    /// Direction to the light.
    direction: [f32; 2],
    /// Darkening per half side.
    slope: f32,
    /// Darkening of the corners.
    vignette: f32,
}

impl Falloff {
    pub(super) fn draw(rng: &mut impl Rng) -> Self {
        Self {
            direction: direction(rng.random()),
            slope: rng.random_range(0.0..0.3),
            vignette: if chance(0.4, rng) {
                rng.random_range(0.05..0.4)
            } else {
                0.0
            },
        }
    }

    pub(super) fn apply(&self, canvas: &mut Canvas) {
        let (half_width, half_height) = (0.5 * canvas.width as f32, 0.5 * canvas.height as f32);
        for (y, line) in canvas.pixels.chunks_exact_mut(canvas.width).enumerate() {
            let v = (y as f32 + 0.5) / half_height - 1.0;
            for (x, pixel) in line.iter_mut().enumerate() {
                let u = (x as f32 + 0.5) / half_width - 1.0;
                let along = self.direction[0] * u + self.direction[1] * v;
                let gain = (1.0 + self.slope * (along - 1.0))
                    * (1.0 - 0.5 * self.vignette * (u * u + v * v));
                *pixel = pixel.map(|value| value * gain);
            }
        }
    }
}

/// What a camera does to an image.
#[derive(Debug, Clone)]
pub(super) struct Camera {
    /// How often neighbors are averaged with weights 1/4, 1/2, 1/4 in both directions.
    blur: u32,
    /// Contrast, and what is added to the mean brightness.
    exposure: Option<[f32; 2]>,
    deviation: f32,
    /// The quantization step of the lowest frequency, if the image is compressed.
    compression: Option<f32>,
    /// Whether all channels of a pixel have the same noise.
    is_gray: bool,
    rng: SampleRng,
}

impl Camera {
    /// Changes nothing.
    pub(super) fn ideal(rng: &SampleRng) -> Self {
        Self {
            blur: 0,
            exposure: None,
            deviation: 0.0,
            compression: None,
            is_gray: true,
            rng: rng.clone(),
        }
    }

    pub(super) fn draw(is_gray: bool, rng: &mut SampleRng) -> Self {
        Self {
            blur: match rng.random_range(0..10_u32) {
                0..5 => 0,
                5..8 => 1,
                8 => 2,
                _ => rng.random_range(3..=6),
            },
            exposure: Some([rng.random_range(0.6..1.25), rng.random_range(-25.0..25.0)]),
            deviation: if chance(0.7, rng) {
                rng.random_range(0.5..9.0)
            } else {
                0.0
            },
            compression: chance(0.3, rng).then(|| rng.random_range(3.0..16.0)),
            is_gray: is_gray || chance(0.3, rng),
            rng: rng.clone(),
        }
    }

    /// The image.
    pub(super) fn expose(mut self, mut canvas: Canvas) -> RgbImage {
        for _ in 0..self.blur {
            blur(&mut canvas);
        }
        let [contrast, shift] = self.exposure.map_or([1.0, 0.0], |[contrast, change]| {
            let sum: f32 = canvas.pixels.iter().map(|color| brightness(*color)).sum();
            let mean = sum / canvas.pixels.len() as f32;
            // The mean stays well within the range.
            [
                contrast,
                (mean + change).clamp(20.0, 235.0) - contrast * mean,
            ]
        });
        for color in &mut canvas.pixels {
            let shared = if self.is_gray { self.noise() } else { 0.0 };
            for value in color {
                let noise = if self.is_gray { shared } else { self.noise() };
                let exposed = *value * contrast + shift;
                *value = (exposed + noise).clamp(0.0, 255.0);
            }
        }
        if let Some(step) = self.compression {
            compress(&mut canvas, step);
        }
        let values = canvas.pixels.iter().flatten();
        let bytes = values.map(|value| (value + 0.5) as u8).collect();
        let (width, height) = (canvas.width as u32, canvas.height as u32);
        RgbImage::from_raw(width, height, bytes)
            .unwrap_or_else(|| RgbImage::from_pixel(width, height, Rgb([0; 3])))
    }

    /// Approximately normal: the sum of four bytes, which has a standard deviation of 147.8.
    fn noise(&mut self) -> f32 {
        if self.deviation == 0.0 {
            return 0.0;
        }
        let bytes = self.rng.next_u32().to_le_bytes();
        let sum: u16 = bytes.into_iter().map(u16::from).sum();
        (f32::from(sum) - 510.0) * (self.deviation / 147.8)
    }
}

fn blur(canvas: &mut Canvas) {
    let (width, height) = (canvas.width, canvas.height);
    let mean = |a: [f32; 3], b: [f32; 3], c: [f32; 3]| -> [f32; 3] {
        std::array::from_fn(|channel| 0.25 * (a[channel] + c[channel]) + 0.5 * b[channel])
    };
    for line in canvas.pixels.chunks_exact_mut(width) {
        let mut before = line[0];
        for x in 0..width {
            let here = line[x];
            line[x] = mean(before, here, line[(x + 1).min(width - 1)]);
            before = here;
        }
    }
    let mut before = canvas.pixels[..width].to_vec();
    for y in 0..height {
        let below = (y + 1).min(height - 1) * width;
        for (x, before) in before.iter_mut().enumerate() {
            let here = canvas.pixels[y * width + x];
            canvas.pixels[y * width + x] = mean(*before, here, canvas.pixels[below + x]);
            *before = here;
        }
    }
}
