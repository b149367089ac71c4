//! Training samples where some images cannot be read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;

use crate::transforms::Sample;
use crate::{DataError, DetectionDataset, sample_rng};

/// Keeps the choice of a replacement apart from the augmentation of the image that it replaces.
const REPLACEMENT: u64 = 0x5265_706c_6163_6564;

/// Reads samples to train on. An image that cannot be read is counted, and another takes its place.
///
/// Clones share the count.
///
/// ```
/// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
/// use fcos_burn_data::{DetectionDataset, SampleReader};
///
/// let dataset = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Val)?;
/// let reader = SampleReader::new(7);
/// let (index, sample) = reader.sample(&dataset, 1, 20)?;
/// assert_eq!((index, sample.image().dimensions()), (20, (128, 96)));
/// assert!(reader.unreadable().is_empty());
/// # Ok::<(), fcos_burn_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SampleReader {
    seed: u64,
    unreadable: Arc<Mutex<BTreeMap<usize, String>>>,
}

impl SampleReader {
    /// The share of a data set's images that may be unreadable.
    pub const MAX_UNREADABLE: f64 = 0.05;

    /// A reader that draws replacements by `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            unreadable: Arc::default(),
        }
    }

    /// Whether `unreadable` of `total` images are more than a training can do without.
    pub fn too_many(unreadable: usize, total: usize) -> bool {
        unreadable as f64 > Self::MAX_UNREADABLE * total as f64
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The sample of an image, or of one that is drawn in its place by seed, epoch and `index`; and its index.
    ///
    /// # Errors
    ///
    /// [`DataError::TooManyUnreadable`] where more than [`MAX_UNREADABLE`](Self::MAX_UNREADABLE) of the images met so far
    /// cannot be read: of fewer than 20 images, none may be unreadable. [`DataError::IndexOutOfRange`].
    pub fn sample(
        &self,
        dataset: &DetectionDataset,
        epoch: u64,
        index: usize,
    ) -> Result<(usize, Sample), DataError> {
        let mut draws = sample_rng(self.seed ^ REPLACEMENT, epoch, index);
        let mut index = index;
        // Nearly all images can be read, or `count` fails.
        loop {
            match dataset.sample(index) {
                Ok(sample) => return Ok((index, sample)),
                Err(cause) if cause.is_of_an_image() => self.count(dataset, index, cause)?,
                Err(error) => return Err(error),
            }
            index = draws.random_range(0..dataset.len());
        }
    }

    fn count(
        &self,
        dataset: &DetectionDataset,
        index: usize,
        cause: DataError,
    ) -> Result<(), DataError> {
        let mut unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unreadable.insert(index, cause.to_string());
        let (count, total) = (unreadable.len(), dataset.len());
        if Self::too_many(count, total) {
            return Err(DataError::TooManyUnreadable {
                count,
                total,
                cause: Box::new(cause),
            });
        }
        Ok(())
    }

    /// What is wrong with the images that could not be read so far, in the order of the data set.
    pub fn unreadable(&self) -> Vec<String> {
        let unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unreadable.values().cloned().collect()
    }
}
