//! A training step whose loss or gradient is not finite, kept for inspection.

use std::{collections::BTreeMap, fs, path::Path};

use burn::train::{ItemLazy, TrainStep};
use fcos_burn_data::DetectionDataset;
use fcos_burn_detect::json::{read_json, write_json};
use serde::{Deserialize, Serialize};

use super::{initial_model, open_devices, trainable};
use crate::{
    Error, RunFolder,
    data::{BatchPlace, Collate, TrainCollate},
    run::save_model,
    step::{StepMetric, StepOutput, TrainableDetector},
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
    pub(crate) fn write(&self, run: &RunFolder, learner: &TrainableDetector) -> Result<(), Error> {
        let folder = run.failed_step_path();
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        save_model(learner.detector(), &folder.join(MODEL))?;
        Ok(write_json(&folder.join(STEP), self)?)
    }

    /// Reads the step that ended the run in `run`.
    ///
    /// # Errors
    ///
    /// Fails if the folder is no run, or no step ended it so.
    pub fn read(run: &Path) -> Result<Self, Error> {
        let (folder, _) = RunFolder::open(run)?;
        Ok(read_json(&folder.failed_step_path().join(STEP))?)
    }

    /// Computes the step again, with the images as they are now, on the devices of the
    /// run in `run`: its figures.
    ///
    /// # Errors
    ///
    /// As [`resume`](crate::resume).
    pub fn replay(&self, run: &Path) -> Result<Vec<(StepMetric, f64)>, Error> {
        let (folder, config) = RunFolder::open(run)?;
        let devices = open_devices(&config)?;
        let dataset = config.data.source.open(&config.data.train_split)?;
        let indices: Vec<usize> = self.images.iter().map(|image| image.index).collect();
        let place = BatchPlace {
            epoch: self.epoch as u64,
            progress: self.progress,
        };
        let batch = TrainCollate::new(&config)?.collate(&dataset, &indices, place)?;
        let model =
            initial_model(&config, &devices[0])?.load(&folder.failed_step_path().join(MODEL))?;
        let output = TrainStep::step(&trainable(&config, model, devices)?, batch).item;
        let output = output
            .sync()
            .map_err(|error| Error::Training(error.to_string()))?;
        Ok(output.metrics().to_vec())
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
