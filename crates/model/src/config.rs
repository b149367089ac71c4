//! Configuration of the whole detector, with presets.

use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use crate::{
    assignment::AssignmentConfig,
    fpn::{ExtraLevelsFrom, FpnConfig},
    head::{CenternessBranch, FcosHeadConfig, RegressionForm, TowerInit},
    norm::NormKind,
    postprocess::{PostprocessConfig, Thresholded},
    pyramid::LocationRule,
    resnet::{ResNetConfig, ResNetDepth, StrideIn},
};

/// Configuration of an [`Fcos`](crate::Fcos) detector.
///
/// ```
/// use fcos_burn_model::{FcosConfig, resnet::ResNetDepth};
///
/// let mut config = FcosConfig::small(3);
/// config.backbone.depth = ResNetDepth::ResNet34;
/// config.validate()?;
/// # Ok::<(), fcos_burn_model::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FcosConfig {
    /// Number of classes, without a background class.
    pub num_classes: usize,
    /// The feature extractor.
    pub backbone: ResNetConfig,
    /// The feature pyramid.
    pub fpn: FpnConfig,
    /// The two sub-nets.
    pub head: FcosHeadConfig,
    /// Where on the input the locations stand.
    pub location_rule: LocationRule,
    /// Which location learns which object.
    pub assignment: AssignmentConfig,
    /// From predictions to detections.
    pub postprocess: PostprocessConfig,
}

impl FcosConfig {
    /// The detector of the paper: FCOS_R_50_FPN_1x without the centre-ness branch.
    ///
    /// ResNet-50 with the stride in the first 1×1, frozen batch norm, stem and
    /// layer1 frozen; 256 channels; P6 and P7 from P5; towers of four
    /// convolutions; exponential distances; no centre sampling.
    pub fn paper(num_classes: usize) -> Self {
        Self {
            num_classes,
            backbone: ResNetConfig {
                depth: ResNetDepth::ResNet50,
                width: 64,
                stride_in: StrideIn::FirstConv,
                norm: NormKind::Frozen,
                norm_epsilon: 0.0,
                frozen_stages: 2,
            },
            fpn: FpnConfig {
                channels: 256,
                extra_levels_from: ExtraLevelsFrom::P5,
            },
            head: FcosHeadConfig {
                tower_depth: 4,
                tower_init: TowerInit::Fcos,
                regression: RegressionForm::Exp,
                learnt_scales: true,
                centerness: None,
                prior: 0.01,
            },
            location_rule: LocationRule::HalfStride,
            assignment: AssignmentConfig {
                range_bounds: [64.0, 128.0, 256.0, 512.0],
                center_sampling_radius: None,
            },
            postprocess: PostprocessConfig {
                score_threshold: 0.05,
                thresholded: Thresholded::ClassProbability,
                candidates_per_level: 1000,
                nms_iou_threshold: 0.6,
                detections_per_image: 100,
            },
        }
    }

    /// The detector of the original FCOS code as first published: [`paper`](Self::paper)
    /// with the centre-ness branch on the classification tower.
    pub fn fcos(num_classes: usize) -> Self {
        let mut config = Self::paper(num_classes);
        config.head.centerness = Some(CenternessBranch::Classification);
        config
    }

    /// The improved detector of the original FCOS code (its `imprv` models): the
    /// centre-ness branch on the regression tower, distances normalised by the stride
    /// and centre sampling with radius 1.5.
    pub fn fcos_improved(num_classes: usize) -> Self {
        let mut config = Self::paper(num_classes);
        config.head.centerness = Some(CenternessBranch::Regression);
        config.head.regression = RegressionForm::NormalizedRelu;
        config.assignment.center_sampling_radius = Some(1.5);
        config
    }

    /// torchvision's `fcos_resnet50_fpn` with a pretrained backbone: the stride in the
    /// 3×3 convolutions, no learnt scales, locations in the corners of evenly spaced
    /// cells, and scores, centre-ness included, above 0.2.
    pub fn torchvision(num_classes: usize) -> Self {
        let mut config = Self::fcos_improved(num_classes);
        config.backbone.stride_in = StrideIn::MiddleConv;
        config.backbone.norm_epsilon = 1e-5;
        config.head.learnt_scales = false;
        config.location_rule = LocationRule::Torchvision;
        config.postprocess.score_threshold = 0.2;
        config.postprocess.thresholded = Thresholded::Score;
        config
    }

