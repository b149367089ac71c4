//! Convolutions of any size as products with the pixels under the kernel, which are read where they
//! lie.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use crate::{
    nhwc::Nhwc,
    product::{
        Blocks, ColumnMemory, Columns, Finish, LeftColumns, Panel, Panels, ProductFormat, Rows,
        lanes,
    },
    scratch::Scratch,
};

use super::{
    maps::{Maps, output_pixels},
    partial_sums::{self, add_up},
    stencil::{Phase, Stencil},
};

/// The fewest and the most output pixels of a task.
const PIXELS: [usize; 2] = [48, 768];

/// The rows of a panel that are written together.
const PACKED_ROWS: usize = 16;

/// The output pixels that are multiplied at once for the gradient of the weight.
const GRADIENT_PIXELS: usize = 256;

/// The most parts of the pixels whose gradients of the weight are summed apart, in parallel.
const GRADIENT_PARTS: usize = 8;

/// The fewest pixels of such a part: it takes time to add up its sums.
const PART_PIXELS: usize = 1024;

/// The most values of all these parts together.
const GRADIENT_VALUES: usize = 4 << 20;

/// The tasks of each thread, over all parts. With more tasks, pixels are read, and in 16 bits rounded, more
/// often.
const TASKS: usize = 2;

/// How the filters and channels of a weight become the two sides of a product.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    /// From channels to filters.
    Forward,
    /// From filters to channels, for gradients.
    Backward,
}

/// The elements of a weight, `[filters, channels, kernel height, kernel width]`, that belong to a
/// phase, as the right factor of its product.
pub fn weight_panels(
    format: ProductFormat,
    weight: &[f32],
    filters: usize,
    taps: usize,
    phase: &Phase,
    direction: Direction,
) -> Panels {
    let channels = weight.len() / (filters * taps).max(1);
    let (depth, columns) = match direction {
        Direction::Forward => (channels, filters),
        Direction::Backward => (filters, channels),
    };
    let blocks = Blocks {
        count: 1,
        depth: phase.taps.len() * depth,
    };
    Panels::new(format, blocks, columns, |range, width, panel| {
        for (tap, panel) in phase.taps.iter().zip(panel.chunks_exact_mut(depth * width)) {
            match direction {
                Direction::Forward => {
                    let kernels =
                        &weight[range.start * channels * taps..][..range.len() * channels * taps];
                    pack_rows(kernels, channels, taps, tap.element, width, panel);
                }
                Direction::Backward => {
                    let filters = weight.chunks_exact(channels * taps);
                    for (kernels, row) in filters.zip(panel.chunks_exact_mut(width)) {
                        let kernels = &kernels[range.start * taps..range.end * taps];
                        for (value, kernel) in row.iter_mut().zip(kernels.chunks_exact(taps)) {
                            *value = kernel[tap.element];
                        }
                    }
                }
            }
        }
    })
}

/// Writes one element of the kernels of some filters, `[filters, channels, taps]`, as
/// `[channels, width]`.
fn pack_rows(
    kernels: &[f32],
    channels: usize,
    taps: usize,
    element: usize,
    width: usize,
    panel: &mut [f32],
) {
    // In blocks of channels, so that they stay in cache.
    for (index, panel) in panel.chunks_mut(PACKED_ROWS * width).enumerate() {
        let start = index * PACKED_ROWS * taps;
        for (lane, kernels) in kernels.chunks_exact(channels * taps).enumerate() {
            let kernels = &kernels[start..];
            let panel = &mut panel[lane..];
            let whole: Option<&[f32; PACKED_ROWS]> = kernels.first_chunk();
            match whole {
                Some(values) if taps == 1 => {
                    for (row, value) in values.iter().enumerate() {
                        panel[row * width] = *value;
                    }
                }
                _ => {
                    let slots = panel.iter_mut().step_by(width);
                    for (slot, kernel) in slots.zip(kernels.chunks_exact(taps)) {
                        *slot = kernel[element];
                    }
                }
            }
        }
    }
}

