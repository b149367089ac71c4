//! What a run has recorded.

use fcos_burn_eval::{Analysis, Evaluation};
use fcos_burn_plot::LineChart;
use serde_json::Value;

use crate::provenance::Provenance;

/// What a run has recorded, apart from its detections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunSummary {
    /// The name.
    pub name: String,
    /// The evaluation of the kept weights.
    pub evaluation: Evaluation,
    /// Its analysis; `None` for runs that wrote none.
    pub analysis: Option<Analysis>,
    /// The epochs.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights were kept, if it is known.
    pub kept_epoch: Option<usize>,
    /// The curves of the training, by epoch. The first series of each is compared between runs.
    pub curves: Vec<LineChart>,
    /// The configuration.
    pub config: Value,
    /// Programs, machines and data; `None` for runs that did not record them.
    pub provenance: Option<Provenance>,
    /// The warnings of the run, or why they are unknown.
    pub warnings: Result<Vec<String>, String>,
}

/// An epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Seconds that its training and validation took.
    pub seconds: f64,
    /// AP on the validation split, as a fraction, if it is defined.
    pub ap: Option<f64>,
}

impl RunSummary {
    /// A run of which only the evaluation is known.
    pub fn new(name: impl Into<String>, evaluation: Evaluation) -> Self {
        Self {
            name: name.into(),
            evaluation,
            analysis: None,
            epochs: Vec::new(),
            kept_epoch: None,
            curves: Vec::new(),
            config: Value::Null,
            provenance: None,
            warnings: Ok(Vec::new()),
        }
    }

    /// Sets [`analysis`](Self::analysis).
    #[must_use]
    pub fn with_analysis(self, analysis: Option<Analysis>) -> Self {
        Self { analysis, ..self }
    }

    /// Sets [`epochs`](Self::epochs) and [`kept_epoch`](Self::kept_epoch).
    #[must_use]
    pub fn with_epochs(self, epochs: Vec<Epoch>, kept_epoch: Option<usize>) -> Self {
        Self {
            epochs,
            kept_epoch,
            ..self
        }
    }

    /// Sets [`curves`](Self::curves).
    #[must_use]
    pub fn with_curves(self, curves: Vec<LineChart>) -> Self {
        Self { curves, ..self }
    }

    /// Sets [`config`](Self::config).
    #[must_use]
    pub fn with_config(self, config: Value) -> Self {
        Self { config, ..self }
    }

    /// Sets [`provenance`](Self::provenance).
    #[must_use]
    pub fn with_provenance(self, provenance: Option<Provenance>) -> Self {
        Self { provenance, ..self }
    }

    /// Sets [`warnings`](Self::warnings).
    #[must_use]
    pub fn with_warnings(self, warnings: Result<Vec<String>, String>) -> Self {
        Self { warnings, ..self }
    }
}
