//! Scores that are made to predict the IoU after training.
//!
//! A [`Calibrator`] maps scores to calibrated scores, and [`cross_fitted`] does so without a separate
//! set of images. This is what a loss that ties scores to the IoU has to be compared with.

mod comparison;
mod map;

pub use comparison::{CalibrationComparison, CalibrationFigures};
pub use map::{CalibrationMap, CalibrationMethod};

use fcos_burn_boxes::Detection;
use fcos_burn_data::DetectionDataset;
use serde::{Deserialize, Serialize};

use crate::{
    EvaluationError,
    evaluation::score_iou,
    matching::{Matching, Outcome},
    results::category,
};

/// What a calibrated score should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CalibrationTarget {
    /// The IoU of the detection with an object of its class, as in [`score_iou`].
    #[default]
    Iou,
    /// The probability that the detection is correct.
    Precision {
        /// The IoU from which a detection finds an object, above 0.1 and at most 1.
        iou_threshold: f64,
    },
}

/// How a [`Calibrator`] is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CalibrationConfig {
    /// The kind of the maps.
    pub method: CalibrationMethod,
    /// What scores should be.
    pub target: CalibrationTarget,
    /// The least number of detections of a class that has a map of its own. Other classes share one
    /// that is fitted to all detections.
    pub least_detections: usize,
    /// The number of groups of images of [`cross_fitted`], at least 2.
    pub folds: usize,
}

impl CalibrationConfig {
    /// Calibrates to the IoU, by class from 100 detections on, with five folds.
    pub fn new(method: CalibrationMethod) -> Self {
        Self {
            method,
            target: CalibrationTarget::Iou,
            least_detections: 100,
            folds: 5,
        }
    }

    /// Sets [`target`](Self::target).
    #[must_use]
    pub fn with_target(self, target: CalibrationTarget) -> Self {
        Self { target, ..self }
    }

    /// Sets [`least_detections`](Self::least_detections).
    #[must_use]
    pub fn with_least_detections(self, least_detections: usize) -> Self {
        Self {
            least_detections,
            ..self
        }
    }

    /// Sets [`folds`](Self::folds).
    #[must_use]
    pub fn with_folds(self, folds: usize) -> Self {
        Self { folds, ..self }
    }
}

/// Maps from scores to calibrated scores, one for each class with enough detections.
///
/// A map rises with the score, so that it changes the order of the detections of different classes,
/// but not that within a class: neither the AP of a class nor its best F1. It changes the correlation
/// of score and IoU over all classes, and the calibration error. What an association loss achieves
/// beyond that is a better order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Calibrator {
    /// The map of classes without one of their own. `None` if there were no detections.
    pub shared: Option<CalibrationMap>,
    /// The map of each class, by label.
    pub classes: Vec<Option<CalibrationMap>>,
}

/// A detection and what its score should be.
struct Labeled {
    /// The index of the image in the data set.
    image: usize,
    label: usize,
    /// The score and the value.
    pair: (f64, f64),
}

impl Calibrator {
    /// Fits the maps to detections, which should not be those that they are then measured on.
    /// `detections` pairs the index of an image in `dataset` with the detections in it.
    ///
    /// # Errors
    ///
    /// Fails if an image index or a label is out of range, if a score is not in [0, 1], or as
    /// [`Matching::new`] does.
    pub fn fit(
        dataset: &DetectionDataset,
        detections: &[(usize, Vec<Detection>)],
        config: &CalibrationConfig,
    ) -> Result<Self, EvaluationError> {
        let labeled = labeled(dataset, detections, config.target)?;
        let classes = dataset.categories().len();
        Ok(Self::of(labeled.iter(), classes, config))
    }

    fn of<'a>(
        labeled: impl Iterator<Item = &'a Labeled>,
        classes: usize,
        config: &CalibrationConfig,
    ) -> Self {
        let mut all = Vec::new();
        let mut by_class = vec![Vec::new(); classes];
        for labeled in labeled {
            all.push(labeled.pair);
            by_class[labeled.label].push(labeled.pair);
        }
        let of_class = |pairs: &Vec<(f64, f64)>| match pairs.len() >= config.least_detections {
            true => CalibrationMap::fit(config.method, pairs),
            false => None,
        };
        Self {
            shared: CalibrationMap::fit(config.method, &all),
            classes: by_class.iter().map(of_class).collect(),
        }
    }

    /// The detections with calibrated scores, in the given order. Without a map, a score stays as it
    /// is.
    pub fn apply(&self, detections: &[Detection]) -> Vec<Detection> {
        let calibrated = |detection: &Detection| {
            let own = self.classes.get(detection.label).and_then(Option::as_ref);
            let map = own.or(self.shared.as_ref());
            let score = map.map_or(detection.score, |map| {
                map.apply(detection.score.into()) as f32
            });
            Detection {
                score,
                ..*detection
            }
        };
        detections.iter().map(calibrated).collect()
    }
}

