#![doc = include_str!("../README.md")]
//!
//! # Conventions
//!
//! - Boxes are `xyxy` in pixels: left, top, right, bottom.
//! - Class and center-ness predictions are logits, not probabilities.
//! - Losses are unreduced. [`FcosObjective`] sums and normalizes them.
//! - Tensors are `f32`. Cast half-precision predictions first: the number of positive locations and
//!   the areas of small boxes do not fit in 16 bits.
//! - Values and gradients are finite for logits up to ±10⁴, coordinates up to ±10⁶ px, degenerate
//!   boxes, no positive locations and no rows at all.
//! - Only losses that sort or group locations read tensors back to the host; they say so. With the
//!   feature `flex`, the focal loss also reads labels, on the CPU only.
//!
//! Equation numbers are those of D. Xu, J. Guan, P. Feng and W. Wang, *Association Loss for Visual
//! Object Detection*, IEEE Signal Processing Letters, 2020, which the documentation calls *the
//! paper*.

mod association;
mod box_association;
mod box_loss;
mod centerness;
mod class_balance;
mod classification;
#[cfg(test)]
mod closed_forms;
mod columns;
mod config_error;
mod corners;
mod correlation;
mod distribution;
mod focal;
mod host;
mod iou;
mod levels;
mod locations;
mod loss_term;
mod normalizer;
mod objective;
mod own_class;
mod positives;
mod ramp_sums;
mod ranking;
mod soft_rank;
#[cfg(test)]
mod test_tensors;
mod unknown_name;
mod weights;

// The tensors in this interface, in the version that it uses.
pub use burn;

pub use association::{AssociationLoss, AssociationScore};
pub use box_association::BoxAssociation;
pub use box_loss::BoxLoss;
pub use centerness::{centerness_loss, centerness_target};
pub use class_balance::{ClassBalance, effective_number_weights};
pub use classification::ClassificationLoss;
pub use config_error::ConfigError;
pub use correlation::Correlation;
pub use distribution::{BoxDistributions, distribution_focal_loss};
pub use focal::{SigmoidFocalLoss, SigmoidFocalLossConfig};
pub use iou::aligned_iou;
pub use levels::Levels;
pub use locations::{Predictions, Targets};
pub use loss_term::{LossTerm, TermInput, TermNameError};
pub use normalizer::Normalizer;
pub use objective::{FcosObjective, FcosObjectiveConfig, LossValue, ObjectiveOutput};
pub use positives::{BACKGROUND, IGNORED};
pub use unknown_name::UnknownName;
pub use weights::{Divisors, TargetWeights};
