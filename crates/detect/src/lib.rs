#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod background;
mod class_names;
mod coco_classes;
mod crops;
mod detection_writer;
mod detections;
mod detector;
mod detector_file;
pub mod device;
mod error;
pub mod formats;
mod input;
pub mod json;
pub mod pictures;
pub mod run_files;
mod seams;
mod stream;
#[cfg(test)]
mod test_detector;
mod test_time;
mod tiling;
mod video;
mod views;

pub use class_names::{class_names, known_classes};
pub use crops::CropFolder;
pub use detection_writer::{DetectionWriter, OutputConfig};
pub use detections::{CategoryDetection, ImageDetections};
pub use detector::{DEFAULT_SCORE_THRESHOLD, Detector};
pub use detector_file::DetectorFile;
pub use error::Error;
pub use fcos_burn_boxes::{Detection, NmsMethod, Suppression, WeightedBoxesFusion};
pub use input::{InputBatch, InputConfig, InputView};
pub use stream::DetectionStream;
pub use tiling::{Tiling, Window};
pub use views::{TestTimeAugmentation, ViewMerging};
