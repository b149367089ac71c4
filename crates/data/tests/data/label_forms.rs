//! YOLO labels and descriptions in other forms than the usual ones.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use fcos_burn_data::{DataFolder, DetectionDataset, Layout};
use tempfile::TempDir;

use super::listings::{folder, layout_and_splits, message, objects, remarks};

/// A data set of one image with these labels.
fn labeled(lines: &str) -> TempDir {
    let texts = [("labels/a.txt", lines), ("classes.txt", "cat\ndog\n")];
    folder(&["images/a.png"], &texts)
}

fn refused(dir: &TempDir) -> String {
    message(DetectionDataset::open(dir.path(), None))
}

#[test]
fn poses_without_visibilities_are_refused() {
    for (lines, values) in [
        (
            "0 0.5 0.5 0.2 0.2 0.45 0.45 0.55 0.55\n0 0.7 0.7 0.2 0.2 0.65 0.65 0.75 0.75\n",
            4,
        ),
        (
            "0 0.5 0.5 0.2 0.2 0.48 0.45\n1 0.7 0.3 0.1 0.2 0.71 0.25\n",
            2,
        ),
        // Keypoints that are missing.
        (
            "0 0.5 0.5 0.2 0.4 0.45 0.4 0.55 0.4 0 0\n0 0.7 0.7 0.2 0.2 0 0 0.65 0.65 0.75 0.75\n",
            6,
        ),
        // A face that fills the image.
        (
            "0 0.5 0.5 0.6 0.7 0.4 0.4 0.6 0.4 0.5 0.52 0.42 0.65 0.58 0.65\n",
            10,
        ),
    ] {
        let error = refused(&labeled(lines));
        let cause = format!("labels/a.txt:1: a pose: a box and {values} keypoint values");
        assert!(error.contains(&cause), "{error}");
    }
}

#[test]
fn polygons_with_equal_numbers_of_points_are_not_poses() {
    for (lines, boxes) in [
        // Squares in the middle, clockwise and counterclockwise.
        (
            "0 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6\n0 0.3 0.2 0.3 0.5 0.5 0.5 0.5 0.2\n",
            ["16 12 24 18", "12 6 20 15"],
        ),
        // Plates.
        (
            "0 .30 .30 .50 .32 .50 .42 .30 .40\n0 .40 .30 .60 .32 .60 .42 .40 .40\n",
            ["12 9 20 12.6", "16 9 24 12.6"],
        ),
        // Triangles, one of which touches the border.
        (
            "0 0.5 0.3 0.6 0.6 0.4 0.6\n0 0.5 0.5 0.75 0.5 0.5 1\n",
            ["16 9 24 18", "20 15 30 30"],
        ),
    ] {
        let dir = labeled(lines);
        let expected = boxes.map(|corners| format!("images/a.png cat {corners}"));
        assert_eq!(objects(dir.path(), "all"), expected);
        let remarks = remarks(dir.path(), "all");
        assert!(
            remarks[0].starts_with("boxes computed from segmentations: 2"),
            "{remarks:?}"
        );
    }
    // Oriented boxes.
    let error = refused(&labeled("0 0.5 0.4 0.7 0.5 0.6 0.6 0.4 0.5\n"));
    assert!(
        error.contains("labels/a.txt:1: an oriented box (OBB)"),
        "{error}"
    );
}

#[test]
fn boxes_of_trackers_are_read() {
    for (lines, places) in [
        ("0 0.5 0.5 0.2 0.2 0.9 1\n", 1),
        ("0 0.5 0.5 0.2 0.2 0.9 7\n", 1),
        (
            "0 0.5 0.5 0.2 0.2 0.9 1\n1 0.25 0.5 0.5 1 1 0\n1 0.75 0.5 0.5 1 0.25 131\n",
            3,
        ),
        // Objects without a track.
        (
            "0 0.5 0.5 0.2 0.2 0.9 -1\n1 0.25 0.5 0.5 1 0.5\n1 0.75 0.5 0.5 1\n",
            1,
        ),
    ] {
        let dir = labeled(lines);
        let all = [
            "images/a.png cat 16 12 24 18",
            "images/a.png dog 0 0 20 30",
            "images/a.png dog 20 0 40 30",
        ];
        assert_eq!(objects(dir.path(), "all"), all[..lines.lines().count()]);
        let remarks = remarks(dir.path(), "all").join("\n");
        let remark = format!(
            "scores and numbers of tracks after boxes, ignored: {places} (labels/a.txt line 1"
        );
        assert!(remarks.contains(&remark), "{remarks}");
    }
}

