//! Random changes of colour.

use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Sample, require};
use crate::DataError;

/// Weights of red, green and blue in a grey value (ITU-R BT.601).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// Changes brightness, contrast, saturation and hue, in that order, each by a random amount.
///
/// A strength `s` draws a factor evenly from `[1 - s, 1 + s]`; the hue turns by up to `hue` of a full circle either way.
/// The four changes are linear in the colour, so they are applied as one matrix and rounded once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ColorJitter {
    /// Strength of the change of brightness, between 0 and 1.
    pub brightness: f32,
    /// Strength of the change of contrast about the image's mean grey, between 0 and 1.
    pub contrast: f32,
    /// Strength of the change of saturation, between 0 and 1.
    pub saturation: f32,
    /// Largest turn of the hue, between 0 and 0.5 of a circle.
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
    /// Changes the colours of the sample.
    pub fn apply(&self, sample: Sample, rng: &mut impl Rng) -> Sample {
        let mut factor = |strength: f32| 1.0 + rng.random_range(-strength..=strength);
        let (brightness, contrast) = (factor(self.brightness), factor(self.contrast));
        let saturation = factor(self.saturation);
        let turn = rng.random_range(-self.hue..=self.hue);
        sample.recolored(|image| {
            let mean = brightness * mean_grey(image);
            let mix = product(hue_matrix(turn), saturation_matrix(saturation));
            let gain = brightness * contrast;
            // Greys, and so the mean that contrast pivots about, are left alone by saturation and hue.
            let offset = mean * (1.0 - contrast);
            for pixel in image.pixels_mut() {
                let [r, g, b] = pixel.0.map(f32::from);
                pixel.0 = mix.map(|[mr, mg, mb]| {
                    // The cast saturates: colours beyond the range are cut.
                    ((mr * r + mg * g + mb * b) * gain + offset).round() as u8
                });
            }
        })
    }

    pub(super) fn validate(&self) -> Result<(), DataError> {
        require("color_jitter.brightness", self.brightness, 0.0..=1.0)?;
        require("color_jitter.contrast", self.contrast, 0.0..=1.0)?;
        require("color_jitter.saturation", self.saturation, 0.0..=1.0)?;
        require("color_jitter.hue", self.hue, 0.0..=0.5)
    }
}

type Matrix = [[f32; 3]; 3];

fn mean_grey(image: &RgbImage) -> f32 {
    let sum: f64 = image
        .pixels()
        .map(|pixel| f64::from(grey(pixel.0.map(f32::from))))
        .sum();
    (sum / f64::from(image.width() * image.height()).max(1.0)) as f32
}

fn grey(rgb: [f32; 3]) -> f32 {
    rgb.iter()
        .zip(GREY)
        .map(|(value, weight)| value * weight)
        .sum()
}

/// Moves each colour away from its grey by `factor`.
fn saturation_matrix(factor: f32) -> Matrix {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            (1.0 - factor) * GREY[column] + if row == column { factor } else { 0.0 }
        })
    })
}

/// Turns colours about the grey axis (1, 1, 1) by `turn` of a circle: Rodrigues' rotation.
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
    fn no_strength_changes_nothing_and_greys_stay_grey() {
        let colors = RgbImage::from_fn(16, 16, |x, y| Rgb([16 * x as u8, 16 * y as u8, 99]));
        let none = ColorJitter {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
        };
        let sample = Sample::new(colors, vec![], vec![]);
        assert_eq!(none.apply(sample.clone(), &mut sample_rng(0, 0, 0)), sample);

        let greys = Sample::new(
            RgbImage::from_fn(16, 16, |x, _| Rgb([16 * x as u8; 3])),
            vec![],
            vec![],
        );
        let turned = ColorJitter {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 1.0,
            hue: 0.5,
        };
        let turned = turned.apply(greys.clone(), &mut sample_rng(0, 0, 1));
        assert!(
            turned
                .image()
                .pixels()
                .zip(greys.image().pixels())
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
        let before = mean_grey(&image);
        for index in 0..8 {
            let after = jitter.apply(
                Sample::new(image.clone(), vec![], vec![]),
                &mut sample_rng(0, 0, index),
            );
            assert!((mean_grey(after.image()) - before).abs() < 0.5);
        }
    }
}
