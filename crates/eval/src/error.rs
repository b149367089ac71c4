//! Errors of the evaluation.

use std::error::Error;

use fcos_burn_data::DataError;

/// Why detections could not be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// An image index is out of range.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A label is out of range.
    #[error(
        "evaluation failed: a detection has label {label}, but {dataset} has {classes} classes"
    )]
    UnknownLabel {
        /// The label.
        label: usize,
        /// The data set.
        dataset: String,
        /// The number of classes. Labels are below it.
        classes: usize,
    },
    /// The id of an image or a category is not in the data set.
    #[error("evaluation failed: a result has {kind} id {id}, which is not in {dataset}")]
    UnknownId {
        /// `image` or `category`.
        kind: &'static str,
        /// The id.
        id: u64,
        /// The data set.
        dataset: String,
    },
    /// A score is NaN.
    #[error("evaluation failed: a score in image {image_id} is NaN")]
    NotANumber {
        /// The id of the image.
        image_id: u64,
    },
    /// A score is not between 0 and 1, so that it cannot be calibrated.
    #[error("evaluation failed: a score in image {image_id} is {score}, not between 0 and 1")]
    Score {
        /// The id of the image.
        image_id: u64,
        /// The score.
        score: f32,
    },
    /// The IoU threshold of a matching is out of range.
    #[error("evaluation failed: the IoU threshold {iou_threshold} is not above 0.1 and at most 1")]
    IouThreshold {
        /// The IoU threshold.
        iou_threshold: f64,
    },
    /// The COCO evaluator failed.
    #[error("evaluation failed: {0}")]
    Evaluator(#[source] Box<dyn Error + Send + Sync>),
}