/// Calibrates detections by themselves: the images are divided into groups, and each group gets the
/// maps that are fitted to the others. So no score is calibrated by a map that has seen its IoU.
///
/// The maps of the groups differ slightly, so that the order of detections in different groups may
/// change, and with it AP.
///
/// # Errors
///
/// Those of [`Calibrator::fit`].
pub fn cross_fitted(
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
    config: &CalibrationConfig,
) -> Result<Vec<(usize, Vec<Detection>)>, EvaluationError> {
    let labeled = labeled(dataset, detections, config.target)?;
    // Further groups would have no images.
    let folds = config.folds.clamp(2, dataset.len().max(2));
    let classes = dataset.categories().len();
    let calibrators: Vec<Calibrator> = (0..folds)
        .map(|fold| {
            let others = labeled
                .iter()
                .filter(|labeled| labeled.image % folds != fold);
            Calibrator::of(others, classes, config)
        })
        .collect();
    let calibrated = detections.iter().map(|(image, found)| {
        let calibrator = &calibrators[image % folds];
        (*image, calibrator.apply(found))
    });
    Ok(calibrated.collect())
}

/// The detections with what their scores should be. If that is the precision, those that find a crowd
/// are left out.
fn labeled(
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
    target: CalibrationTarget,
) -> Result<Vec<Labeled>, EvaluationError> {
    check(dataset, detections)?;
    let labeled = |image: usize, detection: &Detection, value: f64| Labeled {
        image,
        label: detection.label,
        pair: (detection.score.into(), value),
    };
    match target {
        CalibrationTarget::Iou => {
            let all = (detections.iter())
                .flat_map(|(image, found)| found.iter().map(|detection| (*image, detection)));
            let ious = score_iou(dataset, detections)?;
            let with_iou = all.zip(ious);
            Ok(with_iou
                .map(|((image, detection), (_, iou))| labeled(image, detection, iou.min(1.0)))
                .collect())
        }
        CalibrationTarget::Precision { iou_threshold } => {
            let matching = Matching::new(dataset, detections, iou_threshold)?;
            let images = matching.images().iter().enumerate();
            let counted = images.flat_map(|(image, matches)| {
                let outcomes = matches.detections.iter().zip(&matches.outcomes);
                let counted = outcomes.filter(|(_, outcome)| **outcome != Outcome::Ignored);
                counted.map(move |(detection, outcome)| {
                    let correct = matches!(outcome, Outcome::Correct { .. });
                    labeled(image, detection, f64::from(u8::from(correct)))
                })
            });
            Ok(counted.collect())
        }
    }
}