#[test]
fn six_numbers_among_polygons_are_a_triangle() {
    let polygon = "1 0.1 0.1 0.9 0.1 0.9 0.9 0.5 0.8 0.1 0.9\n";
    let dir = labeled(&format!("0 0.5 0.5 0.25 0.5 0.5 1\n{polygon}"));
    assert_eq!(
        objects(dir.path(), "all")[0],
        "images/a.png cat 10 15 20 30"
    );
    let error = refused(&labeled(&format!("{polygon}0 0.5 0.5 0.2 0.2 0.5 7\n")));
    assert!(
        error.contains("labels/a.txt:2: the values are pixels"),
        "{error}"
    );
    // Not in this order.
    let error = refused(&labeled("0 0.5 0.5 0.2 0.2 7 0.9\n"));
    let cause = "labels/a.txt:1: expected a score from 0 to 1 and the number of a track after 'class cx cy w h', found 7 0.9";
    assert!(error.ends_with(cause), "{error}");
}

/// Images and labels of a training and a validation split, and these files.
fn described(texts: &[(&str, &str)]) -> TempDir {
    let labels = [
        ("labels/train/a.txt", "0 0.5 0.5 0.2 0.2\n"),
        ("labels/val/b.txt", "1 0.25 0.5 0.5 1\n"),
    ];
    folder(
        &["images/train/a.png", "images/val/b.png"],
        &[&labels, texts].concat(),
    )
}

const SPLITS: &str = "train: images/train\nval: images/val\n";

/// The classes of the objects in both splits.
fn classes(dir: &TempDir) -> [String; 2] {
    ["train", "val"].map(|split| {
        let object = objects(dir.path(), split).remove(0);
        object.split(' ').nth(1).unwrap().to_string()
    })
}

#[test]
fn classes_without_names_are_numbered() {
    for names in ["", "names:\n", "names: []\n", "names: {}\n"] {
        let dir = described(&[("data.yaml", &format!("{SPLITS}nc: 2\n{names}"))]);
        assert_eq!(classes(&dir), ["class_0", "class_1"], "{names}");
        assert_eq!(
            remarks(dir.path(), "val"),
            ["no class names: the 2 classes are called class_0 to class_1"]
        );
    }
    // A class list has the names.
    let yaml = format!("{SPLITS}nc: 2\n");
    let dir = described(&[("data.yaml", &yaml), ("classes.txt", "cat\ndog\n")]);
    assert_eq!(classes(&dir), ["cat", "dog"]);
    assert!(remarks(dir.path(), "val").is_empty());
    // A label beyond the number, no number, and a number that no memory holds.
    for (count, cause) in [
        ("nc: 1\n", "class 1 is out of range: the only class is 0"),
        ("", "no class names: the description has no 'names'"),
        ("nc: 99999999999999\n", "at most 10000 are numbered"),
    ] {
        let dir = described(&[("data.yaml", &format!("{SPLITS}{count}"))]);
        let error = message(DetectionDataset::open(dir.path(), Some("val")));
        assert!(error.contains(cause), "{error}");
    }
}

#[test]
fn names_may_be_keys_with_indices() {
    for names in [
        "names: {cat: 0, dog: 1}",
        "names:\n  dog: 1\n  cat: 0",
        "names: {'dog': '1', \"cat\": '0'}",
        "names: {0: cat, 1: dog}",
    ] {
        let dir = described(&[("data.yaml", &format!("{SPLITS}{names}\n"))]);
        assert_eq!(classes(&dir), ["cat", "dog"], "{names}");
    }
    for (names, cause) in [
        (
            "{cat: 0, dog: 0}",
            "the values of 'names' have the index 0 twice",
        ),
        (
            "{cat: 1, dog: 2}",
            "the values of 'names' are not 0, 1, 2, …",
        ),
        (
            "{cat: feline, dog: canine}",
            "the key 'cat' of 'names' is not an index",
        ),
        (
            "{0: cat, dog: canine}",
            "the key 'dog' of 'names' is not an index",
        ),
    ] {
        let dir = described(&[("data.yaml", &format!("{SPLITS}names: {names}\n"))]);
        let error = message(DataFolder::open(dir.path()));
        assert!(error.ends_with(&format!("data.yaml: {cause}")), "{error}");
    }
}