    /// A detector that trains from scratch on a CPU in minutes: ResNet-18 of three
    /// eighths of the width with trained batch norm, 64 channels, towers of two
    /// convolutions with Kaiming initialization, exponential distances normalized by
    /// the stride, center sampling with radius 1.5, and level ranges of three quarters of
    /// the usual size for images of 100 to 300 pixels.
    pub fn small(num_classes: usize) -> Self {
        let paper = Self::paper(num_classes);
        Self {
            backbone: ResNetConfig {
                depth: ResNetDepth::ResNet18,
                width: 24,
                stride_in: StrideIn::MiddleConv,
                norm: NormKind::Batch,
                norm_epsilon: 1e-5,
                frozen_stages: 0,
            },
            fpn: FpnConfig {
                channels: 64,
                ..paper.fpn
            },
            head: FcosHeadConfig {
                tower_depth: 2,
                tower_init: TowerInit::Kaiming,
                regression: RegressionForm::NormalizedExp,
                ..paper.head
            },
            assignment: AssignmentConfig {
                range_bounds: [48.0, 96.0, 192.0, 384.0],
                center_sampling_radius: Some(1.5),
            },
            ..paper
        }
    }

    /// Checks every value on which building or running the detector depends.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let at_least_1 =
            |field, value: usize| ConfigError::ensure(value > 0, field, value, "at least 1");
        at_least_1(
            "postprocess.candidates_per_level",
            self.postprocess.candidates_per_level,
        )?;
        at_least_1(
            "postprocess.detections_per_image",
            self.postprocess.detections_per_image,
        )?;
        // More than this is a mistake, or a file that means to take all memory.
        for (field, value, most, requirement) in [
            ("num_classes", self.num_classes, 65_536, "from 1 to 65536"),
            (
                "backbone.width",
                self.backbone.width,
                8192,
                "from 1 to 8192",
            ),
            ("fpn.channels", self.fpn.channels, 8192, "from 1 to 8192"),
        ] {
            ConfigError::ensure((1..=most).contains(&value), field, value, requirement)?;
        }
        let depth = self.head.tower_depth;
        ConfigError::ensure(depth <= 256, "head.tower_depth", depth, "at most 256")?;
        ConfigError::ensure(
            self.backbone.frozen_stages <= 5,
            "backbone.frozen_stages",
            self.backbone.frozen_stages,
            "at most 5 (stem and four stages)",
        )?;
        ConfigError::ensure(
            self.head.prior > 0.0 && self.head.prior < 1.0,
            "head.prior",
            self.head.prior,
            "between 0 and 1, both excluded",
        )?;
        let epsilon = self.backbone.norm_epsilon;
        ConfigError::ensure(
            epsilon.is_finite()
                && (epsilon > 0.0 || epsilon == 0.0 && self.backbone.norm == NormKind::Frozen),
            "backbone.norm_epsilon",
            epsilon,
            "positive and finite, or 0 for a frozen normalisation",
        )?;
        let bounds = &self.assignment.range_bounds;
        ConfigError::ensure(
            bounds[0] > 0.0
                && bounds.windows(2).all(|pair| pair[0] < pair[1])
                && bounds.iter().all(|bound| bound.is_finite()),
            "assignment.range_bounds",
            format!("{bounds:?}"),
            "positive, finite and ascending",
        )?;
        if let Some(radius) = self.assignment.center_sampling_radius {
            ConfigError::ensure(
                radius.is_finite() && radius > 0.0,
                "assignment.center_sampling_radius",
                radius,
                "positive and finite",
            )?;
        }
        for (field, value) in [
            (
                "postprocess.score_threshold",
                self.postprocess.score_threshold,
            ),
            (
                "postprocess.nms_iou_threshold",
                self.postprocess.nms_iou_threshold,
            ),
        ] {
            ConfigError::ensure(
                (0.0..=1.0).contains(&value),
                field,
                value,
                "between 0 and 1",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid() {
        for preset in [
            FcosConfig::paper,
            FcosConfig::fcos,
            FcosConfig::fcos_improved,
            FcosConfig::torchvision,
            FcosConfig::small,
        ] {
            assert_eq!(preset(80).validate(), Ok(()));
        }
    }

    #[test]
    fn errors_name_field_and_value() {
        let mut config = FcosConfig::small(3);
        config.head.prior = f64::NAN;
        let error = config.validate().map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("head.prior is NaN, but must be between 0 and 1, both excluded".into())
        );
        let mut config = FcosConfig::small(3);
        config.fpn.channels = usize::MAX;
        assert_eq!(
            config.validate().map_err(|error| error.field),
            Err("fpn.channels".into())
        );
        let mut config = FcosConfig::small(3);
        config.assignment.range_bounds = [64.0, 32.0, 128.0, 256.0];
        assert_eq!(
            config.validate().map_err(|error| error.field),
            Err("assignment.range_bounds".into())
        );
    }
}
