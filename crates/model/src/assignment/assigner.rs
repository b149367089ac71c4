//! The choice of a rule.

use std::sync::Arc;

use fcos_burn_loss::{ClassificationLoss, ConfigError};
use serde::{Deserialize, Serialize};

use super::{
    AtssConfig, DwConfig, SimOtaConfig, TalConfig,
    rule::{AssignmentRule, PredictionAssignmentRule},
};

/// The rule that assigns locations to objects, with its parameters. Those of a file have the
/// published values where they are left out, as in `{"tal": {"top_k": 10}}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AssignerConfig {
    /// The rule of FCOS, with the parameters in
    /// [`FcosConfig::assignment`](crate::FcosConfig::assignment).
    #[default]
    Fcos,
    /// By the IoU of anchors.
    Atss(AtssConfig),
    /// By the predictions: task alignment learning.
    Tal(TalConfig),
    /// By the predictions: simplified optimal transport.
    SimOta(SimOtaConfig),
    /// By the predictions: dual weighting.
    Dw(DwConfig),
}

impl AssignerConfig {
    /// The classification loss that the targets of the rule are made for, if it has soft labels or
    /// weights; other rules go with any.
    pub fn classification(&self) -> Option<ClassificationLoss> {
        match self {
            Self::Tal(rule) if rule.soft_targets => Some(ClassificationLoss::QUALITY_FOCAL),
            Self::Dw(_) => Some(ClassificationLoss::Varifocal {
                alpha: 1.0,
                gamma: 2.0,
            }),
            _ => None,
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    ///
    /// The first invalid field, such as `tal.top_k`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (name, checked) = match self {
            Self::Fcos => return Ok(()),
            Self::Atss(rule) => ("atss", rule.validate()),
            Self::Tal(rule) => ("tal", rule.validate()),
            Self::SimOta(rule) => ("simota", rule.validate()),
            Self::Dw(rule) => ("dw", rule.validate()),
        };
        checked.map_err(|error| error.within(name))
    }
}

/// A rule of either kind.
#[derive(Clone, Debug)]
pub enum Assigner {
    /// Uses the objects alone; a training runs it on the data loading workers.
    Static(Arc<dyn AssignmentRule>),
    /// Uses the predictions of the step.
    ByPrediction(Arc<dyn PredictionAssignmentRule>),
}
