//! The data of a training run.

use std::sync::Arc;

use fcos_burn_data::{DetectionDataset, list_names};
use fcos_burn_detect::known_classes;
use fcos_burn_model::backbone::BackboneConfig;

use crate::{
    Error, RunConfig,
    config::shared_images,
    data::digest::{DataDigest, SplitDigest},
};

/// The data of a training run. The classes of `val` are some of those of `train`, with their own ids.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Splits {
    /// The training split.
    pub train: Arc<DetectionDataset>,
    /// The validation split.
    pub val: Arc<DetectionDataset>,
    /// How many images of `val` are also in `train`.
    shared: usize,
}

impl Splits {
    /// Opens the splits that `config` names, logs a summary of them, and sets what the
    /// configuration takes from the data: the classes, the steps of a named augmentation, and the
    /// number of epochs.
    ///
    /// # Errors
    ///
    /// Fails if a split cannot be opened or has no images, if there is no training object, or if
    /// the splits have no class in common.
    pub fn open<C: BackboneConfig>(config: &mut RunConfig<C>) -> Result<Self, Error> {
        let (train, val) = config.data.open_splits()?;
        Self::new(train, val, config)
    }

    pub(super) fn new<C: BackboneConfig>(
        train: DetectionDataset,
        val: DetectionDataset,
        config: &mut RunConfig<C>,
    ) -> Result<Self, Error> {
        config.model.num_classes = train.categories().len();
        let checked = config.model.validate();
        checked.map_err(|error| error.within("model"))?;
        // Objects of other classes would only lower AP.
        let detected = config.model.postprocess.detected(train.categories());
        let val = known_classes(val, &detected)?;
        config.data.categories = train.categories().to_vec();
        let data = Self {
            // A held-out part has no image of the rest.
            shared: match config.data.val_share {
                Some(_) => 0,
                None => shared_images(&train, &val),
            },
            train: Arc::new(train),
            val: Arc::new(val),
        };
        data.describe()?;
        config.resolve_duration(data.train.len());
        config.resolve_augmentation(data.train.len());
        Ok(data)
    }

    /// Logs a summary of the data.
    ///
    /// # Errors
    ///
    /// Fails if there is nothing to train on, or no validation image.
    fn describe(&self) -> Result<(), Error> {
        for dataset in [&self.train, &self.val] {
            log::info!("{dataset}");
            if dataset.is_empty() {
                return Err(Error::NoImages(dataset.name().to_owned()));
            }
        }
        self.train.require_objects()?;
        for line in self.findings() {
            log::info!("{line}");
        }
        for line in self.warnings() {
            log::warn!("{line}");
        }
        Ok(())
    }

    /// The findings and remarks of the readers.
    pub(super) fn findings(&self) -> Vec<String> {
        [self.train.messages(), self.val.messages()].concat()
    }

    /// Likely causes of poor results.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let absent = self.train.classes_without_objects();
        if !absent.is_empty() {
            lines.push(format!(
                "{}: no objects of class {}, which cannot be learned",
                self.train.name(),
                list_names(&absent)
            ));
        }
        if self.val.classes_without_objects().len() == self.val.categories().len() {
            lines.push(format!(
                "{}: no validation objects, so there is no AP and the weights of the last epoch are kept",
                self.val.name()
            ));
        }
        if self.shared > 0 {
            lines.push(format!(
                "{}: {} of {} images are also in the training split, so the validation results will be too optimistic",
                self.val.name(),
                self.shared,
                self.val.len()
            ));
        }
        lines
    }

    pub(super) fn digest(&self) -> DataDigest {
        DataDigest {
            train: SplitDigest::of(&self.train),
            val: SplitDigest::of(&self.val),
        }
    }
}
