//! YOLO: one text file per image, one folder per split.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use serde_saphyr::{ser_options, to_string_with_options};

use super::layout_writer::{LayoutWriter, write_text};
use super::report::{WriteFinding, WriteReport};
use super::splits::WrittenSplit;
use crate::formats::{Role, is_trainval};
use crate::{Category, DataError, ImageRecord, Object};

/// `data.yaml`, `images/SPLIT/` and `labels/SPLIT/`.
#[derive(Debug)]
pub(super) struct Yolo;

impl LayoutWriter for Yolo {
    fn image_folder(&self, split: &str) -> PathBuf {
        Path::new("images").join(split)
    }

    fn states_sizes(&self) -> bool {
        false
    }

    fn obstacle(&self, object: &Object) -> Option<WriteFinding> {
        object.iscrowd.then_some(WriteFinding::Crowd)
    }

    fn write(
        &self,
        dir: &Path,
        categories: &[Category],
        splits: &[WrittenSplit],
        report: &mut WriteReport,
    ) -> Result<(), DataError> {
        let yaml = DataYaml::of(categories, splits, report);
        let path = dir.join("data.yaml");
        // `no` and `1` are class names, not a Boolean and a number.
        let text = to_string_with_options(&yaml, ser_options! { quote_all: true });
        let text = text.map_err(|error| DataError::Annotations {
            path: path.clone(),
            cause: error.to_string(),
        })?;
        write_text(&path, &text)?;
        for split in splits {
            let folder = dir.join("labels").join(&split.name);
            fs::create_dir_all(&folder).map_err(DataError::io(&folder))?;
            // An image without objects gets an empty file. A missing file would mean that the image was not annotated.
            split.images.par_iter().try_for_each(|image| {
                let path = folder.join(&image.file_name).with_extension("txt");
                write_text(&path, &labels(image))
            })?;
        }
        Ok(())
    }
}

/// The content of `data.yaml`. Without a `path`, tools search for the images next to it.
#[derive(Serialize)]
struct DataYaml<'a> {
    #[serde(flatten)]
    splits: BTreeMap<&'static str, Places>,
    names: BTreeMap<usize, &'a str>,
}

/// The image folders of the splits.
#[derive(Serialize)]
#[serde(untagged)]
enum Places {
    One(String),
    Several(Vec<String>),
}

impl<'a> DataYaml<'a> {
    /// Lists the training, validation and test splits: `data.yaml` has no others. A single split, or `trainval` without
    /// a training split, becomes the training split.
    fn of(categories: &'a [Category], splits: &[WrittenSplit], report: &mut WriteReport) -> Self {
        let mut places: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let has_training = splits.iter().any(|split| key(&split.name) == Some("train"));
        for WrittenSplit { name, .. } in splits {
            let place = format!("images/{name}");
            if let Some(key) = key(name) {
                places.entry(key).or_default().push(place);
            } else if splits.len() == 1 || (is_trainval(name) && !has_training) {
                report.remark(format!("data.yaml lists the split '{name}' as 'train'"));
                places.entry("train").or_default().push(place);
            } else {
                report.remark(format!(
                    "data.yaml does not list the split '{name}': it is not a training, validation or test split"
                ));
            }
        }
        let splits = places.into_iter().map(|(key, mut places)| {
            let places = match (places.pop(), places.is_empty()) {
                (Some(only), true) => Places::One(only),
                (last, _) => Places::Several(places.into_iter().chain(last).collect()),
            };
            (key, places)
        });
        let names = categories.iter().map(|category| category.name.as_str());
        Self {
            splits: splits.collect(),
            names: (0..).zip(names).collect(),
        }
    }
}

/// The key of `data.yaml` for a split with this name.
fn key(split: &str) -> Option<&'static str> {
    Role::of_split(split).map(|role| match role {
        Role::Train => "train",
        Role::Validation => "val",
        Role::Test => "test",
    })
}

fn labels(image: &ImageRecord) -> String {
    let size = [image.width, image.height].map(f64::from);
    image
        .objects
        .iter()
        .map(|object| label(object, size))
        .collect()
}

/// Class, center and size, with enough digits to restore the same box.
fn label(object: &Object, [image_width, image_height]: [f64; 2]) -> String {
    let [x1, y1, x2, y2] = object.bbox.to_xyxy().map(f64::from);
    let center = [
        (x1 + x2) / 2.0 / image_width,
        (y1 + y2) / 2.0 / image_height,
    ];
    let size = [(x2 - x1) / image_width, (y2 - y1) / image_height];
    let ([cx, cy], [width, height]) = (center, size);
    format!("{} {cx} {cy} {width} {height}\n", object.label)
}
