//! Statistics of small data sets, compared with values computed by hand.
#![allow(clippy::unwrap_used)]

mod sets;

use std::path::Path;

use fcos_burn_data::{
    Category, DataFolder, DetectionDataset, Division, ImageFiles, Object, transforms::Resize,
};
use fcos_burn_inspect::{Inspection, InspectionOptions, Picture, Purpose, Splits};

use sets::{boxed, dataset, record};

fn options() -> InspectionOptions {
    InspectionOptions::new(Resize::Fixed {
        width: 64,
        height: 64,
    })
}

/// All splits of a folder, divided as in training.
fn read(folder: &DataFolder) -> Splits {
    Splits::read(folder, folder.division(None, None).ok().as_ref()).unwrap()
}

/// Two splits whose files number the classes differently.
fn splits() -> Splits {
    let train = dataset(
        &["cat", "dog", "bird"],
        vec![
            record(1, "a", (100, 50), vec![boxed(0, [0.0, 0.0, 40.0, 10.0])]),
            record(2, "b", (100, 50), Vec::new()),
            record(
                3,
                "c",
                (200, 200),
                vec![
                    boxed(1, [0.0, 0.0, 20.0, 20.0]),
                    boxed(1, [0.0, 0.0, 20.0, 20.0]),
                    boxed(0, [50.0, 50.0, 150.0, 150.0]).with_iscrowd(true),
                ],
            ),
        ],
    );
    let val = dataset(
        &["dog", "fish"],
        vec![record(
            1,
            "v",
            (50, 100),
            vec![
                boxed(0, [0.0, 0.0, 5.0, 20.0]),
                boxed(1, [0.0, 0.0, 9.0, 9.0]),
            ],
        )],
    );
    Splits::new("pets")
        .with_split(Purpose::Training, "train", train)
        .with_split(Purpose::Validation, "val", val)
}

#[test]
fn images_objects_and_classes_are_counted_by_split() {
    let found = Inspection::of(&splits(), &options());
    let [train, val] = found.splits.as_slice() else {
        panic!("{:?}", found.splits)
    };
    assert_eq!((train.images, train.images_without_objects), (3, 1));
    assert_eq!((train.objects, train.crowds, train.most_objects), (3, 1, 2));
    assert_eq!((val.images, val.objects, val.crowds), (1, 2, 0));

    let counts = found.classes.iter();
    let counts = counts.map(|class| {
        (
            class.name.as_str(),
            class.objects.as_slice(),
            class.images.as_slice(),
        )
    });
    let expected: [(&str, &[usize], &[usize]); 4] = [
        ("cat", &[1, 0], &[1, 0]),
        ("dog", &[2, 1], &[1, 1]),
        ("bird", &[0, 0], &[0, 0]),
        ("fish", &[0, 1], &[0, 1]),
    ];
    assert_eq!(counts.collect::<Vec<_>>(), expected);
    assert_eq!(found.concerns.rare, ["cat", "dog"]);
    assert_eq!(found.concerns.not_trained, ["fish"]);
    assert_eq!(found.concerns.not_validated, ["cat"]);
    assert_eq!(found.concerns.unused, ["bird"]);
}

#[test]
fn sizes_shapes_and_crowding_cover_all_splits() {
    let found = Inspection::of(&splits(), &options());
    let width = found.image_sizes.width.as_ref().unwrap();
    assert_eq!((width.min, width.median, width.max), (50.0, 100.0, 200.0));
    assert_eq!(found.image_sizes.different, 3);
    let common = found.image_sizes.common[0];
    assert_eq!((common.width, common.height, common.images), (100, 50, 2));
    // Sides: 20, 20, 20, 10, 9; shapes: 4, 1, 1, 1/4, 1.
    let side = found.box_sizes.side.as_ref().unwrap();
    assert_eq!((side.min, side.median, side.max), (9.0, 20.0, 20.0));
    let shape = found.box_sizes.aspect_ratio.as_ref().unwrap();
    assert_eq!((shape.min, shape.median, shape.max), (0.25, 1.0, 4.0));
    // 20 pixels relative to √5000 and to 200.
    let relative = found.box_sizes.relative_side.as_ref().unwrap();
    assert_eq!(relative.min, 10.0);
    assert!((relative.max - 100.0 * 20.0 / 5000_f64.sqrt()).abs() < 1e-9);
    let per_image = found.crowding.per_image.as_ref().unwrap();
    assert_eq!((per_image.min, per_image.max), (0.0, 2.0));
    assert_eq!(found.crowding.mean, 1.25);
    assert_eq!(found.crowding.overlapping, 2);
}

