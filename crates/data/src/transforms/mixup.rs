//! Two images blended.

use rand::Rng;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use super::companions::no_companions;
use super::visibility::visible_part;
use super::{Augmentation, Companions, Sample};
use crate::DataError;
use crate::random::chance;

/// Blends the image with another one and keeps the boxes of both (Zhang et al., "Bag of Freebies for Training Object
/// Detection Neural Networks", 2019).
///
/// The other image is not resized: both are aligned at the upper left. Where the other image ends, the image stays as it
/// is; parts of the other image outside are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Mixup {
    /// Probability of a blend, from 0 to 1.
    pub probability: f32,
    /// The share of the image is drawn from the distribution Beta(α, α). With a large α, it is always about one half, so
    /// that the objects of both images can be seen.
    pub alpha: f32,
    /// The smallest fraction of the area of a box of the other image inside this one for the box to be kept.
    pub min_visible: f32,
}

impl Default for Mixup {
    fn default() -> Self {
        Self {
            probability: 0.15,
            alpha: 32.0,
            min_visible: 0.25,
        }
    }
}

impl Mixup {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the [parameter](Self::alpha) of the distribution of the share.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f32) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets the [smallest visible fraction](Self::min_visible) of a box of the other image.
    #[must_use]
    pub fn with_min_visible(mut self, min_visible: f32) -> Self {
        self.min_visible = min_visible;
        self
    }
}

impl Augmentation for Mixup {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        self.apply_among(sample, &no_companions, rng)
    }

    fn apply_among(
        &self,
        sample: Sample,
        companions: &dyn Companions,
        rng: &mut dyn Rng,
    ) -> Result<Sample, DataError> {
        if !chance(self.probability, rng) {
            return Ok(sample);
        }
        let beta = Beta::new(self.alpha, self.alpha)
            .map_err(|error| DataError::augmentation("mixup", error.to_string()))?;
        let share = (beta.sample(rng) * 256.0).round() as u16;
        let other = companions.draw(rng)?;
        let size = sample.image().dimensions();
        let mut image = sample.image().clone();
        let [row_len, other_row_len] =
            [&image, other.image()].map(|image| 3 * image.width() as usize);
        let rows = image.chunks_exact_mut(row_len);
        for (row, other_row) in rows.zip(other.image().chunks_exact(other_row_len)) {
            for (value, other) in row.iter_mut().zip(other_row) {
                let sum = u16::from(*value) * share + u16::from(*other) * (256 - share);
                *value = ((u32::from(sum) + 128) >> 8) as u8;
            }
        }
        let visible = other.labeled_boxes().filter(|(bbox, _)| {
            visible_part(*bbox, size, self.min_visible * bbox.area()).is_some()
        });
        Ok(Sample::new(image, sample.labeled_boxes().chain(visible)))
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("alpha", self.alpha, 0.01..=1000.0)?;
        DataError::require_in_range("min_visible", self.min_visible, 0.0..=1.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::*;
    use crate::{BoundingBox, sample_rng};

    fn sample() -> Sample {
        let image = RgbImage::from_fn(20, 16, |x, y| Rgb([10 * x as u8, 12 * y as u8, 255]));
        Sample::new(image, [(BoundingBox::new(1.0, 2.0, 8.0, 9.0), 4)])
    }

    fn other(_: &mut dyn Rng) -> Result<Sample, DataError> {
        let objects = [
            (BoundingBox::new(2.0, 1.0, 10.0, 6.0), 7),
            // A quarter of this one is inside the sample, and less of the last one.
            (BoundingBox::new(14.0, 2.0, 38.0, 4.0), 8),
            (BoundingBox::new(14.0, 2.0, 40.0, 4.0), 9),
        ];
        Ok(Sample::new(
            RgbImage::from_pixel(40, 10, Rgb([100, 0, 50])),
            objects,
        ))
    }

    #[test]
    fn pixels_are_between_both_and_boxes_are_those_of_both() {
        let mixup = Mixup::default().with_probability(1.0).with_alpha(2.0);
        let mut shares = Vec::new();
        for index in 0..400 {
            let result = mixup
                .apply_among(sample(), &other, &mut sample_rng(0, 0, index))
                .unwrap();
            assert_eq!(result.labels(), [4, 7, 8]);
            assert_eq!(result.boxes()[2], BoundingBox::new(14.0, 2.0, 20.0, 4.0));
            let share = (f64::from(result.image().get_pixel(0, 0)[2]) - 50.0) / 205.0;
            let before = sample();
            for (x, y, pixel) in result.image().enumerate_pixels() {
                let own = before.image().get_pixel(x, y).0;
                for ((found, own), other) in pixel.0.iter().zip(own).zip([100.0, 0.0, 50.0]) {
                    let blend = share * f64::from(own) + (1.0 - share) * other;
                    let expected = if y < 10 { blend } else { f64::from(own) };
                    assert!(
                        (f64::from(*found) - expected).abs() < 1.2,
                        "{found} is not {expected}"
                    );
                }
            }
            shares.push(share);
        }
        // Beta(2, 2) has mean 1/2 and variance 1/20; five standard errors of each.
        let mean = shares.iter().sum::<f64>() / 400.0;
        let variance = shares
            .iter()
            .map(|share| (share - mean).powi(2))
            .sum::<f64>()
            / 400.0;
        assert!((mean - 0.5).abs() < 0.056, "{mean}");
        assert!((variance - 0.05).abs() < 0.014, "{variance}");
    }
}
