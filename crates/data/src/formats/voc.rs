//! Pascal VOC: one XML file per image, one list of images per split.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::description::{AnnotatedImage, AnnotatedObject, Description, Outline, Place, span};
use super::image_finder::{ImageFinder, slashed};
use super::inventory::{Inventory, equal_at_end, unique_max};
use super::listed_images::remark_on_unlisted;
use super::named_folders::{Claim, NamedFolder, NamedFolders, wrong_claims};
use super::split::{Found, ONLY_SPLIT, Split, SplitReader, lists_of_splits, names_split, title};
use super::sub_folders::{is_kind, sub_folders};
use super::xml::{Element, Fault};
use crate::decoding::{is_image, is_unread_image};
use crate::files::{file_name, has_extension, last_part, lines, read_text, start_of, stem};
use crate::spelling::composed;
use crate::{Category, DataError, DetectionDataset, Finding, Layout, LoadReport, Tally};

impl DetectionDataset {
    /// Reads one split of a VOC folder: an XML file for each image, in any folders. The splits are the lists
    /// `ImageSets/Main/{split}.txt`, `ImageSets/{split}.txt` or `{split}.txt`, or else folders such as `train` and
    /// `valid`.
    ///
    /// VOC's corners are pixel indices from 1, both inclusive: `xmin = 1, xmax = 4` becomes `x1 = 0, x2 = 4`. Corners
    /// in the wrong order are swapped. A box with `xmin == xmax` or `ymin == ymax` is degenerate.
    ///
    /// All annotations of the folder are read for every split, so that categories, labels and ids are the same in every
    /// split.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`] or [`DataError::SplitNotNamed`]. [`DataError::Line`] if an annotation file or the
    /// list is malformed. [`DataError::Annotations`] without annotations, or if an image is outside the folder.
    /// [`DataError::MissingImages`].
    pub fn voc(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        let found = find(&Arc::new(Inventory::of(dir)?), None)?;
        let found = found.ok_or_else(|| DataError::Annotations {
            path: dir.to_path_buf(),
            cause: "no VOC annotations: no XML file with an <annotation> was found".into(),
        })?;
        found.read(dir, split)
    }
}

/// The annotation files of a folder.
#[derive(Debug)]
struct VocSet {
    inventory: Arc<Inventory>,
    /// Relative to the folder, sorted.
    files: Vec<PathBuf>,
    finder: ImageFinder,
    /// The [sub-folder](sub_folders) of each file.
    folders: Vec<NamedFolder>,
    /// All of them.
    named: NamedFolders,
}

/// The images of a split.
#[derive(Debug)]
enum Members {
    /// The images of these annotation files, by index.
    Files(Vec<usize>),
    /// The images in these lists, one per line. Relative to the folder.
    Lists(Vec<PathBuf>),
}

#[derive(Debug)]
struct VocSplit {
    set: Arc<VocSet>,
    name: String,
    members: Members,
}

/// Recognizes XML files with an `<annotation>`.
pub(super) fn find(
    inventory: &Arc<Inventory>,
    given: Option<&Path>,
) -> Result<Option<Found>, DataError> {
    let files = match given {
        Some(_) => Vec::new(),
        None => annotation_files(inventory),
    };
    let Some(first) = files.first() else {
        return Ok(None);
    };
    let folder = first.parent().unwrap_or(Path::new(""));
    let evidence = format!("{} files {}", files.len(), folder.join("*.xml").display());
    let root = inventory.root();
    let above = folder.parent().unwrap_or(Path::new(""));
    let image_folders =
        ["JPEGImages", "images", "Images", ""].map(|name| root.join(above).join(name));
    let folders = image_folders.into_iter().chain([root.join(folder)]);
    let sub_folder = |file: &PathBuf| NamedFolder::relative(sub_folders(file));
    let sub_folders: Vec<NamedFolder> = files.iter().map(sub_folder).collect();
    let set = VocSet {
        named: NamedFolders::of(&sub_folders),
        folders: sub_folders,
        finder: ImageFinder::new(Arc::clone(inventory), folders.collect()),
        inventory: Arc::clone(inventory),
        files,
    };
    let lists = set.lists()?;
    let mut report = LoadReport::default();
    for remark in set.unused_lists(&lists) {
        report.remark(remark);
    }
    let set = Arc::new(set);
    let members: Vec<(String, Members)> = match lists.is_empty() {
        false => (lists.into_iter())
            .map(|(name, lists)| (name, Members::Lists(lists)))
            .collect(),
        true => {
            let splits = by_folder(&set);
            set.report_unannotated(&splits, &mut report);
            let splits = splits.into_iter();
            splits
                .map(|(name, files)| (name, Members::Files(files)))
                .collect()
        }
    };
    let split = |(name, members): (String, Members)| {
        let set = Arc::clone(&set);
        Split::new(name.clone(), VocSplit { set, name, members })
    };
    let splits = members.into_iter().map(split).collect();
    let found = Found::new(Layout::Voc, evidence, splits);
    Ok(Some(found.with_report(report)))
}

