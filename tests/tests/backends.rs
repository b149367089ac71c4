//! Every device of this machine computes the same numbers as the CPU.
//!
//! Prints which devices are compared with the CPU and which backends are skipped. All devices
//! except the CPU need a feature:
//!
//!     cargo test --release --workspace --features wgpu --test backends -- --nocapture
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::Path,
    sync::{Arc, LazyLock, Mutex},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Int, Tensor, TensorData},
    train::{ItemLazy, TrainOutput, TrainStep},
};
use fcos_burn::{
    boxes::Detection,
    data::shapes::{ShapesConfig, ShapesSplit},
    data::transforms::Pipeline,
    data::{DetectionDataset, SampleReader},
    detect::device::{DeviceName, Precision, available},
    loss::{AssociationLoss, AssociationScore, BoxLoss, FcosObjectiveConfig, Predictions, Targets},
    model::backbone::norm::NormKind,
    model::head::CenternessBranch,
    model::{Fcos, FcosConfig, ImageFrame},
    train::RunConfig,
    train::config::IgnoreRule,
    train::data::{Assigner, BatchPlace, Collate, TrainBatch, TrainCollate},
    train::step::{DeviceGroup, StepMetric, TrainableDetector},
};

const SIDE: usize = 64;
const IMAGES: usize = 2;
const STEPS: usize = 3;

/// The fraction of a step's positive locations for which rounding to 32 and to 16 bits may change
/// the class with the highest score: one and three of 34.
const FLIPPED: [f64; 2] = [0.05, 0.1];

/// Held while initial weights are drawn. Tests share the random number generator of a device, and
/// each should get the same weights every time.
static DRAWING: Mutex<()> = Mutex::new(());

/// The CPU, followed by every other device that was found.
static DEVICES: LazyLock<Vec<DeviceName>> = LazyLock::new(|| {
    let backends = available();
    for backend in &backends {
        let skipped = if backend.devices.is_empty() {
            "skipped: "
        } else {
            ""
        };
        print!("{skipped}{backend}");
    }
    let found = backends.into_iter().flat_map(|backend| backend.devices);
    let devices: Vec<DeviceName> = found.map(|device| device.name).collect();
    assert_eq!(devices[0], DeviceName::CPU);
    devices
});

fn config(norm: NormKind) -> FcosConfig {
    // The number of classes in the built-in data set.
    let mut config = FcosConfig::small(6);
    config.backbone.width = 8;
    config.backbone.norm = norm;
    config.fpn.channels = 8;
    config.head.tower_depth = 1;
    config.head.centerness = Some(CenternessBranch::Regression);
    // After so few steps, all scores are low.
    config
}

fn batch(config: &FcosConfig) -> TrainBatch {
    let shapes = ShapesConfig::default()
        .with_train_images(IMAGES)
        .with_size(SIDE as u32, SIDE as u32);
    let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Train).unwrap();
    let collate = TrainCollate {
        input: RunConfig::small().input,
        augmentation: Pipeline::new(Vec::new()).unwrap(),
        plain_epochs: 0,
        assigner: Assigner::Static(Arc::new(config.assignment.clone())),
        strides: config.strides(),
        location_rule: config.location_rule,
        ignore: IgnoreRule::default(),
        reader: SampleReader::new(0),
        parts: 1,
        as_bytes: false,
    };
    let indices: Vec<usize> = (0..IMAGES).collect();
    let first = BatchPlace {
        epoch: 1,
        batch: 0,
        epochs_left: None,
        progress: 0.0,
        draws: None,
    };
    collate.collate(&dataset, &indices, first).unwrap()
}

/// Results of a short training run on one device.
struct Training {
    /// Predictions before the training.
    logits: Vec<f32>,
    boxes: Vec<f32>,
    /// Gradients of the first step, one list per parameter.
    gradients: Vec<Vec<f32>>,
    /// Metrics of each step.
    metrics: Vec<Vec<(StepMetric, f64)>>,
    /// Detections in each image after the training.
    detections: Vec<Vec<Detection>>,
}

