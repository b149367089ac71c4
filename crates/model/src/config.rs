//! Configuration of the detector, with presets.

use std::sync::Arc;

use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use crate::{
    assignment::{Assigner, AssignerConfig, AssignmentConfig},
    backbone::{
        BackboneConfig,
        norm::NormKind,
        resnet::{ResNetConfig, ResNetDepth, StrideIn},
        validate_features,
    },
    fpn::FpnConfig,
    head::{CenternessBranch, FcosHeadConfig, RegressionForm, TowerInit},
    locations::LocationRule,
    postprocess::{PostprocessConfig, ScoreThresholdOn},
};

/// Configuration of an [`Fcos`](crate::Fcos) detector on a backbone that `C` configures.
///
/// The presets have a ResNet; [`with_backbone`](Self::with_backbone) replaces it.
///
/// ```
/// use fcos_burn_model::{FcosConfig, backbone::resnet::ResNetDepth};
///
/// let mut config = FcosConfig::small(3);
/// config.backbone.depth = ResNetDepth::ResNet34;
/// config.validate()?;
/// # Ok::<(), fcos_burn_model::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
#[non_exhaustive]
pub struct FcosConfig<C: BackboneConfig = ResNetConfig> {
    /// Number of classes, not counting background.
    pub num_classes: usize,
    /// The backbone.
    pub backbone: C,
    /// The feature pyramid.
    pub fpn: FpnConfig,
    /// The head.
    pub head: FcosHeadConfig,
    /// Where on the input the locations are.
    pub location_rule: LocationRule,
    /// Which rule assigns locations to objects in training.
    #[serde(default)]
    pub assigner: AssignerConfig,
    /// The parameters of FCOS's rule, if it is the [`assigner`](Self::assigner).
    pub assignment: AssignmentConfig,
    /// How predictions are decoded into detections.
    pub postprocess: PostprocessConfig,
}

impl FcosConfig {
    /// The detector of the paper: FCOS_R_50_FPN_1x without the center-ness branch.
    ///
    /// ResNet-50 with the stride in the first 1×1 convolution, frozen batch norm, stem and
    /// layer1 frozen; 256 channels; P6 and P7 from P5; towers of four convolutions;
    /// exponential distances; no center sampling.
    pub fn paper(num_classes: usize) -> Self {
        Self {
            num_classes,
            backbone: ResNetConfig::new(ResNetDepth::ResNet50)
                .with_stride_in(StrideIn::FirstConv)
                .with_norm(NormKind::Frozen)
                .with_norm_epsilon(0.0)
                .with_frozen_stages(2),
            fpn: FpnConfig::new(256),
            head: FcosHeadConfig::default(),
            location_rule: LocationRule::HalfStride,
            assigner: AssignerConfig::Fcos,
            assignment: AssignmentConfig::new(vec![64.0, 128.0, 256.0, 512.0]),
            postprocess: PostprocessConfig::default(),
        }
    }

    /// The detector of the original FCOS code as first published: [`paper`](Self::paper)
    /// with the center-ness branch on the classification tower.
    pub fn fcos(num_classes: usize) -> Self {
        let mut config = Self::paper(num_classes);
        config.head.centerness = Some(CenternessBranch::Classification);
        config
    }

    /// The improved detector of the original FCOS code (its `imprv` models): the
    /// center-ness branch on the regression tower, distances normalized by the stride, and
    /// center sampling with a radius of 1.5 strides.
    pub fn fcos_improved(num_classes: usize) -> Self {
        let mut config = Self::paper(num_classes);
        config.head.centerness = Some(CenternessBranch::Regression);
        config.head.regression = RegressionForm::NormalizedRelu;
        config.assignment.center_sampling_radius = Some(1.5);
        config
    }

