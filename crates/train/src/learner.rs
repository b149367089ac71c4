//! The detector as burn-train trains and validates it.

use std::fmt;

use burn::{
    module::{Devices, Module, ModuleMapper, ModuleVisitor},
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Device, ExecutionError, Int, Tensor, TensorData},
    train::{InferenceStep, ItemLazy, TrainOutput, TrainStep},
};
use fcos_burn_loss::{FcosObjective, LossParts, Normalizer, Targets, centerness_target};
use fcos_burn_model::{
    Detection, Fcos, ImageFrame,
    assignment::{AssignmentConfig, assign},
    pyramid::Locations,
};

use crate::{
    device::Precision,
    device_group::DeviceGroup,
    optimization::{clip_gradients, gradient_norm, scale_gradients},
};

/// A detector with what it is trained by.
///
/// As a module it *is* its detector: it has the same parameter paths, so that
/// checkpoints of a training are weights of the detector.
#[derive(Clone, Debug)]
pub struct Learner {
    detector: Fcos,
    objective: FcosObjective,
    devices: DeviceGroup,
    max_gradient_norm: Option<f32>,
    precision: Precision,
}

impl Learner {
    /// Puts a detector and its objective together. The detector is on the first of
    /// `devices`, all of which have autodiff. Gradients are not clipped, and everything
    /// computes in 32 bits.
    pub fn new(detector: Fcos, objective: FcosObjective, devices: DeviceGroup) -> Self {
        Self {
            detector,
            objective,
            devices,
            max_gradient_norm: None,
            precision: Precision::F32,
        }
    }

    /// The same, with the gradient's norm limited as by [`clip_gradients`].
    #[must_use]
    pub fn with_max_gradient_norm(self, max_gradient_norm: Option<f32>) -> Self {
        Self {
            max_gradient_norm,
            ..self
        }
    }

    /// The limit of the gradient's norm, if there is one.
    pub fn max_gradient_norm(&self) -> Option<f32> {
        self.max_gradient_norm
    }

    /// The same, with activations in another number format.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The detector.
    pub fn detector(&self) -> &Fcos {
        &self.detector
    }

    /// The same with another detector, such as one of averaged weights.
    #[must_use]
    pub fn with_detector(&self, detector: Fcos) -> Self {
        Self {
            detector,
            ..self.clone()
        }
    }

    /// The detector alone.
    pub fn into_detector(self) -> Fcos {
        self.detector
    }

    fn map_detector(self, change: impl FnOnce(Fcos) -> Fcos) -> Self {
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
        self.map_detector(|detector| detector.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.map_detector(|detector| detector.to_device(device))
    }

    fn train(self) -> Self {
        self.map_detector(Module::train)
    }

    fn valid(&self) -> Self {
        self.with_detector(self.detector.valid())
    }

    fn materialize(self) -> Self {
        self.map_detector(Module::materialize)
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        self.detector.visit(visitor);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        self.map_detector(|detector| detector.map(mapper))
    }
}

impl fmt::Display for Learner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.detector.fmt(f)
    }
}

/// Images and what to learn from them, on the host.
///
/// The parts are computed side by side on the devices of a [`Learner`], as many at a
/// time as there are devices, the others after them. Losses and gradients are those
/// of the whole batch: divided by the positives of all parts, and summed. Only the
/// statistics of batch normalisation are of a part.
#[derive(Clone, Debug)]
pub struct TrainBatch {
    /// The parts, at least one.
    pub parts: Vec<BatchPart>,
    /// Index of each image in its data set.
    pub indices: Vec<usize>,
    /// The share of the training that is done before it, in `[0, 1]`: where in its ramp
    /// the association loss is.
    pub progress: f64,
}