struct Gradients<'a> {
    of: &'a GradientsParams,
    values: Vec<Vec<f32>>,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.of.get::<D>(param.id) {
            self.values
                .push(gradient.into_data().iter::<f32>().collect());
        }
    }
}

fn train(config: &FcosConfig, weights: &Path, device: &Device, precision: Precision) -> Training {
    let device = device.clone().autodiff();
    let model: Fcos = {
        let _guard = DRAWING.lock().unwrap();
        config.init(&device).unwrap().load(weights).unwrap()
    };
    let batch = batch(config);
    let images =
        |device: &Device| precision.cast(batch.parts[0].images.clone().into_tensor(device));
    let input = images(&device.clone().without_autodiff());
    let predictions = precision.scope(|| model.valid().forward(input));
    let predictions = predictions.into_predictions();
    // With the highest score instead, rounding would decide between nearly equal scores.
    let objective = FcosObjectiveConfig::new()
        .with_association(Some(AssociationLoss::default()))
        .with_association_score(AssociationScore::GroundTruthClass)
        .init()
        .unwrap();
    let mut optimization = RunConfig::paper().optimization;
    optimization.warmup.iterations = 0;
    let mut optimizer = optimization.optimizer(&model).unwrap();
    let mut scheduler = optimization.scheduler(&model, STEPS).unwrap();
    let devices = DeviceGroup::new(vec![device.clone()]).unwrap();
    let mut learner = TrainableDetector::new(model, objective, devices)
        .unwrap()
        .with_precision(precision);
    let mut gradients = Vec::new();
    let mut metrics = Vec::new();
    for step in 0..STEPS {
        let TrainOutput { grads, item } = TrainStep::step(&learner, batch.clone());
        if step == 0 {
            let mut found = Gradients {
                of: &grads,
                values: Vec::new(),
            };
            learner.visit(&mut found);
            gradients = found.values;
        }
        metrics.push(item.sync().unwrap().metrics().to_vec());
        learner = optimizer.step(scheduler.step(), learner, grads);
    }
    let model = learner.into_detector().valid();
    let frames = [ImageFrame::unscaled([SIDE, SIDE]); IMAGES];
    let values = |data: TensorData| data.iter::<f32>().collect();
    Training {
        logits: values(predictions.class_logits.into_data()),
        boxes: values(predictions.boxes.into_data()),
        gradients,
        metrics,
        detections: precision
            .scope(|| model.detect(images(&device.without_autodiff()), &frames))
            .unwrap(),
    }
}

/// The largest difference relative to the largest expected value.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    let largest = expected.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / largest.max(f32::MIN_POSITIVE)
}

/// The norm of the difference of all gradients, relative to the norm of the expected gradients.
fn gradient_distance(found: &Training, expected: &Training) -> f32 {
    let found = found.gradients.concat();
    let expected = expected.gradients.concat();
    assert_eq!(found.len(), expected.len());
    let squares = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|value| f64::from(value).powi(2)).sum()
    };
    let difference = squares(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
    (difference / squares(&mut expected.iter().copied())).sqrt() as f32
}

/// Relative differences between two training runs: of outputs, gradients and the other metrics.
///
/// The gradient norm counts toward the gradients, since it differs at most as much as they do. For
/// the class accuracy, see [`flipped_classes`].
fn distances(found: &Training, expected: &Training) -> [f32; 3] {
    let outputs =
        distance(&found.logits, &expected.logits).max(distance(&found.boxes, &expected.boxes));
    let mut gradients = gradient_distance(found, expected);
    let mut metrics = 0.0_f32;
    let expected = expected.metrics.iter().flatten();
    for ((name, found), (other, expected)) in found.metrics.iter().flatten().zip(expected) {
        assert_eq!(name, other);
        let distance = ((found - expected).abs() / expected.abs().max(1e-3)) as f32;
        let largest = match name {
            StepMetric::GradientNorm => &mut gradients,
            StepMetric::ClassAccuracy => continue,
            _ => &mut metrics,
        };
        *largest = largest.max(distance);
    }
    [outputs, gradients, metrics]
}

