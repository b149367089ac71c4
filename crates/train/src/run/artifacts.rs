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
use fcos_burn_plot::{LineChart, Series, contact_sheet, save_picture};
use fcos_burn_report::{operating_points, precision_recall, score_iou};
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
    let plots = folder.plots_path();
    let rows = folder.read_metrics()?;
    losses(&rows).save(&plots.join("losses"))?;
    positives(&rows).save(&plots.join("positives"))?;
    validation(&rows).save(&plots.join("ap"))?;
    precision_recall(evaluation).save(&plots.join("precision-recall"))?;
    score_iou(evaluation).save(&plots.join("score-iou"))?;
    operating_points(analysis).save(&plots.join("operating-points"))?;
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
        save_picture(&plots.join("detections.png"), &sheet)?;
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

/// The curves of a training run: those that are plotted, the learning rate, and the gradient norm.
pub(super) fn curves(rows: &[EpochRow]) -> Vec<LineChart> {
    let single = |title: &str, value: &dyn Fn(&EpochRow) -> Option<f64>| LineChart {
        title: title.to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: title.to_owned(),
        series: vec![curve(rows, title, value)],
        y_range: None,
    };
    let norm = StepMetric::GradientNorm;
    let charts = [
        validation(rows),
        losses(rows),
        positives(rows),
        single("Learning rate", &|row| Some(row.learning_rate)),
        single(norm.name(), &|row| row.train.get(norm.name()).copied()),
    ];
    let has_points = |chart: &LineChart| chart.series.iter().any(|of| !of.points.is_empty());
    charts.into_iter().filter(has_points).collect()
}

fn curve(rows: &[EpochRow], name: &str, value: &dyn Fn(&EpochRow) -> Option<f64>) -> Series {
    let points = rows
        .iter()
        .filter_map(|row| Some((row.epoch as f64, value(row)?)));
    Series {
        name: name.to_owned(),
        points: points.collect(),
    }
}

/// The mean of a step metric by epoch.
fn trained(rows: &[EpochRow], name: &str) -> Series {
    curve(rows, name, &|row| row.train.get(name).copied())
}

fn losses(rows: &[EpochRow]) -> LineChart {
    let built_in = [StepMetric::Loss].into_iter().chain(StepMetric::terms());
    let built_in: Vec<String> = built_in.map(|metric| metric.name().to_owned()).collect();
    let recorded = rows.iter().flat_map(|row| row.train.keys());
    let added: BTreeSet<&String> = recorded
        .filter(|name| !built_in.contains(name) && !StepMetric::is_reserved(name))
        .collect();
    let losses = built_in.iter().chain(added).map(|name| trained(rows, name));
    LineChart {
        title: "Training losses".to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: "Loss".to_owned(),
        series: losses.filter(|series| !series.points.is_empty()).collect(),
        y_range: None,
    }
}

fn positives(rows: &[EpochRow]) -> LineChart {
    let shares = [StepMetric::ClassAccuracy, StepMetric::MeanIou];
    LineChart {
        title: "Positive locations in training".to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: "Share or IoU".to_owned(),
        series: shares.map(|metric| trained(rows, metric.name())).into(),
        y_range: Some((0.0, 1.0)),
    }
}

fn validation(rows: &[EpochRow]) -> LineChart {
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
                curve(rows, metric.name(), &|row| {
                    Some(100.0 * row.validation.as_ref()?.metric(metric)?)
                })
            })
            .into(),
        y_range: Some((0.0, 100.0)),
    }
}
