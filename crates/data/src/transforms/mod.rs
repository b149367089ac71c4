//! Image transforms that carry the boxes along.
//!
//! Each transform is a small type with one function, `apply`; a [`Pipeline`] is a list of them, as a configuration file
//! writes it:
//!
//! ```
//! use fcos_burn_data::transforms::Pipeline;
//!
//! let pipeline: Pipeline = serde_json::from_str(
//!     r#"[
//!         {"horizontal_flip": {"probability": 0.5}},
//!         {"resize": {"short_side": {"short": 800, "long": 1333}}},
//!         {"color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}}
//!     ]"#,
//! )?;
//! assert_eq!(pipeline.steps().len(), 3);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod color;
mod crop;
mod flip;
mod geometry;
mod resize;
mod sample;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub use color::ColorJitter;
pub use crop::RandomCrop;
pub use flip::{HorizontalFlip, VerticalFlip};
pub use geometry::Geometry;
pub use resize::{Interpolation, Resize, ScaleJitter};
pub use sample::Sample;

use crate::DataError;

/// One step of a [`Pipeline`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// See [`Resize`].
    Resize(Resize),
    /// See [`ScaleJitter`].
    ScaleJitter(ScaleJitter),
    /// See [`RandomCrop`].
    RandomCrop(RandomCrop),
    /// See [`HorizontalFlip`].
    HorizontalFlip(HorizontalFlip),
    /// See [`VerticalFlip`].
    VerticalFlip(VerticalFlip),
    /// See [`ColorJitter`].
    ColorJitter(ColorJitter),
}

impl Transform {
    /// Applies the step, drawing what is random in it from `rng`.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`].
    pub fn apply(&self, sample: Sample, rng: &mut impl Rng) -> Result<Sample, DataError> {
        match self {
            Self::Resize(resize) => resize.apply(sample, Interpolation::Antialiased),
            Self::ScaleJitter(jitter) => jitter.apply(sample, rng),
            Self::RandomCrop(crop) => Ok(crop.apply(sample, rng)),
            Self::HorizontalFlip(flip) => Ok(flip.apply(sample, rng)),
            Self::VerticalFlip(flip) => Ok(flip.apply(sample, rng)),
            Self::ColorJitter(jitter) => Ok(jitter.apply(sample, rng)),
        }
    }

    /// Fails where a value means nothing, such as a probability above 1.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] naming the field.
    pub fn validate(&self) -> Result<(), DataError> {
        match self {
            Self::Resize(resize) => resize.validate(),
            Self::ScaleJitter(jitter) => jitter.validate(),
            Self::RandomCrop(crop) => crop.validate(),
            Self::HorizontalFlip(flip) => flip.validate(),
            Self::VerticalFlip(flip) => flip.validate(),
            Self::ColorJitter(jitter) => jitter.validate(),
        }
    }
}

/// Transforms in the order in which they apply.
///
/// Its values are checked once, when it is made or read from a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Transform>", into = "Vec<Transform>")]
pub struct Pipeline {
    steps: Vec<Transform>,
}

impl Pipeline {
    /// A pipeline of these steps.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] where a step holds a value that means nothing.
    pub fn new(steps: Vec<Transform>) -> Result<Self, DataError> {
        steps.iter().try_for_each(Transform::validate)?;
        Ok(Self { steps })
    }

    /// For evaluation and inference: resize only.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] where a size is 0.
    pub fn evaluation(resize: Resize) -> Result<Self, DataError> {
        Self::new(vec![Transform::Resize(resize)])
    }

    /// For training as FCOS and Detectron do: a horizontal flip of every second image, then resize.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] where a size is 0.
    pub fn flip_and_resize(resize: Resize) -> Result<Self, DataError> {
        Self::new(vec![
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::Resize(resize),
        ])
    }

    /// For training on few images: flip, resize, then random scale, crop and colours.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] where a size is 0.
    pub fn strong(resize: Resize) -> Result<Self, DataError> {
        Self::new(vec![
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::Resize(resize),
            Transform::ScaleJitter(ScaleJitter::default()),
            Transform::RandomCrop(RandomCrop::default()),
            Transform::ColorJitter(ColorJitter::default()),
        ])
    }

    /// The steps.
    pub fn steps(&self) -> &[Transform] {
        &self.steps
    }

    /// Applies every step in turn, drawing what is random from `rng`.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`].
    pub fn apply(&self, sample: Sample, rng: &mut impl Rng) -> Result<Sample, DataError> {
        self.steps
            .iter()
            .try_fold(sample, |sample, step| step.apply(sample, rng))
    }
}

impl TryFrom<Vec<Transform>> for Pipeline {
    type Error = DataError;

    fn try_from(steps: Vec<Transform>) -> Result<Self, DataError> {
        Self::new(steps)
    }
}

impl From<Pipeline> for Vec<Transform> {
    fn from(pipeline: Pipeline) -> Self {
        pipeline.steps
    }
}

