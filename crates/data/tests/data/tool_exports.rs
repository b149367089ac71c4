//! Folders as created by labeling tools and people: each is read with the same boxes and classes, or rejected with the
//! cause.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fcos_burn_data::{BoundingBox, DataError, DataFolder, DetectionDataset, Finding, Layout};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

const CLASSES: [&str; 2] = ["coon", "trash panda"];
const TRAIN: [&str; 4] = ["r-1", "r-2", "r-3", "r-4"];
const VAL: [&str; 2] = ["r-5", "r-6"];
/// Width and height of every image.
const SIZE: (u32, u32) = (40, 20);

/// Class and left, top, width, height of the object in an image, different for all images.
fn object(stem: &str) -> (usize, [f64; 4]) {
    let number: usize = stem[2..].parse().unwrap();
    let x = number as f64;
    (number % 2, [x, 2.0, 10.0 + x, 8.0])
}

fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A folder in which a test writes a data set.
struct Set(TempDir);

impl Set {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        // `FOLDER/NAME` with an empty folder starts with a slash.
        let name = name.as_ref();
        self.0.path().join(name.strip_prefix("/").unwrap_or(name))
    }

    fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> &Self {
        write(self.path(name), content);
        self
    }

    /// An image whose color depends on its name.
    fn image(&self, name: impl AsRef<Path>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap().as_encoded_bytes();
        let color = name
            .iter()
            .fold(7_u8, |color, byte| color.wrapping_mul(31) ^ byte);
        RgbImage::from_pixel(SIZE.0, SIZE.1, Rgb([color, 60, 30]))
            .save(path)
            .unwrap();
        self
    }

    /// The images `FOLDER/STEM.png`.
    fn images(&self, folder: &str, stems: &[&str]) -> &Self {
        for stem in stems {
            self.image(format!("{folder}/{stem}.png"));
        }
        self
    }

    /// The label files `FOLDER/STEM.txt`, each line made by `line`.
    fn labels_with(&self, folder: &str, stems: &[&str], line: impl Fn(&str) -> String) -> &Self {
        for stem in stems {
            self.write(format!("{folder}/{stem}.txt"), line(stem));
        }
        self
    }

    fn labels(&self, folder: &str, stems: &[&str]) -> &Self {
        self.labels_with(folder, stems, yolo_line)
    }

    /// Images and labels in `images/SPLIT` and `labels/SPLIT`.
    fn yolo_folders(&self) -> &Self {
        for (split, stems) in [("train", &TRAIN[..]), ("val", &VAL)] {
            self.images(&format!("images/{split}"), stems)
                .labels(&format!("labels/{split}"), stems);
        }
        self
    }

    fn xml(&self, folder: &str, stems: &[&str]) -> &Self {
        for stem in stems {
            self.write(format!("{folder}/{stem}.xml"), voc_xml(stem));
        }
        self
    }

    fn open(&self) -> Result<DataFolder, DataError> {
        DataFolder::open(self.0.path())
    }

    fn read(&self, split: &str) -> Result<DetectionDataset, DataError> {
        self.open()?.read(split)
    }

    /// The message of the failure to read a split, on one line.
    fn refused(&self, split: &str) -> String {
        let error = self.read(split).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }
}

fn yolo_line(stem: &str) -> String {
    let (class, [x, y, width, height]) = object(stem);
    let (w, h) = (f64::from(SIZE.0), f64::from(SIZE.1));
    let (cx, cy) = ((x + width / 2.0) / w, (y + height / 2.0) / h);
    format!("{class} {cx} {cy} {} {}\n", width / w, height / h)
}

fn voc_xml(stem: &str) -> String {
    let (class, [x, y, width, height]) = object(stem);
    let (name, right, bottom) = (CLASSES[class], x + width, y + height);
    format!(
        "<annotation>\n<folder>images</folder>\n<filename>{stem}.png</filename>\n<size><width>{}</width>\
         <height>{}</height></size>\n<object><name>{name}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{right}</xmax>\
         <ymax>{bottom}</ymax></bndbox></object></annotation>",
        SIZE.0,
        SIZE.1,
        x + 1.0,
        y + 1.0
    )
}

/// A COCO file of these images. `name` gives their file names.
fn coco(stems: &[&str], name: impl Fn(&str) -> String) -> Value {
    let images = stems.iter().zip(1..).map(
        |(stem, id)| json!({"id": id, "file_name": name(stem), "width": SIZE.0, "height": SIZE.1}),
    );
    let annotations = stems.iter().zip(1..).map(|(stem, id)| {
        let (class, bbox) = object(stem);
        json!({"id": id, "image_id": id, "category_id": class + 1, "bbox": bbox, "iscrowd": 0})
    });
    let categories = CLASSES
        .iter()
        .zip(1..)
        .map(|(name, id)| json!({"id": id, "name": name}));
    json!({
        "images": images.collect::<Vec<_>>(),
        "annotations": annotations.collect::<Vec<_>>(),
        "categories": categories.collect::<Vec<_>>(),
    })
}

fn png(stem: &str) -> String {
    format!("{stem}.png")
}

/// The stem of each image with the names and boxes of its objects.
type Found = BTreeMap<String, Vec<(String, [f32; 4])>>;

fn found(dataset: &DetectionDataset) -> Found {
    let stem = |name: &str| {
        let name = name.rsplit(['/', '\\']).next().unwrap();
        name.rsplit_once('.').unwrap().0.to_string()
    };
    let objects = |index: usize| {
        let objects = dataset.images()[index].objects.iter();
        objects
            .map(|object| {
                let name = dataset.categories()[object.label].name.clone();
                let rounded = object
                    .bbox
                    .to_xyxy()
                    .map(|value| (value * 100.0).round() / 100.0);
                (name, rounded)
            })
            .collect()
    };
    let images = dataset.images().iter().enumerate();
    images
        .map(|(index, image)| (stem(&image.file_name), objects(index)))
        .collect()
}

fn expected(stems: &[&str]) -> Found {
    let objects = |stem: &str| {
        let (class, bbox) = object(stem);
        vec![(
            CLASSES[class].to_string(),
            BoundingBox::from_xywh(bbox).to_xyxy(),
        )]
    };
    stems
        .iter()
        .map(|stem| (stem.to_string(), objects(stem)))
        .collect()
}

/// The training and validation splits have the expected images and boxes, and their images are read.
fn assert_read(folder: &DataFolder, layout: Layout) {
    assert_eq!(folder.layout(), layout, "{}", folder.evidence());
    assert!(!folder.evidence().is_empty());
    let splits = [
        (folder.training_split(), &TRAIN[..]),
        (folder.validation_split(), &VAL),
    ];
    for (split, stems) in splits {
        let split = split.unwrap_or_else(|| panic!("{:?}", folder.splits()));
        let dataset = folder.read(split).unwrap();
        assert_clean(&dataset);
        assert_eq!(found(&dataset), expected(stems), "{split}");
    }
}

fn assert_clean(dataset: &DetectionDataset) {
    assert!(dataset.report().is_clean(), "{}", dataset.report());
    assert!(dataset.unreadable_images(|_| {}).is_empty());
}

/// The only split has all images and boxes.
fn assert_read_as_one(folder: &DataFolder, layout: Layout) {
    assert_eq!(folder.layout(), layout, "{}", folder.evidence());
    assert_eq!(folder.splits(), ["all"]);
    assert_eq!(
        (folder.training_split(), folder.validation_split()),
        (Some("all"), None)
    );
    let dataset = folder.read("all").unwrap();
    assert_clean(&dataset);
    assert_eq!(found(&dataset), expected(&[&TRAIN[..], &VAL].concat()));
}

fn all() -> Vec<&'static str> {
    [&TRAIN[..], &VAL].concat()
}

#[test]
fn roboflow_yolo() {
    let yaml = |train: &str, val: &str| {
        format!("names:\n- coon\n- trash panda\nnc: 2\ntrain: {train}\nval: {val}\n")
    };
    let set = Set::new();
    set.images("my-3/train/images", &TRAIN)
        .labels("my-3/train/labels", &TRAIN);
    set.images("my-3/valid/images", &VAL)
        .labels("my-3/valid/labels", &VAL);
    for (train, val) in [
        ("my-3/train/images", "my-3/valid/images"),
        ("../train/images", "../valid/images"),
        ("train/images", "valid/images"),
        ("./train/images/", "./valid/images/"),
        (
            "C:\\Users\\me\\my-3\\train\\images",
            "C:\\Users\\me\\my-3\\valid\\images",
        ),
        ("/content/my-3/train/images", "/content/my-3/valid/images"),
    ] {
        set.write("my-3/data.yaml", yaml(train, val));
        for path in ["my-3", "my-3/data.yaml", ""] {
            assert_read(&DataFolder::open(set.path(path)).unwrap(), Layout::Yolo);
        }
    }
    // Without the description.
    fs::remove_file(set.path("my-3/data.yaml")).unwrap();
    set.write("my-3/classes.txt", "coon\ntrash panda\n");
    assert_read(&DataFolder::open(set.path("my-3")).unwrap(), Layout::Yolo);
}

#[test]
fn splits_with_paths_from_another_machine_are_not_confused() {
    let set = Set::new();
    set.images("images", &TRAIN).labels("labels", &TRAIN);
    set.write(
        "data.yaml",
        "names: [coon, trash panda]\ntrain: /x/train/images\nval: /x/val/images\n",
    );
    let error = set.refused("train");
    assert!(error.contains("train/images: no such folder"), "{error}");
    assert_eq!(set.open().unwrap().validation_split(), None);
}

