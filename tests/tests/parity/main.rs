//! Parity with PyTorch, torchvision and the original FCOS code.
//!
//! Their outputs are stored in `tests/fixtures` and were written by `tests/reference`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod assignment;
mod evaluation;
mod fixture;
mod formula;
mod losses;
mod merging;
mod network;
mod nms;
mod operating_point;
mod scores;
mod step;
