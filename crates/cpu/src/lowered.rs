//! Convolutions as products of matrices: each output pixel is a column of the input values
//! that its kernel covers (Chellapilla et al., 2006).
//!
//! Work is divided so that no two threads write the same values, and the same number of
//! threads adds in the same order.

use std::{mem::MaybeUninit, ops::Range};

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use crate::{
    buffer::Buffer,
    geometry::{Geometry, Segment, parts},
    images::{Images, matrix, matrix_mut, scratch},
    planes,
    product::{multiply, multiply_add},
    unwritten::zeroed,
};

/// Columns of a part: enough for an efficient product, few enough for its operands to stay
/// in a core's cache.
const COLUMNS: usize = 512;

/// Columns that are worth a thread of their own.
const MIN_COLUMNS: usize = 32;

/// Writes the convolution of `input` with `weight`, `[filters, channels × taps]`, plus
/// `bias`, to all of `output`.
pub fn forward(
    input: Images,
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
    let parts = output_parts(input.batch(), geometry);
    let strips = strips(output, filters, geometry, &parts);
    parts.into_par_iter().zip(strips).for_each_init(
        || [Buffer::new(), Buffer::new()],
        |[lowered, product], (part, mut strips)| {
            let columns = lower(input, geometry, &part, 0..weight.ncols(), lowered);
            if let [strip] = strips.as_mut_slice() {
                add_bias(multiply(strip.view_mut(), weight, columns));
                return;
            }
            let mut product = scratch(product, filters, columns.ncols());
            add_bias(multiply(product.view_mut(), weight, columns));
            let mut rest = product;
            for strip in strips {
                let (columns, others) = rest.split_at(Axis(1), strip.ncols());
                columns.assign_to(strip);
                rest = others;
            }
        },
    );
}

/// Writes the gradient of a weight, `[filters, channels × taps]`, from that of the output.
pub fn weight_gradient(
    input: Images,
    output_gradient: Images,
    geometry: &Geometry,
    weight_gradient: ArrayViewMut2<MaybeUninit<f32>>,
) {
    let parts = parts(
        input.batch(),
        geometry.output[0],
        rows_of(COLUMNS, geometry),
    );
    let size = share(weight_gradient.ncols());
    blocks(weight_gradient, size)
        .into_par_iter()
        .for_each(|(columns, mut block)| {
            let mut buffers = [Buffer::new(), Buffer::new()];
            let Some((first, others)) = parts.split_first() else {
                block.fill(MaybeUninit::new(0.0));
                return;
            };
            let images = [input, output_gradient];
            let [gradient, lowered] = factors(images, geometry, first, &columns, &mut buffers);
            let mut sum = multiply(block, gradient, lowered);
            for part in others {
                let [gradient, lowered] = factors(images, geometry, part, &columns, &mut buffers);
                multiply_add(sum.view_mut(), gradient, lowered);
            }
        });
}

/// What a part of the output adds to `columns` of the gradient of a weight is the product of
/// these: of the output's gradient and the lowered input.
fn factors<'a>(
    [input, output_gradient]: [Images<'a>; 2],
    geometry: &Geometry,
    part: &[Segment],
    columns: &Range<usize>,
    [lowered, gathered]: &'a mut [Buffer; 2],
) -> [ArrayView2<'a, f32>; 2] {
    let lowered = lower(input, geometry, part, columns.clone(), lowered);
    [
        output_gradient.columns(part, gathered),
        lowered.reversed_axes(),
    ]
}

/// Writes the gradient of the input, `[batch, channels, height, width]`, from that of the
/// output, for any stride.
pub fn input_gradient(
    output_gradient: Images,
    weight: ArrayView2<f32>,
    geometry: &Geometry,
    input_gradient: &mut [MaybeUninit<f32>],
) {
    let taps = geometry.taps();
    let channels = weight.ncols() / taps;
    let parts = parts(
        output_gradient.batch(),
        geometry.output[0],
        rows_of(COLUMNS, geometry),
    );
    // A block of channels is scattered by one thread.
    let size = share(channels * taps).div_ceil(taps);
    planes::channel_blocks(input_gradient, geometry.input_pixels(), channels, size)
        .into_par_iter()
        .enumerate()
        .for_each(|(block, planes)| {
            let mut planes: Vec<_> = planes.into_iter().map(zeroed).collect();
            let start = block * size;
            let count = size.min(channels - start);
            let (_, rest) = weight.split_at(Axis(1), start * taps);
            let (weight, _) = rest.split_at(Axis(1), count * taps);
            let [mut columns, mut gathered] = [Buffer::new(), Buffer::new()];
            for part in &parts {
                let gradient = output_gradient.columns(part, &mut gathered);
                let width = gradient.ncols();
                let mut columns = scratch(&mut columns, count * taps, width);
                multiply(columns.view_mut(), weight.reversed_axes(), gradient);
                for (row, values) in columns.rows().into_iter().enumerate() {
                    let mut values = values.to_slice().unwrap_or_default();
                    for segment in part {
                        let length = segment.rows.len() * geometry.output[1];
                        let (these, rest) = values.split_at(length);
                        let plane = &mut planes[segment.image * count + row / taps];
                        scatter(these, geometry, row % taps, segment.rows.clone(), plane);
                        values = rest;
                    }
                }
            }
        });
}

