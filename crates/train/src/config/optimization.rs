//! The configuration of the optimizer and of the learning rate schedule.

use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

/// The optimizer's update rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Stochastic gradient descent.
    Sgd {
        /// Momentum, without dampening, in [0, 1).
        momentum: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter, 2019), β₁ = 0.9 and β₂ = 0.999.
    AdamW,
}

/// The optimizer and its learning rate schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OptimizationConfig {
    /// The update rule.
    pub optimizer: OptimizerConfig,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Weight decay of all parameters except biases.
    pub weight_decay: f64,
    /// Weight decay of biases, including those of normalization layers.
    pub bias_weight_decay: f64,
    /// Learning rate of biases as a multiple of that of the other parameters.
    pub bias_learning_rate_factor: f64,
    /// The warm-up.
    pub warmup: Warmup,
    /// How the learning rate falls after the warm-up.
    pub decay: Decay,
    /// Gradient clipping: the greatest L2 norm over all parameters. `None` does not clip.
    pub max_gradient_norm: Option<f32>,
    /// Decay of an exponential moving average of the weights, in `(0, 1)`. The average is
    /// validated and saved in place of the weights themselves. `None` keeps no average.
    ///
    /// After step t, counted from 1, the average becomes d · average + (1 − d) · weights, where d
    /// is the minimum of this value and (1 + t) / (10 + t), so that short trainings forget their
    /// initial weights. Running statistics of batch normalization are averaged in the same way.
    #[serde(default)]
    pub average_decay: Option<f64>,
}

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
    fn validate(&self) -> Result<(), ConfigError> {
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
        }
    }
}

fn usual_milestones() -> Milestones {
    Milestones::Fractions(vec![0.7, 0.9])
}

fn usual_factor() -> f64 {
    0.1
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

impl OptimizationConfig {
    /// An optimizer without weight decay, warm-up, gradient clipping or averaged weights, and with
    /// the default [`Decay`]. Biases have the same learning rate as the other parameters.
    pub fn new(optimizer: OptimizerConfig, learning_rate: f64) -> Self {
        Self {
            optimizer,
            learning_rate,
            weight_decay: 0.0,
            bias_weight_decay: 0.0,
            bias_learning_rate_factor: 1.0,
            warmup: Warmup::none(),
            decay: Decay::default(),
            max_gradient_norm: None,
            average_decay: None,
        }
    }

    /// Sets [`optimizer`](Self::optimizer).
    #[must_use]
    pub fn with_optimizer(self, optimizer: OptimizerConfig) -> Self {
        Self { optimizer, ..self }
    }

    /// Sets [`learning_rate`](Self::learning_rate).
    #[must_use]
    pub fn with_learning_rate(self, learning_rate: f64) -> Self {
        Self {
            learning_rate,
            ..self
        }
    }

    /// Sets [`weight_decay`](Self::weight_decay).
    #[must_use]
    pub fn with_weight_decay(self, weight_decay: f64) -> Self {
        Self {
            weight_decay,
            ..self
        }
    }

    /// Sets [`bias_weight_decay`](Self::bias_weight_decay).
    #[must_use]
    pub fn with_bias_weight_decay(self, bias_weight_decay: f64) -> Self {
        Self {
            bias_weight_decay,
            ..self
        }
    }

    /// Sets [`bias_learning_rate_factor`](Self::bias_learning_rate_factor).
    #[must_use]
    pub fn with_bias_learning_rate_factor(self, bias_learning_rate_factor: f64) -> Self {
        Self {
            bias_learning_rate_factor,
            ..self
        }
    }

    /// Sets [`warmup`](Self::warmup).
    #[must_use]
    pub fn with_warmup(self, warmup: Warmup) -> Self {
        Self { warmup, ..self }
    }

    /// Sets [`decay`](Self::decay).
    #[must_use]
    pub fn with_decay(self, decay: Decay) -> Self {
        Self { decay, ..self }
    }

    /// Sets [`max_gradient_norm`](Self::max_gradient_norm).
    #[must_use]
    pub fn with_max_gradient_norm(self, max_gradient_norm: Option<f32>) -> Self {
        Self {
            max_gradient_norm,
            ..self
        }
    }

    /// Sets [`average_decay`](Self::average_decay).
    #[must_use]
    pub fn with_average_decay(self, average_decay: Option<f64>) -> Self {
        Self {
            average_decay,
            ..self
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of range, relative to this configuration.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let finite = |value: f64| value.is_finite() && value >= 0.0;
        let momentum = match self.optimizer {
            OptimizerConfig::Sgd { momentum } => momentum,
            OptimizerConfig::AdamW => 0.0,
        };
        let average_decay = self.average_decay.unwrap_or(0.5);
        let checks = [
            (
                "learning_rate",
                self.learning_rate,
                self.learning_rate.is_finite() && self.learning_rate > 0.0,
                "positive and finite",
            ),
            (
                "optimizer.sgd.momentum",
                momentum,
                (0.0..1.0).contains(&momentum),
                "at least 0 and below 1",
            ),
            (
                "weight_decay",
                self.weight_decay,
                finite(self.weight_decay),
                "at least 0 and finite",
            ),
            (
                "bias_weight_decay",
                self.bias_weight_decay,
                finite(self.bias_weight_decay),
                "at least 0 and finite",
            ),
            (
                "bias_learning_rate_factor",
                self.bias_learning_rate_factor,
                finite(self.bias_learning_rate_factor),
                "at least 0 and finite",
            ),
            (
                "warmup.factor",
                self.warmup.factor,
                finite(self.warmup.factor),
                "at least 0 and finite",
            ),
            (
                "average_decay",
                average_decay,
                average_decay > 0.0 && average_decay < 1.0,
                "above 0 and below 1, or null for no average",
            ),
            (
                "max_gradient_norm",
                self.max_gradient_norm.unwrap_or(1.0).into(),
                self.max_gradient_norm
                    .is_none_or(|norm| norm.is_finite() && norm > 0.0),
                "positive and finite",
            ),
        ];
        for (field, value, holds, requirement) in checks {
            ConfigError::ensure(holds, field, value, requirement)?;
        }
        let decay = self.decay.validate();
        decay.map_err(|error| error.within("decay"))
    }
}
