//! Random crops.

use image::imageops;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::visibility::visible_part;
use super::{Augmentation, Geometry, Sample};
use crate::random::chance;
use crate::{BoundingBox, DataError};

/// Crops a random window.
///
/// Boxes are clipped to the window. A box with too little area left is dropped, since its object is not recognizable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RandomCrop {
    /// Probability of a crop, from 0 to 1.
    pub probability: f32,
    /// The smallest fraction of the width and of the height to keep. Each fraction is uniform between this value and 1.
    pub min_scale: f32,
    /// The smallest fraction of the area of a box inside the window for the box to be kept.
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
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the [smallest scale](Self::min_scale).
    #[must_use]
    pub fn with_min_scale(mut self, min_scale: f32) -> Self {
        self.min_scale = min_scale;
        self
    }

    /// Sets the [smallest visible fraction](Self::min_visible) of a box.
    #[must_use]
    pub fn with_min_visible(mut self, min_visible: f32) -> Self {
        self.min_visible = min_visible;
        self
    }

    /// Start and length of the window along a side of `size` pixels.
    fn window(&self, size: u32, rng: &mut dyn Rng) -> (u32, u32) {
        let scale = rng.random_range(self.min_scale..=1.0);
        let length = ((size as f32 * scale).round() as u32).clamp(1, size);
        (rng.random_range(0..=size - length), length)
    }
}

impl Augmentation for RandomCrop {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if !chance(self.probability, rng) {
            return Ok(sample);
        }
        let (width, height) = sample.image().dimensions();
        let (left, crop_width) = self.window(width, rng);
        let (top, crop_height) = self.window(height, rng);
        let shift = Geometry::translation(-(left as f32), -(top as f32));
        let size = (crop_width, crop_height);
        let visible = |bbox: BoundingBox, _| {
            visible_part(shift.map(bbox), size, self.min_visible * bbox.area()).is_some()
        };
        let image =
            imageops::crop_imm(sample.image(), left, top, crop_width, crop_height).to_image();
        Ok(sample.retain(visible).map_to(image, shift))
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("min_scale", self.min_scale, 0.01..=1.0)?;
        DataError::require_in_range("min_visible", self.min_visible, 0.0..=1.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::*;
    use crate::sample_rng;

    #[test]
    fn boxes_are_kept_by_their_visible_fraction() {
        let boxes: Vec<(BoundingBox, usize)> = (0..8)
            .map(|i| BoundingBox::new(i as f32 * 10.0, 0.0, i as f32 * 10.0 + 10.0, 10.0))
            .zip(0..)
            .collect();
        let crop = RandomCrop {
            probability: 1.0,
            min_scale: 0.3,
            min_visible: 0.5,
        };
        // Every pixel encodes its coordinates.
        let image = RgbImage::from_fn(80, 10, |x, y| Rgb([x as u8, y as u8, 0]));
        for index in 0..50 {
            let sample = Sample::new(image.clone(), boxes.clone());
            let cropped = crop.apply(sample, &mut sample_rng(0, 0, index)).unwrap();
            let (width, height) = cropped.image().dimensions();
            let [left, top, _] = cropped.image().get_pixel(0, 0).0.map(f32::from);
            // Computed by hand from the window alone.
            let overlap = |start: f32, length: f32, from: f32| {
                ((start + length).min(from + 10.0) - start.max(from)).max(0.0)
            };
            let rows = overlap(top, height as f32, 0.0);
            let expected: Vec<usize> = (0..8)
                .filter(|i| overlap(left, width as f32, *i as f32 * 10.0) * rows >= 50.0)
                .collect();
            assert_eq!(cropped.labels(), expected);
            for bbox in cropped.boxes() {
                assert!(*bbox == bbox.clip(width, height) && !bbox.is_degenerate());
            }
        }
    }
}
