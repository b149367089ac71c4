//! The error type of this crate.

use std::path::{Path, PathBuf};

use burn::tensor::ExecutionError;
use fcos_burn_data::{Category, DataError, DetectionDataset, are_nearly_equal, list_names};
use fcos_burn_model::{ConfigError, WeightsError};
use fcos_burn_plot::PlotError;

use crate::device::DeviceError;

/// Why a detector could not be loaded or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image or a data set could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device is unavailable.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device failed.
    #[error("the device failed: {}", in_one_line(.0))]
    Execution(ExecutionError),
    /// A configuration has an invalid value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Weights could not be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A picture could not be written.
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
    /// A JSON file is malformed, or does not have the expected contents.
    #[error("{}: {cause}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The position and the cause.
        cause: String,
    },
    /// A folder or file does not contain the requested detector.
    #[error("{}: {cause}", path.display())]
    NotADetector {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// The data has no class of the detector.
    #[error(
        "{data_name} has none of the classes {}; its own are {}{}",
        list_names(model),
        list_names(data),
        near_name(model, data)
    )]
    Classes {
        /// The model's classes.
        model: Vec<String>,
        /// The data's classes.
        data: Vec<String>,
        /// The data set.
        data_name: String,
    },
    /// The detector does not have a class.
    #[error(
        "the detector has no class '{name}'{}; it has {}",
        near_name(known, std::slice::from_ref(name)),
        known.join(", ")
    )]
    UnknownClass {
        /// The name.
        name: String,
        /// The classes of the detector.
        known: Vec<String>,
    },
    /// Images could not be read or written in other threads.
    #[error("cannot read or write images: {0}")]
    Workers(String),
}

/// A hint at a name that is nearly that of another class.
fn near_name(model: &[String], data: &[String]) -> String {
    let mut pairs = (data.iter()).flat_map(|own| model.iter().map(move |known| (own, known)));
    match pairs.find(|(own, known)| are_nearly_equal(own, known)) {
        Some((own, known)) => format!(" ('{own}' is not the same name as '{known}')"),
        None => String::new(),
    }
}

/// The message of an error of Burn, which has several lines.
fn in_one_line(error: &ExecutionError) -> String {
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    lines.join(" ")
}

impl From<ExecutionError> for Error {
    fn from(error: ExecutionError) -> Self {
        Self::Execution(error)
    }
}

impl Error {
    /// An error in a configuration, seen from the configuration that contains it in its field `parent`: the path
    /// `size_multiple` becomes `parent.size_multiple`. Other errors stay as they are.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        match self {
            Self::Config(error) => Self::Config(error.within(parent)),
            Self::Data(error) => Self::Data(error.within(parent)),
            other => other,
        }
    }

    pub(crate) fn classes(known: &[Category], dataset: &DetectionDataset) -> Self {
        let names = |categories: &[Category]| categories.iter().map(|c| c.name.clone()).collect();
        Self::Classes {
            model: names(known),
            data: names(dataset.categories()),
            data_name: dataset.name().to_owned(),
        }
    }

    /// Adds the file or folder to an I/O error.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Adds the file to a JSON error.
    pub fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Json {
            path,
            cause: error.to_string(),
        }
    }
}
