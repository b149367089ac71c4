//! Splits by the names of folders and lists: folders around splits, words at any place of a name, unused splits.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use fcos_burn_data::{
    DataFolder, DatasetWriter, DetectionDataset, Division, Layout, LoadReport, PassedOverCause,
};
use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// A folder in which a test writes a data set.
struct Set(TempDir);

impl Set {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A data set of these files. What a file holds depends on its extension.
    fn of(files: &[&str]) -> Self {
        let set = Self::new();
        for file in files {
            set.file(file);
        }
        set
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn file(&self, name: &str) -> &Self {
        let (_, extension) = name.rsplit_once('.').unwrap();
        let stem = Path::new(name).file_stem().unwrap().to_str().unwrap();
        match extension {
            "png" => {
                let color = name
                    .bytes()
                    .fold(7_u8, |color, byte| color.wrapping_mul(31) ^ byte);
                let image = RgbImage::from_pixel(40, 20, Rgb([color, stem.as_bytes()[0], 0]));
                self.write(name, "");
                image.save(self.path(name)).unwrap();
                self
            }
            "xml" => self.write(name, voc(stem, OBJECT)),
            "txt" if stem == "classes" => self.write(name, "cat\n"),
            "txt" => self.write(name, "0 0.5 0.5 0.25 0.5\n"),
            _ => self.write(name, "about the data"),
        }
    }

    fn open(&self) -> DataFolder {
        DataFolder::open(self.0.path()).unwrap()
    }

    /// The splits with the stems of their images, such as `train: a b`.
    fn splits(&self) -> Vec<String> {
        splits(&self.open())
    }
}

fn splits(folder: &DataFolder) -> Vec<String> {
    let split = |name: &String| {
        let dataset = folder.read(name).unwrap();
        assert!(dataset.unreadable_images(|_| {}).is_empty());
        assert_eq!(dataset.report().dropped(), 0, "{}", dataset.report());
        format!("{name}: {}", stems(&dataset).join(" "))
    };
    folder.splits().iter().map(split).collect()
}

fn stems(dataset: &DetectionDataset) -> Vec<String> {
    let images = dataset.images().iter();
    let stems = images.map(|image| {
        let stem = Path::new(&image.file_name).file_stem().unwrap();
        stem.to_str().unwrap().to_string()
    });
    let mut stems: Vec<String> = stems.collect();
    stems.sort();
    stems
}

const OBJECT: &str = "<object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>12</xmax><ymax>12</ymax></bndbox>\
                      </object>";

fn voc(stem: &str, objects: &str) -> String {
    format!("<annotation><filename>{stem}.png</filename>{objects}</annotation>")
}

/// A COCO file of these images, with an object in each.
fn coco(names: &[&str]) -> String {
    let images = names.iter().zip(1..);
    let images: Vec<String> = images
        .map(|(name, id)| {
            format!(r#"{{"id": {id}, "file_name": "{name}", "width": 40, "height": 20}}"#)
        })
        .collect();
    let objects = (1..=names.len()).map(|id| {
        format!(r#"{{"id": {id}, "image_id": {id}, "category_id": 1, "bbox": [1, 1, 9, 9]}}"#)
    });
    let objects: Vec<String> = objects.collect();
    format!(
        r#"{{"images": [{}], "annotations": [{}], "categories": [{{"id": 1, "name": "cat"}}]}}"#,
        images.join(", "),
        objects.join(", ")
    )
}

/// The training split, the validation split or the held-out part, and the messages about other splits.
fn divided(folder: &DataFolder) -> (String, String, LoadReport) {
    let division = folder.division(None, None).unwrap();
    let left_out = folder.left_out(&division);
    (division.train, division.val, left_out)
}

fn division(folder: &DataFolder) -> (String, String) {
    let (train, val, _) = divided(folder);
    (train, val)
}

fn pair(train: &str, val: &str) -> (String, String) {
    (train.to_owned(), val.to_owned())
}

const WRAPPERS: [&str; 4] = ["train_data", "test_dataset", "Training", "validation-2024"];

/// What may stand beside the folder with the data.
const BESIDE: [Option<&str>; 3] = [None, Some("README.md"), Some("license.txt")];

fn wrapped(write: impl Fn(&Set, &str)) {
    for wrapper in WRAPPERS {
        for beside in BESIDE {
            let set = Set::new();
            if let Some(beside) = beside {
                set.write(beside, "about the data");
            }
            write(&set, wrapper);
            let found = set.splits();
            assert_eq!(
                found,
                ["train: a b", "val: c"],
                "{wrapper} beside {beside:?}"
            );
            assert_eq!(division(&set.open()), pair("train", "val"), "{wrapper}");
        }
    }
}

#[test]
fn splits_in_a_folder_named_like_a_split_are_found() {
    // YOLO.
    wrapped(|set, wrapper| {
        for file in ["train/a", "train/b", "val/c"] {
            set.file(&format!("{wrapper}/images/{file}.png"))
                .file(&format!("{wrapper}/labels/{file}.txt"));
        }
        set.file(&format!("{wrapper}/classes.txt"));
    });
    // VOC, with annotations beside the images or in folders of their own.
    for annotations in ["", "Annotations/"] {
        wrapped(|set, wrapper| {
            for file in ["train/a", "train/b", "val/c"] {
                set.file(&format!("{wrapper}/{file}.png"))
                    .file(&format!("{wrapper}/{annotations}{file}.xml"));
            }
        });
    }
    // COCO and CSV.
    for images in ["images/", ""] {
        wrapped(|set, wrapper| {
            for file in ["train/a", "train/b", "val/c"] {
                set.file(&format!("{wrapper}/{images}{file}.png"));
            }
            set.write(
                &format!("{wrapper}/annotations/instances_train.json"),
                coco(&["a.png", "b.png"]),
            )
            .write(
                &format!("{wrapper}/annotations/instances_val.json"),
                coco(&["c.png"]),
            );
        });
        wrapped(|set, wrapper| {
            for file in ["train/a", "train/b", "val/c"] {
                set.file(&format!("{wrapper}/{images}{file}.png"));
            }
            set.write(
                &format!("{wrapper}/train.csv"),
                "a.png,1,1,9,9,cat\nb.png,1,1,9,9,cat\n",
            )
            .write(&format!("{wrapper}/val.csv"), "c.png,1,1,9,9,cat\n");
        });
    }
    // Lists of images in one folder, with a description beside them, above, or without one.
    for description in [None, Some("WRAPPER/data.yaml"), Some("data.yaml")] {
        wrapped(|set, wrapper| {
            for stem in ["a", "b", "c"] {
                set.file(&format!("{wrapper}/images/{stem}.png"))
                    .file(&format!("{wrapper}/labels/{stem}.txt"));
            }
            set.write(
                &format!("{wrapper}/train.txt"),
                "./images/a.png\n./images/b.png\n",
            )
            .write(&format!("{wrapper}/val.txt"), "./images/c.png\n");
            let path = match description {
                Some("data.yaml") => format!("path: {wrapper}\n"),
                _ => String::new(),
            };
            match description {
                Some(name) => set.write(
                    &name.replace("WRAPPER", wrapper),
                    format!("{path}train: train.txt\nval: val.txt\nnames: [cat]\n"),
                ),
                None => set.file(&format!("{wrapper}/classes.txt")),
            };
        });
    }
}

#[test]
fn a_folder_around_splits_may_have_others_beside_it() {
    let set = Set::of(&[
        "train_data/images/train/a.png",
        "train_data/labels/train/a.txt",
        "train_data/images/val/b.png",
        "train_data/labels/val/b.txt",
        "test_data/images/c.png",
        "test_data/labels/c.txt",
        "classes.txt",
    ]);
    assert_eq!(set.splits(), ["test_data: c", "train: a", "val: b"]);
    // The images of the only split, whose folder has another name.
    let set = Set::of(&["test_dataset/images/a.png"]);
    set.write("test_dataset/train.json", coco(&["a.png"]));
    assert_eq!(set.splits(), ["train: a"]);
}

#[test]
fn folders_of_splits_remain_splits() {
    // The only split, and classes with the name of a split.
    let set = Set::of(&["train/images/a.png", "train/labels/a.txt", "classes.txt"]);
    assert_eq!(set.splits(), ["train: a"]);
    let set = Set::of(&[
        "x/train/images/a.png",
        "x/train/labels/a.txt",
        "x/train/classes.txt",
    ]);
    assert_eq!(set.splits(), ["train: a"]);
    let set = Set::of(&[
        "train_set/bus/a.png",
        "train_set/bus/a.xml",
        "train_set/train/b.png",
        "train_set/train/b.xml",
        "val_set/bus/c.png",
        "val_set/bus/c.xml",
        "val_set/train/d.png",
        "val_set/train/d.xml",
    ]);
    assert_eq!(set.splits(), ["train_set: a b", "val_set: c d"]);
    // The images of one split in each of two folders are not those of the other.
    let set = Set::of(&["train_data/a.png", "test_data/b.png"]);
    set.write("train.json", coco(&["a.png"]))
        .write("test.json", coco(&["b.png", "a.png"]));
    let test = set.open().read("test").unwrap();
    assert_eq!(stems(&test), ["b"]);
}

#[test]
fn words_for_splits_may_be_at_any_place_of_a_name() {
    let yolo = |folders: [&str; 4]| {
        let [train_images, train_labels, val_images, val_labels] = folders;
        let set = Set::of(&["classes.txt"]);
        for (images, labels, stem) in [
            (train_images, train_labels, "a"),
            (val_images, val_labels, "b"),
        ] {
            set.file(&format!("{images}/{stem}.png"))
                .file(&format!("{labels}/{stem}.txt"));
        }
        set
    };
    for (folders, expected) in [
        (
            [
                "trainset/images",
                "trainset/labels",
                "testset/images",
                "testset/labels",
            ],
            ["test: b", "train: a"],
        ),
        (
            ["coon_train", "coon_train", "coon_val", "coon_val"],
            ["train: a", "val: b"],
        ),
        (
            ["images_train", "labels_train", "images_val", "labels_val"],
            ["train: a", "val: b"],
        ),
        (
            ["TrainImages", "TrainLabels", "TestImages", "TestLabels"],
            ["test: b", "train: a"],
        ),
        (
            [
                "images/imgs_train",
                "labels/imgs_train",
                "images/imgs_valid",
                "labels/imgs_valid",
            ],
            ["train: a", "valid: b"],
        ),
        (
            ["traindata", "traindata", "valid", "valid"],
            ["train: a", "valid: b"],
        ),
        (
            ["img_train", "label_train", "img_test", "label_test"],
            ["test: b", "train: a"],
        ),
    ] {
        assert_eq!(yolo(folders).splits(), expected, "{folders:?}");
    }
    // Frames with the same numbers.
    let set = Set::of(&[
        "images_train/1.png",
        "labels_train/1.txt",
        "images_val/1.png",
        "labels_val/1.txt",
        "classes.txt",
    ]);
    set.write("labels_val/1.txt", "0 0.5 0.5 1 1\n");
    let boxes = |split: &str| {
        let dataset = set.open().read(split).unwrap();
        dataset.images()[0].objects[0].bbox.to_xyxy()
    };
    assert_eq!(boxes("train"), [15.0, 5.0, 25.0, 15.0]);
    assert_eq!(boxes("val"), [0.0, 0.0, 40.0, 20.0]);

    for [train, val] in [
        ["coon_train", "coon_val"],
        ["trainset", "valset"],
        ["myTrain", "myVal"],
    ] {
        let in_folder = |folder: &str, file: &str| format!("{folder}/{file}");
        let files = [
            (train, "a.png"),
            (train, "a.xml"),
            (val, "b.png"),
            (val, "b.xml"),
        ];
        let files = files.map(|(folder, file)| in_folder(folder, file));
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        assert_eq!(Set::of(&files).splits(), ["train: a", "val: b"], "{train}");
        // COCO and CSV.
        let set = Set::of(&[files[0], files[2]]);
        set.write(
            &in_folder(train, "_annotations.coco.json"),
            coco(&["a.png"]),
        )
        .write(&in_folder(val, "_annotations.coco.json"), coco(&["b.png"]));
        assert_eq!(set.splits(), ["train: a", "val: b"], "{train}");
        let set = Set::of(&[files[0], files[2]]);
        set.write(&in_folder(train, "_annotations.csv"), "a.png,1,1,9,9,cat\n")
            .write(&in_folder(val, "_annotations.csv"), "b.png,1,1,9,9,cat\n");
        assert_eq!(set.splits(), ["train: a", "val: b"], "{train}");
    }
}

#[test]
fn words_for_splits_may_be_at_any_place_of_the_name_of_a_list() {
    for extension in ["txt", "xml"] {
        let set = Set::of(&["classes.txt"]);
        for stem in ["a", "b"] {
            set.file(&format!("photos/{stem}.png"))
                .file(&format!("photos/{stem}.{extension}"));
        }
        set.write("coon_train.txt", "photos/a.png\n")
            .write("coon_val.txt", "photos/b.png\n");
        assert_eq!(set.splits(), ["coon_train: a", "coon_val: b"]);
        assert_eq!(division(&set.open()), pair("coon_train", "coon_val"));
        // A list that may be about anything.
        fs::remove_file(set.path("coon_train.txt")).unwrap();
        assert_eq!(set.splits(), ["all: a b"]);
    }
}

#[test]
fn classes_and_places_with_a_word_for_a_split_are_no_splits() {
    for folders in [
        ["bus", "steam_train"],
        ["street", "crash_test"],
        ["toy trainset", "car"],
        ["web_dev", "lab_bench"],
    ] {
        let files = folders.map(|folder| {
            let stem = &folder[..1];
            [
                format!("{folder}/{stem}.png"),
                format!("{folder}/{stem}.xml"),
            ]
        });
        let files: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
        let set = Set::of(&files);
        assert_eq!(set.open().splits(), ["all"], "{folders:?}");
    }
    // Different splits of one role are not joined.
    let set = Set::of(&[
        "a_train/a.png",
        "a_train/a.xml",
        "a_val/b.png",
        "a_val/b.xml",
        "b_train/c.png",
        "b_train/c.xml",
    ]);
    assert_eq!(set.splits(), ["a_train: a", "b_train: c", "val: b"]);
    let (train, val, left_out) = divided(&set.open());
    assert_eq!((train.as_str(), val.as_str()), ("a_train", "val"));
    assert_eq!(left_out.notes(), ["split 'b_train' (1 image) is not used"]);
}

#[test]
fn splits_that_are_used_for_nothing_are_told() {
    // YOLO: two splits for training.
    let set = Set::of(&["classes.txt"]);
    for file in [
        "train_day/a",
        "train_night/b",
        "train_night/c",
        "val/d",
        "test/e",
    ] {
        set.file(&format!("images/{file}.png"))
            .file(&format!("labels/{file}.txt"));
    }
    let folder = set.open();
    let (train, val, left_out) = divided(&folder);
    assert_eq!((train.as_str(), val.as_str()), ("train_day", "val"));
    assert_eq!(
        left_out.notes(),
        ["split 'train_night' (2 images) is not used"]
    );
    // Chosen by name.
    let chosen = folder.division(Some("train_night"), None).unwrap();
    let left_out = folder.left_out(&chosen);
    assert!(left_out.is_clean());
    assert_eq!(
        left_out.remarks(),
        ["split 'train_day' (1 image) is not used"]
    );

    // VOC: a class with the name of a split.
    let set = Set::of(&[
        "bus/a.png",
        "bus/a.xml",
        "car/b.png",
        "car/b.xml",
        "train/c.png",
        "train/c.xml",
    ]);
    let (train, _, left_out) = divided(&set.open());
    assert_eq!(train, "train");
    assert_eq!(left_out.notes(), ["split 'all' (2 images) is not used"]);

    // COCO: two splits for validation. Those for testing are kept for later.
    let set = Set::new();
    for split in ["train", "val_a", "val_b", "test"] {
        set.file(&format!("{split}/1.png"));
        set.write(
            &format!("annotations/instances_{split}.json"),
            coco(&["1.png"]),
        );
    }
    let folder = set.open();
    let (_, val, left_out) = divided(&folder);
    assert_eq!(val, "val_a");
    assert_eq!(left_out.notes(), ["split 'val_b' (1 image) is not used"]);
    let evaluated = folder.evaluation_split().unwrap();
    assert_eq!(
        folder.left_out_of_evaluation(evaluated).notes(),
        ["split 'val_b' (1 image) is not evaluated"]
    );

    // CSV.
    let set = Set::of(&["a.png", "b.png", "c.png", "d.png"]);
    let rows = "filename,xmin,ymin,xmax,ymax,class,split\na.png,1,1,9,9,cat,train\nb.png,1,1,9,9,cat,val\n\
                c.png,1,1,9,9,cat,extra\nd.png,1,1,9,9,cat,test\n";
    set.write("labels.csv", rows);
    let (_, _, left_out) = divided(&set.open());
    assert_eq!(left_out.notes(), ["split 'extra' (1 image) is not used"]);
}

#[test]
fn splits_whose_images_are_in_others_are_not_told() {
    let set = Set::new();
    for stem in ["a", "b", "c", "d", "e"] {
        set.file(&format!("JPEGImages/{stem}.png"))
            .file(&format!("Annotations/{stem}.xml"));
    }
    for (list, names) in [
        ("train", "a\nb\n"),
        ("val", "c\n"),
        ("trainval", "a\nb\nc\n"),
        ("test", "d\n"),
        ("all", "a\nb\nc\nd\n"),
    ] {
        set.write(&format!("ImageSets/Main/{list}.txt"), names);
    }
    let (train, val, left_out) = divided(&set.open());
    assert_eq!((train.as_str(), val.as_str()), ("train", "val"));
    assert_eq!(left_out, LoadReport::default());
    // Some of them.
    set.write("ImageSets/Main/all.txt", "a\nb\nc\nd\ne\n");
    let (_, _, left_out) = divided(&set.open());
    assert_eq!(
        left_out.notes(),
        ["split 'all' (1 of 5 images in no other split) is not used"]
    );
}

#[test]
fn a_test_split_without_objects_is_not_validated_on() {
    let told = "split 'test' has no annotated objects: a share is held out instead";
    let held_out = |set: &Set| {
        let folder = set.open();
        assert!(
            folder.splits().iter().any(|split| split == "test"),
            "{:?}",
            folder.splits()
        );
        let (train, val, left_out) = divided(&folder);
        assert_eq!(
            (train.as_str(), val.as_str()),
            ("train", Division::HELD_OUT)
        );
        assert_eq!(left_out.remarks(), [told]);
        assert!(left_out.is_clean(), "{left_out}");
        assert_eq!(folder.passed_over()[0].cause, PassedOverCause::NoObjects);
        assert_eq!(folder.validation_split(), None);
    };
    // YOLO: no labels, or empty ones.
    let yolo = || {
        let set = Set::of(&["classes.txt", "images/test/x.png"]);
        for stem in ["a", "b"] {
            set.file(&format!("images/train/{stem}.png"))
                .file(&format!("labels/train/{stem}.txt"));
        }
        set
    };
    held_out(&yolo());
    let set = yolo();
    held_out(set.write("labels/test/x.txt", "\n"));
    // COCO.
    for annotations in ["", r#""annotations": [], "#, r#""annotations": null, "#] {
        let set = Set::of(&["train/a.png", "train/b.png", "test/x.png"]);
        set.write("annotations/instances_train.json", coco(&["a.png", "b.png"]))
            .write(
                "annotations/instances_test.json",
                format!(
                    r#"{{"images": [{{"id": 1, "file_name": "x.png"}}], {annotations}"categories": [{{"id": 1, "name": "cat"}}]}}"#
                ),
            );
        held_out(&set);
    }
    // CSV.
    let set = Set::of(&["a.png", "b.png", "x.png"]);
    let header = "filename,xmin,ymin,xmax,ymax,class\n";
    set.write(
        "train.csv",
        format!("{header}a.png,1,1,9,9,cat\nb.png,1,1,9,9,cat\n"),
    )
    .write("test.csv", format!("{header}x.png,,,,,\n"));
    held_out(&set);
    // VOC: annotations without objects, and a list of images without annotations.
    let voc_set = || {
        let set = Set::of(&["JPEGImages/x.png"]);
        for stem in ["a", "b"] {
            set.file(&format!("JPEGImages/{stem}.png"))
                .file(&format!("Annotations/{stem}.xml"));
        }
        set.write("ImageSets/Main/train.txt", "a\nb\n")
            .write("ImageSets/Main/test.txt", "x\n");
        set
    };
    // A folder of images without annotations.
    let set = Set::of(&["train/a.png", "train/a.xml", "test/x.png"]);
    assert_eq!(set.splits(), ["train: a"]);
    assert_eq!(
        set.open().read("train").unwrap().report().remarks(),
        ["'test' is not used as a split, since its images have no annotations: 1 (test/x.png)"]
    );
    held_out(&voc_set());
    held_out(voc_set().write("Annotations/x.xml", voc("x", "")));
}

#[test]
fn other_splits_are_validated_on() {
    // A test split with an object.
    let set = Set::of(&[
        "classes.txt",
        "images/train/a.png",
        "labels/train/a.txt",
        "images/test/b.png",
        "images/test/c.png",
        "labels/test/c.txt",
    ]);
    assert_eq!(division(&set.open()), pair("train", "test"));
    // A list that is broken.
    let set = Set::of(&["JPEGImages/a.png", "Annotations/a.xml"]);
    set.write("ImageSets/Main/train.txt", "a\n")
        .write("ImageSets/Main/test.txt", "nothing\n");
    let folder = set.open();
    assert_eq!(division(&folder), pair("train", "test"));
    let error = folder.read("test").unwrap_err().to_string();
    assert!(error.contains("test.txt:1: 'nothing'"), "{error}");
    // Labels in another folder are a problem.
    let set = Set::of(&[
        "classes.txt",
        "images/train/a.png",
        "labels/train/a.txt",
        "images/test/b.png",
        "labels/test_labels/b.txt",
    ]);
    let (_, val, left_out) = divided(&set.open());
    assert_eq!(val, Division::HELD_OUT);
    assert!(
        left_out.notes()[0].contains("elsewhere: 1 (labels/test_labels/b.txt)"),
        "{left_out}"
    );
}

#[test]
fn trainval_is_for_training_without_train() {
    let voc_set = |lists: &[(&str, &str)], folder: &str| {
        let set = Set::new();
        for stem in ["a", "b", "c"] {
            set.file(&format!("JPEGImages/{stem}.png"))
                .file(&format!("Annotations/{stem}.xml"));
        }
        for (list, names) in lists {
            set.write(&format!("{folder}{list}.txt"), names);
        }
        set
    };
    for folder in ["ImageSets/Main/", "ImageSets/", ""] {
        let set = voc_set(&[("trainval", "a\nb\n"), ("test", "c\n")], folder);
        assert_eq!(division(&set.open()), pair("trainval", "test"), "{folder}");
        // The validation images are in it, too.
        let set = voc_set(&[("trainval", "a\nb\n"), ("val", "b\n")], folder);
        let (train, val, left_out) = divided(&set.open());
        assert_eq!(
            (train.as_str(), val.as_str()),
            ("trainval", Division::HELD_OUT)
        );
        assert!(left_out.is_clean(), "{left_out}");
        assert_eq!(set.open().evaluation_split().unwrap(), "val");
        let lists = [
            ("trainval", "a\nb\n"),
            ("val", "b\n"),
            ("train", "a\n"),
            ("test", "c\n"),
        ];
        assert_eq!(
            division(&voc_set(&lists, folder).open()),
            pair("train", "val")
        );
    }
    let set = Set::of(&["classes.txt"]);
    for file in ["trainval/a", "test/b"] {
        set.file(&format!("images/{file}.png"))
            .file(&format!("labels/{file}.txt"));
    }
    assert_eq!(division(&set.open()), pair("trainval", "test"));

    // Written as YOLO.
    let folder = set.open();
    let [test, trainval] = ["test", "trainval"].map(|split| folder.read(split).unwrap());
    let dir = TempDir::new().unwrap();
    let report = DatasetWriter::new(Layout::Yolo)
        .write(&[("test", &test), ("trainval", &trainval)], dir.path())
        .unwrap();
    let yaml = fs::read_to_string(dir.path().join("data.yaml")).unwrap();
    assert!(
        yaml.starts_with("test: 'images/test'\ntrain: 'images/trainval'\n"),
        "{yaml}"
    );
    assert_eq!(
        report.remarks(),
        ["data.yaml lists the split 'trainval' as 'train'"]
    );
}

#[test]
fn lists_of_classes_are_no_splits() {
    let set = |lists: &[(&str, &str)]| {
        let set = Set::new();
        for stem in ["a", "b"] {
            set.file(&format!("JPEGImages/{stem}.png"))
                .file(&format!("Annotations/{stem}.xml"));
        }
        for (list, names) in lists {
            set.write(&format!("ImageSets/Main/{list}.txt"), names);
        }
        set
    };
    let verdicts = "a 1\nb -1\n";
    let found = set(&[
        ("default", "a\nb\n"),
        ("cat_default", verdicts),
        ("traffic_light_default", verdicts),
    ]);
    assert_eq!(found.splits(), ["default: a b"]);
    let found = set(&[
        ("first_half", "a\n"),
        ("second_half", "b\n"),
        ("cat_first_half", "a 1\n"),
        ("cat_second_half", "b -1\n"),
    ]);
    assert_eq!(found.splits(), ["first_half: a", "second_half: b"]);
    // Without verdicts, or without a list of the subset, they are splits.
    let found = set(&[
        ("default", "a\nb\n"),
        ("cat_default", "a\n"),
        ("dog_other", "b\n"),
    ]);
    assert_eq!(
        found.splits(),
        ["cat_default: a", "default: a b", "dog_other: b"]
    );
}
