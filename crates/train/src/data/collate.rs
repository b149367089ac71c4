//! Collation of samples into batches.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use fcos_burn_data::{
    DataError, DetectionDataset, SampleReader, sample_rng, stack,
    transforms::{Augmentations, Pipeline, Sample},
};
use fcos_burn_detect::{InputBatch, InputConfig};
use fcos_burn_model::{
    assignment::{AssignmentRule, PredictionAssignmentRule},
    backbone::BackboneConfig,
    locations::{LocationRule, Locations},
};

use super::{BatchPart, BatchPlace, ImageObjects, PartTargets, TrainBatch, ValidationBatch};
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

/// The rule that assigns locations to objects.
#[derive(Clone, Debug)]
pub enum Assigner {
    /// Uses the objects alone; runs on the data loading workers.
    Static(Arc<dyn AssignmentRule>),
    /// Uses the predictions of the step.
    ByPrediction(Arc<dyn PredictionAssignmentRule>),
}

impl Assigner {
    /// FCOS's rule, as it is configured.
    pub(crate) fn of<C: BackboneConfig>(config: &RunConfig<C>) -> Result<Self, Error> {
        let rule = config.model.assignment_rule();
        let rule = rule.map_err(|error| error.within("model"))?;
        Ok(Self::Static(Arc::new(rule)))
    }
}

/// Augmented images with the targets of their locations.
#[derive(Clone, Debug)]
pub struct TrainCollate {
    /// Size and normalization.
    pub input: InputConfig,
    /// Random transforms of the resized images.
    pub augmentation: Pipeline,
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
}

impl TrainCollate {
    /// Collation according to the configuration, with the built-in augmentations and assignment
    /// rule.
    ///
    /// # Errors
    ///
    /// Names the invalid transform, or the invalid field of the model.
    pub fn new<C: BackboneConfig>(config: &RunConfig<C>) -> Result<Self, Error> {
        let assigner = Assigner::of(config)?;
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
    /// Names the invalid transform.
    pub fn with_extensions<C: BackboneConfig>(
        config: &RunConfig<C>,
        augmentations: &Augmentations,
        assigner: Assigner,
    ) -> Result<Self, DataError> {
        Ok(Self {
            input: config.input.clone(),
            augmentation: augmentations.pipeline(&config.input.augmentation)?,
            assigner,
            strides: config.model.strides(),
            location_rule: config.model.location_rule,
            ignore: config.ignore,
            reader: SampleReader::new(config.seed),
            parts: config.devices.len() * config.accumulate,
        })
    }
}

impl TrainCollate {
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
        let mut samples = Vec::with_capacity(indices.len());
        let mut read = Vec::with_capacity(indices.len());
        for (offset, &index) in indices.iter().enumerate() {
            let (index, sample) = self.reader.sample(dataset, place.epoch, index)?;
            let key = place.draws.map_or(index, |draws| draws + offset);
            let mut rng = sample_rng(self.reader.seed(), place.epoch, key);
            let prepared = (self.input.resize)
                .resize(sample, self.input.interpolation)
                .and_then(|sample| self.augmentation.apply(sample, &mut rng));
            samples.push(prepared.map_err(|error| Error::images(dataset, &[index], error))?);
            read.push(index);
        }
        let batch = stack(&samples, self.input.normalization, self.input.size_multiple);
        let [_, _, height, width] = batch.shape;
        let locations = Locations::new([height, width], &self.strides, self.location_rule);
        // All parts are padded to the size of the batch. Padding contains background locations,
        // so smaller parts would change the loss.
        let image_len = 3 * height * width;
        let part_len = samples.len().div_ceil(self.parts.max(1)).max(1);
        let parts = samples
            .chunks(part_len)
            .zip(batch.data.chunks((part_len * image_len).max(1)))
            .zip(read.chunks(part_len))
            .map(|((samples, pixels), indices)| {
                let images = TensorData::new(pixels.to_vec(), [samples.len(), 3, height, width]);
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
    /// Size and normalization; its augmentation is ignored.
    pub(crate) input: InputConfig,
}

/// A [`ValidationBatch`] on the host.
pub(crate) struct HostValidationBatch {
    input: InputBatch,
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
            input: (self.input.batch(images))
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
