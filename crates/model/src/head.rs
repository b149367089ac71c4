//! The FCOS head: a classification and a regression tower, shared by all levels
//! (Tian et al., 2019, section 3).

use burn::{
    module::{Module, Param},
    nn::{GroupNorm, GroupNormConfig, Initializer, conv::Conv2d},
    tensor::{Device, FloatDType, Tensor},
};
use serde::{Deserialize, Serialize};

use crate::{
    fpn::conv_with_zero_bias,
    mixed_precision::{convolve, in_f32},
    norm::group_count,
    operations::{group_norm, relu},
    pyramid::STRIDES,
};

/// How the regression output `x` of a level with stride `s` and learnt scale `a` (1
/// where none is learnt)
/// becomes a distance in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegressionForm {
    /// `exp(a·x)` (FCOS, section 3.1). The exponent is limited to
    /// [`MAX_EXPONENT`], so that no output overflows.
    Exp,
    /// `max(a·x, 0)·s`, distances normalised by the stride (FCOS's
    /// `norm_reg_targets`; torchvision).
    NormalizedRelu,
    /// `exp(a·x)·s`, with the exponent limited likewise. Unlike the two above it
    /// starts with boxes of the size of their level's cells, whose overlap has a
    /// gradient from the first step on.
    NormalizedExp,
}

/// Largest exponent of the exponential [`RegressionForm`]s: e^12 is about 163,000,
/// as pixels far above any image side, and a box area of such sides, times strides,
/// is far below f32's limit.
pub const MAX_EXPONENT: f32 = 12.0;

/// On which tower the centre-ness branch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CenternessBranch {
    /// On the classification tower, as first published.
    Classification,
    /// On the regression tower (FCOS's `centerness_on_reg`; torchvision).
    Regression,
}

/// How the weights of the towers' convolutions start. Those of the predictors are N(0, 0.01²)
/// in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TowerInit {
    /// N(0, 0.01²), as in FCOS, which trains with SGD.
    #[default]
    Fcos,
    /// N(0, 2 / fan-in) (He et al., 2015). It suits Adam, whose step size is close to the
    /// learning rate whatever the gradient: with [`Fcos`](Self::Fcos), a rate of 0.002 changes
    /// weights of about 0.01 by a fifth per step, and classes are learned late.
    Kaiming,
}

/// Configuration of an [`FcosHead`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FcosHeadConfig {
    /// 3×3 convolutions with group normalisation and ReLU in each tower.
    pub tower_depth: usize,
    /// Initial weights of these convolutions.
    #[serde(default)]
    pub tower_init: TowerInit,
    /// Form of the distances.
    pub regression: RegressionForm,
    /// Whether a level's regression output is multiplied by a factor that is learnt
    /// for the level (FCOS; torchvision has none).
    pub learnt_scales: bool,
    /// The centre-ness branch, if there is one.
    pub centerness: Option<CenternessBranch>,
    /// Probability that every class starts with at every location (focal loss
    /// paper, section 4.1), in (0, 1).
    pub prior: f64,
}

impl FcosHeadConfig {
    /// Builds the head over levels of `channels`.
    pub fn init(&self, channels: usize, num_classes: usize, device: &Device) -> FcosHead {
        let conv = |channels_out| head_conv([channels, channels_out], NORMAL, device);
        let tower_init = match self.tower_init {
            TowerInit::Fcos => NORMAL,
            TowerInit::Kaiming => Initializer::KaimingNormal {
                gain: std::f64::consts::SQRT_2,
                fan_out_only: false,
            },
        };
        let tower = || -> Vec<TowerLayer> {
            (0..self.tower_depth)
                .map(|_| TowerLayer {
                    conv: head_conv([channels; 2], tower_init.clone(), device),
                    norm: GroupNormConfig::new(group_count(channels), channels).init(device),
                })
                .collect()
        };
        let mut class_logits = conv(num_classes);
        class_logits.bias = Some(
            Initializer::Constant {
                value: -((1.0 - self.prior) / self.prior).ln(),
            }
            .init([num_classes], device),
        );
        FcosHead {
            class_tower: tower(),
            box_tower: tower(),
            class_logits,
            distances: conv(4),
            centerness: self.centerness.map(|_| conv(1)),
            scales: STRIDES
                .iter()
                .filter(|_| self.learnt_scales)
                .map(|_| Initializer::Ones.init([1], device))
                .collect(),
            regression: self.regression,
            centerness_branch: self.centerness,
        }
    }
}