/// Rows of the output whose pixels are about `columns`.
fn rows_of(columns: usize, geometry: &Geometry) -> usize {
    (columns / geometry.output[1].max(1)).max(1)
}

/// Parts of the output, so many that each thread has some.
fn output_parts(batch: usize, geometry: &Geometry) -> Vec<Vec<Segment>> {
    let pixels = batch * geometry.output_pixels();
    let share = pixels.div_ceil(rayon::current_num_threads());
    let columns = share.clamp(MIN_COLUMNS, COLUMNS);
    parts(batch, geometry.output[0], rows_of(columns, geometry))
}

/// Rows of a lowered matrix for one thread.
fn share(rows: usize) -> usize {
    rows.div_ceil(rayon::current_num_threads()).max(1)
}

/// The columns of each part in `output`, image by image.
fn strips<'a, T>(
    output: &'a mut [T],
    filters: usize,
    geometry: &Geometry,
    parts: &[Vec<Segment>],
) -> Vec<Vec<ArrayViewMut2<'a, T>>> {
    let pixels = geometry.output_pixels();
    let mut images = output.chunks_exact_mut((filters * pixels).max(1));
    let mut rest: Option<ArrayViewMut2<T>> = None;
    let mut strip = |segment: &Segment| {
        let image = match rest.take() {
            Some(image) if segment.rows.start > 0 => image,
            _ => matrix_mut(images.next().unwrap_or_default(), filters, pixels),
        };
        let (strip, others) = image.split_at(Axis(1), segment.rows.len() * geometry.output[1]);
        rest = Some(others);
        strip
    };
    parts
        .iter()
        .map(|part| part.iter().map(&mut strip).collect())
        .collect()
}

/// Columns in blocks of `size`, with their places.
fn blocks<T>(
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

/// `rows` of the lowered matrix, `[channels × taps, pixels]`, for a part of the output: a
/// view of the input where that is possible, else collected in `buffer`.
fn lower<'a>(
    input: Images<'a>,
    geometry: &Geometry,
    part: &[Segment],
    rows: Range<usize>,
    buffer: &'a mut Buffer,
) -> ArrayView2<'a, f32> {
    if geometry.is_pointwise() && (part.len() == 1 || rows.len() == input.channels()) {
        let (_, rest) = input.columns(part, buffer).split_at(Axis(0), rows.start);
        return rest.split_at(Axis(0), rows.len()).0;
    }
    let taps = geometry.taps();
    let width = geometry.output[1];
    let count = part.iter().map(|segment| segment.rows.len() * width).sum();
    let mut lowered = scratch(buffer, rows.len(), count);
    for (row, mut values) in rows.clone().zip(lowered.rows_mut()) {
        let mut values = values.as_slice_mut().unwrap_or_default();
        for segment in part {
            let (these, rest) = values.split_at_mut(segment.rows.len() * width);
            let plane = input.plane(segment.image, row / taps);
            gather(plane, geometry, row % taps, segment.rows.clone(), these);
            values = rest;
        }
    }
    matrix(buffer, rows.len(), count)
}

/// What one element of the kernel sees of a plane, for some rows of the output.
fn gather(plane: &[f32], geometry: &Geometry, tap: usize, rows: Range<usize>, values: &mut [f32]) {
    let (down, top) = geometry.span(0, tap / geometry.kernel[1]);
    let (across, left) = geometry.span(1, tap % geometry.kernel[1]);
    let [stride_y, stride_x] = geometry.stride;
    let [width, input_width] = [geometry.output[1], geometry.input[1]];
    let seen = rows.start.max(down.start)..rows.end.min(down.end).max(rows.start);
    if seen.is_empty() || across.is_empty() {
        values.fill(0.0);
        return;
    }
    let before = (seen.start - rows.start) * width;
    let after = (seen.end - rows.start) * width;
    values[..before].fill(0.0);
    values[after..].fill(0.0);
    let values = &mut values[before..after];
    let start = (top + (seen.start - down.start) * stride_y) * input_width + left;
    if geometry.stride == [1, 1] && width == input_width {
        // All rows at once; what comes from the ends of other rows is overwritten.
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
                // In pairs, which the compiler takes apart with vector instructions.
                let (pairs, rest) = plane.as_chunks::<2>();
                for (value, [seen, _]) in values.iter_mut().zip(pairs) {
                    *value = *seen;
                }
                if let (Some(value), [seen]) = (values.get_mut(pairs.len()), rest) {
                    *value = *seen;
                }
            }
            _ => {
                for (value, seen) in values.iter_mut().zip(plane.iter().step_by(stride_x)) {
                    *value = *seen;
                }
            }
        }
    }
}

/// The reverse of [`gather`]: adds `values` where they came from.
fn scatter(values: &[f32], geometry: &Geometry, tap: usize, rows: Range<usize>, plane: &mut [f32]) {
    let (down, top) = geometry.span(0, tap / geometry.kernel[1]);
    let (across, left) = geometry.span(1, tap % geometry.kernel[1]);
    let [stride_y, stride_x] = geometry.stride;
    for (row, values) in rows.zip(values.chunks_exact(geometry.output[1])) {
        if !down.contains(&row) {
            continue;
        }
        let start = (top + (row - down.start) * stride_y) * geometry.input[1] + left;
        let values = &values[across.clone()];
        for (value, seen) in values
            .iter()
            .zip(plane[start..].iter_mut().step_by(stride_x))
        {
            *seen += value;
        }
    }
}
