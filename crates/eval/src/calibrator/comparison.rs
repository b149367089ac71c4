use std::fmt;

use fcos_burn_boxes::Detection;
use fcos_burn_data::DetectionDataset;
use serde::{Deserialize, Serialize};

use super::{CalibrationConfig, cross_fitted};
use crate::{
    CocoMetric, Evaluation, EvaluationError,
    calibration::{LOCALIZATION_AWARE_BINS, localization_aware_error},
    correlation::ScoreCorrelation,
    matching::Matching,
    text_table::aligned,
};

/// What calibration changes: detections, and the same [calibrated by each other](cross_fitted).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationComparison {
    /// How the scores are calibrated.
    pub config: CalibrationConfig,
    /// The figures of the scores as they are.
    pub before: CalibrationFigures,
    /// The figures of the calibrated scores.
    pub after: CalibrationFigures,
}

/// Figures that depend on the scores of detections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationFigures {
    /// COCO's AP.
    pub ap: Option<f64>,
    /// Correlation of score and IoU over all detections.
    pub correlation: ScoreCorrelation,
    /// [Expected calibration error](crate::calibration::calibration_error) of the score as a prediction of the IoU.
    pub calibration_error: Option<f64>,
    /// [Localization-aware error](localization_aware_error).
    pub localization_aware_error: Option<f64>,
}

impl CalibrationComparison {
    /// Calibrates detections by each other and compares. A detection is correct from `iou_threshold`
    /// on, for the localization-aware error.
    ///
    /// # Errors
    ///
    /// Those of [`cross_fitted`], [`Evaluation::new`] and [`Matching::new`].
    pub fn new(
        dataset: &DetectionDataset,
        detections: &[(usize, Vec<Detection>)],
        config: &CalibrationConfig,
        iou_threshold: f64,
    ) -> Result<Self, EvaluationError> {
        let calibrated = cross_fitted(dataset, detections, config)?;
        let figures = |detections| CalibrationFigures::new(dataset, detections, iou_threshold);
        Ok(Self {
            config: config.clone(),
            before: figures(detections)?,
            after: figures(&calibrated)?,
        })
    }
}

impl CalibrationFigures {
    fn new(
        dataset: &DetectionDataset,
        detections: &[(usize, Vec<Detection>)],
        iou_threshold: f64,
    ) -> Result<Self, EvaluationError> {
        let evaluation = Evaluation::new(dataset, detections)?;
        let matching = Matching::new(dataset, detections, iou_threshold)?;
        Ok(Self {
            ap: evaluation.metric(CocoMetric::AP),
            correlation: evaluation.correlation,
            calibration_error: evaluation.calibration_error,
            localization_aware_error: localization_aware_error(&matching, LOCALIZATION_AWARE_BINS),
        })
    }
}

/// A table for the terminal.
impl fmt::Display for CalibrationComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let row = |name: &str, figures: &CalibrationFigures| -> Vec<String> {
            let plain = |value: Option<f64>| cell(value.map(|value| format!("{value:.3}")));
            let correlation = &figures.correlation;
            vec![
                name.to_owned(),
                cell(figures.ap.map(|ap| format!("{:.1}", 100.0 * ap))),
                plain(correlation.pearson),
                plain(correlation.spearman),
                plain(correlation.kendall),
                plain(figures.calibration_error),
                plain(figures.localization_aware_error),
            ]
        };
        let header = ["Scores", "AP", "PCC", "SCC", "KCC", "ECE", "LaECE"].map(str::to_owned);
        let rows = [
            header.to_vec(),
            row("as they are", &self.before),
            row("calibrated", &self.after),
        ];
        f.write_str(&aligned(&rows))
    }
}
