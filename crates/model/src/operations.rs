//! The operations that take most of the time, by the kernels of `fcos-burn-cpu` where that
//! is built in.

#[cfg(feature = "flex")]
pub(crate) use fcos_burn_cpu::{batch_norm_train, conv2d, group_norm};

#[cfg(not(feature = "flex"))]
pub(crate) use plain::{batch_norm_train, conv2d, group_norm};

#[cfg(not(feature = "flex"))]
mod plain {
    use burn::{
        nn::GroupNorm,
        tensor::{Tensor, module},
    };

    pub(crate) use module::conv2d;

    pub(crate) fn batch_norm_train(
        input: Tensor<4>,
        gamma: Tensor<1>,
        beta: Tensor<1>,
        epsilon: f64,
    ) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
        let result = module::batch_norm_train(input, gamma, beta, epsilon);
        (result.output, result.mean, result.variance)
    }

    pub(crate) fn group_norm(layer: &GroupNorm, input: Tensor<4>) -> Tensor<4> {
        layer.forward(input)
    }
}
