//! The configuration of parameters that are trained differently from the others.

use fcos_burn_model::ConfigError;
use regex::Regex;
use serde::{Deserialize, Serialize};

/// Parameters with their own learning rate or weight decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ParameterGroup {
    /// A regular expression that is found in the names of the parameters, such as `^backbone\.` (see
    /// [`OptimizationConfig::groups`](super::OptimizationConfig::groups)).
    pub pattern: String,
    /// The learning rate as a multiple of what it would be without the group.
    #[serde(default = "one")]
    pub learning_rate_factor: f64,
    /// The weight decay of all parameters of the group, biases included. `None` changes nothing.
    #[serde(default)]
    pub weight_decay: Option<f64>,
}

fn one() -> f64 {
    1.0
}

impl ParameterGroup {
    /// A group that changes nothing yet.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            learning_rate_factor: 1.0,
            weight_decay: None,
        }
    }

    /// Sets [`learning_rate_factor`](Self::learning_rate_factor).
    #[must_use]
    pub fn with_learning_rate_factor(self, learning_rate_factor: f64) -> Self {
        Self {
            learning_rate_factor,
            ..self
        }
    }

    /// Sets [`weight_decay`](Self::weight_decay).
    #[must_use]
    pub fn with_weight_decay(self, weight_decay: Option<f64>) -> Self {
        Self {
            weight_decay,
            ..self
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        pattern("pattern", &self.pattern)?;
        let checks = [
            ("learning_rate_factor", self.learning_rate_factor),
            ("weight_decay", self.weight_decay.unwrap_or(0.0)),
        ];
        checks.into_iter().try_for_each(|(field, value)| {
            let holds = value.is_finite() && value >= 0.0;
            ConfigError::ensure(holds, field, value, "at least 0 and finite")
        })
    }
}

/// The regular expression in `field`.
///
/// # Errors
///
/// Names the field and the syntax error.
pub(crate) fn pattern(field: &'static str, text: &str) -> Result<Regex, ConfigError> {
    Regex::new(text).map_err(|error| {
        // The last line says what is wrong, those before it where.
        let cause = error.to_string();
        let cause = cause.lines().last().unwrap_or_default().trim();
        ConfigError::new(field, text, format!("a regular expression ({cause})"))
    })
}
