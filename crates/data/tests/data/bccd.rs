//! The BCCD blood cell images. Skipped unless the environment variable `FCOS_DATASETS` names the folder with `bccd/`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;

use fcos_burn_data::{DataFolder, DetectionDataset, Finding, Layout};

fn bccd() -> Option<PathBuf> {
    let dir = std::env::var_os("FCOS_DATASETS")
        .map(|root| PathBuf::from(root).join("bccd"))
        .filter(|dir| dir.is_dir());
    if dir.is_none() {
        eprintln!("skipped: FCOS_DATASETS does not name a folder with bccd/");
    }
    dir
}

#[test]
fn object_counts_match_the_published_counts() {
    let Some(dir) = bccd() else { return };
    let names = ["test", "train", "trainval", "val"]
        .map(String::from)
        .to_vec();
    let folder = DataFolder::open(&dir).unwrap();
    assert_eq!(
        (folder.layout(), folder.splits()),
        (Layout::Voc, &names[..])
    );

    let open = |split| DetectionDataset::open(&dir, Some(split)).unwrap();
    let [train, val, trainval, test] = ["train", "val", "trainval", "test"].map(open);
    assert_eq!(
        [train.len(), val.len(), trainval.len(), test.len()],
        [205, 87, 292, 72]
    );
    assert_eq!(train.categories(), test.categories());

    let mut counts = [0; 3];
    for object in [&trainval, &test]
        .into_iter()
        .flat_map(|set| set.images())
        .flat_map(|image| &image.objects)
    {
        counts[object.label] += 1;
    }
    let names: Vec<&str> = train
        .categories()
        .iter()
        .map(|category| category.name.as_str())
        .collect();
    let dropped = [&trainval, &test].map(|set| set.report().tally(Finding::Degenerate));
    assert_eq!(names, ["Platelets", "RBC", "WBC"]);
    assert_eq!(dropped.iter().map(|tally| tally.count).sum::<usize>(), 2);
    // The two degenerate boxes are red cells.
    assert_eq!(counts, [361, 4155 - 2, 372]);
    let mut files: Vec<&String> = dropped.iter().flat_map(|tally| &tally.examples).collect();
    files.sort();
    assert_eq!(
        files,
        [
            "BloodImage_00338.xml line 158",
            "BloodImage_00343.xml line 50"
        ]
    );
}

#[test]
fn decoded_images_have_their_annotated_size() {
    let Some(dir) = bccd() else { return };
    let test = DetectionDataset::open(&dir, Some("test")).unwrap();
    for index in [0, 30, 71] {
        let sample = test.sample(index).unwrap();
        assert_eq!(sample.image().dimensions(), (640, 480));
        assert_eq!(sample.boxes().len(), test.images()[index].objects.len());
    }
}
