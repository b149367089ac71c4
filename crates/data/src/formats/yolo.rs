//! YOLO: one text file an image, one folder a split.
//!
//! hotcoco converts YOLO labels too, but one flat folder at a time, without the images that have no label file, and
//! without polygons; the format is read here instead.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;

use super::objects::{Annotation, Frame};
use super::{
    Split, choose, entries, file_name, files_with_extension, is_image, leads_out, read_text, title,
    with_separators,
};
use crate::dataset::Pixels;
use crate::decoding::image_size;
use crate::report::Finding;
use crate::{Category, DataError, DetectionDataset, ImageRecord, Layout, LoadReport};

/// Where the images of a split are: folders of images, or text files with a path a line.
pub(crate) type Source = Vec<PathBuf>;

pub(crate) fn recognises(dir: &Path) -> Result<bool, DataError> {
    Ok(yaml_file(dir)?.is_some() || (dir.join("images").is_dir() && dir.join("labels").is_dir()))
}

/// The splits that `data.yaml` names, otherwise the folders in `images/`; sorted by name.
pub(crate) fn splits(dir: &Path) -> Result<Vec<Split<Source>>, DataError> {
    if let Some(yaml) = DataYaml::of(dir)? {
        let named = [
            ("test", &yaml.test),
            ("train", &yaml.train),
            ("val", &yaml.val),
        ];
        let splits: Vec<_> = named
            .into_iter()
            .filter_map(|(name, paths)| {
                let places = paths
                    .as_ref()?
                    .iter()
                    .map(|place| yaml.resolve(dir, place))
                    .collect();
                Some(Split {
                    name: name.to_string(),
                    source: places,
                })
            })
            .collect();
        if !splits.is_empty() {
            return Ok(splits);
        }
    }
    let folders = entries(&dir.join("images"))?
        .into_iter()
        .filter(|path| path.is_dir());
    let mut splits: Vec<_> = folders
        .map(|folder| Split {
            name: file_name(&folder),
            source: vec![folder],
        })
        .collect();
    if splits.is_empty() {
        splits.push(Split {
            name: "all".to_string(),
            source: vec![dir.join("images")],
        });
    }
    Ok(splits)
}

