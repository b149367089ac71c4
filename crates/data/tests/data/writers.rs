//! Writing data sets: the files of each layout, how images are transferred, and what is skipped.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use fcos_burn_data::{
    BoundingBox, Category, DataError, DataFolder, DatasetWriter, DetectionDataset, ImageFiles,
    ImageRecord, ImageSource, ImageTransfer, Layout, Object, RgbImage, WriteFinding,
};
use image::Rgb;
use serde_json::{Value, json};
use tempfile::TempDir;

const LAYOUTS: [Layout; 3] = [Layout::Coco, Layout::Voc, Layout::Yolo];

/// Images in memory, by their sizes.
#[derive(Debug)]
struct Memory(Vec<(u32, u32)>);

impl ImageSource for Memory {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let (width, height) = self.0[index];
        Ok(RgbImage::from_pixel(width, height, Rgb([9, 90, 200])))
    }
}

/// A data set in memory.
fn memory(categories: &[&str], images: Vec<ImageRecord>) -> DetectionDataset {
    let sizes = images.iter().map(|image| (image.width, image.height));
    let source = Memory(sizes.collect());
    let categories = Category::list(categories.iter().copied());
    DetectionDataset::new("memory", categories, images, source).unwrap()
}

/// A data set of image files, created in `dir` in the formats of their extensions.
fn files(dir: &Path, names: &[&str]) -> DetectionDataset {
    let mut images = Vec::new();
    let mut paths = Vec::new();
    for (name, id) in names.iter().zip(1..) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let format = image::ImageFormat::from_path(&path).unwrap_or(image::ImageFormat::Png);
        let pixels = RgbImage::from_pixel(20, 10, Rgb([id as u8, 90, 200]));
        pixels.save_with_format(&path, format).unwrap();
        let object = Object::new(id, BoundingBox::new(2.0, 3.0, 12.0, 8.0), 0);
        images.push(ImageRecord::new(id, *name, 20, 10).with_objects(vec![object]));
        paths.push(path);
    }
    DetectionDataset::new(
        "files",
        Category::list(["cat"]),
        images,
        ImageFiles::new(paths),
    )
    .unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// The names in a folder, sorted.
fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Two images: one with a cat and a difficult dog, one without objects.
fn animals() -> DetectionDataset {
    let objects = vec![
        Object::new(7, BoundingBox::new(0.0, 0.0, 10.0, 5.0), 0),
        Object::new(9, BoundingBox::new(4.0, 6.0, 20.0, 10.0), 1).with_iscrowd(true),
    ];
    memory(
        &["cat", "dog & <wolf>"],
        vec![
            ImageRecord::new(3, "a.png", 20, 10).with_objects(objects),
            ImageRecord::new(5, "b", 8, 8),
        ],
    )
}

