//! Random rotation, scale, shear, shift and perspective.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::projection::Projection;
use super::visibility::visible_part;
use super::warp::warp;
use super::{Augmentation, Sample};
use crate::DataError;
use crate::random::chance;

/// Rotates, scales, shears and shifts the image about its center, optionally with a change of perspective. The size of the
/// image stays the same. Pixels from outside are gray (114).
///
/// A box under rotation does not say where in it the object was. The box around its rotated corners fits only an object
/// that fills the corners, and it grows with each step. Here, the new box is that of the ellipse that touches the sides
/// of the old one, which Kalra et al. ("Towards Rotation Invariance in Object Detection", 2021) found to fit objects best
/// if nothing else is known of their shape. It is exact for ellipses along the axes and for turns by 90° of any shape. It
/// is too small for rectangles in between: up to 29 % of the width, for a square turned by 45°.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RandomAffine {
    /// Probability of a change, from 0 to 1.
    pub probability: f32,
    /// Largest angle in either direction, from 0 to 180 degrees.
    pub degrees: f32,
    /// The smallest factor of both sides.
    pub min_scale: f32,
    /// The largest factor of both sides.
    pub max_scale: f32,
    /// Largest shift in either direction, as a fraction of the width and of the height, from 0 to 1.
    pub translate: f32,
    /// Largest angle of shear along each axis, from 0 to 30 degrees.
    pub shear: f32,
    /// Largest perspective along each axis: the scale at the two ends of the image is about `1 ± perspective / 2`. From 0
    /// to 0.5.
    pub perspective: f32,
    /// The smallest fraction of the area of a box inside the image for the box to be kept.
    pub min_visible: f32,
}

impl Default for RandomAffine {
    fn default() -> Self {
        Self {
            probability: 1.0,
            degrees: 0.0,
            min_scale: 0.5,
            max_scale: 1.5,
            translate: 0.1,
            shear: 0.0,
            perspective: 0.0,
            min_visible: 0.25,
        }
    }
}

impl RandomAffine {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the largest [angle](Self::degrees), in degrees.
    #[must_use]
    pub fn with_degrees(mut self, degrees: f32) -> Self {
        self.degrees = degrees;
        self
    }

    /// Sets the [smallest](Self::min_scale) and the [largest](Self::max_scale) factor of both sides.
    #[must_use]
    pub fn with_scale(mut self, min: f32, max: f32) -> Self {
        (self.min_scale, self.max_scale) = (min, max);
        self
    }

    /// Sets the largest [shift](Self::translate).
    #[must_use]
    pub fn with_translate(mut self, translate: f32) -> Self {
        self.translate = translate;
        self
    }

    /// Sets the largest [shear](Self::shear), in degrees.
    #[must_use]
    pub fn with_shear(mut self, shear: f32) -> Self {
        self.shear = shear;
        self
    }

    /// Sets the largest [perspective](Self::perspective).
    #[must_use]
    pub fn with_perspective(mut self, perspective: f32) -> Self {
        self.perspective = perspective;
        self
    }

    /// Sets the [smallest visible fraction](Self::min_visible) of a box.
    #[must_use]
    pub fn with_min_visible(mut self, min_visible: f32) -> Self {
        self.min_visible = min_visible;
        self
    }

