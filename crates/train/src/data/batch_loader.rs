//! The data loader, which prepares the batches of an epoch on worker threads.

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
    tensor::Device,
};
use fcos_burn_data::{
    DetectionDataset, Loader, LoaderError, RepeatFactors, SampleOrder, epoch_order,
};

use fcos_burn_model::{ConfigError, backbone::BackboneConfig};

use super::{BatchPlace, Collate};
use crate::{Error, RunConfig, config::Sampling};

/// A burn-train data loader for a detection data set.
///
/// The batches of an epoch depend only on the seed and the epoch, not on the number of
/// workers. Each call of `iter` starts the next epoch.
#[derive(Debug)]
pub struct BatchLoader<C> {
    dataset: Arc<DetectionDataset>,
    collate: C,
    part: Part,
    device: Device,
    first: FirstBatch,
    next_epoch: AtomicU64,
}

/// The batches of each epoch.
#[derive(Clone, Debug)]
pub struct EpochPlan {
    batch_size: usize,
    workers: usize,
    order: SampleOrder,
    sampling: Sampling,
    seed: u64,
    /// The number of images in an epoch, if not all.
    images: Option<usize>,
    max_batches: Option<usize>,
}

/// The first batch of a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBatch {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The batch of that epoch, counted from 0.
    pub batch: usize,
}

impl FirstBatch {
    /// The first batch of the first epoch.
    pub const START: Self = Self { epoch: 1, batch: 0 };
}

impl EpochPlan {
    /// Images in another random order in each epoch, for training: sampling, batch size, workers
    /// and seed are those of the configuration.
    ///
    /// # Errors
    ///
    /// Fails if the batch size is 0.
    pub fn training<C: BackboneConfig>(config: &RunConfig<C>) -> Result<Self, Error> {
        Self::new(config, SampleOrder::Shuffled, config.sampling)
    }

    /// All images in the order of the data set, for validation.
    ///
    /// # Errors
    ///
    /// Fails if the batch size is 0.
    pub fn validation<C: BackboneConfig>(config: &RunConfig<C>) -> Result<Self, Error> {
        Self::new(config, SampleOrder::Sequential, Sampling::Uniform)
    }

    fn new<C: BackboneConfig>(
        config: &RunConfig<C>,
        order: SampleOrder,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        let batch_size = config.batch_size;
        ConfigError::ensure(batch_size > 0, "batch_size", batch_size, "at least 1")?;
        Ok(Self {
            batch_size,
            workers: config.workers,
            order,
            sampling,
            seed: config.seed,
            images: None,
            max_batches: None,
        })
    }

    /// Sets the number of worker threads; 0 loads on the calling thread.
    #[must_use]
    pub fn with_workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Ends each epoch after this many images, if the data set has more.
    #[must_use]
    pub fn with_images(self, images: usize) -> Self {
        Self {
            images: Some(images),
            ..self
        }
    }

    /// Limits the number of batches over all epochs: the last epoch may be incomplete. The
    /// [progress](BatchPlace::progress) of the batches rises up to this number.
    #[must_use]
    pub fn with_max_batches(self, max_batches: usize) -> Self {
        Self {
            max_batches: Some(max_batches),
            ..self
        }
    }

    /// The position of a batch, counted from 0 in its epoch, if there are `images` in an epoch.
    pub(crate) fn place(&self, images: usize, epoch: u64, batch: usize) -> BatchPlace {
        let per_epoch = images.div_ceil(self.batch_size).max(1);
        let epochs_left = |all: usize| all.div_ceil(per_epoch).saturating_sub(epoch as usize);
        let done = (self.batches_before(images, epoch) + batch) as f64;
        BatchPlace {
            epoch,
            batch,
            epochs_left: self.max_batches.map(epochs_left),
            progress: self.max_batches.map_or(1.0, |all| done / all as f64),
            draws: match self.sampling {
                Sampling::Uniform => None,
                Sampling::RepeatFactor { .. } => Some(batch * self.batch_size),
            },
        }
    }

    /// Batches of the epochs before `epoch`, if there are `images` in an epoch.
    pub(crate) fn batches_before(&self, images: usize, epoch: u64) -> usize {
        let per_epoch = images.div_ceil(self.batch_size);
        (epoch as usize).saturating_sub(1).saturating_mul(per_epoch)
    }

    /// The part of the order of `len` images that an epoch takes.
    fn range(&self, len: usize) -> Range<usize> {
        0..self.images.map_or(len, |images| images.min(len))
    }

    /// The repeat factors of the images of `dataset`, if they have some.
    fn repeat_factors(&self, dataset: &DetectionDataset) -> Option<Arc<RepeatFactors>> {
        match self.sampling {
            Sampling::Uniform => None,
            Sampling::RepeatFactor { threshold } => {
                Some(Arc::new(RepeatFactors::new(dataset, threshold)))
            }
        }
    }
}