#[test]
fn levels_and_suggestion_are_for_the_training_split() {
    let found = Inspection::of(&splits(), &options());
    assert_eq!(found.levels.objects(), 3);
    // The twins share their locations, which are all assigned to the first one.
    assert_eq!(found.levels.without_point, 1);
    assert_eq!(found.levels.without_point_images, [2]);
    let size = found.suggestion.as_ref().unwrap();
    assert!(size.large_enough() && !size.points_suffice());
    // The medians are 150 and 125. The sides of the twins are 20/200 of the height: 16 pixels out of 160.
    assert_eq!((size.width, size.height), (192, 160));
    let empty = dataset(&["cat"], vec![record(1, "b", (100, 50), Vec::new())]);
    let empty = Splits::new("empty").with_split(Purpose::Training, "train", empty);
    let found = Inspection::of(&empty, &options());
    assert_eq!(
        (found.levels.objects(), found.suggestion.as_ref()),
        (0, None)
    );
    assert!(found.table().contains("no training objects"));
    let found = Inspection::of(&Splits::new("none"), &options());
    assert_eq!((found.images, found.sized), (0, None));
}

#[test]
fn sheets_show_extremes_first() {
    let images = (1..=30).map(|id: u64| {
        let side = id as f32;
        let objects = (0..id % 7)
            .map(|_| boxed(0, [0.0, 0.0, side, side]))
            .collect();
        record(id, &id.to_string(), (40, 40 + (id % 2) as u32), objects)
    });
    let splits = Splits::new("set").with_split(
        Purpose::Training,
        "train",
        dataset(&["a"], images.collect()),
    );
    let found = Inspection::of(&splits, &options().with_pictures(4));
    let sheet = |title: &str| -> Vec<usize> {
        let sheet = found
            .sheets
            .iter()
            .find(|sheet| sheet.title == title)
            .unwrap();
        sheet
            .pictures
            .iter()
            .map(|picture| picture.image + 1)
            .collect()
    };
    assert_eq!(sheet("Most objects"), [6, 13, 20, 27]);
    assert_eq!(sheet("Smallest objects"), [1, 2, 3, 4]);
    assert_eq!(sheet("Largest objects"), [30, 29, 27, 26]);
    assert_eq!(sheet("Smallest images"), [2, 4, 6, 8]);
    assert_eq!(sheet("Largest images"), [1, 3, 5, 7]);
    let mut random = sheet("Random images");
    random.sort_unstable();
    random.dedup();
    assert_eq!(random.len(), 4);
}

