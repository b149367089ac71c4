//! A set of annotated images, whatever it was read from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::decoding::read_image;
use crate::formats::{self, coco, voc, yolo};
use crate::shapes::{ShapesConfig, ShapesSplit};
use crate::transforms::Sample;
use crate::{BoundingBox, DataError, LoadReport};

/// How a data set is laid out on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One JSON file a split.
    Coco,
    /// One XML file an image, one list of images a split.
    Voc,
    /// One text file an image, one folder a split.
    Yolo,
    /// Not on disk: the generated set of [`shapes`](crate::shapes).
    Shapes,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coco => "COCO",
            Self::Voc => "VOC",
            Self::Yolo => "YOLO",
            Self::Shapes => "shapes",
        })
    }
}

/// A class of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// The id in the annotation files; ids may have gaps. VOC and YOLO have none: theirs count from 1.
    pub id: u64,
    /// The name.
    pub name: String,
}

/// An annotated object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The annotation's id; VOC and YOLO have none: theirs count from 1.
    pub id: u64,
    /// Its box inside the image, with a positive width and height, in pixels of the original image.
    pub bbox: BoundingBox,
    /// Its class: a position in [`DetectionDataset::categories`].
    pub label: usize,
    /// Its area in square pixels of the original image: COCO's `area` (the segment's, where there is one), otherwise
    /// the box's.
    pub area: f64,
    /// Whether the box holds a crowd (COCO), or an object too hard to ask for (VOC's `difficult`). Evaluation neither
    /// demands nor punishes a detection of it; training leaves it out.
    pub iscrowd: bool,
}

/// An image and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// The image's id; VOC and YOLO have none: theirs count from 1.
    pub id: u64,
    /// The image's file name, as its annotations give it.
    pub file_name: String,
    /// Width in pixels, as stored (no EXIF rotation).
    pub width: u32,
    /// Height in pixels, as stored (no EXIF rotation).
    pub height: u32,
    /// The objects in it.
    pub objects: Vec<Object>,
}

/// Where the pixels come from.
#[derive(Debug, Clone)]
pub(crate) enum Pixels {
    /// One file for each image of the set.
    Files(Vec<PathBuf>),
    /// Rendered when asked for.
    Shapes(ShapesConfig, ShapesSplit),
}

/// A set of annotated images: one split of COCO, VOC, YOLO, or of the generated set.
///
/// Opening reads annotations only; pixels are decoded when asked for. Every object has a box of positive size inside its
/// image: what the files hold beyond that is dropped or clipped, and counted in [`report`](Self::report).
///
/// Splits of one set have the same categories in the same order. For COCO that is the order of the category ids, for VOC
/// that of the names found in the whole folder (or of its `labels.txt`), for YOLO that of its class list.
///
/// ```
/// use fcos_burn_data::DetectionDataset;
/// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
///
/// let config = ShapesConfig { train_images: 2, ..ShapesConfig::default() };
/// let dataset = DetectionDataset::shapes(&config, ShapesSplit::Train)?;
/// assert_eq!(dataset.len(), 2);
/// let image = dataset.image(0)?;
/// assert_eq!(image.dimensions(), (config.width, config.height));
/// # Ok::<(), fcos_burn_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DetectionDataset {
    name: String,
    layout: Layout,
    categories: Vec<Category>,
    images: Vec<ImageRecord>,
    report: LoadReport,
    pixels: Pixels,
}

impl DetectionDataset {
    /// Opens one split of the data set in `dir`, recognising its layout by what is in it.
    ///
    /// `split` may be left out where there is only one. [`splits`](crate::splits) lists them.
    ///
    /// # Errors
    ///
    /// A missing folder, an unknown layout, an unknown or unnamed split (the message lists those that exist), and
    /// whatever the reader of that layout finds malformed.
    pub fn open(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        match formats::recognise(dir)? {
            Layout::Voc => Self::voc(dir, split),
            Layout::Yolo => Self::yolo(dir, split),
            Layout::Coco | Layout::Shapes => coco::open(dir, split),
        }
    }

    /// Reads COCO annotations of the images in `images_dir`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not COCO (a `NaN` among the numbers of a box too), image or category ids that are
    /// not unique, images that are missing.
    pub fn coco(
        images_dir: impl AsRef<Path>,
        annotations: impl AsRef<Path>,
    ) -> Result<Self, DataError> {
        coco::read(&[images_dir.as_ref().to_path_buf()], annotations.as_ref())
    }

    /// Reads one split of a VOC folder: `JPEGImages/`, `Annotations/*.xml`, `ImageSets/Main/{split}.txt`.
    ///
    /// VOC's corners name pixels, counted from 1 and both inclusive: `xmin = 1, xmax = 4` becomes `x1 = 0, x2 = 4`. A box
    /// with `xmin = xmax` or `ymin = ymax` counts as one without extent; one with `xmin > xmax` is malformed.
    ///
    /// # Errors
    ///
    /// An unknown split, a malformed annotation or split file, images or annotations that are missing.
    pub fn voc(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        voc::open(dir.as_ref(), split)
    }

