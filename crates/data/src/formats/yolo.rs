//! YOLO: one text file per image, in folders that `data.yaml` lists or that are recognized by name.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::description::{AnnotatedImage, AnnotatedObject, Description, Place};
use super::image_finder::{ImageFinder, plain, slashed};
use super::inventory::{Inventory, unique_max};
use super::label_files::{LabelFiles, LabelPath, expected_places, is_for_images};
use super::listed_images::{Located, settle};
use super::native_formats::advice_on;
use super::split::{
    Found, ONLY_SPLIT, Role, Split, SplitReader, is_trainval, lists_of_splits, names_split, title,
};
use super::yolo_description::{YoloDescription, class_names};
use super::yolo_label::{Label, LabelFormat, are_tracks, is_label_text, refusal};
use crate::decoding::{is_image, is_unread_image};
use crate::files::{file_name, has_extension, lines, read_text, shown, stem};
use crate::{Category, DataError, DetectionDataset, Finding, Layout, LoadReport, Tally};

impl DetectionDataset {
    /// Reads one split of a YOLO folder: `data.yaml`, `obj.data`, or images and label files in folders of any name,
    /// with `classes.txt`.
    ///
    /// Labels are `class cx cy w h`, as fractions of the size of the upright image, or polygons, which are replaced by
    /// their bounding boxes. A score after a box is ignored, and so is the number of a track after the score. The label
    /// file of an image is at its path with the last folder `images` replaced by `labels`, or next to the image.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`] or [`DataError::SplitNotNamed`]. [`DataError::Annotations`] or [`DataError::Line`]
    /// if `data.yaml`, the class list, a list of images or a label is malformed. The error of an image if none can be
    /// read.
    pub fn yolo(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        let found = find(&Arc::new(Inventory::of(dir)?), None)?;
        let found = found.ok_or_else(|| DataError::Annotations {
            path: dir.to_path_buf(),
            cause: "no YOLO data set: neither data.yaml nor label files were found".into(),
        })?;
        found.read(dir, split)
    }
}

/// What the splits of a data set have in common.
#[derive(Debug)]
struct YoloSet {
    /// The files of the folder that holds the images and labels.
    inventory: Arc<Inventory>,
    /// The folder of the description.
    base: PathBuf,
    /// The folders that paths of images are relative to, in search order.
    roots: Vec<PathBuf>,
    description: YoloDescription,
    finder: ImageFinder,
    labels: LabelFiles,
}

#[derive(Debug)]
struct YoloSplit {
    set: Arc<YoloSet>,
    name: String,
    places: Vec<ImagePlace>,
    /// Cached after the first search: a folder may hold millions.
    images: OnceLock<Images>,
}

/// The place of images of a split.
#[derive(Debug)]
enum ImagePlace {
    /// In this folder and its subfolders, or in this list of one path per line.
    Path(PathBuf),
    /// These files.
    Files(Vec<PathBuf>),
}

/// Recognizes `data.yaml` or another YAML file about data, darknet's `obj.data`, or images with label files.
pub(super) fn find(
    inventory: &Arc<Inventory>,
    given: Option<&Path>,
) -> Result<Option<Found>, DataError> {
    let Some((file, set, mut report)) = described(inventory, given)? else {
        return match given {
            Some(_) => Ok(None),
            None => undescribed(inventory),
        };
    };
    let evidence = file.display().to_string();
    if set.description.splits.is_empty() {
        set.report_unused(&HashSet::new(), &mut report);
        return Ok(Some(set.by_folder(evidence).with_report(report)));
    }
    let mut resolved: HashMap<&str, PathBuf> = HashMap::new();
    let mut splits = Vec::new();
    let mut absent = Vec::new();
    for (name, places) in &set.description.splits {
        let mut paths = Vec::with_capacity(places.len());
        for place in places {
            let path = resolved.entry(place).or_insert_with(|| set.resolve(place));
            paths.push(path.clone());
        }
        let exists = paths.iter().any(|path| path.exists());
        match paths.first() {
            // A list with another purpose in darknet's file.
            Some(_) if !exists && !names_split(name) => {}
            Some(first) if !exists && Role::of_word(name) != Some(Role::Train) => {
                absent.push((name.clone(), first.clone()));
                let place = places.join(", ");
                let message = format!("{evidence}: {name}: {place}: no such file or folder");
                // Many descriptions name a `test` split that was never created.
                match Role::of_word(name) {
                    Some(Role::Test) => report.remark(message),
                    _ => report.note(message),
                }
            }
            _ => splits.push((name.clone(), paths)),
        }
    }
    let used = splits.iter().flat_map(|(_, paths)| paths).cloned();
    let used: HashSet<PathBuf> = used.collect();
    set.report_unused(&used, &mut report);
    let set = Arc::new(set);
    let splits = splits.into_iter().map(|(name, paths)| {
        let places = paths.into_iter().map(ImagePlace::Path);
        YoloSplit::of(&set, name, places.collect())
    });
    let mut found = Found::new(Layout::Yolo, evidence, splits.collect());
    found.absent = absent;
    Ok(Some(found.with_report(report)))
}

