//! The operations in which most of the time is spent. With the feature `flex` they are
//! those of `fcos-burn-cpu`, without it Burn's.

#[cfg(feature = "flex")]
pub(crate) use fcos_burn_cpu::{
    add_relu, add_upsampled, batch_norm_train, conv2d, group_norm, max_pool2d, relu,
};

#[cfg(not(feature = "flex"))]
pub(crate) use burn_kernels::{
    add_relu, add_upsampled, batch_norm_train, conv2d, group_norm, max_pool2d, relu,
};

#[cfg(not(feature = "flex"))]
mod burn_kernels {
    use burn::{
        nn::{GroupNorm, pool::MaxPool2d},
        tensor::{
            Tensor, activation, module,
            ops::{InterpolateMode, InterpolateOptions},
        },
    };

    pub(crate) use activation::relu;
    pub(crate) use module::conv2d;

    pub(crate) fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
        relu(a + b)
    }

    pub(crate) fn batch_norm_train(
        input: Tensor<4>,
        gamma: Tensor<1>,
        beta: Tensor<1>,
        epsilon: f64,
    ) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
        let result = module::batch_norm_train(input, gamma, beta, epsilon);
        (result.output, result.mean, result.variance)
    }

    pub(crate) fn max_pool2d(layer: &MaxPool2d, input: Tensor<4>) -> Tensor<4> {
        layer.forward(input)
    }

    pub(crate) fn add_upsampled(fine: Tensor<4>, coarse: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = fine.dims();
        let options = InterpolateOptions::new(InterpolateMode::Nearest);
        fine + module::interpolate(coarse, options.with_output_size([height, width]))
    }

    pub(crate) fn group_norm(layer: &GroupNorm, input: Tensor<4>) -> Tensor<4> {
        layer.forward(input)
    }
}
