//! Blocks of tiles and their transforms.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};

use super::{
    super::maps::Maps,
    transform::{
        ELEMENTS, INPUT_TILE, Input, Output, OutputGradient, TILE, Transform, transform_2d,
    },
};
use crate::{
    nhwc::Nhwc,
    product::{Finish, Panel, PanelColumns, load, prefetch, store},
    scratch::{LINE, Scratch},
    simd::dispatch,
};

/// How far ahead of the values of each element that are read or written, others are brought to the cache.
const AHEAD: usize = 64;

/// Whole rows of tiles, consecutive in a batch, which may have images of several sizes.
#[derive(Debug)]
pub struct Tiles(Vec<TileRow>);

#[derive(Clone, Copy, Debug)]
struct TileRow {
    /// The index of the maps that the image belongs to.
    maps: usize,
    /// The index of the image in its maps.
    image: usize,
    /// The index of the row in its image.
    row: usize,
    /// The number of tiles in the row.
    across: usize,
}

impl TileRow {
    /// The rows of pixels of the output.
    fn height(&self, maps: &[Maps]) -> usize {
        TILE.min(maps[self.maps].geometry.output[0] - self.row * TILE)
    }
}

impl Tiles {
    /// All tiles of the outputs.
    pub fn all(maps: &[Maps]) -> Self {
        let rows = maps.iter().enumerate().flat_map(|(maps, of)| {
            let [down, across] = of.geometry.output.map(|side| side.div_ceil(TILE));
            (0..of.images.batch()).flat_map(move |image| {
                (0..down).map(move |row| TileRow {
                    maps,
                    image,
                    row,
                    across,
                })
            })
        });
        Self(rows.collect())
    }

    /// Divides the rows, in order, into blocks of nearly equal size and about `size` tiles, so that no
    /// thread gets a small remainder.
    pub fn blocks(self, size: usize) -> Vec<Self> {
        let all = self.count();
        let count = all.div_ceil(size.max(1)).max(1);
        let mut blocks = vec![Self(Vec::new())];
        let mut tiles = 0;
        for row in self.0 {
            // A row belongs to the block in which its middle lies.
            let block = (2 * tiles + row.across) * count / (2 * all).max(1);
            while blocks.len() <= block {
                blocks.push(Self(Vec::new()));
            }
            if let Some(last) = blocks.last_mut() {
                last.0.push(row);
            }
            tiles += row.across;
        }
        blocks.retain(|block| !block.0.is_empty());
        blocks
    }

    /// The number of tiles.
    pub fn count(&self) -> usize {
        self.0.iter().map(|row| row.across).sum()
    }

    /// The values from one element of all tiles to the next, if an element of a tile has `width`
    /// values: a little more than there are, so that the elements of a tile do not share a set of the
    /// cache when this number is a power of two.
    pub fn plane(&self, width: usize) -> usize {
        (self.count() * width).next_multiple_of(LINE) + LINE
    }

    /// The number of pixels of the output.
    pub fn output_pixels(&self, maps: &[Maps]) -> usize {
        let pixels = |row: &TileRow| row.height(maps) * maps[row.maps].geometry.output[1];
        self.0.iter().map(pixels).sum()
    }

    /// Each tile: its row, and its first row and column of pixels in the output.
    fn positions(&self) -> impl Iterator<Item = (&TileRow, [usize; 2])> {
        self.0.iter().flat_map(|row| {
            (0..row.across).map(move |column| (row, [row.row * TILE, column * TILE]))
        })
    }

    /// Writes the transformed tiles of the inputs: for each element a [plane](Self::plane) that begins
    /// with `[tiles, channels]`.
    pub fn transform_input(&self, inputs: &[Maps], output: &mut [f32]) {
        let channels = inputs[0].images.channels();
        let images = |row: &TileRow| {
            let maps = &inputs[row.maps];
            (maps.images, maps.geometry.padding)
        };
        self.transform::<Input, INPUT_TILE>(images, 0..channels, channels, output);
    }

