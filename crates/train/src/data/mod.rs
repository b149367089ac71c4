//! From a data set to batches.

mod batch;
pub(crate) mod check;
mod collate;
pub(crate) mod digest;
mod loader;

pub use batch::{BatchPart, TrainBatch, ValidationBatch};
pub use collate::{BatchPlace, Collate, TrainCollate, ValidationCollate};
pub use loader::{BatchLoader, EpochPlan, FirstBatch};
