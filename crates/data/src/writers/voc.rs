//! Pascal VOC: one XML file per image, one list of images per split.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use quick_xml::escape::partial_escape;
use rayon::prelude::*;

use super::layout_writer::{LayoutWriter, write_text};
use super::report::{WriteFinding, WriteReport};
use super::splits::WrittenSplit;
use crate::files::stem;
use crate::{BoundingBox, Category, DataError, ImageRecord, Object};

/// `JPEGImages/`, `Annotations/`, `ImageSets/Main/SPLIT.txt` and `labels.txt`.
#[derive(Debug)]
pub(super) struct Voc;

impl LayoutWriter for Voc {
    fn image_folder(&self, _split: &str) -> PathBuf {
        "JPEGImages".into()
    }

    fn states_sizes(&self) -> bool {
        true
    }

    /// Corners are pixel indices, both inclusive. Equal corners would be read as a click without a drag.
    fn obstacle(&self, object: &Object) -> Option<WriteFinding> {
        let [_, _, width, height] = object.bbox.to_xywh();
        (width.min(height) <= 1.0).then_some(WriteFinding::TooSmall)
    }

    fn write(
        &self,
        dir: &Path,
        categories: &[Category],
        splits: &[WrittenSplit],
        report: &mut WriteReport,
    ) -> Result<(), DataError> {
        require_names(categories)?;
        let annotations = dir.join("Annotations");
        let lists = dir.join("ImageSets").join("Main");
        for folder in [&annotations, &lists] {
            fs::create_dir_all(folder).map_err(DataError::io(folder))?;
        }
        let names = categories.iter().map(|category| category.name.as_str());
        write_text(&dir.join("labels.txt"), &lines(names))?;
        // Splits may have images in common.
        let mut seen = HashSet::new();
        for split in splits {
            let stems: Vec<String> = (split.images.iter())
                .map(|image| stem(Path::new(&image.file_name)))
                .collect();
            let list = lists.join(format!("{}.txt", split.name));
            write_text(&list, &lines(stems.iter().map(String::as_str)))?;
            let new: Vec<_> = (split.images.iter().zip(stems))
                .filter(|(image, _)| seen.insert(&image.file_name))
                .collect();
            for (image, _) in &new {
                for object in &image.objects {
                    if object.bbox.to_xyxy().iter().any(|edge| edge.fract() != 0.0) {
                        let place = format_args!("{} object {}", image.file_name, object.id);
                        report.record(WriteFinding::FractionalCorners, place);
                    }
                }
            }
            new.par_iter().try_for_each(|(image, stem)| {
                let path = annotations.join(format!("{stem}.xml"));
                write_text(&path, &annotation(image, categories))
            })?;
        }
        Ok(())
    }
}

/// Fails if a name cannot be written to a line of `labels.txt` and to XML without a change.
fn require_names(categories: &[Category]) -> Result<(), DataError> {
    let fits =
        |name: &str| !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control);
    match categories.iter().find(|category| !fits(&category.name)) {
        None => Ok(()),
        Some(Category { id, name }) => Err(DataError::Dataset {
            name: "VOC".to_string(),
            cause: format!(
                "the name {name:?} of category {id} is empty, contains control characters, or starts or ends with a space"
            ),
        }),
    }
}

fn lines<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn annotation(image: &ImageRecord, categories: &[Category]) -> String {
    let ImageRecord { width, height, .. } = image;
    let name = partial_escape(&image.file_name);
    let objects: String = (image.objects.iter())
        .map(|entry| object(entry, &categories[entry.label].name))
        .collect();
    format!(
        "<annotation>
\t<folder>JPEGImages</folder>
\t<filename>{name}</filename>
\t<size>
\t\t<width>{width}</width>
\t\t<height>{height}</height>
\t\t<depth>3</depth>
\t</size>
\t<segmented>0</segmented>
{objects}</annotation>
"
    )
}

fn object(object: &Object, class: &str) -> String {
    let class = partial_escape(class);
    let difficult = u8::from(object.iscrowd);
    let [xmin, ymin, xmax, ymax] = corners(object.bbox);
    format!(
        "\t<object>
\t\t<name>{class}</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>{difficult}</difficult>
\t\t<bndbox>
\t\t\t<xmin>{xmin}</xmin>
\t\t\t<ymin>{ymin}</ymin>
\t\t\t<xmax>{xmax}</xmax>
\t\t\t<ymax>{ymax}</ymax>
\t\t</bndbox>
\t</object>
"
    )
}

/// VOC's corners are pixel indices from 1, both inclusive. Whole numbers are printed without a fraction.
fn corners(bbox: BoundingBox) -> [f64; 4] {
    let [x1, y1, x2, y2] = bbox.to_xyxy().map(f64::from);
    [x1 + 1.0, y1 + 1.0, x2, y2]
}
