//! Saving and loading weights: this crate's files and those of other projects.

mod error;
mod export;
mod file;
mod naming;
mod pickle;
mod record;
mod tensors;

pub use self::{
    error::WeightsError,
    file::{LoadReport, WeightsFile},
    naming::TensorNaming,
    record::read_record,
};
