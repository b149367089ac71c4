//! Training: from a configuration to a run folder.

mod balance;
mod burn_metrics;
mod class_transfer;
mod early_stopping;
mod ending;
mod epoch_loop;
mod evaluator;
mod extensions;
mod failed_step;
mod log_renderer;
mod setup;

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
};

use burn::{
    module::Module,
    tensor::Device,
    train::{
        Interrupter, Learner, SupervisedTraining, TrainStep, TrainingStrategy,
        metric::LearningRateMetric, renderer::MetricsRenderer,
    },
};
use fcos_burn_data::{DetectionDataset, list_names, transforms::Augmentations};
use fcos_burn_detect::{
    Detector,
    device::{DeviceName, on_devices, return_freed_memory},
    json::{read_json, write_json},
    known_classes,
};
use fcos_burn_eval::{
    Analysis, AnalysisConfig, CocoMetric, Evaluation, EvaluationReport,
    class_confusion::ClassConfusion, results,
};
use fcos_burn_loss::{AssociationScore, BoxAssociation, FcosObjective, LossTerm};
use fcos_burn_model::{
    Fcos,
    assignment::{AssignmentRule, PredictionAssignmentRule},
    backbone::{Backbone, BackboneConfig, resnet::ResNetConfig},
    head::{BoxQuality, RegressionForm},
};
use fcos_burn_report::{Provenance, Session, SplitCounts};

use self::{
    balance::balance_lines,
    burn_metrics::{TrainingMetric, ValidationMetric},
    ending::{Ending, EndingSlot, StopRule},
    epoch_loop::{EpochLoop, NoMetricLog, Start, Steps},
    evaluator::SharedEvaluator,
    extensions::Extensions,
};
use crate::{
    Error, RunConfig,
    config::{
        DataSource, EarlyStopping, InitialWeights, Keep, OptimizationConfig, TrainingLength,
        USUAL_STEPS, shared_images,
    },
    data::{
        Assigner, BatchLoader, EpochPlan, FirstBatch, TrainCollate, ValidationCollate,
        check::{Unreadable, check},
        digest::{DataDigest, SplitDigest},
    },
    run::{
        Checkpoint, EpochProgress, EpochRow, EventLog, Position, RunFolder, TRAINING_DATA,
        TrainLog, evaluation_warning_line, warning_line, write_artifacts, write_metrics_csv,
    },
    step::{StepMetric, TrainableDetector, WeightAverage},
};

pub use failed_step::{FailedImage, FailedStep};
pub use log_renderer::LineRenderer;
#[cfg(test)]
pub(crate) use setup::random_model;
pub use setup::{initial_model, open_devices, trainable};

/// How a training ended.
#[derive(Debug)]
pub enum Outcome {
    /// All epochs are complete, or it [stopped early](RunConfig::early_stopping). The evaluation is that of the kept epoch.
    Finished(Box<Evaluation>),
    /// The interrupter or the [stop rule](Trainer::with_stop_rule) stopped it; [`Trainer::resume`] continues from there.
    Interrupted,
}

/// Trains detectors. It holds what a training needs in addition to its configuration.
///
/// ```no_run
/// use fcos_burn_train::{Outcome, RunConfig, Trainer};
///
/// let outcome = Trainer::new().train(RunConfig::small(), "runs/shapes")?;
/// if let Outcome::Finished(evaluation) = outcome {
///     println!("{}", evaluation.table());
/// }
/// # Ok::<(), fcos_burn_train::Error>(())
/// ```
///
/// Messages (the data, progress, warnings) go to the [`log`] crate.
///
/// Resume a run with the same extensions (terms, assignment, augmentations, data) that it was
/// started with. They are code: the run folder records only the names of the terms, the `Debug`
/// form of the assignment rule, the options of the augmentations and a digest of the data, and a
/// run is not resumed with others.
///
/// [`train`](Self::train), [`resume`](Self::resume) and [`replay`](Self::replay) are for detectors
/// with a ResNet. Those with another backbone have functions of their own, such as
/// [`train_backbone`](Self::train_backbone), which are compiled for each backbone.
pub struct Trainer {
    interrupter: Interrupter,
    stop_rule: Option<StopRule>,
    display: Display,
    devices: Option<Vec<DeviceName>>,
    duration: Option<TrainingLength>,
    terms: Vec<Arc<dyn LossTerm>>,
    assigner: Option<Assigner>,
    augmentations: Augmentations,
    data: Option<(DetectionDataset, DetectionDataset)>,
    tensorboard: bool,
}

impl Default for Trainer {
    fn default() -> Self {
        Self::new()
    }
}

impl Trainer {
    /// A trainer that logs its progress.
    pub fn new() -> Self {
        Self {
            interrupter: Interrupter::new(),
            stop_rule: None,
            display: Display::Log,
            devices: None,
            duration: None,
            terms: Vec::new(),
            assigner: None,
            augmentations: Augmentations::default(),
            data: None,
            tensorboard: false,
        }
    }

