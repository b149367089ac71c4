//! The metrics of burn-train that this crate adds.

use std::sync::Arc;

use burn::{
    tensor::TensorReadError,
    train::metric::{
        Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
        NumericEntry, SerializedEntry,
        state::{FormatOptions, NumericMetricState},
    },
};

use crate::{
    evaluation::{CocoFigure, SharedEvaluator},
    learner::{DetectOutput, StepFigure, StepOutput},
};

impl StepFigure {
    /// The name under which the figure is shown and recorded.
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
}

/// A figure of the training step, averaged over the epoch's steps; mean IoU and class accuracy
/// are averaged over its positive locations.
#[derive(Clone)]
pub struct StepMetric {
    figure: StepFigure,
    name: MetricName,
    state: NumericMetricState,
}

impl StepMetric {
    /// The metric of one figure.
    pub fn new(figure: StepFigure) -> Self {
        Self {
            figure,
            name: Arc::new(figure.name().to_owned()),
            state: NumericMetricState::new(),
        }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name.clone()).precision(3)
    }
}

impl Adaptor<StepOutput> for StepOutput {
    fn adapt(&self) -> StepOutput {
        self.clone()
    }
}

impl Metric for StepMetric {
    type Input = StepOutput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: matches!(
                self.figure,
                StepFigure::Positives | StepFigure::MeanIou | StepFigure::ClassAccuracy
            ),
        }
        .into()
    }

    fn update(
        &mut self,
        output: &StepOutput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        match output.figure(self.figure) {
            Some(value) => {
                let positives = output.figure(StepFigure::Positives).unwrap_or_default();
                let weight = self.figure.weight(positives);
                self.state.update(value, weight.round() as usize);
                Ok(self.state.compute_update(self.format()))
            }
            None => Ok(SerializedEntry::not_available(None)),
        }
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for StepMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

/// A figure of the COCO evaluation over the validation split, in percent.
///
/// All such metrics of a training share one evaluator, which takes each image
/// once and evaluates once an epoch.
#[derive(Clone)]
pub struct CocoMetric {
    figure: CocoFigure,
    name: MetricName,
    evaluator: SharedEvaluator,
    value: Option<f64>,
}

impl CocoMetric {
    /// The metric of one figure.
    pub fn new(figure: CocoFigure, evaluator: SharedEvaluator) -> Self {
        Self {
            figure,
            name: Arc::new(figure.name().to_owned()),
            evaluator,
            value: None,
        }
    }
}

impl Adaptor<DetectOutput> for DetectOutput {
    fn adapt(&self) -> DetectOutput {
        self.clone()
    }
}

impl Metric for CocoMetric {
    type Input = DetectOutput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: Some("%".to_owned()),
            higher_is_better: true,
        }
        .into()
    }

    fn update(
        &mut self,
        output: &DetectOutput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.evaluator.add(&output.images);
        Ok(SerializedEntry::not_available(Some("%")))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        self.value = self.evaluator.figure(self.figure);
        Ok(match self.value {
            Some(value) => SerializedEntry::new(
                format!("epoch {:.1} %", 100.0 * value),
                NumericEntry::Final(100.0 * value).serialize(),
            ),
            None => SerializedEntry::not_available(Some("%")),
        })
    }

    fn clear(&mut self) {
        self.value = None;
    }
}

impl Numeric for CocoMetric {
    fn value(&self) -> Option<NumericEntry> {
        None
    }

    fn running_value(&self) -> Option<NumericEntry> {
        None
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.value.map_or(f64::NAN, |value| 100.0 * value))
    }
}
