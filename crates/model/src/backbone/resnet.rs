//! ResNet without its classifier (He et al., 2016).

use std::any::Any;

use burn::{
    module::Module,
    nn::{
        Initializer, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        pool::{MaxPool2d, MaxPool2dConfig},
    },
    tensor::{DType, Device, Tensor},
};
use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use crate::{
    backbone::{
        Backbone, BackboneConfig, FeatureMap,
        norm::{Norm, NormKind},
    },
    kernels::{Epilogue, Shortcut, branch, fork, max_pool2d},
    mixed_precision::{convolve, convolve_fused},
};

/// The number of weighted layers of a [`ResNet`], classifier included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
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

    /// Number of blocks in each of the four stages.
    pub const fn blocks(self) -> [usize; 4] {
        match self {
            Self::ResNet18 => [2, 2, 2, 2],
            Self::ResNet34 | Self::ResNet50 => [3, 4, 6, 3],
            Self::ResNet101 => [3, 4, 23, 3],
        }
    }

    /// Ratio of a block's output channels to its inner width: 1 for basic blocks, 4 for
    /// bottlenecks.
    pub const fn expansion(self) -> usize {
        match self {
            Self::ResNet18 | Self::ResNet34 => 1,
            Self::ResNet50 | Self::ResNet101 => 4,
        }
    }
}

/// Which convolution of a bottleneck halves the resolution.
///
/// In basic blocks, it is always the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StrideIn {
    /// The first 1×1 convolution, as in the original MSRA weights, Caffe and FCOS.
    FirstConv,
    /// The 3×3 convolution, as in torchvision ("ResNet v1.5").
    MiddleConv,
}

/// Configuration of a [`ResNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ResNetConfig {
    /// Number of layers.
    pub depth: ResNetDepth,
    /// Channels of the stem and inner width of the first stage, doubled from stage to
    /// stage: 64 in the published networks.
    pub width: usize,
    /// The strided convolution of bottlenecks.
    pub stride_in: StrideIn,
    /// Normalization after every convolution.
    pub norm: NormKind,
    /// Added to the variances in the normalization: 1e-5 in PyTorch, 0 in the frozen batch
    /// norm of the original FCOS code. Positive unless the normalization is frozen.
    pub norm_epsilon: f64,
    /// How many of stem, layer1, …, layer4 are frozen, counted from the stem: 0 trains
    /// everything, 2 freezes stem and layer1 as FCOS does, 5 freezes everything.
    pub frozen_stages: usize,
}

impl ResNetConfig {
    /// torchvision's ResNet, all of it trained: 64 channels wide, with the stride of
    /// bottlenecks in the 3×3 convolution and batch normalization with an epsilon of 1e-5.
    pub fn new(depth: ResNetDepth) -> Self {
        Self {
            depth,
            width: 64,
            stride_in: StrideIn::MiddleConv,
            norm: NormKind::Batch,
            norm_epsilon: 1e-5,
            frozen_stages: 0,
        }
    }

    /// Sets [`depth`](Self::depth).
    #[must_use]
    pub fn with_depth(self, depth: ResNetDepth) -> Self {
        Self { depth, ..self }
    }

    /// Sets [`width`](Self::width).
    #[must_use]
    pub fn with_width(self, width: usize) -> Self {
        Self { width, ..self }
    }

    /// Sets [`stride_in`](Self::stride_in).
    #[must_use]
    pub fn with_stride_in(self, stride_in: StrideIn) -> Self {
        Self { stride_in, ..self }
    }

    /// Sets [`norm`](Self::norm).
    #[must_use]
    pub fn with_norm(self, norm: NormKind) -> Self {
        Self { norm, ..self }
    }

    /// Sets [`norm_epsilon`](Self::norm_epsilon).
    #[must_use]
    pub fn with_norm_epsilon(self, norm_epsilon: f64) -> Self {
        Self {
            norm_epsilon,
            ..self
        }
    }

    /// Sets [`frozen_stages`](Self::frozen_stages).
    #[must_use]
    pub fn with_frozen_stages(self, frozen_stages: usize) -> Self {
        Self {
            frozen_stages,
            ..self
        }
    }

    /// Channels of the outputs of the four stages, C2 to C5.
    pub fn stage_channels(&self) -> [usize; 4] {
        [1, 2, 4, 8].map(|factor| factor * self.width * self.depth.expansion())
    }

