//! Random changes of color.

use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Augmentation, Sample};
use crate::DataError;

/// Weights of red, green and blue in a gray level (ITU-R BT.601).
const GRAY: [f32; 3] = [0.299, 0.587, 0.114];

/// Changes brightness, contrast, saturation and hue, in that order, each by a random amount.
///
/// For a strength `s`, the factor is drawn uniformly from `[1 - s, 1 + s]`. The hue is rotated by up to `hue` turns in
/// either direction. All four changes are linear in the color, so they are applied as one matrix and rounded once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ColorJitter {
    /// Strength of the brightness change, from 0 to 1.
    pub brightness: f32,
    /// Strength of the contrast change about the mean gray level of the image, from 0 to 1.
    pub contrast: f32,
    /// Strength of the saturation change, from 0 to 1.
    pub saturation: f32,
    /// Largest rotation of the hue in turns, from 0 to 0.5.
    pub hue: f32,
}

impl Default for ColorJitter {
    fn default() -> Self {
        Self {
            brightness: 0.3,
            contrast: 0.3,
            saturation: 0.3,
            hue: 0.03,
        }
    }
}

impl ColorJitter {
    /// Sets the strength of the [brightness](Self::brightness) change.
    #[must_use]
    pub fn with_brightness(mut self, brightness: f32) -> Self {
        self.brightness = brightness;
        self
    }

    /// Sets the strength of the [contrast](Self::contrast) change.
    #[must_use]
    pub fn with_contrast(mut self, contrast: f32) -> Self {
        self.contrast = contrast;
        self
    }

    /// Sets the strength of the [saturation](Self::saturation) change.
    #[must_use]
    pub fn with_saturation(mut self, saturation: f32) -> Self {
        self.saturation = saturation;
        self
    }

    /// Sets the largest rotation of the [hue](Self::hue), in turns.
    #[must_use]
    pub fn with_hue(mut self, hue: f32) -> Self {
        self.hue = hue;
        self
    }
}

impl Augmentation for ColorJitter {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        let mut factor = |strength: f32| 1.0 + rng.random_range(-strength..=strength);
        let (brightness, contrast) = (factor(self.brightness), factor(self.contrast));
        let saturation = factor(self.saturation);
        let turn = rng.random_range(-self.hue..=self.hue);
        let mean = brightness * mean_gray(sample.image());
        let mix = product(hue_matrix(turn), saturation_matrix(saturation));
        let gain = brightness * contrast;
        // Saturation and hue preserve gray levels, and with them the mean that contrast pivots about.
        let offset = mean * (1.0 - contrast);
        Ok(sample.recolor(|pixel| {
            let [r, g, b] = pixel.map(f32::from);
            // The cast clamps to the range of a byte.
            mix.map(|[mr, mg, mb]| ((mr * r + mg * g + mb * b) * gain + offset).round() as u8)
        }))
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("brightness", self.brightness, 0.0..=1.0)?;
        DataError::require_in_range("contrast", self.contrast, 0.0..=1.0)?;
        DataError::require_in_range("saturation", self.saturation, 0.0..=1.0)?;
        DataError::require_in_range("hue", self.hue, 0.0..=0.5)
    }
}

type Matrix = [[f32; 3]; 3];

fn mean_gray(image: &RgbImage) -> f32 {
    let sum: f64 = image
        .pixels()
        .map(|pixel| f64::from(gray(pixel.0.map(f32::from))))
        .sum();
    (sum / f64::from(image.width() * image.height()).max(1.0)) as f32
}

fn gray(rgb: [f32; 3]) -> f32 {
    rgb.iter()
        .zip(GRAY)
        .map(|(value, weight)| value * weight)
        .sum()
}

/// Moves each color away from its gray level by `factor`.
fn saturation_matrix(factor: f32) -> Matrix {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            (1.0 - factor) * GRAY[column] + if row == column { factor } else { 0.0 }
        })
    })
}

/// Rotates colors about the gray axis (1, 1, 1) by `turn` turns (Rodrigues' rotation formula).
fn hue_matrix(turn: f32) -> Matrix {
    let (sin, cos) = (turn * std::f32::consts::TAU).sin_cos();
    let (third, side) = ((1.0 - cos) / 3.0, sin / 3f32.sqrt());
    [
        [cos + third, third - side, third + side],
        [third + side, cos + third, third - side],
        [third - side, third + side, cos + third],
    ]
}

fn product(a: Matrix, b: Matrix) -> Matrix {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| (0..3).map(|k| a[row][k] * b[k][column]).sum())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::Rgb;

    use super::*;
    use crate::sample_rng;

    #[test]
    fn a_third_of_a_turn_permutes_the_channels() {
        let turned = hue_matrix(1.0 / 3.0);
        let expected = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        for (row, wanted) in turned.iter().flatten().zip(expected.iter().flatten()) {
            assert!((row - wanted).abs() < 1e-6, "{turned:?}");
        }
    }

    #[test]
    fn zero_strength_changes_nothing_and_grays_stay_gray() {
        let colors = RgbImage::from_fn(16, 16, |x, y| Rgb([16 * x as u8, 16 * y as u8, 99]));
        let none = ColorJitter {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
        };
        let sample = Sample::new(colors, []);
        assert_eq!(
            none.apply(sample.clone(), &mut sample_rng(0, 0, 0))
                .unwrap(),
            sample
        );

        let grays = Sample::new(RgbImage::from_fn(16, 16, |x, _| Rgb([16 * x as u8; 3])), []);
        let turned = ColorJitter {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 1.0,
            hue: 0.5,
        };
        let turned = turned
            .apply(grays.clone(), &mut sample_rng(0, 0, 1))
            .unwrap();
        assert!(
            turned
                .image()
                .pixels()
                .zip(grays.image().pixels())
                .all(|(a, b)| a[0].abs_diff(b[0]) <= 1)
        );
    }

    #[test]
    fn contrast_keeps_the_mean() {
        let image = RgbImage::from_fn(32, 32, |x, y| Rgb([100 + x as u8, 90 + y as u8, 110]));
        let jitter = ColorJitter {
            brightness: 0.0,
            contrast: 0.9,
            saturation: 0.0,
            hue: 0.0,
        };
        let before = mean_gray(&image);
        for index in 0..8 {
            let sample = Sample::new(image.clone(), []);
            let after = jitter.apply(sample, &mut sample_rng(0, 0, index)).unwrap();
            assert!((mean_gray(after.image()) - before).abs() < 0.5);
        }
    }
}
