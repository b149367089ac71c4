//! Batches for training and validation.

mod batch;
mod batch_loader;
pub(crate) mod check;
mod collate;
pub(crate) mod digest;
mod image_objects;
mod part_images;

pub use batch::{AssignedTargets, BatchPart, BatchPlace, PartTargets, TrainBatch, ValidationBatch};
pub use batch_loader::{BatchLoader, EpochPlan, FirstBatch};
pub use collate::{Collate, TrainCollate};
pub(crate) use collate::{ValidationCollate, assigner};
pub use fcos_burn_model::assignment::Assigner;
pub use image_objects::ImageObjects;
pub use part_images::{ByteImages, PartImages};
