//! Everything that suppression chooses from, and how well scores choose.

use std::sync::Arc;

use fcos_burn::{
    data::{DetectionDataset, Object},
    model::{Detection, nms::iou},
    train::{Detector, DetectorFile, Error, RunConfig, device::Precision, run::RunFolder},
};
use serde::{Deserialize, Serialize};

/// Candidates of an object have at least this IoU with it.
const OF_OBJECT: f32 = 0.5;

/// The candidates of each image, with its index.
pub type Candidates = Vec<(usize, Vec<Detection>)>;

/// All candidates of a run's detector in `dataset`: it detects without suppression, on the
/// first device of `config`.
///
/// # Errors
///
/// Names the file that cannot be read.
pub fn candidates(
    run: &RunFolder,
    dataset: &Arc<DetectionDataset>,
    config: &RunConfig,
) -> Result<Candidates, Error> {
    let mut file = DetectorFile::open(run.path())?;
    // No IoU is above 1.
    file.model.postprocess.nms_iou_threshold = 1.0;
    file.model.postprocess.detections_per_image = usize::MAX;
    let (detector, _) = Detector::from_file(file, &config.devices[0], Precision::F32)?;
    detector.detect_dataset(dataset, config.batch_size, config.workers, |_| {})
}

/// The candidate that suppression keeps for an object, and the one that fits it best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// That with the highest score.
    pub kept: Detection,
    /// Its IoU with the object.
    pub kept_iou: f32,
    /// That with the highest IoU.
    pub best: Detection,
    /// Its IoU with the object.
    pub best_iou: f32,
}

impl Choice {
    /// `None` of an object that was not found.
    pub fn new(object: &Object, candidates: &[Detection]) -> Option<Self> {
        let bbox = object.bbox.to_xyxy();
        let fitting: Vec<(Detection, f32)> = candidates
            .iter()
            .filter(|candidate| candidate.label == object.label)
            .map(|candidate| (*candidate, iou(&candidate.bbox, &bbox)))
            .filter(|(_, iou)| *iou >= OF_OBJECT)
            .collect();
        let (kept, kept_iou) = *fitting
            .iter()
            .max_by(|a, b| a.0.score.total_cmp(&b.0.score))?;
        let (best, best_iou) = *fitting.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Self {
            kept,
            kept_iou,
            best,
            best_iou,
        })
    }

    /// By how much the best box fits better.
    pub fn gap(&self) -> f32 {
        self.best_iou - self.kept_iou
    }
}

/// How well scores choose among the candidates of each object.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// Objects, crowds left out.
    pub objects: usize,
    /// Objects that have a candidate.
    pub found: usize,
    /// Mean IoU of the candidates with the highest score, over the objects found.
    pub kept_iou: f64,
    /// Mean IoU of the candidates with the highest IoU, over the objects found.
    pub best_iou: f64,
}

impl Choices {
    /// `None` if no object was found.
    ///
    /// # Errors
    ///
    /// Fails if an image is not the data set's.
    pub fn new(dataset: &DetectionDataset, candidates: &Candidates) -> Result<Option<Self>, Error> {
        let mut objects = 0;
        let mut choices = Vec::new();
        for (image, candidates) in candidates {
            for object in dataset
                .record(*image)?
                .objects
                .iter()
                .filter(|o| !o.iscrowd)
            {
                objects += 1;
                choices.extend(Choice::new(object, candidates));
            }
        }
        if choices.is_empty() {
            return Ok(None);
        }
        let mean = |iou: fn(&Choice) -> f32| {
            choices
                .iter()
                .map(|choice| f64::from(iou(choice)))
                .sum::<f64>()
                / choices.len() as f64
        };
        Ok(Some(Self {
            objects,
            found: choices.len(),
            kept_iou: mean(|choice| choice.kept_iou),
            best_iou: mean(|choice| choice.best_iou),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn::data::{
        BoundingBox,
        shapes::{ShapesConfig, ShapesSplit},
    };

    use super::*;

    #[test]
    fn the_score_keeps_and_the_iou_is_best() {
        let object = Object {
            id: 1,
            bbox: BoundingBox {
                x1: 0.0,
                y1: 0.0,
                x2: 10.0,
                y2: 10.0,
            },
            label: 1,
            area: 100.0,
            iscrowd: false,
        };
        let candidate = |x2: f32, score, label| Detection {
            bbox: [0.0, 0.0, x2, 10.0],
            score,
            label,
        };
        let candidates = [
            candidate(6.0, 0.9, 1),
            candidate(10.0, 0.5, 1),
            candidate(10.0, 0.95, 0),
            candidate(4.0, 0.99, 1),
        ];
        let choice = Choice::new(&object, &candidates);
        assert_eq!(choice.map(|c| c.kept), Some(candidates[0]));
        assert_eq!(choice.map(|c| c.best), Some(candidates[1]));
        assert!(choice.is_some_and(|c| (c.gap() - 0.4).abs() < 1e-6));
        assert_eq!(Choice::new(&object, &candidates[2..]), None);
    }

    #[test]
    fn choices_are_means_over_what_was_found() {
        let shapes = ShapesConfig {
            val_images: 2,
            max_objects: 1,
            ..ShapesConfig::default()
        };
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
        let candidates = vec![(0, vec![found(0.75, 0.9), found(1.0, 0.4)]), (1, vec![])];
        let choices = Choices::new(&dataset, &candidates).unwrap().unwrap();
        assert_eq!((choices.objects, choices.found), (2, 1));
        assert!((choices.kept_iou - 0.75).abs() < 1e-5);
        assert!((choices.best_iou - 1.0).abs() < 1e-5);
        assert_eq!(Choices::new(&dataset, &vec![(0, vec![])]).unwrap(), None);
    }
}
