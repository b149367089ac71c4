//! The images that annotation files name are found, and no other image takes the place of a missing one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fcos_burn_data::{DataFolder, DetectionDataset, Finding};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A folder with these images.
fn images(names: &[&str]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, shade) in names.iter().zip(1..) {
        write(dir.path(), name, "");
        let color = Rgb([shade * 20, 90, 200]);
        let image = RgbImage::from_pixel(40, 30, color);
        image.save(dir.path().join(name)).unwrap();
    }
    dir
}

/// The left edge of the only box of the image with this number.
fn left(number: usize) -> f64 {
    2.0 * number as f64
}

/// COCO annotations of images with these names, which have a box each.
fn coco(names: &[&str]) -> Value {
    let numbered = || names.iter().zip(1_usize..);
    let images = numbered()
        .map(|(name, number)| json!({"id": number, "file_name": name, "width": 40, "height": 30}));
    let annotations = numbered().map(|(_, number)| {
        json!({"id": number, "image_id": number, "category_id": 1, "bbox": [left(number), 2, 10, 10]})
    });
    json!({
        "images": images.collect::<Vec<_>>(),
        "annotations": annotations.collect::<Vec<_>>(),
        "categories": [{"id": 1, "name": "cat"}],
    })
}

fn coco_text(names: &[&str]) -> String {
    coco(names).to_string()
}

/// The same as a table.
fn csv(names: &[&str]) -> String {
    let rows = names.iter().zip(1..).map(|(name, number)| {
        let x = left(number);
        format!("{name},{x},2,{},12,cat\n", x + 10.0)
    });
    "filename,xmin,ymin,xmax,ymax,class\n".to_owned() + &rows.collect::<String>()
}

/// The same for Create ML.
fn createml(names: &[&str]) -> Value {
    let entries = names.iter().zip(1..).map(|(name, number)| {
        let coordinates = json!({"x": left(number) + 5.0, "y": 7, "width": 10, "height": 10});
        json!({"image": name, "annotations": [{"label": "cat", "coordinates": coordinates}]})
    });
    entries.collect()
}

/// The annotations of one image for VOC.
fn voc(file_name: &str, number: usize) -> String {
    let x = left(number);
    format!(
        "<annotation><filename>{file_name}</filename><size><width>40</width><height>30</height></size>\
         <object><name>cat</name><bndbox><xmin>{}</xmin><ymin>3</ymin><xmax>{}</xmax><ymax>12</ymax></bndbox>\
         </object></annotation>",
        x + 1.0,
        x + 10.0
    )
}

/// The left edges of the boxes in each image file, by its path in the folder.
fn found(dir: &Path, dataset: &DetectionDataset) -> BTreeMap<String, Vec<f32>> {
    let image = |index: usize| {
        let path = dataset.image_file(index).unwrap();
        let name = path.strip_prefix(dir).unwrap().display().to_string();
        let objects = dataset.images()[index].objects.iter();
        (name, objects.map(|object| object.bbox.x1).collect())
    };
    (0..dataset.len()).map(image).collect()
}

/// Images with these numbers at these paths.
fn expected(images: &[(&str, usize)]) -> BTreeMap<String, Vec<f32>> {
    let image = |(name, number): &(&str, usize)| (name.to_string(), vec![left(*number) as f32]);
    images.iter().map(image).collect()
}

fn read(dir: &TempDir, split: Option<&str>) -> DetectionDataset {
    DetectionDataset::open(dir.path(), split).unwrap()
}

fn refused(dir: &TempDir, split: Option<&str>) -> String {
    let error = DetectionDataset::open(dir.path(), split).unwrap_err();
    error.to_string()
}

fn missing(dataset: &DetectionDataset) -> Vec<String> {
    dataset.report().tally(Finding::MissingImage).examples
}

/// Writes annotations of images with these names in all layouts with one file for all images, and calls `check` for each.
fn in_each_layout(on_disk: &[&str], names: &[&str], check: impl Fn(&TempDir)) {
    for (file, text) in [
        ("annotations.json", coco(names).to_string()),
        ("annotations.csv", csv(names)),
        ("createml.json", createml(names).to_string()),
    ] {
        let dir = images(on_disk);
        write(dir.path(), file, text);
        check(&dir);
    }
}

