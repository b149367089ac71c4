//! Layers that compute in the number format of their input, while their parameters
//! stay in 32 bits.
//!
//! The format of the images is thus that of the whole network: convolutions compute in
//! it, normalisation and the last layers of the head in 32 bits (Micikevicius et al.,
//! 2018). A gradient reaches a parameter in the parameter's own format.

use burn::{
    nn::{PaddingConfig2d, conv::Conv2d},
    tensor::{DType, FloatDType, Tensor, ops::ConvOptions},
};

use crate::operations::conv2d;

/// `layer` on `input`, in the format of `input`.
pub(crate) fn convolve(layer: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    convolve_with(layer, layer.weight.val(), bias, input)
}

/// `layer` with another weight and bias on `input`, in the format of `input`.
pub(crate) fn convolve_with(
    layer: &Conv2d,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    input: Tensor<4>,
) -> Tensor<4> {
    let padding = match layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
        // The detector has no layer that is padded by its input's size.
        PaddingConfig2d::Same | PaddingConfig2d::Valid => [(0, 0); 2],
    };
    let options =
        ConvOptions::new_with_padding(layer.stride, padding, layer.dilation, layer.groups);
    let format = FloatDType::from(input.dtype());
    let (weight, bias) = (weight.cast(format), bias.map(|bias| bias.cast(format)));
    conv2d(input, weight, bias, options)
}

/// `layer` on `input` in 32 bits, its result in the format of `input`.
pub(crate) fn in_f32(input: Tensor<4>, layer: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    match input.dtype() {
        DType::F32 => layer(input),
        dtype => layer(input.cast(FloatDType::F32)).cast(FloatDType::from(dtype)),
    }
}
