//! 3×3 convolutions of stride 1 by Winograd's minimal filtering F(4×4, 3×3) (Lavin & Gray,
//! 2016): 36 products of matrices instead of 144 for 4×4 pixels of the output.
//!
//! With U = G g Gᵀ of a kernel g and V = Bᵀ d B of a patch d, 6×6 pixels of the input, a
//! tile of 4×4 pixels of the output is Aᵀ (U ⊙ V) A, U ⊙ V summed over the channels. The
//! gradient of the kernel is Gᵀ (M ⊙ V) G with M = A y Aᵀ of the gradient y of the output,
//! M ⊙ V summed over all tiles.
//!
//! The polynomials behind A, B and G are interpolated at 0, ±1/√2, ±√2 and ∞: their products
//! round less than those of 0, ±1, ±2 and ∞, which are the usual choice.

use std::{
    f32::consts::{FRAC_1_SQRT_2, SQRT_2},
    mem::MaybeUninit,
};

use ndarray::{ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis};
use pulp::Simd;
use rayon::prelude::*;

use crate::{
    buffer::Buffer,
    geometry::{Geometry, Segment, parts},
    images::{Images, matrix},
    lanes::{LANES, Transform, Vector, sandwich},
    planes,
    product::{multiply, multiply_add},
};

/// Pixels of a tile of the output, along one axis.
const TILE: usize = 4;

/// Pixels of the input that a tile depends on, along one axis.
const PATCH: usize = 6;

/// The points of the interpolation next to 0, on both sides of it.
const NEAR: f32 = FRAC_1_SQRT_2;

/// The points after these.
const FAR: f32 = SQRT_2;

/// Products for a tile and a channel.
const PRODUCTS: usize = PATCH * PATCH;

/// Values of a block of tiles over all products and channels: so few that they stay in
/// cache.
const BLOCK: usize = 4 << 20;

/// Tiles of a batch from which on transforming the kernels pays, which grow to four times
/// their size. Measured with 64 to 512 channels, the limit is at 30 to 50 with AVX-512 and at
/// 20 to 32 with AVX2.
const MIN_TILES: usize = 36;

/// Whether this computes a convolution well: 3×3 of stride 1, over so many pixels and
/// channels that transforming them pays.
pub fn suits(geometry: &Geometry, batch: usize, channels: usize, filters: usize) -> bool {
    let [height, width] = geometry.output;
    let tiles = height.div_ceil(TILE) * width.div_ceil(TILE);
    geometry.kernel == [3, 3]
        && geometry.stride == [1, 1]
        && geometry.dilation == [1, 1]
        && geometry.padding.iter().all(|padding| *padding < PATCH)
        && channels.min(filters) >= 16
        && batch * tiles >= MIN_TILES
        && 9 * height * width >= 2 * PRODUCTS * tiles
}

/// Writes the convolution of `input` with `kernels`, plus `bias`, to all of `output`.
pub fn forward(
    input: Images,
    kernels: &Kernels,
    bias: Option<&[f32]>,
    geometry: &Geometry,
    output: &mut [MaybeUninit<f32>],
) {
    let channels = input.channels();
    let filters = kernels.product(0).nrows();
    let mut planes = planes::channel_blocks(output, geometry.output_pixels(), filters, 1);
    let [mut patches, mut products] = [Buffer::new(), Buffer::new()];
    for tiles in Tiles::blocks(input.batch(), geometry, channels + filters) {
        let mut patches = tiles.products(channels, &mut patches);
        tiles.transform::<Patch, PATCH>(input, geometry.padding, patches.view_mut());
        let mut products = tiles.products(filters, &mut products);
        products
            .outer_iter_mut()
            .into_par_iter()
            .enumerate()
            .zip(patches.outer_iter())
            .for_each(|((index, products), patches)| {
                multiply(products, kernels.product(index), patches);
            });
        planes
            .par_iter_mut()
            .zip(products.axis_iter(Axis(1)))
            .enumerate()
            .for_each(|(filter, (planes, products))| {
                let bias = bias.map_or(0.0, |bias| bias[filter]);
                tiles.write(products, bias, geometry.output, planes);
            });
    }
}