/// The file that describes a data set, the data set, and a report on the folder as a whole. The file is the given one,
/// or a YAML file or darknet's `*.data` at the top, or the outermost `data.yaml` in a subfolder. Of several at the top,
/// the one with the most existing splits is chosen; on a tie, `data.yaml` is preferred.
fn described(
    inventory: &Arc<Inventory>,
    given: Option<&Path>,
) -> Result<Option<(PathBuf, YoloSet, LoadReport)>, DataError> {
    let read = |file: &Path| -> Result<(YoloSet, LoadReport), DataError> {
        let path = inventory.root().join(file);
        let description = match is_yaml(file) {
            true => YoloDescription::of_yaml(&path),
            false => YoloDescription::of_darknet(&path),
        };
        let base = file.parent().unwrap_or(Path::new(""));
        YoloSet::new(inventory, base, description?)
    };
    let candidates: Vec<&Path> = match given {
        Some(file) => vec![file],
        None => inventory.files().iter().map(PathBuf::as_path).collect(),
    };
    let is_top = |file: &&Path| given.is_some() || file.parent() == Some(Path::new(""));
    let top = || candidates.iter().copied().filter(is_top);
    let yaml: Vec<&Path> = top().filter(|file| is_yaml(file)).collect();
    let darknet = top().filter(|file| has_extension(file, "data"));
    let mut described: Vec<(&Path, YoloSet, LoadReport)> = Vec::new();
    let mut unread = Vec::new();
    for file in yaml.iter().copied().chain(darknet) {
        match read(file) {
            Ok((set, report)) if set.description.is_about_data() || is_named(file) => {
                described.push((file, set, report));
            }
            Ok(_) => {}
            // A single file is expected to be a description. Of several, some may be about anything.
            Err(error) if is_named(file) || yaml == [file] => return Err(error),
            Err(error) => unread.push(format!("not used: {error}")),
        }
    }
    let fit = |(file, set, _): &(&Path, YoloSet, LoadReport)| {
        let places = set.description.splits.iter().map(|(_, places)| places);
        let present =
            places.filter(|places| places.iter().any(|place| set.resolve(place).exists()));
        let is_split = !set.description.splits.is_empty();
        (present.count(), is_named(file), is_split)
    };
    let best = match described.len() {
        0 => None,
        // Nothing to compare with, and a description may have any number of splits.
        1 => Some(0),
        // On a tie, `max_by_key` returns the last.
        count => (0..count).rev().max_by_key(|index| fit(&described[*index])),
    };
    if let Some(best) = best {
        let (file, set, mut report) = described.remove(best);
        unread.extend(described.iter().map(|(other, ..)| not_used(other)));
        unread.into_iter().for_each(|remark| report.remark(remark));
        return Ok(Some((file.to_path_buf(), set, report)));
    }
    let below = candidates.iter().copied().filter(|file| is_named(file));
    let depth = |file: &Path| file.components().count();
    let Some(file) = unique_max(below.clone(), |file| Reverse(depth(file))) else {
        let mut lists = inventory.files().iter().filter_map(|file| list_rank(file));
        return match (below.clone().next(), lists.next()) {
            (Some(_), None) => Err(several_descriptions(inventory.root(), below)),
            // With a class list, the folder is read without them.
            _ => Ok(None),
        };
    };
    let (set, mut report) = read(file)?;
    for other in below.filter(|other| *other != file) {
        report.remark(not_used(other));
    }
    Ok(Some((file.to_path_buf(), set, report)))
}

/// The remark on a description beside the one that is used.
fn not_used(description: &Path) -> String {
    let description = description.display();
    format!("{description}: another data set description, not used")
}

/// The first few YAML files of any name and in any folder that describe data sets.
fn descriptions(inventory: &Inventory) -> Vec<&Path> {
    const MAX_READ: usize = 20;
    let files = inventory.files().iter().map(PathBuf::as_path);
    let is_about_data = |file: &&Path| {
        let description = YoloDescription::of_yaml(&inventory.root().join(file));
        description.is_ok_and(|description| description.is_about_data())
    };
    let yaml = files.filter(|file| is_yaml(file)).take(MAX_READ);
    yaml.filter(is_about_data).collect()
}

/// The error for a folder that holds data sets in subfolders.
fn several_descriptions<'a>(
    root: &Path,
    descriptions: impl Iterator<Item = &'a Path>,
) -> DataError {
    let mut all = Tally::default();
    descriptions.for_each(|description| all.add(description.display()));
    DataError::Annotations {
        path: root.to_path_buf(),
        cause: format!("descriptions of data sets in subfolders: {all}; give one of them"),
    }
}

/// Whether a file has the usual name of a description.
fn is_named(file: &Path) -> bool {
    is_yaml(file) && ["data", "dataset"].contains(&stem(file).to_lowercase().as_str())
}

