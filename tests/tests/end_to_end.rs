//! Whole training runs through the library: the loss falls, results are recorded, and interrupted
//! runs resume.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use fcos_burn::{
    data::shapes::ShapesConfig,
    data::transforms::Resize,
    detect::Detector,
    detect::device::{DeviceName, Precision},
    eval::{CocoMetric, Evaluation},
    loss::AssociationLoss,
    model::assignment::AssignerConfig,
    train::config::DataConfig,
    train::run::{EpochRow, RunFolder},
    train::{Interrupter, Outcome, RunConfig, Trainer, config},
};

/// A detector and a data set that are small enough for an epoch per second.
fn tiny() -> RunConfig {
    let shapes = ShapesConfig::default()
        .with_train_images(12)
        .with_val_images(6)
        .with_size(64, 64)
        .with_max_objects(2)
        .with_min_size(16.0);
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
    config.duration = config::TrainingLength::Epochs(3);
    config.batch_size = 4;
    config.devices = vec![DeviceName::CPU; 2];
    config
}

fn rows(folder: &Path) -> Vec<EpochRow> {
    let folder = RunFolder::open(folder).unwrap();
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
    let evaluation = finished(Trainer::new().train(tiny(), &folder).unwrap());
    let rows = rows(&folder);
    assert_eq!(rows.len(), 3);
    assert!(rows[2].train["Loss"] < rows[0].train["Loss"], "{rows:?}");
    assert!(rows[0].train.contains_key("Association loss"));
    let best = rows
        .iter()
        .filter_map(EpochRow::ap)
        .fold(f64::NAN, f64::max);
    assert_eq!(evaluation.metric(CocoMetric::AP), Some(best));

    let detector = Detector::load(&folder, &DeviceName::CPU, Precision::F32).unwrap();
    let val = Arc::new(tiny().data.source.open("val").unwrap());
    let detections = detector.detect_dataset(&val, 4, 0, |_| {}).unwrap();
    let again = Evaluation::new(&val, &detections).unwrap();
    assert_eq!(again.metrics, evaluation.metrics);
}

#[test]
fn the_number_of_workers_does_not_affect_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, workers: usize| {
        let mut config = tiny();
        config.workers = workers;
        config.duration = config::TrainingLength::Epochs(2);
        let folder = dir.path().join(name);
        Trainer::new().train(config, &folder).unwrap();
        rows(&folder)
    };
    assert_eq!(run("a", 0), run("b", 2));
}

#[test]
fn resuming_an_interrupted_run_gives_the_same_result() {
    for average_decay in [tiny().optimization.average_decay, None] {
        let mut config = tiny();
        config.optimization.average_decay = average_decay;
        assert_resuming_gives_the_same_result(&config);
    }
}

#[test]
fn resuming_gives_the_same_result_if_locations_are_assigned_by_predictions() {
    for assigner in [
        AssignerConfig::Tal(Default::default()),
        AssignerConfig::Dw(Default::default()),
    ] {
        assert_resuming_gives_the_same_result(&tiny().with_assigner(assigner));
    }
}

/// Takes minutes: a detector learns twelve images by heart with every rule.
#[test]
#[ignore = "takes minutes"]
fn every_assignment_rule_learns() {
    for assigner in [
        AssignerConfig::Fcos,
        AssignerConfig::Atss(Default::default()),
        AssignerConfig::Tal(Default::default()),
        AssignerConfig::SimOta(Default::default()),
        AssignerConfig::Dw(Default::default()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = tiny()
            .with_assigner(assigner.clone())
            .with_duration(config::TrainingLength::Epochs(80));
        config.model.backbone.width = 16;
        config.model.fpn.channels = 32;
        let train = config.data.source.open("train").unwrap();
        let trainer = Trainer::new().with_data(train.clone(), train);
        let evaluation = finished(trainer.train(config, dir.path().join("run")).unwrap());
        let ap50 = evaluation.metric(CocoMetric::AP50).unwrap_or(0.0);
        println!("{assigner:?}: AP50 {ap50}");
        assert!(ap50 > 0.5, "{assigner:?}: {ap50}");
    }
}

fn assert_resuming_gives_the_same_result(config: &RunConfig) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    Trainer::new().train(config.clone(), &whole).unwrap();

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
    let outcome = Trainer::new()
        .with_interrupter(interrupter)
        .train(config.clone(), &stopped)
        .unwrap();
    watcher.join().unwrap();
    assert!(matches!(outcome, Outcome::Interrupted));
    assert!(rows(&stopped).len() < 3);
    // Between epochs or within one, the last step before the interruption has a checkpoint.
    let folder = RunFolder::open(&stopped).unwrap();
    assert!(folder.checkpoints().iterations().unwrap()[0] >= 3);
    finished(Trainer::new().resume(&stopped).unwrap());
    assert_eq!(rows(&stopped), rows(&whole));
    let results = |run: &Path| std::fs::read(run.join("results.json")).unwrap();
    assert!(results(&stopped) == results(&whole));
}

