//! Timings of each stage of training, inference, data loading and evaluation.

pub mod evaluation;
pub mod inference;
pub mod loading;
pub mod memory;
pub mod opening;
pub mod stopwatch;
pub mod training;