    /// The transformed tiles of the output's gradients for a panel of filters: for each element a
    /// [plane](Self::plane) that begins with `[tiles, width]`.
    pub fn transform_gradient<'a>(
        &self,
        gradients: &[Nhwc],
        index: usize,
        scratch: &'a mut Scratch,
    ) -> Panel<'a> {
        let columns = PanelColumns::new(gradients[0].channels(), index);
        let width = columns.width();
        let values = scratch.slice(ELEMENTS * self.plane(width));
        let channels = columns.first..columns.first + columns.count;
        let images = |row: &TileRow| (gradients[row.maps], [0, 0]);
        self.transform::<OutputGradient, TILE>(images, channels, width, values);
        Panel { values, columns }
    }

    /// Transforms the `SIDE × SIDE` pixels that start at each tile's corner minus a padding, for
    /// some channels. `images` gives the images of a row and the padding. Writes a
    /// [plane](Self::plane) for each element.
    fn transform<'a, T: Transform<SIDE, INPUT_TILE>, const SIDE: usize>(
        &self,
        images: impl Fn(&TileRow) -> (Nhwc<'a>, [usize; 2]),
        channels: std::ops::Range<usize>,
        width: usize,
        output: &mut [f32],
    ) {
        let mut patch = Scratch::new();
        let plane = self.plane(width);
        for (tile, (row, corner)) in self.positions().enumerate() {
            let (images, padding) = images(row);
            let (pixels, pitch) = tile_pixels(images, row.image, corner, padding, SIDE, &mut patch);
            dispatch(TransformTile::<T, SIDE> {
                pixels,
                pitch,
                step: images.channels(),
                channels: channels.clone(),
                tile,
                plane,
                width,
                output,
                transform: std::marker::PhantomData,
            });
        }
    }

    /// Transforms the products of all tiles, [planes](Self::plane) of `[tiles, filters]` for some filters,
    /// and writes these filters of the output pixels, `[rows, width, filters]`.
    pub fn write_output(
        &self,
        maps: &[Maps],
        products: &[f32],
        filters: Filters,
        finish: Finish,
        output: &mut [MaybeUninit<f32>],
    ) {
        let (mut start, mut tile) = (0, 0);
        let plane = self.plane(filters.count);
        for row in &self.0 {
            let (rows, width) = (row.height(maps), maps[row.maps].geometry.output[1]);
            for column in 0..row.across {
                dispatch(WriteTile {
                    products,
                    tile,
                    plane,
                    filters,
                    finish,
                    start: start + column * TILE * filters.all,
                    pitch: width * filters.all,
                    size: [rows, TILE.min(width - column * TILE)],
                    output,
                });
                tile += 1;
            }
            start += rows * width * filters.all;
        }
    }
}

/// Some of the filters of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// The index of the first of them.
    pub first: usize,
    /// The number of these filters.
    pub count: usize,
    /// The number of all filters of the output.
    pub all: usize,
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
                        prefetch(output, start + AHEAD);
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
    filters: Filters,
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
        let Filters { first, count, all } = self.filters;
        for filter in (0..count).step_by(S::F32_LANES) {
            let products = &self.products[self.tile * count + filter..];
            let lanes = S::F32_LANES.min(count - filter);
            let constants = self.finish.columns(simd, first + filter);
            transform_2d::<Output, S, INPUT_TILE, TILE>(
                simd,
                |i, j| {
                    let start = (i * INPUT_TILE + j) * plane;
                    prefetch(products, start + AHEAD);
                    load(simd, &products[start..start + lanes])
                },
                |i, j, values| {
                    if i < rows && j < columns {
                        let start = self.start + i * self.pitch + j * all + first + filter;
                        let values = self.finish.apply(simd, values, constants, start, lanes);
                        store::<S>(&mut self.output[start..start + lanes], values);
                    }
                },
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::convolution::geometry::Geometry;

    #[test]
    fn blocks_contain_every_row_once_in_order() {
        let sizes = [(2, [13, 9]), (2, [7, 5]), (1, [3, 2]), (3, [1, 1])];
        let pixels: usize = sizes.iter().map(|(images, [h, w])| images * h * w).sum();
        let values = vec![0.0; pixels];
        let maps: Vec<Maps> = Nhwc::several(&values, sizes, 1)
            .into_iter()
            .map(|images| {
                let geometry = Geometry::new(images.size(), [3, 3], [1, 1], [1, 1], [1, 1]);
                let geometry = geometry.expect("the kernel fits");
                Maps { images, geometry }
            })
            .collect();
        let places = |tiles: &Tiles| -> Vec<[usize; 3]> {
            let rows = tiles.0.iter();
            rows.map(|row| [row.maps, row.image, row.row]).collect()
        };
        let all = places(&Tiles::all(&maps));
        assert_eq!(all.len(), 2 * 4 + 2 * 2 + 1 + 3);
        for size in [1, 4, 7, 100] {
            let blocks = Tiles::all(&maps).blocks(size);
            let found: Vec<[usize; 3]> = blocks.iter().flat_map(places).collect();
            assert_eq!(found, all);
            // A row has up to three tiles.
            assert!(
                blocks
                    .iter()
                    .all(|block| (1..size + 3).contains(&block.count()))
            );
            let written: usize = blocks.iter().map(|block| block.output_pixels(&maps)).sum();
            assert_eq!(written, pixels);
        }
    }
}
