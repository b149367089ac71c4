//! Collation of samples into batches.

use burn::tensor::{Device, Tensor};
use fcos_burn_data::{
    DataError, DetectionDataset, SampleReader, sample_rng, stack, stack_bytes,
    transforms::{Augmentations, Pipeline, Resize, Sample},
};
use fcos_burn_detect::{InputConfig, InputView, device::DeviceName};
use fcos_burn_model::{
    assignment::Assigner,
    backbone::BackboneConfig,
    locations::{LocationRule, Locations},
};

use super::{
    BatchPart, BatchPlace, ImageObjects, PartImages, PartTargets, TrainBatch, ValidationBatch,
};
use crate::{Error, RunConfig, config::IgnoreRule};

/// Collates samples into a batch, first on a worker thread, then on the device.
pub trait Collate: Clone + Send + Sync + 'static {
    /// The batch on the host.
    type Host: Send + 'static;
    /// The batch on the device.
    type Batch: Send + 'static;

    /// Loads these images and collates them into a batch on the host.
    ///
    /// # Errors
    ///
    /// Names the image that cannot be read or transformed.
    fn collate(
        &self,
        dataset: &DetectionDataset,
        indices: &[usize],
        place: BatchPlace,
    ) -> Result<Self::Host, Error>;

    /// Copies the batch to `device`.
    fn to_device(host: Self::Host, device: &Device) -> Self::Batch;
}

/// The rule that `config` selects.
pub(crate) fn assigner<C: BackboneConfig>(config: &RunConfig<C>) -> Result<Assigner, Error> {
    let rule = config.model.assignment_rule();
    Ok(rule.map_err(|error| error.within("model"))?)
}

const MEBIBYTE: usize = 1 << 20;

/// Augmented images with the targets of their locations.
#[derive(Clone, Debug)]
pub struct TrainCollate {
    /// Size and normalization.
    pub input: InputConfig,
    /// Random transforms of the resized images.
    pub augmentation: Pipeline,
    /// The number of last epochs with a [plain](Pipeline::plain) augmentation and a single scale.
    pub plain_epochs: usize,
    /// The rule that assigns locations to objects.
    pub assigner: Assigner,
    /// Strides of the pyramid's levels.
    pub strides: Vec<usize>,
    /// The position of each location in its grid cell.
    pub location_rule: LocationRule,
    /// Which objects are ignored.
    pub ignore: IgnoreRule,
    /// Reads the images and replaces unreadable ones; the augmentation uses its seed too.
    pub reader: SampleReader,
    /// Number of parts of about equal size into which a batch is divided, at least 1. A batch of
    /// fewer images has one part per image.
    pub parts: usize,
    /// Whether the devices get the images [as bytes](PartImages::Bytes).
    pub as_bytes: bool,
}

impl TrainCollate {
    /// Collation according to the configuration, with the built-in augmentations and assignment
    /// rule.
    ///
    /// # Errors
    ///
    /// Names the invalid transform or scale, or the invalid field of the model.
    pub fn new<C: BackboneConfig>(config: &RunConfig<C>) -> Result<Self, Error> {
        let assigner = assigner(config)?;
        Ok(Self::with_extensions(
            config,
            &Augmentations::default(),
            assigner,
        )?)
    }

    /// Collation according to the configuration, with custom augmentations and a custom assigner.
    ///
    /// # Errors
    ///
    /// Names the invalid transform or scale.
    pub fn with_extensions<C: BackboneConfig>(
        config: &RunConfig<C>,
        augmentations: &Augmentations,
        assigner: Assigner,
    ) -> Result<Self, DataError> {
        if let Some(multi_scale) = config.input.multi_scale {
            (multi_scale.validate()).map_err(|error| error.within("input.multi_scale"))?;
        }
        Ok(Self {
            input: config.input.clone(),
            augmentation: augmentations.pipeline(&config.input.augmentation)?,
            plain_epochs: config.plain_epochs,
            assigner,
            strides: config.model.strides(),
            location_rule: config.model.location_rule,
            ignore: config.ignore,
            reader: SampleReader::new(config.seed)
                .with_memory(config.image_memory.saturating_mul(MEBIBYTE)),
            parts: config.devices.len() * config.accumulate,
            as_bytes: config.devices.iter().any(DeviceName::is_remote),
        })
    }

    /// The size and the augmentation of a batch.
    fn at(&self, place: BatchPlace) -> (Resize, Pipeline) {
        let resize = self.input.resize;
        if (place.epochs_left).is_some_and(|left| left < self.plain_epochs) {
            return (resize, self.augmentation.plain());
        }
        let scaled = self.input.multi_scale.map(|multi_scale| {
            let (multiple, seed) = (self.input.size_multiple, self.reader.seed());
            multi_scale.of_batch(resize, multiple, seed, place.epoch, place.batch)
        });
        (scaled.unwrap_or(resize), self.augmentation.clone())
    }

