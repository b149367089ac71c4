//! Mirror images.

use image::imageops;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Geometry, Sample, require};
use crate::DataError;

/// Swaps left and right with some probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HorizontalFlip {
    /// How often, between 0 and 1.
    pub probability: f32,
}

impl Default for HorizontalFlip {
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

impl HorizontalFlip {
    /// Flips the sample, or does not.
    pub fn apply(&self, sample: Sample, rng: &mut impl Rng) -> Sample {
        if rng.random::<f32>() >= self.probability {
            return sample;
        }
        let mirror = Geometry {
            scale: [-1.0, 1.0],
            offset: [sample.image().width() as f32, 0.0],
        };
        let image = imageops::flip_horizontal(sample.image());
        sample.moved(image, mirror)
    }

    pub(super) fn validate(&self) -> Result<(), DataError> {
        require("horizontal_flip.probability", self.probability, 0.0..=1.0)
    }
}

/// Swaps top and bottom with some probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VerticalFlip {
    /// How often, between 0 and 1.
    pub probability: f32,
}

impl Default for VerticalFlip {
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

impl VerticalFlip {
    /// Flips the sample, or does not.
    pub fn apply(&self, sample: Sample, rng: &mut impl Rng) -> Sample {
        if rng.random::<f32>() >= self.probability {
            return sample;
        }
        let mirror = Geometry {
            scale: [1.0, -1.0],
            offset: [0.0, sample.image().height() as f32],
        };
        let image = imageops::flip_vertical(sample.image());
        sample.moved(image, mirror)
    }

    pub(super) fn validate(&self) -> Result<(), DataError> {
        require("vertical_flip.probability", self.probability, 0.0..=1.0)
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;
    use crate::{BoundingBox, sample_rng};

    #[test]
    fn flips_mirror_pixels_and_boxes() {
        let image = RgbImage::from_fn(4, 2, |x, y| Rgb([x as u8, y as u8, 0]));
        let sample = Sample::new(image, vec![BoundingBox::new(0.0, 0.0, 1.0, 1.0)], vec![0]);
        let mut rng = sample_rng(0, 0, 0);
        let flipped = HorizontalFlip { probability: 1.0 }.apply(sample.clone(), &mut rng);
        assert_eq!(flipped.image().get_pixel(3, 0), &Rgb([0, 0, 0]));
        assert_eq!(flipped.boxes(), [BoundingBox::new(3.0, 0.0, 4.0, 1.0)]);
        let flipped = VerticalFlip { probability: 1.0 }.apply(sample.clone(), &mut rng);
        assert_eq!(flipped.image().get_pixel(0, 1), &Rgb([0, 0, 0]));
        assert_eq!(flipped.boxes(), [BoundingBox::new(0.0, 1.0, 1.0, 2.0)]);
        assert_eq!(
            HorizontalFlip { probability: 0.0 }.apply(sample.clone(), &mut rng),
            sample
        );
    }
}