    /// Writes event files for TensorBoard to the run folder. A resumed run that has such files writes them in any case.
    #[must_use]
    pub fn with_tensorboard(self) -> Self {
        Self {
            tensorboard: true,
            ..self
        }
    }

    /// Stops after the current step when `interrupter` requests it.
    #[must_use]
    pub fn with_interrupter(self, interrupter: Interrupter) -> Self {
        Self {
            interrupter,
            ..self
        }
    }

    /// Calls `rule` after each epoch with the rows of all epochs so far, and stops on [`ControlFlow::Break`]. A stopped
    /// training is [interrupted](Outcome::Interrupted), even after its last epoch: it is not evaluated, and can be resumed.
    /// [`RunConfig::early_stopping`] ends a training run that no longer improves.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    /// use fcos_burn_train::{RunConfig, Trainer, run::EpochRow};
    ///
    /// // Stops when the epochs have taken an hour.
    /// let rule = |rows: &[EpochRow]| {
    ///     let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    ///     match seconds >= 3600.0 {
    ///         true => ControlFlow::Break(()),
    ///         false => ControlFlow::Continue(()),
    ///     }
    /// };
    /// Trainer::new().with_stop_rule(rule).train(RunConfig::small(), "runs/short")?;
    /// # Ok::<(), fcos_burn_train::Error>(())
    /// ```
    #[must_use]
    pub fn with_stop_rule(
        self,
        rule: impl FnMut(&[EpochRow]) -> ControlFlow<()> + Send + 'static,
    ) -> Self {
        Self {
            stop_rule: Some(StopRule::new(rule)),
            ..self
        }
    }

    /// Shows progress with a burn-train renderer, such as a [`LineRenderer`], instead of logging
    /// it.
    #[must_use]
    pub fn with_renderer(self, renderer: Box<dyn MetricsRenderer>) -> Self {
        Self {
            display: Display::Renderer(renderer),
            ..self
        }
    }

    /// Shows progress on burn-train's terminal dashboard.
    #[cfg(feature = "tui")]
    #[must_use]
    pub fn with_dashboard(self) -> Self {
        Self {
            display: Display::Dashboard,
            ..self
        }
    }

    /// Overrides the devices of the configuration.
    #[must_use]
    pub fn with_devices(self, devices: Vec<DeviceName>) -> Self {
        Self {
            devices: Some(devices),
            ..self
        }
    }

    /// Overrides the duration of the configuration. A [resumed](Self::resume) run goes on to it, also if it was complete.
    /// If it had stopped early, it no longer does. From the checkpoint on, the learning rate, the association ramp and the
    /// place of the plain epochs at the end are those of a training run with this duration. The augmentation and the number of
    /// plain epochs stay those of the configuration, also if they were chosen automatically.
    ///
    /// A run whose last epoch was cut short by a number of iterations can only be continued by iterations, as this epoch
    /// is in its metrics.
    #[must_use]
    pub fn with_duration(self, duration: TrainingLength) -> Self {
        Self {
            duration: Some(duration),
            ..self
        }
    }

    /// Adds a term to the objective. It is logged, plotted and normalized like the terms of the
    /// built-in objective.
    #[must_use]
    pub fn with_term(mut self, term: Arc<dyn LossTerm>) -> Self {
        self.terms.push(term);
        self
    }

    /// Replaces the assignment rule of the configuration.
    #[must_use]
    pub fn with_assignment(self, rule: Arc<dyn AssignmentRule>) -> Self {
        Self {
            assigner: Some(Assigner::Static(rule)),
            ..self
        }
    }

    /// Replaces the assignment rule of the configuration by one that uses the predictions of each
    /// step. If gradients are accumulated, these are predictions in inference mode before the step,
    /// which cost an additional forward pass.
    #[must_use]
    pub fn with_prediction_assignment(self, rule: Arc<dyn PredictionAssignmentRule>) -> Self {
        Self {
            assigner: Some(Assigner::ByPrediction(rule)),
            ..self
        }
    }

    /// Registers custom augmentations, which the configuration can then name.
    #[must_use]
    pub fn with_augmentations(self, augmentations: Augmentations) -> Self {
        Self {
            augmentations,
            ..self
        }
    }

    /// Overrides the data of the configuration. [`DetectionDataset::hold_out`] divides a data set
    /// that has no validation split.
    #[must_use]
    pub fn with_data(self, train: DetectionDataset, val: DetectionDataset) -> Self {
        Self {
            data: Some((train, val)),
            ..self
        }
    }

    /// Trains a detector and writes its run folder to `output`.
    ///
    /// # Errors
    ///
    /// Fails if the configuration, the data, a device or the folder cannot be used, if an image
    /// cannot be loaded or a checkpoint cannot be written, or if a loss or gradient is not finite.
    pub fn train(self, config: RunConfig, output: impl AsRef<Path>) -> Result<Outcome, Error> {
        self.train_resnet(config, output.as_ref())
    }

