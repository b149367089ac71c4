//! Results, plots and pictures of a finished run.

use std::{collections::BTreeSet, path::Path};

use fcos_burn_boxes::Detection;
use fcos_burn_data::DetectionDataset;
use fcos_burn_detect::{
    DEFAULT_SCORE_THRESHOLD,
    json::write_json,
    pictures::{PictureNames, picture},
};
use fcos_burn_eval::{Analysis, CocoMetric, CocoResult, Evaluation};
use fcos_burn_plot::{LineChart, ScatterChart, Series, contact_sheet, save_picture};
use image::{RgbImage, imageops};

use super::{EpochRow, RunFolder};
use crate::{Error, step::StepMetric};

/// The maximum number of pictures with detections.
const PICTURES: usize = 12;

/// Columns of the contact sheet, and the gap between pictures in pixels.
const SHEET_COLUMNS: usize = 4;
const SHEET_GAP: u32 = 8;

/// The maximum longer side of a picture on the contact sheet, in pixels.
const SHEET_SIDE: u32 = 1024;

/// Writes `results.json`, the plots and some pictures of a run.
///
/// # Errors
///
/// Names the file that cannot be written.
pub(crate) fn write_artifacts(
    folder: &RunFolder,
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
    results: &[CocoResult],
    evaluation: &Evaluation,
    analysis: &Analysis,
) -> Result<(), Error> {
    write_json(&folder.results_path(), results)?;
    write_training_plots(folder, &folder.read_metrics()?)?;
    write_evaluation_plots(&folder.plots_path(), evaluation)?;
    write_operating_points(&folder.plots_path(), analysis)?;
    // Spread evenly over the data set, which may be sorted.
    let step = detections.len().div_ceil(PICTURES).max(1);
    let score_threshold = analysis.score_threshold.unwrap_or(DEFAULT_SCORE_THRESHOLD);
    let mut names = PictureNames::default();
    let mut pictures = Vec::new();
    for (index, detections) in detections.iter().step_by(step) {
        let record = dataset.record(*index)?;
        let drawn = detections.iter().copied();
        let drawn: Vec<Detection> = drawn
            .filter(|detection| detection.score >= score_threshold)
            .collect();
        let picture = picture(&dataset.image(*index)?, &drawn, dataset.categories());
        let name = names.name(Path::new(&record.file_name));
        save_picture(&folder.detections_path().join(name), &picture)?;
        pictures.push(shrunk(picture));
    }
    if !pictures.is_empty() {
        let sheet = contact_sheet(&pictures, SHEET_COLUMNS, SHEET_GAP);
        save_picture(&folder.plots_path().join("detections.png"), &sheet)?;
    }
    Ok(())
}

/// The picture at the size of the contact sheet, which holds all pictures in memory.
fn shrunk(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    if width.max(height) <= SHEET_SIDE {
        return picture;
    }
    let side = |side: u32| {
        let shrunk = u64::from(side) * u64::from(SHEET_SIDE) / u64::from(width.max(height));
        (shrunk as u32).max(1)
    };
    imageops::thumbnail(&picture, side(width), side(height))
}

fn write_training_plots(folder: &RunFolder, rows: &[EpochRow]) -> Result<(), Error> {
    let curve = |name: &str, value: &dyn Fn(&EpochRow) -> Option<f64>| Series {
        name: name.to_owned(),
        points: rows
            .iter()
            .filter_map(|row| Some((row.epoch as f64, value(row)?)))
            .collect(),
    };
    let trained = |name: &str| curve(name, &|row| row.train.get(name).copied());
    let built_in = [StepMetric::Loss].into_iter().chain(StepMetric::TERMS);
    let built_in: Vec<String> = built_in.map(|metric| metric.name().to_owned()).collect();
    let recorded = rows.iter().flat_map(|row| row.train.keys());
    let added: BTreeSet<&String> = recorded
        .filter(|name| !built_in.contains(name) && !StepMetric::is_reserved(name))
        .collect();
    let losses = built_in.iter().chain(added).map(|name| trained(name));
    LineChart {
        title: "Training losses".to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: "Loss".to_owned(),
        series: losses.filter(|series| !series.points.is_empty()).collect(),
        y_range: None,
    }
    .save(&folder.plots_path().join("losses"))?;
    let shares = [StepMetric::ClassAccuracy, StepMetric::MeanIou];
    LineChart {
        title: "Positive locations in training".to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: "Share or IoU".to_owned(),
        series: shares.map(|metric| trained(metric.name())).into(),
        y_range: Some((0.0, 1.0)),
    }
    .save(&folder.plots_path().join("positives"))?;
    let metrics = [
        CocoMetric::AP,
        CocoMetric::AP50,
        CocoMetric::AP75,
        CocoMetric::AP90,
    ];
    LineChart {
        title: "Validation".to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: "Average precision (%)".to_owned(),
        series: metrics
            .map(|metric| {
                curve(metric.name(), &|row| {
                    Some(100.0 * row.validation.as_ref()?.metric(metric)?)
                })
            })
            .into(),
        y_range: Some((0.0, 100.0)),
    }
    .save(&folder.plots_path().join("ap"))?;
    Ok(())
}

fn write_evaluation_plots(dir: &Path, evaluation: &Evaluation) -> Result<(), Error> {
    LineChart {
        title: "Precision and recall".to_owned(),
        x_label: "Recall".to_owned(),
        y_label: "Precision".to_owned(),
        series: evaluation
            .precision
            .iter()
            .map(|(threshold, precision)| Series {
                name: format!("IoU {threshold}"),
                points: evaluation
                    .recall
                    .iter()
                    .copied()
                    .zip(precision.iter().copied())
                    .collect(),
            })
            .collect(),
        y_range: Some((0.0, 1.0)),
    }
    .save(&dir.join("precision-recall"))?;
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
    .save(&dir.join("score-iou"))?;
    Ok(())
}

fn write_operating_points(dir: &Path, analysis: &Analysis) -> Result<(), Error> {
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
    .save(&dir.join("operating-points"))?;
    Ok(())
}
