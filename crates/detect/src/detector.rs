//! A trained detector, ready for inference.

use std::{path::Path, sync::Arc};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use fcos_burn_boxes::Detection;
use fcos_burn_data::{Category, DetectionDataset, Loader, LoaderError};
use fcos_burn_model::{
    ConfigError, Fcos,
    backbone::{Backbone, BackboneConfig, resnet::ResNet},
    weights::LoadReport,
};
use image::RgbImage;

use crate::{
    detector_file::DetectorFile,
    device::{DeviceName, Precision},
    error::Error,
    input::{InputBatch, InputConfig},
};

/// The [score threshold](Detector::score_threshold) of weights for which no validation has chosen
/// one.
pub const DEFAULT_SCORE_THRESHOLD: f32 = 0.3;

/// A detector on a device, with its classes and preprocessing.
///
/// ```no_run
/// use std::path::Path;
/// use fcos_burn_detect::{Detector, device::{DeviceName, Precision}};
///
/// let detector = Detector::load(Path::new("runs/shapes"), &DeviceName::CPU, Precision::F32)?;
/// let image = image::open("photo.jpg")?.into_rgb8();
/// for detection in detector.detect(vec![image])?.concat() {
///     let category = &detector.categories()[detection.label];
///     println!("{} {:.2} {:?}", category.name, detection.score, detection.bbox);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Detector<B: Backbone = ResNet> {
    model: Fcos<B>,
    input: InputConfig,
    categories: Vec<Category>,
    device: Device,
    precision: Precision,
    score_threshold: f32,
}

impl Detector {
    /// Loads a detector from a run folder or a weights file, see [`DetectorFile::open`].
    ///
    /// # Errors
    ///
    /// Fails if the configuration or the weights cannot be read or do not match, or if the device
    /// is unavailable.
    pub fn load(weights: &Path, device: &DeviceName, precision: Precision) -> Result<Self, Error> {
        let (detector, _) = Self::from_file(DetectorFile::open(weights)?, device, precision)?;
        Ok(detector)
    }
}

impl<B: Backbone> Detector<B> {
    /// A detector with a model on `device`, and activations in `precision`. Its score threshold is
    /// 0.
    pub fn new(
        model: &Fcos<B>,
        input: InputConfig,
        categories: Vec<Category>,
        device: Device,
        precision: Precision,
    ) -> Self {
        Self {
            model: model.valid(),
            input,
            categories,
            device,
            precision,
            score_threshold: 0.0,
        }
    }

    /// Loads the detector in `file`, and reports which weights were loaded. Its score threshold is
    /// that of the file, or [`DEFAULT_SCORE_THRESHOLD`].
    ///
    /// # Errors
    ///
    /// Fails if the weights cannot be read or do not fit, or if the device is unavailable.
    pub fn from_file<C: BackboneConfig<Backbone = B>>(
        file: DetectorFile<C>,
        device: &DeviceName,
        precision: Precision,
    ) -> Result<(Self, LoadReport), Error> {
        let device = device.open(precision)?;
        let (model, loaded) = file.load(&device)?;
        let score_threshold = file.score_threshold.unwrap_or(DEFAULT_SCORE_THRESHOLD);
        let detector = Self::new(&model, file.input, file.categories, device, precision)
            .with_score_threshold(score_threshold);
        Ok((detector, loaded))
    }

    /// The model.
    pub fn model(&self) -> &Fcos<B> {
        &self.model
    }

    /// The preprocessing.
    pub fn input(&self) -> &InputConfig {
        &self.input
    }

    /// The classes, in the order of the detections' labels.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The score that the detections of [`detect`](Self::detect) have at least.
    pub fn score_threshold(&self) -> f32 {
        self.score_threshold
    }

    /// Sets the [`score_threshold`](Self::score_threshold).
    #[must_use]
    pub fn with_score_threshold(self, score_threshold: f32) -> Self {
        Self {
            score_threshold,
            ..self
        }
    }

    /// Detects objects in images: the detections with at least the
    /// [`score_threshold`](Self::score_threshold). Boxes are xyxy in pixels of the original image;
    /// detections are sorted by descending score.
    ///
    /// # Errors
    ///
    /// Fails if an image cannot be resized.
    pub fn detect(&self, images: Vec<RgbImage>) -> Result<Vec<Vec<Detection>>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let mut detections = self.detect_batch(self.input.batch(images)?);
        for found in &mut detections {
            found.retain(|detection| detection.score >= self.score_threshold);
        }
        Ok(detections)
    }

    fn detect_batch(&self, batch: InputBatch) -> Vec<Vec<Detection>> {
        let images = Tensor::from_data(batch.images, &self.device);
        self.model
            .detect(self.precision.cast(images), &batch.frames)
    }

    /// Detects objects in all images of a data set, in order, for an evaluation: all detections,
    /// whatever their scores. Classes are matched by name, and labels are those of the data set;
    /// detections of classes that the data set lacks are dropped.
    /// `progress` is called with the number of completed images after each batch.
    ///
    /// # Errors
    ///
    /// Fails if the data set has a class that the detector lacks (see [`known_classes`]), if an image
    /// cannot be read, or if `batch_size` is 0.
    ///
    /// [`known_classes`]: crate::known_classes
    pub fn detect_dataset(
        &self,
        dataset: &Arc<DetectionDataset>,
        batch_size: usize,
        workers: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<(usize, Vec<Detection>)>, Error> {
        let labels = self.labels_in(dataset)?;
        ConfigError::ensure(batch_size > 0, "batch_size", batch_size, "at least 1")?;
        let len = dataset.len();
        let range = move |batch: usize| {
            let first = batch.saturating_mul(batch_size);
            first..len.min(first.saturating_add(batch_size))
        };
        let loader = {
            let (dataset, input) = (dataset.clone(), self.input.clone());
            Loader::new(len.div_ceil(batch_size), workers, move |batch| {
                let images = range(batch).map(|index| dataset.image(index));
                input.batch(images.collect::<Result<_, _>>()?)
            })
        };
        let loader = loader.map_err(|error| Error::Workers(error.to_string()))?;
        let mut detections = Vec::with_capacity(len);
        for (indices, batch) in (0..).map(range).zip(loader) {
            let batch = batch.map_err(|error| match error {
                // The cause names the image; the number of the batch would not help.
                LoaderError::Failed { source, .. } => Error::Data(source),
                panicked => Error::Workers(panicked.to_string()),
            })?;
            let found = self.detect_batch(batch).into_iter().map(|detections| {
                let known = detections.into_iter().filter_map(|detection| {
                    let label = *labels.get(detection.label)?;
                    Some(Detection {
                        label: label?,
                        ..detection
                    })
                });
                known.collect()
            });
            detections.extend(indices.zip(found));
            progress(detections.len());
        }
        Ok(detections)
    }

    /// Maps each of the detector's labels to that of the class with the same name in `dataset`.
    fn labels_in(&self, dataset: &DetectionDataset) -> Result<Vec<Option<usize>>, Error> {
        let labels = Category::matches(&self.categories, dataset.categories());
        match labels.iter().flatten().count() == dataset.categories().len() {
            true => Ok(labels),
            false => Err(Error::classes(&self.categories, dataset)),
        }
    }
}
