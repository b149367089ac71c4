//! YOLO: one text file per image, in folders that `data.yaml` names or that are recognized by their names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::description::{AnnotatedImage, AnnotatedObject, Description, Place};
use super::image_finder::{ImageFinder, plain, slashed};
use super::inventory::{Inventory, unique_max};
use super::split::{Found, ONLY_SPLIT, Split, SplitReader, names_split, split_of, title};
use super::yolo_description::{YoloDescription, class_names};
use super::yolo_label::{Label, LabelFormat, ORIENTED, are_oriented, is_label_text};
use crate::decoding::{is_image, is_unread_image};
use crate::files::{file_name, lines, read_text, stem};
use crate::{Category, DataError, DetectionDataset, Finding, Layout, LoadReport, Tally};

impl DetectionDataset {
    /// Reads one split of a YOLO folder: `data.yaml`, `obj.data`, or images and label files in folders of any name, with
    /// `classes.txt`.
    ///
    /// Labels are `class cx cy w h` in units of the image's upright size, or polygons, which become their bounding
    /// boxes. The label file of an image is at its path with the last folder `images` replaced by `labels`, or next to
    /// the image.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`] or [`DataError::SplitNotNamed`]. [`DataError::Annotations`] or [`DataError::Line`] if
    /// `data.yaml`, the class list, a list of images or a label is malformed. The error of an image if none can be read.
    pub fn yolo(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        let found = find(&Arc::new(Inventory::of(dir)?), None)?;
        let found = found.ok_or_else(|| DataError::Annotations {
            path: dir.to_path_buf(),
            cause: "no YOLO data set: neither data.yaml nor label files were found".into(),
        })?;
        found.choose(dir, split)?.reader.describe()?.assemble()
    }
}

/// What the splits of a data set have in common.
#[derive(Debug)]
struct YoloSet {
    /// The files of the folder that places are in.
    inventory: Arc<Inventory>,
    /// The folder of the description.
    base: PathBuf,
    /// What places are relative to, in search order.
    roots: Vec<PathBuf>,
    description: YoloDescription,
    finder: ImageFinder,
}

#[derive(Debug)]
struct YoloSplit {
    set: Arc<YoloSet>,
    name: String,
    places: Vec<ImagePlace>,
}

/// Where images of a split are.
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
    let Some((evidence, description)) = described(inventory, given)? else {
        return match given {
            Some(_) => Ok(None),
            None => undescribed(inventory),
        };
    };
    let base = evidence.parent().unwrap_or(Path::new(""));
    let set = YoloSet::new(inventory, base, description)?;
    let evidence = evidence.display().to_string();
    if set.description.splits.is_empty() {
        return Ok(Some(set.by_folder(evidence)));
    }
    let set = Arc::new(set);
    let mut resolved: HashMap<&str, PathBuf> = HashMap::new();
    let mut splits = Vec::new();
    for (name, places) in &set.description.splits {
        let mut paths = Vec::with_capacity(places.len());
        for place in places {
            let path = resolved.entry(place).or_insert_with(|| set.resolve(place));
            paths.push(ImagePlace::Path(path.clone()));
        }
        let split = YoloSplit {
            set: Arc::clone(&set),
            name: name.clone(),
            places: paths,
        };
        splits.push(Split::new(name, split));
    }
    Ok(Some(Found::new(Layout::Yolo, evidence, splits)))
}

