//! Timing of the data loader alone.

use std::{sync::Arc, time::Instant};

use crate::Error;
use burn::data::dataloader::DataLoader;
use fcos_burn::{
    data::DetectionDataset,
    train::RunConfig,
    train::data::{BatchLoader, EpochPlan, FirstBatch, TrainCollate},
};
use serde::Serialize;

use super::stopwatch::{Rounds, median};

/// Throughput of the data loader.
#[derive(Clone, Debug, Serialize)]
pub struct LoadingReport {
    /// Number of worker threads.
    pub workers: usize,
    /// Images per round.
    pub images: usize,
    /// The median of `images_per_second`.
    pub median: f64,
    /// Images per second in each round.
    pub images_per_second: Vec<f64>,
}

/// Times epochs of training batches, of at most `images` images each, that nothing consumes.
///
/// # Errors
///
/// Fails if an image cannot be read.
pub fn measure(
    config: &RunConfig,
    dataset: &Arc<DetectionDataset>,
    workers: usize,
    images: usize,
    rounds: Rounds,
) -> Result<LoadingReport, Error> {
    let images = images.min(dataset.len());
    let plan = EpochPlan::training(config)?
        .with_workers(workers)
        .with_images(images);
    let device = config.devices[0].open(config.precision)?;
    // Every image is decoded, as in the first epoch.
    let collate = TrainCollate::new(&config.clone().with_image_memory(0))?;
    let loader = BatchLoader::new(dataset.clone(), collate, plan, device, FirstBatch::START);
    let mut rates = Vec::new();
    for _ in 0..rounds.warm_up + rounds.measured {
        let start = Instant::now();
        for batch in loader.iter() {
            batch.map_err(|error| Error::Failed(error.to_string()))?;
        }
        rates.push(images as f64 / start.elapsed().as_secs_f64());
    }
    rates.drain(..rounds.warm_up);
    Ok(LoadingReport {
        workers,
        images,
        median: median(&rates),
        images_per_second: rates,
    })
}
