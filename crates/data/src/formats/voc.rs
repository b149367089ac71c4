//! Pascal VOC: one XML file an image, one list of images a split.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use hotcoco::convert::voc_to_coco;
use rayon::prelude::*;

use super::objects::{Annotation, Frame};
use super::{
    Split, choose, entries, files_with_extension, image_path, is_image, read_text, require_images,
    stem, title,
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
    files
        .par_iter()
        .try_for_each(|path| refuse_references(path))?;
    let dataset = voc_to_coco(dir).map_err(|error| DataError::Annotations {
        path: folder.clone(),
        cause: error.to_string(),
    })?;
    let categories: Vec<Category> = dataset
        .categories
        .into_iter()
        .map(|category| Category {
            id: category.id,
            name: category.name,
        })
        .collect();

    // VOC names an image by its annotation file; the reader keeps the order of the sorted files but not their names.
    let stems: Vec<String> = files.iter().map(|path| stem(path)).collect();
    let index_of: HashMap<&str, usize> = stems
        .iter()
        .enumerate()
        .map(|(index, stem)| (stem.as_str(), index))
        .collect();
    let mut report = LoadReport::default();
    let members: Vec<usize> = match &split.source {
        Source::Everything => (0..stems.len()).collect(),
        Source::List(list) => read_list(list, &index_of, &folder, &mut report)?,
    };
    let mut annotations_of: HashMap<u64, Vec<hotcoco::Annotation>> = HashMap::new();
    for annotation in dataset.annotations {
        annotations_of
            .entry(annotation.image_id)
            .or_default()
            .push(annotation);
    }

    let image_files = ImageFiles::in_folder(&dir.join("JPEGImages"))?;
    let located = |index: &usize| {
        let stem = &stems[*index];
        image_files
            .locate(stem, &dataset.images[*index].file_name)
            .map_err(|cause| DataError::Annotations {
                path: folder.join(format!("{stem}.xml")),
                cause,
            })
    };
    let paths: Vec<PathBuf> = members.iter().map(located).collect::<Result<_, _>>()?;
    require_images(&paths)?;

    let mut images = Vec::with_capacity(members.len());
    for (&index, path) in members.iter().zip(&paths) {
        let image = &dataset.images[index];
        let (width, height) = match (image.width, image.height) {
            (0, _) | (_, 0) => image_size(path)?,
            size => size,
        };
        let file_name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let frame = Frame {
            file_name: &file_name,
            width,
            height,
        };
        let annotations = annotations_of.remove(&image.id).unwrap_or_default();
        let objects = annotations
            .into_iter()
            .zip(1..)
            .filter_map(|(annotation, position)| {
                convert(annotation).admit(&frame, format_args!("object {position}"), &mut report)
            })
            .collect();
        images.push(ImageRecord {
            id: image.id,
            file_name,
            width,
            height,
            objects,
        });
    }
    let name = title(dir, &split.name);
    Ok(DetectionDataset::new(
        name,
        Layout::Voc,
        categories,
        images,
        report,
        Pixels::Files(paths),
    ))
}

/// The reader takes what follows a reference such as `&amp;` for the whole of a name: there may be none.
fn refuse_references(path: &Path) -> Result<(), DataError> {
    let bytes = std::fs::read(path).map_err(DataError::io(path))?;
    let text = String::from_utf8_lossy(&bytes);
    let found = ["name", "filename"].into_iter().find_map(|tag| {
        let start = format!("<{tag}>");
        let mut names = text.split(start.as_str()).skip(1);
        let name =
            names.find_map(|rest| rest.split('<').next().filter(|name| name.contains('&')))?;
        Some(format!(
            "the {tag} '{}' holds a reference, at which it would be cut: choose a name without",
            name.trim()
        ))
    });
    found.map_or(Ok(()), |cause| {
        Err(DataError::Annotations {
            path: path.to_path_buf(),
            cause,
        })
    })
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

/// The reader's labels are positions among its categories, whose ids count from 1.
///
/// VOC's corners name pixels, both ends inclusive, so that the reader makes a box of `xmin == xmax` one pixel wide. Such
/// a box was never drawn to an end: it is handed on without extent, to be dropped as one.
fn convert(annotation: hotcoco::Annotation) -> Annotation {
    let [x, y, width, height] = annotation.bbox.unwrap_or_default();
    let drawn = |size: f64| if size > 1.0 { size } else { 0.0 };
    Annotation {
        id: annotation.id,
        xywh: [x, y, drawn(width), drawn(height)],
        label: annotation.category_id.saturating_sub(1) as usize,
        area: None,
        iscrowd: annotation.iscrowd,
    }
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
