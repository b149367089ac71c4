//! Backbones: networks that extract feature maps from images.
//!
//! [`Fcos`](crate::Fcos) runs on any [`Backbone`]; [`resnet`] is the one of the published
//! detectors. A backbone of your own is a module and the configuration that builds it:
//!
//! ```
//! use burn::{
//!     module::Module,
//!     nn::{PaddingConfig2d, conv::{Conv2d, Conv2dConfig}},
//!     tensor::{Device, Tensor, activation::relu},
//! };
//! use fcos_burn_model::{
//!     ConfigError, FcosConfig,
//!     backbone::{Backbone, BackboneConfig, FeatureMap},
//!     mixed_precision::convolve,
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Module, Debug)]
//! struct Strided {
//!     convs: Vec<Conv2d>,
//! }
//!
//! impl Backbone for Strided {
//!     fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
//!         let mut features = images;
//!         let mut maps = Vec::new();
//!         for conv in &self.convs {
//!             features = relu(convolve(conv, features));
//!             maps.push(features.clone());
//!         }
//!         maps.split_off(2)
//!     }
//! }
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! struct StridedConfig {
//!     width: usize,
//! }
//!
//! impl BackboneConfig for StridedConfig {
//!     type Backbone = Strided;
//!
//!     fn features(&self) -> Vec<FeatureMap> {
//!         [8, 16]
//!             .map(|stride| FeatureMap { stride, channels: stride * self.width })
//!             .into()
//!     }
//!
//!     fn validate(&self) -> Result<(), ConfigError> {
//!         match self.width {
//!             1..=4096 => Ok(()),
//!             width => Err(ConfigError::new("width", width, "from 1 to 4096")),
//!         }
//!     }
//!
//!     fn init(&self, device: &Device) -> Strided {
//!         let conv = |channels| {
//!             Conv2dConfig::new(channels, [3, 3])
//!                 .with_stride([2, 2])
//!                 .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
//!                 .init(device)
//!         };
//!         let channels = [3, 2 * self.width, 4 * self.width, 8 * self.width, 16 * self.width];
//!         Strided {
//!             convs: channels.windows(2).map(|pair| conv([pair[0], pair[1]])).collect(),
//!         }
//!     }
//! }
//!
//! let mut config = FcosConfig::small(3).with_backbone(StridedConfig { width: 2 });
//! // Two feature maps and two extra levels.
//! config.assignment.range_bounds = vec![48.0, 96.0, 192.0];
//! assert_eq!(config.strides(), [8, 16, 32, 64]);
//! let model = config.init(&Device::flex())?;
//! # let output = model.forward(Tensor::zeros([1, 3, 30, 40], &Device::flex()));
//! # assert_eq!(output.levels.len(), 4);
//! # Ok::<(), ConfigError>(())
//! ```

pub mod norm;
pub mod resnet;

use std::fmt;

use burn::{
    module::{Module, ModuleDisplay},
    tensor::{Device, Tensor},
};
use serde::{Serialize, de::DeserializeOwned};

use fcos_burn_loss::ConfigError;

/// The largest stride of a feature map in pixels.
const MAX_STRIDE: usize = 4096;

/// The most channels of a feature map.
const MAX_CHANNELS: usize = 1 << 20;

/// A network that extracts feature maps from images.
///
/// All parameters and running statistics are floating-point tensors: weight files hold no
/// others.
pub trait Backbone: Module + ModuleDisplay + Sync + 'static {
    /// Extracts the feature maps from which the pyramid is built, from fine to coarse.
    ///
    /// They are those of [`BackboneConfig::features`], in number, order, stride and
    /// channels; [`Fcos::forward`](crate::Fcos::forward) checks that. Images of any
    /// height and width have to be accepted, also such as no stride divides: layers that
    /// halve the resolution round up.
    ///
    /// Images are in 32 or 16 bits, parameters always in 32. Convolutions compute in the
    /// format of their input and normalization in 32 bits; the functions of
    /// [`mixed_precision`](crate::mixed_precision) do both.
    ///
    /// In training, and in inference on a CPU, this may run on a thread of a rayon pool, so it must not wait for
    /// another thread that needs the pool.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`
    /// - each map: `[batch, channels, ⌈height / stride⌉, ⌈width / stride⌉]`
    fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>>;

    /// What the names of the parameters of each stage start with, within the backbone, from the
    /// first stage to the last. A training run may give earlier stages a lower learning rate. By default
    /// the backbone is one stage.
    fn stage_prefixes(&self) -> Vec<String> {
        vec![String::new()]
    }
}

