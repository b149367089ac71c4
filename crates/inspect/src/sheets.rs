//! The selection of images to show.

use std::collections::HashSet;

use fcos_burn_data::{ImageRecord, SampleOrder, epoch_order};
use serde::Serialize;

use crate::picture::Picture;

/// Images of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Sheet {
    /// What the images have in common.
    pub title: String,
    /// The images, the most extreme first.
    pub pictures: Vec<Picture>,
}

/// All images if there are at most `count`. Otherwise, at most `count` images of each kind: the most crowded images,
/// images with the smallest and the largest objects, the smallest and the largest images if sizes differ, and random
/// images. Of duplicate images, only the first is shown.
pub(crate) fn sheets(
    different: &[(Picture, &ImageRecord)],
    duplicates: &[Vec<Picture>],
    count: usize,
) -> Vec<Sheet> {
    let again = duplicates.iter().flat_map(|group| &group[1..]);
    let again: HashSet<&Picture> = again.collect();
    let pictures: Vec<(Picture, &ImageRecord)> = (different.iter().copied())
        .filter(|(picture, _)| !again.contains(picture))
        .collect();
    if pictures.len() <= count {
        let all: Vec<Picture> = pictures.into_iter().map(|(picture, _)| picture).collect();
        let sheet = Sheet {
            title: "All images".to_owned(),
            pictures: all,
        };
        return vec![sheet];
    }
    let areas = |record: &ImageRecord| -> Vec<f64> {
        let objects = record.ordinary_objects();
        objects
            .map(|object| f64::from(object.bbox.area()))
            .collect()
    };
    let image_area = |record: &ImageRecord| f64::from(record.width) * f64::from(record.height);
    let smallest = |record: &ImageRecord| areas(record).into_iter().reduce(f64::min);
    let largest = |record: &ImageRecord| {
        let largest = areas(record).into_iter().reduce(f64::max)?;
        Some(largest / image_area(record))
    };
    // Images that have this key, by descending key.
    let by = |key: &dyn Fn(&ImageRecord) -> Option<f64>| {
        let keyed = pictures
            .iter()
            .filter_map(|(picture, record)| Some((key(record)?, *picture)));
        let mut keyed: Vec<(f64, Picture)> = keyed.collect();
        keyed.sort_by(|(a, first), (b, second)| b.total_cmp(a).then(first.cmp(second)));
        keyed
            .into_iter()
            .map(|(_, picture)| picture)
            .take(count)
            .collect()
    };
    let mut sheets = vec![
        (
            "Most objects",
            by(&|record| match areas(record).len() {
                0 => None,
                objects => Some(objects as f64),
            }),
        ),
        (
            "Smallest objects",
            by(&|record| smallest(record).map(|area| -area)),
        ),
        ("Largest objects", by(&largest)),
    ];
    let mut sizes = pictures
        .iter()
        .map(|(_, record)| (record.width, record.height));
    let first = sizes.next();
    if sizes.any(|size| Some(size) != first) {
        sheets.push(("Smallest images", by(&|record| Some(-image_area(record)))));
        sheets.push(("Largest images", by(&|record| Some(image_area(record)))));
    }
    let order = epoch_order(pictures.len(), 0, 0, SampleOrder::Shuffled);
    let random = order.into_iter().take(count).map(|index| pictures[index].0);
    sheets.push(("Random images", random.collect()));
    let sheets = sheets.into_iter().map(|(title, pictures)| Sheet {
        title: title.to_owned(),
        pictures,
    });
    sheets.filter(|sheet| !sheet.pictures.is_empty()).collect()
}
