//! The command line of `fcos-burn`: argument types, terminal output, signals.
//!
//! It is the library part of the program; no other published crate depends on it.

pub mod args;
#[cfg(all(unix, feature = "tui"))]
pub mod dashboard;
mod error;
pub mod inputs;
pub mod outputs;
#[cfg(feature = "pretrained")]
pub mod pretrained;
mod signals;
pub mod terminal;

pub use error::Error;
pub use signals::StopSignal;
