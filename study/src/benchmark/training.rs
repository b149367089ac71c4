//! Timing of a training step.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::Error;
use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::Device,
    train::{ItemLazy, TrainStep},
};
use fcos_burn::{
    data::{DetectionDataset, sample_rng, stack},
    detect::device::Traffic,
    model::Fcos,
    model::FcosOutput,
    model::locations::Locations,
    model::{assignment::AssignmentRule, backbone::Backbone},
    train::RunConfig,
    train::data::{BatchPlace, Collate, TrainBatch, TrainCollate},
    train::step::{StepMetric, TrainableDetector},
    train::training::{open_devices, trainable},
};
use serde::Serialize;

use super::{
    memory,
    stopwatch::{Rounds, Stage, Stopwatch},
};

/// Time and memory of a training step on one batch.
#[derive(Clone, Debug, Serialize)]
pub struct TrainingReport {
    /// Shape of the batch, `[images, 3, height, width]`.
    pub input: [usize; 4],
    /// Number of locations per image.
    pub locations: usize,
    /// Number of objects in the batch.
    pub objects: usize,
    /// Value of the objective before the first step.
    pub loss: f64,
    /// Number of positive locations in the batch.
    pub positives: f64,
    /// Stages on the host. Per image: `decode`, `resize`, `augment`, `assignment`. Per batch:
    /// `stacking`, and `batching`, which is everything that a loader worker does.
    pub host: Vec<Stage>,
    /// `step` on all devices of the configuration, and its stages on the first device:
    /// `transfer`, `backbone`, `pyramid`, `head`, `loss`, `backward`, `optimizer`.
    pub device: Vec<Stage>,
    /// Peak memory of whole steps, in MiB.
    pub peak_mib: Option<f64>,
}

/// Time, memory and traffic of whole training steps on one batch.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Shape of the batch, `[images, 3, height, width]`.
    pub input: [usize; 4],
    /// Value of the objective before the first step.
    pub loss: f64,
    /// `step`, on all devices of the configuration.
    pub device: Vec<Stage>,
    /// Seconds of the first step, in which a GPU compiles and chooses its kernels.
    pub first_seconds: f64,
    /// Peak memory, in MiB.
    pub peak_mib: Option<f64>,
    /// The traffic of a step with each server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<StepTraffic>,
}

/// The mean number of bytes that a step exchanges with a server.
#[derive(Clone, Debug, Serialize)]
pub struct StepTraffic {
    /// The server, `HOST:PORT`.
    pub server: String,
    /// To the server.
    pub sent: u64,
    /// From the server.
    pub received: u64,
}

const FIRST: BatchPlace = BatchPlace {
    epoch: 1,
    batch: 0,
    epochs_left: None,
    progress: 0.0,
    draws: None,
};

/// Times training steps of `model` on the first batch of a data set.
///
/// # Errors
///
/// Fails if an image cannot be read or a device fails.
pub fn measure(
    config: &RunConfig,
    model: &Fcos,
    dataset: &Arc<DetectionDataset>,
    rounds: Rounds,
) -> Result<TrainingReport, Error> {
    memory::begin_peak();
    let indices: Vec<usize> = (0..config.batch_size.min(dataset.len())).collect();
    // Every image is decoded, as in the first epoch.
    let collate = TrainCollate::new(&config.clone().with_image_memory(0))?;
    let whole = TrainCollate {
        parts: 1,
        ..collate.clone()
    };
    let batch = whole.collate(dataset, &indices, FIRST)?;
    let input = batch.parts[0].images.shape();
    let locations = Locations::new(
        [input[2], input[3]],
        &config.model.strides(),
        config.model.location_rule,
    );
    let host = host_stages(config, dataset, &indices, &whole, &locations, rounds)?;

    let devices = open_devices(config)?;
    let mut stopwatch = Stopwatch::new(&devices[0]);
    let divided = collate.collate(dataset, &indices, FIRST)?;
    let steps = time_steps(
        config,
        model.clone(),
        &divided,
        &devices,
        rounds,
        &mut stopwatch,
        || (),
    )?;
    let peak_mib = memory::peak_mib();
    time_stages(config, model, &batch, &devices, rounds, &mut stopwatch)?;
    Ok(TrainingReport {
        input,
        locations: locations.len(),
        objects: indices
            .iter()
            .map(|&index| dataset.images()[index].objects.len())
            .sum(),
        loss: steps.metric(StepMetric::Loss),
        positives: steps.metric(StepMetric::Positives),
        host,
        device: stopwatch.stages(rounds),
        peak_mib,
    })
}

