//! Configuration of the generated images.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::drawing::{IMAGES, SIDES};

/// The configuration of the generated data set for pretraining. Missing fields in a file have their default.
///
/// To measure the effect of an ingredient, leave it out: `classes` at 14 has one class of each family of forms, and a
/// fraction of 0 switches `texture`, `lighting` or `degradation` off. These three and `typical_color` change neither the
/// objects nor their positions, so that the annotations stay the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SyntheticConfig {
    /// Seed of all random choices, except for the classes, which are the same for every seed.
    pub seed: u64,
    /// Number of images in the training split.
    pub train_images: usize,
    /// Number of images in the validation split.
    pub val_images: usize,
    /// Width of all images, in pixels.
    pub width: u32,
    /// Height of all images, in pixels.
    pub height: u32,
    /// Number of classes. A class depends only on its index.
    pub classes: usize,
    /// Largest number of objects drawn in an image.
    pub max_objects: usize,
    /// Length of the smallest objects, in pixels.
    pub min_size: f32,
    /// Length of the largest objects, as a fraction of the image's shorter side.
    pub max_size: f32,
    /// Largest number of lines and objects of no class in an image.
    pub max_clutter: usize,
    /// Fraction of objects whose color is typical of their class. The rest have any color.
    pub typical_color: f32,
    /// Fraction of images with textures. In the others, objects are flat, and grounds flat or shaded.
    pub texture: f32,
    /// Fraction of images with shaded objects, shadows, and light that changes over the image.
    pub lighting: f32,
    /// Fraction of images with blur, noise, changed contrast and brightness, and compression.
    pub degradation: f32,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            train_images: 10_000,
            val_images: 300,
            width: 160,
            height: 120,
            classes: 112,
            max_objects: 20,
            min_size: 6.0,
            max_size: 0.9,
            max_clutter: 3,
            typical_color: 0.7,
            texture: 0.95,
            lighting: 0.6,
            degradation: 0.6,
        }
    }
}

impl SyntheticConfig {
    /// Sets the [seed](Self::seed).
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the [number of training images](Self::train_images).
    #[must_use]
    pub fn with_train_images(mut self, train_images: usize) -> Self {
        self.train_images = train_images;
        self
    }

    /// Sets the [number of validation images](Self::val_images).
    #[must_use]
    pub fn with_val_images(mut self, val_images: usize) -> Self {
        self.val_images = val_images;
        self
    }

    /// Sets [width](Self::width) and [height](Self::height), in pixels.
    #[must_use]
    pub fn with_size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// Sets the [number of classes](Self::classes).
    #[must_use]
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the [largest number of objects](Self::max_objects) in an image.
    #[must_use]
    pub fn with_max_objects(mut self, max_objects: usize) -> Self {
        self.max_objects = max_objects;
        self
    }

    /// Sets the length of the [smallest objects](Self::min_size), in pixels.
    #[must_use]
    pub fn with_min_size(mut self, min_size: f32) -> Self {
        self.min_size = min_size;
        self
    }

    /// Sets the length of the [largest objects](Self::max_size), as a fraction of the image's shorter side.
    #[must_use]
    pub fn with_max_size(mut self, max_size: f32) -> Self {
        self.max_size = max_size;
        self
    }

    /// Sets the [largest number of lines and objects of no class](Self::max_clutter) in an image.
    #[must_use]
    pub fn with_max_clutter(mut self, max_clutter: usize) -> Self {
        self.max_clutter = max_clutter;
        self
    }

    /// Sets the [fraction of objects with typical colors](Self::typical_color).
    #[must_use]
    pub fn with_typical_color(mut self, typical_color: f32) -> Self {
        self.typical_color = typical_color;
        self
    }

    /// Sets the [fraction of images with textures](Self::texture).
    #[must_use]
    pub fn with_texture(mut self, texture: f32) -> Self {
        self.texture = texture;
        self
    }

    /// Sets the [fraction of images with light and shadow](Self::lighting).
    #[must_use]
    pub fn with_lighting(mut self, lighting: f32) -> Self {
        self.lighting = lighting;
        self
    }

    /// Sets the [fraction of degraded images](Self::degradation).
    #[must_use]
    pub fn with_degradation(mut self, degradation: f32) -> Self {
        self.degradation = degradation;
        self
    }

    /// Fails if a value is not allowed.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`].
    pub fn validate(&self) -> Result<(), DataError> {
        let images = |field, value| DataError::require_in_range(field, value, IMAGES);
        let fraction = |field, value| DataError::require_in_range(field, value, 0.0..=1.0);
        images("synthetic.train_images", self.train_images)?;
        images("synthetic.val_images", self.val_images)?;
        DataError::require_in_range("synthetic.width", self.width, SIDES)?;
        DataError::require_in_range("synthetic.height", self.height, SIDES)?;
        DataError::require_in_range("synthetic.classes", self.classes, 1..=10_000)?;
        DataError::require_in_range("synthetic.max_objects", self.max_objects, 1..=100)?;
        DataError::require_in_range("synthetic.max_clutter", self.max_clutter, 0..=100)?;
        fraction("synthetic.max_size", self.max_size)?;
        let largest = self.largest_object();
        DataError::require_in_range("synthetic.min_size", self.min_size, 4.0..=largest)?;
        fraction("synthetic.typical_color", self.typical_color)?;
        fraction("synthetic.texture", self.texture)?;
        fraction("synthetic.lighting", self.lighting)?;
        fraction("synthetic.degradation", self.degradation)
    }

    /// Length of the largest objects, in pixels.
    pub(super) fn largest_object(&self) -> f32 {
        self.max_size * self.width.min(self.height) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_values_are_errors_that_name_the_field() {
        let message =
            |config: SyntheticConfig| config.validate().err().map(|error| error.to_string());
        assert_eq!(message(SyntheticConfig::default()), None);
        let classes = message(SyntheticConfig::default().with_classes(0));
        let expected = "synthetic.classes is 0, but must be between 1 and 10000";
        assert_eq!(classes.as_deref(), Some(expected));
        let size = message(
            SyntheticConfig::default()
                .with_min_size(f32::NAN)
                .with_max_size(0.5),
        );
        let expected = "synthetic.min_size is NaN, but must be between 4 and 60";
        assert_eq!(size.as_deref(), Some(expected));
        for invalid in [
            SyntheticConfig::default().with_size(0, 96),
            SyntheticConfig::default().with_max_objects(0),
            SyntheticConfig::default().with_texture(1.5),
            SyntheticConfig::default().with_lighting(-0.1),
            SyntheticConfig::default().with_degradation(f32::NAN),
        ] {
            assert!(message(invalid).is_some());
        }
        assert!(serde_json::from_str::<SyntheticConfig>(r#"{"widht": 64}"#).is_err());
    }
}
