//! Exported detectors in `rten` beside this project's own inference.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod detectors;
mod runtime;

use burn::tensor::{Tensor, activation::sigmoid};
use fcos_burn_boxes::Detection;
use fcos_burn_data::{Normalization, transforms::Flip};
use fcos_burn_detect::{Detector, NmsMethod, Suppression, TestTimeAugmentation};
use fcos_burn_model::{
    FcosConfig,
    backbone::{
        Backbone,
        norm::NormKind,
        resnet::{ResNetConfig, ResNetDepth, StrideIn},
    },
    fpn::ExtraLevelsFrom,
    head::{BoxQuality, CenternessBranch, RegressionForm},
    locations::LocationRule,
    postprocess::ScoreThresholdOn,
};
use fcos_burn_onnx::{
    OnnxBackbone, OnnxConfig, OnnxError, Outputs, Pixels, WeightFormat, to_bytes,
};
use image::RgbImage;

use detectors::{StridedConfig, detector, image, tiny};
use runtime::{Runtime, rgb};

/// Largest difference of coordinates in pixels.
const PIXELS: f32 = 0.05;
/// Largest difference of scores.
const SCORE: f32 = 1e-4;

/// Detectors that differ in everything that the graph depends on.
fn configs() -> Vec<(&'static str, FcosConfig)> {
    let backbone = |depth| ResNetConfig::new(depth).with_width(4);
    let mut batch_norm = tiny(3);
    batch_norm.fpn.extra_levels_from = ExtraLevelsFrom::C5;

    let mut frozen = tiny(3);
    frozen.backbone = backbone(ResNetDepth::ResNet18)
        .with_norm(NormKind::Frozen)
        .with_norm_epsilon(0.0);
    frozen.head.regression = RegressionForm::Exp;
    frozen.head.centerness = Some(CenternessBranch::Classification);

    let mut like_torchvision = tiny(2);
    like_torchvision.backbone = backbone(ResNetDepth::ResNet50);
    like_torchvision.head.regression = RegressionForm::NormalizedRelu;
    like_torchvision.head.centerness = Some(CenternessBranch::Regression);
    like_torchvision.head.learned_scales = false;
    like_torchvision.location_rule = LocationRule::Torchvision;
    like_torchvision.postprocess.score_threshold_on = ScoreThresholdOn::Score;

    let mut group_norm = tiny(1);
    group_norm.backbone = backbone(ResNetDepth::ResNet50)
        .with_norm(NormKind::Group)
        .with_stride_in(StrideIn::FirstConv);
    group_norm.fpn.extra_levels = 1;

    let mut distributions = tiny(2);
    distributions.head.regression = RegressionForm::Distribution { bins: 5 };
    distributions.head.centerness = Some(CenternessBranch::Regression);
    distributions.head.quality = BoxQuality::Iou;
    distributions.postprocess.score_exponent = 0.3;
    vec![
        ("distributions, with IoU", distributions),
        ("batch norm", batch_norm),
        ("frozen, with center-ness", frozen),
        ("as torchvision's", like_torchvision),
        ("group norm", group_norm),
    ]
}

/// `[height, width]` of images: multiples of the strides, odd, and far from square.
const SIZES: [[usize; 2]; 3] = [[64, 96], [61, 83], [33, 130]];

#[test]
fn raw_outputs_are_those_of_the_head() {
    for (name, config) in configs() {
        assert_raw(name, &detector(&config, [61, 83]));
    }
    assert_raw("custom backbone", &detector(&strided(), [61, 83]));
}

fn assert_raw<B: OnnxBackbone>(name: &str, detector: &Detector<B>) {
    let images = [image([61, 83], 1), image([61, 83], 2)];
    let config = OnnxConfig::default().with_outputs(Outputs::Raw);
    let runtime = Runtime::new(to_bytes(detector, &config).unwrap());
    let expected = detector.model().forward(network_input(detector, &images));
    let strides = detector.model().head().strides();
    for (level, stride) in expected.levels.iter().zip(strides) {
        let maps = [
            ("class_logits", Some(&level.class_logits), 1e-3),
            ("distances", Some(&level.distances), PIXELS),
            ("centerness_logits", level.centerness_logits.as_ref(), 1e-3),
            ("iou_logits", level.iou_logits.as_ref(), 1e-3),
        ];
        for (map, expected, tolerance) in maps {
            let output = format!("{map}_{stride}");
            let Some(expected) = expected else {
                assert!(!runtime.has(&output), "{name}: {output}");
                continue;
            };
            let (shape, found) = runtime.floats(&rgb(&images), &output);
            assert_eq!(shape, expected.dims(), "{name}: {output}");
            let expected: Vec<f32> = expected.clone().into_data().iter::<f32>().collect();
            assert_close(&format!("{name}: {output}"), &found, &expected, tolerance);
        }
    }
}

