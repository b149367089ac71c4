//! Pascal VOC: one XML file per image, one list of images per split.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;

use super::image_paths::{image_path, require_images};
use super::split::{ONLY_SPLIT, Split, choose};
use super::xml::{Element, Fault};
use crate::dataset::{Annotations, admit};
use crate::decoding::{image_files, image_size};
use crate::files::{entries_with_extension, file_name, lines, read_text, stem};
use crate::{
    BoundingBox, Category, DataError, DetectionDataset, Finding, ImageFiles, ImageRecord, Layout,
    LoadReport, Object,
};

/// Which images a split has.
pub(super) enum Source {
    /// Every annotated image.
    Everything,
    /// The images that a file lists, one per line.
    List(PathBuf),
}

pub(super) fn recognizes(dir: &Path) -> Result<bool, DataError> {
    Ok(!entries_with_extension(&dir.join("Annotations"), "xml")?.is_empty())
}

/// The lists in `ImageSets/Main`, sorted by name, except VOC's lists for single classes (`cat_train.txt`), whose lines
/// have a second column.
pub(super) fn splits(dir: &Path) -> Result<Vec<Split<Source>>, DataError> {
    let mut splits = Vec::new();
    for path in entries_with_extension(&dir.join("ImageSets").join("Main"), "txt")? {
        let text = read_text(&path)?;
        let columns = |line: &str| line.split_whitespace().count();
        if text.lines().all(|line| columns(line) <= 1) {
            splits.push(Split::new(stem(&path), Source::List(path)));
        }
    }
    if splits.is_empty() {
        splits.push(Split::new(ONLY_SPLIT, Source::Everything));
    }
    Ok(splits)
}

impl DetectionDataset {
    /// Reads one split of a VOC folder: `JPEGImages/`, `Annotations/*.xml`, `ImageSets/Main/{split}.txt`.
    ///
    /// VOC's corners are pixels, counted from 1, both inclusive: `xmin = 1, xmax = 4` becomes `x1 = 0, x2 = 4`. A box with
    /// `xmin >= xmax` or `ymin >= ymax` is degenerate.
    ///
    /// All annotations of the folder are read, whatever the split: categories, labels and ids are the same in every split.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`] or [`DataError::SplitNotNamed`]. [`DataError::Line`] if an annotation file or the list
    /// is malformed. [`DataError::MissingFolder`] without annotations, [`DataError::MissingImages`].
    pub fn voc(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        let folder = dir.join("Annotations");
        if !recognizes(dir)? {
            return Err(DataError::MissingFolder { path: folder });
        }
        let split = choose(dir, Layout::Voc, splits(dir)?, split)?;
        let files = entries_with_extension(&folder, "xml")?;
        let mut annotated: Vec<AnnotatedImage> = files
            .par_iter()
            .map(|path| AnnotatedImage::read(path))
            .collect::<Result<_, _>>()?;
        let names = class_names(dir, &annotated)?;
        let label_of: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();

        // An image goes by the name of its annotation file.
        let stems: Vec<String> = files.iter().map(|path| stem(path)).collect();
        let index_of: HashMap<&str, usize> = stems.iter().map(String::as_str).zip(0..).collect();
        let mut report = LoadReport::default();
        let members: Vec<usize> = match &split.source {
            Source::Everything => (0..stems.len()).collect(),
            Source::List(list) => read_list(list, &index_of, &folder, &mut report)?,
        };
        let stored = StoredImages::in_folder(&dir.join("JPEGImages"))?;
        let located = |&index: &usize| {
            stored
                .locate(&stems[index], &annotated[index].file_name)
                .map_err(|cause| DataError::Annotations {
                    path: files[index].clone(),
                    cause,
                })
        };
        let paths: Vec<PathBuf> = members.iter().map(located).collect::<Result<_, _>>()?;
        require_images(&paths)?;

        // Objects are numbered through all files.
        let first_ids: Vec<u64> = (annotated.iter())
            .scan(1, |next, image| {
                let first = *next;
                *next += image.boxes.len() as u64;
                Some(first)
            })
            .collect();
        let mut images = Vec::with_capacity(members.len());
        for (&index, path) in members.iter().zip(&paths) {
            let (width, height) = match annotated[index].size {
                Some(size) => size,
                None => image_size(path)?,
            };
            let annotation_file = file_name(&files[index]);
            let boxes = std::mem::take(&mut annotated[index].boxes);
            let objects = (boxes.into_iter().zip(first_ids[index]..))
                .filter_map(|(drawn, id)| {
                    let place = format_args!("{annotation_file} line {}", drawn.line);
                    let Some(xywh) = drawn.xywh else {
                        report.record(Finding::NoBox, place);
                        return None;
                    };
                    let label = label_of.get(drawn.name.as_str()).copied()?;
                    let object = Object::new(id, BoundingBox::from_xywh(xywh), label)
                        .with_iscrowd(drawn.difficult);
                    admit(object, (width, height), place, &mut report)
                })
                .collect();
            images.push(
                ImageRecord::new(index as u64 + 1, file_name(path), width, height)
                    .with_objects(objects),
            );
        }
        let annotations = Annotations {
            name: split.title(dir),
            layout: Some(Layout::Voc),
            categories: Category::list(names),
            images,
            report,
        };
        Self::from_annotations(annotations, ImageFiles::new(paths))
    }
}

