//! Timing of opening a data set and starting an epoch.

use std::{hint::black_box, sync::Arc, time::Instant};

use crate::Error;
use burn::data::dataloader::DataLoader;
use fcos_burn::{
    data::DetectionDataset,
    train::RunConfig,
    train::data::{BatchLoader, EpochPlan, FirstBatch, TrainCollate},
};
use fcos_burn_cli::terminal::message;
use serde::Serialize;

use super::{
    memory,
    stopwatch::{Rounds, Stage, Stopwatch},
};

/// Time and memory of reading all annotations of the training split.
#[derive(Clone, Debug, Serialize)]
pub struct OpeningReport {
    /// Number of images of the split.
    pub images: usize,
    /// Number of objects of the split.
    pub objects: usize,
    /// `open`, and `epoch start`: the time until the loader begins its first batch.
    pub stages: Vec<Stage>,
    /// Peak memory while the split was opened for the first time, in MiB.
    pub peak_mib: Option<f64>,
}

/// Times opening the training split, once per round, and returns the split.
///
/// # Errors
///
/// Fails if the split cannot be opened or has no images.
pub fn measure(
    config: &RunConfig,
    rounds: Rounds,
) -> Result<(Arc<DetectionDataset>, OpeningReport), Error> {
    let device = config.devices[0].open(config.precision)?;
    let mut stopwatch = Stopwatch::new(&device);
    let mut peak_mib = None;
    memory::begin_peak();
    let mut dataset = None;
    for round in 0..rounds.warm_up + rounds.measured {
        drop(dataset.take());
        let start = Instant::now();
        let opened = Arc::new(config.data.open(&config.data.train_split)?);
        stopwatch.add("open", start.elapsed());
        if round == 0 {
            peak_mib = memory::peak_mib();
            message(&opened);
        }
        let plan = EpochPlan::training(config)?.with_workers(0);
        let collate = TrainCollate::new(config)?;
        let loader = BatchLoader::new(
            opened.clone(),
            collate,
            plan,
            device.clone(),
            FirstBatch::START,
        );
        stopwatch.time("epoch start", || {
            black_box(loader.iter());
        })?;
        dataset = Some(opened);
    }
    let dataset = dataset
        .filter(|dataset| !dataset.is_empty())
        .ok_or_else(|| fcos_burn::train::Error::NoImages(config.data.source.name()))?;
    let report = OpeningReport {
        images: dataset.len(),
        objects: dataset.object_count(),
        stages: stopwatch.stages(rounds),
        peak_mib,
    };
    Ok((dataset, report))
}
