//! What a run tells: a line an epoch in `train.log`, and the error that ends it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use burn::train::{
    logger::MetricLogger,
    metric::{
        MetricDefinition, NumericEntry,
        store::{EpochSummary, MetricsUpdate, Split},
    },
};

use crate::{error::Error, evaluation::CocoFigure, run::EpochRow};

/// A text file of what happens, a line each. Whoever has it open is the only one to train
/// in its folder.
#[derive(Clone, Debug)]
pub(crate) struct TrainLog(Arc<Mutex<File>>);

impl TrainLog {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            // Windows locks only what can be read.
            .read(true)
            .create(true)
            .append(true)
            .open(path)
            .map_err(Error::io(path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Run {
                path: path.to_owned(),
                cause: "is being written: another training goes on in its folder".to_owned(),
            }),
            // Not every file system has locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self(Arc::new(Mutex::new(file)))),
        }
    }

    /// Writes a line, or several, without a terminal's commands that names from files may
    /// have in them.
    pub(crate) fn line(&self, line: &str) -> std::io::Result<()> {
        let line = line.replace(|c: char| c.is_control() && c != '\n', " ");
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}")
    }
}

/// Where an error waits that a callback without a result met.
#[derive(Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    pub(crate) fn set(&self, error: Error) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(error);
    }

    pub(crate) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Keeps no metrics: without a logger, burn-train writes files of its own.
pub(crate) struct NoMetricLog;

impl MetricLogger for NoMetricLog {
    fn log(&mut self, _update: MetricsUpdate, _epoch: usize, _split: &Split) {}

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Err(format!("no {name} of epoch {epoch} is kept"))
    }

    fn log_metric_definition(&mut self, _definition: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

/// An epoch on one line.
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
        for figure in [CocoFigure::AP, CocoFigure::AP50, CocoFigure::AP75] {
            match validation.figure(figure) {
                Some(value) => line.push_str(&format!(", {} {:.1}", figure.name(), 100.0 * value)),
                None => line.push_str(&format!(", {} –", figure.name())),
            }
        }
    }
    line
}
