//! The source of pixels.

use std::fmt;
use std::path::Path;

use image::RgbImage;

use crate::DataError;

/// Provides the pixels of a [`DetectionDataset`](crate::DetectionDataset) by image index.
///
/// Images are requested in any order, from several threads at once. The same index must always give the same pixels.
///
/// See [`DetectionDataset::new`](crate::DetectionDataset::new) for an example.
pub trait ImageSource: fmt::Debug + Send + Sync {
    /// The pixels of the image at `index`.
    ///
    /// # Errors
    ///
    /// Any failure to read the image. [`DataError::image_source`] wraps errors of other crates. A panic counts as a
    /// failure.
    fn image(&self, index: usize) -> Result<RgbImage, DataError>;

    /// The file that holds the image at `index`, for error messages. `None` if the image is not in a file.
    fn path(&self, _index: usize) -> Option<&Path> {
        None
    }

    /// Whether [`image`](Self::image) cannot fail, as with generated images.
    /// [`DetectionDataset::unreadable_images`](crate::DetectionDataset::unreadable_images) does not read these.
    fn always_readable(&self) -> bool {
        false
    }
}