/// Times whole training steps of `model` on the first batch of a data set. Calls `warmed_up` before
/// the steps that count. Keeps no copy of the initial weights, so that the peak of memory is that of a
/// training.
///
/// # Errors
///
/// Fails if an image cannot be read or a device fails.
pub fn measure_steps(
    config: &RunConfig,
    model: Fcos,
    dataset: &Arc<DetectionDataset>,
    rounds: Rounds,
    warmed_up: impl FnOnce(),
) -> Result<StepReport, Error> {
    memory::begin_peak();
    let indices: Vec<usize> = (0..config.batch_size.min(dataset.len())).collect();
    let batch = TrainCollate::new(config)?.collate(dataset, &indices, FIRST)?;
    let [_, channels, height, width] = batch.parts[0].images.shape();
    let devices = open_devices(config)?;
    let mut stopwatch = Stopwatch::new(&devices[0]);
    let steps = time_steps(
        config,
        model,
        &batch,
        &devices,
        rounds,
        &mut stopwatch,
        warmed_up,
    )?;
    Ok(StepReport {
        input: [indices.len(), channels, height, width],
        loss: steps.metric(StepMetric::Loss),
        device: stopwatch.stages(rounds),
        first_seconds: steps.first_seconds,
        peak_mib: memory::peak_mib(),
        traffic: steps.traffic,
    })
}

fn host_stages(
    config: &RunConfig,
    dataset: &Arc<DetectionDataset>,
    indices: &[usize],
    collate: &TrainCollate,
    locations: &Locations,
    rounds: Rounds,
) -> Result<Vec<Stage>, Error> {
    let device = config.devices[0].open(config.precision)?;
    let mut stopwatch = Stopwatch::new(&device);
    let (resize, interpolation) = (config.input.resize, config.input.interpolation);
    let companions = (collate.reader).companions(dataset, FIRST.epoch, resize, interpolation);
    for _ in 0..rounds.warm_up + rounds.measured {
        let mut image_times = Stopwatch::new(&device);
        let mut samples = Vec::with_capacity(indices.len());
        for &index in indices {
            let sample = image_times.time("decode", || dataset.sample(index))??;
            let sample = image_times.time("resize", || resize.resize(sample, interpolation))??;
            let mut rng = sample_rng(config.seed, FIRST.epoch, index);
            let sample = image_times.time("augment", || {
                (collate.augmentation).apply_among(sample, &companions, &mut rng)
            })??;
            let objects = sample.objects();
            image_times.time("assignment", || {
                black_box(config.model.assignment.assign(&objects, locations))
            })?;
            samples.push(sample);
        }
        let no_warm_up = Rounds {
            warm_up: 0,
            measured: indices.len(),
        };
        for stage in image_times.stages(no_warm_up) {
            let mean = stage.milliseconds.iter().sum::<f64>() / indices.len() as f64;
            stopwatch.add(stage.name, Duration::from_secs_f64(mean / 1e3));
        }
        stopwatch.time("stacking", || {
            black_box(stack(
                &samples,
                config.input.normalization,
                config.input.size_multiple,
            ))
        })?;
        stopwatch.time("batching", || {
            collate.collate(dataset, indices, FIRST).map(black_box)
        })??;
    }
    Ok(stopwatch.stages(rounds))
}

/// Times training steps stage by stage.
fn time_stages(
    config: &RunConfig,
    model: &Fcos,
    batch: &TrainBatch,
    devices: &[Device],
    rounds: Rounds,
    stopwatch: &mut Stopwatch,
) -> Result<(), Error> {
    let mut scheduler = config.optimization.scheduler(model, usize::MAX)?;
    let mut optimizer = config.optimization.optimizer(model)?;
    let mut learned = trainable(config, model.clone(), devices.to_vec())?;
    for _ in 0..rounds.warm_up + rounds.measured {
        let gradients = gradients(config, learned.detector(), batch, stopwatch)?;
        learned = stopwatch.time("optimizer", || {
            learned.optimize(&mut optimizer, scheduler.step(), gradients)
        })?;
    }
    Ok(())
}

