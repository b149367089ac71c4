//! Parity with torchvision's FCOS: outputs of every level, detections in image files, and weights.

use std::{collections::HashMap, sync::LazyLock};

use burn::tensor::{Device, Tensor, TensorData};
use fcos_burn::{
    data::transforms::Resize,
    data::{Normalization, read_image, stack_resized},
    model::backbone::resnet::{ResNetDepth, StrideIn},
    model::head::LevelPrediction,
    model::weights::{TensorNaming, WeightsFile},
    model::{Fcos, FcosConfig, ImageFrame},
};

use crate::{
    fixture::{self, Fixture},
    formula,
};

static NETWORK: LazyLock<Fixture> = LazyLock::new(|| Fixture::open("network"));

/// The names and shapes in a state dict of torchvision's FCOS.
fn names(resnet: &str) -> Vec<(String, Vec<usize>)> {
    let names: HashMap<String, Vec<(String, Vec<usize>)>> =
        serde_json::from_str(&NETWORK.metadata["names"]).unwrap();
    names[resnet].clone()
}

/// A detector with weights by the formula, read from a file with torchvision's names.
fn detector(resnet: &str, stride_in: StrideIn) -> (Fcos, FcosConfig) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights");
    formula::write_safetensors(&path, &names(resnet), str::to_owned);
    let checkpoint = WeightsFile::open(&path).unwrap();
    assert_eq!(checkpoint.naming(), TensorNaming::Torchvision);
    let mut config = checkpoint.detector().unwrap();
    config.backbone.stride_in = stride_in;
    let model = config.init(&Device::flex()).unwrap();
    let (model, loaded) = checkpoint.load(model).unwrap();
    assert_eq!(loaded.loaded, names(resnet).len());
    assert!(loaded.kept.is_empty() && loaded.unused == 0, "{loaded}");
    (model, config)
}

fn compare_outputs(case: &str, resnet: &str, stride_in: StrideIn) {
    let (model, _) = detector(resnet, stride_in);
    for (height, width) in [(64, 96), (75, 50)] {
        let image = formula::image(&format!("input.{height}x{width}"), height, width);
        let image = TensorData::new(image, [1, 3, height, width]);
        let output = model.forward(Tensor::from_data(image, &Device::flex()));
        for (level, prediction) in output.levels.into_iter().enumerate() {
            let LevelPrediction {
                class_logits,
                distances,
                centerness_logits,
                ..
            } = prediction;
            for (name, map) in [
                ("class_logits", class_logits),
                ("distances", distances),
                ("centerness_logits", centerness_logits.unwrap()),
            ] {
                let key = format!("{case}.{height}x{width}.p{}.{name}", level + 3);
                assert_eq!(map.dims().to_vec(), NETWORK.array(&key).shape, "{key}");
                let expected = NETWORK.floats(&key);
                let largest = expected.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
                for (found, expected) in map.into_data().iter::<f32>().zip(&expected) {
                    let error = (found - expected).abs() / largest;
                    assert!(error < 1e-4, "{key}: {found} instead of {expected}");
                }
            }
        }
    }
}

#[test]
fn resnet18_outputs_match_torchvision() {
    compare_outputs("resnet18", "resnet18", StrideIn::MiddleConv);
}

#[test]
fn resnet50_outputs_match_torchvision() {
    compare_outputs("resnet50", "resnet50", StrideIn::MiddleConv);
}

#[test]
fn resnet50_outputs_with_the_stride_in_the_first_convolution_match_torchvision() {
    compare_outputs("resnet50-first", "resnet50", StrideIn::FirstConv);
}

/// Compares boxes in pixels of the original image, labels and scores with `model.eval()(images)`.
fn compare_detections(resnet: &str, file: &str, tolerance: Tolerance) {
    let (model, config) = detector(resnet, StrideIn::MiddleConv);
    let image = read_image(fixture::folder().join(format!("photograph.{file}"))).unwrap();
    let resize = Resize::ShortSide {
        short: 200,
        long: 333,
    };
    let batch = stack_resized(
        std::slice::from_ref(&image),
        resize,
        Normalization::ImageNet,
        32,
    )
    .unwrap();
    let [width, height] = batch.sizes[0].map(|side| side as usize);
    let frame = ImageFrame {
        input_size: [height, width],
        original_size: [image.height() as usize, image.width() as usize],
    };
    let images = Tensor::from_data(TensorData::new(batch.data, batch.shape), &Device::flex());
    let found = model
        .forward(images)
        .detect(&[frame], &config.postprocess)
        .unwrap()
        .concat();

    let expected = Fixture::open("detections");
    let key = |name: &str| format!("{resnet}.{file}.{name}");
    let boxes = expected.boxes(&key("boxes"));
    let scores = expected.floats(&key("scores"));
    let labels = expected.integers(&key("labels"));
    assert_eq!(found.len(), boxes.len());
    let last = scores.iter().fold(1.0_f32, |last, score| last.min(*score));
    for (rank, detection) in found.iter().enumerate() {
        // Rounding may decide which detections are the last of the hundred.
        if detection.score <= last + tolerance.score {
            assert!(rank > 80, "{resnet} {file}: {rank}");
            continue;
        }
        // If scores are closer than the tolerance, either order is right.
        let same = (0..boxes.len()).find(|&other| {
            (scores[other] - scores[rank]).abs() <= tolerance.score
                && labels[other] as usize == detection.label
                && (detection.score - scores[other]).abs() <= tolerance.score
                && detection
                    .bbox
                    .iter()
                    .zip(boxes[other])
                    .all(|(found, expected)| (found - expected).abs() <= tolerance.pixels)
        });
        assert!(
            same.is_some(),
            "{resnet} {file}: detection {rank} is {detection:?}, torchvision's {:?} {} {}",
            boxes[rank],
            labels[rank],
            scores[rank],
        );
    }
}

