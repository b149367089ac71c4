//! COCO: one JSON file per split.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
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
            write_json(&path, &ground_truth(categories, &split.images))?;
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
        write_json(path.as_ref(), &self.to_coco())
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

fn write_json(path: &Path, dataset: &Dataset) -> Result<(), DataError> {
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
    let file = File::create(path).map_err(DataError::io(path))?;
    let mut writer = BufWriter::new(file);
    serde_json::to_writer(&mut writer, &json).map_err(|error| DataError::io(path)(error.into()))?;
    writer.flush().map_err(DataError::io(path))
}
