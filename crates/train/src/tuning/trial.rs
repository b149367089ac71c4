//! The epochs, the end and the values of a trial.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::TrialValues;
use crate::run::EpochRow;

/// An epoch of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialEpoch {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Seconds that its training and validation took.
    pub seconds: f64,
    /// AP on the validation split, from 0 to 1; none if the epoch was not validated.
    pub ap: Option<f64>,
}

impl TrialEpoch {
    pub(super) fn of(rows: &[EpochRow]) -> Vec<Self> {
        let epoch = |row: &EpochRow| Self {
            epoch: row.epoch,
            seconds: row.seconds,
            ap: row.ap(),
        };
        rows.iter().map(epoch).collect()
    }
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TrialEnd {
    /// All epochs are trained, or it stopped early by its own configuration.
    Completed,
    /// It fell behind earlier trials.
    Stopped,
    /// Its loss or gradient became infinite or NaN.
    Diverged,
}

impl fmt::Display for TrialEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Diverged => "diverged",
        })
    }
}

/// A trial that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialResult {
    /// Its number, counted from 0.
    pub trial: usize,
    /// The values of its configuration that differ from the base, by path.
    pub values: TrialValues,
    /// Its epochs.
    pub epochs: Vec<TrialEpoch>,
    /// How it ended.
    pub end: TrialEnd,
}

impl TrialResult {
    /// The highest AP of its epochs.
    pub fn ap(&self) -> Option<f64> {
        let aps = self.epochs.iter().filter_map(|epoch| epoch.ap);
        aps.reduce(f64::max)
    }

    /// Seconds that its epochs took.
    pub fn seconds(&self) -> f64 {
        // A sum of no floating-point number would be −0.
        let seconds = self.epochs.iter().map(|epoch| epoch.seconds);
        seconds.fold(0.0, |sum, seconds| sum + seconds)
    }

    /// The order of trials: completed ones are higher, then those with a higher AP.
    pub(super) fn rank(&self) -> (bool, f64) {
        let ap = self.ap().unwrap_or(f64::NEG_INFINITY);
        (self.end == TrialEnd::Completed, ap)
    }
}

/// AP in percent.
pub(super) fn percent(ap: Option<f64>) -> String {
    ap.map_or("–".to_owned(), |ap| format!("{:.1}", 100.0 * ap))
}
