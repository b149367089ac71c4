//! Annotated images from any source.

mod checks;
mod classes;
mod detection_dataset;
mod equal_images;
mod hold_out;
mod image_files;
mod image_source;
mod records;
mod subset;

pub(crate) use checks::{admit, renumber_objects};
pub(crate) use detection_dataset::Annotations;
pub use detection_dataset::DetectionDataset;
pub use equal_images::{ImagePlace, equal_images};
pub use image_files::ImageFiles;
pub use image_source::ImageSource;
pub use records::{Category, ImageRecord, Object};
