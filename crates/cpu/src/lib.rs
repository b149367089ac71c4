#![doc = include_str!("../README.md")]

mod activation;
mod buffer;
mod convolution;
mod flex;
mod geometry;
mod images;
mod lanes;
mod lowered;
mod normalization;
#[cfg(feature = "optim")]
pub mod optim;
mod planes;
mod product;
mod unwritten;
mod winograd;

pub use activation::{add_relu, relu};
pub use convolution::conv2d;
pub use normalization::{batch_norm_train, group_norm};
