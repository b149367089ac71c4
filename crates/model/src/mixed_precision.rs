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

use crate::kernels::{Epilogue, Pyramid, conv2d, conv2d_fused};

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
    let (weight, bias) = parameters(layer, input.dtype().into());
    conv2d(input, weight, bias, options(layer))
}

/// Applies a convolution to all levels, in their number format.
///
/// # Panics
///
/// As [`convolve`].
pub(crate) fn convolve_levels(layer: &Conv2d, levels: Pyramid) -> Pyramid {
    let (weight, bias) = parameters(layer, format_of(&levels));
    levels.conv2d(weight, bias, options(layer))
}

/// Applies a convolution without bias in 32 bits, and then `epilogue`.
///
/// # Panics
///
/// As [`convolve`].
pub(crate) fn convolve_fused(layer: &Conv2d, epilogue: Epilogue, input: Tensor<4>) -> Tensor<4> {
    conv2d_fused(input, layer.weight.val(), epilogue, options(layer))
}

/// Weight and bias in a number format.
fn parameters(layer: &Conv2d, format: FloatDType) -> (Tensor<4>, Option<Tensor<1>>) {
    let bias = layer.bias.as_ref().map(|bias| bias.val().cast(format));
    (layer.weight.val().cast(format), bias)
}

fn format_of(levels: &Pyramid) -> FloatDType {
    levels.dtype().map_or(FloatDType::F32, FloatDType::from)
}

fn options(layer: &Conv2d) -> ConvOptions<2> {
    let padding = match layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
        PaddingConfig2d::Valid => [(0, 0); 2],
        PaddingConfig2d::Same => panic!("convolutions are padded explicitly, not by `Same`"),
    };
    ConvOptions::new_with_padding(layer.stride, padding, layer.dilation, layer.groups)
}

/// Applies `layer` in 32 bits and returns its output in the number format of `input`.
pub fn in_f32(input: Tensor<4>, layer: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    match input.dtype() {
        DType::F32 => layer(input),
        dtype => layer(input.cast(FloatDType::F32)).cast(FloatDType::from(dtype)),
    }
}

/// Applies `layer` in 32 bits and returns its output in the number format of `levels`.
pub(crate) fn levels_in_f32(levels: Pyramid, layer: impl FnOnce(Pyramid) -> Pyramid) -> Pyramid {
    let format = format_of(&levels);
    layer(levels.cast(FloatDType::F32)).cast(format)
}
