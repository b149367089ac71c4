//! 3×3 convolutions of stride 1 by Winograd's minimal filtering F(4×4, 3×3) (Lavin & Gray,
//! 2016): 36 multiplications instead of 144 for a 4×4 tile of the output and a channel.
//!
//! With U = G g Gᵀ for a kernel g and V = Bᵀ d B for a 6×6 input tile d, a 4×4 output tile is
//! Aᵀ (U ⊙ V) A, where U ⊙ V is summed over the channels. The gradient of the kernel is
//! Gᵀ (M ⊙ V) G with M = A y Aᵀ for the gradient y of an output tile, where M ⊙ V is summed
//! over all tiles. For each of the 36 elements, these sums are a matrix product.

mod tiles;
mod transform;

use std::{mem::MaybeUninit, ops::Range};

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

pub use tiles::Filters;
use tiles::Tiles;
use transform::{ELEMENTS, INPUT_TILE, Kernel, KernelGradient, TILE, transform_2d};

use super::{
    direct::Direction,
    maps::{Maps, Part, output_pixels},
    partial_sums::{self, add_up},
};
use crate::{
    nhwc::Nhwc,
    product::{
        Blocks, ColumnMemory, Columns, Finish, LeftColumns, Panel, Panels, ProductFormat, Rows,
        lanes, load, prefetch,
    },
    scratch::Scratch,
    simd::dispatch,
    uninit::as_uninit,
};

/// The most values of the transformed kernels of a group, unless a single panel has more. In 16 bits, they
/// take half the memory.
const GROUP: usize = 3 << 20;

/// The values in the transformed tiles of a block: few enough to stay in the cache of the second
/// level or the third.
const BLOCK: usize = 512 << 10;

/// The fewest tiles of a block, if there are so many: each reads all transformed kernels.
const BLOCK_TILES: usize = 48;

/// The fewest tiles in a batch for which it pays to transform the kernels, which grow to four
/// times their size.
const MIN_TILES: usize = 16;

/// The fewest tiles for the gradient of the weight, whose sums, four times as large as the weight, are
/// read, written and transformed.
const MIN_GRADIENT_TILES: usize = 24;

/// The most parts of the tiles whose gradients of the weight are summed apart, in parallel.
const GRADIENT_PARTS: usize = 8;

/// The most values of all these parts together.
const GRADIENT_VALUES: usize = 16 << 20;

/// The fewest tiles of a part for each value of its sums: it takes time to add them up.
const PART_TILES: f64 = 1.0 / 256.0;

/// The tiles that are multiplied at once for the gradient of the weight.
const GRADIENT_TILES: usize = 128;

/// The rows of transformed kernels that are brought to the cache before they are written.
const KERNELS_AHEAD: usize = 4;

/// The most columns of a panel: two vectors of 512 bits.
const MAX_WIDTH: usize = 32;

/// Whether this algorithm is applicable and efficient: a 3×3 kernel of stride 1, and enough
/// pixels and channels for the transforms to pay.
pub fn is_suitable(parts: impl IntoIterator<Item = Part>, channels: usize, filters: usize) -> bool {
    is_suitable_for(parts, channels.min(filters), MIN_TILES)
}

/// [`is_suitable`] for the gradient of the weight.
pub fn is_suitable_for_weight_gradient(
    parts: impl IntoIterator<Item = Part>,
    channels: usize,
    filters: usize,
) -> bool {
    is_suitable_for(parts, channels.min(filters), MIN_GRADIENT_TILES)
}

fn is_suitable_for(
    parts: impl IntoIterator<Item = Part>,
    channels: usize,
    min_tiles: usize,
) -> bool {
    let (mut tiles, mut pixels) = (0, 0);
    for part in parts {
        let geometry = &part.geometry;
        let is_applicable = geometry.kernel == [3, 3]
            && geometry.stride == [1, 1]
            && geometry.dilation == [1, 1]
            && geometry.padding.iter().all(|padding| *padding < INPUT_TILE);
        if !is_applicable {
            return false;
        }
        let [down, across] = geometry.output.map(|side| side.div_ceil(TILE));
        tiles += part.images * down * across;
        pixels += part.output_pixels();
    }
    channels >= 16 && tiles >= min_tiles && 9 * pixels >= 2 * ELEMENTS * tiles
}

/// The transformed kernels of some filters of a weight: for each element of a transformed tile a block
/// `[channels, filters]`.
#[derive(Debug)]
pub struct Kernels {
    panels: Panels,
    filters: Filters,
}

/// The transformed kernels of so many channels as blocks of rows.
fn blocks(depth: usize) -> Blocks {
    Blocks {
        count: ELEMENTS,
        depth,
    }
}

