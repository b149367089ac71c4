//! Convolutions as matrix products by im2col (Chellapilla et al., 2006): each column of the
//! im2col matrix, `[channels × taps, output pixels]`, holds the input values under the kernel
//! for one output pixel.
//!
//! The matrix is computed in parts, one for some rows of the output. Tasks write disjoint
//! memory, and with the same number of threads they add in the same order.

use std::{mem::MaybeUninit, ops::Range};

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use crate::uninit::zeroed;

use super::{
    gemm::{multiply, multiply_add},
    geometry::Geometry,
    matrix::{matrix, matrix_mut},
    nchw::{Nchw, channel_blocks},
    partition::{RowRange, partition},
    scratch::Scratch,
};

/// Columns of a part: enough for an efficient product, and few enough that its factors stay
/// in a core's cache.
const MAX_COLUMNS: usize = 512;

/// The fewest columns that are worth a task of their own.
const MIN_COLUMNS: usize = 32;

/// Writes the convolution of `input` with `weight`, `[filters, channels × taps]`, plus
/// `bias`, `[filters]`, to all of `output`, `[batch, filters, height, width]`.
pub fn forward(
    input: Nchw,
    weight: ArrayView2<f32>,
    bias: Option<&[f32]>,
    geometry: &Geometry,
    output: &mut [MaybeUninit<f32>],
) {
    let filters = weight.nrows();
    let add_bias = |mut values: ArrayViewMut2<f32>| {
        let Some(bias) = bias else { return };
        for (mut row, bias) in values.rows_mut().into_iter().zip(bias) {
            row += *bias;
        }
    };
    let parts = forward_parts(input.batch(), geometry);
    let outputs = output_views(output, filters, geometry, &parts);
    parts.into_par_iter().zip(outputs).for_each_init(
        || [Scratch::new(), Scratch::new()],
        |[columns, product], (part, mut outputs)| {
            let columns = im2col(input, geometry, &part, 0..weight.ncols(), columns);
            if let [output] = outputs.as_mut_slice() {
                add_bias(multiply(output.view_mut(), weight, columns));
                return;
            }
            let mut product = product.array([filters, columns.ncols()]);
            add_bias(multiply(product.view_mut(), weight, columns));
            let mut rest = product;
            for output in outputs {
                let (values, others) = rest.split_at(Axis(1), output.ncols());
                values.assign_to(output);
                rest = others;
            }
        },
    );
}

/// Writes the gradient of the weight, `[filters, channels × taps]`, given that of the output.
pub fn weight_gradient(
    input: Nchw,
    output_gradient: Nchw,
    geometry: &Geometry,
    weight_gradient: ArrayViewMut2<MaybeUninit<f32>>,
) {
    let parts = backward_parts(input.batch(), geometry);
    let size = per_thread(weight_gradient.ncols());
    column_blocks(weight_gradient, size)
        .into_par_iter()
        .for_each(|(block, mut weight_gradient)| {
            let mut scratch = [Scratch::new(), Scratch::new()];
            let Some((first, others)) = parts.split_first() else {
                weight_gradient.fill(MaybeUninit::new(0.0));
                return;
            };
            let images = [input, output_gradient];
            let [lhs, rhs] = weight_factors(images, geometry, first, &block, &mut scratch);
            let mut sum = multiply(weight_gradient, lhs, rhs);
            for part in others {
                let [lhs, rhs] = weight_factors(images, geometry, part, &block, &mut scratch);
                multiply_add(sum.view_mut(), lhs, rhs);
            }
        });
}

/// The factors whose product is a part's contribution to `columns` of the weight gradient:
/// the output gradient and the transposed im2col matrix.
fn weight_factors<'a>(
    [input, output_gradient]: [Nchw<'a>; 2],
    geometry: &Geometry,
    part: &[RowRange],
    columns: &Range<usize>,
    [im2col_scratch, gradient_scratch]: &'a mut [Scratch; 2],
) -> [ArrayView2<'a, f32>; 2] {
    let im2col = im2col(input, geometry, part, columns.clone(), im2col_scratch);
    [
        output_gradient.columns(part, gradient_scratch),
        im2col.reversed_axes(),
    ]
}

