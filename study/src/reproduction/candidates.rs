//! The candidates that suppression chooses from, and how well scores choose among them.

use std::{collections::HashMap, sync::Arc};

use crate::Error;
use fcos_burn::{
    boxes::{Detection, iou},
    data::{DetectionDataset, Object},
    detect::device::Precision,
    detect::{Detector, DetectorFile},
    train::{RunConfig, RunFolder},
};
use serde::{Deserialize, Serialize};

/// A box fits an object if their IoU is at least this.
pub const FITS: f32 = 0.5;

/// Detections of the images of a data set, by index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ByImage(HashMap<usize, Vec<Detection>>);

impl ByImage {
    /// Takes pairs of the index of an image and its detections.
    pub fn new(pairs: Vec<(usize, Vec<Detection>)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The detections of an image.
    pub fn of(&self, image: usize) -> &[Detection] {
        self.0.get(&image).map_or(&[], Vec::as_slice)
    }
}

/// All candidates of a run's detector in `dataset`, as pairs of the index of an image and its
/// candidates. Detects without suppression, on the first device of `config`.
///
/// # Errors
///
/// Names the file that cannot be read.
pub fn candidates(
    run: &RunFolder,
    dataset: &Arc<DetectionDataset>,
    config: &RunConfig,
) -> Result<Vec<(usize, Vec<Detection>)>, Error> {
    let mut file = DetectorFile::open(run.path())?;
    // No IoU exceeds 1, so that nothing is suppressed.
    file.model.postprocess.nms_iou_threshold = 1.0;
    file.model.postprocess.detections_per_image = usize::MAX;
    let (detector, _) = Detector::from_file(file, &config.devices[0], Precision::F32)?;
    Ok(detector.detect_dataset(dataset, config.batch_size, config.workers, |_| {})?)
}

/// The box that a detector keeps for an object, and the best one that it could have kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The detection with the highest score.
    pub kept: Detection,
    /// Its IoU with the object.
    pub kept_iou: f32,
    /// The candidate with the highest IoU with the object.
    pub best: Detection,
    /// Its IoU with the object.
    pub best_iou: f32,
    /// Mean IoU of the candidates, the expected IoU of a random choice.
    pub mean_iou: f32,
}

impl Choice {
    /// Compares the detections of an object with the candidates that suppression chose from. Only
    /// boxes of the object's class that fit it count. `None` if the object was not found.
    pub fn new(
        object: &Object,
        detections: &[Detection],
        candidates: &[Detection],
    ) -> Option<Self> {
        let (kept, kept_iou) = fitting(object, detections)
            .max_by(|a, b| a.0.score.total_cmp(&b.0.score).then(a.1.total_cmp(&b.1)))?;
        let candidates: Vec<(Detection, f32)> = fitting(object, candidates).collect();
        let (best, best_iou) = *candidates.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let sum: f32 = candidates.iter().map(|(_, iou)| iou).sum();
        Some(Self {
            kept,
            kept_iou,
            best,
            best_iou,
            mean_iou: sum / candidates.len() as f32,
        })
    }

    /// How much higher the IoU of the best candidate is than that of the kept box.
    pub fn gap(&self) -> f32 {
        self.best_iou - self.kept_iou
    }
}

/// The detections of the object's class with an IoU of at least [`FITS`], each with its IoU.
fn fitting<'a>(
    object: &'a Object,
    detections: &'a [Detection],
) -> impl Iterator<Item = (Detection, f32)> + 'a {
    let bbox = object.bbox.to_xyxy();
    detections
        .iter()
        .filter(|detection| detection.label == object.label)
        .map(move |detection| (*detection, iou(&detection.bbox, &bbox)))
        .filter(|(_, iou)| *iou >= FITS)
}