/// Writes the gradient of a weight, `[filters, channels, 3, 3]`, from that of the output.
pub fn weight_gradient(
    input: Images,
    output_gradient: Images,
    geometry: &Geometry,
    weight_gradient: &mut [MaybeUninit<f32>],
) {
    let (channels, filters) = (input.channels(), output_gradient.channels());
    let [mut patches, mut gradients] = [Buffer::new(), Buffer::new()];
    let mut sums = Buffer::new();
    let mut sums = tensor_mut(&mut sums, [PRODUCTS, filters, channels]);
    sums.fill(0.0);
    for tiles in Tiles::blocks(input.batch(), geometry, channels + filters) {
        let mut patches = tiles.products(channels, &mut patches);
        tiles.transform::<Patch, PATCH>(input, geometry.padding, patches.view_mut());
        let mut gradients = tiles.products(filters, &mut gradients);
        tiles.transform::<TileGradient, TILE>(output_gradient, [0, 0], gradients.view_mut());
        sums.outer_iter_mut()
            .into_par_iter()
            .zip(gradients.outer_iter())
            .zip(patches.outer_iter())
            .for_each(|((sums, gradients), patches)| {
                multiply_add(sums, gradients, patches.reversed_axes());
            });
    }
    weight_gradient
        .par_chunks_exact_mut(9 * channels)
        .zip(sums.axis_iter(Axis(1)))
        .for_each(|(gradient, sums)| {
            write_kernels(sums, gradient);
        });
}

/// Some tiles, whole rows of them.
struct Tiles {
    /// Their rows, of tiles, image by image.
    rows: Vec<(usize, usize)>,
    /// Tiles of a row.
    across: usize,
}

impl Tiles {
    /// All tiles of a batch, in blocks for as many channels of input and output together.
    fn blocks(batch: usize, geometry: &Geometry, channels: usize) -> Vec<Self> {
        let [down, across] = geometry.output.map(|side| side.div_ceil(TILE));
        let rows = BLOCK / (PRODUCTS * channels * across).max(1);
        let of_rows = |segments: Vec<Segment>| Self {
            rows: segments
                .into_iter()
                .flat_map(|Segment { image, rows }| rows.map(move |row| (image, row)))
                .collect(),
            across,
        };
        parts(batch, down, rows).into_iter().map(of_rows).collect()
    }

    /// Their number, and some to fill all lanes.
    fn padded(&self) -> usize {
        (self.rows.len() * self.across).next_multiple_of(LANES)
    }