/// The class names: those in `labels.txt` first, if there is one, in its order; then all others, sorted.
fn class_names(dir: &Path, annotated: &[AnnotatedImage]) -> Result<Vec<String>, DataError> {
    let list = dir.join("labels.txt");
    let text = match list.is_file() {
        true => read_text(&list)?,
        false => String::new(),
    };
    let boxes = annotated.iter().flat_map(|image| &image.boxes);
    let found: BTreeSet<&str> = boxes.map(|drawn| drawn.name.as_str()).collect();
    let listed = lines(&text).map(|(_, name)| name);
    let mut seen = HashSet::new();
    Ok((listed.chain(found))
        .filter(|name| seen.insert(*name))
        .map(str::to_string)
        .collect())
}

/// The content of an annotation file.
struct AnnotatedImage {
    file_name: String,
    /// Width and height, if both are given.
    size: Option<(u32, u32)>,
    boxes: Vec<Drawn>,
}

/// An `<object>`.
struct Drawn {
    /// Its line in the file, from 1.
    line: usize,
    name: String,
    /// Left, top, width and height in pixels; `None` without a `<bndbox>`.
    xywh: Option<[f64; 4]>,
    difficult: bool,
}

impl AnnotatedImage {
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
        let extent = |tag| size.map_or(Ok(None), |size| optional::<u32>(size, tag));
        let objects = root.children.iter().filter(|child| child.tag == "object");
        Ok(Self {
            file_name: root.child("filename").map_or("", Element::text).to_string(),
            size: match (extent("width")?, extent("height")?) {
                (Some(width @ 1..), Some(height @ 1..)) => Some((width, height)),
                _ => None,
            },
            boxes: objects.map(Drawn::of).collect::<Result<_, _>>()?,
        })
    }
}

impl Drawn {
    fn of(object: &Element) -> Result<Self, Fault> {
        let name = object.child("name").map_or("", Element::text);
        if name.is_empty() {
            return Err(object.fault("the object has no <name>"));
        }
        let difficult = optional::<i64>(object, "difficult")?;
        Ok(Self {
            line: object.line,
            name: name.to_string(),
            xywh: object.child("bndbox").map(xywh).transpose()?,
            difficult: difficult.is_some_and(|difficult| difficult != 0),
        })
    }
}

/// VOC's corners are pixels, counted from 1, both inclusive. A box with `xmin == xmax` would be one pixel wide, but comes
/// from a click without a drag: it is made degenerate, to be dropped.
fn xywh(bndbox: &Element) -> Result<[f64; 4], Fault> {
    let corner = |tag| match bndbox.child(tag) {
        Some(element) => number::<f64>(element),
        None => Err(bndbox.fault(format!("the <bndbox> has no <{tag}>"))),
    };
    let (xmin, ymin) = (corner("xmin")?, corner("ymin")?);
    let (xmax, ymax) = (corner("xmax")?, corner("ymax")?);
    let extent = |min: f64, max: f64| if max > min { max - min + 1.0 } else { 0.0 };
    Ok([
        xmin - 1.0,
        ymin - 1.0,
        extent(xmin, xmax),
        extent(ymin, ymax),
    ])
}

/// The number in a child element; `None` if that is absent or empty.
fn optional<T: FromStr>(parent: &Element, tag: &str) -> Result<Option<T>, Fault> {
    let child = parent.child(tag).filter(|child| !child.text().is_empty());
    child.map(number).transpose()
}

fn number<T: FromStr>(element: &Element) -> Result<T, Fault> {
    let text = element.text();
    text.parse().map_err(|_| {
        element.fault(format!(
            "<{}> is '{text}', which is not a number",
            element.tag
        ))
    })
}

/// The indices of the images that a list names, each once.
fn read_list(
    list: &Path,
    index_of: &HashMap<&str, usize>,
    annotations: &Path,
    report: &mut LoadReport,
) -> Result<Vec<usize>, DataError> {
    let text = read_text(list)?;
    let mut members = Vec::new();
    let mut seen = HashSet::new();
    for (line, name) in lines(&text) {
        let index = index_of.get(name).ok_or_else(|| DataError::Line {
            path: list.to_path_buf(),
            line,
            cause: format!(
                "'{name}' has no annotation file {}",
                annotations.join(format!("{name}.xml")).display()
            ),
        })?;
        match seen.insert(*index) {
            true => members.push(*index),
            false => report.record(Finding::Repeated, format_args!("{name} line {line}")),
        }
    }
    Ok(members)
}

/// The image files of `JPEGImages/`.
struct StoredImages {
    folder: PathBuf,
    by_stem: HashMap<String, PathBuf>,
}

impl StoredImages {
    fn in_folder(folder: &Path) -> Result<Self, DataError> {
        // Without the folder, all images are missing, which is an error of its own.
        let paths = match folder.is_dir() {
            true => image_files(folder)?,
            false => Vec::new(),
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            by_stem: paths.into_iter().map(|path| (stem(&path), path)).collect(),
        })
    }

    /// The image of an annotation file: the file with the same stem, otherwise the one that `<filename>` names.
    fn locate(&self, stem: &str, file_name: &str) -> Result<PathBuf, String> {
        match self.by_stem.get(stem) {
            Some(path) => Ok(path.clone()),
            None => image_path(&self.folder, file_name),
        }
    }
}
