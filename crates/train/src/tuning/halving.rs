//! Which trials are stopped early.

use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

use super::TrialEpoch;

/// Successive halving of trials that run one after the other: the stopping rule of ASHA (Li et al., [A System for
/// Massively Parallel Hyperparameter Tuning](https://arxiv.org/abs/1810.05934), 2020) with one worker.
///
/// After r, rη, rη², … epochs, a trial is compared with all trials so far that have trained as long, by the highest AP of
/// their epochs until then. Of n trials including itself, it must be among the best max(1, ⌊n / η⌋) to continue; a tie with an
/// earlier one counts as worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SuccessiveHalving {
    /// The epochs r before the first comparison.
    pub first: usize,
    /// The factor η between comparisons, and the inverse of the share that continues; 1 stops no trial.
    pub factor: usize,
}

impl Default for SuccessiveHalving {
    fn default() -> Self {
        Self {
            first: 1,
            factor: 3,
        }
    }
}

impl SuccessiveHalving {
    /// Sets [`first`](Self::first).
    #[must_use]
    pub fn with_first(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// Sets [`factor`](Self::factor).
    #[must_use]
    pub fn with_factor(self, factor: usize) -> Self {
        Self { factor, ..self }
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// Names the first invalid value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::ensure(self.first > 0, "first", self.first, "at least 1")?;
        ConfigError::ensure(self.factor > 0, "factor", self.factor, "at least 1")
    }

    /// Whether trials are compared after this epoch.
    fn compares_after(&self, epoch: usize) -> bool {
        let mut compared = self.first;
        while compared < epoch && self.factor > 1 {
            compared = compared.saturating_mul(self.factor);
        }
        self.factor > 1 && compared == epoch
    }

    /// Whether a trial with these epochs continues, after these earlier trials.
    pub(super) fn continues(&self, epochs: &[TrialEpoch], earlier: &[Vec<TrialEpoch>]) -> bool {
        let after = epochs.len();
        if !self.compares_after(after) {
            return true;
        }
        let best = |epochs: &[TrialEpoch]| {
            let aps = epochs[..after].iter().filter_map(|epoch| epoch.ap);
            aps.fold(f64::NEG_INFINITY, f64::max)
        };
        let own = best(epochs);
        if own == f64::NEG_INFINITY {
            // It has not been validated yet.
            return true;
        }
        let others = earlier.iter().filter(|other| other.len() >= after);
        let others: Vec<f64> = others.map(|other| best(other)).collect();
        let rank = 1 + others.iter().filter(|other| **other >= own).count();
        rank <= ((others.len() + 1) / self.factor).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(aps: &[f64]) -> Vec<TrialEpoch> {
        let epoch = |(epoch, ap): (usize, &f64)| TrialEpoch {
            epoch,
            seconds: 1.0,
            ap: Some(*ap),
        };
        (1..).zip(aps).map(epoch).collect()
    }

    #[test]
    fn comparisons_are_a_factor_apart() {
        let compared = |halving: SuccessiveHalving| -> Vec<usize> {
            let epochs = 1..=30;
            epochs
                .filter(|epoch| halving.compares_after(*epoch))
                .collect()
        };
        let halving = SuccessiveHalving::default();
        assert_eq!(compared(halving), [1, 3, 9, 27]);
        assert_eq!(
            compared(halving.with_first(2).with_factor(2)),
            [2, 4, 8, 16]
        );
        assert!(compared(halving.with_factor(1)).is_empty());
    }

    #[test]
    fn the_best_third_continues() {
        let halving = SuccessiveHalving::default();
        let continues = |own: f64, others: &[f64]| {
            let others: Vec<_> = others.iter().map(|other| trial(&[*other])).collect();
            halving.continues(&trial(&[own]), &others)
        };
        // The first one, then only the best one, until there are six.
        assert!(continues(0.1, &[]));
        assert!(continues(0.2, &[0.1]));
        assert!(!continues(0.1, &[0.1]));
        assert!(!continues(0.4, &[0.1, 0.2, 0.3, 0.5]));
        assert!(continues(0.4, &[0.1, 0.2, 0.3, 0.5, 0.1]));
        assert!(!continues(0.3, &[0.1, 0.4, 0.3, 0.5, 0.1]));
    }

    #[test]
    fn only_trials_that_came_as_far_are_compared_by_their_best_epoch_until_then() {
        let halving = SuccessiveHalving::default();
        let earlier = [trial(&[0.9]), trial(&[0.1, 0.3, 0.2, 0.8])];
        assert!(halving.continues(&trial(&[0.1, 0.35, 0.1]), &earlier));
        assert!(!halving.continues(&trial(&[0.1, 0.1, 0.3]), &earlier));
        let mut unvalidated = trial(&[0.0]);
        unvalidated[0].ap = None;
        assert!(halving.continues(&unvalidated, &earlier));
        // No comparison after the second epoch.
        assert!(halving.continues(&trial(&[0.0, 0.0]), &earlier));
    }
}
