//! The most commonly used items: `use fcos_burn::prelude::*`.

pub use fcos_burn_boxes::{BoundingBox, Detection};
pub use fcos_burn_data::{DetectionDataset, read_image, transforms::Resize};
pub use fcos_burn_detect::{
    Detector,
    device::{DeviceName, Precision},
};
pub use fcos_burn_eval::{CocoMetric, Evaluation};
pub use fcos_burn_loss::{AssociationLoss, AssociationScore, FcosObjectiveConfig};
pub use fcos_burn_model::{Fcos, FcosConfig};
#[cfg(feature = "train")]
pub use fcos_burn_train::{Interrupter, Outcome, RunConfig, Trainer, config::DataConfig};