    /// The images of a batch, in parts of at most `len`, and the height and width of the batch.
    fn images(&self, samples: &[Sample], len: usize) -> (Vec<PartImages>, [usize; 2]) {
        let (normalization, multiple) = (self.input.normalization, self.input.size_multiple);
        let (parts, shape) = match self.as_bytes {
            true => {
                let batch = stack_bytes(samples, normalization, multiple);
                (PartImages::bytes(&batch, normalization, len), batch.shape)
            }
            false => {
                let batch = stack(samples, normalization, multiple);
                (PartImages::normalized(&batch, len), batch.shape)
            }
        };
        let [_, _, height, width] = shape;
        (parts, [height, width])
    }

    /// The objects of a sample, divided by the rule for ignored ones.
    fn objects(&self, sample: &Sample) -> ImageObjects {
        let size = sample.image().dimensions().into();
        let objects = sample.objects().into_iter();
        let (ignored, learned) = objects.partition(|object| self.ignore.ignores(object, size));
        ImageObjects { learned, ignored }
    }
}

impl Collate for TrainCollate {
    type Host = TrainBatch;
    type Batch = TrainBatch;

    fn collate(
        &self,
        dataset: &DetectionDataset,
        indices: &[usize],
        place: BatchPlace,
    ) -> Result<TrainBatch, Error> {
        let (resize, augmentation) = self.at(place);
        let interpolation = self.input.interpolation;
        let companions = (self.reader).companions(dataset, place.epoch, resize, interpolation);
        let mut samples = Vec::with_capacity(indices.len());
        let mut read = Vec::with_capacity(indices.len());
        for (offset, &index) in indices.iter().enumerate() {
            let (index, sample) =
                (self.reader).resized(dataset, place.epoch, index, resize, interpolation)?;
            let key = place.draws.map_or(index, |draws| draws + offset);
            let mut rng = sample_rng(self.reader.seed(), place.epoch, key);
            let prepared = augmentation.apply_among(sample, &companions, &mut rng);
            samples.push(prepared.map_err(|error| Error::images(dataset, &[index], error))?);
            read.push(index);
        }
        let part_len = samples.len().div_ceil(self.parts.max(1)).max(1);
        let (images, size) = self.images(&samples, part_len);
        let locations = Locations::new(size, &self.strides, self.location_rule);
        // All parts are padded to the size of the batch. Padding contains background locations,
        // so smaller parts would change the loss.
        let parts = samples
            .chunks(part_len)
            .zip(images)
            .zip(read.chunks(part_len))
            .map(|((samples, images), indices)| {
                let objects: Vec<ImageObjects> =
                    samples.iter().map(|sample| self.objects(sample)).collect();
                match &self.assigner {
                    Assigner::Static(rule) => {
                        BatchPart::new(images, &objects, &locations, rule.as_ref())
                            .map_err(|error| Error::images(dataset, indices, error))
                    }
                    Assigner::ByPrediction(rule) => Ok(BatchPart {
                        images,
                        targets: PartTargets::Objects {
                            objects,
                            rule: rule.clone(),
                        },
                    }),
                }
            })
            .collect::<Result<_, Error>>()?;
        Ok(TrainBatch {
            parts,
            indices: read,
            place,
        })
    }

    fn to_device(host: TrainBatch, _device: &Device) -> TrainBatch {
        host
    }
}

/// Resized images without augmentation.
#[derive(Clone, Debug)]
pub(crate) struct ValidationCollate {
    /// Size and normalization; augmentation, also that of inference, is ignored.
    pub(crate) input: InputConfig,
}

/// A [`ValidationBatch`] on the host.
pub(crate) struct HostValidationBatch {
    input: InputView,
    indices: Vec<usize>,
}

impl Collate for ValidationCollate {
    type Host = HostValidationBatch;
    type Batch = ValidationBatch;

    fn collate(
        &self,
        dataset: &DetectionDataset,
        indices: &[usize],
        _place: BatchPlace,
    ) -> Result<HostValidationBatch, Error> {
        let images = indices
            .iter()
            .map(|&index| dataset.image(index))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(HostValidationBatch {
            input: (self.input.single_view(&images))
                .map_err(|error| Error::images(dataset, indices, error))?,
            indices: indices.to_vec(),
        })
    }

