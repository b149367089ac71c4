//! Why an experiment failed.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why an experiment failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Training failed.
    #[error(transparent)]
    Train(#[from] fcos_burn::train::Error),
    /// A detector could not be loaded or run.
    #[error(transparent)]
    Detect(#[from] fcos_burn::detect::Error),
    /// A device is unavailable.
    #[error(transparent)]
    Device(#[from] fcos_burn::detect::device::DeviceError),
    /// Data could not be read.
    #[error(transparent)]
    Data(#[from] fcos_burn::data::DataError),
    /// An evaluation failed.
    #[error(transparent)]
    Evaluation(#[from] fcos_burn::eval::EvaluationError),
    /// A chart could not be drawn.
    #[error(transparent)]
    Plot(#[from] fcos_burn::plot::PlotError),
    /// The terminal or a command-line argument.
    #[error(transparent)]
    Cli(#[from] fcos_burn_cli::Error),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A folder or file does not hold what was expected.
    #[error("{}: {cause}", path.display())]
    Run {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Names the file or folder of a failed operation.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