impl Kernels {
    /// The kernels of a weight, `[filters, channels, 3, 3]`. For the gradient of the input, filters
    /// and channels are swapped, and each kernel is flipped.
    pub fn new(
        format: ProductFormat,
        weight: &[f32],
        filters: usize,
        direction: Direction,
    ) -> Self {
        let [_, columns] = sides(weight, filters, direction);
        Self::of(format, weight, filters, direction, 0..columns)
    }

    /// The same kernels in groups of filters, which are dropped one after the other. Large kernels as a
    /// whole would take much memory, four times as much as the weight. But the input is transformed
    /// for each group.
    pub fn in_groups(
        format: ProductFormat,
        weight: &[f32],
        filters: usize,
        direction: Direction,
    ) -> impl Iterator<Item = Self> {
        Self::in_groups_of(GROUP, format, weight, filters, direction)
    }

    /// Groups of at most so many transformed values, unless a single panel has more.
    fn in_groups_of(
        values: usize,
        format: ProductFormat,
        weight: &[f32],
        filters: usize,
        direction: Direction,
    ) -> impl Iterator<Item = Self> {
        let [depth, columns] = sides(weight, filters, direction);
        let size = group_size(values, depth, columns);
        (0..columns).step_by(size).map(move |first| {
            let end = columns.min(first + size);
            Self::of(format, weight, filters, direction, first..end)
        })
    }

    /// Whether the kernels of the forward pass are more than one group.
    pub fn are_large(weight: &[f32], filters: usize) -> bool {
        let [depth, columns] = sides(weight, filters, Direction::Forward);
        group_size(GROUP, depth, columns) < columns
    }

    /// The kernels of some filters.
    fn of(
        format: ProductFormat,
        weight: &[f32],
        filters: usize,
        direction: Direction,
        group: Range<usize>,
    ) -> Self {
        let channels = weight.len() / (9 * filters);
        let [depth, all] = sides(weight, filters, direction);
        let blocks = blocks(depth);
        let all_taps = weight.as_chunks::<9>().0;
        let panels = Panels::new(format, blocks, group.len(), |range, width, panel| {
            let mut taps = [[0.0; MAX_WIDTH]; 9];
            for k in 0..depth {
                let columns = range.clone().map(|column| group.start + column);
                let kernels = columns.map(|column| match direction {
                    Direction::Forward => column * channels + k,
                    Direction::Backward => k * channels + column,
                });
                for (lane, kernel) in kernels.enumerate() {
                    for (taps, value) in taps.iter_mut().zip(&all_taps[kernel]) {
                        taps[lane] = *value;
                    }
                }
                for element in 0..ELEMENTS {
                    prefetch(
                        panel,
                        (element * blocks.pitch() + k + KERNELS_AHEAD) * width,
                    );
                }
                dispatch(TransformKernels {
                    taps: &taps,
                    direction,
                    width,
                    row: k,
                    rows: blocks.pitch(),
                    panel,
                });
            }
        });
        let filters = Filters {
            first: group.start,
            count: group.len(),
            all,
        };
        Self { panels, filters }
    }

    /// The rows of terms from one element to the next.
    fn pitch(&self) -> usize {
        self.panels.depth() / ELEMENTS
    }

    /// The filters that these kernels belong to. For the gradient of the input, they are channels.
    pub fn filters(&self) -> Filters {
        self.filters
    }

    /// In memory of just their size.
    pub fn compact(self) -> Self {
        let panels = self.panels.compact();
        Self { panels, ..self }
    }
}

/// The filters of each group: whole panels, nearly as many in the last group as in the others.
fn group_size(values: usize, depth: usize, columns: usize) -> usize {
    let panel = 2 * lanes();
    let panels = columns.div_ceil(panel).max(1);
    let most = (values / (ELEMENTS * blocks(depth).pitch() * panel)).max(1);
    panels.div_ceil(panels.div_ceil(most)) * panel
}

/// The number of terms and of columns of the products with the kernels of a weight.
fn sides(weight: &[f32], filters: usize, direction: Direction) -> [usize; 2] {
    let channels = weight.len() / (9 * filters);
    match direction {
        Direction::Forward => [channels, filters],
        Direction::Backward => [filters, channels],
    }
}

/// Transforms the kernels of one channel for the filters of a panel, flipped for gradients.
struct TransformKernels<'a> {
    taps: &'a [[f32; MAX_WIDTH]; 9],
    direction: Direction,
    width: usize,
    row: usize,
    rows: usize,
    /// `[elements, rows, width]`
    panel: &'a mut [f32],
}

