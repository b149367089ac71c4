//! The training loop: steps, checkpoints and validation, epoch by epoch.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use burn::{
    lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler},
    module::Module,
    optim::ModuleOptimizer,
    train::{
        EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
        SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainStep,
        TrainingComponents, TrainingItem, ValidLoader,
        logger::MetricLogger,
        metric::{
            MetricDefinition, NumericEntry,
            store::{EpochSummary, MetricsUpdate, Split},
        },
    },
};
use fcos_burn_data::{DetectionDataset, SampleReader};
use fcos_burn_detect::{
    device::{DeviceName, on_devices},
    json::write_json,
};
use fcos_burn_eval::Evaluation;
use fcos_burn_model::backbone::{Backbone, BackboneConfig};

use super::{
    FailedImage, FailedStep,
    ending::{Ending, EndingSlot, Interrupters, StopRule},
    evaluator::SharedEvaluator,
};
use crate::{
    Error, RunConfig,
    config::{EarlyStopping, Keep},
    data::{EpochPlan, TrainBatch},
    run::{
        EpochRow, EventLog, Position, RunFolder, TrainLog, epoch_line, save_model, warning_line,
        write_metrics_csv,
    },
    step::{StepMetric, StepOutput, TrainableDetector, ValidationOutput, WeightAverage},
};

/// What is wrong if there are no positives.
const NO_POSITIVES: &str = "no location was assigned to an object, so only background is learned: at this input size, the \
     objects are too small for the assignment rule, or all of them are ignored";

/// The longest time between checkpoints, which are written after a step.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(600);

/// The longest time between checkpoints if a device of another machine takes part, which is lost
/// more easily.
const REMOTE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// With a device of another machine, the time between two checkpoints is at least this multiple of
/// the time that writing one takes.
const CHECKPOINT_RATIO: u32 = 30;

/// The strategy with which burn-train trains a detector.
///
/// A step whose loss or gradient is not finite stops the training and does not change the
/// weights. Checkpoints are written at the end of each epoch, every ten minutes, and on
/// interruption; every minute if a remote device takes part, unless writing them takes long.
/// Validation follows the checkpoint of its epoch; if it is interrupted, the resumed run repeats
/// it.
pub(crate) struct EpochLoop<B: Backbone> {
    pub(crate) folder: RunFolder,
    pub(crate) log: TrainLog,
    pub(crate) devices: Vec<DeviceName>,
    pub(crate) images: Arc<DetectionDataset>,
    pub(crate) evaluator: SharedEvaluator,
    pub(crate) steps: Steps,
    pub(crate) keep: Keep,
    /// Validates after every Nth epoch, and after the last one.
    pub(crate) validate_every: usize,
    pub(crate) early_stopping: Option<EarlyStopping>,
    /// Counts the unreadable images.
    pub(crate) reader: SampleReader,
    /// The caller's.
    pub(crate) interrupter: Interrupter,
    /// The caller's, if there is one.
    pub(crate) stop_rule: Option<StopRule>,
    /// Set when the loop ends.
    pub(crate) ending: EndingSlot,
    /// Taken when training begins.
    pub(crate) start: Mutex<Option<Start<B>>>,
}

/// The number of steps of a training run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    /// In a complete epoch.
    pub(crate) per_epoch: usize,
    /// In all epochs; the last one may be shorter.
    pub(crate) total: usize,
}

impl Steps {
    /// The steps of a training run on `images`.
    pub(crate) fn of<C: BackboneConfig>(config: &RunConfig<C>, images: &DetectionDataset) -> Self {
        let per_epoch = config.steps_per_epoch(images.len());
        Self {
            per_epoch,
            total: config.duration.steps(per_epoch),
        }
    }

    /// The plan of the epochs.
    pub(crate) fn plan<C: BackboneConfig>(self, config: &RunConfig<C>) -> Result<EpochPlan, Error> {
        Ok(EpochPlan::training(config)?.with_max_batches(self.total))
    }

    /// The number of epochs.
    pub(crate) fn epochs(self) -> usize {
        self.total.div_ceil(self.per_epoch.max(1))
    }

    /// The number of steps up to the end of an epoch, counted from 1.
    pub(crate) fn until_end_of(self, epoch: usize) -> usize {
        epoch.saturating_mul(self.per_epoch).min(self.total)
    }
}

