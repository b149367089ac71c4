//! Checkpoints: everything that a training needs to resume.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use burn::{
    module::Module,
    optim::{ModuleOptimizer, OptimizerRecord},
    tensor::Bytes,
};
use fcos_burn_detect::json::{read_json, write_json};
use fcos_burn_model::{
    Fcos,
    backbone::{Backbone, resnet::ResNet},
    file::{self, sync_folder_of, write_synced, write_whole},
    weights::read_record,
};
use serde::{Deserialize, Serialize};

use crate::{Error, config::OptimizationConfig, step::WeightAverage};

/// The number of checkpoints to keep: if the last one is damaged, the one before it is used.
const KEPT: usize = 2;

/// The position of a training run, between two optimizer steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The number of completed steps.
    pub iteration: usize,
    /// The number of steps in an epoch, if the position is not that of the start.
    #[serde(default)]
    pub(crate) steps_per_epoch: Option<usize>,
    /// The metrics of the current epoch so far.
    pub(crate) epoch: EpochProgress,
}

/// The metrics of the completed steps of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochProgress {
    /// Means of the step metrics, by name.
    pub(crate) means: BTreeMap<String, RunningMean>,
    /// The number of steps whose gradient was clipped.
    pub(crate) clipped: usize,
    /// Learning rate of the last step.
    pub(crate) learning_rate: f64,
    /// Seconds of training.
    pub(crate) seconds: f64,
}

/// A running weighted mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunningMean {
    sum: f64,
    weight: f64,
}

impl RunningMean {
    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    /// The mean; 0 without values.
    pub(crate) fn value(self) -> f64 {
        match self.weight > 0.0 {
            true => self.sum / self.weight,
            false => 0.0,
        }
    }
}

/// The contents of `position.json`: the position, and the checksums of the files beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    #[serde(flatten)]
    position: Position,
    /// CRC-32 of each file, by name.
    checksums: BTreeMap<String, u32>,
}

/// The folder with the checkpoints of a run. Each checkpoint is a folder named after its
/// iteration, with `model.bpk`, `optimizer.bpk`, `average.bpk` if there is an average, and
/// `position.json`. It is written atomically.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    path: PathBuf,
}

/// Everything a training resumes from.
pub struct Checkpoint<B: Backbone = ResNet> {
    /// The number of steps, and the metrics of the epoch so far.
    pub position: Position,
    /// The weights after the last step.
    pub model: Fcos<B>,
    /// The optimizer with its state.
    pub optimizer: ModuleOptimizer,
    /// The averaged weights, if the training keeps an average.
    pub average: Option<WeightAverage<B>>,
    /// The error of a later checkpoint that is damaged, if this one replaces it.
    pub warning: Option<String>,
}

impl Checkpoints {
    /// The checkpoints in the folder `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of the data of the run.
    pub(crate) fn data_path(&self) -> PathBuf {
        self.path.join("data.json")
    }

    /// The record of the custom terms and assignment rule of the run.
    pub(crate) fn extensions_path(&self) -> PathBuf {
        self.path.join("extensions.json")
    }

    /// The iterations of all checkpoints, the last one first.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be read.
    pub fn iterations(&self) -> Result<Vec<usize>, Error> {
        let entries = fs::read_dir(&self.path).map_err(Error::io(&self.path))?;
        let mut iterations: Vec<usize> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        iterations.sort_unstable_by(|a, b| b.cmp(a));
        Ok(iterations)
    }