    /// torchvision's `fcos_resnet50_fpn` with a pretrained backbone: the stride in the 3×3
    /// convolutions, no learned scales, locations at the corners of evenly spaced cells,
    /// and a threshold of 0.2 on the score, center-ness included.
    pub fn torchvision(num_classes: usize) -> Self {
        let mut config = Self::fcos_improved(num_classes);
        config.backbone.stride_in = StrideIn::MiddleConv;
        config.backbone.norm_epsilon = 1e-5;
        config.head.learned_scales = false;
        config.location_rule = LocationRule::Torchvision;
        config.postprocess.score_threshold = 0.2;
        config.postprocess.score_threshold_on = ScoreThresholdOn::Score;
        config
    }

    /// A detector that trains from scratch on a CPU in minutes: ResNet-18 of three eighths
    /// of the width with trained batch norm, 64 channels, towers of two convolutions with
    /// Kaiming initialization, exponential distances normalized by the stride, center
    /// sampling with a radius of 1.5 strides, and level ranges of three quarters of the
    /// usual size for images of 100 to 300 pixels.
    pub fn small(num_classes: usize) -> Self {
        Self {
            backbone: ResNetConfig::new(ResNetDepth::ResNet18).with_width(24),
            fpn: FpnConfig::new(64),
            head: FcosHeadConfig::default()
                .with_tower_depth(2)
                .with_tower_init(TowerInit::Kaiming)
                .with_regression(RegressionForm::NormalizedExp),
            assignment: AssignmentConfig::new(vec![48.0, 96.0, 192.0, 384.0])
                .with_center_sampling_radius(Some(1.5)),
            ..Self::paper(num_classes)
        }
    }
}

impl<C: BackboneConfig> FcosConfig<C> {
    /// Sets [`num_classes`](Self::num_classes).
    #[must_use]
    pub fn with_num_classes(self, num_classes: usize) -> Self {
        Self {
            num_classes,
            ..self
        }
    }

    /// Replaces the [`backbone`](Self::backbone) by one that may be of another type.
    ///
    /// If it has another number of feature maps, the
    /// [`range_bounds`](AssignmentConfig::range_bounds) have to be adapted, unless the training
    /// uses another rule than that of FCOS.
    #[must_use]
    pub fn with_backbone<D: BackboneConfig>(self, backbone: D) -> FcosConfig<D> {
        FcosConfig {
            num_classes: self.num_classes,
            backbone,
            fpn: self.fpn,
            head: self.head,
            location_rule: self.location_rule,
            assigner: self.assigner,
            assignment: self.assignment,
            postprocess: self.postprocess,
        }
    }

    /// Sets [`fpn`](Self::fpn).
    #[must_use]
    pub fn with_fpn(self, fpn: FpnConfig) -> Self {
        Self { fpn, ..self }
    }

    /// Sets [`head`](Self::head).
    #[must_use]
    pub fn with_head(self, head: FcosHeadConfig) -> Self {
        Self { head, ..self }
    }

    /// Sets [`location_rule`](Self::location_rule).
    #[must_use]
    pub fn with_location_rule(self, location_rule: LocationRule) -> Self {
        Self {
            location_rule,
            ..self
        }
    }

    /// Sets [`assigner`](Self::assigner).
    #[must_use]
    pub fn with_assigner(self, assigner: AssignerConfig) -> Self {
        Self { assigner, ..self }
    }

    /// Sets [`assignment`](Self::assignment).
    #[must_use]
    pub fn with_assignment(self, assignment: AssignmentConfig) -> Self {
        Self { assignment, ..self }
    }

    /// Sets [`postprocess`](Self::postprocess).
    #[must_use]
    pub fn with_postprocess(self, postprocess: PostprocessConfig) -> Self {
        Self {
            postprocess,
            ..self
        }
    }

    /// Strides of the pyramid's levels in pixels, from fine to coarse: those of the
    /// backbone's feature maps, then each twice the one before it.
    ///
    /// The configuration has to be [valid](Self::validate).
    pub fn strides(&self) -> Vec<usize> {
        self.fpn.strides(&self.backbone.features())
    }

