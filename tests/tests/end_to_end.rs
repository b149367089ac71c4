//! A whole training through the library: it learns, records itself, and goes on
//! where it was stopped.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{path::Path, sync::Arc, thread, time::Duration};

use fcos_burn::{
    data::{shapes::ShapesConfig, transforms::Resize},
    loss::AssociationLoss,
    train::{
        Detector, Evaluation, Interrupter, Outcome, RunConfig,
        config::{self, DataConfig},
        device::{DeviceName, Precision},
        evaluation::CocoFigure,
        resume,
        run::{EpochRow, RunFolder},
        train,
    },
};

/// A detector and a data set so small that an epoch takes a second.
fn tiny() -> RunConfig {
    let shapes = ShapesConfig {
        train_images: 12,
        val_images: 6,
        width: 64,
        height: 64,
        max_objects: 2,
        min_size: 16.0,
        ..ShapesConfig::default()
    };
    let mut config = RunConfig::small();
    config.data = DataConfig::shapes(shapes);
    config.input.resize = Resize::Fixed {
        width: 64,
        height: 64,
    };
    config.model.backbone.width = 8;
    config.model.fpn.channels = 8;
    config.model.head.tower_depth = 1;
    config.optimization.warmup.iterations = 2;
    config.duration = config::Duration::Epochs(3);
    config.batch_size = 4;
    config
}

fn rows(folder: &Path) -> Vec<EpochRow> {
    let (folder, _) = RunFolder::open(folder).unwrap();
    let mut rows = folder.read_metrics().unwrap();
    rows.iter_mut().for_each(|row| row.seconds = 0.0);
    rows
}

fn finished(outcome: Outcome) -> Evaluation {
    match outcome {
        Outcome::Finished(evaluation) => *evaluation,
        Outcome::Interrupted => panic!("the training was interrupted"),
    }
}

#[test]
fn the_loss_falls_and_the_best_epoch_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let evaluation = finished(train(tiny(), &folder, None, Interrupter::new()).unwrap());
    let rows = rows(&folder);
    assert_eq!(rows.len(), 3);
    assert!(rows[2].train["Loss"] < rows[0].train["Loss"], "{rows:?}");
    assert!(rows[0].train.contains_key("Association loss"));
    let best = rows
        .iter()
        .filter_map(EpochRow::ap)
        .fold(f64::NAN, f64::max);
    assert_eq!(evaluation.figure(CocoFigure::AP), Some(best));

    let detector = Detector::load(&folder, &DeviceName::CPU, Precision::F32).unwrap();
    let val = Arc::new(tiny().data.source.open("val").unwrap());
    let detections = detector.detect_dataset(&val, 4, 0, |_| {}).unwrap();
    let again = Evaluation::new(&val, &detections).unwrap();
    assert_eq!(again.figures, evaluation.figures);
}

#[test]
fn a_run_repeats_itself_whatever_the_number_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, workers: usize| {
        let mut config = tiny();
        config.workers = workers;
        config.duration = config::Duration::Epochs(2);
        let folder = dir.path().join(name);
        train(config, &folder, None, Interrupter::new()).unwrap();
        rows(&folder)
    };
    assert_eq!(run("a", 0), run("b", 2));
}

#[test]
fn an_interrupted_run_goes_on_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    train(tiny(), &whole, None, Interrupter::new()).unwrap();

    let stopped = dir.path().join("stopped");
    let interrupter = Interrupter::new();
    let watcher = thread::spawn({
        let (interrupter, stopped) = (interrupter.clone(), stopped.clone());
        move || {
            let first = stopped.join("metrics.json");
            while !first.exists() {
                thread::sleep(Duration::from_millis(1));
            }
            interrupter.stop(Some("enough"));
        }
    });
    let outcome = train(tiny(), &stopped, None, interrupter).unwrap();
    watcher.join().unwrap();
    assert!(matches!(outcome, Outcome::Interrupted));
    assert!(rows(&stopped).len() < 3);
    // Epoch by epoch or in the middle of one: the step it was stopped after is kept.
    let (folder, _) = RunFolder::open(&stopped).unwrap();
    assert!(folder.checkpoints().iterations().unwrap()[0] >= 3);
    finished(resume(&stopped, None, Interrupter::new()).unwrap());
    assert_eq!(rows(&stopped), rows(&whole));
}

#[test]
fn every_variant_of_the_objective_trains() {
    let dir = tempfile::tempdir().unwrap();
    let variants: [(&str, Option<AssociationLoss>, bool); 3] = [
        ("none", None, false),
        (
            "pce",
            Some(AssociationLoss::Pce { beta: 0.5, k: 1.5 }),
            false,
        ),
        ("centerness", None, true),
    ];
    for (name, association, centerness) in variants {
        let mut config = tiny();
        config.duration = config::Duration::Iterations(2);
        config.objective.association = association;
        if centerness {
            config.model.head.centerness =
                Some(fcos_burn::model::head::CenternessBranch::Regression);
        }
        let folder = dir.path().join(name);
        train(config, &folder, None, Interrupter::new()).unwrap();
        let rows = rows(&folder);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].train.contains_key("Centerness loss"), centerness);
        assert!(rows[0].train["Loss"].is_finite());
    }
}
