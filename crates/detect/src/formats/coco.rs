//! COCO: results, and the images and categories that their ids refer to.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use fcos_burn_boxes::CocoResult;
use fcos_burn_data::Category;
use serde::Serialize;

use crate::{Error, ImageDetections, json::write_json};

/// The file of the results.
pub const RESULTS: &str = "results.json";

/// The file of the images and categories.
pub const IMAGES: &str = "images.json";

/// The ids of the images in COCO files: the numbers that they have for names, such as 139 for
/// `000000000139.jpg`, if each has one of its own. Otherwise, images are numbered from 1.
///
/// ```
/// use fcos_burn_detect::formats::coco::image_ids;
///
/// let ids = |files: &[&str]| image_ids(files.iter().copied());
/// assert_eq!(ids(&["val/000000000139.jpg", "val/000000000285.jpg"]), [139, 285]);
/// assert_eq!(ids(&["a/7.jpg", "b/7.jpg"]), [1, 2]);
/// assert_eq!(ids(&["7.jpg", "photo.jpg"]), [1, 2]);
/// ```
pub fn image_ids<'a>(files: impl IntoIterator<Item = &'a str>) -> Vec<u64> {
    let files: Vec<&str> = files.into_iter().collect();
    let number = |file: &&str| Path::new(file).file_stem()?.to_str()?.parse().ok();
    let numbers: Option<Vec<u64>> = files.iter().map(number).collect();
    let unique = |numbers: &Vec<u64>| {
        let mut seen = HashSet::new();
        numbers.iter().all(|number| seen.insert(*number))
    };
    numbers
        .filter(unique)
        .unwrap_or_else(|| (1..).take(files.len()).collect())
}

/// Detections as COCO results. `ids` are those of the images, in the same order.
pub fn results(images: &[ImageDetections], ids: &[u64]) -> Vec<CocoResult> {
    let results = images.iter().zip(ids).flat_map(|(image, &image_id)| {
        image.detections.iter().map(move |detection| CocoResult {
            image_id,
            category_id: detection.category_id,
            bbox: detection.bbox,
            score: detection.score.into(),
        })
    });
    results.collect()
}

/// An annotation file without annotations.
#[derive(Serialize)]
struct Annotations<'a> {
    images: Vec<Image<'a>>,
    categories: &'a [Category],
    annotations: [(); 0],
}

#[derive(Serialize)]
struct Image<'a> {
    id: u64,
    file_name: &'a str,
    width: u32,
    height: u32,
}

/// Writes [`RESULTS`] and [`IMAGES`] to the folder `dir`, which is created. Image ids are those of
/// [`image_ids`]; category ids are those of the annotations that the detector was trained on.
/// Returns the files.
///
/// # Errors
///
/// Names the file or folder that cannot be written.
pub fn write(
    dir: &Path,
    images: &[ImageDetections],
    categories: &[Category],
) -> Result<Vec<PathBuf>, Error> {
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let names: Vec<String> = images.iter().map(ImageDetections::name).collect();
    let ids = image_ids(names.iter().map(String::as_str));
    let records = images.iter().zip(&names).zip(&ids);
    let records = records.map(|((image, name), &id)| Image {
        id,
        file_name: name,
        width: image.width,
        height: image.height,
    });
    let annotations = Annotations {
        images: records.collect(),
        categories,
        annotations: [],
    };
    let files = [RESULTS, IMAGES].map(|name| dir.join(name));
    write_json(&files[0], &results(images, &ids))?;
    write_json(&files[1], &annotations)?;
    Ok(files.into())
}
