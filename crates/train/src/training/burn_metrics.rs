//! Adapters for burn-train's metrics.

use std::sync::Arc;

use burn::{
    tensor::TensorReadError,
    train::metric::{
        Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
        NumericEntry, SerializedEntry,
        state::{FormatOptions, NumericMetricState},
    },
};
use fcos_burn_eval::CocoMetric;

use super::evaluator::SharedEvaluator;
use crate::step::{StepMetric, StepOutput, ValidationOutput};

/// The description that marks the objective and its terms, so that a renderer can find them.
pub(crate) const LOSS: &str = "loss";

/// A metric of the training step, averaged over the steps of the epoch; mean IoU and class
/// accuracy are averaged over its positive locations.
#[derive(Clone)]
pub(crate) struct TrainingMetric {
    metric: StepMetric,
    name: MetricName,
    state: NumericMetricState,
}

impl TrainingMetric {
    /// A metric without values.
    pub(crate) fn new(metric: StepMetric) -> Self {
        Self {
            name: Arc::new(metric.name().to_owned()),
            metric,
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

impl Metric for TrainingMetric {
    type Input = StepOutput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn description(&self) -> Option<String> {
        let is_loss = matches!(self.metric, StepMetric::Loss | StepMetric::Term(_));
        is_loss.then(|| LOSS.to_owned())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: matches!(
                self.metric,
                StepMetric::Positives | StepMetric::MeanIou | StepMetric::ClassAccuracy
            ),
        }
        .into()
    }

    fn update(
        &mut self,
        output: &StepOutput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        match output.metric(&self.metric) {
            Some(value) => {
                let positives = output.metric(&StepMetric::Positives).unwrap_or_default();
                let weight = self.metric.weight(positives);
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

impl Numeric for TrainingMetric {
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

/// A COCO metric on the validation split, in percent.
///
/// The metrics of a training run share an evaluator, which takes each image once and evaluates
/// once per epoch.
#[derive(Clone)]
pub(crate) struct ValidationMetric {
    metric: CocoMetric,
    name: MetricName,
    evaluator: SharedEvaluator,
    value: Option<f64>,
}

impl ValidationMetric {
    /// A metric without a value.
    pub(crate) fn new(metric: CocoMetric, evaluator: SharedEvaluator) -> Self {
        Self {
            name: Arc::new(metric.name().to_owned()),
            metric,
            evaluator,
            value: None,
        }
    }
}

impl Adaptor<ValidationOutput> for ValidationOutput {
    fn adapt(&self) -> ValidationOutput {
        self.clone()
    }
}

impl Metric for ValidationMetric {
    type Input = ValidationOutput;

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
        output: &ValidationOutput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        // Outputs of a device that failed do not get here: reading them fails.
        self.evaluator
            .add(output.images.as_deref().unwrap_or_default());
        Ok(SerializedEntry::not_available(Some("%")))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        self.value = self.evaluator.metric(self.metric);
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

impl Numeric for ValidationMetric {
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
