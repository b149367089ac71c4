//! `fcos-burn evaluate`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::ValueEnum;
use fcos_burn::{
    data::DetectionDataset,
    detect::{Detector, json::write_json, known_classes},
    eval::{
        Analysis, AnalysisConfig, Evaluation, EvaluationReport,
        calibrator::{
            CalibrationComparison, CalibrationConfig, CalibrationMethod, CalibrationTarget,
        },
        results,
    },
    model::file::write_whole,
    train::{RunConfig, config::DataConfig},
};
use fcos_burn_cli::{
    Error,
    args::{
        DataArgs, DetectionArgs, DeviceArgs, WeightsArgs, output_path, parse_match_iou,
        parse_precision,
    },
    outputs::Outputs,
    terminal::{message, print},
};

/// Evaluate a detector: COCO metrics, score thresholds, confusions, and what each kind of error costs.
///
/// The tables go to standard output, progress to standard error. The counts are those at the score
/// threshold that `detect` uses, if the run has chosen one, and otherwise at the one with the largest F1.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Evaluate on this split. If a part of the run's training split was held out, `held-out` is that
    /// part, and the training split is the rest [default: what the run was validated on; of other
    /// data, the validation split or the only one]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Evaluate this many images per batch [default: that of the run, 1 for weights of other
    /// projects]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: Option<u16>,
    #[command(flatten)]
    detection: DetectionArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write the detections in COCO's results format
    #[arg(long, value_name = "JSON", value_parser = output_path())]
    output: Option<PathBuf>,
    /// Write the ground truth in COCO's annotation format, for other tools
    #[arg(long, value_name = "JSON", value_parser = output_path())]
    ground_truth: Option<PathBuf>,
    /// Write the evaluation as JSON, with precision, recall and F1 by score threshold
    #[arg(long, value_name = "JSON", value_parser = output_path())]
    report: Option<PathBuf>,
    /// The IoU from which a detection finds an object, for score thresholds, confusions and errors
    #[arg(long, value_name = "IOU", default_value_t = 0.5, value_parser = parse_match_iou)]
    match_iou: f64,
    /// Also show what calibrating the scores after training would change: each fifth of the images is
    /// calibrated by the others, class by class, by isotonic regression or Platt scaling
    #[arg(long, value_enum)]
    calibration: Option<Calibration>,
    /// Calibrate the scores to the IoU of the detections, or to their precision at --match-iou
    #[arg(long, value_enum, default_value = "iou", requires = "calibration")]
    calibration_target: Target,
    /// The precision for which a score threshold is wanted
    #[arg(long, value_name = "PRECISION", default_value_t = 0.9, value_parser = parse_precision)]
    target_precision: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Calibration {
    Isotonic,
    Platt,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    Iou,
    Precision,
}

impl Args {
    fn outputs(&self) -> Outputs {
        Outputs::default()
            .of_run(&self.weights.weights)
            .with_file_of_run("--output", self.output.clone(), "results.json")
            .with_file_of_run("--report", self.report.clone(), "evaluation.json")
            .with_file("--ground-truth", self.ground_truth.clone())
    }

