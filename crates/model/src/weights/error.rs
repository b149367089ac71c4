//! Errors of saving and loading weights.

use std::path::PathBuf;

use super::naming::TensorNaming;

/// Why weights could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be written.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// The file could not be read as weights.
    #[error("cannot read weights from {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// The tensors have the names of no supported network.
    #[error("the tensors in {path} have the names of no supported network: {names}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Some of the names.
        names: String,
    },
    /// The weights are those of a detector with several boxes per location, which has the same names.
    #[error(
        "the weights in {path} are those of a detector with anchors, such as RetinaNet, not of an FCOS"
    )]
    Anchors {
        /// The file.
        path: PathBuf,
    },
    /// The classifier of the weights has another number of classes.
    #[error(
        "the weights in {path} are for {file} classes, but the model has {model}: \
         load them without the classifier, or choose another file"
    )]
    Classes {
        /// The file.
        path: PathBuf,
        /// Number of classes in the file.
        file: usize,
        /// Number of classes of the model.
        model: usize,
    },
    /// The weights are those of a ResNet, but the backbone of the model is another network.
    #[error(
        "the weights in {path} have the names of {naming}, whose backbone is a ResNet; \
         that of the model is not"
    )]
    Backbone {
        /// The file.
        path: PathBuf,
        /// The names that its tensors have.
        naming: TensorNaming,
    },
    /// torchvision's FCOS computes something else.
    #[error("torchvision's FCOS cannot compute what this detector computes: {differences}")]
    NotTorchvision {
        /// How this detector differs.
        differences: String,
    },
    /// The weights are those of another model.
    #[error("the weights in {path} do not fit this model: {cause}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The tensors that are missing, unexpected, of another shape or not
        /// floating-point.
        cause: String,
    },
}