#[test]
fn equal_files_are_found_within_and_across_splits() {
    let folder = tempfile::tempdir().unwrap();
    let pixel = |value: u8| image::RgbImage::from_pixel(8, 8, image::Rgb([value; 3]));
    for (name, value) in [
        ("train/a", 1),
        ("train/b", 1),
        ("train/c", 2),
        ("val/d", 1),
        ("val/e", 2),
        ("val/f", 3),
    ] {
        let path = folder.path().join("images").join(format!("{name}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        pixel(value).save(&path).unwrap();
        let label = folder.path().join("labels").join(format!("{name}.txt"));
        std::fs::create_dir_all(label.parent().unwrap()).unwrap();
        std::fs::write(&label, "0 0.5 0.5 0.5 0.5\n").unwrap();
    }
    std::fs::write(folder.path().join("classes.txt"), "thing\n").unwrap();
    let splits = read(&DataFolder::open(folder.path()).unwrap());
    let found = Inspection::of(&splits, &options());
    let picture = |split, image| Picture { split, image };
    let expected = [
        vec![picture(0, 0), picture(0, 1), picture(1, 0)],
        vec![picture(0, 2), picture(1, 1)],
    ];
    assert_eq!(found.duplicates, expected);
    let counts = found
        .splits
        .iter()
        .map(|split| (split.repeated, split.in_training));
    assert_eq!(counts.collect::<Vec<_>>(), [(1, 0), (0, 2)]);
    let table = found.table();
    assert!(table.contains("also in training"), "{table}");
    assert!(
        table.contains("val: 2 of 3 images are also in the training split"),
        "{table}"
    );
    // Only the first of duplicate images is shown.
    let shown = [picture(0, 0), picture(0, 2), picture(1, 2)];
    let [all] = found.sheets.as_slice() else {
        panic!("{:?}", found.sheets)
    };
    assert_eq!(
        (all.title.as_str(), all.pictures.as_slice()),
        ("All images", &shown[..])
    );
}

/// Images in files with these names and gray values, with one object each.
fn in_files(folder: &Path, images: &[(&str, u8)]) -> DetectionDataset {
    let paths = images.iter().map(|(name, value)| {
        let path = folder.join(format!("{name}.png"));
        let pixels = image::RgbImage::from_pixel(8, 8, image::Rgb([*value; 3]));
        pixels.save(&path).unwrap();
        path
    });
    let files = ImageFiles::new(paths.collect());
    let object = || vec![boxed(0, [1.0, 1.0, 5.0, 5.0])];
    let records = (1..)
        .zip(images)
        .map(|(id, (name, _))| record(id, name, (8, 8), object()));
    DetectionDataset::new("set", Category::list(["thing"]), records.collect(), files).unwrap()
}

#[test]
fn images_in_several_splits_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let (train, val, test) = (
        [("a", 1), ("b", 2)],
        [("c", 3)],
        [("d", 4), ("e", 2), ("a", 1)],
    );
    let both: Vec<_> = train.iter().chain(&val).copied().collect();
    let set = |images: &[(&str, u8)]| in_files(folder.path(), images);
    let splits = Splits::new("set")
        .with_split(Purpose::Training, "train", set(&train))
        .with_split(Purpose::Validation, "val", set(&val))
        .with_split(Purpose::Other, "trainval", set(&both))
        .with_split(Purpose::Other, "test", set(&test));
    let found = Inspection::of(&splits, &options());
    assert_eq!((found.images, found.objects), (5, 5));
    assert_eq!(found.image_sizes.common[0].images, 5);
    assert_eq!(found.crowding.mean, 1.0);
    assert_eq!(
        (
            found.classes[0].total_objects,
            found.classes[0].total_images
        ),
        (5, 5)
    );
    // `b` and `e` are the only equal images in different files.
    assert_eq!(found.duplicates.len(), 1);
    let leaked = |name: &str| {
        let split = found
            .splits
            .iter()
            .find(|split| split.name == name)
            .unwrap();
        split.in_training
    };
    assert_eq!(
        ["train", "val", "trainval", "test"].map(leaked),
        [0, 0, 0, 2]
    );
    let table = found.table();
    assert!(
        table.contains("trainval: same images as train, val\n"),
        "{table}"
    );
    assert!(table.contains("test: 2 of 3 images are also in"), "{table}");
}

#[test]
fn levels_name_the_split_if_there_is_no_training_split() {
    let image = |id| record(id, "a", (64, 64), vec![boxed(0, [1.0, 1.0, 30.0, 30.0])]);
    let set = |id| dataset(&["a"], vec![image(id)]);
    let splits = Splits::new("set")
        .with_split(Purpose::Other, "day", set(1))
        .with_split(Purpose::Other, "night", set(2));
    let found = Inspection::of(&splits, &options());
    assert_eq!(found.sized, Some(0));
    let table = found.table();
    assert!(table.contains("objects of day by level"), "{table}");
    assert!(!table.contains("training objects"), "{table}");
}

#[test]
fn classes_with_the_same_name_stay_separate() {
    let image = |label| {
        vec![record(
            1,
            "a",
            (64, 64),
            vec![boxed(label, [1.0, 1.0, 9.0, 9.0])],
        )]
    };
    let splits = Splits::new("set")
        .with_split(
            Purpose::Training,
            "train",
            dataset(&["cat", "cat"], image(1)),
        )
        .with_split(
            Purpose::Validation,
            "val",
            dataset(&["dog", "cat"], image(1)),
        );
    let found = Inspection::of(&splits, &options());
    let counts = found
        .classes
        .iter()
        .map(|class| (class.name.as_str(), class.objects.clone()));
    let expected = [
        ("cat", vec![0, 1]),
        ("cat", vec![1, 0]),
        ("dog", vec![0, 0]),
    ];
    assert_eq!(counts.collect::<Vec<_>>(), expected);
}

#[test]
fn unreadable_splits_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    for (split, label) in [
        ("train", "0 0.5 0.5 0.5 0.5"),
        ("val", "0 0.5 0.5 half 0.5"),
    ] {
        for (kind, name) in [("images", "a.png"), ("labels", "a.txt")] {
            let path = folder.path().join(kind).join(split).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match kind {
                "images" => image::RgbImage::new(8, 8).save(&path).unwrap(),
                _ => std::fs::write(&path, label).unwrap(),
            }
        }
    }
    std::fs::write(folder.path().join("classes.txt"), "thing\n").unwrap();
    let folder_of = || DataFolder::open(folder.path()).unwrap();
    let found = Inspection::of(&read(&folder_of()), &options());
    assert_eq!((found.splits.len(), found.unread.len()), (1, 1));
    assert!(
        found.unread[0].cause.contains("a.txt"),
        "{:?}",
        found.unread
    );
    assert!(
        found.table().contains("val (validation): cannot be read: "),
        "{}",
        found.table()
    );
    // Nothing is held out to replace the unreadable split.
    let path = folder.path().join("images/train/b.png");
    image::RgbImage::new(9, 9).save(path).unwrap();
    let read = read(&folder_of());
    assert_eq!(read.splits().len(), 1);
    assert_eq!(read.splits()[0].dataset.len(), 2);
    std::fs::write(folder.path().join("labels/train/a.txt"), "0 half").unwrap();
    let error = Splits::read(&folder_of(), None).unwrap_err().to_string();
    assert!(error.contains("a.txt"), "{error}");
}