impl WithSimd for TransformKernels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            taps,
            direction,
            width,
            row,
            rows,
            panel,
        } = self;
        for start in (0..width).step_by(S::F32_LANES) {
            transform_2d::<Kernel, S, 3, INPUT_TILE>(
                simd,
                |i, j| {
                    let tap = match direction {
                        Direction::Forward => 3 * i + j,
                        Direction::Backward => 8 - (3 * i + j),
                    };
                    S::as_simd_f32s(&taps[tap][start..start + S::F32_LANES]).0[0]
                },
                |i, j, values| {
                    let element = INPUT_TILE * i + j;
                    let start = (element * rows + row) * width + start;
                    S::as_mut_simd_f32s(&mut panel[start..start + S::F32_LANES]).0[0] = values;
                },
            );
        }
    }
}

/// Writes the convolution of the inputs with `kernels` to their filters of all pixels of `output`,
/// `[batch, height, width, filters]`, one input after the other.
pub fn forward(
    inputs: &[Maps],
    kernels: &Kernels,
    finish: Finish,
    output: &mut [MaybeUninit<f32>],
) {
    let (channels, filters) = (inputs[0].images.channels(), kernels.filters.count);
    let all = Tiles::all(inputs);
    let size = (BLOCK / (ELEMENTS * (channels + filters)))
        .max(BLOCK_TILES)
        .min(all.count().div_ceil(rayon::current_num_threads()));
    let mut tasks = Vec::new();
    let (mut start, mut rest) = (0, output);
    for tiles in all.blocks(size) {
        let length = tiles.output_pixels(inputs) * kernels.filters.all;
        let (output, others) = rest.split_at_mut(length);
        tasks.push((tiles, start, output));
        (start, rest) = (start + length, others);
    }
    assert!(rest.is_empty(), "tiles of all pixels");
    tasks.into_par_iter().for_each(|(tiles, start, output)| {
        let count = tiles.count();
        let [mut transformed, mut products] = [Scratch::new(), Scratch::new()];
        let [input_plane, product_plane] = [channels, filters].map(|width| tiles.plane(width));
        let transformed = transformed.slice(ELEMENTS * input_plane);
        let products = products.slice(ELEMENTS * product_plane);
        tiles.transform_input(inputs, transformed);
        let offsets = |step: usize| -> Vec<usize> { (0..count).map(|tile| tile * step).collect() };
        let [starts, targets] = [channels, filters].map(offsets);
        for (element, products) in products.chunks_exact_mut(product_plane).enumerate() {
            Rows {
                source: &transformed[element * input_plane..][..count * channels],
                starts: &starts,
                segments: &[0],
                length: channels,
                panels: &kernels.panels,
                first: element * kernels.pitch(),
                targets: &targets,
                finish: Finish::default(),
                // SAFETY: products are only written.
                #[allow(unsafe_code)]
                output: unsafe { as_uninit(products) },
            }
            .multiply();
        }
        let finish = Finish {
            addend: finish
                .addend
                .map(|addend| &addend[start..start + output.len()]),
            ..finish
        };
        tiles.write_output(inputs, products, kernels.filters, finish, output);
    });
}