#[test]
fn steps_with_clipped_gradients_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let clipped = |name: &str, max_norm: Option<f32>| {
        let mut config = tiny();
        config.duration = config::TrainingLength::Epochs(1);
        config.optimization.max_gradient_norm = max_norm;
        let folder = dir.path().join(name);
        Trainer::new().train(config, &folder).unwrap();
        let row = rows(&folder).swap_remove(0);
        assert!(row.train["Gradient norm"] > 0.1, "{row:?}");
        row.clipped_steps
    };
    assert_eq!(clipped("all", Some(1e-3)), 3);
    assert_eq!(clipped("none", Some(1e6)), 0);
    assert_eq!(clipped("unlimited", None), 0);
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
        config.duration = config::TrainingLength::Iterations(2);
        config.objective.association = association;
        if centerness {
            config.model.head.centerness =
                Some(fcos_burn::model::head::CenternessBranch::Regression);
        }
        let folder = dir.path().join(name);
        Trainer::new().train(config, &folder).unwrap();
        let rows = rows(&folder);
        assert_eq!(rows.len(), 1);
        let train = &rows[0].train;
        assert_eq!(
            train.contains_key("Association loss"),
            association.is_some()
        );
        assert_eq!(train.contains_key("Centerness loss"), centerness);
        let terms: Vec<f64> = train
            .iter()
            .filter(|(name, _)| name.ends_with(" loss"))
            .map(|(_, value)| *value)
            .collect();
        assert!(terms.iter().all(|term| *term > 0.0), "{name}: {train:?}");
        let (sum, loss) = (terms.iter().sum::<f64>(), train["Loss"]);
        assert!((sum - loss).abs() <= 1e-4 * loss, "{name}: {train:?}");
        assert!(train["Gradient norm"] > 0.0, "{name}: {train:?}");
    }
}

/// Writes a split of 64×64 images in COCO layout, each with the given boxes (xywh) and categories.
/// Returns the image folder and the annotation file.
fn coco_split(dir: &Path, images: &[&[([u32; 4], u64)]], categories: u64) -> (PathBuf, PathBuf) {
    std::fs::create_dir_all(dir).unwrap();
    let mut listed = Vec::new();
    let mut annotations = Vec::new();
    for (id, objects) in (1..).zip(images) {
        let mut image = image::RgbImage::from_pixel(64, 64, image::Rgb([80, 90, 100]));
        for ([x, y, width, height], category) in objects.iter().copied() {
            for (x, y) in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                image.put_pixel(x, y, image::Rgb([250, 60 * category as u8, 20]));
            }
            annotations.push(serde_json::json!({
                "id": annotations.len() + 1, "image_id": id, "category_id": category,
                "bbox": [x, y, width, height], "area": width * height, "iscrowd": 0,
            }));
        }
        let name = format!("{id:02}.png");
        image.save(dir.join(&name)).unwrap();
        listed.push(serde_json::json!({"id": id, "file_name": name, "width": 64, "height": 64}));
    }
    let categories: Vec<_> = (1..=categories)
        .map(|id| serde_json::json!({"id": id, "name": format!("class {id}")}))
        .collect();
    let json = serde_json::json!(
        {"images": listed, "annotations": annotations, "categories": categories}
    );
    let file = dir.join("annotations.json");
    std::fs::write(&file, json.to_string()).unwrap();
    (dir.to_owned(), file)
}

fn coco(
    dir: &Path,
    train: &[&[([u32; 4], u64)]],
    val: &[&[([u32; 4], u64)]],
    categories: u64,
) -> RunConfig {
    let (train_images, train_annotations) = coco_split(&dir.join("train"), train, categories);
    let (val_images, val_annotations) = coco_split(&dir.join("val"), val, categories);
    let mut config = tiny();
    config.data = DataConfig::coco(train_images, train_annotations, val_images, val_annotations);
    config.duration = config::TrainingLength::Epochs(2);
    config.batch_size = 2;
    config
}

const OBJECT: &[([u32; 4], u64)] = &[([10, 12, 30, 24], 1)];

#[test]
fn training_needs_objects() {
    let dir = tempfile::tempdir().unwrap();
    let config = coco(dir.path(), &[&[], &[], &[]], &[OBJECT], 2);
    let folder = dir.path().join("run");
    let error = Trainer::new().train(config, &folder).unwrap_err();
    assert!(error.to_string().contains("train"), "{error}");
    assert!(!folder.exists());
}