/// Writes the sums of each stencil over its source to all of `output`,
/// `[batch, height, width, columns]`, one source after the other. `panels` are those of the phases,
/// which all stencils have.
pub fn apply(
    sources: &[(Nhwc, Stencil)],
    panels: &[Panels],
    finish: Finish,
    output: &mut [MaybeUninit<f32>],
) {
    let columns = panels.first().map_or(0, Panels::columns);
    let units = |stencil: &Stencil| stencil.output[0].div_ceil(stencil.output_step[0]);
    let per_unit = |stencil: &Stencil| stencil.output_step[0] * stencil.output[1];
    let all: usize = (sources.iter())
        .map(|(source, stencil)| source.batch() * units(stencil) * per_unit(stencil))
        .sum();
    let pixels = (all / (4 * rayon::current_num_threads())).clamp(PIXELS[0], PIXELS[1]);
    let mut tasks = Vec::new();
    let (mut offset, mut rest) = (0, output);
    for (source, stencil) in sources {
        let units = units(stencil);
        let size = (pixels / per_unit(stencil).max(1)).clamp(1, units.max(1));
        for image in 0..source.batch() {
            for start in (0..units).step_by(size) {
                let units = start..units.min(start + size);
                let rows = rows_of(stencil, &units);
                let length = rows.len() * stencil.output[1] * columns;
                let (output, others) = rest.split_at_mut(length);
                tasks.push((*source, stencil, image, units, offset, output));
                (offset, rest) = (offset + length, others);
            }
        }
    }
    assert!(rest.is_empty(), "rows of all images");
    tasks
        .into_par_iter()
        .for_each(|(source, stencil, image, units, offset, output)| {
            let mut scratch = Scratch::new();
            let (width, first_row) = (stencil.output[1], units.start * stencil.output_step[0]);
            let finish = Finish {
                addend: (finish.addend).map(|addend| &addend[offset..offset + output.len()]),
                ..finish
            };
            let window = Window::new(source, stencil, image, &units, &mut scratch);
            for (phase, panels) in stencil.phases.iter().zip(panels) {
                let [down, across] = stencil.extent(phase);
                let pixels = || {
                    let rows = units.start..units.end.min(down);
                    rows.flat_map(|y| (0..across).map(move |x| [y, x]))
                };
                let starts: Vec<usize> = pixels().map(|pixel| window.start(pixel)).collect();
                let targets: Vec<usize> = pixels()
                    .map(|[y, x]| {
                        let row = y * stencil.output_step[0] + phase.first[0] - first_row;
                        (row * width + x * stencil.output_step[1] + phase.first[1]) * columns
                    })
                    .collect();
                let (segments, length) = window.segments(phase);
                Rows {
                    source: window.values,
                    starts: &starts,
                    segments: &segments,
                    length,
                    panels,
                    first: 0,
                    targets: &targets,
                    finish,
                    output,
                }
                .multiply();
            }
        });
}

/// The output rows of some units: of as many rows each as there are phases along the height.
fn rows_of(stencil: &Stencil, units: &Range<usize>) -> Range<usize> {
    let row = |unit: usize| stencil.output[0].min(unit * stencil.output_step[0]);
    row(units.start)..row(units.end)
}

/// The pixels of the source under the taps of some rows of the output, with zeros around the image.
struct Window<'a> {
    values: &'a [f32],
    channels: usize,
    /// The values between rows.
    pitch: usize,
    source_step: [usize; 2],
    /// Where the pixel with the smallest offset lies in `values` for the first element.
    origin: usize,
    /// The smallest offset.
    lowest: [isize; 2],
    first_unit: usize,
}

impl<'a> Window<'a> {
    fn new(
        source: Nhwc<'a>,
        stencil: &Stencil,
        image: usize,
        units: &Range<usize>,
        scratch: &'a mut Scratch,
    ) -> Self {
        let channels = source.channels();
        let [height, width] = source.size();
        let [[top, bottom], [left, right]] = [stencil.reach(0), stencil.reach(1)];
        let elements = [0, 1].map(|axis| stencil.output[axis].div_ceil(stencil.output_step[axis]));
        let last = |axis: usize| ((elements[axis] - 1) * stencil.source_step[axis]) as isize;
        let window = Self {
            values: source.values(),
            channels,
            pitch: width * channels,
            source_step: stencil.source_step,
            origin: 0,
            lowest: [top, left],
            first_unit: units.start,
        };
        let first_row = (units.start * stencil.source_step[0]) as isize + top;
        let is_inside = top >= 0
            && left >= 0
            && last(0) + bottom < height as isize
            && last(1) + right < width as isize;
        if is_inside {
            let origin = source.row_start(image, first_row as usize) + left as usize * channels;
            return Self { origin, ..window };
        }
        let rows = (units.len() - 1) * stencil.source_step[0] + (bottom - top) as usize + 1;
        let columns = (last(1) + right - left) as usize + 1;
        let pitch = columns * channels;
        let values = scratch.slice(rows * pitch);
        // The columns of the image that are in the window.
        let start = left.max(0) as usize;
        let before = ((-left).max(0) as usize).min(columns);
        let count = (width.saturating_sub(start)).min(columns.saturating_sub(before));
        for (row, values) in values.chunks_exact_mut(pitch).enumerate() {
            let row = first_row + row as isize;
            match usize::try_from(row) {
                Ok(row) if row < height => {
                    let (before, rest) = values.split_at_mut(before * channels);
                    let (inner, after) = rest.split_at_mut(count * channels);
                    before.fill(0.0);
                    inner.copy_from_slice(
                        &source.row(image, row)[start * channels..][..count * channels],
                    );
                    after.fill(0.0);
                }
                _ => values.fill(0.0),
            }
        }
        Self {
            values,
            pitch,
            ..window
        }
    }

    /// Where the pixels under the taps of an element of a phase start.
    fn start(&self, [y, x]: [usize; 2]) -> usize {
        self.origin
            + (y - self.first_unit) * self.source_step[0] * self.pitch
            + x * self.source_step[1] * self.channels
    }

