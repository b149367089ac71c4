//! Four images in one.

use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::companions::no_companions;
use super::resize::resized_part;
use super::visibility::visible_part;
use super::{Augmentation, Companions, Geometry, Sample};
use crate::DataError;
use crate::random::chance;

/// Divides the image at a random point into four tiles. One shows a part of the image itself, the others parts of three
/// other images (Bochkovskiy et al., "YOLOv4", 2020).
///
/// Each image is scaled by a random factor, or by a larger one if it would not fill its tile; the part that is shown is
/// random. Boxes are clipped to their tile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Mosaic {
    /// Probability of a mosaic, from 0 to 1.
    pub probability: f32,
    /// The smallest side of a tile, as a fraction of that of the image, from 0 to 0.5.
    pub min_tile: f32,
    /// The smallest factor of an image, from 0.1 to 10.
    pub min_scale: f32,
    /// The largest factor of an image, from 0.1 to 10.
    pub max_scale: f32,
    /// The smallest fraction of the area of a box inside its tile for the box to be kept.
    pub min_visible: f32,
}

impl Default for Mosaic {
    fn default() -> Self {
        Self {
            probability: 1.0,
            min_tile: 0.25,
            min_scale: 0.5,
            max_scale: 1.0,
            min_visible: 0.25,
        }
    }
}

impl Mosaic {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the smallest side of a [tile](Self::min_tile).
    #[must_use]
    pub fn with_min_tile(mut self, min_tile: f32) -> Self {
        self.min_tile = min_tile;
        self
    }

    /// Sets the [smallest](Self::min_scale) and the [largest](Self::max_scale) factor of an image.
    #[must_use]
    pub fn with_scale(mut self, min: f32, max: f32) -> Self {
        (self.min_scale, self.max_scale) = (min, max);
        self
    }

    /// Sets the [smallest visible fraction](Self::min_visible) of a box.
    #[must_use]
    pub fn with_min_visible(mut self, min_visible: f32) -> Self {
        self.min_visible = min_visible;
        self
    }

    /// A random part of the sample, scaled to fill a tile of this size.
    fn tile(
        &self,
        sample: &Sample,
        (width, height): (u32, u32),
        rng: &mut dyn Rng,
    ) -> Result<Sample, DataError> {
        let source = [sample.image().width(), sample.image().height()].map(f64::from);
        let tile = [width, height].map(f64::from);
        let factor = f64::from(rng.random_range(self.min_scale..=self.max_scale))
            .max(tile[0] / source[0])
            .max(tile[1] / source[1]);
        let mut interval = |axis: usize| {
            let length = (tile[axis] / factor).min(source[axis]);
            let start = rng.random::<f64>() * (source[axis] - length);
            (start, length.min(source[axis] - start))
        };
        let ((left, part_width), (top, part_height)) = (interval(0), interval(1));
        let part = [left, top, part_width, part_height];
        let image = resized_part(sample.image(), part, (width, height))?;
        let geometry = Geometry {
            scale: [factor as f32; 2],
            offset: [left, top].map(|start| -(start * factor) as f32),
        };
        let visible = sample.labeled_boxes().filter_map(|(bbox, label)| {
            let moved = geometry.map(bbox);
            let min_area = self.min_visible * moved.area();
            Some((visible_part(moved, (width, height), min_area)?, label))
        });
        Ok(Sample::new(image, visible))
    }
}

impl Augmentation for Mosaic {
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
        let (width, height) = sample.image().dimensions();
        let mut divided = |side: u32| {
            let fraction = rng.random_range(self.min_tile..=1.0 - self.min_tile);
            (fraction * side as f32).round() as u32
        };
        let (x, y) = (divided(width), divided(height));
        let own_tile = rng.random_range(0..4);
        let mut image = RgbImage::new(width, height);
        let mut objects = Vec::new();
        let tiles = [
            (0, 0, x, y),
            (x, 0, width - x, y),
            (0, y, x, height - y),
            (x, y, width - x, height - y),
        ];
        for (index, (left, top, width, height)) in tiles.into_iter().enumerate() {
            let other = match index == own_tile {
                true => None,
                false => Some(companions.draw(rng)?),
            };
            if width == 0 || height == 0 {
                continue;
            }
            let tile = self.tile(other.as_ref().unwrap_or(&sample), (width, height), rng)?;
            put(&mut image, tile.image(), (left, top));
            let shift = Geometry::translation(left as f32, top as f32);
            let moved = tile.labeled_boxes();
            objects.extend(moved.map(|(bbox, label)| (shift.map(bbox), label)));
        }
        Ok(Sample::new(image, objects))
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("min_tile", self.min_tile, 0.0..=0.5)?;
        DataError::require_in_range("min_scale", self.min_scale, 0.1..=10.0)?;
        DataError::require_in_range("max_scale", self.max_scale, self.min_scale..=10.0)?;
        DataError::require_in_range("min_visible", self.min_visible, 0.0..=1.0)
    }
}