#[test]
fn cvat_coco_with_subsets() {
    let set = Set::new();
    set.images("images/Train/Data", &TRAIN)
        .images("images/Validation/Data", &VAL);
    let name = |stem: &str| format!("Data/{stem}.png");
    set.write(
        "annotations/instances_Train.json",
        coco(&TRAIN, name).to_string(),
    );
    set.write(
        "annotations/instances_Validation.json",
        coco(&VAL, name).to_string(),
    );
    let folder = set.open().unwrap();
    assert_eq!(folder.splits(), ["Train", "Validation"]);
    assert_read(&folder, Layout::Coco);
    for name in ["train", "TRAIN"] {
        assert_eq!(folder.read(name).unwrap().len(), TRAIN.len());
    }
    assert_eq!(folder.read("val").unwrap().len(), VAL.len());
    // A single subset, and the file itself.
    let set = Set::new();
    set.images("images/default", &all());
    let json = coco(&all(), png).to_string();
    set.write("annotations/instances_default.json", json);
    for path in ["", "annotations/instances_default.json"] {
        let folder = DataFolder::open(set.path(path)).unwrap();
        assert_eq!(folder.training_split(), Some("default"));
        assert_eq!(found(&folder.read("default").unwrap()), expected(&all()));
    }
}

#[test]
fn labelimg_yolo_in_one_folder() {
    let set = Set::new();
    set.images("", &all()).labels("", &all());
    set.write("classes.txt", "coon\r\ntrash panda\r\n");
    assert_read_as_one(&set.open().unwrap(), Layout::Yolo);
    // An image without labels, and labels without an image.
    set.labels("", &["r-9"])
        .image("r-8.png")
        .write("readme.txt", "0 and more");
    let dataset = set.read("all").unwrap();
    assert_eq!(
        dataset.report().tally(Finding::LabelsWithoutImage).examples,
        ["r-9.txt"]
    );
    let [remark] = dataset.report().remarks() else {
        panic!("one remark")
    };
    assert_eq!(
        remark,
        "images without a label file, treated as background: 1 (r-8.png)"
    );
}

#[test]
fn labelimg_voc_in_one_folder() {
    let set = Set::new();
    set.images("", &all()).xml("", &all());
    assert_read_as_one(&set.open().unwrap(), Layout::Voc);
    set.image("r-8.png");
    let dataset = set.read("all").unwrap();
    let [remark] = dataset.report().remarks() else {
        panic!("one remark")
    };
    assert_eq!(remark, "images without annotations, skipped: 1 (r-8.png)");
}

#[test]
fn voc_in_folders_with_other_names() {
    for (images, annotations) in [
        ("images", "annotations"),
        ("images", "Annotations"),
        ("images", "xmls"),
        ("images", "labels"),
        ("imgs", "annotations/xmls"),
        ("JPEGImages", "Annotations"),
    ] {
        let set = Set::new();
        set.images(images, &all()).xml(annotations, &all());
        assert_read_as_one(&set.open().unwrap(), Layout::Voc);
        let set = Set::new();
        for (split, stems) in [("train", &TRAIN[..]), ("val", &VAL)] {
            set.images(&format!("{images}/{split}"), stems)
                .xml(annotations, stems);
        }
        assert_read(&set.open().unwrap(), Layout::Voc);
    }
}

#[test]
fn roboflow_voc() {
    let set = Set::new();
    set.images("train", &TRAIN)
        .xml("train", &TRAIN)
        .images("valid", &VAL)
        .xml("valid", &VAL);
    let folder = set.open().unwrap();
    assert_eq!(folder.splits(), ["train", "valid"]);
    assert_read(&folder, Layout::Voc);
}

/// Images with the same name in two splits, as with numbered frames.
#[test]
fn voc_files_match_images_in_their_own_folder() {
    for (images, annotations) in [
        ("SPLIT", "SPLIT"),
        ("SPLIT/images", "SPLIT/annotations"),
        ("images/SPLIT", "annotations/SPLIT"),
    ] {
        let set = Set::new();
        for (split, width) in [("train", 30), ("val", 50)] {
            let image = set.path(images.replace("SPLIT", split)).join("1.png");
            fs::create_dir_all(image.parent().unwrap()).unwrap();
            RgbImage::new(width, 20).save(image).unwrap();
            let xml = voc_xml("r-1").replace("<width>40", &format!("<width>{width}"));
            set.write(annotations.replace("SPLIT", split) + "/1.xml", xml);
        }
        for (split, width) in [("train", 30), ("val", 50)] {
            let dataset = set.read(split).unwrap();
            assert_eq!(
                dataset.image(0).unwrap().dimensions(),
                (width, 20),
                "{images}"
            );
        }
    }
}

#[test]
fn cvat_yolo_1_1() {
    let set = Set::new();
    set.images("obj_train_data", &TRAIN)
        .labels("obj_train_data", &TRAIN);
    set.images("obj_valid_data", &VAL)
        .labels("obj_valid_data", &VAL);
    set.write("obj.names", "coon\ntrash panda\n");
    set.write(
        "obj.data",
        "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n",
    );
    let list = |folder: &str, stems: &[&str]| {
        let lines = stems
            .iter()
            .map(|stem| format!("data/{folder}/{stem}.png\n"));
        lines.collect::<String>()
    };
    set.write("train.txt", list("obj_train_data", &TRAIN));
    set.write("valid.txt", list("obj_valid_data", &VAL));
    assert_read(&set.open().unwrap(), Layout::Yolo);
    assert_read(
        &DataFolder::open(set.path("obj.data")).unwrap(),
        Layout::Yolo,
    );
    // Without its description: lists and names.
    fs::remove_file(set.path("obj.data")).unwrap();
    assert_read(&set.open().unwrap(), Layout::Yolo);
}

#[test]
fn label_studio_yolo() {
    let set = Set::new();
    set.images("images", &all()).labels("labels", &all());
    let notes = json!({"categories": [{"id": 1, "name": "trash panda"}, {"id": 0, "name": "coon"}], "info": {}});
    set.write("classes.txt", "coon\ntrash panda\n")
        .write("notes.json", notes.to_string());
    assert_read_as_one(&set.open().unwrap(), Layout::Yolo);
    fs::remove_file(set.path("classes.txt")).unwrap();
    assert_read_as_one(&set.open().unwrap(), Layout::Yolo);
}

#[test]
fn label_studio_coco() {
    let set = Set::new();
    set.images("images", &all());
    for name in [
        |stem: &str| format!("images\\{stem}.png"),
        |stem: &str| format!("images/{stem}.png"),
        |stem: &str| format!("/data/upload/3/{stem}.png"),
        |stem: &str| format!("../../label-studio/data/media/upload/3/{stem}.png"),
        |stem: &str| format!("C:\\Users\\me\\{stem}.png"),
        |stem: &str| format!("file:///home/me/{stem}.png"),
    ] {
        set.write("result.json", coco(&all(), name).to_string());
        assert_read_as_one(&set.open().unwrap(), Layout::Coco);
        assert_read_as_one(
            &DataFolder::open(set.path("result.json")).unwrap(),
            Layout::Coco,
        );
    }
}

#[test]
fn coco_windows_paths_inside_the_data_set() {
    let set = Set::new();
    for (split, stems) in [("train", &TRAIN[..]), ("val", &VAL)] {
        let name = |stem: &str| match stem {
            "r-1" | "r-5" => png(stem),
            stem => format!("..\\{split}\\{stem}.png"),
        };
        set.images(split, stems);
        set.write(
            format!("annotations/instances_{split}.json"),
            coco(stems, name).to_string(),
        );
    }
    assert_read(&set.open().unwrap(), Layout::Coco);
    let outside = coco(&TRAIN, |stem| match stem {
        "r-1" => "..\\..\\secret.png".to_string(),
        stem => png(stem),
    });
    set.write("annotations/instances_train.json", outside.to_string());
    let error = set.refused("train");
    assert!(
        error.contains("points outside the folder of the data set"),
        "{error}"
    );
}

/// LVIS names images by their addresses in COCO.
#[test]
fn coco_images_with_addresses() {
    let set = Set::new();
    for (split, stems) in [("train", &TRAIN[..]), ("val", &VAL)] {
        set.images(&format!("{split}2017"), stems);
        let mut file = coco(stems, png);
        for image in file["images"].as_array_mut().unwrap() {
            let image = image.as_object_mut().unwrap();
            let name = image.remove("file_name").unwrap();
            let address = format!("http://host/{split}2017/{}", name.as_str().unwrap());
            image.insert("coco_url".to_owned(), json!(address));
        }
        set.write(
            format!("annotations/lvis_v1_{split}.json"),
            file.to_string(),
        );
    }
    assert_read(&set.open().unwrap(), Layout::Coco);
}

#[test]
fn coco_files_with_other_names() {
    for (train, val) in [
        ("train.json", "val.json"),
        (
            "annotations/train_annotations.json",
            "annotations/valid_annotations.json",
        ),
        (
            "train/_annotations.coco.json",
            "valid/_annotations.coco.json",
        ),
        ("train/labels.json", "dev/labels.json"),
        ("coco-Train2017.json", "coco-Val2017.json"),
    ] {
        let set = Set::new();
        set.images("train", &TRAIN).images("valid", &VAL);
        set.write(train, coco(&TRAIN, png).to_string())
            .write(val, coco(&VAL, png).to_string());
        // Not a COCO file.
        set.write("notes.json", json!({"images": 3}).to_string());
        assert_read(&set.open().unwrap(), Layout::Coco);
    }
}

const YAML: &str = "train: images/train\nval: images/val\nnames: [coon, trash panda]\n";

