//! Other images for steps that combine several.

use rand::Rng;

use super::Sample;
use crate::DataError;

/// Where steps that combine several images draw the others from.
///
/// [`SampleReader::companions`](crate::SampleReader::companions) draws them from a data set. A function from a random
/// number generator to a sample implements it, too.
pub trait Companions {
    /// Another sample, before any augmentation. It is chosen by `rng` alone, so that results are reproducible.
    ///
    /// # Errors
    ///
    /// Any failure to read or resize an image.
    fn draw(&self, rng: &mut dyn Rng) -> Result<Sample, DataError>;
}

impl<F: Fn(&mut dyn Rng) -> Result<Sample, DataError>> Companions for F {
    fn draw(&self, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        self(rng)
    }
}

/// The companions of a sample that is augmented alone: there are none.
pub(super) fn no_companions(_: &mut dyn Rng) -> Result<Sample, DataError> {
    Err(DataError::augmentation(
        "a step that combines several images",
        "there are no other images to draw from",
    ))
}
