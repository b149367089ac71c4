//! Random blur.

use image::imageops;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Augmentation, Geometry, Sample};
use crate::DataError;
use crate::random::chance;

/// Blurs the image with a Gaussian whose standard deviation is uniform between two values. Its kernel is cut off as in
/// OpenCV, where a standard deviation of 1.2 pixels has 5 values and one of 2 pixels has 11.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GaussianBlur {
    /// Probability of a blur, from 0 to 1.
    pub probability: f32,
    /// The smallest standard deviation, in pixels.
    pub min_sigma: f32,
    /// The largest standard deviation, in pixels.
    pub max_sigma: f32,
}

impl Default for GaussianBlur {
    fn default() -> Self {
        Self {
            probability: 0.1,
            min_sigma: 0.3,
            max_sigma: 1.5,
        }
    }
}

impl GaussianBlur {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the [smallest](Self::min_sigma) and the [largest](Self::max_sigma) standard deviation, in pixels.
    #[must_use]
    pub fn with_sigma(mut self, min: f32, max: f32) -> Self {
        (self.min_sigma, self.max_sigma) = (min, max);
        self
    }
}

impl Augmentation for GaussianBlur {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if !chance(self.probability, rng) {
            return Ok(sample);
        }
        let sigma = rng.random_range(self.min_sigma..=self.max_sigma);
        let image = imageops::blur(sample.image(), sigma);
        Ok(sample.map_to(image, Geometry::IDENTITY))
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("min_sigma", self.min_sigma, 0.1..=20.0)?;
        DataError::require_in_range("max_sigma", self.max_sigma, self.min_sigma..=20.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::*;
    use crate::{BoundingBox, sample_rng};

    #[test]
    fn a_point_becomes_a_gaussian() {
        let mut image = RgbImage::new(21, 21);
        image.put_pixel(10, 10, Rgb([255, 0, 128]));
        let sample = Sample::new(image, [(BoundingBox::new(10.0, 10.0, 11.0, 11.0), 5)]);
        let sigma = 1.2_f32;
        let blur = GaussianBlur::default()
            .with_probability(1.0)
            .with_sigma(sigma, sigma);
        let result = blur
            .apply(sample.clone(), &mut sample_rng(0, 0, 0))
            .unwrap();
        assert_eq!(
            (result.boxes(), result.labels()),
            (sample.boxes(), sample.labels())
        );
        // Five values, with sum 1.
        let weights =
            [-2.0_f32, -1.0, 0.0, 1.0, 2.0].map(|x| (-x * x / (2.0 * sigma * sigma)).exp());
        let weight = |offset: u32| {
            let index = (offset + 2).checked_sub(10);
            let weight = index.and_then(|index| weights.get(index as usize));
            weight.unwrap_or(&0.0) / weights.iter().sum::<f32>()
        };
        for (x, y, pixel) in result.image().enumerate_pixels() {
            for (channel, height) in pixel.0.iter().zip([255.0, 0.0, 128.0]) {
                let expected = height * weight(x) * weight(y);
                assert!(
                    (f32::from(*channel) - expected).abs() < 1.0,
                    "{channel} is not {expected}"
                );
            }
        }
    }
}
