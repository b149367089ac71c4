//! Data sets of other classes, without a validation split, or without objects.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use fcos_burn::{
    detect::device::{DeviceName, Precision},
    model::{FcosConfig, backbone::resnet::ResNetDepth},
    train::{RunConfig, RunFolder},
};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use super::{assert_fails, command, error_line, path, run, stderr, weights};

/// A tiny detector whose detections do not compete for places. Without batch statistics and averages,
/// a training run with a learning rate of nearly 0 leaves it as it is.
const STILL: &str = r#"{
    "model": {
        "backbone": {"width": 8, "norm": "frozen"},
        "fpn": {"channels": 8},
        "head": {"tower_depth": 1},
        "postprocess": {"score_threshold": 0.0, "detections_per_image": 1000}
    },
    "optimization": {"average_decay": null},
    "input": {"resize": {"fixed": {"width": 64, "height": 64}}}
}"#;

pub(super) const RED_BLUE: [(u64, &str); 2] = [(1, "red"), (2, "blue")];

/// Writes a split of a COCO data set: an image with one object, a colored square, for each of
/// `objects`, which are names of `categories`, or an image without objects for an empty name.
pub(super) fn write_split(dir: &Path, split: &str, categories: &[(u64, &str)], objects: &[&str]) {
    let (images, annotations) = (dir.join(split), dir.join("annotations"));
    fs::create_dir_all(&images).unwrap();
    fs::create_dir_all(&annotations).unwrap();
    let (mut listed, mut annotated) = (Vec::new(), Vec::new());
    for (id, object) in (1_u32..).zip(objects) {
        let mut image = RgbImage::from_pixel(64, 64, Rgb([90, 100, 110]));
        let (left, top) = (id * 7 % 30, id * 11 % 30);
        if let Some((category, name)) = categories.iter().find(|(_, name)| name == object) {
            let color = match *name {
                "red" => [230, 30, 20],
                "blue" => [20, 40, 220],
                _ => [30, 210, 60],
            };
            for (x, y) in (0..30).flat_map(|x| (0..30).map(move |y| (x, y))) {
                image.put_pixel(left + x, top + y, Rgb(color));
            }
            annotated.push(json!({
                "id": annotated.len() + 1, "image_id": id, "category_id": category,
                "bbox": [left, top, 30, 30], "area": 900, "iscrowd": 0,
            }));
        }
        // The images of splits differ, and none has the content of another.
        image.put_pixel(63, 63, Rgb([id as u8, split.len() as u8, 0]));
        let name = format!("{id:03}.png");
        image.save(images.join(&name)).unwrap();
        listed.push(json!({"id": id, "file_name": name, "width": 64, "height": 64}));
    }
    let categories: Vec<Value> = categories
        .iter()
        .map(|(id, name)| json!({"id": id, "name": name}))
        .collect();
    let json = json!({"images": listed, "annotations": annotated, "categories": categories});
    let file = annotations.join(format!("instances_{split}.json"));
    fs::write(file, json.to_string()).unwrap();
}

/// A data set with six training images and three validation images, of each class in turn.
pub(super) fn data_set(dir: &Path, name: &str, categories: &[(u64, &str)]) -> PathBuf {
    let dir = dir.join(name);
    let mut classes: Vec<&str> = categories.iter().map(|(_, name)| *name).collect();
    // The same images for every order of the categories.
    classes.sort_unstable();
    let in_turn = |count| -> Vec<&str> { classes.iter().copied().cycle().take(count).collect() };
    write_split(&dir, "train", categories, &in_turn(6));
    write_split(&dir, "val", categories, &in_turn(3));
    dir
}

/// The arguments of a training run of [`STILL`] on `data` into the folder `run`.
pub(super) fn training(dir: &Path, data: &Path, run: &Path) -> Vec<String> {
    let config = dir.join("still.json");
    fs::write(&config, STILL).unwrap();
    let args = [
        ("--data", path(data)),
        ("--config", path(&config)),
        ("--epochs", "1"),
        ("--batch-size", "2"),
        ("--output", path(run)),
    ];
    let args = args.into_iter().flat_map(|(flag, value)| [flag, value]);
    args.map(str::to_owned).collect()
}

