//! Times the stages of training, inference, data loading and evaluation.

use std::{path::PathBuf, process::ExitCode, thread, time::Duration};

use clap::{Parser, ValueEnum};
use fcos_burn::{
    detect::device::{keep_freed_memory, return_freed_memory},
    train::RunConfig,
    train::training::{initial_model, open_devices},
};
use fcos_burn_cli::{
    args::TrainingArgs,
    terminal::{exit, install_logger, message, print},
};
use fcos_burn_cpu::{instructions, set_instructions};
use fcos_burn_study::{
    Error,
    benchmark::{
        evaluation::{self, EvaluationReport},
        inference::{self, InferenceReport},
        loading::{self, LoadingReport},
        opening::{self, OpeningReport},
        stopwatch::Rounds,
        training::{self, StepReport, TrainingReport},
    },
};
use serde::Serialize;

/// Time the stages of training, inference, data loading and evaluation.
///
/// Repeats the first batch of the training split and prints JSON: the milliseconds of each stage
/// in every round, and their median. The device is synchronized after each stage. Operations use
/// RAYON_NUM_THREADS threads, or all cores if it is not set.
#[derive(Parser, Debug)]
#[command(name = "bench")]
struct Cli {
    #[command(flatten)]
    training: TrainingArgs,
    /// What to time
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Training, Part::Inference, Part::Loading])]
    parts: Vec<Part>,
    /// Warm-up rounds, not counted
    #[arg(long, value_name = "N", default_value_t = 2)]
    warm_up: usize,
    /// Rounds that are counted
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// With --parts step: wait this many seconds after the warm-up, and print `warm-up done` to
    /// standard error, for a program that reads a log of kernels
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pause: u64,
    /// Maximum number of images that the loader loads per round
    #[arg(long, value_name = "N", default_value_t = 256)]
    images: usize,
    /// Synthetic detections per image for the evaluation
    #[arg(long, value_name = "N", default_value_t = 50)]
    detections: usize,
    /// Vector instructions of this project's kernels on the CPU, such as those of an older processor:
    /// `avx512`, `avx2`, `sse4.2` or `scalar`. Default: the best that the processor has
    #[arg(long, value_name = "NAME")]
    instructions: Option<String>,
    /// File to write these detections to, in COCO results format
    #[arg(long, value_name = "JSON")]
    results: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A training step, from decoding to the optimizer
    Training,
    /// Whole training steps alone, on all devices, with the traffic with other machines
    Step,
    /// Inference, from decoded images to boxes
    Inference,
    /// The data loader alone, with one and two workers
    Loading,
    /// Reading all annotations and starting an epoch
    Opening,
    /// Evaluating synthetic detections of all images
    Evaluation,
}

#[derive(Serialize)]
struct Report {
    devices: Vec<String>,
    threads: usize,
    instructions: &'static str,
    classes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<OpeningReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<TrainingReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<StepReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference: Option<InferenceReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    loading: Vec<LoadingReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation: Option<EvaluationReport>,
}

fn main() -> ExitCode {
    keep_freed_memory();
    install_logger();
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    if let Some(name) = &cli.instructions {
        set_instructions(name).map_err(|error| Error::Failed(error.to_string()))?;
    }
    let config = cli.training.config()?;
    let report = measure(cli, config)?;
    let json =
        serde_json::to_string_pretty(&report).map_err(|error| Error::Failed(error.to_string()))?;
    print(format_args!("{json}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn pause(seconds: u64) {
    if seconds > 0 {
        message("warm-up done");
        thread::sleep(Duration::from_secs(seconds));
    }
}

fn measure(cli: &Cli, mut config: RunConfig) -> Result<Report, Error> {
    config.validate()?;
    let rounds = Rounds {
        warm_up: cli.warm_up,
        measured: cli.rounds as usize,
    };
    let once = Rounds {
        warm_up: 0,
        measured: 1,
    };
    let has = |part| cli.parts.contains(&part);
    let openings = if has(Part::Opening) { rounds } else { once };
    let (dataset, opening) = opening::measure(&config, openings)?;
    config.model.num_classes = dataset.categories().len();
    config.data.categories = dataset.categories().to_vec();

    let (mut training, mut step, mut inference) = (None, None, None);
    if has(Part::Training) || has(Part::Step) || has(Part::Inference) {
        let mut model = initial_model(&config, &open_devices(&config)?[0])?;
        if let Some(weights) = &config.initial_weights {
            model = weights.load(model, &config.data.categories)?;
        }
        // Inference goes first: memory that training frees is not all returned to the system.
        if has(Part::Inference) {
            inference = Some(inference::measure(&config, &model, &dataset, rounds)?);
        }
        // Before a training run, as in `train`.
        return_freed_memory();
        if has(Part::Training) {
            training = Some(training::measure(&config, &model, &dataset, rounds)?);
        }
        if has(Part::Step) {
            step = Some(training::measure_steps(
                &config,
                model,
                &dataset,
                rounds,
                || pause(cli.pause),
            )?);
        }
    }
    let mut loading = Vec::new();
    if has(Part::Loading) {
        for workers in [1, 2] {
            loading.push(loading::measure(
                &config, &dataset, workers, cli.images, rounds,
            )?);
        }
    }
    let evaluation = match has(Part::Evaluation) {
        true => Some(evaluation::measure(
            &config,
            &dataset,
            cli.detections,
            cli.results.as_deref(),
            rounds,
        )?),
        false => None,
    };
    Ok(Report {
        devices: config.devices.iter().map(ToString::to_string).collect(),
        threads: rayon::current_num_threads(),
        instructions: instructions(),
        classes: config.model.num_classes,
        opening: has(Part::Opening).then_some(opening),
        training,
        step,
        inference,
        loading,
        evaluation,
    })
}
