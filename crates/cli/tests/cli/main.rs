//! The commands as users run them: exit codes, and a one-line error for every invalid input.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod builtin;
mod convert;
mod data;
mod detect;
#[cfg(unix)]
mod interruption;
#[cfg(target_os = "linux")]
mod long_run;
mod outputs;
#[cfg(feature = "pretrained")]
mod pretrained;
#[cfg(all(feature = "remote", unix))]
mod remote;
mod test_time;
mod tune;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use fcos_burn::{
    data::transforms::{AugmentationStrength, MultiScale},
    detect::device::{DeviceError, DeviceName, Precision},
    model::FcosConfig,
    model::backbone::resnet::ResNetDepth,
    train::{RunConfig, RunFolder},
};
use serde_json::Value;

/// A command of the program.
fn command(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fcos-burn"));
    command.arg(name);
    // Graphics drivers print warnings if it is not set.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    command
}

fn run(name: &str, args: &[&str]) -> Output {
    command(name).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The command fails with `code` and a message that contains `parts`, without a panic. Unless it is
/// a usage error, the message is one line.
fn assert_fails(name: &str, args: &[&str], code: i32, parts: &[&str]) {
    let output = run(name, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    for part in parts {
        assert!(
            text.contains(part),
            "{args:?} does not print '{part}': {text}"
        );
    }
    if code == 1 {
        error_line(&output);
    }
}

/// The error line of a failed command, which must be the only one and the last line.
fn error_line(output: &Output) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let errors: Vec<_> = text.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert_eq!(text.lines().last(), errors.last().copied(), "{text}");
    errors[0].to_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Arguments for an epoch on small images that starts from `weights`.
fn fine_tuning<'a>(weights: &'a Path, config: &'a Path, output: &'a Path) -> [&'a str; 10] {
    [
        "--weights",
        path(weights),
        "--config",
        path(config),
        "--image-size",
        "64x64",
        "--epochs",
        "1",
        "--output",
        path(output),
    ]
}

/// A tiny detector that trains in seconds on the built-in set.
const TINY: &str = r#"{
    "model": {
        "backbone": {"width": 8},
        "fpn": {"channels": 8},
        "head": {"tower_depth": 1}
    },
    "data": {"source": {"shapes": {
        "train_images": 4, "val_images": 3, "width": 64, "height": 64, "max_objects": 2
    }}},
    "input": {"resize": {"fixed": {"width": 64, "height": 64}}}
}"#;

