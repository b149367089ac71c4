//! A set of training runs, each trained once.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::Error;
use fcos_burn::{
    detect::json::read_json,
    eval::Evaluation,
    train::run::EpochRow,
    train::{InitialWeights, Interrupter, Outcome, RunConfig, RunFolder, Trainer},
};
use fcos_burn_cli::terminal::message;
use serde_json::Value;

use super::rows::Row;

/// Prefix of the folder names of runs.
const SEED: &str = "seed-";

/// A set of rows, seeds and their runs.
#[derive(Clone)]
pub struct Study {
    /// Configuration of all runs, except for objective and seed. Its length does not depend on the data, so that
    /// runs of another length are not taken for its own.
    pub config: RunConfig,
    /// The rows.
    pub rows: Vec<Row>,
    /// Number of seeds, starting at the seed of the configuration.
    pub seeds: u64,
    /// The folder that contains each run as `ROW/seed-SEED`.
    pub folder: PathBuf,
}

/// A finished run.
pub struct FinishedRun {
    /// Its seed.
    pub seed: u64,
    /// Its folder.
    pub folder: RunFolder,
    /// The evaluation of its last epoch.
    pub evaluation: Evaluation,
    /// Metrics of its epochs.
    pub epochs: Vec<EpochRow>,
}

impl Study {
    /// Trains the runs that are not finished. Trains all rows with one seed before the next seed,
    /// so that the rows can be compared early. Returns `false` if it was interrupted.
    ///
    /// # Errors
    ///
    /// Names the run that fails, or whose folder has another configuration.
    pub fn train(&self, only: &[String], interrupter: &Interrupter) -> Result<bool, Error> {
        let seeds = self.config.seed..self.config.seed.saturating_add(self.seeds);
        let mut left = Vec::new();
        for seed in seeds {
            for row in &self.rows {
                let wanted = only.is_empty() || only.contains(&row.name);
                if wanted && self.finished(row, seed)?.is_none() {
                    left.push((row, seed));
                }
            }
        }
        let started = Instant::now();
        for (done, (row, seed)) in left.iter().enumerate() {
            let rest = left.len() - done;
            let estimate = match done {
                0 => String::new(),
                _ => format!(
                    ", about {} left",
                    hours(started.elapsed() / done as u32 * rest as u32)
                ),
            };
            message(format_args!(
                "== {}, seed {seed}: run {} of {}{estimate}",
                row.label,
                done + 1,
                left.len()
            ));
            let folder = self.path(row, *seed);
            let outcome = match folder.join("config.json").exists() {
                true => Trainer::new()
                    .with_interrupter(interrupter.clone())
                    .resume(&folder)?,
                false => self.start(row, *seed, interrupter)?,
            };
            if let Outcome::Interrupted = outcome {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn start(&self, row: &Row, seed: u64, interrupter: &Interrupter) -> Result<Outcome, Error> {
        let config = row.apply(&self.config).with_seed(seed);
        let trainer = Trainer::new().with_interrupter(interrupter.clone());
        Ok(trainer.train(config, self.path(row, seed))?)
    }

    /// The finished runs of a row in order of their seeds, including seeds that were not asked for.
    ///
    /// # Errors
    ///
    /// Names the run whose files cannot be read, or that has another configuration.
    pub fn finished_runs(&self, row: &Row) -> Result<Vec<FinishedRun>, Error> {
        let names = names_in(&self.folder.join(&row.name))?;
        let seeds = names.iter().filter_map(|name| name.strip_prefix(SEED));
        let mut seeds: Vec<u64> = seeds.filter_map(|seed| seed.parse().ok()).collect();
        seeds.sort_unstable();
        let runs = seeds.into_iter().map(|seed| self.finished(row, seed));
        runs.filter_map(Result::transpose).collect()
    }

    fn finished(&self, row: &Row, seed: u64) -> Result<Option<FinishedRun>, Error> {
        let path = self.path(row, seed);
        if !path.join("config.json").exists() {
            return Ok(None);
        }
        let folder = RunFolder::open(&path)?;
        let mut found: RunConfig = folder.read_config()?;
        if found.initial_weights.is_none() {
            found.initial_weights = self.common_weights()?;
        }
        let wanted = row.apply(&self.config).with_seed(seed);
        check_configuration(found, wanted, &path)?;
        let Some(evaluation) = folder.read_evaluation()? else {
            return Ok(None);
        };
        Ok(Some(FinishedRun {
            seed,
            epochs: folder.read_metrics()?,
            folder,
            evaluation,
        }))
    }

    /// What the runs of earlier versions, whose configurations do not state it, started from.
    fn common_weights(&self) -> Result<Option<InitialWeights>, Error> {
        let path = self.folder.join("initial-weights.json");
        match path.exists() {
            true => Ok(read_json(&path)?),
            false => Ok(None),
        }
    }

    fn path(&self, row: &Row, seed: u64) -> PathBuf {
        self.folder.join(&row.name).join(format!("{SEED}{seed}"))
    }
}

/// The names of the entries of a folder; none if it does not exist.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::io(folder))?.file_name();
        names.extend(name.into_string().ok());
    }
    Ok(names)
}

/// Fails if the configuration of a run, `found`, is not that of a training run with `wanted`. Names the first value that
/// differs.
pub(super) fn check_configuration(
    found: RunConfig,
    mut wanted: RunConfig,
    path: &Path,
) -> Result<(), Error> {
    // These follow from the data set. The number of workers and the memory do not affect the result, nor does the
    // kind of the devices if their number is the same.
    wanted.data.categories = found.data.categories.clone();
    wanted.model.num_classes = found.model.num_classes;
    wanted.workers = found.workers;
    wanted.image_memory = found.image_memory;
    if wanted.devices.len() == found.devices.len() {
        wanted.devices = found.devices.clone();
    }
    // A run records absolute paths, and that it started from random weights.
    let recorded = |mut config: RunConfig| {
        config.initial_weights.get_or_insert(InitialWeights::Random);
        config.with_absolute_paths()
    };
    let (found, wanted) = (recorded(found), recorded(wanted));
    match difference(&json(&found, path)?, &json(&wanted, path)?) {
        None => Ok(()),
        Some(key) => Err(Error::Run {
            path: path.to_owned(),
            cause: format!("was trained with another {key}; use another output folder"),
        }),
    }
}

fn json(config: &RunConfig, path: &Path) -> Result<Value, Error> {
    Ok(serde_json::to_value(config).map_err(fcos_burn::detect::Error::json(path))?)
}

/// The dotted path of the first key whose values differ.
fn difference(a: &Value, b: &Value) -> Option<String> {
    let (Value::Object(a), Value::Object(b)) = (a, b) else {
        return (a != b).then(String::new);
    };
    let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
    keys.into_iter().find_map(|key| {
        let (a, b) = (a.get(key), b.get(key));
        let rest = difference(a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null))?;
        Some(match rest.as_str() {
            "" => key.clone(),
            rest => format!("{key}.{rest}"),
        })
    })
}