    /// How scores are calibrated, if they are.
    fn calibration(&self) -> Option<CalibrationConfig> {
        let method = match self.calibration? {
            Calibration::Isotonic => CalibrationMethod::Isotonic,
            Calibration::Platt => CalibrationMethod::Platt,
        };
        let target = match self.calibration_target {
            Target::Iou => CalibrationTarget::Iou,
            Target::Precision => CalibrationTarget::Precision {
                iou_threshold: self.match_iou,
            },
        };
        Some(CalibrationConfig::new(method).with_target(target))
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let outputs = args.outputs();
    outputs.check()?;
    let file = args.weights.open()?;
    outputs.keep_weights(&file)?;
    let run = file.run_config.as_deref().map(read_run).transpose()?;
    let given = args.data.source();
    if let Some(source) = given.as_ref().or(run.as_ref().map(|run| &run.data.source)) {
        outputs.keep_data(source)?;
    }
    let (device, precision) = args.device.resolve()?;
    let dataset = open_split(args, run.as_ref())?;
    outputs.keep_images((0..dataset.len()).filter_map(|index| dataset.image_file(index)))?;
    if let Some(run) = &run
        && (given.is_some() || args.split.is_some())
        && let Some(shared @ 1..) = run.data.training_images_in(&dataset)
    {
        message(format_args!(
            "warning: {shared} of {} images are among those that the run was trained on, so the results are too \
             optimistic",
            dataset.len()
        ));
    }
    let (file, dataset) = file.match_classes(dataset)?;
    outputs.create()?;
    let analysis_config = AnalysisConfig::default()
        .with_iou_threshold(args.match_iou)
        .with_target_precision(args.target_precision)
        .with_score_threshold(file.score_threshold);
    let (detector, loaded) = Detector::from_file(file, &device, precision)?;
    message(loaded);
    let detector = args.detection.apply(detector)?;
    message(&dataset);
    for line in dataset.messages() {
        message(line);
    }
    let dataset = Arc::new(with_detected_classes(dataset, &detector)?);
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
    let analysis = Analysis::new(&dataset, &detections, &analysis_config)?;
    let calibration = args
        .calibration()
        .map(|config| CalibrationComparison::new(&dataset, &detections, &config, args.match_iou));
    let calibration = calibration.transpose()?;
    let report =
        EvaluationReport::new(&evaluation, &analysis).with_calibration(calibration.as_ref());
    // What is wrong with one place must not cost what goes to the others.
    let printed = print(report);
    let ground_truth = (args.ground_truth.as_ref()).map(|path| -> Result<(), Error> {
        write_whole(path, &dataset.coco_json(path)?).map_err(Error::io(path))
    });
    let output = (args.output.as_ref()).map(|path| -> Result<(), Error> {
        Ok(write_json(path, &results(&dataset, &detections)?)?)
    });
    let reported = args.report.as_ref().map(|path| write_json(path, &report));
    ground_truth.transpose()?;
    output.transpose()?;
    reported.transpose()?;
    printed?;
    Ok(ExitCode::SUCCESS)
}

/// The data set with the objects of the classes that are detected.
fn with_detected_classes(
    dataset: DetectionDataset,
    detector: &Detector,
) -> Result<DetectionDataset, Error> {
    let detected = detector.detected_classes();
    if detected.len() == detector.categories().len() {
        return Ok(dataset);
    }
    let names: Vec<&str> = detected.iter().map(|class| class.name.as_str()).collect();
    let dataset = known_classes(dataset, &detected)?;
    message(format_args!(
        "evaluated: {} objects of the classes {}",
        dataset.objects_by_class().iter().sum::<usize>(),
        names.join(", ")
    ));
    Ok(dataset)
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
    let of_run = run.map(|run| &run.data);
    let source = match (of_run, args.data.source()) {
        (None, None) => return Err(Error::NoData(args.weights.weights.clone())),
        (Some(data), None) => {
            let opened = data.open(split.unwrap_or(&data.val_split));
            return opened.map_err(|error| Error::of_run_data(error, "use --data"));
        }
        (Some(data), Some(source)) if source.is_same(&data.source) => {
            return Ok(data.open(split.unwrap_or(&data.val_split))?);
        }
        (_, Some(source)) => source,
    };
    // A copy of the data has the images that the run was trained on, too.
    match of_run
        .map(|data| data.divided_as_here(&source))
        .transpose()?
        .flatten()
    {
        Some(data) => open_divided(&data, split),
        None => Ok(match split {
            Some(split) => source.open(split)?,
            None => source.open_for_evaluation()?,
        }),
    }
}

/// A split of data that is divided as that of the run was. By default, the one to validate on if
/// there is one, otherwise the held-out part.
fn open_divided(data: &DataConfig, split: Option<&str>) -> Result<DetectionDataset, Error> {
    let own = || {
        let own = data.source.evaluation_split().ok();
        own.filter(|own| *own != data.train_split)
    };
    let split = match split {
        Some(split) => split.to_owned(),
        None => own().unwrap_or_else(|| data.val_split.clone()),
    };
    if split == data.val_split {
        message(format_args!(
            "{}: '{split}' is the part of '{}' that the run held out, or would have",
            data.source.name(),
            data.train_split
        ));
    }
    Ok(data.open(&split)?)
}
