//! Class confusion: detectors that localize objects but misclassify many of them.

use fcos_burn_boxes::{Detection, batched_nms};
use fcos_burn_data::DetectionDataset;

use crate::{
    CocoMetric, CocoMetrics, CocoResult, Evaluation, EvaluationError,
    coco::{coco_report, metrics},
    results::{detections, results},
};

/// With a class-agnostic AP below this, localization has failed too.
const MIN_CLASS_AGNOSTIC_AP: f64 = 0.1;

/// The two APs of a detector that localizes objects but misclassifies many of them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClassConfusion {
    /// Mean AP of the classes, weighted by their numbers of objects.
    pub object_ap: f64,
    /// AP with all classes merged into one.
    pub class_agnostic_ap: f64,
}

impl ClassConfusion {
    /// Detects class confusion in `results` on `dataset`, given their `evaluation`. `None` if
    /// there is none, if fewer than two classes have objects, or if classes share a name.
    ///
    /// # Errors
    ///
    /// The same as those of [`class_agnostic_metrics`].
    pub fn find(
        dataset: &DetectionDataset,
        results: &[CocoResult],
        evaluation: &Evaluation,
        nms_iou_threshold: f32,
    ) -> Result<Option<Self>, EvaluationError> {
        let Some(object_ap) = object_ap(dataset, evaluation) else {
            return Ok(None);
        };
        let metrics = class_agnostic_metrics(dataset, results, nms_iou_threshold)?;
        let class_agnostic_ap = metrics.get(&CocoMetric::AP).copied().flatten();
        let confused = class_agnostic_ap.filter(|&ap| is_confused(object_ap, ap));
        Ok(confused.map(|class_agnostic_ap| Self {
            object_ap,
            class_agnostic_ap,
        }))
    }
}

fn is_confused(object_ap: f64, class_agnostic_ap: f64) -> bool {
    class_agnostic_ap >= MIN_CLASS_AGNOSTIC_AP && is_class_confused(object_ap, class_agnostic_ap)
}

/// The mean AP of the classes, weighted by their numbers of objects. Unlike COCO's AP, it gives
/// a rare class as little weight as the class-agnostic AP does. `None` if fewer than two classes
/// have objects, or if classes share a name.
fn object_ap(dataset: &DetectionDataset, evaluation: &Evaluation) -> Option<f64> {
    let categories = dataset.categories();
    let mut counts = vec![0_usize; categories.len()];
    for image in dataset.images() {
        for object in image.ordinary_objects() {
            *counts.get_mut(object.label)? += 1;
        }
    }
    let mut occurring: Vec<(&str, usize)> = (categories.iter().zip(counts))
        .filter(|(_, count)| *count > 0)
        .map(|(category, count)| (category.name.as_str(), count))
        .collect();
    occurring.sort_unstable();
    occurring.dedup_by_key(|(name, _)| *name);
    let total: usize = occurring.iter().map(|(_, count)| count).sum();
    if occurring.len() < 2 || occurring.len() != evaluation.class_ap.len() {
        return None;
    }
    let weighted = |(name, count): (&str, usize)| {
        Some(evaluation.class_ap.get(name)? * count as f64 / total as f64)
    };
    occurring.into_iter().map(weighted).sum()
}

/// Whether a detector localizes objects but misclassifies many of them: `ap` is below 80% of
/// `class_agnostic_ap`, its AP with all classes merged into one.
///
/// ```
/// use fcos_burn_eval::class_confusion::is_class_confused;
///
/// assert!(is_class_confused(0.33, 0.52));
/// assert!(!is_class_confused(0.50, 0.52));
/// ```
pub fn is_class_confused(ap: f64, class_agnostic_ap: f64) -> bool {
    ap < 0.8 * class_agnostic_ap
}

