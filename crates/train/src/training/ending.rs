//! How a training run is stopped, and how it ended.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use burn::train::{Interrupter, TrainingError};

use crate::{Error, run::EpochRow};

/// Decides after each epoch, by the rows of all epochs so far, whether a training continues. Clones share its state.
#[derive(Clone)]
pub(crate) struct StopRule(Arc<Mutex<Rule>>);

type Rule = dyn FnMut(&[EpochRow]) -> ControlFlow<()> + Send;

impl StopRule {
    pub(crate) fn new(rule: impl FnMut(&[EpochRow]) -> ControlFlow<()> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(rule)))
    }

    pub(crate) fn apply(&self, rows: &[EpochRow]) -> ControlFlow<()> {
        let mut rule = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rule(rows)
    }
}

/// How the training loop ended.
pub(crate) enum Ending {
    /// All epochs are complete, or it no longer improved.
    Finished,
    /// It was stopped without an error.
    Interrupted,
    /// It stopped on an error.
    Failed(Error),
}

/// Receives the ending of the loop, which burn-train's interface cannot return: its renderers may
/// reset the interrupter before its result is read.
#[derive(Clone, Default)]
pub(crate) struct EndingSlot(Arc<Mutex<Option<Ending>>>);

impl EndingSlot {
    pub(crate) fn set(&self, ending: Ending) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(ending);
    }

    pub(crate) fn take(&self) -> Option<Ending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The two interrupters of a training run, either of which stops it.
pub(crate) struct Interrupters {
    /// Belongs to the caller, who may use it for further training runs. It is only read.
    pub(crate) caller: Interrupter,
    /// Belongs to burn-train: its dashboard and its event processor stop the training with it.
    pub(crate) burn: Interrupter,
}

impl Interrupters {
    pub(crate) fn should_stop(&self) -> bool {
        self.caller.should_stop() || self.burn.should_stop()
    }

    /// The error on which one of them stopped the training.
    pub(crate) fn error(&self) -> Option<Arc<TrainingError>> {
        self.burn.error().or_else(|| self.caller.error())
    }
}