/// The XML files of folders that hold annotations, recognized by the name of the folder or the content of its first few
/// files.
fn annotation_files(inventory: &Inventory) -> Vec<PathBuf> {
    let mut by_folder: BTreeMap<&Path, Vec<&PathBuf>> = BTreeMap::new();
    for file in inventory.with_extension("xml") {
        by_folder
            .entry(file.parent().unwrap_or(Path::new("")))
            .or_default()
            .push(file);
    }
    let holds_annotations = |(folder, files): &(&Path, Vec<&PathBuf>)| {
        let is_named = folder.ends_with("Annotations") || folder.ends_with("annotations");
        is_named
            || files
                .iter()
                .take(5)
                .any(|file| is_annotation(&inventory.root().join(file)))
    };
    let folders = by_folder.into_iter().filter(holds_annotations);
    let mut files: Vec<PathBuf> = folders
        .flat_map(|(_, files)| files.into_iter().cloned())
        .collect();
    files.sort();
    files
}

/// Whether the start of a file has VOC's root element.
fn is_annotation(path: &Path) -> bool {
    let start = start_of(path);
    start.contains("<annotation>") || start.contains("<annotation ")
}

/// Whether all lines have a second column that marks whether an image has a class: -1, 0 or 1.
fn has_verdicts(list: &str) -> bool {
    let mut lines = lines(list).map(|(_, line)| line).peekable();
    lines.peek().is_some() && lines.all(|line| verdict(line).is_some())
}

/// The image name before the second column of VOC's lists for a single class.
fn verdict(line: &str) -> Option<&str> {
    let (name, verdict) = line.rsplit_once(char::is_whitespace)?;
    matches!(verdict, "-1" | "0" | "1").then(|| name.trim_end())
}

/// The names in a line of a list, without extensions: the whole line, the second of `image.jpg image.xml`, and the first
/// column of a list for a single class. Of `a.jpg`, the annotation may be `a.jpg.xml`, but normally is `a.xml`.
fn bare_names(line: &str) -> impl Iterator<Item = PathBuf> {
    let second = line
        .rsplit_once(char::is_whitespace)
        .map(|(_, second)| second)
        .filter(|second| has_extension(Path::new(second), "xml"));
    let names = [Some(line), second, verdict(line)].into_iter().flatten();
    names.flat_map(|name| {
        let name = slashed(name);
        let name = Path::new(name.trim_start_matches("./"));
        let is_file = is_image(name) || is_unread_image(name) || has_extension(name, "xml");
        let stripped = is_file.then(|| name.with_extension(""));
        [Some(name.to_path_buf()), stripped].into_iter().flatten()
    })
}

/// An annotation file that matches a line of a list.
struct Match {
    index: usize,
    /// The sub-folder in the line.
    folder: NamedFolder,
}

/// The files of each split, from the folder of the annotation file or else of its image.
fn by_folder(set: &VocSet) -> BTreeMap<String, Vec<usize>> {
    let mut splits: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (file, index) in set.files.iter().zip(0..) {
        let inventory = &set.inventory;
        let of_image = || {
            let images = set.images_by_stem(index, &XmlFile::default());
            inventory.split_of(images.first()?)
        };
        let name = (inventory.split_of(file))
            .or_else(of_image)
            .unwrap_or(ONLY_SPLIT);
        splits.entry(name.to_string()).or_default().push(index);
    }
    splits
}