/// Some images of a batch and what to learn from them.
#[derive(Clone, Debug)]
pub struct BatchPart {
    /// `[images, 3, height, width]`, normalised.
    pub images: TensorData,
    /// Class of each location, −1 for background, `[images · locations]`.
    pub labels: TensorData,
    /// Box of each location in input pixels, xyxy, `[images · locations, 4]`.
    pub boxes: TensorData,
    /// Distances from each location to the sides of its box, left, top, right,
    /// bottom, `[images · locations, 4]`, for the centre-ness.
    pub distances: TensorData,
}

impl BatchPart {
    /// Images, `[images, 3, height, width]` and normalised, with what the locations of
    /// each learn from its objects, boxes in input pixels and classes.
    pub fn new(
        images: TensorData,
        objects: &[Vec<([f32; 4], usize)>],
        locations: &Locations,
        assignment: &AssignmentConfig,
    ) -> Self {
        let rows = objects.len() * locations.len();
        let mut labels: Vec<i32> = Vec::with_capacity(rows);
        let mut boxes: Vec<f32> = Vec::with_capacity(4 * rows);
        let mut distances: Vec<f32> = Vec::with_capacity(4 * rows);
        for objects in objects {
            let assigned = assign(objects, locations, assignment);
            for ([x, y], [x1, y1, x2, y2]) in locations.iter().zip(&assigned.boxes) {
                boxes.extend([x1, y1, x2, y2]);
                distances.extend([x - x1, y - y1, x2 - x, y2 - y]);
            }
            labels.extend(assigned.labels);
        }
        Self {
            images,
            labels: TensorData::new(labels, [rows]),
            boxes: TensorData::new(boxes, [rows, 4]),
            distances: TensorData::new(distances, [rows, 4]),
        }
    }

    /// What the objective takes, on `device`; centre-ness is computed where it is wanted.
    pub fn targets(&self, centerness: bool, device: &Device) -> Targets {
        let distances = || Tensor::from_data(self.distances.clone(), device);
        Targets {
            labels: Tensor::<1, Int>::from_data(self.labels.clone(), device),
            boxes: Tensor::from_data(self.boxes.clone(), device),
            centerness: centerness.then(|| centerness_target(distances())),
        }
    }
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
    /// Share of the positive locations whose highest class is the true one.
    ClassAccuracy,
    /// Norm of the gradient over all parameters, before it is limited.
    GradientNorm,
}

impl StepFigure {
    /// How much a step with this many positive locations counts in the figure's mean over an
    /// epoch: as many times as it has positives where the figure is a mean over them.
    pub(crate) fn weight(self, positives: f64) -> f64 {
        match self.is_mean_over_positives() {
            true => positives,
            false => 1.0,
        }
    }

    fn is_mean_over_positives(self) -> bool {
        matches!(self, Self::MeanIou | Self::ClassAccuracy)
    }
}

/// What a training step gives, on the device until it is asked for.
#[derive(Clone, Debug)]
pub enum StepOutput {
    /// Not read yet: the figures in the order given, `[figures]`, means over positives
    /// still sums.
    Pending(Vec<StepFigure>, Box<Tensor<1>>),
    /// On the host.
    Ready(Vec<(StepFigure, f64)>),
}

impl StepOutput {
    fn new(parts: LossParts) -> Self {
        // Means become sums, so that the figures of a batch's parts add up.
        let sum = |mean: Tensor<1>| mean * parts.num_positives.clone();
        let (iou_sum, correct) = (sum(parts.mean_iou), sum(parts.class_accuracy));
        let named = [
            (StepFigure::Loss, Some(parts.total)),
            (StepFigure::Classification, Some(parts.classification)),
            (StepFigure::Localization, Some(parts.localization)),
            (StepFigure::Association, parts.association),
            (StepFigure::Centerness, parts.centerness),
            (StepFigure::Positives, Some(parts.num_positives)),
            (StepFigure::MeanIou, Some(iou_sum)),
            (StepFigure::ClassAccuracy, Some(correct)),
        ];
        let (figures, values): (Vec<_>, Vec<_>) = named
            .into_iter()
            .filter_map(|(figure, value)| Some((figure, value?.detach().inner())))
            .unzip();
        Self::Pending(figures, Box::new(Tensor::cat(values, 0)))
    }

