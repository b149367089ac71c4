//! The order of trials, and when they end.

use serde::{Deserialize, Serialize};

use super::{SearchSpace, SuccessiveHalving, TrialEnd, TrialEpoch, TrialResult, TrialValues};
use crate::Error;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TuningOutcome {
    /// All trials have ended.
    Finished,
    /// The time was over after an epoch.
    OutOfTime,
    /// The interrupter stopped it.
    Interrupted,
}

/// The settings of a search, and its results so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) trials: usize,
    pub(super) seed: u64,
    /// The epochs of a trial that is not stopped.
    pub(super) epochs: usize,
    pub(super) halving: SuccessiveHalving,
    pub(super) space: SearchSpace,
    /// Of the trials that have ended, in order.
    pub(super) results: Vec<TrialResult>,
}

impl Record {
    /// The values of a trial.
    pub(super) fn values(&self, trial: usize) -> TrialValues {
        self.space.sample(self.seed, trial)
    }

    /// The best trial: of the completed ones, if there are any, the first with the highest AP.
    pub(super) fn best(&self) -> Option<&TrialResult> {
        let with_ap = self.results.iter().filter(|result| result.ap().is_some());
        with_ap.reduce(|best, other| match other.rank() > best.rank() {
            true => other,
            false => best,
        })
    }

    fn seconds(&self) -> f64 {
        self.results.iter().map(TrialResult::seconds).sum()
    }

    /// Judges the next trial, which may train until all trials together have taken `seconds`.
    fn judge(&self, seconds: Option<f64>) -> Judge {
        Judge {
            halving: self.halving,
            last: self.epochs,
            earlier: self.results.iter().map(|r| r.epochs.clone()).collect(),
            seconds_left: seconds.map(|seconds| seconds - self.seconds()),
        }
    }
}

/// Decides after each epoch whether a trial continues.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    halving: SuccessiveHalving,
    last: usize,
    earlier: Vec<Vec<TrialEpoch>>,
    seconds_left: Option<f64>,
}

impl Judge {
    /// Whether a trial with these epochs is trained further.
    pub(super) fn continues(&self, epochs: &[TrialEpoch]) -> bool {
        self.end(epochs).is_none() && !self.is_out_of_time(epochs)
    }

    /// How a trial with these epochs has ended, if it has.
    fn end(&self, epochs: &[TrialEpoch]) -> Option<TrialEnd> {
        if epochs.len() >= self.last {
            Some(TrialEnd::Completed)
        } else if self.halving.continues(epochs, &self.earlier) {
            None
        } else {
            Some(TrialEnd::Stopped)
        }
    }

    fn is_out_of_time(&self, epochs: &[TrialEpoch]) -> bool {
        let seconds: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
        self.seconds_left.is_some_and(|left| seconds >= left)
    }
}

/// Trains the trials of a search.
pub(super) trait TrainTrial {
    /// Trains a trial from where it is, until the judge or something else stops it.
    fn train(
        &mut self,
        trial: usize,
        values: &TrialValues,
        judge: &Judge,
    ) -> Result<Trained, Error>;

    /// Keeps the results so far.
    fn save(&mut self, record: &Record) -> Result<(), Error>;
}

/// A trial after training.
pub(super) struct Trained {
    /// Its epochs so far.
    pub(super) epochs: Vec<TrialEpoch>,
    /// How the training itself has ended: it stopped early by its own configuration, or diverged.
    pub(super) end: Option<TrialEnd>,
}

