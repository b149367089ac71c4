//! What a detector gets right and wrong at a score threshold.

mod table;

use std::fmt;

use fcos_burn_boxes::Detection;
use fcos_burn_data::DetectionDataset;
use serde::{Deserialize, Serialize};

use crate::{
    Evaluation, EvaluationError,
    calibrator::CalibrationComparison,
    confusion_matrix::ConfusionMatrix,
    error_cost::ErrorCosts,
    matching::Matching,
    operating_point::{OperatingPoint, ScoreCurve, score_thresholds},
};

/// The thresholds of an [`Analysis`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct AnalysisConfig {
    /// The IoU from which a detection finds an object. 0.5 by default.
    pub iou_threshold: f64,
    /// The precision for which a threshold is wanted. 0.9 by default.
    pub target_precision: f64,
    /// The score threshold. By default the one with the largest F1 over all classes.
    pub score_threshold: Option<f32>,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self {
            iou_threshold: 0.5,
            target_precision: 0.9,
            score_threshold: None,
        }
    }
}

impl AnalysisConfig {
    /// Sets [`iou_threshold`](Self::iou_threshold).
    #[must_use]
    pub fn with_iou_threshold(self, iou_threshold: f64) -> Self {
        Self {
            iou_threshold,
            ..self
        }
    }

    /// Sets [`target_precision`](Self::target_precision).
    #[must_use]
    pub fn with_target_precision(self, target_precision: f64) -> Self {
        Self {
            target_precision,
            ..self
        }
    }

    /// Sets [`score_threshold`](Self::score_threshold).
    #[must_use]
    pub fn with_score_threshold(self, score_threshold: Option<f32>) -> Self {
        Self {
            score_threshold,
            ..self
        }
    }
}

/// Precision, recall and F1 by score threshold, the confusion matrix and the costs of the kinds of errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Analysis {
    /// The IoU from which a detection finds an object.
    pub iou_threshold: f64,
    /// The score threshold of the confusion matrix and of the counts. `None` if none was given and no detection is
    /// correct; then all detections count.
    pub score_threshold: Option<f32>,
    /// The operating points.
    pub operating_points: OperatingPoints,
    /// Which classes are detected as which, at the score threshold.
    pub confusion_matrix: ConfusionMatrix,
    /// The kinds of errors.
    pub errors: ErrorCosts,
}

/// The operating points of all classes together, and of each class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperatingPoints {
    /// The wanted precision.
    pub target_precision: f64,
    /// The [score thresholds](score_thresholds) of the curves.
    pub thresholds: Vec<f32>,
    /// All classes together: the detections and objects of all of them are counted.
    pub all: ClassPoints,
    /// The classes with objects or detections, in the order of the data set.
    pub classes: Vec<ClassPoints>,
}

/// The operating points of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClassPoints {
    /// The name of the class; `None` for all classes together.
    pub class: Option<String>,
    /// Number of objects, without crowds.
    pub objects: usize,
    /// The point of the score threshold.
    pub at_score_threshold: OperatingPoint,
    /// The point with the largest F1. `None` if no detection is correct.
    pub best_f1: Option<OperatingPoint>,
    /// The point with the largest recall among those with the wanted precision. `None` if there is none.
    pub at_target_precision: Option<OperatingPoint>,
    /// The precision at each of the [`thresholds`](OperatingPoints::thresholds).
    pub precision: Vec<Option<f64>>,
    /// The recall at each of the thresholds.
    pub recall: Vec<Option<f64>>,
    /// The F1 at each of the thresholds.
    pub f1: Vec<Option<f64>>,
}

/// An evaluation with its analysis, for the terminal and for JSON files. Either can be read from the JSON file alone.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EvaluationReport<'a> {
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    #[serde(flatten)]
    analysis: &'a Analysis,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<&'a CalibrationComparison>,
}

