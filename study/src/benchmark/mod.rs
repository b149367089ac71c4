//! The stages of a training step, of inference and of what is around them, timed one by
//! one.

pub mod evaluation;
pub mod inference;
pub mod loading;
pub mod memory;
pub mod opening;
pub mod stopwatch;
pub mod training;
