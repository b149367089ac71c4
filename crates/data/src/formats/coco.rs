//! COCO: one JSON file per split.

use std::cell::OnceCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::candidates::Candidates;
use super::class_name::ClassName;
use super::coco_file::{
    self, Annotation, CocoFile, Id, Image, count_images, has_boxes, image_names, is_coco,
    lists_no_annotation, lists_no_image, not_json,
};
use super::coco_task::{CocoTask, INSTANCES};
use super::description::{
    AnnotatedImage, AnnotatedObject, Description, IN_SHARES, Outline, Place, are_shares, corners,
};
use super::image_finder::{ImageFinder, image_folders};
use super::inventory::Inventory;
use super::listed_images::{locate_all, remark_on_unlisted};
use super::native_formats::advice_on;
use super::split::{Found, Role, Split, SplitReader, split_names};
use crate::decoding::is_image;
use crate::files::{file_name, has_extension, last_part, shown, start_of, stem};
use crate::spelling::composed;
use crate::{Category, DataError, DetectionDataset, Finding, Layout, LoadReport, Tally};

impl DetectionDataset {
    /// Reads COCO annotations of the images in `images_dir`.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if the file cannot be read. [`DataError::Annotations`] if it is not in COCO's format, if image
    /// ids or category ids are not unique, or if the name of an image points outside `images_dir`.
    /// [`DataError::MissingImages`].
    pub fn coco(
        images_dir: impl AsRef<Path>,
        annotations: impl AsRef<Path>,
    ) -> Result<Self, DataError> {
        let images_dir = images_dir.as_ref().to_path_buf();
        let annotations = annotations.as_ref().to_path_buf();
        let file = CocoFile::read(&annotations)?;
        let inventory = Arc::new(Inventory::of(&images_dir)?);
        let finder = ImageFinder::new(Arc::clone(&inventory), vec![images_dir]);
        describe(file, &annotations, &finder)?.assemble()
    }
}

/// The annotation file of a split.
#[derive(Debug)]
struct CocoSplit {
    name: String,
    inventory: Arc<Inventory>,
    /// The annotation files of all splits, relative to the folder of the inventory.
    files: Arc<[PathBuf]>,
    /// Relative to the folder of the inventory.
    annotations: PathBuf,
    /// The folders that may hold its images, in search order.
    images: Vec<PathBuf>,
}

impl CocoSplit {
    fn finder(&self) -> ImageFinder {
        let finder = ImageFinder::new(Arc::clone(&self.inventory), self.images.clone());
        let finder = finder.of_file(&self.annotations, self.files.iter());
        finder.of_split(&self.name)
    }
}

impl SplitReader for CocoSplit {
    fn describe(&self) -> Result<Description, DataError> {
        let annotations = self.inventory.root().join(&self.annotations);
        let file = CocoFile::read(&annotations)?;
        let mut description = describe(file, &annotations, &self.finder())?;
        // Other files may be large. They are only read if they may list an image that this file does not.
        let others_of = || -> HashSet<String> {
            let others = self.files.iter().filter(|file| **file != self.annotations);
            let names = others.flat_map(|file| image_names(&self.inventory.root().join(file)));
            names
                .map(|name| composed(last_part(&name)).into_owned())
                .collect()
        };
        let others = OnceCell::new();
        remark_on_unlisted(&self.inventory, &mut description, |image| {
            let others = others.get_or_init(others_of);
            others.contains(composed(&file_name(image)).as_ref())
        });
        Ok(description)
    }

    fn annotated(&self) -> usize {
        count_images(&self.inventory.root().join(&self.annotations))
    }

    fn is_empty(&self) -> bool {
        // A large file has images. An unreadable one may have some: reading the split then reports the error.
        let path = self.inventory.root().join(&self.annotations);
        let is_small = std::fs::metadata(&path).is_ok_and(|file| file.len() < 1 << 20);
        is_small && lists_no_image(&path)
    }

    fn has_objects(&self) -> bool {
        // As with images.
        let path = self.inventory.root().join(&self.annotations);
        let is_small = std::fs::metadata(&path).is_ok_and(|file| file.len() < 64 << 20);
        !(is_small && lists_no_annotation(&path))
    }