impl<'a> EvaluationReport<'a> {
    /// The report of an evaluation and an analysis of the same detections.
    pub fn new(evaluation: &'a Evaluation, analysis: &'a Analysis) -> Self {
        Self {
            evaluation,
            analysis,
            calibration: None,
        }
    }

    /// Adds what calibration changes.
    #[must_use]
    pub fn with_calibration(self, calibration: Option<&'a CalibrationComparison>) -> Self {
        Self {
            calibration,
            ..self
        }
    }
}

/// All tables.
impl fmt::Display for EvaluationReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.evaluation.table())?;
        if let Some(calibration) = self.calibration {
            writeln!(f, "{calibration}")?;
        }
        f.write_str(&self.analysis.table())
    }
}

impl Analysis {
    /// Analyzes detections. `detections` pairs the index of an image in `dataset` with the detections in it, whose
    /// boxes are in pixels of the original image. They should include those with low scores.
    ///
    /// ```
    /// use fcos_burn_boxes::Detection;
    /// use fcos_burn_data::{DetectionDataset, shapes::{ShapesConfig, ShapesSplit}};
    /// use fcos_burn_eval::{Analysis, AnalysisConfig};
    ///
    /// let dataset = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Val)?;
    /// let object = &dataset.images()[0].objects[0];
    /// let found = Detection { bbox: object.bbox.to_xyxy(), label: object.label, score: 0.8 };
    ///
    /// let analysis = Analysis::new(&dataset, &[(0, vec![found])], &AnalysisConfig::default())?;
    /// assert_eq!(analysis.score_threshold, Some(0.4));
    /// let class = &dataset.categories()[object.label].name;
    /// assert_eq!(analysis.confusion_matrix.count(Some(class), Some(class)), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as those of [`Matching::new`].
    pub fn new(
        dataset: &DetectionDataset,
        detections: &[(usize, Vec<Detection>)],
        config: &AnalysisConfig,
    ) -> Result<Self, EvaluationError> {
        let matching = Matching::new(dataset, detections, config.iou_threshold)?;
        Ok(Self::of(&matching, config))
    }