#[test]
fn boxes_and_scores_are_those_of_every_location() {
    for (name, config) in configs() {
        let sized = |size| detector(&config, size);
        assert_boxes(
            name,
            &sized,
            &OnnxConfig::default(),
            &SIZES,
            [PIXELS, SCORE],
        );
    }
    let sized = |size| detector(&strided(), size);
    assert_boxes(
        "custom backbone",
        &sized,
        &OnnxConfig::default(),
        &SIZES,
        [PIXELS, SCORE],
    );
}

#[test]
fn a_graph_for_one_size_computes_the_same() {
    let (name, config) = configs().swap_remove(2);
    for size in SIZES {
        let fixed = OnnxConfig::default()
            .with_image_size(Some(size))
            .with_batch(Some(2));
        assert_boxes(
            name,
            &|size| detector(&config, size),
            &fixed,
            &[size],
            [PIXELS, SCORE],
        );
    }
}

#[test]
fn normalized_pixels_can_be_the_input() {
    for normalization in [Normalization::ImageNet, Normalization::Caffe] {
        let sized = |size| detectors::with_normalization(&tiny(2), size, normalization);
        for pixels in [Pixels::RgbBytes, Pixels::Normalized] {
            let config = OnnxConfig::default().with_pixels(pixels);
            let name = format!("{normalization:?}, {pixels:?}");
            assert_boxes(&name, &sized, &config, &SIZES, [PIXELS, SCORE]);
        }
    }
}

#[test]
fn weights_of_16_bits_are_rounded_and_take_half_the_space() {
    let mut config = tiny(2);
    config.backbone.width = 16;
    let half = OnnxConfig::default().with_weights(WeightFormat::F16);
    let length = |onnx: &OnnxConfig| to_bytes(&detector(&config, [64, 96]), onnx).unwrap().len();
    let [full, short] = [&OnnxConfig::default(), &half].map(length);
    assert!((short as f64) < 0.6 * full as f64, "{short} of {full}");
    assert_boxes(
        "f16",
        &|size| detector(&config, size),
        &half,
        &SIZES,
        [2.0, 0.02],
    );
}

/// Compares boxes and scores at all locations. One graph is used for all sizes.
fn assert_boxes<B: OnnxBackbone>(
    name: &str,
    sized: &dyn Fn([usize; 2]) -> Detector<B>,
    config: &OnnxConfig,
    sizes: &[[usize; 2]],
    [pixels, score]: [f32; 2],
) {
    let config = config.clone().with_outputs(Outputs::Boxes);
    let runtime = Runtime::new(to_bytes(&sized(sizes[0]), &config).unwrap());
    for &size in sizes {
        let name = format!("{name}, {size:?}");
        let detector = sized(size);
        let images = [image(size, 3), image(size, 4)];
        let network_input = network_input(&detector, &images);
        let [height, width] = size;
        let input = match config.pixels {
            Pixels::Normalized => {
                let unpadded = [0..2, 0..3, 0..height, 0..width];
                runtime::tensor(network_input.clone().slice(unpadded))
            }
            _ => rgb(&images),
        };
        let (shape, boxes) = runtime.floats(&input, "boxes");
        let (_, scores) = runtime.floats(&input, "scores");

        let predictions = detector.model().forward(network_input).into_predictions();
        let locations = predictions.boxes.dims()[0] / 2;
        assert_eq!(shape, [2, locations, 4], "{name}");
        let corners = values(predictions.boxes);
        let limits = [width, height, width, height].map(|side| side as f32);
        let clipped = corners.iter().zip(limits.iter().cycle());
        let clipped: Vec<f32> = clipped
            .map(|(corner, &limit)| corner.clamp(0.0, limit))
            .collect();
        assert_close(&name, &boxes, &clipped, pixels);

        let mut expected = sigmoid(predictions.class_logits);
        if let Some(logits) = predictions.centerness_logits.or(predictions.iou_logits) {
            let exponent = detector.model().postprocess().score_exponent;
            let quality = sigmoid(logits).reshape([-1, 1]);
            expected = expected.powf_scalar(exponent) * quality.powf_scalar(1.0 - exponent);
        }
        assert_close(&name, &scores, &values(expected), score);
    }
}

