//! Native formats of tools, which are not read but named, and files of COCO's other tasks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use fcos_burn_data::{DataFolder, DetectionDataset};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::listings::{folder, message, objects, remarks, write};

const VIA: &str = r#"{"filename": "a.png", "size": 123, "regions": [{"shape_attributes": {"name": "rect", "x": 1},
    "region_attributes": {"label": "cat"}}], "file_attributes": {}}"#;

#[test]
fn native_formats_are_named_with_what_to_do() {
    let via = format!(r#"{{"a.png123": {VIA}}}"#);
    let via_project = format!(
        r#"{{"_via_settings": {{}}, "_via_img_metadata": {{"a.png123": {VIA}}}, "_via_attributes": {{}}}}"#
    );
    for (file, content, words) in [
        (
            "via_region_data.json",
            via.as_str(),
            "VIA's native format: export",
        ),
        (
            "via_project.json",
            &via_project,
            "VIA's native format: export",
        ),
        (
            "empty_project.json",
            r#"{"_via_img_metadata": {}}"#,
            "VIA's native format: export",
        ),
        (
            "via.csv",
            "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n\
             a.png,123,\"{}\",1,0,\"{\"\"name\"\":\"\"rect\"\"}\",\"{}\"\n",
            "VIA's regions: export",
        ),
        (
            "project.json",
            r#"[{"image": "/data/upload/1/x-a.png", "id": 1, "label": [{"x": 10, "rectanglelabels": ["cat"]}]}]"#,
            "Label Studio: export",
        ),
        (
            "tasks/project.json",
            r#"[{"id": 1, "annotations": [{"completed_by": 1, "result": []}], "data": {"image": "/data/a.png"}}]"#,
            "Label Studio's native format: export",
        ),
        (
            "project.csv",
            "annotation_id,annotator,id,image,label\n1,1,1,/data/a.png,\"[{\"\"x\"\":10,\"\"rectanglelabels\"\":[\"\"cat\"\"]}]\"\n",
            "Label Studio: export",
        ),
        (
            "ds0/ann/a.png.json",
            r#"{"size": {"height": 30}, "objects": [{"classTitle": "cat", "points": {"exterior": [[1, 2], [11, 12]]}}]}"#,
            "Supervisely's native format: export",
        ),
        (
            "annotations/default.json",
            r#"{"info": {}, "categories": {"label": {"labels": [{"name": "cat"}]}}, "items": [{"id": "a", "annotations": []}]}"#,
            "Datumaro's native format: export",
        ),
        (
            "annotations/a.json",
            r#"{"version": "2.0", "item": {"name": "a.png"}, "annotations": [{"name": "cat", "bounding_box": {"x": 1}}]}"#,
            "V7's Darwin format: export",
        ),
        (
            "a.json",
            r#"{"version": "5", "shapes": []}"#,
            "labelme's format: convert",
        ),
        (
            "annotations.xml",
            "<annotations></annotations>",
            "CVAT's native format: export",
        ),
        (
            "train/metadata.jsonl",
            r#"{"file_name": "1.png", "objects": {"bbox": [[1, 2, 10, 10]], "categories": [0]}}"#,
            "Hugging Face data set: write",
        ),
        (
            "training/label_2/000000.txt",
            "Car 0.00 0 1.85 5.0 6.0 20.0 16.0 1.5 1.6 3.6 2.8 1.7 8.4 1.6\nDontCare -1 -1 -10 5 6 7 8 -1 -1 -1 -1000 -1000 -1000 -10\n",
            "KITTI's labels: convert",
        ),
        (
            "annotations/a.txt",
            "5,6,10,10,1,4,0,0\n7,6,10,10,1,4,0,0\n",
            "VisDrone's annotations: convert",
        ),
        (
            "gt/gt.txt",
            "1,1,5,6,10,10,1,1,0.9\n",
            "MOTChallenge: convert",
        ),
        (
            "train/_annotations.txt",
            "b c.png 1,2,11,12,0 3,4,5,6,0\nd.png\n",
            "an image and its boxes in each line",
        ),
    ] {
        let dir = folder(&["pictures/x.png"], &[(file, content)]);
        let name = file.rsplit('/').next().unwrap();
        let error = message(DataFolder::open(dir.path()));
        assert!(
            error.contains(&format!("; {file}: ")) && error.contains(words),
            "{error}"
        );
        for misleading in ["no list", "no columns", "not COCO"] {
            assert!(!error.contains(misleading), "{error}");
        }
        // The file by itself.
        let given = dir.path().join(file);
        let error = message(DataFolder::open(&given).and_then(|folder| {
            let split = folder.splits()[0].clone();
            folder.read(&split)
        }));
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}

#[test]
fn labels_of_another_format_in_place_of_yolo_are_named() {
    let kitti = "Car 0.00 0 1.85 5.0 6.0 20.0 16.0 1.5 1.6 3.6 2.8 1.7 8.4 1.6\n";
    let dir = folder(&["images/a.png"], &[("labels/a.txt", kitti)]);
    let error = message(DetectionDataset::open(dir.path(), None));
    assert!(error.contains("labels/a.txt: KITTI's labels"), "{error}");
}

#[test]
fn files_about_something_else_are_not_taken_for_a_native_format() {
    let cut = r#"{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": [{"name": "shapes"#;
    for (file, content, cause) in [
        (
            "package.json",
            r#"{"name": "x", "items": []}"#,
            "1 .json, 1 .png",
        ),
        ("notes.txt", "Bought 3 cats.\n", "1 .png, 1 .txt"),
        ("train.json", cut, "train.json: not JSON: EOF"),
        (
            "labels.csv",
            "filename,color\na.png,red\n",
            "labels.csv: line 1: no columns xmin",
        ),
    ] {
        let dir = folder(&["a.png"], &[(file, content)]);
        let error = message(DataFolder::open(dir.path()));
        assert!(error.contains(cause), "{error}");
        for native in ["export", "convert"] {
            assert!(!error.contains(native), "{error}");
        }
    }
}

/// A COCO file of one image with a box of the first category.
fn coco(image: &str, categories: Value) -> String {
    let id = categories[0]["id"].clone();
    json!({
        "images": [{"id": 1, "file_name": image, "width": 40, "height": 30}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": id, "bbox": [1, 2, 10, 10], "keypoints": [1, 2, 2]}
        ],
        "categories": categories,
    })
    .to_string()
}

fn cat(image: &str) -> String {
    coco(
        image,
        json!([{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]),
    )
}

#[test]
fn boxes_of_keypoints_are_read_if_there_are_no_others() {
    let read = |files: &[(&str, String)], split: &str| {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(file, text)| (*file, text.as_str()))
            .collect();
        let dir = folder(&["images/default/a.png", "images/default/b.png"], &files);
        (objects(dir.path(), split), remarks(dir.path(), split))
    };
    for (file, split) in [
        ("annotations/person_keypoints_default.json", "default"),
        ("annotations/person_keypoints_train.json", "train"),
        ("person_keypoints_Train.json", "Train"),
        ("annotations/stuff_train2017.json", "train2017"),
    ] {
        let (objects, remarks) = read(&[(file, cat("a.png"))], split);
        assert_eq!(objects, ["a.png cat 1 2 11 12"], "{file}");
        assert!(
            remarks[0].starts_with(&format!("{file}: a file for ")),
            "{remarks:?}"
        );
    }
    // Files of boxes come first, and are joined by those of other splits.
    let instances = ("annotations/instances_train.json", cat("a.png"));
    let keypoints = |split: &str| format!("annotations/person_keypoints_{split}.json");
    let (train, val) = (keypoints("train"), keypoints("val"));
    let files = [instances, (&train, cat("b.png")), (&val, cat("b.png"))];
    let (train, told) = read(&files, "train");
    assert_eq!(train, ["a.png cat 1 2 11 12"]);
    assert_eq!(
        told[..2],
        [
            "annotations/person_keypoints_val.json: a file for keypoints: only its boxes are read",
            "files for other tasks, not read: 1 (annotations/person_keypoints_train.json)",
        ]
    );
    assert_eq!(read(&files, "val").0, ["b.png cat 1 2 11 12"]);
    // Of two tasks, one is read.
    let stuff = ("annotations/stuff_default.json", cat("b.png"));
    let keypoints = ("annotations/person_keypoints_default.json", cat("a.png"));
    assert_eq!(
        read(&[stuff, keypoints], "default").0,
        ["a.png cat 1 2 11 12"]
    );
}

#[test]
fn files_of_coco_without_boxes_are_named() {
    let refused = |file: &str, json: Value| {
        let dir = folder(&["images/a.png"], &[(file, &json.to_string())]);
        message(DataFolder::open(dir.path()))
    };
    let images = json!([{"id": 1, "file_name": "a.png"}]);
    let categories = json!([{"id": 1, "name": "cat"}]);
    let captions = json!({"images": images, "annotations": [{"image_id": 1, "caption": "x"}]});
    let error = refused("annotations/captions_train.json", captions);
    assert!(
        error.contains("; annotations/captions_train.json: a file for captions"),
        "{error}"
    );
    let panoptic = json!({"images": images, "categories": categories,
        "annotations": [{"image_id": 1, "segments_info": [{"bbox": [1, 2, 3, 4]}]}]});
    let error = refused("panoptic_val.json", panoptic);
    assert!(
        error.contains("; panoptic_val.json: a file for panoptic segmentation, without boxes"),
        "{error}"
    );
    let info = json!({"images": images, "categories": categories});
    let error = refused("image_info_test.json", info.clone());
    assert!(
        error.contains("; image_info_test.json: a file for images"),
        "{error}"
    );
    // They do not make a split either.
    let texts = [
        ("instances_train.json", cat("a.png")),
        ("image_info_test.json", info.to_string()),
    ];
    let texts: Vec<(&str, &str)> = texts
        .iter()
        .map(|(file, text)| (*file, text.as_str()))
        .collect();
    let dir = folder(&["a.png"], &texts);
    assert_eq!(DataFolder::open(dir.path()).unwrap().splits(), ["train"]);
}

/// Roboflow's export of these categories, with an object of the first.
fn roboflow(categories: Value) -> TempDir {
    let dir = folder(&["train/a.png"], &[]);
    write(
        dir.path().join("train/_annotations.coco.json"),
        coco("a.png", categories),
    );
    dir
}

fn names(dir: &TempDir) -> Vec<String> {
    let dataset = DetectionDataset::open(dir.path(), None).unwrap();
    let names = dataset
        .categories()
        .iter()
        .map(|category| category.name.clone());
    names.collect()
}

#[test]
fn the_category_of_a_project_of_roboflow_is_not_a_class() {
    let root = || json!({"id": 0, "name": "raccoons", "supercategory": "none"});
    let class = |id: u64, name: &str, parent: &str| json!({"id": id, "name": name, "supercategory": parent});
    let coon = || class(1, "coon", "raccoons");
    for categories in [
        json!([coon(), root()]),
        json!([coon(), class(2, "panda", "raccoons"), root()]),
    ] {
        let count = categories.as_array().unwrap().len();
        let dir = roboflow(categories);
        assert_eq!(names(&dir), ["coon", "panda"][..count - 1]);
        assert_eq!(
            remarks(dir.path(), "train"),
            [
                "the category 'raccoons' is not a class: it is the parent of all others and has no objects"
            ]
        );
        assert_eq!(objects(dir.path(), "train"), ["a.png coon 1 2 11 12"]);
    }
    // The only class of a project may have its name.
    let same = json!([class(1, "raccoons", "raccoons"), root()]);
    assert_eq!(names(&roboflow(same)), ["raccoons"]);
    // It has an object; it is not the parent of all; there is no other; it has a parent.
    for (categories, expected) in [
        (json!([root(), coon()]), &["raccoons", "coon"][..]),
        (
            json!([coon(), class(2, "dog", "pets"), root()]),
            &["raccoons", "coon", "dog"],
        ),
        (json!([root()]), &["raccoons"]),
        (
            json!([coon(), class(0, "raccoons", "animals")]),
            &["raccoons", "coon"],
        ),
    ] {
        assert_eq!(names(&roboflow(categories)), expected);
    }
}
