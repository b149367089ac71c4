//! What can go wrong in a training.

use std::path::{Path, PathBuf};

use fcos_burn_data::DataError;
use fcos_burn_detect::device::DeviceError;
use fcos_burn_eval::EvaluationError;
use fcos_burn_loss::{ConfigError, TermNameError};
use fcos_burn_model::WeightsError;
use fcos_burn_plot::PlotError;

/// Why a training, an evaluation or a detection failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The configuration has a value out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A term of the objective has a name that cannot be used.
    #[error(transparent)]
    Term(#[from] TermNameError),
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
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A folder is no run, or a run that cannot be used so.
    #[error("{}: {cause}", path.display())]
    Run {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// The data set has nothing to train or evaluate on.
    #[error("{0} has no images")]
    NoImages(String),
    /// The data of a run comes from a program of its own.
    #[error("the data set {0} comes from the program that trained on it")]
    CustomData(String),
    /// The data of a run is worse than it may be.
    #[error("{name}: {findings}")]
    BadData {
        /// The split.
        name: String,
        /// What was found, how often, and where first.
        findings: String,
    },
    /// The loss or the gradient of a training step is not finite. The weights are as
    /// they were before it.
    #[error(
        "{} is {value} in iteration {iteration} (epoch {epoch}), with the images {}; {} has what it takes to compute it \
         again. What usually helps: a lower learning rate, a longer warm-up, a lower limit of the gradient's norm, \
         32-bit precision",
        metric.to_lowercase(),
        list(images),
        kept.display()
    )]
    NotFinite {
        /// The step, counted from 1 over all epochs.
        iteration: usize,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The part of the loss, or the gradient's norm.
        metric: String,
        /// What it is.
        value: f64,
        /// The files of the batch.
        images: Vec<String>,
        /// Where the step is kept.
        kept: PathBuf,
    },
    /// The evaluation failed.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// The detector could not be used.
    #[error(transparent)]
    Detect(#[from] fcos_burn_detect::Error),
    /// The training stopped on an error.
    #[error("training stopped: {0}")]
    Training(String),
}

/// Names for a message: all of a few, the first of many.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() {
        0 => "none".to_owned(),
        1..=SHOWN => shown,
        more => format!("{shown} and {} more", more - SHOWN),
    }
}

impl Error {
    /// Names the file or folder that an operation failed with.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