    /// Removes all checkpoints, including incomplete ones.
    ///
    /// # Errors
    ///
    /// Fails without removing anything if the folder contains anything else.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let removed = self.path.join(REMOVED);
        for path in self.of_unstarted_run()? {
            // A checkpoint that is partly removed would not be recognized as one.
            match path == removed || path == self.path.join(PARTIAL) {
                true => remove(&path)?,
                false => self.discard(&path)?,
            }
        }
        Ok(())
    }

    /// The checkpoints that a run without a configuration left, including incomplete ones.
    ///
    /// # Errors
    ///
    /// Fails if the folder contains anything else.
    pub(crate) fn of_unstarted_run(&self) -> Result<Vec<PathBuf>, Error> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let records = [self.data_path(), self.extensions_path()];
        let entries = fs::read_dir(&self.path).map_err(Error::io(&self.path))?;
        let mut ours = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io(&self.path))?;
            let (name, path) = (entry.file_name(), entry.path());
            let number = name.to_str().and_then(|name| name.parse::<usize>().ok());
            if number.is_some() && path.join(POSITION).is_file()
                || name == PARTIAL
                || name == REMOVED
            {
                ours.push(path);
            } else if !records.contains(&path) && !file::is_partial(&path) {
                return Err(Error::Run {
                    path,
                    cause: "is in the checkpoint folder, but is not a checkpoint: choose another folder"
                        .to_owned(),
                });
            }
        }
        Ok(ours)
    }

    /// Writes a checkpoint, then removes old ones.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be written; earlier checkpoints stay.
    pub fn save<B: Backbone>(
        &self,
        position: &Position,
        model: &Fcos<B>,
        optimizer: &ModuleOptimizer,
        average: Option<&WeightAverage<B>>,
    ) -> Result<(), Error> {
        let partial = self.path.join(PARTIAL);
        remove(&partial)?;
        if let Err(error) = write(&partial, position, model, optimizer, average) {
            // If the disk is full, free the space.
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
        let whole = self.path.join(position.iteration.to_string());
        self.discard(&whole)?;
        fs::rename(&partial, &whole).map_err(Error::io(&whole))?;
        sync_folder_of(&whole);
        let (later, others): (Vec<usize>, Vec<usize>) =
            (self.iterations()?.into_iter()).partition(|&iteration| iteration > position.iteration);
        // Later checkpoints were damaged: the training resumed from an earlier one.
        for iteration in later.into_iter().chain(others.into_iter().skip(KEPT)) {
            self.discard(&self.path.join(iteration.to_string()))?;
        }
        Ok(())
    }

    /// Removes a checkpoint. It is renamed first, so that no half-removed checkpoint has its name.
    fn discard(&self, checkpoint: &Path) -> Result<(), Error> {
        if !checkpoint.exists() {
            return Ok(());
        }
        let removed = self.path.join(REMOVED);
        remove(&removed)?;
        fs::rename(checkpoint, &removed).map_err(Error::io(checkpoint))?;
        remove(&removed)
    }

    /// Loads the last intact checkpoint into `model` and the optimizer.
    ///
    /// # Errors
    ///
    /// Fails with the error of the last checkpoint if none is intact, or if the checkpoint is of
    /// another model or optimizer. A checkpoint counts as damaged if it has averaged weights and
    /// `optimization` keeps no average, or the reverse.
    pub fn last<B: Backbone>(
        &self,
        model: &Fcos<B>,
        optimization: &OptimizationConfig,
    ) -> Result<Checkpoint<B>, Error> {
        let mut damage: Option<Error> = None;
        for iteration in self.iterations()? {
            match self.files(iteration, optimization) {
                Ok(files) => {
                    let warning = damage
                        .map(|damage| format!("{damage}; resuming from iteration {iteration}"));
                    let checkpoint = files.restore(model, optimization.optimizer(model)?)?;
                    return Ok(Checkpoint {
                        warning,
                        ..checkpoint
                    });
                }
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
        }
        Err(damage.unwrap_or_else(|| Error::Run {
            path: self.path.clone(),
            cause: "there is no checkpoint to resume from".to_owned(),
        }))
    }
}

/// The contents of the files of an intact checkpoint.
struct Files {
    folder: PathBuf,
    position: Position,
    model: Bytes,
    optimizer: Bytes,
    /// With its decay.
    average: Option<(Bytes, f64)>,
}

impl Checkpoints {
    fn files(&self, iteration: usize, optimization: &OptimizationConfig) -> Result<Files, Error> {
        let folder = self.path.join(iteration.to_string());
        let place = folder.join(POSITION);
        let contents: Contents = read_json(&place)?;
        if contents.position.iteration != iteration {
            return Err(unusable(&place)("it belongs to another iteration"));
        }
        let file = |name: &str| {
            let path = folder.join(name);
            let bytes = fs::read(&path).map_err(Error::io(&path))?;
            if contents.checksums.get(name) != Some(&crc32fast::hash(&bytes)) {
                return Err(unusable(&path)("its checksum does not match"));
            }
            Ok(Bytes::from_bytes_vec(bytes))
        };
        let has_average = contents.checksums.contains_key(AVERAGE);
        Ok(Files {
            model: file(MODEL)?,
            optimizer: file(OPTIMIZER)?,
            average: match optimization.average_decay {
                Some(decay) if has_average => Some((file(AVERAGE)?, decay)),
                None if !has_average => None,
                decay => {
                    return Err(unusable(&place)(format!(
                        "it was written {} averaged weights, but the configuration {} an average",
                        if has_average { "with" } else { "without" },
                        if decay.is_some() { "has" } else { "lacks" },
                    )));
                }
            },
            folder,
            position: contents.position,
        })
    }
}

impl Files {
    fn restore<B: Backbone>(
        self,
        model: &Fcos<B>,
        optimizer: ModuleOptimizer,
    ) -> Result<Checkpoint<B>, Error> {
        let weights = |name: &str, bytes: Bytes, model: Fcos<B>| {
            guarded(&self.folder.join(name), || {
                let record = read_record(bytes).map_err(|error| error.to_string())?;
                let model = model.try_load_record(record);
                model.map_err(|error| error.to_string())
            })
        };
        let model = weights(MODEL, self.model, model.clone())?;
        let average = self.average.map(|(bytes, decay)| {
            // Loading writes to running statistics, which clones share. `valid` makes a copy.
            let average = weights(AVERAGE, bytes, model.valid());
            average.map(|average| WeightAverage::resumed(average, decay))
        });
        let average = average.transpose()?;
        let bytes = self.optimizer;
        let optimizer = guarded(&self.folder.join(OPTIMIZER), || restored(optimizer, bytes))?;
        Ok(Checkpoint {
            position: self.position,
            model,
            optimizer,
            average,
            warning: None,
        })
    }
}

/// `optimizer` with the state that a file holds.
fn restored(optimizer: ModuleOptimizer, file: Bytes) -> Result<ModuleOptimizer, String> {
    let record = OptimizerRecord::from_bytes(file).map_err(|error| error.to_string())?;
    let tensors = record.len();
    let optimizer = optimizer.load_record(record);
    // Burn skips the state of another optimizer.
    match optimizer.to_record().len() == tensors {
        true => Ok(optimizer),
        false => Err("it is the state of another optimizer".to_owned()),
    }
}

/// Runs `restore` on the file at `path`. A panic in Burn becomes an error.
fn guarded<T>(path: &Path, restore: impl FnOnce() -> Result<T, String>) -> Result<T, Error> {
    let panicked = |_| Err("reading it causes a panic in Burn".to_owned());
    catch_unwind(AssertUnwindSafe(restore))
        .unwrap_or_else(panicked)
        .map_err(unusable(path))
}

/// A checkpoint that is being written, and one that is being removed.
const PARTIAL: &str = "partial";
const REMOVED: &str = "removed";

const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const AVERAGE: &str = "average.bpk";
const POSITION: &str = "position.json";

fn write<B: Backbone>(
    folder: &Path,
    position: &Position,
    model: &Fcos<B>,
    optimizer: &ModuleOptimizer,
    average: Option<&WeightAverage<B>>,
) -> Result<(), Error> {
    fs::create_dir(folder).map_err(Error::io(folder))?;
    let mut checksums = BTreeMap::new();
    let mut file = |name: &str, bytes: &dyn Fn(&Path) -> Result<Bytes, Error>| {
        let path = folder.join(name);
        let bytes = bytes(&path)?;
        checksums.insert(name.to_owned(), crc32fast::hash(&bytes));
        write_synced(&path, &bytes).map_err(Error::io(&path))
    };
    file(MODEL, &|path| model_bytes(model, path))?;
    file(OPTIMIZER, &|path| {
        optimizer.into_bytes().map_err(unusable(path))
    })?;
    if let Some(average) = average {
        file(AVERAGE, &|path| model_bytes(average.model(), path))?;
    }
    let contents = Contents {
        position: position.clone(),
        checksums,
    };
    Ok(write_json(&folder.join(POSITION), &contents)?)
}

/// Writes weights to a file atomically.
pub(crate) fn save_model<B: Backbone>(model: &Fcos<B>, path: &Path) -> Result<(), Error> {
    write_whole(path, &model_bytes(model, path)?).map_err(Error::io(path))
}

/// The weights as bytes of the file at `path`, which is named in errors.
fn model_bytes<B: Backbone>(model: &Fcos<B>, path: &Path) -> Result<Bytes, Error> {
    let record = model.clone().into_record();
    record.into_bytes().map_err(unusable(path))
}

fn unusable<E: ToString>(path: &Path) -> impl FnOnce(E) -> Error + use<'_, E> {
    |error| Error::Run {
        path: path.to_owned(),
        cause: format!("invalid checkpoint file: {}", error.to_string()),
    }
}

