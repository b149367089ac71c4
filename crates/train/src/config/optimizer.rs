//! The configuration of the optimizer's update rule.

use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

/// The optimizer's update rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with momentum, in the form of PyTorch's `SGD`. For a gradient g,
    /// which includes the weight decay:
    ///
    /// ```text
    /// v ← momentum · v + (1 − dampening) · g      v = g in the first step
    /// w ← w − rate · v                            Nesterov: g + momentum · v in place of v
    /// ```
    Sgd {
        /// Momentum, in [0, 1).
        momentum: f64,
        /// Dampening of the momentum, in [0, 1]; 0 with Nesterov momentum. It has no effect without momentum.
        #[serde(default)]
        dampening: f64,
        /// Whether the momentum, which must be above 0, is Nesterov's ([Sutskever et al.,
        /// 2013](https://proceedings.mlr.press/v28/sutskever13.html)).
        #[serde(default)]
        nesterov: bool,
    },
    /// Adam with decoupled weight decay ([Loshchilov & Hutter,
    /// 2019](https://arxiv.org/abs/1711.05101)).
    AdamW {
        /// The decay rates β₁ and β₂ of the moments, each in [0, 1).
        #[serde(default = "usual_betas")]
        betas: [f64; 2],
        /// Added to the root of the second moment; positive.
        #[serde(default = "usual_epsilon")]
        epsilon: f64,
    },
}

fn usual_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn usual_epsilon() -> f64 {
    1e-8
}

impl OptimizerConfig {
    /// Stochastic gradient descent with this momentum, without dampening.
    pub fn sgd(momentum: f64) -> Self {
        Self::Sgd {
            momentum,
            dampening: 0.0,
            nesterov: false,
        }
    }

    /// AdamW with β₁ = 0.9, β₂ = 0.999 and ε = 1e-8.
    pub fn adam_w() -> Self {
        Self::AdamW {
            betas: usual_betas(),
            epsilon: usual_epsilon(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Sgd {
                momentum,
                dampening,
                nesterov,
            } => {
                let holds = (0.0..1.0).contains(&momentum) && (!nesterov || momentum > 0.0);
                let range = match nesterov {
                    true => "above 0 and below 1 for Nesterov momentum",
                    false => "at least 0 and below 1",
                };
                ConfigError::ensure(holds, "sgd.momentum", momentum, range)?;
                let holds = (0.0..=1.0).contains(&dampening) && (!nesterov || dampening == 0.0);
                let range = match nesterov {
                    true => "0 with Nesterov momentum",
                    false => "between 0 and 1",
                };
                ConfigError::ensure(holds, "sgd.dampening", dampening, range)
            }
            Self::AdamW { betas, epsilon } => {
                for beta in betas {
                    let holds = beta >= 0.0 && (beta as f32) < 1.0;
                    let range = "at least 0 and below 1 in 32 bits";
                    ConfigError::ensure(holds, "adamw.betas", beta, range)?;
                }
                // Below, it would be 0 in 32 bits.
                let holds = epsilon.is_finite() && epsilon >= f64::from(f32::MIN_POSITIVE);
                ConfigError::ensure(
                    holds,
                    "adamw.epsilon",
                    epsilon,
                    "at least 1.2e-38 and finite",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn fields_that_are_left_out_have_their_defaults() {
        let read = |json: &str| serde_json::from_str::<OptimizerConfig>(json).unwrap();
        assert_eq!(
            read(r#"{"sgd": {"momentum": 0.5}}"#),
            OptimizerConfig::sgd(0.5)
        );
        assert_eq!(read(r#"{"adamw": {}}"#), OptimizerConfig::adam_w());
        let betas = OptimizerConfig::AdamW {
            betas: [0.8, 0.99],
            epsilon: 1e-8,
        };
        assert_eq!(read(r#"{"adamw": {"betas": [0.8, 0.99]}}"#), betas);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let sgd = |momentum, dampening, nesterov| OptimizerConfig::Sgd {
            momentum,
            dampening,
            nesterov,
        };
        let adam_w = |betas, epsilon| OptimizerConfig::AdamW { betas, epsilon };
        for valid in [
            sgd(0.0, 1.0, false),
            sgd(0.9, 0.0, true),
            adam_w([0.0; 2], 1.0),
        ] {
            assert_eq!(valid.validate(), Ok(()));
        }
        for (invalid, start) in [
            (sgd(1.0, 0.0, false), "sgd.momentum is 1"),
            (sgd(f64::NAN, 0.0, false), "sgd.momentum is NaN"),
            (sgd(0.0, 0.0, true), "sgd.momentum is 0"),
            (sgd(0.9, -0.1, false), "sgd.dampening is -0.1"),
            (sgd(0.9, 0.1, true), "sgd.dampening is 0.1"),
            (adam_w([0.9, 1.0], 1e-8), "adamw.betas is 1"),
            (
                adam_w([0.9, 0.999_999_99], 1e-8),
                "adamw.betas is 0.99999999",
            ),
            (adam_w([0.9, 0.999], 0.0), "adamw.epsilon is 0"),
            (adam_w([0.9, 0.999], f64::INFINITY), "adamw.epsilon is inf"),
        ] {
            let error = invalid.validate().unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
