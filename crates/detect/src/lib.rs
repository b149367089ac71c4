#![doc = include_str!("../README.md")]

mod class_names;
mod coco_classes;
mod detections;
mod detector;
mod detector_file;
pub mod device;
mod error;
mod input;
pub mod json;
pub mod pictures;
pub mod run_files;

pub use class_names::{class_names, known_classes};
pub use detections::{CategoryDetection, ImageDetections};
pub use detector::{DEFAULT_SCORE_THRESHOLD, Detector};
pub use detector_file::DetectorFile;
pub use error::Error;
pub use fcos_burn_boxes::Detection;
pub use input::{InputBatch, InputConfig};