/// Opens one split of the data set in `dir`.
pub(crate) fn open(dir: &Path, split: Option<&str>) -> Result<DetectionDataset, DataError> {
    let split = choose(dir, Layout::Yolo, splits(dir)?, split)?;
    let description = DataYaml::of(dir)?;
    let mut roots = vec![dir.to_path_buf()];
    roots.extend(
        description
            .iter()
            .filter_map(|yaml| Some(dir.join(yaml.path.as_ref()?))),
    );
    let names = class_names(dir, description)?;
    let mut paths = Vec::new();
    let mut report = LoadReport::default();
    let mut places = HashSet::new();
    for place in &split.source {
        match places.insert(place) {
            true => paths.extend(images_of(place, &roots)?),
            false => report.record(Finding::Repeated, &place.to_string_lossy(), "again"),
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| {
        let first = seen.insert(path.clone());
        if !first {
            let name = path.strip_prefix(dir).unwrap_or(path).to_string_lossy();
            report.record(Finding::Repeated, &name, "again");
        }
        first
    });
    if paths.is_empty() {
        let places: Vec<String> = split
            .source
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        return Err(DataError::Annotations {
            path: dir.to_path_buf(),
            cause: format!(
                "split '{}' has no images in {}",
                split.name,
                places.join(", ")
            ),
        });
    }
    let sizes: Vec<Result<(u32, u32), DataError>> =
        paths.par_iter().map(|path| image_size(path)).collect();

    let mut images = Vec::with_capacity(paths.len());
    let mut readable = Vec::with_capacity(paths.len());
    let mut ids = 1..;
    let mut unreadable = None;
    for ((path, size), id) in paths.into_iter().zip(sizes).zip(1..) {
        let file_name = path
            .strip_prefix(dir)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let (width, height) = match size {
            Ok(size) => size,
            Err(cause) => {
                report.record(Finding::UnreadableImage, &file_name, cause.reason());
                unreadable.get_or_insert(cause);
                continue;
            }
        };
        let frame = Frame {
            file_name: &file_name,
            width,
            height,
        };
        let mut objects = Vec::new();
        for (line, label) in read_labels(&label_file(&path), names.len())? {
            let annotation = label.scale(width, height, ids.next().unwrap_or_default());
            objects.extend(annotation.admit(&frame, format_args!("line {line}"), &mut report));
        }
        images.push(ImageRecord {
            id,
            file_name,
            width,
            height,
            objects,
        });
        readable.push(path);
    }
    if let (true, Some(cause)) = (images.is_empty(), unreadable) {
        return Err(cause);
    }
    let categories = names
        .into_iter()
        .zip(1..)
        .map(|(name, id)| Category { id, name })
        .collect();
    let name = title(dir, &split.name);
    Ok(DetectionDataset::new(
        name,
        Layout::Yolo,
        categories,
        images,
        report,
        Pixels::Files(readable),
    ))
}

/// The data set's description: `data.yaml`, otherwise the only YAML file.
fn yaml_file(dir: &Path) -> Result<Option<PathBuf>, DataError> {
    let mut files = files_with_extension(dir, "yaml")?;
    files.extend(files_with_extension(dir, "yml")?);
    let named = files
        .iter()
        .position(|path| path.file_stem().is_some_and(|stem| stem == "data"));
    Ok(match named {
        Some(position) => Some(files.swap_remove(position)),
        None if files.len() == 1 => files.pop(),
        None => None,
    })
}

/// What is read of `data.yaml`.
#[derive(Deserialize)]
struct DataYaml {
    path: Option<PathBuf>,
    train: Option<Places>,
    #[serde(alias = "valid")]
    val: Option<Places>,
    test: Option<Places>,
    names: Names,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Places {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

impl Places {
    fn iter(&self) -> std::slice::Iter<'_, PathBuf> {
        match self {
            Self::One(place) => std::slice::from_ref(place).iter(),
            Self::Several(places) => places.iter(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    Map(BTreeMap<usize, String>),
}

impl DataYaml {
    /// That of the data set in `dir`, if there is one.
    fn of(dir: &Path) -> Result<Option<Self>, DataError> {
        yaml_file(dir)?.map(|path| Self::read(&path)).transpose()
    }

    fn read(path: &Path) -> Result<Self, DataError> {
        let malformed = |cause: String| DataError::Annotations {
            path: path.to_path_buf(),
            cause,
        };
        let yaml: Self = serde_saphyr::from_str(&read_text(path)?).map_err(|error| {
            // The parser shows the offending lines below its message; the message alone fits on the one line of an error.
            let message = error.to_string();
            malformed(message.lines().next().unwrap_or_default().to_string())
        })?;
        match &yaml.names {
            Names::Map(map) if !map.keys().copied().eq(0..map.len()) => {
                Err(malformed("the keys of 'names' are not 0, 1, 2, …".into()))
            }
            _ => Ok(yaml),
        }
    }

    /// Where a split's images are: below `path`, or below the file's own folder where `path` was written for another
    /// machine, or there without the leading `..` that Roboflow's exports carry.
    fn resolve(&self, dir: &Path, place: &Path) -> PathBuf {
        let below: PathBuf = place
            .components()
            .skip_while(|part| *part == Component::ParentDir)
            .collect();
        let root = self.path.as_ref().map(|root| dir.join(root));
        let candidates = root
            .iter()
            .map(|root| root.join(place))
            .chain([dir.join(place), dir.join(below)]);
        candidates
            .into_iter()
            .find(|candidate| candidate.exists())
            .unwrap_or_else(|| dir.join(place))
    }
}

/// The class names, in the order of the class indices.
fn class_names(dir: &Path, description: Option<DataYaml>) -> Result<Vec<String>, DataError> {
    if let Some(yaml) = description {
        return Ok(match yaml.names {
            Names::List(names) => names,
            Names::Map(names) => names.into_values().collect(),
        });
    }
    let lists = [
        dir.join("classes.txt"),
        dir.join("labels").join("classes.txt"),
    ];
    let list = lists
        .iter()
        .find(|path| path.is_file())
        .ok_or_else(|| DataError::Annotations {
            path: dir.to_path_buf(),
            cause: "the classes have no names: neither data.yaml nor classes.txt is there".into(),
        })?;
    let text = read_text(list)?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_string)
        .collect())
}

/// The images in a folder, sorted by name, or in a list, in its order, which are in the list's folder or one of `roots`.
fn images_of(place: &Path, roots: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    if place.is_file() {
        let text = read_text(place)?;
        let base = place.parent().unwrap_or(Path::new(""));
        let allowed: Vec<PathBuf> = (roots.iter().map(PathBuf::as_path).chain([base]))
            .flat_map(|folder| [Some(plain(folder)), folder.canonicalize().ok()])
            .flatten()
            .collect();
        let lines = (1..).zip(text.lines().map(str::trim));
        return lines
            .filter(|(_, name)| !name.is_empty())
            .map(|(line, name)| {
                listed_image(base, &allowed, name).map_err(|cause| DataError::Line {
                    path: place.to_path_buf(),
                    line,
                    cause,
                })
            })
            .collect();
    }
    if !place.is_dir() {
        return Err(DataError::MissingFolder {
            path: place.to_path_buf(),
        });
    }
    Ok(entries(place)?
        .into_iter()
        .filter(|path| is_image(path))
        .collect())
}

/// The path of an image that a list in `base` names. It must lie in one of the folders that are `allowed`.
fn listed_image(base: &Path, allowed: &[PathBuf], name: &str) -> Result<PathBuf, String> {
    let path = with_separators(base, name);
    let image = plain(&path);
    match allowed.iter().any(|folder| image.starts_with(folder)) {
        true => Ok(path),
        false => Err(leads_out(name)),
    }
}

/// The path from the root, without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
        plain
    })
}