/// The file that describes a data set, and what it says: the given one, `data.yaml`, another YAML file at the top,
/// `*.data`, or the only `data.yaml` in a subfolder.
fn described(
    inventory: &Inventory,
    given: Option<&Path>,
) -> Result<Option<(PathBuf, YoloDescription)>, DataError> {
    let candidates: Vec<&Path> = match given {
        Some(file) => vec![file],
        None => inventory.files().iter().map(PathBuf::as_path).collect(),
    };
    let read = |file: &Path| {
        let path = inventory.root().join(file);
        match is_yaml(file) {
            true => YoloDescription::of_yaml(&path),
            false => YoloDescription::of_darknet(&path),
        }
    };
    let is_top = |file: &&Path| given.is_some() || file.parent() == Some(Path::new(""));
    let is_named =
        |file: &&Path| is_yaml(file) && matches!(stem(file).as_str(), "data" | "dataset");
    let top: Vec<&Path> = candidates.iter().copied().filter(is_top).collect();
    let yaml: Vec<&Path> = top.iter().copied().filter(|file| is_yaml(file)).collect();
    // A single file is expected to be about the data, even if it is malformed. Of several, some may be about anything.
    let certain = yaml.iter().copied().find(is_named).or(match yaml[..] {
        [only] => Some(only),
        _ => None,
    });
    if let Some(file) = certain {
        let description = read(file)?;
        if description.is_about_data() || is_named(&file) {
            return Ok(Some((file.to_path_buf(), description)));
        }
    }
    let is_darknet = |file: &&Path| file.extension().is_some_and(|found| found == "data");
    let darknet = top.iter().copied().filter(is_darknet);
    let mut described: Vec<(PathBuf, YoloDescription)> = (yaml.iter().copied().chain(darknet))
        .filter_map(|file| Some((file.to_path_buf(), read(file).ok()?)))
        .filter(|(_, description)| description.is_about_data())
        .collect();
    described.sort_by_key(|(_, description)| description.splits.is_empty());
    if let Some(first) = described.into_iter().next() {
        return Ok(Some(first));
    }
    let depth = |file: &Path| file.components().count();
    let below = candidates.iter().copied().filter(is_named);
    match unique_max(below, |file| usize::MAX - depth(file)) {
        Some(file) => Ok(Some((file.to_path_buf(), read(file)?))),
        None => Ok(None),
    }
}

fn is_yaml(file: &Path) -> bool {
    let extension = file.extension();
    extension.is_some_and(|found| {
        found.eq_ignore_ascii_case("yaml") || found.eq_ignore_ascii_case("yml")
    })
}

/// A data set of images with label files, without a description.
fn undescribed(inventory: &Arc<Inventory>) -> Result<Option<Found>, DataError> {
    let images = inventory.images();
    let labeled = images.filter(|image| has_labels(inventory, image)).count();
    let is_folder = |name: &&str| inventory.root().join(name).is_dir();
    let evidence = match labeled {
        0 if ["images", "labels"].iter().all(is_folder) => "folders images and labels".to_string(),
        0 => return Ok(None),
        count => format!("{count} images with label files"),
    };
    let set = YoloSet::new(inventory, Path::new(""), YoloDescription::default())?;
    let lists = list_files(inventory);
    if lists.is_empty() {
        return Ok(Some(set.by_folder(evidence)));
    }
    let set = Arc::new(set);
    let splits = lists.into_iter().map(|list| {
        let name = stem(&list);
        let split = YoloSplit {
            set: Arc::clone(&set),
            name: name.clone(),
            places: vec![ImagePlace::Path(inventory.root().join(list))],
        };
        Split::new(name, split)
    });
    let found = Found::new(Layout::Yolo, evidence, splits.collect());
    Ok(Some(found))
}

/// Lists of images such as `train.txt`.
fn list_files(inventory: &Inventory) -> Vec<PathBuf> {
    let names_images = |file: &Path| {
        let text = read_text(&inventory.root().join(file)).unwrap_or_default();
        lines(&text)
            .next()
            .is_some_and(|(_, first)| is_image(Path::new(&slashed(first))))
    };
    let at_top = inventory
        .with_extension("txt")
        .filter(|file| file.parent() == Some(Path::new("")));
    let lists = at_top.filter(|file| names_split(&stem(file)) && names_images(file));
    lists.cloned().collect()
}

/// Whether an image of an inventory has a label file.
fn has_labels(inventory: &Inventory, image: &Path) -> bool {
    label_files(image)
        .iter()
        .any(|file| inventory.contains(file))
}

/// Where the label file of an image may be: its path with the last folder `images` replaced by `labels`, or next to it.
fn label_files(image: &Path) -> Vec<PathBuf> {
    let beside = image.with_extension("txt");
    let parts: Vec<Component> = image.components().collect();
    let replacement = |part: &Component| match part.as_os_str().to_str()? {
        "images" | "JPEGImages" => Some("labels"),
        "Images" => Some("Labels"),
        "IMAGES" => Some("LABELS"),
        _ => None,
    };
    let Some(last) = parts.iter().rposition(|part| replacement(part).is_some()) else {
        return vec![beside];
    };
    let swap = |(position, part): (usize, &Component)| match replacement(part) {
        Some(labels) if last == position => labels.into(),
        _ => part.as_os_str().to_os_string(),
    };
    let swapped: PathBuf = parts.iter().enumerate().map(swap).collect();
    vec![swapped.with_extension("txt"), beside]
}

