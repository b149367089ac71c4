//! Categories, images and objects as annotated.

use serde::{Deserialize, Serialize};

use crate::BoundingBox;

/// A class of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// The id in the annotation files, where ids may have gaps. Layouts without ids number their categories from 1.
    pub id: u64,
    /// The name.
    pub name: String,
}

impl Category {
    /// Categories with these names and ids from 1.
    ///
    /// ```
    /// use fcos_burn_data::Category;
    /// let categories = Category::list(["cat", "dog"]);
    /// assert_eq!((categories[1].id, categories[1].name.as_str()), (2, "dog"));
    /// ```
    pub fn list(names: impl IntoIterator<Item = impl Into<String>>) -> Vec<Self> {
        let names = names.into_iter().map(Into::into);
        (1..)
            .zip(names)
            .map(|(id, name)| Self { id, name })
            .collect()
    }
}

/// An annotated object.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Object {
    /// The id of the annotation, from 1. Layouts without ids number the objects of a data set from 1.
    pub id: u64,
    /// The box, in pixels of the original image. In a [`DetectionDataset`](crate::DetectionDataset) it has a positive
    /// size and lies inside the image.
    pub bbox: BoundingBox,
    /// The class: an index into [`DetectionDataset::categories`](crate::DetectionDataset::categories).
    pub label: usize,
    /// The annotated area in square pixels of the original image, if any: COCO's `area`, which is the area of the
    /// segmentation for segmented objects.
    pub annotated_area: Option<f64>,
    /// Whether this is a crowd (COCO) or a difficult object (VOC): excluded from training and ignored in evaluation.
    pub iscrowd: bool,
}

impl Object {
    /// An object without an annotated area that is not a crowd.
    pub fn new(id: u64, bbox: BoundingBox, label: usize) -> Self {
        Self {
            id,
            bbox,
            label,
            annotated_area: None,
            iscrowd: false,
        }
    }

    /// The same object with an annotated area, in square pixels.
    #[must_use]
    pub fn with_annotated_area(mut self, area: impl Into<Option<f64>>) -> Self {
        self.annotated_area = area.into();
        self
    }

    /// The same object with this crowd flag.
    #[must_use]
    pub fn with_iscrowd(mut self, iscrowd: bool) -> Self {
        self.iscrowd = iscrowd;
        self
    }

    /// The annotated area, or else the area of the box, in square pixels of the original image.
    pub fn area(&self) -> f64 {
        self.annotated_area
            .unwrap_or_else(|| f64::from(self.bbox.area()))
    }
}

/// An image and the objects in it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageRecord {
    /// The id of the image. Layouts without ids number the images of a data set from 1.
    pub id: u64,
    /// The file name, as the annotations give it.
    pub file_name: String,
    /// Width in pixels of the image that [`DetectionDataset::image`](crate::DetectionDataset::image) returns.
    pub width: u32,
    /// Height in pixels of the image that [`DetectionDataset::image`](crate::DetectionDataset::image) returns.
    pub height: u32,
    /// The objects in the image.
    pub objects: Vec<Object>,
}

impl ImageRecord {
    /// An image without objects, of `width` x `height` pixels.
    pub fn new(id: u64, file_name: impl Into<String>, width: u32, height: u32) -> Self {
        Self {
            id,
            file_name: file_name.into(),
            width,
            height,
            objects: Vec::new(),
        }
    }

    /// The same image with these objects.
    #[must_use]
    pub fn with_objects(mut self, objects: Vec<Object>) -> Self {
        self.objects = objects;
        self
    }

    /// The objects that count in training and evaluation: all but crowds.
    pub fn ordinary_objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(|object| !object.iscrowd)
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}
