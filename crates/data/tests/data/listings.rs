//! Data sets in CSV and Create ML files as written by tools.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use fcos_burn_data::{DataError, DataFolder, DetectionDataset, Finding, Layout};
use image::RgbImage;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(super) fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A folder with images of 40x30 pixels and text files.
pub(super) fn folder(images: &[&str], texts: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (image, shade) in images.iter().zip(1..) {
        let path = dir.path().join(image);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pixels = RgbImage::from_pixel(40, 30, image::Rgb([shade, 90, 200]));
        pixels.save(path).unwrap();
    }
    for (name, text) in texts {
        write(dir.path().join(name), text);
    }
    dir
}

/// The objects of a split: image name, class, and the corners of the box. For an image without objects, only its name.
pub(super) fn objects(dir: &Path, split: &str) -> Vec<String> {
    let dataset = DetectionDataset::open(dir, Some(split)).unwrap();
    let mut found = Vec::new();
    for (index, image) in dataset.images().iter().enumerate() {
        assert_eq!(dataset.image(index).unwrap().dimensions(), (40, 30));
        for object in &image.objects {
            let class = &dataset.categories()[object.label].name;
            let corners = object.bbox.to_xyxy().map(|edge| edge.to_string()).join(" ");
            found.push(format!("{} {class} {corners}", image.file_name));
        }
        if image.objects.is_empty() {
            found.push(image.file_name.clone());
        }
    }
    found
}

pub(super) fn layout_and_splits(dir: &Path) -> (Layout, Vec<String>) {
    let folder = DataFolder::open(dir).unwrap();
    (folder.layout(), folder.splits().to_vec())
}

fn classes(dir: &Path, split: &str) -> Vec<(u64, String)> {
    let dataset = DetectionDataset::open(dir, Some(split)).unwrap();
    let categories = dataset.categories().iter();
    categories
        .map(|category| (category.id, category.name.clone()))
        .collect()
}