#[test]
fn coco_folders_match_what_other_tools_expect() {
    let dir = TempDir::new().unwrap();
    let animals = animals();
    let writer = DatasetWriter::new(Layout::Coco);
    let report = writer
        .write(&[("train", &animals), ("val", &animals)], dir.path())
        .unwrap();
    assert_eq!(
        (report.images(), report.objects(), report.left_out()),
        (4, 4, 0)
    );
    assert_eq!(names(dir.path()), ["annotations", "images"]);
    assert_eq!(
        names(dir.path().join("annotations")),
        ["instances_train.json", "instances_val.json"]
    );
    assert_eq!(names(dir.path().join("images/val")), ["a.png", "b.png"]);
    let json = read(dir.path().join("annotations/instances_val.json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json,
        json!({
            "images": [
                {"id": 3, "file_name": "a.png", "width": 20, "height": 10},
                {"id": 5, "file_name": "b.png", "width": 8, "height": 8},
            ],
            "annotations": [
                {"id": 7, "image_id": 3, "category_id": 1, "bbox": [0.0, 0.0, 10.0, 5.0], "area": 50.0, "iscrowd": 0,
                 "segmentation": []},
                {"id": 9, "image_id": 3, "category_id": 2, "bbox": [4.0, 6.0, 16.0, 4.0], "area": 64.0, "iscrowd": 1,
                 "segmentation": []},
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog & <wolf>"}],
        })
    );
}

#[test]
fn voc_folders_match_what_other_tools_expect() {
    let dir = TempDir::new().unwrap();
    let writer = DatasetWriter::new(Layout::Voc);
    let report = writer.write(&[("train", &animals())], dir.path()).unwrap();
    assert_eq!((report.images(), report.objects()), (2, 2));
    assert_eq!(
        names(dir.path()),
        ["Annotations", "ImageSets", "JPEGImages", "labels.txt"]
    );
    assert_eq!(read(dir.path().join("ImageSets/Main/train.txt")), "a\nb\n");
    assert_eq!(read(dir.path().join("labels.txt")), "cat\ndog & <wolf>\n");
    assert_eq!(names(dir.path().join("JPEGImages")), ["a.png", "b.png"]);
    assert_eq!(names(dir.path().join("Annotations")), ["a.xml", "b.xml"]);
    let xml = read(dir.path().join("Annotations/a.xml"));
    let xml: String = xml.split_whitespace().collect();
    // Pixel indices start at 1, and the last pixel is part of the box.
    assert_eq!(
        xml,
        "<annotation><folder>JPEGImages</folder><filename>a.png</filename>\
         <size><width>20</width><height>10</height><depth>3</depth></size><segmented>0</segmented>\
         <object><name>cat</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>\
         <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>5</ymax></bndbox></object>\
         <object><name>dog&amp;&lt;wolf&gt;</name><pose>Unspecified</pose><truncated>0</truncated>\
         <difficult>1</difficult>\
         <bndbox><xmin>5</xmin><ymin>7</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object></annotation>"
    );
}

#[test]
fn yolo_folders_match_what_other_tools_expect() {
    let dir = TempDir::new().unwrap();
    let animals = animals();
    let writer = DatasetWriter::new(Layout::Yolo);
    let splits = [("Training", &animals), ("valid", &animals)];
    let report = writer.write(&splits, dir.path()).unwrap();
    assert_eq!((report.images(), report.objects()), (4, 2));
    assert_eq!(names(dir.path()), ["data.yaml", "images", "labels"]);
    assert_eq!(names(dir.path().join("images/valid")), ["a.png", "b.png"]);
    assert_eq!(
        read(dir.path().join("data.yaml")),
        "train: 'images/Training'\nval: 'images/valid'\nnames:\n  0: 'cat'\n  1: 'dog & <wolf>'\n"
    );
    assert_eq!(
        read(dir.path().join("labels/valid/a.txt")),
        "0 0.25 0.25 0.5 0.5\n"
    );
    // An empty file for an image without objects.
    assert_eq!(read(dir.path().join("labels/valid/b.txt")), "");
}

#[test]
fn data_yaml_lists_splits_by_role() {
    let animals = animals();
    for (splits, listed, remarks) in [
        (&["all"][..], "train: 'images/all'\n", 1),
        (
            &["Validation", "test_set"],
            "test: 'images/test_set'\nval: 'images/Validation'\n",
            0,
        ),
        (
            &["train1", "train2"],
            "train:\n- 'images/train1'\n- 'images/train2'\n",
            0,
        ),
        (&["train", "trainval"], "train: 'images/train'\n", 1),
        (&["a", "b"], "", 2),
    ] {
        let dir = TempDir::new().unwrap();
        let named: Vec<_> = splits.iter().map(|name| (*name, &animals)).collect();
        let report = DatasetWriter::new(Layout::Yolo)
            .write(&named, dir.path())
            .unwrap();
        let yaml = read(dir.path().join("data.yaml"));
        assert_eq!(
            yaml,
            format!("{listed}names:\n  0: 'cat'\n  1: 'dog & <wolf>'\n")
        );
        assert_eq!(report.remarks().len(), remarks, "{report}");
    }
}

#[test]
fn objects_that_a_layout_cannot_represent_are_skipped_and_counted() {
    let boxes = [
        BoundingBox::new(3.0, 3.0, 4.0, 9.0),
        BoundingBox::new(3.5, 3.25, 6.0, 9.0),
        BoundingBox::new(3.0, 3.0, 6.0, 9.0),
    ];
    let objects = boxes
        .iter()
        .zip(1..)
        .map(|(bbox, id)| Object::new(id, *bbox, 0));
    let mut objects: Vec<Object> = objects.collect();
    let crowd = BoundingBox::new(8.0, 3.0, 16.0, 9.0);
    objects.push(Object::new(4, crowd, 0).with_iscrowd(true));
    let dataset = memory(
        &["cat"],
        vec![ImageRecord::new(1, "a", 20, 10).with_objects(objects)],
    );
    for (layout, findings) in [
        (Layout::Coco, &[][..]),
        (
            Layout::Voc,
            &[
                (WriteFinding::TooSmall, "a object 1"),
                (WriteFinding::FractionalCorners, "a.png object 2"),
            ],
        ),
        (Layout::Yolo, &[(WriteFinding::Crowd, "a object 4")]),
    ] {
        let dir = TempDir::new().unwrap();
        let report = DatasetWriter::new(layout)
            .write(&[("train", &dataset)], dir.path())
            .unwrap();
        let found: Vec<_> = report.findings().collect();
        let found: Vec<_> = (found.iter())
            .map(|(finding, tally)| (*finding, tally.examples.join(", ")))
            .filter(|(finding, _)| *finding != WriteFinding::Encoded)
            .collect();
        let findings = findings.iter();
        let findings: Vec<_> = findings
            .map(|(finding, place)| (*finding, (*place).to_string()))
            .collect();
        assert_eq!(found, findings, "{layout}");
        let left_out = usize::from(layout != Layout::Coco);
        assert_eq!(report.left_out(), left_out);
        let read = DetectionDataset::open(dir.path(), Some("train")).unwrap();
        assert_eq!(read.object_count(), 4 - left_out, "{layout}");
        assert_eq!(report.objects(), 4 - left_out);
    }
}

#[test]
fn files_are_copied_or_linked() {
    let source = TempDir::new().unwrap();
    let dataset = files(source.path(), &["a.jpg"]);
    let original = source.path().join("a.jpg");
    for transfer in [
        ImageTransfer::Copy,
        ImageTransfer::HardLink,
        ImageTransfer::SymbolicLink,
    ] {
        let dir = TempDir::new().unwrap();
        let writer = DatasetWriter::new(Layout::Voc).with_transfer(transfer);
        let report = writer.write(&[("train", &dataset)], dir.path()).unwrap();
        assert_eq!(report.findings().count(), 0, "{report}");
        let copy = dir.path().join("JPEGImages/a.jpg");
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&original).unwrap());
        assert_eq!(copy.is_symlink(), transfer == ImageTransfer::SymbolicLink);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let file = |path: &Path| fs::metadata(path).unwrap().ino();
            assert_eq!(
                file(&copy) == file(&original),
                transfer != ImageTransfer::Copy
            );
        }
    }
}

