//! Optimizers and operations on gradients: those of `fcos-burn-cpu` if it is built in, else
//! Burn's.

#[cfg(feature = "flex")]
pub(crate) use fcos_burn_cpu::optim::{lerp, scale, sum_of_squares};

#[cfg(feature = "flex")]
pub(crate) use fast::{adam_w, sgd};

#[cfg(not(feature = "flex"))]
pub(crate) use plain::{adam_w, lerp, scale, sgd, sum_of_squares};

#[cfg(feature = "flex")]
mod fast {
    use fcos_burn_cpu::optim::{AdamW, Sgd};

    pub(crate) fn sgd(momentum: f32, dampening: f64, nesterov: bool, weight_decay: f32) -> Sgd {
        Sgd::new(momentum, weight_decay)
            .with_dampening(dampening)
            .with_nesterov(nesterov)
    }

    pub(crate) fn adam_w(betas: [f32; 2], epsilon: f32, weight_decay: f32) -> AdamW {
        AdamW::new(betas, epsilon, weight_decay)
    }
}

#[cfg(not(feature = "flex"))]
mod plain {
    use burn::{
        optim::{
            AdamW, AdamWConfig, Sgd, SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig,
        },
        tensor::Tensor,
    };

    pub(crate) fn sgd(momentum: f32, dampening: f64, nesterov: bool, weight_decay: f32) -> Sgd {
        let momentum = MomentumConfig::new()
            .with_momentum(momentum.into())
            .with_dampening(dampening)
            .with_nesterov(nesterov);
        SgdConfig::new()
            .with_momentum(Some(momentum))
            .with_weight_decay((weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay)))
            .build()
    }

    pub(crate) fn adam_w(betas: [f32; 2], epsilon: f32, weight_decay: f32) -> AdamW {
        AdamWConfig::new()
            .with_beta_1(betas[0])
            .with_beta_2(betas[1])
            .with_epsilon(epsilon)
            .with_weight_decay(weight_decay)
            .build()
    }

    pub(crate) fn sum_of_squares<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
        tensor.square().sum()
    }

    pub(crate) fn scale<const D: usize>(tensor: Tensor<D>, factor: Tensor<1>) -> Tensor<D> {
        tensor * factor.unsqueeze()
    }

    pub(crate) fn lerp<const D: usize>(from: Tensor<D>, to: Tensor<D>, share: f32) -> Tensor<D> {
        from.clone() + (to - from).mul_scalar(share)
    }
}
