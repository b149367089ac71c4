//! The command lines as a user meets them: exit codes, and one clear line for
//! every wrong input.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use fcos_burn::{
    model::{FcosConfig, resnet::ResNetDepth},
    train::device::{DeviceName, Precision},
};

/// An example that cargo built beside this test.
fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    Command::new(path.join("examples").join(name))
}

fn run(name: &str, args: &[&str]) -> Output {
    example(name).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The example fails with `code`, tells each of `parts`, and does not panic. A
/// failure that is no wrong usage ends with one line that says so.
fn assert_fails(name: &str, args: &[&str], code: i32, parts: &[&str]) {
    let output = run(name, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    for part in parts {
        assert!(
            text.contains(part),
            "{args:?} does not tell '{part}': {text}"
        );
    }
    if code == 1 {
        let errors: Vec<_> = text.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{text}");
        assert_eq!(text.lines().last(), errors.last().copied(), "{text}");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
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

#[test]
fn train_evaluate_and_detect_work_together() {
    let dir = tempfile::tempdir().unwrap();
    let run_folder = trained(dir.path());
    for file in [
        "config.json",
        "model.bpk",
        "metrics.json",
        "results.json",
        "train.log",
        "checkpoint/model-1.bpk",
        "plots/losses.svg",
        "plots/ap.png",
        "plots/precision-recall.svg",
        "plots/score-iou.png",
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

    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    let blank = image::RgbImage::from_pixel(50, 30, image::Rgb([90, 120, 60]));
    blank.save(images.join("blank.png")).unwrap();
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
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(drawn.join("blank.png").is_file());
    let json = fs::read_to_string(drawn.join("detections.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["width"], 50);
    assert_eq!(json[0]["height"], 30);
    assert!(json[0]["detections"].is_array());

    fs::write(images.join("text.jpg"), "no image").unwrap();
    assert_fails("detect", &detect(path(&drawn)), 1, &["text.jpg"]);
    let in_place = images.join("../images");
    assert_fails(
        "detect",
        &detect(path(&in_place)),
        1,
        &["images", "another folder"],
    );

    // Weights of another shape, beside the configuration of the first.
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
    fs::write(other.join("model.bpk"), "no weights").unwrap();
    assert_fails("evaluate", &["--weights", path(&other)], 1, &["model.bpk"]);

    assert_fails(
        "train",
        &["--output", path(&run_folder)],
        1,
        &["holds a run already"],
    );
}

/// Weights for five labels under torchvision's names, in a file that does not say so.
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
fn weights_of_torchvision_are_taken_by_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let weights = torchvision_weights(dir.path());
    let image = dir.path().join("grey.png");
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
    let train = [
        "--weights",
        path(&weights),
        "--config",
        path(&config),
        "--image-size",
        "64x64",
        "--epochs",
        "1",
        "--output",
        path(&run_folder),
    ];
    assert_fails(
        "train",
        &train,
        1,
        &["5 classes", "has 6", "--new-classifier"],
    );
    let output = run("train", &[&train[..], &["--new-classifier"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("torchvision's FCOS"), "{told}");
    assert!(told.contains("head.class_logits.weight"), "{told}");
    let config = fs::read_to_string(run_folder.join("config.json")).unwrap();
    assert!(
        config.contains(r#""interpolation": "pointwise""#),
        "{config}"
    );
}

#[test]
fn wrong_data_is_named() {
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

    fs::write(images.join("a.jpg"), "this is text").unwrap();
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
fn wrong_values_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("run");
    let usage = |args: &[&str], part: &str| assert_fails("train", args, 2, &[part]);
    usage(&["--epochs", "0"], "--epochs");
    usage(&["--association", "pse", "--beta", "-1"], "--beta");
    usage(&["--device", "tpu"], "tpu");
    usage(&["--image-size", "0x64"], "--image-size");
    usage(&["--box-loss", "l1"], "l1");
    usage(&["--short-side", "800"], "--long-side");

    let there = ["--device", "cpu:3", "--output", path(&output)];
    assert_fails("train", &there, 1, &["cpu:3", "not there"]);
    let config = dir.path().join("changes.json");
    fs::write(&config, r#"{"learning_rate": 1}"#).unwrap();
    assert_fails(
        "train",
        &["--config", path(&config)],
        1,
        &["changes.json", "learning_rate"],
    );
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("run");
    assert_fails("train", &["--output", path(&below)], 1, &["file/run"]);
    assert_fails("evaluate", &["--weights", "no/run"], 1, &["no/run"]);
    assert_fails(
        "train",
        &["--resume", path(dir.path())],
        1,
        &["config.json"],
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_130_and_tells_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tiny.json");
    fs::write(&config, TINY).unwrap();
    let folder = dir.path().join("run");
    let mut child = example("train")
        .args(["--config", path(&config), "--epochs", "100000"])
        .args(["--output", path(&folder)])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let first = folder.join("checkpoint").join("scheduler-1.bpk");
    while !first.exists() {
        assert!(child.try_wait().unwrap().is_none(), "train ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let text = stderr(&output);
    assert!(text.contains("--resume"), "{text}");
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