/// How likely a file lists the class names, from its name: 0 for the most likely; `None` if it does not.
fn list_rank(file: &Path) -> Option<usize> {
    match file_name(file).to_lowercase().as_str() {
        "classes.txt" => Some(0),
        "obj.names" | "classes.names" => Some(1),
        "_darknet.labels" => Some(2),
        "notes.json" => Some(3),
        name if name.ends_with(".names") => Some(4),
        "labels.txt" | "predefined_classes.txt" => Some(5),
        _ => None,
    }
}

fn is_yaml(file: &Path) -> bool {
    has_extension(file, "yaml") || has_extension(file, "yml")
}

/// A data set of images with label files but without a description.
fn undescribed(inventory: &Arc<Inventory>) -> Result<Option<Found>, DataError> {
    let (set, mut report) = YoloSet::new(inventory, Path::new(""), YoloDescription::default())?;
    let images = inventory.images();
    let labeled = images.filter(|image| set.has_labels(image)).count();
    let is_folder = |name: &&str| inventory.root().join(name).is_dir();
    let evidence = match labeled {
        0 if ["images", "labels"].iter().all(is_folder) => "folders images and labels".to_string(),
        0 => return Ok(None),
        count => format!("{count} images with label files"),
    };
    let lists = lists_of_splits(image_lists(inventory)).into_iter();
    let lists: Vec<PathBuf> = lists.map(|list| inventory.root().join(list)).collect();
    for description in inventory.files().iter().filter(|file| is_named(file)) {
        report.remark(not_used(description));
    }
    set.report_unused(&lists.iter().cloned().collect(), &mut report);
    if lists.is_empty() {
        return Ok(Some(set.by_folder(evidence).with_report(report)));
    }
    let set = Arc::new(set);
    let splits = lists
        .into_iter()
        .map(|list| YoloSplit::of(&set, stem(&list), vec![ImagePlace::Path(list)]));
    let found = Found::new(Layout::Yolo, evidence, splits.collect());
    Ok(Some(found.with_report(report)))
}

/// The lists of images at the top, such as `train.txt`.
fn image_lists(inventory: &Inventory) -> Vec<&PathBuf> {
    let names_images = |file: &Path| {
        let text = read_text(&inventory.root().join(file)).unwrap_or_default();
        lines(&text)
            .next()
            .is_some_and(|(_, first)| is_image(Path::new(&slashed(first))))
    };
    let files = inventory.files().iter();
    let at_top = files.filter(|file| file.components().count() == 1);
    at_top
        .filter(|file| has_extension(file, "txt") || has_extension(file, "list"))
        .filter(|file| names_images(file))
        .collect()
}

impl YoloSet {
    /// The data set in the folder of an inventory, or in the folder that its description names if that exists on this
    /// machine. The report lists what was not searched there. The description is in `base`, relative to the inventory.
    fn new(
        inventory: &Arc<Inventory>,
        base: &Path,
        description: YoloDescription,
    ) -> Result<(Self, LoadReport), DataError> {
        let base = match base.as_os_str().is_empty() {
            true => inventory.root().to_path_buf(),
            false => inventory.root().join(base),
        };
        let stated = description
            .path
            .as_ref()
            .map(|path| base.join(slashed(path)));
        let stated = stated.filter(|path| path.is_dir() && plain(path) != plain(inventory.root()));
        let places = || description.splits.iter().flat_map(|(_, places)| places);
        let holds_places =
            |root: &PathBuf| places().any(|place| root.join(slashed(place)).exists());
        let mut report = LoadReport::default();
        let mut roots = vec![base.clone()];
        let mut inventory = Arc::clone(inventory);
        if plain(inventory.root()) != plain(&base) {
            roots.push(inventory.root().to_path_buf());
        }
        match stated {
            Some(stated) if holds_places(&stated) => {
                if !plain(&stated).starts_with(plain(inventory.root())) {
                    // The stated folder may be anything, even the whole disk: search only the named folders.
                    let stated = plain(&stated);
                    let folders = places().map(|place| plain(&stated.join(slashed(place))));
                    let folders = folders.filter(|folder| folder.starts_with(&stated));
                    let folders = folders.flat_map(|folder| {
                        let labels = expected_places(&folder.join("image")).into_iter();
                        let labels = labels.filter_map(|file| Some(file.parent()?.to_path_buf()));
                        labels.chain([folder]).collect::<Vec<_>>()
                    });
                    let folders: BTreeSet<PathBuf> =
                        folders.filter(|folder| folder.is_dir()).collect();
                    let folders: Vec<PathBuf> = folders.into_iter().collect();
                    inventory = Arc::new(Inventory::of_folders(&stated, &folders)?);
                    inventory
                        .omissions()
                        .into_iter()
                        .for_each(|omission| report.note(omission));
                }
                roots.insert(0, stated);
            }
            stated => roots.extend(stated),
        }
        let set = Self {
            finder: ImageFinder::new(Arc::clone(&inventory), roots.clone()),
            labels: LabelFiles::new(&inventory),
            inventory,
            base,
            roots,
            description,
        };
        Ok((set, report))
    }

