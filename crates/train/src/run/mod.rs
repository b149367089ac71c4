//! The run folder: configuration, checkpoints, log, metrics, plots, pictures and report.

mod artifacts;
mod checkpoint;
mod epoch_row;
mod event_log;
mod folder;
mod log;
mod metrics_csv;
mod report;

pub(crate) use artifacts::write_artifacts;
pub use checkpoint::{Checkpoint, Checkpoints, Position};
pub(crate) use checkpoint::{EpochProgress, save_model};
pub use epoch_row::EpochRow;
pub(crate) use event_log::EventLog;
pub use folder::RunFolder;
pub use log::TrainLog;
pub(crate) use log::{TRAINING_DATA, epoch_line, evaluation_warning_line, warning_line};
pub(crate) use metrics_csv::write_metrics_csv;