    /// The offsets of the segments under the taps, and their length.
    fn segments(&self, phase: &Phase) -> (Vec<usize>, usize) {
        let run = phase.run();
        let segments = (phase.taps.iter().step_by(run))
            .map(|tap| {
                let [y, x] = [0, 1].map(|axis| (tap.offset[axis] - self.lowest[axis]) as usize);
                y * self.pitch + x * self.channels
            })
            .collect();
        (segments, run * self.channels)
    }
}

/// Writes the gradient of the weight, `[filters, channels, kernel height, kernel width]`, given the
/// inputs and the gradients of the output.
pub fn weight_gradient(
    format: ProductFormat,
    inputs: &[Maps],
    output_gradients: &[Nhwc],
    weight_gradient: &mut [MaybeUninit<f32>],
) {
    let stencils: Vec<Stencil> = (inputs.iter())
        .map(|maps| Stencil::forward(&maps.geometry))
        .collect();
    let (channels, filters) = (inputs[0].images.channels(), output_gradients[0].channels());
    let (taps, phase) = (
        inputs[0].geometry.taps(),
        Phase::forward(&inputs[0].geometry),
    );
    // Whole rows of the output, so many that a part of the pixels is one block or more.
    let blocks: Vec<Block> = (inputs.iter().zip(&stencils).zip(output_gradients))
        .flat_map(|((input, stencil), gradient)| {
            let [height, width] = stencil.output;
            let rows = (GRADIENT_PIXELS / width.max(1)).clamp(1, height.max(1));
            (0..input.images.batch()).flat_map(move |image| {
                let starts = (0..height).step_by(rows);
                starts.map(move |start| Block {
                    input: input.images,
                    stencil,
                    gradient: *gradient,
                    image,
                    rows: start..height.min(start + rows),
                })
            })
        })
        .collect();
    let depth = taps * channels;
    // Neither depends on the number of threads, so that sums do not.
    let parts = (GRADIENT_VALUES / (depth * filters).max(1))
        .min(output_pixels(inputs) / PART_PIXELS)
        .clamp(1, GRADIENT_PARTS.min(blocks.len().max(1)));
    let part = blocks.len().div_ceil(parts).max(1);
    let mut sums: Vec<Panels> = (blocks.chunks(part))
        .map(|_| Panels::unspecified(depth, filters))
        .collect();
    partial_sums::tasks(
        &mut sums,
        &blocks,
        part,
        TASKS * rayon::current_num_threads(),
    )
    .into_par_iter()
    .for_each(|(mut panels, blocks)| {
        let [mut scratch, mut gathered, mut paired] = [(); 3].map(|()| Scratch::new());
        let mut memory = Vec::new();
        for (index_of_block, block) in blocks.iter().enumerate() {
            let (image, rows) = (block.image, &block.rows);
            let window = Window::new(block.input, block.stencil, image, rows, &mut scratch);
            let width = block.stencil.output[1];
            let pixels = rows.clone().flat_map(|y| (0..width).map(move |x| [y, x]));
            let starts: Vec<usize> = pixels.map(|pixel| window.start(pixel)).collect();
            let (segments, length) = window.segments(&phase);
            memory.resize_with(segments.len(), ColumnMemory::default);
            let columns: Vec<LeftColumns> = (segments.iter().zip(&mut memory))
                .map(|(segment, memory)| {
                    let source = &window.values[*segment..];
                    LeftColumns::new(format, source, &starts, length, panels.len(), memory)
                })
                .collect();
            let start = block.gradient.row_start(image, rows.start);
            let gradients = &block.gradient.values()[start..][..starts.len() * filters];
            for (index, sums) in &mut panels {
                let panel = Panel::gather(gradients, filters, *index, &mut gathered).in_format(
                    format,
                    starts.len(),
                    &mut paired,
                );
                let sums = sums.chunks_exact_mut(length * panel.width());
                for (left, sums) in columns.iter().zip(sums) {
                    Columns {
                        left: *left,
                        panel,
                        adds: index_of_block > 0,
                        sums,
                    }
                    .multiply();
                }
            }
        }
    });
    let sums = add_up(sums);
    weight_gradient
        .par_chunks_mut(2 * lanes() * depth)
        .enumerate()
        .for_each(|(index, weight)| {
            let panel = sums.panel(index, 0);
            let width = panel.width();
            for (tap, sums) in (phase.taps.iter()).zip(panel.values.chunks_exact(channels * width))
            {
                // So few channels at once that their sums stay in cache.
                for (block, sums) in sums.chunks(PACKED_ROWS * width).enumerate() {
                    let first = block * PACKED_ROWS * taps + tap.element;
                    for (filter, weight) in weight.chunks_exact_mut(depth).enumerate() {
                        let sums = sums[filter..].iter().step_by(width);
                        let weight = weight[first..].iter_mut().step_by(taps);
                        for (weight, sum) in weight.zip(sums) {
                            weight.write(*sum);
                        }
                    }
                }
            }
        });
}

/// Some rows of the output of an image.
struct Block<'a> {
    input: Nhwc<'a>,
    stencil: &'a Stencil,
    gradient: Nhwc<'a>,
    image: usize,
    rows: Range<usize>,
}
