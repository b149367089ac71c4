//! Training a detector from its configuration to its run folder.

use std::{
    io::IsTerminal,
    path::Path,
    sync::{Arc, Mutex},
};

use burn::{
    module::Module,
    tensor::Device,
    train::{
        Interrupter, Learner as BurnLearner, SupervisedTraining, TrainingStrategy,
        metric::LearningRateMetric,
    },
};
use fcos_burn_data::{DetectionDataset, SampleOrder};
use fcos_burn_model::Fcos;

use crate::{
    artifacts::write_artifacts,
    checkpoint::{Checkpoint, EpochSoFar, Position},
    class_confusion::ClassConfusion,
    config::{Duration, Keep, RunConfig},
    data_check::{Unreadable, check},
    data_digest::{DataDigest, SplitDigest},
    detector::Detector,
    device::DeviceName,
    epoch_loop::{EpochLoop, Start, Steps},
    error::Error,
    evaluation::{CocoFigure, Evaluation, SharedEvaluator, results},
    learner::{Learner, StepFigure},
    loader::{BatchLoader, DetectCollate, EpochPlan, FirstBatch, TrainCollate},
    metrics::{CocoMetric, StepMetric},
    progress::{LineRenderer, tell},
    recorder::{Failure, NoMetricLog, TrainLog},
    run::{RunFolder, read_json, write_json},
    setup::{InitialWeights, initial_model, learner, open_devices},
    weight_average::WeightAverage,
};

/// How a training ended.
#[derive(Debug)]
pub enum Outcome {
    /// All epochs are done; the best one's evaluation.
    Finished(Box<Evaluation>),
    /// The interrupter stopped it; [`resume`] goes on after the last step.
    Interrupted,
}

/// Trains a detector and writes its run folder to `output`.
///
/// With `weights`, which are of the same model (see [`RunConfig::with_model_of`]),
/// training starts from these. `interrupter` stops the training after the current
/// iteration. Progress goes to a dashboard where standard output is a terminal,
/// to standard error as lines elsewhere.
///
/// # Errors
///
/// Fails if the configuration, the data, the device or the folder cannot be used,
/// or if loading an image or writing a checkpoint fails on the way.
pub fn train(
    mut config: RunConfig,
    output: &Path,
    weights: Option<&InitialWeights>,
    interrupter: Interrupter,
) -> Result<Outcome, Error> {
    config.validate()?;
    let devices = open_devices(&config)?;
    let data = Splits::open(&mut config)?;
    let summary = check(&data.train, Unreadable::Replaced, config.data.strict)?;
    if let Some(summary) = summary {
        tell(format_args!(
            "{}: {summary}; others take their place",
            data.train.name()
        ));
    }
    check(&data.val, Unreadable::Refused, config.data.strict)?;
    let mut model = initial_model(&config, &devices[0])?;
    if let Some(weights) = weights {
        model = weights.load(model)?;
    }
    let (folder, log) = RunFolder::create(output)?;
    let position = Position::default();
    let checkpoints = folder.checkpoints();
    write_json(&checkpoints.data_path(), &data.digest())?;
    let optimizer = config.optimization.optimizer();
    let average =
        (config.optimization.average_decay).map(|decay| WeightAverage::new(&model, decay));
    checkpoints.save(&position, &model, &optimizer, average.as_ref())?;
    write_json(&folder.config_path(), &config)?;
    Run {
        config,
        folder,
        log,
        data,
        devices,
        interrupter,
    }
    .launch(Checkpoint {
        position,
        model,
        optimizer,
        average,
        warning: None,
    })
}

/// Goes on with the run in `path` after its last checkpoint, as if it had never been
/// stopped. A run whose epochs are all done is evaluated again.
///
/// `devices`, if any, replace those of the configuration.
///
/// # Errors
///
/// As [`train`]; also if the folder has no checkpoint that can be read, or its data has
/// changed.
pub fn resume(
    path: &Path,
    devices: Option<Vec<DeviceName>>,
    interrupter: Interrupter,
) -> Result<Outcome, Error> {
    let (folder, mut config) = RunFolder::open(path)?;
    let log = TrainLog::open(&folder.log_path())?;
    config.devices = devices.unwrap_or(config.devices);
    config.validate()?;
    let devices = open_devices(&config)?;
    let classes = config.model.num_classes;
    let data = Splits::open(&mut config)?;
    if config.model.num_classes != classes {
        return Err(Error::Run {
            path: folder.config_path(),
            cause: format!(
                "the run has {classes} classes, but {} has {}",
                data.train.name(),
                config.model.num_classes
            ),
        });
    }
    let checkpoints = folder.checkpoints();
    let digest: DataDigest = read_json(&checkpoints.data_path())?;
    digest.check(&data.digest(), path)?;
    let model = initial_model(&config, &devices[0])?;
    let checkpoint = checkpoints.last(&model, &config.optimization)?;
    if let Some(warning) = &checkpoint.warning {
        tell(format_args!("warning: {warning}"));
        let log_path = folder.log_path();
        log.line(warning).map_err(Error::io(&log_path))?;
    }
    Run {
        config,
        folder,
        log,
        data,
        devices,
        interrupter,
    }
    .launch(checkpoint)
}

