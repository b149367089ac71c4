//! The choice of an algorithm for a convolution and each of its gradients.

use std::borrow::Borrow;

use crate::{
    nhwc::Nhwc,
    product::{Finish, Panels, ProductFormat},
    reduction::Images,
    uninit::vec_written_by,
};

use super::{
    direct::{self, Direction, weight_panels},
    geometry::Geometry,
    maps::{Maps, Part, output_pixels},
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
    pub fn of(parts: &[Part], channels: usize, filters: usize) -> Self {
        match winograd::is_suitable(parts.iter().copied(), channels, filters) {
            true => Self::Winograd,
            false => Self::Direct,
        }
    }
}

/// A weight in the form in which the forward pass reads it.
#[derive(Debug)]
pub enum PackedWeight<'a> {
    Direct(Panels),
    Winograd(winograd::Kernels),
    /// A weight whose transformed kernels are so large that they are computed group by group.
    WinogradInGroups {
        format: ProductFormat,
        weight: &'a [f32],
        filters: usize,
    },
}

impl<'a> PackedWeight<'a> {
    /// Packs `[filters, channels, kernel height, kernel width]`.
    pub fn new(
        algorithm: Algorithm,
        format: ProductFormat,
        weight: &'a [f32],
        filters: usize,
        geometry: &Geometry,
    ) -> Self {
        match algorithm {
            Algorithm::Direct => {
                let phase = Phase::forward(geometry);
                let direction = Direction::Forward;
                let taps = geometry.taps();
                Self::Direct(weight_panels(
                    format, weight, filters, taps, &phase, direction,
                ))
            }
            Algorithm::Winograd if winograd::Kernels::are_large(weight, filters) => {
                Self::WinogradInGroups {
                    format,
                    weight,
                    filters,
                }
            }
            Algorithm::Winograd => Self::Winograd(winograd::Kernels::new(
                format,
                weight,
                filters,
                Direction::Forward,
            )),
        }
    }

    /// In memory of its own and of just its size.
    pub fn compact(self) -> PackedWeight<'static> {
        match self {
            Self::Direct(panels) => PackedWeight::Direct(panels.compact()),
            Self::Winograd(kernels) => PackedWeight::Winograd(kernels.compact()),
            Self::WinogradInGroups {
                format,
                weight,
                filters,
            } => {
                let kernels = winograd::Kernels::new(format, weight, filters, Direction::Forward);
                PackedWeight::Winograd(kernels.compact())
            }
        }
    }
}

/// The output, `[batch, height, width, filters]`, one part after the other.
pub fn forward(inputs: &[Maps], weight: &PackedWeight, finish: Finish) -> Vec<f32> {
    match weight {
        PackedWeight::Direct(panels) => {
            let sources: Vec<(Nhwc, Stencil)> = (inputs.iter())
                .map(|maps| (maps.images, Stencil::forward(&maps.geometry)))
                .collect();
            by_stencil(&sources, std::slice::from_ref(panels), finish)
        }
        PackedWeight::Winograd(kernels) => {
            by_winograd(inputs, kernels.filters().all, [kernels], finish)
        }
        PackedWeight::WinogradInGroups {
            format,
            weight,
            filters,
        } => {
            let direction = Direction::Forward;
            let groups = winograd::Kernels::in_groups(*format, weight, *filters, direction);
            by_winograd(inputs, *filters, groups, finish)
        }
    }
}

