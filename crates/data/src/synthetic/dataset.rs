//! The annotations and pixels of a split.

use std::fmt;

use image::RgbImage;
use rayon::prelude::*;

use super::class::Class;
use super::config::{SyntheticConfig, SyntheticSplit};
use super::layout::Layout;
use super::picture;
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
    pub fn synthetic(config: &SyntheticConfig, split: SyntheticSplit) -> Result<Self, DataError> {
        config.validate()?;
        let source = Synthetic {
            config: config.clone(),
            split,
            classes: (0..config.classes).map(Class::new).collect(),
        };
        let records = (0..source.len()).into_par_iter();
        let mut images: Vec<ImageRecord> = records.map(|index| source.record(index)).collect();
        let objects = images.iter_mut().flat_map(|image| &mut image.objects);
        for (object, id) in objects.zip(1..) {
            object.id = id;
        }
        let categories = Category::list(source.classes.iter().map(|class| class.name.as_str()));
        let name = format!("synthetic [{}]", split.name());
        Self::new(name, categories, images, source)
    }
}

/// Draws the images of a split.
struct Synthetic {
    config: SyntheticConfig,
    split: SyntheticSplit,
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
            SyntheticSplit::Train => self.config.train_images,
            SyntheticSplit::Val => self.config.val_images,
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
