//! A detector on a backbone that is not a ResNet.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::{
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};
use fcos_burn_model::{
    ConfigError, Fcos, FcosConfig, ImageFrame, WeightsError,
    backbone::{
        Backbone, BackboneConfig, FeatureMap,
        norm::{Norm, NormKind},
        resnet::ResNetDepth,
    },
    fpn::FpnConfig,
    mixed_precision::convolve,
    weights::{TensorNaming, WeightsFile},
};
use serde::{Deserialize, Serialize};

/// Three strided convolutions; the maps of the last two are the features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StagesConfig {
    /// Strides of the convolutions.
    strides: [usize; 3],
    /// Channels of the features, as promised.
    channels: [usize; 2],
}

#[derive(Module, Debug)]
struct Stages {
    stages: Vec<Stage>,
}

#[derive(Module, Debug)]
struct Stage {
    conv: Conv2d,
    norm: Norm,
}

impl BackboneConfig for StagesConfig {
    type Backbone = Stages;

    fn features(&self) -> Vec<FeatureMap> {
        let [first, second, third] = self.strides;
        let strides = [first * second, first * second * third];
        strides
            .into_iter()
            .zip(self.channels)
            .map(|(stride, channels)| FeatureMap { stride, channels })
            .collect()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        match self.strides.contains(&0) {
            true => Err(ConfigError::new("strides", "0", "positive")),
            false => Ok(()),
        }
    }

    fn init(&self, device: &Device) -> Stages {
        let channels = [3, 4, 6, 10];
        let stages = channels.windows(2).zip(self.strides).map(|(pair, stride)| {
            let conv = Conv2dConfig::new([pair[0], pair[1]], [3, 3])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            Stage {
                conv: conv.init(device),
                norm: NormKind::Batch.init(pair[1], 1e-5, device),
            }
        });
        Stages {
            stages: stages.collect(),
        }
    }
}

impl Backbone for Stages {
    fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut features = images;
        let mut maps = Vec::new();
        for stage in &self.stages {
            features = relu(stage.norm.forward(convolve(&stage.conv, features)));
            maps.push(features.clone());
        }
        maps.split_off(1)
    }
}

fn config(extra_levels: usize) -> FcosConfig<StagesConfig> {
    let mut config = FcosConfig::small(3)
        .with_backbone(StagesConfig {
            strides: [2, 2, 2],
            channels: [6, 10],
        })
        .with_fpn(FpnConfig::new(8).with_extra_levels(extra_levels));
    config.assignment.range_bounds = (1..2 + extra_levels).map(|i| 16.0 * i as f32).collect();
    config.postprocess.score_threshold = 0.0;
    config
}

fn model(config: &FcosConfig<StagesConfig>) -> Fcos<Stages> {
    config.init(&Device::flex()).unwrap()
}

fn images() -> Tensor<4> {
    let pixels = Tensor::arange(0..2 * 3 * 37 * 50, &Device::flex());
    pixels.float().sin().reshape([2, 3, 37, 50])
}

fn logits(model: &Fcos<Stages>) -> Vec<f32> {
    let predictions = model.forward(images()).into_predictions();
    predictions.class_logits.into_data().try_to_vec().unwrap()
}

#[test]
fn levels_follow_the_backbone_and_the_pyramid() {
    for (extra_levels, strides) in [
        (0, vec![4, 8]),
        (1, vec![4, 8, 16]),
        (3, vec![4, 8, 16, 32, 64]),
    ] {
        let config = config(extra_levels);
        assert_eq!(config.strides(), strides);
        let output = model(&config).forward(images());
        let found: Vec<_> = output
            .levels
            .iter()
            .map(|l| l.class_logits.dims())
            .collect();
        let expected: Vec<_> = strides
            .iter()
            .map(|stride| [2, 3, 37_usize.div_ceil(*stride), 50_usize.div_ceil(*stride)])
            .collect();
        assert_eq!(found, expected);
        let grids: Vec<_> = output
            .locations
            .levels()
            .iter()
            .map(|grid| (grid.stride, grid.height, grid.width))
            .collect();
        let expected: Vec<_> = strides
            .iter()
            .zip(&expected)
            .map(|(stride, dims)| (*stride, dims[2], dims[3]))
            .collect();
        assert_eq!(grids, expected);
    }
}

