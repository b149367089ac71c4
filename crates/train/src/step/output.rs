//! The output of training and validation steps.

use std::borrow::Cow;

use burn::{
    tensor::{Device, ExecutionError, Tensor},
    train::ItemLazy,
};
use fcos_burn_boxes::Detection;
use fcos_burn_eval::CocoMetric;
use fcos_burn_loss::{FcosObjective, ObjectiveOutput};
use fcos_burn_model::assignment::AssignmentError;

use super::transfer::move_tensor;
use crate::Error;

/// A metric of a training step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepMetric {
    /// The whole objective.
    Loss,
    /// A term of the objective, by name.
    Term(Cow<'static, str>),
    /// Number of positive locations.
    Positives,
    /// Mean IoU of the positive locations' boxes.
    MeanIou,
    /// Fraction of the positive locations whose highest-scoring class is the correct one.
    ClassAccuracy,
    /// L2 norm of the gradient over all parameters, before clipping.
    GradientNorm,
}

impl StepMetric {
    /// The classification loss.
    pub const CLASSIFICATION: Self = Self::Term(Cow::Borrowed(FcosObjective::CLASSIFICATION));
    /// The box loss.
    pub const LOCALIZATION: Self = Self::Term(Cow::Borrowed(FcosObjective::LOCALIZATION));
    /// The association loss.
    pub const ASSOCIATION: Self = Self::Term(Cow::Borrowed(FcosObjective::ASSOCIATION));
    /// The center-ness loss.
    pub const CENTERNESS: Self = Self::Term(Cow::Borrowed(FcosObjective::CENTERNESS));

    /// The terms of the built-in objective.
    pub(crate) fn terms() -> impl Iterator<Item = Self> {
        let terms = FcosObjective::TERMS.iter();
        terms.map(|name| Self::Term(Cow::Borrowed(name)))
    }

    /// The metrics that are not terms.
    const OTHERS: [Self; 5] = [
        Self::Loss,
        Self::Positives,
        Self::MeanIou,
        Self::ClassAccuracy,
        Self::GradientNorm,
    ];

    /// The name under which the metric is shown and recorded.
    pub fn name(&self) -> &str {
        match self {
            Self::Loss => "Loss",
            Self::Term(name) => name,
            Self::Positives => "Positives",
            Self::MeanIou => "Mean IoU",
            Self::ClassAccuracy => "Class accuracy",
            Self::GradientNorm => "Gradient norm",
        }
    }

    /// Whether a metric of a training run other than a term has this name, in any case: some logs and
    /// displays write names in lower case.
    pub(crate) fn is_reserved(name: &str) -> bool {
        // The last one is the name of burn-train's metric.
        let validation = [CocoMetric::AP, CocoMetric::AP50, CocoMetric::AP75];
        let others = validation.iter().map(|metric| metric.name());
        Self::OTHERS
            .iter()
            .map(Self::name)
            .chain(others)
            .chain(["Learning Rate"])
            .any(|reserved| reserved.eq_ignore_ascii_case(name))
    }

    /// The objective, if no term that was added to it has a reserved name.
    pub(crate) fn named(objective: FcosObjective) -> Result<FcosObjective, Error> {
        let mut terms = objective.added_terms().iter();
        match terms.find(|term| Self::is_reserved(term.name())) {
            Some(term) => Err(Error::ReservedName(term.name().to_owned())),
            None => Ok(objective),
        }
    }

    /// The weight of a step with `positives` positive locations in the epoch's mean: the number of
    /// positives if the metric is a mean over them, else 1.
    pub(crate) fn weight(&self, positives: f64) -> f64 {
        match self.is_mean_over_positives() {
            true => positives,
            false => 1.0,
        }
    }

    fn is_mean_over_positives(&self) -> bool {
        matches!(self, Self::MeanIou | Self::ClassAccuracy)
    }
}

/// The metrics of a training step, which stay on the device until they are read.
#[derive(Clone, Debug)]
pub struct StepOutput(State);

#[derive(Clone, Debug)]
enum State {
    /// On the device: the values of the metrics, `[metrics]`, in their order. Means over positives
    /// are still sums.
    Pending(Vec<StepMetric>, Box<Tensor<1>>),
    /// On the host.
    Ready(Vec<(StepMetric, f64)>),
    /// The device failed.
    Failed(ExecutionError),
    /// An assignment violates the requirements of a rule.
    Unassigned(AssignmentError),
}

impl StepOutput {
    pub(super) fn new(output: ObjectiveOutput) -> Self {
        // Means become sums, so that the metrics of a batch's parts add up.
        let sum = |mean: Tensor<1>| mean * output.num_positives.clone();
        let (iou_sum, correct) = (sum(output.mean_iou), sum(output.class_accuracy));
        let terms = output.terms.into_iter();
        let terms = terms.map(|term| (StepMetric::Term(term.name), term.value));
        let (metrics, values): (Vec<_>, Vec<_>) = [(StepMetric::Loss, output.total)]
            .into_iter()
            .chain(terms)
            .chain([
                (StepMetric::Positives, output.num_positives),
                (StepMetric::MeanIou, iou_sum),
                (StepMetric::ClassAccuracy, correct),
            ])
            .map(|(metric, value)| (metric, value.detach().inner()))
            .unzip();
        Self(State::Pending(metrics, Box::new(Tensor::cat(values, 0))))
    }