    /// Not generic, so that it is compiled with this crate, as are the other two.
    fn train_resnet(self, config: RunConfig, output: &Path) -> Result<Outcome, Error> {
        self.train_backbone(config, output)
    }

    /// Resumes the run in `path` from its last checkpoint, with the same result as if it had
    /// never been stopped. A run that is complete or has stopped early is evaluated again.
    ///
    /// # Errors
    ///
    /// Fails as [`train`](Self::train) does, and if no checkpoint can be read, or the data, the
    /// terms or the assignment rule have changed.
    pub fn resume(self, path: impl AsRef<Path>) -> Result<Outcome, Error> {
        self.resume_resnet(path.as_ref())
    }

    fn resume_resnet(self, path: &Path) -> Result<Outcome, Error> {
        self.resume_backbone::<ResNetConfig>(path)
    }

    /// Replays a failed step of the run in `run` with images read again from disk. Returns its
    /// metrics. Other devices than those of the run may round differently.
    ///
    /// # Errors
    ///
    /// Fails as [`resume`](Self::resume) does, and if the images are not those of the step.
    pub fn replay(
        self,
        step: &FailedStep,
        run: impl AsRef<Path>,
    ) -> Result<Vec<(StepMetric, f64)>, Error> {
        self.replay_resnet(step, run.as_ref())
    }

    fn replay_resnet(self, step: &FailedStep, run: &Path) -> Result<Vec<(StepMetric, f64)>, Error> {
        self.replay_backbone::<ResNetConfig>(step, run)
    }

    /// [`train`](Self::train) for a detector with the backbone `C`.
    ///
    /// # Errors
    ///
    /// Those of [`train`](Self::train).
    pub fn train_backbone<C: BackboneConfig>(
        self,
        mut config: RunConfig<C>,
        output: impl AsRef<Path>,
    ) -> Result<Outcome, Error> {
        let output = output.as_ref();
        // Before the time that opening and checking the data takes.
        RunFolder::check(output)?;
        let devices = self.prepare(&mut config)?;
        let names = config.devices.clone();
        on_devices(&names, || self.start(config, devices, output))
    }

    /// Starts a run whose configuration is checked.
    fn start<C: BackboneConfig>(
        mut self,
        mut config: RunConfig<C>,
        devices: Vec<Device>,
        output: &Path,
    ) -> Result<Outcome, Error> {
        config.data.check_held_out_name()?;
        let data = self.open_data(&mut config)?;
        let extensions = (self.extensions(&config)?).with_class_balance(&config, &data.train)?;
        let summary = check(&data.train, Unreadable::Replaced, config.data.strict)?;
        if let Some(summary) = summary {
            log::info!(
                "{}: {summary}; other images replace them",
                data.train.name()
            );
        }
        check(&data.val, Unreadable::Refused, config.data.strict)?;
        let steps = Steps::of(&config, &data.train).total;
        if steps < USUAL_STEPS {
            log::info!(
                "short training: {steps} steps of up to {} images; at least {USUAL_STEPS} are usual",
                config.batch_size
            );
        }
        let weights = config.initial_weights.get_or_insert(InitialWeights::Random);
        let weights = weights.clone();
        let model = initial_model(&config, &devices[0])?;
        let model = weights.load(model, &config.data.categories)?;
        return_freed_memory();
        let warnings = untrained_layers(&model, &weights)
            .into_iter()
            .chain(schedule_warnings(&config.optimization, steps));
        for warning in warnings {
            log::warn!("{warning}");
        }
        let (folder, log) = RunFolder::create(output)?;
        let position = Position::default();
        let checkpoints = folder.checkpoints();
        write_json(&checkpoints.data_path(), &data.digest())?;
        extensions.write(&folder)?;
        let optimizer = config.optimization.optimizer(&model)?;
        let average =
            (config.optimization.average_decay).map(|decay| WeightAverage::new(&model, decay));
        checkpoints.save(&position, &model, &optimizer, average.as_ref())?;
        // The run may be evaluated or resumed from another folder.
        config = config.with_absolute_paths();
        config.write(&folder.config_path())?;
        let checkpoint = Checkpoint {
            position,
            model,
            optimizer,
            average,
            warning: None,
        };
        let run = self.run(config, extensions, folder, log, data, devices);
        run.launch(checkpoint)
    }

    /// [`resume`](Self::resume) for a detector with the backbone `C`.
    ///
    /// # Errors
    ///
    /// Those of [`resume`](Self::resume).
    pub fn resume_backbone<C: BackboneConfig>(
        mut self,
        path: impl AsRef<Path>,
    ) -> Result<Outcome, Error> {
        let path = path.as_ref();
        let folder = RunFolder::open(path)?;
        let log = TrainLog::open(&folder.log_path())?;
        let Opened {
            config,
            extensions,
            devices,
            data,
        } = self.reopen::<C>(&folder)?;
        let names = config.devices.clone();
        on_devices(&names, || {
            let checkpoints = folder.checkpoints();
            let model = initial_model(&config, &devices[0])?;
            let checkpoint = checkpoints.last(&model, &config.optimization)?;
            return_freed_memory();
            if let Some(warning) = &checkpoint.warning {
                log::warn!("{warning}");
                let log_path = folder.log_path();
                log.line(warning).map_err(Error::io(&log_path))?;
            }
            let run = self.run(config, extensions, folder, log, data, devices);
            run.launch(checkpoint)
        })
    }

