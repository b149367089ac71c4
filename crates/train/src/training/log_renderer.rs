//! Progress as lines of text, for use without a terminal.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use burn::train::{
    logger::{EvaluationProgressLogger, TrainingProgressLogger},
    metric::{MetricDefinition, MetricId},
    renderer::{
        EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
        MetricsRendererTraining,
    },
};
use fcos_burn_eval::CocoMetric;
use fcos_burn_loss::FcosObjective;

use super::burn_metrics::LOSS;

/// The minimum time between two lines of a split.
const INTERVAL: Duration = Duration::from_secs(10);

/// Shows the progress of a training run as lines of text.
pub struct LineRenderer {
    line: Box<dyn FnMut(&str) + Send + Sync>,
    names: HashMap<MetricId, String>,
    /// The objective and its terms, in the order of registration.
    losses: Vec<String>,
    values: HashMap<String, f64>,
    epoch: usize,
    epochs: usize,
    split: String,
    items: usize,
    split_start: Instant,
    last_line: Instant,
}

impl LineRenderer {
    /// A renderer that logs its lines at the info level.
    pub(crate) fn log() -> Self {
        Self::new(|line| log::info!("{line}"))
    }

    /// A renderer that passes its lines to `line`.
    pub fn new(line: impl FnMut(&str) + Send + Sync + 'static) -> Self {
        let now = Instant::now();
        Self {
            line: Box::new(line),
            names: HashMap::new(),
            losses: Vec::new(),
            values: HashMap::new(),
            epoch: 1,
            epochs: 0,
            split: String::new(),
            items: 0,
            split_start: now,
            last_line: now,
        }
    }

    fn line(&mut self, line: &str) {
        (self.line)(line);
    }

    fn take(&mut self, state: MetricState) {
        if let MetricState::Numeric(entry, Some(value)) = state
            && let Some(name) = self.names.get(&entry.metric_id)
        {
            self.values.insert(name.clone(), value.current());
        }
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    fn losses(&self) -> String {
        let named = self.losses.iter().filter_map(|name| {
            let value = self.value(name)?;
            Some(format!("  {} {value:.3}", short(name)))
        });
        named.collect()
    }
}

/// A short name for a built-in term, so that the line stays short.
fn short(name: &str) -> String {
    match name {
        FcosObjective::CLASSIFICATION => "class".to_owned(),
        FcosObjective::LOCALIZATION => "box".to_owned(),
        FcosObjective::ASSOCIATION => "assoc".to_owned(),
        FcosObjective::CENTERNESS => "center".to_owned(),
        FcosObjective::BOX_ASSOCIATION => "box assoc".to_owned(),
        FcosObjective::PREDICTED_IOU => "iou".to_owned(),
        FcosObjective::DISTRIBUTION => "distribution".to_owned(),
        other => other.to_lowercase(),
    }
}

impl TrainingProgressLogger for LineRenderer {
    fn start(
        &mut self,
        total_epochs: usize,
        starting_epoch: usize,
        _total_items: Option<usize>,
        _label: Option<&str>,
    ) {
        self.epoch = starting_epoch;
        self.epochs = total_epochs;
    }

    fn update_epoch(&mut self, epoch: usize) {
        let metrics: Vec<String> = [CocoMetric::AP, CocoMetric::AP50, CocoMetric::AP75]
            .iter()
            .filter_map(|metric| {
                let name = metric.name();
                // An epoch that is not validated does not show the values of another.
                Some(match self.values.remove(name)? {
                    undefined if undefined.is_nan() => format!("{name} –"),
                    value => format!("{name} {value:.1}"),
                })
            })
            .collect();
        let line = format!("epoch {epoch}/{}  {}", self.epochs, metrics.join("  "));
        self.line(line.trim_end());
        self.epoch = epoch + 1;
    }

    fn start_split(&mut self, split: &str, total_items: usize) {
        self.split = split.to_owned();
        self.items = total_items;
        self.split_start = Instant::now();
        self.last_line = self.split_start;
    }

    fn update_split(&mut self, items_processed: usize) {
        let done = items_processed >= self.items;
        if !done && self.last_line.elapsed() < INTERVAL {
            return;
        }
        self.last_line = Instant::now();
        let rate = items_processed as f64 / self.split_start.elapsed().as_secs_f64().max(1e-9);
        let losses = match self.split.as_str() {
            "train" => self.losses(),
            _ => String::new(),
        };
        let line = format!(
            "epoch {}/{}  {} {items_processed}/{} images{losses}  {rate:.1} images/s",
            self.epoch, self.epochs, self.split, self.items,
        );
        self.line(&line);
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl MetricsRendererTraining for LineRenderer {
    fn update_train(&mut self, state: MetricState) {
        self.take(state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.take(state);
    }
}

/// burn-train requires renderers to support its evaluations too, which are not used here.
impl EvaluationProgressLogger for LineRenderer {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, _name: &str, _total_items: usize) {}

    fn update_test_progress(&mut self, _items_processed: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRendererEvaluation for LineRenderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl MetricsRenderer for LineRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        if definition.description.as_deref() == Some(LOSS) {
            self.losses.push(definition.name.to_string());
        }
        self.names
            .insert(definition.metric_id, definition.name.to_string());
    }
}