    /// The output of a step on a batch without images.
    pub(super) fn empty() -> Self {
        Self(State::Ready(Vec::new()))
    }

    /// Moves the metrics to `device`.
    pub(super) fn on_device(self, device: &Device) -> Result<Self, ExecutionError> {
        Ok(Self(match self.0 {
            State::Pending(metrics, values) => {
                let device = device.clone().without_autodiff();
                State::Pending(metrics, Box::new(move_tensor(*values, &device)?))
            }
            other => other,
        }))
    }

    /// Adds the metrics of two parts of a batch, which are on one device.
    pub(super) fn join(self, other: Self) -> Self {
        Self(match (self.0, other.0) {
            (State::Pending(metrics, values), State::Pending(_, more)) => {
                State::Pending(metrics, Box::new(*values + *more))
            }
            (part, _) => part,
        })
    }

    /// Appends the gradient norm, `[1]`.
    pub(super) fn with_gradient_norm(self, norm: Tensor<1>) -> Self {
        Self(match self.0 {
            State::Pending(mut metrics, values) => {
                metrics.push(StepMetric::GradientNorm);
                State::Pending(metrics, Box::new(Tensor::cat(vec![*values, norm], 0)))
            }
            ready => ready,
        })
    }

    /// Waits for the device and reads the metrics, as [`sync`](ItemLazy::sync) does.
    ///
    /// # Errors
    ///
    /// Fails if the device failed, or if an assignment violates the requirements of a rule.
    pub fn read(self) -> Result<Self, Error> {
        match self.0 {
            State::Unassigned(error) => Err(error.into()),
            _ => (self.sync()).map_err(|error| Error::Training(error.to_string())),
        }
    }

    /// The metrics, if they have been read; else empty.
    pub fn metrics(&self) -> &[(StepMetric, f64)] {
        match &self.0 {
            State::Ready(metrics) => metrics,
            State::Pending(..) | State::Failed(_) | State::Unassigned(_) => &[],
        }
    }

    /// One of the metrics, if the step has it and it has been read.
    pub fn metric(&self, metric: &StepMetric) -> Option<f64> {
        let mut found = self.metrics().iter();
        found.find_map(|(name, value)| (name == metric).then_some(*value))
    }

    /// The first metric that is not finite, if they have been read. Terms come before the whole
    /// loss.
    pub fn not_finite(&self) -> Option<(StepMetric, f64)> {
        let mut found = self
            .metrics()
            .iter()
            .filter(|(_, value)| !value.is_finite());
        let part = found
            .clone()
            .find(|(metric, _)| *metric != StepMetric::Loss);
        part.or_else(|| found.next()).cloned()
    }
}

/// Why a step has no gradients.
pub(super) enum StepError {
    /// A device failed.
    Device(ExecutionError),
    /// An assignment violates the requirements of a rule.
    Assignment(AssignmentError),
}

impl From<ExecutionError> for StepError {
    fn from(error: ExecutionError) -> Self {
        Self::Device(error)
    }
}

impl From<AssignmentError> for StepError {
    fn from(error: AssignmentError) -> Self {
        Self::Assignment(error)
    }
}

impl From<StepError> for StepOutput {
    fn from(error: StepError) -> Self {
        Self(match error {
            StepError::Device(error) => State::Failed(error),
            StepError::Assignment(error) => State::Unassigned(error),
        })
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        match self.0 {
            State::Pending(metrics, values) => {
                let values = values.try_into_data()?;
                let mut metrics: Vec<_> = metrics.into_iter().zip(values.iter::<f64>()).collect();
                let positives = metrics
                    .iter()
                    .find_map(|(metric, value)| {
                        (*metric == StepMetric::Positives).then_some(*value)
                    })
                    .unwrap_or(0.0);
                for (metric, value) in &mut metrics {
                    if metric.is_mean_over_positives() {
                        *value /= positives.max(1.0);
                    }
                }
                Ok(Self(State::Ready(metrics)))
            }
            State::Failed(error) => Err(error),
            State::Unassigned(error) => Err(ExecutionError::WithContext {
                reason: error.to_string(),
            }),
            ready => Ok(Self(ready)),
        }
    }
}

/// The detections of some images, boxes in original pixels.
#[derive(Clone, Debug)]
pub struct ValidationOutput {
    /// The index of each image in its data set, and its detections, unless the device failed.
    pub images: Result<Vec<(usize, Vec<Detection>)>, ExecutionError>,
}

impl ItemLazy for ValidationOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(Self {
            images: Ok(self.images?),
        })
    }
}
