//! Mixed precision: activations in 16 or 32 bits, parameters in 32 (Micikevicius et al.,
//! 2018).
//!
//! The number format of the images is that of the activations. Convolutions compute in
//! the format of their input; normalization and the predictors of the head compute in 32
//! bits. A gradient reaches a parameter in the format of the parameter.

use burn::{
    nn::{PaddingConfig2d, conv::Conv2d},
    tensor::{DType, FloatDType, Tensor, ops::ConvOptions},
};

use crate::kernels::conv2d;

/// Applies a convolution in the number format of `input`.
///
/// # Panics
///
/// If the padding of `layer` is [`PaddingConfig2d::Same`], which depends on the input's
/// size.
///
/// # Shapes
///
/// - `input`: `[batch, channels_in, height, width]`
/// - output: `[batch, channels_out, height_out, width_out]`
pub fn convolve(layer: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    convolve_with(layer, layer.weight.val(), bias, input)
}

/// [`convolve`] with another weight and bias than those of `layer`.
pub(crate) fn convolve_with(
    layer: &Conv2d,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    input: Tensor<4>,
) -> Tensor<4> {
    let padding = match layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
        PaddingConfig2d::Valid => [(0, 0); 2],
        PaddingConfig2d::Same => panic!("convolutions are padded explicitly, not by `Same`"),
    };
    let options =
        ConvOptions::new_with_padding(layer.stride, padding, layer.dilation, layer.groups);
    let format = FloatDType::from(input.dtype());
    let (weight, bias) = (weight.cast(format), bias.map(|bias| bias.cast(format)));
    conv2d(input, weight, bias, options)
}

/// Applies `layer` in 32 bits and returns its output in the number format of `input`.
pub fn in_f32(input: Tensor<4>, layer: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    match input.dtype() {
        DType::F32 => layer(input),
        dtype => layer(input.cast(FloatDType::F32)).cast(FloatDType::from(dtype)),
    }
}
