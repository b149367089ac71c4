//! Batches for training and validation.

mod batch;
mod batch_loader;
pub(crate) mod check;
mod collate;
pub(crate) mod digest;
mod image_objects;

pub use batch::{AssignedTargets, BatchPart, BatchPlace, PartTargets, TrainBatch, ValidationBatch};
pub use batch_loader::{BatchLoader, EpochPlan, FirstBatch};
pub(crate) use collate::ValidationCollate;
pub use collate::{Assigner, Collate, TrainCollate};
pub use image_objects::ImageObjects;
