//! The training log, `train.log`.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use fcos_burn_eval::CocoMetric;

use super::EpochRow;
use crate::Error;

/// A text file with a line per event. It is locked while open, so that only one training runs in
/// its folder.
#[derive(Clone, Debug)]
pub struct TrainLog(Arc<Mutex<File>>);

impl TrainLog {
    /// Opens the log for appending.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written, or if another training has it open.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            // Windows locks only readable files.
            .read(true)
            .create(true)
            .append(true)
            .open(path)
            .map_err(Error::io(path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Run {
                path: path.to_owned(),
                cause: "another training is running in its folder".to_owned(),
            }),
            // Not every file system supports locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self(Arc::new(Mutex::new(file)))),
        }
    }

    /// Writes one or several lines, without control characters that names from files may contain.
    pub fn line(&self, line: &str) -> std::io::Result<()> {
        let line = line.replace(|c: char| c.is_control() && c != '\n', " ");
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}")
    }
}

/// The line of an epoch in the log.
pub(crate) fn epoch_line(row: &EpochRow) -> String {
    let mut line = format!("epoch {}: {:.0} s", row.epoch, row.seconds);
    for (name, value) in &row.train {
        line.push_str(&format!(", {} {value:.3}", name.to_lowercase()));
    }
    line.push_str(&format!(", learning rate {:.2e}", row.learning_rate));
    if row.clipped_steps > 0 {
        line.push_str(&format!(", {} steps clipped", row.clipped_steps));
    }
    if row.unreadable_images > 0 {
        line.push_str(&format!(
            ", {} unreadable images replaced",
            row.unreadable_images
        ));
    }
    if let Some(validation) = &row.validation {
        for metric in [CocoMetric::AP, CocoMetric::AP50, CocoMetric::AP75] {
            match validation.metric(metric) {
                Some(value) => line.push_str(&format!(", {} {:.1}", metric.name(), 100.0 * value)),
                None => line.push_str(&format!(", {} –", metric.name())),
            }
        }
    }
    line
}
