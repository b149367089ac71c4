//! Checkpoints: everything with which a training goes on after a step.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::{
    module::Module,
    optim::{ModuleOptimizer, OptimizerRecord},
    store::ModuleRecord,
    tensor::Bytes,
};
use fcos_burn_model::Fcos;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    run::{read_json, write_json, write_synced},
};

/// How many are kept: should the last one be unreadable, the one before it is there.
const KEPT: usize = 2;

/// Where a training stands: after a step of the optimiser.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Steps since the training began.
    pub(crate) iteration: usize,
    /// What the epoch gave so far.
    pub(crate) epoch: EpochSoFar,
}

/// What the steps of an epoch gave so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochSoFar {
    /// Sums of the steps' figures, by name.
    pub(crate) sums: BTreeMap<String, f64>,
    /// Steps whose gradient was scaled down.
    pub(crate) clipped: usize,
    /// Learning rate of the last step.
    pub(crate) learning_rate: f64,
    /// Seconds that it took.
    pub(crate) seconds: f64,
}

/// The folder of a run's checkpoints. Each is a folder named after the number of its
/// steps, with `model.bpk`, `optimizer.bpk` and `position.json`, and appears whole or
/// not at all.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    path: PathBuf,
}

/// A checkpoint that was read.
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    pub(crate) model: Fcos,
    pub(crate) optimizer: OptimizerRecord,
}

impl Checkpoints {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells the data of the run from other data.
    pub(crate) fn data_path(&self) -> PathBuf {
        self.path.join("data.json")
    }

    /// The numbers of steps of all checkpoints, the last one first.
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

    /// Writes a checkpoint, then removes all but the last ones.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be written; the checkpoints before it stay.
    pub(crate) fn save(
        &self,
        position: &Position,
        model: &Fcos,
        optimizer: &ModuleOptimizer,
    ) -> Result<(), Error> {
        let partial = self.path.join("partial");
        remove(&partial)?;
        if let Err(error) = write(&partial, position, model, optimizer) {
            // On a full disk, others need the space.
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
        let whole = self.path.join(position.iteration.to_string());
        self.discard(&whole)?;
        fs::rename(&partial, &whole).map_err(Error::io(&whole))?;
        for iteration in self.iterations()?.into_iter().skip(KEPT) {
            self.discard(&self.path.join(iteration.to_string()))?;
        }
        Ok(())
    }

    /// Removes a checkpoint: what is left of it if that is cut short no longer has its
    /// name.
    fn discard(&self, checkpoint: &Path) -> Result<(), Error> {
        if !checkpoint.exists() {
            return Ok(());
        }
        let removed = self.path.join("removed");
        remove(&removed)?;
        fs::rename(checkpoint, &removed).map_err(Error::io(checkpoint))?;
        remove(&removed)
    }

    /// The last checkpoint that can be read; its weights are in `model`, which is the
    /// run's.
    ///
    /// # Errors
    ///
    /// Fails if there is none, naming what is wrong with the last one.
    pub(crate) fn last(&self, model: &Fcos) -> Result<Checkpoint, Error> {
        let mut reason = None;
        for iteration in self.iterations()? {
            match self.read(iteration, model.clone()) {
                Ok(checkpoint) => return Ok(checkpoint),
                Err(error) => {
                    reason.get_or_insert(error);
                }
            }
        }
        Err(reason.unwrap_or_else(|| Error::Run {
            path: self.path.clone(),
            cause: "holds no checkpoint to go on from".to_owned(),
        }))
    }

    fn read(&self, iteration: usize, model: Fcos) -> Result<Checkpoint, Error> {
        let folder = self.path.join(iteration.to_string());
        let path = folder.join(MODEL);
        let record = ModuleRecord::load(&path).map_err(unusable(&path))?;
        let model = model.try_load_record(record).map_err(unusable(&path))?;
        let path = folder.join(OPTIMIZER);
        let optimizer = OptimizerRecord::load(&path).map_err(unusable(&path))?;
        Ok(Checkpoint {
            position: read_json(&folder.join(POSITION))?,
            model,
            optimizer,
        })
    }
}

const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const POSITION: &str = "position.json";

fn write(
    folder: &Path,
    position: &Position,
    model: &Fcos,
    optimizer: &ModuleOptimizer,
) -> Result<(), Error> {
    fs::create_dir(folder).map_err(Error::io(folder))?;
    let path = folder.join(MODEL);
    write_synced(&path, &model_bytes(model, &path)?)?;
    let path = folder.join(OPTIMIZER);
    let record = optimizer.into_bytes().map_err(unusable(&path))?;
    write_synced(&path, &record)?;
    write_json(&folder.join(POSITION), position)
}

/// Weights as the bytes of a file, which errors name.
pub(crate) fn model_bytes(model: &Fcos, path: &Path) -> Result<Bytes, Error> {
    let record = model.clone().into_record();
    record.into_bytes().map_err(unusable(path))
}

fn unusable<E: ToString>(path: &Path) -> impl FnOnce(E) -> Error + use<'_, E> {
    |error| Error::Run {
        path: path.to_owned(),
        cause: format!("is no part of a checkpoint: {}", error.to_string()),
    }
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_model::FcosConfig;

    use super::*;
    use crate::{
        config::RunConfig,
        device::{DeviceName, Precision},
    };

    fn model() -> Fcos {
        let mut config = FcosConfig::small(1);
        config.backbone.width = 8;
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        let device = DeviceName::CPU.open(Precision::F32).unwrap();
        config.init(&device.autodiff()).unwrap()
    }

    #[test]
    fn the_last_that_can_be_read_is_gone_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned());
        let model = model();
        let optimizer = RunConfig::small().optimization.optimizer();
        for iteration in [0, 5, 9] {
            let position = Position {
                iteration,
                ..Position::default()
            };
            checkpoints.save(&position, &model, &optimizer).unwrap();
        }
        assert_eq!(checkpoints.iterations().unwrap(), [9, 5]);
        let last = || {
            checkpoints
                .last(&model)
                .map(|found| found.position.iteration)
        };
        // What a process leaves that is killed while it writes, or removes.
        for left in ["partial", "removed"] {
            fs::create_dir(dir.path().join(left)).unwrap();
            fs::write(dir.path().join(left).join(MODEL), "half").unwrap();
        }
        assert_eq!(last().unwrap(), 9);
        checkpoints
            .save(&Position::default(), &model, &optimizer)
            .unwrap();
        assert_eq!(last().unwrap(), 9);

        // What a machine leaves that loses its power, if its disk lies.
        let path = dir.path().join("9").join(MODEL);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(last().unwrap(), 5);
        fs::write(dir.path().join("5").join(POSITION), "{").unwrap();
        let error = last().unwrap_err().to_string();
        assert!(error.contains("9/model.bpk"), "{error}");
    }
}
