//! ResNet as a feature extractor (He et al., 2016): stem and four stages, no
//! classifier.

use burn::{
    module::Module,
    nn::{
        Initializer, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        pool::{MaxPool2d, MaxPool2dConfig},
    },
    tensor::{DType, Device, Tensor},
};
use serde::{Deserialize, Serialize};

use crate::{
    mixed_precision::{convolve, convolve_with},
    norm::{Norm, NormKind},
    operations::{add_relu, relu},
};

/// The number of weighted layers of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResNetDepth {
    /// 18 layers in basic blocks.
    ResNet18,
    /// 34 layers in basic blocks.
    ResNet34,
    /// 50 layers in bottleneck blocks.
    ResNet50,
    /// 101 layers in bottleneck blocks.
    ResNet101,
}

impl ResNetDepth {
    /// All depths.
    pub const ALL: [Self; 4] = [
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet101,
    ];

    /// Blocks in each of the four stages.
    pub const fn blocks(self) -> [usize; 4] {
        match self {
            Self::ResNet18 => [2, 2, 2, 2],
            Self::ResNet34 | Self::ResNet50 => [3, 4, 6, 3],
            Self::ResNet101 => [3, 4, 23, 3],
        }
    }

    /// Output channels of a block over its inner width: 1 for basic, 4 for
    /// bottleneck blocks.
    pub const fn expansion(self) -> usize {
        match self {
            Self::ResNet18 | Self::ResNet34 => 1,
            Self::ResNet50 | Self::ResNet101 => 4,
        }
    }
}

/// Where a bottleneck that halves the resolution has its stride.
///
/// Basic blocks always stride in their first 3×3 convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrideIn {
    /// In the first 1×1 convolution: the original MSRA weights, Caffe and FCOS.
    FirstConv,
    /// In the 3×3 convolution: torchvision, "ResNet v1.5".
    MiddleConv,
}

/// Configuration of a [`ResNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Number of layers.
    pub depth: ResNetDepth,
    /// Channels of the stem, which double from stage to stage: 64 in the published
    /// networks.
    pub width: usize,
    /// Place of the stride in bottleneck blocks.
    pub stride_in: StrideIn,
    /// Normalisation after every convolution.
    pub norm: NormKind,
    /// What the normalisation adds to a variance, above 0 unless it is frozen: 1e-5 in
    /// PyTorch, 0 in the frozen batch norm of FCOS's original code.
    pub norm_epsilon: f64,
    /// How many of stem, layer1, … layer4 take no gradient, from the stem on: 0
    /// trains everything, 2 freezes stem and layer1 as FCOS does, 5 freezes all.
    pub frozen_stages: usize,
}

impl ResNetConfig {
    /// Channels of the features C2, C3, C4 and C5.
    pub fn channels(&self) -> [usize; 4] {
        [1, 2, 4, 8].map(|factor| factor * self.width * self.depth.expansion())
    }

    /// Builds the network with He-normal convolutions (fan out) on `device`.
    pub fn init(&self, device: &Device) -> ResNet {
        let freeze = |stage| stage < self.frozen_stages;
        let stem = ConvNorm::new(self, [3, self.width], 7, 2, device);
        let mut channels = self.width;
        let stages = std::array::from_fn(|index| {
            let stride = if index == 0 { 1 } else { 2 };
            let stage = self.stage(index, channels, stride, device);
            channels = self.channels()[index];
            if freeze(index + 1) {
                stage.freeze()
            } else {
                stage
            }
        });
        ResNet {
            stem: if freeze(0) { stem.freeze() } else { stem },
            pool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            stages,
        }
    }

    fn stage(&self, index: usize, channels_in: usize, stride: usize, device: &Device) -> Stage {
        let channels_out = self.channels()[index];
        let width = channels_out / self.depth.expansion();
        let blocks = (0..self.depth.blocks()[index])
            .map(|block| {
                let (channels_in, stride) = match block {
                    0 => (channels_in, stride),
                    _ => (channels_out, 1),
                };
                Block::new(self, channels_in, width, stride, device)
            })
            .collect();
        Stage { blocks }
    }
}

/// ResNet without its classifier. Built by [`ResNetConfig::init`].
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    pool: MaxPool2d,
    stages: [Stage; 4],
}

impl ResNet {
    /// How the computation differs from that of torchvision's ResNet.
    pub(crate) fn unlike_torchvision(&self) -> Vec<&'static str> {
        let mut differences = Vec::new();
        if !matches!(&self.stem.norm, Norm::Batch(norm) if norm.epsilon == 1e-5) {
            differences.push("its backbone has no batch norm with an epsilon of 1e-5");
        }
        let [first, ..] = self.stages[1].blocks[0].convs.as_slice() else {
            return differences;
        };
        if first.conv.weight.dims()[2..] == [1, 1] && first.conv.stride != [1, 1] {
            differences.push("its bottlenecks have their stride in the first convolution");
        }
        if self.stem.conv.weight.dims()[0] != 64 {
            differences.push("its backbone is not 64 channels wide");
        }
        differences
    }

    /// Extracts the features C2, C3, C4 and C5.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, any size
    /// - output: four tensors `[batch, channels, ⌈height/s⌉, ⌈width/s⌉]` at the
    ///   strides s = 4, 8, 16, 32, with [`ResNetConfig::channels`]
    pub fn forward(&self, images: Tensor<4>) -> [Tensor<4>; 4] {
        let mut features = self.pool.forward(relu(self.stem.forward(images)));
        std::array::from_fn(|stage| {
            features = self.stages[stage].forward(features.clone());
            features.clone()
        })
    }
}

