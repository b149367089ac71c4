//! Batches for training and for detection, made by worker threads.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    tensor::{Device, Tensor, TensorData},
};
use fcos_burn_data::{
    DataError, DetectionDataset, ImageBatch, Loader, LoaderError, SampleOrder, SampleReader,
    epoch_order, sample_rng, stack, stack_resized,
    transforms::{Interpolation, Pipeline, Sample},
};
use fcos_burn_model::{
    ImageFrame,
    assignment::AssignmentConfig,
    pyramid::{LocationRule, Locations},
};

use crate::{
    config::{InputConfig, RunConfig},
    learner::{BatchPart, DetectBatch, TrainBatch},
};

/// Where in a training a batch stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchPlace {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The share of the training that is done before it, in `[0, 1]`; 0 where there is
    /// none.
    pub progress: f64,
}

/// How samples become a batch: on a worker first, then on the device.
pub trait Collate: Clone + Send + Sync + 'static {
    /// The batch on the host.
    type Host: Send + 'static;
    /// The batch on the device.
    type Batch: Send + 'static;

    /// Makes the batch of these images.
    ///
    /// # Errors
    ///
    /// Names the image that cannot be read or transformed.
    fn collate(
        &self,
        dataset: &DetectionDataset,
        indices: &[usize],
        place: BatchPlace,
    ) -> Result<Self::Host, DataError>;

    /// Copies the batch to `device`.
    fn to_device(host: Self::Host, device: &Device) -> Self::Batch;
}

/// Augmented images with the targets of their locations.
#[derive(Clone, Debug)]
pub struct TrainCollate {
    /// Size and normalisation.
    pub input: InputConfig,
    /// Random changes to the resized images.
    pub augmentation: Pipeline,
    /// Which location learns which object.
    pub assignment: AssignmentConfig,
    /// Where on the input the locations stand.
    pub location_rule: LocationRule,
    /// Reads the images, or others in place of those that cannot be read; its seed is that
    /// of the augmentation too.
    pub reader: SampleReader,
    /// Into how many parts of about the same size a batch is divided, at least 1. A
    /// batch of fewer images has a part for each.
    pub parts: usize,
}

impl TrainCollate {
    /// That of a training.
    ///
    /// # Errors
    ///
    /// Names the transform that cannot be applied.
    pub fn new(config: &RunConfig) -> Result<Self, DataError> {
        Ok(Self {
            input: config.input.clone(),
            augmentation: Pipeline::new(config.input.augmentation.clone())?,
            assignment: config.model.assignment.clone(),
            location_rule: config.model.location_rule,
            reader: SampleReader::new(config.seed),
            parts: config.devices.len() * config.accumulate,
        })
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
    ) -> Result<TrainBatch, DataError> {
        let mut samples = Vec::with_capacity(indices.len());
        let mut read = Vec::with_capacity(indices.len());
        for &index in indices {
            let (index, sample) = self.reader.sample(dataset, place.epoch, index)?;
            let mut rng = sample_rng(self.reader.seed(), place.epoch, index);
            let sample = self.input.resize.apply(sample, self.input.interpolation)?;
            samples.push(self.augmentation.apply(sample, &mut rng)?);
            read.push(index);
        }
        let batch = stack(&samples, self.input.normalization, self.input.size_multiple);
        let [_, _, height, width] = batch.shape;
        let locations = Locations::new([height, width], self.location_rule);
        // All parts are padded to the size of the batch: padding is background that
        // the classifier learns, and a part's would else differ from the batch's.
        let image_len = 3 * height * width;
        let part_len = samples.len().div_ceil(self.parts.max(1)).max(1);
        let parts = samples
            .chunks(part_len)
            .zip(batch.data.chunks((part_len * image_len).max(1)))
            .map(|(samples, pixels)| {
                let images = TensorData::new(pixels.to_vec(), [samples.len(), 3, height, width]);
                let objects: Vec<Vec<_>> = samples.iter().map(objects).collect();
                BatchPart::new(images, &objects, &locations, &self.assignment)
            })
            .collect();
        Ok(TrainBatch {
            parts,
            indices: read,
            progress: place.progress,
        })
    }

    fn to_device(host: TrainBatch, _device: &Device) -> TrainBatch {
        host
    }
}

/// Box and class of each object.
fn objects(sample: &Sample) -> Vec<([f32; 4], usize)> {
    sample
        .boxes()
        .iter()
        .zip(sample.labels())
        .map(|(bbox, &label)| (bbox.to_xyxy(), label))
        .collect()
}

/// Resized images as they are.
#[derive(Clone, Debug)]
pub struct DetectCollate {
    /// Size and normalisation; the augmentation is not applied.
    pub input: InputConfig,
}

/// A [`DetectBatch`] on the host.
pub struct HostDetectBatch {
    images: TensorData,
    frames: Vec<ImageFrame>,
    indices: Vec<usize>,
}