struct Splits {
    train: Arc<DetectionDataset>,
    val: Arc<DetectionDataset>,
}

impl Splits {
    /// Opens both splits and puts their classes into the configuration.
    fn open(config: &mut RunConfig) -> Result<Self, Error> {
        let open = |split: &str| {
            let dataset = config.data.source.open(split)?;
            tell(&dataset);
            if !dataset.report().is_clean() {
                tell(format_args!("{}: {}", dataset.name(), dataset.report()));
            }
            if dataset.is_empty() {
                return Err(Error::NoImages(dataset.name().to_owned()));
            }
            Ok(Arc::new(dataset))
        };
        let splits = Self {
            train: open(&config.data.train_split)?,
            val: open(&config.data.val_split)?,
        };
        let categories = splits.train.categories();
        if categories != splits.val.categories() {
            return Err(Error::Run {
                path: splits.val.name().into(),
                cause: format!("has other classes than {}", splits.train.name()),
            });
        }
        config.model.num_classes = categories.len();
        config.data.categories = categories.to_vec();
        Ok(splits)
    }

    fn digest(&self) -> DataDigest {
        DataDigest {
            train: SplitDigest::of(&self.train),
            val: SplitDigest::of(&self.val),
        }
    }
}

struct Run {
    config: RunConfig,
    folder: RunFolder,
    log: TrainLog,
    data: Splits,
    devices: Vec<Device>,
    interrupter: Interrupter,
}

impl Run {
    /// Goes on from a checkpoint.
    fn launch(self, from: Checkpoint) -> Result<Outcome, Error> {
        let Checkpoint {
            mut position,
            model,
            optimizer,
            average,
            ..
        } = from;
        let config = &self.config;
        let per_epoch = self.data.train.len().div_ceil(config.batch_size);
        let steps = Steps {
            per_epoch,
            total: match config.duration {
                Duration::Epochs(epochs) => epochs.saturating_mul(per_epoch),
                Duration::Iterations(iterations) => iterations,
            },
        };
        if position.iteration > steps.total {
            return Err(Error::Run {
                path: self.folder.checkpoints().path().to_owned(),
                cause: format!(
                    "has iteration {} of a training of {}",
                    position.iteration, steps.total
                ),
            });
        }
        let mut rows = self.folder.read_metrics()?;
        rows.retain(|row| steps.until_end_of(row.epoch) <= position.iteration);
        let epoch = rows.len() + 1;
        if position.iteration > steps.until_end_of(epoch) {
            return Err(Error::Run {
                path: self.folder.metrics_path(),
                cause: format!("lacks epoch {epoch}, which is done"),
            });
        }
        // The checkpoint of an epoch's end is older than its row.
        if position.iteration == steps.until_end_of(rows.len()) {
            position.epoch = EpochSoFar::default();
        }
        let log_path = self.folder.log_path();
        let log = self.log.clone();
        let note = |line: &str| log.line(line).map_err(Error::io(&log_path));
        note(&format!("train: {}", self.data.train))?;
        note(&format!("validation: {}", self.data.val))?;
        for dataset in [&self.data.train, &self.data.val] {
            if !dataset.report().is_clean() {
                note(&format!("{}: {}", dataset.name(), dataset.report()))?;
            }
        }
        let devices: Vec<String> = config.devices.iter().map(ToString::to_string).collect();
        note(&format!(
            "{} parameters, {per_epoch} iterations an epoch, {} of {} done, on {}",
            model.num_params(),
            position.iteration,
            steps.total,
            devices.join(", "),
        ))?;
        if epoch <= steps.epochs() {
            let mut start = Start {
                position,
                rows,
                optimizer,
                scheduler: config.optimization.scheduler(steps.total),
                average,
            };
            for _ in 0..start.position.iteration {
                start.scheduler.step();
            }
            if !self.fit(model.clone(), start, steps)? {
                note("interrupted")?;
                return Ok(Outcome::Interrupted);
            }
        }
        self.finish(model, &note)
    }

