//! Evaluates a detector on a split of a data set.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use fcos_burn::train::{
    Detector, Error, Evaluation, RunConfig, artifacts::write_results, progress::tell,
};
use fcos_burn_examples::{DataArgs, DeviceArgs, WeightsArgs, exit, print};

/// Evaluate a detector: COCO's figures with AP90, and how its scores correlate
/// with the IoU of its boxes.
///
/// The table goes to standard output, progress to standard error.
#[derive(Parser, Debug)]
#[command(name = "evaluate")]
struct Cli {
    #[command(flatten)]
    weights: WeightsArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Split to evaluate on [default: the one that the run was validated on]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Images in a batch [default: as in training, 1 for weights from elsewhere]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: Option<u16>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write the detections in COCO's results format
    #[arg(long, value_name = "JSON")]
    output: Option<PathBuf>,
    /// Write the ground truth in COCO's annotation format, for other tools
    #[arg(long, value_name = "JSON")]
    ground_truth: Option<PathBuf>,
    /// Write the evaluation as JSON
    #[arg(long, value_name = "JSON")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let mut file = cli.weights.open()?;
    let run = file.run.take();
    let (device, precision) = cli.device.resolve();
    let (detector, loaded) = Detector::from_file(file, &device, precision)?;
    tell(loaded);
    let dataset = Arc::new(open_split(cli, run.as_ref())?);
    tell(&dataset);
    if !dataset.report().is_clean() {
        tell(dataset.report());
    }
    if let Some(path) = &cli.ground_truth {
        dataset.write_coco(path)?;
    }
    let (batch_size, workers) = run.map_or((1, 1), |run| (run.batch_size, run.workers));
    let batch_size = cli.batch_size.map_or(batch_size, usize::from);
    let mut told = 0;
    let detections = detector.detect_dataset(&dataset, batch_size, workers, |images| {
        let tenth = images * 10 / dataset.len().max(1);
        if tenth > told {
            told = tenth;
            tell(format_args!("{images}/{} images", dataset.len()));
        }
    })?;
    let evaluation = Evaluation::new(&dataset, &detections)?;
    if let Some(path) = &cli.output {
        write_results(path, &dataset, &detections)?;
    }
    if let Some(path) = &cli.report {
        evaluation.write(path)?;
    }
    print(evaluation.table())?;
    Ok(ExitCode::SUCCESS)
}

fn open_split(
    cli: &Cli,
    run: Option<&RunConfig>,
) -> Result<fcos_burn::data::DetectionDataset, Error> {
    let split = cli.split.as_deref();
    let named = cli.data.config(split, split)?;
    let data = named.or_else(|| run.map(|run| run.data.clone()));
    let data = data.ok_or_else(|| Error::Run {
        path: cli.weights.weights.clone(),
        cause: "tells of no data to evaluate on: name it with --data".to_owned(),
    })?;
    data.source.open(split.unwrap_or(&data.val_split))
}
