//! Layers that pyramid, head and backbone have in common.

use burn::{
    nn::{
        GroupNormConfig, Initializer, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::Device,
};

/// A convolution with a bias of zeros, padded so that stride 1 keeps the size.
///
/// `channels` are those of input and output.
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

/// A group normalization of 32 groups, or of the largest number below that which divides
/// `channels`.
pub(crate) fn group_norm_config(channels: usize) -> GroupNormConfig {
    GroupNormConfig::new(group_count(channels), channels)
}

fn group_count(channels: usize) -> usize {
    (1..=channels.min(32))
        .rev()
        .find(|groups| channels.is_multiple_of(*groups))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_groups_divides_the_channels() {
        for (channels, groups) in [(256, 32), (64, 32), (48, 24), (8, 8), (97, 1)] {
            assert_eq!(group_count(channels), groups, "{channels} channels");
        }
    }
}