fn joined<'a>(args: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let args = args.iter().map(String::as_str);
    args.chain(more.iter().copied()).collect()
}

fn run_with(name: &str, args: &[String], more: &[&str]) -> Output {
    run(name, &joined(args, more))
}

/// The standard error of a command that succeeds.
fn succeeds(name: &str, args: &[String], more: &[&str]) -> String {
    let output = run_with(name, args, more);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    text
}

/// The results of an evaluation, and the messages.
fn evaluated(dir: &Path, weights: &Path, more: &[&str]) -> (Value, String) {
    let results = dir.join("evaluated.json");
    let args = ["--weights", path(weights), "--output", path(&results)].map(str::to_owned);
    let text = succeeds("evaluate", &args, more);
    (read(&results), text)
}

pub(super) fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The image names in a COCO results file, by the ids of their images.
fn image_ids(results: &Value) -> BTreeSet<u64> {
    let results = results.as_array().unwrap().iter();
    results
        .map(|result| result["image_id"].as_u64().unwrap())
        .collect()
}

#[test]
fn fine_tuning_goes_by_class_names() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = data_set(dir, "red-blue", &RED_BLUE);
    let first = dir.join("first");
    let text = succeeds("train", &training(dir, &data, &first), &[]);
    let advice = "starting from random weights; pretrained ones usually";
    assert!(text.contains(advice), "{text}");
    let tune = |categories: &[(u64, &str)], name: &str, more: &[&str]| {
        let data = data_set(dir, &format!("{name}-data"), categories);
        let folder = dir.join(name);
        let mut args = training(dir, &data, &folder);
        args.extend(["--weights", path(&first), "--lr", "1e-30"].map(str::to_owned));
        let text = succeeds("train", &args, more);
        (data, read(&folder.join("results.json")), text)
    };

    // Exchanged ids: the detections of the first run, under the ids of the new data.
    let (exchanged, found, text) = tune(&[(1, "blue"), (2, "red")], "exchanged", &[]);
    assert!(!text.contains(advice), "{text}");
    assert!(
        text.contains("2 of 2 classes keep the classifier of the weights"),
        "{text}"
    );
    let (expected, _) = evaluated(dir, &first, &["--data", path(&exchanged)]);
    assert_eq!(found, expected);
    // By position, they would have the other class.
    let (by_position, _) = evaluated(dir, &first, &["--data", path(&data)]);
    assert_ne!(found, by_position);

    // The weights that are averaged are those that were loaded.
    let (averaged, found, _) = tune(
        &[(1, "blue"), (2, "red")],
        "averaged",
        &["--average-decay", "0.5"],
    );
    let (expected, _) = evaluated(dir, &first, &["--data", path(&averaged)]);
    assert_eq!(found, expected);

    let classes = [(5, "green"), (6, "blue"), (9, "red")];
    let (more, found, text) = tune(&classes, "more", &[]);
    let told =
        "2 of 3 classes keep the classifier of the weights (blue, red); new: green; unused: none";
    assert!(text.contains(told), "{text}");
    // The kept classes are found as before, beside the new one.
    let known = |found: &Value| -> Vec<Value> {
        let results = found.as_array().unwrap().iter();
        let known = results.filter(|result| result["category_id"] != 5);
        known.cloned().collect()
    };
    let (expected, _) = evaluated(dir, &first, &["--data", path(&more)]);
    assert_eq!(known(&found), known(&expected));
    assert!(known(&found).len() < found.as_array().unwrap().len());

    let (fewer, found, text) = tune(&[(4, "blue")], "fewer", &[]);
    let told = "1 of 1 classes keep the classifier of the weights (blue); new: none; unused: red";
    assert!(text.contains(told), "{text}");
    let (expected, _) = evaluated(dir, &first, &["--data", path(&fewer)]);
    assert_eq!(found, expected);

    let (_, _, text) = tune(&[(1, "Red"), (2, "green")], "others", &[]);
    for told in [
        "warning: class 'Red' starts with a new classifier: the weights have 'red'",
        "warning: none of the classes is in the weights",
        "head.class_logits.weight",
    ] {
        assert!(text.contains(told), "{text}");
    }

    let (_, _, text) = tune(&RED_BLUE, "another-meaning", &["--new-classifier"]);
    assert!(
        text.contains("not in the file: head.class_logits.weight"),
        "{text}"
    );
}

