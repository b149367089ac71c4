//! COCO: one JSON file per split.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::class_name::ClassName;
use super::coco_file::{self, CocoFile, Id, Image, count_images, is_coco};
use super::description::{AnnotatedImage, AnnotatedObject, Description, Place};
use super::image_finder::{ImageFinder, image_folders};
use super::inventory::Inventory;
use super::split::{Found, Split, SplitReader, split_names};
use crate::dataset::require_unique;
use crate::decoding::is_image;
use crate::files::{file_name, stem};
use crate::{Category, DataError, DetectionDataset, Finding, Layout, LoadReport};

impl DetectionDataset {
    /// Reads COCO annotations of the images in `images_dir`.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if the file cannot be read. [`DataError::Annotations`] if it is not in COCO's format, if image ids
    /// or category ids are not unique, or if the name of an image points outside `images_dir`.
    /// [`DataError::MissingImages`].
    pub fn coco(
        images_dir: impl AsRef<Path>,
        annotations: impl AsRef<Path>,
    ) -> Result<Self, DataError> {
        let images_dir = images_dir.as_ref().to_path_buf();
        let annotations = annotations.as_ref().to_path_buf();
        let file = CocoFile::read(&annotations)?;
        let inventory = Arc::new(Inventory::of(&images_dir)?);
        let finder = ImageFinder::new(inventory, vec![images_dir]);
        describe(file, &annotations, &finder)?.assemble()
    }
}

/// The annotation file of a split.
#[derive(Debug)]
struct CocoSplit {
    name: String,
    inventory: Arc<Inventory>,
    /// Relative to the folder of the inventory.
    annotations: PathBuf,
    /// The folders that may hold its images, in search order.
    images: Vec<PathBuf>,
}

impl SplitReader for CocoSplit {
    fn describe(&self) -> Result<Description, DataError> {
        let annotations = self.inventory.root().join(&self.annotations);
        let file = CocoFile::read(&annotations)?;
        let finder = ImageFinder::new(Arc::clone(&self.inventory), self.images.clone());
        let finder = finder.of_split(&self.name);
        describe(file, &annotations, &finder)
    }

    fn annotated(&self) -> usize {
        count_images(&self.inventory.root().join(&self.annotations))
    }

    fn is_empty(&self) -> bool {
        // A large file has images.
        let path = self.inventory.root().join(&self.annotations);
        let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() < 1 << 20);
        is_small && self.annotated() == 0
    }
}

/// Recognizes annotation files: `instances_{split}.json` in any folder (COCO), `{split}/_annotations.coco.json`
/// (Roboflow), or else any JSON file with images, annotations and categories. `given` is the only one if there is one.
pub(super) fn find(
    inventory: &Arc<Inventory>,
    given: Option<&Path>,
) -> Result<Option<Found>, DataError> {
    let files: Vec<&Path> = match given {
        Some(file) => Some(file)
            .filter(|file| is_json(file))
            .into_iter()
            .collect(),
        None => annotation_files(inventory),
    };
    let root = inventory.root();
    let names = split_names(&files);
    let splits = files.iter().zip(&names).map(|(file, name)| {
        let split = CocoSplit {
            name: name.clone(),
            inventory: Arc::clone(inventory),
            annotations: file.to_path_buf(),
            images: image_folders(root, file, name),
        };
        Split::new(name, split)
    });
    let splits: Vec<Split> = splits.collect();
    let Some(first) = files.first() else {
        return Ok(None);
    };
    Ok(Some(Found::new(
        Layout::Coco,
        first.display().to_string(),
        splits,
    )))
}

fn is_json(file: &Path) -> bool {
    file.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case("json"))
}

/// The annotation files of a folder: those with a name of COCO or Roboflow if there are any.
fn annotation_files(inventory: &Inventory) -> Vec<&Path> {
    let all = inventory.with_extension("json").map(PathBuf::as_path);
    let named: Vec<&Path> = all.filter(|file| is_named(file)).collect();
    if !named.is_empty() {
        return named;
    }
    // A file next to an image of the same name annotates only this image.
    let of_one_image = |file: &Path| {
        let mut same = inventory.with_stem(&stem(file));
        same.any(|other| is_image(other) && other.parent() == file.parent())
    };
    let others = inventory.with_extension("json").map(PathBuf::as_path);
    let others = others.filter(|file| !of_one_image(file)).take(MAX_FILES);
    others
        .filter(|file| is_coco(&inventory.root().join(file)))
        .collect()
}

/// The most JSON files with other names that are read.
const MAX_FILES: usize = 100;