#[test]
fn an_image_of_another_folder_does_not_take_the_place_of_a_missing_one() {
    let (first, second) = ("images/seq1/0.png", "images/seq1/1.png");
    for (on_disk, names) in [
        (&[first, second][..], ["seq1/0.png", "seq2/1.png"]),
        (&[first], ["seq1/0.png", "seq2/0.png"]),
        (&[first], ["seq2/0.png", "seq1/0.png"]),
        (&[first, second], ["images/seq1/0.png", "images/seq2/1.png"]),
        (
            &[first, second],
            ["C:\\set\\seq1\\0.png", "C:\\set\\seq2\\1.png"],
        ),
        (
            &[first, second],
            ["/home/me/x/seq1/0.png", "/home/me/x/seq2/1.png"],
        ),
        (&[first, second], ["seq1/0", "seq2/1"]),
        (
            &["a/seq1/img/0.png", "a/seq1/img/1.png"],
            ["a/seq1/img/0.png", "a/seq2/img/1.png"],
        ),
        (&["0.png"], ["0.png", "seq2/0.png"]),
    ] {
        let lost = names.iter().position(|name| name.contains("seq2")).unwrap();
        in_each_layout(on_disk, &names, |dir| {
            let dataset = read(dir, None);
            assert_eq!(missing(&dataset), [names[lost]]);
            let present = expected(&[(on_disk[0], 2 - lost)]);
            assert_eq!(found(dir.path(), &dataset), present, "{names:?}");
            let notes = dataset.report().notes().join("\n");
            assert!(notes.contains("that other entries name: 1 ("), "{notes}");
        });
    }
    // Nothing tells which of the names is right.
    let names = ["seq1/0.png", "seq2/0.png", "1.png", "2.png"];
    in_each_layout(&["all/0.png", "all/1.png", "all/2.png"], &names, |dir| {
        assert_eq!(missing(&read(dir, None)), names[..2]);
    });
    // Too many missing images are an error.
    in_each_layout(
        &[first, second],
        &["seq1/0.png", "seq2/1.png", "seq3/1.png"],
        |dir| {
            assert!(refused(dir, None).contains("2 of 3 annotated images are missing"));
        },
    );
}

#[test]
fn rows_of_another_split_show_the_folders_of_a_table() {
    let rows = [
        ("seq1/0.png", "train"),
        ("seq2/1.png", "val"),
        ("seq1/2.png", "val"),
    ];
    let rows = rows.map(|(name, split)| format!("{name},1,2,9,9,cat,{split}\n"));
    let dir = images(&["seq1/0.png", "seq1/1.png", "seq1/2.png"]);
    let table = "filename,xmin,ymin,xmax,ymax,class,split\n".to_owned() + &rows.concat();
    write(dir.path(), "labels.csv", table);
    assert_eq!(missing(&read(&dir, Some("val"))), ["seq2/1.png"]);
    assert!(missing(&read(&dir, Some("train"))).is_empty());
}

#[test]
fn images_in_folders_with_other_names_are_found() {
    for (on_disk, names) in [
        (
            ["train/a.png", "train/b.png", "train/c.png"],
            ["a.png", "data/b.png", "C:\\Users\\me\\imgs\\c.png"],
        ),
        // From several folders into one.
        (
            ["images/a.png", "images/b.png", "images/c.png"],
            ["seq1/a.png", "seq2/b.png", "seq3/c.png"],
        ),
        (
            ["all/a.png", "all/b.png", "all/c.png"],
            ["/data/seq1/a.png", "/data/seq2/b.png", "/data/seq2/c.png"],
        ),
        // Of several people.
        (
            ["imgs/a.png", "imgs/b.png", "imgs/c.png"],
            [
                "C:\\Users\\me\\imgs\\a.png",
                "C:\\Users\\you\\Desktop\\b.png",
                "/home/them/pics/c.png",
            ],
        ),
        // One folder has another name.
        (
            ["images/one/a.png", "images/two/b.png", "images/three/c.png"],
            ["one/a.png", "2/b.png", "3/c.png"],
        ),
    ] {
        in_each_layout(&on_disk, &names, |dir| {
            let dataset = read(dir, None);
            let all: Vec<(&str, usize)> = on_disk.into_iter().zip(1..).collect();
            assert_eq!(found(dir.path(), &dataset), expected(&all));
            assert!(dataset.report().is_clean(), "{}", dataset.report());
        });
    }
}

