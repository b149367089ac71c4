//! The configuration of the learning rate schedule.

use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Decay {
    /// In steps.
    Steps {
        /// When the steps happen.
        #[serde(default = "usual_milestones")]
        milestones: Milestones,
        /// The factor of each step.
        #[serde(default = "usual_factor")]
        factor: f64,
    },
    /// Along half a cosine from the end of the warm-up to the end of the training
    /// ([Loshchilov & Hutter, 2017](https://arxiv.org/abs/1608.03983), without restarts).
    Cosine {
        /// The final learning rate as a fraction of the full one, in `[0, 1]`.
        end: f64,
    },
    /// Along a line from the end of the warm-up to the end of the training.
    Linear {
        /// The final learning rate as a fraction of the full one, in `[0, 1]`.
        end: f64,
    },
    /// One cycle ([Smith & Topin, 2018](https://arxiv.org/abs/1708.07120)): the rate rises along
    /// half a cosine, then falls along half a cosine to the last iteration. The rates and the
    /// defaults are those of PyTorch's `OneCycleLR`; momentum is not cycled.
    ///
    /// It has its own warm-up: [`OptimizationConfig::warmup`] must have no iterations.
    ///
    /// [`OptimizationConfig::warmup`]: crate::config::OptimizationConfig::warmup
    #[serde(rename = "one-cycle")]
    OneCycle {
        /// The fraction of the training in which the rate rises, in `[0, 1]`. For T iterations, it
        /// has its full value in iteration `pct_start · T − 1`, counted from 0.
        #[serde(default = "usual_pct_start")]
        pct_start: f64,
        /// The full learning rate as a multiple of the initial one, at least 1.
        #[serde(default = "usual_div_factor")]
        div_factor: f64,
        /// The initial learning rate as a multiple of the final one, at least 1.
        #[serde(default = "usual_final_div_factor")]
        final_div_factor: f64,
    },
}

impl Default for Decay {
    /// Divides by 10 after 70% and again after 90% of the training.
    fn default() -> Self {
        Self::Steps {
            milestones: usual_milestones(),
            factor: usual_factor(),
        }
    }
}

impl Decay {
    /// One cycle with PyTorch's defaults: the rate rises from 1/25 in 30% of the training, and falls
    /// to 1/250,000.
    pub fn one_cycle() -> Self {
        Self::OneCycle {
            pct_start: usual_pct_start(),
            div_factor: usual_div_factor(),
            final_div_factor: usual_final_div_factor(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let fraction = |field: &'static str, value: f64| {
            let holds = (0.0..=1.0).contains(&value);
            ConfigError::ensure(holds, field, value, "between 0 and 1")
        };
        match self {
            Self::Steps { milestones, factor } => {
                let holds = factor.is_finite() && *factor >= 0.0;
                ConfigError::ensure(holds, "steps.factor", factor, "at least 0 and finite")?;
                match milestones {
                    Milestones::Iterations(_) => Ok(()),
                    Milestones::Fractions(all) => {
                        (all.iter()).try_for_each(|&at| fraction("steps.milestones.fractions", at))
                    }
                }
            }
            Self::Cosine { end } => fraction("cosine.end", *end),
            Self::Linear { end } => fraction("linear.end", *end),
            Self::OneCycle {
                pct_start,
                div_factor,
                final_div_factor,
            } => {
                fraction("one-cycle.pct_start", *pct_start)?;
                let factors = [
                    ("one-cycle.div_factor", div_factor),
                    ("one-cycle.final_div_factor", final_div_factor),
                ];
                factors.into_iter().try_for_each(|(field, factor)| {
                    let holds = factor.is_finite() && *factor >= 1.0;
                    ConfigError::ensure(holds, field, factor, "at least 1 and finite")
                })
            }
        }
    }
}

fn usual_milestones() -> Milestones {
    Milestones::Fractions(vec![0.7, 0.9])
}

fn usual_factor() -> f64 {
    0.1
}

fn usual_pct_start() -> f64 {
    0.3
}

fn usual_div_factor() -> f64 {
    25.0
}

fn usual_final_div_factor() -> f64 {
    1e4
}

/// The learning rate at the start of the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Warmup {
    /// Number of iterations; 0 for no warm-up.
    pub iterations: usize,
    /// Learning rate of the first iteration as a fraction of the full one.
    pub factor: f64,
    /// How the rate changes during the warm-up.
    pub shape: WarmupShape,
}

impl Decay {
    /// Why the rate of a training run of `iterations` never decays, if it was made for longer ones.
    pub(crate) fn never_begins(&self, iterations: usize) -> Option<String> {
        let Self::Steps {
            milestones: Milestones::Iterations(milestones),
            ..
        } = self
        else {
            return None;
        };
        let first = milestones.iter().min()?;
        (*first >= iterations).then(|| {
            format!("the learning rate decays after {first} iterations, and the training has only {iterations}")
        })
    }
}

impl Warmup {
    /// No warm-up.
    pub fn none() -> Self {
        Self::constant(0, 1.0)
    }

    /// A fraction `factor` of the full rate for some iterations (FCOS).
    pub fn constant(iterations: usize, factor: f64) -> Self {
        Self {
            iterations,
            factor,
            shape: WarmupShape::Constant,
        }
    }

    /// A rise from a fraction `factor` of the full rate in equal steps.
    pub fn linear(iterations: usize, factor: f64) -> Self {
        Self {
            iterations,
            factor,
            shape: WarmupShape::Linear,
        }
    }
}

/// The course of the learning rate in the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WarmupShape {
    /// Constant (FCOS).
    Constant,
    /// Linearly rising to the full rate.
    Linear,
}

/// Where the learning rate drops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Milestones {
    /// At these iterations.
    Iterations(Vec<usize>),
    /// After these fractions of all iterations, each in `[0, 1]`.
    Fractions(Vec<f64>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_after_the_end_are_told() {
        let steps = |milestones| Decay::Steps {
            milestones,
            factor: 0.1,
        };
        let late = steps(Milestones::Iterations(vec![80, 60]));
        let expected = "the learning rate decays after 60 iterations, and the training has only 60";
        assert_eq!(late.never_begins(60).as_deref(), Some(expected));
        assert_eq!(late.never_begins(61), None);
        assert_eq!(
            steps(Milestones::Iterations(Vec::new())).never_begins(1),
            None
        );
        assert_eq!(
            steps(Milestones::Fractions(vec![0.9])).never_begins(1),
            None
        );
        assert_eq!(Decay::Cosine { end: 0.0 }.never_begins(1), None);
    }
}
