//! Batches for training and validation.

mod batch;
mod batch_loader;
pub(crate) mod check;
mod collate;
pub(crate) mod digest;

pub use batch::{AssignedTargets, BatchPart, PartTargets, TrainBatch, ValidationBatch};
pub use batch_loader::{BatchLoader, EpochPlan, FirstBatch};
pub use collate::{BatchPlace, Collate, TrainCollate};
pub(crate) use collate::{ValidationCollate, assigner};
pub use fcos_burn_model::assignment::Assigner;
