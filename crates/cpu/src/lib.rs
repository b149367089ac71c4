#![doc = include_str!("../README.md")]

// Memory that is not cleared and products by pointers need `unsafe`, and say at each place
// why it is sound. The other modules may have none.
#[forbid(unsafe_code)]
mod activation;
#[forbid(unsafe_code)]
mod buffer;
mod convolution;
mod flex;
#[forbid(unsafe_code)]
mod geometry;
#[forbid(unsafe_code)]
mod images;
#[forbid(unsafe_code)]
mod lanes;
#[forbid(unsafe_code)]
mod lowered;
mod normalization;
#[cfg(feature = "optim")]
#[forbid(unsafe_code)]
pub mod optim;
#[forbid(unsafe_code)]
mod planes;
mod product;
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod simd;
#[forbid(unsafe_code)]
mod sums;
mod unwritten;
#[forbid(unsafe_code)]
mod winograd;

pub use activation::{add_relu, relu};
pub use convolution::conv2d;
pub use normalization::{batch_norm_train, group_norm};
