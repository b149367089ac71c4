//! The optimizer of a configuration.

use std::collections::BTreeMap;

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLrScheduler,
    module::ParamGroup,
    optim::{ModuleOptimizer, Optimizer},
};
use fcos_burn_model::{Fcos, backbone::Backbone};

use super::{
    kernels::{adam_w, sgd},
    parameters::ParameterSettings,
};
use crate::{
    Error,
    config::{OptimizationConfig, OptimizerConfig},
};

impl OptimizationConfig {
    /// The learning rate schedules of the parameters of `model`.
    ///
    /// # Errors
    ///
    /// Those of [`parameters`](Self::parameters).
    pub fn scheduler<B: Backbone>(
        &self,
        model: &Fcos<B>,
        total_iterations: usize,
    ) -> Result<ModuleLrScheduler, Error> {
        Ok(self.scheduler_of(&self.parameters(model)?, total_iterations))
    }

    /// The optimizer of the parameters of `model`.
    ///
    /// # Errors
    ///
    /// Those of [`parameters`](Self::parameters).
    pub fn optimizer<B: Backbone>(&self, model: &Fcos<B>) -> Result<ModuleOptimizer, Error> {
        Ok(self.optimizer_of(&self.parameters(model)?))
    }

    fn scheduler_of(
        &self,
        parameters: &[ParameterSettings],
        total_iterations: usize,
    ) -> ModuleLrScheduler {
        let schedule = self.schedule(total_iterations);
        let scheduler = ModuleLrScheduler::new(schedule.clone());
        let groups = groups(parameters, |settings| settings.learning_rate_factor);
        (groups.into_iter()).fold(scheduler, |scheduler, (factor, group)| {
            scheduler.with_group(group, schedule.clone().scaled(factor))
        })
    }

    fn optimizer_of(&self, parameters: &[ParameterSettings]) -> ModuleOptimizer {
        match self.optimizer {
            OptimizerConfig::Sgd {
                momentum,
                dampening,
                nesterov,
            } => {
                // As in PyTorch, a velocity without momentum is the gradient.
                let dampening = if momentum > 0.0 { dampening } else { 0.0 };
                grouped(parameters, |weight_decay| {
                    sgd(momentum as f32, dampening, nesterov, weight_decay)
                })
            }
            OptimizerConfig::AdamW { betas, epsilon } => {
                let betas = betas.map(|beta| beta as f32);
                grouped(parameters, |weight_decay| {
                    adam_w(betas, epsilon as f32, weight_decay)
                })
            }
        }
    }
}

/// An optimizer with the weight decay of each parameter.
fn grouped<O: Optimizer>(
    parameters: &[ParameterSettings],
    make: impl Fn(f32) -> O,
) -> ModuleOptimizer {
    let groups = groups(parameters, |settings| settings.weight_decay);
    // Burn needs one for all parameters, which the groups replace.
    let optimizer = ModuleOptimizer::from(make(0.0));
    (groups.into_iter()).fold(optimizer, |optimizer, (decay, group)| {
        optimizer.with_group(group, make(decay as f32), None)
    })
}