    /// [`replay`](Self::replay) for a detector with the backbone `C`.
    ///
    /// # Errors
    ///
    /// Those of [`replay`](Self::replay).
    pub fn replay_backbone<C: BackboneConfig>(
        mut self,
        step: &FailedStep,
        run: impl AsRef<Path>,
    ) -> Result<Vec<(StepMetric, f64)>, Error> {
        let run = run.as_ref();
        let folder = RunFolder::open(run)?;
        let Opened {
            config,
            extensions,
            devices,
            data,
        } = self.reopen::<C>(&folder)?;
        let plan = Steps::of(&config, &data.train).plan(&config)?;
        let batch = step.batch(&folder, &extensions.collate, &data.train, &plan)?;
        let names = config.devices.clone();
        on_devices(&names, || {
            let model = initial_model(&config, &devices[0])?.load(&FailedStep::weights(&folder))?;
            let step = trainable(&config, model, devices)?.with_objective(extensions.objective)?;
            let output = TrainStep::step(&step, batch).item.read()?;
            Ok(output.metrics().to_vec())
        })
    }

    /// Opens what an existing run needs, and checks that it is what the run was started with.
    fn reopen<C: BackboneConfig>(&mut self, folder: &RunFolder) -> Result<Opened<C>, Error> {
        let mut config: RunConfig<C> = folder.read_config()?;
        config.validate().map_err(|error| Error::Run {
            path: folder.config_path(),
            cause: error.to_string(),
        })?;
        let devices = self.prepare(&mut config)?;
        self.extensions(&config)?.check(folder)?;
        let classes = config.model.num_classes;
        let data = self.open_data(&mut config)?;
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
        let extensions = (self.extensions(&config)?).with_class_balance(&config, &data.train)?;
        let digest: DataDigest = read_json(&folder.checkpoints().data_path())?;
        digest.check(&data.digest(), folder.path())?;
        Ok(Opened {
            config,
            extensions,
            devices,
            data,
        })
    }

    /// Checks the configuration and the extensions, and opens the devices.
    fn prepare<C: BackboneConfig>(&self, config: &mut RunConfig<C>) -> Result<Vec<Device>, Error> {
        if let Some(devices) = &self.devices {
            config.devices.clone_from(devices);
        }
        if let Some(duration) = self.duration {
            config.duration = duration;
        }
        config.validate()?;
        self.extensions(config)?;
        open_devices(config)
    }

    /// The custom objective, assignment and augmentations, or those of the configuration.
    fn extensions<C: BackboneConfig>(&self, config: &RunConfig<C>) -> Result<Extensions, Error> {
        let assigner = self.assigner.as_ref();
        Extensions::new(config, &self.terms, assigner, &self.augmentations)
    }

    fn open_data<C: BackboneConfig>(&mut self, config: &mut RunConfig<C>) -> Result<Splits, Error> {
        let Some((train, val)) = self.data.take() else {
            return Splits::open(config);
        };
        config.data.source = DataSource::Custom(train.name().to_owned());
        config.data.val_share = None;
        Splits::new(train, val, config)
    }

    fn run<C: BackboneConfig>(
        self,
        config: RunConfig<C>,
        extensions: Extensions,
        folder: RunFolder,
        log: TrainLog,
        data: Splits,
        devices: Vec<Device>,
    ) -> Run<C> {
        Run {
            config,
            extensions,
            folder,
            log,
            data,
            devices,
            interrupter: self.interrupter,
            stop_rule: self.stop_rule,
            display: self.display,
            tensorboard: self.tensorboard,
            has_duration: self.duration.is_some(),
        }
    }
}

/// Where progress is shown.
#[derive(Default)]
enum Display {
    #[default]
    Log,
    Renderer(Box<dyn MetricsRenderer>),
    #[cfg(feature = "tui")]
    Dashboard,
}

/// What a run computes with.
struct Opened<C: BackboneConfig> {
    config: RunConfig<C>,
    extensions: Extensions,
    devices: Vec<Device>,
    data: Splits,
}

/// The data of a training run. The classes of `val` are some of those of `train`, with their own ids.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Splits {
    /// The training split.
    pub train: Arc<DetectionDataset>,
    /// The validation split.
    pub val: Arc<DetectionDataset>,
    /// How many images of `val` are also in `train`.
    shared: usize,
}