impl YoloSet {
    /// The set in the folder of an inventory, or in the one that its description names if that is on this machine. The
    /// description is in `base`, relative to the inventory.
    fn new(
        inventory: &Arc<Inventory>,
        base: &Path,
        description: YoloDescription,
    ) -> Result<Self, DataError> {
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
        let mut roots = vec![base.clone()];
        let mut inventory = Arc::clone(inventory);
        if plain(inventory.root()) != plain(&base) {
            roots.push(inventory.root().to_path_buf());
        }
        match stated {
            Some(stated) if holds_places(&stated) => {
                if !plain(&stated).starts_with(plain(inventory.root())) {
                    inventory = Arc::new(Inventory::of(&stated)?);
                }
                roots.insert(0, stated);
            }
            stated => roots.extend(stated),
        }
        Ok(Self {
            finder: ImageFinder::new(Arc::clone(&inventory), roots.clone()),
            inventory,
            base,
            roots,
            description,
        })
    }

    /// The splits of images in folders: by the names of the folders, or a single one.
    fn by_folder(self, evidence: String) -> Found {
        let set = Arc::new(self);
        let inventory = &set.inventory;
        let folder = |image: &Path| image.parent().unwrap_or(Path::new("")).to_path_buf();
        let labeled = inventory
            .images()
            .filter(|image| has_labels(inventory, image));
        let labeled: HashSet<PathBuf> = labeled.map(|image| folder(image)).collect();
        // Other images, such as plots, are not of the data set.
        let is_of_set = |image: &Path| {
            labeled.contains(&folder(image)) || image.iter().any(|part| part == "images")
        };
        let files = inventory.files().iter();
        let images =
            files.filter(|file| (is_image(file) || is_unread_image(file)) && is_of_set(file));
        let mut splits: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
        for image in images {
            let path = inventory.root().join(image);
            splits
                .entry(split_of(image).unwrap_or(ONLY_SPLIT))
                .or_default()
                .push(path);
        }
        if splits.is_empty() {
            splits.insert(ONLY_SPLIT, Vec::new());
        }
        let splits = splits.into_iter().map(|(name, files)| {
            let split = YoloSplit {
                set: Arc::clone(&set),
                name: name.to_string(),
                places: vec![ImagePlace::Files(files)],
            };
            Split::new(name, split)
        });
        Found::new(Layout::Yolo, evidence, splits.collect())
    }

