//! The commands, one per module.

pub mod completions;
pub mod convert;
pub mod detect;
pub mod devices;
pub mod evaluate;
pub mod export;
#[cfg(feature = "inspect")]
pub mod inspect;
pub mod man;
pub mod report;
#[cfg(feature = "remote")]
pub mod serve;
pub mod train;
pub mod tune;
#[cfg(feature = "pretrained")]
pub mod weights;