/// The state from which a training starts or resumes, without the weights.
pub(crate) struct Start<B: Backbone> {
    pub(crate) position: Position,
    /// The epochs that are trained and validated.
    pub(crate) rows: Vec<EpochRow>,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) scheduler: ModuleLrScheduler,
    /// The averaged weights, if the training keeps an average.
    pub(crate) average: Option<WeightAverage<B>>,
    /// Writes event files, if the training writes them.
    pub(crate) events: Option<EventLog>,
}

type Processor<B> = SupervisedTrainingEventProcessor<TrainableDetector<B>>;

impl<B: Backbone> SupervisedLearningStrategy<TrainableDetector<B>> for EpochLoop<B> {
    fn fit(
        &self,
        components: TrainingComponents<TrainableDetector<B>>,
        learner: Learner<TrainableDetector<B>>,
        train: TrainLoader<TrainableDetector<B>>,
        val: ValidLoader<TrainableDetector<B>>,
        _starting_epoch: usize,
    ) -> (TrainableDetector<B>, Processor<B>) {
        let mut start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(start) = start.take() else {
            return (learner.model(), components.event_processor);
        };
        let mut course = Course {
            of: self,
            without_weights: learner.model().without_weights(),
            learner: learner.model(),
            optimizer: start.optimizer,
            scheduler: start.scheduler,
            average: start.average,
            events: start.events,
            position: start.position,
            rows: start.rows,
            train,
            val,
            processor: components.event_processor,
            interrupters: Interrupters {
                caller: self.interrupter.clone(),
                burn: components.interrupter,
            },
            last_checkpoint: Instant::now(),
            saving: Duration::ZERO,
            unreadable_told: 0,
        };
        // Frees the initial weights.
        drop(learner);
        self.ending.set(course.run_to_end());
        (course.learner, course.processor)
    }
}

/// Whether to continue, or the training was interrupted.
type Flow = Result<ControlFlow<()>, Error>;

/// A training in progress.
struct Course<'a, B: Backbone> {
    of: &'a EpochLoop<B>,
    /// Has no weights if the optimizer panicked, which ends the training.
    learner: TrainableDetector<B>,
    /// Takes the place of the learner while the optimizer changes its weights, in place if no clone has them.
    without_weights: Option<TrainableDetector<B>>,
    optimizer: ModuleOptimizer,
    scheduler: ModuleLrScheduler,
    average: Option<WeightAverage<B>>,
    events: Option<EventLog>,
    position: Position,
    rows: Vec<EpochRow>,
    train: TrainLoader<TrainableDetector<B>>,
    val: ValidLoader<TrainableDetector<B>>,
    processor: Processor<B>,
    interrupters: Interrupters,
    last_checkpoint: Instant,
    /// How long it took.
    saving: Duration,
    /// The number of unreadable images that have been logged.
    unreadable_told: usize,
}

