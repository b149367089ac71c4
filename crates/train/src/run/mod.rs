//! The run folder: configuration, checkpoints, log, metrics, plots and pictures.

mod artifacts;
mod checkpoint;
mod epoch_row;
mod folder;
mod log;

pub use artifacts::write_artifacts;
pub(crate) use checkpoint::save_model;
pub use checkpoint::{Checkpoint, Checkpoints, EpochProgress, Position, RunningMean};
pub use epoch_row::EpochRow;
pub use folder::RunFolder;
pub use log::TrainLog;
pub(crate) use log::epoch_line;