fn is_named(file: &Path) -> bool {
    let name = file_name(file).to_lowercase();
    (name.starts_with("instances_") && name.ends_with(".json")) || name == "_annotations.coco.json"
}

/// What an annotation file says of images that `finder` finds.
fn describe(file: CocoFile, path: &Path, finder: &ImageFinder) -> Result<Description, DataError> {
    let malformed = |cause: String| DataError::Annotations {
        path: path.to_path_buf(),
        cause,
    };
    if file.images.is_empty() {
        return Err(malformed(
            "not COCO annotations: no images are listed".into(),
        ));
    }
    if file.categories.is_empty() {
        return Err(malformed(
            "not COCO annotations: no categories are listed".into(),
        ));
    }
    let mut report = LoadReport::default();
    let image_ids = numbers(
        "image",
        file.images.iter().map(|image| &image.id),
        &mut report,
    )
    .map_err(malformed)?;
    let category_ids = file.categories.iter().map(|category| &category.id);
    let category_ids = numbers("category", category_ids, &mut report).map_err(malformed)?;

    let named = |(category, id): (&coco_file::Category, &u64)| Category {
        id: *id,
        name: match &category.name {
            Some(ClassName(name)) => name.clone(),
            None => category.id.to_string(),
        },
    };
    let mut categories: Vec<Category> = (file.categories.iter().zip(&category_ids))
        .map(named)
        .collect();
    let label_of_number: HashMap<u64, usize> = {
        categories.sort_by_key(|category| category.id);
        categories
            .iter()
            .map(|category| category.id)
            .zip(0..)
            .collect()
    };
    let label_of: HashMap<&Id, usize> = (file.categories.iter().zip(&category_ids))
        .map(|(category, number)| (&category.id, label_of_number[number]))
        .collect();

    let found = |(image, id): (&Image, u64)| {
        if image.file_name.is_empty() {
            return Err(format!("image {} has no file_name", image.id));
        }
        let stated_size = match (image.width.0, image.height.0) {
            (0, _) | (_, 0) => None,
            size => Some(size),
        };
        Ok(AnnotatedImage {
            id: Some(id),
            path: finder.find(&image.file_name)?,
            file_name: image.file_name.clone(),
            stated_size,
            source: image.file_name.clone(),
            objects: Vec::new(),
        })
    };
    let images = file.images.par_iter().zip(image_ids).map(found);
    let mut images: Vec<AnnotatedImage> = images.collect::<Result<_, _>>().map_err(malformed)?;

    let index_of: HashMap<&Id, usize> =
        file.images.iter().map(|image| &image.id).zip(0..).collect();
    for (annotation, number) in file.annotations.iter().zip(1_u64..) {
        let id = match &annotation.id {
            Some(id) => id.to_string(),
            None => format!("number {number}"),
        };
        let Some(&index) = index_of.get(&annotation.image_id) else {
            let place = format_args!("image {} annotation {id}", annotation.image_id);
            report.record(Finding::UnknownImage, place);
            continue;
        };
        let image = &mut images[index];
        let Some(&label) = label_of.get(&annotation.category_id) else {
            let place = format_args!("{} annotation {id}", image.source);
            report.record(Finding::UnknownCategory, place);
            continue;
        };
        image.objects.push(AnnotatedObject {
            id: Some(match annotation.id {
                Some(Id::Number(id)) => id,
                _ => 0,
            }),
            outline: annotation.outline(),
            label,
            annotated_area: annotation.area.finite(),
            iscrowd: annotation.iscrowd.finite().is_some_and(|flag| flag != 0.0),
            place: Place::Annotation(id),
        });
    }
    Ok(Description {
        name: path.display().to_string(),
        layout: Layout::Coco,
        categories,
        images,
        searched: path.display().to_string(),
        report,
    })
}

/// The numbers of these ids: the ids themselves, or 1, 2, 3, … if some of them are strings.
fn numbers<'a>(
    kind: &str,
    ids: impl Iterator<Item = &'a Id> + Clone,
    report: &mut LoadReport,
) -> Result<Vec<u64>, String> {
    require_unique(kind, ids.clone())?;
    let number = |id: &Id| match id {
        Id::Number(number) => Some(*number),
        Id::Text(_) => None,
    };
    if let Some(numbers) = ids.clone().map(number).collect() {
        return Ok(numbers);
    }
    report.remark(format!("{kind} ids are strings and were renumbered from 1"));
    Ok((1..).zip(ids).map(|(number, _)| number).collect())
}
