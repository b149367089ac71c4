//! Training a detector from its configuration to its run folder.

use std::{io::IsTerminal, path::Path, sync::Arc};

use burn::{
    module::Module,
    optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler,
    tensor::Device,
    train::{Interrupter, Learner as BurnLearner, SupervisedTraining, metric::LearningRateMetric},
};
use fcos_burn_data::{DetectionDataset, SampleOrder};
use fcos_burn_model::Fcos;

use crate::{
    artifacts::write_artifacts,
    checkpoint::{KeptEpoch, ModelFiles, SaveEveryEpoch},
    config::{Duration, Keep, RunConfig},
    detector::Detector,
    device::DeviceName,
    error::Error,
    evaluation::{CocoFigure, Evaluation, SharedEvaluator},
    learner::{Learner, StepFigure},
    loader::{BatchLoader, DetectCollate, EpochPlan, TrainCollate},
    metrics::{CocoMetric, StepMetric},
    progress::LineRenderer,
    recorder::{Failure, RunRecorder, TrainLog},
    run::{RunFolder, write_json},
    setup::{InitialWeights, initial_model, learner, open_devices},
};

/// How a training ended.
#[derive(Debug)]
pub enum Outcome {
    /// All epochs are done; the best one's evaluation.
    Finished(Box<Evaluation>),
    /// The interrupter stopped it; [`resume`] goes on after the last whole epoch.
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
    let mut model = initial_model(&config, &devices[0])?;
    if let Some(weights) = weights {
        model = weights.load(model)?;
    }
    let folder = RunFolder::create(output, &config)?;
    Run {
        config,
        folder,
        data,
        devices,
        interrupter,
    }
    .launch(model, None)
}

