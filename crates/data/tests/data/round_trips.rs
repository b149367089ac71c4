//! Random data sets are written in every supported layout and read back as the same records.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use fcos_burn_data::{
    BoundingBox, Category, DataError, DatasetWriter, DetectionDataset, ImageRecord, ImageSource,
    ImageTransfer, Layout, Object, RgbImage,
};
use image::Rgb;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tempfile::TempDir;

/// The first pixel identifies the image under any file name.
#[derive(Debug)]
struct Numbered(Vec<(u32, u32)>);

impl ImageSource for Numbered {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let (width, height) = self.0[index];
        Ok(RgbImage::from_pixel(
            width,
            height,
            Rgb([index as u8, 90, 200]),
        ))
    }
}

/// Class names, including names that a format might misinterpret.
fn class_names() -> impl Strategy<Value = Vec<String>> {
    let special = select(vec![
        "no",
        "0",
        "1.0",
        "1e3",
        "true",
        "null",
        "~",
        "a: b",
        "it's",
        "\"q\"",
        "<x>&amp;",
        "- x",
        "#c",
        "{a}",
        "[b",
        "a,b",
        "50 %",
        "!t",
        "&r",
        "*r",
        "名前",
        "Bär",
        "😀",
        "a\\b",
        "\\n",
        "a;b",
        "<![CDATA[",
        "]]>",
        "--",
        "a  b",
        "?",
        "|",
        ">",
        "@",
        "`",
        "0x1F",
        "1_000",
        "12:30:45",
        "=",
        "<<",
    ]);
    let other = "\\PC{1,8}".prop_filter("a name for every layout", |name| {
        !name.is_empty() && name.trim() == name && !name.contains('\u{feff}')
    });
    let name = prop_oneof![special.prop_map(str::to_string), other];
    // Several classes may have the same name.
    let again = vec(any::<bool>(), 4);
    (vec(name, 1..5), again).prop_map(|(mut names, again)| {
        names.sort();
        names.dedup();
        let repeated: Vec<String> = (names.iter().zip(again))
            .filter(|(_, again)| *again)
            .map(|(name, _)| name.clone())
            .collect();
        names.extend(repeated);
        names
    })
}

fn file_name() -> impl Strategy<Value = String> {
    let special = select(vec![
        "a.jpg",
        "a.png",
        "A.PNG",
        "sub/a.png",
        "..",
        ".hidden",
        "a b.png",
        "100%.jpg",
        "<&'\">",
        "a\\b.png",
        "C:\\a.png",
        "名前.png",
        "a.b.c.png",
        "classes",
        " a ",
        "a\nb",
        "",
        "-1",
        "a -1",
        "2008_1 1",
        "images/a",
    ]);
    prop_oneof![special.prop_map(str::to_string), any::<String>()]
}

/// An edge of a box along an axis of this length: a whole pixel, a fraction, or near a border.
fn edge(length: u32) -> impl Strategy<Value = f32> {
    let length = length as f32;
    prop_oneof![
        (0..=length as u32).prop_map(|edge| edge as f32),
        0.0..=length,
        select(vec![
            0.0,
            length,
            1e-3,
            1e-6,
            length.next_down(),
            length / 3.0
        ]),
    ]
}

fn object(width: u32, height: u32, classes: usize) -> impl Strategy<Value = Object> {
    let edges = (edge(width), edge(height), edge(width), edge(height));
    (edges, 0..classes, any::<bool>()).prop_map(|((x1, y1, x2, y2), label, crowd)| {
        let bbox = BoundingBox::new(x1.min(x2), y1.min(y2), x1.max(x2), y1.max(y2));
        Object::new(0, bbox, label).with_iscrowd(crowd)
    })
}

fn image(classes: usize) -> impl Strategy<Value = ImageRecord> {
    (1..60_u32, 1..60_u32).prop_flat_map(move |(width, height)| {
        let objects = vec(object(width, height, classes), 0..5).prop_map(move |mut objects| {
            // Boxes that all lie in the first pixel would be read as fractions.
            objects.retain(|object| object.bbox.x2.max(object.bbox.y2) > 1.1);
            objects
        });
        (file_name(), objects).prop_map(move |(name, objects)| {
            ImageRecord::new(0, name, width, height).with_objects(objects)
        })
    })
}

type Splits = Vec<(String, DetectionDataset)>;

