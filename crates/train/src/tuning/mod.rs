//! Search for hyperparameters: random trials, of which the poor ones are stopped early.
//!
//! A [`Tuner`] draws values from a [`SearchSpace`] for every trial, trains with them, and stops a trial that falls behind
//! the earlier ones ([`SuccessiveHalving`]). The values of a trial depend only on the seed and its number, and the
//! training only on its configuration. A search that was stopped therefore continues to the same result.
//!
//! ```no_run
//! use fcos_burn_train::{RunConfig, tuning::{Tuner, TuningConfig}};
//!
//! let base = RunConfig::small();
//! let search = TuningConfig::around(&base).with_trials(30);
//! let mut tuner = Tuner::create("runs/search", base, search)?;
//! tuner.run(|event| println!("{event}"))?;
//! if let Some(best) = tuner.best() {
//!     println!("trial {}: {:?}", best.trial, best.values);
//! }
//! # Ok::<(), fcos_burn_train::Error>(())
//! ```

mod halving;
mod search;
mod space;
mod table;
mod trial;
mod tuner;

pub use halving::SuccessiveHalving;
pub use search::TuningOutcome;
pub use space::{Distribution, SearchSpace, TrialValues};
pub use trial::{TrialEnd, TrialEpoch, TrialResult};
pub use tuner::{Tuner, TuningConfig, TuningEvent};
