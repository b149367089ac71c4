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
    array::from_fn,
    f32::consts::{FRAC_1_SQRT_2, SQRT_2},
};

use ndarray::{Array3, ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis};
use pulp::Arch;
use rayon::prelude::*;

use crate::{
    buffer::Buffer,
    geometry::{Geometry, Segment, parts},
    images::Images,
    lanes::{LANES, Lanes},
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
        && batch * height * width >= 128
        && 9 * height * width >= 2 * PRODUCTS * tiles
}

/// The convolution of `input` with `weight`, `[filters, channels, 3, 3]`, plus `bias`.
pub fn forward(
    input: Images,
    weight: &[f32],
    bias: Option<&[f32]>,
    geometry: &Geometry,
    output: &mut [f32],
) {
    let channels = input.channels();
    let filters = weight.len() / (9 * channels);
    let kernels = transformed_kernels(weight, filters, channels);
    let mut planes: Vec<Vec<&mut [f32]>> = Vec::new();
    planes.resize_with(filters, Vec::new);
    let pixels = geometry.output[0] * geometry.output[1];
    for (index, plane) in output.chunks_exact_mut(pixels).enumerate() {
        planes[index % filters].push(plane);
    }
    let [mut patches, mut products] = [Buffer::new(), Buffer::new()];
    for tiles in Tiles::blocks(input.batch(), geometry, channels + filters) {
        let mut patches = tiles.products(channels, &mut patches);
        tiles.transform(input, geometry.padding, patch_transform, patches.view_mut());
        let mut products = tiles.products(filters, &mut products);
        products
            .outer_iter_mut()
            .into_par_iter()
            .zip(kernels.outer_iter())
            .zip(patches.outer_iter())
            .for_each(|((products, kernels), patches)| multiply(products, kernels, patches));
        planes
            .par_iter_mut()
            .zip(products.axis_iter(Axis(1)))
            .enumerate()
            .for_each(|(filter, (planes, products))| {
                let bias = bias.map_or(0.0, |bias| bias[filter]);
                Arch::new().dispatch(|| tiles.write(products, bias, geometry.output, planes));
            });
    }
}

/// The gradient of a weight, `[filters, channels, 3, 3]`, from that of the output.
pub fn weight_gradient(
    input: Images,
    output_gradient: Images,
    geometry: &Geometry,
    weight_gradient: &mut [f32],
) {
    let (channels, filters) = (input.channels(), output_gradient.channels());
    let [mut patches, mut gradients] = [Buffer::new(), Buffer::new()];
    let mut sums = Array3::zeros((PRODUCTS, filters, channels));
    for tiles in Tiles::blocks(input.batch(), geometry, channels + filters) {
        let mut patches = tiles.products(channels, &mut patches);
        tiles.transform(input, geometry.padding, patch_transform, patches.view_mut());
        let mut gradients = tiles.products(filters, &mut gradients);
        tiles.transform(
            output_gradient,
            [0, 0],
            tile_gradient_transform,
            gradients.view_mut(),
        );
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
            Arch::new().dispatch(|| write_kernels(sums, gradient));
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

    /// Their number, and some to fill the last [`Lanes`].
    fn padded(&self) -> usize {
        (self.rows.len() * self.across).next_multiple_of(LANES)
    }

    /// `[products, channels, tiles]` of any content.
    #[allow(clippy::expect_used, reason = "the buffer has the length of the shape")]
    fn products<'a>(&self, channels: usize, buffer: &'a mut Buffer) -> ArrayViewMut3<'a, f32> {
        let shape = (PRODUCTS, channels, self.padded());
        let values = buffer.of_length(shape.0 * shape.1 * shape.2);
        ArrayViewMut3::from_shape(shape, values).expect("of the shape's length")
    }

    /// Writes to `products` what `transform` makes of the `SIDE` × `SIDE` pixels that begin
    /// at each tile less `padding`; 0 beyond the last tile.
    fn transform<const SIDE: usize>(
        &self,
        images: Images,
        padding: [usize; 2],
        transform: impl Fn([Lanes; SIDE]) -> [Lanes; PATCH] + Sync,
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
                Arch::new().dispatch(|| {
                    for (block, places) in places.chunks_exact(LANES).enumerate() {
                        let mut values = [[Lanes::splat(0.0); SIDE]; SIDE];
                        for (lane, place) in places.iter().enumerate() {
                            let pixels = &pixels[*place..][..(SIDE - 1) * width + SIDE];
                            for (y, values) in values.iter_mut().enumerate() {
                                for (x, values) in values.iter_mut().enumerate() {
                                    values.0[lane] = pixels[y * width + x];
                                }
                            }
                        }
                        let values = sandwich(values, &transform);
                        for (values, products) in values.as_flattened().iter().zip(&mut products) {
                            products[block * LANES..][..LANES].copy_from_slice(&values.0);
                        }
                    }
                });
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
    #[inline(always)]
    fn write(
        &self,
        products: ArrayView2<f32>,
        bias: f32,
        [height, width]: [usize; 2],
        planes: &mut [&mut [f32]],
    ) {
        let bias = Lanes::splat(bias);
        let tiles = self.rows.len() * self.across;
        for start in (0..tiles).step_by(LANES) {
            let products = from_fn(|y| from_fn(|x| lanes_at(products, y * PATCH + x, start)));
            let values = sandwich::<PATCH, TILE>(products, tile_transform)
                .map(|row| row.map(|values| values + bias));
            for (lane, tile) in (start..tiles.min(start + LANES)).enumerate() {
                let (image, row) = self.rows[tile / self.across];
                let (top, left) = (row * TILE, tile % self.across * TILE);
                let plane = &mut planes[image][top * width..];
                let count = TILE.min(width - left);
                for (line, values) in plane.chunks_mut(width).zip(&values) {
                    for (pixel, values) in line[left..left + count].iter_mut().zip(values) {
                        *pixel = values.0[lane];
                    }
                }
            }
        }
        debug_assert!(planes.iter().all(|plane| plane.len() == height * width));
    }
}

