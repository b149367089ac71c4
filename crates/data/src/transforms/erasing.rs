//! Random erasing.

use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Augmentation, Geometry, Sample};
use crate::random::chance;
use crate::{BoundingBox, DataError};

/// Covers random rectangles of the image, each with a random color (Zhong et al., "Random Erasing Data Augmentation",
/// 2020).
///
/// A box that is mostly covered is dropped, since its object is not recognizable. The others stay as they are: the network
/// learns to find objects that are partly hidden.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RandomErasing {
    /// Probability of erasing, from 0 to 1.
    pub probability: f32,
    /// The largest number of rectangles, from 1 to 64. The number is uniform between 1 and this.
    pub max_count: usize,
    /// The smallest area of a rectangle, as a fraction of that of the image.
    pub min_area: f32,
    /// The largest area of a rectangle, as a fraction of that of the image.
    pub max_area: f32,
    /// The largest ratio of the longer to the shorter side of a rectangle. Its logarithm is uniform.
    pub max_aspect: f32,
    /// The largest fraction of the area of a box that may be covered for the box to be kept.
    pub max_erased: f32,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self {
            probability: 0.2,
            max_count: 3,
            min_area: 0.005,
            max_area: 0.05,
            max_aspect: 3.0,
            max_erased: 0.6,
        }
    }
}

impl RandomErasing {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the largest [number](Self::max_count) of rectangles.
    #[must_use]
    pub fn with_max_count(mut self, max_count: usize) -> Self {
        self.max_count = max_count;
        self
    }

    /// Sets the [smallest](Self::min_area) and the [largest](Self::max_area) area of a rectangle, as fractions of that of
    /// the image.
    #[must_use]
    pub fn with_area(mut self, min: f32, max: f32) -> Self {
        (self.min_area, self.max_area) = (min, max);
        self
    }

    /// Sets the largest [aspect ratio](Self::max_aspect) of a rectangle.
    #[must_use]
    pub fn with_max_aspect(mut self, max_aspect: f32) -> Self {
        self.max_aspect = max_aspect;
        self
    }

    /// Sets the largest [covered fraction](Self::max_erased) of a box.
    #[must_use]
    pub fn with_max_erased(mut self, max_erased: f32) -> Self {
        self.max_erased = max_erased;
        self
    }

    /// A random rectangle inside an image of this size.
    fn draw(&self, (width, height): (u32, u32), rng: &mut dyn Rng) -> Rectangle {
        let fraction = rng.random_range(self.min_area..=self.max_area);
        let limit = self.max_aspect.ln();
        let aspect = rng.random_range(-limit..=limit).exp();
        let area = fraction * width as f32 * height as f32;
        let mut interval = |length: f32, side: u32| {
            let length = (length.round() as u32).clamp(1, side);
            let start = rng.random_range(0..=side - length);
            [start, start + length]
        };
        Rectangle {
            x: interval((area * aspect).sqrt(), width),
            y: interval((area / aspect).sqrt(), height),
        }
    }
}

impl Augmentation for RandomErasing {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if !chance(self.probability, rng) {
            return Ok(sample);
        }
        let count = rng.random_range(1..=self.max_count);
        let mut image = sample.image().clone();
        let mut rectangles = Vec::with_capacity(count);
        for _ in 0..count {
            let rectangle = self.draw(image.dimensions(), rng);
            rectangle.paint(&mut image, rng.random());
            rectangles.push(rectangle);
        }
        Ok(sample
            .retain(|bbox, _| covered(bbox, &rectangles) <= self.max_erased * bbox.area())
            .map_to(image, Geometry::IDENTITY))
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("max_count", self.max_count, 1..=64)?;
        DataError::require_in_range("min_area", self.min_area, 0.0..=1.0)?;
        DataError::require_in_range("max_area", self.max_area, self.min_area..=1.0)?;
        DataError::require_in_range("max_aspect", self.max_aspect, 1.0..=100.0)?;
        DataError::require_in_range("max_erased", self.max_erased, 0.0..=1.0)
    }
}

/// Whole pixels from `x[0]` to before `x[1]` and from `y[0]` to before `y[1]`.
#[derive(Debug, Clone, Copy)]
struct Rectangle {
    x: [u32; 2],
    y: [u32; 2],
}

impl Rectangle {
    fn paint(&self, image: &mut RgbImage, color: [u8; 3]) {
        let row_len = 3 * image.width() as usize;
        let [left, right, top, bottom] =
            [self.x[0], self.x[1], self.y[0], self.y[1]].map(|edge| edge as usize);
        for row in image.chunks_exact_mut(row_len).take(bottom).skip(top) {
            for pixel in row[3 * left..3 * right].chunks_exact_mut(3) {
                pixel.copy_from_slice(&color);
            }
        }
    }
}

