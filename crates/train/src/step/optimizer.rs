//! The optimizer and the learning rate schedule of a configuration.

use std::f64::consts::PI;

use burn::{
    lr_scheduler::{LrScheduler, LrSchedulerRecord, module_lr_scheduler::ModuleLrScheduler},
    module::ParamGroup,
    optim::ModuleOptimizer,
};

use super::kernels::{AdamW, Sgd};
use crate::config::{Decay, Milestones, OptimizationConfig, OptimizerConfig, Warmup, WarmupShape};

impl OptimizationConfig {
    /// The learning rate schedule of all parameters except biases.
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

    /// The learning rate schedules of all parameters.
    pub fn scheduler(&self, total_iterations: usize) -> ModuleLrScheduler {
        let schedule = self.schedule(total_iterations);
        let biases = LearningRateSchedule {
            base: schedule.base * self.bias_learning_rate_factor,
            ..schedule.clone()
        };
        ModuleLrScheduler::new(schedule).with_group(bias_group(), biases)
    }

    /// The optimizer of all parameters.
    pub fn optimizer(&self) -> ModuleOptimizer {
        match self.optimizer {
            OptimizerConfig::Sgd { momentum } => {
                self.grouped(|weight_decay| Sgd::new(momentum as f32, weight_decay))
            }
            OptimizerConfig::AdamW => {
                self.grouped(|weight_decay| AdamW::new([0.9, 0.999], 1e-8, weight_decay))
            }
        }
    }

    /// An optimizer with separate weight decay for biases.
    fn grouped<O: burn::optim::Optimizer>(&self, make: impl Fn(f32) -> O) -> ModuleOptimizer {
        ModuleOptimizer::from(make(self.weight_decay as f32)).with_group(
            bias_group(),
            make(self.bias_weight_decay as f32),
            None,
        )
    }
}

impl Milestones {
    /// The iterations of the milestones in a training of `total` iterations.
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

/// The biases of convolutions and normalization layers, by the last component of the parameter
/// path.
#[expect(clippy::expect_used, reason = "the pattern is constant")]
fn bias_group() -> ParamGroup {
    ParamGroup::from_regex(r"(^|\.)(bias|beta)$").expect("the pattern is valid")
}

/// The learning rate as a function of the iteration.
#[derive(Clone, Debug)]
pub struct LearningRateSchedule {
    base: f64,
    warmup: Warmup,
    decay: Course,
    iteration: usize,
}

/// A [`Decay`] resolved for the length of the training.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::{
        nn::LinearConfig,
        optim::GradientsParams,
        tensor::{Device, Tensor},
    };

    use super::*;

    fn paper() -> OptimizationConfig {
        crate::config::RunConfig::paper().optimization
    }

    #[test]
    fn the_paper_schedule_warms_up_at_a_third_and_drops_twice() {
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
        // cos 0°, 30°, 60°, 90°, 120°, 150° between 1 and 0.2, then constant.
        let half = 3f64.sqrt() / 2.0;
        let cosines = [1.0, half, 0.5, 0.0, -0.5, -half, -1.0, -1.0];
        let expected = cosines.map(|cosine| 0.2 + 0.8 * (1.0 + cosine) / 2.0);
        for (rate, expected) in rates.iter().zip([0.5, 0.75].into_iter().chain(expected)) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn a_schedule_resumes_from_its_record() {
        let mut schedule = paper().schedule(90_000);
        for _ in 0..60_000 {
            schedule.step();
        }
        let mut resumed = paper().schedule(90_000);
        resumed.load_record(schedule.to_record());
        assert_eq!(resumed.step(), schedule.step());
    }

    /// Weights change by rate · (gradient + decay · weight); biases at twice the rate, without
    /// decay.
    #[test]
    fn biases_have_their_own_rate_and_decay() {
        // The names of its modules do not make its weights biases.
        #[derive(burn::module::Module, Debug)]
        struct Net {
            bias_net: Inner,
        }
        #[derive(burn::module::Module, Debug)]
        struct Inner {
            beta_layer: burn::nn::Linear,
        }
        let device = Device::flex().autodiff();
        let net = Net {
            bias_net: Inner {
                beta_layer: LinearConfig::new(1, 1).init(&device),
            },
        };
        let values = |net: &Net| -> [f32; 2] {
            let weight = net.bias_net.beta_layer.weight.val().into_scalar::<f32>();
            let bias = net
                .bias_net
                .beta_layer
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
            .bias_net
            .beta_layer
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