impl VocSet {
    /// The lists of images by split name, from `ImageSets/Main`, `ImageSets`, or else the top of the folder. VOC's
    /// lists for single classes are used only if there are no other lists.
    fn lists(&self) -> Result<BTreeMap<String, Vec<PathBuf>>, DataError> {
        let texts: Vec<&PathBuf> = self.inventory.with_extension("txt").collect();
        let is_in =
            |file: &Path, folder: &Path| file.parent().is_some_and(|found| found.ends_with(folder));
        for folder in [Path::new("ImageSets/Main"), Path::new("ImageSets")] {
            let mut lists: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
            let mut of_classes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
            for file in texts.iter().copied().filter(|file| is_in(file, folder)) {
                let name = stem(file);
                match self.split_of_class_list(file) {
                    Some(split) if self.is_of_one_class(file)? => {
                        let lists = of_classes.entry(split).or_default();
                        lists.push(file.clone());
                    }
                    _ => lists.entry(name).or_default().push(file.clone()),
                }
            }
            let lists = if lists.is_empty() { of_classes } else { lists };
            if !lists.is_empty() {
                return Ok(lists);
            }
        }
        let at_top = texts
            .into_iter()
            .filter(|file| file.components().count() == 1);
        let mut lists = BTreeMap::new();
        for file in lists_of_splits(at_top.collect()) {
            let text = read_text(&self.inventory.root().join(file))?;
            let is_annotated = |(_, line): (usize, &str)| !self.resolve(file, line).is_empty();
            let is_list = match lines(&text).next() {
                Some(first) if is_annotated(first) => true,
                // It may be an image without annotations.
                Some((_, first)) if self.has_image(first) => {
                    2 * lines(&text).filter(|line| is_annotated(*line)).count()
                        >= lines(&text).count()
                }
                _ => false,
            };
            if is_list {
                lists.insert(stem(file), vec![file.clone()]);
            }
        }
        Ok(lists)
    }

    /// The split of a list for a single class: `train` for `cat_train.txt`, or any split with a list beside it, as in
    /// `cat_default.txt` beside `default.txt`.
    fn split_of_class_list(&self, list: &Path) -> Option<String> {
        let name = stem(list);
        let ends = name.match_indices('_').map(|(at, _)| &name[at + 1..]);
        let has_list = |split: &&str| {
            let file = list.with_file_name(format!("{split}.txt"));
            !split.is_empty() && self.inventory.contains(&file)
        };
        let last = || name.rsplit_once('_').map(|(_, split)| split);
        let split = (ends.into_iter().find(has_list))
            .or_else(|| last().filter(|split| names_split(split)))?;
        Some(split.to_string())
    }

    /// Whether a list is one of VOC's lists for a single class (`cat_train.txt`). Image names may also have spaces.
    fn is_of_one_class(&self, list: &Path) -> Result<bool, DataError> {
        let text = read_text(&self.inventory.root().join(list))?;
        let names_file = |line: &str| {
            let mut files = self.inventory.with_stem(line);
            files.any(|file| has_extension(file, "xml"))
        };
        Ok(has_verdicts(&text) && !lines(&text).any(|(_, line)| names_file(line)))
    }

    /// Remarks about lists at the top and in `ImageSets` that are not used.
    fn unused_lists(&self, lists: &BTreeMap<String, Vec<PathBuf>>) -> Vec<String> {
        let used: HashSet<&PathBuf> = lists.values().flatten().collect();
        let texts = self.inventory.with_extension("txt");
        let candidates = texts.filter(|file| {
            let is_image_set = file
                .parent()
                .is_some_and(|folder| folder.ends_with("ImageSets"));
            is_image_set || (file.components().count() == 1 && names_split(&stem(file)))
        });
        let unused = candidates.filter(|file| !used.contains(file));
        unused
            .map(|file| format!("{}: image list not used", file.display()))
            .collect()
    }

    /// Adds remarks on images in folders of splits without annotations.
    fn report_unannotated(&self, splits: &BTreeMap<String, Vec<usize>>, report: &mut LoadReport) {
        let mut unannotated: BTreeMap<&str, Tally> = BTreeMap::new();
        for image in self.inventory.images() {
            let split = self.inventory.split_of(image);
            let mut same = self.inventory.with_stem(&stem(image));
            if let Some(split) = split.filter(|split| !splits.contains_key(*split))
                && !same.any(|file| has_extension(file, "xml"))
            {
                unannotated.entry(split).or_default().add(image.display());
            }
        }
        for (split, images) in unannotated {
            report.remark(format!(
                "'{split}' is not used as a split, since its images have no annotations: {images}"
            ));
        }
    }

