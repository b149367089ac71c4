//! 3×3 convolutions of stride 1 by Winograd's minimal filtering F(4×4, 3×3) (Lavin & Gray,
//! 2016): 36 multiplications instead of 144 for a 4×4 tile of the output and a channel.
//!
//! With U = G g Gᵀ for a kernel g and V = Bᵀ d B for a 6×6 input tile d, a 4×4 output tile is
//! Aᵀ (U ⊙ V) A, where U ⊙ V is summed over the channels. The gradient of the kernel is
//! Gᵀ (M ⊙ V) G with M = A y Aᵀ for the gradient y of an output tile, where M ⊙ V is summed
//! over all tiles. For each of the 36 elements, these sums are a matrix product.

mod transform;

use std::mem::MaybeUninit;

use ndarray::{ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis};
use rayon::prelude::*;

use transform::{
    ELEMENTS, INPUT_TILE, Input, Kernel, KernelGradient, LANES, Output, OutputGradient, TILE,
    Transform, transform_2d,
};

use super::{
    gemm::{multiply, multiply_add},
    geometry::Geometry,
    matrix::matrix,
    nchw::{Nchw, channel_blocks},
    partition::{RowRange, partition},
    scratch::Scratch,
};

/// The number of values in the transformed tiles of a block, over all channels: few enough to
/// stay in cache.
const BLOCK: usize = 4 << 20;

/// The fewest tiles in a batch for which it pays to transform the kernels, which grow to four
/// times their size. With 64 to 512 channels, the break-even point was measured at 30 to 50
/// tiles with AVX-512 and at 20 to 32 with AVX2.
const MIN_TILES: usize = 36;

/// Whether this algorithm is applicable and efficient: a 3×3 kernel of stride 1, and enough
/// pixels and channels for the transforms to pay.
pub fn is_suitable(geometry: &Geometry, batch: usize, channels: usize, filters: usize) -> bool {
    let [height, width] = geometry.output;
    let tiles = height.div_ceil(TILE) * width.div_ceil(TILE);
    geometry.kernel == [3, 3]
        && geometry.stride == [1, 1]
        && geometry.dilation == [1, 1]
        && geometry.padding.iter().all(|padding| *padding < INPUT_TILE)
        && channels.min(filters) >= 16
        && batch * tiles >= MIN_TILES
        && 9 * height * width >= 2 * ELEMENTS * tiles
}

/// Writes the convolution of `input` with `kernels`, plus `bias`, `[filters]`, to all of
/// `output`, `[batch, filters, height, width]`.
pub fn forward(
    input: Nchw,
    kernels: &Kernels,
    bias: Option<&[f32]>,
    geometry: &Geometry,
    output: &mut [MaybeUninit<f32>],
) {
    let channels = input.channels();
    let filters = kernels.matrix(0).nrows();
    let mut planes = channel_blocks(output, geometry.output_pixels(), filters, 1);
    let [mut inputs, mut products] = [Scratch::new(), Scratch::new()];
    for tiles in Tiles::blocks(input.batch(), geometry, channels + filters) {
        let mut inputs = tiles.elements(channels, &mut inputs);
        tiles.transform::<Input, INPUT_TILE>(input, geometry.padding, inputs.view_mut());
        let mut products = tiles.elements(filters, &mut products);
        products
            .outer_iter_mut()
            .into_par_iter()
            .enumerate()
            .zip(inputs.outer_iter())
            .for_each(|((element, products), inputs)| {
                multiply(products, kernels.matrix(element), inputs);
            });
        planes
            .par_iter_mut()
            .zip(products.axis_iter(Axis(1)))
            .enumerate()
            .for_each(|(filter, (planes, products))| {
                let bias = bias.map_or(0.0, |bias| bias[filter]);
                tiles.write_output(products, bias, geometry.output, planes);
            });
    }
}

