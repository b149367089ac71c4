//! The annotations and pixels of a split.

use std::fmt;

use image::RgbImage;
use rayon::prelude::*;

use super::class::Class;
use super::config::SyntheticConfig;
use super::layout::Layout;
use super::picture;
use crate::dataset::renumber_objects;
use crate::drawing::Split;
use crate::random::keyed_rng;
use crate::{Category, DataError, DetectionDataset, ImageRecord, ImageSource, Object};

impl DetectionDataset {
    /// One split of the generated data set for pretraining.
    ///
    /// ```
    /// use fcos_burn_data::DetectionDataset;
    /// use fcos_burn_data::synthetic::{SyntheticConfig, SyntheticSplit};
    ///
    /// let config = SyntheticConfig::default().with_classes(28).with_train_images(4);
    /// let dataset = DetectionDataset::synthetic(&config, SyntheticSplit::Train)?;
    /// assert_eq!(dataset.categories()[1].name, "polygon-1");
    /// assert_eq!(dataset.image(3)?.dimensions(), (160, 120));
    /// # Ok::<(), fcos_burn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] if a value of the configuration is not allowed.
    pub fn synthetic(config: &SyntheticConfig, split: Split) -> Result<Self, DataError> {
        config.validate()?;
        let source = Synthetic {
            config: config.clone(),
            split,
            classes: (0..config.classes).map(Class::new).collect(),
        };
        let records = (0..source.len()).into_par_iter();
        let mut images: Vec<ImageRecord> = records.map(|index| source.record(index)).collect();
        renumber_objects(&mut images);
        let categories = Category::list(source.classes.iter().map(|class| class.name.as_str()));
        let name = format!("synthetic [{}]", split.name());
        Self::new(name, categories, images, source)
    }
}

/// Draws the images of a split.
struct Synthetic {
    config: SyntheticConfig,
    split: Split,
    classes: Vec<Class>,
}

impl fmt::Debug for Synthetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Synthetic")
            .field("config", &self.config)
            .field("split", &self.split)
            .finish_non_exhaustive()
    }
}

impl Synthetic {
    fn len(&self) -> usize {
        match self.split {
            Split::Train => self.config.train_images,
            Split::Val => self.config.val_images,
        }
    }

    fn layout(&self, index: usize) -> Layout {
        let (seed, split) = (self.config.seed, self.split as u64);
        let rng = &mut keyed_rng(*b"synimage", seed, split, index as u64);
        Layout::draw(&self.config, &self.classes, rng)
    }

    /// The annotations of an image. Object ids are assigned once all images are known.
    fn record(&self, index: usize) -> ImageRecord {
        let objects = self
            .layout(index)
            .visible_objects(&self.classes)
            .into_iter();
        let objects = objects.map(|(class, visible)| {
            Object::new(0, visible.bbox, class).with_annotated_area(visible.area)
        });
        let file_name = format!("synthetic-{}-{index:06}.png", self.split.name());
        let (width, height) = (self.config.width, self.config.height);
        ImageRecord::new(index as u64 + 1, file_name, width, height).with_objects(objects.collect())
    }
}

