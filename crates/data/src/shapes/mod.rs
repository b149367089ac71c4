//! A generated detection set: shapes of six classes on cluttered ground.
//!
//! Nothing is stored: an image and its annotations follow from the seed, the split and the index alone. Only operations
//! that IEEE 754 rounds exactly are used (no sines, no logarithms), so that the same configuration gives the same bytes on
//! every machine.
//!
//! What makes it a test of a detector: sizes from a few pixels to most of the image, any rotation, aspect ratios up to 2,
//! objects that hide parts of others or leave the image, textures, low contrast, noise, and lines and curves that are no
//! objects. Colours tell a class most of the time, but not always. A box encloses what is *visible* of its object, as COCO's boxes do; an object of which less than a quarter is
//! visible is drawn but not annotated.

mod figure;
mod paint;
mod raster;
mod scene;

use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::figure::ShapeKind;
use self::scene::Scene;
use crate::dataset::Pixels;
use crate::random::keyed_rng;
use crate::{Category, DataError, DetectionDataset, ImageRecord, Layout, LoadReport, Object};

/// The most images of a split, whose annotations are all in memory.
const MAX_IMAGES: usize = 1_000_000;

/// What the generated set is like. Fields that a configuration file leaves out take their default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapesConfig {
    /// Seed of everything.
    pub seed: u64,
    /// Number of images in the training split.
    pub train_images: usize,
    /// Number of images in the validation split.
    pub val_images: usize,
    /// Width of every image, in pixels.
    pub width: u32,
    /// Height of every image, in pixels.
    pub height: u32,
    /// Most objects drawn in an image; there is at least one.
    pub max_objects: usize,
    /// Length of the smallest objects, in pixels.
    pub min_size: f32,
    /// Length of the largest objects, as a share of the image's shorter side.
    pub max_size: f32,
    /// Most lines and curves in an image that are no objects.
    pub max_strokes: usize,
    /// Share of objects that hardly differ in colour from the ground.
    pub low_contrast: f32,
    /// Share of the other objects that have the colour typical of their class; the rest have any.
    pub typical_color: f32,
    /// Largest standard deviation of the noise on each channel, of 255.
    pub noise: f32,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            train_images: 2000,
            val_images: 150,
            width: 128,
            height: 96,
            max_objects: 3,
            min_size: 8.0,
            max_size: 0.9,
            max_strokes: 3,
            low_contrast: 0.02,
            typical_color: 1.0,
            noise: 5.0,
        }
    }
}

impl ShapesConfig {
    /// Fails where the configuration asks for what cannot be drawn.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] naming the field.
    pub fn validate(&self) -> Result<(), DataError> {
        let refuse = |field, cause: &str| {
            Err(DataError::Config {
                field,
                cause: cause.to_string(),
            })
        };
        if self.train_images > MAX_IMAGES {
            return refuse("shapes.train_images", "is above a million");
        }
        if self.val_images > MAX_IMAGES {
            return refuse("shapes.val_images", "is above a million");
        }
        if !(16..=4096).contains(&self.width) {
            return refuse("shapes.width", "is not between 16 and 4096");
        }
        if !(16..=4096).contains(&self.height) {
            return refuse("shapes.height", "is not between 16 and 4096");
        }
        if !(1..=100).contains(&self.max_objects) {
            return refuse("shapes.max_objects", "is not between 1 and 100");
        }
        if self.max_strokes > 100 {
            return refuse("shapes.max_strokes", "is above 100");
        }
        if !(self.max_size > 0.0 && self.max_size <= 1.0) {
            return refuse("shapes.max_size", "is not a share between 0 and 1");
        }
        if !(self.min_size >= 4.0 && self.min_size <= self.largest_object()) {
            return refuse(
                "shapes.min_size",
                "is not between 4 pixels and the largest object",
            );
        }
        if !(0.0..=1.0).contains(&self.low_contrast) {
            return refuse("shapes.low_contrast", "is not a share between 0 and 1");
        }
        if !(0.0..=1.0).contains(&self.typical_color) {
            return refuse("shapes.typical_color", "is not a share between 0 and 1");
        }
        if !(0.0..=64.0).contains(&self.noise) {
            return refuse("shapes.noise", "is not between 0 and 64");
        }
        Ok(())
    }

    /// Length of the largest objects, in pixels.
    fn largest_object(&self) -> f32 {
        self.max_size * self.width.min(self.height) as f32
    }
}

/// A split of the generated set. No image of one is in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapesSplit {
    /// For training.
    Train,
    /// For validation.
    Val,
}

impl ShapesSplit {
    /// `train` or `val`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }
}

