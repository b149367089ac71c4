//! Parity with the original FCOS code: loss terms and gradients of a training step, the weights
//! after two steps, and the outputs of an improved model.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::LazyLock,
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    store::{ModuleSnapshot, bridge},
    tensor::{Device, Tensor, TensorData},
    train::{ItemLazy, TrainOutput, TrainStep},
};
use fcos_burn::{
    boxes::LabeledBox,
    detect::DetectorFile,
    loss::{AssociationLoss, FcosObjectiveConfig},
    model::backbone::norm::NormKind,
    model::backbone::resnet::ResNetDepth,
    model::head::CenternessBranch,
    model::locations::Locations,
    model::weights::{TensorNaming, WeightsFile},
    model::{Fcos, FcosConfig},
    train::RunConfig,
    train::data::{BatchPart, BatchPlace, ImageObjects, TrainBatch},
    train::step::{DeviceGroup, StepMetric, TrainableDetector},
};

use crate::{fixture::Fixture, formula};

static STEP: LazyLock<Fixture> = LazyLock::new(|| Fixture::open("step"));

/// A narrow version of the paper's detector. `fcos` has center-ness, `pse` has trained batch norm.
fn config(case: &str) -> FcosConfig {
    let mut config = FcosConfig::paper(3);
    config.backbone.depth = ResNetDepth::ResNet18;
    config.backbone.width = 4;
    config.backbone.norm_epsilon = 1e-5;
    config.fpn.channels = 32;
    config.head.tower_depth = 2;
    match case {
        "fcos" => config.head.centerness = Some(CenternessBranch::Classification),
        _ => {
            config.backbone.norm = NormKind::Batch;
            config.backbone.frozen_stages = 0;
        }
    }
    config
}

/// A detector with the parameters in the file at `path`.
fn load(config: &FcosConfig, path: &Path) -> Fcos {
    let checkpoint = WeightsFile::open(path).unwrap();
    assert_eq!(checkpoint.naming(), TensorNaming::Fcos);
    let model = config.init(&Device::flex().autodiff()).unwrap();
    checkpoint.load(model).unwrap().0
}

/// The arrays called `{case}.{kind}.…`, by the paths of their parameters.
fn expected(case: &str, kind: &str) -> Parameters {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(kind);
    STEP.write(&format!("{case}.{kind}."), &path);
    parameters(&load(&config(case), &path))
}

type Parameters = BTreeMap<String, Vec<f32>>;

fn parameters(model: &Fcos) -> Parameters {
    model
        .collect(None, None, true)
        .into_iter()
        .map(|tensor| {
            let path = tensor.name.clone();
            let data = bridge::into_data(tensor).unwrap();
            (path, data.try_to_vec().unwrap())
        })
        .collect()
}

/// Collects gradients by the paths of their parameters.
struct Gradients<'a> {
    of: &'a GradientsParams,
    path: Vec<String>,
    values: Parameters,
}

impl ModuleVisitor for Gradients<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.of.get::<D>(param.id) {
            let values = gradient.into_data().try_to_vec().unwrap();
            self.values.insert(self.path.join("."), values);
        }
    }
}

fn gradients(model: &Fcos, of: &GradientsParams) -> Parameters {
    let mut visitor = Gradients {
        of,
        path: Vec::new(),
        values: Parameters::new(),
    };
    model.visit(&mut visitor);
    visitor.values
}

/// Asserts that all values agree within `tolerance`, relative to the largest value of their tensor.
///
/// If that is only noise, as for a bias before a normalization, the tolerance is relative to a
/// thousandth of the largest value of all tensors.
fn compare(found: &Parameters, expected: &Parameters, tolerance: f32) {
    assert!(found.keys().eq(expected.keys()));
    let largest = |values: &[f32]| values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    let floor = 1e-3 * expected.values().map(|v| largest(v)).fold(0.0, f32::max);
    for (path, expected) in expected {
        let scale = largest(expected).max(floor);
        for (found, expected) in found[path].iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(
                error <= tolerance * scale,
                "{path}: {found} instead of {expected}, scale {scale}"
            );
        }
    }
}

/// [`compare`] for whole tensors: the norm of the error relative to that of the tensor. In the second
/// step, rounding may give an activation near zero the other sign, which changes single gradients.
fn compare_norms(found: &Parameters, expected: &Parameters, tolerance: f32) {
    assert!(found.keys().eq(expected.keys()));
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    let largest = expected
        .values()
        .flatten()
        .fold(0.0_f32, |max, v| max.max(v.abs()));
    for (path, expected) in expected {
        let floor = 1e-3 * largest * (expected.len() as f32).sqrt();
        let scale = norm(&mut expected.iter().copied()).max(floor);
        let error = norm(&mut found[path].iter().zip(expected).map(|(f, e)| f - e));
        assert!(error <= tolerance * scale, "{path}: {error}, scale {scale}");
    }
}

fn batch(config: &FcosConfig) -> TrainBatch {
    let size: [usize; 2] = serde_json::from_str(&STEP.metadata["size"]).unwrap();
    let objects: Vec<Vec<[f32; 5]>> = serde_json::from_str(&STEP.metadata["objects"]).unwrap();
    let [height, width] = size;
    let pixels: Vec<f32> = (0..objects.len())
        .flat_map(|index| formula::image(&format!("step.{index}"), height, width))
        .collect();
    let images = TensorData::new(pixels, [objects.len(), 3, height, width]);
    let objects: Vec<ImageObjects> = objects
        .into_iter()
        .map(|rows| {
            let objects = rows.into_iter().map(|[x1, y1, x2, y2, label]| LabeledBox {
                bbox: [x1, y1, x2, y2],
                label: label as usize,
            });
            objects.collect::<Vec<_>>().into()
        })
        .collect();
    let locations = Locations::new(size, &config.strides(), config.location_rule);
    let part = BatchPart::new(images, &objects, &locations, &config.assignment).unwrap();
    TrainBatch {
        indices: (0..objects.len()).collect(),
        parts: vec![part],
        place: BatchPlace {
            epoch: 1,
            batch: 0,
            epochs_left: None,
            progress: 0.0,
            draws: None,
        },
    }
}