    /// The annotation files that match a line of a list. Only the best kind of match is returned: the path that the line
    /// names next to the folder of lists, then a file with its stem there, then a file with its stem anywhere.
    fn resolve(&self, list: &Path, line: &str) -> Vec<Match> {
        let base = match list.iter().position(|part| part == "ImageSets") {
            Some(position) => list.iter().take(position).collect(),
            None => list.parent().unwrap_or(Path::new("")).to_path_buf(),
        };
        let index = |file: &Path| {
            self.files
                .binary_search_by(|known| known.as_path().cmp(file))
                .ok()
        };
        for bare in bare_names(line) {
            let found = |index: usize| Match {
                index,
                folder: NamedFolder::relative(sub_folders(&bare)),
            };
            let mut xml = bare.clone().into_os_string();
            xml.push(".xml");
            let folders = ["Annotations", "annotations", ""].map(|folder| base.join(folder));
            let beside = folders.iter().find_map(|folder| index(&folder.join(&xml)));
            if let Some(index) = beside {
                return vec![found(index)];
            }
            let name = file_name(&bare);
            let named: Vec<&Path> = self
                .inventory
                .with_stem(&name)
                .filter(|file| has_extension(file, "xml"))
                .filter(|file| composed(&stem(file)) == composed(&name))
                .collect();
            let exact: Vec<&Path> = (named.iter().copied())
                .filter(|file| stem(file) == name)
                .collect();
            let same = if exact.is_empty() { named } else { exact };
            let near: Vec<&Path> = same
                .iter()
                .copied()
                .filter(|file| file.starts_with(&base))
                .collect();
            let near = if near.is_empty() { same } else { near };
            let matches: Vec<Match> = near.into_iter().filter_map(index).map(found).collect();
            if !matches.is_empty() {
                return matches;
            }
        }
        Vec::new()
    }

    /// Whether an image has the name in a line of a list, in folders that do not contradict it.
    fn has_image(&self, line: &str) -> bool {
        bare_names(line).any(|bare| {
            let (name, folder) = (file_name(&bare), NamedFolder::relative(sub_folders(&bare)));
            let mut images = (self.inventory.with_stem(&name))
                .filter(|file| is_image(file) || is_unread_image(file))
                .filter(|file| composed(&stem(file)) == composed(&name));
            images.any(|image| folder.agrees_with(&sub_folders(image)))
        })
    }

    /// The name of an annotation file in reports: the file name, or the path if another file has the same name.
    fn source(&self, index: usize) -> String {
        let file = &self.files[index];
        let name = file_name(file);
        let same = self.inventory.with_stem(&stem(file));
        match same
            .filter(|other| other.file_name() == file.file_name())
            .count()
        {
            1 => name,
            _ => file.display().to_string(),
        }
    }

    /// The image of an annotation file: the image with the same stem, or else the image that `<filename>` names. If that
    /// is probably the image of another annotation file, the path where the image was expected.
    fn locate(&self, index: usize, content: &XmlFile) -> Result<PathBuf, String> {
        let file = &self.files[index];
        let role = self.inventory.role_of(file);
        let named = || match content.file_name.is_empty() {
            true => format!("{}.jpg", stem(file)),
            false => content.file_name.clone(),
        };
        match self.images_by_stem(index, content)[..] {
            [image] => Ok(self.inventory.root().join(image)),
            [first, second, ..] => Err(format!(
                "the image may be {} or {}",
                first.display(),
                second.display()
            )),
            [] => {
                let found = self.finder.find_in(&named(), role)?;
                let is_of_others = self.is_of_others(index, self.relative(&found));
                match is_of_others && found.is_file() {
                    true => Ok(self.expected(index, content)),
                    false => Ok(found),
                }
            }
        }
    }

    /// Where the image of an annotation file is expected that is not on disk.
    fn expected(&self, index: usize, content: &XmlFile) -> PathBuf {
        let file = &self.files[index];
        let named = slashed(&content.file_name);
        let name = match last_part(&named) {
            "" => stem(file) + ".jpg",
            name => name.to_owned(),
        };
        let root = self.inventory.root();
        let folder = file.parent().unwrap_or(Path::new(""));
        let parts: Vec<&OsStr> = folder.iter().collect();
        let kind = parts
            .iter()
            .rposition(|part| is_kind(&part.to_string_lossy()));
        // `JPEGImages/seq1` for `Annotations/seq1`.
        let of_images = kind.into_iter().flat_map(|kind| {
            let (above, below) = (&parts[..kind], &parts[kind + 1..]);
            let above: PathBuf = above.iter().collect();
            let below: PathBuf = below.iter().collect();
            let folders = ["JPEGImages", "images", "Images", ""].map(|name| above.join(name));
            let folders = folders
                .into_iter()
                .filter(|folder| root.join(folder).is_dir());
            folders.map(move |folder| folder.join(&below))
        });
        let mut paths = of_images
            .chain([folder.to_path_buf()])
            .map(|folder| root.join(folder).join(&name));
        let expected = paths.find(|path| !path.is_file());
        // Never fall back to an existing file.
        expected.unwrap_or_else(|| root.join(file).join(&name))
    }