/// torchvision's names, for as many labels as there are classes.
fn unnamed_weights(dir: &Path, classes: usize) -> PathBuf {
    let file = dir.join("unnamed.safetensors");
    let mut config = FcosConfig::torchvision(classes);
    config.backbone.depth = ResNetDepth::ResNet18;
    config.fpn.channels = 32;
    config.head.tower_depth = 1;
    let device = DeviceName::CPU.open(Precision::F32).unwrap();
    let detector = config.init(&device).unwrap();
    detector.export_torchvision(&file).unwrap();
    file
}

#[test]
fn classes_of_weights_without_names_go_by_position() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let weights_file = unnamed_weights(dir, 2);
    let data = data_set(dir, "data", &RED_BLUE);
    let (_, text) = evaluated(dir, &weights_file, &["--data", path(&data)]);
    assert!(
        text.contains("unnamed.safetensors: the weights have no class names"),
        "{text}"
    );
    let input = dir.join("input.json");
    fs::write(
        &input,
        r#"{"input": {"resize": {"fixed": {"width": 64, "height": 64}}},
            "optimization": {"average_decay": null}}"#,
    )
    .unwrap();
    let folder = dir.join("tuned");
    let text = succeeds(
        "train",
        &[
            "--data",
            path(&data),
            "--weights",
            path(&weights_file),
            "--config",
            path(&input),
        ]
        .map(str::to_owned),
        &["--epochs", "1", "--lr", "1e-30", "--output", path(&folder)],
    );
    assert!(
        text.contains("unnamed.safetensors: the weights have no class names"),
        "{text}"
    );
    assert!(!text.contains("not in the file: head.class"), "{text}");
    let config: RunConfig = RunFolder::open(&folder).unwrap().read_config().unwrap();
    let (started, ended) = (
        weights(&config, &weights_file),
        weights(&config, &folder.join("model.bpk")),
    );
    let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-6;
    assert_eq!(started.len(), ended.len());
    assert!(!started.iter().zip(&ended).any(far));
}

