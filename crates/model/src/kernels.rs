//! The operations in which most of the time is spent. With the feature `flex` they are
//! those of `fcos-burn-cpu`, without it Burn's.

#[cfg(feature = "flex")]
pub(crate) use fcos_burn_cpu::{
    Epilogue, Pyramid, Shortcut, add_upsampled, batch_norm_relu_train, batch_norm_train, branch,
    conv2d, conv2d_fused, fork, group_norm, group_norm_relu, in_pool, max_pool2d, relu,
};

#[cfg(not(feature = "flex"))]
pub(crate) use burn_kernels::{
    Epilogue, Pyramid, Shortcut, add_upsampled, batch_norm_relu_train, batch_norm_train, branch,
    conv2d, conv2d_fused, fork, group_norm, group_norm_relu, in_pool, max_pool2d, relu,
};

#[cfg(not(feature = "flex"))]
mod burn_kernels {
    use burn::{
        nn::{GroupNorm, pool::MaxPool2d},
        tensor::{
            DType, FloatDType, Tensor, activation, module,
            ops::{ConvOptions, InterpolateMode, InterpolateOptions},
        },
    };

    pub(crate) use activation::relu;
    pub(crate) use module::conv2d;

    pub(crate) fn fork<const N: usize>(input: Tensor<4>) -> [Tensor<4>; N] {
        std::array::from_fn(|_| input.clone())
    }

    pub(crate) fn in_pool<R>(input: Tensor<4>, work: impl FnOnce(Tensor<4>) -> R) -> R {
        work(input)
    }

    /// What is added at the end of a residual block.
    pub(crate) struct Shortcut(Tensor<4>);

    pub(crate) fn branch(input: Tensor<4>) -> (Tensor<4>, Shortcut) {
        (input.clone(), Shortcut(input))
    }

    impl Shortcut {
        pub(crate) fn add_relu(self, output: Tensor<4>) -> Tensor<4> {
            relu(output + self.0)
        }

        pub(crate) fn tensor(&self) -> Option<Tensor<4>> {
            Some(self.0.clone())
        }
    }

    impl From<Tensor<4>> for Shortcut {
        fn from(tensor: Tensor<4>) -> Self {
            Self(tensor)
        }
    }

    /// What becomes of the output of a convolution: relu(`scale` · output + `shift` + `addend`).
    #[derive(Default)]
    pub(crate) struct Epilogue {
        pub(crate) scale: Option<Tensor<1>>,
        pub(crate) shift: Option<Tensor<1>>,
        pub(crate) addend: Option<Tensor<4>>,
        pub(crate) relu: bool,
    }

    pub(crate) fn conv2d_fused(
        input: Tensor<4>,
        weight: Tensor<4>,
        epilogue: Epilogue,
        options: ConvOptions<2>,
    ) -> Tensor<4> {
        let weight = match epilogue.scale {
            Some(scale) => weight * scale.reshape([-1, 1, 1, 1]),
            None => weight,
        };
        let mut output = conv2d(input, weight, epilogue.shift, options);
        if let Some(addend) = epilogue.addend {
            output = output + addend;
        }
        match epilogue.relu {
            true => relu(output),
            false => output,
        }
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

    pub(crate) fn batch_norm_relu_train(
        input: Tensor<4>,
        gamma: Tensor<1>,
        beta: Tensor<1>,
        epsilon: f64,
    ) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
        let (output, mean, variance) = batch_norm_train(input, gamma, beta, epsilon);
        (relu(output), mean, variance)
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

    pub(crate) fn group_norm_relu(layer: &GroupNorm, input: Tensor<4>) -> Tensor<4> {
        relu(layer.forward(input))
    }

    /// The levels of a pyramid.
    #[derive(Clone)]
    pub(crate) struct Pyramid(Vec<Tensor<4>>);

    impl Pyramid {
        pub(crate) fn new(levels: Vec<Tensor<4>>) -> Self {
            Self(levels)
        }

        pub(crate) fn into_levels(self) -> Vec<Tensor<4>> {
            self.0
        }

        pub(crate) fn fork<const N: usize>(self) -> [Self; N] {
            std::array::from_fn(|_| self.clone())
        }

        pub(crate) fn dtype(&self) -> Option<DType> {
            self.0.first().map(Tensor::dtype)
        }

        pub(crate) fn cast(self, format: FloatDType) -> Self {
            self.map(|level| level.cast(format))
        }

        pub(crate) fn conv2d(
            self,
            weight: Tensor<4>,
            bias: Option<Tensor<1>>,
            options: ConvOptions<2>,
        ) -> Self {
            self.map(|level| conv2d(level, weight.clone(), bias.clone(), options.clone()))
        }

        pub(crate) fn group_norm_relu(self, layer: &GroupNorm) -> Self {
            self.map(|level| group_norm_relu(layer, level))
        }

        fn map(self, layer: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
            Self(self.0.into_iter().map(layer).collect())
        }
    }
}
