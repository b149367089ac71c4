//! Objects of other images pasted into an image.

use fcos_burn_boxes::share_inside;
use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::companions::no_companions;
use super::resize::resized_part;
use super::{Augmentation, Companions, Geometry, Sample};
use crate::random::chance;
use crate::{BoundingBox, DataError};

/// How often a place for an object is drawn before the object is left out.
const TRIES: usize = 10;

/// Pastes objects of another image at random places (after Dwibedi et al., "Cut, Paste and Learn", 2017, and Ghiasi et
/// al., "Simple Copy-Paste", 2021; with boxes instead of masks).
///
/// An object is cut out with its box and a margin around it, in which it fades out. It is pasted only where it and the
/// objects that are already there cover little of each other. Objects that lie in its box come along. An object whose box
/// has a larger part of another one is not used, as that part would look like an object without a box.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CopyPaste {
    /// Probability that objects are pasted, from 0 to 1.
    pub probability: f32,
    /// The largest number of pasted objects, from 1 to 1000. The number is uniform between 1 and this.
    pub max_objects: usize,
    /// The smallest factor of the size of an object, from 0.1 to 10.
    pub min_scale: f32,
    /// The largest factor of the size of an object, from 0.1 to 10.
    pub max_scale: f32,
    /// The largest fraction of a box that another box may cover.
    pub max_overlap: f32,
    /// The width of the margin in which an object fades out, as a fraction of the shorter side of its box, from 0 to 1.
    pub feather: f32,
}

impl Default for CopyPaste {
    fn default() -> Self {
        Self {
            probability: 0.3,
            max_objects: 3,
            min_scale: 0.75,
            max_scale: 1.25,
            max_overlap: 0.1,
            feather: 0.1,
        }
    }
}

impl CopyPaste {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the largest [number](Self::max_objects) of pasted objects.
    #[must_use]
    pub fn with_max_objects(mut self, max_objects: usize) -> Self {
        self.max_objects = max_objects;
        self
    }

    /// Sets the [smallest](Self::min_scale) and the [largest](Self::max_scale) factor of the size of an object.
    #[must_use]
    pub fn with_scale(mut self, min: f32, max: f32) -> Self {
        (self.min_scale, self.max_scale) = (min, max);
        self
    }

    /// Sets the largest [overlap](Self::max_overlap) of two boxes.
    #[must_use]
    pub fn with_max_overlap(mut self, max_overlap: f32) -> Self {
        self.max_overlap = max_overlap;
        self
    }

    /// Sets the width of the [margin](Self::feather).
    #[must_use]
    pub fn with_feather(mut self, feather: f32) -> Self {
        self.feather = feather;
        self
    }

    fn overlap_little(&self, a: BoundingBox, b: BoundingBox) -> bool {
        let (a, b) = (a.to_xyxy(), b.to_xyxy());
        share_inside(&a, &b).max(share_inside(&b, &a)) <= self.max_overlap
    }

    /// The object at `index` and the objects that come along with it, scaled to at most `(width, height)` pixels. `None`
    /// if it cannot be separated from others, or does not fit.
    fn cut(
        &self,
        from: &Sample,
        index: usize,
        (width, height): (u32, u32),
        rng: &mut dyn Rng,
    ) -> Result<Option<Cutout>, DataError> {
        let bbox = from.boxes()[index];
        let factor = rng.random_range(self.min_scale..=self.max_scale);
        let mut objects = vec![(bbox, from.labels()[index])];
        for (other, (inner, label)) in from.labeled_boxes().enumerate() {
            let share = share_inside(&inner.to_xyxy(), &bbox.to_xyxy());
            if other == index || share <= self.max_overlap {
                continue;
            }
            if share < 1.0 - self.max_overlap {
                return Ok(None);
            }
            objects.push((inner, label));
        }
        let (from_width, from_height) = from.image().dimensions();
        let margin = self.feather * bbox.width().min(bbox.height());
        let [x1, y1, x2, y2] = BoundingBox::new(
            (bbox.x1 - margin).floor(),
            (bbox.y1 - margin).floor(),
            (bbox.x2 + margin).ceil(),
            (bbox.y2 + margin).ceil(),
        )
        .clip(from_width, from_height)
        .to_xyxy();
        let part = [x2 - x1, y2 - y1];
        let size = part.map(|side| (side * factor).round().max(1.0));
        if size[0] > width as f32 || size[1] > height as f32 {
            return Ok(None);
        }
        let scale = [size[0] / part[0], size[1] / part[1]];
        let geometry = Geometry {
            scale,
            offset: [-x1 * scale[0], -y1 * scale[1]],
        };
        let image = resized_part(
            from.image(),
            [x1, y1, part[0], part[1]].map(f64::from),
            (size[0] as u32, size[1] as u32),
        )?;
        let objects = objects.into_iter();
        Ok(Some(Cutout {
            image,
            objects: objects
                .map(|(bbox, label)| (geometry.map(bbox), label))
                .collect(),
        }))
    }
}