impl ImageSource for Synthetic {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        Ok(picture::render(
            &self.layout(index),
            &self.config,
            &self.classes,
        ))
    }

    fn always_readable(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use super::*;

    fn train(config: &SyntheticConfig) -> DetectionDataset {
        DetectionDataset::synthetic(config, Split::Train).unwrap()
    }

    /// FNV-1a.
    fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    #[test]
    fn images_and_annotations_are_the_same_on_every_machine() {
        let config = SyntheticConfig::default()
            .with_seed(3)
            .with_train_images(40);
        let dataset = train(&config);
        let pixels = (0..40).flat_map(|index| dataset.image(index).unwrap().into_raw());
        assert_eq!(digest(pixels), PIXELS, "pixels");
        let objects = dataset.images().iter().flat_map(|image| &image.objects);
        let annotations = objects.flat_map(|object| {
            let sides = object.bbox.to_xyxy().map(f32::to_le_bytes);
            sides.into_iter().flatten().chain([object.label as u8])
        });
        assert_eq!(digest(annotations), ANNOTATIONS, "annotations");
    }

    const PIXELS: u64 = 10_979_848_847_305_670_989;
    const ANNOTATIONS: u64 = 18_046_972_272_999_662_170;

    #[test]
    fn splits_are_reproducible_and_disjoint() {
        let config = SyntheticConfig::default()
            .with_train_images(20)
            .with_val_images(20);
        let dataset = train(&config);
        assert_eq!(dataset.images(), train(&config).images());
        assert_eq!(dataset.image(5).unwrap(), train(&config).image(5).unwrap());
        let val = DetectionDataset::synthetic(&config, Split::Val).unwrap();
        assert_ne!(dataset.image(5).unwrap(), val.image(5).unwrap());
        let other = train(&config.with_seed(1));
        assert_ne!(dataset.image(5).unwrap(), other.image(5).unwrap());
    }

    #[test]
    fn every_class_and_all_sizes_occur_and_no_box_is_degenerate() {
        let config = SyntheticConfig::default().with_train_images(1600);
        let dataset = train(&config);
        let objects: Vec<&Object> = dataset
            .images()
            .iter()
            .flat_map(|image| &image.objects)
            .collect();
        for (label, category) in dataset.categories().iter().enumerate() {
            let count = objects
                .iter()
                .filter(|object| object.label == label)
                .count();
            assert!(count >= 10, "{}: {count}", category.name);
        }
        for object in &objects {
            assert_eq!(object.bbox, object.bbox.clip(160, 120));
            assert!(object.bbox.width() >= 3.0 && object.bbox.height() >= 3.0);
            assert!(object.area() > 0.0 && object.area() <= f64::from(object.bbox.area()));
        }
        let length = |object: &&&Object| object.bbox.width().max(object.bbox.height());
        for (low, high) in [(0.0, 12.0), (12.0, 24.0), (24.0, 48.0), (48.0, 161.0)] {
            let count = objects
                .iter()
                .filter(|object| (low..high).contains(&length(object)))
                .count();
            assert!(
                12 * count > objects.len(),
                "{count} of {} are {low} to {high} long",
                objects.len()
            );
        }
        let counts = || dataset.images().iter().map(|image| image.objects.len());
        assert!(counts().max() <= Some(20));
        assert!(counts().filter(|count| *count == 0).count() < 4);
    }

    #[test]
    fn appearance_does_not_change_annotations() {
        let config = SyntheticConfig::default().with_train_images(30);
        let bare = config
            .clone()
            .with_texture(0.0)
            .with_lighting(0.0)
            .with_degradation(0.0)
            .with_typical_color(0.0);
        let (dataset, bare) = (train(&config), train(&bare));
        assert_eq!(dataset.images(), bare.images());
        assert_ne!(dataset.image(0).unwrap(), bare.image(0).unwrap());
    }

    #[test]
    fn extreme_configurations_can_be_drawn() {
        for (width, height, max_size) in [
            (16, 16, 1.0),
            (16, 300, 1.0),
            (600, 17, 0.5),
            (64, 64, 0.0625),
        ] {
            let config = SyntheticConfig::default()
                .with_train_images(12)
                .with_size(width, height)
                .with_min_size(4.0)
                .with_max_size(max_size)
                .with_max_objects(100)
                .with_max_clutter(100)
                .with_classes(1000);
            let dataset = train(&config);
            for index in 0..12 {
                assert_eq!(dataset.image(index).unwrap().dimensions(), (width, height));
            }
        }
        let one = SyntheticConfig::default()
            .with_classes(1)
            .with_max_objects(1)
            .with_max_clutter(0);
        let dataset = train(&one.with_train_images(12));
        assert!(
            dataset
                .images()
                .iter()
                .all(|image| image.objects.len() <= 1)
        );
    }

    #[test]
    #[ignore = "measures time"]
    fn an_image_takes_milliseconds() {
        for (width, height, limit) in [(160, 120, 3.0), (320, 240, 10.0)] {
            let config = SyntheticConfig::default()
                .with_train_images(300)
                .with_size(width, height);
            let dataset = train(&config);
            dataset.image(0).unwrap();
            let start = Instant::now();
            for index in 0..300 {
                dataset.image(index).unwrap();
            }
            let time = start.elapsed().as_secs_f64() * 1000.0 / 300.0;
            println!("{width}x{height}: {time:.2} ms per image");
            assert!(time < limit, "{width}x{height}: {time:.2} ms");
        }
    }
}