/// What whole training steps give beside their times.
struct Steps {
    /// Of the first step.
    metrics: Vec<(StepMetric, f64)>,
    first_seconds: f64,
    /// Of the steps that count.
    traffic: Vec<StepTraffic>,
}

impl Steps {
    fn metric(&self, wanted: StepMetric) -> f64 {
        let found = self.metrics.iter().find(|(metric, _)| *metric == wanted);
        found.map_or(f64::NAN, |(_, value)| *value)
    }
}

/// Times whole training steps.
fn time_steps(
    config: &RunConfig,
    model: Fcos,
    batch: &TrainBatch,
    devices: &[Device],
    rounds: Rounds,
    stopwatch: &mut Stopwatch,
    warmed_up: impl FnOnce(),
) -> Result<Steps, Error> {
    let mut scheduler = config.optimization.scheduler(&model, usize::MAX)?;
    let mut optimizer = config.optimization.optimizer(&model)?;
    let mut learned = trainable(config, model, devices.to_vec())?;
    let mut first = None;
    let started = Instant::now();
    let mut step = |learned: TrainableDetector| -> Result<TrainableDetector, Error> {
        let batch = batch.clone();
        let (next, item) = stopwatch.time("step", || {
            let output = TrainStep::step(&learned, batch);
            let next = learned.optimize(&mut optimizer, scheduler.step(), output.grads);
            (next, output.item)
        })?;
        let item = item.sync();
        let item = item.map_err(|error| Error::Failed(error.to_string()))?;
        first.get_or_insert_with(|| (item.metrics().to_vec(), started.elapsed()));
        Ok(next)
    };
    for _ in 0..rounds.warm_up {
        learned = step(learned)?;
    }
    warmed_up();
    let before = traffic(config);
    for _ in 0..rounds.measured {
        learned = step(learned)?;
    }
    let (metrics, first_time) = first.unwrap_or_default();
    let steps = rounds.measured.max(1) as u64;
    let after = traffic(config);
    let per_step = before.into_iter().map(|(server, before)| {
        let after = after.get(&server).copied().unwrap_or(before);
        StepTraffic {
            sent: after.sent.saturating_sub(before.sent) / steps,
            received: after.received.saturating_sub(before.received) / steps,
            server,
        }
    });
    Ok(Steps {
        metrics,
        first_seconds: first_time.as_secs_f64(),
        traffic: per_step.collect(),
    })
}

/// The traffic with each server so far.
fn traffic(config: &RunConfig) -> BTreeMap<String, Traffic> {
    let devices = config.devices.iter();
    let of_servers =
        devices.filter_map(|device| Some((device.server()?.to_owned(), device.traffic()?)));
    of_servers.collect()
}

/// Times all stages up to the backward pass. Returns the gradients.
fn gradients(
    config: &RunConfig,
    detector: &Fcos,
    batch: &TrainBatch,
    stopwatch: &mut Stopwatch,
) -> Result<GradientsParams, Error> {
    let device = detector.devices()[0].clone();
    let part = batch.parts[0].clone();
    let assigned = part.targets.assigned();
    let assigned = assigned.ok_or_else(|| Error::Failed("no assigned targets".to_owned()))?;
    let (targets, images) = stopwatch.time("transfer", || {
        let targets = assigned.to_device(detector.predicts_centerness(), &device);
        let images = part.images.into_tensor(&device);
        (targets, config.precision.cast(images))
    })?;
    let [_, _, height, width] = images.dims();
    let precision = config.precision;
    let maps = stopwatch.time("backbone", || {
        precision.scope(|| detector.backbone().forward(images))
    })?;
    let levels = stopwatch.time("pyramid", || {
        precision.scope(|| detector.fpn().forward(maps))
    })?;
    let levels = stopwatch.time("head", || {
        precision.scope(|| detector.head().forward(levels))
    })?;
    let objective = config
        .objective
        .init()
        .map_err(fcos_burn::train::Error::from)?;
    let loss = stopwatch.time("loss", || {
        let output = FcosOutput {
            levels,
            locations: Locations::new(
                [height, width],
                &config.model.strides(),
                config.model.location_rule,
            ),
        };
        let normalizer = targets.normalizer();
        let predictions = output.into_predictions();
        objective
            .forward_normalized(predictions, targets, normalizer)
            .total
    })?;
    stopwatch.time("backward", || {
        GradientsParams::from_grads(
            loss.mul_scalar(config.precision.loss_scale()).backward(),
            detector,
        )
    })
}
