//! The optimiser: its configuration, the learning rate schedule, parameter groups
//! and clipping.

use std::f64::consts::PI;

use burn::{
    lr_scheduler::{LrScheduler, LrSchedulerRecord, module_lr_scheduler::ModuleLrScheduler},
    module::{Module, ModuleVisitor, Param, ParamGroup},
    optim::{GradientsParams, ModuleOptimizer},
    tensor::Tensor,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::InvalidConfig,
    operations::{AdamW, Sgd, scale, sum_of_squares},
};

/// The rule that turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd {
        /// Momentum, without dampening, in [0, 1).
        momentum: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter, 2019), with its
    /// authors' β₁ = 0.9 and β₂ = 0.999.
    AdamW,
}

/// The optimiser and its learning rate schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizationConfig {
    /// The rule of a step.
    pub optimizer: Optimizer,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Weight decay of all parameters but the biases.
    pub weight_decay: f64,
    /// Weight decay of biases, those of normalisation layers included.
    pub bias_weight_decay: f64,
    /// Learning rate of biases as a multiple of that of the other parameters.
    pub bias_learning_rate_factor: f64,
    /// The first iterations.
    pub warmup: Warmup,
    /// How the learning rate falls after the warm-up.
    pub decay: Decay,
    /// Gradients whose norm over all parameters exceeds this are scaled down to
    /// it; `None` never scales.
    pub max_gradient_norm: Option<f32>,
    /// Decay of an exponential moving average of the weights, in `(0, 1)`. The average is
    /// validated and saved in place of the weights themselves. `None` keeps no average.
    ///
    /// After step t, counted from 1, the average becomes d · average + (1 − d) · weights, where d
    /// is the smaller of this and (1 + t) / (10 + t), so that a short training forgets its initial
    /// weights. Running statistics of batch normalization are averaged in the same way.
    #[serde(default)]
    pub average_decay: Option<f64>,
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Decay {
    /// In steps.
    Steps {
        /// When.
        #[serde(default = "usual_milestones")]
        milestones: Milestones,
        /// What it is multiplied by at each milestone.
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
    /// Divided by 10 after 70% and again after 90% of the training.
    fn default() -> Self {
        Self::Steps {
            milestones: usual_milestones(),
            factor: usual_factor(),
        }
    }
}

fn usual_milestones() -> Milestones {
    Milestones::Fractions(vec![0.7, 0.9])
}

fn usual_factor() -> f64 {
    0.1
}

/// The learning rate's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Number of iterations; 0 for no warm-up.
    pub iterations: usize,
    /// Learning rate of the first iteration over the one after the warm-up.
    pub factor: f64,
    /// How it goes on from there.
    pub shape: WarmupShape,
}

/// The course of the learning rate in the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmupShape {
    /// The same for all iterations (FCOS).
    Constant,
    /// Rising in equal steps.
    Linear,
}

/// Where the learning rate drops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Milestones {
    /// At these iterations.
    Iterations(Vec<usize>),
    /// After these shares of all iterations.
    Fractions(Vec<f64>),
}

