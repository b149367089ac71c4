//! Lists of steps and the names of steps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rand::Rng;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::companions::no_companions;
use super::{Augmentation, Companions, Sample, Transform};
use crate::DataError;

/// Augmentations in the order in which they apply.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    steps: Vec<Arc<dyn Augmentation>>,
}

impl Pipeline {
    /// A pipeline of steps of this crate. [`Augmentations::pipeline`] also takes custom ones.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] if a value is not allowed. [`DataError::UnknownAugmentation`] for a custom step.
    pub fn new(steps: Vec<Transform>) -> Result<Self, DataError> {
        Augmentations::default().pipeline(&steps)
    }

    /// The same pipeline with another step at the end.
    ///
    /// # Errors
    ///
    /// The error of [`Augmentation::validate`].
    pub fn with_step(mut self, step: impl Augmentation + 'static) -> Result<Self, DataError> {
        step.validate()?;
        self.steps.push(Arc::new(step));
        Ok(self)
    }

    /// The steps that [stay in the last epochs](Augmentation::is_plain): without those that combine images, distort them
    /// or hide parts of them.
    #[must_use]
    pub fn plain(&self) -> Self {
        let steps = self.steps.iter().filter(|step| step.is_plain());
        Self {
            steps: steps.cloned().collect(),
        }
    }

    /// Applies all steps in order, drawing random choices from `rng`.
    ///
    /// # Errors
    ///
    /// The error of a step: [`DataError::Resize`], or the error of a custom step. [`DataError::Augmentation`] if a step
    /// returns an image without pixels, or if it needs other images, which [`apply_among`](Self::apply_among) gives.
    pub fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        self.apply_among(sample, &no_companions, rng)
    }

    /// [`apply`](Self::apply) with other images, for steps that combine several.
    ///
    /// # Errors
    ///
    /// The error of a step or of [`Companions::draw`].
    pub fn apply_among(
        &self,
        sample: Sample,
        companions: &dyn Companions,
        rng: &mut dyn Rng,
    ) -> Result<Sample, DataError> {
        self.steps.iter().try_fold(sample, |sample, step| {
            let sample = step.apply_among(sample, companions, rng)?;
            match sample.image().is_empty() {
                true => Err(DataError::augmentation(
                    format!("{step:?}"),
                    "returned an image without pixels",
                )),
                false => Ok(sample),
            }
        })
    }
}

/// Makes a step from its options.
type Factory =
    dyn Fn(&Value) -> Result<Arc<dyn Augmentation>, serde_json::Error> + Send + Sync + 'static;

/// The steps that configuration files can name: the steps of this crate, and registered steps.
///
/// ```
/// use fcos_burn_data::rand::{Rng, RngExt};
/// use fcos_burn_data::transforms::{Augmentation, Augmentations, Sample, Transform};
/// use fcos_burn_data::{DataError, RgbImage, image::Rgb, sample_rng, serde_json};
///
/// /// Makes some images gray.
/// #[derive(Debug, serde::Deserialize)]
/// struct RandomGray {
///     probability: f64,
/// }
///
/// impl Augmentation for RandomGray {
///     fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
///         if !rng.random_bool(self.probability) {
///             return Ok(sample);
///         }
///         Ok(sample.recolor(|pixel| [pixel.iter().max().copied().unwrap_or(0); 3]))
///     }
///
///     fn validate(&self) -> Result<(), DataError> {
///         DataError::require_in_range("probability", self.probability, 0.0..=1.0)
///     }
/// }
///
/// let augmentations = Augmentations::default().with::<RandomGray>("random_gray")?;
/// let steps: Vec<Transform> = serde_json::from_str(
///     r#"[{"horizontal_flip": {"probability": 0.5}}, {"random_gray": {"probability": 1}}]"#,
/// )?;
/// let pipeline = augmentations.pipeline(&steps)?;
///
/// let image = RgbImage::from_pixel(4, 4, Rgb([10, 20, 30]));
/// let sample = pipeline.apply(Sample::new(image, []), &mut sample_rng(0, 0, 0))?;
/// assert_eq!(sample.image().get_pixel(0, 0), &Rgb([30, 30, 30]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Augmentations {
    registered: BTreeMap<String, Arc<Factory>>,
}

impl fmt::Debug for Augmentations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.registered.keys()).finish()
    }
}

