//! Recording a run: a row an epoch in `metrics.json`, a line an epoch in `train.log`.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use burn::train::{
    Interrupter,
    logger::MetricLogger,
    metric::{
        LearningRateMetric, Metric, MetricDefinition, MetricId, NumericEntry,
        store::{EpochSummary, MetricsUpdate, Split},
    },
};

use crate::{
    error::Error,
    evaluation::{CocoFigure, SharedEvaluator},
    run::{EpochRow, RunFolder, write_json},
};

/// A text file of what happens, a line each.
#[derive(Clone, Debug)]
pub(crate) struct TrainLog(Arc<Mutex<File>>);

impl TrainLog {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(Error::io(path))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    pub(crate) fn line(&self, line: &str) -> std::io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}")
    }
}

/// Where an error waits that a callback without a result met.
#[derive(Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn set(&self, error: Error) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(error);
    }

    pub(crate) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The metric logger of burn-train that records a run.
pub(crate) struct RunRecorder {
    folder: RunFolder,
    log: TrainLog,
    evaluator: SharedEvaluator,
    interrupter: Interrupter,
    failure: Failure,
    names: HashMap<MetricId, String>,
    rows: Vec<EpochRow>,
    train: BTreeMap<String, f64>,
    learning_rate: f64,
    epoch_start: Instant,
}

impl RunRecorder {
    pub(crate) fn new(
        folder: RunFolder,
        log: TrainLog,
        evaluator: SharedEvaluator,
        interrupter: Interrupter,
        failure: Failure,
        rows: Vec<EpochRow>,
    ) -> Self {
        Self {
            folder,
            log,
            evaluator,
            interrupter,
            failure,
            names: HashMap::new(),
            rows,
            train: BTreeMap::new(),
            learning_rate: f64::NAN,
            epoch_start: Instant::now(),
        }
    }

    fn record(&mut self, epoch: usize) -> Result<(), Error> {
        let row = EpochRow {
            epoch,
            seconds: self.epoch_start.elapsed().as_secs_f64(),
            learning_rate: self.learning_rate,
            train: std::mem::take(&mut self.train),
            validation: self.evaluator.evaluation(),
        };
        self.epoch_start = Instant::now();
        let path = self.folder.log_path();
        self.log.line(&epoch_line(&row)).map_err(Error::io(&path))?;
        self.rows.push(row);
        write_json(&self.folder.metrics_path(), &self.rows)
    }
}

impl MetricLogger for RunRecorder {
    fn log(&mut self, update: MetricsUpdate, _epoch: usize, split: &Split) {
        if *split != Split::Train {
            return;
        }
        for metric in update.entries_numeric {
            let Some(name) = self.names.get(&metric.entry.metric_id) else {
                continue;
            };
            let is_learning_rate = *name == *LearningRateMetric::new().name();
            match metric.numeric_entry {
                Some(NumericEntry::Final(mean)) if !is_learning_rate => {
                    self.train.insert(name.clone(), mean);
                }
                Some(NumericEntry::Final(_)) | None => {}
                Some(entry) if is_learning_rate => self.learning_rate = entry.current(),
                Some(_) => {}
            }
        }
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        self.rows
            .iter()
            .find(|row| row.epoch == epoch)
            .and_then(|row| row.train.get(name))
            .map(|value| vec![NumericEntry::Final(*value)])
            .ok_or_else(|| format!("no {name} of epoch {epoch} is recorded"))
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names
            .insert(definition.metric_id, definition.name.to_string());
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if summary.split != Split::Valid || self.interrupter.should_stop() {
            return;
        }
        if let Err(error) = self.record(summary.epoch_number) {
            self.failure.set(error);
            self.interrupter
                .stop(Some("the run folder cannot be written"));
        }
    }
}

/// An epoch on one line.
pub(crate) fn epoch_line(row: &EpochRow) -> String {
    let mut line = format!("epoch {}: {:.0} s", row.epoch, row.seconds);
    for (name, value) in &row.train {
        line.push_str(&format!(", {} {value:.3}", name.to_lowercase()));
    }
    line.push_str(&format!(", learning rate {:.2e}", row.learning_rate));
    if let Some(validation) = &row.validation {
        for figure in [CocoFigure::AP, CocoFigure::AP50, CocoFigure::AP75] {
            match validation.figure(figure) {
                Some(value) => line.push_str(&format!(", {} {:.1}", figure.name(), 100.0 * value)),
                None => line.push_str(&format!(", {} –", figure.name())),
            }
        }
    }
    line
}
