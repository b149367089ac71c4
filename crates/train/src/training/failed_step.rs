//! A training step whose loss or gradient is not finite, kept for inspection.

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
    data::{BatchPlace, Collate, TrainBatch, TrainCollate},
    run::save_model,
    step::{StepOutput, TrainableDetector},
};

/// The step that ended a run: `failed-step/step.json` in its folder. Beside it,
/// `model.bpk` has the weights that it was computed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedStep {
    /// The step, counted from 1 over all epochs.
    pub iteration: usize,
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The share of the training that was done before it, in `[0, 1]`.
    pub progress: f64,
    /// The images of the batch, in its order.
    pub images: Vec<FailedImage>,
    /// The step's metrics, by name: numbers, `NaN`, `inf` or `-inf`.
    #[serde(rename = "figures")]
    pub metrics: BTreeMap<String, String>,
}

/// An image of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedImage {
    /// Its place in the training split.
    pub index: usize,
    /// Its id.
    pub id: u64,
    /// Its file.
    pub file_name: String,
}

impl FailedStep {
    pub(crate) fn new(
        iteration: usize,
        epoch: usize,
        progress: f64,
        images: Vec<FailedImage>,
        output: &StepOutput,
    ) -> Self {
        let metrics = output.metrics().iter();
        Self {
            iteration,
            epoch,
            progress,
            images,
            metrics: metrics
                .map(|(metric, value)| (metric.name().to_owned(), value.to_string()))
                .collect(),
        }
    }

    /// Writes the step into its folder in that of the run.
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

    /// Reads the step that ended the run in `run`.
    ///
    /// # Errors
    ///
    /// Fails if the folder is no run, or no step ended it so.
    pub fn read(run: &Path) -> Result<Self, Error> {
        let folder = RunFolder::open(run)?;
        Ok(read_json(&folder.failed_step_path().join(STEP))?)
    }

    /// The batch of the step, with the images as they are now.
    pub(crate) fn batch(
        &self,
        collate: &TrainCollate,
        dataset: &DetectionDataset,
    ) -> Result<TrainBatch, Error> {
        let indices: Vec<usize> = self.images.iter().map(|image| image.index).collect();
        let place = BatchPlace {
            epoch: self.epoch as u64,
            progress: self.progress,
        };
        Ok(collate.collate(dataset, &indices, place)?)
    }

    /// The weights that the failed step of a run was computed with.
    pub(crate) fn weights(run: &RunFolder) -> PathBuf {
        run.failed_step_path().join(MODEL)
    }
}

impl FailedImage {
    /// The images of `dataset` at these places.
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
}

const MODEL: &str = "model.bpk";
const STEP: &str = "step.json";
