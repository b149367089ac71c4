#![doc = include_str!("../README.md")]

pub mod assignment;
pub mod config;
pub mod fcos;
pub mod file;
pub mod fpn;
pub mod head;
mod mixed_precision;
pub mod norm;
mod operations;
pub mod postprocess;
pub mod pyramid;
pub mod resnet;
pub mod weights;

pub use fcos_burn_boxes::{Detection, batched_nms, iou};

pub use config::FcosConfig;
pub use fcos::{Fcos, FcosOutput};
pub use fcos_burn_loss::ConfigError;
pub use postprocess::ImageFrame;
pub use weights::WeightsError;