#[test]
fn voc_folders_keep_their_images() {
    for (on_disk, own, lost) in [
        (
            ["JPEGImages/seq1/0.png", "JPEGImages/seq1/1.png"],
            "Annotations/seq1/0.xml",
            ["Annotations/seq2/1.xml", "Annotations/seq2/0.xml"],
        ),
        (
            ["seq1/0.png", "seq1/1.png"],
            "seq1/0.xml",
            ["seq2/1.xml", "seq2/0.xml"],
        ),
        (
            ["taskA/JPEGImages/0.png", "taskA/JPEGImages/1.png"],
            "taskA/Annotations/0.xml",
            ["taskB/Annotations/1.xml", "taskB/Annotations/0.xml"],
        ),
        (
            ["images/seq1/0.png", "images/seq2/0.png"],
            "annotations/seq1/0.xml",
            ["annotations/seq3/0.xml", "annotations/seq3/1.xml"],
        ),
    ] {
        for lost in lost {
            let dir = images(&on_disk);
            let more = format!("{}/2", on_disk[0].rsplit_once('/').unwrap().0);
            fs::copy(dir.path().join(on_disk[0]), dir.path().join(more + ".png")).unwrap();
            write(dir.path(), own, voc("0.png", 1));
            write(dir.path(), &own.replace('0', "2"), voc("2.png", 2));
            if lost.contains("seq3") {
                write(dir.path(), "annotations/seq2/0.xml", voc("0.png", 4));
            }
            let name = Path::new(lost).with_extension("png");
            let name = name.file_name().unwrap().to_str().unwrap();
            write(dir.path(), lost, voc(name, 3));
            let dataset = read(&dir, None);
            assert_eq!(missing(&dataset).len(), 1, "{lost}");
            let mut all = found(dir.path(), &dataset);
            assert_eq!(all.remove(on_disk[0]), Some(vec![2.0]));
            assert!(all.values().all(|boxes| *boxes != [6.0]), "{all:?}");
        }
    }
    // Folders of annotations that no folder of images has.
    let dir = images(&[
        "JPEGImages/cam1/a.png",
        "JPEGImages/cam2/b.png",
        "JPEGImages/c.png",
    ]);
    for (file, number) in [("ann/a", 1), ("bob/b", 2), ("bob/c", 3)] {
        let name = format!("{}.png", file.rsplit_once('/').unwrap().1);
        write(
            dir.path(),
            &format!("Annotations/{file}.xml"),
            voc(&name, number),
        );
    }
    let all = [
        ("JPEGImages/cam1/a.png", 1),
        ("JPEGImages/cam2/b.png", 2),
        ("JPEGImages/c.png", 3),
    ];
    assert_eq!(found(dir.path(), &read(&dir, None)), expected(&all));
}

#[test]
fn lines_of_voc_lists_keep_to_their_folders() {
    let dir = images(&["JPEGImages/seq1/0.png", "JPEGImages/seq1/1.png"]);
    write(dir.path(), "Annotations/seq1/0.xml", voc("0.png", 1));
    write(dir.path(), "Annotations/seq1/1.xml", voc("1.png", 2));
    write(dir.path(), "ImageSets/Main/train.txt", "seq1/0\nseq2/1\n");
    let error = refused(&dir, Some("train"));
    assert!(
        error.contains("train.txt:2: 'seq2/1' has no annotation file"),
        "{error}"
    );
    write(
        dir.path(),
        "ImageSets/Main/train.txt",
        "/x/JPEGImages/seq1/0.png\nseq1/1\n",
    );
    assert_eq!(read(&dir, Some("train")).len(), 2);
}