#[test]
fn a_single_split_is_divided() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(folder.path().join("labels")).unwrap();
    for index in 0..40 {
        let image = image::RgbImage::from_pixel(8, 8, image::Rgb([index; 3]));
        image.save(images.join(format!("{index}.png"))).unwrap();
    }
    std::fs::write(folder.path().join("classes.txt"), "thing\n").unwrap();
    let folder = DataFolder::open(folder.path()).unwrap();
    let found = Inspection::of(&read(&folder), &options());
    let purposes = found.splits.iter().map(|split| split.purpose);
    assert_eq!(
        purposes.collect::<Vec<_>>(),
        [Purpose::Training, Purpose::Validation]
    );
    assert_eq!(found.images, 40);
    assert!((2..=16).contains(&found.splits[1].images));
    assert!(
        found
            .remarks
            .iter()
            .any(|remark| remark.contains("held out"))
    );
    let found = Inspection::of(&Splits::read_one(&folder, "all").unwrap(), &options());
    assert_eq!(found.splits.len(), 1);
}

#[test]
fn the_table_fits_a_screen_and_names_everything() {
    let names: Vec<String> = (0..80).map(|index| format!("class-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let images = (1..=50).map(|id| {
        let objects = (0..80).filter(|label| label % 50 < id as usize);
        let objects = objects.map(|label| boxed(label, [1.0, 1.0, 30.0, 30.0]));
        record(id, &format!("{id}.jpg"), (64, 64), objects.collect())
    });
    let splits = Splits::new("many").with_split(
        Purpose::Training,
        "train",
        dataset(&names, images.collect()),
    );
    let table = Inspection::of(&splits, &options()).table();
    assert!(table.lines().count() <= 45, "{table}");
    for text in [
        "many",
        "train",
        "class-0 ",
        "… 68 more",
        "rare classes: ",
        "P3 (stride 8)",
        "no point",
        "suggested image size",
    ] {
        assert!(table.contains(text), "{text} in {table}");
    }
}

#[test]
fn control_characters_in_names_are_replaced() {
    let objects = vec![Object::new(
        1,
        fcos_burn_data::BoundingBox::new(0.0, 0.0, 0.0, 5.0),
        0,
    )];
    let set = dataset(
        &["\u{1b}[31mred"],
        vec![record(1, "a\u{7}\n.jpg", (9, 9), objects)],
    );
    let splits = Splits::new("s\u{1b}").with_split(Purpose::Training, "t\rrain", set);
    let table = Inspection::of(&splits, &options()).table();
    assert!(
        table
            .chars()
            .all(|letter| letter == '\n' || !letter.is_control()),
        "{table:?}"
    );
    assert!(table.contains("degenerate boxes dropped: 1"), "{table}");
}

