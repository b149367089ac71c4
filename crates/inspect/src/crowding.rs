//! Objects per image and overlaps of objects.

use fcos_burn_boxes::iou;
use fcos_burn_data::ImageRecord;
use rayon::prelude::*;
use serde::Serialize;

use crate::distribution::Distribution;

/// Boxes with at least this IoU count as overlapping.
const OVERLAP: f32 = 0.5;

/// The number of objects per image, and how many of them overlap.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Crowding {
    /// Objects per image; `None` without images.
    pub per_image: Option<Distribution>,
    /// The mean number of objects per image.
    pub mean: f64,
    /// The number of boxes that overlap another box in their image with an IoU of at least 0.5.
    pub overlapping: usize,
}

impl Crowding {
    pub(crate) fn of(images: &[&ImageRecord]) -> Self {
        let boxes = |image: &&ImageRecord| -> Vec<[f32; 4]> {
            let objects = image.ordinary_objects();
            objects.map(|object| object.bbox.to_xyxy()).collect()
        };
        let counts: Vec<usize> = images.iter().map(|image| boxes(image).len()).collect();
        let objects: usize = counts.iter().sum();
        let overlapping = images.par_iter().map(|image| overlapping(boxes(image)));
        Self {
            per_image: Distribution::of_counts(&counts),
            mean: objects as f64 / images.len().max(1) as f64,
            overlapping: overlapping.sum(),
        }
    }
}

/// The number of boxes that overlap another box.
fn overlapping(mut boxes: Vec<[f32; 4]>) -> usize {
    boxes.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut found = vec![false; boxes.len()];
    for (index, bbox) in boxes.iter().enumerate() {
        // Boxes that start to the right of this box do not overlap it.
        let near = boxes.iter().enumerate().skip(index + 1);
        for (other, near) in near.take_while(|(_, near)| near[0] < bbox[2]) {
            if iou(bbox, near) >= OVERLAP {
                (found[index], found[other]) = (true, true);
            }
        }
    }
    found.into_iter().filter(|found| *found).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_boxes_are_counted_once_each() {
        let row = |from: usize, step: f32| {
            (0..5).map(move |index| {
                let x = from as f32 + index as f32 * step;
                [x, 0.0, x + 30.0, 10.0]
            })
        };
        // A shift by a third of the width gives an IoU of 1/2.
        assert_eq!(overlapping(row(0, 10.0).collect()), 5);
        assert_eq!(overlapping(row(0, 10.5).collect()), 0);
        let mut both: Vec<_> = row(1000, 40.0).chain(row(0, 40.0)).collect();
        both.push([0.0, 0.0, 30.0, 9.0]);
        assert_eq!(overlapping(both), 2);
        assert_eq!(overlapping(Vec::new()), 0);
    }
}