#[test]
fn validation_without_objects_leaves_the_metrics_undefined() {
    let dir = tempfile::tempdir().unwrap();
    let config = coco(dir.path(), &[OBJECT, &[]], &[&[], &[]], 2);
    let folder = dir.path().join("run");
    let evaluation = finished(Trainer::new().train(config, &folder).unwrap());
    assert!(
        evaluation.metrics.values().all(Option::is_none),
        "{:?}",
        evaluation.metrics
    );
    assert!(evaluation.class_ap.is_empty());
    assert!(evaluation.table().contains('–'));
    assert_eq!(rows(&folder).len(), 2);
    // The metrics are undefined in pycocotools too. In JSON they are null.
    let written = std::fs::read_to_string(folder.join("evaluation.json")).unwrap();
    assert!(written.contains("\"AP\": null"), "{written}");
    // Without a best epoch, the last one is kept.
    assert_keeps_the_last(&folder, "average.bpk");
}

#[test]
fn a_run_without_weight_averaging_keeps_the_last_weights() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = coco(dir.path(), &[OBJECT, OBJECT], &[OBJECT], 1);
    config.optimization.average_decay = None;
    config.keep = config::Keep::Last;
    let folder = dir.path().join("run");
    Trainer::new().train(config, &folder).unwrap();
    assert_keeps_the_last(&folder, "model.bpk");
}

/// Asserts that the weights of the run are those in `file` of its last checkpoint.
fn assert_keeps_the_last(folder: &Path, file: &str) {
    let run = RunFolder::open(folder).unwrap();
    let checkpoints = run.checkpoints();
    let last = checkpoints.iterations().unwrap()[0].to_string();
    let last = checkpoints.path().join(last).join(file);
    let weights = |path: &Path| std::fs::read(path).unwrap();
    assert!(weights(&run.model_path()) == weights(&last));
}

#[test]
fn training_copes_with_batches_without_objects() {
    let dir = tempfile::tempdir().unwrap();
    // Only one image in five has an object, so most batches of two have none.
    let config = coco(dir.path(), &[OBJECT, &[], &[], &[], &[]], &[OBJECT, &[]], 1);
    let folder = dir.path().join("run");
    let evaluation = finished(Trainer::new().train(config, &folder).unwrap());
    assert!(evaluation.metric(CocoMetric::AP).is_some());
    assert!(rows(&folder)[1].train["Positives"] > 0.0);
}

#[test]
fn a_single_image_and_classes_without_objects_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let config = coco(dir.path(), &[OBJECT], &[OBJECT], 3);
    let folder = dir.path().join("run");
    let evaluation = finished(Trainer::new().train(config, &folder).unwrap());
    let classes: Vec<&String> = evaluation.class_ap.keys().collect();
    assert_eq!(classes, ["class 1"], "the others have no ground truth");
    assert!(evaluation.metric(CocoMetric::AP).is_some());
    assert_eq!(evaluation.metric(CocoMetric::APL), None);
}

#[test]
fn a_few_unreadable_training_images_are_replaced_and_logged() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = coco(dir.path(), &[OBJECT; 20], &[OBJECT], 1);
    // Readable headers, but not all pixels: a file without a header is not in the data set at all.
    let truncate = |name: &str| {
        let path = dir.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    };
    truncate("train/07.png");
    let folder = dir.path().join("run");
    finished(Trainer::new().train(config.clone(), &folder).unwrap());
    let rows = rows(&folder);
    assert_eq!(
        rows.iter()
            .map(|row| row.unreadable_images)
            .collect::<Vec<_>>(),
        [1, 1]
    );
    let log = std::fs::read_to_string(folder.join("train.log")).unwrap();
    assert_eq!(log.matches("train/07.png").count(), 1, "{log}");
    assert!(log.contains("1 unreadable images replaced"), "{log}");

    let refused = |config: &RunConfig, name: &str| {
        let folder = dir.path().join(name);
        let error = Trainer::new().train(config.clone(), &folder).unwrap_err();
        assert!(!folder.exists(), "the run must not start");
        error.to_string()
    };
    config.data.strict = true;
    let strict = refused(&config, "strict");
    assert!(strict.contains("1 of 20 images cannot be read"), "{strict}");
    assert!(
        strict.contains("07.png") && strict.contains("strict"),
        "{strict}"
    );
    config.data.strict = false;
    truncate("train/08.png");
    let many = refused(&config, "many");
    assert!(many.contains("2 of 20 images cannot be read"), "{many}");
    // Validation images are never left out, since the metrics would no longer be comparable.
    truncate("val/01.png");
    std::fs::copy(
        dir.path().join("train/01.png"),
        dir.path().join("train/08.png"),
    )
    .unwrap();
    let validation = refused(&config, "validation");
    assert!(
        validation.contains("1 of 1 images cannot be read"),
        "{validation}"
    );
    assert!(validation.contains("val/01.png"), "{validation}");
}