#[test]
fn class_indices_as_floats() {
    let set = Set::new();
    let float = |stem: &str| {
        let line = yolo_line(stem);
        let (class, rest) = line.split_once(' ').unwrap();
        format!("{class}.0 {rest}")
    };
    set.yolo_folders()
        .labels_with("labels/train", &TRAIN, float)
        .write("data.yaml", YAML);
    assert_read(&set.open().unwrap(), Layout::Yolo);
}

#[test]
fn byte_order_marks_and_windows_line_ends() {
    let marked = |text: &str| {
        [
            b"\xef\xbb\xbf".to_vec(),
            text.replace('\n', "\r\n").into_bytes(),
        ]
        .concat()
    };
    let utf16 = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [vec![0xff, 0xfe], units.collect()].concat()
    };
    for encode in [&marked as &dyn Fn(&str) -> Vec<u8>, &utf16] {
        let set = Set::new();
        set.yolo_folders().write("data.yaml", encode(YAML));
        for (split, stems) in [("train", &TRAIN[..]), ("val", &VAL)] {
            for stem in stems {
                let line = yolo_line(stem).replace('\n', " \t\n\n");
                set.write(format!("labels/{split}/{stem}.txt"), encode(&line));
            }
        }
        assert_read(&set.open().unwrap(), Layout::Yolo);

        let set = Set::new();
        set.images("", &all())
            .labels("", &all())
            .write("classes.txt", encode("coon\ntrash panda\n"));
        assert_read_as_one(&set.open().unwrap(), Layout::Yolo);

        let set = Set::new();
        set.images("train", &TRAIN).images("val", &VAL);
        for stem in all() {
            set.write(format!("Annotations/{stem}.xml"), encode(&voc_xml(stem)));
        }
        set.write("ImageSets/Main/train.txt", encode(&TRAIN.join("\n")));
        set.write("ImageSets/Main/val.txt", encode(&VAL.join("\n")));
        assert_read(&set.open().unwrap(), Layout::Voc);
    }
    let set = Set::new();
    set.images("", &all())
        .write("annotations.json", marked(&coco(&all(), png).to_string()));
    assert_read_as_one(&set.open().unwrap(), Layout::Coco);
}

#[test]
fn an_empty_or_missing_validation_folder_is_not_a_split() {
    let set = Set::new();
    set.images("images/train", &all())
        .labels("labels/train", &all())
        .write("data.yaml", YAML);
    for exists in [false, true] {
        if exists {
            fs::create_dir_all(set.path("images/val")).unwrap();
        }
        let folder = set.open().unwrap();
        assert_eq!(
            (folder.training_split(), folder.validation_split()),
            (Some("train"), None)
        );
        let train = folder.read("train").unwrap();
        // A missing folder may be a typo.
        assert_eq!(train.report().is_clean(), exists, "{}", train.report());
        let (train, val) = train.hold_out(0.5).unwrap();
        assert_eq!(train.len() + val.len(), all().len());
        let error = set.refused("val");
        assert!(error.contains("images/val"), "{error}");
    }
}

#[test]
fn ultralytics_with_a_list() {
    let list = |root: &str| {
        let lines = TRAIN
            .iter()
            .map(|stem| format!("{root}images/train/{stem}.png\n"));
        lines.collect::<String>()
    };
    let set = Set::new();
    set.images("images/train", &TRAIN)
        .labels("labels/train", &TRAIN);
    set.write(
        "data.yaml",
        "names:\n  0: coon\n  1: trash panda\npath: .\ntrain: train.txt\n",
    );
    for root in ["", "./", "data/", "/home/me/set/", "D:\\set\\", "..\\set\\"] {
        set.write("train.txt", list(root));
        let folder = set.open().unwrap();
        assert_eq!(
            (folder.training_split(), folder.validation_split()),
            (Some("train"), None)
        );
        let dataset = folder.read("train").unwrap();
        assert_clean(&dataset);
        assert_eq!(found(&dataset), expected(&TRAIN), "{root}");
    }
    // A deleted image.
    set.write("train.txt", list("") + "images/train/none.png\n");
    let dataset = set.read("train").unwrap();
    assert_eq!(
        (
            dataset.len(),
            dataset.report().tally(Finding::MissingImage).count
        ),
        (4, 1)
    );
}

#[test]
fn a_description_with_any_name() {
    let set = Set::new();
    let yaml = "# comment\npath: coon8 # dataset root dir\ntrain: images/train # 4 images\nval: images/val\n\
                test: # test images (optional)\n\nnames:\n  0: coon\n  1: trash panda\n\ndownload: https://example.com/x.zip\n";
    set.yolo_folders()
        .write("coon.yaml", yaml)
        .write("training.yml", "lr: 0.1\nepochs: 3\n");
    for path in ["", "coon.yaml"] {
        assert_read(&DataFolder::open(set.path(path)).unwrap(), Layout::Yolo);
    }
    // The description is in a subfolder, and its paths are relative to that folder or to the parent.
    fs::create_dir_all(set.path("config")).unwrap();
    fs::rename(set.path("coon.yaml"), set.path("config/data.yaml")).unwrap();
    assert_read(&set.open().unwrap(), Layout::Yolo);
    let above = yaml.replace("images/", "../images/");
    set.write("config/data.yaml", above);
    assert_read(&set.open().unwrap(), Layout::Yolo);
    assert_read(
        &DataFolder::open(set.path("config/data.yaml")).unwrap(),
        Layout::Yolo,
    );
    // The description is elsewhere.
    let other = Set::new();
    for path in [
        set.0.path().display().to_string(),
        format!("../{}", set.0.path().file_name().unwrap().display()),
    ] {
        other.write("coon.yaml", yaml.replace("coon8", &path));
        assert_read(
            &DataFolder::open(other.path("coon.yaml")).unwrap(),
            Layout::Yolo,
        );
    }
}

#[test]
fn coco_segments_without_boxes() {
    let set = Set::new();
    set.images("", &all());
    let mut json = coco(&all(), png);
    for annotation in json["annotations"].as_array_mut().unwrap() {
        let bbox = annotation["bbox"].as_array().unwrap().iter();
        let [x, y, w, h] = bbox
            .map(|value| value.as_f64().unwrap())
            .collect::<Vec<_>>()[..]
        else {
            panic!("four numbers")
        };
        annotation.as_object_mut().unwrap().remove("bbox");
        annotation["segmentation"] = json!([
            [x, y, x + w, y, x + w / 2.0, y + h],
            [x + 1.0, y + 1.0, x + 2.0, y + 1.0, x + 1.0, y + 3.0]
        ]);
    }
    set.write("annotations.json", json.to_string());
    let folder = set.open().unwrap();
    assert_read_as_one(&folder, Layout::Coco);
    let remarks = folder.read("all").unwrap().report().remarks().join("\n");
    assert!(
        remarks.contains("boxes computed from segmentations: 6 (r-1.png annotation 1, "),
        "{remarks}"
    );
}

#[test]
fn yolo_segments() {
    let set = Set::new();
    let polygon = |stem: &str| {
        let (class, [x, y, w, h]) = object(stem);
        let (right, bottom) = (x + w, y + h);
        let points = [
            x,
            y,
            right,
            y,
            right,
            bottom,
            x + w / 2.0,
            bottom,
            x,
            y + h / 2.0,
        ];
        let shares = points
            .chunks(2)
            .map(|point| format!(" {} {}", point[0] / 40.0, point[1] / 20.0));
        format!("{class}{}\n", shares.collect::<String>())
    };
    set.yolo_folders()
        .labels_with("labels/train", &TRAIN, polygon)
        .labels_with("labels/val", &VAL, polygon);
    set.write("data.yaml", YAML);
    let folder = set.open().unwrap();
    assert_read(&folder, Layout::Yolo);
    let remarks = folder.read("train").unwrap().report().remarks().join("\n");
    assert!(
        remarks.contains("boxes computed from segmentations: 4"),
        "{remarks}"
    );
}

#[test]
fn invalid_coco_boxes_are_dropped_and_reported_by_id() {
    let set = Set::new();
    set.images("", &all());
    for empty in [
        json!([]),
        json!(null),
        json!([1, 2, 3]),
        json!({}),
        json!("none"),
        json!([1, 2, 3, 4, 5]),
    ] {
        let mut json = coco(&all(), png);
        json["annotations"][1]["bbox"] = empty.clone();
        json["annotations"][3]["bbox"] = empty;
        set.write("annotations.json", json.to_string());
        let dataset = set.read("all").unwrap();
        let dropped = dataset.report().tally(Finding::NoBox);
        assert_eq!(
            dropped.examples,
            ["r-2.png annotation 2", "r-4.png annotation 4"]
        );
        assert_eq!((dataset.len(), dataset.object_count()), (6, 4));
    }
    let nan = coco(&all(), png)
        .to_string()
        .replace("\"bbox\":[2.0,", "\"bbox\":[NaN,");
    set.write("annotations.json", nan);
    let report = set.read("all").unwrap().report().clone();
    assert_eq!(
        report.tally(Finding::Degenerate).examples,
        ["r-2.png annotation 2"]
    );
}

