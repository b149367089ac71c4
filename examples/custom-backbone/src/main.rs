//! FCOS on a custom backbone: four strided convolutions, two feature maps.

use std::path::{Path, PathBuf};

use burn::{
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};
use fcos_burn::{
    detect::DetectorFile,
    model::{
        ConfigError,
        backbone::{Backbone, BackboneConfig, FeatureMap},
        mixed_precision::convolve,
    },
    onnx::{Graph, OnnxBackbone, OnnxConfig, OnnxError, Value, export},
    prelude::*,
};
use serde::{Deserialize, Serialize};

#[derive(Module, Debug)]
struct Strided {
    convs: Vec<Conv2d>,
}

impl Backbone for Strided {
    fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut features = images;
        let mut maps = Vec::new();
        for conv in &self.convs {
            features = relu(convolve(conv, features));
            maps.push(features.clone());
        }
        // The maps with strides 8 and 16.
        maps.split_off(2)
    }
}

/// The same layers as nodes, for ONNX files.
impl OnnxBackbone for Strided {
    fn write(&self, graph: &mut Graph, images: &Value) -> Result<Vec<Value>, OnnxError> {
        let mut features = images.clone();
        let mut maps = Vec::new();
        for (index, conv) in self.convs.iter().enumerate() {
            features = graph.within(&format!("convs.{index}"), |graph| {
                let features = graph.conv(conv, &features)?;
                Ok::<_, OnnxError>(graph.relu(&features))
            })?;
            maps.push(features.clone());
        }
        Ok(maps.split_off(2))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StridedConfig {
    width: usize,
}

impl BackboneConfig for StridedConfig {
    type Backbone = Strided;

    fn features(&self) -> Vec<FeatureMap> {
        let map = |stride| FeatureMap {
            stride,
            channels: stride * self.width,
        };
        vec![map(8), map(16)]
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let holds = (1..=4096).contains(&self.width);
        ConfigError::ensure(holds, "width", self.width, "from 1 to 4096")
    }

    fn init(&self, device: &Device) -> Strided {
        let conv = |channels| {
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        let [a, b, c, d] = [2, 4, 8, 16].map(|factor| factor * self.width);
        Strided {
            convs: [[3, a], [a, b], [b, c], [c, d]].map(conv).into(),
        }
    }
}

fn run(config: RunConfig, output: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = config.with_backbone(StridedConfig { width: 4 });
    // The pyramid has two levels for the feature maps and two extra ones.
    config.model.assignment.range_bounds = vec![48.0, 96.0, 192.0];
    Trainer::new().train_backbone(config, output)?;

    let file = DetectorFile::<StridedConfig>::open_run(output)?;
    let (detector, loaded) = Detector::from_file(file, &DeviceName::CPU, Precision::F32)?;
    println!("{loaded}");
    let weights = output.join("model.safetensors");
    detector.model().export_safetensors(&weights)?;
    export(&detector, &OnnxConfig::default(), output.join("model.onnx"))?;
    let black = fcos_burn::data::RgbImage::new(160, 120);
    let found = detector.detect(&[black])?;
    println!("{} objects in a black image", found[0].len());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(RunConfig::small(), &PathBuf::from("runs/custom-backbone"))
}

#[test]
fn it_trains_and_loads() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let length = fcos_burn::train::config::TrainingLength::Epochs(2);
    let mut config = RunConfig::small().with_duration(length);
    let shapes = fcos_burn::data::shapes::ShapesConfig::default();
    config.data = DataConfig::shapes(shapes.with_train_images(16).with_val_images(2));
    run(config, folder.path())?;
    assert!(folder.path().join("model.safetensors").is_file());
    assert!(folder.path().join("model.onnx").is_file());
    Ok(())
}
