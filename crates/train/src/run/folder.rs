//! The folder of a training run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fcos_burn_detect::{json::read_json, run_files};
use fcos_burn_eval::{Analysis, Evaluation, matching::BACKGROUND_IOU};
use fcos_burn_model::backbone::BackboneConfig;
use serde_json::Value;

use super::{Checkpoints, EpochRow, TrainLog};
use crate::{Error, RunConfig};

/// A run folder and the paths of its files.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Creates the folder of a new run. The configuration is written after the first checkpoint,
    /// so that a folder with a configuration can be resumed. The open log locks the folder.
    ///
    /// # Errors
    ///
    /// Fails if the folder already holds a run or remains of one, or cannot be written.
    pub fn create(path: &Path) -> Result<(Self, TrainLog), Error> {
        let folder = Self {
            path: path.to_owned(),
        };
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let log = TrainLog::open(&folder.log_path())?;
        folder.check_free()?;
        // A run that stopped before it had a configuration starts over.
        folder.checkpoints().clear()?;
        folder.create_parts()?;
        Ok((folder, log))
    }

    /// Creates the folders in it that do not exist.
    pub(crate) fn create_parts(&self) -> Result<(), Error> {
        let parts = [
            self.plots_path(),
            self.detections_path(),
            self.checkpoints().path().to_owned(),
        ];
        parts
            .iter()
            .try_for_each(|part| fs::create_dir_all(part).map_err(Error::io(part)))
    }

    /// Fails if a run in `path` would overwrite another one, or another training run is running there.
    pub(crate) fn check(path: &Path) -> Result<(), Error> {
        let path = path.to_owned();
        let folder = Self { path };
        let log = folder.log_path();
        if log.exists() {
            TrainLog::open(&log)?;
        }
        folder.check_free()
    }

    fn check_free(&self) -> Result<(), Error> {
        if self.config_path().exists() {
            return Err(Error::Run {
                path: self.path.clone(),
                cause: "already holds a run: resume it, or choose another folder".to_owned(),
            });
        }
        // A run writes these after its configuration, so they belong to another run.
        let left = [self.metrics_path(), self.evaluation_path()];
        if let Some(left) = left.iter().find(|left| left.exists()) {
            return Err(Error::Run {
                path: left.clone(),
                cause: "is left over from another run: choose another folder".to_owned(),
            });
        }
        self.checkpoints().of_unstarted_run().map(drop)
    }

    /// Opens a run folder.
    ///
    /// # Errors
    ///
    /// Fails if the folder is not a run folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let folder = Self {
            path: path.to_owned(),
        };
        match folder.config_path().is_file() {
            true => Ok(folder),
            false => Err(Error::Run {
                path: path.to_owned(),
                cause: "is not a run folder: it has no config.json".to_owned(),
            }),
        }
    }

    /// Reads the configuration of a run with the backbone `C`.
    ///
    /// # Errors
    ///
    /// Fails if the configuration is malformed or has another backbone.
    pub fn read_config<C: BackboneConfig>(&self) -> Result<RunConfig<C>, Error> {
        RunConfig::read(self.config_path())
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(run_files::CONFIG)
    }

    /// The weights of the epoch that [`RunConfig::keep`] selects.
    pub fn model_path(&self) -> PathBuf {
        self.path.join(run_files::WEIGHTS)
    }

    /// The metrics of all epochs.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.json")
    }

    /// The metrics of all epochs as a table.
    pub fn metrics_csv_path(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// The event files for TensorBoard, if the run writes them.
    pub fn tensorboard_path(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// The programs and machines that trained, and the counts of the data.
    pub fn provenance_path(&self) -> PathBuf {
        self.path.join("provenance.json")
    }

    /// The report.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The detections on the validation split, in COCO's results format.
    pub fn results_path(&self) -> PathBuf {
        self.path.join("results.json")
    }

    /// The evaluation of the kept weights, [`model_path`](Self::model_path). A run that has it is
    /// finished; only the report follows.
    pub fn evaluation_path(&self) -> PathBuf {
        self.path.join(run_files::EVALUATION)
    }

    /// Reads the evaluation of a finished run; `None` if the run is not finished.
    ///
    /// # Errors
    ///
    /// Fails if the file exists, but cannot be read.
    pub fn read_evaluation(&self) -> Result<Option<Evaluation>, Error> {
        let path = self.evaluation_path();
        match path.exists() {
            true => Ok(Some(read_json(&path)?)),
            false => Ok(None),
        }
    }

    /// Reads the analysis of a finished run; `None` if the run is not finished, or is of a version
    /// that wrote none.
    ///
    /// # Errors
    ///
    /// Fails if the file exists, but cannot be read.
    pub fn read_analysis(&self) -> Result<Option<Analysis>, Error> {
        let path = self.evaluation_path();
        if !path.exists() {
            return Ok(None);
        }
        let file: Value = read_json(&path)?;
        if file.get("operating_points").is_none() {
            return Ok(None);
        }
        let analysis = serde_json::from_value(file);
        let analysis: Analysis = analysis.map_err(fcos_burn_detect::Error::json(&path))?;
        let iou = analysis.iou_threshold;
        match iou > BACKGROUND_IOU && iou <= 1.0 {
            true => Ok(Some(analysis)),
            false => Err(Error::Run {
                path,
                cause: format!(
                    "iou_threshold is {iou}, but must be above {BACKGROUND_IOU} and at most 1"
                ),
            }),
        }
    }

    /// The plots.
    pub fn plots_path(&self) -> PathBuf {
        self.path.join("plots")
    }

    /// Pictures of detections.
    pub fn detections_path(&self) -> PathBuf {
        self.path.join("detections")
    }

    /// The training log.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("train.log")
    }

    /// The step that stopped the run, if its loss or gradient was not finite.
    pub fn failed_step_path(&self) -> PathBuf {
        self.path.join("failed-step")
    }

    /// The checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path.join("checkpoint"))
    }

    /// Reads the metrics of the epochs so far, in order.
    ///
    /// # Errors
    ///
    /// Fails if the file exists, but cannot be read or lacks an epoch.
    pub fn read_metrics(&self) -> Result<Vec<EpochRow>, Error> {
        let path = self.metrics_path();
        if !path.exists() {
            return Ok(Vec::new());
        }
        let rows: Vec<EpochRow> = read_json(&path)?;
        match rows
            .iter()
            .zip(1..)
            .find(|(row, epoch)| row.epoch != *epoch)
        {
            None => Ok(rows),
            Some((row, epoch)) => Err(Error::Run {
                path,
                cause: format!("has epoch {} instead of epoch {epoch}", row.epoch),
            }),
        }
    }
}