impl DetectCollate {
    /// Makes a batch of images that belong to no data set.
    ///
    /// # Errors
    ///
    /// Fails if an image cannot be resized.
    pub fn images(&self, images: Vec<image::RgbImage>) -> Result<HostDetectBatch, DataError> {
        let input = &self.input;
        let original_sizes: Vec<_> = images.iter().map(|image| image.dimensions()).collect();
        let batch = match input.interpolation {
            Interpolation::Antialiased => {
                let samples = images
                    .into_iter()
                    .map(|image| {
                        let sample = Sample::new(image, Vec::new(), Vec::new());
                        input.resize.apply(sample, input.interpolation)
                    })
                    .collect::<Result<Vec<Sample>, DataError>>()?;
                stack(&samples, input.normalization, input.size_multiple)
            }
            Interpolation::Pointwise => stack_resized(
                &images,
                input.resize,
                input.normalization,
                input.size_multiple,
            )?,
        };
        let side = |[width, height]: [u32; 2]| [height as usize, width as usize];
        let frames: Vec<ImageFrame> = batch
            .sizes
            .iter()
            .zip(original_sizes)
            .map(|(&size, original)| ImageFrame {
                input_size: side(size),
                original_size: side(original.into()),
            })
            .collect();
        Ok(HostDetectBatch {
            images: images_data(batch),
            indices: (0..frames.len()).collect(),
            frames,
        })
    }
}

impl Collate for DetectCollate {
    type Host = HostDetectBatch;
    type Batch = DetectBatch;

    fn collate(
        &self,
        dataset: &DetectionDataset,
        indices: &[usize],
        _place: BatchPlace,
    ) -> Result<HostDetectBatch, DataError> {
        let images = indices
            .iter()
            .map(|&index| dataset.image(index))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(HostDetectBatch {
            indices: indices.to_vec(),
            ..self.images(images)?
        })
    }

    fn to_device(host: HostDetectBatch, device: &Device) -> DetectBatch {
        DetectBatch {
            images: Tensor::from_data(host.images, device),
            frames: host.frames,
            indices: host.indices,
        }
    }
}

fn images_data(batch: ImageBatch) -> TensorData {
    TensorData::new(batch.data, batch.shape)
}

/// A data loader of burn-train over a detection data set.
///
/// The batches of an epoch depend on the seed and the epoch alone, not on the
/// number of workers. Each call of `iter` starts the next epoch.
#[derive(Debug)]
pub struct BatchLoader<C> {
    dataset: Arc<DetectionDataset>,
    collate: C,
    plan: EpochPlan,
    device: Device,
    first: FirstBatch,
    next_epoch: AtomicU64,
}

/// Which images an epoch takes, and how.
#[derive(Clone, Debug)]
pub struct EpochPlan {
    /// Images in a batch.
    pub batch_size: usize,
    /// Worker threads; 0 loads on the thread that asks.
    pub workers: usize,
    /// Order of the images.
    pub order: SampleOrder,
    /// Seed of the order.
    pub seed: u64,
    /// The part of the order that this loader takes, as burn-train divides it
    /// among devices.
    pub range: Range<usize>,
    /// Batches over all epochs, if the last epoch is to end before its images do.
    pub max_batches: Option<usize>,
}

/// Where a loader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBatch {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The batch of that epoch, counted from 0.
    pub batch: usize,
}

impl FirstBatch {
    /// The first of all.
    pub const START: Self = Self { epoch: 1, batch: 0 };
}

impl EpochPlan {
    /// The batches of an epoch, counted from 1, over a data set of `len` images.
    fn batches(&self, len: usize, epoch: u64) -> Vec<Vec<usize>> {
        let order = epoch_order(len, self.seed, epoch, self.order);
        let mut batches: Vec<Vec<usize>> = order[self.range.clone()]
            .chunks(self.batch_size)
            .map(<[usize]>::to_vec)
            .collect();
        if let Some(max_batches) = self.max_batches {
            batches.truncate(max_batches.saturating_sub(self.batches_before(epoch)));
        }
        batches
    }

    /// Batches of the epochs before `epoch`.
    fn batches_before(&self, epoch: u64) -> usize {
        (epoch as usize).saturating_sub(1) * self.range.len().div_ceil(self.batch_size)
    }

    fn place(&self, epoch: u64, batch: usize) -> BatchPlace {
        let done = (self.batches_before(epoch) + batch) as f64;
        BatchPlace {
            epoch,
            progress: self.max_batches.map_or(0.0, |all| done / all as f64),
        }
    }
}

