//! A part of a data set.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;

use super::{Annotations, DetectionDataset, ImageSource};
use crate::{DataError, LoadReport};

impl DetectionDataset {
    /// The images at `indices`, in that order, as a data set called `name`. Its report is empty.
    pub(crate) fn subset(&self, name: String, indices: Vec<usize>) -> Self {
        let images = indices.iter().map(|&index| self.images()[index].clone());
        let annotations = Annotations {
            name,
            layout: self.layout(),
            categories: self.categories().to_vec(),
            images: images.collect(),
            searched: self.annotations.searched.clone(),
            report: LoadReport::default(),
        };
        let source = Arc::new(Subset {
            whole: Arc::clone(&self.source),
            indices,
        });
        Self {
            annotations,
            source,
        }
    }
}

/// A subset of the images of another source.
#[derive(Debug)]
struct Subset {
    whole: Arc<dyn ImageSource>,
    indices: Vec<usize>,
}

impl ImageSource for Subset {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let len = self.indices.len();
        match self.indices.get(index) {
            Some(&index) => self.whole.image(index),
            None => Err(DataError::IndexOutOfRange { index, len }),
        }
    }

    fn path(&self, index: usize) -> Option<&Path> {
        self.whole.path(*self.indices.get(index)?)
    }

    fn always_readable(&self) -> bool {
        self.whole.always_readable()
    }
}