/// Checks images, labels and scores.
fn check(
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
) -> Result<(), EvaluationError> {
    for (image, found) in detections {
        let image_id = dataset.record(*image)?.id;
        for Detection { label, score, .. } in found {
            category(dataset, *label)?;
            if !(0.0..=1.0).contains(score) {
                return Err(EvaluationError::Score {
                    image_id,
                    score: *score,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::{
        sample_rng,
        shapes::{ShapesConfig, ShapesSplit},
    };
    use rand::RngExt;

    use super::*;
    use crate::{
        CocoMetric, Evaluation,
        calibration::{CALIBRATION_BINS, calibration_error},
    };

    /// Detections of the objects, off by up to a third of their size. The score falls with the
    /// shift, but differently for each class, and there are detections of nothing.
    fn scene() -> (DetectionDataset, Vec<(usize, Vec<Detection>)>) {
        let shapes = ShapesConfig::default().with_val_images(200);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let detections = dataset.images().iter().enumerate().map(|(index, image)| {
            let mut rng = sample_rng(1, 0, index);
            let mut found = Vec::new();
            for object in &image.objects {
                let [x1, y1, x2, y2] = object.bbox.to_xyxy();
                for _ in 0..3 {
                    let shift: f32 = rng.random_range(0.0..0.33);
                    let quality: f32 = 1.0 - shift * 2.0 + rng.random_range(-0.1..0.1);
                    let power = [0.3, 1.0, 3.0][object.label % 3];
                    found.push(Detection {
                        bbox: [x1 + shift * (x2 - x1), y1, x2 + shift * (x2 - x1), y2],
                        label: object.label,
                        score: quality.clamp(0.01, 0.99).powf(power),
                    });
                }
            }
            found.push(Detection {
                bbox: [0.0, 0.0, 3.0, 3.0],
                label: index % 6,
                score: rng.random_range(0.05..0.6),
            });
            (index, found)
        });
        let detections = detections.collect();
        (dataset, detections)
    }

    fn error(dataset: &DetectionDataset, detections: &[(usize, Vec<Detection>)]) -> f64 {
        let (scores, ious): (Vec<f64>, Vec<f64>) =
            score_iou(dataset, detections).unwrap().into_iter().unzip();
        calibration_error(&scores, &ious, CALIBRATION_BINS).unwrap()
    }

    #[test]
    fn scores_of_images_that_no_map_has_seen_are_calibrated() {
        let (dataset, detections) = scene();
        let before = error(&dataset, &detections);
        assert!(before > 0.1, "{before}");
        for method in [CalibrationMethod::Isotonic, CalibrationMethod::Platt] {
            let config = CalibrationConfig::new(method);
            let calibrated = cross_fitted(&dataset, &detections, &config).unwrap();
            let after = error(&dataset, &calibrated);
            assert!(after < 0.35 * before, "{method:?}: {after}");
        }
    }

    /// One map for each class keeps the order within it, but not that of different classes.
    #[test]
    fn calibration_changes_the_correlation_but_no_ap() {
        let (dataset, detections) = scene();
        let config = CalibrationConfig::new(CalibrationMethod::Isotonic);
        let calibrator = Calibrator::fit(&dataset, &detections, &config).unwrap();
        assert!(calibrator.classes.iter().all(Option::is_some));
        let calibrated: Vec<(usize, Vec<Detection>)> = detections
            .iter()
            .map(|(image, found)| (*image, calibrator.apply(found)))
            .collect();
        let of_class = |detections: &[(usize, Vec<Detection>)], label| -> Vec<f32> {
            let all = detections.iter().flat_map(|(_, found)| found);
            let own = all.filter(|detection| detection.label == label);
            own.map(|detection| detection.score).collect()
        };
        for label in 0..dataset.categories().len() {
            let scores = of_class(&detections, label).into_iter();
            let mut pairs: Vec<(f32, f32)> = scores.zip(of_class(&calibrated, label)).collect();
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(pairs.is_sorted_by_key(|(_, calibrated)| *calibrated));
        }
        let evaluate = |detections| Evaluation::new(&dataset, detections).unwrap();
        let (before, after) = (evaluate(&detections), evaluate(&calibrated));
        for metric in [CocoMetric::AP, CocoMetric::AP50, CocoMetric::AP75] {
            let [before, after] = [&before, &after].map(|e| e.metric(metric).unwrap());
            // Rounding can make two scores equal.
            assert!(
                (before - after).abs() < 1e-5,
                "{metric:?}: {before}, {after}"
            );
        }
        let pearson = |evaluation: &Evaluation| evaluation.correlation.pearson.unwrap();
        assert!(pearson(&after) > pearson(&before) + 0.05);
        let spearman = |evaluation: &Evaluation| evaluation.correlation.spearman.unwrap();
        assert!(spearman(&after) > spearman(&before) + 0.05);
    }

    #[test]
    fn rare_classes_share_a_map() {
        let (dataset, detections) = scene();
        let config =
            CalibrationConfig::new(CalibrationMethod::Platt).with_least_detections(usize::MAX);
        let calibrator = Calibrator::fit(&dataset, &detections, &config).unwrap();
        assert!(calibrator.classes.iter().all(Option::is_none));
        let shared = calibrator.shared.clone().unwrap();
        let applied = calibrator.apply(&detections[0].1);
        for (before, after) in detections[0].1.iter().zip(applied) {
            let expected = shared.apply(before.score.into()) as f32;
            assert_eq!((after.score, after.label), (expected, before.label));
        }
    }

    #[test]
    fn the_precision_of_calibrated_scores_is_what_they_say() {
        let (dataset, detections) = scene();
        let target = CalibrationTarget::Precision { iou_threshold: 0.6 };
        let config = CalibrationConfig::new(CalibrationMethod::Isotonic).with_target(target);
        let calibrated = cross_fitted(&dataset, &detections, &config).unwrap();
        let matching = Matching::new(&dataset, &calibrated, 0.6).unwrap();
        let (mut scores, mut correct) = (Vec::new(), Vec::new());
        for image in matching.images() {
            for (detection, outcome) in image.detections.iter().zip(&image.outcomes) {
                scores.push(f64::from(detection.score));
                correct.push(f64::from(u8::from(matches!(
                    outcome,
                    Outcome::Correct { .. }
                ))));
            }
        }
        let error = calibration_error(&scores, &correct, CALIBRATION_BINS).unwrap();
        assert!(error < 0.05, "{error}");
    }

    #[test]
    fn no_detections_leave_nothing_to_calibrate() {
        let (dataset, _) = scene();
        let config = CalibrationConfig::new(CalibrationMethod::Isotonic);
        assert_eq!(cross_fitted(&dataset, &[], &config).unwrap(), []);
        // All detections are in one group, so that the others have none.
        let single = Detection {
            bbox: [0.0, 0.0, 5.0, 5.0],
            label: 0,
            score: 0.4,
        };
        let one = vec![(3, vec![single])];
        assert_eq!(cross_fitted(&dataset, &one, &config).unwrap(), one);
    }

    #[test]
    fn errors_name_what_cannot_be_calibrated() {
        let (dataset, _) = scene();
        let config = CalibrationConfig::new(CalibrationMethod::Platt);
        let error = |score: f32, label: usize| {
            let found = Detection {
                bbox: [0.0, 0.0, 5.0, 5.0],
                label,
                score,
            };
            Calibrator::fit(&dataset, &[(0, vec![found])], &config).unwrap_err()
        };
        for score in [1.5, -0.1, f32::NAN] {
            let message = error(score, 0).to_string();
            assert!(message.contains("not between 0 and 1"), "{message}");
        }
        assert!(error(0.5, 77).to_string().contains("label 77"));
    }
}
