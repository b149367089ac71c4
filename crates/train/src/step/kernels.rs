//! Optimizers and operations on gradients: those of `fcos-burn-cpu` if it is built in, else
//! Burn's.

#[cfg(feature = "flex")]
pub(crate) use fcos_burn_cpu::optim::{AdamW, Sgd, lerp, scale, sum_of_squares};

#[cfg(not(feature = "flex"))]
pub(crate) use plain::{AdamW, Sgd, lerp, scale, sum_of_squares};

#[cfg(not(feature = "flex"))]
mod plain {
    use burn::{
        optim::{AdamWConfig, SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig},
        tensor::Tensor,
    };

    pub(crate) struct Sgd;

    impl Sgd {
        #[allow(clippy::new_ret_no_self, reason = "named as the other one")]
        pub(crate) fn new(momentum: f32, weight_decay: f32) -> burn::optim::Sgd {
            let momentum = MomentumConfig::new()
                .with_momentum(momentum.into())
                .with_dampening(0.0);
            SgdConfig::new()
                .with_momentum(Some(momentum))
                .with_weight_decay(
                    (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay)),
                )
                .build()
        }
    }

    pub(crate) struct AdamW;

    impl AdamW {
        #[allow(clippy::new_ret_no_self, reason = "named as the other one")]
        pub(crate) fn new(betas: [f32; 2], epsilon: f32, weight_decay: f32) -> burn::optim::AdamW {
            AdamWConfig::new()
                .with_beta_1(betas[0])
                .with_beta_2(betas[1])
                .with_epsilon(epsilon)
                .with_weight_decay(weight_decay)
                .build()
        }
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