    fn members(&self) -> HashSet<PathBuf> {
        let names = image_names(&self.inventory.root().join(&self.annotations));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let paths = locate_all(&self.finder(), &names, &[], &mut LoadReport::default());
        paths.unwrap_or_default().into_iter().collect()
    }
}

/// Recognizes annotation files: `instances_{split}.json` in any folder (COCO), `{split}/_annotations.coco.json`
/// (Roboflow), or else any JSON file with images, annotations and categories. Files for other tasks, such as
/// `person_keypoints_{split}.json`, are read for splits without another file, if they have boxes. If `given` is set, only
/// that file is considered.
pub(super) fn find(
    inventory: &Arc<Inventory>,
    given: Option<&Path>,
) -> Result<Option<Found>, DataError> {
    let (files, report) = match given {
        // A top-level list is not COCO. It may be Create ML.
        Some(file)
            if has_extension(file, "json")
                && !start_of(&inventory.root().join(file))
                    .trim_start()
                    .starts_with('[') =>
        {
            (vec![file.to_path_buf()], LoadReport::default())
        }
        Some(_) => return Ok(None),
        None => annotation_files(inventory),
    };
    let root = inventory.root();
    let Some(first) = files.first() else {
        return Ok(None);
    };
    let evidence = first.display().to_string();
    let files: Arc<[PathBuf]> = files.into();
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let names = split_names(inventory, &paths);
    let splits = files.iter().zip(&names).map(|(file, name)| {
        let split = CocoSplit {
            name: name.clone(),
            inventory: Arc::clone(inventory),
            files: Arc::clone(&files),
            annotations: file.to_path_buf(),
            images: image_folders(root, file, name),
        };
        Split::new(name, split)
    });
    let found = Found::new(Layout::Coco, evidence, splits.collect());
    Ok(Some(found.with_report(report)))
}

/// The annotation files of a folder, and a report on files that are not read. Files named as by COCO or Roboflow come
/// first, joined by other files for splits that these do not cover. If no file has such a name, all files are used. For
/// splits that are still not covered, files for other tasks are used if they have boxes.
fn annotation_files(inventory: &Inventory) -> (Vec<PathBuf>, LoadReport) {
    let (mut files, mut report) = files_of_boxes(inventory);
    let mut roles: Vec<Option<Role>> = files.iter().map(|file| role(inventory, file)).collect();
    let is_alone = files.is_empty();
    let mut splits = HashSet::new();
    let mut others = Tally::default();
    let candidates = Candidates::of(inventory, &["json"], |file| CocoTask::of(file).is_some());
    let mut candidates: Vec<(CocoTask, &Path)> = (candidates.files.into_iter())
        .filter_map(|file| Some((CocoTask::of(file)?, file)))
        .collect();
    // Of several files of a split, the first task is used.
    candidates.sort();
    for (task, file) in candidates {
        let path = inventory.root().join(file);
        let role = role(inventory, file);
        let is_wanted = match role {
            Some(_) => !roles.contains(&role),
            None => is_alone && !splits.contains(&task.split(file)),
        };
        if is_wanted && is_coco(&path) && has_boxes(&path) {
            report.remark(format!(
                "{}: a file for {}: only its boxes are read",
                file.display(),
                task.name()
            ));
            roles.extend(role.map(Some));
            splits.insert(task.split(file));
            files.push(file.to_path_buf());
        } else if is_wanted && note_malformed(inventory, file, &mut report) {
            // The note names the cause.
        } else if looks_like_coco(&start_of(&path)) {
            others.add(file.display());
        }
    }
    if others.count > 0 && !files.is_empty() {
        report.remark(format!("files for other tasks, not read: {others}"));
    }
    files.sort();
    (files, report)
}