/// `rten` suppresses boxes across classes and images, unlike ONNX. Its `NonMaxSuppression` is
/// therefore replaced by one that follows the specification.
#[test]
fn detections_are_those_of_the_detector() {
    for (name, config) in configs() {
        let runtime = runtime_of(&config);
        for size in SIZES {
            let name = format!("{name}, {size:?}");
            let images = [image(size, 5), image(size, 6)];
            let found = runtime.detections(&rgb(&images));
            let expected = detector(&config, size).detect(&images).unwrap();
            assert!(expected.iter().all(|image| image.len() > 4), "{name}");
            assert_same(&name, &found, &expected);
        }
    }
}

#[test]
fn limits_of_candidates_and_detections_hold() {
    let mut config = tiny(3);
    config.postprocess.candidates_per_level = 7;
    config.postprocess.detections_per_image = 5;
    let images = [image([64, 64], 5), image([64, 64], 6)];
    let found = runtime_of(&config).detections(&rgb(&images));
    assert_eq!(found[0].len(), 5);
    let expected = detector(&config, [64, 64]).detect(&images).unwrap();
    assert_same("limits", &found, &expected);
}

#[test]
fn settings_of_the_detector_are_exported() {
    let images = [image([64, 64], 5), image([64, 64], 6)];
    let all = detector(&tiny(3), [64, 64]);
    let across = all
        .clone()
        .with_suppression(Suppression::AcrossClasses)
        .unwrap();
    let chosen = across
        .clone()
        .with_classes(&["class 2", "class 0"])
        .unwrap();
    let mut counts = Vec::new();
    for detector in [all, across, chosen] {
        let detector = detector.with_max_detections(1000).unwrap();
        let runtime = Runtime::new(to_bytes(&detector, &OnnxConfig::default()).unwrap());
        let expected = detector.detect(&images).unwrap();
        assert_same("settings", &runtime.detections(&rgb(&images)), &expected);
        counts.push(expected[0].len());
    }
    assert!(counts[0] > counts[1] && counts[2] > 0, "{counts:?}");
}

#[test]
fn images_without_detections_have_empty_rows() {
    let mut config = tiny(3);
    config.postprocess.score_threshold = 1.0;
    let runtime = runtime_of(&config);
    let input = rgb(&[image([64, 64], 5), image([64, 64], 6)]);
    assert_eq!(runtime.detections(&input), [[], []]);
    let (shape, boxes) = runtime.floats(&input, "boxes");
    assert_eq!(shape, [2, 100, 4]);
    assert!(boxes.iter().all(|&coordinate| coordinate == 0.0));
    let (_, scores) = runtime.floats(&input, "scores");
    assert!(scores.iter().all(|&score| score == 0.0));
    let (_, labels) = runtime.integers(&input, "labels");
    assert!(labels.iter().all(|&label| label == -1));
}

#[test]
fn the_same_detector_gives_the_same_bytes() {
    for outputs in [Outputs::Raw, Outputs::Boxes, Outputs::Detections] {
        let config = OnnxConfig::default().with_outputs(outputs);
        let [a, b] = [0, 1].map(|_| to_bytes(&detector(&tiny(2), [64, 96]), &config).unwrap());
        assert!(a == b);
    }
}

#[test]
fn weights_of_shared_layers_are_stored_once() {
    let bytes = to_bytes(&detector(&tiny(2), [64, 96]), &OnnxConfig::default()).unwrap();
    let runtime = Runtime::new(bytes);
    let tower = runtime.initializers("head.class_tower.0.weight");
    assert_eq!(tower, ["head.class_tower.0.weight"]);
}

