//! Arguments shared by commands.

mod data;
mod device;
mod training;
mod weights;

pub use data::DataArgs;
pub use device::{DeviceArgs, DeviceParser, check_devices};
pub use training::TrainingArgs;
pub use weights::WeightsArgs;