/// The label file of an image: its path with the last folder `images` replaced by `labels`.
fn label_file(image: &Path) -> PathBuf {
    let parts: Vec<Component> = image.components().collect();
    let last = parts.iter().rposition(|part| part.as_os_str() == "images");
    let swap = |(position, part): (usize, &Component)| match last {
        Some(last) if last == position => "labels".into(),
        _ => part.as_os_str().to_os_string(),
    };
    let path: PathBuf = parts.iter().enumerate().map(swap).collect();
    path.with_extension("txt")
}

/// A label: its class, and its box as centre and size in units of the image's.
#[derive(Debug, PartialEq)]
struct Label {
    class: usize,
    centre: [f64; 2],
    size: [f64; 2],
}

impl Label {
    /// Reads `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 …`, a polygon, of which it takes the enclosing box.
    fn parse(line: &str, classes: usize) -> Result<Self, String> {
        let mut fields = line.split_whitespace();
        let class = fields.next().unwrap_or_default();
        let class: usize = class
            .parse()
            .map_err(|_| format!("'{class}' is not a class index"))?;
        if class >= classes {
            return Err(format!(
                "class {class} is not one of the {classes} classes, which count from 0"
            ));
        }
        let numbers: Vec<f64> = fields
            .map(|field| {
                field
                    .parse()
                    .map_err(|_| format!("'{field}' is not a number"))
            })
            .collect::<Result<_, _>>()?;
        match *numbers.as_slice() {
            [cx, cy, width, height] => Ok(Self {
                class,
                centre: [cx, cy],
                size: [width, height],
            }),
            ref polygon if polygon.len() >= 6 && polygon.len().is_multiple_of(2) => {
                let range = |axis: usize| {
                    let values = || polygon.iter().skip(axis).step_by(2).copied();
                    (
                        values().fold(f64::INFINITY, f64::min),
                        values().fold(f64::NEG_INFINITY, f64::max),
                    )
                };
                let ((left, right), (top, bottom)) = (range(0), range(1));
                let centre = [(left + right) / 2.0, (top + bottom) / 2.0];
                Ok(Self {
                    class,
                    centre,
                    size: [right - left, bottom - top],
                })
            }
            ref other => Err(format!(
                "expected 'class cx cy w h' or a polygon, found {} numbers after the class",
                other.len()
            )),
        }
    }

    fn scale(self, width: u32, height: u32, id: u64) -> Annotation {
        let (image_width, image_height) = (f64::from(width), f64::from(height));
        let (width, height) = (self.size[0] * image_width, self.size[1] * image_height);
        let (left, top) = (
            self.centre[0] * image_width - width / 2.0,
            self.centre[1] * image_height - height / 2.0,
        );
        Annotation {
            id,
            xywh: [left, top, width, height],
            label: self.class,
            area: None,
            iscrowd: false,
        }
    }
}

/// The labels in a file with their lines; none where there is no file, which is how YOLO writes an image without objects.
fn read_labels(path: &Path, classes: usize) -> Result<Vec<(usize, Label)>, DataError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = read_text(path)?;
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, text)| !text.trim().is_empty());
    lines
        .map(|(line, text)| match Label::parse(text, classes) {
            Ok(label) => Ok((line, label)),
            Err(cause) => Err(DataError::Line {
                path: path.to_path_buf(),
                line,
                cause,
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polygon_becomes_its_enclosing_box() {
        let label = Label::parse("1 0.25 0.5 0.75 0.25 0.5 1.0", 2);
        assert_eq!(
            label,
            Ok(Label {
                class: 1,
                centre: [0.5, 0.625],
                size: [0.5, 0.75]
            })
        );
    }

    #[test]
    fn malformed_labels_say_why() {
        let cause = |line| Label::parse(line, 2).err().unwrap_or_default();
        assert_eq!(cause("cat 0 0 1 1"), "'cat' is not a class index");
        assert_eq!(
            cause("2 0 0 1 1"),
            "class 2 is not one of the 2 classes, which count from 0"
        );
        assert_eq!(cause("0 0 x 1 1"), "'x' is not a number");
        assert!(cause("0 0.5 0.5 0.1").ends_with("found 3 numbers after the class"));
    }

    #[test]
    fn labels_lie_beside_their_images() {
        let file = |image: &str| label_file(Path::new(image));
        assert_eq!(
            file("/d/images/train/a.jpg"),
            Path::new("/d/labels/train/a.txt")
        );
        assert_eq!(
            file("/images/d/train/images/a.b.png"),
            Path::new("/images/d/train/labels/a.b.txt")
        );
        assert_eq!(file("flat/a.jpg"), Path::new("flat/a.txt"));
    }
}
