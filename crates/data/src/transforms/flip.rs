//! Horizontal and vertical flips.

use image::imageops;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Augmentation, Geometry, Sample};
use crate::DataError;
use crate::random::chance;

/// A way to mirror an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Swaps left and right.
    Horizontal,
    /// Swaps top and bottom.
    Vertical,
    /// Swaps both, a rotation by 180°.
    Both,
}

impl Flip {
    /// Whether left and right are swapped, and whether top and bottom are.
    pub fn axes(self) -> [bool; 2] {
        [self != Self::Vertical, self != Self::Horizontal]
    }

    /// The box `[x1, y1, x2, y2]` in the mirrored image, of which `size` is `[width, height]`. A second flip gives the
    /// first box again.
    ///
    /// ```
    /// use fcos_burn_data::transforms::Flip;
    /// let flipped = Flip::Horizontal.bbox([1.0, 2.0, 4.0, 8.0], [10.0, 20.0]);
    /// assert_eq!(flipped, [6.0, 2.0, 9.0, 8.0]);
    /// ```
    pub fn bbox(self, bbox: [f32; 4], size: [f32; 2]) -> [f32; 4] {
        let mut flipped = bbox;
        for (axis, length) in size.into_iter().enumerate() {
            if self.axes()[axis] {
                flipped[axis] = length - bbox[axis + 2];
                flipped[axis + 2] = length - bbox[axis];
            }
        }
        flipped
    }
}

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
        if !chance(self.probability, rng) {
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
        if !chance(self.probability, rng) {
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

    /// The boxes of the views of an image are mapped as those of a training image are.
    #[test]
    fn boxes_move_as_in_training() {
        let bbox = BoundingBox::new(1.0, 0.5, 3.0, 2.0);
        let sample = || Sample::new(RgbImage::new(10, 4), [(bbox, 0)]);
        let mut rng = sample_rng(0, 0, 0);
        let horizontal = HorizontalFlip { probability: 1.0 };
        let vertical = VerticalFlip { probability: 1.0 };
        let mut boxes = |steps: &[&dyn Augmentation]| {
            let mut apply = |sample, step: &&dyn Augmentation| step.apply(sample, &mut rng);
            let sample = steps.iter().try_fold(sample(), &mut apply).unwrap();
            sample.boxes()[0].to_xyxy()
        };
        for (flip, steps) in [
            (Flip::Horizontal, &[&horizontal as &dyn Augmentation][..]),
            (Flip::Vertical, &[&vertical]),
            (Flip::Both, &[&horizontal, &vertical]),
        ] {
            let flipped = flip.bbox(bbox.to_xyxy(), [10.0, 4.0]);
            assert_eq!(flipped, boxes(steps), "{flip:?}");
            assert_eq!(flip.bbox(flipped, [10.0, 4.0]), bbox.to_xyxy());
        }
    }
}