/// Links are resolved first, since they may be relative.
#[cfg(unix)]
#[test]
fn links_to_links_point_to_the_file() {
    let source = TempDir::new().unwrap();
    let dataset = files(source.path(), &["stored/a.jpg"]);
    let link = source.path().join("a.jpg");
    std::os::unix::fs::symlink("stored/a.jpg", &link).unwrap();
    let linked = DetectionDataset::new(
        "linked",
        dataset.categories().to_vec(),
        dataset.images().to_vec(),
        ImageFiles::new(vec![link]),
    )
    .unwrap();
    for transfer in [ImageTransfer::HardLink, ImageTransfer::SymbolicLink] {
        let dir = TempDir::new().unwrap();
        let writer = DatasetWriter::new(Layout::Yolo).with_transfer(transfer);
        writer.write(&[("train", &linked)], dir.path()).unwrap();
        DetectionDataset::open(dir.path(), Some("train"))
            .unwrap()
            .image(0)
            .unwrap();
    }
}

#[test]
fn file_names_are_kept_or_made_unique() {
    let source = TempDir::new().unwrap();
    let dataset = files(
        source.path(),
        &[
            "a/1.jpg",
            "b/1.jpg",
            "b/1.png",
            "B/1.JPG",
            "b/with space 100% <&'\">.png",
            "b/Bär.jpg",
            "b/.hidden.png",
            "b/unknown.extension",
        ],
    );
    let expected = [
        "1-2.jpg",
        "1-3.png",
        "1-4.JPG",
        "1.jpg",
        "Bär.jpg",
        "_hidden.png",
        "unknown.extension.png",
        "with space 100% <&'\">.png",
    ];
    for layout in LAYOUTS {
        let dir = TempDir::new().unwrap();
        let report = DatasetWriter::new(layout)
            .write(&[("train", &dataset)], dir.path())
            .unwrap();
        let folder = match layout {
            Layout::Voc => "JPEGImages",
            _ => "images/train",
        };
        assert_eq!(names(dir.path().join(folder)), expected);
        assert_eq!(report.tally(WriteFinding::Renamed).count, 5, "{report}");
        assert_eq!(
            report.tally(WriteFinding::Renamed).examples[0],
            "b/1.jpg to 1-2.jpg"
        );
        let read = DetectionDataset::open(dir.path(), Some("train")).unwrap();
        assert_eq!((read.len(), read.object_count()), (8, 8), "{layout}");
        for (index, record) in read.images().iter().enumerate() {
            assert_eq!(
                read.image(index).unwrap().dimensions(),
                (20, 10),
                "{record:?}"
            );
        }
    }
}

