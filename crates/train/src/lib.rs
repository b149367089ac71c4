#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builtin;
pub mod config;
pub mod data;
mod error;
pub mod run;
pub mod step;
pub mod training;
pub mod tuning;

pub use burn::{self, train::Interrupter};
pub use config::{InitialWeights, RunConfig};
pub use error::Error;
pub use run::RunFolder;
pub use training::{Outcome, Trainer};
