//! COCO: one JSON file per split.

use std::fs;
use std::path::{Path, PathBuf};

use hotcoco::Dataset;
use serde::Serialize;

use super::layout_writer::LayoutWriter;
use super::report::{WriteFinding, WriteReport};
use super::splits::WrittenSplit;
use crate::{Category, DataError, DetectionDataset, ImageRecord, Object};

/// `annotations/instances_SPLIT.json` and `images/SPLIT/`.
#[derive(Debug)]
pub(super) struct Coco;

impl LayoutWriter for Coco {
    fn image_folder(&self, split: &str) -> PathBuf {
        Path::new("images").join(split)
    }

    fn states_sizes(&self) -> bool {
        true
    }

    fn obstacle(&self, _object: &Object) -> Option<WriteFinding> {
        None
    }

    fn write(
        &self,
        dir: &Path,
        categories: &[Category],
        splits: &[WrittenSplit],
        _report: &mut WriteReport,
    ) -> Result<(), DataError> {
        let folder = dir.join("annotations");
        fs::create_dir_all(&folder).map_err(DataError::io(&folder))?;
        for split in splits {
            let path = folder.join(format!("instances_{}.json", split.name));
            write(
                &path,
                &json(&path, &ground_truth(categories, &split.images))?,
            )?;
        }
        Ok(())
    }
}

impl DetectionDataset {
    /// The ground truth for a COCO evaluation: ids, sizes and areas as annotated, boxes as loaded.
    pub fn to_coco(&self) -> Dataset {
        ground_truth(self.categories(), self.images())
    }

    /// Writes [`to_coco`](Self::to_coco) as a JSON file.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`].
    pub fn write_coco(&self, path: impl AsRef<Path>) -> Result<(), DataError> {
        let path = path.as_ref();
        write(path, &json(path, &self.to_coco())?)
    }

    /// The content of the file that [`write_coco`](Self::write_coco) writes. Only errors name the `path`.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], if a value cannot be represented.
    pub fn coco_json(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, DataError> {
        json(path.as_ref(), &self.to_coco())
    }
}

fn ground_truth(categories: &[Category], images: &[ImageRecord]) -> Dataset {
    let annotations = images.iter().flat_map(|image| {
        image.objects.iter().map(|object| hotcoco::Annotation {
            id: object.id,
            image_id: image.id,
            category_id: categories[object.label].id,
            bbox: Some(object.bbox.to_xywh()),
            area: Some(object.area()),
            iscrowd: object.iscrowd,
            ..Default::default()
        })
    });
    let images = images.iter().map(|image| hotcoco::Image {
        id: image.id,
        file_name: image.file_name.clone(),
        width: image.width,
        height: image.height,
        ..Default::default()
    });
    let categories = categories.iter().map(|category| hotcoco::Category {
        id: category.id,
        name: category.name.clone(),
        ..Default::default()
    });
    Dataset {
        images: images.collect(),
        annotations: annotations.collect(),
        categories: categories.collect(),
        ..Default::default()
    }
}

/// The fields of detection annotations in COCO's own files. hotcoco also writes the other fields as `null`, which some
/// tools cannot read.
#[derive(Serialize)]
struct Json<'a> {
    images: Vec<JsonImage<'a>>,
    annotations: Vec<JsonAnnotation>,
    categories: Vec<JsonCategory<'a>>,
}

#[derive(Serialize)]
struct JsonImage<'a> {
    id: u64,
    file_name: &'a str,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct JsonAnnotation {
    id: u64,
    image_id: u64,
    category_id: u64,
    bbox: Option<[f64; 4]>,
    area: Option<f64>,
    iscrowd: u8,
    /// Empty: some tools require the field.
    segmentation: [(); 0],
}

#[derive(Serialize)]
struct JsonCategory<'a> {
    id: u64,
    name: &'a str,
}

/// The JSON of a data set, which goes to `path`.
fn json(path: &Path, dataset: &Dataset) -> Result<Vec<u8>, DataError> {
    let images = dataset.images.iter().map(|image| JsonImage {
        id: image.id,
        file_name: &image.file_name,
        width: image.width,
        height: image.height,
    });
    let annotations = dataset.annotations.iter().map(|annotation| JsonAnnotation {
        id: annotation.id,
        image_id: annotation.image_id,
        category_id: annotation.category_id,
        bbox: annotation.bbox,
        area: annotation.area,
        iscrowd: annotation.iscrowd.into(),
        segmentation: [],
    });
    let categories = dataset.categories.iter().map(|category| JsonCategory {
        id: category.id,
        name: &category.name,
    });
    let json = Json {
        images: images.collect(),
        annotations: annotations.collect(),
        categories: categories.collect(),
    };
    serde_json::to_vec(&json).map_err(|error| DataError::io(path)(error.into()))
}

fn write(path: &Path, json: &[u8]) -> Result<(), DataError> {
    fs::write(path, json).map_err(DataError::io(path))
}
