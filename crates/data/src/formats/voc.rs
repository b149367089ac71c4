//! Pascal VOC: one XML file an image, one list of images a split.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;

use super::objects::{Annotation, Frame};
use super::xml::{Element, Fault};
use super::{
    Split, choose, entries, file_name, files_with_extension, image_path, is_image, read_text,
    require_images, stem, title,
};
use crate::dataset::Pixels;
use crate::decoding::image_size;
use crate::report::Finding;
use crate::{Category, DataError, DetectionDataset, ImageRecord, Layout, LoadReport};

/// Name of the only split of a folder without `ImageSets/Main`.
const ONLY_SPLIT: &str = "all";

/// Which images a split holds.
pub(crate) enum Source {
    /// Every image with annotations.
    Everything,
    /// Those that a file names, one a line.
    List(PathBuf),
}

pub(crate) fn recognises(dir: &Path) -> Result<bool, DataError> {
    Ok(!files_with_extension(&dir.join("Annotations"), "xml")?.is_empty())
}

/// The lists in `ImageSets/Main`, sorted by name, without VOC's lists of single classes (`cat_train.txt`), whose lines
/// have a second column.
pub(crate) fn splits(dir: &Path) -> Result<Vec<Split<Source>>, DataError> {
    let mut splits = Vec::new();
    for path in files_with_extension(&dir.join("ImageSets").join("Main"), "txt")? {
        let text = read_text(&path)?;
        if text
            .lines()
            .all(|line| line.split_whitespace().count() <= 1)
        {
            splits.push(Split {
                name: stem(&path),
                source: Source::List(path),
            });
        }
    }
    if splits.is_empty() {
        splits.push(Split {
            name: ONLY_SPLIT.to_string(),
            source: Source::Everything,
        });
    }
    Ok(splits)
}

/// Opens one split of the data set in `dir`.
///
/// All annotations of the folder are read whatever the split, so that classes, labels and ids are those of the set.
pub(crate) fn open(dir: &Path, split: Option<&str>) -> Result<DetectionDataset, DataError> {
    if !recognises(dir)? {
        return Err(DataError::MissingFolder {
            path: dir.join("Annotations"),
        });
    }
    let split = choose(dir, Layout::Voc, splits(dir)?, split)?;
    let folder = dir.join("Annotations");
    let files = files_with_extension(&folder, "xml")?;
    let mut annotated: Vec<AnnotatedImage> = files
        .par_iter()
        .map(|path| AnnotatedImage::read(path))
        .collect::<Result<_, _>>()?;
    let names = class_names(dir, &annotated)?;
    let label_of: HashMap<&str, usize> = (names.iter().enumerate())
        .map(|(label, name)| (name.as_str(), label))
        .collect();

    // VOC names an image by its annotation file.
    let stems: Vec<String> = files.iter().map(|path| stem(path)).collect();
    let index_of: HashMap<&str, usize> = (stems.iter().enumerate())
        .map(|(index, stem)| (stem.as_str(), index))
        .collect();
    let mut report = LoadReport::default();
    let members: Vec<usize> = match &split.source {
        Source::Everything => (0..stems.len()).collect(),
        Source::List(list) => read_list(list, &index_of, &folder, &mut report)?,
    };
    let image_files = ImageFiles::in_folder(&dir.join("JPEGImages"))?;
    let located = |&index: &usize| {
        image_files
            .locate(&stems[index], &annotated[index].file_name)
            .map_err(|cause| DataError::Annotations {
                path: files[index].clone(),
                cause,
            })
    };
    let paths: Vec<PathBuf> = members.iter().map(located).collect::<Result<_, _>>()?;
    require_images(&paths)?;

    // Ids count from 1, those of objects through all files.
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
        let frame = Frame {
            file_name: &file_name(&files[index]),
            width,
            height,
        };
        let boxes = std::mem::take(&mut annotated[index].boxes);
        let objects = (boxes.into_iter().zip(first_ids[index]..))
            .filter_map(|(drawn, id)| {
                let place = format!("line {}", drawn.line);
                let Some(xywh) = drawn.xywh else {
                    report.record(Finding::NoBox, frame.file_name, place);
                    return None;
                };
                let annotation = Annotation {
                    id,
                    xywh,
                    label: label_of.get(drawn.name.as_str()).copied()?,
                    area: None,
                    iscrowd: drawn.difficult,
                };
                annotation.admit(&frame, place, &mut report)
            })
            .collect();
        images.push(ImageRecord {
            id: index as u64 + 1,
            file_name: file_name(path),
            width,
            height,
            objects,
        });
    }
    let categories = (names.into_iter().zip(1..))
        .map(|(name, id)| Category { id, name })
        .collect();
    Ok(DetectionDataset::new(
        title(dir, &split.name),
        Layout::Voc,
        categories,
        images,
        report,
        Pixels::Files(paths),
    ))
}

