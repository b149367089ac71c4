//! Whether a detector finds objects, but not what they are.

use std::fmt;

use fcos_burn_data::DetectionDataset;
use fcos_burn_loss::{AssociationScore, FcosObjectiveConfig};

use crate::{
    error::Error,
    evaluation::{CocoFigure, CocoResult, Evaluation, class_agnostic_figures, is_class_confused},
};

/// Below this AP of any class, boxes are not found either.
const FOUND: f64 = 0.1;

/// A detector that localizes objects but misclassifies many of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassConfusion {
    /// Mean AP of the classes, each weighted by its objects.
    ap: f64,
    /// AP with all classes taken as one.
    any_class: f64,
    /// Whether the training tied the highest score to the IoU.
    highest_score: bool,
}

impl ClassConfusion {
    /// Looks for it in `results` on `dataset`, whose evaluation is `evaluation`.
    ///
    /// # Errors
    ///
    /// As [`class_agnostic_figures`].
    pub(crate) fn find(
        dataset: &DetectionDataset,
        results: &[CocoResult],
        evaluation: &Evaluation,
        nms_iou_threshold: f32,
        objective: &FcosObjectiveConfig,
    ) -> Result<Option<Self>, Error> {
        let Some(ap) = object_ap(dataset, evaluation) else {
            return Ok(None);
        };
        let figures = class_agnostic_figures(dataset, results, nms_iou_threshold)?;
        let any_class = figures.get(&CocoFigure::AP).copied().flatten();
        let confused = any_class.filter(|any_class| is_confused(ap, *any_class));
        Ok(confused.map(|any_class| Self {
            ap,
            any_class,
            highest_score: objective.association.is_some()
                && objective.association_score == AssociationScore::MaxOverClasses,
        }))
    }
}

fn is_confused(ap: f64, any_class: f64) -> bool {
    any_class >= FOUND && is_class_confused(ap, any_class)
}

/// The mean AP of the classes, each weighted by its objects: unlike COCO's AP, a rare class
/// counts as little in it as in the AP of any class. `None` where there is one class, or the
/// classes' names do not tell them apart.
fn object_ap(dataset: &DetectionDataset, evaluation: &Evaluation) -> Option<f64> {
    let categories = dataset.categories();
    let mut counts = vec![0_usize; categories.len()];
    for image in dataset.images() {
        for object in image.objects.iter().filter(|object| !object.iscrowd) {
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

impl fmt::Display for ClassConfusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.highest_score {
            true => {
                "Tying the highest score to the IoU can cause this when training from scratch: tie \
                 the true class's score (ground-truth-class), or use no association loss"
            }
            false => "Train longer, or check for classes whose objects are labeled inconsistently",
        };
        write!(
            f,
            "objects are found, but many have the wrong class: the mean AP over objects is {:.1}, \
             but {:.1} with all classes taken as one. {advice}",
            100.0 * self.ap,
            100.0 * self.any_class
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
    use fcos_burn_loss::AssociationLoss;
    use fcos_burn_model::Detection;

    use super::*;
    use crate::evaluation::results;

    #[test]
    fn boxes_without_classes_are_told_apart_from_no_boxes() {
        // A run that locked in, a good one, uneven classes, nothing found, no class right.
        for (ap, any_class, confused) in [
            (0.334, 0.52, true),
            (0.52, 0.53, false),
            (0.40, 0.445, false),
            (0.0, 0.05, false),
            (0.0, 0.3, true),
        ] {
            assert_eq!(is_confused(ap, any_class), confused);
        }
    }

    #[test]
    fn exchanged_classes_are_found_and_a_missed_one_is_not() {
        let shapes = ShapesConfig {
            val_images: 60,
            ..ShapesConfig::default()
        };
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
            let mut objective = FcosObjectiveConfig::new();
            objective.association = Some(AssociationLoss::default());
            ClassConfusion::find(&dataset, &results, &evaluation, 0.6, &objective).unwrap()
        };
        assert_eq!(found(&Some), None);
        assert_eq!(found(&|label| (label > 0).then_some(label)), None);
        let exchanged = found(&|label| Some(label ^ 1)).unwrap();
        assert!(exchanged.ap < 0.1 && exchanged.any_class > 0.9);
        assert!(exchanged.to_string().contains("ground-truth-class"));
    }
}