    /// Replaces the paths of images that are [probably others](super::named_folders) by those where they were expected.
    /// `paths` are those of the images of these annotation files.
    fn give_up_wrong(
        &self,
        files: &[usize],
        annotated: &[XmlFile],
        paths: &mut [PathBuf],
        report: &mut LoadReport,
    ) {
        let places = paths.iter().map(|path| sub_folders(self.relative(path)));
        let places: Vec<Vec<String>> = places.collect();
        let claims = files.iter().zip(paths.iter()).zip(&places);
        let claims = claims.map(|((&index, path), place)| Claim {
            folder: &self.folders[index],
            place,
            path,
        });
        let wrong = wrong_claims(&claims.collect::<Vec<_>>(), []);
        let mut others = Tally::default();
        for ((&index, path), is_wrong) in files.iter().zip(paths).zip(wrong) {
            if is_wrong && path.is_file() {
                let (file, image) = (self.files[index].display(), self.relative(path).display());
                others.add(format_args!("{file}, not {image}"));
                *path = self.expected(index, &annotated[index]);
            }
        }
        if others.count > 0 {
            report.note(format!(
                "annotation files without an image, since the only one of that name belongs to a file in another folder: {others}"
            ));
        }
    }

    /// Whether an image, relative to the folder of the inventory, is in the sub-folder of other annotation files and not
    /// in that of this one.
    fn is_of_others(&self, index: usize, image: &Path) -> bool {
        self.named
            .exclude(&self.folders[index], &sub_folders(image))
    }

    fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(self.inventory.root()).unwrap_or(path)
    }

    /// The images with the stem of an annotation file that match it best. Criteria, in order: folders like those of the
    /// annotation file, the annotated file name, the annotated folders, and a folder for images. Images of another
    /// split or of other annotation files are excluded.
    fn images_by_stem(&self, index: usize, content: &XmlFile) -> Vec<&Path> {
        let file = &self.files[index];
        let stem = stem(file);
        let inventory = &self.inventory;
        let role = inventory.role_of(file);
        let is_of_split = |image: &&Path| {
            role.is_none() || inventory.role_of(image).is_none_or(|own| Some(own) == role)
        };
        let is_of_file = |image: &&Path| {
            let is_picture = is_image(image) || is_unread_image(image);
            is_picture && !self.is_of_others(index, image)
        };
        let same = || inventory.with_stem(&stem).filter(is_of_split);
        let all = || same().filter(is_of_file);
        let of_stem = |image: &&Path| crate::files::stem(image) == stem;
        let read: Vec<&Path> = all().filter(|image| is_image(image)).collect();
        let images = match read.is_empty() {
            true => all().filter(|image| is_unread_image(image)).collect(),
            false => read,
        };
        let exact: Vec<&Path> = images.iter().copied().filter(of_stem).collect();
        let images = if exact.is_empty() { images } else { exact };
        if images.len() <= 1 {
            return images;
        }
        let folders = |path: &Path| -> Vec<String> {
            let folder = path.parent().unwrap_or(Path::new(""));
            folder
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect()
        };
        let own = folders(file);
        let path = slashed(&content.path);
        let path: Vec<&str> = path.split('/').collect();
        let likeness = |image: &Path| {
            let other = folders(image);
            let above = own.iter().zip(&other).take_while(|(a, b)| a == b).count();
            let below = (own.iter().rev().zip(other.iter().rev()))
                .take_while(|(a, b)| a == b)
                .count();
            let called = file_name(image) == content.file_name;
            let folder = other.last();
            let is_in_folder = folder.is_some_and(|folder| *folder == content.folder);
            let is_for_images = match folder.map(String::as_str) {
                Some("JPEGImages") => 2,
                Some("images") => 1,
                _ => 0,
            };
            (
                above + below,
                called,
                equal_at_end(image, &path),
                is_in_folder,
                is_for_images,
            )
        };
        match unique_max(images.iter().copied(), likeness) {
            Some(image) => vec![image],
            None => images,
        }
    }
}