#[test]
fn lists_of_yolo_keep_to_their_folders() {
    for (lines, on_disk) in [
        (
            ["images/seq1/0.png", "images/seq2/1.png"],
            &["images/seq1/0.png", "images/seq1/1.png"][..],
        ),
        (
            ["images/seq2/0.png", "images/seq1/0.png"],
            &["images/seq1/0.png"],
        ),
        (
            ["/x/images/seq1/0.png", "/x/images/seq2/0.png"],
            &["images/seq1/0.png"],
        ),
    ] {
        let dir = images(on_disk);
        write(dir.path(), "labels/seq1/0.txt", "0 0.5 0.5 0.2 0.2\n");
        write(dir.path(), "labels/seq2/1.txt", "0 0.2 0.2 0.2 0.2\n");
        write(dir.path(), "train.txt", lines.join("\n"));
        write(dir.path(), "data.yaml", "train: train.txt\nnames: [cat]\n");
        let dataset = read(&dir, Some("train"));
        assert_eq!((dataset.len(), dataset.object_count()), (1, 1));
        assert_eq!(missing(&dataset).len(), 1, "{lines:?}");
        let image = dataset.image_file(0).unwrap();
        assert!(image.ends_with(on_disk[0]));
    }
    // Images were moved into another folder.
    let dir = images(&["images/0.png", "images/1.png"]);
    for stem in ["0", "1"] {
        write(
            dir.path(),
            &format!("labels/{stem}.txt"),
            "0 0.5 0.5 0.2 0.2\n",
        );
    }
    write(dir.path(), "train.txt", "/x/seq1/0.png\n/x/seq2/1.png\n");
    write(dir.path(), "data.yaml", "train: train.txt\nnames: [cat]\n");
    let dataset = read(&dir, Some("train"));
    assert_eq!((dataset.len(), dataset.object_count()), (2, 2));
}

/// CVAT's exports of several tasks, and other folders that each have an annotation file.
#[test]
fn each_task_uses_the_images_in_its_own_folder() {
    for (file, image) in [
        ("annotations/instances_default.json", "images/default/1.png"),
        ("annotations/instances_default.json", "images/1.png"),
        ("annotations/instances_default.json", "data/1.png"),
        ("annotations.json", "images/1.png"),
        ("labels.csv", "pictures/sub/1.png"),
        ("_annotations.createml.json", "1.png"),
    ] {
        let text = |number: usize| {
            let names = [vec!["none.png"; number - 1], vec!["1.png"]].concat();
            let names = &names[..];
            match file {
                "labels.csv" => csv(names),
                "_annotations.createml.json" => createml(names).to_string(),
                _ => coco(names).to_string(),
            }
        };
        for tasks in [["task_a", "task_b"], ["a", "b"]] {
            let paths = tasks.map(|task| format!("{task}/{image}"));
            let dir = images(&[&paths[0], &paths[1]]);
            write(dir.path(), &format!("{}/{file}", tasks[0]), text(1));
            write(dir.path(), &format!("{}/{file}", tasks[1]), text(2));
            let splits = DataFolder::open(dir.path()).unwrap().splits().to_vec();
            let split = |task: &str| splits.iter().find(|split| split.starts_with(task));
            let [first, second] = tasks.map(|task| split(task).map(String::as_str));
            for (split, path, number) in [(first, &paths[0], 1), (second, &paths[1], 2)] {
                let own = expected(&[(path, number)]);
                assert_eq!(found(dir.path(), &read(&dir, split)), own, "{path}");
            }
            // The image of the first task is not one of the second.
            fs::remove_file(dir.path().join(&paths[1])).unwrap();
            assert_eq!(read(&dir, first).len(), 1);
            let error = refused(&dir, second);
            assert!(error.contains("no such image"), "{error}");
        }
    }
    // Names may point to the images of another task, and annotations may lie elsewhere.
    for (file, name) in [
        ("task_b/annotations.json", "../task_a/images/1.png"),
        ("task_b/annotations.json", "/home/me/task_a/images/1.png"),
        ("annotations/val.json", "1.png"),
        ("val.json", "1.png"),
        ("more/other.json", "1.png"),
    ] {
        let dir = images(&["task_a/images/0.png", "task_a/images/1.png"]);
        write(
            dir.path(),
            "task_a/annotations.json",
            coco(&["0.png"]).to_string(),
        );
        write(dir.path(), file, coco(&[name]).to_string());
        let folder = DataFolder::open(dir.path()).unwrap();
        assert_eq!(folder.splits().len(), 2, "{file}");
        let split = folder.splits().last().cloned();
        let all = expected(&[("task_a/images/1.png", 1)]);
        assert_eq!(
            found(dir.path(), &read(&dir, split.as_deref())),
            all,
            "{file}"
        );
    }
}