impl Augmentation for CopyPaste {
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
        let other = companions.draw(rng)?;
        if other.boxes().is_empty() {
            return Ok(sample);
        }
        let (width, height) = sample.image().dimensions();
        let mut image = sample.image().clone();
        let mut objects: Vec<_> = sample.labeled_boxes().collect();
        for _ in 0..rng.random_range(1..=self.max_objects) {
            let index = rng.random_range(0..other.boxes().len());
            let Some(cutout) = self.cut(&other, index, (width, height), rng)? else {
                continue;
            };
            for _ in 0..TRIES {
                let left = rng.random_range(0..=width - cutout.image.width());
                let top = rng.random_range(0..=height - cutout.image.height());
                let placed: Vec<_> = cutout.placed(left, top).collect();
                let (bbox, _) = placed[0];
                if objects
                    .iter()
                    .all(|(there, _)| self.overlap_little(bbox, *there))
                {
                    cutout.paste(&mut image, left, top);
                    objects.extend(placed);
                    break;
                }
            }
        }
        Ok(Sample::new(image, objects))
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("max_objects", self.max_objects, 1..=1000)?;
        DataError::require_in_range("min_scale", self.min_scale, 0.1..=10.0)?;
        DataError::require_in_range("max_scale", self.max_scale, self.min_scale..=10.0)?;
        DataError::require_in_range("max_overlap", self.max_overlap, 0.0..=0.5)?;
        DataError::require_in_range("feather", self.feather, 0.0..=1.0)
    }
}

/// An object with its surroundings.
struct Cutout {
    image: RgbImage,
    /// The object first, then those that come along, in pixels of `image`.
    objects: Vec<(BoundingBox, usize)>,
}

impl Cutout {
    /// The objects, if the cutout is pasted at this position.
    fn placed(&self, left: u32, top: u32) -> impl Iterator<Item = (BoundingBox, usize)> {
        let shift = Geometry::translation(left as f32, top as f32);
        let objects = self.objects.iter();
        objects.map(move |(bbox, label)| (shift.map(*bbox), *label))
    }

    /// Pastes the cutout, which must fit, into `image`. The object's box is opaque. From there, opacity falls linearly to 0
    /// at the edge of the cutout.
    fn paste(&self, image: &mut RgbImage, left: u32, top: u32) {
        let (bbox, _) = self.objects[0];
        let columns = opacities(self.image.width(), bbox.x1, bbox.x2);
        let rows = opacities(self.image.height(), bbox.y1, bbox.y2);
        let [row_len, own_row_len, start] =
            [image.width(), self.image.width(), left].map(|pixels| 3 * pixels as usize);
        let lines = image.chunks_exact_mut(row_len).skip(top as usize);
        for ((line, own), by_row) in lines.zip(self.image.chunks_exact(own_row_len)).zip(rows) {
            let pixels = line[start..start + own_row_len].chunks_exact_mut(3);
            for ((pixel, own), by_column) in pixels.zip(own.chunks_exact(3)).zip(&columns) {
                let opacity = by_row * by_column;
                for (value, own) in pixel.iter_mut().zip(own) {
                    let difference = f32::from(*own) - f32::from(*value);
                    *value = (f32::from(*value) + opacity * difference + 0.5) as u8;
                }
            }
        }
    }
}

