//! Reading folders written here: what is kept, what is dropped and reported, and the message of each error.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use fcos_burn_data::{BoundingBox, DataError, DataFolder, DetectionDataset, Finding, Layout};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn write_image(path: impl AsRef<Path>, width: u32, height: u32) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb([9, 90, 200]))
        .save(path)
        .unwrap();
}

/// The message, which must fit on one line.
fn message<T>(result: Result<T, DataError>) -> String {
    let message = result.err().expect("an error").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn names(dataset: &DetectionDataset) -> Vec<&str> {
    dataset
        .categories()
        .iter()
        .map(|category| category.name.as_str())
        .collect()
}

/// Categories 7 and 3, in that order; image 20 before image 10.
fn coco_json() -> Value {
    json!({
        "images": [
            {"id": 20, "file_name": "b.png", "width": 40, "height": 30},
            {"id": 10, "file_name": "a.png", "width": 20, "height": 10},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 501, "image_id": 10, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 7.5, "iscrowd": 0},
            {"id": 502, "image_id": 20, "category_id": 3, "bbox": [30, 20, 15, 5], "area": 75.0, "iscrowd": 1},
            {"id": 503, "image_id": 20, "category_id": 3, "bbox": [5, 5, 0, 5], "area": 0.0},
            {"id": 504, "image_id": 20, "category_id": 3, "bbox": [41, 5, 5, 5], "area": 25.0},
            {"id": 505, "image_id": 99, "category_id": 3, "bbox": [1, 1, 5, 5]},
            {"id": 506, "image_id": 10, "category_id": 4, "bbox": [1, 1, 5, 5]},
            {"id": 507, "image_id": 10, "category_id": 3},
        ],
    })
}

fn coco_folder(layout: impl Fn(&Path, &str)) -> TempDir {
    let dir = TempDir::new().unwrap();
    layout(dir.path(), &coco_json().to_string());
    dir
}

fn write_coco_images(folder: &Path) {
    write_image(folder.join("a.png"), 20, 10);
    write_image(folder.join("b.png"), 40, 30);
}

fn layout_and_splits(dir: &Path) -> (Layout, Vec<String>) {
    let folder = DataFolder::open(dir).unwrap();
    (folder.layout(), folder.splits().to_vec())
}

#[test]
fn coco_keeps_ids_and_reports_dropped_annotations() {
    let dir = coco_folder(|dir, json| {
        write(dir.join("gt.json"), json);
        write_coco_images(&dir.join("pictures"));
    });
    let dataset =
        DetectionDataset::coco(dir.path().join("pictures"), dir.path().join("gt.json")).unwrap();

    let ids: Vec<u64> = dataset
        .categories()
        .iter()
        .map(|category| category.id)
        .collect();
    assert_eq!((ids, names(&dataset)), (vec![3, 7], vec!["cat", "dog"]));
    let [b, a] = dataset.images() else {
        panic!("two images")
    };
    assert_eq!(
        (a.id, a.file_name.as_str(), a.width, a.height),
        (10, "a.png", 20, 10)
    );
    let [dog] = &a.objects[..] else {
        panic!("one object")
    };
    assert_eq!(
        (dog.id, dog.label, dog.area(), dog.iscrowd),
        (501, 1, 7.5, false)
    );
    assert_eq!(dog.bbox, BoundingBox::new(1.0, 2.0, 4.0, 6.0));
    let [crowd] = &b.objects[..] else {
        panic!("one object")
    };
    assert_eq!(
        (crowd.id, crowd.bbox, crowd.iscrowd),
        (502, BoundingBox::new(30.0, 20.0, 40.0, 25.0), true)
    );

    assert_eq!(dataset.report().dropped(), 5);
    let found: Vec<_> = dataset
        .report()
        .findings()
        .map(|(finding, tally)| (finding, &tally.examples[..]))
        .collect();
    assert_eq!(
        found,
        [
            (
                Finding::Degenerate,
                &["b.png annotation 503".to_string()][..]
            ),
            (Finding::Outside, &["b.png annotation 504".to_string()][..]),
            (Finding::NoBox, &["a.png annotation 507".to_string()][..]),
            (
                Finding::UnknownImage,
                &["image 99 annotation 505".to_string()][..]
            ),
            (
                Finding::UnknownCategory,
                &["a.png annotation 506".to_string()][..]
            ),
            (Finding::Clipped, &["b.png annotation 502".to_string()][..]),
        ]
    );

    assert_eq!(dataset.image(1).unwrap().dimensions(), (20, 10));
    assert!(
        dataset.sample(0).unwrap().boxes().is_empty(),
        "crowds are excluded from training"
    );
    assert_eq!(dataset.sample(1).unwrap().labels(), [1]);
}

#[test]
fn ground_truth_round_trips_through_a_file() {
    let dir = coco_folder(|dir, json| {
        write(dir.join("gt.json"), json);
        write_coco_images(dir);
    });
    let dataset = DetectionDataset::coco(dir.path(), dir.path().join("gt.json")).unwrap();
    let copy = dir.path().join("copy.json");
    dataset.write_coco(&copy).unwrap();
    let read = DetectionDataset::coco(dir.path(), &copy).unwrap();
    assert_eq!(
        (read.categories(), read.images()),
        (dataset.categories(), dataset.images())
    );
    assert!(read.report().is_clean());
    let json: Value = serde_json::from_str(&fs::read_to_string(&copy).unwrap()).unwrap();
    assert_eq!(
        json["annotations"][0]["bbox"],
        json!([30.0, 20.0, 10.0, 5.0])
    );
    assert_eq!(json["annotations"][0]["category_id"], 3);
}

