//! Training samples, even if some images are unreadable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng, RngExt};

use super::resized_samples::ResizedSamples;
use crate::transforms::{Companions, Interpolation, Resize, Sample};
use crate::{DataError, DetectionDataset, sample_rng};

/// Modifies the seed so that the choice of a replacement and the augmentation of the sample share no random numbers.
const REPLACEMENT: u64 = 0x5265_706c_6163_6564;

/// Reads the training samples of a data set. An unreadable image is counted and replaced by another image.
///
/// Clones share the count, and the [memory](Self::with_memory).
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
    resized: Arc<ResizedSamples>,
}

impl SampleReader {
    /// The largest tolerated fraction of unreadable images in a data set.
    pub const MAX_UNREADABLE: f64 = 0.05;

    /// A reader that draws replacements from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            unreadable: Arc::default(),
            resized: Arc::default(),
        }
    }

    /// Keeps [resized](Self::resized) samples of its data set in up to this many bytes of memory, so that their images are
    /// decoded once. What does not fit is decoded in every epoch.
    #[must_use]
    pub fn with_memory(self, bytes: usize) -> Self {
        Self {
            resized: Arc::new(ResizedSamples::new(bytes)),
            ..self
        }
    }

    /// Whether `unreadable` out of `total` images exceed [`MAX_UNREADABLE`](Self::MAX_UNREADABLE).
    pub fn too_many(unreadable: usize, total: usize) -> bool {
        unreadable as f64 > Self::MAX_UNREADABLE * total as f64
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The index of an image and its sample. If the image at `index` is unreadable, a replacement is drawn from seed,
    /// epoch and `index`.
    ///
    /// # Errors
    ///
    /// [`DataError::TooManyUnreadable`] if the unreadable images found so far exceed
    /// [`MAX_UNREADABLE`](Self::MAX_UNREADABLE) of all images; with fewer than 20 images, a single one does.
    /// [`DataError::IndexOutOfRange`].
    pub fn sample(
        &self,
        dataset: &DetectionDataset,
        epoch: u64,
        index: usize,
    ) -> Result<(usize, Sample), DataError> {
        self.readable(dataset, epoch, index, |index| dataset.sample(index))
    }

    /// As [`sample`](Self::sample), but resized.
    ///
    /// # Errors
    ///
    /// Those of [`sample`](Self::sample); [`DataError::Dataset`] if an image cannot be resized.
    pub fn resized(
        &self,
        dataset: &DetectionDataset,
        epoch: u64,
        index: usize,
        resize: Resize,
        interpolation: Interpolation,
    ) -> Result<(usize, Sample), DataError> {
        let size = (resize, interpolation);
        self.readable(dataset, epoch, index, |index| {
            if let Some(sample) = self.resized.get(index, size) {
                return Ok(sample);
            }
            let sample = resize
                .resize(dataset.sample(index)?, interpolation)
                .map_err(|error| match dataset.record(index) {
                    Ok(record) => DataError::Dataset {
                        name: dataset.name().to_owned(),
                        cause: format!("{}: {error}", record.file_name),
                    },
                    Err(error) => error,
                })?;
            self.resized.keep(index, size, &sample);
            Ok(sample)
        })
    }

    /// The first readable image among that at `index` and its replacements.
    fn readable(
        &self,
        dataset: &DetectionDataset,
        epoch: u64,
        index: usize,
        read: impl Fn(usize) -> Result<Sample, DataError>,
    ) -> Result<(usize, Sample), DataError> {
        let mut draws = sample_rng(self.seed ^ REPLACEMENT, epoch, index);
        let mut index = index;
        // Terminates: nearly all images are readable, or `count` fails.
        loop {
            match read(index) {
                Ok(sample) => return Ok((index, sample)),
                Err(cause) if cause.concerns_one_image() => self.count(dataset, index, cause)?,
                Err(error) => return Err(error),
            }
            index = draws.random_range(0..dataset.len());
        }
    }

    /// The other images for steps that combine several: all images of `dataset`, with the same probability, read like
    /// [samples](Self::sample) of `epoch` and resized.
    pub fn companions(
        &self,
        dataset: &DetectionDataset,
        epoch: u64,
        resize: Resize,
        interpolation: Interpolation,
    ) -> impl Companions {
        move |rng: &mut dyn Rng| {
            let len = dataset.len();
            if len == 0 {
                return Err(DataError::IndexOutOfRange { index: 0, len });
            }
            let index = rng.random_range(0..len);
            let (_, sample) = self.resized(dataset, epoch, index, resize, interpolation)?;
            Ok(sample)
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
                limit: Self::MAX_UNREADABLE,
                cause: Box::new(cause),
            });
        }
        Ok(())
    }

    /// The errors of the unreadable images found so far, in the order of the data set.
    pub fn unreadable(&self) -> Vec<String> {
        let unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unreadable.values().cloned().collect()
    }
}
