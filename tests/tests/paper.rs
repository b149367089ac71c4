//! Every hyperparameter of the paper preset. The paper only says "default as in FCOS", which is
//! FCOS_R_50_FPN_1x without center-ness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLrScheduler,
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use fcos_burn::{
    data::transforms::{HorizontalFlip, Resize, Sample, Transform},
    data::{Normalization, stack},
    detect::device::Precision,
    loss::{AssociationLoss, AssociationScore, BoxLoss, ClassificationLoss},
    model::Fcos,
    model::backbone::norm::NormKind,
    model::backbone::resnet::{ResNetDepth, StrideIn},
    model::fpn::ExtraLevelsFrom,
    model::head::{RegressionForm, TowerInit},
    model::locations::LocationRule,
    model::postprocess::ScoreThresholdOn,
    train::RunConfig,
    train::config::TrainingLength,
};

/// The values of each parameter and whether it is trained, by path.
#[derive(Default)]
struct Parameters {
    path: Vec<String>,
    found: BTreeMap<String, (Vec<f32>, bool)>,
}

impl Parameters {
    fn of(model: &Fcos) -> BTreeMap<String, (Vec<f32>, bool)> {
        let mut parameters = Self::default();
        model.visit(&mut parameters);
        parameters.found
    }
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let trained = value.is_require_grad();
        let values = value.into_data().try_to_vec().unwrap();
        self.found.insert(self.path.join("."), (values, trained));
    }
}

/// A gradient of 1 for every trained parameter.
#[derive(Default)]
struct Ones(GradientsParams);

impl ModuleVisitor for Ones {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if value.is_require_grad() {
            self.0.register(param.id, value.inner().ones_like());
        }
    }
}

fn model() -> Fcos {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut config = RunConfig::paper().model;
    config.num_classes = 80;
    config.init(&device).unwrap()
}

#[test]
fn network_and_inference_have_the_settings_of_fcos() {
    let config = RunConfig::paper().model;
    let backbone = &config.backbone;
    assert_eq!(backbone.depth, ResNetDepth::ResNet50);
    assert_eq!(backbone.width, 64);
    assert_eq!(backbone.stride_in, StrideIn::FirstConv);
    assert_eq!(backbone.norm, NormKind::Frozen);
    assert_eq!(backbone.frozen_stages, 2);
    assert_eq!(config.strides(), [8, 16, 32, 64, 128]);
    assert_eq!(config.fpn.extra_levels_from, ExtraLevelsFrom::P5);
    assert_eq!(config.fpn.channels, 256);
    let head = &config.head;
    assert_eq!(head.tower_depth, 4);
    assert_eq!(head.tower_init, TowerInit::Fcos);
    assert!(head.learned_scales);
    assert_eq!(head.regression, RegressionForm::Exp);
    assert_eq!(head.prior, 0.01);
    assert_eq!(head.centerness, None);
    assert_eq!(config.location_rule, LocationRule::HalfStride);
    let assignment = &config.assignment;
    assert_eq!(assignment.range_bounds, [64.0, 128.0, 256.0, 512.0]);
    assert_eq!(assignment.center_sampling_radius, None);
    let postprocess = &config.postprocess;
    assert_eq!(postprocess.score_threshold, 0.05);
    assert_eq!(
        postprocess.score_threshold_on,
        ScoreThresholdOn::ClassProbability
    );
    assert_eq!(postprocess.candidates_per_level, 1000);
    assert_eq!(postprocess.nms_iou_threshold, 0.6);
    assert_eq!(postprocess.detections_per_image, 100);
}

#[test]
fn losses_have_the_settings_of_the_paper() {
    let objective = RunConfig::paper().objective;
    let focal = ClassificationLoss::Focal {
        alpha: 0.25,
        gamma: 2.0,
    };
    assert_eq!(objective.classification, focal);
    assert_eq!(objective.association_ramp, 0.0);
    assert_eq!(objective.box_loss, BoxLoss::IouPlusOne);
    assert_eq!(objective.lambda, 1.0);
    assert_eq!(
        objective.association_score,
        AssociationScore::MaxOverClasses
    );
    let AssociationLoss::Pse { beta, k } = AssociationLoss::default() else {
        panic!("the paper uses PSE");
    };
    assert_eq!((beta, k), (1.0, 1.0));
}

#[test]
fn input_is_resized_flipped_and_normalized_as_in_fcos() {
    let config = RunConfig::paper().input;
    assert_eq!(
        config.resize,
        Resize::ShortSide {
            short: 800,
            long: 1333
        }
    );
    let [Transform::HorizontalFlip(HorizontalFlip { probability, .. })] = config.augmentation[..]
    else {
        panic!("{:?}", config.augmentation);
    };
    assert_eq!(probability, 0.5);
    assert_eq!(config.normalization, Normalization::Caffe);
    let pixel = image::Rgb([10, 20, 30]);
    let image = image::RgbImage::from_pixel(40, 33, pixel);
    let sample = Sample::new(image, []);
    let batch = stack(&[sample], config.normalization, config.size_multiple);
    assert_eq!(batch.shape, [1, 3, 64, 64]);
    let first: Vec<f32> = batch.data.chunks(64 * 64).map(|plane| plane[0]).collect();
    let expected = [30.0 - 102.9801, 20.0 - 115.9465, 10.0 - 122.7717];
    for (found, expected) in first.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{first:?}");
    }
}