/// The parameters grouped by a value that is at least 0.
fn groups(
    parameters: &[ParameterSettings],
    value: impl Fn(&ParameterSettings) -> f64,
) -> Vec<(f64, ParamGroup)> {
    // The bits of such numbers are in their order.
    let mut paths: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for settings in parameters {
        let bits = value(settings).abs().to_bits();
        paths.entry(bits).or_default().push(&settings.path);
    }
    let groups = paths.into_iter();
    groups
        .map(|(bits, paths)| (f64::from_bits(bits), ParamGroup::from_paths(paths)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::{
        nn::{Initializer, LinearConfig},
        optim::GradientsParams,
        tensor::{Device, Tensor},
    };

    use super::*;
    use crate::step::parameters::Values;

    fn paper() -> OptimizationConfig {
        crate::config::RunConfig::paper().optimization
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
                beta_layer: linear().init(&device),
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
        let parameters = config.settings(Values::of(&net).parameters, &[]).unwrap();
        let rates = config.scheduler_of(&parameters, 10).step();
        let net = (config.optimizer_of(&parameters)).step(rates, net, gradients);
        let [new_weight, new_bias] = values(&net);
        assert!((new_weight - (weight - 0.01 * (3.0 + 0.5 * weight))).abs() < 1e-6);
        assert!((new_bias - (bias - 0.02)).abs() < 1e-6);
    }

    /// Weights that do not come from the random state of the process.
    fn linear() -> LinearConfig {
        LinearConfig::new(1, 1).with_initializer(Initializer::Constant { value: 0.7 })
    }

    /// The weight of a layer, and its value after steps with these gradients, at rate 0.1.
    fn steps(config: &OptimizationConfig, gradients: [f32; 2]) -> (f64, [f64; 2]) {
        let device = Device::flex().autodiff();
        let mut layer = linear().with_bias(false).init(&device);
        let value = |layer: &burn::nn::Linear| f64::from(layer.weight.val().into_scalar::<f32>());
        let before = value(&layer);
        let parameters = config.settings(Values::of(&layer).parameters, &[]).unwrap();
        let mut optimizer = config.optimizer_of(&parameters);
        let mut rates = config.scheduler_of(&parameters, 10);
        let after = gradients.map(|gradient| {
            let mut all = GradientsParams::new();
            let plain = device.clone().without_autodiff();
            all.register(layer.weight.id, Tensor::<2>::full([1, 1], gradient, &plain));
            layer = optimizer.step(rates.step(), layer.clone(), all);
            value(&layer)
        });
        (before, after)
    }

    /// Algorithm 2 of Loshchilov & Hutter (2019), with decay ½.
    #[test]
    fn adam_w_follows_its_algorithm() {
        let ([beta_1, beta_2], epsilon) = ([0.6, 0.75], 0.25);
        let optimizer = OptimizerConfig::AdamW {
            betas: [beta_1, beta_2],
            epsilon,
        };
        let config = OptimizationConfig::new(optimizer, 0.1).with_weight_decay(0.5);
        let gradients = [2.0, -1.0];
        let (mut weight, found) = steps(&config, gradients);
        let (mut first, mut second) = (0.0, 0.0);
        for (step, (gradient, found)) in (1..).zip(gradients.iter().zip(found)) {
            let gradient = f64::from(*gradient);
            first = beta_1 * first + (1.0 - beta_1) * gradient;
            second = beta_2 * second + (1.0 - beta_2) * gradient * gradient;
            let mean = first / (1.0 - f64::powi(beta_1, step));
            let root = (second / (1.0 - f64::powi(beta_2, step))).sqrt();
            weight -= 0.1 * (mean / (root + epsilon) + 0.5 * weight);
            assert!((found - weight).abs() < 1e-6, "{step}: {found} {weight}");
        }
    }

    /// PyTorch's definition of SGD, with decay ½.
    #[test]
    fn sgd_follows_its_definition() {
        for (momentum, dampening, nesterov) in [
            (0.8, 0.0, false),
            (0.8, 0.25, false),
            (0.8, 0.0, true),
            (0.0, 0.5, false),
        ] {
            let optimizer = OptimizerConfig::Sgd {
                momentum,
                dampening,
                nesterov,
            };
            let config = OptimizationConfig::new(optimizer, 0.1).with_weight_decay(0.5);
            let gradients = [2.0, -1.0];
            let (mut weight, found) = steps(&config, gradients);
            let mut velocity = None;
            for (gradient, found) in gradients.iter().zip(found) {
                let gradient = f64::from(*gradient) + 0.5 * weight;
                let next = match velocity {
                    Some(_) if momentum == 0.0 => gradient,
                    None => gradient,
                    Some(velocity) => momentum * velocity + (1.0 - dampening) * gradient,
                };
                velocity = Some(next);
                weight -= match nesterov {
                    true => 0.1 * (gradient + momentum * next),
                    false => 0.1 * next,
                };
                assert!((found - weight).abs() < 1e-6, "{found} {weight}");
            }
        }
    }
}
