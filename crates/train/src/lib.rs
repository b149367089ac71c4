#![doc = include_str!("../README.md")]

pub mod artifacts;
pub mod calibration;
pub mod checkpoint;
mod coco_classes;
pub mod comparison;
pub mod config;
pub mod correlation;
pub mod detector;
pub mod detector_file;
pub mod device;
pub mod device_group;
pub mod drawing;
pub mod error;
pub mod evaluation;
mod font;
pub mod learner;
pub mod loader;
pub mod metrics;
pub mod optimization;
pub mod plots;
pub mod progress;
mod recorder;
pub mod run;
pub mod setup;
pub mod statistics;
pub mod training;

pub use burn::train::Interrupter;
pub use config::RunConfig;
pub use detector::Detector;
pub use detector_file::DetectorFile;
pub use error::Error;
pub use evaluation::Evaluation;
pub use setup::InitialWeights;
pub use training::{Outcome, resume, train};
