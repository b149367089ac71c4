//! The choice of an algorithm for a convolution and each of its gradients.

use crate::{
    nhwc::Nhwc,
    product::{Finish, Panels},
    reduction,
    uninit::vec_written_by,
};

use super::{
    direct::{self, Direction, weight_panels},
    geometry::Geometry,
    stencil::Stencil,
    winograd,
};

/// The output, `[batch, height, width, filters]`, for a weight
/// `[filters, channels, kernel height, kernel width]`.
pub fn forward(input: Nhwc, weight: &[f32], finish: Finish, geometry: &Geometry) -> Vec<f32> {
    let filters = weight.len() / (input.channels() * geometry.taps());
    if winograd::is_suitable(geometry, input.batch(), input.channels(), filters) {
        let kernels = winograd::Kernels::new(weight, filters, Direction::Forward);
        return by_winograd(input, &kernels, filters, finish, geometry);
    }
    let stencil = Stencil::forward(geometry);
    by_stencil(input, weight, filters, &stencil, Direction::Forward, finish)
}

/// The gradient of the input, `[batch, height, width, channels]`.
pub fn input_gradient(
    output_gradient: Nhwc,
    weight: &[f32],
    channels: usize,
    geometry: &Geometry,
) -> Vec<f32> {
    let filters = output_gradient.channels();
    let finish = Finish::default();
    if let Some(transposed) = geometry.transposed()
        && winograd::is_suitable(&transposed, output_gradient.batch(), filters, channels)
    {
        let kernels = winograd::Kernels::new(weight, filters, Direction::Backward);
        return by_winograd(output_gradient, &kernels, channels, finish, &transposed);
    }
    let stencil = Stencil::input_gradient(geometry);
    by_stencil(
        output_gradient,
        weight,
        channels,
        &stencil,
        Direction::Backward,
        finish,
    )
}

fn by_winograd(
    source: Nhwc,
    kernels: &winograd::Kernels,
    columns: usize,
    finish: Finish,
    geometry: &Geometry,
) -> Vec<f32> {
    let length = source.batch() * geometry.output_pixels() * columns;
    // SAFETY: the tiles cover every pixel of the output, and each is written for all columns.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |output| {
            winograd::forward(source, kernels, finish, geometry, output);
        })
    }
}

fn by_stencil(
    source: Nhwc,
    weight: &[f32],
    columns: usize,
    stencil: &Stencil,
    direction: Direction,
    finish: Finish,
) -> Vec<f32> {
    let taps = stencil.kernel[0] * stencil.kernel[1];
    let filters = match direction {
        Direction::Forward => columns,
        Direction::Backward => source.channels(),
    };
    let panels: Vec<Panels> = (stencil.phases.iter())
        .map(|phase| weight_panels(weight, filters, taps, phase, direction))
        .collect();
    let length = source.batch() * stencil.output[0] * stencil.output[1] * columns;
    // SAFETY: the phases cover every pixel of the output, and each is written for all columns.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |output| {
            direct::apply(source, stencil, &panels, finish, output);
        })
    }
}

/// The gradient of the weight, `[filters, channels, kernel height, kernel width]`.
pub fn weight_gradient(input: Nhwc, output_gradient: Nhwc, geometry: &Geometry) -> Vec<f32> {
    let (channels, filters) = (input.channels(), output_gradient.channels());
    let length = filters * channels * geometry.taps();
    // SAFETY: either algorithm writes all values: its panels cover all filters, and each of their
    // taps and channels is written.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |gradient| {
            if winograd::is_suitable(geometry, input.batch(), channels, filters) {
                winograd::weight_gradient(input, output_gradient, geometry, gradient);
            } else {
                direct::weight_gradient(input, output_gradient, geometry, gradient);
            }
        })
    }
}

/// The gradient of the bias, `[filters]`.
pub fn bias_gradient(output_gradient: Nhwc) -> Vec<f32> {
    let sums = reduction::channel_sums(output_gradient.values(), output_gradient.channels());
    sums.into_iter().map(|sum| sum as f32).collect()
}
