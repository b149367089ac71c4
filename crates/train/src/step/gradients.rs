//! Operations on the gradients of a whole module.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use super::kernels::{scale, sum_of_squares};

/// The L2 norm of all gradients of `module` together, `[1]`, on their device; `None` if
/// there are none.
pub(super) fn gradient_norm<M: Module>(
    module: &M,
    gradients: &GradientsParams,
) -> Option<Tensor<1>> {
    let mut norm = SquaredNorm {
        gradients,
        sum: None,
    };
    module.visit(&mut norm);
    norm.sum.map(Tensor::sqrt)
}

/// Clips the gradients of `module`: scales all of them by the same factor, so that their
/// overall L2 norm is at most `max_norm`. `norm`, `[1]`, is their current norm.
///
/// Runs without synchronization with the host.
pub(super) fn clip_gradients<M: Module>(
    module: &M,
    gradients: GradientsParams,
    norm: Tensor<1>,
    max_norm: f32,
) -> GradientsParams {
    // The smallest normal number avoids 0 / 0 if all gradients are 0.
    let factor = (norm + f32::MIN_POSITIVE).recip().mul_scalar(max_norm);
    let mut scaling = Scaling {
        gradients,
        factor: factor.clamp_max(1.0),
    };
    module.visit(&mut scaling);
    scaling.gradients
}

/// Multiplies all gradients of `module` by `factor`.
pub(super) fn scale_gradients<M: Module>(
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

    use burn::{
        nn::{Initializer, LinearConfig},
        tensor::Device,
    };

    use super::*;

    #[test]
    fn clipping_scales_all_gradients_by_one_factor() {
        let device = Device::flex().autodiff();
        let layer = LinearConfig::new(3, 2)
            .with_initializer(Initializer::Ones)
            .init(&device);
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
}
