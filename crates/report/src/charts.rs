//! The charts of an evaluation.

use fcos_burn_eval::{Analysis, Evaluation};
use fcos_burn_plot::{LineChart, ScatterChart, Series};

/// Precision by recall at several IoU thresholds, averaged over the classes.
pub fn precision_recall(evaluation: &Evaluation) -> LineChart {
    let recall = || evaluation.recall.iter().copied();
    let curves = evaluation.precision.iter();
    LineChart {
        title: "Precision and recall".to_owned(),
        x_label: "Recall".to_owned(),
        y_label: "Precision".to_owned(),
        series: curves
            .map(|(threshold, precision)| Series {
                name: format!("IoU {threshold}"),
                points: recall().zip(precision.iter().copied()).collect(),
            })
            .collect(),
        y_range: Some((0.0, 1.0)),
    }
}

/// Score and IoU of each detection.
pub fn score_iou(evaluation: &Evaluation) -> ScatterChart {
    ScatterChart {
        title: "Score and IoU of the detections".to_owned(),
        x_label: "Score".to_owned(),
        y_label: "IoU with the ground truth".to_owned(),
        x_range: (0.0, 1.0),
        y_range: (0.0, 1.0),
        points: evaluation.score_iou.clone(),
        marked: Series::default(),
        diagonal: Some("score = IoU".to_owned()),
    }
}

/// Precision, recall and F1 of all classes by score threshold.
pub fn operating_points(analysis: &Analysis) -> LineChart {
    let points = &analysis.operating_points;
    let curve = |name: &str, values: &[Option<f64>]| Series {
        name: name.to_owned(),
        points: (points.thresholds.iter().zip(values))
            .filter_map(|(threshold, value)| Some((f64::from(*threshold), (*value)?)))
            .collect(),
    };
    LineChart {
        title: "Operating points".to_owned(),
        x_label: "Score threshold".to_owned(),
        y_label: format!("Of all classes, at IoU {}", analysis.iou_threshold),
        series: vec![
            curve("Precision", &points.all.precision),
            curve("Recall", &points.all.recall),
            curve("F1", &points.all.f1),
        ],
        y_range: Some((0.0, 1.0)),
    }
}
