//! The configuration of early stopping.

use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

/// Ends the training when the AP on the validation split no longer improves. The best epoch is kept
/// as in a complete training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EarlyStopping {
    /// The training ends with the first validated epoch that is this many epochs after the last
    /// improvement. At least 1.
    pub patience: usize,
    /// By how much AP, in `[0, 1]`, must exceed the AP of the last improvement to be one.
    #[serde(default)]
    pub min_improvement: f64,
}

impl EarlyStopping {
    /// Any higher AP is an improvement.
    pub fn new(patience: usize) -> Self {
        Self {
            patience,
            min_improvement: 0.0,
        }
    }

    /// Sets [`min_improvement`](Self::min_improvement).
    #[must_use]
    pub fn with_min_improvement(self, min_improvement: f64) -> Self {
        Self {
            min_improvement,
            ..self
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::ensure(self.patience > 0, "patience", self.patience, "at least 1")?;
        let holds = (0.0..=1.0).contains(&self.min_improvement);
        let range = "between 0 and 1";
        ConfigError::ensure(holds, "min_improvement", self.min_improvement, range)
    }
}