#[test]
fn training_takes_90000_iterations_with_the_schedule_of_fcos() {
    let config = RunConfig::paper();
    assert_eq!(config.duration, TrainingLength::Iterations(90_000));
    assert_eq!(config.batch_size, 16);
    assert_eq!(config.precision, Precision::F32);
    assert_eq!(config.optimization.max_gradient_norm, None);
    let schedule = config.optimization.schedule(90_000);
    for (iteration, rate) in [
        (0, 0.01 / 3.0),
        (499, 0.01 / 3.0),
        (500, 0.01),
        (59_999, 0.01),
        (60_000, 0.001),
        (79_999, 0.001),
        (80_000, 0.0001),
        (89_999, 0.0001),
    ] {
        assert!((schedule.at(iteration) - rate).abs() < 1e-12, "{iteration}");
    }
}

#[test]
fn initial_weights_are_distributed_as_in_fcos() {
    let parameters = Parameters::of(&model());
    let spread = |values: &[f32]| {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let square = |v: &f32| (v - mean) * (v - mean);
        (values.iter().map(square).sum::<f32>() / values.len() as f32).sqrt()
    };
    let mut scales = 0;
    for (path, (values, _)) in &parameters {
        let largest = values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
        if path == "head.class_logits.bias" {
            assert!(values.iter().all(|bias| (bias + 99f32.ln()).abs() < 1e-5));
        } else if path.starts_with("head.scales") {
            scales += 1;
            assert_eq!(values, &[1.0]);
        } else if path.ends_with("conv.bias") || path.starts_with("fpn") && path.ends_with("bias") {
            assert_eq!(largest, 0.0, "{path}");
        } else if path.starts_with("fpn") {
            // Kaiming uniform with a = 1, that is, with a gain of 1.
            let channels_in = if path.contains("lateral") {
                values.len() / 256
            } else {
                256 * 9
            };
            let bound = (3.0 / channels_in as f32).sqrt();
            assert!(
                largest <= bound && largest > 0.99 * bound,
                "{path}: {largest}"
            );
            assert!(
                (spread(values) * 3f32.sqrt() / bound - 1.0).abs() < 0.01,
                "{path}"
            );
        } else if path.starts_with("head") && path.ends_with("weight") {
            assert!((spread(values) / 0.01 - 1.0).abs() < 0.03, "{path}");
        }
    }
    assert_eq!(scales, 5);
}

/// With gradients of 1, the first step changes every trained parameter w by −r(1 + d·w).
///
/// For weights, r = 0.01 and d = 1e-4. For biases, r = 0.02 and d = 0. During warm-up, r is a third
/// of that. In the second step, momentum adds nine tenths of the first.
#[test]
fn steps_follow_the_learning_rates_weight_decay_and_frozen_layers_of_fcos() {
    let optimization = RunConfig::paper().optimization;
    let model = model();
    let mut schedule: ModuleLrScheduler = optimization.scheduler(&model, 90_000).unwrap();
    let warmup = schedule.step();
    for _ in 1..500 {
        schedule.step();
    }
    let after = schedule.step();
    for (rates, rate) in [(warmup, 0.01 / 3.0), (after, 0.01)] {
        let mut optimizer = optimization.optimizer(&model).unwrap();
        let ones = || {
            let mut ones = Ones::default();
            model.visit(&mut ones);
            ones.0
        };
        let first = optimizer.step(rates.clone(), model.clone(), ones());
        let second = optimizer.step(rates, first.clone(), ones());
        let [before, first, second] = [&model, &first, &second].map(Parameters::of);
        let mut trained = 0;
        for (path, (values, is_trained)) in &before {
            // The stem, layer1 and every batch norm are frozen.
            let frozen = path.starts_with("backbone.stem")
                || path.starts_with("backbone.stages.0")
                || path.starts_with("backbone") && path.contains("norm");
            assert_eq!(*is_trained, !frozen, "{path}");
            if frozen {
                assert_eq!(values, &second[path].0, "{path}");
                continue;
            }
            trained += 1;
            let bias = path.ends_with("bias") || path.ends_with("beta");
            let (rate, decay) = if bias {
                (2.0 * rate, 0.0)
            } else {
                (rate, 1e-4)
            };
            let moves = values.iter().zip(&first[path].0).zip(&second[path].0);
            for ((before, first), second) in moves {
                let [before, first, second] = [before, first, second].map(|v| f64::from(*v));
                let velocity = 1.0 + decay * before;
                let step = rate * velocity;
                assert!((before - first - step).abs() < 1e-6, "{path}");
                let step = rate * (0.9 * velocity + 1.0 + decay * first);
                assert!((first - second - step).abs() < 1e-6, "{path}");
            }
        }
        // Backbone: weights of the convolutions in layer2 to layer4 and of three projections.
        // Pyramid: weights and biases. Head: weights and biases of convolutions and group norms,
        // and scales.
        let backbone = 3 * (4 + 6 + 3) + 3;
        let pyramid = 2 * 8;
        let head = 2 * (8 + 2) + 2 * 8 + 5;
        assert_eq!(trained, backbone + pyramid + head);
    }
}
