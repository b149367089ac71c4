//! Whether a training run has stopped improving.

use std::fmt;

use crate::{config::EarlyStopping, run::EpochRow};

/// Why a training run ends before its last epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stopped {
    /// The epoch of the last improvement.
    epoch: usize,
    /// Its AP, in `[0, 1]`.
    ap: f64,
    patience: usize,
    min_improvement: f64,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            epoch, patience, ..
        } = self;
        let points = 100.0 * self.min_improvement;
        let more = match points > 0.0 {
            true => format!(" by more than {points:.2}"),
            false => String::new(),
        };
        let ap = 100.0 * self.ap;
        write!(
            f,
            "stopped early: AP has not risen{more} above the {ap:.1} of epoch {epoch} in {patience} epochs"
        )
    }
}

impl EarlyStopping {
    /// Whether a training whose completed epochs are `rows` ends with the last of them. Epochs
    /// without AP neither improve nor end a training run.
    pub(super) fn verdict(&self, rows: &[EpochRow]) -> Option<Stopped> {
        let mut aps = rows.iter().filter_map(|row| Some((row.epoch, row.ap()?)));
        let mut improved = aps.next()?;
        for (epoch, ap) in aps {
            if ap > improved.1 + self.min_improvement {
                improved = (epoch, ap);
            }
        }
        let last = rows.last()?;
        let waited = last.epoch - improved.0;
        let is_over = last.ap().is_some() && waited >= self.patience;
        is_over.then_some(Stopped {
            epoch: improved.0,
            ap: improved.1,
            patience: self.patience,
            min_improvement: self.min_improvement,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The number of epochs after which a training run with these APs stops.
    fn length(stopping: EarlyStopping, aps: &[Option<f64>]) -> usize {
        let rows = EpochRow::with_aps(aps);
        let mut lengths = 1..rows.len();
        let stopped = lengths.find(|&length| stopping.verdict(&rows[..length]).is_some());
        stopped.unwrap_or(rows.len())
    }

    #[test]
    fn a_training_ends_when_it_has_not_improved_for_the_patience() {
        let aps = [0.1, 0.3, 0.2, 0.3, 0.31, 0.3, 0.1, 0.9].map(Some);
        let new = EarlyStopping::new;
        assert_eq!(length(new(1), &aps), 3);
        // Epochs 3 and 4 are not better than epoch 2.
        assert_eq!(length(new(2), &aps), 4);
        // Epoch 5 is, then 6, 7 and 8 would have to be.
        assert_eq!(length(new(3), &aps), 8);
        // An improvement has to exceed 0.02.
        let by = |patience| new(patience).with_min_improvement(0.02);
        assert_eq!(length(by(3), &aps), 5);
        assert_eq!(length(by(6), &aps), 8);
        // Small steps add up.
        let slow = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15].map(Some);
        assert_eq!(length(by(3), &slow), 6);
        assert_eq!(length(by(2), &slow), 3);
    }

    #[test]
    fn epochs_without_validation_wait_for_the_next_one() {
        let aps = [Some(0.3), None, None, Some(0.2), None, Some(0.1), None];
        let new = EarlyStopping::new;
        assert_eq!(length(new(1), &aps), 4);
        assert_eq!(length(new(2), &aps), 4);
        assert_eq!(length(new(4), &aps), 6);
        // Without validation objects there is no AP.
        assert_eq!(length(new(1), &[None; 5]), 5);
    }

    #[test]
    fn the_reason_names_the_best_epoch() {
        let rows = EpochRow::with_aps(&[Some(0.125), Some(0.5), Some(0.501), Some(0.2)]);
        let reason = |stopping: EarlyStopping| stopping.verdict(&rows).unwrap().to_string();
        assert_eq!(
            reason(EarlyStopping::new(1)),
            "stopped early: AP has not risen above the 50.1 of epoch 3 in 1 epochs"
        );
        assert_eq!(
            reason(EarlyStopping::new(2).with_min_improvement(0.01)),
            "stopped early: AP has not risen by more than 1.00 above the 50.0 of epoch 2 in 2 epochs"
        );
    }
}
