//! Writers for layouts that other tools read.

mod coco;
mod dataset_writer;
mod file_names;
mod image_transfer;
mod layout_writer;
mod report;
mod splits;
mod unfinished;
mod voc;
mod yolo;

pub use dataset_writer::DatasetWriter;
pub use file_names::FileNames;
pub use image_transfer::ImageTransfer;
pub use report::{WriteFinding, WriteReport};