#[derive(Clone, Copy)]
struct Tolerance {
    score: f32,
    pixels: f32,
}

/// The rounding of 32-bit floats through fifty layers.
const ROUNDING: Tolerance = Tolerance {
    score: 2e-5,
    pixels: 2e-3,
};

#[test]
fn detections_match_torchvision() {
    compare_detections("resnet18", "png", ROUNDING);
    compare_detections("resnet50", "png", ROUNDING);
}

/// The two JPEG decoders round differently, by one or two of 255 levels.
#[test]
fn detections_in_a_jpeg_match_torchvision() {
    let tolerance = Tolerance {
        score: 5e-3,
        pixels: 0.5,
    };
    compare_detections("resnet18", "jpg", tolerance);
    compare_detections("resnet50", "jpg", tolerance);
}

/// Every tensor with a name of the original code is loaded into the same parameter as the
/// corresponding tensor of torchvision.
#[test]
fn names_of_the_original_code_map_to_the_same_parameters() {
    let (expected, config) = detector("resnet50", StrideIn::MiddleConv);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fcos");
    let mut names = names("resnet50");
    for level in 0..5 {
        names.push((format!("scales.{level}.scale"), vec![1]));
    }
    formula::write_safetensors(&path, &names, original_name);
    let checkpoint = WeightsFile::open(&path).unwrap();
    assert_eq!(checkpoint.naming(), TensorNaming::Fcos);
    let own = checkpoint.detector().unwrap();
    assert_eq!(own, FcosConfig::fcos(5));
    let mut with_scales = config.clone();
    with_scales.head.learned_scales = true;
    let model = with_scales.init(&Device::flex()).unwrap();
    let (model, loaded) = checkpoint.load(model).unwrap();
    assert_eq!(loaded.loaded, names.len());

    let image = || {
        let image = formula::image("input.64x96", 64, 96);
        Tensor::from_data(TensorData::new(image, [1, 3, 64, 96]), &Device::flex())
    };
    let levels = model.forward(image()).levels.into_iter();
    for (level, (found, expected)) in levels.zip(expected.forward(image()).levels).enumerate() {
        let scale = formula::weight(&format!("scales.{level}.scale"), &[1])[0];
        let values = |map: Tensor<4>| map.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values(found.class_logits), values(expected.class_logits));
        for (found, expected) in values(found.distances)
            .into_iter()
            .zip(values(expected.distances))
        {
            // ReLU commutes with a positive factor.
            let scaled = expected * scale;
            assert!((found - scaled).abs() <= 1e-4 * scaled.abs().max(1.0));
        }
    }
}

/// Translates a name of torchvision to that in a training checkpoint of the original code.
fn original_name(name: &str) -> String {
    let name = name
        .replace("backbone.body.conv1", "backbone.body.stem.conv1")
        .replace("backbone.body.bn1", "backbone.body.stem.bn1")
        .replace("extra_blocks", "top_blocks")
        .replace("head.classification_head.conv", "rpn.head.cls_tower")
        .replace("head.classification_head.cls_logits", "rpn.head.cls_logits")
        .replace("head.regression_head.conv", "rpn.head.bbox_tower")
        .replace("head.regression_head.bbox_reg", "rpn.head.bbox_pred")
        .replace("head.regression_head.bbox_ctrness", "rpn.head.centerness");
    let name = (0..3).fold(name, |name, level| {
        name.replace(
            &format!("inner_blocks.{level}.0"),
            &format!("fpn_inner{}", level + 2),
        )
        .replace(
            &format!("layer_blocks.{level}.0"),
            &format!("fpn_layer{}", level + 2),
        )
    });
    let name = if name.starts_with("scales.") {
        format!("rpn.head.{name}")
    } else {
        name
    };
    format!("model.module.{name}")
}

