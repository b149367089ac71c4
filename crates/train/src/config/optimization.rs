//! The configuration of the optimizer and of the learning rate schedule.

use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

use super::{
    optimizer::OptimizerConfig,
    parameter_group::{ParameterGroup, pattern},
    schedule::{Decay, Warmup},
};

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
    /// Weight decay of the weights of normalization layers. `None` decays them as other weights.
    #[serde(default)]
    pub norm_weight_decay: Option<f64>,
    /// Learning rate of biases as a multiple of that of the other parameters.
    pub bias_learning_rate_factor: f64,
    /// Layer-wise learning rate decay ([Clark et al., 2020](https://arxiv.org/abs/2003.10555)): the
    /// factor from each stage of the backbone to the one before it, in `(0, 1]`. Pyramid and head
    /// have the full rate, the last stage the rate times this factor, and so on down to the stem.
    /// `None` is the same as 1.
    #[serde(default)]
    pub layer_decay: Option<f64>,
    /// Parameters with their own learning rate or weight decay. A parameter belongs to the first
    /// group whose pattern its name matches. The factor of its group multiplies those of biases and
    /// stages.
    ///
    /// The name of a parameter is its path in the module, without enum variants:
    /// `backbone.stem.conv.weight`, `backbone.stages.0.blocks.1.convs.0.norm.gamma`,
    /// `head.class_logits.bias`. A pattern that matches none is an error.
    #[serde(default)]
    pub groups: Vec<ParameterGroup>,
    /// Patterns of the names of frozen parameters (see [`groups`](Self::groups)). They have no
    /// gradient and are not changed. A batch normalization whose parameters are all frozen uses its
    /// running statistics and keeps them.
    #[serde(default)]
    pub freeze: Vec<String>,
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
    /// is the minimum of this value and (1 + t) / (10 + t), so that short training runs forget their
    /// initial weights. Running statistics of batch normalization are averaged in the same way.
    #[serde(default)]
    pub average_decay: Option<f64>,
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
            norm_weight_decay: None,
            bias_learning_rate_factor: 1.0,
            layer_decay: None,
            groups: Vec::new(),
            freeze: Vec::new(),
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

    /// Sets [`norm_weight_decay`](Self::norm_weight_decay).
    #[must_use]
    pub fn with_norm_weight_decay(self, norm_weight_decay: Option<f64>) -> Self {
        Self {
            norm_weight_decay,
            ..self
        }
    }

    /// Sets [`layer_decay`](Self::layer_decay).
    #[must_use]
    pub fn with_layer_decay(self, layer_decay: Option<f64>) -> Self {
        Self {
            layer_decay,
            ..self
        }
    }

    /// Sets [`groups`](Self::groups).
    #[must_use]
    pub fn with_groups(self, groups: Vec<ParameterGroup>) -> Self {
        Self { groups, ..self }
    }

    /// Sets [`freeze`](Self::freeze).
    #[must_use]
    pub fn with_freeze(self, freeze: Vec<String>) -> Self {
        Self { freeze, ..self }
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
        let norm_weight_decay = self.norm_weight_decay.unwrap_or(0.0);
        let layer_decay = self.layer_decay.unwrap_or(1.0);
        let average_decay = self.average_decay.unwrap_or(0.5);
        let checks = [
            (
                "learning_rate",
                self.learning_rate,
                self.learning_rate.is_finite() && self.learning_rate > 0.0,
                "positive and finite",
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
                "norm_weight_decay",
                norm_weight_decay,
                finite(norm_weight_decay),
                "at least 0 and finite",
            ),
            (
                "layer_decay",
                layer_decay,
                layer_decay > 0.0 && layer_decay <= 1.0,
                "above 0 and at most 1",
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
        let within = |parent: &'static str| move |error: ConfigError| error.within(parent);
        self.optimizer.validate().map_err(within("optimizer"))?;
        self.decay.validate().map_err(within("decay"))?;
        let cycles = matches!(self.decay, Decay::OneCycle { .. });
        ConfigError::ensure(
            !cycles || self.warmup.iterations == 0,
            "warmup.iterations",
            self.warmup.iterations,
            "0 with a one-cycle schedule, which has its own warm-up",
        )?;
        for group in &self.groups {
            group.validate().map_err(within("groups"))?;
        }
        (self.freeze.iter()).try_for_each(|text| pattern("freeze", text).map(drop))
    }
}
