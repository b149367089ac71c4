//! COCO: one JSON file per split.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hotcoco::{COCO, Dataset};
use rayon::prelude::*;

use super::image_paths::{image_path, require_images};
use super::split::{ONLY_SPLIT, Split, choose};
use crate::dataset::{Annotations, admit, require_unique};
use crate::decoding::image_size;
use crate::files::{entries, entries_with_extension, file_name, stem};
use crate::{
    BoundingBox, Category, DataError, DetectionDataset, Finding, ImageFiles, ImageRecord, Layout,
    LoadReport, Object, panics,
};

impl DetectionDataset {
    /// Reads COCO annotations of the images in `images_dir`.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if the file cannot be read. [`DataError::Annotations`] if it is not in COCO's format (a `NaN` in a
    /// box included) or if image ids or category ids are not unique. [`DataError::MissingImages`].
    pub fn coco(
        images_dir: impl AsRef<Path>,
        annotations: impl AsRef<Path>,
    ) -> Result<Self, DataError> {
        read(&[images_dir.as_ref().to_path_buf()], annotations.as_ref())
    }
}

/// The annotation file of a split, and the folders that may hold its images.
pub(super) struct Source {
    annotations: PathBuf,
    images: Vec<PathBuf>,
}

/// The splits in `dir`, sorted by name: `annotations/instances_{split}.json` (COCO), `{split}/_annotations.coco.json`
/// (Roboflow), or one annotation file beside its images.
pub(super) fn splits(dir: &Path) -> Result<Vec<Split<Source>>, DataError> {
    let mut splits = Vec::new();
    for annotations in entries_with_extension(&dir.join("annotations"), "json")? {
        if let Some(name) = stem(&annotations).strip_prefix("instances_") {
            let images = [
                dir.join(name),
                dir.join("images").join(name),
                dir.join("images"),
                dir.to_path_buf(),
            ]
            .into();
            let source = Source {
                annotations,
                images,
            };
            splits.push(Split::new(name, source));
        }
    }
    for folder in entries(dir)? {
        let annotations = folder.join("_annotations.coco.json");
        if annotations.is_file() {
            let name = file_name(&folder);
            let source = Source {
                annotations,
                images: vec![folder],
            };
            splits.push(Split::new(name, source));
        }
    }
    for name in ["annotations.json", "_annotations.coco.json"] {
        let annotations = dir.join(name);
        if annotations.is_file() {
            let source = Source {
                annotations,
                images: vec![dir.to_path_buf(), dir.join("images")],
            };
            splits.push(Split::new(ONLY_SPLIT, source));
        }
    }
    splits.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(splits)
}

/// Opens one split of the data set in `dir`.
pub(super) fn open(dir: &Path, split: Option<&str>) -> Result<DetectionDataset, DataError> {
    let split = choose(dir, Layout::Coco, splits(dir)?, split)?;
    read(&split.source.images, &split.source.annotations)
}

/// Reads an annotation file whose images are in the first of `folders` that has the first image.
fn read(folders: &[PathBuf], annotations: &Path) -> Result<DetectionDataset, DataError> {
    let malformed = |cause: String| DataError::Annotations {
        path: annotations.to_path_buf(),
        cause,
    };
    // hotcoco reports duplicate ids on standard error, and panics if that is closed.
    let read = panics::catch(|| COCO::new(annotations)).map_err(malformed)?;
    let mut coco = read.map_err(|error| match error {
        hotcoco::error::Error::Io(source) => DataError::io(annotations)(source),
        error => malformed(format!("not COCO annotations: {error}")),
    })?;
    let dataset = std::mem::take(&mut coco.dataset);
    check(&dataset).map_err(malformed)?;

    let first = &dataset.images[0].file_name;
    let has_first = |folder: &&PathBuf| image_path(folder, first).is_ok_and(|path| path.is_file());
    let folder = folders.iter().find(has_first).or(folders.first());
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
    let categories = dataset.categories.iter().map(|category| Category {
        id: category.id,
        name: category.name.clone(),
    });
    let mut categories: Vec<Category> = categories.collect();
    categories.sort_by_key(|category| category.id);
    fill(&mut images, dataset.annotations, &categories, &mut report);

    let annotations = Annotations {
        name: annotations.display().to_string(),
        layout: Some(Layout::Coco),
        categories,
        images,
        report,
    };
    DetectionDataset::from_annotations(annotations, ImageFiles::new(paths))
}

/// Fails if the file is not a COCO data set. All fields are optional to hotcoco, which reads any JSON object.
fn check(dataset: &Dataset) -> Result<(), String> {
    if dataset.images.is_empty() {
        return Err("not COCO annotations: no images are listed".into());
    }
    if dataset.categories.is_empty() {
        return Err("not COCO annotations: no categories are listed".into());
    }
    // Every data set is checked for this, but without unique ids the files are not worth looking for.
    require_unique("image", dataset.images.iter().map(|image| image.id))?;
    require_unique(
        "category",
        dataset.categories.iter().map(|category| category.id),
    )?;
    match dataset
        .images
        .iter()
        .find(|image| image.file_name.is_empty())
    {
        Some(image) => Err(format!("image {} has no file_name", image.id)),
        None => Ok(()),
    }
}

/// The images without their objects. A size that the file does not give is read from the image.
fn records(dataset: &Dataset, paths: &[PathBuf]) -> Result<Vec<ImageRecord>, DataError> {
    let record = |(image, path): (&hotcoco::Image, &PathBuf)| {
        let (width, height) = match (image.width, image.height) {
            (0, _) | (_, 0) => image_size(path)?,
            size => size,
        };
        let file_name = image.file_name.as_str();
        Ok(ImageRecord::new(image.id, file_name, width, height))
    };
    dataset.images.par_iter().zip(paths).map(record).collect()
}

/// Moves the annotations to their images.
fn fill(
    images: &mut [ImageRecord],
    annotations: Vec<hotcoco::Annotation>,
    categories: &[Category],
    report: &mut LoadReport,
) {
    let ids = images.iter().map(|image| image.id);
    let position: HashMap<u64, usize> = ids.zip(0..).collect();
    let ids = categories.iter().map(|category| category.id);
    let labels: HashMap<u64, usize> = ids.zip(0..).collect();
    for annotation in annotations {
        let id = annotation.id;
        let Some(&index) = position.get(&annotation.image_id) else {
            let place = format_args!("image {} annotation {id}", annotation.image_id);
            report.record(Finding::UnknownImage, place);
            continue;
        };
        let image = &mut images[index];
        let (size, name) = (image.size(), &image.file_name);
        let place = format_args!("{name} annotation {id}");
        let Some(&label) = labels.get(&annotation.category_id) else {
            report.record(Finding::UnknownCategory, place);
            continue;
        };
        let Some(xywh) = annotation.bbox else {
            report.record(Finding::NoBox, place);
            continue;
        };
        let object = Object::new(id, BoundingBox::from_xywh(xywh), label)
            .with_annotated_area(annotation.area)
            .with_iscrowd(annotation.iscrowd);
        image.objects.extend(admit(object, size, place, report));
    }
}