/// torchvision's classification networks have the same tensor names as the backbone of the
/// detector, without its prefix, and an additional last layer.
#[test]
fn a_classification_network_is_loaded_into_the_backbone() {
    let (expected, config) = detector("resnet18", StrideIn::MiddleConv);
    let body = "backbone.body.";
    let mut names: Vec<_> = names("resnet18")
        .into_iter()
        .filter(|(name, _)| name.starts_with(body))
        .collect();
    let taken = names.len();
    names.push(("fc.weight".to_owned(), vec![10, 512]));
    names.push(("fc.bias".to_owned(), vec![10]));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resnet");
    formula::write_safetensors(&path, &names, |name| {
        name.strip_prefix(body).unwrap_or(name).to_owned()
    });
    let checkpoint = WeightsFile::open(&path).unwrap();
    assert_eq!(checkpoint.naming(), TensorNaming::TorchvisionResNet);
    assert_eq!(
        (checkpoint.num_classes(), checkpoint.detector()),
        (None, None)
    );
    let backbone = checkpoint.backbone(config.backbone.clone()).unwrap();
    assert_eq!(backbone.depth, ResNetDepth::ResNet18);
    let model = config.init(&Device::flex()).unwrap();
    let (model, loaded) = checkpoint.load(model).unwrap();
    assert_eq!(loaded.loaded, taken);
    assert!(
        loaded
            .kept
            .iter()
            .all(|path| !path.starts_with("backbone."))
    );

    let image = || Tensor::<4>::ones([1, 3, 64, 64], &Device::flex());
    let features = |model: &Fcos| -> Vec<f32> {
        let [.., c5] = model.backbone().forward_stages(image());
        c5.into_data().try_to_vec().unwrap()
    };
    assert_eq!(features(&model), features(&expected));
}

/// A training checkpoint and a legacy file in half precision are compared with a safetensors file
/// of the same weights.
#[test]
fn pytorch_files_give_the_same_outputs_as_safetensors() {
    let narrow = |shape: &[usize]| -> Vec<usize> {
        let side = |&side: &usize| if side >= 64 { side / 16 } else { side };
        shape.iter().map(side).collect()
    };
    let names: Vec<_> = names("resnet18")
        .into_iter()
        .map(|(name, shape)| (name, narrow(&shape)))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("narrow");
    formula::write_safetensors(&path, &names, str::to_owned);
    let logits = |path: &std::path::Path, beside: usize| -> Vec<f32> {
        let checkpoint = WeightsFile::open(path).unwrap();
        assert_eq!(checkpoint.naming(), TensorNaming::Torchvision);
        let config = checkpoint.detector().unwrap();
        assert_eq!((config.backbone.width, config.fpn.channels), (4, 16));
        let model = config.init(&Device::flex()).unwrap();
        let (model, loaded) = checkpoint.load(model).unwrap();
        assert_eq!((loaded.loaded, loaded.unused), (names.len(), beside));
        let image = Tensor::ones([1, 3, 32, 32], &Device::flex());
        let level = model.forward(image).levels.remove(0);
        level.class_logits.into_data().try_to_vec().unwrap()
    };
    let expected = logits(&path, 0);
    // The momentum of the optimizer is not a weight.
    assert_eq!(
        logits(&fixture::folder().join("checkpoint.pth"), 1),
        expected
    );
    let half = logits(&fixture::folder().join("legacy.pth"), 0);
    assert_ne!(half, expected);
    for (half, expected) in half.iter().zip(&expected) {
        assert!((half - expected).abs() < 0.02 * expected.abs().max(1.0));
    }
}

/// The export contains the tensors that were loaded, with the same names and values, and nothing
/// else except the counters of batch normalization.
#[test]
fn an_export_has_the_names_of_torchvision_and_the_same_values() {
    let (model, _) = detector("resnet18", StrideIn::MiddleConv);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export.safetensors");
    model.export_torchvision(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let found = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut counters = 0;
    for (name, view) in found.iter() {
        if let Some(norm) = name.strip_suffix("num_batches_tracked") {
            assert!(found.tensor(&format!("{norm}running_mean")).is_ok());
            counters += 1;
            continue;
        }
        let expected = formula::weight(name, view.shape());
        let (values, _) = view.data().as_chunks();
        let values: Vec<f32> = values.iter().map(|v| f32::from_le_bytes(*v)).collect();
        assert_eq!(values, expected, "{name}");
    }
    let mut names: Vec<String> = names("resnet18").into_iter().map(|(n, _)| n).collect();
    names.retain(|name| found.tensor(name).is_err());
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(counters, 20);
}