/// A split that includes two others has their findings and one of its own.
#[test]
fn findings_of_included_splits_are_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let image = image::RgbImage::from_pixel(8, 8, image::Rgb([index as u8; 3]));
        std::fs::create_dir_all(folder.path().join("JPEGImages")).unwrap();
        image
            .save(folder.path().join(format!("JPEGImages/{name}.png")))
            .unwrap();
    }
    for name in ["a", "b", "c", "gone"] {
        let boxes = [[1, 1, 5, 5], [2, 2, 2, 2]].map(|[x1, y1, x2, y2]| {
            format!(
                "<object><name>cat</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>\
                 </bndbox></object>"
            )
        });
        let text = format!(
            "<annotation><filename>{name}.png</filename>{}</annotation>",
            boxes.concat()
        );
        write(&format!("Annotations/{name}.xml"), text);
    }
    for (list, names) in [
        ("train", "a\nb\n"),
        ("val", "c\n"),
        ("trainval", "a\nb\nc\ngone\n"),
    ] {
        write(&format!("ImageSets/Main/{list}.txt"), names.to_owned());
    }
    let found = Inspection::of(&read(&DataFolder::open(folder.path()).unwrap()), &options());
    let listed: Vec<_> = (found.findings.iter())
        .map(|found| {
            (
                found.split.as_str(),
                found.finding.as_str(),
                found.tally.count,
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("train", "degenerate boxes dropped", 2),
            ("trainval", "missing images dropped", 1),
            ("val", "degenerate boxes dropped", 1),
        ]
    );
}

#[test]
fn a_share_is_held_out_even_if_there_is_a_validation_split() {
    let folder = tempfile::tempdir().unwrap();
    for (split, count) in [("train", 30), ("val", 5)] {
        let images = folder.path().join("images").join(split);
        std::fs::create_dir_all(&images).unwrap();
        for index in 0..count {
            let image = image::RgbImage::from_pixel(8, 8, image::Rgb([index, count, 0]));
            image.save(images.join(format!("{index}.png"))).unwrap();
        }
    }
    std::fs::create_dir_all(folder.path().join("labels")).unwrap();
    std::fs::write(folder.path().join("classes.txt"), "thing\n").unwrap();
    let folder = DataFolder::open(folder.path()).unwrap();
    let division = folder.division(Some("Train"), None).unwrap();
    let purposes = |division: &Division| -> Vec<(Purpose, String)> {
        let splits = Splits::read(&folder, Some(division)).unwrap();
        let splits = splits.splits().iter();
        splits
            .map(|split| (split.purpose, split.name.clone()))
            .collect()
    };
    let named = |purpose, name: &str| (purpose, name.to_owned());
    let (train, val) = (named(Purpose::Training, "train"), Purpose::Validation);
    assert_eq!(purposes(&division), [train.clone(), named(val, "val")]);
    assert_eq!(
        purposes(&division.with_val_share(0.3)),
        [
            train,
            named(val, Division::HELD_OUT),
            named(Purpose::Other, "val")
        ]
    );
}

/// Each of two splits with the same files includes the other.
#[test]
fn of_splits_with_the_same_files_one_has_the_findings() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "Annotations/a.xml",
        "<annotation><filename>a.png</filename><object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin>\
         <xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>",
    );
    write("ImageSets/Main/train.txt", "a\n");
    write("ImageSets/Main/val.txt", "a\n");
    std::fs::create_dir_all(folder.path().join("JPEGImages")).unwrap();
    let image = image::RgbImage::new(8, 8);
    image.save(folder.path().join("JPEGImages/a.png")).unwrap();
    let found = Inspection::of(&read(&DataFolder::open(folder.path()).unwrap()), &options());
    let listed: Vec<_> = (found.findings.iter())
        .map(|found| (found.split.as_str(), found.tally.count))
        .collect();
    assert_eq!(listed, [("train", 1)]);
}
