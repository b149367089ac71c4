#![doc = include_str!("../README.md")]

mod batch;
mod bbox;
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

pub use batch::{ImageBatch, stack, stack_resized};
pub use bbox::BoundingBox;
pub use dataset::{Category, DetectionDataset, ImageRecord, Layout, Object};
pub use decoding::read_image;
pub use error::DataError;
pub use formats::{is_image, splits};
pub use loader::{Loader, LoaderError};
pub use normalize::Normalization;
pub use random::{SampleOrder, epoch_order, sample_rng};
pub use report::{Finding, LoadReport, Tally};
pub use sampling::SampleReader;
