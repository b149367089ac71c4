//! An exponential moving average of a detector's weights.

use std::vec::IntoIter;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::Tensor,
};
use fcos_burn_model::{
    Fcos,
    backbone::{Backbone, resnet::ResNet},
};

use super::kernels::lerp;

/// An exponential moving average of the weights over the training steps: Polyak averaging
/// (Polyak & Juditsky, 1992) with exponentially decaying coefficients. It is less noisy than the
/// last weights.
#[derive(Debug)]
pub struct WeightAverage<B: Backbone = ResNet> {
    /// Without autodiff.
    model: Fcos<B>,
    decay: f64,
}

impl<B: Backbone> WeightAverage<B> {
    /// Starts the average from the initial weights of the training. For `decay`, in `(0, 1)`, see
    /// [`average_decay`](crate::config::OptimizationConfig::average_decay).
    pub fn new(model: &Fcos<B>, decay: f64) -> Self {
        Self::resumed(model.valid(), decay)
    }

    /// Continues from the average `model`, which must not share running statistics with another
    /// module.
    pub(crate) fn resumed(model: Fcos<B>, decay: f64) -> Self {
        Self { model, decay }
    }

    /// Updates the average with the weights of `model` after `step`, counted from 1.
    #[must_use]
    pub fn updated(self, model: &Fcos<B>, step: usize) -> Self {
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        let mut places = Places::default();
        self.model.visit(&mut places);
        let mut weights = Weights {
            places: places.0.into_iter(),
            found: GradientsParams::new(),
        };
        // `valid` includes the step in the running statistics.
        model.valid().visit(&mut weights);
        let mut approach = Approach {
            weights: weights.found,
            share: (1.0 - decay) as f32,
        };
        Self {
            model: self.model.map(&mut approach),
            ..self
        }
    }

    /// The detector with the averaged weights, without autodiff. Clones of it share its
    /// running statistics, which [`updated`](Self::updated) changes.
    pub fn model(&self) -> &Fcos<B> {
        &self.model
    }
}

/// The ids of the average's parameters, in order.
#[derive(Default)]
struct Places(Vec<ParamId>);

impl ModuleVisitor for Places {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.id);
    }
}

/// The weights by the id of the corresponding parameter of the average: loaded modules may have
/// other ids. Burn's container for gradients can hold any tensors.
struct Weights {
    places: IntoIter<ParamId>,
    found: GradientsParams,
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(place) = self.places.next() {
            self.found.register(place, param.val());
        }
    }
}

struct Approach {
    weights: GradientsParams,
    share: f32,
}

impl ModuleMapper for Approach {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.weights.remove::<D>(param.id) {
            Some(weight) => param.map(|average| {
                // With several devices, a running statistic is on the one that was synced first.
                let weight = weight.to_device(&average.device());
                lerp(average, weight, self.share)
            }),
            None => param,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::{Device, Int};
    use fcos_burn_model::FcosConfig;

    use super::*;
    use crate::training::random_model;

    fn values(model: &Fcos) -> Vec<f32> {
        #[derive(Default)]
        struct Values(Vec<f32>);
        impl ModuleVisitor for Values {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.extend(param.val().into_data().iter::<f32>());
            }
        }
        let mut values = Values::default();
        model.visit(&mut values);
        values.0
    }

    /// a₀ = w₀, then aₜ = d aₜ₋₁ + (1 − d) wₜ with d = min(0.3, (1 + t) / (10 + t)), including
    /// running statistics; the averaged models do not change.
    #[test]
    fn the_average_follows_its_recurrence() {
        let mut config = FcosConfig::small(2);
        config.backbone.width = 8;
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        let device = Device::flex().autodiff();
        let models: Vec<Fcos> = (0..5)
            .map(|seed| {
                let model = random_model(&config, seed, &device).unwrap();
                // This gives each model different running statistics.
                let images =
                    Tensor::<1, Int>::arange(0..24_576, &device).float().sin() * (seed + 1);
                model.forward(images.reshape([2, 3, 64, 64]));
                model
            })
            .collect();
        let before: Vec<Vec<f32>> = models.iter().map(|m| values(&m.valid())).collect();
        let different = before[0].iter().zip(&before[1]).filter(|(a, b)| a != b);
        assert!(different.count() > before[0].len() / 2);
        let mut average = WeightAverage::new(&models[0], 0.3);
        let mut expected: Vec<f64> = before[0].iter().map(|w| f64::from(*w)).collect();
        for (step, decay) in [(1, 2.0 / 11.0), (2, 3.0 / 12.0), (3, 0.3), (4, 0.3)] {
            average = average.updated(&models[step], step);
            for (expected, weight) in expected.iter_mut().zip(&before[step]) {
                *expected = decay * *expected + (1.0 - decay) * f64::from(*weight);
            }
        }
        let found = values(average.model());
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-6,
                "{found} {expected}"
            );
        }
        let after: Vec<Vec<f32>> = models.iter().map(|m| values(&m.valid())).collect();
        assert_eq!(after, before);
    }
}