    /// Whether an image, relative to the folder of the inventory, has a label file.
    fn has_labels(&self, image: &Path) -> bool {
        self.labels.of(&self.inventory.root().join(image)).is_some()
    }

    /// Adds remarks on unused keys of the description and unused lists at the top that may describe splits.
    fn report_unused(&self, used: &HashSet<PathBuf>, report: &mut LoadReport) {
        for (key, places) in &self.description.others {
            let is_place = |place: &&String| {
                !place.contains("://") && self.resolve(place).exists() && place.trim() != "."
            };
            if let Some(place) = places.iter().find(is_place) {
                report.remark(format!(
                    "the key '{key}' of the description is not used: {place}"
                ));
            }
        }
        let root = self.inventory.root();
        for list in image_lists(&self.inventory) {
            if !used.contains(&root.join(list)) {
                let list = list.display();
                report.remark(format!("{list}: image list not used"));
            }
        }
    }

    /// Splits by the names of the image folders, or a single split if no folder names one.
    fn by_folder(self, evidence: String) -> Found {
        let set = Arc::new(self);
        let inventory = &set.inventory;
        let folder = |image: &Path| image.parent().unwrap_or(Path::new("")).to_path_buf();
        let labeled = inventory.images().filter(|image| set.has_labels(image));
        let labeled: HashSet<PathBuf> = labeled.map(|image| folder(image)).collect();
        // Other images, such as plots, do not belong to the data set.
        let is_of_set = |image: &Path| {
            labeled.contains(&folder(image))
                || image.iter().any(|part| part == "images")
                || inventory.split_of(image).is_some() && is_for_images(image)
        };
        let files = inventory.files().iter();
        let images =
            files.filter(|file| (is_image(file) || is_unread_image(file)) && is_of_set(file));
        let mut splits: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
        for image in images {
            let path = inventory.root().join(image);
            splits
                .entry(inventory.split_of(image).unwrap_or(ONLY_SPLIT))
                .or_default()
                .push(path);
        }
        let has = |role| splits.keys().any(|name| Role::of_split(name) == Some(role));
        let is_for_training = has(Role::Train) || splits.keys().any(|name| is_trainval(name));
        let is_rest = has(Role::Validation) && !is_for_training;
        if splits.is_empty() {
            splits.insert(ONLY_SPLIT, Vec::new());
        } else if is_rest && let Some(rest) = splits.remove(ONLY_SPLIT) {
            splits.insert("train", rest);
        }
        let splits = splits
            .into_iter()
            .map(|(name, files)| YoloSplit::of(&set, name, vec![ImagePlace::Files(files)]));
        Found::new(Layout::Yolo, evidence, splits.collect())
    }

    /// Resolves the path of a folder or list of images. Tries the path in the folder of the data set without `.` and
    /// `..`, as in Roboflow's exports; then the path as given; then the path in the folder of the data set without
    /// leading folders, for paths from another machine. Folders that name the split are kept.
    fn resolve(&self, place: &str) -> PathBuf {
        let slashed = slashed(place);
        let place = Path::new(&slashed);
        let below: Vec<&str> = slashed
            .split('/')
            .filter(|part| !matches!(*part, "" | "." | ".."))
            .collect();
        let inside: PathBuf = below.iter().collect();
        let shorter = (1..below.len()).filter_map(|dropped| {
            let (dropped, kept) = below.split_at(dropped);
            let names_split = |parts: &[&str]| {
                parts
                    .iter()
                    .any(|part| names_split(stem(Path::new(part)).as_str()))
            };
            (names_split(kept) || !names_split(dropped)).then(|| kept.iter().collect::<PathBuf>())
        });
        let candidates = [inside.clone(), place.to_path_buf()]
            .into_iter()
            .chain(shorter);
        let paths = candidates.flat_map(|candidate| {
            let below = self.roots.iter().map(|root| root.join(&candidate));
            below.collect::<Vec<_>>()
        });
        paths
            .into_iter()
            .find(|path| path.exists())
            .or_else(|| self.inventory.spelled_like(&inside))
            .unwrap_or_else(|| self.base.join(inside))
    }

    /// The class names from the description, or else from class lists for the labels in these folders.
    fn class_names(
        &self,
        labels: &BTreeSet<&Path>,
        report: &mut LoadReport,
    ) -> Result<Vec<String>, DataError> {
        let names = match (&self.description.names, &self.description.names_file) {
            (Some(names), _) => names.clone(),
            (None, Some(file)) if self.resolve(file).is_file() => class_names(&self.resolve(file))?,
            (None, file) => {
                let names = self.listed_class_names(labels, report)?;
                if let Some(file) = file {
                    report.note(format!(
                        "{}: no such file of class names; another list is used",
                        shown(file)
                    ));
                }
                names
            }
        };
        if let Some(classes) = self
            .description
            .classes
            .filter(|classes| *classes != names.len())
        {
            report.note(format!(
                "{classes} classes are declared, but {} are named",
                names.len()
            ));
        }
        Ok(names)
    }

