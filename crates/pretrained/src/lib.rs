#![doc = include_str!("../README.md")]

mod address;
mod cache;
mod catalog;
mod client;
mod download;
mod error;
mod fetch;
mod options;
#[cfg(test)]
mod tests;

pub use cache::{State, state};
pub use catalog::{Network, PretrainedWeights, WEIGHTS, find};
pub use download::Progress;
pub use error::Error;
pub use fetch::fetch;
pub use options::{CACHE_VARIABLE, MIRROR_VARIABLE, Options};
