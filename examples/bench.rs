//! The stages of a training step and of inference, timed.

use std::{process::ExitCode, sync::Arc};

use clap::{Parser, ValueEnum};
use fcos_burn::train::{
    Error, RunConfig,
    setup::{initial_model, open_devices},
};
use fcos_burn_examples::{
    TrainingArgs,
    benchmark::{
        inference::{self, InferenceReport},
        loading::{self, LoadingReport},
        stopwatch::Rounds,
        training::{self, TrainingReport},
    },
    exit,
};
use serde::Serialize;

/// Time the stages of a training step, of inference and of loading.
///
/// Takes the first batch of the training split, again and again, and prints JSON: for each
/// stage the milliseconds of every round and their median, the device synchronised after
/// it. Operations use as many threads as RAYON_NUM_THREADS says, else all cores.
#[derive(Parser, Debug)]
#[command(name = "bench")]
struct Cli {
    #[command(flatten)]
    training: TrainingArgs,
    /// What to time
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Training, Part::Inference, Part::Loading])]
    parts: Vec<Part>,
    /// Rounds that do not count
    #[arg(long, value_name = "N", default_value_t = 2)]
    warm_up: usize,
    /// Rounds that count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Images that the loader loads in a round, at most
    #[arg(long, value_name = "N", default_value_t = 256)]
    images: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Decoding to optimiser
    Training,
    /// Decoded images to boxes
    Inference,
    /// The loader alone, with one and two workers
    Loading,
}

#[derive(Serialize)]
struct Report {
    devices: Vec<String>,
    threads: usize,
    classes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<TrainingReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference: Option<InferenceReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    loading: Vec<LoadingReport>,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let mut config = cli.training.config()?;
    let dataset = config.data.source.open(&config.data.train_split)?;
    eprintln!("{dataset}");
    if dataset.is_empty() {
        return Err(Error::NoImages(dataset.name().to_owned()));
    }
    config.model.num_classes = dataset.categories().len();
    config.data.categories = dataset.categories().to_vec();
    config.validate()?;
    let report = measure(cli, &config, Arc::new(dataset))?;
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::Training(error.to_string()))?;
    println!("{json}");
    Ok(ExitCode::SUCCESS)
}

fn measure(
    cli: &Cli,
    config: &RunConfig,
    dataset: Arc<fcos_burn::data::DetectionDataset>,
) -> Result<Report, Error> {
    let rounds = Rounds {
        warm_up: cli.warm_up,
        measured: cli.rounds as usize,
    };
    let mut model = initial_model(config, &open_devices(config)?[0])?;
    if let Some(weights) = cli.training.initial_weights() {
        model = weights.load(model)?;
    }
    let has = |part| cli.parts.contains(&part);
    let training = has(Part::Training)
        .then(|| training::measure(config, &model, &dataset, rounds))
        .transpose()?;
    let inference = has(Part::Inference)
        .then(|| inference::measure(config, &model, &dataset, rounds))
        .transpose()?;
    let mut loading = Vec::new();
    if has(Part::Loading) {
        for workers in [1, 2] {
            loading.push(loading::measure(
                config, &dataset, workers, cli.images, rounds,
            )?);
        }
    }
    Ok(Report {
        devices: config.devices.iter().map(ToString::to_string).collect(),
        threads: rayon::current_num_threads(),
        classes: config.model.num_classes,
        training,
        inference,
        loading,
    })
}
