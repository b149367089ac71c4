//! The folder of a search.

use std::{
    fmt, fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use burn::train::Interrupter;
use fcos_burn_detect::{
    device::DeviceName,
    json::{read_json, write_json},
    run_files,
};
use fcos_burn_model::{ConfigError, file::write_whole};

use super::{
    SearchSpace, SuccessiveHalving, TrialEnd, TrialEpoch, TrialResult, TrialValues, TuningOutcome,
    search::{Judge, Record, TrainTrial, Trained, search},
    table::shown,
    trial::percent,
};
use crate::{
    Error, InitialWeights, Outcome, RunConfig, RunFolder, Trainer, config::TrainingLength,
    run::EpochRow, training::LineRenderer,
};

/// The search and its results, in its folder.
const RECORD: &str = "tuning.json";

/// The configuration that the trials vary, in its folder.
const BASE: &str = "base.json";

/// The folder of the trials.
const TRIALS: &str = "trials";

/// The files that a trial keeps after its end.
const KEPT: [&str; 2] = [run_files::CONFIG, "metrics.json"];

/// The settings of a search.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TuningConfig {
    /// The number of trials.
    pub trials: usize,
    /// The values that they draw.
    pub space: SearchSpace,
    /// Which of them are stopped early.
    pub halving: SuccessiveHalving,
}

impl TuningConfig {
    /// 20 trials in the [space around](SearchSpace::around) a configuration, of which the best third continues after 1, 3,
    /// 9, … epochs.
    pub fn around(base: &RunConfig) -> Self {
        Self {
            trials: 20,
            space: SearchSpace::around(base),
            halving: SuccessiveHalving::default(),
        }
    }

    /// Sets [`trials`](Self::trials).
    #[must_use]
    pub fn with_trials(self, trials: usize) -> Self {
        Self { trials, ..self }
    }

    /// Sets [`space`](Self::space).
    #[must_use]
    pub fn with_space(self, space: SearchSpace) -> Self {
        Self { space, ..self }
    }

    /// Sets [`halving`](Self::halving).
    #[must_use]
    pub fn with_halving(self, halving: SuccessiveHalving) -> Self {
        Self { halving, ..self }
    }
}

/// An event of a search. Its text is a line for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TuningEvent {
    /// A trial starts, or continues in a resumed search.
    Started {
        /// Its number, counted from 0.
        trial: usize,
        /// The values of its configuration that differ from the base.
        values: TrialValues,
    },
    /// A trial has trained an epoch.
    Epoch {
        /// The number of the trial.
        trial: usize,
        /// The epoch.
        epoch: TrialEpoch,
    },
    /// A trial has ended.
    Ended(TrialResult),
}

impl fmt::Display for TuningEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { trial, values } => {
                write!(f, "trial {trial}:")?;
                for (path, value) in values {
                    write!(f, " {path} {}", shown(value))?;
                }
                Ok(())
            }
            Self::Epoch { trial, epoch } => {
                let (number, seconds) = (epoch.epoch, epoch.seconds);
                let ap = percent(epoch.ap);
                write!(f, "trial {trial} epoch {number}: AP {ap}, {seconds:.0} s")
            }
            Self::Ended(result) => {
                let (trial, end, epochs) = (result.trial, result.end, result.epochs.len());
                let ap = percent(result.ap());
                write!(f, "trial {trial} {end} after {epochs} epochs: AP {ap}")
            }
        }
    }
}

/// A search and its folder:
///
/// | File | Contents |
/// |---|---|
/// | `config.json` | the configuration of the best trial, for a training |
/// | `tuning.md` | all trials by rank, and the AP of their epochs |
/// | `tuning.json` | the search and its results |
/// | `base.json` | the configuration that the trials vary |
/// | `trials/NNN` | a run folder for each trial: after its end, `config.json` and `metrics.json`, and the weights of the best one |
pub struct Tuner {
    folder: PathBuf,
    base: RunConfig,
    record: Record,
    seconds: Option<f64>,
    interrupter: Interrupter,
    devices: Option<Vec<DeviceName>>,
    trainer: Box<dyn FnMut() -> Trainer>,
}

