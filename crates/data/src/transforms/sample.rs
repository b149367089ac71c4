//! An image with its boxes.

use image::RgbImage;

use super::Geometry;
use crate::BoundingBox;

/// An image on its way through the transforms, with the boxes to train on.
///
/// There is one label for each box; boxes lie inside the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    image: RgbImage,
    boxes: Vec<BoundingBox>,
    labels: Vec<usize>,
    geometry: Geometry,
}

impl Sample {
    /// An untransformed image with its boxes; pairs of a box and a label, so what one list has beyond the other is left out.
    pub fn new(image: RgbImage, mut boxes: Vec<BoundingBox>, mut labels: Vec<usize>) -> Self {
        let pairs = boxes.len().min(labels.len());
        boxes.truncate(pairs);
        labels.truncate(pairs);
        Self {
            image,
            boxes,
            labels,
            geometry: Geometry::IDENTITY,
        }
    }

    /// The pixels.
    pub fn image(&self) -> &RgbImage {
        &self.image
    }

    /// The boxes, in pixels of the image as it is now.
    pub fn boxes(&self) -> &[BoundingBox] {
        &self.boxes
    }

    /// The class of each box.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Where the image came from in the original one.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The same boxes on other pixels.
    pub(super) fn recolored(self, recolor: impl FnOnce(&mut RgbImage)) -> Self {
        let mut image = self.image;
        recolor(&mut image);
        Self { image, ..self }
    }

    /// Another image, to which `step` maps the boxes of this one.
    pub(super) fn moved(self, image: RgbImage, step: Geometry) -> Self {
        let (width, height) = image.dimensions();
        let boxes = self
            .boxes
            .into_iter()
            .map(|bbox| step.map(bbox).clip(width, height))
            .collect();
        Self {
            image,
            boxes,
            labels: self.labels,
            geometry: self.geometry.then(step),
        }
    }

    /// The same image with only the boxes that `keep` says.
    pub(super) fn retain(self, keep: impl Fn(BoundingBox) -> bool) -> Self {
        let kept = self
            .boxes
            .into_iter()
            .zip(self.labels)
            .filter(|(bbox, _)| keep(*bbox));
        let (boxes, labels) = kept.unzip();
        Self {
            boxes,
            labels,
            ..self
        }
    }
}
