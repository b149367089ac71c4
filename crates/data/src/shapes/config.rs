//! Configuration of the generated images.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::drawing::{IMAGES, SIDES};

/// The configuration of the generated data set. Missing fields in a file have their default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ShapesConfig {
    /// Seed of all random choices.
    pub seed: u64,
    /// Number of images in the training split.
    pub train_images: usize,
    /// Number of images in the validation split.
    pub val_images: usize,
    /// Width of all images, in pixels.
    pub width: u32,
    /// Height of all images, in pixels.
    pub height: u32,
    /// Largest number of objects drawn in an image. The smallest is one.
    pub max_objects: usize,
    /// Length of the smallest objects, in pixels.
    pub min_size: f32,
    /// Length of the largest objects, as a fraction of the image's shorter side.
    pub max_size: f32,
    /// Largest number of distracting lines and curves in an image.
    pub max_strokes: usize,
    /// Fraction of objects with almost the color of the background.
    pub low_contrast: f32,
    /// Fraction of the other objects with a color typical of their class. The rest have any color.
    pub typical_color: f32,
    /// Largest standard deviation of the noise in each channel, in units of 1/255.
    pub noise: f32,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            train_images: 2000,
            val_images: 150,
            width: 128,
            height: 96,
            max_objects: 3,
            min_size: 8.0,
            max_size: 0.9,
            max_strokes: 3,
            low_contrast: 0.02,
            typical_color: 1.0,
            noise: 5.0,
        }
    }
}

impl ShapesConfig {
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

    /// Sets the [largest number of lines and curves](Self::max_strokes) in an image.
    #[must_use]
    pub fn with_max_strokes(mut self, max_strokes: usize) -> Self {
        self.max_strokes = max_strokes;
        self
    }

    /// Sets the [fraction of objects with low contrast](Self::low_contrast).
    #[must_use]
    pub fn with_low_contrast(mut self, low_contrast: f32) -> Self {
        self.low_contrast = low_contrast;
        self
    }

    /// Sets the [fraction of objects with typical colors](Self::typical_color).
    #[must_use]
    pub fn with_typical_color(mut self, typical_color: f32) -> Self {
        self.typical_color = typical_color;
        self
    }

    /// Sets the [noise](Self::noise).
    #[must_use]
    pub fn with_noise(mut self, noise: f32) -> Self {
        self.noise = noise;
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
        images("shapes.train_images", self.train_images)?;
        images("shapes.val_images", self.val_images)?;
        DataError::require_in_range("shapes.max_objects", self.max_objects, 1..=100)?;
        DataError::require_in_range("shapes.max_strokes", self.max_strokes, 0..=100)?;
        DataError::require_in_range("shapes.width", self.width, SIDES)?;
        DataError::require_in_range("shapes.height", self.height, SIDES)?;
        fraction("shapes.max_size", self.max_size)?;
        let largest = self.largest_object();
        DataError::require_in_range("shapes.min_size", self.min_size, 4.0..=largest)?;
        fraction("shapes.low_contrast", self.low_contrast)?;
        fraction("shapes.typical_color", self.typical_color)?;
        DataError::require_in_range("shapes.noise", self.noise, 0.0..=64.0)
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
        let message = |config: ShapesConfig| config.validate().err().map(|error| error.to_string());
        let width = message(ShapesConfig::default().with_size(0, 96));
        let expected = "shapes.width is 0, but must be between 16 and 4096";
        assert_eq!(width.as_deref(), Some(expected));
        let size = message(
            ShapesConfig::default()
                .with_min_size(f32::NAN)
                .with_max_size(0.5),
        );
        let expected = "shapes.min_size is NaN, but must be between 4 and 48";
        assert_eq!(size.as_deref(), Some(expected));
        assert_eq!(message(ShapesConfig::default()), None);
        assert!(serde_json::from_str::<ShapesConfig>(r#"{"widht": 64}"#).is_err());
    }
}
