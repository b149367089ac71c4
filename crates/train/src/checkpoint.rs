//! Checkpoints: model, optimiser and schedule after each epoch.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use burn::{
    lr_scheduler::LrSchedulerRecord,
    module::Module,
    optim::OptimizerRecord,
    store::ModuleRecord,
    train::{
        checkpoint::{
            Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
        },
        metric::store::EventStoreClient,
    },
};
use fcos_burn_model::Fcos;

use crate::{
    config::Keep,
    error::Error,
    evaluation::{CocoFigure, SharedEvaluator},
    run::EpochRow,
};

/// Epochs whose checkpoint is there. The last but one is a whole one while the last is
/// being written.
const RETAINED: usize = 2;

/// The folder of a run's checkpoints: for the last epochs `N`, the files
/// `model-N.bpk`, `optim-N.bpk` and `scheduler-N.bpk`.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    path: PathBuf,
}

impl Checkpoints {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn model(&self) -> RecordFiles {
        self.files("model")
    }

    pub(crate) fn optimizer(&self) -> RecordFiles {
        self.files("optim")
    }

    pub(crate) fn scheduler(&self) -> RecordFiles {
        self.files("scheduler")
    }

    fn files(&self, name: &'static str) -> RecordFiles {
        RecordFiles {
            dir: self.path.clone(),
            name,
        }
    }

    /// The last epoch whose checkpoint is whole and fits `model`.
    ///
    /// # Errors
    ///
    /// Fails if there is none, naming what is wrong with the last one.
    pub fn last(&self, model: &Fcos) -> Result<usize, Error> {
        let mut epochs: Vec<usize> = fs::read_dir(&self.path)
            .map_err(Error::io(&self.path))?
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                let epoch = name.to_str()?.strip_prefix("scheduler-")?;
                epoch.strip_suffix(".bpk")?.parse().ok()
            })
            .collect();
        epochs.sort_unstable_by(|a, b| b.cmp(a));
        let mut reason = None;
        for epoch in epochs {
            match self.check(epoch, model) {
                Ok(()) => return Ok(epoch),
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

    fn check(&self, epoch: usize, model: &Fcos) -> Result<(), Error> {
        let unusable = |files: &RecordFiles, cause: String| Error::Run {
            path: files.path(epoch),
            cause: format!("cannot be used to go on: {cause}"),
        };
        let files = self.model();
        let record: ModuleRecord = files
            .restore(epoch)
            .map_err(|error| unusable(&files, error.to_string()))?;
        model
            .clone()
            .try_load_record(record)
            .map_err(|error| unusable(&files, error.to_string()))?;
        let files = self.optimizer();
        Checkpointer::<OptimizerRecord>::restore(&files, epoch)
            .map_err(|error| unusable(&files, error.to_string()))?;
        let files = self.scheduler();
        Checkpointer::<LrSchedulerRecord>::restore(&files, epoch)
            .map_err(|error| unusable(&files, error.to_string()))?;
        Ok(())
    }
}

/// The files of one record over the epochs. Each appears whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct RecordFiles {
    dir: PathBuf,
    name: &'static str,
}

impl RecordFiles {
    fn path(&self, epoch: usize) -> PathBuf {
        self.dir.join(format!("{}-{epoch}.bpk", self.name))
    }
}

impl<R: Checkpoint> Checkpointer<R> for RecordFiles {
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        save_whole(&self.path(epoch), record)
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        match fs::remove_file(self.path(epoch)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(CheckpointerError::IOError(error))
            }
            _ => Ok(()),
        }
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        R::load(self.path(epoch))
    }
}

fn save_whole<R: Checkpoint>(path: &Path, record: R) -> Result<(), CheckpointerError> {
    let partial = path.with_extension("partial");
    record.save(partial.clone())?;
    fs::rename(&partial, path).map_err(CheckpointerError::IOError)
}

/// Saves the model of each epoch, and that of the one to keep as the run's weights too.
pub(crate) struct ModelFiles {
    pub(crate) files: RecordFiles,
    pub(crate) kept_path: PathBuf,
    pub(crate) kept: KeptEpoch,
}

impl Checkpointer<ModuleRecord> for ModelFiles {
    fn save(&self, epoch: usize, record: ModuleRecord) -> Result<(), CheckpointerError> {
        if self.kept.is(epoch) {
            save_whole(&self.kept_path, record.clone())?;
        }
        self.files.save(epoch, record)
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        Checkpointer::<ModuleRecord>::delete(&self.files, epoch)
    }

    fn restore(&self, epoch: usize) -> Result<ModuleRecord, CheckpointerError> {
        self.files.restore(epoch)
    }
}

/// The epoch whose weights are the run's so far, shared by those who find and who save
/// it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptEpoch(Arc<AtomicUsize>);

impl KeptEpoch {
    fn is(&self, epoch: usize) -> bool {
        self.0.load(Ordering::SeqCst) == epoch
    }
}

/// Saves every epoch, deletes those before the last ones, and finds the one to keep. The
/// best by AP is the first epoch, until another has a higher one.
pub(crate) struct SaveEveryEpoch {
    evaluator: SharedEvaluator,
    keep: Keep,
    kept: KeptEpoch,
    best_ap: Option<f64>,
}

impl SaveEveryEpoch {
    /// Goes on after the epochs of `rows`.
    pub(crate) fn new(
        evaluator: SharedEvaluator,
        keep: Keep,
        kept: KeptEpoch,
        rows: &[EpochRow],
    ) -> Self {
        let mut strategy = Self {
            evaluator,
            keep,
            kept,
            best_ap: None,
        };
        for row in rows {
            strategy.consider(row.epoch, row.ap());
        }
        strategy
    }

    fn consider(&mut self, epoch: usize, ap: Option<f64>) {
        let first = self.kept.is(0);
        if first || self.keep == Keep::Last || ap > self.best_ap {
            self.kept.0.store(epoch, Ordering::SeqCst);
            self.best_ap = ap;
        }
    }
}

impl CheckpointingStrategy for SaveEveryEpoch {
    fn checkpointing(
        &mut self,
        epoch: usize,
        _store: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        self.consider(epoch, self.evaluator.figure(CocoFigure::AP));
        let mut actions = vec![CheckpointingAction::Save];
        if epoch > RETAINED {
            actions.push(CheckpointingAction::Delete(epoch - RETAINED));
        }
        actions
    }
}
