//! The evaluation of detections on a data set.

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

/// The evaluation of detections on a data set.
///
/// The curves and the pairs of score and IoU are not serialized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// COCO metrics, serialized as `figures`.
    #[serde(rename = "figures")]
    pub metrics: CocoMetrics,
    /// AP of each class with ground truth, by name. If several classes share a name, the id is
    /// appended: `cup (3)`.
    pub class_ap: BTreeMap<String, f64>,
    /// Correlation of score and IoU over all detections.
    pub correlation: ScoreCorrelation,
    /// [Calibration error](crate::calibration) of the scores as predictions of the IoU, over all
    /// detections. `None` without detections.
    #[serde(default)]
    pub calibration_error: Option<f64>,
    /// Number of images in the data set.
    pub images: usize,
    /// Number of detections.
    pub detections: usize,
    /// Precision at each [`recall`](Self::recall), averaged over the classes, by the IoU
    /// thresholds `0.50`, `0.75` and `0.90`.
    #[serde(skip)]
    pub precision: BTreeMap<&'static str, Vec<f64>>,
    /// Recall values of the precision–recall curves.
    #[serde(skip)]
    pub recall: Vec<f64>,
    /// Score and IoU of each detection, as computed by [`score_iou`].
    #[serde(skip)]
    pub score_iou: Vec<(f64, f64)>,
}

/// Maximum width of the column of class names, in characters.
const MAX_NAME_WIDTH: usize = 40;

/// The IoU thresholds of the precision–recall curves that an evaluation contains.
const CURVES: [&str; 3] = ["0.50", "0.75", "0.90"];

impl Evaluation {
    /// Evaluates detections. `detections` pairs the index of an image in `dataset` with the
    /// detections in it, whose boxes are in pixels of the original image.
    ///
    /// Correlation and calibration use the IoUs of [`score_iou`].
    ///
    /// # Errors
    ///
    /// Fails if an image index or a label is out of range, or a score is NaN.
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
                // Without objects, the precision is -1.
                .filter(|(_, precision)| precision.iter().all(|value| *value >= 0.0))
                .collect(),
            recall: report.curves.get("rec_thrs").cloned().unwrap_or_default(),
            score_iou,
        })
    }

    /// A metric as a fraction in [0, 1]. `None` if it is undefined.
    pub fn metric(&self, metric: CocoMetric) -> Option<f64> {
        self.metrics.get(&metric).copied().flatten()
    }

    /// A table for the terminal: the metrics in percent, the correlations, the calibration error
    /// and the AP of each class. Undefined values are shown as a dash.
    pub fn table(&self) -> String {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let percent = |value: Option<f64>| cell(value.map(|v| format!("{:.1}", 100.0 * v)));
        let plain = |value: Option<f64>| cell(value.map(|v| format!("{v:.3}")));
        let mut columns: Vec<(&str, String)> = CocoMetric::ALL
            .iter()
            .map(|&metric| (metric.name(), percent(self.metric(metric))))
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
        // The width of a formatted column is limited, the length of a name is not.
        let widths = self.class_ap.keys().map(|name| name.chars().count());
        let width = widths.max().unwrap_or(0).min(MAX_NAME_WIDTH);
        for (name, ap) in &self.class_ap {
            let name = name.replace(char::is_control, " ");
            let _ = writeln!(table, "{name:<width$} AP {:>5.1}", 100.0 * ap);
        }
        table
    }
}

/// Score and IoU of each detection, in the given order. The IoU is the largest with a
/// ground-truth box of the same class in the image, ignoring crowds, or 0 without such a box.
///
/// # Errors
///
/// Fails if an image index is out of range.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    fn dataset() -> DetectionDataset {
        let shapes = ShapesConfig::default().with_val_images(40);
        DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap()
    }

    /// The index of an image with a single object, and a detection of that object.
    fn single_object(dataset: &DetectionDataset) -> (usize, Detection) {
        let mut images = dataset.images().iter().enumerate();
        let (index, image) = images.find(|(_, image)| image.objects.len() == 1).unwrap();
        let detection = Detection {
            bbox: image.objects[0].bbox.to_xyxy(),
            label: image.objects[0].label,
            score: 0.5,
        };
        (index, detection)
    }

    #[test]
    fn the_iou_of_a_detection_is_that_with_its_class() {
        let dataset = dataset();
        let (index, exact) = single_object(&dataset);
        let [x1, y1, x2, y2] = exact.bbox;
        // Shifted by half its width, a box shares half its area with the object: 0.5 of 1.5.
        let shift = (x2 - x1) / 2.0;
        let shifted = Detection {
            bbox: [x1 + shift, y1, x2 + shift, y2],
            ..exact
        };
        let wrong_class = Detection {
            label: exact.label ^ 1,
            ..exact
        };
        let pairs = score_iou(&dataset, &[(index, vec![exact, shifted, wrong_class])]).unwrap();
        assert_eq!(pairs.len(), 3);
        for ((score, iou), expected) in pairs.into_iter().zip([1.0, 1.0 / 3.0, 0.0]) {
            assert_eq!(score, 0.5);
            assert!((iou - expected).abs() < 1e-5, "{iou} is not {expected}");
        }
    }

    #[test]
    fn errors_name_what_is_not_in_the_data_set() {
        let dataset = dataset();
        let (index, exact) = single_object(&dataset);
        let error = |index, detection| {
            let detections = [(index, vec![detection])];
            Evaluation::new(&dataset, &detections).unwrap_err()
        };
        let label = error(index, Detection { label: 77, ..exact });
        assert!(label.to_string().contains("label 77"), "{label}");
        let image = error(1234, exact);
        assert!(matches!(image, EvaluationError::Data(_)), "{image}");
        let score = error(
            index,
            Detection {
                score: f32::NAN,
                ..exact
            },
        );
        let EvaluationError::NotANumber { image_id } = score else {
            panic!("{score}")
        };
        assert_eq!(image_id, dataset.images()[index].id);
    }

    #[test]
    fn the_table_has_a_row_per_class_and_a_dash_for_undefined_values() {
        let dataset = dataset();
        let table = Evaluation::new(&dataset, &[]).unwrap().table();
        let lines: Vec<&str> = table.lines().collect();
        let values: Vec<&str> = lines[1].split_whitespace().collect();
        let of_name = |name: &str| {
            let position = lines[0].split_whitespace().position(|found| found == name);
            values[position.unwrap()]
        };
        assert_eq!(
            (of_name("AP"), of_name("PCC"), of_name("ECE")),
            ("0.0", "–", "–")
        );
        for category in dataset.categories() {
            let found = lines.iter().any(|line| line.starts_with(&category.name));
            assert!(found, "{} in {table}", category.name);
        }
    }
}