/// The part of each epoch that a loader takes; burn-train may divide epochs among devices.
#[derive(Clone, Debug)]
struct Part {
    plan: EpochPlan,
    /// Of the order of an epoch; within the data set.
    range: Range<usize>,
    repeat_factors: Option<Arc<RepeatFactors>>,
}

impl Part {
    /// The batches of an epoch, counted from 1, over a data set of `len` images.
    fn batches(&self, len: usize, epoch: u64) -> Vec<Vec<usize>> {
        let order = match &self.repeat_factors {
            Some(factors) => factors.epoch_order(self.plan.seed, epoch),
            None => epoch_order(len, self.plan.seed, epoch, self.plan.order),
        };
        let mut batches: Vec<Vec<usize>> = order[self.range.clone()]
            .chunks(self.plan.batch_size)
            .map(<[usize]>::to_vec)
            .collect();
        if let Some(max_batches) = self.plan.max_batches {
            let before = self.plan.batches_before(self.range.len(), epoch);
            batches.truncate(max_batches.saturating_sub(before));
        }
        batches
    }
}

impl<C: Collate> BatchLoader<C> {
    /// A loader whose first call of `iter` starts at `first`.
    pub fn new(
        dataset: Arc<DetectionDataset>,
        collate: C,
        plan: EpochPlan,
        device: Device,
        first: FirstBatch,
    ) -> Self {
        let part = Part {
            range: plan.range(dataset.len()),
            repeat_factors: plan.repeat_factors(&dataset),
            plan,
        };
        Self {
            dataset,
            collate,
            part,
            device,
            first,
            next_epoch: AtomicU64::new(first.epoch),
        }
    }

