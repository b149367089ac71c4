//! The FCOS head: a classification and a regression tower, shared by all levels
//! (Tian et al., 2019, section 3).

use burn::{
    module::{Module, Param},
    nn::{GroupNorm, Initializer, conv::Conv2d},
    tensor::{Device, FloatDType, Int, Tensor, activation::softmax},
};
use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use crate::{
    kernels::{Pyramid, relu},
    layers::{conv_with_zero_bias, group_norm_config},
    mixed_precision::{convolve_levels, levels_in_f32},
    postprocess::is_default,
};

/// How the regression output `x` of a level becomes a distance in pixels, given the level's
/// stride `s` and learned scale `a` (1 without learned scales).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RegressionForm {
    /// `exp(a·x)` (FCOS, section 3.1). The exponent is clamped to [`MAX_EXPONENT`], so
    /// that no distance overflows.
    Exp,
    /// `max(a·x, 0)·s`: distances normalized by the stride (FCOS's `norm_reg_targets`;
    /// torchvision).
    NormalizedRelu,
    /// `exp(a·x)·s`, with the exponent clamped likewise. Unlike the other two, it starts
    /// with boxes of the size of the level's cells, whose overlap has a gradient from the
    /// first step on.
    NormalizedExp,
    /// `E[j]·s`, the mean of a distribution over the bins `j = 0, …, bins`, which is the
    /// softmax of `a·x` (Li et al., [Generalized Focal Loss](https://arxiv.org/abs/2006.04388),
    /// 2020). No distance exceeds `bins·s`. A training adds the distribution focal loss to its
    /// objective.
    Distribution {
        /// The largest distance in strides, from 1 to 256; 16 in the paper.
        bins: usize,
    },
}

impl RegressionForm {
    /// The number of values per side of a box that the regression branch predicts.
    pub fn values_per_side(self) -> usize {
        match self {
            Self::Distribution { bins } => bins + 1,
            _ => 1,
        }
    }
}

/// Largest exponent of the exponential [`RegressionForm`]s. e^12 is about 163,000: far
/// above any image side in pixels, while a box area with sides of that many strides is far
/// below the range of f32.
pub const MAX_EXPONENT: f32 = 12.0;

/// The tower that the center-ness branch is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CenternessBranch {
    /// The classification tower, as first published.
    Classification,
    /// The regression tower (FCOS's `centerness_on_reg`; torchvision).
    Regression,
}

/// What the center-ness branch predicts. The score of a detection includes it in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BoxQuality {
    /// How central the location is in its object (FCOS).
    #[default]
    Centerness,
    /// The IoU of the predicted box with its object (Wu et al., [IoU-aware Single-stage Object
    /// Detector](https://arxiv.org/abs/1912.05992), 2020).
    Iou,
}

/// Initialization of the towers' convolutions. The predictors' weights always start as
/// N(0, 0.01²).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TowerInit {
    /// N(0, 0.01²), as in FCOS, which trains with SGD.
    #[default]
    Fcos,
    /// N(0, 2 / fan-in) (He et al., 2015). It suits Adam, whose step size is close to the
    /// learning rate whatever the gradient: with [`Fcos`](Self::Fcos), a rate of 0.002
    /// changes weights of about 0.01 by a fifth per step, and classes are learned late.
    Kaiming,
}

/// Configuration of an [`FcosHead`]. The default is the head of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FcosHeadConfig {
    /// Number of 3×3 convolutions, each with group normalization and ReLU, per tower.
    pub tower_depth: usize,
    /// Initialization of these convolutions.
    #[serde(default)]
    pub tower_init: TowerInit,
    /// Form of the distances.
    pub regression: RegressionForm,
    /// Whether each level's regression output is multiplied by a learned scale (FCOS;
    /// torchvision has none).
    pub learned_scales: bool,
    /// The center-ness branch, if any.
    pub centerness: Option<CenternessBranch>,
    /// What this branch predicts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub quality: BoxQuality,
    /// Probability in (0, 1) that every class starts with at every location (focal loss
    /// paper, section 4.1).
    pub prior: f64,
}

