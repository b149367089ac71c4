//! Resized samples in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::transforms::{Interpolation, Resize, Sample};

/// How an image was resized.
type Size = (Resize, Interpolation);

/// Samples by index and size, up to a number of bytes. The first ones stay: an epoch reads every image about once, so
/// that a cache which replaces old ones would lose each before it is read again.
#[derive(Debug, Default)]
pub(super) struct ResizedSamples {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    samples: HashMap<(usize, Size), Arc<Sample>>,
    bytes: usize,
}

impl ResizedSamples {
    /// Samples in up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Mutex::default(),
        }
    }

    /// The sample of an image in this size, if it is kept.
    pub(super) fn get(&self, index: usize, size: Size) -> Option<Sample> {
        let sample = self.kept().samples.get(&(index, size)).cloned();
        // Copied after the lock is released.
        sample.map(Arc::unwrap_or_clone)
    }

    /// Keeps the sample of an image if there is room.
    pub(super) fn keep(&self, index: usize, size: Size, sample: &Sample) {
        let bytes = bytes(sample);
        let has_room = |kept: &Kept| {
            kept.bytes.saturating_add(bytes) <= self.limit
                && !kept.samples.contains_key(&(index, size))
        };
        if !has_room(&self.kept()) {
            return;
        }
        let copy = Arc::new(sample.clone());
        let mut kept = self.kept();
        // Another thread may have been faster.
        if has_room(&kept) {
            kept.bytes += bytes;
            kept.samples.insert((index, size), copy);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(sample: &Sample) -> usize {
    let boxes = size_of_val(sample.boxes()) + size_of_val(sample.labels());
    sample.image().as_raw().len() + boxes + size_of::<((usize, Size), Arc<Sample>, Sample)>()
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    const SIZE: Size = (
        Resize::Fixed {
            width: 8,
            height: 8,
        },
        Interpolation::Antialiased,
    );

    fn sample(value: u8) -> Sample {
        Sample::new(RgbImage::from_pixel(8, 8, image::Rgb([value; 3])), [])
    }

    #[test]
    fn the_first_samples_are_kept_as_long_as_they_fit() {
        let kept = ResizedSamples::new(2 * bytes(&sample(0)));
        for index in [5, 3, 5, 4] {
            kept.keep(index, SIZE, &sample(index as u8));
        }
        assert_eq!(kept.get(5, SIZE), Some(sample(5)));
        assert_eq!(kept.get(3, SIZE), Some(sample(3)));
        assert_eq!(kept.get(4, SIZE), None);
        let pointwise = (SIZE.0, Interpolation::Pointwise);
        assert_eq!(kept.get(5, pointwise), None);
        // There was room for two only.
        kept.keep(5, pointwise, &sample(6));
        assert_eq!(kept.get(5, pointwise), None);
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        let kept = ResizedSamples::default();
        kept.keep(0, SIZE, &sample(0));
        assert_eq!(kept.get(0, SIZE), None);
    }
}
