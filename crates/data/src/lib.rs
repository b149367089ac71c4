#![doc = include_str!("../README.md")]

mod batch;
mod dataset;
mod decoding;
mod error;
mod formats;
mod loader;
mod normalize;
mod random;
mod report;
mod sampling;
pub mod shapes;
pub mod transforms;

pub use fcos_burn_boxes::BoundingBox;

pub use batch::{ImageBatch, stack, stack_resized};
pub use dataset::{Category, DetectionDataset, ImageRecord, Layout, Object};
pub use decoding::read_image;
pub use error::DataError;
pub use formats::{is_image, splits};
pub use loader::{Loader, LoaderError};
pub use normalize::Normalization;
pub use random::{SampleOrder, epoch_order, sample_rng};
pub use report::{Finding, LoadReport, Tally};
pub use sampling::SampleReader;
