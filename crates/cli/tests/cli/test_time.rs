//! Views of an image, and methods of suppression.

use std::{fs, path::Path};

use fcos_burn::{
    boxes::CocoResult,
    detect::{
        ImageDetections,
        json::{read_json, write_json},
    },
};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use super::{assert_fails, change_config, path, run, stderr, trained};

/// What `detect` finds with these flags.
fn detect(weights: &Path, photo: &Path, flags: &[&str]) -> Vec<ImageDetections> {
    let file = weights.with_extension("found.json");
    let args = [
        "--weights",
        path(weights),
        "--input",
        path(photo),
        "--no-pictures",
        "--score-threshold",
        "0",
        "--json",
        path(&file),
    ];
    let output = run("detect", &[&args[..], flags].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    read_json(&file).unwrap()
}

/// The results that `evaluate` writes with these flags.
fn evaluate(weights: &Path, flags: &[&str]) -> Vec<CocoResult> {
    let file = weights.with_extension("results.json");
    let args = ["--weights", path(weights), "--output", path(&file)];
    let output = run("evaluate", &[&args[..], flags].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    read_json(&file).unwrap()
}

#[test]
fn flags_and_the_run_set_the_views() {
    let dir = tempfile::tempdir().unwrap();
    let weights = trained(dir.path());
    let everything = "\"score_threshold\": 0.0";
    change_config(&weights, "\"score_threshold\": 0.05", everything);
    let photo = dir.path().join("photo.png");
    let color = |x: u32, y: u32| Rgb([(x * 5) as u8, (y * 3) as u8, (x * y) as u8]);
    RgbImage::from_fn(90, 70, color).save(&photo).unwrap();

    let plain = detect(&weights, &photo, &[]);
    let one_view = ["--flip", "none", "--scales", "1", "--merge", "wbf"];
    assert_eq!(detect(&weights, &photo, &one_view), plain);
    // Without a word about views, there is nothing to merge.
    for flags in [
        &["--merge", "wbf"][..],
        &["--merge", "wbf", "--merge-iou", "0.6"],
    ] {
        let args = [
            "--weights",
            path(&weights),
            "--input",
            path(&photo),
            "--no-pictures",
        ];
        let args = [&args[..], flags].concat();
        assert_fails("detect", &args, 1, &["nothing to merge"]);
    }
    let soft = detect(&weights, &photo, &["--nms", "soft-gaussian"]);
    assert_ne!(soft, plain);
    let narrow = ["--nms", "soft-gaussian", "--nms-sigma", "0.1"];
    assert_ne!(detect(&weights, &photo, &narrow), soft);

    let views = ["--flip", "horizontal,both", "--scales", "1,1.5"];
    let merged = detect(&weights, &photo, &views);
    assert_ne!(merged, plain);
    let fused = [&views[..], &["--merge", "wbf", "--merge-iou", "0.7"]].concat();
    let fused = detect(&weights, &photo, &fused);
    assert!(fused != plain && fused != merged);
    let results = evaluate(&weights, &views);
    assert_ne!(results, evaluate(&weights, &[]));

    // The run sets the same views, which flags turn off.
    let config = weights.join("config.json");
    let mut changed: Value = read_json(&config).unwrap();
    changed["input"]["test_time_augmentation"] =
        json!({"scales": [1.0, 1.5], "flips": ["horizontal", "both"]});
    write_json(&config, &changed).unwrap();
    assert_eq!(detect(&weights, &photo, &[]), merged);
    assert_eq!(evaluate(&weights, &[]), results);
    assert_eq!(detect(&weights, &photo, &one_view[..4]), plain);

    let onnx = dir.path().join("detector.onnx");
    let onnx = ["--format", "onnx", "--output", path(&onnx)];
    let args = [&["--weights", path(&weights)], &onnx[..]].concat();
    assert_fails("export", &args, 1, &["input.test_time_augmentation"]);
    assert!(!fs::exists(dir.path().join("detector.onnx")).unwrap());

    for (flags, code, part) in [
        (["--merge-iou", "0.5"], 1, "weighted-boxes-fusion"),
        (["--nms-sigma", "0.5"], 1, "must be soft-gaussian"),
        (["--scales", "1,1"], 1, "without repetitions"),
        (["--scales", "0"], 2, "a factor from 0.1 to 10"),
        (["--flip", "diagonal"], 2, "[possible values: none"),
    ] {
        let args = ["--weights", path(&weights), "--input", path(&photo)];
        let args = [&args[..], &["--no-pictures"], &flags].concat();
        assert_fails("detect", &args, code, &[part]);
    }
}