/// All weights in a weights file of a run with this configuration.
fn weights(config: &RunConfig, file: &Path) -> Vec<f32> {
    struct Values(Vec<f32>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let device = DeviceName::CPU.open(Precision::F32).unwrap();
    let model = config.model.init(&device).unwrap().load(file).unwrap();
    let mut values = Values(Vec::new());
    model.visit(&mut values);
    values.0
}

fn trained(dir: &Path) -> PathBuf {
    let config = dir.join("tiny.json");
    fs::write(&config, TINY).unwrap();
    let run_folder = dir.join("run");
    let output = run(
        "train",
        &[
            "--config",
            path(&config),
            "--epochs",
            "1",
            "--batch-size",
            "2",
            "--output",
            path(&run_folder),
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("AP90"));
    run_folder
}

/// Replaces a part of a run's configuration.
fn change_config(run: &Path, part: &str, other: &str) {
    let config = run.join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains(part));
    fs::write(&config, text.replace(part, other)).unwrap();
}

/// Writes a JPEG file that must be rotated by 90° to be upright (EXIF orientation 6).
fn write_lying(file: &Path, width: u32, height: u32) {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(width, height, image::Rgb([40, 90, 160]));
    image.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let mut bytes = jpeg.into_inner();
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    // After the marker of the start of the image.
    bytes.splice(2..2, exif.iter().copied());
    fs::write(file, bytes).unwrap();
}

#[test]
fn train_evaluate_and_detect_work_together() {
    let dir = tempfile::tempdir().unwrap();
    let run_folder = trained(dir.path());
    for file in [
        "config.json",
        "model.bpk",
        "metrics.json",
        "metrics.csv",
        "provenance.json",
        "report.html",
        "results.json",
        "train.log",
        "checkpoint/2/model.bpk",
        "plots/losses.svg",
        "plots/ap.png",
        "plots/precision-recall.svg",
        "plots/score-iou.png",
        "plots/operating-points.svg",
        "plots/detections.png",
    ] {
        assert!(run_folder.join(file).is_file(), "no {file}");
    }
    assert!(fs::read_dir(run_folder.join("detections")).unwrap().count() > 0);

    let results = dir.path().join("results.json");
    let output = run(
        "evaluate",
        &["--weights", path(&run_folder), "--output", path(&results)],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let of_training = fs::read_to_string(run_folder.join("results.json")).unwrap();
    assert_eq!(fs::read_to_string(&results).unwrap(), of_training);
    let table = String::from_utf8(output.stdout).unwrap();
    for part in ["At IoU 0.5", "score ≥", "badly placed", "missed"] {
        assert!(table.contains(part), "{table}");
    }

    // The same numbers as at the end of the training.
    let report = dir.path().join("report.json");
    let args = ["--weights", path(&run_folder), "--report", path(&report)];
    let output = run("evaluate", &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let of_training = fs::read_to_string(run_folder.join("evaluation.json")).unwrap();
    assert_eq!(fs::read_to_string(&report).unwrap(), of_training);
    let args = ["--weights", path(&run_folder), "--match-iou", "0.1"];
    assert_fails("evaluate", &args, 2, &["above 0.1 and at most 1"]);

    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    let blank = image::RgbImage::from_pixel(50, 30, image::Rgb([90, 120, 60]));
    blank.save(images.join("blank.png")).unwrap();
    write_lying(&images.join("phone.jpg"), 40, 20);
    fs::write(images.join("phone.HEIC"), "not read").unwrap();
    let drawn = dir.path().join("drawn");
    let weights = path(&run_folder);
    let detect = |output| {
        [
            "--weights",
            weights,
            "--input",
            path(&images),
            "--output",
            output,
        ]
    };
    let output = run("detect", &detect(path(&drawn)));
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    let told = "images: 1 image files in unsupported formats skipped: phone.HEIC";
    assert!(text.contains(told), "{text}");
    assert!(drawn.join("blank.png").is_file());
    let json = fs::read_to_string(drawn.join("detections.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["width"], 50);
    assert_eq!(json[0]["height"], 30);
    // The upright picture.
    assert_eq!(
        (&json[1]["width"], &json[1]["height"]),
        (&20.into(), &40.into())
    );
    assert!(json[0]["detections"].is_array());

    fs::write(images.join("text.jpg"), "not an image").unwrap();
    assert_fails("detect", &detect(path(&drawn)), 1, &["text.jpg"]);
    let in_place = images.join("../images");
    assert_fails(
        "detect",
        &detect(path(&in_place)),
        1,
        &["images", "another folder"],
    );

    // Weights whose shapes differ from the configuration.
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let config = fs::read_to_string(run_folder.join("config.json")).unwrap();
    let config = config.replace("\"channels\": 8", "\"channels\": 16");
    fs::write(other.join("config.json"), config).unwrap();
    fs::copy(run_folder.join("model.bpk"), other.join("model.bpk")).unwrap();
    assert_fails(
        "evaluate",
        &["--weights", path(&other.join("model.bpk"))],
        1,
        &["model.bpk", "do not fit"],
    );
    fs::write(other.join("model.bpk"), "not weights").unwrap();
    assert_fails("evaluate", &["--weights", path(&other)], 1, &["model.bpk"]);

    assert_fails(
        "train",
        &["--output", path(&run_folder)],
        1,
        &["already holds a run"],
    );
}

#[test]
fn reports_are_made_again_and_runs_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let run_folder = trained(dir.path());
    let own = run_folder.join("report.html");
    let html = fs::read_to_string(&own).unwrap();
    assert!(html.contains("data:image/jpeg;base64,"));

    // The same bytes, beside the run and elsewhere.
    let page = dir.path().join("page.html");
    let report = |args: &[&str]| {
        let output = run("report", args);
        assert!(output.status.success(), "{}", stderr(&output));
    };
    report(&[path(&run_folder), "--output", path(&page)]);
    assert!(fs::read_to_string(&page).unwrap() == html);
    fs::remove_file(&own).unwrap();
    report(&[path(&run_folder)]);
    assert!(fs::read_to_string(&own).unwrap() == html);

    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in [
        "config.json",
        "evaluation.json",
        "metrics.json",
        "results.json",
    ] {
        fs::copy(run_folder.join(file), copy.join(file)).unwrap();
    }
    let runs = [path(&run_folder), path(&copy)];
    assert_fails("report", &runs, 1, &["--output"]);
    report(&[&runs[..], &["--output", path(&page), "--resamples", "10"]].concat());
    let compared = fs::read_to_string(&page).unwrap();
    assert!(compared.contains("+0.0 [+0.0, +0.0]") && compared.contains("copy"));

    // Other data, and no data.
    let config = copy.join("config.json");
    let mut changed: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    changed["data"]["source"]["shapes"]["seed"] = 77.into();
    fs::write(&config, changed.to_string()).unwrap();
    let args = [&runs[..], &["--output", path(&page)]].concat();
    assert_fails("report", &args, 1, &["run and copy cannot be compared"]);
    changed["data"]["source"] = serde_json::json!({ "folder": "/nowhere" });
    fs::write(&config, changed.to_string()).unwrap();
    report(&[path(&copy)]);
    let html = fs::read_to_string(copy.join("report.html")).unwrap();
    assert!(html.contains("the data of the run cannot be examined") && html.contains("/nowhere"));
    assert!(!html.contains("data:image/jpeg;base64,"));
    assert_fails("report", &args, 1, &["copy cannot be compared", "/nowhere"]);
    // Such a report does not replace another one, unless it is named.
    let kept = ["report.html stays as it is", "--output"];
    assert_fails("report", &[path(&copy)], 1, &kept);
    report(&[path(&copy), "--output", path(&copy.join("report.html"))]);

    fs::remove_file(copy.join("evaluation.json")).unwrap();
    assert_fails("report", &[path(&copy)], 1, &["is not finished"]);
}

#[test]
fn event_files_are_written_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tiny.json");
    fs::write(&config, TINY).unwrap();
    let folder = dir.path().join("run");
    let output = run(
        "train",
        &[
            "--config",
            path(&config),
            "--epochs",
            "1",
            "--output",
            path(&folder),
            "--tensorboard",
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let names = || -> Vec<String> {
        let entries = fs::read_dir(folder.join("tensorboard")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    };
    let written = names();
    assert_eq!(written.len(), 1);
    assert!(
        written[0].starts_with("events.out.tfevents."),
        "{written:?}"
    );
    // A complete run has no further events.
    let output = run("train", &["--resume", path(&folder)]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names(), written);
    // It can be trained to more epochs, which add some.
    let more = ["--resume", path(&folder), "--epochs", "2"];
    let output = run("train", &more);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("of 2 epochs, no longer of 1 epoch"));
    assert_eq!(names().len(), 2);
    let rows = RunFolder::open(&folder).unwrap().read_metrics().unwrap();
    assert_eq!(rows.len(), 2);
    // Without any, it writes its epochs if they are asked for.
    fs::remove_dir_all(folder.join("tensorboard")).unwrap();
    let output = run("train", &["--resume", path(&folder), "--tensorboard"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names().len(), 1);
}

/// Counts, pictures and JSON hold the detections at the score threshold.
#[test]
fn detect_keeps_the_score_threshold_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let run_folder = trained(dir.path());
    // After so little training, every score is low.
    change_config(
        &run_folder,
        "\"score_threshold\": 0.05",
        "\"score_threshold\": 0.0",
    );
    let image = dir.path().join("gray.png");
    let gray = image::RgbImage::from_pixel(48, 32, image::Rgb([99; 3]));
    gray.save(&image).unwrap();
    let drawn = dir.path().join("drawn");
    let detect = |flags: &[&str]| {
        let args = [
            "--weights",
            path(&run_folder),
            "--input",
            path(&image),
            "--output",
        ];
        let output = run("detect", &[&args[..], &[path(&drawn)], flags].concat());
        let text = stderr(&output);
        assert!(output.status.success(), "{text}");
        let json = fs::read_to_string(drawn.join("detections.json")).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let scores = json[0]["detections"].as_array().unwrap().iter();
        let scores: Vec<f64> = scores
            .map(|found| found["score"].as_f64().unwrap())
            .collect();
        let noun = if scores.len() == 1 {
            "object"
        } else {
            "objects"
        };
        let told = format!("gray.png: {} {noun}\n", scores.len());
        assert!(text.contains(&told), "{text} does not contain {told}");
        (scores, text)
    };
    let set_threshold = |threshold: Value| {
        let file = run_folder.join("evaluation.json");
        let text = fs::read_to_string(&file).unwrap();
        let mut evaluation: Value = serde_json::from_str(&text).unwrap();
        assert!(
            evaluation
                .as_object()
                .unwrap()
                .contains_key("score_threshold")
        );
        evaluation["score_threshold"] = threshold;
        fs::write(&file, evaluation.to_string()).unwrap();
    };

    let (all, text) = detect(&["--score-threshold", "0"]);
    assert!(text.contains("score threshold 0\n"), "{text}");
    assert!(all.len() > 1 && all[0] > all[all.len() - 1], "{all:?}");
    // Between two scores.
    let middle = ((all[0] + all[all.len() - 1]) / 2.0) as f32;
    set_threshold(middle.into());
    let (kept, text) = detect(&[]);
    let told = format!("score threshold {middle}, which has the largest F1");
    assert!(text.contains(&told), "{text}");
    let expected = all.iter().filter(|score| **score >= f64::from(middle));
    assert_eq!(kept, expected.copied().collect::<Vec<f64>>());
    assert!(kept.len() < all.len());
    // A run of an earlier version.
    set_threshold(Value::Null);
    let (kept, text) = detect(&[]);
    assert!(
        text.contains("score threshold 0.3, because no validation"),
        "{text}"
    );
    assert!(kept.iter().all(|score| *score >= 0.3));

    for threshold in ["1.5", "-1", "high"] {
        let flag = format!("--score-threshold={threshold}");
        let args = [
            "--weights",
            "x",
            "--input",
            "x",
            "--output",
            "x",
            flag.as_str(),
        ];
        assert_fails("detect", &args, 2, &["from 0 to 1"]);
    }
}

/// Weights for five labels with torchvision's names, in a file without a known extension.
fn torchvision_weights(dir: &Path) -> PathBuf {
    let file = dir.join("weights.bin");
    let mut config = FcosConfig::torchvision(5);
    config.backbone.depth = ResNetDepth::ResNet18;
    config.fpn.channels = 32;
    config.head.tower_depth = 1;
    let device = DeviceName::CPU.open(Precision::F32).unwrap();
    let detector = config.init(&device).unwrap();
    detector.export_torchvision(&file).unwrap();
    file
}

#[test]
fn every_command_accepts_torchvision_weights() {
    let dir = tempfile::tempdir().unwrap();
    let weights = torchvision_weights(dir.path());
    let image = dir.path().join("gray.png");
    image::RgbImage::from_pixel(48, 32, image::Rgb([99; 3]))
        .save(&image)
        .unwrap();
    let drawn = dir.path().join("drawn");
    let output = run(
        "detect",
        &[
            "--weights",
            path(&weights),
            "--input",
            path(&image),
            "--output",
            path(&drawn),
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("tensors of torchvision's FCOS"), "{text}");

    assert_fails(
        "evaluate",
        &["--weights", path(&weights)],
        1,
        &["weights.bin", "--data"],
    );
    assert_fails(
        "evaluate",
        &["--weights", path(&weights), "--data", "shapes"],
        1,
        &["class 4", "circle"],
    );

    // Six classes instead of five.
    let config = dir.path().join("few.json");
    fs::write(
        &config,
        r#"{"data": {"source": {"shapes": {"train_images": 2, "val_images": 1}}}}"#,
    )
    .unwrap();
    let run_folder = dir.path().join("run");
    let train = fine_tuning(&weights, &config, &run_folder);
    assert_fails(
        "train",
        &train,
        1,
        &["5 classes", "has 6", "--new-classifier"],
    );
    let output = run("train", &[&train[..], &["--new-classifier"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("torchvision's FCOS"), "{text}");
    assert!(text.contains("head.class_logits.weight"), "{text}");
    let config = fs::read_to_string(run_folder.join("config.json")).unwrap();
    assert!(
        config.contains(r#""interpolation": "pointwise""#),
        "{config}"
    );
}

#[test]
fn only_detectors_that_torchvision_can_compute_are_exported() {
    let dir = tempfile::tempdir().unwrap();
    let weights = torchvision_weights(dir.path());
    let exported = dir.path().join("exported.safetensors");
    let args = ["--weights", path(&weights), "--output", path(&exported)];
    let output = run("export", &args);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read(&exported).unwrap(), fs::read(&weights).unwrap());

    let run_folder = trained(dir.path());
    assert_fails(
        "export",
        &["--weights", path(&run_folder), "--output", path(&exported)],
        1,
        &["torchvision's FCOS cannot compute"],
    );
    assert_fails(
        "export",
        &["--weights", path(&weights), "--output", "/dev/null/weights"],
        1,
        &["/dev/null/weights"],
    );
}

#[test]
fn detectors_are_exported_to_onnx() {
    let dir = tempfile::tempdir().unwrap();
    let run_folder = trained(dir.path());
    let exported = dir.path().join("exported.onnx");
    let export = |flags: &[&str]| {
        let args = ["--weights", path(&run_folder), "--output", path(&exported)];
        let output = run("export", &[&args, flags].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(printed.trim(), path(&exported));
        fs::read(&exported).unwrap()
    };
    let contains = |file: &[u8], text: &str| {
        let mut windows = file.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    };
    let whole = export(&["--format", "onnx"]);
    assert!(export(&[]) == whole);
    assert!(contains(&whole, "NonMaxSuppression"));
    assert!(contains(&whole, "circle"));
    let flags = "--format onnx --outputs raw --half --image-size 64x48 --batch-size 1";
    let raw = export(&flags.split(' ').collect::<Vec<_>>());
    assert!(!contains(&raw, "NonMaxSuppression"));
    assert!(raw.len() < whole.len());

    let weights = ["--weights", path(&run_folder), "--output", path(&exported)];
    let torchvision = ["--format", "torchvision", "--half"];
    let half = [&weights[..], &torchvision].concat();
    assert_fails("export", &half, 1, &["--half", "--format onnx"]);
    let folder = ["--format", "onnx", "--weights", path(&run_folder)];
    let unwritable = [&folder[..], &["--output", "/dev/null/model.onnx"]].concat();
    assert_fails("export", &unwritable, 1, &["/dev/null/model.onnx"]);
}

#[test]
fn errors_name_invalid_data() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("run");
    let data = |data: &str, parts: &[&str]| {
        assert_fails(
            "train",
            &["--data", data, "--output", path(&output)],
            1,
            parts,
        );
    };
    data("no/such/folder", &["no/such/folder"]);
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    data(path(&empty), &["empty", "COCO", "VOC", "YOLO"]);

    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    let json = dir.path().join("list.json");
    fs::write(&json, "[1, 2, 3]").unwrap();
    let coco = |json: &Path, parts: &[&str]| {
        assert_fails(
            "train",
            &[
                "--train-images",
                path(&images),
                "--train-annotations",
                path(json),
                "--val-images",
                path(&images),
                "--val-annotations",
                path(json),
                "--epochs",
                "1",
                "--output",
                path(&output),
            ],
            1,
            parts,
        );
    };
    coco(&json, &["list.json"]);

    fs::write(images.join("a.jpg"), "not an image").unwrap();
    let json = dir.path().join("coco.json");
    fs::write(
        &json,
        r#"{"images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 64}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [4, 4, 30, 30],
                             "area": 900, "iscrowd": 0}],
            "categories": [{"id": 7, "name": "thing"}]}"#,
    )
    .unwrap();
    coco(&json, &["a.jpg"]);
}

#[test]
fn errors_name_invalid_values() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("run");
    let usage = |args: &[&str], part: &str| assert_fails("train", args, 2, &[part]);
    usage(&["--epochs", "0"], "--epochs");
    usage(&["--association", "pse", "--beta", "-1"], "--beta");
    usage(&["--device", "tpu"], "tpu");
    usage(&["--image-size", "0x64"], "from 1 to 32,768");
    usage(&["--focal-alpha", "a=0.5,b=1,a=0.3"], "'a' has two values");
    usage(&["--box-loss", "l1"], "l1");
    usage(&["--average-decay", "1"], "--average-decay");
    usage(&["--lr-decay", "exponential"], "exponential");
    usage(&["--short-side", "800"], "--long-side");
    usage(&["--augment", "hard"], "possible values: none, light");
    usage(&["--multi-scale", "1.25,0.75"], "such as 0.75,1.25");
    usage(&["--multi-scale", "nan,1"], "such as 0.75,1.25");

    let second = ["--device", "cpu:3", "--output", path(&output)];
    assert_fails("train", &second, 1, &["cpu:3", "is unavailable"]);
    let config = dir.path().join("changes.json");
    fs::write(&config, r#"{"learning_rate": 1}"#).unwrap();
    assert_fails(
        "train",
        &["--config", path(&config)],
        1,
        &["changes.json", "learning_rate"],
    );
    for (changes, cause) in [
        (
            r#"{"optimization": {"learning_rate": "high"}}"#,
            "optimization.learning_rate: invalid type: string",
        ),
        (
            r#"{"model": {"head": {"tower_depth": -1}}}"#,
            "model.head.tower_depth: ",
        ),
        (
            r#"{"optimization": {"layer_decay": [1]}}"#,
            "optimization.layer_decay: ",
        ),
    ] {
        fs::write(&config, changes).unwrap();
        let args = ["--config", path(&config)];
        assert_fails("train", &args, 1, &["changes.json", cause]);
    }
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("run");
    assert_fails("train", &["--output", path(&below)], 1, &["file/run"]);
    // Before the data is read.
    let args = ["--data", "no/such/data", "--output", path(&file)];
    assert_fails("train", &args, 1, &["is a file", "--output"]);
    assert_fails("evaluate", &["--weights", "no/run"], 1, &["no/run"]);
    assert_fails(
        "train",
        &["--resume", path(dir.path())],
        1,
        &["config.json"],
    );
}

#[test]
fn a_recipe_is_checked_before_the_run_starts_and_cannot_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let run = trained(dir.path());
    for flags in [
        &["--patience", "3"][..],
        &["--lr-decay", "linear"],
        &["--assignment", "atss"],
        &["--set", "seed=3"],
    ] {
        let args = [&["--resume", path(&run)], flags].concat();
        assert_fails("train", &args, 2, &["cannot be used with", flags[0]]);
    }
    let config = dir.path().join("tiny.json");
    let never = dir.path().join("never");
    for (flags, parts) in [
        (
            &["--freeze", "^bakbone"][..],
            &["optimization.freeze is ^bakbone", "similar are backbone."][..],
        ),
        (
            &["--group", "fnp lr=2"],
            &["optimization.groups.pattern is fnp", "similar are fpn."],
        ),
        (
            &["--class-weights", "platelets=2"],
            &["class_weights.given is platelets", "classes of the data: "],
        ),
        (
            &["--focal-alpha", "platelets=0.5"],
            &["focal_alpha is platelets", "classes of the data: "],
        ),
    ] {
        let args = ["--config", path(&config), "--output", path(&never)];
        assert_fails("train", &[&args, flags].concat(), 1, parts);
        assert!(!never.join("config.json").exists());
    }
}

#[test]
fn a_named_augmentation_becomes_the_steps_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tiny.json");
    fs::write(&config, TINY).unwrap();
    let folder = dir.path().join("run");
    let args = ["--config", path(&config), "--output", path(&folder)];
    let flags = "--epochs 1 --augment strong --multi-scale 0.5,1.5 --plain-epochs 1";
    let flags: Vec<&str> = flags.split(' ').collect();
    let output = run("train", &[&args[..], &flags].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let config: RunConfig = (RunFolder::open(&folder).unwrap()).read_config().unwrap();
    assert_eq!((config.augment, config.plain_epochs), (None, 1));
    assert_eq!(config.input.multi_scale, Some(MultiScale::new(0.5, 1.5)));
    let steps = AugmentationStrength::Strong.steps(1);
    assert_eq!(config.input.augmentation, steps);
    let told = stderr(&output);
    assert!(told.contains("augmentation: strong: copy_paste"), "{told}");
    for flag in ["--augment=light", "--multi-scale=1,2", "--plain-epochs=2"] {
        let args = ["--resume", path(&folder), flag];
        assert_fails("train", &args, 2, &["cannot be used with", "--resume"]);
    }
}

#[cfg(feature = "inspect")]
#[test]
fn a_data_set_is_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    for folder in [&images, &labels] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(dir.path().join("classes.txt"), "cup\n").unwrap();
    for index in 0..10_u8 {
        let image = image::RgbImage::from_pixel(64, 48, image::Rgb([index; 3]));
        image.save(images.join(format!("{index}.png"))).unwrap();
        fs::write(labels.join(format!("{index}.txt")), "0 0.5 0.5 0.5 0.5\n").unwrap();
    }
    let output = dir.path().join("look");
    let data = ["--data", path(dir.path())];
    let found = run(
        "inspect",
        &[
            &data[..],
            &["--image-size", "96x64", "--output", path(&output)],
        ]
        .concat(),
    );
    assert!(found.status.success(), "{}", stderr(&found));
    let table = String::from_utf8(found.stdout).unwrap();
    for text in [
        "YOLO",
        "held-out",
        "cup",
        "at 96x64",
        "no point",
        "suggested image size",
    ] {
        assert!(table.contains(text), "{text} in {table}");
    }
    assert!(table.lines().count() <= 45, "{table}");
    let page = fs::read_to_string(output.join("index.html")).unwrap();
    assert!(page.contains("data:image/jpeg;base64,"));
    assert!(output.join("inspection.json").is_file());

    let missing = dir.path().join("missing");
    assert_fails("inspect", &["--data", path(&missing)], 1, &[path(&missing)]);
    assert_fails(
        "inspect",
        &[&data[..], &["--split", "test"]].concat(),
        1,
        &["test", "all"],
    );
    assert_fails("inspect", &["--image-size", "0x5"], 2, &["WIDTHxHEIGHT"]);
}

#[test]
fn help_names_the_defaults() {
    for (name, parts) in [
        ("train", ["--association", "[default: small"]),
        ("evaluate", ["--weights", "[default: cpu]"]),
        ("detect", ["--input", "[default: detections.json"]),
    ] {
        let output = run(name, &["--help"]);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for part in parts {
            assert!(text.contains(part), "{name}: {text}");
        }
    }
}

#[test]
fn a_run_with_an_invalid_configuration_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let run = trained(dir.path());
    change_config(&run, "\"batch_size\": 2", "\"batch_size\": 0");
    let args = ["--weights", path(&run)];
    assert_fails("evaluate", &args, 1, &["config.json", "batch_size is 0"]);
}

#[test]
fn a_new_run_does_not_overwrite_remains_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let run = trained(dir.path());
    fs::remove_file(run.join("config.json")).unwrap();
    let config = dir.path().join("tiny.json");
    let args = [
        "--config",
        path(&config),
        "--epochs",
        "1",
        "--output",
        path(&run),
    ];
    let parts = ["metrics.json", "left over from another run"];
    assert_fails("train", &args, 1, &parts);
    // A run that was stopped early has only a checkpoint.
    fs::remove_file(run.join("metrics.json")).unwrap();
    fs::remove_file(run.join("evaluation.json")).unwrap();
    let again = run.join("checkpoint/9999");
    fs::rename(run.join("checkpoint/2"), &again).unwrap();
    let other = run.join("checkpoint/diary.txt");
    fs::write(&other, "today").unwrap();
    assert_fails("train", &args, 1, &["diary.txt", "is not a checkpoint"]);
    // Partial files of interrupted writes do not count.
    fs::rename(&other, run.join("checkpoint/data.json.partial")).unwrap();
    let output = self::run("train", &args);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!again.exists());
}

#[test]
fn devices_are_listed_without_the_required_arguments() {
    for name in ["train", "evaluate", "detect"] {
        let output = run(name, &["--device", "list"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let list = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = list.lines().collect();
        assert!(
            lines[0].starts_with("cpu") && lines[0].contains("f32"),
            "{list}"
        );
        // Each backend has a line, even without devices.
        for backend in ["cuda", "wgpu", "vulkan"] {
            assert!(lines.iter().any(|line| line.starts_with(backend)), "{list}");
        }
    }
}

#[test]
fn an_unavailable_device_is_a_one_line_error() {
    for device in [
        "cpu:1",
        "cuda:77",
        "wgpu:77",
        "vulkan:77",
        "ws://localhost:9",
    ] {
        let device_name: DeviceName = device.parse().unwrap();
        let part = match device_name.open(Precision::F32).unwrap_err() {
            DeviceError::NotBuilt { .. } => "is not built in: it needs the feature",
            _ => "is unavailable",
        };
        assert_fails("train", &["--device", device], 1, &[device, part]);
        let text = stderr(&run("train", &["--device", device]));
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
