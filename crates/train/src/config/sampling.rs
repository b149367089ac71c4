//! The configuration of which images an epoch shows.

use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

/// Which training images an epoch shows. It has as many as the training split in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Sampling {
    /// Each image once, in random order.
    #[default]
    Uniform,
    /// Images with rare classes more often: see
    /// [`RepeatFactors`](fcos_burn_data::RepeatFactors). The others are left out of some epochs.
    RepeatFactor {
        /// Classes in less than this fraction of the images are repeated, in `(0, 1]`.
        #[serde(default = "usual_threshold")]
        threshold: f64,
    },
}

fn usual_threshold() -> f64 {
    1e-3
}

impl Sampling {
    /// Repeat-factor sampling with the threshold of LVIS, 0.001.
    pub fn repeat_factor() -> Self {
        Self::RepeatFactor {
            threshold: usual_threshold(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let threshold = match *self {
            Self::Uniform => return Ok(()),
            Self::RepeatFactor { threshold } => threshold,
        };
        let holds = threshold > 0.0 && threshold <= 1.0;
        let field = "sampling.repeat-factor.threshold";
        ConfigError::ensure(holds, field, threshold, "above 0 and at most 1")
    }
}
