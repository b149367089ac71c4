//! Horizontal and vertical flips.

use image::imageops;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Augmentation, Geometry, Sample};
use crate::DataError;

/// Swaps left and right with some probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HorizontalFlip {
    /// Probability of a flip, from 0 to 1.
    pub probability: f32,
}

impl Default for HorizontalFlip {
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

impl HorizontalFlip {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }
}

impl Augmentation for HorizontalFlip {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if rng.random::<f32>() >= self.probability {
            return Ok(sample);
        }
        let flip = Geometry {
            scale: [-1.0, 1.0],
            offset: [sample.image().width() as f32, 0.0],
        };
        let image = imageops::flip_horizontal(sample.image());
        Ok(sample.map_to(image, flip))
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)
    }
}

/// Swaps top and bottom with some probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VerticalFlip {
    /// Probability of a flip, from 0 to 1.
    pub probability: f32,
}

impl Default for VerticalFlip {
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

impl VerticalFlip {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }
}

impl Augmentation for VerticalFlip {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if rng.random::<f32>() >= self.probability {
            return Ok(sample);
        }
        let flip = Geometry {
            scale: [1.0, -1.0],
            offset: [0.0, sample.image().height() as f32],
        };
        let image = imageops::flip_vertical(sample.image());
        Ok(sample.map_to(image, flip))
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::*;
    use crate::{BoundingBox, sample_rng};

    #[test]
    fn flips_move_pixels_and_boxes() {
        let image = RgbImage::from_fn(4, 2, |x, y| Rgb([x as u8, y as u8, 0]));
        let sample = Sample::new(image, [(BoundingBox::new(0.0, 0.0, 1.0, 1.0), 0)]);
        let apply = |flip: &dyn Augmentation| {
            let mut rng = sample_rng(0, 0, 0);
            flip.apply(sample.clone(), &mut rng).unwrap()
        };
        let flipped = apply(&HorizontalFlip { probability: 1.0 });
        assert_eq!(flipped.image().get_pixel(3, 0), &Rgb([0, 0, 0]));
        assert_eq!(flipped.boxes(), [BoundingBox::new(3.0, 0.0, 4.0, 1.0)]);
        let flipped = apply(&VerticalFlip { probability: 1.0 });
        assert_eq!(flipped.image().get_pixel(0, 1), &Rgb([0, 0, 0]));
        assert_eq!(flipped.boxes(), [BoundingBox::new(0.0, 1.0, 1.0, 2.0)]);
        assert_eq!(apply(&HorizontalFlip { probability: 0.0 }), sample);
    }
}