impl SplitReader for VocSplit {
    fn describe(&self) -> Result<Description, DataError> {
        let (set, root) = (&self.set, self.set.inventory.root());
        let mut annotated: Vec<XmlFile> = (set.files.par_iter())
            .map(|file| XmlFile::read(&root.join(file)))
            .collect::<Result<_, _>>()?;
        let names = class_names(root, &annotated)?;
        let label_of: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
        let mut report = LoadReport::default();
        let members = self.members(&mut report)?;
        let located = |&index: &usize| {
            let path = set.locate(index, &annotated[index]);
            path.map_err(|cause| DataError::Annotations {
                path: root.join(&set.files[index]),
                cause,
            })
        };
        let mut paths: Vec<PathBuf> = members.iter().map(located).collect::<Result<_, _>>()?;
        set.give_up_wrong(&members, &annotated, &mut paths, &mut report);
        for &index in &members {
            let (source, content) = (set.source(index), &annotated[index]);
            if let Some(line) = content.unusable_size {
                let place = format_args!("{source} line {line}");
                report.record(Finding::UnusableSize, place);
            }
            for drawn in content.boxes.iter().filter(|drawn| drawn.name.is_empty()) {
                let place = format_args!("{source} line {}", drawn.line);
                report.record(Finding::Incomplete, place);
            }
        }

        // Objects are numbered across all files.
        let first_ids: Vec<u64> = (annotated.iter())
            .scan(1, |next, image| {
                let first = *next;
                *next += image.boxes.len() as u64;
                Some(first)
            })
            .collect();
        let folder = common_folder(&paths);
        let mut images = Vec::with_capacity(members.len());
        for (index, path) in members.into_iter().zip(paths) {
            let drawn = std::mem::take(&mut annotated[index].boxes);
            let objects = drawn.into_iter().zip(first_ids[index]..);
            let object = |(drawn, id): (Drawn, u64)| {
                let label = label_of.get(drawn.name.as_str()).copied()?;
                Some(AnnotatedObject {
                    id: Some(id),
                    outline: drawn.outline,
                    label,
                    annotated_area: None,
                    iscrowd: drawn.difficult,
                    place: Place::Line(drawn.line),
                })
            };
            let name = path.strip_prefix(&folder).unwrap_or(&path);
            images.push(AnnotatedImage {
                id: Some(index as u64 + 1),
                file_name: name.display().to_string(),
                stated_size: annotated[index].size,
                source: set.source(index),
                objects: objects.filter_map(object).collect(),
                path,
            });
        }
        let folder = set.files[0].parent().unwrap_or(Path::new(""));
        let mut description = Description {
            name: title(root, &self.name),
            layout: Layout::Voc,
            categories: Category::list(names),
            images,
            searched: root.join(folder).join("*.xml").display().to_string(),
            report,
        };
        // If lists define the splits, unlisted images are expected.
        if let Members::Files(_) = self.members {
            let has_file = |image: &Path| {
                let mut same = set.inventory.with_stem(&stem(image));
                same.any(|file| has_extension(file, "xml"))
            };
            remark_on_unlisted(&set.inventory, &mut description, has_file);
        }
        Ok(description)
    }