/// U of every kernel, `[products, filters, channels]`.
fn transformed_kernels(weight: &[f32], filters: usize, channels: usize) -> Array3<f32> {
    let mut kernels = Array3::zeros((PRODUCTS, filters, channels));
    kernels
        .axis_iter_mut(Axis(1))
        .into_par_iter()
        .zip(weight.par_chunks_exact(9 * channels))
        .for_each(|(mut kernels, weight)| {
            let mut kernels = rows(&mut kernels);
            Arch::new().dispatch(|| {
                for (block, weight) in weight.chunks(9 * LANES).enumerate() {
                    let mut values = [[Lanes::splat(0.0); 3]; 3];
                    for (lane, kernel) in weight.chunks_exact(9).enumerate() {
                        for (values, weight) in values.as_flattened_mut().iter_mut().zip(kernel) {
                            values.0[lane] = *weight;
                        }
                    }
                    let values = sandwich(values, kernel_transform);
                    let count = weight.len() / 9;
                    for (values, kernels) in values.as_flattened().iter().zip(&mut kernels) {
                        kernels[block * LANES..][..count].copy_from_slice(&values.0[..count]);
                    }
                }
            });
        });
    kernels
}

/// Writes the gradients of the kernels of one filter, `[channels, 3, 3]`, given the sums of
/// its products, `[products, channels]`.
#[inline(always)]
fn write_kernels(sums: ArrayView2<f32>, gradient: &mut [f32]) {
    for (block, gradient) in gradient.chunks_mut(9 * LANES).enumerate() {
        let sums = from_fn(|y| from_fn(|x| lanes_at(sums, y * PATCH + x, block * LANES)));
        let values = sandwich::<PATCH, 3>(sums, kernel_gradient_transform);
        for (lane, kernel) in gradient.chunks_exact_mut(9).enumerate() {
            for (gradient, values) in kernel.iter_mut().zip(values.as_flattened()) {
                *gradient = values.0[lane];
            }
        }
    }
}

/// The rows of a matrix whose columns are contiguous.
fn rows<'a>(matrix: &'a mut ArrayViewMut2<'_, f32>) -> Vec<&'a mut [f32]> {
    matrix
        .rows_mut()
        .into_iter()
        .map(|row| row.into_slice().unwrap_or_default())
        .collect()
}

/// The values of a row from `start` on, 0 where it ends.
#[inline(always)]
fn lanes_at(matrix: ArrayView2<f32>, row: usize, start: usize) -> Lanes {
    let row = matrix
        .index_axis_move(Axis(0), row)
        .to_slice()
        .unwrap_or_default();
    let mut lanes = Lanes::splat(0.0);
    for (lane, value) in lanes.0.iter_mut().zip(&row[start..]) {
        *lane = *value;
    }
    lanes
}

/// T x Tᵀ, where `transform` is T of a column.
#[inline(always)]
fn sandwich<const N: usize, const M: usize>(
    x: [[Lanes; N]; N],
    transform: impl Fn([Lanes; N]) -> [Lanes; M],
) -> [[Lanes; M]; M] {
    let zero = Lanes::splat(0.0);
    let mut half = [[zero; N]; M];
    for j in 0..N {
        let column = transform(from_fn(|i| x[i][j]));
        for i in 0..M {
            half[i][j] = column[i];
        }
    }
    half.map(transform)
}

/// Bᵀ.
#[inline(always)]
fn patch_transform([a, b, c, d, e, f]: [Lanes; PATCH]) -> [Lanes; PATCH] {
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

/// Aᵀ.
#[inline(always)]
fn tile_transform([a, b, c, d, e, f]: [Lanes; PATCH]) -> [Lanes; TILE] {
    let (near, near_odd) = (b + c, NEAR * (b - c));
    let (far, far_odd) = (d + e, FAR * (d - e));
    [
        a + near + far,
        near_odd + far_odd,
        0.5 * near + 2.0 * far,
        0.5 * near_odd + 2.0 * far_odd + f,
    ]
}

/// A.
#[inline(always)]
fn tile_gradient_transform([a, b, c, d]: [Lanes; TILE]) -> [Lanes; PATCH] {
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

/// G.
#[inline(always)]
fn kernel_transform([a, b, c]: [Lanes; 3]) -> [Lanes; PATCH] {
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

/// Gᵀ.
#[inline(always)]
fn kernel_gradient_transform([a, b, c, d, e, f]: [Lanes; PATCH]) -> [Lanes; 3] {
    let (near, far) = (b + c, d + e);
    [
        a - (2.0 / 3.0) * near + (1.0 / 6.0) * far,
        (-2.0 / 3.0 * NEAR) * (b - c) + (1.0 / 6.0 * FAR) * (d - e),
        (1.0 / 3.0) * (far - near) + f,
    ]
}
