//! A generated detection data set: shapes of six classes on a cluttered background.
//!
//! Nothing is stored: an image and its annotations are computed from the seed, the split and the index. Only operations
//! that IEEE 754 rounds exactly are used (no sines, no logarithms), so the same configuration gives the same bytes on
//! every machine.
//!
//! It challenges a detector with sizes from a few pixels to most of the image, any rotation, aspect ratios up to 2,
//! occlusion, truncation at the border, textures, low contrast, noise, and distracting lines and curves. Most objects
//! have a color typical of their class. A box encloses the *visible* part of its object, as in COCO. An object that is
//! less than a quarter visible is drawn but not annotated.

mod config;
mod dataset;
mod figure;
mod paint;
mod raster;
mod scene;

pub use crate::drawing::Split as ShapesSplit;
pub use config::ShapesConfig;