    fn with(&self, device: Device, range: Range<usize>) -> Self {
        Self {
            dataset: self.dataset.clone(),
            collate: self.collate.clone(),
            part: Part {
                range,
                ..self.part.clone()
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
        let batches = Arc::new(self.part.batches(self.dataset.len(), epoch));
        let skipped = match epoch == self.first.epoch {
            true => self.first.batch.min(batches.len()),
            false => 0,
        };
        let (dataset, collate) = (self.dataset.clone(), self.collate.clone());
        let (part, work) = (self.part.clone(), batches.clone());
        let loader = Loader::new(batches.len() - skipped, part.plan.workers, move |job| {
            let batch = skipped + job;
            let place = part.plan.place(part.range.len(), epoch, batch);
            collate.collate(&dataset, &work[batch], place)
        });
        Box::new(BatchIterator {
            loader: Some(loader),
            of: self,
            taken: skipped,
            loaded: batches[..skipped].iter().map(Vec::len).sum(),
            total: batches.iter().map(Vec::len).sum(),
            batches,
        })
    }

    fn num_items(&self) -> usize {
        self.part.range.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<C::Batch>> {
        Arc::new(self.with(device.clone(), self.part.range.clone()))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<C::Batch>> {
        let Range {
            start: first,
            end: last,
        } = self.part.range;
        let end = first.saturating_add(end).min(last);
        let start = first.saturating_add(start).min(end);
        Arc::new(self.with(self.device.clone(), start..end))
    }
}

type HostLoader<C> = Loader<<C as Collate>::Host, Error>;

struct BatchIterator<'a, C: Collate> {
    /// The loader, or the error of starting its threads; `None` once that is returned.
    loader: Option<std::io::Result<HostLoader<C>>>,
    of: &'a BatchLoader<C>,
    /// The images of each batch of the epoch.
    batches: Arc<Vec<Vec<usize>>>,
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
        let images = self.batches.get(self.taken).map_or(&[][..], Vec::as_slice);
        self.loaded += images.len();
        self.taken += 1;
        let cause = match next {
            Ok(host) => return Some(Ok(C::to_device(host, &self.of.device))),
            Err(LoaderError::Failed { source, .. }) => {
                return Some(Err(DatasetError::new(source)));
            }
            // The number of the batch would not help.
            Err(LoaderError::Panicked { message, .. }) => format!("panicked: {message}"),
            Err(other) => other.to_string(),
        };
        let error = Error::images(&self.of.dataset, images, cause);
        Some(Err(DatasetError::new(error)))
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
    use fcos_burn_detect::device::{DeviceName, Precision};

    #[derive(Clone)]
    struct FirstImage;

    impl Collate for FirstImage {
        type Host = usize;
        type Batch = usize;

        fn collate(
            &self,
            _dataset: &DetectionDataset,
            indices: &[usize],
            _place: BatchPlace,
        ) -> Result<usize, Error> {
            Ok(indices[0])
        }

        fn to_device(host: usize, _device: &Device) -> usize {
            host
        }
    }

    /// The images of a batch, and how many the epoch showed before it.
    #[derive(Clone)]
    struct Drawn;

    impl Collate for Drawn {
        type Host = (Vec<usize>, Option<usize>);
        type Batch = Self::Host;

        fn collate(
            &self,
            _dataset: &DetectionDataset,
            indices: &[usize],
            place: BatchPlace,
        ) -> Result<Self::Host, Error> {
            Ok((indices.to_vec(), place.draws))
        }

        fn to_device(host: Self::Host, _device: &Device) -> Self::Batch {
            host
        }
    }

    /// A later batch of a later epoch is the same if the loader starts there.
    #[test]
    fn repeated_images_come_in_epochs_of_the_usual_length() {
        let shapes = ShapesConfig::default().with_train_images(21);
        let dataset = Arc::new(DetectionDataset::shapes(&shapes, ShapesSplit::Train).unwrap());
        let device = DeviceName::CPU.open(Precision::F32).unwrap();
        let loader = |sampling, first| {
            let config = RunConfig::small()
                .with_batch_size(4)
                .with_workers(0)
                .with_sampling(sampling);
            let plan = EpochPlan::training(&config).unwrap();
            BatchLoader::new(dataset.clone(), Drawn, plan, device.clone(), first)
        };
        let batches = |loader: &BatchLoader<Drawn>| -> Vec<(Vec<usize>, Option<usize>)> {
            loader.iter().map(Result::unwrap).collect()
        };
        let all = Sampling::RepeatFactor { threshold: 1.0 };
        let repeated = loader(all, FirstBatch::START);
        let uniform = loader(Sampling::Uniform, FirstBatch::START);
        let mut repeats = 0;
        for epoch in 1..=3 {
            let (found, usual) = (batches(&repeated), batches(&uniform));
            let draws: Vec<Option<usize>> = found.iter().map(|(_, draws)| *draws).collect();
            assert_eq!(draws, [0, 4, 8, 12, 16, 20].map(Some));
            assert!(usual.iter().all(|(_, draws)| draws.is_none()));
            let mut images: Vec<usize> = found
                .iter()
                .flat_map(|(images, _)| images.clone())
                .collect();
            assert_eq!(images.len(), 21);
            images.sort_unstable();
            images.dedup();
            repeats += 21 - images.len();
            let there = loader(all, FirstBatch { epoch, batch: 4 });
            assert_eq!(batches(&there), found[4..]);
        }
        assert!(repeats > 0);
    }

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
        ) -> Result<usize, Error> {
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
    fn plans_fit_every_data_set() {
        let shapes = ShapesConfig::default().with_val_images(5);
        let dataset = Arc::new(DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap());
        let device = DeviceName::CPU.open(Precision::F32).unwrap();
        let config = RunConfig::small().with_batch_size(2).with_workers(0);
        let loader = |plan: EpochPlan| {
            let (device, first) = (device.clone(), FirstBatch::START);
            BatchLoader::new(dataset.clone(), FirstImage, plan, device, first)
        };
        let plan = EpochPlan::validation(&config).unwrap();
        let firsts = |loader: &dyn DataLoader<usize>| -> Vec<usize> {
            loader.iter().map(Result::unwrap).collect()
        };
        for (images, expected) in [(9, &[0, 2, 4][..]), (3, &[0, 2]), (0, &[])] {
            assert_eq!(firsts(&loader(plan.clone().with_images(images))), expected);
        }
        let whole = loader(plan);
        assert_eq!(firsts(&*whole.slice(1, 3)), [1]);
        assert_eq!(firsts(&*whole.slice(4, 9)), [4]);
        assert_eq!(firsts(&*whole.slice(9, 12)), [0; 0]);
        let error = EpochPlan::training(&config.with_batch_size(0)).unwrap_err();
        assert_eq!(error.to_string(), "batch_size is 0, but must be at least 1");
    }

    #[test]
    fn progress_rises_to_the_last_batch_and_is_complete_without_one() {
        let plan = EpochPlan::training(&RunConfig::small().with_batch_size(2)).unwrap();
        let progress = |plan: EpochPlan| {
            [(1, 0), (1, 2), (2, 0)].map(|(epoch, batch)| plan.place(5, epoch, batch).progress)
        };
        assert_eq!(progress(plan.clone().with_max_batches(4)), [0.0, 0.5, 0.75]);
        assert_eq!(progress(plan), [1.0; 3]);
    }

    #[test]
    fn epochs_are_counted_down_to_the_last_one() {
        let plan = EpochPlan::training(&RunConfig::small().with_batch_size(2)).unwrap();
        let left = |plan: &EpochPlan| [1, 2, 3].map(|epoch| plan.place(5, epoch, 0).epochs_left);
        assert_eq!(left(&plan), [None; 3]);
        // The last one is incomplete.
        let plan = plan.with_max_batches(7);
        assert_eq!(left(&plan), [Some(2), Some(1), Some(0)]);
    }

    #[test]
    fn a_panic_in_a_worker_becomes_the_error_of_its_batch() {
        let shapes = ShapesConfig::default().with_val_images(6);
        let dataset = Arc::new(DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap());
        for workers in [0, 3] {
            let config = RunConfig::small().with_batch_size(2).with_workers(workers);
            let plan = EpochPlan::validation(&config).unwrap();
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
            let named = error.contains(&dataset.images()[2].file_name);
            assert!(
                named && error.contains("panicked: no such thing"),
                "{error}"
            );
        }
    }
}