    /// `[products, channels, tiles]` of any content.
    fn products<'a>(&self, channels: usize, buffer: &'a mut Buffer) -> ArrayViewMut3<'a, f32> {
        tensor_mut(buffer, [PRODUCTS, channels, self.padded()])
    }

    /// Writes to `products` what `T` makes of the `SIDE` × `SIDE` pixels that begin at each
    /// tile less `padding`; 0 beyond the last tile.
    fn transform<T: Transform<SIDE, PATCH>, const SIDE: usize>(
        &self,
        images: Images,
        padding: [usize; 2],
        mut products: ArrayViewMut3<f32>,
    ) {
        let width = self.across * TILE + SIDE - TILE;
        let places = self.places(SIDE * width, TILE);
        products
            .axis_iter_mut(Axis(1))
            .into_par_iter()
            .enumerate()
            .for_each_init(Buffer::new, |pixels, (channel, mut products)| {
                let pixels = self.collect(images, channel, padding, [SIDE, width], pixels);
                let mut products = rows(&mut products);
                let mut values = [[0.0; LANES]; PRODUCTS];
                let mut transformed = [[0.0; LANES]; PRODUCTS];
                for (block, places) in places.chunks_exact(LANES).enumerate() {
                    for (lane, place) in places.iter().enumerate() {
                        let pixels = &pixels[*place..][..(SIDE - 1) * width + SIDE];
                        for y in 0..SIDE {
                            let pixels = &pixels[y * width..][..SIDE];
                            for (values, pixel) in values[y * SIDE..].iter_mut().zip(pixels) {
                                values[lane] = *pixel;
                            }
                        }
                    }
                    sandwich::<T, SIDE, PATCH>(&values, &mut transformed);
                    for (values, products) in transformed.iter().zip(&mut products) {
                        products[block * LANES..][..LANES].copy_from_slice(values);
                    }
                }
            });
    }

    /// Where each tile begins in what [`collect`](Self::collect) collects, by the size of a
    /// row of tiles and of a tile; those that fill up begin at its end.
    fn places(&self, row: usize, tile: usize) -> Vec<usize> {
        let tiles = self.rows.len() * self.across;
        let place = |index| match index < tiles {
            true => index / self.across * row + index % self.across * tile,
            false => self.rows.len() * row,
        };
        (0..self.padded()).map(place).collect()
    }

    /// The pixels of a channel that each row of tiles needs, `[rows, height, width]` with 0
    /// around the images, and 0 for one more.
    fn collect<'a>(
        &self,
        images: Images,
        channel: usize,
        padding: [usize; 2],
        [height, width]: [usize; 2],
        buffer: &'a mut Buffer,
    ) -> &'a [f32] {
        let size = images.size();
        let all = buffer.of_length((self.rows.len() + 1) * height * width);
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

    /// Writes the tiles of one filter, given its products, to its planes of each image.
    fn write(
        &self,
        mut products: ArrayView2<f32>,
        bias: f32,
        [height, width]: [usize; 2],
        planes: &mut [&mut [MaybeUninit<f32>]],
    ) {
        debug_assert!(planes.iter().all(|plane| plane.len() == height * width));
        let products = rows_of(&mut products);
        let tiles = self.rows.len() * self.across;
        let mut values = [[0.0; LANES]; PRODUCTS];
        let mut pixels = [[0.0; LANES]; TILE * TILE];
        for start in (0..tiles).step_by(LANES) {
            for (values, products) in values.iter_mut().zip(&products) {
                values.copy_from_slice(&products[start..start + LANES]);
            }
            sandwich::<Tile, PATCH, TILE>(&values, &mut pixels);
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

/// U of every kernel of a weight.
pub struct Kernels {
    /// `[products, filters, channels]` of the weight.
    values: Buffer,
    filters: usize,
    channels: usize,
    reversed: bool,
}

impl Kernels {
    /// Those of `weight`, `[filters, channels, 3, 3]`.
    pub fn new(weight: &[f32], filters: usize) -> Self {
        Self::with_taps(weight, filters, false)
    }

    /// Those of the convolution that takes gradients of the output to gradients of the
    /// input: with filters for channels, and each kernel read backwards.
    pub fn reversed(weight: &[f32], filters: usize) -> Self {
        Self::with_taps(weight, filters, true)
    }

    fn with_taps(weight: &[f32], filters: usize, reversed: bool) -> Self {
        let channels = weight.len() / (9 * filters);
        let mut buffer = Buffer::new();
        tensor_mut(&mut buffer, [PRODUCTS, filters, channels])
            .axis_iter_mut(Axis(1))
            .into_par_iter()
            .zip(weight.par_chunks_exact(9 * channels))
            .for_each(|(mut kernels, weight)| {
                let mut kernels = rows(&mut kernels);
                let mut values = [[0.0; LANES]; 9];
                let mut transformed = [[0.0; LANES]; PRODUCTS];
                for (block, weight) in weight.chunks(9 * LANES).enumerate() {
                    for (lane, kernel) in weight.chunks_exact(9).enumerate() {
                        for (tap, weight) in kernel.iter().enumerate() {
                            values[if reversed { 8 - tap } else { tap }][lane] = *weight;
                        }
                    }
                    sandwich::<Kernel, 3, PATCH>(&values, &mut transformed);
                    let count = weight.len() / 9;
                    for (values, kernels) in transformed.iter().zip(&mut kernels) {
                        kernels[block * LANES..][..count].copy_from_slice(&values[..count]);
                    }
                }
            });
        Self {
            values: buffer,
            filters,
            channels,
            reversed,
        }
    }

    /// The factors of one product, `[filters, channels]` of the convolution.
    fn product(&self, index: usize) -> ArrayView2<'_, f32> {
        let length = self.filters * self.channels;
        let factors = matrix(&self.values[index * length..], self.filters, self.channels);
        match self.reversed {
            true => factors.reversed_axes(),
            false => factors,
        }
    }
}

/// A tensor of any content.
#[allow(clippy::expect_used, reason = "the buffer has the length of the shape")]
fn tensor_mut(buffer: &mut Buffer, shape: [usize; 3]) -> ArrayViewMut3<'_, f32> {
    let values = buffer.of_length(shape.iter().product());
    ArrayViewMut3::from_shape(shape, values).expect("of the shape's length")
}

/// Writes the gradients of the kernels of one filter, `[channels, 3, 3]`, given the sums of
/// its products, `[products, channels]`.
fn write_kernels(mut sums: ArrayView2<f32>, gradient: &mut [MaybeUninit<f32>]) {
    let sums = rows_of(&mut sums);
    let mut values = [[0.0; LANES]; PRODUCTS];
    let mut transformed = [[0.0; LANES]; 9];
    for (block, gradient) in gradient.chunks_mut(9 * LANES).enumerate() {
        let count = gradient.len() / 9;
        for (values, sums) in values.iter_mut().zip(&sums) {
            values[..count].copy_from_slice(&sums[block * LANES..][..count]);
        }
        sandwich::<KernelGradient, PATCH, 3>(&values, &mut transformed);
        for (lane, kernel) in gradient.chunks_exact_mut(9).enumerate() {
            for (gradient, values) in kernel.iter_mut().zip(&transformed) {
                gradient.write(values[lane]);
            }
        }
    }
}