fn splits() -> impl Strategy<Value = Splits> {
    let names = subsequence(vec!["train", "val", "test"], 1..=3);
    (class_names(), names).prop_flat_map(|(classes, names)| {
        let images = vec(vec(image(classes.len()), 1..5), names.len());
        images.prop_map(move |images| {
            let split = |(name, mut images): (&&str, Vec<ImageRecord>)| {
                for (image, id) in images.iter_mut().zip(1..) {
                    image.id = id;
                    // Readers keep one of several equal annotations.
                    let mut seen = HashSet::new();
                    image.objects.retain(|object| {
                        let edges = object.bbox.to_xyxy().map(f32::to_bits);
                        seen.insert((&classes[object.label], edges))
                    });
                }
                let sizes = images.iter().map(|image| (image.width, image.height));
                let source = Numbered(sizes.collect());
                let categories = Category::list(classes.clone());
                let dataset = DetectionDataset::new(*name, categories, images, source).unwrap();
                ((*name).to_string(), dataset)
            };
            names.iter().zip(images).map(split).collect()
        })
    })
}

/// What the layouts preserve of each image: its size, and the edges, class and crowd flag of its objects.
type Content = ((u32, u32), Vec<([f32; 4], String, bool)>);

fn content(dataset: &DetectionDataset, layouts: &[Layout]) -> BTreeMap<u8, Content> {
    let name = |object: &Object| dataset.categories()[object.label].name.clone();
    let survives = |object: &&Object| {
        layouts.iter().all(|layout| match layout {
            Layout::Voc => {
                let [_, _, width, height] = object.bbox.to_xywh();
                width > 1.0 && height > 1.0
            }
            Layout::Yolo => !object.iscrowd,
            _ => true,
        })
    };
    let image = |(index, image): (usize, &ImageRecord)| {
        let objects = image.objects.iter().filter(survives);
        let objects = objects.map(|object| (object.bbox.to_xyxy(), name(object), object.iscrowd));
        let number = dataset.image(index).unwrap().get_pixel(0, 0)[0];
        (number, ((image.width, image.height), objects.collect()))
    };
    dataset.images().iter().enumerate().map(image).collect()
}

fn assert_same(found: &BTreeMap<u8, Content>, expected: &BTreeMap<u8, Content>, place: &str) {
    assert_eq!(found.len(), expected.len(), "{place}");
    for (number, (size, objects)) in expected {
        let (found_size, found) = &found[number];
        assert_eq!((found_size, found.len()), (size, objects.len()), "{place}");
        for ((found, expected), index) in found.iter().zip(objects).zip(0..) {
            let place = format!("{place} image {number} object {index}: {found:?} {expected:?}");
            assert_eq!((&found.1, found.2), (&expected.1, expected.2), "{place}");
            for (found, expected) in found.0.iter().zip(expected.0) {
                let distance = f64::from(*found) - f64::from(expected);
                assert!(distance.abs() <= 1e-9, "{place}");
            }
        }
    }
}

fn write(splits: &Splits, writer: &DatasetWriter, dir: &Path) -> Splits {
    let named: Vec<_> = splits
        .iter()
        .map(|(name, dataset)| (name.as_str(), dataset))
        .collect();
    let report = writer.write(&named, dir).unwrap();
    let written: usize = splits.iter().map(|(_, dataset)| dataset.len()).sum();
    assert_eq!(report.images(), written, "{report}");
    let read = |(name, _): &(String, DetectionDataset)| {
        let dataset = DetectionDataset::open(dir, Some(name)).unwrap();
        assert!(dataset.report().is_clean(), "{}", dataset.report());
        (name.clone(), dataset)
    };
    splits.iter().map(read).collect()
}

/// The distinct class names.
fn class_list(dataset: &DetectionDataset) -> Vec<&str> {
    let categories = dataset.categories().iter();
    let mut seen = HashSet::new();
    categories
        .map(|category| category.name.as_str())
        .filter(|name| seen.insert(*name))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_data_sets_are_read_back_unchanged(splits in splits(), first in 0..3_usize) {
        // From memory to one layout, from its files to the next layout, and once more.
        let layouts = [Layout::Coco, Layout::Voc, Layout::Yolo];
        let transfers = [ImageTransfer::Copy, ImageTransfer::HardLink, ImageTransfer::SymbolicLink];
        let mut passed = Vec::new();
        let mut current: Splits = splits.clone();
        let mut dirs = Vec::new();
        for step in 0..3 {
            let layout = layouts[(first + step) % 3];
            let dir = TempDir::new().unwrap();
            let writer = DatasetWriter::new(layout).with_transfer(transfers[step]);
            current = write(&current, &writer, dir.path());
            dirs.push(dir);
            passed.push(layout);
            for ((name, original), (_, read)) in splits.iter().zip(&current) {
                prop_assert_eq!(class_list(original), class_list(read));
                let place = format!("{passed:?} {name}");
                assert_same(&content(read, &[]), &content(original, &passed), &place);
            }
        }
    }
}
