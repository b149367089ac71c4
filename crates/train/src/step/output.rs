//! What training and validation steps return.

use burn::{
    tensor::{ExecutionError, Tensor},
    train::ItemLazy,
};
use fcos_burn_boxes::Detection;
use fcos_burn_loss::LossParts;

/// The numbers of a training step that are worth watching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepMetric {
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

impl StepMetric {
    /// The name under which the metric is shown and recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "Loss",
            Self::Classification => "Classification loss",
            Self::Localization => "Localization loss",
            Self::Association => "Association loss",
            Self::Centerness => "Centerness loss",
            Self::Positives => "Positives",
            Self::MeanIou => "Mean IoU",
            Self::ClassAccuracy => "Class accuracy",
            Self::GradientNorm => "Gradient norm",
        }
    }

    /// How much a step with this many positive locations counts in the metric's mean over an
    /// epoch: as many times as it has positives where the metric is a mean over them.
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
    /// Not read yet: the metrics in the order given, `[metrics]`, means over positives
    /// still sums.
    Pending(Vec<StepMetric>, Box<Tensor<1>>),
    /// On the host.
    Ready(Vec<(StepMetric, f64)>),
}

impl StepOutput {
    pub(super) fn new(parts: LossParts) -> Self {
        // Means become sums, so that the metrics of a batch's parts add up.
        let sum = |mean: Tensor<1>| mean * parts.num_positives.clone();
        let (iou_sum, correct) = (sum(parts.mean_iou), sum(parts.class_accuracy));
        let named = [
            (StepMetric::Loss, Some(parts.total)),
            (StepMetric::Classification, Some(parts.classification)),
            (StepMetric::Localization, Some(parts.localization)),
            (StepMetric::Association, parts.association),
            (StepMetric::Centerness, parts.centerness),
            (StepMetric::Positives, Some(parts.num_positives)),
            (StepMetric::MeanIou, Some(iou_sum)),
            (StepMetric::ClassAccuracy, Some(correct)),
        ];
        let (metrics, values): (Vec<_>, Vec<_>) = named
            .into_iter()
            .filter_map(|(metric, value)| Some((metric, value?.detach().inner())))
            .unzip();
        Self::Pending(metrics, Box::new(Tensor::cat(values, 0)))
    }

    /// The metrics of two parts of a batch together, on the device of `self`.
    pub(super) fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Pending(metrics, values), Self::Pending(_, more)) => {
                let more = more.to_device(&values.device());
                Self::Pending(metrics, Box::new(*values + more))
            }
            (part, _) => part,
        }
    }

    /// The same with the gradient's norm, `[1]`.
    pub(super) fn with_gradient_norm(self, norm: Tensor<1>) -> Self {
        match self {
            Self::Pending(mut metrics, values) => {
                metrics.push(StepMetric::GradientNorm);
                Self::Pending(metrics, Box::new(Tensor::cat(vec![*values, norm], 0)))
            }
            ready => ready,
        }
    }

    /// The metrics that have been read.
    pub fn metrics(&self) -> &[(StepMetric, f64)] {
        match self {
            Self::Pending(..) => &[],
            Self::Ready(metrics) => metrics,
        }
    }

    /// One of the metrics, if it is there and has been read.
    pub fn metric(&self, metric: StepMetric) -> Option<f64> {
        let mut found = self.metrics().iter();
        found.find_map(|(name, value)| (*name == metric).then_some(*value))
    }

    /// The first metric that was read and is not finite: a part of the loss before the
    /// whole.
    pub fn not_finite(&self) -> Option<(StepMetric, f64)> {
        let found = self.metrics().iter().copied();
        let mut found = found.filter(|(_, value)| !value.is_finite());
        let part = found
            .clone()
            .find(|(metric, _)| *metric != StepMetric::Loss);
        part.or_else(|| found.next())
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        match self {
            Self::Pending(metrics, values) => {
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
                Ok(Self::Ready(metrics))
            }
            ready => Ok(ready),
        }
    }
}

/// The detections of some images, boxes in original pixels.
#[derive(Clone, Debug)]
pub struct ValidationOutput {
    /// Index of an image in its data set, and what was found in it.
    pub images: Vec<(usize, Vec<Detection>)>,
}

impl ItemLazy for ValidationOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}
