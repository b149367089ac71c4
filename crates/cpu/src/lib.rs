#![doc = include_str!("../README.md")]

mod buffer;
mod convolution;
mod flex;
mod geometry;
mod images;
mod lanes;
mod lowered;
mod normalization;
mod planes;
mod product;
mod winograd;

pub use convolution::conv2d;
pub use normalization::{batch_norm_train, group_norm};
