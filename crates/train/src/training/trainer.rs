//! Training, resumption and replay of runs, with code of the caller.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use burn::{
    tensor::Device,
    train::{Interrupter, TrainStep, renderer::MetricsRenderer},
};
use fcos_burn_data::{DetectionDataset, transforms::Augmentations};
use fcos_burn_detect::{
    device::{DeviceName, on_devices, return_freed_memory},
    json::{read_json, write_json},
};
use fcos_burn_loss::LossTerm;
use fcos_burn_model::{
    Fcos,
    assignment::{AssignmentRule, PredictionAssignmentRule},
    backbone::{Backbone, BackboneConfig, resnet::ResNetConfig},
};

use super::{
    FailedStep, Outcome,
    ending::StopRule,
    epoch_loop::Steps,
    extensions::Extensions,
    initial_model, open_devices,
    run::{Display, Run},
    splits::Splits,
    trainable,
};
use crate::{
    Error, RunConfig,
    config::{DataSource, InitialWeights, OptimizationConfig, TrainingLength, USUAL_STEPS},
    data::{
        Assigner,
        check::{Unreadable, check},
        digest::DataDigest,
    },
    run::{Checkpoint, EpochRow, Position, RunFolder, TrainLog},
    step::{StepMetric, WeightAverage},
};

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

    /// Shows progress with a burn-train renderer, such as a [`LineRenderer`](super::LineRenderer), instead of logging
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
        if self.data.is_none() {
            config.data.check_held_out_name()?;
        }
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
        config.write(folder.config_path())?;
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
            let model = initial_model(&config, &devices[0])?.load(FailedStep::weights(&folder))?;
            let step = trainable(&config, model, devices)?.with_objective(extensions.objective)?;
            let output = TrainStep::step(&step, batch).item.read()?;
            Ok(output.metrics().to_vec())
        })
    }

    /// Opens what an existing run needs, and checks that it is what the run was started with.
    fn reopen<C: BackboneConfig>(&mut self, folder: &RunFolder) -> Result<Opened<C>, Error> {
        let mut config: RunConfig<C> = folder.read_config()?;
        config
            .validate()
            .map_err(Error::in_config(&folder.config_path()))?;
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

/// What a run computes with.
struct Opened<C: BackboneConfig> {
    config: RunConfig<C>,
    extensions: Extensions,
    devices: Vec<Device>,
    data: Splits,
}

/// A warning if layers stay as they were drawn.
pub(super) fn untrained_layers<B: Backbone>(
    model: &Fcos<B>,
    weights: &InitialWeights,
) -> Option<String> {
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