/// How well scores choose among the candidates of each object.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// Number of objects, without crowds.
    pub objects: usize,
    /// Number of objects that were found.
    pub found: usize,
    /// Number of pairs of an object and a detection that fits it. Pairs beyond
    /// [`found`](Self::found) are mostly duplicates.
    pub fitting: usize,
    /// Mean IoU of the detections with the highest score, over the objects found.
    pub kept_iou: f64,
    /// Mean IoU of the candidates with the highest IoU, over the objects found.
    pub best_iou: f64,
    /// Mean IoU of the candidates of each object, averaged over the objects found.
    pub mean_iou: f64,
}

impl Choices {
    /// Compares detections and candidates over all objects of `dataset`. `None` if no object was
    /// found.
    pub fn new(
        dataset: &DetectionDataset,
        detections: &ByImage,
        candidates: &ByImage,
    ) -> Option<Self> {
        let (mut objects, mut fits) = (0, 0);
        let mut choices = Vec::new();
        for (index, image) in dataset.images().iter().enumerate() {
            for object in image.ordinary_objects() {
                objects += 1;
                fits += fitting(object, detections.of(index)).count();
                let choice = Choice::new(object, detections.of(index), candidates.of(index));
                choices.extend(choice);
            }
        }
        let mean = |iou: fn(&Choice) -> f32| {
            choices.iter().map(|c| f64::from(iou(c))).sum::<f64>() / choices.len() as f64
        };
        (!choices.is_empty()).then(|| Self {
            objects,
            found: choices.len(),
            fitting: fits,
            kept_iou: mean(|choice| choice.kept_iou),
            best_iou: mean(|choice| choice.best_iou),
            mean_iou: mean(|choice| choice.mean_iou),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn::{
        data::BoundingBox,
        data::shapes::{ShapesConfig, ShapesSplit},
    };

    use super::*;

    #[test]
    fn the_kept_box_has_the_highest_score_and_the_best_box_the_highest_iou() {
        let object = Object::new(1, BoundingBox::new(0.0, 0.0, 10.0, 10.0), 1);
        let candidate = |x2: f32, score, label| Detection {
            bbox: [0.0, 0.0, x2, 10.0],
            score,
            label,
        };
        let candidates = [
            candidate(6.0, 0.9, 1),
            candidate(10.0, 0.5, 1),
            // One of another class, and one that is too small.
            candidate(10.0, 0.95, 0),
            candidate(4.0, 0.99, 1),
        ];
        let choice = Choice::new(&object, &candidates[..1], &candidates).unwrap();
        assert_eq!((choice.kept, choice.best), (candidates[0], candidates[1]));
        assert!((choice.gap() - 0.4).abs() < 1e-6 && (choice.mean_iou - 0.8).abs() < 1e-6);
        let all = Choice::new(&object, &candidates, &candidates);
        assert_eq!(all, Some(choice));
        assert_eq!(Choice::new(&object, &candidates[2..], &candidates), None);
    }

    #[test]
    fn choices_are_averaged_over_the_objects_found() {
        let shapes = ShapesConfig::default()
            .with_val_images(2)
            .with_max_objects(1);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let object = &dataset.images()[0].objects[0];
        let bbox = object.bbox;
        let found = |width: f32, score| Detection {
            bbox: [
                bbox.x1,
                bbox.y1,
                bbox.x1 + width * (bbox.x2 - bbox.x1),
                bbox.y2,
            ],
            score,
            label: object.label,
        };
        let by_image = |found: Vec<Detection>| ByImage::new(vec![(0, found), (1, vec![])]);
        let candidates = by_image(vec![found(0.75, 0.9), found(1.0, 0.4)]);
        let kept = by_image(vec![found(0.75, 0.9), found(0.6, 0.1), found(0.4, 0.1)]);
        let choices = Choices::new(&dataset, &kept, &candidates).unwrap();
        assert_eq!((choices.objects, choices.found), (2, 1));
        assert_eq!(choices.fitting, 2);
        assert!((choices.kept_iou - 0.75).abs() < 1e-5);
        assert!((choices.best_iou - 1.0).abs() < 1e-5);
        assert!((choices.mean_iou - 0.875).abs() < 1e-5);
        assert_eq!(Choices::new(&dataset, &by_image(vec![]), &candidates), None);
    }
}