pub(super) fn message<T>(result: Result<T, DataError>) -> String {
    let message = result.err().expect("an error").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn tables_of_retinanet_are_read() {
    let dir = folder(
        &["images/a.png", "images/b.png", "images/c.png"],
        &[
            (
                "train.csv",
                "images/a.png,1,2,30,20,dog\nimages/a.png,5,6,7,8,cat\nimages/b.png,,,,,\n",
            ),
            (
                "val.csv",
                "images/c.png,30,20,1,2,cat\nimages/c.png,1,1,1,9,cat\nimages/c.png,1,,3,4,cat\n",
            ),
            ("classes.csv", "dog,0\ncat,1\n"),
        ],
    );
    let dir = dir.path();
    assert_eq!(
        layout_and_splits(dir),
        (Layout::Csv, vec!["train".into(), "val".into()])
    );
    assert_eq!(
        objects(dir, "train"),
        [
            "images/a.png dog 1 2 30 20",
            "images/a.png cat 5 6 7 8",
            "images/b.png"
        ]
    );
    assert_eq!(objects(dir, "val"), ["images/c.png cat 1 2 30 20"]);
    for split in ["train", "val"] {
        assert_eq!(classes(dir, split), [(0, "dog".into()), (1, "cat".into())]);
    }
    let val = DetectionDataset::open(dir, Some("val")).unwrap();
    let found: Vec<_> = (val.report().findings())
        .map(|(finding, tally)| (finding, tally.examples.join(", ")))
        .collect();
    assert_eq!(
        found,
        [
            (Finding::Degenerate, "val.csv line 2".to_string()),
            (Finding::NoBox, "val.csv line 3".to_string()),
            (Finding::SwappedCorners, "val.csv line 1".to_string()),
        ]
    );
}

#[test]
fn tables_of_tensorflow_are_read() {
    let header = "filename,width,height,class,xmin,ymin,xmax,ymax";
    let dir = folder(
        &["images/train/a.png", "images/test/a.png"],
        &[
            (
                "train_labels.csv",
                &format!("\u{feff}{header}\r\na.png,40,30,cat,1,2,30,20\r\n"),
            ),
            (
                "data/test_labels.csv",
                &format!("{header}\r\na.png,40,30,dog,5,6,7,8.5\r\n"),
            ),
        ],
    );
    let dir = dir.path();
    assert_eq!(
        layout_and_splits(dir),
        (Layout::Csv, vec!["test".into(), "train".into()])
    );
    assert_eq!(objects(dir, "train"), ["a.png cat 1 2 30 20"]);
    assert_eq!(objects(dir, "test"), ["a.png dog 5 6 7 8.5"]);
    // Each split uses the image in its own folder.
    let shade = |split| {
        let dataset = DetectionDataset::open(dir, Some(split)).unwrap();
        dataset.image(0).unwrap().get_pixel(0, 0)[0]
    };
    assert_eq!((shade("train"), shade("test")), (1, 2));
    // The classes of all splits, in the same order.
    for split in ["train", "test"] {
        assert_eq!(classes(dir, split), [(1, "cat".into()), (2, "dog".into())]);
    }
}

#[test]
fn tables_of_roboflow_are_read() {
    let header = "filename,width,height,class,xmin,ymin,xmax,ymax\n";
    let dir = folder(
        &["train/a.png", "valid/b.png"],
        &[
            (
                "train/_annotations.csv",
                &format!("{header}a.png,40,30,cat,1,2,30,20\n"),
            ),
            (
                "valid/_annotations.csv",
                &format!("{header}b.png,40,30,cat,5,6,7,8\n"),
            ),
            ("train/_classes.csv", "cat,0\n"),
            ("valid/_classes.csv", "cat,0\n"),
        ],
    );
    let dir = dir.path();
    assert_eq!(
        layout_and_splits(dir),
        (Layout::Csv, vec!["train".into(), "valid".into()])
    );
    assert_eq!(objects(dir, "train"), ["a.png cat 1 2 30 20"]);
    assert_eq!(objects(dir, "valid"), ["b.png cat 5 6 7 8"]);
}

#[test]
fn spreadsheets_and_paths_from_other_machines_are_read() {
    let rows = "C:\\Users\\me\\pictures\\a b.png;1,5;2;30;20;Bär\r\n/home/me/c.png;1;2;30;20;0\r\n";
    let dir = folder(&["pictures/a b.png", "c.png"], &[("annotations.csv", rows)]);
    let expected = [
        "C:\\Users\\me\\pictures\\a b.png Bär 1.5 2 30 20",
        "/home/me/c.png 0 1 2 30 20",
    ];
    assert_eq!(
        layout_and_splits(dir.path()),
        (Layout::Csv, vec!["all".into()])
    );
    assert_eq!(objects(dir.path(), "all"), expected);
    // The same table saved as "Unicode text".
    let table = dir.path().join("annotations.csv");
    let text = rows.replace(';', "\t").replace("1,5", "1.5");
    let utf16 = std::iter::once(0xfeff).chain(text.encode_utf16());
    write(
        &table,
        utf16.flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
    );
    assert_eq!(objects(dir.path(), "all"), expected);
    // The file itself as the path.
    assert_eq!(objects(&table, "all"), expected);
}

#[test]
fn normalized_boxes_are_recognized() {
    let header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax";
    let dir = folder(
        &["a.png"],
        &[(
            "train.csv",
            &format!("{header}\na.png,xclick,/m/01,1,0.25,0.75,0,1\n"),
        )],
    );
    assert_eq!(objects(dir.path(), "train"), ["a.png /m/01 10 0 30 30"]);
    let dataset = DetectionDataset::open(dir.path(), None).unwrap();
    assert!(dataset.report().is_clean());
    let remarks = dataset.report().remarks();
    assert_eq!(remarks[0], "columns that are not used: Confidence, Source");
    assert!(remarks[1].contains("fractions"));
    // Small boxes are not fractions.
    let dir = folder(
        &["a.png"],
        &[("train.csv", "a.png,0,0,1,1,dot\na.png,3,4,5,6,dot\n")],
    );
    assert_eq!(
        objects(dir.path(), "train"),
        ["a.png dot 0 0 1 1", "a.png dot 3 4 5 6"]
    );
}

#[test]
fn other_tables_do_not_make_a_data_set() {
    let images = ["images/train/a.png"];
    let label = ("labels/train/a.txt", "0 0.5 0.5 0.5 0.5\n");
    let yaml = ("data.yaml", "train: images/train\nnames: [cat]\n");
    let dir = folder(
        &images,
        &[label, yaml, ("results.csv", "epoch,loss\n1,0.5\n")],
    );
    assert_eq!(layout_and_splits(dir.path()).0, Layout::Yolo);
    let dir = folder(&images, &[("results.csv", "epoch,loss\n1,0.5\n")]);
    let message = message(DataFolder::open(dir.path()));
    assert!(
        message.contains("CSV") && message.contains("Create ML"),
        "{message}"
    );
}

#[test]
fn errors_of_tables_name_the_file_the_line_and_the_cause() {
    let fails = |table: &str| {
        let dir = folder(&["a.png"], &[("train.csv", table)]);
        let message = message(DetectionDataset::open(dir.path(), Some("train")));
        message.replace(dir.path().to_str().unwrap(), "DIR")
    };
    for (table, cause) in [
        (
            "filename,xmin,ymin,xmax,class\na.png,1,2,3,cat\n",
            "DIR/train.csv:1: no column 'ymax'; the columns are: filename, xmin, ymin, xmax, class",
        ),
        (
            "a.png,1,2,3,4,cat\na.png,1,2,3,cat\n",
            "DIR/train.csv:2: expected 'path,x1,y1,x2,y2,class', or a header that names the columns; found 5 fields",
        ),
        (
            "../../../b.png,1,2,3,4,cat\n",
            "DIR/train.csv: the image file name '../../../b.png' points outside the folder of the data set",
        ),
        (
            "b.png,1,2,3,4,cat\n",
            "DIR/b.png: no such image (1 of 1 annotated images are missing)",
        ),
    ] {
        assert_eq!(fails(table), cause);
    }
}

fn createml(image: &str, annotations: Value) -> Value {
    json!({"image": image, "annotations": annotations})
}

fn cat(x: f64, y: f64, width: f64, height: f64) -> Value {
    json!({"label": "cat", "coordinates": {"x": x, "y": y, "width": width, "height": height}})
}

#[test]
fn create_ml_files_are_read() {
    let train = json!([
        createml(
            "a.png",
            json!([cat(20.0, 15.5, 10.0, 5.0), cat(38.0, 15.0, 8.0, 10.0), {"label": "dog"}])
        ),
        createml("b.png", json!([])),
    ]);
    let valid = json!([{"imagefilename": "c.png", "annotation": [cat(20.0, 15.0, -10.0, 4.0)]}]);
    let dir = folder(
        &["train/a.png", "train/b.png", "valid/c.png"],
        &[
            ("train/_annotations.createml.json", &train.to_string()),
            ("valid/_annotations.createml.json", &valid.to_string()),
        ],
    );
    let dir = dir.path();
    assert_eq!(
        layout_and_splits(dir),
        (Layout::CreateMl, vec!["train".into(), "valid".into()])
    );
    assert_eq!(
        objects(dir, "train"),
        ["a.png cat 15 13 25 18", "a.png cat 34 10 40 20", "b.png"]
    );
    // The same box from its other corners.
    assert_eq!(objects(dir, "valid"), ["c.png cat 15 13 25 17"]);
    assert_eq!(
        classes(dir, "valid"),
        [(1, "cat".into()), (2, "dog".into())]
    );
    let report = DetectionDataset::open(dir, Some("train"))
        .unwrap()
        .report()
        .clone();
    assert_eq!(
        report.tally(Finding::Clipped).examples,
        ["a.png annotation 2"]
    );
    assert_eq!(
        report.tally(Finding::NoBox).examples,
        ["a.png annotation 3"]
    );
    // One of the files as the path.
    let file = dir.join("valid/_annotations.createml.json");
    assert_eq!(layout_and_splits(&file).0, Layout::CreateMl);
}

#[test]
fn create_ml_files_next_to_their_images_are_read() {
    let annotations = json!([createml("a.png", json!([cat(0.5, 0.5, 0.25, 0.2)]))]);
    let dir = folder(
        &["a.png"],
        &[("annotations.json", &annotations.to_string())],
    );
    assert_eq!(
        layout_and_splits(dir.path()),
        (Layout::CreateMl, vec!["all".into()])
    );
    assert_eq!(objects(dir.path(), "all"), ["a.png cat 15 12 25 18"]);
    let file = dir.path().join("annotations.json");
    let incomplete = r#"[{"image": "a.png", "annotations": [{"coordinates": {}}]},
        {"image": "a.png", "annotations": null}, {"image": null}]"#;
    write(&file, incomplete);
    let dataset = DetectionDataset::open(dir.path(), None).unwrap();
    let incomplete = dataset.report().tally(Finding::Incomplete);
    assert_eq!(
        (dataset.len(), incomplete.examples),
        (
            1,
            vec!["a.png annotation 1".into(), "annotations.json".into()]
        )
    );
    write(&file, r#"[{"image": "a.png", "annotations": [7]}]"#);
    for path in [dir.path(), &file] {
        let message = message(DetectionDataset::open(path, None));
        assert!(
            message.contains("annotations.json: not Create ML annotations: "),
            "{message}"
        );
    }
}

#[test]
fn names_may_lack_an_extension_or_be_encoded() {
    let header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax";
    let table = format!("{header}\na,x,/m/01,1,0.25,0.75,0,1\nsub/b.c,x,/m/01,1,0.25,0.75,0,1\n");
    let dir = folder(
        &["images/a.png", "images/b.c.png"],
        &[("labels.csv", &table)],
    );
    assert_eq!(
        objects(dir.path(), "all"),
        ["a /m/01 10 0 30 30", "sub/b.c /m/01 10 0 30 30"]
    );
    let table = "https://x.y/images/a%20b.png?token=%2f,1,2,3,4,cat\n100%25.png,1,2,3,4,cat\n100%.png,5,6,7,8,cat\n";
    let images = ["images/a b.png", "images/100%.png"];
    let dir = folder(&images, &[("labels.csv", table)]);
    let dataset = DetectionDataset::open(dir.path(), None).unwrap();
    let counts = dataset.images().iter().map(|image| image.objects.len());
    assert_eq!(counts.collect::<Vec<_>>(), [1, 2]);
    // A decoded name must not point outside the data set either.
    write(
        dir.path().join("labels.csv"),
        "%2e%2e/%2e%2e/a.png,1,2,3,4,cat\n",
    );
    let error = message(DetectionDataset::open(dir.path(), None));
    assert!(error.contains("points outside"), "{error}");
}

#[test]
fn unlisted_images_are_reported_as_a_remark() {
    let dir = folder(
        &["images/a.png", "images/b.png", "images/c.png"],
        &[
            ("train.csv", "a.png,1,2,3,4,cat\n"),
            ("val.csv", "C:\\data\\b.png,1,2,3,4,cat\n"),
        ],
    );
    for split in ["train", "val"] {
        let dataset = DetectionDataset::open(dir.path(), Some(split)).unwrap();
        assert_eq!(
            dataset.report().remarks(),
            ["images without annotations, skipped: 1 (images/c.png)"]
        );
    }
}

#[test]
fn errors_of_tables_that_are_not_utf8_name_the_line() {
    let dir = folder(&["a.png"], &[]);
    let table = [b"a.png,1,2,3,4,cat\nC:\\J\xfcrgen\\a.png,1,2,3,4,cat\n".as_slice()].concat();
    write(dir.path().join("train.csv"), table);
    let error = message(DetectionDataset::open(dir.path(), None));
    assert!(
        error.ends_with("train.csv: line 2 is not valid UTF-8; save the file as UTF-8"),
        "{error}"
    );
}

pub(super) fn remarks(dir: &Path, split: &str) -> Vec<String> {
    let dataset = DetectionDataset::open(dir, Some(split)).unwrap();
    dataset.report().remarks().to_vec()
}

#[test]
fn a_column_names_the_splits_of_a_table() {
    let images = [
        "images/a.png",
        "images/b.png",
        "images/c.png",
        "images/d.png",
    ];
    for column in ["split", "Set", "subset", "data_split"] {
        let table = format!(
            "filename,xmin,ymin,xmax,ymax,class,score,{column}\na.png,1,2,3,4,cat,1,Train\nd.png,,,,,,,train\n\
             b.png,1,2,3,4,cat,1,valid\nc.png,1,2,3,4,dog,1,TEST\na.png,5,6,7,8,dog,1,\n"
        );
        let dir = folder(&images, &[("labels.csv", &table)]);
        let dir = dir.path();
        let opened = DataFolder::open(dir).unwrap();
        assert_eq!(opened.splits(), ["TEST", "Train", "valid"]);
        assert_eq!(opened.training_split(), Some("Train"));
        assert_eq!(opened.validation_split(), Some("valid"));
        assert_eq!(
            objects(dir, "train"),
            ["a.png cat 1 2 3 4", "a.png dot 5 6 7 8", "d.png"]
                .map(|row| row.replace("dot", "dog"))
        );
        assert_eq!(objects(dir, "val"), ["b.png cat 1 2 3 4"]);
        assert_eq!(objects(dir, "test"), ["c.png dog 1 2 3 4"]);
        // Classes have the same labels in every split.
        assert_eq!(classes(dir, "val"), classes(dir, "train"));
        assert_eq!(
            remarks(dir, "train"),
            [
                format!(
                    "labels.csv: splits by the column '{column}': TEST with 1 images, Train with 2 images, valid with 1 images"
                ),
                "columns that are not used: score".to_string(),
            ]
        );
        // The table as the path.
        assert_eq!(
            layout_and_splits(&dir.join("labels.csv")).1,
            ["TEST", "Train", "valid"]
        );
    }
}

#[test]
fn images_without_a_value_are_a_split_of_their_own() {
    let images = ["a.png", "b.png", "c.png"];
    let table = |last: &str| {
        format!(
            "filename,xmin,ymin,xmax,ymax,class,split\na.png,1,2,3,4,cat,{last}\nb.png,1,2,3,4,cat\nc.png,1,2,3,4,cat,val\n"
        )
    };
    let dir = folder(&images, &[("labels.csv", &table("train"))]);
    assert_eq!(layout_and_splits(dir.path()).1, ["all", "train", "val"]);
    assert!(remarks(dir.path(), "train")[0].ends_with("; 1 image names none"));
    // With only a validation split, the rest is for training, as for folders.
    let dir = folder(&images, &[("labels.csv", &table(""))]);
    assert_eq!(layout_and_splits(dir.path()).1, ["train", "val"]);
    assert_eq!(
        objects(dir.path(), "train"),
        ["a.png cat 1 2 3 4", "b.png cat 1 2 3 4"]
    );
}

#[test]
fn a_column_that_names_no_splits_is_not_used_and_named() {
    let images = ["a.png", "b.png"];
    let table =
        "filename,xmin,ymin,xmax,ymax,class,set\na.png,1,2,3,4,cat,red\na.png,1,2,3,5,cat,blue\n";
    let dir = folder(&images, &[("labels.csv", table)]);
    assert_eq!(layout_and_splits(dir.path()).1, ["all"]);
    assert_eq!(
        remarks(dir.path(), "all")[0],
        "labels.csv: the column 'set' is not used: its values are not splits such as train and val"
    );
}

#[test]
fn an_image_in_two_splits_of_a_column_is_an_error() {
    let table = "filename,xmin,ymin,xmax,ymax,class,split\na.png,1,2,3,4,cat,train\na.png,1,2,3,5,cat,test\n";
    let dir = folder(&["a.png"], &[("labels.csv", table)]);
    let error = message(DataFolder::open(dir.path()));
    assert!(
        error.ends_with(
            "labels.csv:3: the split of a.png is 'test', but was 'train' in a row above"
        ),
        "{error}"
    );
}

#[test]
fn tables_of_single_splits_may_repeat_its_name() {
    let row = |image: &str, split: &str| {
        format!("filename,xmin,ymin,xmax,ymax,class,split\n{image},1,2,3,4,cat,{split}\n")
    };
    let images = ["a.png", "b.png", "c.png"];
    let dir = folder(
        &images,
        &[
            ("train.csv", &row("a.png", "train")),
            ("val_labels.csv", &row("b.png", "train")),
        ],
    );
    assert_eq!(layout_and_splits(dir.path()).1, ["train", "val"]);
    assert!(
        remarks(dir.path(), "train")[0].starts_with("val_labels.csv: read as the split 'val'"),
        "{:?}",
        remarks(dir.path(), "train")
    );
    assert_eq!(objects(dir.path(), "val"), ["b.png cat 1 2 3 4"]);
    // Cells may be blank, and rows may lack an image.
    let with_blank = |image: &str, other: &str, split: &str| {
        format!("{}{other},1,2,3,4,cat,\n,1,2,3,4,cat,\n", row(image, split))
    };
    let dir = folder(
        &["a.png", "b.png", "c.png", "d.png"],
        &[
            ("train.csv", &with_blank("a.png", "b.png", "train")),
            ("val.csv", &with_blank("c.png", "d.png", "val")),
        ],
    );
    assert_eq!(layout_and_splits(dir.path()).1, ["train", "val"]);
    assert_eq!(
        objects(dir.path(), "val"),
        ["c.png cat 1 2 3 4", "d.png cat 1 2 3 4"]
    );
    let table = format!(
        "{}b.png,1,2,3,4,cat,val\n,1,2,3,4,cat,\n",
        row("a.png", "train")
    );
    let dir = folder(&images, &[("labels.csv", &table)]);
    assert_eq!(layout_and_splits(dir.path()).1, ["train", "val"]);
    // Splits of the same name in several tables must be named by the user.
    let both =
        |image: &str, other: &str| format!("{}{other},1,2,3,4,cat,val\n", row(image, "train"));
    let dir = folder(
        &["a.png", "b.png", "c.png", "d.png"],
        &[
            ("x.csv", &both("a.png", "b.png")),
            ("y.csv", &both("c.png", "d.png")),
        ],
    );
    assert_eq!(
        layout_and_splits(dir.path()).1,
        ["x/train", "x/val", "y/train", "y/val"]
    );
    assert_eq!(objects(dir.path(), "y/val"), ["d.png cat 1 2 3 4"]);
}

#[test]
fn tables_may_be_tsv_and_give_centers() {
    for (name, table) in [
        (
            "labels.tsv",
            "filename\txmin\tymin\txmax\tymax\tclass\na.png\t1\t2\t31\t22\tcat\n",
        ),
        ("train.TSV", "a.png\t1\t2\t31\t22\tcat\n"),
        (
            "labels.csv",
            "filename,x_center,y_center,width,height,class\na.png,16,12,30,20,cat\n",
        ),
        (
            "labels.csv",
            "image;w;h;cx;cy;label;image_width;image_height\na.png;30;20;16;12;cat;40;30\n",
        ),
        (
            "labels.csv",
            "image,w,h,cx,cy,label\na.png,0.75,0.6666666666666,0.4,0.4,cat\n",
        ),
    ] {
        let dir = folder(&["a.png"], &[(name, table)]);
        let splits = layout_and_splits(dir.path());
        assert_eq!(splits.0, Layout::Csv, "{name}");
        assert_eq!(
            objects(dir.path(), &splits.1[0]),
            ["a.png cat 1 2 31 22"],
            "{name}"
        );
    }
}

#[test]
fn of_two_tables_with_one_name_the_csv_file_is_read() {
    let table = "filename,xmin,ymin,xmax,ymax,class\na.png,1,2,31,22,cat\n";
    let tsv = table.replace(',', "\t").replace("cat", "dog");
    let dir = folder(&["a.png"], &[("labels.csv", table), ("labels.tsv", &tsv)]);
    let (_, splits) = layout_and_splits(dir.path());
    assert_eq!(splits, ["all"]);
    assert_eq!(objects(dir.path(), "all"), ["a.png cat 1 2 31 22"]);
}

#[test]
fn a_column_cannot_name_a_folder_outside() {
    let dir = folder(
        &["data/a.png", "data/b.png", "data/c.png", "outside/b.png"],
        &[(
            "data/labels.csv",
            "filename,xmin,ymin,xmax,ymax,class,split\na.png,1,2,3,4,cat,train\nc.png,1,2,3,4,cat,val\nb.png,1,2,3,4,cat,../outside\n",
        )],
    );
    let data = dir.path().join("data");
    let dataset = DetectionDataset::open(&data, Some("../outside")).unwrap();
    // The second image, which is inside.
    let image = dataset.image(0).unwrap();
    assert_eq!(image.get_pixel(0, 0).0, [2, 90, 200]);
    let many: String = (0..60)
        .map(|number| format!("{number}.png,1,2,3,4,cat,train {number}\n"))
        .collect();
    let table = format!("filename,xmin,ymin,xmax,ymax,class,split\n{many}");
    fs::write(data.join("labels.csv"), table).unwrap();
    assert_eq!(layout_and_splits(&data).1, ["all"]);
}

#[test]
fn odd_rows_do_not_turn_fractions_into_pixels() {
    let rows = "a.png,0.25,0.2,0.75,0.6,cat\nb.png,0.5,0.5,1.0,1.0,cat\n";
    for odd in [
        "c.png,nan,nan,nan,nan,nan",
        "c.png,-1,-1,-1,-1,cat",
        "c.png,0.5,0.5,1.03,1.0,cat",
        "c.png,inf,0,1,1,cat",
    ] {
        let text = format!("filename,xmin,ymin,xmax,ymax,class\n{rows}{odd}\n");
        let dir = folder(&["a.png", "b.png", "c.png"], &[("boxes.csv", &text)]);
        let dataset = DetectionDataset::open(dir.path(), None).unwrap();
        assert_eq!(dataset.categories().len(), 1, "{odd}");
        let corners = dataset.images()[0].objects[0].bbox.to_xyxy();
        assert_eq!(corners, [10.0, 6.0, 30.0, 18.0], "{odd}");
        assert_eq!(dataset.images().len(), 3, "{odd}");
    }
    // Boxes of a few pixels remain pixels.
    let text = "filename,xmin,ymin,xmax,ymax,class\na.png,0.5,0.5,3.5,2.5,cat\n";
    let dir = folder(&["a.png"], &[("boxes.csv", text)]);
    assert_eq!(objects(dir.path(), "all"), ["a.png cat 0.5 0.5 3.5 2.5"]);
}

#[test]
fn names_without_extension_are_images_of_their_split() {
    let table = "image_id,xmin,ymin,xmax,ymax,class\n7,1,2,11,12,cat\n";
    let dir = folder(
        &["train/7.png", "val/7.png"],
        &[("train.csv", table), ("val.csv", table)],
    );
    for (split, image) in [("train", "train/7.png"), ("val", "val/7.png")] {
        let dataset = DetectionDataset::open(dir.path(), Some(split)).unwrap();
        let pixels = image::open(dir.path().join(image)).unwrap().to_rgb8();
        assert_eq!(dataset.image(0).unwrap(), pixels);
    }
    // An image of the other split does not take the place of a missing one.
    fs::remove_file(dir.path().join("train/7.png")).unwrap();
    assert!(DetectionDataset::open(dir.path(), Some("train")).is_err());
}

#[test]
fn a_column_of_the_box_does_not_hide_the_size_of_the_image() {
    let text =
        "filename,x,y,width,height,image_width,image_height,class\na.png,1,2,10,12,80,60,cat\n";
    let dir = folder(&["a.png"], &[("boxes.csv", text)]);
    let cause = message(DetectionDataset::open(dir.path(), None));
    assert!(cause.contains("80x60"), "{cause}");
}

#[test]
fn tasks_of_label_studio_are_not_create_ml() {
    let tasks = r#"[{"id": 1, "annotations": [{"completed_by": 1, "result": []}], "data": {"image": "/data/a.png"}}]"#;
    let dir = folder(&["images/a.png"], &[("project-1.json", tasks)]);
    let cause = message(DataFolder::open(dir.path()));
    assert!(cause.contains("Label Studio"), "{cause}");
}

fn table(header: &str, rows: &str) -> String {
    format!("{header}\n{rows}\n")
}

#[test]
fn class_numbers_with_a_point_are_whole_numbers() {
    let header = "image,xmin,ymin,xmax,ymax,label";
    let images = ["a.png", "b.png", "n.png"];
    let sets = |train: &str, val: &str| {
        folder(
            &images,
            &[
                ("train.csv", &table(header, train)),
                ("val.csv", &table(header, val)),
            ],
        )
    };
    // pandas writes a column of numbers with a blank cell like this.
    for (train, val) in [
        ("a.png,1,2,10,10,1.0\nn.png,,,,,", "b.png,1,2,10,10,1"),
        ("a.png,1,2,10,10,1\nn.png,,,,,", "b.png,1,2,10,10,1.00"),
        ("a.png,1,2,10,10,1.0\nn.png,,,,,", "b.png,1,2,10,10,1.0"),
    ] {
        let dir = sets(train, val);
        assert_eq!(objects(dir.path(), "train"), ["a.png 1 1 2 10 10", "n.png"]);
        assert_eq!(objects(dir.path(), "val"), ["b.png 1 1 2 10 10"]);
        assert_eq!(classes(dir.path(), "train"), [(1, "1".into())]);
        let remark = &remarks(dir.path(), "train")[0];
        assert!(
            remark.starts_with("classes read as whole numbers: 1 (1.0"),
            "{remark}"
        );
    }
    // Spreadsheets write it with a comma.
    let text = table(&header.replace(',', ";"), "a.png;1;2;10;10;1,0");
    let dir = folder(&images, &[("train.csv", &text)]);
    assert_eq!(objects(dir.path(), "train"), ["a.png 1 1 2 10 10"]);
    // Versions, and a class that the data set lists.
    let dir = sets(
        "a.png,1,2,10,10,1.0\na.png,1,2,9,9,1.5",
        "b.png,1,2,10,10,2.0",
    );
    assert_eq!(objects(dir.path(), "val"), ["b.png 2.0 1 2 10 10"]);
    let dir = sets("a.png,1,2,10,10,1.0", "b.png,1,2,10,10,1.0");
    write(dir.path().join("classes.csv"), "1.0,0\n");
    assert_eq!(classes(dir.path(), "val"), [(0, "1.0".into())]);
    assert_eq!(
        remarks(dir.path(), "val").len(),
        1,
        "{:?}",
        remarks(dir.path(), "val")
    );
}

const OPEN_IMAGES: &str = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside";

#[test]
fn classes_of_open_images_have_names() {
    let rows = "7,xclick,/m/01,1,0.25,0.75,0,1,0,0,0,0,0\n7,xclick,/m/02,1,0.5,0.75,0,1,0,0,1,0,0\n\
                7,xclick,/m/02,1,0.5,0.75,0.5,1,0,0,-1,0,0";
    let text = table(OPEN_IMAGES, rows);
    let annotations = ("oidv6-train-annotations-bbox.csv", text.as_str());
    for (name, list) in [
        (
            "class-descriptions-boxable.csv",
            "/m/01,Cat\n/m/02,Dog\n/m/03,Owl\n",
        ),
        (
            "oidv7-class-descriptions.csv",
            "LabelName,DisplayName\n/m/02,Dog\n/m/01,Cat\n",
        ),
        ("meta/label_names.csv", "/m/01;Cat\n/m/02;Dog\n"),
    ] {
        let dir = folder(&["train/7.png"], &[annotations, (name, list)]);
        assert_eq!(
            objects(dir.path(), "train"),
            ["7 Cat 10 0 30 30", "7 Dog 20 0 30 30", "7 Dog 20 15 30 30"]
        );
        assert_eq!(
            classes(dir.path(), "train"),
            [(1, "Cat".into()), (2, "Dog".into())]
        );
        let dataset = DetectionDataset::open(dir.path(), None).unwrap();
        let groups = dataset.images()[0]
            .objects
            .iter()
            .map(|object| object.iscrowd);
        assert_eq!(groups.collect::<Vec<_>>(), [false, true, false]);
        assert!(dataset.report().is_clean(), "{}", dataset.report());
        let remarks = dataset.report().remarks().join("\n");
        assert!(
            remarks.contains(&format!("names of classes from {name}")),
            "{remarks}"
        );
    }
    // Numbers, too.
    let text = "image,xmin,ymin,xmax,ymax,class_id\na.png,1,2,10,10,1\na.png,1,2,9,9,0\n";
    let texts = [
        ("train.csv", text),
        ("label_map.csv", "id,name\n0,cat\n1,dog\n"),
    ];
    let dir = folder(&["a.png"], &texts);
    assert_eq!(
        objects(dir.path(), "train"),
        ["a.png dog 1 2 10 10", "a.png cat 1 2 9 9"]
    );
}

#[test]
fn a_list_that_does_not_name_all_classes_is_not_used() {
    let rows = "a.png,1,2,10,10,cat\na.png,1,2,9,9,dog\n";
    let open = |name: &str, list: &str| {
        let dir = folder(&["a.png"], &[("train.csv", rows), (name, list)]);
        let dataset = DetectionDataset::open(dir.path(), None).unwrap();
        let names = dataset.categories().iter().map(|class| class.name.clone());
        (names.collect::<Vec<_>>(), dataset.report().clone())
    };
    let (names, report) = open("classes_de.csv", "cat,Katze\n");
    assert_eq!(names, ["cat", "dog"]);
    assert_eq!(
        report.remarks(),
        ["classes_de.csv: not used: it has no name for the class 'dog'"]
    );
    // A table about something else.
    let (names, _) = open("colors.csv", "cat,black\ndog,white\n");
    assert_eq!(names, ["cat", "dog"]);
    let (names, report) = open("class_notes.csv", "cat,black\ndog,white\ncow,red,old\n");
    assert_eq!(names, ["cat", "dog"]);
    let remark = &report.remarks()[0];
    assert!(
        remark.contains("class_notes.csv:3: expected the code"),
        "{remark}"
    );
    // Two classes with one name.
    let (names, report) = open("classes_de.csv", "cat,Tier\ndog,Tier\n");
    assert_eq!(names, ["Tier"]);
    assert!(
        report.notes()[0].contains("2 classes have 1 names"),
        "{report}"
    );
}

#[test]
fn images_have_many_names_of_columns() {
    for column in [
        "frame", "Frame", "img_path", "imgpath", "imgname", "img_name", "ImgName", "fname",
        "img_id",
    ] {
        let text = format!("{column},xmin,ymin,xmax,ymax,class\na.png,1,2,31,22,cat\n");
        let dir = folder(&["images/a.png"], &[("labels_train.csv", &text)]);
        assert_eq!(
            objects(dir.path(), "train"),
            ["a.png cat 1 2 31 22"],
            "{column}"
        );
    }
    // The number of a frame beside the name of its image.
    let text = "frame,filename,xmin,ymin,xmax,ymax,class\n7,a.png,1,2,31,22,cat\n";
    let dir = folder(&["a.png"], &[("train.csv", text)]);
    assert_eq!(objects(dir.path(), "train"), ["a.png cat 1 2 31 22"]);
    let dir = folder(
        &["a.png"],
        &[("train.csv", &text.replace("frame,filename", "shot,scene"))],
    );
    let error = message(DetectionDataset::open(dir.path(), None));
    assert!(error.contains("no column 'filename'"), "{error}");
}

#[test]
fn a_table_without_a_class_has_one_class() {
    for (header, row) in [
        ("image,xmin,ymin,xmax,ymax", "a.png,1,2,31,22"),
        (",image,xmin,ymin,xmax,ymax,area", "0,a.png,1,2,31,22,600"),
        ("path,x,y,w,h", "a.png,1,2,30,20"),
    ] {
        let blank = row.replace("a.png", "b.png");
        let blank: String = blank
            .replace(",1,2,31,22", ",,,,")
            .replace(",1,2,30,20", ",,,,");
        let text = format!("{header}\n{row}\n{blank}\n");
        let dir = folder(&["a.png", "b.png"], &[("train.csv", &text)]);
        assert_eq!(
            objects(dir.path(), "train"),
            ["a.png object 1 2 31 22", "b.png"]
        );
        let remarks = remarks(dir.path(), "train");
        assert_eq!(
            remarks[0],
            "train.csv: no column for the class: all objects are of one class, 'object'"
        );
    }
}

/// Detections of a program, and a class under another name.
#[test]
fn a_table_with_a_column_that_may_be_the_class_is_refused() {
    for (header, row) in [
        ("image,xmin,ymin,xmax,ymax,score", "a.png,1,2,31,22,0.5"),
        ("image,xmin,ymin,xmax,ymax,species", "a.png,1,2,31,22,owl"),
    ] {
        let text = format!("{header}\n{row}\n");
        let dir = folder(&["a.png"], &[("train.csv", &text)]);
        let error = message(DetectionDataset::open(dir.path(), None));
        assert!(error.contains("no column 'class'"), "{error}");
    }
}

#[test]
fn of_two_columns_that_may_be_the_image_the_other_one_is_not_the_class() {
    for (header, row) in [
        (
            "name,frame,xmin,ymin,xmax,ymax,class",
            "a.png,17,1,2,31,22,cat",
        ),
        ("frame,xmin,ymin,xmax,ymax,name", "a.png,1,2,31,22,cat"),
        ("frame,xmin,ymin,xmax,ymax,label", "a.png,1,2,31,22,cat"),
    ] {
        let text = format!("{header}\n{row}\n");
        let dir = folder(&["a.png"], &[("train.csv", &text)]);
        assert_eq!(
            objects(dir.path(), "train"),
            ["a.png cat 1 2 31 22"],
            "{header}"
        );
    }
}
