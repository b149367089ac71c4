//! The run folder: configuration, checkpoints, log, metrics, plots and pictures.

mod artifacts;
mod checkpoint;
mod epoch_row;
mod folder;
mod log;

pub(crate) use artifacts::write_artifacts;
pub use checkpoint::{Checkpoint, Checkpoints, Position};
pub(crate) use checkpoint::{EpochProgress, save_model};
pub use epoch_row::EpochRow;
pub use folder::RunFolder;
pub use log::TrainLog;
pub(crate) use log::epoch_line;
