//! An image with its boxes.

use fcos_burn_boxes::LabeledBox;
use image::RgbImage;

use super::Geometry;
use crate::BoundingBox;

/// An image on its way through a pipeline, with its training boxes.
///
/// Every box has a label and lies inside the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    image: RgbImage,
    boxes: Vec<BoundingBox>,
    labels: Vec<usize>,
}

impl Sample {
    /// An image with its objects: boxes in pixels, each with its label.
    ///
    /// Boxes are clipped to the image. Boxes without area inside it are dropped.
    pub fn new(image: RgbImage, objects: impl IntoIterator<Item = (BoundingBox, usize)>) -> Self {
        let (width, height) = image.dimensions();
        let clipped = (objects.into_iter()).map(|(bbox, label)| (bbox.clip(width, height), label));
        let (boxes, labels) = clipped.filter(|(bbox, _)| !bbox.is_degenerate()).unzip();
        Self {
            image,
            boxes,
            labels,
        }
    }

    /// The pixels.
    pub fn image(&self) -> &RgbImage {
        &self.image
    }

    /// The boxes, in pixels of [`image`](Self::image).
    pub fn boxes(&self) -> &[BoundingBox] {
        &self.boxes
    }

    /// The class of each box.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Each box with its label, as [`new`](Self::new) takes them.
    pub(super) fn labeled_boxes(&self) -> impl Iterator<Item = (BoundingBox, usize)> {
        self.boxes.iter().copied().zip(self.labels.iter().copied())
    }

    /// The training objects: each box, in pixels of [`image`](Self::image), with its class.
    pub fn objects(&self) -> Vec<LabeledBox> {
        self.labeled_boxes()
            .map(|(bbox, label)| LabeledBox {
                bbox: bbox.to_xyxy(),
                label,
            })
            .collect()
    }

    /// The same sample with changed colors. `color` maps the red, green and blue of each pixel.
    #[must_use]
    pub fn recolor(mut self, mut color: impl FnMut([u8; 3]) -> [u8; 3]) -> Self {
        for pixel in self.image.pixels_mut() {
            pixel.0 = color(pixel.0);
        }
        self
    }

    /// The sample moved to a transformed `image`. `geometry` maps pixel coordinates of the current image to the new
    /// one. Boxes are mapped and clipped, and dropped if nothing is left of them.
    #[must_use]
    pub fn map_to(self, image: RgbImage, geometry: Geometry) -> Self {
        let mapped = self.boxes.into_iter().map(|bbox| geometry.map(bbox));
        Self::new(image, mapped.zip(self.labels))
    }

    /// The same image with only the boxes for which `keep(box, label)` is true.
    #[must_use]
    pub fn retain(self, mut keep: impl FnMut(BoundingBox, usize) -> bool) -> Self {
        let (boxes, labels) = self
            .boxes
            .into_iter()
            .zip(self.labels)
            .filter(|(bbox, label)| keep(*bbox, *label))
            .unzip();
        Self {
            image: self.image,
            boxes,
            labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_boxes_are_clipped_or_dropped_with_their_labels() {
        let objects = [
            (BoundingBox::new(0.0, 0.0, 4.0, 4.0), 3),
            (BoundingBox::new(6.0, 2.0, 9.0, 8.0), 4),
        ];
        let sample = Sample::new(RgbImage::new(10, 10), objects);
        let right_half = Geometry {
            offset: [-5.0, 0.0],
            ..Geometry::IDENTITY
        };
        let mapped = sample.map_to(RgbImage::new(3, 10), right_half);
        assert_eq!(mapped.boxes(), [BoundingBox::new(1.0, 2.0, 3.0, 8.0)]);
        assert_eq!(mapped.labels(), [4]);
    }

    #[test]
    fn boxes_of_a_new_sample_lie_inside_its_image() {
        let objects = [
            (BoundingBox::new(-2.0, 1.0, 3.0, 12.0), 0),
            (BoundingBox::new(10.0, 1.0, 12.0, 2.0), 1),
            (BoundingBox::new(5.0, 5.0, 5.0, 6.0), 2),
            (BoundingBox::new(f32::NAN, 1.0, 3.0, 2.0), 3),
        ];
        let sample = Sample::new(RgbImage::new(10, 10), objects);
        assert_eq!(sample.boxes(), [BoundingBox::new(0.0, 1.0, 3.0, 10.0)]);
        assert_eq!(sample.labels(), [0]);
    }
}