/// The largest difference in the class accuracy of a step. Rounding decides which of two nearly
/// equal class scores is higher, so class accuracy changes by whole locations.
fn flipped_classes(found: &Training, expected: &Training) -> f64 {
    let accuracies = |training: &Training| -> Vec<f64> {
        let metrics = training.metrics.iter().flatten();
        let accuracies = metrics.filter(|(metric, _)| *metric == StepMetric::ClassAccuracy);
        accuracies.map(|(_, value)| *value).collect()
    };
    let (found, expected) = (accuracies(found), accuracies(expected));
    assert_eq!((found.len(), expected.len()), (STEPS, STEPS));
    let differences = found.iter().zip(&expected).map(|(f, e)| (f - e).abs());
    differences.fold(0.0, f64::max)
}

fn weights(config: &FcosConfig, seed: u64, path: &Path) {
    let _guard = DRAWING.lock().unwrap();
    let device = Device::flex();
    device.seed(seed);
    config.init(&device).unwrap().save(path).unwrap();
}

/// Trains on a device and on the CPU from the same initial weights, and describes the difference
/// unless it is within the tolerances.
fn difference(name: &DeviceName, norm: NormKind, seed: u64, dir: &Path) -> Option<String> {
    let config = config(norm);
    let path = dir.join(format!("{norm:?}-{seed}"));
    weights(&config, seed, &path);
    let expected = train(&config, &path, &Device::flex(), Precision::F32);
    assert!(expected.metrics[2][0].1 < expected.metrics[0][0].1);
    let device = name.open(Precision::F32).unwrap();
    let found = train(&config, &path, &device, Precision::F32);
    let [outputs, gradients, metrics] = distances(&found, &expected);
    let flipped = flipped_classes(&found, &expected);
    let line = format!(
        "{name}, {norm:?}, seed {seed}: outputs {outputs:e}, gradients {gradients:e}, \
         metrics {metrics:e}, classes {flipped}"
    );
    println!("{line}");
    assert!(outputs < 1e-4, "{line}");
    let count = |training: &Training| training.detections.concat().len();
    let same = gradients < 1e-3
        && metrics < 1e-3
        && flipped < FLIPPED[0]
        && count(&found).abs_diff(count(&expected)) <= count(&expected) / 50 + 1;
    (!same).then_some(line)
}

/// Rounding can move a value across the kink of a ReLU, and batch normalization over two small
/// images magnifies the effect. Whether that happens depends on the weights. If the training runs
/// differ for the first seed, they must agree for two other seeds.
#[test]
fn devices_agree_with_the_cpu() {
    if DEVICES.len() == 1 {
        println!("skipped: no device other than the CPU");
    }
    let dir = tempfile::tempdir().unwrap();
    for norm in [NormKind::Frozen, NormKind::Batch] {
        for name in &DEVICES[1..] {
            let difference = |seed| difference(name, norm, seed, dir.path());
            if let Some(first) = difference(9) {
                let others: Vec<String> = [10, 11].into_iter().filter_map(difference).collect();
                assert!(others.is_empty(), "{first}; {others:?}");
            }
        }
    }
}