/// The annotation files of a folder that are not for other tasks, and a report on files that are not read.
fn files_of_boxes(inventory: &Inventory) -> (Vec<PathBuf>, LoadReport) {
    let all = inventory.with_extension("json").map(PathBuf::as_path);
    let mut files: Vec<PathBuf> = (all.filter(|file| is_named(file)))
        .map(Path::to_path_buf)
        .collect();
    // A file next to an image with the same stem annotates only that image.
    let of_one_image = |file: &Path| {
        let mut same = inventory.with_stem(&stem(file));
        same.any(|other| is_image(other) && other.parent() == file.parent())
    };
    let candidates = Candidates::of(inventory, &["json"], |file| {
        !is_named(file) && CocoTask::of(file).is_none() && !of_one_image(file)
    });
    let path = |file: &Path| inventory.root().join(file);
    if files.is_empty() {
        let others = candidates.files.iter().filter(|file| is_coco(&path(file)));
        files = others.map(|file| file.to_path_buf()).collect();
        files.sort();
        let mut report = candidates.report;
        for file in candidates.files {
            if files.binary_search(&file.to_path_buf()).is_err() {
                note_malformed(inventory, file, &mut report);
            }
        }
        return (files, report);
    }
    let mut roles: Vec<Option<Role>> = files.iter().map(|file| role(inventory, file)).collect();
    let mut left_out = Tally::default();
    let mut report = LoadReport::default();
    for file in candidates.files {
        let role = role(inventory, file);
        let is_wanted = role.is_some() && !roles.contains(&role);
        if is_wanted && is_coco(&path(file)) {
            files.push(file.to_path_buf());
            roles.push(role);
        } else if is_wanted && note_malformed(inventory, file, &mut report) {
            // The note names the cause.
        } else if looks_like_coco(&start_of(&path(file))) {
            left_out.add(file.display());
        }
    }
    if left_out.count > 0 {
        report.remark(format!("other annotation files, not read: {left_out}"));
    }
    files.sort();
    (files, report)
}

/// Adds a note about a file that starts like COCO but is not JSON, such as a download that was cut off: a split may be
/// missing because of it. Whether there is one.
fn note_malformed(inventory: &Inventory, file: &Path, report: &mut LoadReport) -> bool {
    let path = inventory.root().join(file);
    let cause = looks_like_coco(&start_of(&path)).then(|| not_json(&path));
    let Some(cause) = cause.flatten() else {
        return false;
    };
    report.note(format!("{}: not read: {cause}", file.display()));
    true
}

/// The role of an annotation file, from a word in its name or else from its folders.
fn role(inventory: &Inventory, file: &Path) -> Option<Role> {
    let stem = stem(file);
    let mut words = stem.split(|letter: char| !letter.is_ascii_alphanumeric());
    let of_folder = || inventory.role_of(file);
    words.find_map(Role::of_word).or_else(of_folder)
}

/// Whether a text that starts like this may be COCO.
pub(super) fn looks_like_coco(start: &str) -> bool {
    let mut keys = ["\"images\"", "\"annotations\"", "\"categories\""].into_iter();
    start.trim_start().starts_with('{') && keys.any(|key| start.contains(key))
}

fn is_named(file: &Path) -> bool {
    let name = file_name(file).to_lowercase();
    (name.starts_with(INSTANCES) && name.ends_with(".json")) || name == "_annotations.coco.json"
}

