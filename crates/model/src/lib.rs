#![doc = include_str!("../README.md")]

pub mod assignment;
pub mod backbone;
mod config;
mod fcos;
pub mod file;
pub mod fpn;
pub mod head;
mod kernels;
mod layers;
pub mod locations;
pub mod mixed_precision;
mod output;
pub mod postprocess;
mod predictions;
pub mod weights;

pub use fcos_burn_boxes::{Detection, LabeledBox};

pub use fcos_burn_loss::burn;

pub use config::FcosConfig;
pub use fcos::Fcos;
pub use fcos_burn_loss::ConfigError;
pub use output::FcosOutput;
pub use postprocess::ImageFrame;
pub use predictions::{HostPredictions, ImagePredictions};
pub use weights::WeightsError;