    /// The rule that assigns locations to objects, for a training run that does not replace it.
    ///
    /// # Errors
    ///
    /// Names the invalid field of the rule's parameters, or of the configuration of the levels.
    pub fn assignment_rule(&self) -> Result<Assigner, ConfigError> {
        // The labels may be those of data that is not yet known.
        let mut model = self.clone();
        model.postprocess.classes = None;
        model.validate()?;
        let checked = self.assigner.validate();
        checked.map_err(|error| error.within("assigner"))?;
        Ok(match &self.assigner {
            AssignerConfig::Fcos => {
                let checked = self.assignment.validate(self.strides().len());
                checked.map_err(|error| error.within("assignment"))?;
                Assigner::Static(Arc::new(self.assignment.clone()))
            }
            AssignerConfig::Atss(rule) => Assigner::Static(Arc::new(rule.clone())),
            AssignerConfig::Tal(rule) => Assigner::ByPrediction(Arc::new(rule.clone())),
            AssignerConfig::SimOta(rule) => Assigner::ByPrediction(Arc::new(rule.clone())),
            AssignerConfig::Dw(rule) => Assigner::ByPrediction(Arc::new(rule.clone())),
        })
    }

    /// Checks every value on which building or running the detector depends. The
    /// [`assigner`](Self::assigner) and the [`assignment`](Self::assignment) are checked where they
    /// are used, by [`assignment_rule`](Self::assignment_rule).
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let within = |prefix: &'static str| move |error: ConfigError| error.within(prefix);
        // More classes are a mistake, or an attempt to exhaust the memory.
        ConfigError::ensure(
            (1..=65_536).contains(&self.num_classes),
            "num_classes",
            self.num_classes,
            "from 1 to 65536",
        )?;
        self.backbone.validate().map_err(within("backbone"))?;
        let features = self.backbone.features();
        validate_features(&features).map_err(within("backbone"))?;
        self.fpn.validate().map_err(within("fpn"))?;
        self.head.validate().map_err(within("head"))?;
        self.postprocess.validate().map_err(within("postprocess"))?;
        let classes = self.postprocess.validate_classes(self.num_classes);
        classes.map_err(within("postprocess"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::assignment::{AtssConfig, DwConfig, SimOtaConfig, TalConfig};

    /// `FcosConfig::small(3)` without `fpn.extra_levels` and `assigner`, which older files lack.
    const WITHOUT_DEFAULTS: &str = r#"{
        "num_classes": 3,
        "backbone": {
            "depth": "resnet18",
            "width": 24,
            "stride_in": "middle-conv",
            "norm": "batch",
            "norm_epsilon": 1e-5,
            "frozen_stages": 0
        },
        "fpn": { "channels": 64, "extra_levels_from": "p5" },
        "head": {
            "tower_depth": 2,
            "tower_init": "kaiming",
            "regression": "normalized-exp",
            "learned_scales": true,
            "centerness": null,
            "prior": 0.01
        },
        "location_rule": "half-stride",
        "assignment": {
            "range_bounds": [48.0, 96.0, 192.0, 384.0],
            "center_sampling_radius": 1.5
        },
        "postprocess": {
            "score_threshold": 0.05,
            "score_threshold_on": "class-probability",
            "candidates_per_level": 1000,
            "nms_iou_threshold": 0.6,
            "detections_per_image": 100
        }
    }"#;

    fn field(config: &FcosConfig) -> Option<String> {
        let error = config.assignment_rule().err();
        error.map(|error| error.field.into())
    }

    #[test]
    fn presets_are_valid() {
        for preset in [
            FcosConfig::paper,
            FcosConfig::fcos,
            FcosConfig::fcos_improved,
            FcosConfig::torchvision,
            FcosConfig::small,
        ] {
            let config = preset(80);
            assert_eq!(config.validate(), Ok(()));
            let rule = config.assignment_rule().unwrap();
            let Assigner::Static(rule) = rule else {
                panic!("{rule:?}");
            };
            assert_eq!(format!("{rule:?}"), format!("{:?}", config.assignment));
            assert_eq!(config.strides(), [8, 16, 32, 64, 128]);
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
    }

    #[test]
    fn invalid_fields_are_named_by_their_paths() {
        type Change = fn(&mut FcosConfig);
        let changes: [(&str, Change); 12] = [
            ("num_classes", |config| config.num_classes = 0),
            ("backbone.width", |config| config.backbone.width = 0),
            ("backbone.norm_epsilon", |config| {
                config.backbone.norm_epsilon = 0.0;
            }),
            ("fpn.channels", |config| config.fpn.channels = usize::MAX),
            ("fpn.extra_levels", |config| {
                config.fpn.extra_levels = usize::MAX;
            }),
            ("assignment.range_bounds", |config| {
                config.assignment.range_bounds = vec![64.0, 32.0, 128.0, 256.0];
            }),
            ("assignment.range_bounds", |config| {
                config.fpn.extra_levels = 1
            }),
            ("assigner.atss.top_k", |config| {
                config.assigner = AssignerConfig::Atss(AtssConfig::default().with_top_k(0));
            }),
            ("assigner.tal.beta", |config| {
                config.assigner = AssignerConfig::Tal(TalConfig::default().with_beta(-1.0));
            }),
            ("assigner.simota.center_radius", |config| {
                let rule = SimOtaConfig::default().with_center_radius(f32::NAN);
                config.assigner = AssignerConfig::SimOta(rule);
            }),
            ("assigner.dw.mu", |config| {
                config.assigner = AssignerConfig::Dw(DwConfig::default().with_mu(1e9));
            }),
            ("postprocess.score_threshold", |config| {
                config.postprocess.score_threshold = 1.5;
            }),
        ];
        for (path, change) in changes {
            let mut config = FcosConfig::small(3);
            change(&mut config);
            assert_eq!(field(&config).as_deref(), Some(path));
        }
    }

    #[test]
    fn missing_fields_get_their_defaults() {
        let config: FcosConfig = serde_json::from_str(WITHOUT_DEFAULTS).unwrap();
        assert_eq!(config, FcosConfig::small(3));
    }

    #[test]
    fn rules_have_the_published_parameters_where_a_file_lacks_them() {
        let rule = |json: &str| serde_json::from_str::<AssignerConfig>(json).unwrap();
        assert_eq!(rule(r#""fcos""#), AssignerConfig::Fcos);
        let atss = AtssConfig::default();
        assert_eq!(rule(r#"{"atss": {}}"#), AssignerConfig::Atss(atss));
        let tal = TalConfig::default().with_top_k(10);
        assert_eq!(rule(r#"{"tal": {"top_k": 10}}"#), AssignerConfig::Tal(tal));
        let simota = SimOtaConfig::default().with_iou_weight(1.0);
        assert_eq!(
            rule(r#"{"simota": {"iou_weight": 1.0}}"#),
            AssignerConfig::SimOta(simota)
        );
        assert_eq!(
            rule(r#"{"dw": {}}"#),
            AssignerConfig::Dw(DwConfig::default())
        );
        let unknown = serde_json::from_str::<AssignerConfig>(r#"{"dw": {"tau": 1}}"#);
        assert!(unknown.is_err());
    }

    #[test]
    fn rules_other_than_that_of_fcos_need_no_ranges() {
        let mut config = FcosConfig::small(3);
        config.assignment.range_bounds.clear();
        assert!(config.assignment_rule().is_err());
        config.assigner = AssignerConfig::Atss(AtssConfig::default());
        assert!(config.assignment_rule().is_ok());
    }

    #[test]
    fn json_is_read_back_and_unknown_fields_are_refused() {
        let config = FcosConfig::torchvision(91);
        let mut json = serde_json::to_value(&config).unwrap();
        assert_eq!(
            serde_json::from_value::<FcosConfig>(json.clone()).unwrap(),
            config
        );
        json["neck"] = serde_json::Value::Null;
        assert!(serde_json::from_value::<FcosConfig>(json).is_err());
    }
}