/// Removes a folder if it exists.
fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_detect::device::{DeviceName, Precision};
    use fcos_burn_model::FcosConfig;

    use super::*;
    use crate::{RunConfig, training::random_model};

    fn model(seed: u64) -> Fcos {
        let mut config = FcosConfig::small(1);
        config.backbone.width = 8;
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        let device = DeviceName::CPU.open(Precision::F32).unwrap();
        random_model(&config, seed, &device.autodiff()).unwrap()
    }

    fn optimization(average_decay: Option<f64>) -> OptimizationConfig {
        OptimizationConfig {
            average_decay,
            ..RunConfig::small().optimization
        }
    }

    #[test]
    fn the_last_intact_checkpoint_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned());
        let model = model(0);
        let optimization = optimization(None);
        let optimizer = optimization.optimizer(&model).unwrap();
        for iteration in [0, 5, 9] {
            let position = Position {
                iteration,
                ..Position::default()
            };
            checkpoints
                .save(&position, &model, &optimizer, None)
                .unwrap();
        }
        assert_eq!(checkpoints.iterations().unwrap(), [9, 5]);
        let last = || {
            checkpoints
                .last(&model, &optimization)
                .map(|found| found.position.iteration)
        };
        // Left by a process that was killed while writing or removing a checkpoint.
        for left in [PARTIAL, REMOVED] {
            fs::create_dir(dir.path().join(left)).unwrap();
            fs::write(dir.path().join(left).join(MODEL), "half").unwrap();
        }
        assert_eq!(last().unwrap(), 9);
        let position = Position {
            iteration: 9,
            ..Position::default()
        };
        checkpoints
            .save(&position, &model, &optimizer, None)
            .unwrap();
        assert_eq!(last().unwrap(), 9);

        // Left by a power failure, if the disk did not honor the sync.
        let path = dir.path().join("9").join(MODEL);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(last().unwrap(), 5);
        // The right length, but not the right bytes.
        let mut zeroed = whole.clone();
        let middle = whole.len() / 2;
        zeroed[middle..middle + 512].fill(0);
        fs::write(&path, &zeroed).unwrap();
        assert_eq!(last().unwrap(), 5);
        fs::write(dir.path().join("5").join(POSITION), "{").unwrap();
        let error = last().unwrap_err().to_string();
        assert!(error.contains("9/model.bpk"), "{error}");

        // A new checkpoint after an earlier one replaces the damaged one.
        let position = Position {
            iteration: 7,
            ..Position::default()
        };
        checkpoints
            .save(&position, &model, &optimizer, None)
            .unwrap();
        assert_eq!(checkpoints.iterations().unwrap(), [7, 5]);
        fs::rename(dir.path().join("7"), dir.path().join("8")).unwrap();
        let error = last().unwrap_err().to_string();
        assert!(error.contains("belongs to another iteration"), "{error}");
    }

    #[test]
    fn averages_are_loaded_if_the_configuration_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned());
        let model = model(0);
        let (averaged, plain) = (optimization(Some(0.9)), optimization(None));
        let other = self::model(1);
        let average = WeightAverage::new(&model, 0.9).updated(&other, 1);
        let bytes = |model: &Fcos| model_bytes(model, dir.path()).unwrap();
        assert!(bytes(average.model()) != bytes(&model));
        let position = Position::default();
        let optimizer = plain.optimizer(&model).unwrap();
        checkpoints
            .save(&position, &model, &optimizer, Some(&average))
            .unwrap();
        let found = checkpoints.last(&model, &averaged).unwrap();
        assert!(bytes(&found.model) == bytes(&model));
        assert!(bytes(found.average.unwrap().model()) == bytes(average.model()));
        let error = checkpoints.last(&model, &plain).err().unwrap().to_string();
        assert!(error.contains("with averaged weights"), "{error}");
        checkpoints
            .save(&position, &model, &optimizer, None)
            .unwrap();
        assert!(checkpoints.last(&model, &plain).unwrap().average.is_none());
        let error = checkpoints.last(&model, &averaged).err().unwrap();
        assert!(error.to_string().contains("without averaged weights"));
    }

    /// Checksums detect damage, but not forged files.
    #[test]
    fn files_that_make_burn_panic_are_errors() {
        use burn::store::burn_pack::{Tensor, Writer};
        use burn::tensor::{DType, Shape};

        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned());
        let model = model(0);
        let optimization = optimization(None);
        let optimizer = optimization.optimizer(&model).unwrap();
        checkpoints
            .save(&Position::default(), &model, &optimizer, None)
            .unwrap();
        let bytes = Bytes::from_bytes_vec(vec![0; 4]);
        let of_no_parameter = Tensor::new("a".into(), DType::F32, Shape::from([1]), None, bytes);
        let file = Writer::new(vec![of_no_parameter]).into_bytes().unwrap();
        let folder = dir.path().join("0");
        fs::write(folder.join(OPTIMIZER), &*file).unwrap();
        let mut contents: Contents = read_json(&folder.join(POSITION)).unwrap();
        let checksum = crc32fast::hash(&file);
        contents.checksums.insert(OPTIMIZER.to_owned(), checksum);
        write_json(&folder.join(POSITION), &contents).unwrap();
        let error = checkpoints.last(&model, &optimization).err().unwrap();
        let text = error.to_string();
        assert!(
            text.contains("0/optimizer.bpk") && text.contains("panic"),
            "{text}"
        );
    }
}