#[test]
fn validation_goes_by_class_names() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let train = ["red", "blue", "red", "blue"];
    let trained = |name: &str, val: &[(u64, &str)], objects: &[&str], more: &[&str]| {
        let data = dir.join(format!("{name}-data"));
        write_split(&data, "train", &RED_BLUE, &train);
        write_split(&data, "val", val, objects);
        let folder = dir.join(name);
        let output = run_with("train", &training(dir, &data, &folder), more);
        (folder, output)
    };
    let of_run = |folder: &Path| {
        let found = read(&folder.join("results.json"));
        let (again, text) = evaluated(dir, folder, &[]);
        assert_eq!(found, again);
        let ids = found.as_array().unwrap().iter();
        let ids = ids.map(|result| result["category_id"].as_u64().unwrap());
        (ids.collect::<BTreeSet<_>>(), text)
    };

    let (same, output) = trained("same", &RED_BLUE, &["red", "blue"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let other_ids = [(30, "blue"), (40, "red")];
    let (others, output) = trained("others", &other_ids, &["red", "blue"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let metrics = |folder: &Path| {
        let rows = read(&folder.join("metrics.json"));
        rows[0]["validation"]["figures"].clone()
    };
    assert!(metrics(&same)["AR100"].is_number());
    assert_eq!(metrics(&same), metrics(&others));
    let (ids, _) = of_run(&others);
    assert!(
        !ids.is_empty() && ids.is_subset(&BTreeSet::from([30, 40])),
        "{ids:?}"
    );

    let (fewer, output) = trained("fewer", &[(7, "blue")], &["blue"], &[]);
    let text = stderr(&output);
    assert!(
        output.status.success() && text.contains("no objects of class red"),
        "{text}"
    );
    let (ids, text) = of_run(&fewer);
    assert!(ids.is_subset(&BTreeSet::from([7])), "{ids:?}");
    assert!(text.contains("no objects of class red"), "{text}");

    let more = [(1, "green"), (2, "red"), (3, "blue")];
    let (folder, output) = trained("more", &more, &["green", "red", "blue", "green"], &[]);
    let left_out = "2 objects of class 'green' excluded: the detector does not have this class";
    let text = stderr(&output);
    assert!(output.status.success() && text.contains(left_out), "{text}");
    let (_, text) = of_run(&folder);
    assert!(text.contains(left_out), "{text}");
    let (_, output) = trained("strict", &more, &["green", "red"], &["--strict"]);
    assert!(error_line(&output).contains("class 'green' excluded"));

    let (_, output) = trained("none", &[(1, "Red"), (2, "green")], &["Red", "green"], &[]);
    let error = error_line(&output);
    assert!(
        error.contains("has none of the classes red, blue; its own are Red, green")
            && error.ends_with("('Red' is not the same name as 'red')"),
        "{error}"
    );
}

#[test]
fn a_held_out_part_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = dir.join("data");
    let objects: Vec<&str> = ["red", "blue"].into_iter().cycle().take(20).collect();
    write_split(&data, "train", &RED_BLUE, &objects);
    let folder = dir.join("run");
    let text = succeeds("train", &training(dir, &data, &folder), &[]);
    assert_eq!(
        text.matches("images held out for validation").count(),
        1,
        "{text}"
    );
    let config = read(&folder.join("config.json"));
    assert_eq!(config["data"]["val_share"], 0.2);

    let found = read(&folder.join("results.json"));
    for more in [&[][..], &["--data", path(&data)], &["--split", "held-out"]] {
        let (again, text) = evaluated(dir, &folder, more);
        assert_eq!(again, found, "{more:?}");
        assert!(!text.contains("too optimistic"), "{text}");
    }
    // Nor does a copy become unseen, or the file that describes it.
    let copy = dir.join("copy");
    write_split(&copy, "train", &RED_BLUE, &objects);
    let file = copy.join("annotations/instances_train.json");
    for data in [&copy, &file] {
        for more in [&[][..], &["--split", "held-out"]] {
            let more = [&["--data", path(data)], more].concat();
            let (again, text) = evaluated(dir, &folder, &more);
            assert_eq!(again, found, "{more:?}");
            assert!(text.contains("held out"), "{text}");
            assert!(!text.contains("too optimistic"), "{text}");
        }
    }
    let (rest, _) = evaluated(dir, &folder, &["--data", path(&copy), "--split", "train"]);
    assert!(image_ids(&rest).is_disjoint(&image_ids(&found)));
    write_split(&copy, "val", &RED_BLUE, &["red", "blue"]);
    let (own, text) = evaluated(dir, &folder, &["--data", path(&copy)]);
    assert_eq!(image_ids(&own), BTreeSet::from([1, 2]));
    let warning = "images are among those that the run was trained on";
    assert!(!text.contains(warning), "{text}");
    let arguments = ["--weights", path(&folder), "--split", "nope"];
    assert_fails("evaluate", &arguments, 1, &["it has: train, held-out"]);

    let (trained_on, text) = evaluated(dir, &folder, &["--split", "train"]);
    let warning = format!("13 of 13 {warning}");
    assert!(text.contains(&warning), "{text}");
    assert!(image_ids(&trained_on).is_disjoint(&image_ids(&found)));
    // The evaluation of a finished run is repeated.
    fs::remove_file(folder.join("results.json")).unwrap();
    succeeds(
        "train",
        &["--resume", path(&folder)].map(str::to_owned),
        &[],
    );
    assert_eq!(read(&folder.join("results.json")), found);

    // More images: those that were held out still are.
    let objects: Vec<&str> = ["red", "blue"].into_iter().cycle().take(40).collect();
    write_split(&data, "train", &RED_BLUE, &objects);
    let (more, _) = evaluated(dir, &folder, &[]);
    assert!(image_ids(&more).is_superset(&image_ids(&found)));
    assert!(image_ids(&more).len() > image_ids(&found).len());
    assert_fails(
        "train",
        &["--resume", path(&folder)],
        1,
        &["images, but had"],
    );

    // --val-share divides the training split even if there is a validation split, which is then not used.
    write_split(&data, "val", &RED_BLUE, &["red"]);
    let half = dir.join("half");
    let text = succeeds(
        "train",
        &training(dir, &data, &half),
        &["--val-share", "0.5"],
    );
    assert!(text.contains("images held out for validation"), "{text}");
    assert!(image_ids(&read(&half.join("results.json"))).len() > 10);
    assert_eq!(read(&half.join("config.json"))["data"]["val_share"], 0.5);

    let usage = ["--val-share", "0.2", "--val-split", "val"];
    assert_fails("train", &usage, 2, &["--val-split"]);
    assert_fails("train", &["--val-share", "1"], 2, &["--val-share"]);
}

#[test]
fn a_run_finds_its_data_from_any_folder() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    data_set(dir, "data", &RED_BLUE);
    let folder = dir.join("run");
    let args = training(dir, Path::new("data"), &folder);
    let output = command("train").args(args).current_dir(dir).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let (again, _) = evaluated(dir, &folder, &[]);
    assert_eq!(again, read(&folder.join("results.json")));

    let arguments = ["--weights", path(&folder), "--split", "nope"];
    let error = error_line(&run("evaluate", &arguments));
    assert!(!error.contains("--data"), "{error}");
    fs::rename(dir.join("data"), dir.join("moved")).unwrap();
    let arguments = ["--weights", path(&folder)];
    assert_fails("evaluate", &arguments, 1, &["if it has moved, use --data"]);
    let arguments = ["--resume", path(&folder)];
    let way = "if it has moved, change data.source there";
    assert_fails("train", &arguments, 1, &[way]);
}

#[test]
fn what_a_file_says_of_the_data_holds_for_other_data() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = data_set(dir, "data", &RED_BLUE);
    let of = |name: &str, more: &[&str]| {
        let folder = dir.join(name);
        let args = training(dir, &data, &folder);
        let mut config: Value = serde_json::from_str(STILL).unwrap();
        config["data"] = json!({"val_share": 0.4, "strict": true});
        fs::write(dir.join("still.json"), config.to_string()).unwrap();
        succeeds("train", &args, more);
        let data = read(&folder.join("config.json"))["data"].clone();
        (
            data["val_share"].clone(),
            data["val_split"].clone(),
            data["strict"].clone(),
        )
    };
    assert_eq!(
        of("file", &[]),
        (json!(0.4), json!("held-out"), json!(true))
    );
    assert_eq!(of("share", &["--val-share", "0.3"]).0, json!(0.3));
    let split = of("split", &["--val-split", "val"]);
    assert_eq!(split, (Value::Null, json!("val"), json!(true)));
}

