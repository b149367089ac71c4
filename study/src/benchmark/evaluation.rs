//! Timing of the evaluation of many detections.

use std::path::Path;

use crate::Error;
use fcos_burn::{
    boxes::Detection,
    data::{DetectionDataset, ImageRecord, sample_rng},
    eval::{CocoMetric, Evaluation},
    train::RunConfig,
};
use fcos_burn::{detect::json::write_json, eval};
use rand::{Rng, RngExt};
use serde::Serialize;

use super::{
    memory,
    stopwatch::{Rounds, Stage, Stopwatch},
};

/// Time and memory of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationReport {
    /// Number of images of the split.
    pub images: usize,
    /// Number of detections in all images.
    pub detections: usize,
    /// AP of the detections, to compare with other programs.
    pub ap: Option<f64>,
    /// `evaluate`: from detections to all metrics, including correlation and calibration.
    pub stages: Vec<Stage>,
    /// Peak memory in MiB.
    pub peak_mib: Option<f64>,
}

/// Times the evaluation of `per_image` synthetic detections per image. Also writes them to
/// `results`, if given, in COCO results format.
///
/// # Errors
///
/// Fails if the evaluation fails or the file cannot be written.
pub fn measure(
    config: &RunConfig,
    dataset: &DetectionDataset,
    per_image: usize,
    results: Option<&Path>,
    rounds: Rounds,
) -> Result<EvaluationReport, Error> {
    let classes = dataset.categories().len();
    let detections: Vec<(usize, Vec<Detection>)> = dataset
        .images()
        .iter()
        .enumerate()
        .map(|(index, image)| {
            let mut rng = sample_rng(config.seed, 0, index);
            let detections = (0..per_image).map(|_| detection(image, classes, &mut rng));
            (index, detections.collect())
        })
        .collect();
    if let Some(path) = results {
        write_json(path, &eval::results(dataset, &detections)?)?;
    }
    memory::begin_peak();
    let device = config.devices[0].open(config.precision)?;
    let mut stopwatch = Stopwatch::new(&device);
    let mut ap = None;
    for _ in 0..rounds.warm_up + rounds.measured {
        let evaluation = stopwatch.time("evaluate", || Evaluation::new(dataset, &detections))??;
        ap = evaluation.metric(CocoMetric::AP);
    }
    Ok(EvaluationReport {
        images: dataset.len(),
        detections: per_image * dataset.len(),
        ap,
        stages: stopwatch.stages(rounds),
        peak_mib: memory::peak_mib(),
    })
}

/// A detection near a random object of the image, of the object's class in four out of five cases.
fn detection(image: &ImageRecord, classes: usize, rng: &mut impl Rng) -> Detection {
    let (bbox, label) = match image.objects.len() {
        0 => ([0.0, 0.0, image.width as f32, image.height as f32], 0),
        count => {
            let object = &image.objects[rng.random_range(0..count)];
            let b = object.bbox;
            ([b.x1, b.y1, b.x2, b.y2], object.label)
        }
    };
    let sides = [bbox[2] - bbox[0], bbox[3] - bbox[1]];
    let [x1, y1, x2, y2] =
        [0, 1, 2, 3].map(|i| bbox[i] + sides[i % 2] * rng.random_range(-0.15..0.15));
    let label = match rng.random_bool(0.8) {
        true => label,
        false => rng.random_range(0..classes),
    };
    Detection {
        bbox: [x1, y1, x2, y2],
        label,
        score: rng.random(),
    }
}