/// Writes the gradient of the input, `[batch, channels, height, width]`, given that of the
/// output, for any stride.
pub fn input_gradient(
    output_gradient: Nchw,
    weight: ArrayView2<f32>,
    geometry: &Geometry,
    input_gradient: &mut [MaybeUninit<f32>],
) {
    let taps = geometry.taps();
    let channels = weight.ncols() / taps;
    let parts = backward_parts(output_gradient.batch(), geometry);
    // All values that are added to a channel come from one task.
    let size = per_thread(channels * taps).div_ceil(taps);
    channel_blocks(input_gradient, geometry.input_pixels(), channels, size)
        .into_par_iter()
        .enumerate()
        .for_each(|(block, planes)| {
            let mut planes: Vec<_> = planes.into_iter().map(zeroed).collect();
            let start = block * size;
            let count = size.min(channels - start);
            let (_, rest) = weight.split_at(Axis(1), start * taps);
            let (weight, _) = rest.split_at(Axis(1), count * taps);
            let [mut columns, mut gradient] = [Scratch::new(), Scratch::new()];
            for part in &parts {
                let gradient = output_gradient.columns(part, &mut gradient);
                let mut columns = columns.array([count * taps, gradient.ncols()]);
                multiply(columns.view_mut(), weight.reversed_axes(), gradient);
                col2im(columns.view(), geometry, part, &mut planes);
            }
        });
}

/// The rows of the output in parts for the gradients, whose tasks go through all parts.
fn backward_parts(batch: usize, geometry: &Geometry) -> Vec<Vec<RowRange>> {
    let rows = rows_with(MAX_COLUMNS, geometry);
    partition(batch, geometry.output[0], rows)
}

/// The rows of the output in parts for the forward pass: at least one for each thread.
fn forward_parts(batch: usize, geometry: &Geometry) -> Vec<Vec<RowRange>> {
    let pixels = batch * geometry.output_pixels();
    let columns = pixels
        .div_ceil(rayon::current_num_threads())
        .clamp(MIN_COLUMNS, MAX_COLUMNS);
    partition(batch, geometry.output[0], rows_with(columns, geometry))
}

/// The number of output rows that have about this many pixels.
fn rows_with(pixels: usize, geometry: &Geometry) -> usize {
    (pixels / geometry.output[1].max(1)).max(1)
}

/// The share of `count` items for each thread.
fn per_thread(count: usize) -> usize {
    count.div_ceil(rayon::current_num_threads()).max(1)
}

/// For each part, a view `[filters, pixels]` of the output for each of its row ranges.
fn output_views<'a, T>(
    output: &'a mut [T],
    filters: usize,
    geometry: &Geometry,
    parts: &[Vec<RowRange>],
) -> Vec<Vec<ArrayViewMut2<'a, T>>> {
    let pixels = geometry.output_pixels();
    let mut images = output.chunks_exact_mut((filters * pixels).max(1));
    let mut rest: Option<ArrayViewMut2<T>> = None;
    let mut view = |range: &RowRange| {
        let image = match rest.take() {
            Some(image) if range.rows.start > 0 => image,
            _ => matrix_mut(images.next().unwrap_or_default(), filters, pixels),
        };
        let (view, others) = image.split_at(Axis(1), range.rows.len() * geometry.output[1]);
        rest = Some(others);
        view
    };
    parts
        .iter()
        .map(|part| part.iter().map(&mut view).collect())
        .collect()
}

/// The matrix in blocks of `size` columns, each with the range of its columns.
fn column_blocks<T>(
    matrix: ArrayViewMut2<'_, T>,
    size: usize,
) -> Vec<(Range<usize>, ArrayViewMut2<'_, T>)> {
    let mut blocks = Vec::new();
    let (mut start, mut rest) = (0, matrix);
    while rest.ncols() > 0 {
        let count = size.min(rest.ncols());
        let (block, others) = rest.split_at(Axis(1), count);
        blocks.push((start..start + count, block));
        (start, rest) = (start + count, others);
    }
    blocks
}

/// `rows` of the im2col matrix, `[channels × taps, pixels]`, for a part of the output: a view
/// of the input if possible, a copy in `scratch` otherwise.
fn im2col<'a>(
    input: Nchw<'a>,
    geometry: &Geometry,
    part: &[RowRange],
    rows: Range<usize>,
    scratch: &'a mut Scratch,
) -> ArrayView2<'a, f32> {
    if geometry.is_pointwise() && (part.len() == 1 || rows.len() == input.channels()) {
        let (_, rest) = input.columns(part, scratch).split_at(Axis(0), rows.start);
        return rest.split_at(Axis(0), rows.len()).0;
    }
    let taps = geometry.taps();
    let width = geometry.output[1];
    let count = part.iter().map(|range| range.rows.len() * width).sum();
    let mut columns = scratch.array([rows.len(), count]);
    for (row, mut values) in rows.clone().zip(columns.rows_mut()) {
        let mut values = values.as_slice_mut().unwrap_or_default();
        for range in part {
            let (values_of_range, rest) = values.split_at_mut(range.rows.len() * width);
            let plane = input.plane(range.image, row / taps);
            gather(
                plane,
                geometry,
                row % taps,
                range.rows.clone(),
                values_of_range,
            );
            values = rest;
        }
    }
    matrix(scratch, rows.len(), count)
}