/// The rows of a matrix whose columns are contiguous.
fn rows_of<'a>(matrix: &'a mut ArrayView2<'_, f32>) -> Vec<&'a [f32]> {
    let rows = matrix.rows().into_iter();
    rows.map(|row| row.to_slice().unwrap_or_default()).collect()
}

/// As [`rows_of`], to write to.
fn rows<'a>(matrix: &'a mut ArrayViewMut2<'_, f32>) -> Vec<&'a mut [f32]> {
    matrix
        .rows_mut()
        .into_iter()
        .map(|row| row.into_slice().unwrap_or_default())
        .collect()
}

/// Bᵀ.
struct Patch;

impl Transform<PATCH, PATCH> for Patch {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d, e, f]: [Vector<S>; PATCH]) -> [Vector<S>; PATCH] {
        let (near, near_odd) = (e - 2.0 * c, NEAR * (d - 2.0 * b));
        let (far, far_odd) = (e - 0.5 * c, FAR * (d - 0.5 * b));
        [
            a - 2.5 * c + e,
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            b - 2.5 * d + f,
        ]
    }
}

/// Aᵀ.
struct Tile;

impl Transform<PATCH, TILE> for Tile {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d, e, f]: [Vector<S>; PATCH]) -> [Vector<S>; TILE] {
        let (near, near_odd) = (b + c, NEAR * (b - c));
        let (far, far_odd) = (d + e, FAR * (d - e));
        [
            a + near + far,
            near_odd + far_odd,
            0.5 * near + 2.0 * far,
            0.5 * near_odd + 2.0 * far_odd + f,
        ]
    }
}

/// A.
struct TileGradient;

impl Transform<TILE, PATCH> for TileGradient {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d]: [Vector<S>; TILE]) -> [Vector<S>; PATCH] {
        let (near, near_odd) = (a + 0.5 * c, NEAR * (b + 0.5 * d));
        let (far, far_odd) = (a + 2.0 * c, FAR * (b + 2.0 * d));
        [
            a,
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            d,
        ]
    }
}

/// G.
struct Kernel;

impl Transform<3, PATCH> for Kernel {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c]: [Vector<S>; 3]) -> [Vector<S>; PATCH] {
        let (near, near_odd) = ((-2.0 / 3.0) * (a + 0.5 * c), (-2.0 / 3.0 * NEAR) * b);
        let (far, far_odd) = ((1.0 / 6.0) * (a + 2.0 * c), (1.0 / 6.0 * FAR) * b);
        [
            a,
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            c,
        ]
    }
}

/// Gᵀ.
struct KernelGradient;

impl Transform<PATCH, 3> for KernelGradient {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d, e, f]: [Vector<S>; PATCH]) -> [Vector<S>; 3] {
        let (near, far) = (b + c, d + e);
        [
            a - (2.0 / 3.0) * near + (1.0 / 6.0) * far,
            (-2.0 / 3.0 * NEAR) * (b - c) + (1.0 / 6.0 * FAR) * (d - e),
            (1.0 / 3.0) * (far - near) + f,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that are compared with Burn's convolution, both ways.
    #[test]
    fn enough_tiles_suit() {
        for (batch, channels, side, filters, padding) in [
            (3, 16, [16, 16], 16, 1),
            (3, 20, [15, 18], 17, 1),
            (4, 16, [14, 13], 33, 0),
            (3, 16, [13, 14], 18, 2),
            (1, 160, [61, 63], 96, 1),
        ] {
            let geometry = Geometry::new(side, [3; 2], [1; 2], [padding; 2], [1; 2]);
            let back = geometry.and_then(|geometry| geometry.transposed());
            assert!(geometry.is_some_and(|g| suits(&g, batch, channels, filters)));
            assert!(back.is_some_and(|g| suits(&g, batch, filters, channels)));
        }
        let small = Geometry::new([10, 10], [3; 2], [1; 2], [1; 2], [1; 2]);
        assert!(small.is_some_and(|g| !suits(&g, 2, 512, 512)));
    }
}