    fn stage(&self, index: usize, channels_in: usize, stride: usize, device: &Device) -> Stage {
        let channels_out = self.stage_channels()[index];
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

impl BackboneConfig for ResNetConfig {
    type Backbone = ResNet;

    /// C3, C4 and C5, at the strides 8, 16 and 32.
    fn features(&self) -> Vec<FeatureMap> {
        let [_, c3, c4, c5] = self.stage_channels();
        [(8, c3), (16, c4), (32, c5)]
            .map(|(stride, channels)| FeatureMap { stride, channels })
            .into()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::ensure(
            (1..=8192).contains(&self.width),
            "width",
            self.width,
            "from 1 to 8192",
        )?;
        ConfigError::ensure(
            self.frozen_stages <= 5,
            "frozen_stages",
            self.frozen_stages,
            "at most 5 (stem and four stages)",
        )?;
        let epsilon = self.norm_epsilon;
        ConfigError::ensure(
            epsilon.is_finite()
                && (epsilon > 0.0 || epsilon == 0.0 && self.norm == NormKind::Frozen),
            "norm_epsilon",
            epsilon,
            "positive and finite, or 0 for a frozen normalization",
        )
    }

    /// Builds the network with He-normal convolutions (fan out).
    fn init(&self, device: &Device) -> ResNet {
        let is_frozen = |stage| stage < self.frozen_stages;
        let stem = ConvNorm::new(self, [3, self.width], 7, 2, device);
        let mut channels = self.width;
        let stages = std::array::from_fn(|index| {
            let stride = if index == 0 { 1 } else { 2 };
            let stage = self.stage(index, channels, stride, device);
            channels = self.stage_channels()[index];
            match is_frozen(index + 1) {
                true => stage.freeze(),
                false => stage,
            }
        });
        ResNet {
            stem: match is_frozen(0) {
                true => stem.freeze(),
                false => stem,
            },
            pool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            stages,
        }
    }
}

/// ResNet without its classifier. Built by [`ResNetConfig`].
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    pool: MaxPool2d,
    stages: [Stage; 4],
}

impl ResNet {
    /// The backbone as a ResNet, if it is one.
    pub(crate) fn of<B: Backbone>(backbone: &B) -> Option<&Self> {
        (backbone as &dyn Any).downcast_ref()
    }

    /// How the computation differs from that of torchvision's ResNet.
    pub(crate) fn differences_from_torchvision(&self) -> Vec<&'static str> {
        let mut differences = Vec::new();
        if !matches!(&self.stem.norm, Norm::Batch(norm) if norm.epsilon == 1e-5) {
            differences.push("its backbone does not use batch norm with an epsilon of 1e-5");
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

    /// The first convolution, which ReLU follows.
    pub fn stem(&self) -> &ConvNorm {
        &self.stem
    }

    /// The pooling after the stem.
    pub fn pool(&self) -> &MaxPool2d {
        &self.pool
    }

    /// The blocks of each of the four stages.
    pub fn stages(&self) -> [&[Block]; 4] {
        self.stages.each_ref().map(|stage| stage.blocks.as_slice())
    }

    /// Returns the outputs of all four stages, C2 to C5.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, of any size
    /// - outputs: `[batch, channels, ⌈height/s⌉, ⌈width/s⌉]` at the strides s = 4, 8, 16,
    ///   32, with [`ResNetConfig::stage_channels`]
    pub fn forward_stages(&self, images: Tensor<4>) -> [Tensor<4>; 4] {
        let mut features = max_pool2d(&self.pool, self.stem.forward(images, Activation::Relu));
        self.stages.each_ref().map(|stage| {
            let [next, output] = fork(stage.forward(features.clone()));
            features = next;
            output
        })
    }
}

impl Backbone for ResNet {
    /// Extracts C3, C4 and C5.
    fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let [_, c3, c4, c5] = self.forward_stages(images);
        vec![c3, c4, c5]
    }

