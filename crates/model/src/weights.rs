//! Saving and loading weights.

use std::path::{Path, PathBuf};

use burn::{module::Module, store::ModuleRecord};

use crate::Fcos;

/// Why weights could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file could not be written.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        cause: String,
    },
    /// The file could not be read as weights.
    #[error("cannot read weights from {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        cause: String,
    },
    /// The weights belong to another model.
    #[error("the weights in {path} do not fit this model: {cause}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The tensors that are missing, unexpected or of another shape.
        cause: String,
    },
}

impl Fcos {
    /// Saves all weights and running statistics to a burnpack file.
    ///
    /// The file appears whole or not at all: it is written beside `path` and then
    /// renamed.
    ///
    /// # Errors
    ///
    /// Names the file if it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), WeightsError> {
        let failed = |cause: String| WeightsError::Write {
            path: path.to_owned(),
            cause,
        };
        let partial = path.with_extension("partial");
        self.clone()
            .into_record()
            .save(&partial)
            .map_err(|error| failed(error.to_string()))?;
        std::fs::rename(&partial, path).map_err(|error| failed(error.to_string()))
    }

    /// Replaces all weights and running statistics by those in a burnpack file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is no burnpack file, or holds other
    /// tensors than this model has.
    pub fn load(self, path: &Path) -> Result<Self, WeightsError> {
        let record = ModuleRecord::load(path).map_err(|error| WeightsError::Read {
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
        self.try_load_record(record)
            .map_err(|error| WeightsError::Mismatch {
                path: path.to_owned(),
                cause: error.to_string(),
            })
    }
}