/// Opens a split: the annotations of all of its images.
pub(crate) fn open(
    config: &ShapesConfig,
    split: ShapesSplit,
) -> Result<DetectionDataset, DataError> {
    config.validate()?;
    let len = match split {
        ShapesSplit::Train => config.train_images,
        ShapesSplit::Val => config.val_images,
    };
    let records = (0..len)
        .into_par_iter()
        .map(|index| record(config, split, index));
    let mut images: Vec<ImageRecord> = records.collect();
    let objects = images.iter_mut().flat_map(|image| &mut image.objects);
    for (object, id) in objects.zip(1..) {
        object.id = id;
    }
    let names = ShapeKind::ALL.into_iter().zip(1..);
    let categories = names
        .map(|(kind, id)| Category {
            id,
            name: kind.name().to_string(),
        })
        .collect();
    let name = format!("shapes [{}]", split.name());
    let pixels = Pixels::Shapes(config.clone(), split);
    Ok(DetectionDataset::new(
        name,
        Layout::Shapes,
        categories,
        images,
        LoadReport::default(),
        pixels,
    ))
}

/// Renders an image.
pub(crate) fn render(config: &ShapesConfig, split: ShapesSplit, index: usize) -> RgbImage {
    scene(config, split, index).render()
}

fn scene(config: &ShapesConfig, split: ShapesSplit, index: usize) -> Scene {
    Scene::draw(
        config,
        &mut keyed_rng(*b"shapes..", config.seed, split as u64, index as u64),
    )
}

/// The annotations of an image; their ids are given once all images are known.
fn record(config: &ShapesConfig, split: ShapesSplit, index: usize) -> ImageRecord {
    let visible = scene(config, split, index).visible_objects();
    let objects = visible.into_iter().map(|(kind, visible)| Object {
        id: 0,
        bbox: visible.bbox,
        label: kind as usize,
        area: visible.area,
        iscrowd: false,
    });
    ImageRecord {
        id: index as u64 + 1,
        file_name: format!("shapes-{}-{index:06}.png", split.name()),
        width: config.width,
        height: config.height,
        objects: objects.collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn small() -> ShapesConfig {
        ShapesConfig {
            train_images: 60,
            val_images: 40,
            ..ShapesConfig::default()
        }
    }

    #[test]
    fn splits_are_reproducible_and_disjoint() {
        let config = small();
        let train = DetectionDataset::shapes(&config, ShapesSplit::Train).unwrap();
        let again = DetectionDataset::shapes(&config, ShapesSplit::Train).unwrap();
        assert_eq!(train.images(), again.images());
        assert_eq!(train.image(5).unwrap(), again.image(5).unwrap());
        let val = DetectionDataset::shapes(&config, ShapesSplit::Val).unwrap();
        assert_ne!(train.image(5).unwrap(), val.image(5).unwrap());
        let other =
            DetectionDataset::shapes(&ShapesConfig { seed: 1, ..config }, ShapesSplit::Train)
                .unwrap();
        assert_ne!(train.image(5).unwrap(), other.image(5).unwrap());
    }

    #[test]
    fn images_are_the_same_bytes_on_every_machine() {
        let config = ShapesConfig {
            seed: 3,
            train_images: 4,
            val_images: 0,
            width: 64,
            height: 48,
            max_objects: 6,
            min_size: 8.0,
            max_size: 0.8,
            max_strokes: 4,
            low_contrast: 0.2,
            typical_color: 0.5,
            noise: 10.0,
        };
        let train = DetectionDataset::shapes(&config, ShapesSplit::Train).unwrap();
        // FNV-1a.
        let digest = (0..4)
            .flat_map(|index| train.image(index).unwrap().into_raw())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
        assert_eq!(digest, 0xa08b_4555_5db6_fbd3);
    }

    #[test]
    fn every_class_and_a_wide_range_of_sizes_occur() {
        let config = ShapesConfig {
            train_images: 400,
            ..ShapesConfig::default()
        };
        let train = DetectionDataset::shapes(&config, ShapesSplit::Train).unwrap();
        let objects: Vec<&Object> = train
            .images()
            .iter()
            .flat_map(|image| &image.objects)
            .collect();
        for label in 0..train.categories().len() {
            let share = objects
                .iter()
                .filter(|object| object.label == label)
                .count() as f64
                / objects.len() as f64;
            assert!(
                share > 0.08,
                "{} is rare: {share}",
                train.categories()[label].name
            );
        }
        let length = |object: &&Object| object.bbox.width().max(object.bbox.height());
        assert!(objects.iter().any(|object| length(object) < 14.0));
        assert!(objects.iter().any(|object| length(object) > 80.0));
        assert!(
            objects
                .iter()
                .all(|object| object.bbox == object.bbox.clip(128, 96) && object.bbox.has_extent())
        );
        assert!(
            objects
                .iter()
                .all(|object| object.area <= f64::from(object.bbox.area()))
        );
    }

    #[test]
    fn impossible_configurations_are_refused_by_field() {
        let config = ShapesConfig {
            width: 0,
            ..ShapesConfig::default()
        };
        let error = DetectionDataset::shapes(&config, ShapesSplit::Val).unwrap_err();
        assert_eq!(
            error.to_string(),
            "shapes.width: is not between 16 and 4096"
        );
        let config = ShapesConfig {
            min_size: f32::NAN,
            ..ShapesConfig::default()
        };
        assert!(config.validate().is_err());
        assert!(serde_json::from_str::<ShapesConfig>(r#"{"widht": 64}"#).is_err());
    }
}