impl Default for FcosHeadConfig {
    fn default() -> Self {
        Self {
            tower_depth: 4,
            tower_init: TowerInit::Fcos,
            regression: RegressionForm::Exp,
            learned_scales: true,
            centerness: None,
            quality: BoxQuality::Centerness,
            prior: 0.01,
        }
    }
}

impl FcosHeadConfig {
    /// Sets [`tower_depth`](Self::tower_depth).
    #[must_use]
    pub fn with_tower_depth(self, tower_depth: usize) -> Self {
        Self {
            tower_depth,
            ..self
        }
    }

    /// Sets [`tower_init`](Self::tower_init).
    #[must_use]
    pub fn with_tower_init(self, tower_init: TowerInit) -> Self {
        Self { tower_init, ..self }
    }

    /// Sets [`regression`](Self::regression).
    #[must_use]
    pub fn with_regression(self, regression: RegressionForm) -> Self {
        Self { regression, ..self }
    }

    /// Sets [`learned_scales`](Self::learned_scales).
    #[must_use]
    pub fn with_learned_scales(self, learned_scales: bool) -> Self {
        Self {
            learned_scales,
            ..self
        }
    }

    /// Sets [`centerness`](Self::centerness).
    #[must_use]
    pub fn with_centerness(self, centerness: Option<CenternessBranch>) -> Self {
        Self { centerness, ..self }
    }

    /// Sets [`quality`](Self::quality).
    #[must_use]
    pub fn with_quality(self, quality: BoxQuality) -> Self {
        Self { quality, ..self }
    }

    /// Sets [`prior`](Self::prior).
    #[must_use]
    pub fn with_prior(self, prior: f64) -> Self {
        Self { prior, ..self }
    }

    /// Checks every value on which building the head depends.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::ensure(
            self.tower_depth <= 256,
            "tower_depth",
            self.tower_depth,
            "at most 256",
        )?;
        if let RegressionForm::Distribution { bins } = self.regression {
            let holds = (1..=256).contains(&bins);
            ConfigError::ensure(holds, "regression.distribution.bins", bins, "from 1 to 256")?;
        }
        let has_branch = self.centerness.is_some() || self.quality == BoxQuality::Centerness;
        let requirement = "left out without a center-ness branch, whose place it takes";
        ConfigError::ensure(has_branch, "quality", "iou", requirement)?;
        ConfigError::ensure(
            self.prior > 0.0 && self.prior < 1.0,
            "prior",
            self.prior,
            "between 0 and 1, both excluded",
        )
    }

    /// Builds the head over levels of `channels` with these `strides`.
    pub fn init(
        &self,
        channels: usize,
        num_classes: usize,
        strides: &[usize],
        device: &Device,
    ) -> FcosHead {
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
                    norm: group_norm_config(channels).init(device),
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
            distances: conv(4 * self.regression.values_per_side()),
            centerness: self.centerness.map(|_| conv(1)),
            scales: strides
                .iter()
                .filter(|_| self.learned_scales)
                .map(|_| Initializer::Ones.init([1], device))
                .collect(),
            strides: strides.to_vec(),
            regression: self.regression,
            centerness_branch: self.centerness,
            quality: self.quality,
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
    strides: Vec<usize>,
    #[module(skip)]
    regression: RegressionForm,
    #[module(skip)]
    centerness_branch: Option<CenternessBranch>,
    #[module(skip)]
    quality: BoxQuality,
}

/// The head's predictions for one level of `height` × `width` locations, in 32 bits.
#[derive(Clone, Debug)]
pub struct LevelPrediction {
    /// Class logits, `[batch, classes, height, width]`.
    pub class_logits: Tensor<4>,
    /// Distances left, top, right, bottom from the location to the sides of the box in
    /// pixels, non-negative, `[batch, 4, height, width]`.
    pub distances: Tensor<4>,
    /// Center-ness logits, `[batch, 1, height, width]`, if the head predicts them.
    pub centerness_logits: Option<Tensor<4>>,
    /// Logits of the IoU of the boxes, `[batch, 1, height, width]`, if the head predicts them.
    pub iou_logits: Option<Tensor<4>>,
    /// Logits of the [distribution](RegressionForm::Distribution) that each distance is the mean
    /// of, if it is: `[batch, 4 · (bins + 1), height, width]`, side by side.
    pub distribution_logits: Option<Tensor<4>>,
}

