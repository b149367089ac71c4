//! Annotated images, whatever they were read from.

mod checks;
mod detection_dataset;
mod image_files;
mod image_source;
mod records;
mod report;

pub(crate) use checks::{admit, require_unique};
pub(crate) use detection_dataset::Annotations;
pub use detection_dataset::DetectionDataset;
pub use image_files::ImageFiles;
pub use image_source::ImageSource;
pub use records::{Category, ImageRecord, Object};
pub use report::{Finding, LoadReport, Tally};