    /// Where a folder or list of images is: in the folder of the data set; there without the leading `..` of Roboflow's
    /// exports; as given; or there without leading folders, for paths on another machine. Folders that name the split are
    /// kept.
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
            .unwrap_or_else(|| self.base.join(inside))
    }

    /// The class names of the description, or of a list of classes.
    fn class_names(&self, report: &mut LoadReport) -> Result<Vec<String>, DataError> {
        let names = match (&self.description.names, &self.description.names_file) {
            (Some(names), _) => names.clone(),
            (None, Some(file)) if self.resolve(file).is_file() => class_names(&self.resolve(file))?,
            _ => self.listed_class_names(report)?,
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

    fn listed_class_names(&self, report: &mut LoadReport) -> Result<Vec<String>, DataError> {
        let rank = |file: &Path| match file_name(file).to_lowercase().as_str() {
            "classes.txt" => Some(0),
            "obj.names" | "classes.names" => Some(1),
            "_darknet.labels" => Some(2),
            "notes.json" => Some(3),
            name if name.ends_with(".names") => Some(4),
            "labels.txt" | "predefined_classes.txt" => Some(5),
            _ => None,
        };
        let files = self.inventory.files().iter();
        let mut lists: Vec<(usize, usize, &PathBuf)> = files
            .filter_map(|file| Some((rank(file)?, file.components().count(), file)))
            .collect();
        lists.sort();
        let Some((rank, _, first)) = lists.first().copied() else {
            return Err(match self.description.classes {
                _ if self.description.splits.is_empty() => DataError::Annotations {
                    path: self.base.clone(),
                    cause: "no class names: neither data.yaml nor classes.txt was found".into(),
                },
                _ => DataError::Annotations {
                    path: self.base.clone(),
                    cause: "no class names: the description has no 'names', and classes.txt was not found".into(),
                },
            });
        };
        let names = class_names(&self.inventory.root().join(first))?;
        for (_, _, other) in lists.iter().filter(|(other, ..)| *other == rank).skip(1) {
            if class_names(&self.inventory.root().join(other))? != names {
                report.note(format!(
                    "{} and {} differ; the first one is used",
                    first.display(),
                    other.display()
                ));
            }
        }
        Ok(names)
    }

    /// A path for messages: relative to the data set's folder if it is inside.
    fn below(&self, path: &Path) -> String {
        let mut inside = (self.roots.iter()).filter_map(|root| path.strip_prefix(root).ok());
        let inside = inside.next();
        inside.unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// The images of a split and what else is among them.
#[derive(Default)]
struct Images {
    paths: Vec<PathBuf>,
    /// Image files in unsupported formats.
    unread: Vec<PathBuf>,
    /// Folders whose label files belong to the split.
    folders: BTreeSet<PathBuf>,
}

impl YoloSplit {
    /// The images of all places, each once.
    fn images(&self, report: &mut LoadReport) -> Result<Images, DataError> {
        let mut images = Images::default();
        let mut first_missing = None;
        let mut read = HashSet::new();
        for place in &self.places {
            match place {
                ImagePlace::Path(path) if !read.insert(path) => {
                    report.record(Finding::Repeated, path.display());
                }
                ImagePlace::Path(path) if path.is_file() => self.listed(path, &mut images)?,
                ImagePlace::Path(path) if path.is_dir() => self.in_folder(path, &mut images)?,
                ImagePlace::Path(path) => drop(first_missing.get_or_insert(path)),
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
            report.note(format!("{}: no such folder", path.display()));
        }
        let mut seen = HashSet::with_capacity(images.paths.len());
        let paths = std::mem::take(&mut images.paths);
        for path in paths {
            match seen.contains(&path) {
                true => report.record(Finding::Repeated, self.set.below(&path)),
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
        let other;
        let (inventory, files) = match relative {
            Some(relative) => (own.as_ref(), own.under(relative)),
            None => {
                other = Inventory::of(folder)?;
                (&other, other.files())
            }
        };
        images.folders.insert(folder.to_path_buf());
        for file in files {
            images.add(inventory.root().join(file));
        }
        Ok(())
    }

    /// The images of a list, in its order.
    fn listed(&self, list: &Path, images: &mut Images) -> Result<(), DataError> {
        let text = read_text(list)?;
        let base = list.parent().unwrap_or(Path::new("")).to_path_buf();
        let roots = [vec![base], self.set.roots.clone()].concat();
        let finder = ImageFinder::new(Arc::clone(&self.set.inventory), roots);
        for (line, name) in lines(&text) {
            let path = finder.find(name).or_else(|_| self.set.finder.find(name));
            images.paths.push(path.map_err(|cause| DataError::Line {
                path: list.to_path_buf(),
                line,
                cause,
            })?);
        }
        Ok(())
    }

    /// The remark or note about images without a label file. Label files with matching names elsewhere are a sign of a
    /// problem.
    fn tell_unlabeled(
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
            let labels = same.filter(|file| file.extension().is_some_and(|found| found == "txt"));
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

    /// Image files of formats that are not read.
    fn record_unread(&self, images: &Images, report: &mut LoadReport) {
        for path in &images.unread {
            report.record(Finding::UnreadFormat, self.set.below(path));
        }
    }

    /// Label files in the places of the split that belong to none of its images.
    fn record_orphans(&self, images: &Images, report: &mut LoadReport) {
        let inventory = &self.set.inventory;
        let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
        for folder in &images.folders {
            let of_image = label_files(&folder.join("image"));
            folders.extend(
                of_image
                    .iter()
                    .filter_map(|file| Some(file.parent()?.to_path_buf())),
            );
        }
        let of_images = images.unread.iter().chain(&images.paths);
        let expected: HashSet<PathBuf> = of_images.flat_map(|image| label_files(image)).collect();
        let mut seen = HashSet::new();
        for folder in folders {
            let Ok(relative) = folder.strip_prefix(inventory.root()) else {
                continue;
            };
            for file in inventory.under(relative) {
                let path = inventory.root().join(file);
                let is_text = file.extension().is_some_and(|extension| extension == "txt");
                if !is_text || expected.contains(&path) || !seen.insert(file) {
                    continue;
                }
                if read_text(&path).is_ok_and(|text| is_label_text(&text)) {
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

/// The labels of an image, with their lines.
struct LabelFile {
    path: PathBuf,
    labels: Vec<(usize, Label)>,
}

/// The label file of an image; `None` if it has none.
fn read_labels(image: &Path, format: LabelFormat) -> Result<Option<LabelFile>, DataError> {
    let is_absent = |error: &DataError| {
        matches!(error, DataError::Io { source, .. }
        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    };
    for path in label_files(image) {
        let text = match read_text(&path) {
            Err(error) if is_absent(&error) => continue,
            text => text?,
        };
        let labels = lines(&text).map(|(line, text)| match Label::parse(text, format) {
            Ok(label) => Ok((line, label)),
            Err(cause) => Err(DataError::Line {
                path: path.clone(),
                line,
                cause,
            }),
        });
        let labels = labels.collect::<Result<_, _>>()?;
        return Ok(Some(LabelFile { path, labels }));
    }
    Ok(None)
}

impl SplitReader for YoloSplit {
    fn describe(&self) -> Result<Description, DataError> {
        let set = &self.set;
        let mut report = LoadReport::default();
        let names = set.class_names(&mut report)?;
        let images = self.images(&mut report)?;
        self.record_unread(&images, &mut report);
        if images.paths.is_empty() {
            return Err(self.no_images(&report));
        }
        let format = LabelFormat {
            classes: names.len(),
            keypoints: set
                .description
                .keypoints
                .map(|[points, numbers]| points.saturating_mul(numbers)),
            oriented: set.description.task.as_deref() == Some("obb"),
        };
        let files: Vec<Option<LabelFile>> = (images.paths.par_iter())
            .map(|image| read_labels(image, format))
            .collect::<Result<_, _>>()?;
        require_upright(&files)?;
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
        self.tell_unlabeled(&unlabeled, &used, &mut report);
        self.record_orphans(&images, &mut report);
        let searched = searched(&images.paths, |path| set.below(path));

        let annotated = images.paths.into_iter().zip(files).map(|(path, file)| {
            let file_name = set.below(&path);
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
                path,
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
        let images = self.images(&mut LoadReport::default()).unwrap_or_default();
        let is_labeled = |image: &&PathBuf| label_files(image).iter().any(|file| file.is_file());
        images.paths.iter().filter(is_labeled).count()
    }

    fn is_empty(&self) -> bool {
        match self.images(&mut LoadReport::default()) {
            Ok(images) => images.paths.is_empty(),
            Err(error) => matches!(error, DataError::MissingFolder { .. }),
        }
    }

    fn left_out(&self) -> LoadReport {
        let mut report = LoadReport::default();
        if let Ok(images) = self.images(&mut LoadReport::default()) {
            self.record_unread(&images, &mut report);
            self.record_orphans(&images, &mut report);
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

/// Fails if the labels are oriented boxes.
fn require_upright(files: &[Option<LabelFile>]) -> Result<(), DataError> {
    let labels = files.iter().flatten().flat_map(|file| &file.labels);
    if !are_oriented(labels.map(|(_, label)| label)) {
        return Ok(());
    }
    let first = files
        .iter()
        .flatten()
        .find_map(|file| Some((file, file.labels.first()?)));
    first.map_or(Ok(()), |(file, (line, _))| {
        Err(DataError::Line {
            path: file.path.clone(),
            line: *line,
            cause: ORIENTED.into(),
        })
    })
}

/// Where label files of these images were searched for: the first few folders.
fn searched(images: &[PathBuf], below: impl Fn(&Path) -> String) -> String {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut last = None;
    for image in images {
        if image.parent() == last {
            continue;
        }
        last = image.parent();
        for file in label_files(image) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_files_are_in_a_folder_beside_the_images_or_beside_them() {
        let files = |image: &str| -> Vec<String> {
            let files = label_files(Path::new(image)).into_iter();
            files.map(|file| file.display().to_string()).collect()
        };
        assert_eq!(
            files("/d/images/train/a.jpg"),
            ["/d/labels/train/a.txt", "/d/images/train/a.txt"]
        );
        assert_eq!(
            files("/images/d/train/images/a.b.png")[0],
            "/images/d/train/labels/a.b.txt"
        );
        assert_eq!(files("flat/a.jpg"), ["flat/a.txt"]);
    }
}