#[test]
fn splits_that_a_file_names_are_those_of_other_data_if_it_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = dir.join("data");
    for (split, objects) in [
        ("train", &["red", "blue", "red", "blue"][..]),
        ("second", &["red", "blue"]),
        ("val", &["red"]),
        ("other", &["blue"]),
    ] {
        write_split(&data, split, &RED_BLUE, objects);
    }
    let splits = |name: &str, stated: Value, more: &[&str]| {
        let folder = dir.join(name);
        let args = training(dir, &data, &folder);
        let mut config: Value = serde_json::from_str(STILL).unwrap();
        config["data"] = stated;
        fs::write(dir.join("still.json"), config.to_string()).unwrap();
        let text = succeeds("train", &args, more);
        let data = read(&folder.join("config.json"))["data"].clone();
        (
            [&data["train_split"], &data["val_split"]]
                .map(|split| split.as_str().unwrap().to_owned()),
            text,
        )
    };
    let stated = json!({"train_split": "second", "val_split": "other"});
    let (found, _) = splits("stated", stated.clone(), &[]);
    assert_eq!(found, ["second", "other"]);
    let (found, _) = splits("flag", stated, &["--val-split", "val"]);
    assert_eq!(found, ["second", "val"]);
    let (found, text) = splits("absent", json!({"train_split": "third"}), &[]);
    assert_eq!(found, ["train", "val"]);
    assert!(text.contains("has no split 'third'"), "{text}");
    // The file of a run that held out a part.
    let held_out = json!({"train_split": "train", "val_split": "held-out", "val_share": 0.5});
    let (found, text) = splits("held-out", held_out, &[]);
    assert_eq!(found, ["train", "held-out"]);
    assert!(!text.contains("has no split"), "{text}");

    // A field that is set names a split, too, not the part that is held out.
    let only = dir.join("only");
    write_split(&only, "train", &RED_BLUE, &["red", "blue", "red", "blue"]);
    write_split(&only, "checks", &RED_BLUE, &["red"]);
    let folder = dir.join("set");
    let text = succeeds(
        "train",
        &training(dir, &only, &folder),
        &["--set", "data.val_split=checks"],
    );
    assert!(!text.contains("held out"), "{text}");
    assert_eq!(
        image_ids(&read(&folder.join("results.json"))),
        BTreeSet::from([1])
    );
    let args = training(dir, &only, &dir.join("both"));
    let both = [
        "--set",
        "data.val_split=checks",
        "--set",
        "data.val_share=0.3",
    ];
    let args = joined(&args, &both);
    assert_fails("train", &args, 1, &["data.val_split is checks", "no split"]);
}

