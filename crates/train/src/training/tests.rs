#![allow(clippy::unwrap_used)]

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use burn::tensor::{Device, Tensor};
use burn::train::{
    Interrupter, LearnerSummary,
    logger::{EvaluationProgressLogger, TrainingProgressLogger},
    metric::MetricDefinition,
    renderer::{
        EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
        MetricsRendererTraining,
    },
};
use fcos_burn_boxes::LabeledBox;
use fcos_burn_data::shapes::ShapesConfig;
use fcos_burn_detect::device::DeviceName;
use fcos_burn_loss::{LossTerm, TermInput};
use fcos_burn_model::{
    assignment::{Assignment, AssignmentRule},
    locations::Locations,
};

use super::{trainer::untrained_layers, *};
use crate::{
    Error, InitialWeights, RunConfig, RunFolder,
    config::{DataConfig, Decay, EarlyStopping, TrainingLength},
    run::EpochRow,
    step::running_means,
};

fn tiny() -> RunConfig {
    RunConfig::tiny(64, TrainingLength::Iterations(2))
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    (dir, run)
}

/// Stops the training at its first step and, as burn-train's dashboard does, resets the
/// interrupter when the training ends.
struct Resetting(Interrupter);

impl MetricsRendererTraining for Resetting {
    fn update_train(&mut self, _state: MetricState) {}

    fn update_valid(&mut self, _state: MetricState) {}

    fn on_train_end(
        &mut self,
        _summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.0.reset();
        Ok(())
    }
}

impl TrainingProgressLogger for Resetting {
    fn start(
        &mut self,
        _epochs: usize,
        _first: usize,
        _items: Option<usize>,
        _label: Option<&str>,
    ) {
        self.0.stop(Some("enough"));
    }

    fn update_epoch(&mut self, _epoch: usize) {}

    fn start_split(&mut self, _split: &str, _items: usize) {}

    fn update_split(&mut self, _items: usize) {}

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl EvaluationProgressLogger for Resetting {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, _name: &str, _total_items: usize) {}