/// Fails unless `value` is in `range`.
fn require<T>(
    field: &'static str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<(), DataError>
where
    T: PartialOrd + std::fmt::Display,
{
    if range.contains(&value) {
        return Ok(());
    }
    let cause = format!(
        "{value} is not between {} and {}",
        range.start(),
        range.end()
    );
    Err(DataError::Config { field, cause })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::*;
    use crate::{BoundingBox, sample_rng};

    /// A dark image with one bright rectangle, and its box.
    fn scene() -> Sample {
        let image = RgbImage::from_fn(96, 64, |x, y| {
            let inside = (24..56).contains(&x) && (16..48).contains(&y);
            Rgb(if inside { [220; 3] } else { [20; 3] })
        });
        Sample::new(
            image,
            vec![BoundingBox::new(24.0, 16.0, 56.0, 48.0)],
            vec![2],
        )
    }

    /// The edges of the bright pixels.
    fn bright_box(image: &RgbImage) -> BoundingBox {
        let bright: Vec<(u32, u32)> = image
            .enumerate_pixels()
            .filter(|(_, _, pixel)| pixel[1] > 100)
            .map(|(x, y, _)| (x, y))
            .collect();
        let range = |values: Vec<u32>| {
            (
                *values.iter().min().unwrap() as f32,
                *values.iter().max().unwrap() as f32 + 1.0,
            )
        };
        let (x1, x2) = range(bright.iter().map(|(x, _)| *x).collect());
        let (y1, y2) = range(bright.iter().map(|(_, y)| *y).collect());
        BoundingBox::new(x1, y1, x2, y2)
    }

    fn assert_close(a: BoundingBox, b: BoundingBox, tolerance: f32) {
        let pairs = [(a.x1, b.x1), (a.y1, b.y1), (a.x2, b.x2), (a.y2, b.y2)];
        assert!(
            pairs.iter().all(|(a, b)| (a - b).abs() <= tolerance),
            "{a:?} is not {b:?}"
        );
    }

    #[test]
    fn boxes_follow_the_pixels_through_any_pipeline() {
        let resize = Resize::Fixed {
            width: 150,
            height: 120,
        };
        let crop = RandomCrop {
            min_scale: 0.6,
            ..RandomCrop::default()
        };
        let flip = VerticalFlip { probability: 0.5 };
        let pipeline = Pipeline::new(vec![
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::Resize(resize),
            Transform::ScaleJitter(ScaleJitter::default()),
            Transform::RandomCrop(crop),
            Transform::VerticalFlip(flip),
        ])
        .unwrap();
        let mut followed = 0;
        for index in 0..60 {
            let sample = pipeline
                .apply(scene(), &mut sample_rng(1, 0, index))
                .unwrap();
            let [bbox] = sample.boxes()[..] else { continue };
            followed += 1;
            assert_close(bbox, bright_box(sample.image()), 1.01);
            // Clipping by the crop cannot be undone; what it left maps back into the original box.
            let (back, original) = (
                sample.geometry().invert(bbox),
                BoundingBox::new(24.0, 16.0, 56.0, 48.0),
            );
            assert!(
                back.x1 > original.x1 - 0.01 && back.x2 < original.x2 + 0.01,
                "{back:?}"
            );
            assert!(
                back.y1 > original.y1 - 0.01 && back.y2 < original.y2 + 0.01,
                "{back:?}"
            );
        }
        assert!(followed > 40, "only {followed} boxes survived their crop");
    }

    #[test]
    fn detections_map_back_to_the_original_image() {
        for index in 0..20 {
            let pipeline = Pipeline::flip_and_resize(Resize::ShortSide {
                short: 80,
                long: 100,
            })
            .unwrap();
            let sample = pipeline
                .apply(scene(), &mut sample_rng(2, 0, index))
                .unwrap();
            assert_eq!(sample.image().dimensions(), (100, 66));
            assert_close(
                sample.geometry().invert(sample.boxes()[0]),
                scene().boxes()[0],
                1e-4,
            );
        }
    }

    #[test]
    fn the_same_generator_gives_the_same_sample() {
        let pipeline = Pipeline::strong(Resize::Fixed {
            width: 64,
            height: 64,
        })
        .unwrap();
        let apply = |index| {
            pipeline
                .apply(scene(), &mut sample_rng(5, 2, index))
                .unwrap()
        };
        assert_eq!(apply(3), apply(3));
        assert_ne!(apply(3), apply(4));
    }

    #[test]
    fn configurations_round_trip_and_bad_values_are_refused_by_name() {
        let pipeline = Pipeline::strong(Resize::ShortSide {
            short: 800,
            long: 1333,
        })
        .unwrap();
        let json = serde_json::to_string(&pipeline).unwrap();
        assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline);
        let bad = r#"[{"horizontal_flip": {"probability": 1.5}}]"#;
        let error = serde_json::from_str::<Pipeline>(bad)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("horizontal_flip.probability: 1.5 is not between 0 and 1"),
            "{error}"
        );
        assert!(
            Pipeline::evaluation(Resize::Fixed {
                width: 0,
                height: 4
            })
            .is_err()
        );
    }
}