    /// A random map from the pixels of an image to those of the changed one.
    fn draw(&self, (width, height): (u32, u32), rng: &mut dyn Rng) -> Projection {
        let [width, height] = [width, height].map(f64::from);
        let scale = f64::from(rng.random_range(self.min_scale..=self.max_scale));
        let mut within = |limit: f32| f64::from(rng.random_range(-limit..=limit));
        let (sin, cos) = within(self.degrees).to_radians().sin_cos();
        let [shear_x, shear_y] = [self.shear; 2].map(|limit| within(limit).to_radians().tan());
        let [tilt_x, tilt_y] = [self.perspective; 2].map(&mut within);
        let [shift_x, shift_y] = [self.translate; 2].map(&mut within);
        let tilt = [tilt_x / width, tilt_y / height, 1.0];
        let perspective = Projection([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], tilt]);
        let shear = Projection([[1.0, shear_x, 0.0], [shear_y, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        let (sin, cos) = (scale * sin, scale * cos);
        let rotation = Projection([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]);
        let (x, y) = (width / 2.0, height / 2.0);
        Projection::translation(-x, -y)
            .then(perspective)
            .then(shear)
            .then(rotation)
            .then(Projection::translation(
                x + shift_x * width,
                y + shift_y * height,
            ))
    }
}

impl Augmentation for RandomAffine {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if !chance(self.probability, rng) {
            return Ok(sample);
        }
        let size = sample.image().dimensions();
        let forward = self.draw(size, rng);
        let Some(back) = forward.inverse() else {
            return Ok(sample);
        };
        let image = warp(sample.image(), back);
        let visible = sample.labeled_boxes().filter_map(|(bbox, label)| {
            let moved = forward.ellipse_box(bbox);
            let part = visible_part(moved, size, self.min_visible * moved.area())?;
            Some((part, label))
        });
        Ok(Sample::new(image, visible))
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("degrees", self.degrees, 0.0..=180.0)?;
        DataError::require_in_range("min_scale", self.min_scale, 0.1..=10.0)?;
        DataError::require_in_range("max_scale", self.max_scale, self.min_scale..=10.0)?;
        DataError::require_in_range("translate", self.translate, 0.0..=1.0)?;
        // Two shears by 45° would be singular.
        DataError::require_in_range("shear", self.shear, 0.0..=30.0)?;
        // With 1, a corner of the image could be infinitely far away.
        DataError::require_in_range("perspective", self.perspective, 0.0..=0.5)?;
        DataError::require_in_range("min_visible", self.min_visible, 0.0..=1.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::*;
    use crate::{BoundingBox, sample_rng};

    /// Nothing is left to chance but what a test adds.
    fn still() -> RandomAffine {
        RandomAffine::default()
            .with_scale(1.0, 1.0)
            .with_translate(0.0)
    }

    /// A white ellipse on black, with its box.
    fn ellipse(center: [f32; 2], half: [f32; 2]) -> Sample {
        const SUB: u32 = 8;
        let image = RgbImage::from_fn(200, 160, |x, y| {
            let inside = (0..SUB * SUB).filter(|i| {
                let [u, v] = [(x, i % SUB), (y, i / SUB)]
                    .map(|(pixel, i)| pixel as f32 + (i as f32 + 0.5) / SUB as f32);
                ((u - center[0]) / half[0]).powi(2) + ((v - center[1]) / half[1]).powi(2) <= 1.0
            });
            Rgb([(inside.count() as u32 * 255 / (SUB * SUB)) as u8; 3])
        });
        let [x, y] = center;
        let bbox = BoundingBox::new(x - half[0], y - half[1], x + half[0], y + half[1]);
        Sample::new(image, [(bbox, 3)])
    }

    /// The box around the pixels of an image that are at least half white, apart from the gray fill.
    fn white_box(image: &RgbImage) -> BoundingBox {
        let white = image
            .enumerate_pixels()
            .filter(|(_, _, pixel)| pixel[0] >= 128);
        let white = white.map(|(x, y, _)| (x as f32, y as f32));
        white.fold(
            BoundingBox::new(f32::MAX, f32::MAX, 0.0, 0.0),
            |bbox, (x, y)| {
                BoundingBox::new(
                    bbox.x1.min(x),
                    bbox.y1.min(y),
                    bbox.x2.max(x + 1.0),
                    bbox.y2.max(y + 1.0),
                )
            },
        )
    }

    fn largest_difference(a: BoundingBox, b: BoundingBox) -> f32 {
        let sides = a.to_xyxy().into_iter().zip(b.to_xyxy());
        sides.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn boxes_of_ellipses_stay_tight() {
        let strong = RandomAffine::default()
            .with_degrees(180.0)
            .with_scale(0.6, 1.1)
            .with_shear(15.0)
            .with_perspective(0.3);
        for (center, half) in [
            ([100.0, 80.0], [30.0, 30.0]),
            ([90.0, 85.0], [40.0, 12.0]),
            ([120.0, 70.0], [9.0, 33.0]),
        ] {
            let sample = ellipse(center, half);
            for index in 0..40 {
                let result = strong
                    .apply(sample.clone(), &mut sample_rng(0, 0, index))
                    .unwrap();
                let [bbox] = result.boxes() else {
                    panic!("{:?}", result.boxes())
                };
                let white = white_box(result.image());
                let difference = largest_difference(*bbox, white);
                assert!(difference <= 1.0, "{bbox:?} is not {white:?}");
                assert_eq!(result.labels(), [3]);
            }
        }
    }

    #[test]
    fn no_change_changes_nothing() {
        let sample = ellipse([70.3, 61.7], [20.1, 33.3]);
        let result = still()
            .apply(sample.clone(), &mut sample_rng(0, 0, 0))
            .unwrap();
        assert_eq!(result, sample);
    }

    #[test]
    fn quarter_turns_of_rectangles_are_exact() {
        let bbox = BoundingBox::new(13.0, 21.0, 47.0, 30.5);
        let turn = |degrees: f64| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            let turn = Projection([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]);
            let there = Projection::translation(-40.0, -40.0);
            let back = Projection::translation(40.0, 40.0);
            there.then(turn).then(back).ellipse_box(bbox)
        };
        assert_eq!(turn(90.0), BoundingBox::new(49.5, 13.0, 59.0, 47.0));
        assert_eq!(turn(180.0), BoundingBox::new(33.0, 49.5, 67.0, 59.0));
        assert_eq!(turn(-90.0), BoundingBox::new(21.0, 33.0, 30.5, 67.0));
    }

    #[test]
    fn boxes_mostly_outside_the_image_are_dropped() {
        let image = RgbImage::new(100, 100);
        let boxes = (0..10).map(|i| {
            let x = 10.0 * i as f32;
            (BoundingBox::new(x, 40.0, x + 10.0, 50.0), i as usize)
        });
        let shifted = still().with_translate(1.0).with_min_visible(0.5);
        for index in 0..50 {
            let sample = Sample::new(image.clone(), boxes.clone());
            let rng = &mut sample_rng(0, 0, index);
            let result = shifted.apply(sample, &mut rng.clone()).unwrap();
            assert!(rng.random::<f32>() < 1.0);
            let forward = shifted.draw((100, 100), rng);
            // Without anything else, a shift.
            let [x, y] = [forward.0[0][2], forward.0[1][2]];
            let inside = |from: f64| ((from + 10.0).min(100.0) - from.max(0.0)).max(0.0);
            let expected: Vec<usize> = (0..10)
                .filter(|i| inside(10.0 * *i as f64 + x) * inside(40.0 + y) >= 50.0)
                .collect();
            assert_eq!(result.labels(), expected, "shift by ({x}, {y})");
        }
    }
}
