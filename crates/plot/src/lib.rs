#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "charts")]
mod charts;
mod class_color;
mod contact_sheet;
mod drawing;
mod error;
mod font;
mod label;
mod picture_file;

#[cfg(feature = "charts")]
pub use charts::{Axis, HeatMap, LineChart, ScatterChart, Series, Tick, sample_dots};
pub use class_color::class_color;
pub use contact_sheet::contact_sheet;
pub use drawing::{DrawnBox, annotated, draw_boxes};
pub use error::PlotError;
pub use image::RgbImage;
pub use picture_file::save_picture;
