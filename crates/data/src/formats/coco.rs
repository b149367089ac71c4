//! COCO: one JSON file a split.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use hotcoco::{COCO, Dataset};
use rayon::prelude::*;

use super::objects::{Annotation, Frame};
use super::{
    Split, choose, entries, file_name, files_with_extension, image_path, require_images, stem,
};
use crate::dataset::Pixels;
use crate::decoding::image_size;
use crate::loader::panic_message;
use crate::report::Finding;
use crate::{Category, DataError, DetectionDataset, ImageRecord, Layout, LoadReport};

/// Name of the only split of a folder with one annotation file.
const ONLY_SPLIT: &str = "all";

/// The annotation file of a split, and the folders in which its images may lie.
pub(crate) struct Source {
    annotations: PathBuf,
    images: Vec<PathBuf>,
}

/// The splits in `dir`, sorted by name: `annotations/instances_{split}.json` (COCO), `{split}/_annotations.coco.json`
/// (Roboflow), or one annotation file beside its images.
pub(crate) fn splits(dir: &Path) -> Result<Vec<Split<Source>>, DataError> {
    let mut splits = Vec::new();
    for annotations in files_with_extension(&dir.join("annotations"), "json")? {
        if let Some(name) = stem(&annotations).strip_prefix("instances_") {
            let images = [
                dir.join(name),
                dir.join("images").join(name),
                dir.join("images"),
                dir.to_path_buf(),
            ]
            .into();
            splits.push(Split {
                name: name.to_string(),
                source: Source {
                    annotations,
                    images,
                },
            });
        }
    }
    for folder in entries(dir)? {
        let annotations = folder.join("_annotations.coco.json");
        if annotations.is_file() {
            splits.push(Split {
                name: file_name(&folder),
                source: Source {
                    annotations,
                    images: vec![folder],
                },
            });
        }
    }
    for name in ["annotations.json", "_annotations.coco.json"] {
        let annotations = dir.join(name);
        if annotations.is_file() {
            let images = vec![dir.to_path_buf(), dir.join("images")];
            splits.push(Split {
                name: ONLY_SPLIT.to_string(),
                source: Source {
                    annotations,
                    images,
                },
            });
        }
    }
    splits.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(splits)
}

/// Opens one split of the data set in `dir`.
pub(crate) fn open(dir: &Path, split: Option<&str>) -> Result<DetectionDataset, DataError> {
    let split = choose(dir, Layout::Coco, splits(dir)?, split)?;
    read(&split.source.images, &split.source.annotations)
}

/// Reads an annotation file whose images lie in the first of `folders` that holds the first image.
pub(crate) fn read(folders: &[PathBuf], annotations: &Path) -> Result<DetectionDataset, DataError> {
    let malformed = |cause: String| DataError::Annotations {
        path: annotations.to_path_buf(),
        cause,
    };
    // It tells of duplicates on standard error, and panics where nobody can be told.
    let read = catch_unwind(AssertUnwindSafe(|| COCO::new(annotations)));
    let read = read.map_err(|panic| malformed(panic_message(panic.as_ref())))?;
    let mut coco = read.map_err(|error| match error {
        hotcoco::error::Error::Io(source) => DataError::io(annotations)(source),
        error => malformed(format!("not COCO annotations: {error}")),
    })?;
    let dataset = std::mem::take(&mut coco.dataset);
    check(&dataset).map_err(malformed)?;

    let first = &dataset.images[0].file_name;
    let holds_first =
        |folder: &&PathBuf| image_path(folder, first).is_ok_and(|path| path.is_file());
    let folder = folders.iter().find(holds_first).or(folders.first());
    let folder = folder.map(PathBuf::as_path).unwrap_or(Path::new(""));
    let paths: Vec<PathBuf> = dataset
        .images
        .par_iter()
        .map(|image| image_path(folder, &image.file_name))
        .collect::<Result<_, _>>()
        .map_err(malformed)?;
    require_images(&paths)?;

    let mut report = LoadReport::default();
    for warning in coco.load_warnings() {
        report.note(warning.as_str());
    }
    let mut images = records(&dataset, &paths)?;
    let mut categories: Vec<Category> = dataset
        .categories
        .iter()
        .map(|category| Category {
            id: category.id,
            name: category.name.clone(),
        })
        .collect();
    categories.sort_by_key(|category| category.id);
    fill(&mut images, dataset.annotations, &categories, &mut report);
    renumber_if_ambiguous(&mut images, &mut report);

    let name = annotations.display().to_string();
    Ok(DetectionDataset::new(
        name,
        Layout::Coco,
        categories,
        images,
        report,
        Pixels::Files(paths),
    ))
}