#[test]
fn a_split_without_a_folder_may_use_those_of_others() {
    for (folder, split) in [
        ("train_images", "val"),
        ("train2017", "valid"),
        ("images/train", "dev"),
    ] {
        let names = [format!("{folder}/a.png"), format!("{folder}/b.png")];
        let on_disk = [names[0].as_str(), names[1].as_str(), "other/c.png"];
        for (extension, text) in [("json", coco_text as fn(&[&str]) -> String), ("csv", csv)] {
            let dir = images(&on_disk);
            let own = format!("{split}.{extension}");
            write(dir.path(), &format!("train.{extension}"), text(&["a.png"]));
            write(dir.path(), &own, text(&["b.png"]));
            let dataset = read(&dir, Some(split));
            assert_eq!(found(dir.path(), &dataset), expected(&[(&names[1], 1)]));
            let remarks = dataset.report().remarks().join("\n");
            assert!(
                remarks.contains("found in those of other splits: 1 (b.png)"),
                "{remarks}"
            );
            let train = read(&dir, Some("train"));
            assert_eq!(found(dir.path(), &train), expected(&[(&names[0], 1)]));
            let remarks = train.report().remarks().join("\n");
            assert!(!remarks.contains("other splits"), "{remarks}");

            // A folder for the split, even an empty one, has all of its images.
            let of_split = folder.replace("train", "val");
            fs::create_dir_all(dir.path().join(&of_split)).unwrap();
            let error = refused(&dir, Some(split));
            assert!(
                error.contains("1 of 1 annotated images are missing"),
                "{error}"
            );
            let other = dir.path().join(of_split).join("z.png");
            fs::copy(dir.path().join(&names[0]), other).unwrap();
            refused(&dir, Some(split));
        }
    }
    // The folder of the annotation file is that of the split.
    let dir = images(&["train/a.png"]);
    write(
        dir.path(),
        "train/_annotations.coco.json",
        coco(&["a.png"]).to_string(),
    );
    write(
        dir.path(),
        "valid/_annotations.coco.json",
        coco(&["a.png"]).to_string(),
    );
    refused(&dir, Some("valid"));
    // The name says that the image is in another folder.
    let dir = images(&["train_images/a.png"]);
    write(
        dir.path(),
        "val.json",
        coco(&["val_images/a.png"]).to_string(),
    );
    refused(&dir, Some("val"));
}

/// A name with composed and with decomposed characters.
const NFC: &str = "caf\u{e9}\u{d55c}";
const NFD: &str = "cafe\u{301}\u{1112}\u{1161}\u{11ab}";