#[test]
fn names_may_be_in_a_file() {
    for (names, file) in [
        ("classes.txt", "classes.txt"),
        ("./meta/my.names", "meta/my.names"),
        ("/home/me/project/meta/list.txt", "meta/list.txt"),
        ("animals", "animals"),
    ] {
        let yaml = format!("{SPLITS}nc: 2\nnames: {names}\n");
        let dir = described(&[("data.yaml", &yaml), (file, "cat\ndog\n")]);
        assert_eq!(classes(&dir), ["cat", "dog"], "{names}");
    }
    let yaml = format!("{SPLITS}names: my.names\n");
    let dir = described(&[("data.yaml", &yaml), ("classes.txt", "cat\ndog\n")]);
    let dataset = DetectionDataset::open(dir.path(), Some("val")).unwrap();
    assert_eq!(
        dataset.report().notes(),
        ["my.names: no such file of class names; another list is used"]
    );
    let dir = described(&[("data.yaml", &yaml)]);
    let error = message(DetectionDataset::open(dir.path(), Some("val")));
    assert!(
        error.contains("no class names: my.names does not exist"),
        "{error}"
    );
    // A name is not a list of names.
    let dir = described(&[("data.yaml", &format!("{SPLITS}names: cat\n"))]);
    let error = message(DataFolder::open(dir.path()));
    assert!(error.contains("a list or a map of class names"), "{error}");
    assert!(error.ends_with("found 'cat'"), "{error}");
}

#[test]
fn of_several_data_sets_one_must_be_given() {
    const YAML: &str = "train: train/images\nval: valid/images\nnames: [cat, dog]\n";
    let files = |names: &[&str]| {
        let images: Vec<String> = (names.iter())
            .map(|name| format!("{name}/train/images/{name}.png"))
            .collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        let dir = folder(&images, &[]);
        for name in names {
            let labels = format!("{name}/train/labels/{name}.txt");
            super::listings::write(dir.path().join(labels), "0 0.5 0.5 0.2 0.2\n");
            super::listings::write(dir.path().join(name).join("data.yaml"), YAML);
        }
        dir
    };
    for (names, list) in [
        (&["a", "b"][..], "2 (a/data.yaml, b/data.yaml)"),
        (
            &["a", "b", "c"],
            "3 (a/data.yaml, b/data.yaml, c/data.yaml)",
        ),
    ] {
        let dir = files(names);
        let error = message(DataFolder::open(dir.path()));
        let cause = format!("descriptions of data sets in subfolders: {list}; give one of them");
        assert!(error.ends_with(&cause), "{error}");
        let given = dir.path().join("b/data.yaml");
        assert_eq!(
            objects(&given, "train"),
            ["train/images/b.png cat 16 12 24 18"]
        );
    }
    // Descriptions of another name.
    for name in ["data.yml", "dataset.yaml", "coon.yaml"] {
        let dir = files(&["a", "b"]);
        for folder in ["a", "b"] {
            let folder = dir.path().join(folder);
            fs::rename(folder.join("data.yaml"), folder.join(name)).unwrap();
        }
        let error = message(DetectionDataset::open(dir.path(), Some("train")));
        let cause = format!("2 (a/{name}, b/{name}); give one of them");
        assert!(error.ends_with(&cause), "{error}");
    }
    // The outermost description is used, and another one is told.
    let dir = files(&["a", "b/old"]);
    let train = DetectionDataset::open(dir.path(), Some("train")).unwrap();
    assert_eq!(
        train.report().remarks(),
        ["b/old/data.yaml: another data set description, not used"]
    );
    // With a class list, all images are one data set, as they were without descriptions.
    let dir = files(&["a", "b"]);
    super::listings::write(dir.path().join("classes.txt"), "cat\ndog\n");
    assert_eq!(
        layout_and_splits(dir.path()),
        (Layout::Yolo, vec!["train".into()])
    );
    assert_eq!(remarks(dir.path(), "train").len(), 2);
    // Another layout is not hidden.
    let dir = files(&["a", "b"]);
    super::listings::write(dir.path().join("train.csv"), "a.png,1,2,3,4,cat\n");
    assert_eq!(layout_and_splits(dir.path()).0, Layout::Csv);
}
