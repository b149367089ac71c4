//! A training step whose loss or gradient is not finite, saved for inspection.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use fcos_burn_data::DetectionDataset;
use fcos_burn_detect::json::{read_json, write_json};
use fcos_burn_model::backbone::Backbone;
use serde::{Deserialize, Serialize};

use crate::{
    Error, RunFolder,
    data::{BatchPlace, Collate, EpochPlan, TrainBatch, TrainCollate},
    run::save_model,
    step::{StepOutput, TrainableDetector},
};

/// The step that stopped a run: `failed-step/step.json` in its folder. `model.bpk` beside it
/// has the weights before the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedStep {
    /// The step, counted from 1 over all epochs.
    pub iteration: usize,
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The fraction of the training completed before the step, in `[0, 1]`.
    pub progress: f64,
    /// If an epoch can show an image several times: how many images it showed before the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draws: Option<usize>,
    /// The images of the batch, in order.
    pub images: Vec<FailedImage>,
    /// The step's metrics, by name: numbers, `NaN`, `inf` or `-inf`.
    #[serde(rename = "figures")]
    pub metrics: BTreeMap<String, String>,
}

/// An image of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedImage {
    /// Its index in the training split.
    pub index: usize,
    /// Its id.
    pub id: u64,
    /// Its file name.
    pub file_name: String,
}

impl FailedStep {
    pub(crate) fn new(
        iteration: usize,
        place: BatchPlace,
        images: Vec<FailedImage>,
        output: &StepOutput,
    ) -> Self {
        let metrics = output.metrics().iter();
        Self {
            iteration,
            epoch: place.epoch as usize,
            progress: place.progress,
            draws: place.draws,
            images,
            metrics: metrics
                .map(|(metric, value)| (metric.name().to_owned(), value.to_string()))
                .collect(),
        }
    }

    /// Writes the step into the run folder.
    pub(crate) fn write<B: Backbone>(
        &self,
        run: &RunFolder,
        learner: &TrainableDetector<B>,
    ) -> Result<(), Error> {
        let folder = run.failed_step_path();
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        save_model(learner.detector(), &Self::weights(run))?;
        Ok(write_json(&folder.join(STEP), self)?)
    }

    /// Reads the failed step of the run in `run`.
    ///
    /// # Errors
    ///
    /// Fails if the folder is not a run folder or has no failed step.
    pub fn read(run: impl AsRef<Path>) -> Result<Self, Error> {
        let run = run.as_ref();
        let folder = RunFolder::open(run)?;
        Ok(read_json(&folder.failed_step_path().join(STEP))?)
    }

    /// The batch of the step in `run`, with images read again from disk. `plan` is that of the
    /// run's epochs.
    pub(crate) fn batch(
        &self,
        run: &RunFolder,
        collate: &TrainCollate,
        dataset: &DetectionDataset,
        plan: &EpochPlan,
    ) -> Result<TrainBatch, Error> {
        let other = self.images.iter().find(|image| !image.is_in(dataset));
        let cause = match other {
            Some(image) => Some(format!(
                "{} is not image {} of {}",
                image.file_name,
                image.index,
                dataset.name()
            )),
            None if self.images.is_empty() => Some("the step has no images".to_owned()),
            None => None,
        };
        if let Some(cause) = cause {
            return Err(Error::Run {
                path: run.failed_step_path().join(STEP),
                cause,
            });
        }
        let indices: Vec<usize> = self.images.iter().map(|image| image.index).collect();
        let (images, epoch) = (dataset.len(), self.epoch as u64);
        let before = plan.batches_before(images, epoch);
        let batch = self.iteration.saturating_sub(1).saturating_sub(before);
        let place = BatchPlace {
            progress: self.progress,
            draws: self.draws,
            ..plan.place(images, epoch, batch)
        };
        collate.collate(dataset, &indices, place)
    }

    /// The file with the weights before the failed step of a run.
    pub(crate) fn weights(run: &RunFolder) -> PathBuf {
        run.failed_step_path().join(MODEL)
    }
}

impl FailedImage {
    /// The images of `dataset` at these indices.
    pub(crate) fn of(dataset: &DetectionDataset, indices: &[usize]) -> Vec<Self> {
        let image = |&index: &usize| {
            let record = dataset.record(index).ok()?;
            Some(Self {
                index,
                id: record.id,
                file_name: record.file_name.clone(),
            })
        };
        indices.iter().filter_map(image).collect()
    }

    fn is_in(&self, dataset: &DetectionDataset) -> bool {
        let record = dataset.record(self.index);
        record.is_ok_and(|record| record.id == self.id && record.file_name == self.file_name)
    }
}

const MODEL: &str = "model.bpk";
const STEP: &str = "step.json";