#[test]
fn coco_folders_are_recognized() {
    let official = coco_folder(|dir, json| {
        write(dir.join("annotations/instances_train2017.json"), json);
        write(dir.join("annotations/instances_val2017.json"), json);
        write(dir.join("annotations/captions_val2017.json"), "{}");
        write_coco_images(&dir.join("train2017"));
        write_coco_images(&dir.join("images/val2017"));
    });
    assert_eq!(
        layout_and_splits(official.path()),
        (Layout::Coco, vec!["train2017".into(), "val2017".into()])
    );
    for split in ["train2017", "val2017"] {
        let dataset = DetectionDataset::open(official.path(), Some(split)).unwrap();
        assert_eq!((dataset.layout(), dataset.len()), (Some(Layout::Coco), 2));
        dataset.image(0).unwrap();
    }
    let unnamed = message(DetectionDataset::open(official.path(), None));
    assert!(
        unnamed.ends_with("this COCO data set has several splits: name one of train2017, val2017"),
        "{unnamed}"
    );
    let unknown = message(DetectionDataset::open(official.path(), Some("test")));
    assert!(
        unknown.ends_with("this COCO data set has no split 'test'; it has: train2017, val2017"),
        "{unknown}"
    );

    let roboflow = coco_folder(|dir, json| {
        write(dir.join("valid/_annotations.coco.json"), json);
        write_coco_images(&dir.join("valid"));
    });
    DetectionDataset::open(roboflow.path(), None)
        .unwrap()
        .image(0)
        .unwrap();
    let plain = coco_folder(|dir, json| {
        write(dir.join("annotations.json"), json);
        write_coco_images(dir);
    });
    DetectionDataset::open(plain.path(), None)
        .unwrap()
        .image(0)
        .unwrap();
}

#[test]
fn missing_sizes_are_read_from_images_and_missing_ids_assigned() {
    let dir = TempDir::new().unwrap();
    write_coco_images(dir.path());
    let json = json!({
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 0, "name": "thing"}],
        "annotations": [
            {"image_id": 1, "category_id": 0, "bbox": [0, 0, 4, 5]},
            {"image_id": 1, "category_id": 0, "bbox": [15, 0, 9, 5]},
        ],
    });
    write(dir.path().join("annotations.json"), json.to_string());
    let dataset = DetectionDataset::open(dir.path(), None).unwrap();
    let image = &dataset.images()[0];
    assert_eq!((image.width, image.height), (20, 10));
    let objects: Vec<_> = image
        .objects
        .iter()
        .map(|object| (object.id, object.area()))
        .collect();
    assert_eq!(objects, [(1, 20.0), (2, 25.0)]);
    assert!(
        dataset
            .report()
            .notes()
            .iter()
            .any(|note| note.contains("renumbered from 1"))
    );
}

#[test]
fn coco_errors_name_the_file_and_the_cause() {
    let dir = coco_folder(|dir, json| {
        write(dir.join("gt.json"), json);
        write_image(dir.join("a.png"), 20, 10);
    });
    let path = |name: &str| dir.path().join(name);
    let read = |name: &str| message(DetectionDataset::coco(dir.path(), path(name)));
    let starts = |message: &str, name: &str| {
        assert!(
            message.starts_with(path(name).to_str().unwrap()),
            "{message}"
        )
    };

    // Half of the images may be missing, but not more.
    let dataset = DetectionDataset::coco(dir.path(), path("gt.json")).unwrap();
    let missing = dataset.report().tally(Finding::MissingImage);
    assert_eq!((dataset.len(), missing.examples), (1, vec!["b.png".into()]));
    let mut more = coco_json();
    let lost = json!({"id": 30, "file_name": "c.png"});
    more["images"].as_array_mut().unwrap().push(lost);
    write(path("more.json"), more.to_string());
    let missing_images = read("more.json");
    starts(&missing_images, "b.png");
    assert!(
        missing_images.ends_with("no such image (2 of 3 annotated images are missing)"),
        "{missing_images}"
    );

    write(path("list.json"), "[1, 2]");
    write(path("empty.json"), "{}");
    write(path("text.json"), "annotations");
    let mut repeated = coco_json();
    repeated["images"][0]["id"] = json!(10);
    write(path("repeated.json"), repeated.to_string());
    for (name, cause) in [
        ("list.json", "not COCO annotations"),
        ("empty.json", "not COCO annotations: no images are listed"),
        ("text.json", "not COCO annotations"),
        ("repeated.json", "image id 10 is used twice"),
        ("absent.json", ""),
    ] {
        let message = read(name);
        starts(&message, name);
        assert!(message.contains(cause), "{message}");
    }
}