/// Goes on with the run in `path` after its last whole epoch.
///
/// `devices`, if any, replace those of the configuration.
///
/// # Errors
///
/// As [`train`]; also if the folder has no whole checkpoint, or all epochs are done.
pub fn resume(
    path: &Path,
    devices: Option<Vec<DeviceName>>,
    interrupter: Interrupter,
) -> Result<Outcome, Error> {
    let (folder, mut config) = RunFolder::open(path)?;
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
    let model = initial_model(&config, &devices[0])?;
    let epoch = folder.checkpoints().last(&model)?;
    Run {
        config,
        folder,
        data,
        devices,
        interrupter,
    }
    .launch(model, Some(epoch))
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
            eprintln!("{dataset}");
            if !dataset.report().is_clean() {
                eprintln!("{}: {}", dataset.name(), dataset.report());
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
}

struct Run {
    config: RunConfig,
    folder: RunFolder,
    data: Splits,
    devices: Vec<Device>,
    interrupter: Interrupter,
}

impl Run {
    fn launch(self, model: Fcos, checkpoint: Option<usize>) -> Result<Outcome, Error> {
        let config = &self.config;
        let per_epoch = self.data.train.len().div_ceil(config.batch_size);
        let epochs = config.duration.epochs(per_epoch);
        let done = checkpoint.unwrap_or(0);
        let log = TrainLog::open(&self.folder.log_path())?;
        let log_path = self.folder.log_path();
        let tell = |line: &str| log.line(line).map_err(Error::io(&log_path));
        tell(&format!("train: {}", self.data.train))?;
        tell(&format!("validation: {}", self.data.val))?;
        for dataset in [&self.data.train, &self.data.val] {
            if !dataset.report().is_clean() {
                tell(&format!("{}: {}", dataset.name(), dataset.report()))?;
            }
        }
        tell(&format!(
            "{} parameters, {per_epoch} iterations an epoch, epochs {} to {epochs}, on {}",
            model.num_params(),
            done + 1,
            config
                .devices
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        ))?;
        if done < epochs && !self.fit(model.clone(), checkpoint, per_epoch, &log)? {
            tell("interrupted")?;
            return Ok(Outcome::Interrupted);
        }
        self.finish(model, &tell)
    }

    /// Trains all epochs that are left; whether they were completed.
    fn fit(
        &self,
        model: Fcos,
        checkpoint: Option<usize>,
        per_epoch: usize,
        log: &TrainLog,
    ) -> Result<bool, Error> {
        let config = &self.config;
        let epochs = config.duration.epochs(per_epoch);
        let total_iterations = match config.duration {
            Duration::Epochs(epochs) => epochs * per_epoch,
            Duration::Iterations(iterations) => iterations,
        };
        let done = checkpoint.unwrap_or(0);
        let mut rows = self.folder.read_metrics()?;
        rows.retain(|row| row.epoch <= done);

        let evaluator = SharedEvaluator::new(self.data.val.clone());
        let kept = KeptEpoch::default();
        let strategy = SaveEveryEpoch::new(evaluator.clone(), config.keep, kept.clone(), &rows);
        let failure = Failure::default();
        let recorder = RunRecorder::new(
            self.folder.clone(),
            log.clone(),
            evaluator.clone(),
            self.interrupter.clone(),
            failure.clone(),
            rows,
        );
        let checkpoints = self.folder.checkpoints();
        let mut training = SupervisedTraining::<Learner>::new(
            self.folder.path(),
            Arc::new(self.train_loader(done, total_iterations)?),
            Arc::new(self.val_loader()),
        )
        .num_epochs(epochs)
        .with_interrupter(self.interrupter.clone())
        .with_application_logger(None)
        .with_metric_logger(recorder)
        .with_checkpointing_strategy(strategy)
        .with_custom_checkpointers(
            ModelFiles {
                files: checkpoints.model(),
                kept_path: self.folder.model_path(),
                kept,
            },
            checkpoints.optimizer(),
            checkpoints.scheduler(),
        )
        .metric_train_numeric(LearningRateMetric::new());
        for figure in self.step_figures() {
            training = training.metric_train_numeric(StepMetric::new(figure));
        }
        for figure in [CocoFigure::AP, CocoFigure::AP50, CocoFigure::AP75] {
            training = training.metric_valid_numeric(CocoMetric::new(figure, evaluator.clone()));
        }
        if let Some(epoch) = checkpoint {
            training = training.checkpoint(epoch);
        }
        if !(cfg!(feature = "tui") && std::io::stdout().is_terminal()) {
            training = training.renderer(Box::new(LineRenderer::new(std::io::stderr())));
        }

        let learner = learner(config, model, self.devices.clone())?;
        let scheduler: ModuleLrScheduler = config.optimization.scheduler(total_iterations);
        let result = training.launch(BurnLearner::new(
            learner,
            config.optimization.optimizer(),
            scheduler,
        ));
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
        figures.extend([StepFigure::Positives, StepFigure::MeanIou]);
        figures
    }

    fn train_loader(
        &self,
        epochs_done: usize,
        total_iterations: usize,
    ) -> Result<BatchLoader<TrainCollate>, Error> {
        let config = &self.config;
        let plan = EpochPlan {
            batch_size: config.batch_size,
            workers: config.workers,
            order: SampleOrder::Shuffled,
            seed: config.seed,
            range: 0..self.data.train.len(),
            max_batches: Some(total_iterations),
        };
        Ok(BatchLoader::new(
            self.data.train.clone(),
            TrainCollate::new(config)?,
            plan,
            self.devices[0].clone().without_autodiff(),
            epochs_done as u64 + 1,
        ))
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
            1,
        )
    }

    /// Evaluates the epoch that is kept and writes what the run shows.
    fn finish(
        self,
        model: Fcos,
        tell: &dyn Fn(&str) -> Result<(), Error>,
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
        evaluation.write(&self.folder.evaluation_path())?;
        let kept = match self.config.keep {
            Keep::Best => "best",
            Keep::Last => "last",
        };
        tell(&format!("{kept} epoch:\n{}", evaluation.table()))?;
        Ok(Outcome::Finished(Box::new(evaluation)))
    }
}
