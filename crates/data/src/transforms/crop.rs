//! Random cut-outs.

use image::imageops;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Geometry, Sample, require};
use crate::DataError;

/// Cuts a random rectangle out of the image.
///
/// Boxes are clipped to it; one of which too little is left is dropped, since its object can no longer be told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomCrop {
    /// How often, between 0 and 1.
    pub probability: f32,
    /// The smallest share of the width and of the height to keep, each drawn evenly between this and 1.
    pub min_scale: f32,
    /// The smallest share of a box's area that must be left for the box to be kept.
    pub min_visible: f32,
}

impl Default for RandomCrop {
    fn default() -> Self {
        Self {
            probability: 0.5,
            min_scale: 0.6,
            min_visible: 0.4,
        }
    }
}

impl RandomCrop {
    /// Crops the sample, or does not.
    pub fn apply(&self, sample: Sample, rng: &mut impl Rng) -> Sample {
        if rng.random::<f32>() >= self.probability {
            return sample;
        }
        let (width, height) = sample.image().dimensions();
        let (left, crop_width) = self.window(width, rng);
        let (top, crop_height) = self.window(height, rng);
        let offset = [-(left as f32), -(top as f32)];
        let step = Geometry {
            scale: [1.0, 1.0],
            offset,
        };
        let visible = |bbox: crate::BoundingBox| {
            let left = step.map(bbox).clip(crop_width, crop_height);
            left.has_extent() && left.area() >= self.min_visible * bbox.area()
        };
        let image =
            imageops::crop_imm(sample.image(), left, top, crop_width, crop_height).to_image();
        sample.retain(visible).moved(image, step)
    }

    /// Start and length of the window along a side of `size` pixels.
    fn window(&self, size: u32, rng: &mut impl Rng) -> (u32, u32) {
        let share = rng.random_range(self.min_scale..=1.0);
        let length = ((size as f32 * share).round() as u32).clamp(1, size);
        (rng.random_range(0..=size - length), length)
    }

    pub(super) fn validate(&self) -> Result<(), DataError> {
        require("random_crop.probability", self.probability, 0.0..=1.0)?;
        require("random_crop.min_scale", self.min_scale, 0.01..=1.0)?;
        require("random_crop.min_visible", self.min_visible, 0.0..=1.0)
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::{BoundingBox, sample_rng};

    #[test]
    fn boxes_are_kept_by_their_visible_share() {
        let boxes: Vec<_> = (0..8)
            .map(|i| BoundingBox::new(i as f32 * 10.0, 0.0, i as f32 * 10.0 + 10.0, 10.0))
            .collect();
        let labels: Vec<usize> = (0..8).collect();
        let crop = RandomCrop {
            probability: 1.0,
            min_scale: 0.3,
            min_visible: 0.5,
        };
        for index in 0..50 {
            let sample = Sample::new(RgbImage::new(80, 10), boxes.clone(), labels.clone());
            let cropped = crop.apply(sample, &mut sample_rng(0, 0, index));
            let shift = -cropped.geometry().offset[0];
            let (top, (width, height)) =
                (-cropped.geometry().offset[1], cropped.image().dimensions());
            // By hand, from the window alone.
            let overlap = |start: f32, length: f32, from: f32| {
                (start + length).min(from + 10.0) - start.max(from)
            };
            let rows = overlap(top, height as f32, 0.0).max(0.0);
            let expected: Vec<usize> = (0..8)
                .filter(|i| overlap(shift, width as f32, *i as f32 * 10.0).max(0.0) * rows >= 50.0)
                .collect();
            assert_eq!(cropped.labels(), expected);
            assert!(
                cropped
                    .boxes()
                    .iter()
                    .all(|bbox| *bbox == bbox.clip(width, height) && bbox.has_extent())
            );
        }
    }
}
