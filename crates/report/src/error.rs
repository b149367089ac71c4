//! Why a report could not be made.

use fcos_burn_eval::EvaluationError;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The detections could not be evaluated.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// The data of the page could not be written as JSON.
    #[error("the data of the page cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    /// Runs cannot be compared.
    #[error("{first} and {other} cannot be compared: {cause}")]
    NotComparable {
        /// The first run.
        first: String,
        /// The other run.
        other: String,
        /// The cause.
        cause: String,
    },
    /// The data of a run is needed to compare it.
    #[error("{run} cannot be compared: {cause}")]
    NoData {
        /// The run.
        run: String,
        /// The cause.
        cause: String,
    },
}
