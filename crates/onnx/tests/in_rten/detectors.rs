//! Small random detectors, and images for them.

use std::sync::{Mutex, PoisonError};

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Distribution, Tensor, activation::relu},
};
use fcos_burn_data::{Category, Normalization, transforms::Resize};
use fcos_burn_detect::{Detector, InputConfig, device::Precision};
use fcos_burn_model::{
    ConfigError, FcosConfig,
    backbone::{Backbone, BackboneConfig, FeatureMap},
    mixed_precision::convolve,
};
use fcos_burn_onnx::{Graph, OnnxBackbone, OnnxError, Value};
use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

/// The preset `small`, of few channels.
pub fn tiny(classes: usize) -> FcosConfig {
    let mut config = FcosConfig::small(classes);
    config.backbone.width = 4;
    config.fpn.channels = 8;
    config.head.prior = 0.2;
    config.postprocess.score_threshold = 0.25;
    config
}

/// A detector with random weights and statistics, always the same, for images of
/// `[height, width]` pixels.
pub fn detector<C: BackboneConfig>(
    config: &FcosConfig<C>,
    size: [usize; 2],
) -> Detector<C::Backbone> {
    with_normalization(config, size, Normalization::ImageNet)
}

pub fn with_normalization<C: BackboneConfig>(
    config: &FcosConfig<C>,
    [height, width]: [usize; 2],
    normalization: Normalization,
) -> Detector<C::Backbone> {
    // All tests draw from one random state.
    static RANDOM: Mutex<()> = Mutex::new(());
    let _drawing = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    device.seed(7);
    let model = config.init(&device).unwrap().map(&mut Random {
        device: device.clone(),
    });
    let names: Vec<String> = (0..config.num_classes)
        .map(|class| format!("class {class}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let input = InputConfig::fcos()
        .with_normalization(normalization)
        .with_resize(Resize::Fixed {
            width: width as u32,
            height: height as u32,
        });
    Detector::new(&model, input, Category::list(names), device, Precision::F32)
}

/// Makes parameters differ from their initial values, so that every one of them matters.
struct Random {
    device: Device,
}

impl ModuleMapper for Random {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.val().dims();
        let uniform =
            |low, high| Tensor::random(shape, Distribution::Uniform(low, high), &self.device);
        // The predictors' weights start close to zero: all scores would be equal.
        let spread = match shape.as_slice() {
            [1..5, 8, 3, 3] => 10.0,
            _ => 1.0,
        };
        param.map(|values| values * uniform(0.7, 1.3) * spread + uniform(-0.02, 0.02))
    }
}

/// A smooth image of `[height, width]` pixels, different for each `number`.
pub fn image([height, width]: [usize; 2], number: u32) -> RgbImage {
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let wave = |frequency: f32, phase: f32| {
            let angle = frequency * (x as f32 + 0.7 * (number * y) as f32) + phase;
            (127.5 + 127.5 * angle.sin()) as u8
        };
        Rgb([wave(0.3, 0.0), wave(0.11, 1.0), wave(0.05, number as f32)])
    })
}

/// Strided convolutions with two feature maps, at the strides 4 and 16, and what can go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StridedConfig {
    /// Whether the convolutions are padded by `Same`.
    pub same: bool,
    /// The number of maps that are written to a graph.
    pub maps: usize,
    /// A factor of the weights.
    pub factor: f32,
}

impl Default for StridedConfig {
    fn default() -> Self {
        Self {
            same: false,
            maps: 2,
            factor: 1.0,
        }
    }
}

#[derive(Module, Debug)]
pub struct Strided {
    convs: Vec<Conv2d>,
    #[module(skip)]
    maps: usize,
}

impl BackboneConfig for StridedConfig {
    type Backbone = Strided;

    fn features(&self) -> Vec<FeatureMap> {
        let maps = [(4, 5), (16, 6)];
        maps.map(|(stride, channels)| FeatureMap { stride, channels })
            .into()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    fn init(&self, device: &Device) -> Strided {
        let padding = match self.same {
            true => PaddingConfig2d::Same,
            false => PaddingConfig2d::Explicit(1, 1, 1, 1),
        };
        let conv = |channels: [usize; 2]| {
            let config = Conv2dConfig::new(channels, [3, 3]).with_stride([4, 4]);
            let mut conv = config.with_padding(padding.clone()).init(device);
            conv.weight = conv.weight.map(|weight| weight * self.factor);
            conv
        };
        Strided {
            convs: vec![conv([3, 5]), conv([5, 6])],
            maps: self.maps,
        }
    }
}

impl Backbone for Strided {
    fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut features = images;
        let mut maps = Vec::new();
        for conv in &self.convs {
            features = relu(convolve(conv, features));
            maps.push(features.clone());
        }
        maps
    }
}

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
        maps.truncate(self.maps);
        Ok(maps)
    }
}