/// The configuration of a [`Backbone`], part of [`FcosConfig`](crate::FcosConfig) in code
/// and in JSON.
pub trait BackboneConfig:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The network that this configuration builds.
    type Backbone: Backbone;

    /// The feature maps that [`Backbone::forward`] returns: at least one, by strictly
    /// ascending stride. The pyramid has a level for each.
    fn features(&self) -> Vec<FeatureMap>;

    /// Checks every value on which [`features`](Self::features) and [`init`](Self::init)
    /// depend.
    ///
    /// # Errors
    ///
    /// The first invalid field, named relative to this configuration.
    fn validate(&self) -> Result<(), ConfigError>;

    /// Builds the network with freshly initialized weights on `device`. Called only on
    /// valid configurations.
    fn init(&self, device: &Device) -> Self::Backbone;
}

/// Resolution and depth of a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureMap {
    /// Distance in image pixels between neighboring cells of the map.
    pub stride: usize,
    /// Number of channels.
    pub channels: usize,
}

impl FeatureMap {
    /// Shape of this map for `batch` images of `[height, width]` pixels.
    fn dims(self, batch: usize, [height, width]: [usize; 2]) -> [usize; 4] {
        let cells = |side: usize| side.div_ceil(self.stride);
        [batch, self.channels, cells(height), cells(width)]
    }
}

/// Checks what [`BackboneConfig::features`] returned.
pub(crate) fn validate_features(features: &[FeatureMap]) -> Result<(), ConfigError> {
    let valid = !features.is_empty()
        && features.iter().all(|map| {
            (1..=MAX_STRIDE).contains(&map.stride) && (1..=MAX_CHANNELS).contains(&map.channels)
        })
        && features.is_sorted_by(|a, b| a.stride < b.stride);
    ConfigError::ensure(
        valid,
        "features",
        format!("{features:?}"),
        "at least one map, of ascending strides from 1 to 4096 and 1 to 2^20 channels",
    )
}

/// Checks that the `maps` of images of shape `images` are what the backbone's
/// configuration promised.
///
/// # Panics
///
/// If they are not.
pub(crate) fn check_maps(features: &[FeatureMap], maps: &[Tensor<4>], images: [usize; 4]) {
    let [batch, _, height, width] = images;
    let promised: Vec<[usize; 4]> = features
        .iter()
        .map(|map| map.dims(batch, [height, width]))
        .collect();
    let found: Vec<[usize; 4]> = maps.iter().map(Tensor::dims).collect();
    assert!(
        found == promised,
        "for images of shape {images:?}, the backbone returned maps of shapes {found:?}, \
         but its configuration promises {promised:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_need_ascending_strides_and_channels() {
        let maps = |maps: &[(usize, usize)]| -> Vec<FeatureMap> {
            maps.iter()
                .map(|&(stride, channels)| FeatureMap { stride, channels })
                .collect()
        };
        for valid in [&[(8, 1)][..], &[(1, 3), (3, 3), (32, 7)]] {
            assert_eq!(validate_features(&maps(valid)), Ok(()));
        }
        for invalid in [
            &[][..],
            &[(0, 8)],
            &[(8, 0)],
            &[(8, 8), (8, 8)],
            &[(16, 8), (8, 8)],
            &[(8, 8), (8192, 8)],
            &[(8, usize::MAX)],
        ] {
            assert!(validate_features(&maps(invalid)).is_err(), "{invalid:?}");
        }
    }

    #[test]
    #[should_panic(
        expected = "returned maps of shapes [[1, 4, 2, 3]], but its configuration \
                               promises [[1, 4, 2, 2]]"
    )]
    fn maps_of_another_size_are_refused() {
        let features = [FeatureMap {
            stride: 8,
            channels: 4,
        }];
        let maps = [Tensor::zeros([1, 4, 2, 3], &Device::flex())];
        check_maps(&features, &maps, [1, 3, 16, 16]);
    }
}
