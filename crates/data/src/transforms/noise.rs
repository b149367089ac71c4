//! Random noise.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{Augmentation, Sample};
use crate::DataError;
use crate::random::chance;

/// Adds independent Gaussian noise to every channel of every pixel. Its standard deviation is uniform between two values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GaussianNoise {
    /// Probability of noise, from 0 to 1.
    pub probability: f32,
    /// The smallest standard deviation, for pixel values from 0 to 255.
    pub min_deviation: f32,
    /// The largest standard deviation, for pixel values from 0 to 255.
    pub max_deviation: f32,
}

impl Default for GaussianNoise {
    fn default() -> Self {
        Self {
            probability: 0.1,
            min_deviation: 1.0,
            max_deviation: 10.0,
        }
    }
}

impl GaussianNoise {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the [smallest](Self::min_deviation) and the [largest](Self::max_deviation) standard deviation, for pixel
    /// values from 0 to 255.
    #[must_use]
    pub fn with_deviation(mut self, min: f32, max: f32) -> Self {
        (self.min_deviation, self.max_deviation) = (min, max);
        self
    }
}

impl Augmentation for GaussianNoise {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if !chance(self.probability, rng) {
            return Ok(sample);
        }
        let deviation = rng.random_range(self.min_deviation..=self.max_deviation);
        // Faster than a call through `dyn Rng` for each value.
        let mut rng = ChaCha8Rng::seed_from_u64(rng.random());
        Ok(sample.recolor(|color| {
            color.map(|channel| {
                let noise: f32 = StandardNormal.sample(&mut rng);
                // The cast rounds down and clamps to the range of a byte.
                (f32::from(channel) + deviation * noise + 0.5) as u8
            })
        }))
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("min_deviation", self.min_deviation, 0.0..=255.0)?;
        DataError::require_in_range(
            "max_deviation",
            self.max_deviation,
            self.min_deviation..=255.0,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::*;
    use crate::sample_rng;

    #[test]
    fn the_noise_has_mean_0_its_deviation_and_no_correlation() {
        let sample = Sample::new(RgbImage::from_pixel(200, 100, Rgb([100, 128, 150])), []);
        let noise = GaussianNoise::default()
            .with_probability(1.0)
            .with_deviation(8.0, 8.0);
        let result = noise
            .apply(sample.clone(), &mut sample_rng(0, 0, 0))
            .unwrap();
        let differences: Vec<f64> = (result.image().as_raw().iter())
            .zip(sample.image().as_raw())
            .map(|(after, before)| f64::from(*after) - f64::from(*before))
            .collect();
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / 60_000.0;
        // Five standard errors of 60,000 values.
        assert!(mean(&mut differences.iter().copied()).abs() < 5.0 * 8.0 / 245.0);
        let variance = mean(&mut differences.iter().map(|value| value * value));
        // Rounding adds 1/12.
        assert!((variance - 64.0 - 1.0 / 12.0).abs() < 5.0 * 64.0 * (2.0_f64 / 60_000.0).sqrt());
        for lag in [1, 3, 600] {
            let products = differences
                .iter()
                .zip(&differences[lag..])
                .map(|(a, b)| a * b);
            assert!(
                mean(&mut products.into_iter()).abs() < 5.0 * 64.0 / 245.0,
                "{lag}"
            );
        }
        let beyond = differences
            .iter()
            .filter(|value| value.abs() > 16.5)
            .count() as f64;
        // P(|z| > 16.5 / 8) = 3.92 %.
        assert!((beyond / 60_000.0 - 0.0392).abs() < 0.004, "{beyond}");
    }

    #[test]
    fn values_do_not_wrap_around() {
        let image = RgbImage::from_fn(40, 40, |x, _| Rgb([if x < 20 { 0 } else { 255 }; 3]));
        let noise = GaussianNoise::default()
            .with_probability(1.0)
            .with_deviation(20.0, 20.0);
        let sample = Sample::new(image.clone(), []);
        let result = noise.apply(sample, &mut sample_rng(0, 0, 1)).unwrap();
        for (after, before) in result.image().as_raw().iter().zip(image.as_raw()) {
            assert!(after.abs_diff(*before) < 128);
        }
    }
}