impl OptimizationConfig {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let finite = |value: f64| value.is_finite() && value >= 0.0;
        let momentum = match self.optimizer {
            Optimizer::Sgd { momentum } => momentum,
            Optimizer::AdamW => 0.0,
        };
        let decay = match self.decay {
            Decay::Steps { factor, .. } => (
                "optimization.decay.steps.factor",
                factor,
                finite(factor),
                "at least 0 and finite",
            ),
            Decay::Cosine { end } => (
                "optimization.decay.cosine.end",
                end,
                (0.0..=1.0).contains(&end),
                "between 0 and 1",
            ),
        };
        let average_decay = self.average_decay.unwrap_or(0.5);
        let checks = [
            (
                "optimization.learning_rate",
                self.learning_rate,
                self.learning_rate.is_finite() && self.learning_rate > 0.0,
                "positive and finite",
            ),
            (
                "optimization.optimizer.sgd.momentum",
                momentum,
                (0.0..1.0).contains(&momentum),
                "at least 0 and below 1",
            ),
            (
                "optimization.weight_decay",
                self.weight_decay,
                finite(self.weight_decay),
                "at least 0 and finite",
            ),
            (
                "optimization.bias_weight_decay",
                self.bias_weight_decay,
                finite(self.bias_weight_decay),
                "at least 0 and finite",
            ),
            (
                "optimization.bias_learning_rate_factor",
                self.bias_learning_rate_factor,
                finite(self.bias_learning_rate_factor),
                "at least 0 and finite",
            ),
            (
                "optimization.warmup.factor",
                self.warmup.factor,
                finite(self.warmup.factor),
                "at least 0 and finite",
            ),
            decay,
            (
                "optimization.average_decay",
                average_decay,
                average_decay > 0.0 && average_decay < 1.0,
                "above 0 and below 1, or null for no average",
            ),
            (
                "optimization.max_gradient_norm",
                self.max_gradient_norm.unwrap_or(1.0).into(),
                self.max_gradient_norm
                    .is_none_or(|norm| norm.is_finite() && norm > 0.0),
                "positive and finite",
            ),
        ];
        for (field, value, holds, requirement) in checks {
            if !holds {
                return Err(InvalidConfig {
                    field,
                    value: value.to_string(),
                    requirement,
                });
            }
        }
        Ok(())
    }

    /// The schedule of the parameters that are no biases.
    pub fn schedule(&self, total_iterations: usize) -> LearningRateSchedule {
        LearningRateSchedule {
            base: self.learning_rate,
            warmup: self.warmup.clone(),
            decay: match &self.decay {
                Decay::Steps { milestones, factor } => Course::Steps {
                    milestones: milestones.iterations(total_iterations),
                    factor: *factor,
                },
                Decay::Cosine { end } => Course::Cosine {
                    end: *end,
                    total: total_iterations,
                },
            },
            iteration: 0,
        }
    }

    /// The schedules of all parameters.
    pub fn scheduler(&self, total_iterations: usize) -> ModuleLrScheduler {
        let schedule = self.schedule(total_iterations);
        let biases = LearningRateSchedule {
            base: schedule.base * self.bias_learning_rate_factor,
            ..schedule.clone()
        };
        ModuleLrScheduler::new(schedule).with_group(bias_group(), biases)
    }

    /// The optimiser of all parameters.
    pub fn optimizer(&self) -> ModuleOptimizer {
        match self.optimizer {
            Optimizer::Sgd { momentum } => {
                self.grouped(|weight_decay| Sgd::new(momentum as f32, weight_decay))
            }
            Optimizer::AdamW => {
                self.grouped(|weight_decay| AdamW::new([0.9, 0.999], 1e-8, weight_decay))
            }
        }
    }

    /// An optimiser made for the weight decay of each of the two groups.
    fn grouped<O: burn::optim::Optimizer>(&self, make: impl Fn(f32) -> O) -> ModuleOptimizer {
        ModuleOptimizer::from(make(self.weight_decay as f32)).with_group(
            bias_group(),
            make(self.bias_weight_decay as f32),
            None,
        )
    }
}

impl Milestones {
    /// The iterations, in a training of `total`.
    fn iterations(&self, total: usize) -> Vec<usize> {
        match self {
            Self::Iterations(milestones) => milestones.clone(),
            Self::Fractions(shares) => shares
                .iter()
                .map(|share| (share * total as f64).round() as usize)
                .collect(),
        }
    }
}

/// Biases of convolutions and of normalisation layers, by their path.
fn bias_group() -> ParamGroup {
    ParamGroup::from_any_predicates(vec![".bias", ".beta"])
}

/// The learning rate as a function of the iteration.
#[derive(Clone, Debug)]
pub struct LearningRateSchedule {
    base: f64,
    warmup: Warmup,
    decay: Course,
    iteration: usize,
}

/// [`Decay`] in a training of a certain length.
#[derive(Clone, Debug)]
enum Course {
    Steps { milestones: Vec<usize>, factor: f64 },
    Cosine { end: f64, total: usize },
}