/// Writes the gradient of the weight, `[filters, channels, 3, 3]`, given that of the output.
pub fn weight_gradient(
    input: Nchw,
    output_gradient: Nchw,
    geometry: &Geometry,
    weight_gradient: &mut [MaybeUninit<f32>],
) {
    let (channels, filters) = (input.channels(), output_gradient.channels());
    let [mut inputs, mut gradients] = [Scratch::new(), Scratch::new()];
    let mut sums = Scratch::new();
    let mut sums = sums.array([ELEMENTS, filters, channels]);
    sums.fill(0.0);
    for tiles in Tiles::blocks(input.batch(), geometry, channels + filters) {
        let mut inputs = tiles.elements(channels, &mut inputs);
        tiles.transform::<Input, INPUT_TILE>(input, geometry.padding, inputs.view_mut());
        let mut gradients = tiles.elements(filters, &mut gradients);
        tiles.transform::<OutputGradient, TILE>(output_gradient, [0, 0], gradients.view_mut());
        sums.outer_iter_mut()
            .into_par_iter()
            .zip(gradients.outer_iter())
            .zip(inputs.outer_iter())
            .for_each(|((sums, gradients), inputs)| {
                multiply_add(sums, gradients, inputs.reversed_axes());
            });
    }
    weight_gradient
        .par_chunks_exact_mut(9 * channels)
        .zip(sums.axis_iter(Axis(1)))
        .for_each(|(gradient, sums)| {
            write_kernel_gradients(sums, gradient);
        });
}

/// A block of tiles: whole rows of them.
struct Tiles {
    /// Each row, as the index of its image and its index in the image.
    rows: Vec<(usize, usize)>,
    /// The number of tiles in a row.
    across: usize,
}

impl Tiles {
    /// All tiles of a batch, in blocks. `channels` counts those of input and output together.
    fn blocks(batch: usize, geometry: &Geometry, channels: usize) -> Vec<Self> {
        let [down, across] = geometry.output.map(|side| side.div_ceil(TILE));
        let rows = BLOCK / (ELEMENTS * channels * across).max(1);
        let block = |part: Vec<RowRange>| Self {
            rows: part
                .into_iter()
                .flat_map(|RowRange { image, rows }| rows.map(move |row| (image, row)))
                .collect(),
            across,
        };
        partition(batch, down, rows)
            .into_iter()
            .map(block)
            .collect()
    }

    /// The number of tiles, rounded up to fill all lanes.
    fn padded_count(&self) -> usize {
        (self.rows.len() * self.across).next_multiple_of(LANES)
    }