    /// Analyzes a matching, whose IoU threshold counts.
    pub fn of(matching: &Matching, config: &AnalysisConfig) -> Self {
        let all = ScoreCurve::of(matching);
        let best = || all.best_f1().map(|best| best.threshold);
        let score_threshold = config.score_threshold.or_else(best);
        let kept = score_threshold.unwrap_or(0.0);
        let thresholds = score_thresholds();
        let points = |class: Option<&str>, curve: &ScoreCurve| {
            let points: Vec<OperatingPoint> = thresholds.iter().map(|&t| curve.at(t)).collect();
            ClassPoints {
                class: class.map(str::to_owned),
                objects: curve.objects(),
                at_score_threshold: curve.at(kept),
                best_f1: curve.best_f1(),
                at_target_precision: curve.at_precision(config.target_precision),
                precision: points.iter().map(|point| point.precision).collect(),
                recall: points.iter().map(|point| point.recall).collect(),
                f1: points.iter().map(|point| point.f1).collect(),
            }
        };
        let classes = matching
            .classes()
            .iter()
            .zip(ScoreCurve::by_class(matching));
        let classes = classes
            .filter(|(_, curve)| curve.objects() + curve.detections() > 0)
            .map(|(class, curve)| points(Some(class.as_str()), &curve));
        Self {
            iou_threshold: matching.iou_threshold(),
            score_threshold,
            confusion_matrix: ConfusionMatrix::new(matching, kept),
            errors: ErrorCosts::new(matching, kept),
            operating_points: OperatingPoints {
                target_precision: config.target_precision,
                all: points(None, &all),
                classes: classes.collect(),
                thresholds,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    fn dataset() -> DetectionDataset {
        let shapes = ShapesConfig::default().with_val_images(40);
        DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap()
    }

    /// Every object is found with a score of 0.9, but as the class that `class` gives.
    fn found(
        dataset: &DetectionDataset,
        class: impl Fn(usize) -> usize,
    ) -> Vec<(usize, Vec<Detection>)> {
        let images = dataset.images().iter().enumerate();
        let of_image = |(index, image): (usize, &fcos_burn_data::ImageRecord)| {
            let detection = |object: &fcos_burn_data::Object| Detection {
                bbox: object.bbox.to_xyxy(),
                label: class(object.label),
                score: 0.9,
            };
            (index, image.objects.iter().map(detection).collect())
        };
        images.map(of_image).collect()
    }

    fn analysis(dataset: &DetectionDataset, detections: &[(usize, Vec<Detection>)]) -> Analysis {
        Analysis::new(dataset, detections, &AnalysisConfig::default()).unwrap()
    }

    #[test]
    fn swapped_classes_are_confusions() {
        let dataset = dataset();
        let right = analysis(&dataset, &found(&dataset, |label| label));
        assert_eq!(right.operating_points.all.best_f1.unwrap().f1, Some(1.0));
        assert!(right.confusion_matrix.confusions().is_empty());

        let swapped = analysis(
            &dataset,
            &found(&dataset, |label| match label {
                0 => 1,
                1 => 0,
                other => other,
            }),
        );
        let names: Vec<&str> = dataset
            .categories()
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        let objects = |label: usize| right.operating_points.classes[label].objects;
        let matrix = &swapped.confusion_matrix;
        assert_eq!(matrix.count(Some(names[0]), Some(names[1])), objects(0));
        assert_eq!(matrix.count(Some(names[1]), Some(names[0])), objects(1));
        assert_eq!(matrix.count(Some(names[0]), Some(names[0])), 0);
        assert_eq!(matrix.count(Some(names[2]), Some(names[2])), objects(2));
        let table = swapped.table();
        assert!(
            table.contains("wrong class") && table.contains("missed"),
            "{table}"
        );
    }

    #[test]
    fn a_given_score_threshold_is_kept() {
        let dataset = dataset();
        let config = AnalysisConfig::default().with_score_threshold(Some(0.95));
        let analysis = Analysis::new(&dataset, &found(&dataset, |label| label), &config).unwrap();
        let all = &analysis.operating_points.all;
        assert_eq!(analysis.score_threshold, Some(0.95));
        assert_eq!(all.at_score_threshold.true_positives, 0);
        assert_eq!(all.best_f1.unwrap().false_negatives, 0);
        assert_eq!(
            analysis.errors.false_negatives.count_at_threshold,
            all.objects
        );
        assert!(analysis.table().contains("score threshold"));
    }

    #[test]
    fn without_detections_nothing_is_chosen() {
        let dataset = dataset();
        let analysis = analysis(&dataset, &[]);
        assert_eq!(analysis.score_threshold, None);
        assert_eq!(analysis.errors.ap, 0.0);
        let missed: usize = analysis
            .confusion_matrix
            .counts
            .iter()
            .map(|cell| cell.count)
            .sum();
        assert_eq!(missed, analysis.operating_points.all.objects);
        assert!(analysis.table().contains('–'));
    }

    #[test]
    fn an_iou_threshold_below_the_background_is_refused() {
        let dataset = dataset();
        for iou in [0.1, 1.1, f64::NAN] {
            let config = AnalysisConfig::default().with_iou_threshold(iou);
            let error = Analysis::new(&dataset, &[], &config).unwrap_err();
            assert!(
                matches!(error, EvaluationError::IouThreshold { .. }),
                "{error}"
            );
        }
    }

    /// Both parts can be read from the file of a run.
    #[test]
    fn a_report_has_the_entries_of_both() {
        let dataset = dataset();
        let detections = found(&dataset, |label| label);
        let evaluation = Evaluation::new(&dataset, &detections).unwrap();
        let analysis = analysis(&dataset, &detections);
        let report = EvaluationReport::new(&evaluation, &analysis);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Analysis>(&text).unwrap(), analysis);
        let read: Evaluation = serde_json::from_str(&text).unwrap();
        assert_eq!(read.metrics, evaluation.metrics);
    }
}