/// The opacity of each pixel along an axis with `len` pixels: 1 between `low` and `high`, and falling to 0 at the ends.
fn opacities(len: u32, low: f32, high: f32) -> Vec<f32> {
    let end = len as f32;
    let opacity = |pixel: u32| {
        let center = pixel as f32 + 0.5;
        match center {
            _ if center < low => center / low,
            _ if center > high => (end - center) / (end - high),
            _ => 1.0,
        }
    };
    (0..len).map(opacity).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::Rgb;

    use super::*;
    use crate::sample_rng;

    const GROUND: Rgb<u8> = Rgb([20, 20, 20]);

    /// A dark image with one gray object.
    fn sample() -> Sample {
        let mut image = RgbImage::from_pixel(100, 80, GROUND);
        for (x, y) in (30..60).flat_map(|x| (20..50).map(move |y| (x, y))) {
            image.put_pixel(x, y, Rgb([90; 3]));
        }
        Sample::new(image, [(BoundingBox::new(30.0, 20.0, 60.0, 50.0), 0)])
    }

    /// A red object with a smaller one in it, on blue ground, and two that overlap too much.
    fn other(_: &mut dyn Rng) -> Result<Sample, DataError> {
        let mut image = RgbImage::from_pixel(60, 60, Rgb([20, 20, 160]));
        for (x, y) in (10..26).flat_map(|x| (12..32).map(move |y| (x, y))) {
            image.put_pixel(x, y, Rgb([240, 20, 20]));
        }
        let objects = [
            (BoundingBox::new(10.0, 12.0, 26.0, 32.0), 1),
            (BoundingBox::new(14.0, 16.0, 18.0, 20.0), 2),
            (BoundingBox::new(35.0, 35.0, 50.0, 50.0), 3),
            (BoundingBox::new(40.0, 35.0, 55.0, 50.0), 4),
        ];
        Ok(Sample::new(image, objects))
    }

    fn pasted(index: usize) -> Sample {
        let paste = CopyPaste::default()
            .with_probability(1.0)
            .with_scale(1.0, 1.0)
            .with_max_overlap(0.05);
        paste
            .apply_among(sample(), &other, &mut sample_rng(0, 0, index))
            .unwrap()
    }

    #[test]
    fn objects_are_opaque_in_their_box_and_nothing_changes_beyond_the_margin() {
        let mut found = 0;
        for index in 0..60 {
            let result = pasted(index);
            assert_eq!(
                (result.boxes()[0], result.labels()[0]),
                (sample().boxes()[0], 0)
            );
            let objects: Vec<_> = result.boxes().iter().zip(result.labels()).skip(1).collect();
            // The small object is inside the red one, which is never pasted without it.
            let red = objects.iter().filter(|(_, label)| **label == 1);
            for (bbox, _) in red {
                assert_eq!((bbox.width(), bbox.height()), (16.0, 20.0));
                let inner =
                    BoundingBox::new(bbox.x1 + 4.0, bbox.y1 + 4.0, bbox.x1 + 8.0, bbox.y1 + 8.0);
                assert!(objects.contains(&(&inner, &2)), "{objects:?}");
                for y in bbox.y1 as u32..bbox.y2 as u32 {
                    for x in bbox.x1 as u32..bbox.x2 as u32 {
                        let within = |other: &BoundingBox| {
                            let margin = other.width() * 0.1 + 1.0;
                            (other.x1 - margin..other.x2 + margin).contains(&(x as f32))
                                && (other.y1 - margin..other.y2 + margin).contains(&(y as f32))
                        };
                        let hidden = objects.iter().any(|(other, label)| {
                            **label == 2 && within(other) && **other != inner
                        });
                        let pixel = result.image().get_pixel(x, y);
                        assert!(
                            hidden || *pixel == Rgb([240, 20, 20]),
                            "({x}, {y}): {pixel:?}"
                        );
                    }
                }
                found += 1;
            }
            for (x, y, pixel) in result.image().enumerate_pixels() {
                let near = objects.iter().any(|(bbox, _)| {
                    // A tenth of 16 pixels, rounded up.
                    let [x1, y1, x2, y2] =
                        [bbox.x1 - 2.0, bbox.y1 - 2.0, bbox.x2 + 2.0, bbox.y2 + 2.0];
                    (x1..x2).contains(&(x as f32)) && (y1..y2).contains(&(y as f32))
                });
                assert!(
                    near || pixel == sample().image().get_pixel(x, y),
                    "({x}, {y})"
                );
            }
        }
        assert!(found > 20, "{found}");
    }

    #[test]
    fn objects_overlap_little_and_inseparable_ones_are_not_used() {
        for index in 0..60 {
            let result = pasted(index);
            assert!(!result.labels().contains(&3) && !result.labels().contains(&4));
            // The small object comes alone or in the red one.
            let boxes = result.boxes().iter().zip(result.labels());
            let large: Vec<_> = boxes
                .filter(|(_, label)| **label < 2)
                .map(|(bbox, _)| bbox.to_xyxy())
                .collect();
            for (i, a) in large.iter().enumerate() {
                for b in &large[i + 1..] {
                    assert!(share_inside(a, b) <= 0.05 && share_inside(b, a) <= 0.05);
                }
            }
        }
    }

    #[test]
    fn the_margin_fades_out() {
        assert_eq!(
            opacities(8, 2.0, 6.0),
            [0.25, 0.75, 1.0, 1.0, 1.0, 1.0, 0.75, 0.25]
        );
        assert_eq!(opacities(3, 0.0, 3.0), [1.0; 3]);
    }

    #[test]
    fn objects_that_do_not_fit_are_left_out() {
        let small = Sample::new(RgbImage::from_pixel(3, 3, GROUND), []);
        let paste = CopyPaste::default().with_probability(1.0);
        for index in 0..20 {
            let rng = &mut sample_rng(0, 0, index);
            assert_eq!(
                paste.apply_among(small.clone(), &other, rng).unwrap(),
                small
            );
        }
    }
}
