//! `fcos-burn evaluate`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use fcos_burn::{
    data::DetectionDataset,
    detect::{Detector, json::write_json},
    eval::{Evaluation, results},
    train::RunConfig,
};
use fcos_burn_cli::{
    Error,
    args::{DataArgs, DeviceArgs, WeightsArgs},
    terminal::{message, print},
};

/// Evaluate a detector: COCO metrics, AP90, and the correlation of scores with the IoU of boxes.
///
/// The table goes to standard output, progress to standard error.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Evaluate on this split; if the run held out part of its training split, `held-out` is that
    /// part and the training split is the rest [default: what the run was validated on; for other
    /// data, the validation split or the only one]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Evaluate this many images per batch [default: that of the run, 1 for weights of other
    /// projects]
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

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let file = args.weights.open()?;
    let run = file.run_config.as_deref().map(read_run).transpose()?;
    let (device, precision) = args.device.resolve()?;
    let (file, dataset) = file.match_classes(open_split(args, run.as_ref())?)?;
    let dataset = Arc::new(dataset);
    let (detector, loaded) = Detector::from_file(file, &device, precision)?;
    message(loaded);
    message(&dataset);
    if !dataset.report().is_clean() {
        message(format_args!("{}: {}", dataset.name(), dataset.report()));
    }
    for remark in dataset.report().remarks() {
        message(remark);
    }
    if let Some(path) = &args.ground_truth {
        dataset.write_coco(path)?;
    }
    let (batch_size, workers) = run.map_or((1, 1), |run| (run.batch_size, run.workers));
    let batch_size = args.batch_size.map_or(batch_size, usize::from);
    let mut last_tenth = 0;
    let detections = detector.detect_dataset(&dataset, batch_size, workers, |images| {
        let tenth = images * 10 / dataset.len().max(1);
        if tenth > last_tenth {
            last_tenth = tenth;
            message(format_args!("{images}/{} images", dataset.len()));
        }
    })?;
    let evaluation = Evaluation::new(&dataset, &detections)?;
    if let Some(path) = &args.output {
        write_json(path, &results(&dataset, &detections)?)?;
    }
    if let Some(path) = &args.report {
        write_json(path, &evaluation)?;
    }
    print(evaluation.table())?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration of a run, which another program may have changed.
fn read_run(path: &Path) -> Result<RunConfig, Error> {
    let config = RunConfig::read(path)?;
    match config.validate() {
        Ok(()) => Ok(config),
        Err(error) => Err(Error::InvalidRun {
            path: path.to_owned(),
            error: Box::new(error),
        }),
    }
}

fn open_split(args: &Args, run: Option<&RunConfig>) -> Result<DetectionDataset, Error> {
    let split = args.split.as_deref();
    let source = args.data.source();
    let of_run = run.map(|run| &run.data).filter(|data| {
        // If the flags name the run's own data, its held-out part stays the same.
        source
            .as_ref()
            .is_none_or(|source| source.is_same(&data.source))
    });
    Ok(match (of_run, source) {
        (Some(data), named) => {
            let opened = data.open(split.unwrap_or(&data.val_split));
            opened.map_err(|error| match named {
                Some(_) => Error::from(error),
                None => Error::RunData(error),
            })?
        }
        (None, Some(source)) => match split {
            Some(split) => source.open(split)?,
            None => source.open(&source.evaluation_split()?)?,
        },
        (None, None) => return Err(Error::NoData(args.weights.weights.clone())),
    })
}
