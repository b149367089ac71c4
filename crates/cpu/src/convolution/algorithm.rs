//! The choice of an algorithm for a convolution and each of its gradients.

use crate::{parallel::map_chunks, reduction, uninit::vec_written_by};

use super::{
    geometry::Geometry,
    im2col,
    matrix::{matrix, matrix_mut},
    nchw::Nchw,
    winograd,
};

/// The output, `[batch, filters, height, width]`, for a weight
/// `[filters, channels, kernel height, kernel width]` and a bias `[filters]`.
pub fn forward(input: Nchw, weight: &[f32], bias: Option<&[f32]>, geometry: &Geometry) -> Vec<f32> {
    let columns = input.channels() * geometry.taps();
    let filters = weight.len() / columns;
    let length = input.batch() * filters * geometry.output_pixels();
    // SAFETY: either algorithm writes all values: its parts or tiles cover every pixel of
    // every plane of the output.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |output| {
            if winograd::is_suitable(geometry, input.batch(), input.channels(), filters) {
                let kernels = winograd::Kernels::new(weight, filters);
                winograd::forward(input, &kernels, bias, geometry, output);
            } else {
                let weight = matrix(weight, filters, columns);
                im2col::forward(input, weight, bias, geometry, output);
            }
        })
    }
}

/// The gradient of the input, `[batch, channels, height, width]`.
pub fn input_gradient(
    output_gradient: Nchw,
    weight: &[f32],
    channels: usize,
    geometry: &Geometry,
) -> Vec<f32> {
    let (batch, filters) = (output_gradient.batch(), output_gradient.channels());
    let matrix = matrix(weight, filters, channels * geometry.taps());
    let length = batch * channels * geometry.input_pixels();
    // SAFETY: each algorithm writes all values: its parts or tiles cover every pixel of every
    // plane of the input, or it zeroes the planes first.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |gradient| match geometry.transposed() {
            Some(transposed) if winograd::is_suitable(&transposed, batch, filters, channels) => {
                let kernels = winograd::Kernels::reversed(weight, filters);
                winograd::forward(output_gradient, &kernels, None, &transposed, gradient);
            }
            Some(transposed) if transposed.is_pointwise() => {
                let weight = matrix.reversed_axes();
                im2col::forward(output_gradient, weight, None, &transposed, gradient);
            }
            _ => im2col::input_gradient(output_gradient, matrix, geometry, gradient),
        })
    }
}

/// The gradient of the weight, `[filters, channels, kernel height, kernel width]`.
pub fn weight_gradient(input: Nchw, output_gradient: Nchw, geometry: &Geometry) -> Vec<f32> {
    let (channels, filters) = (input.channels(), output_gradient.channels());
    let columns = channels * geometry.taps();
    // SAFETY: either algorithm writes all values: its blocks or kernels cover the whole
    // weight.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(filters * columns, |gradient| {
            if winograd::is_suitable(geometry, input.batch(), channels, filters) {
                winograd::weight_gradient(input, output_gradient, geometry, gradient);
            } else {
                let weight = matrix_mut(gradient, filters, columns);
                im2col::weight_gradient(input, output_gradient, geometry, weight);
            }
        })
    }
}

/// The gradient of the bias, `[filters]`.
pub fn bias_gradient(output_gradient: Nchw) -> Vec<f32> {
    let sums = map_chunks(
        output_gradient.values(),
        output_gradient.pixels(),
        |_, plane| reduction::sum(plane),
    );
    reduction::sum_over_batch(sums, output_gradient.channels())
}