    /// Memory for transformed tiles, `[elements, channels, tiles]`, of unspecified contents.
    fn elements<'a>(&self, channels: usize, scratch: &'a mut Scratch) -> ArrayViewMut3<'a, f32> {
        scratch.array([ELEMENTS, channels, self.padded_count()])
    }

    /// Writes the transform `T` of the `SIDE × SIDE` pixels that start at each tile's corner
    /// minus `padding` to `elements`, and 0 beyond the last tile.
    fn transform<T: Transform<SIDE, INPUT_TILE>, const SIDE: usize>(
        &self,
        images: Nchw,
        padding: [usize; 2],
        mut elements: ArrayViewMut3<f32>,
    ) {
        let width = self.across * TILE + SIDE - TILE;
        let offsets = self.offsets(SIDE * width, TILE);
        elements
            .axis_iter_mut(Axis(1))
            .into_par_iter()
            .enumerate()
            .for_each_init(Scratch::new, |pixels, (channel, mut elements)| {
                let pixels = self.padded_rows(images, channel, padding, [SIDE, width], pixels);
                let mut elements = rows_mut(&mut elements);
                let mut values = [[0.0; LANES]; ELEMENTS];
                let mut transformed = [[0.0; LANES]; ELEMENTS];
                for (block, offsets) in offsets.chunks_exact(LANES).enumerate() {
                    for (lane, offset) in offsets.iter().enumerate() {
                        let pixels = &pixels[*offset..][..(SIDE - 1) * width + SIDE];
                        for y in 0..SIDE {
                            let pixels = &pixels[y * width..][..SIDE];
                            for (values, pixel) in values[y * SIDE..].iter_mut().zip(pixels) {
                                values[lane] = *pixel;
                            }
                        }
                    }
                    transform_2d::<T, SIDE, INPUT_TILE>(&values, &mut transformed);
                    for (values, elements) in transformed.iter().zip(&mut elements) {
                        elements[block * LANES..][..LANES].copy_from_slice(values);
                    }
                }
            });
    }

    /// The offset of each tile in [`padded_rows`](Self::padded_rows), given the size of a row
    /// of tiles and of a tile. Tiles that only fill lanes start at the final row of zeros.
    fn offsets(&self, row: usize, tile: usize) -> Vec<usize> {
        let tiles = self.rows.len() * self.across;
        let offset = |index| match index < tiles {
            true => index / self.across * row + index % self.across * tile,
            false => self.rows.len() * row,
        };
        (0..self.padded_count()).map(offset).collect()
    }

    /// The pixels of a channel for each row of tiles, `[rows, height, width]`, zero-padded
    /// around the images, and a row of zeros at the end.
    fn padded_rows<'a>(
        &self,
        images: Nchw,
        channel: usize,
        padding: [usize; 2],
        [height, width]: [usize; 2],
        scratch: &'a mut Scratch,
    ) -> &'a [f32] {
        let size = images.size();
        let all = scratch.slice((self.rows.len() + 1) * height * width);
        all.fill(0.0);
        let columns = size[1].min(width - padding[1]);
        for ((image, row), pixels) in self.rows.iter().zip(all.chunks_exact_mut(height * width)) {
            let plane = images.plane(*image, channel);
            for (y, pixels) in pixels.chunks_exact_mut(width).enumerate() {
                let Some(y) = (row * TILE + y).checked_sub(padding[0]) else {
                    continue;
                };
                if y < size[0] {
                    pixels[padding[1]..padding[1] + columns]
                        .copy_from_slice(&plane[y * size[1]..][..columns]);
                }
            }
        }
        all
    }

    /// Transforms the products of one filter, `[elements, tiles]`, and writes the output
    /// tiles, plus `bias`, to the filter's plane of each image.
    fn write_output(
        &self,
        mut products: ArrayView2<f32>,
        bias: f32,
        [height, width]: [usize; 2],
        planes: &mut [&mut [MaybeUninit<f32>]],
    ) {
        debug_assert!(planes.iter().all(|plane| plane.len() == height * width));
        let products = rows(&mut products);
        let tiles = self.rows.len() * self.across;
        let mut values = [[0.0; LANES]; ELEMENTS];
        let mut pixels = [[0.0; LANES]; TILE * TILE];
        for start in (0..tiles).step_by(LANES) {
            for (values, products) in values.iter_mut().zip(&products) {
                values.copy_from_slice(&products[start..start + LANES]);
            }
            transform_2d::<Output, INPUT_TILE, TILE>(&values, &mut pixels);
            for (lane, tile) in (start..tiles.min(start + LANES)).enumerate() {
                let (image, row) = self.rows[tile / self.across];
                let (top, left) = (row * TILE, tile % self.across * TILE);
                let plane = &mut planes[image][top * width..];
                let count = TILE.min(width - left);
                for (line, pixels) in plane.chunks_mut(width).zip(pixels.chunks_exact(TILE)) {
                    for (pixel, values) in line[left..left + count].iter_mut().zip(pixels) {
                        pixel.write(values[lane] + bias);
                    }
                }
            }
        }
    }
}

/// The transformed kernels of a weight.
pub struct Kernels {
    /// `[elements, filters, channels]` of the weight.
    values: Scratch,
    filters: usize,
    channels: usize,
    reversed: bool,
}

impl Kernels {
    /// The kernels of a weight, `[filters, channels, 3, 3]`.
    pub fn new(weight: &[f32], filters: usize) -> Self {
        Self::transformed(weight, filters, false)
    }

    /// The kernels of the convolution that maps the output gradient to the input gradient:
    /// filters and channels are swapped, and each kernel is flipped.
    pub fn reversed(weight: &[f32], filters: usize) -> Self {
        Self::transformed(weight, filters, true)
    }

