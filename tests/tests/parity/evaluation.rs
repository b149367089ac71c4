//! Parity with the metrics of pycocotools and the correlations of scipy.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use fcos_burn::{
    boxes::Detection,
    data::{DetectionDataset, RgbImage},
    eval::correlation::{kendall, pearson, spearman},
    eval::{CocoMetric, CocoResult, Evaluation, detections},
};
use serde_json::Value;

use crate::{fixture, formula};

pub fn json(folder: &str, name: &str) -> Value {
    let path = fixture::folder().join(folder).join(name);
    serde_json::from_reader(File::open(path).unwrap()).unwrap()
}

/// The data set in `truth.json` of a folder, and the detections in `results.json`.
pub fn read(folder: &str) -> (DetectionDataset, Vec<(usize, Vec<Detection>)>) {
    // Only the headers of the images are read.
    let images = tempfile::tempdir().unwrap();
    for image in json(folder, "truth.json")["images"].as_array().unwrap() {
        let [width, height] = ["width", "height"].map(|side| image[side].as_u64().unwrap() as u32);
        let path = images.path().join(image["file_name"].as_str().unwrap());
        RgbImage::new(width, height).save(path).unwrap();
    }
    let truth = fixture::folder().join(folder).join("truth.json");
    let dataset = DetectionDataset::coco(images.path(), truth).unwrap();
    let results: Vec<CocoResult> = serde_json::from_value(json(folder, "results.json")).unwrap();
    let detections = detections(&dataset, &results).unwrap();
    (dataset, detections)
}

#[test]
fn metrics_match_pycocotools() {
    let (dataset, detections) = read("evaluation");
    let evaluation = Evaluation::new(&dataset, &detections).unwrap();
    assert_eq!((evaluation.images, evaluation.detections), (24, 2400));
    let expected = &json("evaluation", "expected.json")["figures"];
    for &metric in CocoMetric::ALL {
        let found = evaluation.metric(metric).unwrap();
        let expected = expected[metric.name()].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-6, "{metric:?}: {found}");
    }
}

/// Two lists that agree in about half of their elements, as in `tests/reference/evaluation.py`.
fn pairs(count: usize, levels: f64) -> (Vec<f64>, Vec<f64>) {
    let list = |index| -> Vec<f64> {
        formula::uniform(&format!("correlation.{count}.{index}"), count).collect()
    };
    list(0)
        .into_iter()
        .zip(list(1))
        .zip(list(2))
        .map(|((x, y), follows)| {
            let x = (x * levels).floor();
            let y = (y * levels).floor();
            (x, if follows < 0.5 { x } else { y })
        })
        .unzip()
}

#[test]
fn correlations_match_scipy() {
    let expected = json("evaluation", "expected.json");
    let lists = expected["correlations"].as_array().unwrap();
    assert_eq!(lists.len(), 5);
    for list in lists {
        let count = list[0].as_u64().unwrap() as usize;
        let (x, y) = pairs(count, list[1].as_f64().unwrap());
        let start = Instant::now();
        let found = [pearson, spearman, kendall].map(|correlation| correlation(&x, &y));
        let elapsed = start.elapsed();
        for (index, found) in found.into_iter().enumerate() {
            let expected = list[index + 2].as_f64().unwrap();
            let error = (found.unwrap() - expected).abs();
            assert!(error < 1e-9, "{list}: {found:?}");
        }
        // All pairs would take minutes.
        assert!(elapsed < Duration::from_secs(20), "{count}: {elapsed:?}");
    }
}
