//! Image transforms that move boxes along with the pixels.
//!
//! A [`Pipeline`] applies [`Augmentation`]s in order. In configuration files, its steps are a list of [`Transform`]s:
//!
//! ```
//! use fcos_burn_data::serde_json;
//! use fcos_burn_data::transforms::{Pipeline, Transform};
//!
//! let steps: Vec<Transform> = serde_json::from_str(
//!     r#"[
//!         {"horizontal_flip": {"probability": 0.5}},
//!         {"resize": {"short_side": {"short": 800, "long": 1333}}},
//!         {"color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}}
//!     ]"#,
//! )?;
//! let pipeline = Pipeline::new(steps)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Augmentations`] adds steps of your own.

mod affine;
mod augmentation;
mod blur;
mod color;
mod companions;
mod copy_paste;
mod crop;
mod erasing;
mod flip;
mod geometry;
mod hsv;
mod jpeg;
mod mixup;
mod mosaic;
mod multi_scale;
mod noise;
mod pipeline;
mod projection;
mod resize;
mod sample;
mod strength;
mod transform;
mod visibility;
mod warp;

pub use affine::RandomAffine;
pub use augmentation::Augmentation;
pub use blur::GaussianBlur;
pub use color::ColorJitter;
pub use companions::Companions;
pub use copy_paste::CopyPaste;
pub use crop::RandomCrop;
pub use erasing::RandomErasing;
pub use flip::{Flip, HorizontalFlip, VerticalFlip};
pub use geometry::Geometry;
pub use hsv::HsvJitter;
pub use jpeg::JpegArtifacts;
pub use mixup::Mixup;
pub use mosaic::Mosaic;
pub use multi_scale::MultiScale;
pub use noise::GaussianNoise;
pub use pipeline::{Augmentations, Pipeline};
pub use resize::{Interpolation, Resize, ScaleJitter};
pub use sample::Sample;
pub use strength::AugmentationStrength;
pub use transform::Transform;
