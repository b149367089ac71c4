//! Blocks of tiles and their transforms.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};

use super::{
    super::{geometry::Geometry, partition::RowRange},
    transform::{
        ELEMENTS, INPUT_TILE, Input, Output, OutputGradient, TILE, Transform, transform_2d,
    },
};
use crate::{
    nhwc::Nhwc,
    product::{Finish, Panel, PanelColumns, load, store},
    scratch::{LINE, Scratch},
    simd::dispatch,
};

/// Whole rows of tiles, consecutive in a batch.
#[derive(Debug)]
pub struct Tiles {
    /// Each row, as the index of its image and its index in the image.
    rows: Vec<(usize, usize)>,
    /// The number of tiles in a row.
    across: usize,
}

impl Tiles {
    pub fn new(rows: Vec<RowRange>, geometry: &Geometry) -> Self {
        let rows = rows.into_iter();
        Self {
            rows: rows
                .flat_map(|RowRange { image, rows }| rows.map(move |row| (image, row)))
                .collect(),
            across: geometry.output[1].div_ceil(TILE),
        }
    }

    /// The number of tiles.
    pub fn count(&self) -> usize {
        self.rows.len() * self.across
    }

    /// The values from one element of all tiles to the next, if an element of a tile has `width`
    /// values: a little more than there are, so that the elements of a tile do not share a set of the
    /// cache when this number is a power of two.
    pub fn plane(&self, width: usize) -> usize {
        (self.count() * width).next_multiple_of(LINE) + LINE
    }

    /// The number of rows of pixels in the output, of which an image has `height`.
    pub fn output_rows(&self, height: usize) -> usize {
        let rows = self.rows.iter();
        rows.map(|(_, row)| TILE.min(height - row * TILE)).sum()
    }

    /// Each tile: its image, and its first row and column of pixels in the output.
    fn positions(&self) -> impl Iterator<Item = (usize, [usize; 2])> {
        self.rows.iter().flat_map(|(image, row)| {
            (0..self.across).map(move |column| (*image, [row * TILE, column * TILE]))
        })
    }

    /// Writes the transformed tiles of the input: for each element a [plane](Self::plane) that begins
    /// with `[tiles, channels]`.
    pub fn transform_input(&self, input: Nhwc, padding: [usize; 2], output: &mut [f32]) {
        let channels = input.channels();
        self.transform::<Input, INPUT_TILE>(input, padding, 0..channels, channels, output);
    }

    /// The transformed tiles of the output's gradient for a panel of filters: for each element a
    /// [plane](Self::plane) that begins with `[tiles, width]`.
    pub fn transform_gradient<'a>(
        &self,
        gradient: Nhwc,
        index: usize,
        scratch: &'a mut Scratch,
    ) -> Panel<'a> {
        let columns = PanelColumns::new(gradient.channels(), index);
        let width = columns.width();
        let values = scratch.slice(ELEMENTS * self.plane(width));
        let channels = columns.first..columns.first + columns.count;
        self.transform::<OutputGradient, TILE>(gradient, [0, 0], channels, width, values);
        Panel { values, columns }
    }

    /// Transforms the `SIDE × SIDE` pixels that start at each tile's corner minus `padding`, for
    /// some channels. Writes a [plane](Self::plane) for each element.
    fn transform<T: Transform<SIDE, INPUT_TILE>, const SIDE: usize>(
        &self,
        images: Nhwc,
        padding: [usize; 2],
        channels: std::ops::Range<usize>,
        width: usize,
        output: &mut [f32],
    ) {
        let mut patch = Scratch::new();
        for (tile, (image, corner)) in self.positions().enumerate() {
            let (pixels, pitch) = tile_pixels(images, image, corner, padding, SIDE, &mut patch);
            dispatch(TransformTile::<T, SIDE> {
                pixels,
                pitch,
                step: images.channels(),
                channels: channels.clone(),
                tile,
                plane: self.plane(width),
                width,
                output,
                transform: std::marker::PhantomData,
            });
        }
    }

    /// Transforms the products of all tiles, [planes](Self::plane) of `[tiles, filters]`, and writes the output
    /// pixels, `[rows, width, filters]`.
    pub fn write_output(
        &self,
        products: &[f32],
        filters: usize,
        finish: Finish,
        [height, width]: [usize; 2],
        output: &mut [MaybeUninit<f32>],
    ) {
        let mut start = 0;
        let mut tile = 0;
        for (_, row) in &self.rows {
            let rows = TILE.min(height - row * TILE);
            for column in 0..self.across {
                dispatch(WriteTile {
                    products,
                    tile,
                    plane: self.plane(filters),
                    filters,
                    finish,
                    start: start + column * TILE * filters,
                    pitch: width * filters,
                    size: [rows, TILE.min(width - column * TILE)],
                    output,
                });
                tile += 1;
            }
            start += rows * width * filters;
        }
    }
}