/// The area of `bbox` that the rectangles cover together.
fn covered(bbox: BoundingBox, rectangles: &[Rectangle]) -> f32 {
    let inside = |[low, high]: [u32; 2], from: f32, to: f32| {
        let [low, high] = [low as f32, high as f32].map(|edge| edge.clamp(from, to));
        (low < high).then_some([low, high])
    };
    let clipped: Vec<[[f32; 2]; 2]> = (rectangles.iter())
        .filter_map(|rectangle| {
            let x = inside(rectangle.x, bbox.x1, bbox.x2)?;
            Some([x, inside(rectangle.y, bbox.y1, bbox.y2)?])
        })
        .collect();
    // Between two neighboring vertical edges, every rectangle covers all columns or none.
    let mut edges: Vec<f32> = clipped.iter().flat_map(|[x, _]| *x).collect();
    edges.sort_by(f32::total_cmp);
    let columns = edges.windows(2).map(|pair| {
        let here = clipped
            .iter()
            .filter(|[x, _]| x[0] <= pair[0] && pair[1] <= x[1]);
        let mut spans: Vec<[f32; 2]> = here.map(|[_, y]| *y).collect();
        spans.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let (mut height, mut end) = (0.0, f32::MIN);
        for [top, bottom] in spans {
            height += (bottom - top.max(end)).max(0.0);
            end = end.max(bottom);
        }
        (pair[1] - pair[0]) * height
    });
    columns.sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::Rgb;
    use proptest::prelude::*;

    use super::*;
    use crate::sample_rng;

    fn rectangle() -> impl Strategy<Value = Rectangle> {
        [0..30_u32, 0..30_u32, 1..12_u32, 1..12_u32].prop_map(|[x, y, width, height]| Rectangle {
            x: [x, x + width],
            y: [y, y + height],
        })
    }

    proptest! {
        #[test]
        fn the_covered_area_is_the_number_of_covered_pixels(
            rectangles in prop::collection::vec(rectangle(), 0..6),
            [left, top, width, height] in [0..30_u32, 0..30_u32, 1..15_u32, 1..15_u32],
        ) {
            let within = |[low, high]: [u32; 2], value: u32| low <= value && value < high;
            let pixels = (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y)));
            let expected = pixels
                .filter(|(x, y)| rectangles.iter().any(|r| within(r.x, *x) && within(r.y, *y)))
                .count();
            let [x1, y1, x2, y2] = [left, top, left + width, top + height].map(|edge| edge as f32);
            prop_assert_eq!(covered(BoundingBox::new(x1, y1, x2, y2), &rectangles), expected as f32);
        }
    }

    #[test]
    fn boxes_are_kept_by_the_pixels_that_are_left() {
        let image = RgbImage::from_fn(64, 48, |x, y| Rgb([x as u8, y as u8, 77]));
        let boxes: Vec<(BoundingBox, usize)> = (0..48)
            .map(|i| {
                let (x, y) = (8.0 * (i % 8) as f32, 8.0 * (i / 8) as f32);
                (BoundingBox::new(x, y, x + 8.0, y + 8.0), i)
            })
            .collect();
        let erasing = RandomErasing::default()
            .with_probability(1.0)
            .with_max_count(4)
            .with_area(0.02, 0.3)
            .with_max_erased(0.5);
        let mut dropped = 0;
        for index in 0..60 {
            let sample = Sample::new(image.clone(), boxes.clone());
            let result = erasing.apply(sample, &mut sample_rng(0, 0, index)).unwrap();
            let left = |i: usize| {
                let (x, y) = (8 * (i % 8) as u32, 8 * (i / 8) as u32);
                let block = (x..x + 8).flat_map(|x| (y..y + 8).map(move |y| (x, y)));
                let unchanged = |(x, y): &(u32, u32)| {
                    result.image().get_pixel(*x, *y) == image.get_pixel(*x, *y)
                };
                block.filter(unchanged).count()
            };
            let expected: Vec<usize> = (0..48).filter(|i| left(*i) >= 32).collect();
            assert_eq!(result.labels(), expected);
            dropped += 48 - expected.len();
        }
        assert!(dropped > 100, "{dropped}");
    }

    #[test]
    fn rectangles_have_their_area() {
        let sample = Sample::new(RgbImage::from_pixel(100, 100, Rgb([1, 2, 3])), []);
        let erasing = RandomErasing::default()
            .with_probability(1.0)
            .with_max_count(1)
            .with_area(0.04, 0.09);
        for index in 0..50 {
            let result = erasing
                .apply(sample.clone(), &mut sample_rng(0, 0, index))
                .unwrap();
            let erased = result
                .image()
                .pixels()
                .filter(|pixel| pixel.0 != [1, 2, 3])
                .count();
            // Sides are rounded to whole pixels.
            assert!((380..=950).contains(&erased), "{erased}");
        }
    }
}