/// Reads an annotation file. Images are located by `finder`.
fn describe(
    mut file: CocoFile,
    path: &Path,
    finder: &ImageFinder,
) -> Result<Description, DataError> {
    let malformed = |cause: String| DataError::Annotations {
        path: path.to_path_buf(),
        cause,
    };
    if file.images.is_empty() {
        return Err(malformed(match advice_on(path) {
            Some(advice) => advice.into(),
            None => "not COCO annotations: no images are listed".into(),
        }));
    }
    if file.categories.is_empty() {
        return Err(malformed(
            "not COCO annotations: no categories are listed".into(),
        ));
    }
    let mut report = LoadReport::default();
    let is_complete = |image: &Image| image.id.is_some() && !image.name().is_empty();
    for (image, number) in file.images.iter().zip(1..) {
        if !is_complete(image) {
            let lacks = match (&image.id, image.name()) {
                (Some(id), _) => format!("image {id} without file_name"),
                (None, "") => format!("image number {number} without id and file_name"),
                (None, name) => format!("{name} without id"),
            };
            report.record(Finding::Incomplete, lacks);
        }
    }
    file.images.retain(is_complete);
    for (category, number) in file.categories.iter().zip(1..) {
        if category.id.is_none() {
            let place = format_args!("category number {number} without id");
            report.record(Finding::Incomplete, place);
        }
    }
    file.categories.retain(|category| category.id.is_some());
    merge_equal_entries(&mut file, &mut report).map_err(malformed)?;
    if let Some(root) = root_category(&file) {
        let root = file.categories.remove(root);
        let name = root.name.map(|ClassName(name)| name).unwrap_or_default();
        report.remark(format!(
            "the category '{}' is not a class: it is the parent of all others and has no objects",
            shown(&name)
        ));
    }
    let image_ids: Vec<&Id> = (file.images.iter())
        .filter_map(|image| image.id.as_ref())
        .collect();
    let category_ids: Vec<&Id> = (file.categories.iter())
        .filter_map(|category| category.id.as_ref())
        .collect();
    let image_numbers = numbers("image", &image_ids, &mut report);
    let category_numbers = numbers("category", &category_ids, &mut report);

    let named = |((category, id), number): ((&coco_file::Category, &&Id), &u64)| Category {
        id: *number,
        name: match &category.name {
            Some(ClassName(name)) => name.clone(),
            None => id.to_string(),
        },
    };
    let mut categories: Vec<Category> = (file.categories.iter())
        .zip(&category_ids)
        .zip(&category_numbers)
        .map(named)
        .collect();
    categories.sort_by_key(|category| category.id);
    let label_of_number: HashMap<u64, usize> = categories
        .iter()
        .map(|category| category.id)
        .zip(0..)
        .collect();
    let label_of: HashMap<&Id, usize> = (category_ids.iter().zip(&category_numbers))
        .map(|(id, number)| (*id, label_of_number[number]))
        .collect();

    for image in &file.images {
        if let Err(value) = image.size() {
            let place = format_args!("{} {value}", image.name());
            report.record(Finding::UnusableSize, place);
        }
    }
    let listed: Vec<&str> = file.images.iter().map(Image::name).collect();
    let paths = locate_all(finder, &listed, &[], &mut report).map_err(malformed)?;
    let found = |((image, id), path): ((&Image, u64), PathBuf)| AnnotatedImage {
        id: Some(id),
        path,
        file_name: image.name().to_string(),
        stated_size: image.size().unwrap_or_default(),
        source: image.name().to_string(),
        objects: Vec::new(),
    };
    let images = file.images.iter().zip(image_numbers).zip(paths);
    let mut images: Vec<AnnotatedImage> = images.map(found).collect();

    if file.annotations.is_none() {
        report.note("the file has no list of annotations");
    }
    let annotations = file.annotations.as_deref().unwrap_or_default();
    let outlines = || annotations.iter().map(Annotation::outline);
    let in_shares = are_shares(outlines().filter_map(|outline| match outline {
        Outline::CornerAndSize(sides) => Some(corners(sides)),
        _ => None,
    }));
    if in_shares {
        report.remark(IN_SHARES);
    }
    let index_of: HashMap<&Id, usize> = image_ids.into_iter().zip(0..).collect();
    for (annotation, number) in annotations.iter().zip(1_u64..) {
        let id = match &annotation.id {
            Some(id) => id.to_string(),
            None => format!("number {number}"),
        };
        let index = annotation
            .image_id
            .as_ref()
            .map(|id| (id, index_of.get(id)));
        let image = match index {
            Some((_, Some(&index))) => &mut images[index],
            Some((unknown, None)) => {
                let place = format_args!("image {unknown} annotation {id}");
                report.record(Finding::UnknownImage, place);
                continue;
            }
            None => {
                let place = format_args!("annotation {id} without image_id");
                report.record(Finding::UnknownImage, place);
                continue;
            }
        };
        let label = annotation
            .category_id
            .as_ref()
            .and_then(|id| label_of.get(id));
        let Some(&label) = label else {
            let place = format_args!("{} annotation {id}", image.source);
            report.record(Finding::UnknownCategory, place);
            continue;
        };
        image.objects.push(AnnotatedObject {
            id: Some(match annotation.id {
                Some(Id::Number(id)) => id,
                _ => 0,
            }),
            outline: match annotation.outline() {
                Outline::CornerAndSize(sides) if in_shares => Outline::CornerAndSizeShares(sides),
                outline => outline,
            },
            label,
            // With normalized boxes, the unit of an area is unknown.
            annotated_area: annotation.area.finite().filter(|_| !in_shares),
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

/// Removes images and categories that are listed again with the same content, as in files that were joined. The report
/// tells how many.
///
/// # Errors
///
/// The cause, if the contents of an id differ.
fn merge_equal_entries(file: &mut CocoFile, report: &mut LoadReport) -> Result<(), String> {
    let content = |image: &Image| {
        let size = image.size().unwrap_or_default();
        let size = size.map(|(width, height)| format!(", {width}x{height}"));
        format!("{}{}", image.name(), size.unwrap_or_default())
    };
    let repeated = equal_entries("image", &file.images, |image| image.id.as_ref(), content)?;
    for image in removed(&mut file.images, &repeated) {
        report.record(Finding::Repeated, image.name());
    }
    let name = |category: &coco_file::Category| match &category.name {
        Some(ClassName(name)) => name.clone(),
        None => String::new(),
    };
    let categories = &file.categories;
    let repeated = equal_entries(
        "category",
        categories,
        |category| category.id.as_ref(),
        name,
    )?;
    let mut merged = Tally::default();
    for category in removed(&mut file.categories, &repeated) {
        merged.add(name(&category));
    }
    if merged.count > 0 {
        report.remark(format!("categories listed again, merged: {merged}"));
    }
    Ok(())
}

/// Whether each entry has the id and the content of an earlier one.
///
/// # Errors
///
/// The cause, if an earlier entry has the same id and another content.
fn equal_entries<T>(
    kind: &str,
    entries: &[T],
    id: impl Fn(&T) -> Option<&Id>,
    content: impl Fn(&T) -> String,
) -> Result<Vec<bool>, String> {
    let mut known: HashMap<&Id, &T> = HashMap::with_capacity(entries.len());
    let mut is_repeated = |entry| {
        let Some(id) = id(entry) else {
            return Ok(false);
        };
        let first = match known.entry(id) {
            Entry::Vacant(place) => {
                place.insert(entry);
                return Ok(false);
            }
            Entry::Occupied(place) => content(place.get()),
        };
        let second = content(entry);
        match first == second {
            true => Ok(true),
            false => Err(format!(
                "{kind} id {id} is used twice: for {} and for {}",
                shown(&first),
                shown(&second)
            )),
        }
    };
    entries.iter().map(&mut is_repeated).collect()
}

/// Removes the marked entries.
fn removed<T>(entries: &mut Vec<T>, marked: &[bool]) -> Vec<T> {
    let all = std::mem::take(entries).into_iter().zip(marked);
    let (removed, kept): (Vec<_>, Vec<_>) = all.partition(|(_, is_marked)| **is_marked);
    *entries = kept.into_iter().map(|(entry, _)| entry).collect();
    removed.into_iter().map(|(entry, _)| entry).collect()
}

/// The position of the category that Roboflow's exports have for the whole project: without a parent, the parent of all
/// others, and without objects.
fn root_category(file: &CocoFile) -> Option<usize> {
    let mut roots = (file.categories.iter().enumerate())
        .filter(|(_, category)| category.parent().eq_ignore_ascii_case("none"));
    let (position, root) = roots.next().filter(|_| file.categories.len() > 1)?;
    let ClassName(name) = root.name.as_ref()?;
    let mut others = (file.categories.iter().enumerate()).filter(|(other, _)| *other != position);
    let mut annotations = file.annotations.iter().flatten();
    let is_root = others.all(|(_, category)| category.parent() == name.as_str())
        && annotations.all(|annotation| annotation.category_id != root.id);
    is_root.then_some(position)
}

/// Numbers for these ids: the ids themselves, or unused numbers for ids that are strings or negative.
fn numbers(kind: &str, ids: &[&Id], report: &mut LoadReport) -> Vec<u64> {
    let number = |id: &Id| match id {
        Id::Number(number) => Some(*number),
        Id::Text(_) => None,
    };
    let largest = ids.iter().filter_map(|id| number(id)).max();
    let mut next = largest.unwrap_or_default();
    let numbers = ids.iter().map(|id| match number(id) {
        Some(number) => number,
        None => {
            next = next.wrapping_add(1);
            next
        }
    });
    let numbers: Vec<u64> = numbers.collect();
    let others = ids.iter().filter(|id| number(id).is_none()).count();
    match (others, largest) {
        (0, _) => {}
        (_, None) => report.remark(format!("{kind} ids are strings and were numbered from 1")),
        (_, Some(largest)) => report.remark(format!(
            "{kind} ids that are strings or negative ({others}) were numbered from {}",
            largest.wrapping_add(1)
        )),
    }
    numbers
}