impl Splits {
    /// Opens the splits that `config` names, logs a summary of them, and sets what the
    /// configuration takes from the data: the classes, the steps of a named augmentation, and the
    /// number of epochs.
    ///
    /// # Errors
    ///
    /// Fails if a split cannot be opened or has no images, if there is no training object, or if
    /// the splits have no class in common.
    pub fn open<C: BackboneConfig>(config: &mut RunConfig<C>) -> Result<Self, Error> {
        let (train, val) = config.data.open_splits()?;
        Self::new(train, val, config)
    }

    fn new<C: BackboneConfig>(
        train: DetectionDataset,
        val: DetectionDataset,
        config: &mut RunConfig<C>,
    ) -> Result<Self, Error> {
        let detected = match &config.model.postprocess.classes {
            None => train.categories().to_vec(),
            Some(labels) => {
                let categories = labels.iter().map(|label| train.categories().get(*label));
                categories.flatten().cloned().collect()
            }
        };
        // Objects of other classes would only lower AP.
        let val = known_classes(val, &detected)?;
        config.model.num_classes = train.categories().len();
        config.data.categories = train.categories().to_vec();
        let data = Self {
            // A held-out part has no image of the rest.
            shared: match config.data.val_share {
                Some(_) => 0,
                None => shared_images(&train, &val),
            },
            train: Arc::new(train),
            val: Arc::new(val),
        };
        data.describe()?;
        config.resolve_duration(data.train.len());
        config.resolve_augmentation(data.train.len());
        Ok(data)
    }

    /// Logs a summary of the data.
    ///
    /// # Errors
    ///
    /// Fails if there is nothing to train on, or no validation image.
    fn describe(&self) -> Result<(), Error> {
        for dataset in [&self.train, &self.val] {
            log::info!("{dataset}");
            if dataset.is_empty() {
                return Err(Error::NoImages(dataset.name().to_owned()));
            }
        }
        self.train.require_objects()?;
        for line in self.findings() {
            log::info!("{line}");
        }
        for line in self.warnings() {
            log::warn!("{line}");
        }
        Ok(())
    }

    /// The findings and remarks of the readers.
    fn findings(&self) -> Vec<String> {
        [self.train.messages(), self.val.messages()].concat()
    }

    /// Likely causes of poor results.
    fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let absent = self.train.classes_without_objects();
        if !absent.is_empty() {
            lines.push(format!(
                "{}: no objects of class {}, which cannot be learned",
                self.train.name(),
                list_names(&absent)
            ));
        }
        if self.val.classes_without_objects().len() == self.val.categories().len() {
            lines.push(format!(
                "{}: no validation objects, so there is no AP and the weights of the last epoch are kept",
                self.val.name()
            ));
        }
        if self.shared > 0 {
            lines.push(format!(
                "{}: {} of {} images are also in the training split, so the validation results will be too optimistic",
                self.val.name(),
                self.shared,
                self.val.len()
            ));
        }
        lines
    }

    fn digest(&self) -> DataDigest {
        DataDigest {
            train: SplitDigest::of(&self.train),
            val: SplitDigest::of(&self.val),
        }
    }
}

/// A warning if layers stay as they were drawn.
fn untrained_layers<B: Backbone>(model: &Fcos<B>, weights: &InitialWeights) -> Option<String> {
    let count = OptimizationConfig::num_untrained(model);
    (*weights == InitialWeights::Random && count > 0).then(|| {
        format!(
            "{count} values of the detector are not trained (frozen layers), and no weights are loaded: they stay as \
             they were initialized. Start from weights, or train all layers"
        )
    })
}

/// Warnings of a schedule that is made for longer training runs.
fn schedule_warnings(config: &OptimizationConfig, steps: usize) -> Vec<String> {
    let warmup = config.warmup.iterations;
    let warmup = (warmup > 0 && warmup >= steps).then(|| {
        format!(
            "the learning rate warms up for {warmup} iterations, and the training has only {steps}"
        )
    });
    warmup
        .into_iter()
        .chain(config.decay.never_begins(steps))
        .collect()
}

struct Run<C: BackboneConfig> {
    config: RunConfig<C>,
    extensions: Extensions,
    folder: RunFolder,
    log: TrainLog,
    data: Splits,
    devices: Vec<Device>,
    interrupter: Interrupter,
    stop_rule: Option<StopRule>,
    display: Display,
    tensorboard: bool,
    /// Whether the caller chose the duration, so that a run that had stopped early goes on.
    has_duration: bool,
}