#[test]
fn names_are_found_however_their_characters_are_composed() {
    for (disk, named) in [(NFD, NFC), (NFC, NFD)] {
        for (path, name) in [
            (format!("{disk}.png"), format!("{named}.png")),
            (format!("images/{disk}.png"), format!("{named}.PNG")),
            (
                format!("images/{disk}/{disk}.png"),
                format!("{named}/{named}.png"),
            ),
            (format!("{disk}/1.png"), format!("{named}/1.png")),
            (format!("images/{disk}.png"), named.to_string()),
        ] {
            in_each_layout(&[&path], &[&name], |dir| {
                let dataset = read(dir, None);
                assert_eq!(found(dir.path(), &dataset), expected(&[(&path, 1)]));
                assert!(dataset.report().is_clean(), "{}", dataset.report());
            });
        }
        // Folders distinguish images with the same name.
        let on_disk = [format!("images/{disk}/1.png"), "images/cafe/1.png".into()];
        let names = [format!("{named}/1.png"), "cafe/1.png".into()];
        in_each_layout(
            &[&on_disk[0], &on_disk[1]],
            &[&names[0], &names[1]],
            |dir| {
                let all = expected(&[(&on_disk[0], 1), (&on_disk[1], 2)]);
                assert_eq!(found(dir.path(), &read(dir, None)), all);
            },
        );

        for folder in ["", "ImageSets/Main"] {
            let image = format!("images/{disk}.png");
            let dir = images(&[&image, "images/b.png"]);
            write(
                dir.path(),
                &format!("annotations/{named}.xml"),
                voc("old.png", 1),
            );
            write(dir.path(), "annotations/b.xml", voc("b.png", 2));
            if !folder.is_empty() {
                write(
                    dir.path(),
                    "ImageSets/Main/train.txt",
                    format!("{disk}\nb\n"),
                );
            }
            let all = expected(&[(&image, 1), ("images/b.png", 2)]);
            let dataset = read(&dir, None);
            assert_eq!(found(dir.path(), &dataset), all);
            assert!(dataset.report().is_clean(), "{}", dataset.report());
        }

        for (image, label) in [
            (format!("images/{disk}.png"), format!("labels/{named}.txt")),
            (
                format!("images/{disk}/a.png"),
                format!("labels/{named}/a.txt"),
            ),
            (format!("{disk}.png"), format!("{named}.txt")),
        ] {
            let dir = images(&[&image, "images/b.png"]);
            write(dir.path(), &label, "0 0.5 0.5 0.2 0.2\n");
            write(dir.path(), "labels/b.txt", "0 0.5 0.5 0.2 0.2\n");
            write(dir.path(), "classes.txt", "cat\n");
            let dataset = read(&dir, None);
            assert_eq!((dataset.len(), dataset.object_count()), (2, 2));
            let report = dataset.report();
            assert!(report.is_clean() && report.remarks().is_empty(), "{report}");
        }
        let dir = images(&[&format!("{disk}/images/a.png")]);
        write(
            dir.path(),
            &format!("{disk}/labels/a.txt"),
            "0 0.5 0.5 0.2 0.2\n",
        );
        let yaml = format!("train: {named}/images\nnames: [cat]\n");
        write(dir.path(), "data.yaml", yaml);
        assert_eq!(read(&dir, Some("train")).object_count(), 1);
        let image = format!("images/{disk}.png");
        let dir = images(&[&image]);
        write(
            dir.path(),
            &format!("labels/{disk}.txt"),
            "0 0.5 0.5 0.2 0.2\n",
        );
        write(dir.path(), "train.txt", format!("images/{named}.png\n"));
        write(dir.path(), "data.yaml", "train: train.txt\nnames: [cat]\n");
        assert_eq!(read(&dir, Some("train")).object_count(), 1);
    }
}

/// File systems of macOS do not allow this.
#[cfg(target_os = "linux")]
#[test]
fn of_files_that_differ_in_composition_the_exact_one_is_used() {
    let (nfc, nfd) = (format!("images/x/{NFC}.png"), format!("images/x/{NFD}.png"));
    for (name, path) in [(NFC, &nfc), (NFD, &nfd)] {
        for folder in ["x", "elsewhere"] {
            in_each_layout(&[&nfc, &nfd], &[&format!("{folder}/{name}.png")], |dir| {
                assert_eq!(found(dir.path(), &read(dir, None)), expected(&[(path, 1)]));
            });
        }
        let dir = images(&[&nfc, &nfd]);
        write(
            dir.path(),
            &format!("annotations/{name}.xml"),
            voc("old.png", 1),
        );
        assert_eq!(found(dir.path(), &read(&dir, None)), expected(&[(path, 1)]));
    }
    // Only the accent is composed.
    let other = NFC.replace('\u{d55c}', "\u{1112}\u{1161}\u{11ab}");
    in_each_layout(&[&nfc, &nfd], &[&format!("x/{other}.png")], |dir| {
        assert!(refused(dir, None).contains("no such image"));
    });
    let dir = images(&[&nfc, &nfd]);
    write(
        dir.path(),
        &format!("annotations/{other}.xml"),
        voc("old.png", 1),
    );
    let error = refused(&dir, None);
    assert!(error.contains("the image may be"), "{error}");
}

