//! YOLO: one text file per image, one folder per split.
//!
//! hotcoco converts YOLO labels too, but only one flat folder at a time, without images that have no label file and
//! without polygons. This reader has none of these limits.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;

use super::image_paths::{points_outside, with_separators};
use super::split::{ONLY_SPLIT, Split, choose};
use crate::dataset::{Annotations, admit};
use crate::decoding::{image_files, image_size};
use crate::files::{entries, entries_with_extension, file_name, lines, read_text};
use crate::{
    BoundingBox, Category, DataError, DetectionDataset, Finding, ImageFiles, ImageRecord, Layout,
    LoadReport, Object,
};

/// Where the images of a split are: folders of images, or text files with one path per line.
type Source = Vec<PathBuf>;

pub(super) fn recognizes(dir: &Path) -> Result<bool, DataError> {
    Ok(yaml_file(dir)?.is_some() || (dir.join("images").is_dir() && dir.join("labels").is_dir()))
}

/// The splits that `data.yaml` names, otherwise the folders in `images/`; sorted by name.
pub(super) fn splits(dir: &Path) -> Result<Vec<Split<Source>>, DataError> {
    if let Some(yaml) = DataYaml::of(dir)? {
        let named = [
            ("test", &yaml.test),
            ("train", &yaml.train),
            ("val", &yaml.val),
        ];
        let splits = named.into_iter().filter_map(|(name, paths)| {
            let places = paths.as_ref()?.iter();
            let places = places.map(|place| yaml.resolve(dir, place));
            Some(Split::new(name, places.collect()))
        });
        let splits: Vec<_> = splits.collect();
        if !splits.is_empty() {
            return Ok(splits);
        }
    }
    let images = dir.join("images");
    let folders = entries(&images)?.into_iter().filter(|path| path.is_dir());
    let mut splits: Vec<_> = folders
        .map(|folder| Split::new(file_name(&folder), vec![folder]))
        .collect();
    if splits.is_empty() {
        splits.push(Split::new(ONLY_SPLIT, vec![images]));
    }
    Ok(splits)
}

impl DetectionDataset {
    /// Reads one split of a YOLO folder: `data.yaml`, or `images/{split}`, `labels/{split}` and `classes.txt`.
    ///
    /// Labels are `class cx cy w h` in units of the image's size, or polygons, of which the enclosing box is taken.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`] or [`DataError::SplitNotNamed`]. [`DataError::Annotations`] or [`DataError::Line`] if
    /// `data.yaml`, the class list, a list of images or a label is malformed. The error of an image if none can be read.
    pub fn yolo(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        let split = choose(dir, Layout::Yolo, splits(dir)?, split)?;
        let description = DataYaml::of(dir)?;
        let mut roots = vec![dir.to_path_buf()];
        roots.extend(
            description
                .iter()
                .filter_map(|yaml| Some(dir.join(yaml.path.as_ref()?))),
        );
        let names = class_names(dir, description)?;
        let mut report = LoadReport::default();
        let paths = image_paths(dir, &split, &roots, &mut report)?;
        let sizes: Vec<Result<(u32, u32), DataError>> =
            paths.par_iter().map(|path| image_size(path)).collect();

        let mut images = Vec::with_capacity(paths.len());
        let mut readable = Vec::with_capacity(paths.len());
        let mut ids = 1..;
        let mut unreadable = None;
        for ((path, size), id) in paths.into_iter().zip(sizes).zip(1..) {
            let file_name = below(dir, &path);
            let (width, height) = match size {
                Ok(size) => size,
                Err(cause) => {
                    let place = format_args!("{file_name} {}", cause.reason());
                    report.record(Finding::UnreadableImage, place);
                    unreadable.get_or_insert(cause);
                    continue;
                }
            };
            let mut objects = Vec::new();
            for (line, label) in read_labels(&label_file(&path), names.len())? {
                let object = label.object(ids.next().unwrap_or_default(), width, height);
                let place = format_args!("{file_name} line {line}");
                objects.extend(admit(object, (width, height), place, &mut report));
            }
            images.push(ImageRecord::new(id, file_name, width, height).with_objects(objects));
            readable.push(path);
        }
        if let (true, Some(cause)) = (images.is_empty(), unreadable) {
            return Err(cause);
        }
        let annotations = Annotations {
            name: split.title(dir),
            layout: Some(Layout::Yolo),
            categories: Category::list(names),
            images,
            report,
        };
        Self::from_annotations(annotations, ImageFiles::new(readable))
    }
}

/// The images of a split, each once. There is at least one.
fn image_paths(
    dir: &Path,
    split: &Split<Source>,
    roots: &[PathBuf],
    report: &mut LoadReport,
) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    let mut places = HashSet::new();
    for place in &split.source {
        match places.insert(place) {
            true => paths.extend(images_of(place, roots)?),
            false => report.record(Finding::Repeated, place.display()),
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| {
        let first = seen.insert(path.clone());
        if !first {
            report.record(Finding::Repeated, below(dir, path));
        }
        first
    });
    if !paths.is_empty() {
        return Ok(paths);
    }
    let places: Vec<String> = (split.source.iter())
        .map(|place| place.display().to_string())
        .collect();
    Err(DataError::Annotations {
        path: dir.to_path_buf(),
        cause: format!(
            "split '{}' has no images in {}",
            split.name,
            places.join(", ")
        ),
    })
}

