//! Normalization layers of backbones.

use burn::{
    module::Module,
    nn::{BatchNorm, BatchNormConfig, GroupNorm},
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

use crate::{
    kernels::{batch_norm_relu_train, batch_norm_train, group_norm, group_norm_relu, relu},
    layers::group_norm_config,
    mixed_precision::in_f32,
};

/// The kind of normalization that a backbone uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NormKind {
    /// Batch normalization with frozen statistics and affine parameters, as usual for
    /// detectors that start from a pretrained backbone.
    Frozen,
    /// Batch normalization, trained with the statistics of the batch.
    Batch,
    /// Group normalization (Wu & He, 2018) with 32 groups, or the largest number below
    /// that which divides the channels.
    Group,
}

impl NormKind {
    /// Builds a layer for maps of `channels`. `epsilon` is added to variances; it has to
    /// be positive, or may be 0 if frozen.
    pub fn init(self, channels: usize, epsilon: f64, device: &Device) -> Norm {
        // Burn's configuration refuses an epsilon of 0, which is fine for stored
        // statistics.
        let batch = || BatchNorm {
            epsilon,
            ..BatchNormConfig::new(channels).init(device)
        };
        match self {
            Self::Frozen => Norm::Batch(batch().freeze()),
            Self::Batch => Norm::Batch(batch()),
            Self::Group => Norm::Group(
                group_norm_config(channels)
                    .with_epsilon(epsilon)
                    .init(device),
            ),
        }
    }
}

/// A normalization layer. Built by [`NormKind::init`].
///
/// A frozen batch norm is a [`BatchNorm`] whose parameters require no gradient and whose
/// training flag is off, so that it uses its stored statistics.
#[derive(Module, Debug)]
#[non_exhaustive]
pub enum Norm {
    /// Batch normalization, frozen or trained.
    Batch(BatchNorm),
    /// Group normalization.
    Group(GroupNorm),
}

impl Norm {
    /// Normalizes each channel, in 32 bits.
    ///
    /// # Shapes
    ///
    /// - `input` and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        in_f32(input, |input| match self {
            Self::Batch(norm) if uses_batch_statistics(norm, &input.device()) => {
                forward_train(norm, input, batch_norm_train)
            }
            Self::Batch(norm) => norm.forward(input),
            Self::Group(norm) => group_norm(norm, input),
        })
    }

    /// [`forward`](Self::forward), followed by ReLU.
    ///
    /// # Shapes
    ///
    /// - `input` and output: `[batch, channels, height, width]`
    pub fn forward_relu(&self, input: Tensor<4>) -> Tensor<4> {
        in_f32(input, |input| match self {
            Self::Batch(norm) if uses_batch_statistics(norm, &input.device()) => {
                forward_train(norm, input, batch_norm_relu_train)
            }
            Self::Batch(norm) => relu(norm.forward(input)),
            Self::Group(norm) => group_norm_relu(norm, input),
        })
    }

    /// The scale and shift per channel to which this layer amounts on `device`; `None` if
    /// it uses the statistics of its input.
    pub fn scale_and_shift(&self, device: &Device) -> Option<[Tensor<1>; 2]> {
        match self {
            Self::Batch(norm) if !uses_batch_statistics(norm, device) => {
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

/// Whether a layer on `device` normalizes by the statistics of its input.
fn uses_batch_statistics(norm: &BatchNorm, device: &Device) -> bool {
    norm.training.is_enabled() && device.is_autodiff()
}

/// [`BatchNorm::forward`] in training: normalizes by the batch's statistics, as `normalize` does,
/// and updates the running ones.
fn forward_train(
    norm: &BatchNorm,
    input: Tensor<4>,
    normalize: fn(Tensor<4>, Tensor<1>, Tensor<1>, f64) -> (Tensor<4>, Tensor<1>, Tensor<1>),
) -> Tensor<4> {
    let device = input.device();
    let (output, mean, variance) =
        normalize(input, norm.gamma.val(), norm.beta.val(), norm.epsilon);
    for (state, found) in [(&norm.running_mean, mean), (&norm.running_var, variance)] {
        let value = state.value_sync();
        let home = value.device();
        let kept = value.to_device(&device).mul_scalar(1.0 - norm.momentum);
        let updated = (kept + found.detach().mul_scalar(norm.momentum)).detach();
        // The state averages the values of all devices. They have to be on one machine: servers
        // need not reach each other.
        state.update(updated.to_device(&home));
    }
    output
}