#[test]
fn names_do_not_point_outside_the_folder() {
    let dataset = memory(
        &["cat"],
        vec![
            ImageRecord::new(1, "../../out", 8, 8),
            ImageRecord::new(2, "C:\\pictures\\..", 8, 8),
            ImageRecord::new(3, "a\nb", 8, 8),
        ],
    );
    for layout in LAYOUTS {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("data");
        let report = DatasetWriter::new(layout)
            .write(&[("../train", &dataset)], &dir)
            .unwrap();
        assert_eq!(names(parent.path()), ["data"]);
        assert_eq!(report.splits(), ["_._train"]);
        assert!(report.remarks()[0].contains("'../train'"), "{report}");
        let folder = DataFolder::open(&dir).unwrap();
        let read = folder.read(&folder.splits()[0]).unwrap();
        assert_eq!(read.len(), 3, "{layout}");
    }
}

#[test]
fn splits_share_one_list_of_classes() {
    let image = |label| {
        let object = Object::new(1, BoundingBox::new(2.0, 2.0, 6.0, 6.0), label);
        vec![ImageRecord::new(1, "a", 8, 8).with_objects(vec![object])]
    };
    let train = memory(&["cat", "dog"], image(1));
    let val = memory(&["dog", "bird"], image(0));
    for layout in LAYOUTS {
        let dir = TempDir::new().unwrap();
        let splits = [("train", &train), ("val", &val)];
        DatasetWriter::new(layout)
            .write(&splits, dir.path())
            .unwrap();
        for split in ["train", "val"] {
            let read = DetectionDataset::open(dir.path(), Some(split)).unwrap();
            let classes = read.categories().iter();
            let classes: Vec<_> = classes.map(|category| category.name.as_str()).collect();
            assert_eq!(classes, ["cat", "dog", "bird"], "{layout}");
            assert_eq!(read.images()[0].objects[0].label, 1, "{layout} {split}");
        }
    }
}

#[test]
fn classes_with_the_same_name_are_written_as_one() {
    let image = |labels: &[usize]| {
        let objects = labels.iter().zip(1_u8..).map(|(label, id)| {
            let left = f32::from(id);
            Object::new(
                id.into(),
                BoundingBox::new(left, 2.0, left + 4.0, 6.0),
                *label,
            )
        });
        vec![ImageRecord::new(1, "a", 16, 8).with_objects(objects.collect())]
    };
    let one = memory(&["cat"], image(&[0]));
    let two = memory(&["cat", "dog", "cat"], image(&[0, 1, 2]));
    for splits in [
        [("train", &one), ("val", &two)],
        [("train", &two), ("val", &one)],
    ] {
        for layout in LAYOUTS {
            let dir = TempDir::new().unwrap();
            let writer = DatasetWriter::new(layout);
            assert_eq!(writer.write(&splits, dir.path()).unwrap().objects(), 4);
            for (split, dataset) in splits {
                let read = DetectionDataset::open(dir.path(), Some(split)).unwrap();
                assert!(read.report().is_clean() && read.report().remarks().is_empty());
                let names = |dataset: &DetectionDataset| -> Vec<String> {
                    let objects = dataset.images()[0].objects.iter();
                    objects
                        .map(|object| dataset.categories()[object.label].name.clone())
                        .collect()
                };
                assert_eq!(names(&read), names(dataset), "{layout} {split}");
                assert_eq!(read.categories().len(), 2, "{layout}");
            }
        }
    }
}

#[test]
fn voc_splits_may_share_images() {
    let source = TempDir::new().unwrap();
    let dataset = files(source.path(), &["a.jpg", "b.jpg"]);
    let dir = TempDir::new().unwrap();
    let splits = [("trainval", &dataset), ("train", &dataset)];
    DatasetWriter::new(Layout::Voc)
        .write(&splits, dir.path())
        .unwrap();
    assert_eq!(names(dir.path().join("JPEGImages")), ["a.jpg", "b.jpg"]);
    for split in ["trainval", "train"] {
        let list = dir.path().join(format!("ImageSets/Main/{split}.txt"));
        assert_eq!(read(list), "a\nb\n");
    }
}