const NORMAL: Initializer = Initializer::Normal {
    mean: 0.0,
    std: 0.01,
};

fn head_conv(channels: [usize; 2], initializer: Initializer, device: &Device) -> Conv2d {
    conv_with_zero_bias(channels, 3, 1, initializer, device)
}

/// The two towers and their predictors. Built by [`FcosHeadConfig::init`].
#[derive(Module, Debug)]
pub struct FcosHead {
    class_tower: Vec<TowerLayer>,
    box_tower: Vec<TowerLayer>,
    class_logits: Conv2d,
    distances: Conv2d,
    centerness: Option<Conv2d>,
    scales: Vec<Param<Tensor<1>>>,
    #[module(skip)]
    regression: RegressionForm,
    #[module(skip)]
    centerness_branch: Option<CenternessBranch>,
}

/// What the head predicts for one level of `[height, width]` locations, in 32 bits.
#[derive(Clone, Debug)]
pub struct LevelPrediction {
    /// Logits of the classes, `[batch, classes, height, width]`.
    pub class_logits: Tensor<4>,
    /// Distances left, top, right, bottom from the location to the box sides in
    /// pixels, none negative, `[batch, 4, height, width]`.
    pub distances: Tensor<4>,
    /// Logit of the centre-ness, `[batch, 1, height, width]`.
    pub centerness_logits: Option<Tensor<4>>,
}

impl FcosHead {
    /// How the computation differs from that of torchvision's FCOS.
    pub(crate) fn unlike_torchvision(&self) -> Vec<&'static str> {
        let groups = |layer: &TowerLayer| layer.norm.num_groups;
        let towers = || self.class_tower.iter().chain(&self.box_tower);
        [
            (!self.scales.is_empty(), "its levels have learnt scales"),
            (
                self.regression != RegressionForm::NormalizedRelu,
                "its distances are no ReLU times the stride",
            ),
            (
                self.centerness_branch != Some(CenternessBranch::Regression),
                "it has no centre-ness branch on the regression tower",
            ),
            (
                towers().any(|layer| groups(layer) != 32),
                "its towers have no 32 groups",
            ),
        ]
        .into_iter()
        .filter_map(|(differs, how)| differs.then_some(how))
        .collect()
    }

    /// Whether there is a centre-ness branch.
    pub fn predicts_centerness(&self) -> bool {
        self.centerness.is_some()
    }

    /// Predicts every level.
    ///
    /// # Shapes
    ///
    /// - `levels`: P3 to P7, `[batch, channels, height, width]` each
    pub fn forward(&self, levels: Vec<Tensor<4>>) -> Vec<LevelPrediction> {
        levels
            .into_iter()
            .enumerate()
            .map(|(level, features)| self.forward_level(level, features))
            .collect()
    }

    fn forward_level(&self, level: usize, features: Tensor<4>) -> LevelPrediction {
        // The last layers compute in 32 bits: an exponent or a logit of 16 has an error
        // that boxes and scores would show.
        let tower = |tower, features| run_tower(tower, features).cast(FloatDType::F32);
        let class_features = tower(&self.class_tower, features.clone());
        let box_features = tower(&self.box_tower, features);
        let centerness_logits = self.centerness.as_ref().map(|conv| {
            let features = match self.centerness_branch {
                Some(CenternessBranch::Regression) => &box_features,
                _ => &class_features,
            };
            convolve(conv, features.clone())
        });
        let distances = convolve(&self.distances, box_features);
        let scaled = match self.scales.get(level) {
            Some(scale) => distances * scale.val().reshape([1, 1, 1, 1]),
            None => distances,
        };
        let stride = STRIDES[level] as f32;
        LevelPrediction {
            class_logits: convolve(&self.class_logits, class_features),
            distances: match self.regression {
                RegressionForm::Exp => scaled.clamp_max(MAX_EXPONENT).exp(),
                RegressionForm::NormalizedRelu => relu(scaled).mul_scalar(stride),
                RegressionForm::NormalizedExp => {
                    scaled.clamp_max(MAX_EXPONENT).exp().mul_scalar(stride)
                }
            },
            centerness_logits,
        }
    }
}

fn run_tower(tower: &[TowerLayer], features: Tensor<4>) -> Tensor<4> {
    tower
        .iter()
        .fold(features, |features, layer| layer.forward(features))
}

#[derive(Module, Debug)]
struct TowerLayer {
    conv: Conv2d,
    norm: GroupNorm,
}