/// Writes the gradient of the weight, `[filters, channels, 3, 3]`, given the inputs and the gradients
/// of the output.
pub fn weight_gradient(
    format: ProductFormat,
    inputs: &[Maps],
    output_gradients: &[Nhwc],
    weight_gradient: &mut [MaybeUninit<f32>],
) {
    let (channels, filters) = (inputs[0].images.channels(), output_gradients[0].channels());
    let blocks = Tiles::all(inputs).blocks(GRADIENT_TILES);
    // The number of parts depends on sizes alone, so that sums do, too.
    let tiles = output_pixels(inputs) / (TILE * TILE);
    let fewest = ((channels * filters) as f64 * PART_TILES) as usize;
    let parts = (GRADIENT_VALUES / (ELEMENTS * channels * filters))
        .min(tiles / fewest.max(1))
        .clamp(1, GRADIENT_PARTS.min(blocks.len().max(1)));
    let part = blocks.len().div_ceil(parts);
    let mut sums: Vec<Panels> = (0..blocks.len().div_ceil(part))
        .map(|_| Panels::unspecified(ELEMENTS * channels, filters))
        .collect();
    // About as many tasks as threads, and no more: each transforms the input.
    partial_sums::tasks(&mut sums, &blocks, part, rayon::current_num_threads())
        .into_par_iter()
        .for_each(|(mut panels, blocks)| {
            let [mut transformed, mut gradients, mut paired] = [(); 3].map(|()| Scratch::new());
            let mut memory: Vec<_> = (0..ELEMENTS).map(|_| ColumnMemory::default()).collect();
            for (index_of_block, tiles) in blocks.iter().enumerate() {
                let count = tiles.count();
                let plane = tiles.plane(channels);
                let transformed = transformed.slice(ELEMENTS * plane);
                tiles.transform_input(inputs, transformed);
                let starts: Vec<usize> = (0..count).map(|tile| tile * channels).collect();
                let columns: Vec<LeftColumns> = (transformed.chunks_exact(plane).zip(&mut memory))
                    .map(|(source, memory)| {
                        LeftColumns::new(format, source, &starts, channels, panels.len(), memory)
                    })
                    .collect();
                for (index, sums) in &mut panels {
                    let panel = tiles.transform_gradient(output_gradients, *index, &mut gradients);
                    let width = panel.width();
                    let elements = (panel.values.chunks_exact(tiles.plane(width)))
                        .zip(&columns)
                        .zip(sums.chunks_exact_mut(channels * width));
                    for ((values, left), sums) in elements {
                        let panel = Panel { values, ..panel }.in_format(format, count, &mut paired);
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
        .par_chunks_mut(2 * lanes() * channels * 9)
        .enumerate()
        .for_each(|(index, weight)| {
            let sums = sums.panel(index, 0);
            let mut taps = [0.0; 9 * MAX_WIDTH];
            for channel in 0..channels {
                dispatch(TransformGradients {
                    sums,
                    channel,
                    channels,
                    taps: &mut taps,
                });
                let filters = weight.chunks_exact_mut(channels * 9);
                for (lane, weight) in filters.enumerate() {
                    let weight = &mut weight[channel * 9..][..9];
                    let width = sums.width();
                    for (tap, weight) in weight.iter_mut().enumerate() {
                        weight.write(taps[tap * width + lane]);
                    }
                }
            }
        });
}

/// Transforms the sums of one channel for the filters of a panel.
struct TransformGradients<'a> {
    /// `[elements, channels, width]`
    sums: Panel<'a>,
    channel: usize,
    channels: usize,
    /// `[9, width]`
    taps: &'a mut [f32],
}

impl WithSimd for TransformGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.sums.width();
        for start in (0..width).step_by(S::F32_LANES) {
            transform_2d::<KernelGradient, S, INPUT_TILE, 3>(
                simd,
                |i, j| {
                    let element = INPUT_TILE * i + j;
                    let start = (element * self.channels + self.channel) * width + start;
                    load(simd, &self.sums.values[start..])
                },
                |i, j, values| {
                    let start = (3 * i + j) * width + start;
                    S::as_mut_simd_f32s(&mut self.taps[start..start + S::F32_LANES]).0[0] = values;
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    #[test]
    fn groups_of_kernels_are_all_kernels() {
        let (filters, channels) = (70, 37);
        let weight: Vec<f32> = (0..filters * channels * 9)
            .map(|index| ((index * 7919) as f32 * 78.233).sin())
            .collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let [depth, columns] = sides(&weight, filters, direction);
            // The rows of some elements, without those between them.
            let rows = |panel: Panel| -> Vec<f32> {
                let elements = panel.values.chunks(blocks(depth).pitch() * panel.width());
                elements
                    .flat_map(|rows| rows[..depth * panel.width()].to_vec())
                    .collect()
            };
            let counts = Level::each(|_| {
                let all = Kernels::new(ProductFormat::F32, &weight, filters, direction);
                // Of one panel each, which has more values than one.
                let groups: Vec<Kernels> =
                    Kernels::in_groups_of(1, ProductFormat::F32, &weight, filters, direction)
                        .collect();
                let mut first = 0;
                for (index, group) in groups.iter().enumerate() {
                    assert_eq!([group.filters.first, group.filters.all], [first, columns]);
                    assert_eq!(
                        rows(group.panels.panel(0, 0)),
                        rows(all.panels.panel(index, 0))
                    );
                    first += group.filters.count;
                }
                assert_eq!(first, columns);
                groups.len()
            });
            assert!(counts.iter().all(|count| *count > 1), "{counts:?}");
        }
    }

    #[test]
    fn large_kernels_are_divided_evenly() {
        let _level = Level::hold();
        // A little more than three groups.
        assert_eq!(group_size(GROUP, 512, 512), 128);
        // As in the tests of convolutions.
        assert!(Kernels::are_large(&vec![0.0; 290 * 310 * 9], 290));
        assert_eq!(group_size(GROUP, 256, 256), 256);
        assert!(group_size(1, 3, 1) >= 1);
    }
}
