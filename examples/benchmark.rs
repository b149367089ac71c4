//! The stages of a training step, of inference and of loading, timed one by one.

pub mod inference;
pub mod loading;
pub mod memory;
pub mod stopwatch;
pub mod training;
