//! The time of each step of augmentation on an image of the built-in set.
#![allow(missing_docs, clippy::unwrap_used)]

use divan::{Bencher, black_box};
use fcos_burn_data::rand::Rng;
use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
use fcos_burn_data::transforms::{AugmentationStrength, Pipeline, Sample};
use fcos_burn_data::{DataError, DetectionDataset, sample_rng, serde_json};

fn main() {
    divan::main();
}

const STEPS: [&str; 14] = [
    r#"{"horizontal_flip": {"probability": 1}}"#,
    r#"{"color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03}}"#,
    r#"{"hsv_jitter": {}}"#,
    r#"{"random_crop": {"probability": 1, "min_scale": 0.6, "min_visible": 0.4}}"#,
    r#"{"scale_jitter": {"min": 0.75, "max": 1.25}}"#,
    r#"{"random_affine": {"degrees": 10, "shear": 2}}"#,
    r#"{"random_affine": {"degrees": 10, "shear": 2, "perspective": 0.1}}"#,
    r#"{"gaussian_blur": {"probability": 1}}"#,
    r#"{"gaussian_noise": {"probability": 1}}"#,
    r#"{"jpeg_artifacts": {"probability": 1}}"#,
    r#"{"random_erasing": {"probability": 1}}"#,
    r#"{"mosaic": {}}"#,
    r#"{"mixup": {"probability": 1}}"#,
    r#"{"copy_paste": {"probability": 1}}"#,
];

/// Samples of one size. Companions are read beforehand.
fn samples(width: u32, height: u32) -> Vec<Sample> {
    let config = ShapesConfig::default()
        .with_train_images(8)
        .with_size(width, height);
    let dataset = DetectionDataset::shapes(&config, ShapesSplit::Train).unwrap();
    (0..8).map(|index| dataset.sample(index).unwrap()).collect()
}

fn time(bencher: Bencher, pipeline: &Pipeline, (width, height): (u32, u32)) {
    let samples = samples(width, height);
    let companions = |rng: &mut dyn Rng| -> Result<Sample, DataError> {
        Ok(samples[rng.next_u32() as usize % samples.len()].clone())
    };
    let mut index = 0;
    bencher
        .with_inputs(|| {
            index += 1;
            (
                samples[index % samples.len()].clone(),
                sample_rng(0, 0, index),
            )
        })
        .bench_local_values(|(sample, mut rng)| {
            black_box(pipeline.apply_among(sample, &companions, &mut rng).unwrap())
        });
}

fn step(json: &str) -> Pipeline {
    Pipeline::new(vec![serde_json::from_str(json).unwrap()]).unwrap()
}

#[divan::bench(args = STEPS)]
fn small(bencher: Bencher, json: &str) {
    time(bencher, &step(json), (160, 120));
}

#[divan::bench(args = STEPS)]
fn large(bencher: Bencher, json: &str) {
    time(bencher, &step(json), (640, 480));
}

#[divan::bench(args = [(160, 120), (640, 480)])]
fn medium_strength(bencher: Bencher, size: (u32, u32)) {
    let pipeline = Pipeline::new(AugmentationStrength::Medium.steps(1000)).unwrap();
    time(bencher, &pipeline, size);
}

#[divan::bench(args = [(160, 120), (640, 480)])]
fn all_strong(bencher: Bencher, size: (u32, u32)) {
    let pipeline = Pipeline::new(AugmentationStrength::Strong.steps(1000)).unwrap();
    time(bencher, &pipeline, size);
}