#[test]
fn broken_images_are_named() {
    let dir = coco_folder(|dir, json| {
        write(dir.join("annotations.json"), json);
        write(dir.join("b.png"), "this is text");
        write_image(dir.join("a.png"), 20, 10);
    });
    let dataset = DetectionDataset::open(dir.path(), None).unwrap();
    // The file changes after opening.
    write_image(dir.path().join("a.png"), 10, 20);
    let unreadable = dataset.report().tally(Finding::UnreadableImage);
    assert!(
        unreadable.count == 1 && unreadable.examples[0].starts_with("b.png "),
        "{unreadable}"
    );
    let rotated = message(dataset.image(0));
    assert!(
        rotated.contains("a.png: the image is 10x20 pixels but was annotated as 20x10"),
        "{rotated}"
    );
    assert_eq!(
        message(dataset.image(1)),
        "image index 1 is out of range: the data set has 1 images"
    );
    write(dir.path().join("a.png"), "this is text");
    let none = message(DetectionDataset::open(dir.path(), None));
    assert!(none.contains("b.png: "), "{none}");
}

#[test]
fn images_that_differ_from_their_annotated_size_are_dropped_or_rejected() {
    let dir = coco_folder(|dir, json| {
        write(dir.join("annotations.json"), json);
        write_coco_images(dir);
    });
    write_image(dir.path().join("a.png"), 10, 20);
    let dataset = DetectionDataset::open(dir.path(), None).unwrap();
    let mismatch = dataset.report().tally(Finding::SizeMismatch);
    assert_eq!(mismatch.examples, ["a.png is 10x20, annotated as 20x10"]);
    assert_eq!(dataset.len(), 1);
    assert!(dataset.unreadable_images(|_| {}).is_empty());
    let all = || message(DetectionDataset::open(dir.path(), None));
    write_image(dir.path().join("b.png"), 20, 15);
    let (found, image) = (all(), dir.path().join("b.png"));
    assert_eq!(
        found,
        format!(
            "{} (one of 2 such images of 2): the image is 20x15 pixels but was annotated as 40x30; it was probably \
             resized after annotation",
            image.display()
        )
    );
    fs::remove_file(image).unwrap();
    assert!(
        all().ends_with("annotated as 20x10; width and height may be swapped in the annotation"),
        "{}",
        all()
    );
}