/// Trains the trials that are left.
pub(super) fn search(
    record: &mut Record,
    seconds: Option<f64>,
    trainer: &mut impl TrainTrial,
) -> Result<TuningOutcome, Error> {
    while record.results.len() < record.trials {
        let trial = record.results.len();
        let judge = record.judge(seconds);
        if judge.is_out_of_time(&[]) {
            return Ok(TuningOutcome::OutOfTime);
        }
        let values = record.values(trial);
        let Trained { epochs, end } = trainer.train(trial, &values, &judge)?;
        let end = match end.or_else(|| judge.end(&epochs)) {
            Some(end) => end,
            None if judge.is_out_of_time(&epochs) => return Ok(TuningOutcome::OutOfTime),
            None => return Ok(TuningOutcome::Interrupted),
        };
        record.results.push(TrialResult {
            trial,
            values,
            epochs,
            end,
        });
        trainer.save(record)?;
    }
    Ok(TuningOutcome::Finished)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// AP rises to a height that depends on the learning rate; rates above 0.5 diverge after an epoch.
    #[derive(Default)]
    struct Fake {
        /// The epochs of trials that have begun, as in their run folders.
        folders: BTreeMap<usize, Vec<TrialEpoch>>,
        /// Stops after so many epochs, as a signal does.
        stops_after: Option<usize>,
        trained: usize,
        saved: Option<Record>,
    }

    fn ap(rate: f64, epoch: usize) -> f64 {
        (-(rate.log10() + 2.0).powi(2)).exp() * (1.0 - 0.5f64.powi(epoch as i32))
    }

    impl TrainTrial for Fake {
        fn train(
            &mut self,
            trial: usize,
            values: &TrialValues,
            judge: &Judge,
        ) -> Result<Trained, Error> {
            let rate = values["optimization.learning_rate"].as_f64().unwrap();
            let epochs = self.folders.entry(trial).or_default();
            let mut end = None;
            while judge.continues(epochs) && self.stops_after != Some(self.trained) {
                self.trained += 1;
                let epoch = epochs.len() + 1;
                if rate > 0.5 && epoch > 1 {
                    end = Some(TrialEnd::Diverged);
                    break;
                }
                epochs.push(TrialEpoch {
                    epoch,
                    seconds: 10.0,
                    ap: Some(ap(rate, epoch)),
                });
            }
            let epochs = epochs.clone();
            Ok(Trained { epochs, end })
        }

        fn save(&mut self, record: &Record) -> Result<(), Error> {
            self.saved = Some(record.clone());
            Ok(())
        }
    }

    fn record(trials: usize) -> Record {
        let space = json!({"optimization.learning_rate": {"log_uniform": [0.0001, 1.0]}});
        Record {
            trials,
            seed: 5,
            epochs: 9,
            halving: SuccessiveHalving::default(),
            space: serde_json::from_value(space).unwrap(),
            results: Vec::new(),
        }
    }

    fn finished(trials: usize) -> (Record, Fake) {
        let (mut record, mut fake) = (record(trials), Fake::default());
        let outcome = search(&mut record, None, &mut fake).unwrap();
        assert_eq!(outcome, TuningOutcome::Finished);
        (record, fake)
    }

    #[test]
    fn poor_trials_are_stopped_and_the_best_one_is_found() {
        let (record, fake) = finished(60);
        assert_eq!(fake.saved.as_ref(), Some(&record));
        let rate = |result: &TrialResult| {
            result.values["optimization.learning_rate"]
                .as_f64()
                .unwrap()
        };
        // AP has its maximum at 0.01 in every epoch, so the nearest rate wins.
        let distance = |result: &&TrialResult| (rate(result).log10() + 2.0).abs();
        let nearest = (record.results.iter())
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .unwrap();
        let best = record.best().unwrap();
        assert_eq!(best, nearest);
        assert_eq!((best.end, best.epochs.len()), (TrialEnd::Completed, 9));
        // All trials to the end would take 540 epochs.
        assert!(fake.trained < 180, "{}", fake.trained);
        let ended = |end| record.results.iter().filter(|r| r.end == end).count();
        assert!(ended(TrialEnd::Stopped) > 40);
        let diverged = record
            .results
            .iter()
            .filter(|r| r.end == TrialEnd::Diverged);
        assert!(
            diverged
                .clone()
                .all(|result| rate(result) > 0.5 && result.epochs.len() == 1)
        );
    }

    #[test]
    fn a_search_that_is_stopped_anywhere_has_the_same_result() {
        let (expected, fake) = finished(8);
        for stops_after in 0..fake.trained {
            let (mut record, mut fake) = (record(8), Fake::default());
            fake.stops_after = Some(stops_after);
            let outcome = search(&mut record, None, &mut fake).unwrap();
            assert_eq!(outcome, TuningOutcome::Interrupted, "{stops_after}");
            fake.stops_after = None;
            // What is in the file of the search and in the folders of the trials.
            let mut record = fake.saved.clone().unwrap_or(record);
            search(&mut record, None, &mut fake).unwrap();
            assert_eq!(record, expected, "{stops_after}");
        }
    }

    #[test]
    fn the_time_ends_a_search_after_an_epoch_and_more_time_continues_it() {
        let (expected, _) = finished(8);
        let (mut record, mut fake) = (record(8), Fake::default());
        for seconds in 1..100 {
            let outcome = search(&mut record, Some(f64::from(seconds)), &mut fake).unwrap();
            assert_eq!(outcome, TuningOutcome::OutOfTime);
            // The epoch in which the time ends is completed.
            let trained: f64 = 10.0 * fake.trained as f64;
            assert!(trained >= f64::from(seconds) && trained < f64::from(seconds) + 10.0);
        }
        let outcome = search(&mut record, Some(1e6), &mut fake).unwrap();
        assert_eq!((outcome, record), (TuningOutcome::Finished, expected));
    }

    #[test]
    fn more_trials_continue_a_finished_search() {
        let (mut record, mut fake) = finished(4);
        record.trials = 8;
        search(&mut record, None, &mut fake).unwrap();
        assert_eq!(record, finished(8).0);
    }
}