    fn update_test_progress(&mut self, _items_processed: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRendererEvaluation for Resetting {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl MetricsRenderer for Resetting {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _definition: MetricDefinition) {}
}

#[test]
fn a_stopped_training_is_interrupted_even_if_the_renderer_resets_the_interrupter() {
    let (_dir, run) = folder();
    let interrupter = Interrupter::new();
    // Events are processed on another thread, so that the renderer may stop only a later step.
    let outcome = Trainer::new()
        .with_interrupter(interrupter.clone())
        .with_renderer(Box::new(Resetting(interrupter)))
        .train(tiny().with_duration(TrainingLength::Iterations(1000)), &run)
        .unwrap();
    assert!(matches!(outcome, Outcome::Interrupted), "{outcome:?}");
    assert_eq!(
        RunFolder::open(&run).unwrap().read_evaluation().unwrap(),
        None
    );
}

/// The weights of the same step are those of a training run that was not stopped.
#[test]
fn a_stop_rule_stops_after_an_epoch_and_the_run_can_be_resumed() {
    let (dir, run) = folder();
    let config = || tiny().with_duration(TrainingLength::Epochs(3));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let rule = {
        let seen = seen.clone();
        move |rows: &[EpochRow]| {
            seen.lock().unwrap().push(rows.len());
            match rows.len() {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    };
    let outcome = Trainer::new().with_stop_rule(rule).train(config(), &run);
    assert!(matches!(outcome.unwrap(), Outcome::Interrupted));
    assert_eq!(*seen.lock().unwrap(), [1, 2]);
    let opened = RunFolder::open(&run).unwrap();
    assert_eq!(opened.read_metrics().unwrap().len(), 2);
    let outcome = Trainer::new().resume(&run).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    let whole = dir.path().join("whole");
    Trainer::new().train(config(), &whole).unwrap();
    let losses = |folder: &Path| -> Vec<f64> {
        let rows = RunFolder::open(folder).unwrap().read_metrics().unwrap();
        rows.iter().map(|row| row.train["Loss"]).collect()
    };
    assert_eq!(losses(&run), losses(&whole));
}

/// With a constant learning rate, the steps do not depend on the number of epochs.
#[test]
fn a_finished_run_goes_on_to_more_epochs() {
    let (dir, run) = folder();
    let config = |epochs| {
        let mut config = tiny().with_duration(TrainingLength::Epochs(epochs));
        config.optimization.decay = Decay::Linear { end: 1.0 };
        config
    };
    let to = |epochs| Trainer::new().with_duration(TrainingLength::Epochs(epochs));
    Trainer::new().train(config(1), &run).unwrap();
    let opened = RunFolder::open(&run).unwrap();
    assert!(opened.read_evaluation().unwrap().is_some());
    let stop = |_: &[EpochRow]| ControlFlow::Break(());
    let outcome = to(3).with_stop_rule(stop).resume(&run).unwrap();
    assert!(matches!(outcome, Outcome::Interrupted));
    assert_eq!(opened.read_evaluation().unwrap(), None);
    let outcome = Trainer::new().resume(&run).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    let whole = dir.path().join("whole");
    Trainer::new().train(config(3), &whole).unwrap();
    let losses = |folder: &Path| -> Vec<f64> {
        let rows = RunFolder::open(folder).unwrap().read_metrics().unwrap();
        rows.iter().map(|row| row.train["Loss"]).collect()
    };
    assert_eq!(losses(&run).len(), 3);
    assert_eq!(losses(&run), losses(&whole));
    let [found, expected]: [RunConfig; 2] =
        [&run, &whole].map(|run| RunFolder::open(run).unwrap().read_config().unwrap());
    assert_eq!(found, expected);
    let error = to(2).resume(&run).unwrap_err().to_string();
    assert!(
        error
            .contains("iteration 6 in epoch 3, but the training has only 4 iterations in 2 epochs"),
        "{error}"
    );
    assert!(opened.read_evaluation().unwrap().is_some());
}

#[test]
fn a_run_that_stopped_early_goes_on_to_more_epochs() {
    let (_dir, run) = folder();
    let mut config = tiny().with_duration(TrainingLength::Epochs(3));
    // No later epoch is better by so much.
    config.early_stopping = Some(EarlyStopping::new(1).with_min_improvement(0.9));
    Trainer::new().train(config, &run).unwrap();
    let opened = RunFolder::open(&run).unwrap();
    assert_eq!(opened.read_metrics().unwrap().len(), 2);
    Trainer::new().resume(&run).unwrap();
    assert_eq!(opened.read_metrics().unwrap().len(), 2);
    for epochs in [3, 4] {
        let trainer = Trainer::new().with_duration(TrainingLength::Epochs(epochs));
        trainer.resume(&run).unwrap();
        assert_eq!(opened.read_metrics().unwrap().len(), epochs);
        let config: RunConfig = opened.read_config().unwrap();
        assert_eq!(config.early_stopping, None);
    }
}

#[test]
fn an_epoch_that_was_cut_short_is_not_completed() {
    let (_dir, run) = folder();
    let of = TrainingLength::Iterations;
    // Epochs have two steps.
    Trainer::new()
        .train(tiny().with_duration(of(3)), &run)
        .unwrap();
    let to = |duration| Trainer::new().with_duration(duration).resume(&run);
    let error = to(TrainingLength::Epochs(4)).unwrap_err().to_string();
    assert!(
        error.contains("epoch 2 was cut short, after 1 of 2 iterations"),
        "{error}"
    );
    let rows = |run: &Path| RunFolder::open(run).unwrap().read_metrics().unwrap();
    assert_eq!(rows(&run).len(), 2);
    assert!(
        RunFolder::open(&run)
            .unwrap()
            .read_evaluation()
            .unwrap()
            .is_some()
    );
    to(of(3)).unwrap();
    assert_eq!(rows(&run).len(), 2);
}

/// The new last epoch was not due for validation.
#[test]
fn the_last_epoch_of_a_shorter_training_is_validated() {
    let (_dir, run) = folder();
    let mut config = tiny().with_duration(TrainingLength::Epochs(6));
    config.validate_every = 5;
    let stop = |rows: &[EpochRow]| match rows.len() {
        3 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    Trainer::new()
        .with_stop_rule(stop)
        .train(config, &run)
        .unwrap();
    let trainer = Trainer::new().with_duration(TrainingLength::Epochs(3));
    assert!(matches!(
        trainer.resume(&run).unwrap(),
        Outcome::Finished(_)
    ));
    let rows = RunFolder::open(&run).unwrap().read_metrics().unwrap();
    let validated: Vec<bool> = rows.iter().map(|row| row.validation.is_some()).collect();
    assert_eq!(validated, [false, false, true]);
}

#[test]
fn a_failed_training_leaves_the_interrupter_usable() {
    let (_dir, run) = folder();
    let interrupter = Interrupter::new();
    let mut config = tiny();
    config.optimization.learning_rate = 1e38;
    let error = Trainer::new()
        .with_interrupter(interrupter.clone())
        .train(config, &run)
        .unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert!(!interrupter.should_stop());
}

#[test]
fn a_training_without_positives_and_folders_that_were_removed_are_told_and_made() {
    let (_dir, run) = folder();
    let rule = || Arc::new(NoPositives { reason: "none" });
    let config = tiny().with_duration(TrainingLength::Epochs(2));
    let stop = |_: &[EpochRow]| ControlFlow::Break(());
    let trainer = Trainer::new().with_assignment(rule()).with_stop_rule(stop);
    trainer.train(config, &run).unwrap();
    for part in ["plots", "detections"] {
        std::fs::remove_dir_all(run.join(part)).unwrap();
    }
    let trainer = Trainer::new().with_assignment(rule());
    let outcome = trainer.resume(&run).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    assert!(run.join("plots/losses.svg").exists());
    let log = std::fs::read_to_string(run.join("train.log")).unwrap();
    assert_eq!(log.matches("only background is learned").count(), 2);
}

#[test]
fn layers_that_stay_random_are_told() {
    let untrained = |frozen_stages| {
        let mut config = tiny();
        config.model.backbone.frozen_stages = frozen_stages;
        let model = initial_model(&config, &Device::flex().autodiff()).unwrap();
        assert_eq!(untrained_layers(&model, &InitialWeights::Builtin), None);
        untrained_layers(&model, &InitialWeights::Random)
    };
    assert_eq!(untrained(0), None);
    // The convolution of the stem, 3 × 7 × 7, and its normalization.
    let values = 8 * (3 * 49 + 2);
    let expected = format!("{values} values of the detector are not trained");
    let found = untrained(1).unwrap();
    assert!(found.starts_with(&expected), "{found}");
}

/// A term that is never finite.
#[derive(Debug)]
struct NotANumber;

impl LossTerm for NotANumber {
    fn name(&self) -> &str {
        "Not a number"
    }

    fn sum(&self, input: &TermInput) -> Tensor<1> {
        input.ious.clone().sum().mul_scalar(f32::NAN)
    }
}

#[test]
fn a_failed_step_keeps_the_running_statistics_from_before_it() {
    for devices in [1, 2] {
        let (_dir, run) = folder();
        let mut config = tiny();
        config.devices = vec![DeviceName::CPU; devices];
        let error = Trainer::new()
            .with_term(Arc::new(NotANumber))
            .train(config, &run)
            .unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{error}");
        let run = RunFolder::open(&run).unwrap();
        let config: RunConfig = run.read_config().unwrap();
        let model = config.model.init(&Device::flex()).unwrap();
        let model = model.load(FailedStep::weights(&run)).unwrap();
        assert!(running_means(&model).iter().all(|mean| *mean == 0.0));
    }
}

#[derive(Debug)]
struct Nothing;

impl LossTerm for Nothing {
    fn name(&self) -> &str {
        "Nothing"
    }

    fn sum(&self, input: &TermInput) -> Tensor<1> {
        input.ious.clone().sum().mul_scalar(0.0)
    }
}

/// The name is part of its `Debug` form.
#[derive(Debug)]
struct NoPositives {
    #[expect(dead_code)]
    reason: &'static str,
}

impl AssignmentRule for NoPositives {
    fn assign(&self, _objects: &[LabeledBox], locations: &Locations) -> Assignment {
        Assignment::background(locations.len())
    }
}

#[test]
fn a_run_is_resumed_only_with_its_terms_and_assignment_rule() {
    let (_dir, run) = folder();
    let trainer = |reason| {
        let rule = Arc::new(NoPositives { reason });
        Trainer::new().with_assignment(rule)
    };
    let (term, rule) = (Arc::new(Nothing), "none");
    trainer(rule)
        .with_term(term.clone())
        .train(tiny(), &run)
        .unwrap();
    let refused = |trainer: Trainer, part: &str| {
        let error = trainer.resume(&run).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(
        trainer(rule),
        "started with the term `Nothing`, which is missing",
    );
    refused(
        Trainer::new().with_term(term.clone()),
        "NoPositives { reason: \"none\" }, not with the assignment rule of its configuration",
    );
    refused(
        trainer("other").with_term(term.clone()),
        "not with the assignment rule NoPositives",
    );
    trainer(rule).with_term(term.clone()).resume(&run).unwrap();
    // Folders of older versions have no record.
    std::fs::remove_file(run.join("checkpoint/extensions.json")).unwrap();
    trainer(rule).resume(&run).unwrap();
}

#[test]
fn a_replay_checks_the_configuration_the_data_and_the_images() {
    let (_dir, run) = folder();
    let mut config = tiny();
    config.optimization.learning_rate = 1e38;
    Trainer::new().train(config, &run).unwrap_err();
    let step = FailedStep::read(&run).unwrap();
    let replay = |step: &FailedStep| Trainer::new().replay(step, &run);
    assert_eq!(replay(&step).unwrap().len(), step.metrics.len());

    let mut other = step.clone();
    other.images[0].file_name = "other.jpg".to_owned();
    let error = replay(&other).unwrap_err().to_string();
    assert!(
        error.contains("step.json: other.jpg is not image"),
        "{error}"
    );

    let folder = RunFolder::open(&run).unwrap();
    let config: RunConfig = folder.read_config().unwrap();
    let changed = |config: RunConfig, part: &str| {
        config.write(folder.config_path()).unwrap();
        let error = replay(&step).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    changed(config.clone().with_devices(Vec::new()), "devices is 0");
    let shapes = ShapesConfig::default()
        .with_train_images(5)
        .with_val_images(2)
        .with_size(64, 64);
    let more = config.with_data(DataConfig::shapes(shapes));
    changed(more, "the training split has 5 images, but had 4");
}

#[test]
fn a_folder_with_a_run_is_refused_before_the_data_is_opened() {
    let (_dir, run) = folder();
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("config.json"), "{}").unwrap();
    let config = tiny().with_data(DataConfig::coco(
        "no-such-images".into(),
        "no-such.json".into(),
        "no-such-images".into(),
        "no-such.json".into(),
    ));
    let error = Trainer::new().train(config, &run).unwrap_err().to_string();
    assert!(error.contains("already holds a run"), "{error}");
}
