//! Arguments shared by commands.

mod data;
mod detection;
mod device;
mod image_size;
mod named_weights;
mod number;
mod preset;
mod recipe;
mod tiling;
mod training;
mod weights;

pub use data::{DataArgs, SplitArgs};
pub use detection::DetectionArgs;
pub use device::{DeviceArgs, DeviceParser, check_devices};
pub use image_size::{ImageSizeArgs, parse_size};
pub use named_weights::NamedWeightsArgs;
pub use number::{parse_match_iou, parse_precision, parse_score, parse_val_share};
pub use preset::Preset;
pub use recipe::RecipeArgs;
pub use tiling::TilingArgs;
pub use training::TrainingArgs;
pub use weights::WeightsArgs;
