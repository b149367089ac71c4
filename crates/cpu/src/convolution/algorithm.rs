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
    stencil::{Phase, Stencil},
    winograd,
};

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Direct,
    Winograd,
}

impl Algorithm {
    /// The fastest for the forward pass.
    pub fn of(input: Nhwc, filters: usize, geometry: &Geometry) -> Self {
        match winograd::is_suitable(geometry, input.batch(), input.channels(), filters) {
            true => Self::Winograd,
            false => Self::Direct,
        }
    }
}

/// A weight in the form in which the forward pass reads it.
#[derive(Debug)]
pub enum PackedWeight {
    Direct(Panels),
    Winograd(winograd::Kernels),
}

impl PackedWeight {
    /// Packs `[filters, channels, kernel height, kernel width]`.
    pub fn new(algorithm: Algorithm, weight: &[f32], filters: usize, geometry: &Geometry) -> Self {
        match algorithm {
            Algorithm::Direct => {
                let phase = Phase::forward(geometry);
                let direction = Direction::Forward;
                let taps = geometry.taps();
                Self::Direct(weight_panels(weight, filters, taps, &phase, direction))
            }
            Algorithm::Winograd => {
                Self::Winograd(winograd::Kernels::new(weight, filters, Direction::Forward))
            }
        }
    }

    /// In memory of just its size.
    pub fn compact(self) -> Self {
        match self {
            Self::Direct(panels) => Self::Direct(panels.compact()),
            Self::Winograd(kernels) => Self::Winograd(kernels.compact()),
        }
    }
}

/// The output, `[batch, height, width, filters]`.
pub fn forward(
    input: Nhwc,
    weight: &PackedWeight,
    filters: usize,
    finish: Finish,
    geometry: &Geometry,
) -> Vec<f32> {
    match weight {
        PackedWeight::Direct(panels) => {
            let stencil = Stencil::forward(geometry);
            by_stencil(
                input,
                std::slice::from_ref(panels),
                filters,
                &stencil,
                finish,
            )
        }
        PackedWeight::Winograd(kernels) => by_winograd(input, kernels, filters, finish, geometry),
    }
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
    let panels: Vec<Panels> = (stencil.phases.iter())
        .map(|phase| weight_panels(weight, filters, geometry.taps(), phase, Direction::Backward))
        .collect();
    by_stencil(output_gradient, &panels, channels, &stencil, finish)
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
    panels: &[Panels],
    columns: usize,
    stencil: &Stencil,
    finish: Finish,
) -> Vec<f32> {
    let length = source.batch() * stencil.output[0] * stencil.output[1] * columns;
    // SAFETY: the phases cover every pixel of the output, and each is written for all columns.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |output| {
            direct::apply(source, stencil, panels, finish, output);
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
            let batch = input.batch();
            if winograd::is_suitable_for_weight_gradient(geometry, batch, channels, filters) {
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