/// Batch normalization is frozen, because over two small images it magnifies any rounding error.
/// Devices other than the CPU choose their kernels by measured run time, so their rounding varies
/// from run to run.
#[test]
fn half_precision_stays_close_to_single_precision_on_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(NormKind::Frozen);
    let path = dir.path().join("weights");
    weights(&config, 9, &path);
    let expected = train(&config, &path, &Device::flex(), Precision::F32);
    // The last two limits are those of the metrics, on the CPU and on other devices.
    for (precision, [outputs, gradients], metrics) in [
        (Precision::F16, [0.002, 0.1], [0.005, 0.03]),
        (Precision::Bf16, [0.005, 0.2], [0.02, 0.02]),
        (Precision::Bf16Products, [0.005, 0.2], [0.02, 0.02]),
    ] {
        for name in DEVICES.iter() {
            let Ok(device) = name.open(precision) else {
                println!("skipped: {name} does not support {precision}");
                continue;
            };
            let found = train(&config, &path, &device, precision);
            let distances = distances(&found, &expected);
            let flipped = flipped_classes(&found, &expected);
            println!(
                "{name}, {precision}: outputs, gradients, metrics {distances:?}, \
                 classes {flipped}"
            );
            // A format that is not used would not show otherwise.
            assert!(
                distances.iter().all(|distance| *distance > 1e-5),
                "{name}, {precision}: {distances:?}"
            );
            let metrics = metrics[usize::from(*name != DEVICES[0])];
            let limits = [outputs, gradients, metrics];
            for (distance, limit) in distances.into_iter().zip(limits) {
                assert!(distance < limit, "{name}, {precision}: {distances:?}");
            }
            assert!(flipped < FLIPPED[1], "{name}, {precision}: {flipped}");
        }
    }
}

/// Logits of ±100, scores close to their IoU and far from it, degenerate boxes and boxes that match
/// exactly, and batches without positive locations.
#[test]
fn extreme_inputs_give_finite_and_equal_losses_on_every_device() {
    let rows = 8;
    let logits: Vec<f32> = (0..rows * 2)
        .map(|i| [100.0, -100.0, 0.0, 30.0, -30.0][i % 5])
        .collect();
    let boxes = [
        [0.0, 0.0, 10.0, 10.0],
        [5.0, 5.0, 5.0, 5.0],
        [9.0, 9.0, 1.0, 1.0],
        [1e6, 1e6, 2e6, 2e6],
    ];
    let targets = [[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 5.0, 5.0]];
    let boxes: Vec<f32> = (0..rows).flat_map(|i| boxes[i % 4]).collect();
    let target_boxes: Vec<f32> = (0..rows).flat_map(|i| targets[i / 4 % 2]).collect();
    let evaluate = |device: &Device, objective: &FcosObjectiveConfig, label: i32| -> Vec<f32> {
        let device = device.clone().autodiff();
        let matrix = |values: &[f32], columns| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, columns]), &device)
        };
        let logits = matrix(&logits, 2).require_grad();
        let boxes = matrix(&boxes, 4).require_grad();
        let centerness = Tensor::<1>::from_floats([100.0; 8], &device).require_grad();
        let parts = objective.init().unwrap().forward(
            Predictions {
                centerness_logits: Some(centerness),
                ..Predictions::new(logits.clone(), boxes.clone())
            },
            Targets {
                centerness: Some(Tensor::from_floats(
                    [0.0, 1.0].repeat(4).as_slice(),
                    &device,
                )),
                ..Targets::new(
                    Tensor::<1, Int>::from_ints([label; 8], &device),
                    matrix(&target_boxes, 4),
                )
            },
        );
        let gradients = parts.total.backward();
        let data = [
            parts.total.into_data(),
            logits.grad(&gradients).unwrap().into_data(),
            boxes.grad(&gradients).unwrap().into_data(),
        ];
        data.iter().flat_map(|data| data.iter::<f32>()).collect()
    };
    // Each box loss is combined with only one of these, because some devices take seconds to
    // compile a kernel.
    let associations = [
        AssociationLoss::Pse { beta: 1.0, k: 1.0 },
        AssociationLoss::Pce { beta: 1.0, k: 1.5 },
    ];
    for (box_loss, association) in BoxLoss::ALL.iter().zip(associations.into_iter().cycle()) {
        let objective = FcosObjectiveConfig::new()
            .with_box_loss(*box_loss)
            .with_association(Some(association));
        for label in [1, -1] {
            let expected = evaluate(&Device::flex(), &objective, label);
            for name in DEVICES.iter() {
                let device = name.open(Precision::F32).unwrap();
                let found = evaluate(&device, &objective, label);
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(found.is_finite(), "{name}, {objective:?}: {found}");
                    let error = (found - expected).abs() / expected.abs().max(1.0);
                    assert!(error < 1e-4, "{name}, {objective:?}: {found} {expected}");
                }
            }
        }
    }
}