impl Tuner {
    /// A new search in `folder`. Trials train with `base` but for the values that they draw, and with its seed and number of
    /// epochs. If these depend on the data and [trainers](Self::with_trainer) have data of their own, call
    /// [`RunConfig::resolve_duration`] before.
    ///
    /// # Errors
    ///
    /// Fails if the folder has a search or files that it would overwrite, or cannot be written, if a value is invalid, if the length of the training is
    /// not given in epochs, or if it depends on data that cannot be opened. Names the value of a trial with which the
    /// configuration would be invalid.
    pub fn create(
        folder: impl AsRef<Path>,
        base: RunConfig,
        search: TuningConfig,
    ) -> Result<Self, Error> {
        Self::create_in(folder.as_ref(), base, search)
    }

    /// Not generic, so that it is compiled with this crate, as is the next one.
    fn create_in(folder: &Path, mut base: RunConfig, search: TuningConfig) -> Result<Self, Error> {
        search.space.validate()?;
        let within = |error: ConfigError| error.within("halving");
        search.halving.validate().map_err(within)?;
        base.validate()?;
        if let TrainingLength::AtLeast { .. } = base.duration {
            let (train, _) = base.data.open_splits()?;
            base.resolve_duration(train.len());
        }
        let TrainingLength::Epochs(epochs) = base.duration else {
            return Err(ConfigError::new("duration", base.duration, "a number of epochs").into());
        };
        // The configuration of the best trial repeats it, whoever reads it.
        base.initial_weights.get_or_insert(InitialWeights::Random);
        let base = base.with_absolute_paths();
        let record = Record {
            trials: search.trials,
            seed: base.seed,
            epochs,
            halving: search.halving,
            space: search.space,
            results: Vec::new(),
        };
        let tuner = Self::new(folder, base, record).with_trials(search.trials)?;
        let refused = |cause: String| Error::Run {
            path: folder.to_owned(),
            cause,
        };
        if tuner.record_path().exists() {
            let cause = "already holds a search: resume it, or choose another folder";
            return Err(refused(cause.to_owned()));
        }
        // They may be those of a run, or belong to weights beside them.
        for name in [run_files::CONFIG, BASE, TRIALS] {
            if folder.join(name).exists() {
                let cause = format!("already has '{name}', which the search would overwrite");
                return Err(refused(cause));
            }
        }
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        tuner.base.write(folder.join(BASE))?;
        Ok(tuner)
    }

    /// Whether `folder` has a search.
    pub fn is_search(folder: &Path) -> bool {
        folder.join(RECORD).is_file()
    }

