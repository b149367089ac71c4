//! The training log, `train.log`.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
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
    /// Fails if the file cannot be written, or if another training run has it open.
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

    /// The whole log. Where locks are mandatory, only this handle can read it.
    pub(super) fn read(&self) -> std::io::Result<String> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        // Lines are appended wherever the file was read.
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// What a line with a warning starts with.
const WARNING: &str = "warning: ";

/// A warning as a single line.
pub(crate) fn warning_line(warning: &str) -> String {
    in_one_line(WARNING, warning)
}

/// What a line with a warning about the results starts with.
const EVALUATION_WARNING: &str = "warning of the evaluation: ";

/// A warning about the results as a single line.
pub(crate) fn evaluation_warning_line(warning: &str) -> String {
    in_one_line(EVALUATION_WARNING, warning)
}

fn in_one_line(start: &str, warning: &str) -> String {
    format!("{start}{}", warning.replace(['\r', '\n'], " "))
}

/// What the first line of each start and resumption of a training run starts with.
pub(crate) const TRAINING_DATA: &str = "train: ";

/// The warnings in a log, without repetitions; of those about results, the ones about the last results.
pub(super) fn warnings(log: &str) -> Vec<String> {
    let mut seen = HashSet::<&str>::new();
    let (mut warnings, mut of_results) = (Vec::new(), Vec::new());
    for line in log.lines() {
        if line.starts_with(TRAINING_DATA) {
            of_results.clear();
        } else if let Some(warning) = line.strip_prefix(EVALUATION_WARNING) {
            of_results.push(warning.to_owned());
        } else if let Some(warning) = line.strip_prefix(WARNING)
            && seen.insert(warning)
        {
            warnings.push(warning.to_owned());
        }
    }
    warnings.extend(of_results);
    warnings
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_several_lines_is_found_again_as_one() {
        let lines = ["one\ntwo", "three", "one\ntwo"].map(warning_line);
        let log = format!("epoch 1: 3 s\n{}\ninterrupted\n", lines.join("\n"));
        assert_eq!(warnings(&log), ["one two", "three"]);
    }

    /// A run that was continued twice.
    #[test]
    fn warnings_about_earlier_results_are_not_found_again() {
        let start = format!("{TRAINING_DATA}shapes");
        let lines = |warning: &str| [start.clone(), evaluation_warning_line(warning)].join("\n");
        let log = [
            warning_line("slow"),
            lines("wrong classes: 62.8"),
            lines("wrong classes: 70.8"),
        ];
        let mut log = log.join("\n");
        assert_eq!(warnings(&log), ["slow", "wrong classes: 70.8"]);
        log.push_str(&format!("\n{start}\nepoch 5: 3 s\n"));
        assert_eq!(warnings(&log), ["slow"]);
    }
}
