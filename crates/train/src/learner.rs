//! The detector as burn-train trains and validates it.

use std::fmt;

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLearningRate,
    module::{Devices, Module, ModuleMapper, ModuleVisitor},
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, ExecutionError, FloatDType, Int, Tensor},
    train::{InferenceStep, ItemLazy, TrainOutput, TrainStep},
};
use fcos_burn_loss::{FcosObjective, LossParts, Predictions, Targets, centerness_target};
use fcos_burn_model::{Detection, Fcos, ImageFrame};

use crate::optimization::clip_gradient_norm;

/// A detector with what it is trained by.
///
/// As a module it *is* its detector: it has the same parameter paths, so that
/// checkpoints of a training are weights of the detector.
#[derive(Clone, Debug)]
pub struct Learner {
    detector: Fcos,
    objective: FcosObjective,
    max_gradient_norm: Option<f32>,
}

impl Learner {
    /// Puts a detector and its objective together.
    pub fn new(detector: Fcos, objective: FcosObjective, max_gradient_norm: Option<f32>) -> Self {
        Self {
            detector,
            objective,
            max_gradient_norm,
        }
    }

    /// The detector alone.
    pub fn into_detector(self) -> Fcos {
        self.detector
    }

    fn with_detector(self, change: impl FnOnce(Fcos) -> Fcos) -> Self {
        Self {
            detector: change(self.detector),
            ..self
        }
    }
}

impl Module for Learner {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.detector.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.with_detector(|detector| detector.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.with_detector(|detector| detector.to_device(device))
    }

    fn train(self) -> Self {
        self.with_detector(Module::train)
    }

    fn valid(&self) -> Self {
        Self {
            detector: self.detector.valid(),
            ..self.clone()
        }
    }

    fn materialize(self) -> Self {
        self.with_detector(Module::materialize)
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        self.detector.visit(visitor);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        self.with_detector(|detector| detector.map(mapper))
    }
}

impl fmt::Display for Learner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.detector.fmt(f)
    }
}

/// Images and what to learn from them, on a device.
#[derive(Clone, Debug)]
pub struct TrainBatch {
    /// `[batch, 3, height, width]`, normalised.
    pub images: Tensor<4>,
    /// Class of each location, −1 for background, `[batch · locations]`.
    pub labels: Tensor<1, Int>,
    /// Box of each location in input pixels, xyxy, `[batch · locations, 4]`.
    pub boxes: Tensor<2>,
    /// Distances from each location to the sides of its box, left, top, right,
    /// bottom, `[batch · locations, 4]`, for the centre-ness.
    pub distances: Tensor<2>,
}

/// Images to detect in, on a device.
#[derive(Clone, Debug)]
pub struct DetectBatch {
    /// `[batch, 3, height, width]`, normalised.
    pub images: Tensor<4>,
    /// How each image was put into the batch.
    pub frames: Vec<ImageFrame>,
    /// Index of each image in its data set.
    pub indices: Vec<usize>,
}

/// The numbers of a training step that are worth watching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepFigure {
    /// The whole objective.
    Loss,
    /// The focal loss.
    Classification,
    /// The box loss.
    Localization,
    /// The association loss.
    Association,
    /// The centre-ness loss.
    Centerness,
    /// Number of positive locations.
    Positives,
    /// Mean IoU of the positive locations' boxes.
    MeanIou,
}

/// What a training step gives, on the device until it is asked for.
#[derive(Clone, Debug)]
pub enum StepOutput {
    /// Not read yet: the figures in the order given, `[figures]`.
    Pending(Vec<StepFigure>, Box<Tensor<1>>),
    /// On the host.
    Ready(Vec<(StepFigure, f64)>),
}

impl StepOutput {
    fn new(parts: LossParts) -> Self {
        let named = [
            (StepFigure::Loss, Some(parts.total)),
            (StepFigure::Classification, Some(parts.classification)),
            (StepFigure::Localization, Some(parts.localization)),
            (StepFigure::Association, parts.association),
            (StepFigure::Centerness, parts.centerness),
            (StepFigure::Positives, Some(parts.num_positives)),
            (StepFigure::MeanIou, Some(parts.mean_iou)),
        ];
        let (figures, values): (Vec<_>, Vec<_>) = named
            .into_iter()
            .filter_map(|(figure, value)| Some((figure, value?.detach().inner())))
            .unzip();
        Self::Pending(figures, Box::new(Tensor::cat(values, 0)))
    }

    /// The figures that have been read.
    pub fn figures(&self) -> &[(StepFigure, f64)] {
        match self {
            Self::Pending(..) => &[],
            Self::Ready(figures) => figures,
        }
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        match self {
            Self::Pending(figures, values) => {
                let values = values.try_into_data()?;
                Ok(Self::Ready(
                    figures.into_iter().zip(values.iter::<f64>()).collect(),
                ))
            }
            ready => Ok(ready),
        }
    }
}

/// The detections of some images, boxes in original pixels.
#[derive(Clone, Debug)]
pub struct DetectOutput {
    /// Index of an image in its data set, and what was found in it.
    pub images: Vec<(usize, Vec<Detection>)>,
}

impl ItemLazy for DetectOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl TrainStep for Learner {
    type Input = TrainBatch;
    type Output = StepOutput;

    fn step(&self, batch: TrainBatch) -> TrainOutput<StepOutput> {
        let predictions = self.detector.forward(batch.images).into_predictions();
        let targets = Targets {
            labels: batch.labels,
            boxes: batch.boxes,
            centerness: predictions
                .centerness_logits
                .is_some()
                .then(|| centerness_target(batch.distances)),
        };
        // The objective sums over all locations, which 16 bits cannot hold.
        let predictions = Predictions {
            class_logits: predictions.class_logits.cast(FloatDType::F32),
            boxes: predictions.boxes.cast(FloatDType::F32),
            centerness_logits: predictions
                .centerness_logits
                .map(|logits| logits.cast(FloatDType::F32)),
        };
        let parts = self.objective.forward(predictions, targets);
        let gradients = parts.total.backward();
        TrainOutput::new(self, gradients, StepOutput::new(parts))
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        let gradients = match self.max_gradient_norm {
            Some(max_norm) => clip_gradient_norm(&self, gradients, max_norm),
            None => gradients,
        };
        optimizer.step(learning_rate, self, gradients)
    }
}

impl InferenceStep for Learner {
    type Input = DetectBatch;
    type Output = DetectOutput;

    fn step(&self, batch: DetectBatch) -> DetectOutput {
        let detections = self.detector.detect(batch.images, &batch.frames);
        DetectOutput {
            images: batch.indices.into_iter().zip(detections).collect(),
        }
    }
}
