//! Images in files.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::ImageSource;
use crate::DataError;
use crate::decoding::read_image;

/// An [`ImageSource`] of image files, one per image of the data set. Decodes them as [`read_image`] does.
#[derive(Debug, Clone)]
pub struct ImageFiles {
    paths: Vec<PathBuf>,
}

impl ImageFiles {
    /// The files in the order of the data set's images.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }
}

impl ImageSource for ImageFiles {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let len = self.paths.len();
        match self.path(index) {
            Some(path) => read_image(path),
            None => Err(DataError::IndexOutOfRange { index, len }),
        }
    }

    fn path(&self, index: usize) -> Option<&Path> {
        self.paths.get(index).map(PathBuf::as_path)
    }
}
