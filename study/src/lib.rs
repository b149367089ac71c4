//! The paper's experiments and the benchmarks.

pub mod benchmark;
mod error;
pub mod reproduction;

pub use error::Error;
