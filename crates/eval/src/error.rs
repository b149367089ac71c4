//! What can go wrong in an evaluation.

use fcos_burn_data::DataError;

/// Why detections could not be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A detection belongs to an image that the data set does not have.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A detection has a label that the data set does not have.
    #[error("evaluation failed: class {label} was detected, but {dataset} has {classes} classes")]
    UnknownLabel {
        /// The label.
        label: usize,
        /// The data set.
        dataset: String,
        /// Its number of classes.
        classes: usize,
    },
    /// A result has an id that the data set does not have.
    #[error("evaluation failed: the results have {kind} {id}, which is not in {dataset}")]
    UnknownId {
        /// `image` or `category`.
        kind: &'static str,
        /// The id.
        id: u64,
        /// The data set.
        dataset: String,
    },
    /// A score is not a number.
    #[error("evaluation failed: a score in image {image_id} is not a number")]
    NotANumber {
        /// Id of the image.
        image_id: u64,
    },
    /// The evaluator failed.
    #[error("evaluation failed: {0}")]
    Evaluator(#[from] hotcoco::Error),
}