/// Writes the weights of a case to a file with the original code's names.
fn write_weights(case: &str, path: &Path) {
    let names: BTreeMap<String, Vec<(String, Vec<usize>)>> =
        serde_json::from_str(&STEP.metadata["names"]).unwrap();
    formula::write_safetensors(path, &names[case], str::to_owned);
}

fn two_steps(case: &str, objective: &FcosObjectiveConfig, parts: &[(StepMetric, &str)]) {
    let config = config(case);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights");
    write_weights(case, &path);
    let model = load(&config, &path);
    let before = parameters(&model);

    let mut optimization = RunConfig::paper().optimization;
    optimization.warmup.iterations = 0;
    let mut optimizer = optimization.optimizer(&model).unwrap();
    let mut scheduler = optimization.scheduler(&model, 90_000).unwrap();
    let devices = DeviceGroup::new(vec![Device::flex().autodiff()]).unwrap();
    let mut learner = TrainableDetector::new(model, objective.init().unwrap(), devices).unwrap();
    for step in 0..2 {
        let TrainOutput { grads, item } = TrainStep::step(&learner, batch(&config));
        if step == 0 {
            compare_losses(case, item.sync().unwrap().metrics(), parts);
            let found = gradients(&learner.clone().into_detector(), &grads);
            let mut expected = expected(case, "gradient");
            // Frozen parameters and running statistics have no gradient.
            expected.retain(|path, values| {
                found.contains_key(path) || values.iter().any(|value| *value != 0.0)
            });
            compare(&found, &expected, 1e-4);
        }
        learner = optimizer.step(scheduler.step(), learner, grads);
    }
    let after = parameters(&learner.into_detector().valid());
    let change: Parameters = after
        .into_iter()
        .map(|(path, after)| {
            let change = after.iter().zip(&before[&path]).map(|(a, b)| a - b);
            (path.clone(), change.collect())
        })
        .collect();
    let mut expected = expected(case, "change");
    // PyTorch's running variance is unbiased, with a factor of n/(n − 1). Burn's is biased.
    expected.retain(|path, _| !path.ends_with(".running_var"));
    let change = change
        .into_iter()
        .filter(|(path, _)| expected.contains_key(path))
        .collect();
    // A change is a small difference of numbers of up to 2, so their rounding errors dominate.
    compare_norms(&change, &expected, 1e-3);
}

fn compare_losses(case: &str, found: &[(StepMetric, f64)], parts: &[(StepMetric, &str)]) {
    let found: HashMap<StepMetric, f64> = found.iter().cloned().collect();
    let mut total = 0.0;
    for (metric, name) in parts {
        let expected = f64::from(STEP.floats(&format!("{case}.loss.{name}"))[0]);
        let error = (found[metric] - expected).abs();
        assert!(error < 1e-5 * expected, "{name}: {error}");
        total += expected;
    }
    assert!((found[&StepMetric::Loss] - total).abs() < 1e-5 * total);
}

#[test]
fn training_steps_with_centerness_match_the_original_code() {
    two_steps(
        "fcos",
        &FcosObjectiveConfig::new(),
        &[
            (StepMetric::CLASSIFICATION, "classification"),
            (StepMetric::LOCALIZATION, "localization"),
            (StepMetric::CENTERNESS, "centerness"),
        ],
    );
}

/// Batch norm is trained, so the changes include its running mean.
#[test]
fn training_steps_with_the_association_loss_match_pytorch() {
    two_steps(
        "pse",
        &FcosObjectiveConfig::new()
            .with_association(Some(AssociationLoss::Pse { beta: 1.0, k: 1.0 })),
        &[
            (StepMetric::CLASSIFICATION, "classification"),
            (StepMetric::LOCALIZATION, "localization"),
            (StepMetric::ASSOCIATION, "association"),
        ],
    );
}

#[test]
fn outputs_of_an_improved_model_match_the_original_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights");
    write_weights("improved", &path);
    let file = DetectorFile::open(&path).unwrap().improved_fcos().unwrap();
    let mut config = file.model;
    // The stored backbone is torchvision's.
    config.backbone.norm_epsilon = 1e-5;
    let model = config.init(&Device::flex()).unwrap().load(&path).unwrap();
    let images = batch(&config).parts.remove(0).images;
    let output = model.forward(images.into_tensor(&Device::flex()));
    for (level, prediction) in output.levels.into_iter().enumerate() {
        for (kind, map) in [
            ("class_logits", prediction.class_logits),
            ("distances", prediction.distances),
            ("centerness_logits", prediction.centerness_logits.unwrap()),
        ] {
            let expected = STEP.floats(&format!("improved.p{}.{kind}", level + 3));
            let largest = expected.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
            for (found, expected) in map.into_data().iter::<f32>().zip(&expected) {
                let error = (found - expected).abs();
                assert!(
                    error <= 1e-4 * largest,
                    "{level} {kind}: {found} {expected}"
                );
            }
        }
    }
}