#[test]
fn equal_entries_of_coco_are_merged() {
    let dir = images(&["a.png", "b.png"]);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = coco(&["a.png", "b.png"]);
        change(&mut file);
        write(dir.path(), "all.json", file.to_string());
    };
    let add = |file: &mut Value, list: &str, entry: Value| {
        file[list].as_array_mut().unwrap().push(entry);
    };
    let all = expected(&[("a.png", 1), ("b.png", 2)]);
    // Two files with all lists joined.
    with(&|file| {
        for list in ["images", "categories", "annotations"] {
            let again = file[list][0].clone();
            add(file, list, again);
        }
    });
    let dataset = read(&dir, None);
    assert_eq!(found(dir.path(), &dataset), all);
    assert_eq!(dataset.categories().len(), 1);
    let report = dataset.report();
    assert_eq!(report.tally(Finding::Repeated).examples, ["a.png"]);
    assert_eq!(report.tally(Finding::Duplicate).count, 1);
    let remarks = report.remarks().join("\n");
    assert!(
        remarks.contains("categories listed again, merged: 1 (cat)"),
        "{remarks}"
    );
    // Fields that are not used may differ, and ids may be strings.
    with(&|file| {
        let image =
            json!({"id": "1", "file_name": "a.png", "width": 40, "height": 30, "license": 4});
        add(file, "images", image);
        let category = json!({"id": 1.0, "name": "cat", "supercategory": "animal"});
        add(file, "categories", category);
    });
    assert_eq!(found(dir.path(), &read(&dir, None)), all);
    for (list, entry, cause) in [
        (
            "images",
            json!({"id": 1, "file_name": "c.png", "width": 40, "height": 30}),
            "image id 1 is used twice: for a.png, 40x30 and for c.png, 40x30",
        ),
        (
            "images",
            json!({"id": 1, "file_name": "a.png", "width": 20, "height": 30}),
            "image id 1 is used twice: for a.png, 40x30 and for a.png, 20x30",
        ),
        (
            "categories",
            json!({"id": 1, "name": "dog"}),
            "category id 1 is used twice: for cat and for dog",
        ),
    ] {
        with(&|file| add(file, list, entry.clone()));
        let error = refused(&dir, None);
        assert!(error.contains(cause), "{error}");
    }
}

#[test]
fn listed_images_without_voc_annotations_are_skipped() {
    for (folder, lines) in [
        ("ImageSets/Main/", ["a", "b", "c"]),
        ("ImageSets/", ["a.png", "b.png", "c.png"]),
        (
            "",
            ["JPEGImages/b.png", "JPEGImages/a.png", "JPEGImages/c.png"],
        ),
    ] {
        let dir = images(&["JPEGImages/a.png", "JPEGImages/b.png", "JPEGImages/c.png"]);
        let list = format!("{folder}train.txt");
        write(dir.path(), "Annotations/a.xml", voc("a.png", 1));
        write(dir.path(), "Annotations/c.xml", voc("c.png", 3));
        write(dir.path(), &list, lines.join("\n"));
        let dataset = read(&dir, Some("train"));
        let own = expected(&[("JPEGImages/a.png", 1), ("JPEGImages/c.png", 3)]);
        assert_eq!(found(dir.path(), &dataset), own);
        let name = lines.iter().find(|line| line.contains('b')).unwrap();
        let remark = format!("images without annotations, skipped: 1 ({name})");
        assert_eq!(dataset.report().remarks(), [remark]);

        // A line without an image is an error.
        write(dir.path(), &list, [&lines[..], &["d"]].concat().join("\n"));
        let error = refused(&dir, Some("train"));
        assert!(
            error.contains("train.txt:4: 'd' has no annotation file d.xml"),
            "{error}"
        );
    }
    // More than half.
    let dir = images(&["JPEGImages/a.png", "JPEGImages/b.png", "JPEGImages/c.png"]);
    write(dir.path(), "Annotations/a.xml", voc("a.png", 1));
    write(dir.path(), "ImageSets/Main/train.txt", "a\nb\nc\n");
    let error = refused(&dir, Some("train"));
    let cause = "train.txt:2: 'b' has no annotation file b.xml (2 of 3 listed images have none)";
    assert!(error.contains(cause), "{error}");
}

/// Folders in a split may have words for other splits in their names, which are those of classes or places.
#[test]
fn folders_in_a_split_may_be_called_like_another_split() {
    let names = ["steam_train/2.png", "crash_test/1.png", "TestTube/3.png"];
    let on_disk = |split: &str| names.map(|name| format!("{split}/{name}"));
    for split in ["train", "val"] {
        let all = [on_disk("train"), on_disk("val")].concat();
        let dir = images(&all.iter().map(String::as_str).collect::<Vec<_>>());
        write(dir.path(), &format!("{split}.json"), coco_text(&names));
        let dataset = read(&dir, Some(split));
        let own = on_disk(split);
        let numbered: Vec<(&str, usize)> = own.iter().map(String::as_str).zip(1..).collect();
        assert_eq!(found(dir.path(), &dataset), expected(&numbered));
    }
}