impl<C: Collate> BatchLoader<C> {
    /// A loader whose first `iter` begins with `first`.
    pub fn new(
        dataset: Arc<DetectionDataset>,
        collate: C,
        plan: EpochPlan,
        device: Device,
        first: FirstBatch,
    ) -> Self {
        Self {
            dataset,
            collate,
            plan,
            device,
            first,
            next_epoch: AtomicU64::new(first.epoch),
        }
    }

    fn with(&self, device: Device, range: Range<usize>) -> Self {
        Self {
            dataset: self.dataset.clone(),
            collate: self.collate.clone(),
            plan: EpochPlan {
                range,
                ..self.plan.clone()
            },
            device,
            first: self.first,
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::SeqCst)),
        }
    }
}

impl<C: Collate> DataLoader<C::Batch> for BatchLoader<C> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<C::Batch> + 'a> {
        let epoch = self.next_epoch.fetch_add(1, Ordering::SeqCst);
        let batches = self.plan.batches(self.dataset.len(), epoch);
        let skipped = match epoch == self.first.epoch {
            true => self.first.batch.min(batches.len()),
            false => 0,
        };
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        let dataset = self.dataset.clone();
        let collate = self.collate.clone();
        let plan = self.plan.clone();
        let loader = Loader::new(batches.len() - skipped, plan.workers, move |job| {
            let batch = skipped + job;
            collate.collate(&dataset, &batches[batch], plan.place(epoch, batch))
        });
        Box::new(BatchIterator::<C> {
            loader: Some(loader),
            device: &self.device,
            taken: skipped,
            loaded: sizes[..skipped].iter().sum(),
            total: sizes.iter().sum(),
            sizes,
        })
    }

    fn num_items(&self) -> usize {
        self.plan.range.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<C::Batch>> {
        Arc::new(self.with(device.clone(), self.plan.range.clone()))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<C::Batch>> {
        let first = self.plan.range.start;
        Arc::new(self.with(self.device.clone(), first + start..first + end))
    }
}

type HostLoader<C> = Loader<<C as Collate>::Host, DataError>;

struct BatchIterator<'a, C: Collate> {
    /// The loader, or why its threads could not be started, until that is told.
    loader: Option<std::io::Result<HostLoader<C>>>,
    device: &'a Device,
    sizes: Vec<usize>,
    taken: usize,
    loaded: usize,
    total: usize,
}

impl<C: Collate> Iterator for BatchIterator<'_, C> {
    type Item = Result<C::Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.loader.as_mut()? {
            Ok(loader) => loader.next()?,
            Err(_) => {
                let error = self.loader.take()?.err()?;
                return Some(Err(DatasetError::new(error)));
            }
        };
        self.loaded += self.sizes.get(self.taken).copied().unwrap_or(0);
        self.taken += 1;
        Some(match next {
            Ok(host) => Ok(C::to_device(host, self.device)),
            // Which batch it was says nothing to a user; the cause names the file.
            Err(LoaderError::Failed { source, .. }) => Err(DatasetError::new(source)),
            Err(panicked) => Err(DatasetError::new(panicked)),
        })
    }
}

impl<C: Collate> DataLoaderIterator<C::Batch> for BatchIterator<'_, C> {
    fn progress(&self) -> Progress {
        Progress::new(self.loaded, self.total, Some("images".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;
    use crate::device::{DeviceName, Precision};

    #[derive(Clone)]
    struct PanicsAtTheSecond;

    impl Collate for PanicsAtTheSecond {
        type Host = usize;
        type Batch = usize;

        fn collate(
            &self,
            _dataset: &DetectionDataset,
            indices: &[usize],
            _place: BatchPlace,
        ) -> Result<usize, DataError> {
            match indices[0] {
                2 => panic!("no such thing"),
                first => Ok(first),
            }
        }

        fn to_device(host: usize, _device: &Device) -> usize {
            host
        }
    }

    #[test]
    fn a_panic_of_a_worker_is_the_error_of_its_batch() {
        let shapes = ShapesConfig {
            val_images: 6,
            ..ShapesConfig::default()
        };
        let dataset = Arc::new(DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap());
        for workers in [0, 3] {
            let plan = EpochPlan {
                batch_size: 2,
                workers,
                order: SampleOrder::Sequential,
                seed: 0,
                range: 0..6,
                max_batches: None,
            };
            let device = DeviceName::CPU.open(Precision::F32).unwrap();
            let first = FirstBatch::START;
            let loader = BatchLoader::new(dataset.clone(), PanicsAtTheSecond, plan, device, first);
            let batches: Vec<Result<usize, String>> = loader
                .iter()
                .map(|batch| batch.map_err(|error| error.to_string()))
                .collect();
            assert_eq!(batches.len(), 3);
            assert_eq!((&batches[0], &batches[2]), (&Ok(0), &Ok(4)));
            let error = batches[1].as_ref().unwrap_err();
            assert!(error.contains("panicked: no such thing"), "{error}");
        }
    }
}
