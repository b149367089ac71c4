//! Normalisation layers of the backbone, as one type.

use burn::{
    module::Module,
    nn::{BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig},
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

use crate::{
    mixed_precision::in_f32,
    operations::{batch_norm_train, group_norm},
};

/// Which normalisation the backbone uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Batch normalisation with fixed statistics and fixed affine parameters, as
    /// detectors use it that start from a pretrained backbone.
    Frozen,
    /// Batch normalisation trained with the statistics of the batch.
    Batch,
    /// Group normalisation (Wu & He, 2018) with 32 groups, or the largest number
    /// below that which divides the channels.
    Group,
}

/// A normalisation layer over `[batch, channels, height, width]`.
///
/// A frozen batch norm is a [`BatchNorm`] whose parameters take no gradient and
/// whose training flag is off, so that it runs on its stored statistics.
#[derive(Module, Debug)]
pub enum Norm {
    /// Batch normalisation, frozen or trained.
    Batch(BatchNorm),
    /// Group normalisation.
    Group(GroupNorm),
}

impl NormKind {
    pub(crate) fn init(self, channels: usize, epsilon: f64, device: &Device) -> Norm {
        // The layer's own configuration refuses 0, which is right for statistics of a
        // batch, but not for stored ones.
        let batch = || BatchNorm {
            epsilon,
            ..BatchNormConfig::new(channels).init(device)
        };
        match self {
            Self::Frozen => Norm::Batch(batch().freeze()),
            Self::Batch => Norm::Batch(batch()),
            Self::Group => Norm::Group(
                GroupNormConfig::new(group_count(channels), channels)
                    .with_epsilon(epsilon)
                    .init(device),
            ),
        }
    }
}

/// The number of groups for `channels`: 32, or the largest divisor of `channels`
/// below that.
pub(crate) fn group_count(channels: usize) -> usize {
    (1..=channels.min(32))
        .rev()
        .find(|groups| channels.is_multiple_of(*groups))
        .unwrap_or(1)
}

impl Norm {
    /// Normalises `input`, of shape `[batch, channels, height, width]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        in_f32(input, |input| match self {
            Self::Batch(norm) if trains(norm, &input.device()) => train(norm, input),
            Self::Batch(norm) => norm.forward(input),
            Self::Group(norm) => group_norm(norm, input),
        })
    }

    /// The scale and shift of each channel that this layer comes down to on `device`; `None`
    /// where it takes the statistics of its input.
    pub(crate) fn scale_and_shift(&self, device: &Device) -> Option<[Tensor<1>; 2]> {
        match self {
            Self::Batch(norm) if !trains(norm, device) => {
                let [mean, variance] = [&norm.running_mean, &norm.running_var]
                    .map(|statistic| statistic.value().to_device(device));
                let scale = norm.gamma.val() / variance.add_scalar(norm.epsilon).sqrt();
                let shift = norm.beta.val() - mean * scale.clone();
                Some([scale, shift])
            }
            _ => None,
        }
    }
}

/// Whether a layer takes the statistics of its input on `device`.
fn trains(norm: &BatchNorm, device: &Device) -> bool {
    norm.training.is_enabled() && device.is_autodiff()
}

/// [`BatchNorm::forward`] in training.
fn train(norm: &BatchNorm, input: Tensor<4>) -> Tensor<4> {
    let device = input.device();
    let (output, mean, variance) =
        batch_norm_train(input, norm.gamma.val(), norm.beta.val(), norm.epsilon);
    for (state, found) in [(&norm.running_mean, mean), (&norm.running_var, variance)] {
        let kept = state
            .value_sync()
            .to_device(&device)
            .mul_scalar(1.0 - norm.momentum);
        state.update((kept + found.detach().mul_scalar(norm.momentum)).detach());
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_divide_the_channels() {
        assert_eq!(group_count(256), 32);
        assert_eq!(group_count(64), 32);
        assert_eq!(group_count(48), 24);
        assert_eq!(group_count(8), 8);
        assert_eq!(group_count(97), 1);
    }
}