/// The pixels of a tile and the number of values between its rows. Where it reaches beyond the
/// image, it is copied to `patch`, with zeros.
fn tile_pixels<'a>(
    images: Nhwc<'a>,
    image: usize,
    corner: [usize; 2],
    padding: [usize; 2],
    side: usize,
    patch: &'a mut Scratch,
) -> (&'a [f32], usize) {
    let (size, channels) = (images.size(), images.channels());
    let is_inside = (0..2).all(|axis| {
        corner[axis] >= padding[axis] && corner[axis] - padding[axis] + side <= size[axis]
    });
    if is_inside {
        let [y, x] = [0, 1].map(|axis| corner[axis] - padding[axis]);
        let pixels = &images.values()[images.row_start(image, y) + x * channels..];
        return (pixels, size[1] * channels);
    }
    let pitch = side * channels;
    let pixels = patch.slice(side * pitch);
    pixels.fill(0.0);
    // The columns of the tile that lie in the image.
    let first = padding[1].saturating_sub(corner[1]).min(side);
    let end = (size[1] + padding[1])
        .saturating_sub(corner[1])
        .clamp(first, side);
    for (y, pixels) in pixels.chunks_exact_mut(pitch).enumerate() {
        let Some(row) = (corner[0] + y).checked_sub(padding[0]) else {
            continue;
        };
        if row < size[0] && first < end {
            let start = (corner[1] + first - padding[1]) * channels;
            let row = &images.row(image, row)[start..][..(end - first) * channels];
            pixels[first * channels..][..row.len()].copy_from_slice(row);
        }
    }
    (pixels, pitch)
}

struct TransformTile<'a, T, const SIDE: usize> {
    /// Rows of pixels, `pitch` values apart; a pixel has `step` values.
    pixels: &'a [f32],
    pitch: usize,
    step: usize,
    channels: std::ops::Range<usize>,
    tile: usize,
    plane: usize,
    width: usize,
    /// Planes that begin with `[tiles, width]`.
    output: &'a mut [f32],
    transform: std::marker::PhantomData<T>,
}

impl<T: Transform<SIDE, INPUT_TILE>, const SIDE: usize> WithSimd for TransformTile<'_, T, SIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.plane;
        let target = self.tile * self.width;
        let channels = &self.channels;
        for (index, channel) in channels.clone().step_by(S::F32_LANES).enumerate() {
            let count = S::F32_LANES.min(channels.end - channel);
            let room = S::F32_LANES.min(self.width - index * S::F32_LANES);
            let pixels = &self.pixels[channel..];
            let output = &mut self.output[target + index * S::F32_LANES..];
            if count == S::F32_LANES {
                transform_2d::<T, S, SIDE, INPUT_TILE>(
                    simd,
                    |i, j| {
                        let start = i * self.pitch + j * self.step;
                        S::as_simd_f32s(&pixels[start..start + S::F32_LANES]).0[0]
                    },
                    |i, j, values| {
                        let start = (i * INPUT_TILE + j) * plane;
                        S::as_mut_simd_f32s(&mut output[start..start + S::F32_LANES]).0[0] = values;
                    },
                );
            } else {
                transform_2d::<T, S, SIDE, INPUT_TILE>(
                    simd,
                    |i, j| {
                        let start = i * self.pitch + j * self.step;
                        simd.partial_load_f32s(&pixels[start..start + count])
                    },
                    |i, j, values| {
                        let start = (i * INPUT_TILE + j) * plane;
                        simd.partial_store_f32s(&mut output[start..start + room], values);
                    },
                );
            }
        }
    }
}

struct WriteTile<'a> {
    /// Planes that begin with `[tiles, filters]`.
    products: &'a [f32],
    tile: usize,
    plane: usize,
    filters: usize,
    finish: Finish<'a>,
    /// Where the tile starts in `output`, and the values between its rows.
    start: usize,
    pitch: usize,
    /// The rows and columns of the tile that lie in the output.
    size: [usize; 2],
    output: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for WriteTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.plane;
        let [rows, columns] = self.size;
        for filter in (0..self.filters).step_by(S::F32_LANES) {
            let count = S::F32_LANES.min(self.filters - filter);
            let products = &self.products[self.tile * self.filters + filter..];
            let constants = self.finish.columns(simd, filter);
            transform_2d::<Output, S, INPUT_TILE, TILE>(
                simd,
                |i, j| {
                    let start = (i * INPUT_TILE + j) * plane;
                    load(simd, &products[start..start + count])
                },
                |i, j, values| {
                    if i < rows && j < columns {
                        let start = self.start + i * self.pitch + j * self.filters + filter;
                        let values = self.finish.apply(simd, values, constants, start, count);
                        store::<S>(&mut self.output[start..start + count], values);
                    }
                },
            );
        }
    }
}
