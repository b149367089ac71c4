//! Images in files.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::ImageSource;
use crate::DataError;
use crate::decoding::{Pixels, read_pixels};

/// An [`ImageSource`] of image files, one per image of the data set. Decodes them as [`read_image`](crate::read_image)
/// does.
#[derive(Debug, Clone)]
pub struct ImageFiles {
    files: Vec<(PathBuf, Pixels)>,
}

impl ImageFiles {
    /// The files in the order of the data set's images.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let files = paths.into_iter().map(|path| (path, Pixels::Upright));
        Self {
            files: files.collect(),
        }
    }

    /// The files, and which of their pixels the annotations refer to.
    pub(crate) fn with_pixels(files: Vec<(PathBuf, Pixels)>) -> Self {
        Self { files }
    }
}

impl ImageSource for ImageFiles {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let len = self.files.len();
        match self.files.get(index) {
            Some((path, pixels)) => read_pixels(path, *pixels),
            None => Err(DataError::IndexOutOfRange { index, len }),
        }
    }

    fn path(&self, index: usize) -> Option<&Path> {
        self.files.get(index).map(|(path, _)| path.as_path())
    }
}
