//! A trained detector, ready for inference.

use std::{path::Path, sync::Arc};

use burn::{
    module::Module,
    tensor::{Device, ExecutionError},
};
use fcos_burn_boxes::{Detection, NmsMethod, Suppression};
use fcos_burn_data::{Category, DetectionDataset, Loader, LoaderError, transforms::Resize};
use fcos_burn_model::{
    ConfigError, Fcos,
    backbone::{Backbone, BackboneConfig, resnet::ResNet},
    postprocess::PostprocessConfig,
    weights::LoadReport,
};
use image::RgbImage;

use crate::{
    detector_file::DetectorFile,
    device::{DeviceName, Precision},
    error::Error,
    input::{InputBatch, InputConfig},
    views::TestTimeAugmentation,
};

/// The [score threshold](Detector::score_threshold) of weights for which no validation has chosen
/// one.
pub const DEFAULT_SCORE_THRESHOLD: f32 = 0.3;

/// A detector on a device, with its classes and preprocessing.
///
/// ```no_run
/// use fcos_burn_detect::{Detector, device::{DeviceName, Precision}};
///
/// let detector = Detector::load("runs/shapes", &DeviceName::CPU, Precision::F32)?;
/// let image = image::open("photo.jpg")?.into_rgb8();
/// for detection in detector.detect(&[image])?.concat() {
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
    max_detections: Option<usize>,
}

impl Detector {
    /// Loads a detector from a run folder or a weights file, see [`DetectorFile::open`].
    ///
    /// # Errors
    ///
    /// Fails if the configuration or the weights cannot be read or do not match, or if the device
    /// is unavailable.
    pub fn load(
        weights: impl AsRef<Path>,
        device: &DeviceName,
        precision: Precision,
    ) -> Result<Self, Error> {
        Self::of_resnet(DetectorFile::open(weights)?, device, precision)
    }