#[test]
fn unreadable_images_are_skipped() {
    let source = TempDir::new().unwrap();
    let dataset = files(source.path(), &["a.png", "b.png", "c.png"]);
    fs::remove_file(source.path().join("b.png")).unwrap();
    for layout in LAYOUTS {
        let dir = TempDir::new().unwrap();
        let report = DatasetWriter::new(layout)
            .write(&[("train", &dataset)], dir.path())
            .unwrap();
        let tally = report.tally(WriteFinding::UnreadableImage);
        assert_eq!(tally.count, 1);
        assert!(tally.examples[0].starts_with("b.png: "), "{report}");
        let read = DetectionDataset::open(dir.path(), Some("train")).unwrap();
        assert_eq!(read.len(), 2, "{layout}");
    }
    // An unreadable image that would have to be encoded.
    let other_size = DetectionDataset::new(
        "other size",
        Category::list(["cat"]),
        vec![
            ImageRecord::new(1, "a.png", 30, 10),
            ImageRecord::new(2, "c.png", 20, 10),
        ],
        ImageFiles::new(vec![
            source.path().join("a.png"),
            source.path().join("c.png"),
        ]),
    )
    .unwrap();
    let dir = TempDir::new().unwrap();
    let writer = DatasetWriter::new(Layout::Yolo);
    let report = writer.write(&[("train", &other_size)], dir.path()).unwrap();
    let tally = report.tally(WriteFinding::UnreadableImage);
    assert!(tally.examples[0].contains("30x10"), "{report}");
    assert_eq!(names(dir.path().join("labels/train")), ["c.txt"]);
}

#[test]
fn nothing_is_overwritten_and_no_partial_output_remains() {
    let parent = TempDir::new().unwrap();
    let taken = parent.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("precious"), "").unwrap();
    let animals = animals();
    let fails = |layout, dataset: &DetectionDataset, dir: &str| {
        let writer = DatasetWriter::new(layout);
        let error = writer.write(&[("train", dataset)], parent.path().join(dir));
        let message = error.unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        assert_eq!(names(parent.path()), ["taken"]);
        assert_eq!(names(&taken), ["precious"]);
        message
    };
    let message = fails(Layout::Coco, &animals, "taken");
    assert!(message.contains("taken: not an empty folder"), "{message}");
    let message = fails(Layout::Csv, &animals, "new");
    assert!(message.contains("COCO, VOC or YOLO"), "{message}");
    let message = fails(Layout::Yolo, &memory(&["cat"], Vec::new()), "new");
    assert!(message.contains("nothing to write"), "{message}");
    // Fails after images were written.
    let newline = memory(&["a\nb"], vec![ImageRecord::new(1, "a", 8, 8)]);
    let message = fails(Layout::Voc, &newline, "new");
    assert!(message.contains(r#""a\nb""#), "{message}");
}

/// A JPEG file of 20x10 stored pixels that must be rotated by 90°.
fn turned_jpeg(path: &Path) {
    let mut jpeg = Vec::new();
    let pixels = RgbImage::from_fn(20, 10, |x, _| Rgb([(x * 12) as u8, 90, 200]));
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100);
    pixels.write_with_encoder(encoder).unwrap();
    // Follows the start of the image: a segment with a single entry, orientation 6.
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut marked = jpeg[..2].to_vec();
    marked.extend([0xff, 0xe1, 0, exif.len() as u8 + 2]);
    marked.extend(exif);
    marked.extend(&jpeg[2..]);
    fs::write(path, marked).unwrap();
}

#[test]
fn boxes_stay_on_their_objects_in_images_with_an_exif_orientation() {
    for (stated, encoded) in [((20, 10), true), ((10, 20), false)] {
        let source = TempDir::new().unwrap();
        turned_jpeg(&source.path().join("a.jpg"));
        let (width, height) = stated;
        let annotations = json!({
            "images": [{"id": 1, "file_name": "a.jpg", "width": width, "height": height}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 5, 6]}],
        });
        let json = source.path().join("annotations.json");
        fs::write(&json, annotations.to_string()).unwrap();
        let original = DetectionDataset::open(source.path(), None).unwrap();
        for layout in LAYOUTS {
            let dir = TempDir::new().unwrap();
            let writer = DatasetWriter::new(layout);
            let report = writer.write(&[("train", &original)], dir.path()).unwrap();
            // YOLO cannot state that boxes refer to the stored pixels.
            let tally = report.tally(WriteFinding::Encoded);
            let expected = usize::from(encoded && layout == Layout::Yolo);
            assert_eq!(tally.count, expected, "{layout}");
            let read = DetectionDataset::open(dir.path(), Some("train")).unwrap();
            assert_eq!(
                read.images()[0].objects[0].bbox,
                original.images()[0].objects[0].bbox
            );
            assert_eq!(
                read.image(0).unwrap(),
                original.image(0).unwrap(),
                "{layout}"
            );
        }
    }
}