#[test]
fn coco_ids_in_other_notations() {
    let set = Set::new();
    set.images("", &all());
    let forms: [fn(u64) -> Value; 4] = [
        |id| json!(id.to_string()),
        |id| json!(id as f64),
        |id| json!(format!("{id}.0")),
        |id| json!(format!("image-{id}")),
    ];
    for form in forms {
        let mut json = coco(&all(), png);
        for (list, key) in [
            ("images", "id"),
            ("annotations", "id"),
            ("annotations", "image_id"),
            ("annotations", "category_id"),
            ("categories", "id"),
        ] {
            for item in json[list].as_array_mut().unwrap() {
                item[key] = form(item[key].as_u64().unwrap());
            }
        }
        json["images"][0]["width"] = json!("40");
        set.write("annotations.json", json.to_string());
        let dataset = set.read("all").unwrap();
        assert_eq!(found(&dataset), expected(&all()));
        // The notation of ids may be mixed.
        json["annotations"][0]["image_id"] = form(1);
        let ids: Vec<u64> = dataset.images().iter().map(|image| image.id).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn classes_are_matched_by_name() {
    let set = Set::new();
    set.images("train", &TRAIN).images("val", &VAL);
    set.write(
        "annotations/instances_train.json",
        coco(&TRAIN, png).to_string(),
    );
    // The same classes with swapped ids.
    let mut other = coco(&VAL, png);
    other["categories"] = json!([{"id": 2, "name": "coon"}, {"id": 1, "name": "trash panda"}]);
    for annotation in other["annotations"].as_array_mut().unwrap() {
        annotation["category_id"] = json!(3 - annotation["category_id"].as_u64().unwrap());
    }
    set.write("annotations/instances_val.json", other.to_string());
    let train = set.read("train").unwrap();
    let val = set.read("val").unwrap();
    assert_eq!(found(&val), expected(&VAL));
    let val = val.with_categories(train.categories());
    assert_eq!(val.categories(), train.categories());
    assert_eq!(found(&val), expected(&VAL));
}

/// Roboflow's exports have a category for the project, which may have the name of a class.
#[test]
fn coco_categories_with_the_same_name_are_merged() {
    let set = Set::new();
    let splits = [("train", &TRAIN[..]), ("valid", &VAL)];
    for (split, stems) in splits {
        set.images(split, stems);
        let mut json = coco(stems, png);
        json["categories"].as_array_mut().unwrap().insert(
            0,
            json!({"id": 0, "name": " coon ", "supercategory": "none"}),
        );
        set.write(format!("{split}/_annotations.coco.json"), json.to_string());
    }
    for (split, stems) in splits {
        let dataset = set.read(split).unwrap();
        assert_clean(&dataset);
        assert_eq!(found(&dataset), expected(stems));
        let ids = dataset.categories().iter().map(|category| category.id);
        assert_eq!(ids.collect::<Vec<_>>(), [1, 2]);
        assert_eq!(
            dataset.report().remarks(),
            ["the categories 0 and 1 are both called 'coon' and were merged"]
        );
    }
    // Both have objects.
    let path = set.path("train/_annotations.coco.json");
    let text = fs::read_to_string(&path).unwrap();
    set.write(
        path,
        text.replacen("\"category_id\":1", "\"category_id\":0", 1),
    );
    assert_eq!(found(&set.read("train").unwrap()), expected(&TRAIN));
}

#[test]
fn the_objects_of_images_listed_twice_are_merged() {
    let set = Set::new();
    set.images("images", &TRAIN)
        .xml("annotations", &TRAIN)
        .xml("images", &TRAIN[..2]);
    let other = voc_xml("r-2").replace("<ymin>3<", "<ymin>4<");
    set.write("images/r-2.xml", other);
    let dataset = set.read("all").unwrap();
    assert_eq!((dataset.len(), dataset.object_count()), (4, 5));
    let examples = |finding| dataset.report().tally(finding).examples;
    let place = |stem: &str| {
        vec![format!(
            "{stem}.png in annotations/{stem}.xml and images/{stem}.xml"
        )]
    };
    assert_eq!(examples(Finding::Repeated), place("r-1"));
    assert_eq!(examples(Finding::Merged), place("r-2"));

    let set = Set::new();
    set.images("", &all());
    let mut json = coco(&all(), png);
    let images = json["images"].as_array_mut().unwrap();
    images.push(json!({"id": 70, "file_name": "./r-1.png"}));
    images.push(json!({"id": 71, "file_name": "r-2.png"}));
    let more = json!({"id": 99, "image_id": 71, "category_id": 1, "bbox": [1, 1, 9, 9]});
    json["annotations"].as_array_mut().unwrap().push(more);
    set.write("annotations.json", json.to_string());
    let dataset = set.read("all").unwrap();
    assert_eq!((dataset.len(), dataset.object_count()), (6, 7));
    let examples = |finding| dataset.report().tally(finding).examples;
    assert_eq!(
        examples(Finding::Repeated),
        ["./r-1.png in r-1.png and ./r-1.png"]
    );
    assert_eq!(examples(Finding::Merged), ["r-2.png"]);
}

#[test]
fn coco_files_with_other_names_next_to_official_files() {
    let set = Set::new();
    set.images("images", &all()).image("images/r-8.png");
    set.write("instances_train.json", coco(&TRAIN, png).to_string())
        .write("val.json", coco(&VAL, png).to_string())
        .write("old_train.json", coco(&VAL, png).to_string())
        .write("notes.json", "{}");
    let folder = set.open().unwrap();
    assert_read(&folder, Layout::Coco);
    let remarks = |split| folder.read(split).unwrap().report().remarks().to_vec();
    let unlisted = "images without annotations, skipped: 1 (images/r-8.png)";
    let other = "other annotation files, not read: 1 (old_train.json)";
    assert_eq!(remarks("train"), [other, unlisted]);
    assert_eq!(remarks("val"), [unlisted]);
}

#[test]
fn normalized_coco_boxes_and_utf16() {
    let set = Set::new();
    set.images("", &all());
    let mut json = coco(&all(), png);
    let plain = json.to_string();
    for annotation in json["annotations"].as_array_mut().unwrap() {
        let bbox = annotation["bbox"].as_array_mut().unwrap();
        for (value, size) in bbox.iter_mut().zip([SIZE.0, SIZE.1].repeat(2)) {
            *value = json!(value.as_f64().unwrap() / f64::from(size));
        }
    }
    set.write("annotations.json", json.to_string());
    let dataset = set.read("all").unwrap();
    assert_clean(&dataset);
    assert_eq!(found(&dataset), expected(&all()));
    assert!(dataset.report().remarks()[0].contains("fractions"));
    // A box smaller than a pixel among larger boxes is in pixels.
    json["annotations"][1]["bbox"] = json!([2, 2, 12, 8]);
    set.write("annotations.json", json.to_string());
    let dataset = set.read("all").unwrap();
    assert_eq!(found(&dataset)["r-2"], expected(&all())["r-2"]);
    assert!(
        dataset.report().remarks()[0].starts_with("boxes within a single pixel: 5 (r-1.png"),
        "{:?}",
        dataset.report().remarks()
    );
    let utf16 = std::iter::once(0xfeff).chain(plain.encode_utf16());
    let utf16: Vec<u8> = utf16.flat_map(u16::to_le_bytes).collect();
    set.write("annotations.json", utf16);
    assert_read_as_one(&set.open().unwrap(), Layout::Coco);
    let mut latin = plain.into_bytes();
    let at = latin.windows(4).position(|part| part == b"coon").unwrap();
    latin[at + 1] = 0xfc;
    set.write("annotations.json", latin);
    let error = set
        .read("all")
        .map(|_| ())
        .map_err(|error| error.to_string());
    let error = error.unwrap_err();
    assert!(error.contains("line 1 is not valid UTF-8"), "{error}");
}

#[test]
fn text_in_other_encodings() {
    let set = Set::new();
    set.images("", &all()).xml("", &all());
    let declared = voc_xml("r-1").replace("trash panda", "K\u{e4}fer");
    let latin: Vec<u8> = format!("<?xml version=\"1.0\" encoding='ISO-8859-1'?>{declared}")
        .chars()
        .map(|letter| letter as u8)
        .collect();
    set.write("r-1.xml", latin.clone());
    let dataset = set.read("all").unwrap();
    assert_eq!(found(&dataset)["r-1"][0].0, "K\u{e4}fer");
    let without = latin.splitn(2, |byte| *byte == b'>').nth(1).unwrap();
    set.write("r-1.xml", without);
    let error = set.refused("all");
    assert!(
        error.contains("r-1.xml: line 5 is not valid UTF-8"),
        "{error}"
    );
    let set = Set::new();
    set.images("", &all()).labels("", &all());
    set.write("classes.txt", b"coon\nK\xe4fer\n");
    let error = set.refused("all");
    assert!(
        error.ends_with("classes.txt: line 2 is not valid UTF-8; save the file as UTF-8"),
        "{error}"
    );
}

#[test]
fn the_error_for_a_set_without_objects_includes_remarks() {
    let set = Set::new();
    set.images("", &["r-1", "r-2"]);
    let mut json = coco(&["r-1"], png);
    json["annotations"] = json!([]);
    set.write("annotations.json", json.to_string());
    let error = set.read("all").unwrap().require_objects().unwrap_err();
    let error = error.to_string();
    assert!(
        error.ends_with("annotations.json; images without annotations, skipped: 1 (r-2.png)"),
        "{error}"
    );
}

#[test]
fn voc_corners_in_the_wrong_order() {
    let set = Set::new();
    set.images("", &all());
    for stem in all() {
        let exchanged = voc_xml(stem)
            .replace("xmin", "x-")
            .replace("xmax", "xmin")
            .replace("x-", "xmax");
        set.write(format!("{stem}.xml"), exchanged);
    }
    let dataset = set.read("all").unwrap();
    assert_eq!(found(&dataset), expected(&all()));
    assert_eq!(dataset.report().tally(Finding::SwappedCorners).count, 6);
    assert_eq!(dataset.report().dropped(), 0);
    let report = dataset.report().to_string();
    assert!(
        report.starts_with(
            "boxes with xmin > xmax or ymin > ymax, corners swapped: 6 (r-1.xml line 5,"
        ),
        "{report}"
    );
}

#[test]
fn negative_widths() {
    let set = Set::new();
    set.images("", &all());
    let mut json = coco(&all(), png);
    for annotation in json["annotations"].as_array_mut().unwrap() {
        let [x, width] = [0, 2].map(|index| annotation["bbox"][index].as_f64().unwrap());
        annotation["bbox"][0] = json!(x + width);
        annotation["bbox"][2] = json!(-width);
    }
    set.write("annotations.json", json.to_string());
    let dataset = set.read("all").unwrap();
    assert_eq!(found(&dataset), expected(&all()));
    let report = dataset.report().to_string();
    assert!(
        report.starts_with(
            "boxes with negative width or height, measured from the opposite corner: 6 ("
        ),
        "{report}"
    );
}

#[test]
fn equal_annotations_are_read_once() {
    let set = Set::new();
    set.images("images/train", &TRAIN).write("data.yaml", YAML);
    set.labels_with("labels/train", &TRAIN, |stem| yolo_line(stem).repeat(2));
    let dataset = set.read("train").unwrap();
    assert_eq!(found(&dataset), expected(&TRAIN));
    let duplicates = dataset.report().tally(Finding::Duplicate);
    assert_eq!(
        (duplicates.count, duplicates.examples[0].as_str()),
        (4, "images/train/r-1.png line 2")
    );
}

#[test]
fn labels_in_an_unexpected_folder() {
    let set = Set::new();
    set.images("images/train", &TRAIN)
        .labels("labels/train_labels", &TRAIN);
    set.images("images/val", &VAL)
        .labels("labels/val", &VAL)
        .write("data.yaml", YAML);
    let dataset = set.read("train").unwrap();
    let error = dataset.require_objects().unwrap_err().to_string();
    for part in [
        "no usable objects in 4 images",
        "searched for annotations in labels/train/*.txt, images/train/*.txt",
        "elsewhere: 4 (labels/train_labels/r-1.txt,",
    ] {
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
    assert_eq!(dataset.classes_without_objects(), CLASSES);
    let val = set.read("val").unwrap();
    val.require_objects().unwrap();
    assert!(val.classes_without_objects().is_empty());
}

#[test]
fn the_error_for_a_set_with_only_dropped_boxes_gives_the_reason() {
    let set = Set::new();
    set.images("", &["r-1"]);
    let mut json = coco(&["r-1"], png);
    json["annotations"][0]["bbox"] = json!([90, 90, 5, 5]);
    set.write("annotations.json", json.to_string());
    let error = set
        .read("all")
        .unwrap()
        .require_objects()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "annotations.json; boxes outside the image dropped: 1 (r-1.png annotation 1)"
        ),
        "{error}"
    );
    json["annotations"][0] =
        json!({"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 1});
    set.write("annotations.json", json.to_string());
    let error = set
        .read("all")
        .unwrap()
        .require_objects()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("1 crowd or difficult objects are excluded from training"),
        "{error}"
    );
}

#[test]
fn unsupported_image_formats_are_reported() {
    let set = Set::new();
    set.yolo_folders().write("data.yaml", YAML);
    for (stem, extension) in [("r-1", "avif"), ("r-2", "HEIC")] {
        fs::rename(
            set.path(format!("images/train/{stem}.png")),
            set.path(format!("images/train/{stem}.{extension}")),
        )
        .unwrap();
    }
    let dataset = set.read("train").unwrap();
    assert_eq!(found(&dataset), expected(&TRAIN[2..]));
    let left_out = dataset.report().tally(Finding::UnreadFormat);
    assert_eq!(
        left_out.examples,
        ["images/train/r-1.avif", "images/train/r-2.HEIC"]
    );
    assert_eq!(dataset.report().tally(Finding::LabelsWithoutImage).count, 0);
    for stem in &TRAIN[2..] {
        fs::remove_file(set.path(format!("images/train/{stem}.png"))).unwrap();
    }
    let error = set.refused("train");
    assert!(
        error.contains("no images") && error.contains("r-1.avif"),
        "{error}"
    );
}

#[test]
fn class_indices_beyond_the_names() {
    let set = Set::new();
    set.yolo_folders().write(
        "data.yaml",
        "train: images/train\nval: images/val\nnc: 1\nnames: [coon]\n",
    );
    let error = set.refused("train");
    assert!(
        error.contains("labels/train/r-1.txt:1: class 1 is out of range: the only class is 0"),
        "{error}"
    );
}

#[test]
fn names_that_yaml_would_read_as_other_types() {
    let set = Set::new();
    set.yolo_folders().write(
        "data.yaml",
        "train: images/train\nval: images/val\nnc: 3\nnames:\n- 0\n- no\n",
    );
    let dataset = set.read("train").unwrap();
    let names: Vec<&str> = dataset
        .categories()
        .iter()
        .map(|category| category.name.as_str())
        .collect();
    assert_eq!(names, ["0", "no"]);
    assert_eq!(
        dataset.report().notes(),
        ["3 classes are declared, but 2 are named"]
    );
}

#[test]
fn subfolders_of_images() {
    let set = Set::new();
    set.yolo_folders().write("data.yaml", YAML);
    for stem in &TRAIN[2..] {
        for (kind, extension) in [("images", "png"), ("labels", "txt")] {
            let folder = set.path(format!("{kind}/train/cam2/day/"));
            fs::create_dir_all(&folder).unwrap();
            let file = format!("{stem}.{extension}");
            fs::rename(set.path(format!("{kind}/train/{file}")), folder.join(file)).unwrap();
        }
    }
    assert_read(&set.open().unwrap(), Layout::Yolo);
    fs::remove_file(set.path("data.yaml")).unwrap();
    set.write("classes.txt", "coon\ntrash panda\n");
    assert_read(&set.open().unwrap(), Layout::Yolo);
}

#[test]
fn labels_next_to_some_of_the_images() {
    let set = Set::new();
    set.images("some/folder", &TRAIN[..2])
        .labels("some/folder", &TRAIN[..2]);
    set.images("another/images", &TRAIN[2..])
        .labels("another/images", &TRAIN[2..]);
    set.images("val", &VAL).labels("val", &VAL);
    set.write(
        "data.yaml",
        "train: [some/folder, another/images]\nval: val\nnames: [coon, trash panda]\n",
    );
    assert_read(&set.open().unwrap(), Layout::Yolo);
}

#[test]
fn pixels_instead_of_fractions() {
    let set = Set::new();
    let pixels = |stem: &str| {
        let (class, [x, y, w, h]) = object(stem);
        format!("{class} {} {} {w} {h}\n", x + w / 2.0, y + h / 2.0)
    };
    set.yolo_folders()
        .labels_with("labels/train", &TRAIN, pixels)
        .write("data.yaml", YAML);
    let error = set.refused("train");
    assert!(
        error.contains(
            "labels/train/r-1.txt:1: the values are pixels, not fractions of the image size"
        ),
        "{error}"
    );
}

#[test]
fn poses_and_oriented_boxes_are_rejected_by_name() {
    let refused = |yaml: &str, line: &str| {
        let set = Set::new();
        set.yolo_folders()
            .labels_with("labels/train", &TRAIN, |_| line.to_string());
        set.write("data.yaml", format!("{YAML}{yaml}"));
        set.refused("train")
    };
    let tilted = "0 0.5 0.4 0.7 0.5 0.6 0.6 0.4 0.5\n";
    for error in [
        refused("", tilted),
        refused("task: obb\n", "0 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2\n"),
        refused("", "10.0 4.0 13.0 8.0 7.0 8.0 5.0 3.0 coon 0\n"),
    ] {
        assert!(
            error.contains("labels/train/r-1.txt:1: an oriented box (OBB)"),
            "{error}"
        );
    }
    for error in [
        refused("kpt_shape: [2, 2]\n", "0 0.5 0.5 0.2 0.2 0.4 0.4 0.6 0.6\n"),
        refused("", "0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 1\n"),
    ] {
        assert!(error.contains("labels/train/r-1.txt:1: a pose"), "{error}");
    }
}

/// The layout with more annotated images is chosen, and the evidence names the other one.
#[test]
fn two_layouts_in_one_folder() {
    let set = Set::new();
    set.images("images", &all())
        .labels("labels", &all())
        .write("classes.txt", "coon\ntrash panda\n");
    set.xml("annotations", &all()[..2]);
    let folder = set.open().unwrap();
    assert_read_as_one(&folder, Layout::Yolo);
    assert!(
        folder.evidence().contains("VOC with 2 annotated images"),
        "{}",
        folder.evidence()
    );
    set.xml("annotations", &all()).write("labels/r-1.txt", "");
    fs::remove_file(set.path("labels/r-1.txt")).unwrap();
    assert_read_as_one(&set.open().unwrap(), Layout::Voc);
    set.write("result.json", coco(&all(), png).to_string());
    assert_read_as_one(&set.open().unwrap(), Layout::Coco);
}

#[test]
fn the_error_for_a_folder_without_a_data_set_lists_its_files() {
    let set = Set::new();
    set.images("", &TRAIN).write("notes.docx", "");
    let error = set.open().unwrap_err().to_string();
    assert!(error.ends_with("found 5 files: 4 .png, 1 .docx"), "{error}");
    set.write("r-1.json", "{\"version\": 5, \"shapes\": []}");
    let labelme = set.open().unwrap_err().to_string();
    assert!(labelme.contains("labelme's format"), "{labelme}");
    set.write("annotations.xml", "<annotations></annotations>");
    let cvat = set.open().unwrap_err().to_string();
    assert!(cvat.contains("CVAT's native format"), "{cvat}");
    let missing = DataFolder::open(set.path("none")).unwrap_err().to_string();
    assert!(missing.ends_with("none: no such folder"), "{missing}");
}

/// `images/val` may hold an image with the same name.
#[test]
fn a_missing_image_is_not_replaced_by_one_of_another_split() {
    let lost = [&TRAIN[..], &["r-5"]].concat();
    let coco_set = Set::new();
    coco_set
        .images("train", &TRAIN)
        .images("val", &VAL)
        .write(
            "annotations/instances_train.json",
            coco(&lost, png).to_string(),
        )
        .write(
            "annotations/instances_val.json",
            coco(&VAL, png).to_string(),
        );
    let voc = Set::new();
    voc.images("train", &TRAIN).xml("train", &lost);
    voc.images("val", &VAL).xml("val", &VAL);
    let yolo = Set::new();
    let list = lost
        .iter()
        .map(|stem| format!("/x/images/train/{stem}.png\n"));
    yolo.yolo_folders()
        .write("train.txt", list.collect::<String>())
        .write("data.yaml", YAML.replace("images/train", "train.txt"));
    for set in [coco_set, voc, yolo] {
        let train = set.read("train").unwrap();
        assert_eq!(train.report().tally(Finding::MissingImage).count, 1);
        assert_eq!(found(&train), expected(&TRAIN));
        assert_eq!(found(&set.read("val").unwrap()), expected(&VAL));
    }
}

#[test]
fn voc_annotations_choose_among_several_images() {
    let set = Set::new();
    set.image("images/cam1/r-1.png")
        .image("images/cam2/r-1.png");
    let xml = |tag: &str| voc_xml("r-1").replace("<folder>images</folder>", tag);
    for (tag, camera) in [
        ("<folder>cam1</folder>", "cam1"),
        ("<folder>cam2</folder>", "cam2"),
        (
            "<folder>x</folder><path>C:\\d\\cam1\\r-1.png</path>",
            "cam1",
        ),
    ] {
        set.write("annotations/r-1.xml", xml(tag));
        let dataset = set.read("all").unwrap();
        let image = dataset.image_file(0).unwrap().display().to_string();
        assert!(image.contains(camera), "{image}");
    }
    set.write("annotations/r-1.xml", xml(""));
    let error = set.refused("all");
    for part in [
        "annotations/r-1.xml: ",
        "images/cam1/r-1.png or images/cam2/r-1.png",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn voc_lists_refer_to_the_annotations_next_to_them() {
    let set = Set::new();
    for (year, train, val) in [("VOC2007", "r-1", "r-2"), ("VOC2012", "r-2", "r-1")] {
        set.images(&format!("{year}/JPEGImages"), &[train, val])
            .xml(&format!("{year}/Annotations"), &[train, val])
            .write(format!("{year}/ImageSets/Main/train.txt"), train)
            .write(
                format!("{year}/ImageSets/Main/val.txt"),
                format!("{val}.jpg\n"),
            );
    }
    for (split, other) in [("train", "r-2"), ("val", "r-1")] {
        let dataset = set.read(split).unwrap();
        assert_clean(&dataset);
        let names = dataset
            .images()
            .iter()
            .map(|image| image.file_name.as_str());
        let first = if split == "train" { "r-1" } else { "r-2" };
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                format!("VOC2007/JPEGImages/{first}.png"),
                format!("VOC2012/JPEGImages/{other}.png")
            ]
        );
    }
    // A list across years.
    let set = Set::new();
    set.images("a/JPEGImages", &["r-1"])
        .xml("a/Annotations", &["r-1"]);
    set.images("b/JPEGImages", &["r-1"])
        .xml("b/Annotations", &["r-1"]);
    set.write("ImageSets/Main/train.txt", "\nr-1\n");
    let error = set.refused("train");
    for part in [
        "train.txt:2: 'r-1' matches both",
        "a/Annotations/r-1.xml",
        "b/Annotations/r-1.xml",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn voc_lists_of_all_kinds() {
    let lines = |stems: &[&str], line: &dyn Fn(&str) -> String| {
        stems
            .iter()
            .map(|stem| line(stem) + "\n")
            .collect::<String>()
    };
    let plain: &dyn Fn(&str) -> String = &|stem| stem.to_string();
    let of_class: &dyn Fn(&str) -> String =
        &|stem| format!("{stem}.png {}", (object(stem).0 as i32) * 2 - 1);
    let pair: &dyn Fn(&str) -> String =
        &|stem| format!("./JPEGImages/{stem}.png ./Annotations/{stem}.xml");
    for (folder, prefix, line) in [
        ("ImageSets/", "", plain),
        ("ImageSets/Main/", "", of_class),
        ("ImageSets/Main/", "coon_", of_class),
        ("", "", pair),
        ("", "", plain),
    ] {
        let set = Set::new();
        set.images("JPEGImages", &all()).xml("Annotations", &all());
        set.write("label_list.txt", "coon\ntrash panda\n");
        for (split, stems) in [("train", &TRAIN[..]), ("val", &VAL)] {
            set.write(format!("{folder}{prefix}{split}.txt"), lines(stems, line));
            if prefix == "coon_" {
                set.write(
                    format!("{folder}trash panda_{split}.txt"),
                    lines(stems, line),
                );
            }
        }
        assert_read(&set.open().unwrap(), Layout::Voc);
    }
    // Annotations with the whole name of the image.
    let set = Set::new();
    set.images("JPEGImages", &all());
    for stem in all() {
        set.write(format!("Annotations/{stem}.png.xml"), voc_xml(stem));
    }
    for (split, stems) in [("train", &TRAIN[..]), ("val", &VAL)] {
        set.write(format!("{split}.txt"), lines(stems, &png));
    }
    assert_read(&set.open().unwrap(), Layout::Voc);
    // A list of another kind.
    let set = Set::new();
    set.images("JPEGImages", &all()).xml("Annotations", &all());
    set.write("train.txt", "something else\n");
    let dataset = set.read("all").unwrap();
    assert_eq!(
        dataset.report().remarks(),
        ["train.txt: image list not used"]
    );
}

/// The XML of LabelMe has polygons, with who drew them.
#[test]
fn voc_polygons_of_labelme() {
    let set = Set::new();
    set.images("images", &["r-1"]).write(
        "images/r-1.xml",
        "<annotation><filename>r-1.png</filename><object><name>coon</name><polygon><username>ann</username>\
         <pt><x>3</x><y>2</y><time>17:05</time></pt><pt><x>13</x><y>2</y></pt><pt><x>9</x><y>12</y></pt></polygon>\
         </object></annotation>",
    );
    let dataset = set.read("all").unwrap();
    // Unlike the corners of VOC, its points count from 0.
    let coon = ("coon".to_owned(), [3.0, 2.0, 13.0, 12.0]);
    assert_eq!(found(&dataset)["r-1"], [coon]);
}

#[test]
fn a_broken_description_is_not_ignored() {
    let set = Set::new();
    set.yolo_folders()
        .write(
            "data.yaml",
            "train: images/train\nval: images/val\nnames: {a: b}\n",
        )
        .write("old.csv", "images/train/r-1.png,1,2,11,10,coon\n");
    let error = set.open().unwrap_err().to_string();
    assert!(
        error.contains("data.yaml: the key 'a' of 'names'"),
        "{error}"
    );
    // A file that may not be about the data is mentioned in the evidence.
    fs::remove_file(set.path("data.yaml")).unwrap();
    set.write("classes.txt", "coon\ntrash panda\n");
    set.xml("ImageSets/Main", &TRAIN[..1])
        .write("ImageSets/Main/coon_train.txt", [0xff, 0xff]);
    let folder = set.open().unwrap();
    assert_eq!(folder.layout(), Layout::Yolo);
    assert!(
        folder.evidence().contains("not read: ") && folder.evidence().contains("coon_train.txt"),
        "{}",
        folder.evidence()
    );
}

#[test]
fn missing_folders_of_a_description_are_reported() {
    let set = Set::new();
    set.yolo_folders();
    let yaml = YAML.replace("images/val", "images/vall");
    set.write("data.yaml", format!("{yaml}test: ../test/images\n"));
    let folder = set.open().unwrap();
    assert_eq!(
        (folder.splits(), folder.validation_split()),
        (&["train".to_string()][..], None)
    );
    let train = folder.read("train").unwrap();
    assert_eq!(
        train.report().notes(),
        ["data.yaml: val: images/vall: no such file or folder"]
    );
    assert_eq!(
        train.report().remarks(),
        ["data.yaml: test: ../test/images: no such file or folder"]
    );
    assert!(set.refused("test").ends_with("test/images: no such folder"));
    // Only a test split is missing: all listed splits can be read.
    set.write("data.yaml", format!("{YAML}test: ../test/images\n"));
    assert_read(&set.open().unwrap(), Layout::Yolo);
    assert_eq!(set.open().unwrap().splits(), ["train", "val"]);
}

#[test]
fn each_split_uses_its_own_class_list() {
    let swapped = |stem: &str| {
        let line = yolo_line(stem);
        format!("{}{}", 1 - object(stem).0, &line[1..])
    };
    let set = Set::new();
    set.images("train", &TRAIN)
        .labels("train", &TRAIN)
        .write("train/classes.txt", "coon\ntrash panda\n");
    set.images("val", &VAL)
        .labels_with("val", &VAL, swapped)
        .write("val/classes.txt", "trash panda\ncoon\n\n");
    assert_read(&set.open().unwrap(), Layout::Yolo);
    // Within a split, the lists must agree.
    set.write("data.yaml", "train: [train, val]\n");
    let error = set.refused("train");
    assert!(
        error.contains("val/classes.txt: the classes differ from train/classes.txt"),
        "{error}"
    );
    // Skipping a blank line would shift the classes after it.
    set.write("val/classes.txt", "trash panda\n\ncoon\n");
    fs::remove_file(set.path("data.yaml")).unwrap();
    let error = set.refused("val");
    assert!(error.contains("val/classes.txt:2: a blank line"), "{error}");
}

#[test]
fn darknet_lists_with_any_extension() {
    let set = Set::new();
    set.images("imgs", &all()).labels("imgs", &all());
    for (split, stems) in [("train", &TRAIN[..]), ("valid", &VAL)] {
        let lines = stems.iter().map(|stem| format!("imgs/{stem}.png\n"));
        set.write(format!("{split}.list"), lines.collect::<String>());
    }
    set.write("obj.names", "coon\ntrash panda\n").write(
        "obj.data",
        "classes=2\ntrain = data/train.list\n#valid = old.txt\nvalid = data/valid.list\nnames = data/obj.names\n\
         backup=backup/\nresults = results.txt\n",
    );
    let folder = set.open().unwrap();
    assert_eq!(folder.splits(), ["train", "valid"]);
    assert_read(&folder, Layout::Yolo);
}

#[test]
fn unused_descriptions_keys_and_lists_are_reported() {
    let set = Set::new();
    set.yolo_folders()
        .images("images/minival", &VAL[..1])
        .labels("labels/minival", &VAL[..1])
        .write("data.yaml", format!("{YAML}minival: images/minival\n"))
        .write("old.yaml", "train: x/train\nval: x/val\nnames: [coon]\n")
        .write("train.txt", "images/train/r-1.png\n");
    let folder = set.open().unwrap();
    assert_read(&folder, Layout::Yolo);
    let train = folder.read("train").unwrap();
    assert_eq!(
        train.report().remarks(),
        [
            "old.yaml: another data set description, not used",
            "the key 'minival' of the description is not used: images/minival",
            "train.txt: image list not used",
        ]
    );
    // The description whose folders exist is used.
    fs::rename(set.path("data.yaml"), set.path("z.yaml")).unwrap();
    assert_eq!(set.open().unwrap().evidence(), "z.yaml");
    assert_read(&set.open().unwrap(), Layout::Yolo);
}

#[test]
fn polygons_that_look_like_something_else() {
    let set = Set::new();
    set.yolo_folders().write("data.yaml", YAML);
    let spans = |line: &str| {
        set.labels_with("labels/train", &TRAIN[..1], |_| line.to_string())
            .labels_with("labels/train", &TRAIN[1..], |_| {
                "0 0.6 0.5 0.8 0.5 0.9 0.55 0.6 0.9\n".to_string()
            });
        set.read("train").unwrap().images()[0].objects.len()
    };
    assert_eq!(spans("0 0.7 0.9 0.72 0.6 0.85 0.55 1.0 0.6 0.7 1.0\n"), 1);
    // License plates: the sides of the parallelogram are not perpendicular.
    set.labels_with("labels/train", &TRAIN, |_| {
        "0 .30 .30 .50 .32 .50 .42 .30 .40\n".to_string()
    });
    let plates = set.read("train").unwrap();
    assert!(plates.report().remarks()[0].starts_with("boxes computed from segmentations: 4"));
}

#[test]
fn label_files_with_another_case_or_in_other_folders() {
    let cases: [(&str, &str, &str, bool); 6] = [
        ("images/{}", "labels/{}", ".TXT", false),
        ("images/{}", "Labels/{}", ".txt", false),
        ("Images/{}", "labels/{}", ".txt", false),
        ("imgs/{}", "labels/{}", ".txt", true),
        ("images/{}", "labels/{}", ".png.txt", true),
        ("{}/images", "labels/{}", ".txt", true),
    ];
    for (images, labels, ending, is_told) in cases {
        for described in [true, false] {
            let set = Set::new();
            for (split, stems) in [("train", &TRAIN[..]), ("val", &VAL)] {
                set.images(&images.replace("{}", split), stems);
                for stem in stems {
                    let file = format!("{}/{stem}{ending}", labels.replace("{}", split));
                    set.write(file, yolo_line(stem));
                }
            }
            match described {
                true => set.write(
                    "data.yaml",
                    format!(
                        "train: {}\nval: {}\nnames: [coon, trash panda]\n",
                        images.replace("{}", "train"),
                        images.replace("{}", "val")
                    ),
                ),
                false => set.write("classes.txt", "coon\ntrash panda\n"),
            };
            let folder = set.open().unwrap();
            assert_read(&folder, Layout::Yolo);
            let train = folder.read("train").unwrap();
            assert_eq!(
                !train.report().remarks().is_empty(),
                is_told,
                "{images} {labels} {ending}"
            );
        }
    }
    // Labels of another split or of another image are not used.
    let set = Set::new();
    set.yolo_folders()
        .write("data.yaml", YAML)
        .image("images/train/r-5.png");
    let train = set.read("train").unwrap();
    assert_eq!(found(&train)["r-5"], []);
}

#[test]
fn images_next_to_a_validation_folder_are_for_training() {
    let set = Set::new();
    set.images("images", &TRAIN).labels("labels", &TRAIN);
    set.images("images/val", &VAL)
        .labels("labels/val", &VAL)
        .write("classes.txt", "coon\ntrash panda\n");
    let folder = set.open().unwrap();
    assert_eq!(folder.splits(), ["train", "val"]);
    assert_read(&folder, Layout::Yolo);
}

#[test]
fn split_names_are_words() {
    let set = Set::new();
    for name in ["devices", "training-2"] {
        set.write(format!("{name}.json"), coco(&TRAIN, png).to_string());
    }
    set.images("images", &TRAIN);
    let folder = set.open().unwrap();
    assert_eq!(
        (folder.training_split(), folder.validation_split()),
        (Some("training"), None),
        "{:?}",
        folder.splits()
    );
}

#[cfg(unix)]
#[test]
fn folders_outside_the_data_set_are_not_searched() {
    use std::os::unix::fs::symlink;
    let set = Set::new();
    set.yolo_folders();
    let below = |split: &str| set.path(format!("images/{split}")).display().to_string();
    let yaml = format!(
        "path: /\ntrain: {}\nval: {}\nnames: [coon, trash panda]\n",
        &below("train")[1..],
        &below("val")[1..]
    );
    set.write("data.yaml", yaml);
    assert_read(&set.open().unwrap(), Layout::Yolo);
    // A link is followed if the description names it.
    let outside = Set::new();
    outside.images("", &TRAIN).labels("", &TRAIN);
    symlink(outside.path(""), set.path("far")).unwrap();
    set.write("data.yaml", YAML);
    let train = set.read("train").unwrap();
    let notes = train.report().notes().join("\n");
    assert!(notes.contains("not searched: 1 (far)"), "{notes}");
    set.write("data.yaml", YAML.replace("images/train", "far"));
    assert_eq!(found(&set.read("train").unwrap()), expected(&TRAIN));
}

/// The test cases next to the folder of data sets, if present: each has the boxes of `16k-flat`.
#[test]
fn cases_beside_the_data_sets() {
    let root = std::env::var_os("FCOS_DATASETS").map(|root| PathBuf::from(root).join("../cases"));
    let Some(root) = root.filter(|root| root.is_dir()) else {
        eprintln!("skipped: there are no cases next to FCOS_DATASETS");
        return;
    };
    // Label Studio's export puts an identifier before file names.
    let plain = |sets: Vec<Found>| -> Found {
        let all = sets.into_iter().flatten();
        all.map(|(name, objects)| (name[name.find("raccoon").unwrap()..].to_string(), objects))
            .collect()
    };
    let read = |folder: &DataFolder| {
        let splits = folder.splits().iter();
        plain(
            splits
                .map(|split| found(&folder.read(split).unwrap()))
                .collect(),
        )
    };
    // Images belong to the splits that their folders or lists name.
    let validated = |folder: &DataFolder| -> Vec<String> {
        let split = folder.validation_split();
        let read = split.map(|split| plain(vec![found(&folder.read(split).unwrap())]));
        read.unwrap_or_default().into_keys().collect()
    };
    let truth = read(&DataFolder::open(root.join("16k-flat")).unwrap());
    assert_eq!(truth.len(), 8);
    let near = |a: &Found, b: &Found| {
        a.keys().eq(b.keys())
            && a.iter().all(|(name, objects)| {
                let others = &b[name];
                let pairs = objects.iter().zip(others);
                let mut pairs = pairs.map(|((name_a, box_a), (name_b, box_b))| {
                    name_a == name_b && box_a.iter().zip(box_b).all(|(a, b)| (a - b).abs() < 0.05)
                });
                objects.len() == others.len() && pairs.all(|equal| equal)
            })
    };
    for case in [
        "02a-roboflow-yolo",
        "02a-roboflow-yolo/my-project-3",
        "02a-roboflow-yolo/my-project-3/data.yaml",
        "03b-cvat-subsets",
        "04a-labelimg-flat",
        "05-cvat-yolo11",
        "06-labelstudio-yolo",
        "07c-xanylabeling",
        "10a-floatclass",
        "10b-crlf-bom",
        "12a-segonly",
        "15a-order",
        "15b-ids",
        "16g-swapcorner",
        "16l-roboflow-voc",
        "17-exif-coco",
        "17-exif-voc",
        "17-exif-yolo",
        "41-ultra",
        "41-ultra/coon.yaml",
        "50-nested",
        "62-half-images",
        "70a-cvat-ultralytics",
    ] {
        let folder =
            DataFolder::open(root.join(case)).unwrap_or_else(|error| panic!("{case}: {error}"));
        let all = read(&folder);
        assert!(
            near(&all, &truth),
            "{case} ({}): {all:?}",
            folder.evidence()
        );
        let (training, validation) = (folder.training_split(), folder.validation_split());
        let training = training.unwrap_or_else(|| panic!("{case}"));
        let trained = plain(vec![found(&folder.read(training).unwrap())]);
        let validated = validated(&folder);
        assert!(
            validated.iter().all(|name| !trained.contains_key(name)),
            "{case}"
        );
        let expected = if validation.is_some() {
            8
        } else {
            trained.len()
        };
        assert_eq!(trained.len() + validated.len(), expected, "{case}");
    }
    let open = |case: &str| DataFolder::open(root.join(case)).unwrap();
    assert_eq!(open("11f-emptyval").validation_split(), None);
    let only = open("11f-emptyval").read("train").unwrap();
    assert_eq!(only.len(), 6);
    let segments = open("12b-emptybbox").read("train").unwrap();
    assert_eq!(
        (segments.report().dropped(), segments.object_count()),
        (3, 3)
    );
    let lost = open("30-wrong-label-folder")
        .read("train")
        .unwrap()
        .require_objects();
    assert!(
        lost.unwrap_err()
            .to_string()
            .contains("labels/train_labels/")
    );
    let avif = open("31-avif").read("train").unwrap();
    assert_eq!(
        (avif.len(), avif.report().tally(Finding::UnreadFormat).count),
        (3, 3)
    );
    for (case, cause) in [
        ("38-classrange", "class 1 is out of range"),
        ("52-pixels", "pixels, not fractions"),
    ] {
        let error = open(case).read("train").unwrap_err().to_string();
        assert!(error.contains(cause), "{case}: {error}");
    }
    assert_eq!(
        open("39-numeric-names").read("train").unwrap().categories()[1].name,
        "no"
    );
}

/// Lines as `detect --yolo --yolo-scores` and other detectors write them.
#[test]
fn scores_in_yolo_labels_are_ignored_and_counted() {
    let set = Set::new();
    set.yolo_folders().write("classes.txt", CLASSES.join("\n"));
    let scored = |stem: &str| format!("{} 0.75\n", yolo_line(stem).trim_end());
    set.labels_with("labels/train", &TRAIN[..2], scored);
    let dataset = set.read("train").unwrap();
    assert_eq!(found(&dataset), expected(&TRAIN));
    assert_clean(&dataset);
    assert_eq!(
        dataset.report().remarks(),
        [
            "scores after boxes, ignored: 2 (labels/train/r-1.txt line 1, labels/train/r-2.txt line 1)"
        ]
    );
    assert_eq!(set.read("val").unwrap().report().remarks().len(), 0);
    set.write("labels/train/r-1.txt", "0 0.5 0.5 0.2 0.1 17\n");
    let error = set.refused("train");
    assert!(
        error
            .ends_with("r-1.txt:1: expected a score from 0 to 1 after 'class cx cy w h', found 17"),
        "{error}"
    );
}

/// The text as UTF-16: with a mark or without, in both byte orders.
fn utf16(text: &str) -> [Vec<u8>; 4] {
    let marked = format!("\u{feff}{text}");
    let encode =
        |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
    [
        encode(&marked, u16::to_le_bytes),
        encode(&marked, u16::to_be_bytes),
        encode(text, u16::to_le_bytes),
        encode(text, u16::to_be_bytes),
    ]
}

#[test]
fn all_text_files_may_be_utf16() {
    for encoding in 0..4 {
        let encode = |text: &str| utf16(text)[encoding].clone();
        let voc = Set::new();
        voc.images("", &all());
        for stem in all() {
            let declared = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\n{}",
                voc_xml(stem)
            );
            voc.write(format!("{stem}.xml"), encode(&declared));
        }
        assert_read_as_one(&voc.open().unwrap(), Layout::Voc);

        let yolo = Set::new();
        yolo.images("images", &all())
            .write("classes.txt", encode(&CLASSES.join("\r\n")));
        for stem in all() {
            yolo.write(format!("labels/{stem}.txt"), encode(&yolo_line(stem)));
        }
        assert_read_as_one(&yolo.open().unwrap(), Layout::Yolo);

        let coco_set = Set::new();
        coco_set.images("", &all());
        coco_set.write("annotations.json", encode(&coco(&all(), png).to_string()));
        assert_read_as_one(&coco_set.open().unwrap(), Layout::Coco);

        let table = Set::new();
        table
            .images("", &all())
            .write("labels.csv", encode(&csv_rows(&all())));
        assert_read_as_one(&table.open().unwrap(), Layout::Csv);
    }
}

/// A table of `path,x1,y1,x2,y2,class` without a header.
fn csv_rows(stems: &[&str]) -> String {
    let row = |stem: &&str| {
        let (class, [x, y, width, height]) = object(stem);
        let (right, bottom) = (x + width, y + height);
        format!("{stem}.png,{x},{y},{right},{bottom},{}\n", CLASSES[class])
    };
    stems.iter().map(row).collect()
}

#[test]
fn the_error_for_a_folder_without_a_data_set_names_broken_annotations() {
    let json = coco(&all(), png).to_string();
    let cut = &json[..json.len() / 2];
    let mut without_classes = coco(&all(), png);
    without_classes
        .as_object_mut()
        .unwrap()
        .remove("categories");
    let without_classes = without_classes.to_string();
    for (name, content, cause) in [
        ("train.json", cut, "train.json: not JSON: EOF while parsing"),
        ("train.json", " ", "train.json: the file is empty"),
        (
            "train.json",
            &without_classes,
            "train.json: not COCO annotations: no list 'categories'",
        ),
        (
            "train.json",
            r#"{"images": {}, "annotations": [], "categories": []}"#,
            "train.json: not COCO annotations: images, annotations or categories is not a list",
        ),
        (
            "data/labels.csv",
            "filename,colour,size\na.png,red,3\n",
            "data/labels.csv: line 1: no columns xmin, ymin, xmax, ymax, class; the columns are: filename, colour, size",
        ),
        (
            "data/labels.tsv",
            "\npicture\txmin\tlabel\na.png\t1\tcat\n",
            "data/labels.tsv: line 2: no columns filename, ymin, xmax, ymax; the columns are: picture, xmin, label",
        ),
        (
            "labels.csv",
            "TRAIN,gs://b/a.png,cat,0.1,0.2,,,0.3,0.4,,\n",
            "labels.csv: line 1: expected 'path,x1,y1,x2,y2,class', or a header that names the columns; found 11 fields",
        ),
        ("labels.csv", "", "labels.csv: the file is empty"),
        (
            "a.xml",
            "<object>\n<name>cat</name>",
            "a.xml: line 2: not XML: the file ends inside <object>",
        ),
        (
            "a.xml",
            "\n<boxes></boxes>",
            "a.xml: line 2: expected <annotation>, found <boxes>",
        ),
    ] {
        let set = Set::new();
        set.images("pictures", &TRAIN).write(name, content);
        // The folder, and the file by itself.
        for path in [set.path(""), set.path(name)] {
            let error = DataFolder::open(&path).and_then(|folder| {
                let split = folder.splits()[0].clone();
                folder.read(&split)
            });
            let error = error.unwrap_err().to_string();
            // Reading a JSON file that was given has messages of its own.
            let is_json = path.is_file() && name.ends_with(".json");
            let cause = if is_json { name } else { cause };
            let cause = match path.is_file() {
                true => cause.trim_start_matches("data/"),
                false => cause,
            };
            assert!(
                error.contains(cause) && !error.contains('\n'),
                "{name}: {error}"
            );
        }
    }
    // Files about something else are not mentioned, and many files only briefly.
    let set = Set::new();
    set.images("", &TRAIN)
        .write("package.json", r#"{"name": "x"}"#);
    let error = set.open().unwrap_err().to_string();
    assert!(error.ends_with("found 5 files: 4 .png, 1 .json"), "{error}");
    for number in 0..6 {
        set.write(format!("{number}.json"), "{");
    }
    set.write("table.csv", "epoch,loss\n1,0.5\n");
    let error = set.open().unwrap_err().to_string();
    for part in [
        "; 0.json: not JSON",
        "; table.csv: line 1: no columns",
        "; more files that are not annotations: 4",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_split_whose_file_is_broken_is_not_left_out_silently() {
    let set = Set::new();
    let json = coco(&TRAIN, png).to_string();
    set.images("", &all())
        .write("train.json", &json[..json.len() / 2])
        .write("val.json", coco(&VAL, png).to_string());
    let dataset = set.read("val").unwrap();
    let notes = dataset.report().notes();
    assert!(
        notes.len() == 1 && notes[0].starts_with("train.json: not read: not JSON: EOF"),
        "{notes:?}"
    );
    let set = Set::new();
    set.images("", &all())
        .write("train.csv", csv_rows(&TRAIN))
        .write("val.csv", "picture,category\nr-5.png,coon\n");
    let dataset = set.read("train").unwrap();
    let remarks = dataset.report().remarks();
    assert!(
        remarks[0].starts_with("val.csv: not read: line 1: no columns filename, xmin"),
        "{remarks:?}"
    );
}
