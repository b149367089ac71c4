//! The error type of this crate.

use std::path::{Path, PathBuf};

use fcos_burn_data::{DataError, DetectionDataset, list_names};
use fcos_burn_detect::device::DeviceError;
use fcos_burn_eval::EvaluationError;
use fcos_burn_loss::{ConfigError, TermNameError};
use fcos_burn_model::{WeightsError, assignment::AssignmentError};
use fcos_burn_plot::PlotError;
use fcos_burn_report::ReportError;

/// Why training, evaluation or detection failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device is unavailable.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A value of the configuration is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A term of the objective has an invalid or duplicate name.
    #[error(transparent)]
    Term(#[from] TermNameError),
    /// A term of the objective has the name of another metric of the training.
    #[error("the term `{0}` has the name of another metric of the training")]
    ReservedName(String),
    /// Weights could not be saved or loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A plot could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A folder is not a run folder, or the run cannot be used as requested.
    #[error("{}: {cause}", path.display())]
    Run {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// A trial of a search would have an invalid configuration.
    #[error("trial {trial}: {error}")]
    Trial {
        /// The trial, counted from 0.
        trial: usize,
        /// Names the invalid value.
        error: Box<Error>,
    },
    /// The data set is empty.
    #[error("{0} has no images")]
    NoImages(String),
    /// The run was trained on custom data, which only the program that supplied it can open.
    #[error("{0} is a custom data set: only the program that trained on it can open it")]
    CustomData(String),
    /// The data of a run failed the check.
    #[error("{name}: {findings}")]
    BadData {
        /// The split.
        name: String,
        /// The problems, with counts and first examples.
        findings: String,
    },
    /// The loss or the gradient of a training step is not finite. The step did not change the
    /// weights.
    #[error(
        "{} is {value} in iteration {iteration} (epoch {epoch}), with the images {}; saved to {} for replay. What \
         usually helps: a lower learning rate, a longer warm-up, a lower gradient norm limit, 32-bit precision",
        metric.to_lowercase(),
        list_names(images),
        kept.display()
    )]
    NotFinite {
        /// The step, counted from 1 over all epochs.
        iteration: usize,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The loss term, or the gradient norm.
        metric: String,
        /// Its value.
        value: f64,
        /// The image files of the batch.
        images: Vec<String>,
        /// The folder in which the step is saved.
        kept: PathBuf,
    },
    /// A report could not be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The evaluation failed.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// The detector could not be used.
    #[error(transparent)]
    Detect(#[from] fcos_burn_detect::Error),
    /// An assignment violates the requirements of a rule.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// Images could not be made into a batch.
    #[error("{}: {source}", list_names(images))]
    Images {
        /// The image files.
        images: Vec<String>,
        /// The error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The training stopped on an error.
    #[error("training stopped: {0}")]
    Training(String),
}

impl Error {
    /// The data or code differs from that with which the run in `run` was started.
    pub(crate) fn other_run(run: &Path, cause: &str) -> Self {
        Self::Run {
            path: run.to_owned(),
            cause: format!("cannot be resumed or replayed: {cause}"),
        }
    }

    /// An error of the images at these indices of `dataset`.
    pub(crate) fn images(
        dataset: &DetectionDataset,
        indices: &[usize],
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let records = indices
            .iter()
            .filter_map(|index| dataset.record(*index).ok());
        Self::Images {
            images: records.map(|record| record.file_name.clone()).collect(),
            source: source.into(),
        }
    }

    /// The error of a configuration that was read from a file.
    pub(crate) fn in_config(path: &Path) -> impl FnOnce(Self) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Run {
            path,
            cause: error.to_string(),
        }
    }

    /// Adds the file or folder to an I/O error.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