impl LearningRateSchedule {
    /// The learning rate of an iteration, counted from 0.
    pub fn at(&self, iteration: usize) -> f64 {
        let warmup = &self.warmup;
        let decay = match &self.decay {
            Course::Steps { milestones, factor } => {
                let passed = milestones.iter().filter(|&&passed| iteration >= passed);
                factor.powi(passed.count() as i32)
            }
            Course::Cosine { end, total } => {
                let length = total.saturating_sub(warmup.iterations).max(1);
                let done = iteration.saturating_sub(warmup.iterations).min(length);
                let share = done as f64 / length as f64;
                end + (1.0 - end) * (1.0 + (PI * share).cos()) / 2.0
            }
        };
        let factor = if iteration >= warmup.iterations {
            1.0
        } else {
            match warmup.shape {
                WarmupShape::Constant => warmup.factor,
                WarmupShape::Linear => {
                    let progress = iteration as f64 / warmup.iterations as f64;
                    warmup.factor + (1.0 - warmup.factor) * progress
                }
            }
        };
        self.base * factor * decay
    }
}

impl LrScheduler for LearningRateSchedule {
    fn step(&mut self) -> f64 {
        let rate = self.at(self.iteration);
        self.iteration += 1;
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("iteration", self.iteration)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(iteration) = record.scalar("iteration") {
            self.iteration = iteration;
        }
    }
}

/// The L2 norm of all gradients of `module` together, `[1]`, on their device; `None` if
/// there are none.
pub fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut norm = SquaredNorm {
        gradients,
        sum: None,
    };
    module.visit(&mut norm);
    norm.sum.map(Tensor::sqrt)
}

/// Scales all gradients of `module` by the same factor, so that their common L2 norm,
/// `[1]`, is at most `max_norm`.
///
/// Nothing is read back to the host.
pub fn clip_gradients<M: Module>(
    module: &M,
    gradients: GradientsParams,
    norm: Tensor<1>,
    max_norm: f32,
) -> GradientsParams {
    // The smallest normal number keeps 0 / 0 from arising where all gradients are 0.
    let factor = (norm + f32::MIN_POSITIVE).recip().mul_scalar(max_norm);
    let mut scaling = Scaling {
        gradients,
        factor: factor.clamp_max(1.0),
    };
    module.visit(&mut scaling);
    scaling.gradients
}

/// Multiplies all gradients of `module` by `factor`.
pub fn scale_gradients<M: Module>(
    module: &M,
    gradients: GradientsParams,
    factor: f32,
) -> GradientsParams {
    let mut scaling = ConstantScaling { gradients, factor };
    module.visit(&mut scaling);
    scaling.gradients
}

struct ConstantScaling {
    gradients: GradientsParams,
    factor: f32,
}

impl ModuleVisitor for ConstantScaling {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let scaled = gradient.mul_scalar(self.factor);
            self.gradients.register(param.id, scaled);
        }
    }
}

struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let squared = sum_of_squares(gradient);
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squared,
                None => squared,
            });
        }
    }
}