/// The path of an image, relative to the data set's folder if it is inside.
fn below(dir: &Path, path: &Path) -> String {
    let path = path.strip_prefix(dir).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

/// `data.yaml`, otherwise the only YAML file.
fn yaml_file(dir: &Path) -> Result<Option<PathBuf>, DataError> {
    let mut files = entries_with_extension(dir, "yaml")?;
    files.extend(entries_with_extension(dir, "yml")?);
    let named = files
        .iter()
        .position(|path| path.file_stem().is_some_and(|stem| stem == "data"));
    Ok(match named {
        Some(position) => Some(files.swap_remove(position)),
        None if files.len() == 1 => files.pop(),
        None => None,
    })
}

/// The fields of `data.yaml` that matter here.
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
    /// The file in `dir`, if there is one.
    fn of(dir: &Path) -> Result<Option<Self>, DataError> {
        yaml_file(dir)?.map(|path| Self::read(&path)).transpose()
    }

    fn read(path: &Path) -> Result<Self, DataError> {
        let malformed = |cause: String| DataError::Annotations {
            path: path.to_path_buf(),
            cause,
        };
        let yaml: Self = serde_saphyr::from_str(&read_text(path)?).map_err(|error| {
            // Below its message, the parser shows the offending lines. Errors are on one line.
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

    /// Where the images of a split are: below `path`; below the file's own folder if `path` is from another machine; or
    /// there without the leading `..` that Roboflow's exports have.
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
            cause: "no class names: neither data.yaml nor classes.txt was found".into(),
        })?;
    let text = read_text(list)?;
    Ok(lines(&text).map(|(_, name)| name.to_string()).collect())
}

/// The images of a folder, sorted by name, or of a list, in its order. Listed images must be inside the list's folder or
/// one of `roots`.
fn images_of(place: &Path, roots: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    if place.is_file() {
        let text = read_text(place)?;
        let base = place.parent().unwrap_or(Path::new(""));
        let allowed: Vec<PathBuf> = (roots.iter().map(PathBuf::as_path).chain([base]))
            .flat_map(|folder| [Some(plain(folder)), folder.canonicalize().ok()])
            .flatten()
            .collect();
        return lines(&text)
            .map(|(line, name)| {
                listed_image(base, &allowed, name).map_err(|cause| DataError::Line {
                    path: place.to_path_buf(),
                    line,
                    cause,
                })
            })
            .collect();
    }
    image_files(place)
}

/// The path of an image that a list in `base` names. It must be inside one of the `allowed` folders.
fn listed_image(base: &Path, allowed: &[PathBuf], name: &str) -> Result<PathBuf, String> {
    let path = with_separators(base, name);
    let absolute = plain(&path);
    match allowed.iter().any(|folder| absolute.starts_with(folder)) {
        true => Ok(path),
        false => Err(points_outside(name)),
    }
}

/// The absolute path, without `.` and `..`.
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

/// A label: its class, and center and size of its box in units of the image's size.
#[derive(Debug, PartialEq)]
struct Label {
    class: usize,
    center: [f64; 2],
    size: [f64; 2],
}

impl Label {
    /// Reads `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 …`, a polygon, and takes its enclosing box.
    fn parse(line: &str, classes: usize) -> Result<Self, String> {
        let mut fields = line.split_whitespace();
        let class = fields.next().unwrap_or_default();
        let class: usize = class
            .parse()
            .map_err(|_| format!("'{class}' is not a class index"))?;
        if class >= classes {
            return Err(format!(
                "class {class} is out of range: there are {classes} classes, from 0"
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
                center: [cx, cy],
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
                let center = [(left + right) / 2.0, (top + bottom) / 2.0];
                Ok(Self {
                    class,
                    center,
                    size: [right - left, bottom - top],
                })
            }
            ref other => Err(format!(
                "expected 'class cx cy w h' or a polygon, found {} numbers after the class",
                other.len()
            )),
        }
    }

    /// The object in an image of that size.
    fn object(self, id: u64, width: u32, height: u32) -> Object {
        let image = [f64::from(width), f64::from(height)];
        let [width, height] = [0, 1].map(|axis| self.size[axis] * image[axis]);
        let (left, top) = (
            self.center[0] * image[0] - width / 2.0,
            self.center[1] * image[1] - height / 2.0,
        );
        let bbox = BoundingBox::from_xywh([left, top, width, height]);
        Object::new(id, bbox, self.class)
    }
}

/// The labels in a file, with their lines. A missing file stands for an image without objects.
fn read_labels(path: &Path, classes: usize) -> Result<Vec<(usize, Label)>, DataError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = read_text(path)?;
    lines(&text)
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
                center: [0.5, 0.625],
                size: [0.5, 0.75]
            })
        );
    }

    #[test]
    fn malformed_labels_name_the_cause() {
        let cause = |line| Label::parse(line, 2).err().unwrap_or_default();
        assert_eq!(cause("cat 0 0 1 1"), "'cat' is not a class index");
        assert_eq!(
            cause("2 0 0 1 1"),
            "class 2 is out of range: there are 2 classes, from 0"
        );
        assert_eq!(cause("0 0 x 1 1"), "'x' is not a number");
        assert!(cause("0 0.5 0.5 0.1").ends_with("found 3 numbers after the class"));
    }

    #[test]
    fn label_files_are_in_a_folder_beside_the_images() {
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