    /// The class names of the list nearest to the labels. Labeling tools write a list into every folder.
    fn listed_class_names(
        &self,
        labels: &BTreeSet<&Path>,
        report: &mut LoadReport,
    ) -> Result<Vec<String>, DataError> {
        let files = self.inventory.files().iter();
        let mut lists: Vec<(usize, usize, &PathBuf)> = files
            .filter_map(|file| Some((list_rank(file)?, file.components().count(), file)))
            .collect();
        lists.sort();
        let Some((rank, _, top)) = lists.first().copied() else {
            return self.numbered_class_names(report);
        };
        let root = self.inventory.root();
        let lists: Vec<&PathBuf> = (lists.iter())
            .filter(|(other, ..)| *other == rank)
            .map(|(_, _, list)| *list)
            .collect();
        let nearest = |folder: &Path| {
            let folder = folder.strip_prefix(root).unwrap_or(Path::new(""));
            let common = |list: &Path| {
                let pairs = list.iter().zip(folder.iter());
                pairs.take_while(|(a, b)| a == b).count()
            };
            // On a tie, `max_by_key` returns the last.
            let lists = lists.iter().rev().copied();
            lists.max_by_key(|list| common(list)).unwrap_or(top)
        };
        let mut used: Vec<&PathBuf> = Vec::new();
        for folder in labels {
            let list = nearest(folder);
            if !used.contains(&list) {
                used.push(list);
            }
        }
        let first = used.first().copied().unwrap_or(top);
        let names = class_names(&root.join(first))?;
        let role_of = |list: &Path| self.inventory.role_of(list);
        let role = role_of(first);
        for other in lists.into_iter().filter(|other| *other != first) {
            let is_used = used.contains(&other);
            // Another split may have its own list.
            let is_of_another = role_of(other).is_some() && role_of(other) != role;
            if (is_of_another && !is_used) || class_names(&root.join(other))? == names {
                continue;
            }
            if is_used {
                return Err(DataError::Annotations {
                    path: root.join(other),
                    cause: format!(
                        "the classes differ from {}, which other labels of the same split use",
                        first.display()
                    ),
                });
            }
            report.note(format!(
                "{} and {} differ; the classes of the first are used",
                first.display(),
                other.display()
            ));
        }
        Ok(names)
    }

    /// The names `class_0`, `class_1`, …, as Ultralytics has them, if the description states only the number of classes.
    fn numbered_class_names(&self, report: &mut LoadReport) -> Result<Vec<String>, DataError> {
        /// A description may state any number.
        const MOST: usize = 10_000;
        let cause = match (self.description.classes, &self.description.names_file) {
            (_, Some(file)) => format!(
                "no class names: {} does not exist, and classes.txt was not found",
                shown(file)
            ),
            (Some(classes @ 1..=MOST), None) => {
                report.remark(match classes {
                    1 => "no class names: the only class is called class_0".to_string(),
                    _ => format!(
                        "no class names: the {classes} classes are called class_0 to class_{}",
                        classes - 1
                    ),
                });
                return Ok((0..classes).map(|class| format!("class_{class}")).collect());
            }
            (Some(classes @ 1..), None) => {
                format!("no class names for {classes} classes; at most {MOST} are numbered")
            }
            _ if self.description.splits.is_empty() => {
                let below = descriptions(&self.inventory);
                if !below.is_empty() {
                    return Err(several_descriptions(&self.base, below.into_iter()));
                }
                "no class names: neither data.yaml nor classes.txt was found".into()
            }
            _ => "no class names: the description has no 'names', and classes.txt was not found"
                .into(),
        };
        Err(DataError::Annotations {
            path: self.base.clone(),
            cause,
        })
    }

