//! Arguments shared by commands.

mod augmentation;
mod data;
mod detection;
mod device;
mod image_size;
mod named_weights;
mod number;
mod output_path;
mod preset;
mod recipe;
mod test_time;
mod tiling;
mod training;
mod weights;

pub use augmentation::AugmentationArgs;
pub use data::{DataArgs, SplitArgs, generated};
pub use detection::DetectionArgs;
pub use device::{DeviceArgs, DeviceParser, check_devices};
pub use image_size::{ImageSizeArgs, parse_size};
pub use named_weights::NamedWeightsArgs;
use named_weights::is_builtin;
pub use number::{
    parse_count, parse_match_iou, parse_precision, parse_score, parse_seconds, parse_val_share,
};
pub use output_path::output_path;
pub use preset::Preset;
pub use recipe::RecipeArgs;
pub use test_time::TestTimeArgs;
pub use tiling::TilingArgs;
pub use training::{FIXED_BY_RUN, TrainingArgs};
pub use weights::WeightsArgs;