/// Any JSON object can be read as COCO, since all of its fields are optional; this tells one that is from one that is not.
fn check(dataset: &Dataset) -> Result<(), String> {
    if dataset.images.is_empty() {
        return Err("not COCO annotations: no images are listed".into());
    }
    if dataset.categories.is_empty() {
        return Err("not COCO annotations: no categories are listed".into());
    }
    if let Some(id) = first_repeated(dataset.images.iter().map(|image| image.id)) {
        return Err(format!("image id {id} is given to two images"));
    }
    if let Some(id) = first_repeated(dataset.categories.iter().map(|category| category.id)) {
        return Err(format!("category id {id} is given to two categories"));
    }
    if let Some(image) = dataset
        .images
        .iter()
        .find(|image| image.file_name.is_empty())
    {
        return Err(format!("image {} has no file_name", image.id));
    }
    Ok(())
}

fn first_repeated(ids: impl Iterator<Item = u64>) -> Option<u64> {
    let mut seen = HashSet::new();
    ids.into_iter().find(|id| !seen.insert(*id))
}

/// The images without their objects; a size that the file leaves out is read from the image itself.
fn records(dataset: &Dataset, paths: &[PathBuf]) -> Result<Vec<ImageRecord>, DataError> {
    let record = |(image, path): (&hotcoco::Image, &PathBuf)| {
        let (width, height) = match (image.width, image.height) {
            (0, _) | (_, 0) => image_size(path)?,
            size => size,
        };
        Ok(ImageRecord {
            id: image.id,
            file_name: image.file_name.clone(),
            width,
            height,
            objects: Vec::new(),
        })
    };
    dataset.images.par_iter().zip(paths).map(record).collect()
}

/// Hands each annotation to its image.
fn fill(
    images: &mut [ImageRecord],
    annotations: Vec<hotcoco::Annotation>,
    categories: &[Category],
    report: &mut LoadReport,
) {
    let position: HashMap<u64, usize> = images
        .iter()
        .enumerate()
        .map(|(index, image)| (image.id, index))
        .collect();
    let labels: HashMap<u64, usize> = categories
        .iter()
        .enumerate()
        .map(|(label, category)| (category.id, label))
        .collect();
    for annotation in annotations {
        let place = format!("annotation {}", annotation.id);
        let Some(&index) = position.get(&annotation.image_id) else {
            report.record(
                Finding::UnknownImage,
                &format!("image {}", annotation.image_id),
                place,
            );
            continue;
        };
        let image = &mut images[index];
        let Some(&label) = labels.get(&annotation.category_id) else {
            report.record(Finding::UnknownCategory, &image.file_name, place);
            continue;
        };
        let Some(xywh) = annotation.bbox else {
            report.record(Finding::NoBox, &image.file_name, place);
            continue;
        };
        let frame = Frame {
            file_name: &image.file_name,
            width: image.width,
            height: image.height,
        };
        let annotation = Annotation {
            id: annotation.id,
            xywh,
            label,
            area: annotation.area,
            iscrowd: annotation.iscrowd,
        };
        image
            .objects
            .extend(annotation.admit(&frame, place, report));
    }
}

/// Evaluation finds annotations by id, and takes id 0 for "no match": ids that are absent or repeated are given anew.
fn renumber_if_ambiguous(images: &mut [ImageRecord], report: &mut LoadReport) {
    let ids = || {
        images
            .iter()
            .flat_map(|image| image.objects.iter().map(|object| object.id))
    };
    if ids().all(|id| id > 0) && first_repeated(ids()).is_none() {
        return;
    }
    let objects = images.iter_mut().flat_map(|image| &mut image.objects);
    for (object, id) in objects.zip(1..) {
        object.id = id;
    }
    report.note("annotation ids were missing, zero or repeated, and were renumbered from 1");
}