    /// Reads one split of a YOLO folder: `data.yaml`, or `images/{split}`, `labels/{split}` and `classes.txt`.
    ///
    /// # Errors
    ///
    /// An unknown split, a malformed class list or label line, images that cannot be read.
    pub fn yolo(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        yolo::open(dir.as_ref(), split)
    }

    /// One split of the generated set.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] where the configuration asks for what cannot be drawn.
    pub fn shapes(config: &ShapesConfig, split: ShapesSplit) -> Result<Self, DataError> {
        crate::shapes::open(config, split)
    }

    pub(crate) fn new(
        name: String,
        layout: Layout,
        categories: Vec<Category>,
        images: Vec<ImageRecord>,
        report: LoadReport,
        pixels: Pixels,
    ) -> Self {
        Self {
            name,
            layout,
            categories,
            images,
            report,
            pixels,
        }
    }

    /// What the set is called in messages: where it was read from, and its split.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layout that it was read as.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The classes, in the order of the labels.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The images and their objects.
    pub fn images(&self) -> &[ImageRecord] {
        &self.images
    }

    /// What was dropped or changed while reading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The number of objects in all images.
    pub fn object_count(&self) -> usize {
        self.images.iter().map(|image| image.objects.len()).sum()
    }

    /// The record of an image.
    ///
    /// # Errors
    ///
    /// [`DataError::IndexOutOfRange`].
    pub fn record(&self, index: usize) -> Result<&ImageRecord, DataError> {
        self.images.get(index).ok_or(DataError::IndexOutOfRange {
            index,
            len: self.len(),
        })
    }

    /// The pixels of an image, as stored: an EXIF orientation is not applied, since COCO's tools and PIL do not apply it
    /// and annotations are made in stored pixels.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or decoded, or that is not of the annotated size.
    pub fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let record = self.record(index)?;
        match &self.pixels {
            Pixels::Shapes(config, split) => Ok(crate::shapes::render(config, *split, index)),
            Pixels::Files(paths) => {
                let path = paths.get(index).ok_or(DataError::IndexOutOfRange {
                    index,
                    len: self.len(),
                })?;
                let image = read_image(path)?;
                let (annotated, found) = ((record.width, record.height), image.dimensions());
                if annotated != found {
                    return Err(DataError::SizeMismatch {
                        path: path.clone(),
                        annotated,
                        found,
                    });
                }
                Ok(image)
            }
        }
    }

    /// Decodes every image, on all cores: those that cannot be read, and why. `progress` is told from several threads the
    /// number of images done, after each.
    ///
    /// Images of the generated set are not drawn for this.
    pub fn unreadable_images(&self, progress: impl Fn(usize) + Sync) -> Vec<(usize, DataError)> {
        if let Pixels::Shapes(..) = self.pixels {
            return Vec::new();
        }
        let done = AtomicUsize::new(0);
        let check = |index| {
            let error = self.image(index).err();
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Some((index, error?))
        };
        (0..self.len()).into_par_iter().filter_map(check).collect()
    }

    /// An image with the boxes and labels to train on: all of its objects but the crowds.
    ///
    /// # Errors
    ///
    /// Those of [`image`](Self::image).
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let image = self.image(index)?;
        let (boxes, labels) = self
            .record(index)?
            .objects
            .iter()
            .filter(|object| !object.iscrowd)
            .map(|object| (object.bbox, object.label))
            .unzip();
        Ok(Sample::new(image, boxes, labels))
    }

    /// The ground truth for a COCO evaluation: original ids, sizes and areas, the boxes as loaded.
    pub fn to_coco(&self) -> hotcoco::Dataset {
        let categories = self.categories.iter().map(|category| hotcoco::Category {
            id: category.id,
            name: category.name.clone(),
            ..Default::default()
        });
        let images = self.images.iter().map(|image| hotcoco::Image {
            id: image.id,
            file_name: image.file_name.clone(),
            width: image.width,
            height: image.height,
            ..Default::default()
        });
        let annotations = self.images.iter().flat_map(|image| {
            image.objects.iter().map(|object| hotcoco::Annotation {
                id: object.id,
                image_id: image.id,
                category_id: self.categories[object.label].id,
                bbox: Some(object.bbox.to_xywh()),
                area: Some(object.area),
                iscrowd: object.iscrowd,
                ..Default::default()
            })
        });
        hotcoco::Dataset {
            images: images.collect(),
            annotations: annotations.collect(),
            categories: categories.collect(),
            ..Default::default()
        }
    }

    /// Writes [`to_coco`](Self::to_coco) as a JSON file.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`].
    pub fn write_coco(&self, path: impl AsRef<Path>) -> Result<(), DataError> {
        let path = path.as_ref();
        let file = std::fs::File::create(path).map_err(DataError::io(path))?;
        let mut writer = std::io::BufWriter::new(file);
        serde_json::to_writer(&mut writer, &self.to_coco())
            .map_err(|error| DataError::io(path)(error.into()))?;
        std::io::Write::flush(&mut writer).map_err(DataError::io(path))
    }
}

/// Name, layout and counts on one line.
impl fmt::Display for DetectionDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (images, objects, classes) = (self.len(), self.object_count(), self.categories.len());
        write!(
            f,
            "{} ({}): {images} images, {objects} objects, {classes} classes",
            self.name, self.layout
        )
    }
}