impl<C: BackboneConfig> Run<C> {
    /// Trains from a checkpoint to the end.
    fn launch(mut self, from: Checkpoint<C::Backbone>) -> Result<Outcome, Error> {
        let Checkpoint {
            mut position,
            model,
            optimizer,
            average,
            ..
        } = from;
        let config = &self.config;
        let steps = Steps::of(config, &self.data.train);
        if position.iteration > steps.total {
            return Err(Error::Run {
                path: self.folder.checkpoints().path().to_owned(),
                cause: format!(
                    "the checkpoint is of iteration {} in epoch {}, but the training has only {} iterations in {} epochs",
                    position.iteration,
                    position.iteration.div_ceil(steps.per_epoch.max(1)),
                    steps.total,
                    steps.epochs()
                ),
            });
        }
        let per_epoch = position.steps_per_epoch.get_or_insert(steps.per_epoch);
        if *per_epoch != steps.per_epoch {
            return Err(Error::Run {
                path: self.folder.config_path(),
                cause: format!(
                    "an epoch has {} steps, but had {per_epoch} before the checkpoint: the batch size has changed",
                    steps.per_epoch
                ),
            });
        }
        let mut rows = self.folder.read_metrics()?;
        let planned = self.folder.read_config::<C>()?.duration;
        let of_plan = Steps {
            total: planned.steps(steps.per_epoch),
            ..steps
        };
        let cut = (rows.last())
            .filter(|row| of_plan.until_end_of(row.epoch) < steps.until_end_of(row.epoch));
        if let Some(row) = cut {
            return Err(Error::Run {
                path: self.folder.metrics_path(),
                cause: format!(
                    "epoch {} was cut short, after {} of {} iterations: it cannot be completed",
                    row.epoch,
                    of_plan.until_end_of(row.epoch)
                        - of_plan.until_end_of(row.epoch.saturating_sub(1)),
                    steps.per_epoch
                ),
            });
        }
        rows.retain(|row| steps.until_end_of(row.epoch) <= position.iteration);
        // The last epoch is validated. Without its row, it is completed again.
        if rows.len() == steps.epochs() && rows.last().is_some_and(|row| row.validation.is_none()) {
            rows.pop();
        }
        let epoch = rows.len() + 1;
        if position.iteration > steps.until_end_of(epoch) {
            return Err(Error::Run {
                path: self.folder.metrics_path(),
                cause: format!("epoch {epoch} is missing, although it is complete"),
            });
        }
        // The checkpoint at the end of an epoch is written before its row.
        if position.iteration == steps.until_end_of(rows.len()) {
            position.epoch = EpochProgress::default();
        }
        self.folder.create_parts()?;
        let log_path = self.folder.log_path();
        let log = self.log.clone();
        let note = |line: &str| log.line(line).map_err(Error::io(&log_path));
        note(&format!("{TRAINING_DATA}{}", self.data.train))?;
        note(&format!("validation: {}", self.data.val))?;
        for line in self.data.findings() {
            note(&line)?;
        }
        for line in self.data.warnings() {
            note(&warning_line(&line))?;
        }
        for line in balance_lines(config, &self.data.train)? {
            note(&line)?;
            log::info!("{line}");
        }
        let devices: Vec<String> = config.devices.iter().map(ToString::to_string).collect();
        note(&format!(
            "{} parameters, {} iterations per epoch, {} of {} done, on {}",
            model.num_params(),
            steps.per_epoch,
            position.iteration,
            steps.total,
            devices.join(", "),
        ))?;
        self.record_session(devices, position.iteration)?;
        if let Some(change) = self.record_duration(planned, &rows, steps)? {
            note(&change)?;
            log::info!("{change}");
        }
        let config = &self.config;
        let early_stopping = config.early_stopping;
        let stopped = |rows: &[EpochRow]| {
            let early = early_stopping.filter(|_| rows.len() < steps.epochs());
            early.and_then(|early| early.verdict(rows))
        };
        if epoch <= steps.epochs() && stopped(&rows).is_none() {
            let mut start = Start {
                events: self.open_events(position.iteration, &rows, steps)?,
                position,
                rows,
                optimizer,
                scheduler: config.optimization.scheduler(&model, steps.total)?,
                average,
            };
            for _ in 0..start.position.iteration {
                start.scheduler.step();
            }
            if !self.fit(model, start, steps)? {
                note("interrupted")?;
                return Ok(Outcome::Interrupted);
            }
        } else if self.tensorboard && !self.folder.tensorboard_path().exists() {
            // A new event file begins with the epochs so far.
            drop(self.open_events(position.iteration, &rows, steps)?);
        }
        if let Some(reason) = stopped(&self.folder.read_metrics()?) {
            note(&reason.to_string())?;
            log::info!("{reason}");
        }
        self.finish(&note)
    }

    /// Records another duration than that of the run folder, whose evaluation is then removed. Returns a line about it.
    fn record_duration(
        &mut self,
        before: TrainingLength,
        rows: &[EpochRow],
        steps: Steps,
    ) -> Result<Option<String>, Error> {
        let now = self.config.duration;
        let stopped = |early: EarlyStopping| early.verdict(rows).is_some();
        let goes_on = self.has_duration
            && rows.len() < steps.epochs()
            && self.config.early_stopping.is_some_and(stopped);
        if now == before && !goes_on {
            return Ok(None);
        }
        let mut line = format!("the training is of {now}");
        if now != before {
            line += &format!(", no longer of {before}");
        }
        if goes_on {
            self.config.early_stopping = None;
            line += ", and does not stop early again";
        }
        let evaluation = self.folder.evaluation_path();
        if evaluation.exists() {
            fs::remove_file(&evaluation).map_err(Error::io(&evaluation))?;
        }
        self.config.write(&self.folder.config_path())?;
        Ok(Some(line))
    }

