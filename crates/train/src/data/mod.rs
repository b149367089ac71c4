//! Batches for training and validation.

mod batch;
pub(crate) mod check;
mod collate;
pub(crate) mod digest;
mod loader;

pub use batch::{AssignedTargets, BatchPart, PartTargets, TrainBatch, ValidationBatch};
pub use collate::{Assigner, BatchPlace, Collate, TrainCollate, ValidationCollate};
pub use loader::{BatchLoader, EpochPlan, FirstBatch};