#[test]
fn objects_are_detected() {
    let model = model(&config(1));
    let detections = model
        .detect(images(), &[ImageFrame::unscaled([37, 50]); 2])
        .unwrap();
    assert_eq!(detections.len(), 2);
    for detection in detections.concat() {
        let [x1, y1, x2, y2] = detection.bbox;
        assert!(0.0 <= x1 && x1 <= x2 && x2 <= 50.0, "{detection:?}");
        assert!(0.0 <= y1 && y1 <= y2 && y2 <= 37.0, "{detection:?}");
        assert!(detection.label < 3 && (0.0..=1.0).contains(&detection.score));
    }
}

fn assert_read_back(write: impl Fn(&Fcos<Stages>, &Path) -> Result<(), WeightsError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights");
    let (written, other) = (model(&config(3)), model(&config(3)));
    assert!(logits(&written) != logits(&other));
    write(&written, &path).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    assert_eq!(file.naming(), TensorNaming::FcosBurn);
    let (read, report) = file.load(other).unwrap();
    assert_eq!((report.kept.len(), report.unused), (0, 0), "{report}");
    assert!(logits(&read) == logits(&written));
}

#[test]
fn saved_weights_are_read_back() {
    assert_read_back(|model, path| model.save(path));
}

#[test]
fn exported_weights_are_read_back() {
    assert_read_back(|model, path| model.export_safetensors(path));
}

#[test]
fn weights_of_a_resnet_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("torchvision.safetensors");
    let mut config = FcosConfig::torchvision(3);
    config.backbone = config.backbone.with_depth(ResNetDepth::ResNet18);
    config.fpn.channels = 32;
    config.head.tower_depth = 1;
    let resnet = config.init(&Device::flex()).unwrap();
    resnet.export_torchvision(&path).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    for error in [
        file.load(model(&self::config(1))).unwrap_err(),
        file.load_without_classifier(model(&self::config(1)))
            .unwrap_err(),
    ] {
        assert!(
            matches!(
                error,
                WeightsError::Backbone {
                    naming: TensorNaming::Torchvision,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn torchvision_export_names_the_backbone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("torchvision.safetensors");
    let error = model(&config(2)).export_torchvision(&path).unwrap_err();
    assert!(error.to_string().contains("not a ResNet"), "{error}");
    assert!(!path.exists());
}

#[test]
fn bounds_and_backbone_are_validated() {
    let field = |config: &FcosConfig<StagesConfig>| {
        let error = config.init(&Device::flex()).err();
        error.map(|error| error.field.into_owned())
    };
    let mut invalid = config(1);
    invalid.assignment.range_bounds.pop();
    // Only training with this rule needs them.
    assert_eq!(field(&invalid), None);
    let error = invalid.assignment_rule().err();
    assert_eq!(
        error.map(|error| error.field.into_owned()).as_deref(),
        Some("assignment.range_bounds")
    );
    let mut invalid = config(1);
    invalid.backbone.strides[1] = 0;
    assert_eq!(field(&invalid).as_deref(), Some("backbone.strides"));
    let mut invalid = config(1);
    invalid.backbone.strides[2] = 1;
    assert_eq!(field(&invalid).as_deref(), Some("backbone.features"));
}

#[test]
#[should_panic(expected = "but its configuration promises")]
fn maps_with_other_channels_than_promised_are_refused() {
    let mut config = config(1);
    config.backbone.channels = [6, 12];
    model(&config).forward(images());
}

#[test]
fn the_configuration_is_read_back_from_json() {
    let config = config(3);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<FcosConfig<StagesConfig>>(&json).unwrap(),
        config
    );
    assert!(serde_json::from_str::<FcosConfig>(&json).is_err());
}
