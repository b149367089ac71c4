#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// `unsafe` is denied for the crate. The modules that write to uninitialized memory or set parameters of the
// allocator allow it at single statements, each with its reason; the others forbid it.
#[forbid(unsafe_code)]
mod activation;
mod convolution;
mod flex;
#[forbid(unsafe_code)]
mod focal;
#[forbid(unsafe_code)]
mod fork;
#[forbid(unsafe_code)]
mod instructions;
#[cfg(test)]
#[forbid(unsafe_code)]
mod levels;
mod memory;
#[forbid(unsafe_code)]
mod nhwc;
mod normalization;
#[cfg(feature = "optim")]
#[forbid(unsafe_code)]
pub mod optim;
#[forbid(unsafe_code)]
mod parallel;
#[forbid(unsafe_code)]
mod pool;
mod pooling;
mod product;
#[forbid(unsafe_code)]
mod pyramid;
#[forbid(unsafe_code)]
mod reduction;
#[forbid(unsafe_code)]
mod residual;
#[forbid(unsafe_code)]
mod scratch;
#[forbid(unsafe_code)]
mod simd;
#[cfg(feature = "optim")]
#[forbid(unsafe_code)]
mod squares;
mod uninit;
mod upsampling;

pub use activation::{add_relu, relu};
pub use convolution::{Epilogue, conv2d, conv2d_fused};
pub use focal::focal_loss;
pub use fork::fork;
pub use instructions::{InstructionsError, instructions, set_instructions};
pub use memory::{keep_freed_memory, return_freed_memory};
pub use normalization::{batch_norm_relu_train, batch_norm_train, group_norm, group_norm_relu};
pub use pool::in_pool;
pub use pooling::max_pool2d;
pub use product::ProductFormat;
pub use pyramid::Pyramid;
pub use residual::{Shortcut, branch};
pub use upsampling::add_upsampled;
