#![doc = include_str!("../README.md")]

mod bounding_box;
mod coco_result;
mod detection;
mod fusion;
mod nms;
mod overlap;
mod soft_nms;

pub use bounding_box::BoundingBox;
pub use coco_result::CocoResult;
pub use detection::{Detection, LabeledBox};
pub use fusion::WeightedBoxesFusion;
pub use nms::{Nms, NmsMethod, Suppression, batched_nms};
pub use overlap::{diou, iou, share_inside};
