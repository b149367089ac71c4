//! Outputs are checked before the work: they replace no input, and can be written.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    assert_fails,
    data::{RED_BLUE, data_set, training},
    path, run, stderr, trained,
};

/// All files in a folder with their contents.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        match file.is_dir() {
            true => files.extend(contents(&file)),
            false => drop(files.insert(path(&file).to_owned(), fs::read(&file).unwrap())),
        }
    }
    files
}

/// An output that would replace an input, two at one place, or one that cannot be written is refused, and nothing changes.
#[test]
fn outputs_are_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let run_folder = trained(dir.path());
    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    let gray = image::RgbImage::from_pixel(48, 32, image::Rgb([99; 3]));
    gray.save(images.join("1.png")).unwrap();
    let before = contents(dir.path());

    let weights = ["--weights", path(&run_folder)];
    let in_run = |name: &str| path(&run_folder.join(name)).to_owned();
    let (model, config) = (in_run("model.bpk"), in_run("checkpoint/../config.json"));
    let (evaluation, checkpoint) = (in_run("evaluation.json"), in_run("checkpoint/2/model.bpk"));
    let same = path(&dir.path().join("same")).to_owned();
    let below_a_file = path(&images.join("1.png/r.json")).to_owned();
    let detect = [&weights[..], &["--no-pictures", path(&images)]].concat();
    let onnx = [&weights[..], &["--format", "onnx"]].concat();
    let kept = "a file of a run";
    let cases: &[(&str, &[&str], &[&str], &str)] = &[
        ("export", &onnx, &["--output", &model], kept),
        ("export", &weights, &["--output", &checkpoint], kept),
        ("export", &weights, &["--output", &below_a_file], "1.png"),
        ("detect", &detect, &["--json", &model], kept),
        ("detect", &detect, &["--csv", &evaluation], kept),
        ("detect", &detect, &["--coco", path(&run_folder)], kept),
        (
            "detect",
            &detect,
            &["--json", &same, "--csv", &same],
            "and of --csv",
        ),
        ("detect", &detect, &["--json", path(&images)], "is a folder"),
        ("detect", &detect, &["--csv", &below_a_file], "1.png"),
        ("evaluate", &weights, &["--report", &config], kept),
        ("evaluate", &weights, &["--output", &evaluation], kept),
        (
            "evaluate",
            &weights,
            &["--output", path(&run_folder)],
            "is a folder",
        ),
        ("evaluate", &weights, &["--output", &below_a_file], "1.png"),
        (
            "evaluate",
            &weights,
            &["--report", &same, "--ground-truth", &same],
            "--report and of --ground-truth",
        ),
        ("report", &[path(&run_folder)], &["--output", &config], kept),
        (
            "report",
            &[path(&run_folder)],
            &["--output", &below_a_file],
            "1.png",
        ),
        (
            "tune",
            &["--config", &config],
            &["--output", path(&run_folder)],
            kept,
        ),
        #[cfg(feature = "inspect")]
        ("inspect", &[], &["--output", &below_a_file], "1.png"),
        (
            "convert",
            &["--data", "shapes", "--format", "coco"],
            &["--output", &below_a_file],
            "1.png",
        ),
    ];
    for (name, args, outputs, part) in cases {
        assert_fails(name, &[*args, *outputs].concat(), 1, &[part]);
        let output = run(name, &[*args, *outputs].concat());
        let text = stderr(&output);
        assert!(output.stdout.is_empty(), "{name} {outputs:?}");
        assert!(
            !text.contains(".partial") && !text.contains("1/1"),
            "{text}"
        );
    }
    for (name, args, flag) in [
        ("detect", &detect[..], "--json"),
        ("evaluate", &weights, "--output"),
        ("export", &weights, "--output"),
        ("report", &[path(&run_folder)], "--output"),
        ("train", &[], "--output"),
    ] {
        let args = [args, &[flag, "-"]].concat();
        assert_fails(name, &args, 2, &["not standard output; ./- is"]);
    }
    assert!(contents(dir.path()) == before);

    // Not those of another run, which is a copy here.
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["config.json", "model.bpk"] {
        fs::copy(run_folder.join(name), copy.join(name)).unwrap();
    }
    let other = ["--weights", path(&copy), "--report", &evaluation];
    assert_fails("evaluate", &other, 1, &[kept]);
    let other = [path(&copy), "--output", &in_run("report.html")].map(str::to_owned);
    assert_fails("report", &other.each_ref().map(String::as_str), 1, &[kept]);

    // Where a run has results and an evaluation of its own, others can be.
    let (results, new) = (in_run("results.json"), in_run("new/deep/truth.json"));
    let flags = ["--report", &evaluation, "--output", &results];
    let flags = [&weights[..], &flags, &["--ground-truth", &new]].concat();
    let output = run("evaluate", &flags);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(Path::new(&new).is_file());
}

#[test]
fn the_data_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let data = data_set(dir.path(), "data", &RED_BLUE);
    let run_folder = dir.path().join("run");
    let args = training(dir.path(), &data, &run_folder);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = run("train", &args);
    assert!(output.status.success(), "{}", stderr(&output));

    let before = contents(&data);
    let weights = ["--weights", path(&run_folder)];
    let in_data = |name: &str| path(&data.join(name)).to_owned();
    let annotations = in_data("train/../annotations/instances_val.json");
    let others = in_data("annotations/instances_train.json");
    for (flag, file) in [
        ("--ground-truth", &annotations),
        ("--output", &others),
        ("--report", &in_data("val/001.png")),
    ] {
        let args = [&weights[..], &[flag, file]].concat();
        assert_fails("evaluate", &args, 1, &["a file of the data", flag]);
        // Given itself, instead of by the run.
        let args = [&args[..], &["--data", path(&data)]].concat();
        assert_fails("evaluate", &args, 1, &["a file of the data", flag]);
    }
    assert_fails(
        "report",
        &[path(&run_folder), "--output", &others],
        1,
        &["a file of the data"],
    );
    assert!(contents(&data) == before);

    // Detections are no annotations, and can be written there again.
    for _ in 0..2 {
        let results = in_data("results.json");
        let output = run(
            "evaluate",
            &[&weights[..], &["--output", &results]].concat(),
        );
        assert!(output.status.success(), "{}", stderr(&output));
    }
}
