//! Saving and loading weights, this crate's own and others'.

mod checkpoint;
mod export;
mod layout;
mod pickle;
mod tensors;

use std::path::{Path, PathBuf};

use burn::module::Module;

pub use self::{
    checkpoint::{Checkpoint, Loaded},
    layout::Layout,
};
use crate::{Fcos, file::write_whole};

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
    /// The file holds weights of a network that is not known.
    #[error("the tensors in {path} have the names of no network that is known here: {names}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Some of the names.
        names: String,
    },
    /// The weights' classifier is for another number of classes.
    #[error(
        "the weights in {path} are for {file} classes, but the model has {model}: \
         keep all but the classifier (--new-classifier), or choose another file"
    )]
    Classes {
        /// The file.
        path: PathBuf,
        /// The file's number of classes.
        file: usize,
        /// The model's number of classes.
        model: usize,
    },
    /// torchvision's detector cannot compute what this one does.
    #[error("torchvision's FCOS cannot compute what this detector does: {differences}")]
    NotTorchvision {
        /// How this one differs.
        differences: String,
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
    /// The file appears whole or not at all (see [`write_whole`]).
    ///
    /// # Errors
    ///
    /// Names the file if it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), WeightsError> {
        // The last training step's running statistics are pending until then.
        let bytes = self.valid().into_record().into_bytes();
        let bytes = bytes.map_err(|error| error.to_string());
        bytes
            .and_then(|bytes| write_whole(path, &bytes).map_err(|error| error.to_string()))
            .map_err(|cause| WeightsError::Write {
                path: path.to_owned(),
                cause,
            })
    }

    /// Replaces all weights and running statistics by those in a file of any kind that
    /// [`Checkpoint`] knows.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`] and [`Checkpoint::load`].
    pub fn load(self, path: &Path) -> Result<Self, WeightsError> {
        let (model, _) = Checkpoint::open(path)?.load(self)?;
        Ok(model)
    }
}