/// COCO metrics of `results` on `dataset` with all classes merged into one. They measure how
/// well a detector localizes objects, regardless of their predicted classes. Non-maximum
/// suppression with `nms_iou_threshold` removes results that overlap a better one.
///
/// # Errors
///
/// Fails if the id of an image or a category is not in the data set, or a score is NaN.
pub fn class_agnostic_metrics(
    dataset: &DetectionDataset,
    results: &[CocoResult],
    nms_iou_threshold: f32,
) -> Result<CocoMetrics, EvaluationError> {
    let mut truth = dataset.to_coco();
    // The merged class has label 0.
    truth.categories.truncate(1);
    let Some(category) = truth.categories.first().map(|category| category.id) else {
        return Ok(CocoMetric::ALL
            .iter()
            .map(|&metric| (metric, None))
            .collect());
    };
    for annotation in &mut truth.annotations {
        annotation.category_id = category;
    }
    let suppressed: Vec<(usize, Vec<Detection>)> = detections(dataset, results)?
        .into_iter()
        .map(|(image, found)| {
            let merged = found
                .into_iter()
                .map(|found| Detection { label: 0, ..found });
            let kept = batched_nms(merged.collect(), nms_iou_threshold);
            (image, kept.collect())
        })
        .collect();
    let results = self::results(dataset, &suppressed)?;
    Ok(metrics(&coco_report(truth, &results)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    #[test]
    fn class_confusion_needs_localization() {
        // Confused, good, imbalanced classes, nothing localized, every class wrong.
        for (ap, class_agnostic_ap, confused) in [
            (0.334, 0.52, true),
            (0.52, 0.53, false),
            (0.40, 0.445, false),
            (0.0, 0.05, false),
            (0.0, 0.3, true),
        ] {
            assert_eq!(is_confused(ap, class_agnostic_ap), confused);
        }
    }

    #[test]
    fn swapped_classes_are_class_confusion_but_a_missed_class_is_not() {
        let shapes = ShapesConfig::default().with_val_images(60);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let found = |class: &dyn Fn(usize) -> Option<usize>| {
            let images = dataset.images().iter().enumerate();
            let detections: Vec<(usize, Vec<Detection>)> = images
                .map(|(index, image)| {
                    let objects = image.objects.iter().filter_map(|object| {
                        Some(Detection {
                            bbox: object.bbox.to_xyxy(),
                            label: class(object.label)?,
                            score: 0.9,
                        })
                    });
                    (index, objects.collect())
                })
                .collect();
            let evaluation = Evaluation::new(&dataset, &detections).unwrap();
            let results = results(&dataset, &detections).unwrap();
            ClassConfusion::find(&dataset, &results, &evaluation, 0.6).unwrap()
        };
        assert_eq!(found(&Some), None);
        assert_eq!(found(&|label| (label > 0).then_some(label)), None);
        let exchanged = found(&|label| Some(label ^ 1)).unwrap();
        assert!(exchanged.object_ap < 0.1 && exchanged.class_agnostic_ap > 0.9);
    }

    #[test]
    fn class_agnostic_metrics_ignore_classes() {
        let shapes = ShapesConfig::default().with_train_images(8);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Train).unwrap();
        let truth = dataset.to_coco();
        let results: Vec<CocoResult> = (truth.annotations.iter())
            .map(|annotation| CocoResult {
                image_id: annotation.image_id,
                // Every other object gets the next class.
                category_id: 1 + (annotation.category_id - 1 + annotation.id % 2) % 6,
                bbox: annotation.bbox.unwrap(),
                score: 0.9,
            })
            .collect();
        let with_classes = metrics(&coco_report(truth, &results).unwrap())[&CocoMetric::AP];
        assert!(with_classes.unwrap() < 0.8);
        let ap = |results: &[CocoResult]| {
            class_agnostic_metrics(&dataset, results, 0.6).unwrap()[&CocoMetric::AP].unwrap()
        };
        assert!((ap(&results) - 1.0).abs() < 1e-6);
        // A second detection of an object with a lower score is suppressed.
        let mut twice = results.clone();
        twice.extend(results.into_iter().map(|result| CocoResult {
            category_id: 1 + result.category_id % 6,
            score: 0.8,
            ..result
        }));
        assert!((ap(&twice) - 1.0).abs() < 1e-6);
        assert_eq!(ap(&[]), 0.0);
    }
}
