//! The common interface of transforms.

use std::fmt;

use rand::Rng;

use super::{Companions, Sample};
use crate::DataError;

/// A step of a [`Pipeline`](super::Pipeline): changes a sample, possibly at random.
///
/// See [`Augmentations`](super::Augmentations) for an example.
pub trait Augmentation: fmt::Debug + Send + Sync {
    /// Returns the changed sample. All random choices are drawn from `rng`, so that samples are reproducible.
    ///
    /// # Errors
    ///
    /// Any failure to change the sample. [`DataError::augmentation`] wraps errors of other crates.
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError>;

    /// [`apply`](Self::apply) for steps that combine the sample with other images, which they draw from `companions`.
    /// Other steps need only `apply`.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Self::apply) and of [`Companions::draw`].
    fn apply_among(
        &self,
        sample: Sample,
        _companions: &dyn Companions,
        rng: &mut dyn Rng,
    ) -> Result<Sample, DataError> {
        self.apply(sample, rng)
    }

    /// Whether [`Pipeline::plain`](super::Pipeline::plain) keeps the step, since its images look like those of
    /// inference.
    fn is_plain(&self) -> bool {
        true
    }

    /// Fails if a value of the configuration is not allowed, such as a probability above 1. Called once, before the
    /// first sample.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`], whose field is relative to this step: `probability`, not `random_gray.probability`.
    fn validate(&self) -> Result<(), DataError> {
        Ok(())
    }
}
