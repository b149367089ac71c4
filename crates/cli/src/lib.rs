//! The command line of `fcos-burn`: argument types, terminal output, signals.
//!
//! No published crate depends on this one.

pub mod args;
mod error;
mod signals;
pub mod terminal;

pub use error::Error;
pub use signals::StopSignal;
