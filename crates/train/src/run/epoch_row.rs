//! The rows of `metrics.json`.

use std::collections::BTreeMap;

use fcos_burn_eval::{CocoMetric, Evaluation};
use serde::{Deserialize, Serialize};

/// What an epoch gave: a row of `metrics.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Seconds that its training and validation took.
    pub seconds: f64,
    /// Learning rate of its last iteration.
    pub learning_rate: f64,
    /// Means of the training step's figures over all steps, by name; those of mean IoU and class
    /// accuracy are over all positive locations.
    pub train: BTreeMap<String, f64>,
    /// Steps whose gradient was scaled down to the greatest norm that is allowed.
    #[serde(default)]
    pub clipped_steps: usize,
    /// Training images that could not be read since the training was started or gone on
    /// with; others took their place.
    #[serde(default)]
    pub unreadable_images: usize,
    /// The validation, if it could be evaluated.
    pub validation: Option<Evaluation>,
}

impl EpochRow {
    /// AP of the validation, if it is defined.
    pub fn ap(&self) -> Option<f64> {
        self.validation.as_ref()?.metric(CocoMetric::AP)
    }
}