impl FcosHead {
    /// How the computation differs from that of torchvision's FCOS.
    pub(crate) fn differences_from_torchvision(&self) -> Vec<&'static str> {
        let groups = |layer: &TowerLayer| layer.norm.num_groups;
        let towers = || self.class_tower.iter().chain(&self.box_tower);
        [
            (!self.scales.is_empty(), "its levels have learned scales"),
            (
                self.regression != RegressionForm::NormalizedRelu,
                "its distances are not a ReLU times the stride",
            ),
            (
                self.centerness_branch != Some(CenternessBranch::Regression)
                    || self.quality != BoxQuality::Centerness,
                "it has no center-ness branch on the regression tower",
            ),
            (
                towers().any(|layer| groups(layer) != 32),
                "its towers do not normalize in 32 groups",
            ),
        ]
        .into_iter()
        .filter_map(|(differs, how)| differs.then_some(how))
        .collect()
    }

    /// Whether the head predicts center-ness.
    pub fn predicts_centerness(&self) -> bool {
        self.centerness.is_some() && self.quality == BoxQuality::Centerness
    }

    /// What the center-ness branch predicts, if there is one.
    pub fn quality(&self) -> Option<BoxQuality> {
        self.centerness.as_ref().map(|_| self.quality)
    }

    /// The layers of the classification tower.
    pub fn class_tower(&self) -> &[TowerLayer] {
        &self.class_tower
    }

    /// The layers of the regression tower.
    pub fn box_tower(&self) -> &[TowerLayer] {
        &self.box_tower
    }

    /// The predictor of the class logits.
    pub fn class_logits(&self) -> &Conv2d {
        &self.class_logits
    }

    /// The predictor from which the distances are computed (see [`RegressionForm`]).
    pub fn distances(&self) -> &Conv2d {
        &self.distances
    }

    /// The predictor of the center-ness logits, or of those of the IoU in their
    /// [place](Self::quality), and the tower that it is attached to, if any.
    pub fn centerness(&self) -> Option<(&Conv2d, CenternessBranch)> {
        self.centerness.as_ref().zip(self.centerness_branch)
    }

    /// The learned scale of each level, or none without learned scales.
    pub fn scales(&self) -> &[Param<Tensor<1>>] {
        &self.scales
    }

    /// How the regression output becomes a distance.
    pub fn regression(&self) -> RegressionForm {
        self.regression
    }

    /// Strides of the levels in pixels.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Predicts on every level.
    ///
    /// # Shapes
    ///
    /// - `levels`: `[batch, channels, height, width]` each, a level for each of
    ///   [`strides`](Self::strides)
    ///
    /// # Panics
    ///
    /// If there are more or fewer levels than strides.
    pub fn forward(&self, levels: Vec<Tensor<4>>) -> Vec<LevelPrediction> {
        assert_eq!(levels.len(), self.strides.len(), "levels of the head");
        let pyramid = Pyramid::new(levels);
        // The predictors compute in 32 bits: rounding an exponent or a logit to 16 bits
        // would change boxes and scores visibly.
        let tower = |tower: &[TowerLayer], pyramid: Pyramid| {
            let features = tower
                .iter()
                .fold(pyramid, |features, layer| layer.forward(features));
            features.cast(FloatDType::F32)
        };
        let [for_classes, for_boxes] = pyramid.fork();
        let class_features = tower(&self.class_tower, for_classes);
        let box_features = tower(&self.box_tower, for_boxes);
        let quality_logits = self.centerness.as_ref().map(|conv| {
            let features = match self.centerness_branch {
                Some(CenternessBranch::Regression) => &box_features,
                _ => &class_features,
            };
            convolve_levels(conv, features.clone()).into_levels()
        });
        let mut quality_logits = quality_logits.into_iter().flatten();
        let class_logits = convolve_levels(&self.class_logits, class_features).into_levels();
        let distances = convolve_levels(&self.distances, box_features).into_levels();
        (class_logits.into_iter().zip(distances))
            .zip(&self.strides)
            .enumerate()
            .map(|(level, ((class_logits, distances), &stride))| {
                let scaled = match self.scales.get(level) {
                    Some(scale) => distances * scale.val().reshape([1, 1, 1, 1]),
                    None => distances,
                };
                self.prediction(class_logits, scaled, quality_logits.next(), stride)
            })
            .collect()
    }

    /// The prediction for a level, given its regression output times its scale.
    fn prediction(
        &self,
        class_logits: Tensor<4>,
        scaled: Tensor<4>,
        quality_logits: Option<Tensor<4>>,
        stride: usize,
    ) -> LevelPrediction {
        let stride = stride as f32;
        let (centerness_logits, iou_logits) = match self.quality {
            BoxQuality::Centerness => (quality_logits, None),
            BoxQuality::Iou => (None, quality_logits),
        };
        let distribution_logits = match self.regression {
            RegressionForm::Distribution { .. } => Some(scaled.clone()),
            _ => None,
        };
        LevelPrediction {
            class_logits,
            distances: match self.regression {
                RegressionForm::Exp => scaled.clamp_max(MAX_EXPONENT).exp(),
                RegressionForm::NormalizedRelu => relu(scaled).mul_scalar(stride),
                RegressionForm::NormalizedExp => {
                    scaled.clamp_max(MAX_EXPONENT).exp().mul_scalar(stride)
                }
                RegressionForm::Distribution { bins } => {
                    means_of_distributions(scaled, bins).mul_scalar(stride)
                }
            },
            centerness_logits,
            iou_logits,
            distribution_logits,
        }
    }
}