    /// Not generic, so that it is compiled with this crate.
    fn of_resnet(
        file: DetectorFile,
        device: &DeviceName,
        precision: Precision,
    ) -> Result<Self, Error> {
        let (detector, _) = Self::from_file(file, device, precision)?;
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
            max_detections: None,
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
        let detector = Self {
            score_threshold,
            ..Self::new(&model, file.input, file.categories, device, precision)
        };
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

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The score that the detections of [`detect`](Self::detect) have at least.
    pub fn score_threshold(&self) -> f32 {
        self.score_threshold
    }

    /// The classes that are detected, in the order of the labels: all, or those of
    /// [`with_classes`](Self::with_classes).
    pub fn detected_classes(&self) -> Vec<Category> {
        self.model.postprocess().detected(&self.categories)
    }

    /// The most detections of an image, if [`with_max_detections`](Self::with_max_detections) has set it.
    pub fn max_detections(&self) -> Option<usize> {
        self.max_detections
    }

    /// Sets the [`score_threshold`](Self::score_threshold).
    ///
    /// If the model's own threshold for candidates
    /// ([`PostprocessConfig::score_threshold`]) is higher, it is lowered to this one. If that is compared with
    /// scores, all detections with such scores are found; if with class probabilities, those whose
    /// class probability is above it.
    ///
    /// # Errors
    ///
    /// Fails unless it is between 0 and 1.
    pub fn with_score_threshold(self, score_threshold: f32) -> Result<Self, Error> {
        let holds = (0.0..=1.0).contains(&score_threshold);
        let field = "score_threshold";
        ConfigError::ensure(holds, field, score_threshold, "between 0 and 1")?;
        let detector = self.with_postprocess(|config| {
            let lowest = config.score_threshold.min(score_threshold);
            config.with_score_threshold(lowest)
        })?;
        Ok(Self {
            score_threshold,
            ..detector
        })
    }

    /// Sets the IoU above which the lower-scored of two boxes is suppressed.
    ///
    /// # Errors
    ///
    /// Fails unless it is between 0 and 1.
    pub fn with_iou_threshold(self, iou_threshold: f32) -> Result<Self, Error> {
        self.with_postprocess(|config| config.with_nms_iou_threshold(iou_threshold))
    }

    /// Sets the exponent `α` of the class probability in the score `p̂^α · q^(1−α)` of a detector that
    /// predicts a quality `q`, center-ness or IoU.
    ///
    /// # Errors
    ///
    /// Fails if it is not above 0 and at most 1, or if the detector predicts no quality.
    pub fn with_score_exponent(self, score_exponent: f32) -> Result<Self, Error> {
        ConfigError::ensure(
            self.model.head().quality().is_some(),
            "score_exponent",
            score_exponent,
            "left out for a detector that predicts neither center-ness nor IoU",
        )?;
        self.with_postprocess(|config| config.with_score_exponent(score_exponent))
    }

    /// Sets which boxes suppress each other.
    ///
    /// # Errors
    ///
    /// Fails if another setting of the model's decoding is invalid.
    pub fn with_suppression(self, suppression: Suppression) -> Result<Self, Error> {
        self.with_postprocess(|config| config.with_suppression(suppression))
    }

    /// Sets what suppression does to the lower-scored of two boxes.
    ///
    /// # Errors
    ///
    /// Fails if the method has an invalid value.
    pub fn with_nms_method(self, method: NmsMethod) -> Result<Self, Error> {
        self.with_postprocess(|config| config.with_nms_method(method))
    }

    /// Only detects the classes with these names. Boxes of other classes suppress nothing.
    ///
    /// # Errors
    ///
    /// Names a class that the detector does not have, or fails if there is no name.
    pub fn with_classes(self, names: &[impl AsRef<str>]) -> Result<Self, Error> {
        let mut labels = Vec::new();
        for name in names {
            let name = name.as_ref();
            let labeled = self.categories.iter().enumerate();
            let found = labeled.filter(|(_, category)| category.name == name);
            let before = labels.len();
            labels.extend(found.map(|(label, _)| label));
            if labels.len() == before {
                let known = self.categories.iter().map(|category| category.name.clone());
                return Err(Error::UnknownClass {
                    name: name.to_owned(),
                    known: known.collect(),
                });
            }
        }
        self.with_postprocess(|config| config.with_classes(Some(labels)))
    }

    /// Sets the most detections of an image: those with the highest scores are kept.
    ///
    /// # Errors
    ///
    /// Fails if it is 0.
    pub fn with_max_detections(self, max_detections: usize) -> Result<Self, Error> {
        let detector =
            self.with_postprocess(|config| config.with_detections_per_image(max_detections))?;
        Ok(Self {
            max_detections: Some(max_detections),
            ..detector
        })
    }

    /// Sets the size to which images are resized for the network.
    ///
    /// # Errors
    ///
    /// Fails if a side is not between 1 and 32,768 pixels.
    pub fn with_resize(self, resize: Resize) -> Result<Self, Error> {
        let input = self.input.with_resize(resize);
        input.validate()?;
        Ok(Self { input, ..self })
    }

    /// Sets the views in which each image is detected.
    ///
    /// # Errors
    ///
    /// Names the invalid value.
    pub fn with_test_time_augmentation(
        self,
        augmentation: TestTimeAugmentation,
    ) -> Result<Self, Error> {
        let input = self.input.with_test_time_augmentation(augmentation);
        input.validate()?;
        Ok(Self { input, ..self })
    }

    fn with_postprocess(
        self,
        change: impl FnOnce(PostprocessConfig) -> PostprocessConfig,
    ) -> Result<Self, Error> {
        let postprocess = change(self.model.postprocess().clone());
        let model = self.model.with_postprocess(postprocess)?;
        Ok(Self { model, ..self })
    }

    /// Detects objects in images: the detections with at least the
    /// [`score_threshold`](Self::score_threshold). Boxes are xyxy in pixels of the original image;
    /// detections are sorted by descending score.
    ///
    /// # Errors
    ///
    /// Fails if an image cannot be resized, or if the device fails.
    pub fn detect(&self, images: &[RgbImage]) -> Result<Vec<Vec<Detection>>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.detect_inputs(vec![self.input.batch(images)?])?)
    }

    /// The detections with at least the score threshold in batches of inputs of the same shape,
    /// which go through the network together.
    pub(crate) fn detect_inputs(
        &self,
        batches: Vec<InputBatch>,
    ) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        let mut detections = self.detect_batches(batches)?;
        for found in &mut detections {
            found.retain(|detection| detection.score >= self.score_threshold);
        }
        Ok(detections)
    }

    /// Detects objects in all images of a data set, in order, for an evaluation: all detections,
    /// whatever their scores. Classes are matched by name, and labels are those of the data set;
    /// detections of classes that the data set lacks are dropped.
    /// `progress` is called with the number of completed images after each batch.
    ///
    /// # Errors
    ///
    /// Fails if the data set has a class that the detector lacks (see [`known_classes`]), if an image
    /// cannot be read, if `batch_size` is 0, or if the device fails.
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
                input.batch(&images.collect::<Result<Vec<_>, _>>()?)
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
            let found = self
                .detect_batches(vec![batch])?
                .into_iter()
                .map(|detections| {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_model::{FcosConfig, head::CenternessBranch};

    use super::*;
    use crate::test_detector::drawn;

    fn detector() -> Detector {
        with_branch(None)
    }

    fn with_branch(branch: Option<CenternessBranch>) -> Detector {
        let device = Device::flex();
        let mut config = FcosConfig::small(3);
        config.head.centerness = branch;
        config.backbone.width = 8;
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        let model = drawn(&config, 0);
        let classes = Category::list(["cat", "dog", "cat"]);
        Detector::new(&model, InputConfig::fcos(), classes, device, Precision::F32)
    }

    #[test]
    fn a_low_score_threshold_lowers_that_of_the_candidates() {
        let thresholds = |score| {
            let detector = detector().with_score_threshold(score).unwrap();
            let config = detector.model().postprocess();
            (detector.score_threshold(), config.score_threshold)
        };
        assert_eq!(thresholds(0.01), (0.01, 0.01));
        assert_eq!(thresholds(0.7), (0.7, 0.05));
    }

    #[test]
    fn classes_are_chosen_by_name() {
        let chosen = detector().with_classes(&["cat"]).unwrap();
        assert_eq!(chosen.model().postprocess().classes, Some(vec![0, 2]));
        let ids = |detector: &Detector| -> Vec<u64> {
            detector
                .detected_classes()
                .iter()
                .map(|class| class.id)
                .collect()
        };
        assert_eq!(ids(&chosen), [1, 3]);
        assert_eq!(ids(&detector()), [1, 2, 3]);
        let error = detector().with_classes(&["dog", "Dog"]).unwrap_err();
        let expected = "the detector has no class 'Dog' ('Dog' is not the same name as 'dog'); it has cat, dog, cat";
        assert_eq!(error.to_string(), expected);
        let none: [&str; 0] = [];
        assert!(detector().with_classes(&none).is_err());
    }

    #[test]
    fn a_score_exponent_needs_a_quality() {
        let branch = Some(CenternessBranch::Regression);
        let found = with_branch(branch).with_score_exponent(0.25).unwrap();
        assert_eq!(found.model().postprocess().score_exponent, 0.25);
        for invalid in [
            detector().with_score_exponent(0.25),
            with_branch(branch).with_score_exponent(0.0),
        ] {
            let error = invalid.unwrap_err().to_string();
            assert!(error.contains("score_exponent"), "{error}");
        }
    }

    #[test]
    fn invalid_settings_name_the_value() {
        let side = |width| Resize::Fixed { width, height: 64 };
        for (result, value) in [
            (detector().with_score_threshold(f32::NAN), "NaN"),
            (detector().with_score_threshold(1.5), "1.5"),
            (detector().with_iou_threshold(-0.5), "-0.5"),
            (detector().with_max_detections(0), "0"),
            (detector().with_resize(side(0)), "0"),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains(&format!("is {value}, but must be")),
                "{error}"
            );
        }
    }
}
