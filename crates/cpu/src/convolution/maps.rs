//! The images that a convolution reads, of one size or of several.

use crate::nhwc::Nhwc;

use super::geometry::Geometry;

/// Images of one size. A batch has one or more parts, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of images.
    pub images: usize,
    pub geometry: Geometry,
}

impl Part {
    /// The number of pixels of the output.
    pub fn output_pixels(&self) -> usize {
        self.images * self.geometry.output_pixels()
    }
}

/// The images of a part.
#[derive(Clone, Copy, Debug)]
pub struct Maps<'a> {
    pub images: Nhwc<'a>,
    pub geometry: Geometry,
}

impl Maps<'_> {
    /// Their number and geometry.
    pub fn part(&self) -> Part {
        Part {
            images: self.images.batch(),
            geometry: self.geometry,
        }
    }
}

/// The number of pixels of the output of all images.
pub fn output_pixels(maps: &[Maps]) -> usize {
    maps.iter().map(|maps| maps.part().output_pixels()).sum()
}