#[test]
fn metadata_tells_how_to_use_the_file() {
    let config = OnnxConfig::default().with_outputs(Outputs::Boxes);
    let detector = (detector(&tiny(2), [64, 96]).with_score_threshold(0.3)).unwrap();
    let runtime = Runtime::new(to_bytes(&detector, &config).unwrap());
    for (key, value) in [
        ("class_names", r#"["class 0","class 1"]"#),
        ("category_ids", "[1,2]"),
        ("outputs", "boxes"),
        ("pixels", "rgb-bytes"),
        ("resize", r#"{"fixed":{"height":64,"width":96}}"#),
        ("interpolation", "antialiased"),
        ("normalization", "imagenet"),
        ("size_multiple", "32"),
        ("strides", "[8,16,32,64,128]"),
        ("score_threshold", "0.25"),
        ("nms_iou_threshold", "0.6"),
        ("nms_method", "greedy"),
        ("detect_score_threshold", "0.3"),
        ("detections_per_image", "100"),
    ] {
        assert_eq!(runtime.metadata(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(runtime.opset(), 17);
    let config = config.with_image_size(Some([80, 112]));
    let runtime = Runtime::new(to_bytes(&detector, &config).unwrap());
    assert_eq!(
        runtime.metadata("resize").as_deref(),
        Some(r#"{"fixed":{"height":80,"width":112}}"#)
    );
}

#[test]
fn what_cannot_be_exported_is_named() {
    let same = StridedConfig {
        same: true,
        ..StridedConfig::default()
    };
    let same = detector(&tiny(2).with_backbone(same), [64, 96]);
    assert_eq!(
        error(&same, &OnnxConfig::default()),
        "backbone.convs.0 cannot be exported: it is padded by `Same`, not explicitly"
    );
    let fewer = StridedConfig {
        maps: 1,
        ..StridedConfig::default()
    };
    let fewer = detector(&tiny(2).with_backbone(fewer), [64, 96]);
    assert_eq!(
        error(&fewer, &OnnxConfig::default()),
        "feature maps in the backbone's graph: 1, but the pyramid takes 2"
    );
    let large = StridedConfig {
        factor: 1e9,
        ..StridedConfig::default()
    };
    let large = detector(&tiny(2).with_backbone(large), [64, 96]);
    assert_eq!(
        error(
            &large,
            &OnnxConfig::default().with_weights(WeightFormat::F16)
        ),
        "backbone.convs.0 cannot be exported: a weight is out of the range of 16 bits"
    );
    let none = OnnxConfig::default().with_batch(Some(0));
    assert_eq!(
        error(&detector(&tiny(2), [64, 96]), &none),
        "batch is 0, but must be from 1 to 32768"
    );
}

/// Settings that change detections in a way that a graph cannot, and none of the other outputs.
#[test]
fn settings_that_a_graph_cannot_express_are_named() {
    let plain = || detector(&tiny(2), [64, 96]);
    let gaussian = NmsMethod::SoftGaussian { sigma: 0.5 };
    let soft = plain().with_nms_method(gaussian).unwrap();
    let flips = TestTimeAugmentation::default().with_flips([Flip::Horizontal]);
    let flipped = plain().with_test_time_augmentation(flips).unwrap();
    for (detector, part) in [
        (
            soft,
            "postprocess.nms_method is Gaussian Soft-NMS with σ = 0.5",
        ),
        (
            flipped,
            "input.test_time_augmentation is scales [1.0], flips [Horizontal]",
        ),
    ] {
        let error = error(&detector, &OnnxConfig::default());
        assert!(error.contains(part), "{error}");
        let boxes = OnnxConfig::default().with_outputs(Outputs::Boxes);
        assert!(to_bytes(&detector, &boxes).is_ok());
    }
}

fn error<B: OnnxBackbone>(detector: &Detector<B>, config: &OnnxConfig) -> String {
    let error: OnnxError = to_bytes(detector, config).unwrap_err();
    error.to_string()
}

/// The images as the detector gives them to its network.
fn network_input<B: Backbone>(detector: &Detector<B>, images: &[RgbImage]) -> Tensor<4> {
    let input = detector.input().single_view(images).unwrap();
    Tensor::from_data(input.images, &burn::tensor::Device::flex())
}

fn runtime_of(config: &FcosConfig) -> Runtime {
    Runtime::new(to_bytes(&detector(config, [64, 96]), &OnnxConfig::default()).unwrap())
}

fn strided() -> FcosConfig<StridedConfig> {
    tiny(2).with_backbone(StridedConfig::default())
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn assert_close(name: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(0.0, f32::max);
    assert!(largest <= tolerance, "{name}: {largest}");
}

/// The same detections, of which those with nearly the same score may be in another order.
fn assert_same(name: &str, found: &[Vec<Detection>], expected: &[Vec<Detection>]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{name}");
        let descending = found.is_sorted_by(|a, b| a.score >= b.score);
        assert!(descending, "{name}");
        for detection in expected {
            let same = |other: &&Detection| {
                let corners = other.bbox.iter().zip(detection.bbox);
                other.label == detection.label
                    && (other.score - detection.score).abs() <= SCORE
                    && corners.into_iter().all(|(a, b)| (a - b).abs() <= PIXELS)
            };
            assert!(
                found.iter().any(|other| same(&other)),
                "{name}: {detection:?} is missing"
            );
        }
    }
}