/// The classes: those that `labels.txt` lists, in its order, if there is one, then the others by name.
fn class_names(dir: &Path, annotated: &[AnnotatedImage]) -> Result<Vec<String>, DataError> {
    let list = dir.join("labels.txt");
    let text = match list.is_file() {
        true => read_text(&list)?,
        false => String::new(),
    };
    let boxes = annotated.iter().flat_map(|image| &image.boxes);
    let found: BTreeSet<&str> = boxes.map(|drawn| drawn.name.as_str()).collect();
    let listed = text.lines().map(str::trim).filter(|name| !name.is_empty());
    let mut seen = HashSet::new();
    Ok((listed.chain(found))
        .filter(|name| seen.insert(*name))
        .map(str::to_string)
        .collect())
}

/// What an annotation file says.
struct AnnotatedImage {
    file_name: String,
    /// Width and height, where both are given.
    size: Option<(u32, u32)>,
    boxes: Vec<Drawn>,
}

/// An `<object>`.
struct Drawn {
    /// Its line in the file, from 1.
    line: usize,
    name: String,
    /// As COCO's; `None` without a `<bndbox>`.
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
            return Err(root.fault(format!("<{}> instead of <annotation>", root.tag)));
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

/// VOC's corners name pixels, counted from 1, both ends inclusive. A box of `xmin == xmax` was never drawn to an end: it
/// is handed on without extent, to be dropped as one.
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

/// The number in a child; `None` where that is absent or empty.
fn optional<T: FromStr>(parent: &Element, tag: &str) -> Result<Option<T>, Fault> {
    let child = parent.child(tag).filter(|child| !child.text().is_empty());
    child.map(number).transpose()
}

fn number<T: FromStr>(element: &Element) -> Result<T, Fault> {
    let text = element.text();
    text.parse()
        .map_err(|_| element.fault(format!("<{}> is '{text}', which is no number", element.tag)))
}

/// The positions of the images that a split names, each once.
fn read_list(
    list: &Path,
    index_of: &HashMap<&str, usize>,
    annotations: &Path,
    report: &mut LoadReport,
) -> Result<Vec<usize>, DataError> {
    let text = read_text(list)?;
    let mut members = Vec::new();
    let mut seen = HashSet::new();
    for (line, name) in (1..).zip(text.lines().map(str::trim)) {
        if name.is_empty() {
            continue;
        }
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
            false => report.record(Finding::Repeated, name, format_args!("line {line}")),
        }
    }
    Ok(members)
}

/// The images of a folder by name.
struct ImageFiles {
    folder: PathBuf,
    by_stem: HashMap<String, PathBuf>,
}

impl ImageFiles {
    fn in_folder(folder: &Path) -> Result<Self, DataError> {
        let paths = entries(folder)?.into_iter().filter(|path| is_image(path));
        Ok(Self {
            folder: folder.to_path_buf(),
            by_stem: paths.map(|path| (stem(&path), path)).collect(),
        })
    }

    /// The image of an annotation file: the one of the same stem, otherwise the one its `<filename>` names.
    fn locate(&self, stem: &str, file_name: &str) -> Result<PathBuf, String> {
        match self.by_stem.get(stem) {
            Some(path) => Ok(path.clone()),
            None => image_path(&self.folder, file_name),
        }
    }
}