    /// The search in `folder`, to continue it.
    ///
    /// # Errors
    ///
    /// Fails if the folder has no search, or its files are malformed.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_in(folder.as_ref())
    }

    fn open_in(folder: &Path) -> Result<Self, Error> {
        let record = read_json(&folder.join(RECORD))?;
        let path = folder.join(BASE);
        let base = RunConfig::read(&path)?;
        base.validate().map_err(Error::in_config(&path))?;
        Ok(Self::new(folder, base, record))
    }

    fn new(folder: &Path, base: RunConfig, record: Record) -> Self {
        Self {
            folder: folder.to_owned(),
            base,
            record,
            seconds: None,
            interrupter: Interrupter::new(),
            devices: None,
            trainer: Box::new(default_trainer),
        }
    }

    /// Sets the number of trials, which can be raised when a search is continued.
    ///
    /// # Errors
    ///
    /// Fails if it is 0 or less than the number of trials that have ended, or if a trial would have an invalid
    /// configuration.
    pub fn with_trials(mut self, trials: usize) -> Result<Self, Error> {
        let holds = (1..=100_000).contains(&trials);
        ConfigError::ensure(holds, "trials", trials, "from 1 to 100,000")?;
        let ended = self.record.results.len();
        let at_least = format!("at least {ended}, as so many have ended");
        ConfigError::ensure(trials >= ended, "trials", trials, at_least)?;
        for trial in self.record.results.len()..trials {
            let config = self.base.with_fields(&self.record.values(trial));
            let checked = config
                .map_err(Error::from)
                .and_then(|config| config.validate());
            checked.map_err(|error| Error::Trial {
                trial,
                error: Box::new(error),
            })?;
        }
        self.record.trials = trials;
        Ok(self)
    }

    /// Stops after the epoch in which all trials together have trained for this time. A continued search counts the time
    /// before, too.
    #[must_use]
    pub fn with_seconds(self, seconds: f64) -> Self {
        Self {
            seconds: Some(seconds),
            ..self
        }
    }

    /// Stops after the current step when `interrupter` requests it.
    #[must_use]
    pub fn with_interrupter(self, interrupter: Interrupter) -> Self {
        Self {
            interrupter,
            ..self
        }
    }

    /// Overrides the devices of the configuration.
    #[must_use]
    pub fn with_devices(self, devices: Vec<DeviceName>) -> Self {
        Self {
            devices: Some(devices),
            ..self
        }
    }

    /// Trains every trial with a trainer that `trainer` returns, for instance one with other terms or data. Its
    /// interrupter and stop rule are replaced.
    #[must_use]
    pub fn with_trainer(self, trainer: impl FnMut() -> Trainer + 'static) -> Self {
        Self {
            trainer: Box::new(trainer),
            ..self
        }
    }

    /// The configuration that the trials vary.
    pub fn base(&self) -> &RunConfig {
        &self.base
    }

    /// The trials that have ended, in order.
    pub fn results(&self) -> &[TrialResult] {
        &self.record.results
    }

    /// The best trial: of the completed ones, if there are any, the one with the highest AP.
    pub fn best(&self) -> Option<&TrialResult> {
        self.record.best()
    }

    /// The results as Markdown: all trials by rank, and the AP of their epochs.
    pub fn table(&self) -> String {
        self.record.to_string()
    }

    /// Trains the trials that are left. Calls `progress` with every event.
    ///
    /// # Errors
    ///
    /// Fails as [`Trainer::train`] does, except that a trial whose loss or gradient is not finite has diverged. Fails if
    /// the validation split has no objects, by which trials are compared.
    pub fn run(
        &mut self,
        progress: impl FnMut(TuningEvent) + Send + 'static,
    ) -> Result<TuningOutcome, Error> {
        let mut record = self.record.clone();
        let mut trials = Trials {
            tuner: self,
            progress: Progress(Arc::new(Mutex::new(progress))),
        };
        // Also removes what a search that was killed has left of ended trials.
        trials.save(&record)?;
        let seconds = trials.tuner.seconds;
        search(&mut record, seconds, &mut trials)
    }

    fn record_path(&self) -> PathBuf {
        self.folder.join(RECORD)
    }

    fn trial_path(&self, trial: usize) -> PathBuf {
        self.folder.join(TRIALS).join(format!("{trial:03}"))
    }
}

fn default_trainer() -> Trainer {
    // Progress is that of the search.
    Trainer::new().with_renderer(Box::new(LineRenderer::new(|_| {})))
}

/// Reports what happens, also from the thread of a training run.
#[derive(Clone)]
struct Progress(Arc<Mutex<dyn FnMut(TuningEvent) + Send>>);

impl Progress {
    fn report(&self, event: TuningEvent) {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner))(event);
    }
}

/// Trains trials in the folder of a search.
struct Trials<'a> {
    tuner: &'a mut Tuner,
    progress: Progress,
}

