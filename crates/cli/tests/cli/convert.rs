//! The command `convert`.

use std::{fs, path::Path};

use fcos_burn::data::{DataFolder, DetectionDataset, Layout};

use super::{assert_fails, error_line, path, run, stderr};

/// A flat YOLO folder with a polygon, a box outside its image, and pictures of 16x8 pixels.
fn flat_yolo(dir: &Path) {
    for name in ["a", "b", "c"] {
        let image = image::RgbImage::new(16, 8);
        image.save(dir.join(format!("{name}.png"))).unwrap();
        fs::write(
            dir.join(format!("{name}.txt")),
            "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.4 0.1 0.4 0.6\n0 1.5 0.5 0.1 0.1\n",
        )
        .unwrap();
    }
    fs::write(dir.join("classes.txt"), "cat\ndog\n").unwrap();
}

#[test]
fn a_data_set_is_written_in_every_layout() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    flat_yolo(&source);
    let original = DetectionDataset::open(&source, None).unwrap();
    for (format, layout, transfer) in [
        ("coco", Layout::Coco, "--copy"),
        ("voc", Layout::Voc, "--link"),
        ("yolo", Layout::Yolo, "--symlink"),
    ] {
        let output = dir.path().join(format);
        let args = [
            "--data",
            path(&source),
            "--format",
            format,
            "--output",
            path(&output),
            transfer,
        ];
        let result = run("convert", &args);
        let told = stderr(&result);
        assert!(result.status.success(), "{told}");
        assert!(
            told.contains("boxes outside the image dropped: 3"),
            "{told}"
        );
        assert!(told.contains("1 splits, 3 images, 6 objects"), "{told}");
        let printed = String::from_utf8_lossy(&result.stdout);
        assert_eq!(printed.trim_end(), path(&output));
        let folder = DataFolder::open(&output).unwrap();
        assert_eq!(folder.layout(), layout);
        let read = folder.read(&folder.splits()[0]).unwrap();
        let boxes = |dataset: &DetectionDataset| -> Vec<_> {
            let objects = dataset.images().iter().flat_map(|image| &image.objects);
            objects.map(|object| (object.bbox, object.label)).collect()
        };
        assert_eq!(boxes(&read), boxes(&original), "{format}");
    }
}

#[test]
fn the_only_split_is_divided_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    flat_yolo(&source);
    // Equal files would go to one side.
    for (name, color) in [("a", 0), ("b", 90), ("c", 200)] {
        let image = image::RgbImage::from_pixel(16, 8, image::Rgb([color; 3]));
        image.save(source.join(format!("{name}.png"))).unwrap();
    }
    let output = dir.path().join("output");
    let result = run(
        "convert",
        &[
            "--data",
            path(&source),
            "--format",
            "yolo",
            "--output",
            path(&output),
            "--val-share",
            "0.3",
        ],
    );
    assert!(result.status.success(), "{}", stderr(&result));
    let folder = DataFolder::open(&output).unwrap();
    assert_eq!(folder.splits(), ["train", "val"]);
}

#[test]
fn one_of_several_splits_is_divided() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    for (split, names) in [("train", ["a", "b", "c"]), ("val", ["d", "e", "f"])] {
        let (images, labels) = (source.join("images"), source.join("labels"));
        for (name, value) in names.into_iter().zip([0, 90, 200]) {
            for folder in [&images, &labels] {
                fs::create_dir_all(folder.join(split)).unwrap();
            }
            let image = image::RgbImage::from_pixel(16, 8, image::Rgb([value; 3]));
            image
                .save(images.join(format!("{split}/{name}.png")))
                .unwrap();
            fs::write(labels.join(format!("{split}/{name}.txt")), "").unwrap();
        }
    }
    fs::write(source.join("classes.txt"), "cat\n").unwrap();
    let output = dir.path().join("output");
    let convert = |more: &[&str]| {
        let base = ["--data", path(&source), "--format", "yolo", "--output"];
        run("convert", &[&base[..], &[path(&output)], more].concat())
    };
    let error = error_line(&convert(&["--val-share", "0.3"]));
    let told = "has train, val: choose it with --split";
    assert!(error.contains(told), "{error}");
    let refused = convert(&["--val-share", "1"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));

    // Two words for one split.
    let result = convert(&["--val-share", "0.3", "--split", "val", "--split", "valid"]);
    let told = stderr(&result);
    assert!(result.status.success(), "{told}");
    assert!(told.contains("(held-out part): "), "{told}");
    let folder = DataFolder::open(&output).unwrap();
    assert_eq!(folder.splits(), ["train", "val"]);
    let splits = folder.splits().iter();
    let images = splits.map(|split| folder.read(split).unwrap().len());
    assert_eq!(images.sum::<usize>(), 3);

    fs::remove_dir_all(&output).unwrap();
    let result = convert(&["--split", "train", "--split", "train"]);
    assert!(result.status.success(), "{}", stderr(&result));
    assert_eq!(DataFolder::open(&output).unwrap().splits(), ["train"]);
}

#[test]
fn splits_that_are_announced_but_absent_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("train")).unwrap();
    flat_yolo(&source.join("train"));
    let yaml = "train: train\nval: val\ntest: ../test/images\nnames: [cat, dog]\n";
    fs::write(source.join("data.yaml"), yaml).unwrap();
    let output = dir.path().join("output");
    let mut args = vec![
        "--data",
        path(&source),
        "--format",
        "coco",
        "--output",
        path(&output),
    ];
    let result = run("convert", &args);
    let told = stderr(&result);
    assert!(result.status.success(), "{told}");
    assert!(
        told.contains("test: ../test/images: no such file or folder")
            && told.contains("val: val: no such file or folder"),
        "{told}"
    );
    assert_eq!(DataFolder::open(&output).unwrap().splits(), ["train"]);
    // A split that is asked for must be there.
    fs::remove_dir_all(&output).unwrap();
    args.extend(["--split", "test"]);
    let result = run("convert", &args);
    assert!(!result.status.success() && stderr(&result).contains("no such folder"));
}

#[test]
fn failures_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    flat_yolo(&source);
    let data = ["--data", path(&source), "--format", "voc", "--output"];
    let fails = |output: &Path, more: &[&str], code, parts: &[&str]| {
        let args = [&data[..], &[path(output)], more].concat();
        assert_fails("convert", &args, code, parts);
    };
    fails(&source, &[], 1, &["source: not an empty folder"]);
    for inside in ["new", "labels/new", "../source/new"] {
        let told = ["is inside the data folder"];
        fails(&source.join(inside), &[], 1, &told);
    }
    let output = dir.path().join("output");
    fails(&output, &["--split", "dev"], 1, &["has no split 'dev'"]);
    fails(&output, &["--copy", "--link"], 2, &["cannot be used with"]);
    assert!(!output.exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