#[derive(Module, Debug)]
struct Stage {
    blocks: Vec<Block>,
}

impl Stage {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.blocks
            .iter()
            .fold(input, |features, block| block.forward(features))
    }
}

/// A residual block: two (basic) or three (bottleneck) convolutions beside a
/// shortcut, which is a projection where the shape changes.
#[derive(Module, Debug)]
struct Block {
    convs: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn new(
        config: &ResNetConfig,
        channels_in: usize,
        width: usize,
        stride: usize,
        device: &Device,
    ) -> Self {
        let conv =
            |channels, kernel, stride| ConvNorm::new(config, channels, kernel, stride, device);
        let channels_out = width * config.depth.expansion();
        let convs = if config.depth.expansion() == 1 {
            vec![
                conv([channels_in, width], 3, stride),
                conv([width, width], 3, 1),
            ]
        } else {
            let (first, middle) = match config.stride_in {
                StrideIn::FirstConv => (stride, 1),
                StrideIn::MiddleConv => (1, stride),
            };
            vec![
                conv([channels_in, width], 1, first),
                conv([width, width], 3, middle),
                conv([width, channels_out], 1, 1),
            ]
        };
        let shortcut = (stride != 1 || channels_in != channels_out)
            .then(|| conv([channels_in, channels_out], 1, stride));
        Self { convs, shortcut }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(projection) => projection.forward(input.clone()),
            None => input.clone(),
        };
        let mut features = input;
        for (index, conv) in self.convs.iter().enumerate() {
            features = conv.forward(features);
            if index + 1 < self.convs.len() {
                features = relu(features);
            }
        }
        add_relu(features, shortcut)
    }
}

#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: Norm,
}

impl ConvNorm {
    fn new(
        config: &ResNetConfig,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        device: &Device,
    ) -> Self {
        let padding = kernel / 2;
        Self {
            conv: Conv2dConfig::new(channels, [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(
                    padding, padding, padding, padding,
                ))
                .with_bias(false)
                .with_initializer(Initializer::KaimingNormal {
                    gain: std::f64::consts::SQRT_2,
                    fan_out_only: true,
                })
                .init(device),
            norm: config.norm.init(channels[1], config.norm_epsilon, device),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let stored = match input.dtype() {
            DType::F32 => self.norm.scale_and_shift(&input.device()),
            // A product of weights in 16 bits would round what is normalised in 32.
            _ => None,
        };
        match stored {
            Some([scale, shift]) => {
                let weight = self.conv.weight.val() * scale.reshape([-1, 1, 1, 1]);
                convolve_with(&self.conv, weight, Some(shift), input)
            }
            None => self.norm.forward(convolve(&self.conv, input)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(depth: ResNetDepth) -> ResNetConfig {
        ResNetConfig {
            depth,
            width: 64,
            stride_in: StrideIn::MiddleConv,
            norm: NormKind::Batch,
            norm_epsilon: 1e-5,
            frozen_stages: 0,
        }
    }

    /// Parameter counts of torchvision's models less their fc layer
    /// (512 · 1000 + 1000, or 2048 · 1000 + 1000), running statistics added, which
    /// Burn counts and torchvision keeps as buffers: two values a channel of every
    /// batch norm, as many as its affine parameters.
    #[test]
    fn parameter_counts_match_the_published_models() {
        let device = Device::flex();
        for (depth, published, fc, norm_channels) in [
            (ResNetDepth::ResNet18, 11_689_512, 513_000, 4_800),
            (ResNetDepth::ResNet34, 21_797_672, 513_000, 8_512),
            (ResNetDepth::ResNet50, 25_557_032, 2_049_000, 26_560),
            (ResNetDepth::ResNet101, 44_549_160, 2_049_000, 52_672),
        ] {
            let count = config(depth).init(&device).num_params();
            assert_eq!(count, published - fc + 2 * norm_channels, "{depth:?}");
        }
    }

    #[test]
    fn feature_sizes_round_up_at_odd_inputs() {
        let device = Device::flex();
        let features = config(ResNetDepth::ResNet18)
            .init(&device)
            .valid()
            .forward(Tensor::zeros([1, 3, 75, 50], &device));
        let dims: Vec<_> = features.iter().map(|f| f.dims()).collect();
        assert_eq!(
            dims,
            [
                [1, 64, 19, 13],
                [1, 128, 10, 7],
                [1, 256, 5, 4],
                [1, 512, 3, 2]
            ]
        );
    }

    #[test]
    fn frozen_stages_take_no_gradient() {
        let device = Device::flex().autodiff();
        let model = ResNetConfig {
            frozen_stages: 2,
            ..config(ResNetDepth::ResNet18)
        }
        .init(&device);
        let features = model.forward(Tensor::ones([1, 3, 32, 32], &device));
        let grads = features[3].clone().sum().backward();
        let weight = |conv: &ConvNorm| conv.conv.weight.val().grad(&grads).is_some();
        assert!(!weight(&model.stem));
        assert!(!weight(&model.stages[0].blocks[0].convs[0]));
        assert!(weight(&model.stages[1].blocks[0].convs[0]));
    }
}
