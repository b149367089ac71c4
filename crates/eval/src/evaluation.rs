//! The evaluation of a data set's detections.

use std::{collections::BTreeMap, fmt::Write as _};

use fcos_burn_boxes::{Detection, iou};
use fcos_burn_data::DetectionDataset;
use serde::{Deserialize, Serialize};

use crate::{
    CocoMetric, CocoMetrics, EvaluationError,
    calibration::{CALIBRATION_BINS, calibration_error},
    coco::{coco_report, curve, metrics},
    correlation::ScoreCorrelation,
    results::results,
};

/// The evaluation of a data set's detections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// COCO's metrics.
    #[serde(rename = "figures")]
    pub metrics: CocoMetrics,
    /// AP of each class that has ground truth, by name; by name and id, such as `cup (3)`, where
    /// several classes share the name.
    pub class_ap: BTreeMap<String, f64>,
    /// Correlation of score and IoU over all detections.
    pub correlation: ScoreCorrelation,
    /// [Calibration error](crate::calibration) of the scores as predictions of the IoU
    /// over all detections; `None` without a detection.
    #[serde(default)]
    pub calibration_error: Option<f64>,
    /// Number of images.
    pub images: usize,
    /// Number of detections.
    pub detections: usize,
    /// Precision at [`recall`](Self::recall), averaged over the classes, by IoU
    /// threshold.
    #[serde(skip)]
    pub precision: BTreeMap<&'static str, Vec<f64>>,
    /// Recall thresholds of the curves.
    #[serde(skip)]
    pub recall: Vec<f64>,
    /// Score and IoU of each detection.
    #[serde(skip)]
    pub score_iou: Vec<(f64, f64)>,
}

/// Longest class name, in characters, to which the column of names is widened.
const LONGEST_NAME: usize = 40;

/// The IoU thresholds whose precision–recall curves an evaluation keeps.
const CURVES: [&str; 3] = ["0.50", "0.75", "0.90"];

impl Evaluation {
    /// Evaluates `detections`: pairs of an image's index in `dataset` and what was detected in it,
    /// boxes in pixels of the original image.
    ///
    /// The IoU of a detection is its largest with a ground-truth box of its class
    /// in its image, crowds left out, and 0 where there is none.
    ///
    /// # Errors
    ///
    /// Fails if an index or a label is not in the data set, or a score is not a number.
    pub fn new(
        dataset: &DetectionDataset,
        detections: &[(usize, Vec<Detection>)],
    ) -> Result<Self, EvaluationError> {
        let results = results(dataset, detections)?;
        let report = coco_report(dataset.to_coco(), &results)?;
        let score_iou = score_iou(dataset, detections)?;
        let (scores, ious): (Vec<f64>, Vec<f64>) = score_iou.iter().copied().unzip();
        Ok(Self {
            metrics: metrics(&report),
            class_ap: report
                .per_class
                .iter()
                .filter_map(|(name, values)| Some((name.clone(), *values.get("AP")?)))
                .collect(),
            correlation: ScoreCorrelation::new(&score_iou),
            calibration_error: calibration_error(&scores, &ious, CALIBRATION_BINS),
            images: dataset.len(),
            detections: results.len(),
            precision: CURVES
                .iter()
                .filter_map(|threshold| Some((*threshold, curve(&report, threshold)?.clone())))
                .collect(),
            recall: report.curves.get("rec_thrs").cloned().unwrap_or_default(),
            score_iou,
        })
    }

    /// A metric as a fraction, if it is defined.
    pub fn metric(&self, metric: CocoMetric) -> Option<f64> {
        self.metrics.get(&metric).copied().flatten()
    }

    /// The metrics in percent, the correlations, the calibration error and the AP of
    /// each class, as a table for a terminal. Undefined values are shown as a dash.
    pub fn table(&self) -> String {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let percent = |value: Option<f64>| cell(value.map(|v| format!("{:.1}", 100.0 * v)));
        let plain = |value: Option<f64>| cell(value.map(|v| format!("{v:.3}")));
        let mut columns: Vec<(&str, String)> = CocoMetric::ALL
            .into_iter()
            .map(|metric| (metric.name(), percent(self.metric(metric))))
            .collect();
        columns.extend([
            ("PCC", plain(self.correlation.pearson)),
            ("SCC", plain(self.correlation.spearman)),
            ("KCC", plain(self.correlation.kendall)),
            ("ECE", plain(self.calibration_error)),
        ]);
        let mut table = String::new();
        let mut row = |pick: &dyn Fn(&(&str, String)) -> String| {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| format!("{:>5}", pick(column)))
                .collect();
            let _ = writeln!(table, "{}", cells.join(" "));
        };
        row(&|(name, _)| (*name).to_owned());
        row(&|(_, value)| value.clone());
        // Names have no length limit, but the width of a formatted column has.
        let widths = self.class_ap.keys().map(|name| name.chars().count());
        let width = widths.max().unwrap_or(0).min(LONGEST_NAME);
        for (name, ap) in &self.class_ap {
            let name = name.replace(char::is_control, " ");
            let _ = writeln!(table, "{name:<width$} AP {:>5.1}", 100.0 * ap);
        }
        table
    }
}

/// Score and IoU of each detection: the largest IoU with a ground-truth box of its class
/// in its image, crowds left out, and 0 where there is none.
///
/// # Errors
///
/// Fails if an index is not in the data set.
pub fn score_iou(
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
) -> Result<Vec<(f64, f64)>, EvaluationError> {
    let mut pairs = Vec::new();
    for (image, detections) in detections {
        let objects = &dataset.record(*image)?.objects;
        for detection in detections {
            let best = objects
                .iter()
                .filter(|object| object.label == detection.label && !object.iscrowd)
                .map(|object| iou(&detection.bbox, &object.bbox.to_xyxy()))
                .fold(0.0, f32::max);
            pairs.push((detection.score.into(), best.into()));
        }
    }
    Ok(pairs)
}