impl TowerLayer {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let features = convolve(&self.conv, input);
        relu(in_f32(features, |features| {
            group_norm(&self.norm, features)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyramid::level_sizes;

    fn config(regression: RegressionForm) -> FcosHeadConfig {
        FcosHeadConfig {
            tower_depth: 1,
            tower_init: TowerInit::Fcos,
            regression,
            learnt_scales: true,
            centerness: Some(CenternessBranch::Regression),
            prior: 0.01,
        }
    }

    fn levels(device: &Device) -> Vec<Tensor<4>> {
        level_sizes([40, 24])
            .iter()
            .map(|&[height, width]| Tensor::ones([2, 8, height, width], device))
            .collect()
    }

    #[test]
    fn towers_start_as_configured_and_predictors_as_in_fcos() {
        let device = Device::flex();
        let deviation = |weight: &Param<Tensor<4>>| {
            let squares = weight.val().square().mean();
            squares.sqrt().into_scalar::<f32>()
        };
        // Of 9 · 32 inputs, 2 / 288 is the variance that keeps the scale of what a ReLU halves.
        for (tower_init, expected) in [(TowerInit::Fcos, 0.01), (TowerInit::Kaiming, 0.0833)] {
            let head = FcosHeadConfig {
                tower_init,
                ..config(RegressionForm::Exp)
            }
            .init(32, 40, &device);
            for tower in [&head.class_tower, &head.box_tower] {
                let found = deviation(&tower[0].conv.weight);
                assert!((found / expected - 1.0).abs() < 0.05, "{found}");
            }
            let found = deviation(&head.class_logits.weight);
            assert!((found / 0.01 - 1.0).abs() < 0.05, "{found}");
        }
    }

    #[test]
    fn every_class_starts_near_its_prior() {
        let device = Device::flex();
        let predictions = config(RegressionForm::Exp)
            .init(8, 3, &device)
            .forward(levels(&device));
        assert_eq!(predictions[0].class_logits.dims(), [2, 3, 5, 3]);
        let probabilities = burn::tensor::activation::sigmoid(predictions[0].class_logits.clone());
        for p in probabilities.into_data().iter::<f32>() {
            assert!((p - 0.01).abs() < 0.005, "{p}");
        }
    }

    #[test]
    fn stride_normalised_exponentials_start_as_one_cell() {
        let device = Device::flex();
        let predictions = config(RegressionForm::NormalizedExp)
            .init(8, 3, &device)
            .forward(levels(&device));
        for (prediction, stride) in predictions.iter().zip(STRIDES) {
            for distance in prediction.distances.clone().into_data().iter::<f32>() {
                let cells = distance / stride as f32;
                assert!((0.5..2.0).contains(&cells), "{cells} cells");
            }
        }
    }

    #[test]
    fn the_learnt_scale_and_the_stride_act_on_their_own_level() {
        let device = Device::flex();
        let mut head = config(RegressionForm::NormalizedRelu).init(8, 3, &device);
        head.distances.bias = Some(Param::from_tensor(Tensor::from_floats(
            [1.0, 2.0, 3.0, 4.0],
            &device,
        )));
        head.distances.weight = Param::from_tensor(head.distances.weight.val().zeros_like());
        head.scales[1] = Param::from_tensor(Tensor::from_floats([0.5], &device));
        let predictions = head.forward(levels(&device));
        let first_row = |level: usize| -> Vec<f32> {
            predictions[level]
                .distances
                .clone()
                .slice([0..1, 0..4, 0..1, 0..1])
                .into_data()
                .iter::<f32>()
                .collect()
        };
        assert_eq!(first_row(0), [8.0, 16.0, 24.0, 32.0]);
        assert_eq!(first_row(1), [8.0, 16.0, 24.0, 32.0]);
        assert_eq!(first_row(2), [32.0, 64.0, 96.0, 128.0]);
    }

    #[test]
    fn exponential_distances_stay_finite() {
        for form in [RegressionForm::Exp, RegressionForm::NormalizedExp] {
            assert_finite(form);
        }
    }

    fn assert_finite(form: RegressionForm) {
        let device = Device::flex();
        let mut head = config(form).init(8, 3, &device);
        head.distances.bias = Some(Param::from_tensor(Tensor::from_floats(
            [1e4, -1e4, 0.0, 1.0],
            &device,
        )));
        head.distances.weight = Param::from_tensor(head.distances.weight.val().zeros_like());
        for prediction in head.forward(levels(&device)) {
            assert!(
                prediction
                    .distances
                    .into_data()
                    .iter::<f32>()
                    .all(|d| d.is_finite() && d >= 0.0)
            );
        }
    }
}