    /// A path for messages, relative to the folder of the data set if it is inside.
    fn below(&self, path: &Path) -> String {
        let mut inside = (self.roots.iter()).filter_map(|root| path.strip_prefix(root).ok());
        let inside = inside.next();
        inside.unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// The images of a split and other findings in its folders.
#[derive(Debug, Default)]
struct Images {
    paths: Vec<PathBuf>,
    /// Image files in unsupported formats.
    unread: Vec<PathBuf>,
    /// Folders whose label files belong to the split.
    folders: BTreeSet<PathBuf>,
    /// Repeated images, missing folders, and what was not searched.
    report: LoadReport,
}

impl YoloSplit {
    fn of(set: &Arc<YoloSet>, name: impl Into<String>, places: Vec<ImagePlace>) -> Split {
        let name = name.into();
        let split = Self {
            set: Arc::clone(set),
            name: name.clone(),
            places,
            images: OnceLock::new(),
        };
        Split::new(name, split)
    }

    /// The images of all places, without repetitions.
    fn images(&self) -> Result<&Images, DataError> {
        match self.images.get() {
            Some(images) => Ok(images),
            None => {
                let images = self.search()?;
                Ok(self.images.get_or_init(|| images))
            }
        }
    }

    fn search(&self) -> Result<Images, DataError> {
        let mut images = Images::default();
        let mut first_missing = None;
        let mut read = HashSet::new();
        for place in &self.places {
            match place {
                ImagePlace::Path(path) if !read.insert(path) => {
                    images.report.record(Finding::Repeated, path.display());
                }
                ImagePlace::Path(path) if path.is_file() => self.listed(path, &mut images)?,
                ImagePlace::Path(path) if path.is_dir() => self.in_folder(path, &mut images)?,
                ImagePlace::Path(path) => first_missing = first_missing.or(Some(path)),
                ImagePlace::Files(files) => {
                    for file in files {
                        images.add(file.clone());
                    }
                }
            }
        }
        if let (true, Some(path)) = (images.paths.is_empty(), first_missing) {
            let path = path.clone();
            return Err(DataError::MissingFolder { path });
        }
        if let Some(path) = first_missing {
            images
                .report
                .note(format!("{}: no such folder", path.display()));
        }
        let mut seen = HashSet::with_capacity(images.paths.len());
        let paths = std::mem::take(&mut images.paths);
        for path in paths {
            match seen.contains(&path) {
                true => images
                    .report
                    .record(Finding::Repeated, self.set.below(&path)),
                false => {
                    seen.insert(path.clone());
                    images.paths.push(path);
                }
            }
        }
        Ok(images)
    }

    fn in_folder(&self, folder: &Path, images: &mut Images) -> Result<(), DataError> {
        let own = &self.set.inventory;
        let relative = folder.strip_prefix(own.root()).ok().filter(|relative| {
            let mut parts = relative.components();
            parts.all(|part| matches!(part, Component::Normal(_)))
        });
        let files = relative.map_or(&[][..], |relative| own.under(relative));
        let other;
        let (inventory, files) = match files.is_empty() {
            false => (own.as_ref(), files),
            // A folder outside, or a link to one.
            true => {
                other = Inventory::of(folder)?;
                other
                    .omissions()
                    .into_iter()
                    .for_each(|omission| images.report.note(omission));
                (&other, other.files())
            }
        };
        images.folders.insert(folder.to_path_buf());
        for file in files {
            images.add(inventory.root().join(file));
        }
        Ok(())
    }

    /// Adds the images of a list, in its order.
    fn listed(&self, list: &Path, images: &mut Images) -> Result<(), DataError> {
        let text = read_text(list)?;
        let base = list.parent().unwrap_or(Path::new("")).to_path_buf();
        let roots = [vec![base], self.set.roots.clone()].concat();
        let finder = ImageFinder::new(Arc::clone(&self.set.inventory), roots);
        let finder = finder.of_split(&self.name);
        let role = Role::of_split(&self.name);
        let located = lines(&text).map(|(line, name)| {
            let path = finder
                .find(name)
                .or_else(|_| self.set.finder.find_in(name, role));
            let path = path.map_err(|cause| DataError::Line {
                path: list.to_path_buf(),
                line,
                cause,
            })?;
            Ok(Located {
                name: Cow::Borrowed(name),
                path,
            })
        });
        let located: Vec<Located> = located.collect::<Result<_, _>>()?;
        let paths = settle(&finder, &located, &[], &mut images.report);
        let paths = paths.map_err(|cause| DataError::Annotations {
            path: list.to_path_buf(),
            cause,
        })?;
        images.paths.extend(paths);
        Ok(())
    }

    /// Adds a remark or note about images without a label file. Label files with matching names elsewhere suggest a
    /// problem, which makes it a note.
    fn report_unlabeled(
        &self,
        unlabeled: &[&PathBuf],
        used: &HashSet<&Path>,
        report: &mut LoadReport,
    ) {
        let (mut without, mut elsewhere) = (Tally::default(), Tally::default());
        let inventory = &self.set.inventory;
        for image in unlabeled {
            without.add(self.set.below(image));
            let same = inventory.with_stem(&stem(image));
            let labels = same.filter(|file| has_extension(file, "txt"));
            let unused =
                labels.filter(|file| !used.contains(inventory.root().join(file).as_path()));
            if let Some(file) = unused.into_iter().next() {
                elsewhere.add(file.display());
            }
        }
        match (without.count, elsewhere.count) {
            (0, _) => {}
            (_, 0) => report.remark(format!("images without a label file, treated as background: {without}")),
            _ => report.note(format!(
                "images without a label file in the expected folder: {without}; label files with matching names elsewhere: \
                 {elsewhere}"
            )),
        }
    }

    /// Records image files in unsupported formats.
    fn record_unread(&self, images: &Images, report: &mut LoadReport) {
        for path in &images.unread {
            report.record(Finding::UnreadFormat, self.set.below(path));
        }
    }

    /// Records label files in the folders of the split that belong to none of its images.
    fn record_orphans(&self, images: &Images, used: &HashSet<&Path>, report: &mut LoadReport) {
        let inventory = &self.set.inventory;
        let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
        for folder in &images.folders {
            let places = expected_places(&folder.join("image")).into_iter();
            folders.extend(places.filter_map(|file| Some(file.parent()?.to_path_buf())));
        }
        let mut seen = HashSet::new();
        for folder in folders {
            let Ok(relative) = folder.strip_prefix(inventory.root()) else {
                continue;
            };
            for file in inventory.under(relative) {
                let path = inventory.root().join(file);
                if !has_extension(file, "txt")
                    || used.contains(path.as_path())
                    || !seen.insert(file)
                {
                    continue;
                }
                if !self.set.labels.has_image(file)
                    && read_text(&path).is_ok_and(|text| is_label_text(&text))
                {
                    report.record(Finding::LabelsWithoutImage, file.display());
                }
            }
        }
    }
}

impl Images {
    fn add(&mut self, path: PathBuf) {
        if is_image(&path) {
            self.note_folder(&path);
            self.paths.push(path);
        } else if is_unread_image(&path) {
            self.note_folder(&path);
            self.unread.push(path);
        }
    }

    fn note_folder(&mut self, path: &Path) {
        if let Some(folder) = path.parent()
            && !self.folders.contains(folder)
        {
            self.folders.insert(folder.to_path_buf());
        }
    }
}

/// The labels of an image, with their line numbers.
struct LabelFile {
    path: PathBuf,
    labels: Vec<(usize, Label)>,
}

fn read_labels(path: PathBuf, format: LabelFormat) -> Result<LabelFile, DataError> {
    let text = read_text(&path)?;
    let labels = lines(&text).map(|(line, text)| match Label::parse(text, format) {
        Ok(label) => Ok((line, label)),
        Err(cause) => Err(DataError::Line {
            path: path.clone(),
            line,
            cause,
        }),
    });
    let labels = labels.collect::<Result<_, _>>()?;
    Ok(LabelFile { path, labels })
}

impl SplitReader for YoloSplit {
    fn describe(&self) -> Result<Description, DataError> {
        let set = &self.set;
        let images = self.images()?;
        let mut report = images.report.clone();
        self.record_unread(images, &mut report);
        if images.paths.is_empty() {
            return Err(self.no_images(&report));
        }
        let paths: Vec<Option<LabelPath>> = (images.paths.par_iter())
            .map(|image| set.labels.of(image))
            .collect();
        let folders = paths
            .iter()
            .flatten()
            .filter_map(|labels| labels.path.parent());
        // Labels of another format may be in the places of label files.
        let advice = |error: DataError| {
            let first = paths.iter().flatten().next();
            match first.and_then(|labels| Some((&labels.path, advice_on(&labels.path)?))) {
                Some((path, advice)) => DataError::Annotations {
                    path: path.clone(),
                    cause: advice.into(),
                },
                None => error,
            }
        };
        let names = set.class_names(&folders.collect(), &mut report);
        let names = names.map_err(advice)?;
        let mut elsewhere = Tally::default();
        for labels in paths.iter().flatten().filter(|labels| !labels.is_expected) {
            elsewhere.add(set.below(&labels.path));
        }
        if elsewhere.count > 0 {
            report.remark(format!(
                "label files outside the expected folders, matched by name: {elsewhere}"
            ));
        }
        let format = LabelFormat {
            classes: names.len(),
            keypoints: set
                .description
                .keypoints
                .map(|[points, numbers]| points.saturating_mul(numbers)),
            oriented: set.description.task.as_deref() == Some("obb"),
        };
        let files: Vec<Result<Option<LabelFile>, DataError>> = (paths.into_par_iter())
            .map(|labels| {
                labels
                    .map(|labels| read_labels(labels.path, format))
                    .transpose()
            })
            .collect();
        // Report the first of several errors.
        let mut files: Vec<Option<LabelFile>> = files.into_iter().collect::<Result<_, _>>()?;
        settle_labels(&mut files)?;
        let used: HashSet<&Path> = files
            .iter()
            .flatten()
            .map(|file| file.path.as_path())
            .collect();
        let unlabeled = images
            .paths
            .iter()
            .zip(&files)
            .filter(|(_, file)| file.is_none());
        let unlabeled: Vec<&PathBuf> = unlabeled.map(|(image, _)| image).collect();
        self.report_unlabeled(&unlabeled, &used, &mut report);
        self.record_orphans(images, &used, &mut report);
        let (mut scores, mut tracks) = (Tally::default(), Tally::default());
        for file in files.iter().flatten() {
            for (line, label) in &file.labels {
                let place = format_args!("{} line {line}", set.below(&file.path));
                if label.has_score {
                    scores.add(place);
                } else if label.is_track() {
                    tracks.add(place);
                }
            }
        }
        if scores.count > 0 {
            report.remark(format!("scores after boxes, ignored: {scores}"));
        }
        if tracks.count > 0 {
            report.remark(format!(
                "scores and numbers of tracks after boxes, ignored: {tracks}"
            ));
        }
        let searched = searched(&images.paths, |path| set.below(path));

        let annotated = images.paths.iter().zip(files).map(|(path, file)| {
            let file_name = set.below(path);
            let labels = file.map(|file| file.labels).unwrap_or_default();
            let objects = labels.into_iter().map(|(line, label)| AnnotatedObject {
                id: None,
                outline: label.outline,
                label: label.class,
                annotated_area: None,
                iscrowd: false,
                place: Place::Line(line),
            });
            AnnotatedImage {
                id: None,
                source: file_name.clone(),
                file_name,
                path: path.clone(),
                stated_size: None,
                objects: objects.collect(),
            }
        });
        Ok(Description {
            name: title(&set.base, &self.name),
            layout: Layout::Yolo,
            categories: Category::list(names),
            images: annotated.collect(),
            searched,
            report,
        })
    }

    fn annotated(&self) -> usize {
        let is_labeled = |image: &&PathBuf| self.set.labels.of(image).is_some();
        self.images().map_or(0, |images| {
            images.paths.par_iter().filter(is_labeled).count()
        })
    }

    fn is_empty(&self) -> bool {
        match self.images() {
            Ok(images) => images.paths.is_empty(),
            Err(error) => matches!(error, DataError::MissingFolder { .. }),
        }
    }

    fn has_objects(&self) -> bool {
        // An unreadable file may have some: reading the split then reports the error.
        let has_lines = |labels: LabelPath| {
            read_text(&labels.path).map_or(true, |text| lines(&text).next().is_some())
        };
        let has_objects = |image: &PathBuf| self.set.labels.of(image).is_some_and(has_lines);
        self.images()
            .map_or(true, |images| images.paths.par_iter().any(has_objects))
    }

    fn members(&self) -> HashSet<PathBuf> {
        let images = self.images().map(|images| images.paths.iter().cloned());
        images.map(Iterator::collect).unwrap_or_default()
    }

    fn left_out(&self) -> LoadReport {
        let mut report = LoadReport::default();
        if let Ok(images) = self.images() {
            let labels = images
                .paths
                .par_iter()
                .map(|image| self.set.labels.of(image));
            let labels: Vec<Option<LabelPath>> = labels.collect();
            let used = labels.iter().flatten().map(|labels| labels.path.as_path());
            let used: HashSet<&Path> = used.collect();
            let unlabeled = images.paths.iter().zip(&labels);
            let unlabeled = unlabeled.filter(|(_, labels)| labels.is_none());
            let unlabeled: Vec<&PathBuf> = unlabeled.map(|(image, _)| image).collect();
            self.record_unread(images, &mut report);
            self.report_unlabeled(&unlabeled, &used, &mut report);
            self.record_orphans(images, &used, &mut report);
        }
        report
    }
}

impl YoloSplit {
    fn no_images(&self, report: &LoadReport) -> DataError {
        let place = |place: &ImagePlace| match place {
            ImagePlace::Path(path) => Cow::Owned(path.display().to_string()),
            ImagePlace::Files(_) => Cow::Borrowed("images"),
        };
        let places: Vec<Cow<str>> = self.places.iter().map(place).collect();
        let unread = report.tally(Finding::UnreadFormat);
        let unread = match unread.count {
            0 => String::new(),
            _ => format!("; {}: {unread}", Finding::UnreadFormat),
        };
        DataError::Annotations {
            path: self.set.base.clone(),
            cause: format!(
                "split '{}' has no images in {}{unread}",
                self.name,
                places.join(", ")
            ),
        }
    }
}

/// Decides what single lines leave open: whether labels are boxes of a tracker or polygons. Fails if they are oriented
/// boxes or poses.
fn settle_labels(files: &mut [Option<LabelFile>]) -> Result<(), DataError> {
    let labels = files.iter().flatten().flat_map(|file| &file.labels);
    let labels = labels.map(|(_, label)| label);
    if are_tracks(labels.clone()) {
        let labels = files.iter_mut().flatten().flat_map(|file| &mut file.labels);
        labels.for_each(|(_, label)| label.read_as_track());
        return Ok(());
    }
    // A cause that all labels have in common is reported with the first.
    let cause = refusal(labels);
    let fault = files.iter().flatten().find_map(|file| {
        let mut labels = file.labels.iter();
        labels.find_map(|(line, label)| {
            let own = || label.refusal_without_tracks().map(str::to_string);
            Some(DataError::Line {
                path: file.path.clone(),
                line: *line,
                cause: cause.clone().or_else(own)?,
            })
        })
    });
    fault.map_or(Ok(()), Err)
}

/// The first few folders where label files of these images were searched for.
fn searched(images: &[PathBuf], below: impl Fn(&Path) -> String) -> String {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut last = None;
    for image in images {
        if image.parent() == last {
            continue;
        }
        last = image.parent();
        for file in expected_places(image) {
            let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        if folders.len() >= 6 {
            break;
        }
    }
    let names: Vec<String> = folders
        .iter()
        .map(|folder| below(&folder.join("*.txt")))
        .collect();
    names.join(", ")
}
