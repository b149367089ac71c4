//! Feature pyramid network (Lin et al., 2017) with the two extra levels of
//! RetinaNet and FCOS.

use burn::{
    module::Module,
    nn::{
        Initializer, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{
        Device, Tensor,
        module::interpolate,
        ops::{InterpolateMode, InterpolateOptions},
    },
};
use serde::{Deserialize, Serialize};

use crate::{mixed_precision::convolve, operations::relu};

/// The map from which the level P6 is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtraLevelsFrom {
    /// From the pyramid's P5 (FCOS).
    P5,
    /// From the backbone's C5 (RetinaNet).
    C5,
}

/// Configuration of an [`Fpn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FpnConfig {
    /// Channels of every level.
    pub channels: usize,
    /// Source of P6 and P7.
    pub extra_levels_from: ExtraLevelsFrom,
}

impl FpnConfig {
    /// Builds the pyramid over features of `in_channels` (C3, C4, C5), with
    /// Kaiming-uniform (a = 1) weights and zero biases.
    pub fn init(&self, in_channels: [usize; 3], device: &Device) -> Fpn {
        let conv = |channels_in, kernel, stride| {
            conv_with_zero_bias(
                [channels_in, self.channels],
                kernel,
                stride,
                Initializer::KaimingUniform {
                    gain: 1.0,
                    fan_out_only: false,
                },
                device,
            )
        };
        let p6_channels = match self.extra_levels_from {
            ExtraLevelsFrom::P5 => self.channels,
            ExtraLevelsFrom::C5 => in_channels[2],
        };
        Fpn {
            lateral: in_channels.map(|channels| conv(channels, 1, 1)).into(),
            output: in_channels.map(|_| conv(self.channels, 3, 1)).into(),
            p6: conv(p6_channels, 3, 2),
            p7: conv(self.channels, 3, 2),
            extra_levels_from: self.extra_levels_from,
        }
    }
}

/// A convolution padded to keep the size at stride 1, whose bias starts at zero.
pub(crate) fn conv_with_zero_bias(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    initializer: Initializer,
    device: &Device,
) -> Conv2d {
    let padding = kernel / 2;
    let mut conv = Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(
            padding, padding, padding, padding,
        ))
        .with_initializer(initializer)
        .init(device);
    conv.bias = Some(Initializer::Zeros.init([channels[1]], device));
    conv
}

/// Feature pyramid P3–P7. Built by [`FpnConfig::init`].
#[derive(Module, Debug)]
pub struct Fpn {
    lateral: Vec<Conv2d>,
    output: Vec<Conv2d>,
    p6: Conv2d,
    p7: Conv2d,
    #[module(skip)]
    extra_levels_from: ExtraLevelsFrom,
}

impl Fpn {
    /// How the computation differs from that of torchvision's FCOS.
    pub(crate) fn unlike_torchvision(&self) -> Option<&'static str> {
        (self.extra_levels_from != ExtraLevelsFrom::P5).then_some("its P6 comes from C5")
    }

    /// Merges the features top-down and adds the two extra levels.
    ///
    /// # Shapes
    ///
    /// - `features`: C3, C4, C5 at the strides 8, 16, 32
    /// - output: P3 to P7, `[batch, channels, h, w]`; P3–P5 have the sizes of
    ///   C3–C5, P6 and P7 half of the level before, rounded up
    pub fn forward(&self, features: [Tensor<4>; 3]) -> Vec<Tensor<4>> {
        let c5 = features[2].clone();
        let mut inner: Vec<Tensor<4>> = features
            .into_iter()
            .zip(&self.lateral)
            .map(|(feature, lateral)| convolve(lateral, feature))
            .collect();
        for level in (1..inner.len()).rev() {
            let [_, _, height, width] = inner[level - 1].dims();
            // The finer map may have an odd size, so the target size is given,
            // not a factor of two.
            let upsampled = interpolate(
                inner[level].clone(),
                InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([height, width]),
            );
            inner[level - 1] = inner[level - 1].clone() + upsampled;
        }
        let mut levels: Vec<Tensor<4>> = inner
            .into_iter()
            .zip(&self.output)
            .map(|(feature, output)| convolve(output, feature))
            .collect();
        let source = match self.extra_levels_from {
            ExtraLevelsFrom::P5 => levels[2].clone(),
            ExtraLevelsFrom::C5 => c5,
        };
        let p6 = convolve(&self.p6, source);
        let p7 = convolve(&self.p7, relu(p6.clone()));
        levels.extend([p6, p7]);
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyramid::level_sizes;

    #[test]
    fn odd_sizes_give_the_level_sizes_of_the_pyramid() {
        let device = Device::flex();
        for extra_levels_from in [ExtraLevelsFrom::P5, ExtraLevelsFrom::C5] {
            let fpn = FpnConfig {
                channels: 4,
                extra_levels_from,
            }
            .init([8, 16, 32], &device);
            let sizes = level_sizes([75, 50]);
            let feature = |level: usize, channels| {
                let [height, width] = sizes[level];
                Tensor::ones([2, channels, height, width], &device)
            };
            let levels = fpn.forward([feature(0, 8), feature(1, 16), feature(2, 32)]);
            let found: Vec<_> = levels.iter().map(|l| [l.dims()[2], l.dims()[3]]).collect();
            assert_eq!(found, sizes);
            assert!(levels.iter().all(|l| l.dims()[1] == 4));
        }
    }
}
