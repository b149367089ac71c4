//! The evaluator of the validation metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use fcos_burn_boxes::Detection;
use fcos_burn_data::{Category, DetectionDataset};
use fcos_burn_eval::{CocoMetric, Evaluation, EvaluationError};

/// The evaluator that the COCO metrics of a training run share. Clones share its state.
#[derive(Clone)]
pub(crate) struct SharedEvaluator {
    dataset: Arc<DetectionDataset>,
    /// The data set's label for each of the model's, if it has the class.
    labels: Vec<Option<usize>>,
    state: Arc<Mutex<EvaluatorState>>,
}

#[derive(Default)]
struct EvaluatorState {
    detections: BTreeMap<usize, Vec<Detection>>,
    evaluation: Option<Evaluation>,
}

impl SharedEvaluator {
    /// An evaluator of a model with these `classes` over `dataset`.
    pub fn new(dataset: Arc<DetectionDataset>, classes: &[Category]) -> Self {
        Self {
            labels: Category::matches(classes, dataset.categories()),
            dataset,
            state: Arc::default(),
        }
    }

    /// Adds the detections of some images, with the model's labels. The first call after an
    /// evaluation starts the next one; images that were already added are skipped.
    pub fn add(&self, images: &[(usize, Vec<Detection>)]) {
        let mut state = self.lock();
        if state.evaluation.take().is_some() {
            state.detections.clear();
        }
        let relabeled = |detection: &Detection| {
            let label = *self.labels.get(detection.label)?;
            Some(Detection {
                label: label?,
                ..*detection
            })
        };
        for (image, detections) in images {
            state
                .detections
                .entry(*image)
                .or_insert_with(|| detections.iter().filter_map(relabeled).collect());
        }
    }

    /// A metric of the added detections, if it is defined and the evaluation succeeds.
    pub fn metric(&self, metric: CocoMetric) -> Option<f64> {
        self.evaluation().ok()?.metric(metric)
    }

    /// The evaluation of the added detections.
    ///
    /// # Errors
    ///
    /// Fails as [`Evaluation::new`] does.
    pub fn evaluation(&self) -> Result<Evaluation, EvaluationError> {
        let mut state = self.lock();
        if let Some(evaluation) = &state.evaluation {
            return Ok(evaluation.clone());
        }
        let detections: Vec<_> = std::mem::take(&mut state.detections).into_iter().collect();
        let evaluation = Evaluation::new(&self.dataset, &detections);
        match &evaluation {
            Ok(evaluation) => state.evaluation = Some(evaluation.clone()),
            // The next call fails in the same way.
            Err(_) => state.detections = detections.into_iter().collect(),
        }
        evaluation
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, EvaluatorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    #[test]
    fn a_failed_evaluation_keeps_failing() {
        let shapes = ShapesConfig::default().with_val_images(1);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let classes = dataset.categories().to_vec();
        let evaluator = SharedEvaluator::new(Arc::new(dataset), &classes);
        evaluator.add(&[(
            0,
            vec![Detection {
                bbox: [0.0, 0.0, 4.0, 4.0],
                label: 0,
                score: f32::NAN,
            }],
        )]);
        for _ in 0..2 {
            assert_eq!(evaluator.metric(CocoMetric::AP), None);
            assert!(evaluator.evaluation().is_err());
        }
    }

    /// A detector with other classes in another order finds every object.
    #[test]
    fn labels_are_those_of_the_data() {
        let shapes = ShapesConfig::default().with_val_images(5);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let mut classes = Category::list(["none of them"]);
        classes.extend(dataset.categories().iter().rev().cloned());
        let found: Vec<(usize, Vec<Detection>)> = (dataset.images().iter().enumerate())
            .map(|(index, image)| {
                let detection = |object: &fcos_burn_data::Object| Detection {
                    bbox: object.bbox.to_xyxy(),
                    label: classes.len() - 1 - object.label,
                    score: 0.9,
                };
                let mut detections: Vec<_> = image.objects.iter().map(detection).collect();
                detections.push(Detection {
                    bbox: [0.0, 0.0, 4.0, 4.0],
                    label: 0,
                    score: 0.99,
                });
                (index, detections)
            })
            .collect();
        let evaluator = SharedEvaluator::new(Arc::new(dataset), &classes);
        evaluator.add(&found);
        assert_eq!(evaluator.metric(CocoMetric::AP), Some(1.0));
    }
}