    fn annotated(&self) -> usize {
        match &self.members {
            Members::Files(files) => files.len(),
            Members::Lists(lists) => {
                let root = self.set.inventory.root();
                let texts = lists
                    .iter()
                    .filter_map(|list| read_text(&root.join(list)).ok());
                texts.map(|text| lines(&text).count()).sum()
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.annotated() == 0
    }

    fn has_objects(&self) -> bool {
        let Ok((members, _)) = self.found_members(&mut LoadReport::default()) else {
            return true;
        };
        let root = self.set.inventory.root();
        let has_objects = |index: &usize| {
            let text = read_text(&root.join(&self.set.files[*index]));
            text.map_or(true, |text| text.contains("<object"))
        };
        members.par_iter().any(has_objects)
    }

    fn members(&self) -> HashSet<PathBuf> {
        let found = self.found_members(&mut LoadReport::default());
        let members = found.map_or_else(|_| Vec::new(), |(members, _)| members);
        let files = members.into_iter().map(|index| &self.set.files[index]);
        files.cloned().collect()
    }
}

impl VocSplit {
    /// The indices of the annotation files of the split, each once. Listed images without one are skipped and counted, as
    /// are images that no list names.
    fn members(&self, report: &mut LoadReport) -> Result<Vec<usize>, DataError> {
        let (members, unannotated) = self.found_members(report)?;
        unannotated.report_to(report, members.len())?;
        Ok(members)
    }

    /// The indices of the annotation files of the split, each once, and the listed images without one.
    fn found_members(
        &self,
        report: &mut LoadReport,
    ) -> Result<(Vec<usize>, Unannotated), DataError> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        let mut unannotated = Unannotated::default();
        let lists = match &self.members {
            Members::Files(files) => return Ok((files.clone(), unannotated)),
            Members::Lists(lists) => lists,
        };
        for list in lists {
            let path = self.set.inventory.root().join(list);
            let text = read_text(&path)?;
            // Lists for different classes name the same images.
            let is_of_one_class = lists.len() > 1 && has_verdicts(&text);
            let resolved: Vec<(usize, &str, Vec<Match>)> = lines(&text)
                .map(|(line, name)| (line, name, self.set.resolve(list, name)))
                .collect();
            let matches = resolved.iter().flat_map(|(.., matches)| matches);
            let named = NamedFolders::of(matches.map(|found| &found.folder));
            for (line, name, mut found) in resolved {
                let malformed = |cause: String| DataError::Line {
                    path: path.clone(),
                    line,
                    cause,
                };
                // The file of another line.
                found.retain(|found| {
                    !named.exclude(&found.folder, &sub_folders(&self.set.files[found.index]))
                });
                let index = match &found[..] {
                    [found] => found.index,
                    [] => {
                        let error =
                            malformed(format!("'{name}' has no annotation file {name}.xml"));
                        if !self.set.has_image(name) {
                            return Err(error);
                        }
                        unannotated.add(name, error);
                        continue;
                    }
                    [first, second, ..] => {
                        let file = |found: &Match| self.set.files[found.index].display();
                        return Err(malformed(format!(
                            "'{name}' matches both {} and {}",
                            file(first),
                            file(second)
                        )));
                    }
                };
                match seen.insert(index) {
                    true => members.push(index),
                    false if is_of_one_class => {}
                    false => report.record(Finding::Repeated, format_args!("{name} line {line}")),
                }
            }
        }
        Ok((members, unannotated))
    }
}

/// Listed images without an annotation file.
#[derive(Default)]
struct Unannotated {
    names: HashSet<String>,
    tally: Tally,
    /// The error about the first one.
    error: Option<DataError>,
}

impl Unannotated {
    fn add(&mut self, name: &str, error: DataError) {
        // Lists for different classes name the same images.
        let bare = verdict(name).unwrap_or(name);
        if self.names.insert(bare.to_owned()) {
            self.tally.add(bare);
            self.error.get_or_insert(error);
        }
    }

    /// Fails if there are more of these images than of annotated ones.
    fn report_to(self, report: &mut LoadReport, annotated: usize) -> Result<(), DataError> {
        let count = self.tally.count;
        if count > annotated
            && let Some(DataError::Line { path, line, cause }) = self.error
        {
            let total = count + annotated;
            let cause = format!("{cause} ({count} of {total} listed images have none)");
            return Err(DataError::Line { path, line, cause });
        }
        if count > 0 {
            report.remark(format!(
                "images without annotations, skipped: {}",
                self.tally
            ));
        }
        Ok(())
    }
}

/// The innermost folder that contains all of the files.
fn common_folder(files: &[PathBuf]) -> PathBuf {
    let mut folders = files.iter().filter_map(|file| file.parent());
    let Some(first) = folders.next() else {
        return PathBuf::new();
    };
    folders.fold(first.to_path_buf(), |common, folder| {
        let pairs = common.components().zip(folder.components());
        pairs
            .take_while(|(a, b)| a == b)
            .map(|(part, _)| part)
            .collect()
    })
}

/// The class names: first those in `labels.txt`, if it exists, in its order; then all others, sorted.
fn class_names(dir: &Path, annotated: &[XmlFile]) -> Result<Vec<String>, DataError> {
    // PaddleDetection uses the second name.
    let lists = ["labels.txt", "label_list.txt"].map(|name| dir.join(name));
    let text = match lists.iter().find(|list| list.is_file()) {
        Some(list) => read_text(list)?,
        None => String::new(),
    };
    let boxes = annotated.iter().flat_map(|image| &image.boxes);
    let found: BTreeSet<&str> = boxes
        .map(|drawn| drawn.name.as_str())
        .filter(|name| !name.is_empty())
        .collect();
    let listed = lines(&text).map(|(_, name)| name);
    let mut seen = HashSet::new();
    Ok((listed.chain(found))
        .filter(|name| seen.insert(*name))
        .map(str::to_string)
        .collect())
}

/// The content of an annotation file.
#[derive(Default)]
struct XmlFile {
    /// The `<filename>`, `<folder>` and `<path>` of the image; empty if missing.
    file_name: String,
    folder: String,
    path: String,
    /// Width and height, if both are given.
    size: Option<(u32, u32)>,
    /// The line of a width or height that is not a valid number of pixels.
    unusable_size: Option<usize>,
    boxes: Vec<Drawn>,
}

/// An `<object>`.
struct Drawn {
    /// Its line in the file, from 1.
    line: usize,
    /// Empty if missing.
    name: String,
    outline: Outline,
    difficult: bool,
}

impl XmlFile {
    fn read(path: &Path) -> Result<Self, DataError> {
        let text = read_text(path)?;
        let root = Element::parse(&text);
        root.and_then(|root| Self::of(&root))
            .map_err(|Fault { line, cause }| DataError::Line {
                path: path.to_path_buf(),
                line,
                cause: format!("not VOC annotations: {cause}"),
            })
    }