impl Augmentations {
    /// The same steps plus `T`, registered under `name`. Its options are deserialized from JSON.
    ///
    /// # Errors
    ///
    /// [`DataError::AugmentationName`] if the name is already registered or belongs to a step of this crate.
    pub fn with<T>(self, name: impl Into<String>) -> Result<Self, DataError>
    where
        T: Augmentation + DeserializeOwned + 'static,
    {
        self.with_factory(name, |options| Ok(Arc::new(T::deserialize(options)?)))
    }

    /// The same steps plus one that `factory` makes from its JSON options. For steps that hold more than their options,
    /// such as a bank of textures.
    ///
    /// # Errors
    ///
    /// [`DataError::AugmentationName`] if the name is already registered or belongs to a step of this crate.
    pub fn with_factory(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(&Value) -> Result<Arc<dyn Augmentation>, serde_json::Error>
        + Send
        + Sync
        + 'static,
    ) -> Result<Self, DataError> {
        let name = name.into();
        if self.names().any(|known| known == name) {
            return Err(DataError::AugmentationName { name });
        }
        self.registered.insert(name, Arc::new(factory));
        Ok(self)
    }

    /// A pipeline of these steps.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownAugmentation`] for a name that is not registered. [`DataError::AugmentationOptions`] if the
    /// options of a custom step cannot be read. [`DataError::Config`] if a value is not allowed.
    pub fn pipeline(&self, steps: &[Transform]) -> Result<Pipeline, DataError> {
        let step = |transform: &Transform| {
            let step = transform.step(|name, options| self.read(name, options))?;
            let named = |error: DataError| error.in_step(transform.name());
            step.validate().map_err(named)?;
            Ok(step)
        };
        let steps = steps.iter().map(step).collect::<Result<_, DataError>>()?;
        Ok(Pipeline { steps })
    }

    fn read(&self, name: &str, options: &Value) -> Result<Arc<dyn Augmentation>, DataError> {
        let factory =
            (self.registered.get(name)).ok_or_else(|| DataError::UnknownAugmentation {
                name: name.to_string(),
                known: self.names().map(str::to_string).collect(),
            })?;
        factory(options).map_err(|source| DataError::AugmentationOptions {
            name: name.to_string(),
            source,
        })
    }

    /// All names. The steps of this crate come first.
    fn names(&self) -> impl Iterator<Item = &str> {
        let registered = self.registered.keys().map(String::as_str);
        Transform::NAMES.iter().copied().chain(registered)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::super::{
        ColorJitter, HorizontalFlip, RandomCrop, Resize, ScaleJitter, VerticalFlip,
    };
    use super::*;
    use crate::{BoundingBox, sample_rng};

    /// A dark image with one bright rectangle, and its box.
    fn scene() -> Sample {
        let image = RgbImage::from_fn(96, 64, |x, y| {
            let inside = (24..56).contains(&x) && (16..48).contains(&y);
            Rgb(if inside { [220; 3] } else { [20; 3] })
        });
        Sample::new(image, [(BoundingBox::new(24.0, 16.0, 56.0, 48.0), 2)])
    }

    /// The box around the bright pixels.
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
    fn boxes_follow_the_pixels_through_a_pipeline() {
        let pipeline = Pipeline::new(vec![
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::Resize(Resize::Fixed {
                width: 150,
                height: 120,
            }),
            Transform::ScaleJitter(ScaleJitter::default()),
            Transform::RandomCrop(RandomCrop::default()),
            Transform::VerticalFlip(VerticalFlip::default()),
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
        }
        assert!(followed > 40, "only {followed} boxes were kept by the crop");
    }

    #[test]
    fn the_same_generator_gives_the_same_sample() {
        let pipeline = Pipeline::new(vec![
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::ScaleJitter(ScaleJitter::default()),
            Transform::RandomCrop(RandomCrop::default()),
            Transform::ColorJitter(ColorJitter::default()),
        ])
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
    fn invalid_values_are_errors_that_name_step_and_field() {
        let message = |step| Pipeline::new(vec![step]).unwrap_err().to_string();
        let flip = HorizontalFlip::default().with_probability(1.5);
        assert_eq!(
            message(Transform::HorizontalFlip(flip)),
            "horizontal_flip.probability is 1.5, but must be between 0 and 1"
        );
        let resize = Resize::Fixed {
            width: 0,
            height: 4,
        };
        assert_eq!(
            message(Transform::Resize(resize)),
            "resize.fixed.width is 0, but must be between 1 and 32768"
        );
    }
}