    fn transformed(weight: &[f32], filters: usize, reversed: bool) -> Self {
        let channels = weight.len() / (9 * filters);
        let mut scratch = Scratch::new();
        scratch
            .array([ELEMENTS, filters, channels])
            .axis_iter_mut(Axis(1))
            .into_par_iter()
            .zip(weight.par_chunks_exact(9 * channels))
            .for_each(|(mut kernels, weight)| {
                let mut kernels = rows_mut(&mut kernels);
                let mut values = [[0.0; LANES]; 9];
                let mut transformed = [[0.0; LANES]; ELEMENTS];
                for (block, weight) in weight.chunks(9 * LANES).enumerate() {
                    for (lane, kernel) in weight.chunks_exact(9).enumerate() {
                        for (tap, weight) in kernel.iter().enumerate() {
                            values[if reversed { 8 - tap } else { tap }][lane] = *weight;
                        }
                    }
                    transform_2d::<Kernel, 3, INPUT_TILE>(&values, &mut transformed);
                    let count = weight.len() / 9;
                    for (values, kernels) in transformed.iter().zip(&mut kernels) {
                        kernels[block * LANES..][..count].copy_from_slice(&values[..count]);
                    }
                }
            });
        Self {
            values: scratch,
            filters,
            channels,
            reversed,
        }
    }

    /// One element of all kernels, `[filters, channels]` of the convolution.
    fn matrix(&self, element: usize) -> ArrayView2<'_, f32> {
        let start = element * self.filters * self.channels;
        let matrix = matrix(&self.values[start..], self.filters, self.channels);
        match self.reversed {
            true => matrix.reversed_axes(),
            false => matrix,
        }
    }
}

/// Writes the gradients of the kernels of one filter, `[channels, 3, 3]`, given the sums of
/// its products, `[elements, channels]`.
fn write_kernel_gradients(mut sums: ArrayView2<f32>, gradient: &mut [MaybeUninit<f32>]) {
    let sums = rows(&mut sums);
    let mut values = [[0.0; LANES]; ELEMENTS];
    let mut transformed = [[0.0; LANES]; 9];
    for (block, gradient) in gradient.chunks_mut(9 * LANES).enumerate() {
        let count = gradient.len() / 9;
        for (values, sums) in values.iter_mut().zip(&sums) {
            values[..count].copy_from_slice(&sums[block * LANES..][..count]);
        }
        transform_2d::<KernelGradient, INPUT_TILE, 3>(&values, &mut transformed);
        for (lane, kernel) in gradient.chunks_exact_mut(9).enumerate() {
            for (gradient, values) in kernel.iter_mut().zip(&transformed) {
                gradient.write(values[lane]);
            }
        }
    }
}

/// The rows of a matrix, each of which is contiguous.
fn rows<'a>(matrix: &'a mut ArrayView2<'_, f32>) -> Vec<&'a [f32]> {
    let rows = matrix.rows().into_iter();
    rows.map(|row| row.to_slice().unwrap_or_default()).collect()
}

/// The mutable rows of a matrix, each of which is contiguous.
fn rows_mut<'a>(matrix: &'a mut ArrayViewMut2<'_, f32>) -> Vec<&'a mut [f32]> {
    matrix
        .rows_mut()
        .into_iter()
        .map(|row| row.into_slice().unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of `winograd_matches_burn` in `tests/convolution.rs`.
    #[test]
    fn convolutions_with_enough_tiles_are_suitable_in_both_directions() {
        for (batch, channels, size, filters, padding) in [
            (3, 16, [16, 16], 16, 1),
            (3, 20, [15, 18], 17, 1),
            (4, 16, [14, 13], 33, 0),
            (3, 16, [13, 14], 18, 2),
            (1, 160, [61, 63], 96, 1),
        ] {
            let geometry = Geometry::new(size, [3; 2], [1; 2], [padding; 2], [1; 2]);
            let transposed = geometry.and_then(|geometry| geometry.transposed());
            assert!(geometry.is_some_and(|g| is_suitable(&g, batch, channels, filters)));
            assert!(transposed.is_some_and(|g| is_suitable(&g, batch, filters, channels)));
        }
    }

    #[test]
    fn convolutions_with_few_tiles_are_not_suitable() {
        let small = Geometry::new([10, 10], [3; 2], [1; 2], [1; 2], [1; 2]);
        assert!(small.is_some_and(|g| !is_suitable(&g, 2, 512, 512)));
    }
}