/// The reverse of [`im2col`]: adds each value of `columns`, `[channels × taps, pixels]`, to
/// the pixel that it belongs to. `planes` are those of the channels, image by image.
fn col2im(
    columns: ArrayView2<f32>,
    geometry: &Geometry,
    part: &[RowRange],
    planes: &mut [&mut [f32]],
) {
    let taps = geometry.taps();
    let channels = columns.nrows() / taps;
    for (row, values) in columns.rows().into_iter().enumerate() {
        let mut values = values.to_slice().unwrap_or_default();
        for range in part {
            let (values_of_range, rest) = values.split_at(range.rows.len() * geometry.output[1]);
            let plane = &mut planes[range.image * channels + row / taps];
            scatter(
                values_of_range,
                geometry,
                row % taps,
                range.rows.clone(),
                plane,
            );
            values = rest;
        }
    }
}

/// Writes the values of a plane under one tap of the kernel, for some rows of the output.
fn gather(plane: &[f32], geometry: &Geometry, tap: usize, rows: Range<usize>, values: &mut [f32]) {
    let (down, top) = geometry.covered_outputs(0, tap / geometry.kernel[1]);
    let (across, left) = geometry.covered_outputs(1, tap % geometry.kernel[1]);
    let [stride_y, stride_x] = geometry.stride;
    let [width, input_width] = [geometry.output[1], geometry.input[1]];
    let covered = rows.start.max(down.start)..rows.end.min(down.end).max(rows.start);
    if covered.is_empty() || across.is_empty() {
        values.fill(0.0);
        return;
    }
    let before = (covered.start - rows.start) * width;
    let after = (covered.end - rows.start) * width;
    values[..before].fill(0.0);
    values[after..].fill(0.0);
    let values = &mut values[before..after];
    let start = (top + (covered.start - down.start) * stride_y) * input_width + left;
    if geometry.stride == [1, 1] && width == input_width {
        // All rows in one copy; what it puts on the padding is then overwritten.
        let inner = across.start..values.len() - (width - across.end);
        let length = inner.len();
        values[inner].copy_from_slice(&plane[start..start + length]);
        for row in values.chunks_exact_mut(width) {
            row[..across.start].fill(0.0);
            row[across.end..].fill(0.0);
        }
        return;
    }
    for (row, values) in values.chunks_exact_mut(width).enumerate() {
        values[..across.start].fill(0.0);
        values[across.end..].fill(0.0);
        let values = &mut values[across.clone()];
        let plane = &plane[start + row * stride_y * input_width..];
        match stride_x {
            1 => values.copy_from_slice(&plane[..values.len()]),
            2 => {
                // In pairs, which the compiler deinterleaves with vector instructions.
                let (pairs, rest) = plane.as_chunks::<2>();
                for (value, [pixel, _]) in values.iter_mut().zip(pairs) {
                    *value = *pixel;
                }
                if let (Some(value), [pixel]) = (values.get_mut(pairs.len()), rest) {
                    *value = *pixel;
                }
            }
            _ => {
                for (value, pixel) in values.iter_mut().zip(plane.iter().step_by(stride_x)) {
                    *value = *pixel;
                }
            }
        }
    }
}

/// The reverse of [`gather`]: adds the values to the plane.
fn scatter(values: &[f32], geometry: &Geometry, tap: usize, rows: Range<usize>, plane: &mut [f32]) {
    let (down, top) = geometry.covered_outputs(0, tap / geometry.kernel[1]);
    let (across, left) = geometry.covered_outputs(1, tap % geometry.kernel[1]);
    let [stride_y, stride_x] = geometry.stride;
    for (row, values) in rows.zip(values.chunks_exact(geometry.output[1])) {
        if !down.contains(&row) {
            continue;
        }
        let start = (top + (row - down.start) * stride_y) * geometry.input[1] + left;
        let values = &values[across.clone()];
        for (value, pixel) in values
            .iter()
            .zip(plane[start..].iter_mut().step_by(stride_x))
        {
            *pixel += value;
        }
    }
}