fn hours(duration: Duration) -> String {
    let minutes = duration.as_secs().div_ceil(60);
    match minutes / 60 {
        0 => format!("{minutes} min"),
        hours => format!("{hours} h {} min", minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn::train::config::{DataSource, TrainingLength};

    use super::*;

    #[test]
    fn a_run_is_recognized_by_what_decides_its_result() {
        let at = |source: &Path| {
            let mut config = RunConfig::small();
            config.data.source = DataSource::Folder(source.to_owned());
            config
        };
        let relative = || at(Path::new("mine"));
        let trained = |mut config: RunConfig| {
            config.model.num_classes = 3;
            (config.with_absolute_paths().with_workers(7)).with_image_memory(1)
        };
        let error = |found, wanted| {
            let checked = check_configuration(found, wanted, Path::new("run"));
            checked.err().map(|error| error.to_string())
        };
        assert_eq!(error(trained(relative()), relative()), None);
        let longer = relative().with_duration(TrainingLength::Epochs(5));
        for (found, key) in [
            (at(Path::new("others")), "data.source.folder"),
            (relative().with_batch_size(16), "batch_size"),
            (longer, "duration"),
            (
                relative().with_initial_weights(InitialWeights::Builtin),
                "initial_weights",
            ),
        ] {
            let error = error(trained(found), relative()).unwrap();
            assert!(error.contains(&format!("another {key}")), "{error}");
        }
    }
}