#[test]
fn a_broken_validation_file_does_not_count_as_empty() {
    let dir = coco_folder(|dir, json| {
        write(dir.join("annotations/instances_train.json"), json);
        write_coco_images(&dir.join("images"));
    });
    let val = dir.path().join("annotations/instances_val.json");
    for (json, is_empty) in [
        (
            r#"{"images": [], "annotations": [], "categories": []}"#,
            true,
        ),
        ("", false),
        (r#"{"images": ["#, false),
        (r#"{"info": {}}"#, false),
        (r#"{"images": [{"id": 1}], "categories": []}"#, false),
    ] {
        write(&val, json);
        let folder = DataFolder::open(dir.path()).unwrap();
        let expected = (!is_empty).then_some("val");
        assert_eq!(folder.validation_split(), expected, "{json}");
        let error = message(folder.read("val"));
        assert!(error.contains("instances_val.json: "), "{error}");
    }
}

#[test]
fn single_invalid_coco_values_are_dropped_and_counted() {
    let read = |change: &dyn Fn(&mut Value)| {
        let dir = coco_folder(|dir, _| write_coco_images(dir));
        let mut json = coco_json();
        json["annotations"].as_array_mut().unwrap().truncate(2);
        json["annotations"][1]["bbox"] = json!([1, 1, 5, 5]);
        change(&mut json);
        write(dir.path().join("annotations.json"), json.to_string());
        DetectionDataset::open(dir.path(), None).unwrap()
    };
    let more = json!({"id": 900, "image_id": 10, "category_id": 7, "bbox": [1, 2, 5, 5]});
    let null = Value::Null;
    for (field, value, finding, place) in [
        (
            "category_id",
            &null,
            Finding::UnknownCategory,
            "a.png annotation 900",
        ),
        (
            "category_id",
            &json!([]),
            Finding::UnknownCategory,
            "a.png annotation 900",
        ),
        (
            "image_id",
            &null,
            Finding::UnknownImage,
            "annotation 900 without image_id",
        ),
        (
            "image_id",
            &json!(1.5),
            Finding::UnknownImage,
            "image 1.5 annotation 900",
        ),
    ] {
        let dataset = read(&|json| {
            let mut more = more.clone();
            more[field] = value.clone();
            json["annotations"].as_array_mut().unwrap().push(more);
        });
        assert_eq!((dataset.len(), dataset.object_count()), (2, 2));
        assert_eq!(dataset.report().tally(finding).examples, [place]);
        let absent = read(&|json| {
            let mut more = more.clone();
            more.as_object_mut().unwrap().remove(field);
            json["annotations"].as_array_mut().unwrap().push(more);
        });
        assert_eq!((absent.object_count(), absent.report().dropped()), (2, 1));
    }
    for (image, place) in [
        (
            json!({"id": 5, "file_name": null}),
            "image 5 without file_name",
        ),
        (
            json!({"id": null, "file_name": "b.png"}),
            "b.png without id",
        ),
    ] {
        let dataset = read(&|json| json["images"].as_array_mut().unwrap().push(image.clone()));
        assert_eq!(dataset.len(), 2);
        assert_eq!(
            dataset.report().tally(Finding::Incomplete).examples,
            [place]
        );
    }
    for width in [json!(20.5), json!(-1), json!(99_999_999_999_u64)] {
        let dataset = read(&|json| json["images"][1]["width"] = width.clone());
        assert_eq!(dataset.images()[1].width, 20);
        let unusable = dataset.report().tally(Finding::UnusableSize);
        assert_eq!(unusable.examples, [format!("a.png {width}")]);
    }
    let negative = read(&|json| {
        let category = json!({"id": -1, "name": "bird"});
        json["categories"].as_array_mut().unwrap().push(category);
        json["annotations"][0]["category_id"] = json!(-1);
    });
    assert_eq!(names(&negative), ["cat", "dog", "bird"]);
    assert_eq!(negative.categories()[2].id, 8);
    assert_eq!(negative.images()[1].objects[0].label, 2);
    for change in [
        (|json: &mut Value| json["annotations"] = Value::Null) as fn(&mut Value),
        |json| drop(json.as_object_mut().unwrap().remove("annotations")),
    ] {
        let dataset = read(&change);
        assert_eq!((dataset.len(), dataset.object_count()), (2, 0));
        assert!(dataset.report().notes()[0].contains("no list of annotations"));
    }
}

#[test]
fn single_invalid_voc_values_are_dropped_and_counted() {
    let dir = voc_folder();
    let object = "<object><name>ant</name><difficult>Unspecified</difficult><bndbox><xmin>1</xmin><ymin>1</ymin>\
                  <xmax>4</xmax><ymax>5</ymax></bndbox></object>";
    let read = |size: &str, more: &str| {
        let xml = format!("<annotation><size>{size}</size>\n{object}\n{more}</annotation>");
        write(dir.path().join("Annotations/c.xml"), xml);
        let dataset = DetectionDataset::voc(dir.path(), Some("train")).unwrap();
        let image = &dataset.images()[1];
        assert_eq!(
            (image.width, image.height, image.objects.len()),
            (20, 10, 1)
        );
        assert!(!image.objects[0].iscrowd);
        dataset
    };
    let whole = "<width>20.0</width><height>10</height>";
    let report = read(whole, "").report().clone();
    assert_eq!(report.tally(Finding::UnusableSize).count, 0);
    for (more, finding) in [
        (
            object.replace("<xmin>1</xmin>", "<xmin></xmin>"),
            Finding::NoBox,
        ),
        (
            object.replace("<xmin>1</xmin>", "<xmin>one</xmin>"),
            Finding::NoBox,
        ),
        (object.replace("<xmin>1</xmin>", ""), Finding::NoBox),
        (
            object.replace("<name>ant</name>", "<name/>"),
            Finding::Incomplete,
        ),
        ("<object/>".to_string(), Finding::Incomplete),
    ] {
        let dataset = read(whole, &more);
        let found = dataset.report().tally(finding).examples;
        assert_eq!(found, ["c.xml line 3"], "{more}");
        assert_eq!(names(&dataset), ["ant", "zebra"]);
    }
    for width in ["wide", "20.5", "-20"] {
        let size = format!("<width>{width}</width><height>10</height>");
        let unusable = read(&size, "").report().tally(Finding::UnusableSize);
        assert_eq!(unusable.examples, ["c.xml line 1"]);
    }
}

fn voc_xml(file_name: &str, objects: &[(&str, [i32; 4])]) -> String {
    let objects: String = objects
        .iter()
        .map(|(name, [x1, y1, x2, y2])| {
            format!(
                "<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>\
                 <xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            )
        })
        .collect();
    format!(
        "<annotation><filename>{file_name}</filename><size><width>20</width><height>10</height></size>{objects}</annotation>"
    )
}

fn voc_folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    for stem in ["a", "b", "c"] {
        write_image(path.join(format!("JPEGImages/{stem}.png")), 20, 10);
    }
    write(
        path.join("Annotations/a.xml"),
        voc_xml("a.png", &[("zebra", [1, 1, 4, 5]), ("zebra", [7, 7, 7, 9])]),
    );
    // A stale `<filename>`, as after renaming: the name of the annotation file decides.
    write(
        path.join("Annotations/b.xml"),
        voc_xml("old.jpg", &[("ant", [0, 1, 20, 10])]),
    );
    write(path.join("Annotations/c.xml"), voc_xml("c.png", &[]));
    write(path.join("ImageSets/Main/train.txt"), "a\nc\n");
    write(path.join("ImageSets/Main/val.txt"), "b\n");
    write(path.join("ImageSets/Main/ant_train.txt"), "a -1\nc -1\n");
    dir
}

#[test]
fn voc_names_may_have_references_and_cdata() {
    let dir = voc_folder();
    fs::rename(
        dir.path().join("JPEGImages/c.png"),
        dir.path().join("JPEGImages/salt & pepper.png"),
    )
    .unwrap();
    let names = [
        "salt &amp; pepper",
        "caf&#233;",
        "<![CDATA[a < b]]>",
        " two<!-- --> parts\n",
    ];
    let objects = names.map(|name| (name, [1, 1, 4, 5]));
    let xml = voc_xml("salt &amp; pepper.png", &objects);
    write(dir.path().join("Annotations/c.xml"), xml);
    let dataset = DetectionDataset::voc(dir.path(), Some("train")).unwrap();
    assert_eq!(dataset.images()[1].file_name, "salt & pepper.png");
    let labels = dataset.images()[1]
        .objects
        .iter()
        .map(|object| object.label);
    let found: Vec<&str> = labels
        .map(|label| dataset.categories()[label].name.as_str())
        .collect();
    assert_eq!(found, ["salt & pepper", "café", "a < b", "two parts"]);
}

#[test]
fn voc_classes_are_in_the_order_of_labels_txt() {
    let dir = voc_folder();
    write(dir.path().join("labels.txt"), "zebra\n\nmoth\n");
    let dataset = DetectionDataset::voc(dir.path(), Some("val")).unwrap();
    assert_eq!(names(&dataset), ["zebra", "moth", "ant"]);
    assert_eq!(dataset.images()[0].objects[0].label, 2);
}

#[test]
fn voc_findings_name_the_file_and_the_line() {
    let dir = voc_folder();
    let object = |name: &str, rest: &str| format!("<object><name>{name}</name>{rest}</object>\n");
    let corners = |[x1, y1, x2, y2]: [&str; 4]| {
        format!(
            "<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
        )
    };
    let part = format!(
        "<part><name>head</name>{}</part>",
        corners(["1", "1", "2", "2"])
    );
    let objects = [
        object("ant", ""),
        object(
            "ant",
            &format!("<difficult/>{}", corners(["4", "1", "2", "5"])),
        ),
        object("ant", &corners(["nan", "1", "2", "5"])),
        object("ant", &corners(["1", "1", "inf", "5"])),
        object("ant", &corners(["30", "1", "40", "5"])),
        object(
            "ant",
            &format!(
                "{part}<difficult>1</difficult>{}",
                corners(["1.5", "1", "4", "5"])
            ),
        ),
    ];
    write(
        dir.path().join("Annotations/c.xml"),
        format!(
            "<annotation><size><width/></size>\n{}</annotation>",
            objects.concat()
        ),
    );
    let dataset = DetectionDataset::voc(dir.path(), Some("train")).unwrap();
    let image = &dataset.images()[1];
    // Without a <size>, the size is read from the image.
    assert_eq!((image.width, image.height), (20, 10));
    let [swapped, ant] = &image.objects[..] else {
        panic!("two objects")
    };
    // Pixels 2 to 4, once the corners are in order.
    assert_eq!(swapped.bbox, BoundingBox::new(1.0, 0.0, 4.0, 5.0));
    assert_eq!(ant.bbox, BoundingBox::new(0.5, 0.0, 4.0, 5.0));
    assert!(ant.iscrowd);
    let examples = |finding| dataset.report().tally(finding).examples;
    assert_eq!(examples(Finding::NoBox), ["c.xml line 2"]);
    assert_eq!(
        examples(Finding::Degenerate),
        ["a.xml line 1", "c.xml line 4", "c.xml line 5"]
    );
    assert_eq!(examples(Finding::SwappedCorners), ["c.xml line 3"]);
    assert_eq!(examples(Finding::Outside), ["c.xml line 6"]);
}

#[test]
fn images_listed_twice_by_voc_are_read_once() {
    let dir = voc_folder();
    write(dir.path().join("ImageSets/Main/train.txt"), "a\nc\na\n");
    let dataset = DetectionDataset::voc(dir.path(), Some("train")).unwrap();
    let names: Vec<&str> = dataset
        .images()
        .iter()
        .map(|image| image.file_name.as_str())
        .collect();
    assert_eq!(names, ["a.png", "c.png"]);
    assert_eq!(dataset.object_count(), 1);
    let report = dataset.report().to_string();
    assert!(
        report.contains("repeated images dropped: 1 (a line 3)"),
        "{report}"
    );
}

#[test]
fn voc_splits_share_their_classes() {
    let dir = voc_folder();
    assert_eq!(
        layout_and_splits(dir.path()),
        (Layout::Voc, vec!["train".into(), "val".into()])
    );
    let train = DetectionDataset::open(dir.path(), Some("train")).unwrap();
    let val = DetectionDataset::open(dir.path(), Some("val")).unwrap();
    assert_eq!((train.len(), val.len()), (2, 1));
    assert_eq!(names(&train), ["ant", "zebra"]);
    assert_eq!(train.categories(), val.categories());

    let [zebra] = &train.images()[0].objects[..] else {
        panic!("one object")
    };
    // Pixel indices 1 to 4 and 1 to 5, inclusive, starting at 1.
    assert_eq!(
        (zebra.bbox, zebra.label, zebra.area()),
        (BoundingBox::new(0.0, 0.0, 4.0, 5.0), 1, 20.0)
    );
    assert_eq!(
        train.report().tally(Finding::Degenerate).examples,
        ["a.xml line 1"]
    );
    assert!(train.images()[1].objects.is_empty());

    assert_eq!(val.images()[0].file_name, "b.png");
    assert_eq!(
        val.images()[0].objects[0].bbox,
        BoundingBox::new(0.0, 0.0, 20.0, 10.0)
    );
    assert_eq!(val.report().tally(Finding::Clipped).count, 1);
    val.image(0).unwrap();
}

#[test]
fn voc_errors_name_the_file_and_the_cause() {
    let dir = voc_folder();
    let unknown = message(DetectionDataset::open(dir.path(), Some("test")));
    assert!(
        unknown.ends_with("this VOC data set has no split 'test'; it has: train, val"),
        "{unknown}"
    );
    write(dir.path().join("ImageSets/Main/val.txt"), "b\nnobody\n");
    let listed = message(DetectionDataset::voc(dir.path(), Some("val")));
    assert!(
        listed.contains("val.txt:2: 'nobody' has no annotation file"),
        "{listed}"
    );
    fs::remove_file(dir.path().join("JPEGImages/a.png")).unwrap();
    let train = DetectionDataset::voc(dir.path(), Some("train")).unwrap();
    assert_eq!(
        train.report().tally(Finding::MissingImage).examples,
        ["a.png"]
    );
    fs::remove_file(dir.path().join("JPEGImages/c.png")).unwrap();
    let missing = message(DetectionDataset::voc(dir.path(), Some("train")));
    assert!(
        missing.contains("a.png: no such image (2 of 2"),
        "{missing}"
    );
    write_image(dir.path().join("JPEGImages/c.png"), 20, 10);
    let malformed = |text: &str| {
        write(dir.path().join("Annotations/c.xml"), text);
        message(DetectionDataset::voc(dir.path(), Some("train")))
    };
    for (text, cause) in [
        ("", "c.xml:1: not VOC annotations: "),
        ("<annotation><object>", "c.xml:1: not VOC annotations: "),
        (
            "\n<svg/>",
            "c.xml:2: not VOC annotations: expected <annotation>, found <svg>",
        ),
    ] {
        let error = malformed(text);
        assert!(error.contains(cause), "{error}");
    }
}

fn yolo_folder(yaml: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    write_image(path.join("images/train/a.png"), 20, 10);
    write_image(path.join("images/train/b.png"), 20, 10);
    write_image(path.join("images/val/c.png"), 40, 40);
    write(
        path.join("labels/train/a.txt"),
        "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.5 0.4 0.2\n0 0.5 0.5 0 0\n",
    );
    write(path.join("labels/val/c.txt"), "0 0.25 0.25 0.5 0.5\n");
    if !yaml.is_empty() {
        write(path.join("data.yaml"), yaml);
    }
    dir
}

#[test]
fn yolo_is_read_with_and_without_data_yaml() {
    let block = "path: ../elsewhere\ntrain: images/train\nval: images/val\n\n# classes\nnames:\n  0: cat\n  1: dog\n";
    let flow = "train: ../images/train\nval: [images/val]\nnc: 2\nnames: ['cat', \"dog\"]\n";
    let listless = yolo_folder("");
    write(listless.path().join("classes.txt"), "cat\ndog\n");
    for dir in [yolo_folder(block), yolo_folder(flow), listless] {
        assert_eq!(
            layout_and_splits(dir.path()),
            (Layout::Yolo, vec!["train".into(), "val".into()])
        );
        let train = DetectionDataset::open(dir.path(), Some("train")).unwrap();
        assert_eq!(names(&train), ["cat", "dog"]);
        assert_eq!(
            train.len(),
            2,
            "an image without a label file has no objects"
        );
        let [dog, cat] = &train.images()[0].objects[..] else {
            panic!("two objects")
        };
        assert_eq!(
            (dog.bbox, dog.label, dog.area()),
            (BoundingBox::new(8.0, 3.0, 12.0, 7.0), 1, 16.0)
        );
        assert_eq!(
            (cat.bbox, cat.label),
            (BoundingBox::new(0.0, 4.0, 6.0, 6.0), 0)
        );
        assert_eq!(
            train.report().tally(Finding::Degenerate).examples,
            ["images/train/a.png line 4"]
        );
        assert_eq!(
            train.report().tally(Finding::Clipped).examples,
            ["images/train/a.png line 3"]
        );
        assert!(train.images()[1].objects.is_empty());
        let val = DetectionDataset::open(dir.path(), Some("val")).unwrap();
        assert_eq!(
            val.images()[0].objects[0].bbox,
            BoundingBox::new(0.0, 0.0, 20.0, 20.0)
        );
        val.image(0).unwrap();
    }
}

#[test]
fn yolo_errors_name_the_file_and_the_cause() {
    let unnamed = yolo_folder("");
    assert!(
        message(DetectionDataset::open(unnamed.path(), Some("train")))
            .contains("no class names: neither data.yaml nor classes.txt was found")
    );
    let gap = yolo_folder("train: images/train\nnames:\n  0: cat\n  2: dog\n");
    let error = message(DetectionDataset::open(gap.path(), Some("train")));
    assert!(
        error.ends_with("data.yaml: the keys of 'names' are not 0, 1, 2, …"),
        "{error}"
    );
    let broken = yolo_folder("train: [images\nnames: {");
    assert!(message(DetectionDataset::open(broken.path(), Some("train"))).contains("data.yaml: "));

    let dir = yolo_folder("train: images/train\nval: images/absent\nnames: [cat]\n");
    let error = message(DetectionDataset::open(dir.path(), Some("train")));
    assert!(
        error.ends_with("a.txt:1: class 1 is out of range: the only class is 0"),
        "{error}"
    );
    let error = message(DetectionDataset::open(dir.path(), Some("val")));
    assert!(error.ends_with("images/absent: no such folder"), "{error}");
    for (line, part) in [
        ("0 0.5 0.5 0.5", "found 3 numbers after the class"),
        (
            "0 0.5 0.5 0.5 0.5 0.5 0.5 0.3",
            "found 7 numbers after the class",
        ),
        ("0 0.5 half 0.5 0.5", "'half' is not a number"),
        ("-1 0.5 0.5 0.5 0.5", "'-1' is not a class index"),
    ] {
        write(dir.path().join("labels/train/a.txt"), format!("\n{line}\n"));
        let error = message(DetectionDataset::open(dir.path(), Some("train")));
        assert!(
            error.contains("a.txt:2: ") && error.contains(part),
            "{error}"
        );
    }
    // Values that are not finite make a degenerate box. A box of negative width still has the same center.
    let boxes = "0 nan 0.5 0.5 0.5\n0 0.5 0.5 inf 0.5\n0 0.5 -inf 0.5 0.5\n0 0.5 0.5 -1 0.5\n";
    write(dir.path().join("labels/train/a.txt"), boxes);
    let dataset = DetectionDataset::open(dir.path(), Some("train")).unwrap();
    assert_eq!((dataset.report().dropped(), dataset.object_count()), (3, 1));
    assert_eq!(
        dataset.report().tally(Finding::NegativeSize).examples,
        ["images/train/a.png line 4"]
    );
}

#[test]
fn names_that_point_outside_the_folder_are_errors() {
    let dir = coco_folder(|dir, json| {
        write(dir.join("annotations.json"), json);
        write_coco_images(&dir.join("images"));
        write_image(dir.join("images/sub folder/c.png"), 20, 10);
    });
    let named = |name: &str| {
        let mut json = coco_json();
        json["images"][1]["file_name"] = json!(name);
        write(dir.path().join("annotations.json"), json.to_string());
        DetectionDataset::open(dir.path(), None)
    };
    let outside = TempDir::new().unwrap();
    write_image(outside.path().join("secret.png"), 20, 10);
    let absolute = outside.path().join("secret.png");
    for name in [
        "../../secret.png",
        "sub folder/../../../../a/secret.png",
        "..\\..\\..\\secret.png",
        absolute.to_str().unwrap(),
    ] {
        let error = message(named(name));
        assert!(
            error.contains("annotations.json: the image file name"),
            "{error}"
        );
        assert!(
            error.contains("points outside the folder of the data set"),
            "{error}"
        );
    }
    for name in [
        "sub folder/c.png",
        "sub folder\\c.png",
        "./a.png",
        "../images/a.png",
        "sub folder/../../a.png",
        "C:\\images\\a.png",
        "\\\\server\\a.png",
        "/home/me/images/a.png",
        "c.png",
    ] {
        let dataset = named(name).unwrap();
        assert_eq!(dataset.images()[1].file_name, name);
        assert_eq!(dataset.image(1).unwrap().dimensions(), (20, 10));
    }

    let dir = voc_folder();
    fs::remove_file(dir.path().join("JPEGImages/a.png")).unwrap();
    let climbing = voc_xml("../../../secret.png", &[]);
    write(dir.path().join("Annotations/a.xml"), climbing);
    let error = message(DetectionDataset::voc(dir.path(), Some("train")));
    assert!(
        error.contains("a.xml: the image file name '../../../secret.png' points outside"),
        "{error}"
    );
}

#[test]
fn yolo_lists_may_only_name_images_in_their_data_set() {
    let dir = yolo_folder("train: lists/train.txt\nnames: [cat, dog]\n");
    let outside = TempDir::new().unwrap();
    write_image(outside.path().join("z.png"), 20, 10);
    let open = |names: &[&str]| {
        write(dir.path().join("lists/train.txt"), names.join("\n"));
        DetectionDataset::open(dir.path(), Some("train"))
    };
    let absolute = dir.path().join("images/train/b.png");
    let inside = [
        "../images/train/a.png",
        "",
        absolute.to_str().unwrap(),
        "..\\images\\val\\c.png",
    ];
    let dataset = open(&inside).unwrap();
    assert_eq!((dataset.len(), dataset.object_count()), (3, 3));
    let twice = open(&["../images/train/a.png"; 3]).unwrap();
    assert_eq!(twice.len(), 1);
    assert_eq!(twice.report().tally(Finding::Repeated).count, 2);
    // The folder in data.yaml belongs to the data set, also under other paths.
    let yaml = format!(
        "path: {}\ntrain: lists/train.txt\nnames: [cat, dog]\n",
        outside.path().display()
    );
    let described = yolo_folder(&yaml);
    let of_both = format!("{0}/z.png\n../images/train/a.png", outside.path().display());
    write(described.path().join("lists/train.txt"), of_both);
    let dataset = DetectionDataset::open(described.path(), Some("train")).unwrap();
    assert_eq!(dataset.len(), 2);
    #[cfg(unix)]
    {
        let link = outside.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        write(
            dir.path().join("lists/train.txt"),
            absolute.to_str().unwrap(),
        );
        assert_eq!(
            DetectionDataset::open(&link, Some("train")).unwrap().len(),
            1
        );
    }
    let climbing = format!("../../..{}/z.png", outside.path().display());
    let elsewhere = outside.path().join("z.png");
    for name in [
        &climbing,
        "../../z.png",
        "..\\..\\z.png",
        elsewhere.to_str().unwrap(),
    ] {
        let error = message(open(&["../images/train/a.png", name]));
        let cause = format!("train.txt:2: the image file name '{name}' points outside");
        assert!(error.contains(&cause), "{error}");
    }
}

/// Annotations that are truncated, too deeply nested, out of range or entity bombs.
#[test]
fn hostile_annotations_are_errors() {
    let dir = TempDir::new().unwrap();
    write_coco_images(dir.path());
    let coco = |text: String| {
        write(dir.path().join("gt.json"), text);
        message(DetectionDataset::coco(
            dir.path(),
            dir.path().join("gt.json"),
        ))
    };
    let whole = coco_json().to_string();
    let deep = "[".repeat(1_000_000);
    for text in [
        whole[..whole.len() / 2].to_string(),
        deep.clone(),
        format!("{{\"images\": {deep}"),
        format!("{{\"info\": {deep}, {}", &whole[1..]),
        whole.replace("[1,2,3,4]", "[1,2,1e999,4]"),
    ] {
        let error = coco(text);
        assert!(error.contains("gt.json: not COCO annotations"), "{error}");
    }

    let dir = voc_folder();
    let bomb = (1..20).fold(String::from("<!ENTITY e0 \"lol\">"), |text, level| {
        let previous = format!("&e{};", level - 1).repeat(10);
        format!("{text}<!ENTITY e{level} \"{previous}\">")
    });
    let xml = voc_xml("a.png", &[("&e19;", [1, 1, 4, 5])]);
    for text in [
        format!("<!DOCTYPE annotation [{bomb}]>{xml}"),
        "<annotation>".repeat(200_000),
        xml[..xml.len() / 2].to_string(),
    ] {
        write(dir.path().join("Annotations/a.xml"), text);
        let error = message(DetectionDataset::voc(dir.path(), Some("train")));
        assert!(error.contains("a.xml"), "{error}");
    }
}

#[test]
fn errors_for_folders_without_a_data_set_name_the_layouts() {
    let dir = TempDir::new().unwrap();
    let missing = message(DetectionDataset::open(dir.path().join("nowhere"), None));
    assert!(missing.ends_with("nowhere: no such folder"), "{missing}");
    let empty = message(DetectionDataset::open(dir.path(), None));
    assert!(empty.contains("not a data set: expected COCO"), "{empty}");
    assert!(DataFolder::open(dir.path()).is_err());
}

/// `head`, a gigabyte of `piece(0)`, `piece(1)`, …, and `tail`.
fn write_gigabyte(path: &Path, head: &str, piece: impl Fn(usize) -> String, tail: &str) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(head.as_bytes()).unwrap();
    let mut written = 0;
    for index in 0.. {
        let piece = piece(index);
        file.write_all(piece.as_bytes()).unwrap();
        written += piece.len();
        if written >= 1 << 30 {
            break;
        }
    }
    file.write_all(tail.as_bytes()).unwrap();
    file.flush().unwrap();
}

/// `cargo test --release -p fcos-burn-data --test data gigabyte -- --ignored --nocapture`
#[test]
#[ignore = "writes files of a gigabyte"]
fn a_gigabyte_of_json_is_read_or_an_error() {
    let dir = TempDir::new().unwrap();
    write_image(dir.path().join("a.png"), 20, 10);
    let path = dir.path().join("gt.json");
    let open = || {
        let started = Instant::now();
        let result = DetectionDataset::coco(dir.path(), &path);
        eprintln!("{:.1} s", started.elapsed().as_secs_f64());
        result
    };

    // A data set with ten times the boxes of COCO.
    let head = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
        "categories": [{"id": 1, "name": "cat"}], "annotations": ["#;
    let annotation = |index: usize| {
        let comma = if index == 0 { "" } else { "," };
        let id = index + 1;
        format!(
            r#"{comma}{{"id": {id}, "image_id": 1, "category_id": 1, "bbox": [1.25, 2.5, 3.75, 4.125], "iscrowd": 0}}"#
        )
    };
    write_gigabyte(&path, head, annotation, "]}");
    let objects = open().unwrap().object_count();
    assert!(objects > 8_600_000, "{objects}");

    // The same file, truncated.
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    let refused = || {
        let error = message(open());
        assert!(error.contains("gt.json: not COCO annotations"), "{error}");
    };
    refused();
    // Nested too deeply, and blank.
    for filler in ["[", " "] {
        write_gigabyte(&path, r#"{"images": ["#, |_| filler.repeat(1000), "");
        refused();
    }
}
