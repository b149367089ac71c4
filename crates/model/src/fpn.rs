//! Feature pyramid network (Lin et al., 2017) with the extra coarse levels of RetinaNet and
//! FCOS.

use burn::{
    module::Module,
    nn::{Initializer, conv::Conv2d},
    tensor::{Device, Tensor},
};
use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use crate::{
    backbone::FeatureMap,
    kernels::{add_upsampled, fork, relu},
    layers::conv_with_zero_bias,
    mixed_precision::convolve,
};

/// The map from which the first extra level is computed. The names are those of the maps
/// over a ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExtraLevelsFrom {
    /// The coarsest level of the pyramid, P5 (FCOS).
    P5,
    /// The coarsest feature map of the backbone, C5 (RetinaNet).
    C5,
}

/// Configuration of an [`Fpn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FpnConfig {
    /// Channels of every level.
    pub channels: usize,
    /// How many levels follow those of the backbone's feature maps, each of twice the
    /// stride of the level before it. FCOS has two, P6 and P7.
    #[serde(default = "two")]
    pub extra_levels: usize,
    /// Source of the first extra level.
    pub extra_levels_from: ExtraLevelsFrom,
}

fn two() -> usize {
    2
}

impl FpnConfig {
    /// FCOS's pyramid with levels of `channels`: two extra levels, from P5.
    pub fn new(channels: usize) -> Self {
        Self {
            channels,
            extra_levels: 2,
            extra_levels_from: ExtraLevelsFrom::P5,
        }
    }

    /// Sets [`channels`](Self::channels).
    #[must_use]
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// Sets [`extra_levels`](Self::extra_levels).
    #[must_use]
    pub fn with_extra_levels(self, extra_levels: usize) -> Self {
        Self {
            extra_levels,
            ..self
        }
    }

    /// Sets [`extra_levels_from`](Self::extra_levels_from).
    #[must_use]
    pub fn with_extra_levels_from(self, extra_levels_from: ExtraLevelsFrom) -> Self {
        Self {
            extra_levels_from,
            ..self
        }
    }

    /// Strides of the levels over `features`: those of the features, then each twice the
    /// one before it.
    pub fn strides(&self, features: &[FeatureMap]) -> Vec<usize> {
        let strides = features.iter().map(|map| map.stride);
        let coarsest = features.last().map(|map| map.stride);
        let extra = std::iter::successors(coarsest, |stride| Some(stride.saturating_mul(2)));
        strides
            .chain(extra.skip(1).take(self.extra_levels))
            .collect()
    }

    /// Checks every value on which building the pyramid depends.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::ensure(
            (1..=8192).contains(&self.channels),
            "channels",
            self.channels,
            "from 1 to 8192",
        )?;
        ConfigError::ensure(
            self.extra_levels <= 8,
            "extra_levels",
            self.extra_levels,
            "at most 8",
        )
    }

    /// Builds the pyramid over feature maps of `in_channels`, from fine to coarse, with
    /// Kaiming-uniform (a = 1) weights and zero biases.
    pub fn init(&self, in_channels: &[usize], device: &Device) -> Fpn {
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
        let extra_channels = |level| match (level, self.extra_levels_from, in_channels) {
            (0, ExtraLevelsFrom::C5, [.., coarsest]) => *coarsest,
            _ => self.channels,
        };
        Fpn {
            lateral: in_channels
                .iter()
                .map(|&channels| conv(channels, 1, 1))
                .collect(),
            output: in_channels
                .iter()
                .map(|_| conv(self.channels, 3, 1))
                .collect(),
            extra: (0..self.extra_levels)
                .map(|level| conv(extra_channels(level), 3, 2))
                .collect(),
            extra_levels_from: self.extra_levels_from,
        }
    }
}

/// A feature pyramid: a level for each feature map of the backbone and extra coarse
/// levels. Built by [`FpnConfig::init`].
#[derive(Module, Debug)]
pub struct Fpn {
    lateral: Vec<Conv2d>,
    output: Vec<Conv2d>,
    extra: Vec<Conv2d>,
    #[module(skip)]
    extra_levels_from: ExtraLevelsFrom,
}

