#![doc = include_str!("../README.md")]

mod bounding_box;
mod coco_result;
mod detection;
mod nms;

pub use bounding_box::BoundingBox;
pub use coco_result::CocoResult;
pub use detection::{Detection, LabeledBox};
pub use nms::{Suppression, batched_nms, iou, share_inside};
