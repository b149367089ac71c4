#![doc = include_str!("../README.md")]
//!
//! # Conventions
//!
//! - Boxes are `xyxy` in pixels: left, top, right, bottom.
//! - Class and centre-ness predictions are logits, never probabilities.
//! - Losses are element-wise and unreduced, unless [`FcosObjective`] reduces them.
//! - Tensors are `f32`. Cast half-precision predictions before they come here: the number of
//!   positives and the small areas of small boxes do not fit in 16 bits.
//! - Values and gradients are finite for logits up to ±10⁴, coordinates up to ±10⁶ px, empty and
//!   inverted boxes, no positives and no rows at all.
//! - Nothing reads a tensor back to the host.
//!
//! Equation numbers are those of D. Xu, J. Guan, P. Feng and W. Wang, *Association Loss for Visual
//! Object Detection*, IEEE Signal Processing Letters, 2020, called *the paper* throughout.

mod association;
mod box_loss;
mod boxes;
mod centerness;
mod classification;
mod error;
mod focal;
mod iou;
mod labels;
mod objective;
#[cfg(test)]
mod reference;

pub use association::{
    AssociationLoss, AssociationScore, PCE_DOMAIN_MARGIN, class_is_correct, pce, pse,
};
pub use box_loss::{BoxLoss, IOU_FLOOR};
pub use centerness::{centerness_loss, centerness_target};
pub use classification::{ClassificationLoss, quality_focal, soft_label_focal, varifocal};
pub use error::LossConfigError;
pub use focal::{SigmoidFocalLoss, SigmoidFocalLossConfig};
pub use iou::{aligned_iou, pairwise_iou};
pub use objective::{
    FcosObjective, FcosObjectiveConfig, LossParts, Normalizer, Predictions, Targets,
};
