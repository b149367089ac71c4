//! Training: from a configuration to a run folder.

mod balance;
mod burn_metrics;
mod class_transfer;
mod early_stopping;
mod ending;
mod epoch_loop;
mod evaluator;
mod extensions;
mod failed_step;
mod log_renderer;
mod run;
mod setup;
mod splits;
mod trainer;

use fcos_burn_eval::Evaluation;

pub use failed_step::{FailedImage, FailedStep};
pub use log_renderer::LineRenderer;
#[cfg(test)]
pub(crate) use setup::random_model;
pub use setup::{initial_model, open_devices, trainable};
pub use splits::Splits;
pub use trainer::Trainer;

/// How a training ended.
#[derive(Debug)]
pub enum Outcome {
    /// All epochs are complete, or it [stopped early](crate::RunConfig::early_stopping). The evaluation is that of the kept epoch.
    Finished(Box<Evaluation>),
    /// The interrupter or the [stop rule](Trainer::with_stop_rule) stopped it; [`Trainer::resume`] continues from there.
    Interrupted,
}

#[cfg(test)]
mod tests;