    fn of(root: &Element) -> Result<Self, Fault> {
        if root.tag != "annotation" {
            return Err(root.fault(format!("expected <annotation>, found <{}>", root.tag)));
        }
        let size = root.child("size");
        let extent = |tag| {
            let element = size.and_then(|size| size.child(tag));
            let element = element.filter(|element| !element.text().is_empty());
            let extent = element.map(|element| extent(element).ok_or(element.line));
            extent.transpose()
        };
        let (size, unusable_size) = match (extent("width"), extent("height")) {
            (Ok(Some(width @ 1..)), Ok(Some(height @ 1..))) => (Some((width, height)), None),
            (Ok(_), Ok(_)) => (None, None),
            (Err(line), _) | (_, Err(line)) => (None, Some(line)),
        };
        let objects = root.children.iter().filter(|child| child.tag == "object");
        let text = |tag| root.child(tag).map_or("", Element::text).to_string();
        Ok(Self {
            file_name: text("filename"),
            folder: text("folder"),
            path: text("path"),
            size,
            unusable_size,
            boxes: objects.map(Drawn::of).collect::<Result<_, _>>()?,
        })
    }
}

impl Drawn {
    fn of(object: &Element) -> Result<Self, Fault> {
        let name = object.child("name").map_or("", Element::text);
        let difficult = object.child("difficult").and_then(number);
        Ok(Self {
            line: object.line,
            name: name.to_string(),
            outline: outline(object)?,
            // Some tools write `Unspecified`.
            difficult: difficult.is_some_and(|difficult| difficult != 0.0),
        })
    }
}

/// The corners of an object, or else the bounding box of its polygon.
fn outline(object: &Element) -> Result<Outline, Fault> {
    if let Some(oriented) = object.child("robndbox") {
        return Err(
            oriented.fault("<robndbox> is an oriented box; only axis-aligned boxes are supported")
        );
    }
    if let Some(bndbox) = object.child("bndbox") {
        let corners =
            ["xmin", "ymin", "xmax", "ymax"].map(|tag| bndbox.child(tag).and_then(number));
        return Ok(match corners {
            [Some(xmin), Some(ymin), Some(xmax), Some(ymax)] => {
                Outline::FirstAndLastPixel([xmin, ymin, xmax, ymax])
            }
            _ => Outline::Missing,
        });
    }
    // `<x1>`, `<y1>`, `<x2>`, … or points with `<x>` and `<y>`.
    let points = object
        .child("polygon")
        .map_or(&[][..], |polygon| &polygon.children);
    let leaves = points
        .iter()
        .flat_map(|point| match point.children.is_empty() {
            true => std::slice::from_ref(point),
            false => &point.children,
        })
        // LabelMe's XML also has `<username>` and `<time>` here.
        .filter(|leaf| {
            let number = leaf.tag.strip_prefix(['x', 'y']);
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        });
    let coordinates: Option<Vec<f64>> = leaves.map(number).collect();
    Ok(coordinates
        .and_then(span)
        .map_or(Outline::Missing, Outline::Segment))
}

/// The number in an element; `None` if it is not a number.
fn number(element: &Element) -> Option<f64> {
    element.text().parse().ok()
}

/// The number of pixels in an element; `None` if it is not a valid one.
fn extent(element: &Element) -> Option<u32> {
    let value = number(element)?;
    let fits = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
    fits.then_some(value as u32)
}