#[test]
fn only_detected_classes_are_validated() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = data_set(dir, "data", &RED_BLUE);
    let folder = dir.join("run");
    // The second class, before the data is known.
    let classes = ["--set", "model.postprocess.classes=[1]"];
    succeeds("train", &training(dir, &data, &folder), &classes);
    let trained = read(&folder.join("results.json"));
    let metrics = read(&folder.join("metrics.json"));
    assert!(
        metrics[0]["validation"]["class_ap"].get("red").is_none(),
        "{metrics}"
    );
    let (found, text) = evaluated(dir, &folder, &[]);
    assert_eq!(found, trained);
    assert!(text.contains("of the classes blue"), "{text}");
    let report = fs::read(folder.join("report.html")).unwrap();
    succeeds("report", &[path(&folder).to_owned()], &[]);
    assert!(report == fs::read(folder.join("report.html")).unwrap());

    let args = training(dir, &data, &dir.join("none"));
    assert_fails(
        "train",
        &joined(&args, &["--set", "model.postprocess.classes=[5]"]),
        1,
        &["model.postprocess.classes is [5]", "labels below 2"],
    );
}

#[test]
fn a_run_that_cannot_start_leaves_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = data_set(dir, "data", &RED_BLUE);
    fs::create_dir(dir.join("kept")).unwrap();
    for output in ["a/b/c", "kept/b"] {
        let args = training(dir, &data, &dir.join(output));
        let args = joined(&args, &["--set", "batch_size=0"]);
        assert_fails("train", &args, 1, &["batch_size is 0"]);
    }
    assert!(!dir.join("a").exists());
    assert_eq!(fs::read_dir(dir.join("kept")).unwrap().count(), 0);
}