    /// Adds this start of the program to the provenance of the run.
    fn record_session(&self, devices: Vec<String>, steps_before: usize) -> Result<(), Error> {
        // Nothing but the report depends on it.
        let mut provenance = self.folder.read_provenance().unwrap_or_else(|error| {
            log::warn!("{error}; starting a new file");
            None
        });
        let recorded = provenance.get_or_insert_with(Provenance::default);
        recorded.splits = vec![
            SplitCounts::of("training", &self.data.train),
            SplitCounts::of("validation", &self.data.val),
        ];
        let threads = rayon::current_num_threads();
        recorded
            .sessions
            .push(Session::here(devices, threads, steps_before));
        Ok(write_json(&self.folder.provenance_path(), recorded)?)
    }

    /// Event files, if they were requested or the run already has some.
    fn open_events(
        &self,
        steps_done: usize,
        rows: &[EpochRow],
        steps: Steps,
    ) -> Result<Option<EventLog>, Error> {
        let folder = self.folder.tensorboard_path();
        if !self.tensorboard && !folder.exists() {
            return Ok(None);
        }
        let rows = rows.iter().map(|row| (steps.until_end_of(row.epoch), row));
        let rows: Vec<_> = rows.collect();
        EventLog::open(&folder, steps_done, &rows).map(Some)
    }