struct Scaling {
    gradients: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scaling {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let scaled = scale(gradient, self.factor.clone());
            self.gradients.register(param.id, scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::{nn::LinearConfig, tensor::Device};

    use super::*;

    fn paper() -> OptimizationConfig {
        crate::config::RunConfig::paper().optimization
    }

    #[test]
    fn the_paper_warms_up_at_a_third_and_drops_twice() {
        let schedule = paper().schedule(90_000);
        for (iteration, rate) in [
            (0, 0.01 / 3.0),
            (499, 0.01 / 3.0),
            (500, 0.01),
            (59_999, 0.01),
            (60_000, 0.001),
            (80_000, 0.0001),
            (89_999, 0.0001),
        ] {
            assert!((schedule.at(iteration) - rate).abs() < 1e-12, "{iteration}");
        }
    }

    #[test]
    fn a_linear_warmup_rises_in_equal_steps() {
        let mut config = paper();
        config.warmup = Warmup {
            iterations: 4,
            factor: 0.0,
            shape: WarmupShape::Linear,
        };
        config.decay = Decay::Steps {
            milestones: Milestones::Fractions(vec![0.75]),
            factor: 0.1,
        };
        let schedule = config.schedule(8);
        let rates: Vec<f64> = (0..8).map(|i| schedule.at(i) / 0.01).collect();
        let expected = [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.1, 0.1];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn a_cosine_falls_from_the_warm_up_to_the_end() {
        let mut config = paper();
        config.warmup = Warmup {
            iterations: 2,
            factor: 0.5,
            shape: WarmupShape::Linear,
        };
        config.decay = Decay::Cosine { end: 0.2 };
        let schedule = config.schedule(8);
        let rates: Vec<f64> = (0..10).map(|i| schedule.at(i) / 0.01).collect();
        // cos 0°, 30°, 60°, 90°, 120°, 150° between 1 and 0.2; beyond the end, the end.
        let half = 3f64.sqrt() / 2.0;
        let cosines = [1.0, half, 0.5, 0.0, -0.5, -half, -1.0, -1.0];
        let expected = cosines.map(|cosine| 0.2 + 0.8 * (1.0 + cosine) / 2.0);
        for (rate, expected) in rates.iter().zip([0.5, 0.75].into_iter().chain(expected)) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn a_schedule_goes_on_from_its_record() {
        let mut schedule = paper().schedule(90_000);
        for _ in 0..60_000 {
            schedule.step();
        }
        let mut resumed = paper().schedule(90_000);
        resumed.load_record(schedule.to_record());
        assert_eq!(resumed.step(), schedule.step());
    }

    #[test]
    fn clipping_scales_all_gradients_by_one_factor() {
        let device = Device::flex().autodiff();
        let layer = LinearConfig::new(3, 2).init(&device);
        let gradients = || {
            let input = Tensor::<2>::from_floats([[1.0, 2.0, 2.0]], &device);
            GradientsParams::from_grads(layer.forward(input).sum().backward(), &layer)
        };
        let norm = |gradients: &GradientsParams| -> f32 {
            let weight: f32 = gradients
                .get::<2>(layer.weight.id)
                .map_or(0.0, |g| g.square().sum().into_scalar());
            let bias: f32 = layer
                .bias
                .as_ref()
                .and_then(|bias| gradients.get::<1>(bias.id))
                .map_or(0.0, |g| g.square().sum().into_scalar());
            (weight + bias).sqrt()
        };
        // Every weight's gradient is its input, every bias' is 1: √(2·9 + 2).
        let full = 20f32.sqrt();
        assert!((norm(&gradients()) - full).abs() < 1e-5);
        let found = gradient_norm(&layer, &gradients()).map_or(f32::NAN, Tensor::into_scalar);
        assert!((found - full).abs() < 1e-5);
        let clipped = |max_norm| {
            let found = gradient_norm(&layer, &gradients()).unwrap();
            norm(&clip_gradients(&layer, gradients(), found, max_norm))
        };
        assert!((clipped(2.0) - 2.0).abs() < 1e-5);
        assert!((clipped(100.0) - full).abs() < 1e-5);
    }

    /// Weights move by rate · (gradient + decay · weight), biases by twice the rate
    /// and without decay.
    #[test]
    fn biases_have_their_own_rate_and_decay() {
        #[derive(burn::module::Module, Debug)]
        struct Net {
            layer: burn::nn::Linear,
        }
        let device = Device::flex().autodiff();
        let net = Net {
            layer: LinearConfig::new(1, 1).init(&device),
        };
        let values = |net: &Net| -> [f32; 2] {
            let weight = net.layer.weight.val().into_scalar::<f32>();
            let bias = net
                .layer
                .bias
                .as_ref()
                .map(|b| b.val().into_scalar::<f32>());
            [weight, bias.unwrap_or(f32::NAN)]
        };
        let [weight, bias] = values(&net);
        let mut config = paper();
        config.warmup.iterations = 0;
        config.weight_decay = 0.5;
        let loss = net
            .layer
            .forward(Tensor::<2>::from_floats([[3.0]], &device))
            .sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        let net = config
            .optimizer()
            .step(config.scheduler(10).step(), net, gradients);
        let [new_weight, new_bias] = values(&net);
        assert!((new_weight - (weight - 0.01 * (3.0 + 0.5 * weight))).abs() < 1e-6);
        assert!((new_bias - (bias - 0.02)).abs() < 1e-6);
    }
}
