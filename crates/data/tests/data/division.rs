//! Which splits of a folder are used for training and validation.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use fcos_burn_data::{
    Category, DataFolder, DetectionDataset, Division, Finding, ImageFiles, ImageRecord,
};

/// Writes an image and its label file for each name, in a YOLO folder. Only PNG files get content.
fn write(dir: &Path, images: &[&str]) {
    for image in images {
        let path = dir.join("images").join(image);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match image.ends_with(".png") {
            true => image::RgbImage::new(16, 8).save(&path).unwrap(),
            false => fs::write(&path, "not read").unwrap(),
        }
        let labels = dir.join("labels").join(image).with_extension("txt");
        fs::create_dir_all(labels.parent().unwrap()).unwrap();
        fs::write(labels, "0 0.5 0.5 0.25 0.25\n").unwrap();
    }
    fs::write(dir.join("classes.txt"), "cat\n").unwrap();
}

fn folder(images: &[&str]) -> (tempfile::TempDir, DataFolder) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), images);
    let folder = DataFolder::open(dir.path()).unwrap();
    (dir, folder)
}

#[test]
fn splits_without_readable_images_are_passed_over_with_their_cause() {
    let (_dir, found) = folder(&["train/a.png", "val/b.heic", "val/c.heic", "test/d.png"]);
    let division = found.division(None, None).unwrap();
    assert_eq!(
        (
            division.train.as_str(),
            division.val.as_str(),
            division.share
        ),
        ("train", "test", None)
    );
    let passed_over = found.passed_over();
    let [val] = &passed_over[..] else {
        panic!("{passed_over:?}")
    };
    assert_eq!(val.split, "val");
    assert_eq!(val.left_out.tally(Finding::UnreadFormat).count, 2);
    assert!(
        val.to_string().starts_with(
            "split 'val' has no readable images (image files in unsupported formats skipped: 2 ("
        ),
        "{val}"
    );

    let (dir, found) = folder(&["train/a.png", "test/d.avif"]);
    let division = found.division(None, None).unwrap();
    assert_eq!(division.val, Division::HELD_OUT);
    assert_eq!(division.share, Some(Division::VAL_SHARE));
    assert_eq!(found.passed_over()[0].split, "test");

    // Labels without images are skipped as well. An empty folder causes no finding.
    let of_description = || {
        let yaml = "names: [cat]\ntrain: images/train\nval: images/val\n";
        fs::write(dir.path().join("data.yaml"), yaml).unwrap();
        DataFolder::open(dir.path()).unwrap().passed_over()
    };
    fs::create_dir_all(dir.path().join("images/val")).unwrap();
    assert!(of_description()[0].left_out.is_clean());
    fs::create_dir_all(dir.path().join("labels/val")).unwrap();
    fs::write(dir.path().join("labels/val/e.txt"), "0 0.5 0.5 0.25 0.25\n").unwrap();
    let left_out = &of_description()[0].left_out;
    assert_eq!(left_out.tally(Finding::LabelsWithoutImage).count, 1);
    // Readable images.
    write(dir.path(), &["val/e.png"]);
    assert!(of_description().is_empty());

    // Splits of lower precedence than the validation split do not matter.
    let (_dir, found) = folder(&["train/a.png", "val/b.png", "test/d.heic"]);
    assert!(found.passed_over().is_empty());
}

#[test]
fn splits_are_found_by_synonyms() {
    let (_dir, found) = folder(&["Train/a.png", "val/b.png"]);
    assert_eq!(found.split("training").unwrap(), "Train");
    assert_eq!(found.split("valid").unwrap(), "val");
    assert!(found.split("test").is_err());
    assert_eq!(found.evaluation_split().unwrap(), "val");
    let division = found.division(Some("train"), Some("valid")).unwrap();
    assert_eq!([division.train, division.val], ["Train", "val"]);
    let one = found.division(Some("training"), Some("TRAIN")).unwrap();
    assert_eq!([one.train, one.val], ["Train", "Train"]);
}

#[test]
fn classes_with_the_same_name_are_noted() {
    let of = |names: &[&str]| {
        let categories = Category::list(names.iter().copied());
        let images = vec![ImageRecord::new(1, "a", 8, 8)];
        let files = ImageFiles::new(vec!["a".into()]);
        let dataset = DetectionDataset::new("mine", categories, images, files).unwrap();
        dataset.report().notes().to_vec()
    };
    assert!(of(&["cat", "Cat", "dog"]).is_empty());
    assert_eq!(
        of(&["cat", "dog", "cat", "emu", "emu", "cat"]),
        ["several classes have the same name: cat, emu"]
    );
}
