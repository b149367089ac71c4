//! The report of a run folder.

use std::{fs, io, path::PathBuf};

use fcos_burn_data::DetectionDataset;
use fcos_burn_detect::{json::read_json, known_classes, run_files};
use fcos_burn_eval::CocoResult;
use fcos_burn_model::{file::write_whole, postprocess::PostprocessConfig};
use fcos_burn_report::{Epoch, Provenance, Report, RunSummary};
use serde::Deserialize;
use serde_json::Value;

use super::{EpochRow, RunFolder, TrainLog, artifacts::curves, log::warnings};
use crate::{
    Error,
    config::{DataConfig, Keep},
    data::digest::{DataDigest, SplitDigest},
};

/// The parts of a configuration that a report needs, whatever the backbone.
#[derive(Deserialize)]
struct Settings {
    data: DataConfig,
    #[serde(default)]
    keep: Keep,
    #[serde(default)]
    model: ModelSettings,
}

/// What a report needs of the configuration of a detector.
#[derive(Default, Deserialize)]
struct ModelSettings {
    #[serde(default)]
    postprocess: PostprocessConfig,
}

impl RunFolder {
    /// Opens the data that the run was validated on.
    ///
    /// # Errors
    ///
    /// Fails if the data cannot be opened, or is not the data of the run.
    pub fn open_validation(&self) -> Result<DetectionDataset, Error> {
        let Settings { data, model, .. } = self.settings()?.1;
        let detected = model.postprocess.detected(&data.categories);
        let dataset = known_classes(data.open(&data.val_split)?, &detected)?;
        let path = self.checkpoints().data_path();
        if path.exists() {
            let digest: DataDigest = read_json(&path)?;
            if let Some(cause) = digest.val.difference(&SplitDigest::of(&dataset)) {
                return Err(Error::Run {
                    path: self.path().to_owned(),
                    cause: format!("the validation split {cause}"),
                });
            }
        }
        Ok(dataset)
    }

    /// The report of a finished run. `dataset` is the data that it was validated on, or why it cannot be opened.
    ///
    /// # Errors
    ///
    /// Fails if the run is not finished, or one of its files cannot be read.
    pub fn report<'a>(
        &self,
        dataset: Result<&'a DetectionDataset, String>,
    ) -> Result<Report<'a>, Error> {
        let log = fs::read(self.log_path());
        self.report_with_log(
            dataset,
            log.map(|log| String::from_utf8_lossy(&log).into_owned()),
        )
    }

    fn report_with_log<'a>(
        &self,
        dataset: Result<&'a DetectionDataset, String>,
        log: io::Result<String>,
    ) -> Result<Report<'a>, Error> {
        let Some(evaluation) = self.read_evaluation()? else {
            return Err(Error::Run {
                path: self.path().to_owned(),
                cause: "is not finished: it has no evaluation.json".to_owned(),
            });
        };
        let (config, settings) = self.settings()?;
        let rows = self.read_metrics()?;
        let epoch = |row: &EpochRow| Epoch {
            epoch: row.epoch,
            seconds: row.seconds,
            ap: row.ap(),
        };
        let run = RunSummary::new(self.name(), evaluation)
            .with_analysis(self.read_analysis()?)
            .with_epochs(
                rows.iter().map(epoch).collect(),
                kept_epoch(&rows, settings.keep),
            )
            .with_curves(curves(&rows))
            .with_config(config)
            .with_provenance(self.read_provenance()?)
            // A report without the warnings of a log that cannot be read is better than none.
            .with_warnings(match log {
                Ok(log) => Ok(warnings(&log)),
                Err(error) => Err(format!("train.log cannot be read: {error}")),
            });
        let results: Vec<CocoResult> = read_json(&self.results_path())?;
        Ok(Report::new(run, dataset, results)?)
    }

    /// Writes the report of a finished run, and returns its path.
    ///
    /// # Errors
    ///
    /// Fails as [`report`](Self::report) does, and if the file cannot be written.
    pub(crate) fn write_report(
        &self,
        dataset: &DetectionDataset,
        log: &TrainLog,
    ) -> Result<PathBuf, Error> {
        let path = self.report_path();
        let html = self.report_with_log(Ok(dataset), log.read())?.html()?;
        write_whole(&path, html.as_bytes()).map_err(Error::io(&path))?;
        Ok(path)
    }

    /// Programs, machines and data of the run; `None` for runs that did not record them.
    ///
    /// # Errors
    ///
    /// Fails if the file exists, but cannot be read.
    pub fn read_provenance(&self) -> Result<Option<Provenance>, Error> {
        let path = self.provenance_path();
        match path.exists() {
            true => Ok(Some(read_json(&path)?)),
            false => Ok(None),
        }
    }

    /// The whole configuration, and the parts for the report.
    fn settings(&self) -> Result<(Value, Settings), Error> {
        let path = self.config_path();
        let config = run_files::read_config(&path)?;
        let settings = Settings::deserialize(&config);
        let settings = settings.map_err(fcos_burn_detect::Error::json(&path))?;
        Ok((config, settings))
    }

    /// The name of the folder, however its path is written.
    fn name(&self) -> String {
        let path = fs::canonicalize(self.path()).unwrap_or_else(|_| self.path().to_owned());
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// The epoch whose weights the run kept.
fn kept_epoch(rows: &[EpochRow], keep: Keep) -> Option<usize> {
    let is_kept = |place: usize| keep == Keep::Last || rows[place].is_best(&rows[..place]);
    let last_kept = (0..rows.len()).rev().find(|&place| is_kept(place))?;
    Some(rows[last_kept].epoch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_of_the_best_epochs_is_kept_or_else_the_last() {
        let rows = EpochRow::with_aps;
        let mut epochs = rows(&[None, Some(0.2), Some(0.5), Some(0.5), Some(0.1)]);
        assert_eq!(kept_epoch(&epochs, Keep::Best), Some(3));
        assert_eq!(kept_epoch(&epochs, Keep::Last), Some(5));
        epochs[2].validation = None;
        assert_eq!(kept_epoch(&epochs, Keep::Best), Some(4));
        let mut undefined = rows(&[None, None, None]);
        assert_eq!(kept_epoch(&undefined, Keep::Best), Some(3));
        undefined[2].validation = None;
        assert_eq!(kept_epoch(&undefined, Keep::Best), Some(2));
        assert_eq!(kept_epoch(&[], Keep::Best), None);
    }
}