    /// The stem and the four stages of blocks.
    fn stage_prefixes(&self) -> Vec<String> {
        let blocks = (0..self.stages.len()).map(|index| format!("stages.{index}."));
        ["stem.".to_owned()].into_iter().chain(blocks).collect()
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

/// A residual block: two (basic) or three (bottleneck) convolutions and a shortcut, which
/// is a projection if the shape changes, else the identity.
#[derive(Module, Debug)]
pub struct Block {
    convs: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

impl Block {
    /// The two or three convolutions. ReLU follows each but the last, and the sum with the shortcut.
    pub fn convs(&self) -> &[ConvNorm] {
        &self.convs
    }

    /// The projection of the shortcut, or `None` if it is the identity.
    pub fn shortcut(&self) -> Option<&ConvNorm> {
        self.shortcut.as_ref()
    }

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
        let Some((last, first)) = self.convs.split_last() else {
            return input;
        };
        let (input, shortcut) = match &self.shortcut {
            Some(projection) => {
                let [input, projected] = fork(input);
                let shortcut = projection.forward(projected, Activation::None);
                (input, Shortcut::from(shortcut))
            }
            None => branch(input),
        };
        let features = (first.iter()).fold(input, |features, conv| {
            conv.forward(features, Activation::Relu)
        });
        last.forward(features, Activation::AddRelu(Box::new(shortcut)))
    }
}

/// What follows a convolution and its normalization.
enum Activation {
    None,
    Relu,
    /// The sum with the shortcut, and ReLU.
    AddRelu(Box<Shortcut>),
}

impl Activation {
    /// What follows a convolution: the normalization, and this.
    fn apply_after(self, norm: &Norm, features: Tensor<4>) -> Tensor<4> {
        match self {
            Self::None => norm.forward(features),
            Self::Relu => norm.forward_relu(features),
            Self::AddRelu(shortcut) => shortcut.add_relu(norm.forward(features)),
        }
    }

    /// Makes it a part of a convolution, or returns the shortcut that is left to add.
    fn move_into(self, epilogue: &mut Epilogue) -> Option<Box<Shortcut>> {
        match self {
            Self::None => return None,
            Self::Relu => {}
            Self::AddRelu(shortcut) => match shortcut.tensor() {
                Some(addend) => epilogue.addend = Some(addend),
                None => return Some(shortcut),
            },
        }
        epilogue.relu = true;
        None
    }
}

/// A convolution and its normalization.
#[derive(Module, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: Norm,
}

impl ConvNorm {
    /// The convolution.
    pub fn conv(&self) -> &Conv2d {
        &self.conv
    }

    /// The normalization.
    pub fn norm(&self) -> &Norm {
        &self.norm
    }

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

    fn forward(&self, input: Tensor<4>, activation: Activation) -> Tensor<4> {
        let folded = match input.dtype() {
            DType::F32 => self.norm.scale_and_shift(&input.device()),
            // Scaled weights would be rounded to 16 bits; the normalization is not.
            _ => None,
        };
        let Some([scale, shift]) = folded else {
            return activation.apply_after(&self.norm, convolve(&self.conv, input));
        };
        let mut epilogue = Epilogue {
            scale: Some(scale),
            shift: Some(shift),
            ..Epilogue::default()
        };
        let shortcut = activation.move_into(&mut epilogue);
        let output = convolve_fused(&self.conv, epilogue, input);
        match shortcut {
            Some(shortcut) => shortcut.add_relu(output),
            None => output,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torchvision's parameter counts less those of the fc layer (512 · 1000 + 1000, or
    /// 2048 · 1000 + 1000), plus the running statistics, which Burn counts and PyTorch does
    /// not: two values per channel of every batch norm.
    #[test]
    fn parameter_counts_match_the_published_models() {
        let device = Device::flex();
        for (depth, published, fc, norm_channels) in [
            (ResNetDepth::ResNet18, 11_689_512, 513_000, 4_800),
            (ResNetDepth::ResNet34, 21_797_672, 513_000, 8_512),
            (ResNetDepth::ResNet50, 25_557_032, 2_049_000, 26_560),
            (ResNetDepth::ResNet101, 44_549_160, 2_049_000, 52_672),
        ] {
            let count = ResNetConfig::new(depth).init(&device).num_params();
            assert_eq!(count, published - fc + 2 * norm_channels, "{depth:?}");
        }
    }

    #[test]
    fn stages_round_odd_sizes_up() {
        let device = Device::flex();
        let model = ResNetConfig::new(ResNetDepth::ResNet18)
            .init(&device)
            .valid();
        let outputs = model.forward_stages(Tensor::zeros([1, 3, 75, 50], &device));
        assert_eq!(
            outputs.map(|map| map.dims()),
            [
                [1, 64, 19, 13],
                [1, 128, 10, 7],
                [1, 256, 5, 4],
                [1, 512, 3, 2]
            ]
        );
    }

    #[test]
    fn frozen_stages_have_no_gradient() {
        let device = Device::flex().autodiff();
        let model = ResNetConfig::new(ResNetDepth::ResNet18)
            .with_frozen_stages(2)
            .init(&device);
        let [.., c5] = model.forward_stages(Tensor::ones([1, 3, 32, 32], &device));
        let grads = c5.sum().backward();
        let has_gradient = |conv: &ConvNorm| conv.conv.weight.val().grad(&grads).is_some();
        assert!(!has_gradient(&model.stem));
        assert!(!has_gradient(&model.stages[0].blocks[0].convs[0]));
        assert!(has_gradient(&model.stages[1].blocks[0].convs[0]));
    }
}