    fn to_device(host: HostValidationBatch, device: &Device) -> ValidationBatch {
        ValidationBatch {
            images: Tensor::from_data(host.input.images, device),
            frames: host.input.frames,
            indices: host.indices,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::Arc;

    use burn::data::dataloader::DataLoader;
    use fcos_burn_data::{
        shapes::{ShapesConfig, ShapesSplit},
        transforms::{AugmentationStrength, MultiScale},
    };
    use fcos_burn_detect::device::{DeviceName, Precision};

    use super::*;
    use crate::data::{BatchLoader, EpochPlan, FirstBatch};

    fn images() -> Arc<DetectionDataset> {
        let shapes = ShapesConfig::default()
            .with_train_images(10)
            .with_size(64, 64);
        Arc::new(DetectionDataset::shapes(&shapes, ShapesSplit::Train).unwrap())
    }

    /// Strong augmentation, several sizes, and two plain epochs of four.
    fn config() -> RunConfig {
        let mut config = RunConfig::small().with_batch_size(3).with_plain_epochs(2);
        config.input.resize = Resize::Fixed {
            width: 64,
            height: 64,
        };
        config.input.multi_scale = Some(MultiScale::new(0.5, 2.0));
        config.input.augmentation = AugmentationStrength::Strong.steps(10);
        config
    }

    /// All batches of these epochs of four, as text.
    fn epochs(config: &RunConfig, first: FirstBatch) -> Vec<String> {
        let device = DeviceName::CPU.open(Precision::F32).unwrap();
        let plan = EpochPlan::training(config).unwrap().with_max_batches(16);
        let collate = TrainCollate::new(config).unwrap();
        let loader = BatchLoader::new(images(), collate, plan, device, first);
        let epochs = (first.epoch..=4).flat_map(|_| loader.iter().collect::<Vec<_>>());
        epochs
            .map(|batch| format!("{:?}", batch.unwrap()))
            .collect()
    }

    #[test]
    fn batches_depend_neither_on_the_workers_nor_on_where_a_run_is_resumed() {
        let all = epochs(&config().with_workers(0), FirstBatch::START);
        assert_eq!(all.len(), 16);
        assert!(all == epochs(&config().with_workers(3), FirstBatch::START));
        for (epoch, batch) in [(1, 2), (2, 0), (3, 3)] {
            let resumed = epochs(&config(), FirstBatch { epoch, batch });
            assert!(resumed == all[4 * (epoch as usize - 1) + batch..]);
        }
    }

    #[test]
    fn batches_do_not_depend_on_the_memory_for_images() {
        for multi_scale in [None, config().input.multi_scale] {
            let mut config = config();
            config.input.multi_scale = multi_scale;
            let of = |mebibytes| {
                epochs(
                    &config.clone().with_image_memory(mebibytes),
                    FirstBatch::START,
                )
            };
            assert!(of(0) == of(512));
        }
    }

    fn place(batch: usize, epochs_left: usize) -> BatchPlace {
        BatchPlace {
            epoch: 1,
            batch,
            epochs_left: Some(epochs_left),
            progress: 0.0,
            draws: None,
        }
    }

    fn batch(config: &RunConfig, indices: &[usize], place: BatchPlace) -> TrainBatch {
        let collate = TrainCollate::new(config).unwrap();
        collate.collate(&images(), indices, place).unwrap()
    }

    fn pixels(batch: &TrainBatch) -> Vec<f32> {
        let images = batch.parts[0].images.clone().into_tensor(&Device::flex());
        images.into_data().iter::<f32>().collect()
    }

    #[test]
    fn a_sample_does_not_depend_on_the_rest_of_its_batch() {
        let alone = pixels(&batch(&config(), &[4], place(1, 3)));
        let among = pixels(&batch(&config(), &[2, 4, 7], place(1, 3)));
        assert!(among[alone.len()..2 * alone.len()] == alone);
        let other = pixels(&batch(&config(), &[2], place(1, 3)));
        assert!(among[..alone.len()] == other && other != alone);
    }

    #[test]
    fn the_size_changes_from_batch_to_batch_except_in_plain_epochs() {
        let sizes = |epochs_left| -> Vec<Vec<usize>> {
            let batches = (0..20).map(|index| {
                let batch = batch(&config(), &[0], place(index, epochs_left));
                batch.parts[0].images.shape().to_vec()
            });
            let mut sizes: Vec<_> = batches.collect();
            sizes.sort();
            sizes.dedup();
            sizes
        };
        let square = |side| vec![1, 3, side, side];
        assert_eq!(sizes(3), [32, 64, 96, 128].map(square));
        assert_eq!(sizes(1), [square(64)]);
    }

    #[test]
    fn the_last_epochs_have_only_plain_steps() {
        let mut plain = config().with_plain_epochs(0);
        plain.input.multi_scale = None;
        plain.input.augmentation = AugmentationStrength::Light.steps(10);
        // Strong steps, but for the color.
        let mut strong = config();
        strong
            .input
            .augmentation
            .retain(|step| step.name() != "hsv_jitter");
        let color = plain.input.augmentation[1].clone();
        strong.input.augmentation.push(color);
        let text =
            |config: &RunConfig, left| format!("{:?}", batch(config, &[1, 5], place(0, left)));
        for left in [0, 1] {
            assert!(text(&strong, left) == text(&plain, left));
        }
        assert!(text(&strong, 2) != text(&plain, 2));
    }
}