    /// The figures of two parts of a batch together, on the device of `self`.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Pending(figures, values), Self::Pending(_, more)) => {
                let more = more.to_device(&values.device());
                Self::Pending(figures, Box::new(*values + more))
            }
            (part, _) => part,
        }
    }

    /// The same with the gradient's norm, `[1]`.
    fn with_gradient_norm(self, norm: Tensor<1>) -> Self {
        match self {
            Self::Pending(mut figures, values) => {
                figures.push(StepFigure::GradientNorm);
                Self::Pending(figures, Box::new(Tensor::cat(vec![*values, norm], 0)))
            }
            ready => ready,
        }
    }

    /// The figures that have been read.
    pub fn figures(&self) -> &[(StepFigure, f64)] {
        match self {
            Self::Pending(..) => &[],
            Self::Ready(figures) => figures,
        }
    }

    /// One of the figures, if it is there and has been read.
    pub fn figure(&self, figure: StepFigure) -> Option<f64> {
        let mut found = self.figures().iter();
        found.find_map(|(name, value)| (*name == figure).then_some(*value))
    }

    /// The first figure that was read and is not finite: a part of the loss before the
    /// whole.
    pub fn not_finite(&self) -> Option<(StepFigure, f64)> {
        let found = self.figures().iter().copied();
        let mut found = found.filter(|(_, value)| !value.is_finite());
        let part = found
            .clone()
            .find(|(figure, _)| *figure != StepFigure::Loss);
        part.or_else(|| found.next())
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        match self {
            Self::Pending(figures, values) => {
                let values = values.try_into_data()?;
                let mut figures: Vec<_> = figures.into_iter().zip(values.iter::<f64>()).collect();
                let positives = figures
                    .iter()
                    .find_map(|(figure, value)| {
                        (*figure == StepFigure::Positives).then_some(*value)
                    })
                    .unwrap_or(0.0);
                for (figure, value) in &mut figures {
                    if figure.is_mean_over_positives() {
                        *value /= positives.max(1.0);
                    }
                }
                Ok(Self::Ready(figures))
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

/// The gradients of a part of a batch, and its figures.
struct PartStep {
    gradients: GradientsParams,
    output: StepOutput,
}

impl PartStep {
    /// The part's share in the step of a batch whose losses `normalizer` divides.
    fn new(
        detector: &Fcos,
        objective: FcosObjective,
        part: BatchPart,
        normalizer: Normalizer,
        precision: Precision,
        device: &Device,
    ) -> Self {
        let targets = part.targets(detector.predicts_centerness(), device);
        let images = precision.cast(Tensor::from_data(part.images, device));
        let predictions = detector.forward(images).into_predictions();
        let parts = objective.forward_normalized(predictions, targets, normalizer);
        let scaled = match precision.loss_scale() {
            1.0 => parts.total.clone(),
            scale => parts.total.clone().mul_scalar(scale),
        };
        let gradients = scaled.backward();
        Self {
            gradients: GradientsParams::from_grads(gradients, detector),
            output: StepOutput::new(parts),
        }
    }
}

impl Learner {
    /// What the losses of all parts are divided by, on the first device.
    fn normalizer(&self, batch: &TrainBatch, device: &Device) -> Option<Normalizer> {
        let centerness = self.detector.predicts_centerness();
        batch
            .parts
            .iter()
            .map(|part| part.targets(centerness, device).normalizer())
            .reduce(Normalizer::join)
    }
}

impl TrainStep for Learner {
    type Input = TrainBatch;
    type Output = StepOutput;

    fn step(&self, batch: TrainBatch) -> TrainOutput<StepOutput> {
        let devices = self.devices.devices();
        let main = &devices[0];
        let normalizer = self.normalizer(&batch, main);
        let objective = self.objective.at(batch.progress);
        let mut gradients = GradientsAccumulator::new();
        let mut output: Option<StepOutput> = None;
        let mut parts = batch.parts.into_iter();
        loop {
            // A round ends before the next begins: the running statistics of batch
            // normalisation would else depend on which device is faster.
            let round: Vec<BatchPart> = parts.by_ref().take(devices.len()).collect();
            let (Some(normalizer), false) = (&normalizer, round.is_empty()) else {
                break;
            };
            let steps = self.devices.map(round, |device, part| {
                let detector = self.detector.clone();
                let detector = match devices.len() {
                    1 => detector,
                    _ => detector.fork(device),
                };
                let normalizer = normalizer.clone().to_device(device);
                PartStep::new(
                    &detector,
                    objective,
                    part,
                    normalizer,
                    self.precision,
                    device,
                )
            });
            for step in steps {
                let step_gradients = step.gradients.to_device(main, &self.detector);
                gradients.accumulate(&self.detector, step_gradients);
                output = Some(match output.take() {
                    Some(output) => output.join(step.output),
                    None => step.output,
                });
            }
        }
        let mut grads = match self.precision.loss_scale() {
            1.0 => gradients.grads(),
            scale => scale_gradients(&self.detector, gradients.grads(), 1.0 / scale),
        };
        let mut item = output.unwrap_or_else(|| StepOutput::Ready(Vec::new()));
        if let Some(norm) = gradient_norm(&self.detector, &grads) {
            if let Some(max_norm) = self.max_gradient_norm {
                grads = clip_gradients(&self.detector, grads, norm.clone(), max_norm);
            }
            item = item.with_gradient_norm(norm);
        }
        TrainOutput { grads, item }
    }
}

impl InferenceStep for Learner {
    type Input = DetectBatch;
    type Output = DetectOutput;

    fn step(&self, batch: DetectBatch) -> DetectOutput {
        let images = self.precision.cast(batch.images);
        let detections = self.detector.detect(images, &batch.frames);
        DetectOutput {
            images: batch.indices.into_iter().zip(detections).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::{module::Param, train::ItemLazy};
    use fcos_burn_data::{
        DetectionDataset, SampleReader,
        shapes::{ShapesConfig, ShapesSplit},
        transforms::Pipeline,
    };
    use fcos_burn_loss::{AssociationLoss, AssociationScore, FcosObjectiveConfig};
    use fcos_burn_model::{FcosConfig, head::CenternessBranch, norm::NormKind};

    use super::*;
    use crate::{
        config::RunConfig,
        loader::{BatchPlace, Collate, TrainCollate},
    };

    fn detector() -> FcosConfig {
        let mut config = FcosConfig::small(6);
        config.backbone.width = 8;
        // The statistics of batch normalisation are of a part.
        config.backbone.norm = NormKind::Group;
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        config.head.centerness = Some(CenternessBranch::Regression);
        config
    }

    fn batch(config: &FcosConfig, images: usize, parts: usize) -> TrainBatch {
        let shapes = ShapesConfig {
            train_images: images,
            width: 64,
            height: 64,
            ..ShapesConfig::default()
        };
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Train).unwrap();
        let collate = TrainCollate {
            input: RunConfig::small().input,
            augmentation: Pipeline::new(Vec::new()).unwrap(),
            assignment: config.assignment.clone(),
            location_rule: config.location_rule,
            reader: SampleReader::new(0),
            parts,
        };
        let indices: Vec<usize> = (0..images).collect();
        let first = BatchPlace {
            epoch: 1,
            progress: 0.0,
        };
        collate.collate(&dataset, &indices, first).unwrap()
    }

    #[derive(Default)]
    struct Gradients<'a> {
        of: Option<&'a GradientsParams>,
        values: Vec<f32>,
    }

    impl ModuleVisitor for Gradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.of.and_then(|all| all.get::<D>(param.id));
            if let Some(gradient) = gradient {
                self.values.extend(gradient.into_data().iter::<f32>());
            }
        }
    }

    /// The gradients and figures of a step over `images` images in `parts` parts on
    /// as many devices like the detector's.
    fn step(
        detector: &Fcos,
        config: &FcosConfig,
        images: usize,
        [devices, parts]: [usize; 2],
    ) -> Step {
        // Which score is the highest is decided by rounding where they are nearly the same.
        let objective = FcosObjectiveConfig::new()
            .with_association(Some(AssociationLoss::default()))
            .with_association_score(AssociationScore::GroundTruthClass)
            .init()
            .unwrap();
        let device = detector.devices()[0].clone();
        let devices = DeviceGroup::new(vec![device; devices]).unwrap();
        let learner = Learner::new(detector.clone(), objective, devices);
        let output = TrainStep::step(&learner, batch(config, images, parts));
        let mut gradients = Gradients {
            of: Some(&output.grads),
            values: Vec::new(),
        };
        detector.visit(&mut gradients);
        let values = gradients.values;
        let figures = output.item.sync().unwrap().figures().to_vec();
        (values, figures)
    }

    type Step = (Vec<f32>, Vec<(StepFigure, f64)>);

    /// What of a step is not as in the other one, but for rounding.
    fn difference((gradients, figures): &Step, (whole, whole_figures): &Step) -> Option<String> {
        let norm = |values: Vec<f32>| -> f64 {
            let squares = values.into_iter().map(|value| f64::from(value).powi(2));
            squares.sum::<f64>().sqrt()
        };
        assert_eq!(gradients.len(), whole.len());
        let (whole_norm, limit) = (norm(whole.clone()), 1e-4);
        assert!(whole_norm > 0.1, "{whole_norm}");
        let differences = gradients
            .iter()
            .zip(whole)
            .map(|(part, whole)| part - whole);
        let distance = norm(differences.collect()) / whole_norm;
        if distance > limit {
            return Some(format!("gradients: {distance}"));
        }
        let mut figures = figures.iter().zip(whole_figures);
        let different = figures.find(|((name, part), (expected, whole))| {
            assert_eq!(name, expected);
            (part - whole).abs() > limit * whole.abs().max(1.0)
        });
        different.map(|different| format!("{different:?}"))
    }

    /// Rounding can move a value over the kink of a ReLU, and one of two nearly equal scores over
    /// the other. With other weights it is another value, or none.
    #[test]
    fn parts_and_devices_give_the_step_of_the_whole_batch() {
        let config = detector();
        let device = Device::flex().autodiff();
        let detectors: Vec<Fcos> = (0..3)
            .map(|seed| {
                device.seed(seed);
                config.init(&device).unwrap()
            })
            .collect();
        let whole: Vec<Step> = (detectors.iter())
            .map(|detector| step(detector, &config, 5, [1, 1]))
            .collect();
        // One device in steps; several at once; both; and more devices than images.
        for layout in [[1, 3], [2, 2], [2, 4], [8, 8]] {
            let different: Vec<String> = (detectors.iter().zip(&whole))
                .filter_map(|(detector, whole)| {
                    difference(&step(detector, &config, 5, layout), whole)
                })
                .collect();
            assert!(different.len() <= 1, "{layout:?}: {different:?}");
        }
    }

    #[test]
    fn what_is_computed_twice_gives_the_same_gradients() {
        let config = detector();
        let device = Device::flex().autodiff();
        device.seed(5);
        let kept = config.init(&device).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let weights = dir.path().join("model.bpk");
        kept.clone().save(&weights).unwrap();
        let device = device.gradient_checkpointing();
        let computed_again = config.init(&device).unwrap().load(&weights).unwrap();
        assert_eq!(
            step(&kept, &config, 2, [1, 1]),
            step(&computed_again, &config, 2, [1, 1])
        );
    }
}