impl Fpn {
    /// How the computation differs from that of torchvision's FCOS.
    pub(crate) fn differences_from_torchvision(&self) -> Vec<&'static str> {
        let mut differences = Vec::new();
        if self.extra.len() != 2 {
            differences.push("its pyramid does not have two extra levels");
        }
        if self.extra_levels_from != ExtraLevelsFrom::P5 {
            differences.push("its P6 is computed from C5");
        }
        differences
    }

    /// The 1×1 convolutions of the feature maps, from fine to coarse.
    pub fn lateral(&self) -> &[Conv2d] {
        &self.lateral
    }

    /// The 3×3 convolutions after merging, from fine to coarse.
    pub fn output(&self) -> &[Conv2d] {
        &self.output
    }

    /// The strided convolutions of the extra levels, from fine to coarse.
    pub fn extra(&self) -> &[Conv2d] {
        &self.extra
    }

    /// The map from which the first extra level is computed.
    pub fn extra_levels_from(&self) -> ExtraLevelsFrom {
        self.extra_levels_from
    }

    /// Merges the feature maps top-down and adds the extra levels.
    ///
    /// # Shapes
    ///
    /// - `features`: `[batch, channels, height, width]` each, from fine to coarse, as many
    ///   as the pyramid was built for
    /// - output: `[batch, channels, height, width]` each, with the size of each feature map,
    ///   then each extra level half the size of the level before it, rounded up
    ///
    /// # Panics
    ///
    /// If the pyramid was built for another number of feature maps.
    pub fn forward(&self, features: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        assert_eq!(
            features.len(),
            self.lateral.len(),
            "feature maps of the pyramid"
        );
        let coarsest_feature = features.last().cloned();
        let laterals = features.into_iter().zip(&self.lateral).rev();
        let mut merged: Vec<Tensor<4>> = Vec::with_capacity(self.lateral.len());
        let mut coarser: Option<Tensor<4>> = None;
        for (feature, lateral) in laterals {
            let lateral = convolve(lateral, feature);
            let map = match coarser.take() {
                // The finer map may have an odd size: doubling would exceed it.
                Some(coarser) => add_upsampled(lateral, coarser),
                None => lateral,
            };
            if merged.len() + 1 == self.lateral.len() {
                merged.push(map);
            } else {
                let [map, next] = fork(map);
                merged.push(map);
                coarser = Some(next);
            }
        }
        let mut levels: Vec<Tensor<4>> = merged
            .into_iter()
            .rev()
            .zip(&self.output)
            .map(|(feature, output)| convolve(output, feature))
            .collect();
        let first_source = match self.extra_levels_from {
            ExtraLevelsFrom::P5 => levels.last().cloned(),
            ExtraLevelsFrom::C5 => coarsest_feature,
        };
        for (index, conv) in self.extra.iter().enumerate() {
            let source = match index {
                0 => first_source.clone(),
                _ => levels.last().cloned().map(relu),
            };
            levels.extend(source.map(|source| convolve(conv, source)));
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(maps: &[(usize, usize)]) -> Vec<FeatureMap> {
        maps.iter()
            .map(|&(stride, channels)| FeatureMap { stride, channels })
            .collect()
    }

    #[test]
    fn every_level_has_the_size_of_its_stride() {
        let device = Device::flex();
        for maps in [
            &[(8, 8), (16, 16), (32, 32)][..],
            &[(4, 6), (16, 3)],
            &[(16, 5)],
        ] {
            for extra_levels in [0, 1, 2, 3] {
                for extra_levels_from in [ExtraLevelsFrom::P5, ExtraLevelsFrom::C5] {
                    let config = FpnConfig::new(4)
                        .with_extra_levels(extra_levels)
                        .with_extra_levels_from(extra_levels_from);
                    let size = |stride: usize| [75, 50].map(|side: usize| side.div_ceil(stride));
                    let inputs = maps
                        .iter()
                        .map(|&(stride, channels)| {
                            let [height, width] = size(stride);
                            Tensor::ones([2, channels, height, width], &device)
                        })
                        .collect();
                    let channels: Vec<usize> = maps.iter().map(|map| map.1).collect();
                    let levels = config.init(&channels, &device).forward(inputs);
                    let strides = config.strides(&features(maps));
                    assert_eq!(strides.len(), maps.len() + extra_levels);
                    let expected: Vec<_> = strides
                        .iter()
                        .map(|&stride| {
                            let [height, width] = size(stride);
                            [2, 4, height, width]
                        })
                        .collect();
                    let found: Vec<_> = levels.iter().map(Tensor::dims).collect();
                    assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn extra_levels_double_the_coarsest_stride() {
        let config = FpnConfig::new(4).with_extra_levels(3);
        let strides = config.strides(&features(&[(4, 1), (16, 1)]));
        assert_eq!(strides, [4, 16, 32, 64, 128]);
    }
}
