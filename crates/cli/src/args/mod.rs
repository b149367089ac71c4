//! Arguments shared by commands.

mod data;
mod device;
mod image_size;
mod preset;
mod training;
mod weights;

pub use data::{DataArgs, parse_val_share};
pub use device::{DeviceArgs, DeviceParser, check_devices};
pub use image_size::{ImageSizeArgs, parse_size};
pub use preset::Preset;
pub use training::TrainingArgs;
pub use weights::WeightsArgs;
