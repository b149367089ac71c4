//! Layers that compute in the number format of their input, while their parameters
//! stay in 32 bits.
//!
//! The format of the images is thus that of the whole network: convolutions compute in
//! it, normalisation and the last layers of the head in 32 bits (Micikevicius et al.,
//! 2018). A gradient reaches a parameter in the parameter's own format.

use burn::{
    module::Param,
    nn::conv::Conv2d,
    tensor::{DType, FloatDType, Tensor},
};

/// `layer` on `input`, in the format of `input`.
pub(crate) fn convolve(layer: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let dtype = input.dtype();
    if dtype == layer.weight.dtype() {
        return layer.forward(input);
    }
    let format = FloatDType::from(dtype);
    let cast = Conv2d {
        weight: Param::initialized(layer.weight.id, layer.weight.val().cast(format)),
        bias: layer
            .bias
            .as_ref()
            .map(|bias| Param::initialized(bias.id, bias.val().cast(format))),
        ..layer.clone()
    };
    cast.forward(input)
}

/// `layer` on `input` in 32 bits, its result in the format of `input`.
pub(crate) fn in_f32(input: Tensor<4>, layer: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    match input.dtype() {
        DType::F32 => layer(input),
        dtype => layer(input.cast(FloatDType::F32)).cast(FloatDType::from(dtype)),
    }
}