    /// Trains all epochs that are left; whether they were completed.
    fn fit(&self, model: Fcos, start: Start, steps: Steps) -> Result<bool, Error> {
        let config = &self.config;
        let done = start.rows.len();
        let first = FirstBatch {
            epoch: done as u64 + 1,
            batch: start.position.iteration - steps.until_end_of(done),
        };
        let evaluator = SharedEvaluator::new(self.data.val.clone());
        let failure = Failure::default();
        let collate = TrainCollate::new(config)?;
        let reader = collate.reader.clone();
        let mut training = SupervisedTraining::<Learner>::new(
            self.folder.path(),
            Arc::new(self.train_loader(collate, first, steps)),
            Arc::new(self.val_loader()),
        )
        .num_epochs(steps.epochs())
        // Without checkpointers of burn-train's, this says where its display begins.
        .checkpoint(done)
        .with_interrupter(self.interrupter.clone())
        .with_application_logger(None)
        .with_metric_logger(NoMetricLog)
        .metric_train_numeric(LearningRateMetric::new());
        for figure in self.step_figures() {
            training = training.metric_train_numeric(StepMetric::new(figure));
        }
        for figure in [CocoFigure::AP, CocoFigure::AP50, CocoFigure::AP75] {
            training = training.metric_valid_numeric(CocoMetric::new(figure, evaluator.clone()));
        }
        if !(cfg!(feature = "tui") && std::io::stdout().is_terminal()) {
            training = training.renderer(Box::new(LineRenderer::new(std::io::stderr())));
        }
        // burn-train's own steps are not taken: the loop's optimiser can be saved.
        let learner = BurnLearner::new(
            learner(config, model, self.devices.clone())?,
            config.optimization.optimizer(),
            config.optimization.scheduler(steps.total),
        );
        let epochs = EpochLoop {
            folder: self.folder.clone(),
            log: self.log.clone(),
            images: self.data.train.clone(),
            evaluator,
            steps,
            keep: config.keep,
            reader,
            failure: failure.clone(),
            start: Mutex::new(Some(start)),
        };
        let result = training
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(epochs)))
            .launch(learner);
        if let Some(error) = failure.take() {
            return Err(error);
        }
        if let Some(error) = result.error {
            return Err(Error::Training(error.to_string()));
        }
        Ok(result.interrupted.is_none())
    }

    /// The figures that this training's steps have.
    fn step_figures(&self) -> Vec<StepFigure> {
        let mut figures = vec![
            StepFigure::Loss,
            StepFigure::Classification,
            StepFigure::Localization,
        ];
        if self.config.objective.association.is_some() {
            figures.push(StepFigure::Association);
        }
        if self.config.model.head.centerness.is_some() {
            figures.push(StepFigure::Centerness);
        }
        figures.extend([
            StepFigure::Positives,
            StepFigure::MeanIou,
            StepFigure::ClassAccuracy,
            StepFigure::GradientNorm,
        ]);
        figures
    }

    fn train_loader(
        &self,
        collate: TrainCollate,
        first: FirstBatch,
        steps: Steps,
    ) -> BatchLoader<TrainCollate> {
        let config = &self.config;
        let plan = EpochPlan {
            batch_size: config.batch_size,
            workers: config.workers,
            order: SampleOrder::Shuffled,
            seed: config.seed,
            range: 0..self.data.train.len(),
            max_batches: Some(steps.total),
        };
        BatchLoader::new(
            self.data.train.clone(),
            collate,
            plan,
            self.devices[0].clone().without_autodiff(),
            first,
        )
    }

    fn val_loader(&self) -> BatchLoader<DetectCollate> {
        let plan = EpochPlan {
            batch_size: self.config.batch_size,
            workers: self.config.workers,
            order: SampleOrder::Sequential,
            seed: self.config.seed,
            range: 0..self.data.val.len(),
            max_batches: None,
        };
        let collate = DetectCollate {
            input: self.config.input.clone(),
        };
        BatchLoader::new(
            self.data.val.clone(),
            collate,
            plan,
            self.devices[0].clone().without_autodiff(),
            FirstBatch::START,
        )
    }

    /// Evaluates the epoch that is kept and writes what the run shows.
    fn finish(
        self,
        model: Fcos,
        note: &dyn Fn(&str) -> Result<(), Error>,
    ) -> Result<Outcome, Error> {
        let detector = Detector::new(
            &model.load(&self.folder.model_path())?,
            self.config.input.clone(),
            self.config.data.categories.clone(),
            self.devices[0].clone().without_autodiff(),
            self.config.precision,
        );
        let detections = detector.detect_dataset(
            &self.data.val,
            self.config.batch_size,
            self.config.workers,
            |_| {},
        )?;
        let evaluation = Evaluation::new(&self.data.val, &detections)?;
        write_artifacts(&self.folder, &self.data.val, &detections, &evaluation)?;
        write_json(&self.folder.config_path(), &self.config)?;
        let confusion = ClassConfusion::find(
            &self.data.val,
            &results(&self.data.val, &detections)?,
            &evaluation,
            self.config.model.postprocess.nms_iou_threshold,
            &self.config.objective,
        );
        // A run whose classes cannot be checked is finished nevertheless.
        let warning = match confusion {
            Ok(confusion) => confusion.map(|confusion| confusion.to_string()),
            Err(error) => Some(format!("the classes could not be checked: {error}")),
        };
        if let Some(warning) = warning {
            note(&format!("warning: {warning}"))?;
            tell(format_args!("warning: {warning}"));
        }
        evaluation.write(&self.folder.evaluation_path())?;
        let kept = match self.config.keep {
            Keep::Best => "best",
            Keep::Last => "last",
        };
        note(&format!("{kept} epoch:\n{}", evaluation.table()))?;
        Ok(Outcome::Finished(Box::new(evaluation)))
    }
}
