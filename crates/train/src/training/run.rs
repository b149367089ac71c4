//! A run, from a checkpoint to its evaluation.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use burn::{
    module::Module,
    tensor::Device,
    train::{
        Interrupter, Learner, SupervisedTraining, TrainingStrategy, metric::LearningRateMetric,
        renderer::MetricsRenderer,
    },
};
use fcos_burn_detect::{Detector, json::write_json};
use fcos_burn_eval::{
    Analysis, AnalysisConfig, CocoMetric, Evaluation, EvaluationReport,
    class_confusion::ClassConfusion, results,
};
use fcos_burn_loss::{AssociationScore, BoxAssociation, FcosObjective};
use fcos_burn_model::{
    Fcos,
    backbone::BackboneConfig,
    head::{BoxQuality, RegressionForm},
};
use fcos_burn_report::{Provenance, Session, SplitCounts};

use super::{
    LineRenderer, Outcome,
    balance::balance_lines,
    burn_metrics::{TrainingMetric, ValidationMetric},
    ending::{Ending, EndingSlot, StopRule},
    epoch_loop::{EpochLoop, NoMetricLog, Start, Steps},
    evaluator::SharedEvaluator,
    extensions::Extensions,
    splits::Splits,
    trainable,
};
use crate::{
    Error, RunConfig,
    config::{EarlyStopping, Keep, TrainingLength},
    data::{BatchLoader, EpochPlan, FirstBatch, TrainCollate, ValidationCollate},
    run::{
        Checkpoint, EpochProgress, EpochRow, EventLog, RunFolder, TRAINING_DATA, TrainLog,
        evaluation_warning_line, warning_line, write_artifacts, write_metrics_csv,
    },
    step::{StepMetric, TrainableDetector},
};

/// Where progress is shown.
#[derive(Default)]
pub(super) enum Display {
    #[default]
    Log,
    Renderer(Box<dyn MetricsRenderer>),
    #[cfg(feature = "tui")]
    Dashboard,
}

/// A run, with what it is trained with.
pub(super) struct Run<C: BackboneConfig> {
    pub(super) config: RunConfig<C>,
    pub(super) extensions: Extensions,
    pub(super) folder: RunFolder,
    pub(super) log: TrainLog,
    pub(super) data: Splits,
    pub(super) devices: Vec<Device>,
    pub(super) interrupter: Interrupter,
    pub(super) stop_rule: Option<StopRule>,
    pub(super) display: Display,
    pub(super) tensorboard: bool,
    /// Whether the caller chose the duration, so that a run that had stopped early goes on.
    pub(super) has_duration: bool,
}

impl<C: BackboneConfig> Run<C> {
    /// Trains from a checkpoint to the end.
    pub(super) fn launch(mut self, from: Checkpoint<C::Backbone>) -> Result<Outcome, Error> {
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
        self.config.write(self.folder.config_path())?;
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
            .load(self.folder.model_path())?;
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
        self.config.write(self.folder.config_path())?;
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
