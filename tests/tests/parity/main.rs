//! The same numbers as PyTorch, torchvision and the original FCOS code.
//!
//! What they compute lies in `tests/fixtures`, written by `tests/reference`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod assignment;
mod evaluation;
mod fixture;
mod formula;
mod losses;
mod network;
mod nms;
mod step;