/// The gradient of the input, `[batch, height, width, channels]`, one part after the other, given
/// the gradient of the output. If there are several parts, the stride is 1.
pub fn input_gradient(
    format: ProductFormat,
    output_gradients: &[Nhwc],
    parts: &[Part],
    weight: &[f32],
    channels: usize,
) -> Vec<f32> {
    let filters = output_gradients[0].channels();
    let finish = Finish::default();
    let gradients = || output_gradients.iter().zip(parts);
    let transposed: Option<Vec<Maps>> = gradients()
        .map(|(images, part)| {
            Some(Maps {
                images: *images,
                geometry: part.geometry.transposed()?,
            })
        })
        .collect();
    if let Some(transposed) = transposed {
        let is_suitable =
            winograd::is_suitable(transposed.iter().map(Maps::part), filters, channels);
        if is_suitable {
            let groups = winograd::Kernels::in_groups(format, weight, filters, Direction::Backward);
            return by_winograd(&transposed, channels, groups, finish);
        }
    }
    let sources: Vec<(Nhwc, Stencil)> = gradients()
        .map(|(images, part)| (*images, Stencil::input_gradient(&part.geometry)))
        .collect();
    let taps = parts[0].geometry.taps();
    let panels: Vec<Panels> = (sources[0].1.phases.iter())
        .map(|phase| weight_panels(format, weight, filters, taps, phase, Direction::Backward))
        .collect();
    by_stencil(&sources, &panels, finish)
}

/// The groups of kernels, one after the other, have all `columns` of the output.
fn by_winograd(
    sources: &[Maps],
    columns: usize,
    groups: impl IntoIterator<Item: Borrow<winograd::Kernels>>,
    finish: Finish,
) -> Vec<f32> {
    let length = output_pixels(sources) * columns;
    // SAFETY: the tiles cover every pixel of the output, and the groups every column: each begins
    // where the one before it ends, and the last one ends at the last column.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |output| {
            let mut end = 0;
            for kernels in groups {
                let filters = kernels.borrow().filters();
                assert_eq!(
                    [filters.first, filters.all],
                    [end, columns],
                    "groups of kernels"
                );
                winograd::forward(sources, kernels.borrow(), finish, output);
                end += filters.count;
            }
            assert_eq!(end, columns, "all groups of kernels");
        })
    }
}

/// All sources have the phases of `panels`.
fn by_stencil(sources: &[(Nhwc, Stencil)], panels: &[Panels], finish: Finish) -> Vec<f32> {
    let columns = panels.first().map_or(0, Panels::columns);
    let pixels = |(source, stencil): &(Nhwc, Stencil)| {
        source.batch() * stencil.output[0] * stencil.output[1]
    };
    let length = sources.iter().map(pixels).sum::<usize>() * columns;
    assert!(
        (panels.iter().all(|panels| panels.columns() == columns))
            && (sources.iter()).all(|(_, stencil)| stencil.phases.len() == panels.len()),
        "panels of each phase"
    );
    // SAFETY: the phases cover every pixel of the output, each of them has panels, and each pixel is
    // written for all columns.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |output| {
            direct::apply(sources, panels, finish, output);
        })
    }
}

/// The gradient of the weight, `[filters, channels, kernel height, kernel width]`, given the inputs
/// and the gradients of the output.
pub fn weight_gradient(
    format: ProductFormat,
    inputs: &[Maps],
    output_gradients: &[Nhwc],
) -> Vec<f32> {
    assert_eq!(
        inputs.len(),
        output_gradients.len(),
        "parts of the gradient"
    );
    let (input, output_gradient) = (inputs[0], output_gradients[0]);
    let (channels, filters) = (input.images.channels(), output_gradient.channels());
    let length = filters * channels * input.geometry.taps();
    let parts = inputs.iter().map(Maps::part);
    let is_by_winograd = winograd::is_suitable_for_weight_gradient(parts, channels, filters);
    // SAFETY: either algorithm writes all values: its panels cover all filters, and each of their
    // taps and channels is written.
    #[allow(unsafe_code)]
    unsafe {
        vec_written_by(length, |gradient| match is_by_winograd {
            true => winograd::weight_gradient(format, inputs, output_gradients, gradient),
            false => direct::weight_gradient(format, inputs, output_gradients, gradient),
        })
    }
}

/// The gradient of the bias, `[filters]`, given that of the output, `[pixels, filters]`.
pub fn bias_gradient(output_gradient: &[f32], filters: usize) -> Vec<f32> {
    let images = Images {
        starts: &[0, output_gradient.len() / filters.max(1)],
        channels: filters,
    };
    let sums = images.sums(output_gradient);
    sums.into_iter().map(|sum| sum as f32).collect()
}
