//! Progress as plain lines, for where there is no terminal to draw a dashboard on.

use std::{
    collections::HashMap,
    fmt::Display,
    io::Write,
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

use crate::{evaluation::CocoFigure, learner::StepFigure};

/// Least time between two lines of one split.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes a line to standard error, without the line ends and a terminal's commands that
/// names from files may have in them. It is for readers: where nobody can read it, the
/// program goes on.
pub fn tell(line: impl Display) {
    write_line(&mut std::io::stderr(), &line);
}

fn write_line(out: &mut impl Write, line: &dyn Display) {
    let line = line.to_string().replace(char::is_control, " ") + "\n";
    // As one, so that lines of other threads do not come between.
    let _ = out.write_all(line.as_bytes());
}

/// Writes progress to `out`, line by line.
pub struct LineRenderer<W> {
    out: W,
    names: HashMap<MetricId, String>,
    values: HashMap<String, f64>,
    epoch: usize,
    epochs: usize,
    split: String,
    items: usize,
    split_start: Instant,
    last_line: Instant,
}

impl<W: Write + Send + Sync> LineRenderer<W> {
    /// A renderer that writes to `out`.
    pub fn new(out: W) -> Self {
        let now = Instant::now();
        Self {
            out,
            names: HashMap::new(),
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
        write_line(&mut self.out, &line);
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
        let mut text = String::new();
        for (short, figure) in [
            ("loss", StepFigure::Loss),
            ("class", StepFigure::Classification),
            ("box", StepFigure::Localization),
            ("assoc", StepFigure::Association),
            ("center", StepFigure::Centerness),
        ] {
            if let Some(value) = self.value(figure.name()) {
                text.push_str(&format!("  {short} {value:.3}"));
            }
        }
        text
    }
}

impl<W: Write + Send + Sync> TrainingProgressLogger for LineRenderer<W> {
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
        let figures: Vec<String> = [CocoFigure::AP, CocoFigure::AP50, CocoFigure::AP75]
            .iter()
            .filter_map(|figure| {
                let name = figure.name();
                Some(match self.value(name)? {
                    undefined if undefined.is_nan() => format!("{name} –"),
                    value => format!("{name} {value:.1}"),
                })
            })
            .collect();
        let line = format!("epoch {epoch}/{}  {}", self.epochs, figures.join("  "));
        self.line(&line);
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

impl<W: Write + Send + Sync> MetricsRendererTraining for LineRenderer<W> {
    fn update_train(&mut self, state: MetricState) {
        self.take(state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.take(state);
    }
}

/// burn-train asks one renderer to serve its evaluations too, which no training
/// here runs.
impl<W: Write + Send + Sync> EvaluationProgressLogger for LineRenderer<W> {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, _name: &str, _total_items: usize) {}

    fn update_test_progress(&mut self, _items_processed: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl<W: Write + Send + Sync> MetricsRendererEvaluation for LineRenderer<W> {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl<W: Write + Send + Sync> MetricsRenderer for LineRenderer<W> {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names
            .insert(definition.metric_id, definition.name.to_string());
    }
}
