//! The annotations and pixels of a split.

use image::RgbImage;
use rayon::prelude::*;

use super::config::ShapesConfig;
use super::figure::ShapeKind;
use super::scene::Scene;
use crate::dataset::renumber_objects;
use crate::drawing::Split;
use crate::random::keyed_rng;
use crate::{Category, DataError, DetectionDataset, ImageRecord, ImageSource, Object};

impl DetectionDataset {
    /// One split of the generated data set.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] if a value of the configuration is not allowed.
    pub fn shapes(config: &ShapesConfig, split: Split) -> Result<Self, DataError> {
        config.validate()?;
        let source = Shapes {
            config: config.clone(),
            split,
        };
        let records = (0..source.len()).into_par_iter();
        let mut images: Vec<ImageRecord> = records.map(|index| source.record(index)).collect();
        renumber_objects(&mut images);
        let categories = Category::list(ShapeKind::ALL.map(ShapeKind::name));
        let name = format!("shapes [{}]", split.name());
        Self::new(name, categories, images, source)
    }
}

/// Draws the images of a split.
#[derive(Debug)]
struct Shapes {
    config: ShapesConfig,
    split: Split,
}

impl Shapes {
    fn len(&self) -> usize {
        match self.split {
            Split::Train => self.config.train_images,
            Split::Val => self.config.val_images,
        }
    }

    fn scene(&self, index: usize) -> Scene {
        let (seed, split) = (self.config.seed, self.split as u64);
        Scene::draw(
            &self.config,
            &mut keyed_rng(*b"shapes..", seed, split, index as u64),
        )
    }

    /// The annotations of an image. Object ids are assigned once all images are known.
    fn record(&self, index: usize) -> ImageRecord {
        let objects = self.scene(index).visible_objects().into_iter();
        let objects = objects.map(|(kind, visible)| {
            Object::new(0, visible.bbox, kind as usize).with_annotated_area(visible.area)
        });
        let file_name = format!("shapes-{}-{index:06}.png", self.split.name());
        let (width, height) = (self.config.width, self.config.height);
        ImageRecord::new(index as u64 + 1, file_name, width, height).with_objects(objects.collect())
    }
}

impl ImageSource for Shapes {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        Ok(self.scene(index).render())
    }

    fn always_readable(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn small() -> ShapesConfig {
        ShapesConfig::default()
            .with_train_images(60)
            .with_val_images(40)
    }

    #[test]
    fn splits_are_reproducible_and_disjoint() {
        let config = small();
        let train = DetectionDataset::shapes(&config, Split::Train).unwrap();
        let again = DetectionDataset::shapes(&config, Split::Train).unwrap();
        assert_eq!(train.images(), again.images());
        assert_eq!(train.image(5).unwrap(), again.image(5).unwrap());
        let val = DetectionDataset::shapes(&config, Split::Val).unwrap();
        assert_ne!(train.image(5).unwrap(), val.image(5).unwrap());
        let other = DetectionDataset::shapes(&config.with_seed(1), Split::Train).unwrap();
        assert_ne!(train.image(5).unwrap(), other.image(5).unwrap());
    }

    #[test]
    fn images_are_the_same_bytes_on_every_machine() {
        let config = ShapesConfig::default()
            .with_seed(3)
            .with_train_images(4)
            .with_size(64, 48)
            .with_max_objects(6)
            .with_min_size(8.0)
            .with_max_size(0.8)
            .with_max_strokes(4)
            .with_low_contrast(0.2)
            .with_typical_color(0.5)
            .with_noise(10.0);
        let train = DetectionDataset::shapes(&config, Split::Train).unwrap();
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
        let config = ShapesConfig::default().with_train_images(400);
        let train = DetectionDataset::shapes(&config, Split::Train).unwrap();
        let objects: Vec<&Object> = train
            .images()
            .iter()
            .flat_map(|image| &image.objects)
            .collect();
        for label in 0..train.categories().len() {
            let fraction = objects
                .iter()
                .filter(|object| object.label == label)
                .count() as f64
                / objects.len() as f64;
            assert!(
                fraction > 0.08,
                "{} is rare: {fraction}",
                train.categories()[label].name
            );
        }
        let length = |object: &&Object| object.bbox.width().max(object.bbox.height());
        assert!(objects.iter().any(|object| length(object) < 14.0));
        assert!(objects.iter().any(|object| length(object) > 80.0));
        assert!(
            objects
                .iter()
                .all(|object| object.bbox == object.bbox.clip(128, 96)
                    && !object.bbox.is_degenerate())
        );
        assert!(
            objects
                .iter()
                .all(|object| object.area() <= f64::from(object.bbox.area()))
        );
    }
}
