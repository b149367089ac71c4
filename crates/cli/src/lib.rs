//! The command line of `fcos-burn`: argument types, terminal output, signals.
//!
//! It is the library part of the program; no other published crate depends on it.

pub mod args;
mod error;
pub mod inputs;
#[cfg(feature = "pretrained")]
pub mod pretrained;
mod signals;
pub mod terminal;

pub use error::Error;
pub use signals::StopSignal;