#[test]
fn doubtful_data_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let trained = |name: &str, data: &Path, more: &[&str]| {
        let mut args = training(dir, data, &dir.join(name));
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        run_with("train", &args, &[])
    };

    let data = data_set(dir, "shared", &RED_BLUE);
    fs::copy(data.join("train/002.png"), data.join("val/003.png")).unwrap();
    let text = stderr(&trained("shared-run", &data, &[]));
    let told = "1 of 3 images are also in the training split";
    assert!(text.contains("warning: ") && text.contains(told), "{text}");

    let data = data_set(dir, "twins", &[(1, "red"), (2, "blue"), (3, "red")]);
    let twins = "the categories 3 and 1 are both called 'red' and were merged";
    let output = trained("twins-run", &data, &[]);
    let text = stderr(&output);
    assert!(output.status.success() && text.contains(twins), "{text}");

    // A split to validate on whose images are of a format that is not read.
    let data = dir.join("phone");
    for (name, value) in [("a", 0), ("b", 100), ("c", 200)] {
        let train = data.join("images/train");
        fs::create_dir_all(&train).unwrap();
        let image = RgbImage::from_pixel(64, 64, Rgb([value; 3]));
        image.save(train.join(format!("{name}.png"))).unwrap();
        for (split, stem) in [("train", name), ("val", "d")] {
            let labels = data.join("labels").join(split);
            fs::create_dir_all(&labels).unwrap();
            let file = labels.join(format!("{stem}.txt"));
            fs::write(file, "0 0.5 0.5 0.4 0.4\n").unwrap();
        }
    }
    fs::create_dir_all(data.join("images/val")).unwrap();
    fs::write(data.join("images/val/d.HEIC"), "not read").unwrap();
    let yaml = "names: [cat]\ntrain: images/train\nval: images/val\n";
    fs::write(data.join("data.yaml"), yaml).unwrap();
    let output = trained("phone-run", &data, &[]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    for told in [
        "split 'val' has no readable images (image files in unsupported formats skipped: 1 (images/val/d.HEIC))",
        "a share is held out instead",
    ] {
        assert!(text.contains(told), "{text}");
    }
    let strict = trained("phone-strict", &data, &["--strict"]);
    assert!(error_line(&strict).contains("split 'val' has no readable images"));
    // A split that is only empty is no problem.
    fs::remove_file(data.join("images/val/d.HEIC")).unwrap();
    fs::remove_file(data.join("labels/val/d.txt")).unwrap();
    let output = trained("phone-empty", &data, &["--strict"]);
    let text = stderr(&output);
    let told = "split 'val' has no readable images: a share is held out instead";
    assert!(output.status.success() && text.contains(told), "{text}");

    // The folder, and the file that describes it.
    let run = dir.join("phone-run");
    let found = read(&run.join("results.json"));
    let yaml = data.join("data.yaml");
    for data in [&data, &yaml] {
        assert_eq!(evaluated(dir, &run, &["--data", path(data)]).0, found);
    }
}

#[test]
fn what_cannot_be_learned_or_measured_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let trained = |name: &str, train: &[&str], val: &[&str]| {
        let data = dir.join(format!("{name}-data"));
        write_split(&data, "train", &RED_BLUE, train);
        write_split(&data, "val", &RED_BLUE, val);
        run_with("train", &training(dir, &data, &dir.join(name)), &[])
    };
    let nothing = trained("nothing", &["", ""], &["red"]);
    assert!(error_line(&nothing).contains("nothing-data"));
    assert!(!dir.join("nothing/config.json").exists());

    let output = trained("one", &["red", "red"], &["red"]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("no objects of class blue, which cannot be learned"),
        "{text}"
    );

    let output = trained("blind", &["red", "blue"], &["", ""]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("no validation objects"), "{text}");
}