impl<B: Backbone> Course<'_, B> {
    fn run_to_end(&mut self) -> Ending {
        let devices = &self.of.devices;
        let flow = on_devices(devices, || self.run());
        // Events that are still being processed may fail.
        self.flush();
        match (flow, self.interrupters.error()) {
            (Err(error), _) => Ending::Failed(error),
            (Ok(_), Some(error)) => Ending::Failed(stopped(error)),
            (Ok(ControlFlow::Break(())), None) => Ending::Interrupted,
            (Ok(ControlFlow::Continue(())), None) => Ending::Finished,
        }
    }

    fn run(&mut self) -> Flow {
        for epoch in self.rows.len() + 1..=self.of.steps.epochs() {
            let stopped = self.train_epoch(epoch)?.is_break() || self.end_epoch(epoch)?.is_break();
            if stopped || self.rule_stops() {
                return Ok(ControlFlow::Break(()));
            }
            let early = self.of.early_stopping;
            if early.is_some_and(|early| early.verdict(&self.rows).is_some()) {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn rule_stops(&self) -> bool {
        let rule = self.of.stop_rule.as_ref();
        rule.is_some_and(|rule| rule.apply(&self.rows).is_break())
    }

    fn train_epoch(&mut self, epoch: usize) -> Flow {
        let train = self.train.clone();
        self.tell_train(LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: train.num_items(),
        });
        let mut batches = train.iter();
        let mut before = Instant::now();
        while let Some(batch) = batches.next() {
            let batch = batch.map_err(stopped)?;
            let progress = batches.progress();
            let (output, rate) = self.step(epoch, batch)?;
            self.position.epoch.seconds += before.elapsed().as_secs_f64();
            before = Instant::now();
            self.tell_train(LearnerEvent::ProcessedItem(TrainingItem::new(
                output,
                progress,
                Some(self.steps_of(epoch)),
                Some(rate),
            )));
            if self.interrupters.should_stop() {
                self.save()?;
                return Ok(ControlFlow::Break(()));
            }
            if self.last_checkpoint.elapsed() >= self.checkpoint_interval() {
                self.save()?;
            }
        }
        self.tell_train(LearnerEvent::EndSplit(epoch));
        self.save()?;
        Ok(ControlFlow::Continue(()))
    }

    /// Runs an optimizer step. Returns its metrics and learning rate.
    fn step(
        &mut self,
        epoch: usize,
        batch: TrainBatch,
    ) -> Result<(StepOutput, ModuleLearningRate), Error> {
        let (indices, place) = (batch.indices.clone(), batch.place);
        // A step changes running statistics, not weights.
        let before = self.learner.valid();
        let computed = TrainStep::step(&self.learner, batch);
        let output = computed.item.read()?;
        let iteration = self.position.iteration + 1;
        if let Some((metric, value)) = output.not_finite() {
            let images = FailedImage::of(&self.of.images, &indices);
            let step = FailedStep::new(iteration, place, images, &output);
            step.write(&self.of.folder, &before)?;
            return Err(Error::NotFinite {
                iteration,
                epoch,
                metric: metric.name().to_owned(),
                value,
                images: step
                    .images
                    .into_iter()
                    .map(|image| image.file_name)
                    .collect(),
                kept: self.of.folder.failed_step_path(),
            });
        }
        // The optimizer changes weights in place if nothing else refers to them.
        drop(before);
        let rate = self.scheduler.step();
        let learner = match self.without_weights.clone() {
            Some(placeholder) => std::mem::replace(&mut self.learner, placeholder),
            None => self.learner.clone(),
        };
        self.learner = learner.optimize(&mut self.optimizer, rate.clone(), computed.grads);
        let average = self.average.take();
        self.average = average.map(|average| self.learner.averaged(average, iteration));
        self.position.iteration = iteration;
        let sofar = &mut self.position.epoch;
        sofar.learning_rate = rate.base();
        let positives = output.metric(&StepMetric::Positives).unwrap_or_default();
        for (metric, value) in output.metrics() {
            let mean = sofar.means.entry(metric.name().to_owned()).or_default();
            mean.add(*value, metric.weight(positives));
        }
        if let Some(events) = &mut self.events {
            events.step(iteration, &output, rate.base())?;
        }
        let norm = output.metric(&StepMetric::GradientNorm);
        let limit = self.learner.max_gradient_norm();
        if limit.is_some_and(|limit| norm > Some(limit.into())) {
            sofar.clipped += 1;
        }
        Ok((output, rate))
    }

    /// Validates the epoch if it is due, and records it.
    fn end_epoch(&mut self, epoch: usize) -> Flow {
        let started = Instant::now();
        let is_last = epoch == self.of.steps.epochs();
        let is_validated = is_last || epoch.is_multiple_of(self.of.validate_every);
        if is_validated && self.validate(epoch)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.tell_train(LearnerEvent::EndEpoch(epoch));
        self.flush();
        if self.interrupters.should_stop() {
            return Ok(ControlFlow::Break(()));
        }
        let validation = match is_validated {
            true => Some(self.of.evaluator.evaluation()?),
            false => None,
        };
        self.record(epoch, validation, started.elapsed())?;
        Ok(ControlFlow::Continue(()))
    }

    fn validate(&mut self, epoch: usize) -> Flow {
        let val = self.val.clone();
        self.tell_val(LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: val.num_items(),
        });
        let learner = match &self.average {
            Some(average) => self.learner.with_detector(average.model().clone()),
            None => self.learner.valid(),
        };
        let mut batches = val.iter();
        let mut iteration = 0;
        while let Some(batch) = batches.next() {
            let batch = batch.map_err(stopped)?;
            let progress = batches.progress();
            let output = InferenceStep::step(&learner, batch);
            iteration += 1;
            self.tell_val(LearnerEvent::ProcessedItem(TrainingItem::new(
                output,
                progress,
                Some(iteration),
                None,
            )));
            if self.interrupters.should_stop() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.tell_val(LearnerEvent::EndSplit(epoch));
        Ok(ControlFlow::Continue(()))
    }

    /// Saves the weights if this is the epoch to keep, then writes its row.
    fn record(
        &mut self,
        epoch: usize,
        validation: Option<Evaluation>,
        duration: Duration,
    ) -> Result<(), Error> {
        let sofar = std::mem::take(&mut self.position.epoch);
        let row = EpochRow {
            epoch,
            seconds: sofar.seconds + duration.as_secs_f64(),
            learning_rate: sofar.learning_rate,
            train: (sofar.means.into_iter())
                .map(|(name, mean)| (name, mean.value()))
                .collect(),
            clipped_steps: sofar.clipped,
            unreadable_images: self.of.reader.unreadable().len(),
            validation,
        };
        if self.of.keep == Keep::Last || row.is_best(&self.rows) {
            let average = self.average.as_ref().map(WeightAverage::model);
            let model = average.unwrap_or(self.learner.detector());
            save_model(model, &self.of.folder.model_path())?;
        }
        let path = self.of.folder.log_path();
        let tell = |line: &str| self.of.log.line(line).map_err(Error::io(&path));
        tell(&epoch_line(&row))?;
        if row.train.get(StepMetric::Positives.name()) == Some(&0.0) {
            tell(&warning_line(NO_POSITIVES))?;
            log::warn!("epoch {epoch}: {NO_POSITIVES}");
        }
        if row.unreadable_images > self.unreadable_told {
            self.unreadable_told = row.unreadable_images;
            for cause in self.of.reader.unreadable() {
                let warning = format!("replaced an unreadable image: {cause}");
                tell(&warning_line(&warning))?;
            }
        }
        self.rows.push(row);
        write_json(&self.of.folder.metrics_path(), &self.rows)?;
        if let (Some(events), Some(row)) = (&mut self.events, self.rows.last()) {
            events.epoch(self.position.iteration, row)?;
        }
        write_metrics_csv(&self.of.folder, &self.rows);
        Ok(())
    }

    /// The number of completed steps of an epoch.
    fn steps_of(&self, epoch: usize) -> usize {
        self.position.iteration - self.of.steps.until_end_of(epoch - 1)
    }

    fn checkpoint_interval(&self) -> Duration {
        let remote = self.of.devices.iter().any(DeviceName::is_remote);
        match remote {
            true => REMOTE_CHECKPOINT_INTERVAL.max(CHECKPOINT_RATIO * self.saving),
            false => CHECKPOINT_INTERVAL,
        }
    }

    fn save(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        // A resumed run does not repeat the steps before its checkpoint.
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        self.learner.merge_running_statistics();
        let checkpoints = self.of.folder.checkpoints();
        let (model, average) = (self.learner.detector(), self.average.as_ref());
        checkpoints.save(&self.position, model, &self.optimizer, average)?;
        self.last_checkpoint = Instant::now();
        self.saving = started.elapsed();
        Ok(())
    }

    /// Waits until all events are processed.
    fn flush(&mut self) {
        let told = self.processor.flush();
        self.interrupters.burn.fail_on_error(told);
    }

    fn tell_train(&mut self, event: LearnerEvent<StepOutput>) {
        let told = self.processor.process_train(event);
        self.interrupters.burn.fail_on_error(told);
    }

    fn tell_val(&mut self, event: LearnerEvent<ValidationOutput>) {
        let told = self.processor.process_valid(event);
        self.interrupters.burn.fail_on_error(told);
    }
}

fn stopped(error: impl ToString) -> Error {
    Error::Training(error.to_string())
}

/// Discards metrics: without a logger, burn-train would write its own files.
pub(crate) struct NoMetricLog;

impl MetricLogger for NoMetricLog {
    fn log(&mut self, _update: MetricsUpdate, _epoch: usize, _split: &Split) {}

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Err(format!("{name} of epoch {epoch} is not stored"))
    }

    fn log_metric_definition(&mut self, _definition: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}