/// Copies `tile`, which lies inside `image`, to the position `(left, top)`.
fn put(image: &mut RgbImage, tile: &RgbImage, (left, top): (u32, u32)) {
    let [row_len, tile_row_len, start] =
        [image.width(), tile.width(), left].map(|pixels| 3 * pixels as usize);
    let rows = image.chunks_exact_mut(row_len).skip(top as usize);
    for (row, tile_row) in rows.zip(tile.chunks_exact(tile_row_len)) {
        row[start..start + tile_row_len].copy_from_slice(tile_row);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;

    use image::Rgb;

    use super::*;
    use crate::{BoundingBox, sample_rng};

    const SIZE: (u32, u32) = (120, 90);

    /// A dark image whose hue encodes its label, with one bright rectangle and its box.
    fn scene(label: usize, (width, height): (u32, u32)) -> Sample {
        let (x, y) = (width / 4, height / 3);
        let inside = move |u: u32, v: u32| (x..x + 40).contains(&u) && (y..y + 30).contains(&v);
        let image = RgbImage::from_fn(width, height, |u, v| match inside(u, v) {
            true => Rgb([250, 250, 10 * label as u8]),
            false => Rgb([30, 30, 10 * label as u8]),
        });
        let [x, y] = [x, y].map(|edge| edge as f32);
        Sample::new(image, [(BoundingBox::new(x, y, x + 40.0, y + 30.0), label)])
    }

    /// Scenes of other sizes, with labels from 1 to 9 in turn.
    fn others() -> impl Companions {
        let drawn = Cell::new(0);
        move |rng: &mut dyn Rng| {
            drawn.set(drawn.get() % 9 + 1);
            let size = (rng.random_range(80..150), rng.random_range(80..150));
            Ok(scene(drawn.get(), size))
        }
    }

    fn mosaics() -> impl Iterator<Item = Sample> {
        let mosaic = Mosaic::default().with_min_visible(0.02);
        (0..80).map(move |index| {
            let rng = &mut sample_rng(3, 0, index);
            mosaic.apply_among(scene(0, SIZE), &others(), rng).unwrap()
        })
    }

    #[test]
    fn every_box_is_around_its_own_rectangle() {
        let mut followed = 0;
        for sample in mosaics() {
            assert_eq!(sample.image().dimensions(), SIZE);
            for (bbox, label) in sample.boxes().iter().zip(sample.labels()) {
                let pixels = sample.image().enumerate_pixels();
                let bright: Vec<(f32, f32)> = pixels
                    .filter(|(_, _, pixel)| pixel[0] > 140 && usize::from(pixel[2]) == 10 * label)
                    .map(|(x, y, _)| (x as f32, y as f32))
                    .collect();
                let edge = |value: fn(&(f32, f32)) -> f32, pick: fn(f32, f32) -> f32| {
                    bright.iter().map(value).reduce(pick).unwrap()
                };
                let found = [
                    edge(|p| p.0, f32::min),
                    edge(|p| p.1, f32::min),
                    edge(|p| p.0, f32::max) + 1.0,
                    edge(|p| p.1, f32::max) + 1.0,
                ];
                for (a, b) in found.iter().zip(bbox.to_xyxy()) {
                    assert!((a - b).abs() <= 1.01, "{found:?} is not {bbox:?}");
                }
                followed += 1;
            }
        }
        assert!(followed > 150, "{followed}");
    }

    #[test]
    fn all_pixels_are_of_the_images_and_one_tile_is_its_own() {
        for sample in mosaics() {
            let mut hues: Vec<u8> = sample.image().pixels().map(|pixel| pixel[2]).collect();
            hues.sort_unstable();
            hues.dedup();
            assert!(hues.contains(&0), "{hues:?}");
            assert!(
                hues.len() > 1 && hues.iter().all(|hue| hue % 10 == 0),
                "{hues:?}"
            );
            assert!(
                sample
                    .image()
                    .pixels()
                    .all(|pixel| (28..=252).contains(&pixel[0]))
            );
        }
    }

    #[test]
    fn barely_visible_boxes_are_dropped() {
        let strict = Mosaic::default().with_min_visible(1.0);
        for index in 0..40 {
            let rng = &mut sample_rng(3, 0, index);
            let sample = strict.apply_among(scene(0, SIZE), &others(), rng).unwrap();
            for bbox in sample.boxes() {
                // Uncut, the rectangle keeps its shape.
                assert!(
                    (bbox.width() / bbox.height() - 4.0 / 3.0).abs() < 1e-3,
                    "{bbox:?}"
                );
            }
        }
    }

    #[test]
    fn the_smallest_images_have_a_mosaic() {
        for size in [(1, 1), (1, 7), (2, 2)] {
            for index in 0..20 {
                let sample = Sample::new(RgbImage::new(size.0, size.1), []);
                let rng = &mut sample_rng(0, 0, index);
                let result =
                    Mosaic::default()
                        .with_min_tile(0.0)
                        .apply_among(sample, &others(), rng);
                assert_eq!(result.unwrap().image().dimensions(), size);
            }
        }
    }

    #[test]
    fn alone_it_is_an_error() {
        let error = Mosaic::default().apply(scene(0, SIZE), &mut sample_rng(0, 0, 0));
        assert!(error.unwrap_err().to_string().contains("no other images"));
    }
}