    /// Trains the remaining epochs. Returns whether they were completed.
    fn fit(
        &mut self,
        model: Fcos<C::Backbone>,
        start: Start<C::Backbone>,
        steps: Steps,
    ) -> Result<bool, Error> {
        let config = &self.config;
        let done = start.rows.len();
        let first = FirstBatch {
            epoch: done as u64 + 1,
            batch: start.position.iteration - steps.until_end_of(done),
        };
        let evaluator = SharedEvaluator::new(self.data.val.clone(), &config.data.categories);
        let ending = EndingSlot::default();
        let collate = self.extensions.collate.clone();
        let reader = collate.reader.clone();
        let mut training = SupervisedTraining::<TrainableDetector<C::Backbone>>::new(
            self.folder.path(),
            Arc::new(self.train_loader(collate, first, steps)?),
            Arc::new(self.val_loader()?),
        )
        .num_epochs(steps.epochs())
        // Without burn-train's checkpointers, this only sets the first epoch on its display.
        .checkpoint(done)
        .with_application_logger(None)
        .with_metric_logger(NoMetricLog)
        .metric_train_numeric(LearningRateMetric::new());
        for metric in self.step_metrics() {
            training = training.metric_train_numeric(TrainingMetric::new(metric));
        }
        for metric in [CocoMetric::AP, CocoMetric::AP50, CocoMetric::AP75] {
            training =
                training.metric_valid_numeric(ValidationMetric::new(metric, evaluator.clone()));
        }
        match std::mem::take(&mut self.display) {
            Display::Log => training = training.renderer(Box::new(LineRenderer::log())),
            Display::Renderer(renderer) => training = training.renderer(renderer),
            // burn-train's default.
            #[cfg(feature = "tui")]
            Display::Dashboard => {}
        }
        // burn-train does not run this optimizer: the loop has its own, which it can save.
        let optimizer = config.optimization.optimizer(&model)?;
        let scheduler = config.optimization.scheduler(&model, steps.total)?;
        let learner = trainable(config, model, self.devices.clone())?
            .with_objective(self.extensions.objective.clone())?;
        let learner = Learner::new(learner, optimizer, scheduler);
        let epochs = EpochLoop {
            folder: self.folder.clone(),
            log: self.log.clone(),
            devices: config.devices.clone(),
            images: self.data.train.clone(),
            evaluator,
            steps,
            keep: config.keep,
            validate_every: config.validate_every,
            early_stopping: config.early_stopping,
            reader,
            interrupter: self.interrupter.clone(),
            stop_rule: self.stop_rule.clone(),
            ending: ending.clone(),
            start: Mutex::new(Some(start)),
        };
        let result = training
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(epochs)))
            .launch(learner);
        match (ending.take(), result.error) {
            (Some(Ending::Failed(error)), _) => Err(error),
            (_, Some(error)) => Err(Error::Training(error.to_string())),
            (Some(Ending::Interrupted), None) => Ok(false),
            (Some(Ending::Finished), None) => Ok(true),
            (None, None) => Err(Error::Training("burn-train ran no steps".to_owned())),
        }
    }

    fn predicts(&self, quality: BoxQuality) -> bool {
        let head = &self.config.model.head;
        head.centerness.is_some() && head.quality == quality
    }

    /// The metrics that each training step reports.
    fn step_metrics(&self) -> Vec<StepMetric> {
        let exists = |metric: &StepMetric| match metric.name() {
            FcosObjective::ASSOCIATION => self.config.objective.association.is_some(),
            FcosObjective::CENTERNESS => self.predicts(BoxQuality::Centerness),
            FcosObjective::PREDICTED_IOU => self.predicts(BoxQuality::Iou),
            FcosObjective::DISTRIBUTION => matches!(
                self.config.model.head.regression,
                RegressionForm::Distribution { .. }
            ),
            FcosObjective::BOX_ASSOCIATION => matches!(
                self.config.objective.box_association,
                Some(BoxAssociation::ExpectedIou { .. })
            ),
            _ => true,
        };
        let added = self.extensions.objective.added_terms().iter();
        let added = added.map(|term| StepMetric::Term(term.name().to_owned().into()));
        [StepMetric::Loss]
            .into_iter()
            .chain(StepMetric::terms().filter(exists))
            .chain(added)
            .chain([
                StepMetric::Positives,
                StepMetric::MeanIou,
                StepMetric::ClassAccuracy,
                StepMetric::GradientNorm,
            ])
            .collect()
    }

    fn train_loader(
        &self,
        collate: TrainCollate,
        first: FirstBatch,
        steps: Steps,
    ) -> Result<BatchLoader<TrainCollate>, Error> {
        let plan = steps.plan(&self.config)?;
        let device = self.devices[0].clone().without_autodiff();
        Ok(BatchLoader::new(
            self.data.train.clone(),
            collate,
            plan,
            device,
            first,
        ))
    }

    fn val_loader(&self) -> Result<BatchLoader<ValidationCollate>, Error> {
        let collate = ValidationCollate {
            input: self.config.input.clone(),
        };
        Ok(BatchLoader::new(
            self.data.val.clone(),
            collate,
            EpochPlan::validation(&self.config)?,
            self.devices[0].clone().without_autodiff(),
            FirstBatch::START,
        ))
    }

    /// Evaluates the kept epoch, and writes the evaluation, plots, pictures and the report.
    fn finish(self, note: &dyn Fn(&str) -> Result<(), Error>) -> Result<Outcome, Error> {
        // A new model: the initial one would have been kept through the whole training.
        let model = (self.config.model.init(&self.devices[0]))
            .map_err(|error| error.within("model"))?
            .load(&self.folder.model_path())?;
        let detector = Detector::new(
            &model,
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
        let analysis = Analysis::new(&self.data.val, &detections, &AnalysisConfig::default())?;
        let results = results(&self.data.val, &detections)?;
        write_metrics_csv(&self.folder, &self.folder.read_metrics()?);
        write_artifacts(
            &self.folder,
            &self.data.val,
            &detections,
            &results,
            &evaluation,
            &analysis,
        )?;
        self.config.write(&self.folder.config_path())?;
        let confusion = ClassConfusion::find(
            &self.data.val,
            &results,
            &evaluation,
            self.config.model.postprocess.nms_iou_threshold,
        );
        // The check is optional: its failure does not fail the run.
        let warning = match confusion {
            Ok(confusion) => confusion.map(|confusion| self.class_confusion_warning(confusion)),
            Err(error) => Some(format!("cannot check for class confusion: {error}")),
        };
        if let Some(warning) = warning {
            note(&evaluation_warning_line(&warning))?;
            log::warn!("{warning}");
        }
        let report = EvaluationReport::new(&evaluation, &analysis);
        write_json(&self.folder.evaluation_path(), &report)?;
        let kept = match self.config.keep {
            Keep::Best => "best",
            Keep::Last => "last",
        };
        note(&format!("{kept} epoch:\n{report}"))?;
        // The run is complete without its report. The failure is not a warning of the run, which a later report would
        // show.
        if let Err(error) = self.folder.write_report(&self.data.val, &self.log) {
            // An earlier report may show other results.
            let _ = fs::remove_file(self.folder.report_path());
            let failure = format!("the report was not written: {error}");
            note(&failure)?;
            log::warn!("{failure}");
        }
        Ok(Outcome::Finished(Box::new(evaluation)))
    }

    fn class_confusion_warning(&self, confusion: ClassConfusion) -> String {
        let objective = &self.config.objective;
        let ties_highest_score = objective.association.is_some()
            && objective.association_score == AssociationScore::MaxOverClasses;
        let advice = match ties_highest_score {
            true => {
                "Tying the highest score to the IoU can cause this when training from scratch: tie \
                 the ground-truth class's score (ground-truth-class), or use no association loss"
            }
            false => "Train longer, or check for inconsistently labeled classes",
        };
        format!(
            "objects are found, but many have the wrong class: the mean AP over objects is {:.1}, \
             but {:.1} with all classes merged into one. {advice}",
            100.0 * confusion.object_ap,
            100.0 * confusion.class_agnostic_ap
        )
    }
}

#[cfg(test)]
mod tests;
