#![doc = include_str!("../README.md")]

mod bounding_box;
mod detection;
mod nms;

pub use bounding_box::BoundingBox;
pub use detection::{Detection, LabeledBox};
pub use nms::{batched_nms, iou};