impl TrainTrial for Trials<'_> {
    fn train(
        &mut self,
        trial: usize,
        values: &TrialValues,
        judge: &Judge,
    ) -> Result<Trained, Error> {
        let path = self.tuner.trial_path(trial);
        let rows = |path: &Path| -> Result<(bool, Vec<EpochRow>), Error> {
            match RunFolder::open(path) {
                Ok(folder) => Ok((true, folder.read_metrics()?)),
                // It has not begun.
                Err(_) => Ok((false, Vec::new())),
            }
        };
        let (has_begun, so_far) = rows(&path)?;
        let so_far = TrialEpoch::of(&so_far);
        let mut end = None;
        if judge.continues(&so_far) && !self.tuner.interrupter.should_stop() {
            let values = values.clone();
            self.progress.report(TuningEvent::Started {
                trial,
                values: values.clone(),
            });
            let (judge, progress) = (judge.clone(), self.progress.clone());
            let rule = move |rows: &[EpochRow]| {
                let epochs = TrialEpoch::of(rows);
                if let Some(&epoch) = epochs.last() {
                    progress.report(TuningEvent::Epoch { trial, epoch });
                }
                match judge.continues(&epochs) && !lacks_ap(rows) {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            let tuner = &mut self.tuner;
            let mut trainer = (tuner.trainer)()
                .with_interrupter(tuner.interrupter.clone())
                .with_stop_rule(rule);
            if let Some(devices) = &tuner.devices {
                trainer = trainer.with_devices(devices.clone());
            }
            let trained = match has_begun {
                true => trainer.resume(&path),
                false => trainer.train(tuner.base.with_fields(&values)?, &path),
            };
            end = match trained {
                Err(Error::NotFinite { .. }) => Some(TrialEnd::Diverged),
                Ok(Outcome::Interrupted) => None,
                // By its own rule for early stopping.
                Ok(Outcome::Finished(_)) => Some(TrialEnd::Completed),
                Err(error) => return Err(error),
            };
        }
        let (_, rows) = rows(&path)?;
        if lacks_ap(&rows) {
            return Err(Error::Run {
                path,
                cause: "the validation split has no objects, so that trials cannot be compared"
                    .to_owned(),
            });
        }
        Ok(Trained {
            epochs: TrialEpoch::of(&rows),
            end,
        })
    }

    fn save(&mut self, record: &Record) -> Result<(), Error> {
        let tuner = &mut self.tuner;
        let is_new = record.results.len() > tuner.record.results.len();
        tuner.record = record.clone();
        write_json(&tuner.record_path(), record)?;
        let table = tuner.folder.join("tuning.md");
        write_whole(&table, tuner.table().as_bytes()).map_err(Error::io(&table))?;
        let best = record.best().map(|best| best.trial);
        if let Some(best) = best {
            let config: RunConfig = RunFolder::open(tuner.trial_path(best))?.read_config()?;
            config.write(tuner.folder.join(run_files::CONFIG))?;
        }
        for result in &record.results {
            let keeps_weights = best == Some(result.trial);
            shrink(&tuner.trial_path(result.trial), keeps_weights)?;
        }
        if let Some(result) = record.results.last().filter(|_| is_new) {
            self.progress.report(TuningEvent::Ended(result.clone()));
        }
        Ok(())
    }
}

/// Whether a validated epoch has no AP.
fn lacks_ap(rows: &[EpochRow]) -> bool {
    let validated = |row: &&EpochRow| row.validation.is_some();
    rows.iter().filter(validated).any(|row| row.ap().is_none())
}

/// Removes what a trial that has ended no longer needs.
fn shrink(folder: &Path, keeps_weights: bool) -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.map_err(Error::io(folder))?;
        let (name, path) = (entry.file_name(), entry.path());
        if KEPT.iter().any(|kept| name == *kept) || (keeps_weights && name == run_files::WEIGHTS) {
            continue;
        }
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(Error::io(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::config::EarlyStopping;

    fn tiny() -> RunConfig {
        RunConfig::tiny(32, TrainingLength::Epochs(3))
    }

    fn search_of(trials: usize) -> TuningConfig {
        let space = json!({
            "optimization.learning_rate": {"log_uniform": [0.001, 0.1]},
            "input.resize": {"choice": [
                {"fixed": {"width": 32, "height": 32}}, {"fixed": {"width": 64, "height": 32}},
            ]},
        });
        TuningConfig::around(&tiny())
            .with_trials(trials)
            .with_space(serde_json::from_value(space).unwrap())
    }

    /// What a trial has found, without its time.
    fn found(tuner: &Tuner) -> Vec<(TrialValues, Vec<Option<f64>>, TrialEnd)> {
        let aps = |result: &TrialResult| result.epochs.iter().map(|epoch| epoch.ap).collect();
        (tuner.results().iter())
            .map(|result| (result.values.clone(), aps(result), result.end))
            .collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_search_finds_a_configuration_and_continues_to_the_same_result() {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        let mut tuner = Tuner::create(&whole, tiny(), search_of(3)).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let reported = events.clone();
        let outcome = tuner.run(move |event| reported.lock().unwrap().push(event.to_string()));
        assert_eq!(outcome.unwrap(), TuningOutcome::Finished);
        let events = events.lock().unwrap();
        assert!(
            events[0].starts_with("trial 0: input.resize {"),
            "{events:?}"
        );
        assert!(events[1].starts_with("trial 0 epoch 1: AP "), "{events:?}");
        let ended = format!("trial 2 {} after", tuner.results()[2].end);
        assert!(events.last().unwrap().starts_with(&ended), "{events:?}");

        // The folders are small, and the configuration is that of the best trial.
        let best = tuner.best().unwrap();
        assert_eq!(best.end, TrialEnd::Completed);
        for trial in 0..3 {
            let kept = names(&whole.join(format!("trials/00{trial}")));
            let with_weights = ["config.json", "metrics.json", "model.bpk"];
            let expected = &with_weights[..if trial == best.trial { 3 } else { 2 }];
            assert_eq!(kept, expected, "{trial}");
        }
        let config: RunConfig = RunConfig::read(whole.join("config.json")).unwrap();
        assert_eq!(json!(config.input.resize), best.values["input.resize"]);
        assert_eq!(
            json!(config.optimization.learning_rate),
            best.values["optimization.learning_rate"]
        );
        config.validate().unwrap();
        let table = fs::read_to_string(whole.join("tuning.md")).unwrap();
        assert!(table.starts_with("# 3 of 3 trials"), "{table}");

        // A search that stops after every epoch.
        let parts = dir.path().join("parts");
        drop(
            Tuner::create(&parts, tiny(), search_of(2))
                .unwrap()
                .with_seconds(0.0)
                .run(|_| {}),
        );
        let mut rounds = 0;
        let tuner_of_parts = loop {
            let mut tuner = Tuner::open(&parts).unwrap().with_trials(3).unwrap();
            let seconds = tuner
                .results()
                .iter()
                .map(TrialResult::seconds)
                .sum::<f64>();
            let running = parts.join(format!("trials/00{}/metrics.json", tuner.results().len()));
            let rows: Vec<EpochRow> = read_json(&running).unwrap_or_default();
            let so_far = seconds + rows.iter().map(|row| row.seconds).sum::<f64>();
            tuner = tuner.with_seconds(so_far + 1e-9);
            match tuner.run(|_| {}).unwrap() {
                TuningOutcome::Finished => break tuner,
                outcome => assert_eq!(outcome, TuningOutcome::OutOfTime),
            }
            rounds += 1;
            assert!(rounds < 20);
        };
        assert!(rounds >= 3, "{rounds}");
        assert_eq!(found(&tuner_of_parts), found(&tuner));
    }

    #[test]
    fn a_trial_that_stops_by_its_own_configuration_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        // AP cannot rise by more than 1.
        let never = EarlyStopping::new(1).with_min_improvement(1.0);
        let base = tiny().with_early_stopping(Some(never));
        let mut tuner = Tuner::create(dir.path().join("search"), base, search_of(1)).unwrap();
        assert_eq!(tuner.run(|_| {}).unwrap(), TuningOutcome::Finished);
        let result = &tuner.results()[0];
        assert_eq!((result.end, result.epochs.len()), (TrialEnd::Completed, 2));
    }

    #[test]
    fn an_interrupted_trial_continues_and_a_diverged_one_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut search = search_of(2);
        let rates = json!({"choice": [1e38]});
        let rates = serde_json::from_value(rates).unwrap();
        search.space.insert("optimization.learning_rate", rates);
        let interrupter = Interrupter::new();
        interrupter.stop(Some("a signal"));
        let folder = dir.path().join("search");
        let tuner = Tuner::create(&folder, tiny(), search.clone()).unwrap();
        let mut tuner = tuner.with_interrupter(interrupter);
        assert_eq!(tuner.run(|_| {}).unwrap(), TuningOutcome::Interrupted);
        assert!(tuner.best().is_none());

        let mut tuner = Tuner::open(&folder).unwrap();
        assert_eq!(tuner.run(|_| {}).unwrap(), TuningOutcome::Finished);
        assert!(
            tuner
                .results()
                .iter()
                .all(|result| result.end == TrialEnd::Diverged)
        );
        assert_eq!(names(&folder.join("trials/001")), ["config.json"]);
        let error = Tuner::create(&folder, tiny(), search).err().unwrap();
        assert!(
            error.to_string().contains("already holds a search"),
            "{error}"
        );
    }

    #[test]
    fn a_length_that_depends_on_the_data_is_the_same_for_all_trials() {
        let dir = tempfile::tempdir().unwrap();
        // Four images in steps of two.
        let base = tiny().with_duration(TrainingLength::AtLeast {
            epochs: 1,
            iterations: 5,
        });
        let tuner = Tuner::create(dir.path().join("search"), base, search_of(1)).unwrap();
        assert_eq!(tuner.base().duration, TrainingLength::Epochs(3));
    }

    #[test]
    fn searches_that_cannot_be_are_refused_before_a_trial() {
        let dir = tempfile::tempdir().unwrap();
        let create = |base: RunConfig, search: TuningConfig| {
            let created = Tuner::create(dir.path(), base, search);
            created.err().unwrap().to_string()
        };
        let space = |space: serde_json::Value| {
            search_of(3).with_space(serde_json::from_value(space).unwrap())
        };
        let iterations = tiny().with_duration(TrainingLength::Iterations(7));
        for (error, part) in [
            (create(iterations, search_of(3)), "duration is 7 iterations"),
            (create(tiny(), search_of(0)), "trials is 0"),
            (create(tiny(), space(json!({}))), "space is empty"),
            (
                create(tiny(), space(json!({"no.such": {"uniform": [0, 1]}}))),
                "no.such",
            ),
            (
                create(tiny(), space(json!({"batch_size": {"choice": [0]}}))),
                "trial 0: batch_size is 0",
            ),
            (
                create(
                    tiny(),
                    space(json!({"duration": {"choice": [{"epochs": 2}, {"epochs": 3}]}})),
                ),
                "space.duration is given",
            ),
            (
                create(
                    tiny(),
                    space(json!({"data.source.shapes.train_images": {"choice": [4, 8]}})),
                ),
                "space.data.source.shapes.train_images is given",
            ),
            (
                create(
                    tiny(),
                    search_of(3).with_halving(SuccessiveHalving::default().with_factor(0)),
                ),
                "halving.factor is 0",
            ),
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn files_that_a_search_would_overwrite_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "base.json", "trials"] {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            let kept = folder.join(name);
            fs::write(&kept, "mine").unwrap();
            let error = Tuner::create(&folder, tiny(), search_of(1)).err().unwrap();
            let expected = format!("already has '{name}'");
            assert!(error.to_string().contains(&expected), "{error}");
            assert_eq!(fs::read_to_string(&kept).unwrap(), "mine");
            assert_eq!(names(&folder), [name]);
        }
    }
}
