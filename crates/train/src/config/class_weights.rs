//! The configuration of the weights of the classes.

use std::collections::BTreeMap;

use fcos_burn_data::{Category, DetectionDataset, list_names};
use fcos_burn_loss::effective_number_weights;
use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

/// Factors of the classification loss of each class, at positive and negative locations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ClassWeights {
    /// From the effective number of training objects: see [`effective_number_weights`].
    EffectiveNumber {
        /// β, in `[0, 1)`: 0 gives all classes the same weight, values near 1 weight classes by the
        /// inverse of their number of objects.
        #[serde(default = "usual_beta")]
        beta: f64,
    },
    /// By the name of the class, finite and at least 0. Other classes have the weight 1.
    Given(BTreeMap<String, f64>),
}

fn usual_beta() -> f64 {
    0.999
}

impl ClassWeights {
    /// Weights from the effective number of objects with β = 0.999.
    pub fn effective_number() -> Self {
        Self::EffectiveNumber { beta: usual_beta() }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::EffectiveNumber { beta } => {
                let field = "class_weights.effective-number.beta";
                let holds = (0.0..1.0).contains(beta);
                ConfigError::ensure(holds, field, beta, "at least 0 and below 1")
            }
            Self::Given(weights) => weights.iter().try_for_each(|(class, weight)| {
                let field = format!("class_weights.given.{class}");
                let holds = weight.is_finite() && *weight >= 0.0;
                ConfigError::ensure(holds, field, weight, "at least 0 and finite")
            }),
        }
    }

    /// The weight of each class of the training data.
    ///
    /// # Errors
    ///
    /// Names a class that the data does not have.
    pub fn of(&self, train: &DetectionDataset) -> Result<Vec<f64>, ConfigError> {
        match self {
            Self::EffectiveNumber { beta } => {
                Ok(effective_number_weights(&train.objects_by_class(), *beta))
            }
            Self::Given(weights) => by_class("class_weights.given", weights, train.categories())
                .map(|weights| weights.into_iter().map(|w| w.unwrap_or(1.0)).collect()),
        }
    }
}

/// The value of each class that is named in `field`.
///
/// # Errors
///
/// Names a class that is none of `categories`.
pub(crate) fn by_class(
    field: &'static str,
    values: &BTreeMap<String, f64>,
    categories: &[Category],
) -> Result<Vec<Option<f64>>, ConfigError> {
    let names: Vec<&str> = categories.iter().map(|class| class.name.as_str()).collect();
    if let Some(unknown) = values.keys().find(|name| !names.contains(&name.as_str())) {
        let requirement = format!("named after classes of the data: {}", list_names(&names));
        return Err(ConfigError::new(field, unknown, requirement));
    }
    Ok(names
        .iter()
        .map(|&name| values.get(name).copied())
        .collect())
}
