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

mod augmentation;
mod color;
mod crop;
mod flip;
mod geometry;
mod pipeline;
mod resize;
mod sample;
mod transform;

pub use augmentation::Augmentation;
pub use color::ColorJitter;
pub use crop::RandomCrop;
pub use flip::{Flip, HorizontalFlip, VerticalFlip};
pub use geometry::Geometry;
pub use pipeline::{Augmentations, Pipeline};
pub use resize::{Interpolation, Resize, ScaleJitter};
pub use sample::Sample;
pub use transform::Transform;
