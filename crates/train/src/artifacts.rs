//! What a finished run shows: results, plots and pictures.

use std::{collections::HashSet, path::Path};

use fcos_burn_data::{Category, DetectionDataset};
use fcos_burn_model::Detection;
use image::{RgbImage, imageops};

use crate::{
    drawing::{Annotation, annotated, contact_sheet},
    error::Error,
    evaluation::{CocoFigure, Evaluation, results},
    learner::StepFigure,
    plots::{LineChart, ScatterChart, Series},
    run::{EpochRow, RunFolder, write_json},
};

/// Pictures of a data set that a run keeps.
const PICTURES: usize = 12;

/// Detections below this score are not drawn.
pub const DRAWN_SCORE: f32 = 0.3;

/// Pictures side by side on the sheet of all, and the pixels between them.
const SHEET_COLUMNS: usize = 4;
const SHEET_GAP: u32 = 8;

/// Pixels of the longest side of a picture on the sheet.
const SHEET_SIDE: u32 = 1024;

/// Shorter side in pixels that pictures are enlarged to, so that labels can be read.
const PICTURE_SIDE: u32 = 480;

/// Writes `results.json`, the plots and some pictures of a run.
///
/// # Errors
///
/// Names the file that cannot be written.
pub fn write_artifacts(
    folder: &RunFolder,
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
    evaluation: &Evaluation,
) -> Result<(), Error> {
    write_results(&folder.results_path(), dataset, detections)?;
    write_training_plots(folder, &folder.read_metrics()?)?;
    write_evaluation_plots(&folder.plots_path(), evaluation)?;
    // Evenly spread over the data set, which may be sorted.
    let step = detections.len().div_ceil(PICTURES).max(1);
    let mut names = PictureNames::default();
    let mut pictures = Vec::new();
    for (index, detections) in detections.iter().step_by(step) {
        let record = dataset.record(*index)?;
        let picture = picture(&dataset.image(*index)?, detections, dataset.categories());
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

/// The picture as it is on the sheet: there, all are in memory at once.
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

/// Writes detections of a data set in COCO's results format.
///
/// # Errors
///
/// Names the file if it cannot be written.
pub fn write_results(
    path: &Path,
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
) -> Result<(), Error> {
    write_json(path, &results(dataset, detections)?)
}

fn write_training_plots(folder: &RunFolder, rows: &[EpochRow]) -> Result<(), Error> {
    let curve = |name: &str, value: &dyn Fn(&EpochRow) -> Option<f64>| Series {
        name: name.to_owned(),
        points: rows
            .iter()
            .filter_map(|row| Some((row.epoch as f64, value(row)?)))
            .collect(),
    };
    let trained = |figure: StepFigure| {
        let name = figure.name();
        curve(name, &|row| row.train.get(name).copied())
    };
    let losses = [
        StepFigure::Loss,
        StepFigure::Classification,
        StepFigure::Localization,
        StepFigure::Association,
        StepFigure::Centerness,
    ]
    .map(trained);
    LineChart {
        title: "Training losses".to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: "Loss".to_owned(),
        series: losses
            .into_iter()
            .filter(|series| !series.points.is_empty())
            .collect(),
        y_range: None,
    }
    .save(&folder.plots_path().join("losses"))?;
    let shares = [StepFigure::ClassAccuracy, StepFigure::MeanIou];
    LineChart {
        title: "Positive locations in training".to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: "Share or IoU".to_owned(),
        series: shares.map(trained).into(),
        y_range: Some((0.0, 1.0)),
    }
    .save(&folder.plots_path().join("positives"))?;
    let figures = [
        CocoFigure::AP,
        CocoFigure::AP50,
        CocoFigure::AP75,
        CocoFigure::AP90,
    ];
    LineChart {
        title: "Validation".to_owned(),
        x_label: "Epoch".to_owned(),
        y_label: "Average precision (%)".to_owned(),
        series: figures
            .map(|figure| {
                curve(figure.name(), &|row| {
                    Some(100.0 * row.validation.as_ref()?.figure(figure)?)
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

/// The image, enlarged if it is small, with the detections of at least
/// [`DRAWN_SCORE`].
pub fn picture(image: &RgbImage, detections: &[Detection], categories: &[Category]) -> RgbImage {
    let annotations: Vec<Annotation> = detections
        .iter()
        .filter(|detection| detection.score >= DRAWN_SCORE)
        .map(|detection| {
            let name = categories
                .get(detection.label)
                .map_or("?", |category| &category.name);
            Annotation {
                bbox: detection.bbox,
                text: format!("{name} {:.2}", detection.score),
                class: detection.label,
            }
        })
        .collect();
    annotated(image, &annotations, PICTURE_SIDE)
}

/// Names pictures after their images, each name once.
///
/// ```
/// use std::path::Path;
/// use fcos_burn_train::artifacts::PictureNames;
///
/// let mut names = PictureNames::default();
/// assert_eq!(names.name(Path::new("street/1.jpg")), "1.png");
/// assert_eq!(names.name(Path::new("harbour/1.jpg")), "1-2.png");
/// ```
#[derive(Clone, Debug, Default)]
pub struct PictureNames {
    /// In lower case: not every file system tells `a.png` from `A.png`.
    taken: HashSet<String>,
}

impl PictureNames {
    /// The image's name without folders, as PNG; numbered if an earlier image has it.
    pub fn name(&mut self, file: &Path) -> String {
        let stem = file.file_stem().unwrap_or(file.as_os_str());
        let stem = stem.to_string_lossy();
        let mut name = format!("{stem}.png");
        let mut number = 1;
        while !self.taken.insert(name.to_lowercase()) {
            number += 1;
            name = format!("{stem}-{number}.png");
        }
        name
    }
}

/// Writes a picture.
///
/// # Errors
///
/// Names the file if it cannot be written.
pub fn save_picture(path: &Path, picture: &RgbImage) -> Result<(), Error> {
    picture.save(path).map_err(|error| Error::Picture {
        path: path.to_owned(),
        cause: error.to_string(),
    })
}