/// The means of the distributions over `0, …, bins` with these logits,
/// `[batch, 4 · (bins + 1), height, width]`, as a map `[batch, 4, height, width]`.
fn means_of_distributions(logits: Tensor<4>, bins: usize) -> Tensor<4> {
    let [batch, channels, height, width] = logits.dims();
    let sides = channels / (bins + 1);
    let values = Tensor::<1, Int>::arange(0..bins as i64 + 1, &logits.device()).float();
    let shares = softmax(logits.reshape([batch * sides, bins + 1, height * width]), 1);
    let means = (shares * values.reshape([1, bins + 1, 1])).sum_dim(1);
    means.reshape([batch, sides, height, width])
}

/// A layer of a tower: a convolution, group normalization and ReLU.
#[derive(Module, Debug)]
pub struct TowerLayer {
    conv: Conv2d,
    norm: GroupNorm,
}

impl TowerLayer {
    /// The convolution.
    pub fn conv(&self) -> &Conv2d {
        &self.conv
    }

    /// The normalization.
    pub fn norm(&self) -> &GroupNorm {
        &self.norm
    }

    fn forward(&self, input: Pyramid) -> Pyramid {
        levels_in_f32(convolve_levels(&self.conv, input), |features| {
            features.group_norm_relu(&self.norm)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRIDES: [usize; 5] = [8, 16, 32, 64, 128];

    fn config(regression: RegressionForm) -> FcosHeadConfig {
        FcosHeadConfig::default()
            .with_tower_depth(1)
            .with_regression(regression)
            .with_centerness(Some(CenternessBranch::Regression))
    }

    fn head(regression: RegressionForm, device: &Device) -> FcosHead {
        config(regression).init(8, 3, &STRIDES, device)
    }

    fn levels(device: &Device) -> Vec<Tensor<4>> {
        STRIDES
            .iter()
            .map(|&stride| {
                let [height, width] = [40_usize, 24].map(|side| side.div_ceil(stride));
                Tensor::ones([2, 8, height, width], device)
            })
            .collect()
    }

    #[test]
    fn towers_and_predictors_are_initialized_as_documented() {
        let device = Device::flex();
        let deviation = |weight: &Param<Tensor<4>>| {
            let squares = weight.val().square().mean();
            squares.sqrt().into_scalar::<f32>()
        };
        // A fan-in of 9 · 32 gives a variance of 2 / 288.
        for (tower_init, expected) in [(TowerInit::Fcos, 0.01), (TowerInit::Kaiming, 0.0833)] {
            let head = config(RegressionForm::Exp)
                .with_tower_init(tower_init)
                .init(32, 40, &STRIDES, &device);
            for tower in [&head.class_tower, &head.box_tower] {
                let found = deviation(&tower[0].conv.weight);
                assert!((found / expected - 1.0).abs() < 0.05, "{found}");
            }
            let found = deviation(&head.class_logits.weight);
            assert!((found / 0.01 - 1.0).abs() < 0.05, "{found}");
        }
    }

    #[test]
    fn class_probabilities_start_near_the_prior() {
        let device = Device::flex();
        let predictions = head(RegressionForm::Exp, &device).forward(levels(&device));
        assert_eq!(predictions[0].class_logits.dims(), [2, 3, 5, 3]);
        let probabilities = burn::tensor::activation::sigmoid(predictions[0].class_logits.clone());
        for p in probabilities.into_data().iter::<f32>() {
            assert!((p - 0.01).abs() < 0.005, "{p}");
        }
    }

    #[test]
    fn normalized_exponential_distances_start_near_one_cell() {
        let device = Device::flex();
        let predictions = head(RegressionForm::NormalizedExp, &device).forward(levels(&device));
        for (prediction, stride) in predictions.iter().zip(STRIDES) {
            for distance in prediction.distances.clone().into_data().iter::<f32>() {
                let cells = distance / stride as f32;
                assert!((0.5..2.0).contains(&cells), "{cells} cells");
            }
        }
    }

    #[test]
    fn learned_scale_and_stride_apply_per_level() {
        let device = Device::flex();
        let mut head = head(RegressionForm::NormalizedRelu, &device);
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
    fn distances_are_means_of_distributions() {
        let device = Device::flex();
        let mut head = head(RegressionForm::Distribution { bins: 2 }, &device);
        // One of three bins nearly certain, two of them, and all; 0 where nothing is learned.
        let bias = [
            0.0, 0.0, 30.0, 0.0, 30.0, 30.0, 30.0, 0.0, 30.0, 1.0, 1.0, 1.0,
        ];
        head.distances.bias = Some(Param::from_tensor(Tensor::from_floats(bias, &device)));
        head.distances.weight = Param::from_tensor(head.distances.weight.val().zeros_like());
        for (prediction, stride) in head.forward(levels(&device)).into_iter().zip(STRIDES) {
            let [batch, channels, height, width] = prediction.distances.dims();
            assert_eq!([batch, channels], [2, 4]);
            let logits = prediction.distribution_logits.map(|logits| logits.dims());
            assert_eq!(logits, Some([2, 12, height, width]));
            let cells: Vec<f32> = prediction.distances.into_data().iter::<f32>().collect();
            for (index, distance) in cells.iter().enumerate() {
                let side = index / (height * width) % 4;
                let expected = [2.0, 1.5, 1.0, 1.0][side] * stride as f32;
                assert!((distance - expected).abs() < 1e-3, "{side}: {distance}");
            }
        }
    }

    #[test]
    fn the_predicted_iou_takes_the_place_of_the_centerness() {
        let device = Device::flex();
        let config = config(RegressionForm::Exp).with_quality(BoxQuality::Iou);
        let head = config.init(8, 3, &STRIDES, &device);
        assert!(!head.predicts_centerness());
        for prediction in head.forward(levels(&device)) {
            assert!(prediction.centerness_logits.is_none() && prediction.iou_logits.is_some());
        }
        let field = |config: FcosHeadConfig| config.validate().err().map(|error| error.field);
        assert_eq!(field(config.clone()), None);
        assert_eq!(field(config.with_centerness(None)), Some("quality".into()));
        for bins in [0, 257] {
            let form = RegressionForm::Distribution { bins };
            let config = FcosHeadConfig::default().with_regression(form);
            assert_eq!(field(config), Some("regression.distribution.bins".into()));
        }
    }

    #[test]
    fn exponential_distances_stay_finite() {
        for form in [RegressionForm::Exp, RegressionForm::NormalizedExp] {
            assert_finite(form);
        }
    }

    fn assert_finite(form: RegressionForm) {
        let device = Device::flex();
        let mut head = head(form, &device);
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
