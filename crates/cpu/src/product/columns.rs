//! Products with columns of feature maps: sums over pixels.

use pulp::Simd;

use super::{
    arithmetic::{Arithmetic, Product},
    format::ProductFormat,
    multiply::multiply,
    pairs::pair_rows,
    panels::{Panel, lanes},
};
use crate::scratch::Scratch;

/// The columns that lie beside each other once they are packed: a multiple of those that a kernel computes at once.
const BLOCK: usize = 12;

/// The fewest panels for which it pays to pack columns of values of 32 bits.
const PANELS_OF_PACKED: usize = 4;

/// Vectors of this many values or more use most of each line of the cache where columns lie.
const WIDE: usize = 16;

/// The left factor of products with several panels: `count` columns, with one term for each row of a panel.
#[derive(Clone, Copy)]
pub struct LeftColumns<'a> {
    format: ProductFormat,
    terms: Terms<'a>,
    count: usize,
}

#[derive(Clone, Copy)]
enum Terms<'a> {
    /// The terms of all columns lie beside each other, and begin at these places.
    InPlace {
        source: &'a [f32],
        starts: &'a [usize],
    },
    /// `[blocks, terms, BLOCK]`
    Packed { blocks: &'a [f32], count: usize },
}

/// Memory for columns that are written in another form.
#[derive(Default)]
pub struct ColumnMemory {
    values: Scratch,
    starts: Vec<usize>,
}

impl<'a> LeftColumns<'a> {
    /// Columns of values of 32 bits, in a format, for products with so many panels. Pairs and packed columns
    /// are written to `memory`.
    pub fn new(
        format: ProductFormat,
        source: &'a [f32],
        starts: &'a [usize],
        count: usize,
        panels: usize,
        memory: &'a mut ColumnMemory,
    ) -> Self {
        let terms = match format {
            ProductFormat::F32 if panels >= PANELS_OF_PACKED && lanes() < WIDE => {
                let blocks = (memory.values).slice(count.div_ceil(BLOCK) * starts.len() * BLOCK);
                pack(source, starts, count, blocks);
                let count = starts.len();
                Terms::Packed { blocks, count }
            }
            ProductFormat::F32 => Terms::InPlace { source, starts },
            ProductFormat::Bf16 => {
                let terms = format.terms(starts.len());
                let pairs = memory.values.slice(terms * count);
                pair_rows(source, starts.iter().copied(), count, pairs);
                memory.starts.clear();
                memory.starts.extend((0..terms).map(|term| term * count));
                Terms::InPlace {
                    source: pairs,
                    starts: &memory.starts,
                }
            }
        };
        Self {
            format,
            terms,
            count,
        }
    }
}

/// Writes `count` columns as `[blocks, terms, BLOCK]`, without the values beyond the last column.
fn pack(source: &[f32], starts: &[usize], count: usize, output: &mut [f32]) {
    let pitch = starts.len() * BLOCK;
    for (term, start) in starts.iter().enumerate() {
        let (whole, rest) = source[*start..][..count].as_chunks::<BLOCK>();
        for (block, values) in whole.iter().enumerate() {
            output[block * pitch + term * BLOCK..][..BLOCK].copy_from_slice(values);
        }
        let start = whole.len() * pitch + term * BLOCK;
        if !rest.is_empty() {
            output[start..][..rest.len()].copy_from_slice(rest);
        }
    }
}

/// The product of columns with a panel of the same format.
pub struct Columns<'a> {
    pub left: LeftColumns<'a>,
    pub panel: Panel<'a>,
    /// Whether the product is added to `sums`, or replaces them.
    pub adds: bool,
    /// `[count, width]`
    pub sums: &'a mut [f32],
}

impl Columns<'_> {
    pub fn multiply(self) {
        multiply(self.left.format, self);
    }
}

impl Product for Columns<'_> {
    #[inline(always)]
    fn compute<A: Arithmetic>(mut self, arithmetic: A) {
        match (self.panel.columns.vectors, A::Simd::REGISTER_COUNT) {
            (1, _) => self.blocks::<A, 12, 1>(arithmetic),
            (_, 32..) => self.blocks::<A, 12, 2>(arithmetic),
            _ => self.blocks::<A, 6, 2>(arithmetic),
        }
    }
}

impl Columns<'_> {
    #[inline(always)]
    fn blocks<A: Arithmetic, const COUNT: usize, const VECTORS: usize>(&mut self, arithmetic: A) {
        let mut row = 0;
        while row + COUNT <= self.left.count {
            self.block::<A, COUNT, VECTORS>(arithmetic, row);
            row += COUNT;
        }
        while row + 4 <= self.left.count {
            self.block::<A, 4, VECTORS>(arithmetic, row);
            row += 4;
        }
        while row < self.left.count {
            self.block::<A, 1, VECTORS>(arithmetic, row);
            row += 1;
        }
    }

    #[inline(always)]
    fn block<A: Arithmetic, const COUNT: usize, const VECTORS: usize>(
        &mut self,
        arithmetic: A,
        row: usize,
    ) {
        let simd = arithmetic.simd();
        let (right, _) = A::Simd::as_simd_f32s(self.panel.values);
        let right = right.as_chunks().0;
        let sums = match self.left.terms {
            Terms::InPlace { source, starts } => {
                sums_of_columns::<A, COUNT, VECTORS>(arithmetic, &source[row..], starts, right)
            }
            Terms::Packed { blocks, count } => {
                let block = &blocks[row / BLOCK * count * BLOCK..][..count * BLOCK];
                let block = block.as_chunks().0;
                sums_of_packed::<A, COUNT, VECTORS>(arithmetic, block, row % BLOCK, right)
            }
        };
        let (all, _) = A::Simd::as_mut_simd_f32s(self.sums);
        let all = &mut all[row * VECTORS..][..COUNT * VECTORS];
        for i in 0..COUNT {
            for j in 0..VECTORS {
                let all = &mut all[i * VECTORS + j];
                *all = match self.adds {
                    true => simd.add_f32s(*all, sums[i][j]),
                    false => sums[i][j],
                };
            }
        }
    }
}

/// The products of some rows with all of a panel. Apart from the rest, and without a check that
/// panics, so that sums stay in registers.
#[inline(always)]
fn sums_of_columns<A: Arithmetic, const COUNT: usize, const VECTORS: usize>(
    arithmetic: A,
    source: &[f32],
    starts: &[usize],
    panel: &[[<A::Simd as Simd>::f32s; VECTORS]],
) -> [[<A::Simd as Simd>::f32s; VECTORS]; COUNT] {
    let mut sums = [[arithmetic.simd().splat_f32s(0.0); VECTORS]; COUNT];
    for (start, right) in starts.iter().zip(panel) {
        let values = source.get(*start..).unwrap_or_default();
        let Some(left) = values.first_chunk::<COUNT>() else {
            debug_assert!(false, "a column starts within the source");
            continue;
        };
        for i in 0..COUNT {
            for j in 0..VECTORS {
                sums[i][j] = arithmetic.multiply_add(left[i], right[j], sums[i][j]);
            }
        }
    }
    sums
}

/// The products of some rows of a packed block, from `first` on, with all of a panel.
#[inline(always)]
fn sums_of_packed<A: Arithmetic, const COUNT: usize, const VECTORS: usize>(
    arithmetic: A,
    block: &[[f32; BLOCK]],
    first: usize,
    panel: &[[<A::Simd as Simd>::f32s; VECTORS]],
) -> [[<A::Simd as Simd>::f32s; VECTORS]; COUNT] {
    let mut sums = [[arithmetic.simd().splat_f32s(0.0); VECTORS]; COUNT];
    // Kernels begin at a multiple of their rows, so that none reaches into the next block.
    assert!(first + COUNT <= BLOCK, "rows of one block");
    for (left, right) in block.iter().zip(panel) {
        for i in 0..COUNT {
            for j in 0..VECTORS {
                sums[i][j] = arithmetic.multiply_add(left[first + i], right[j], sums[i][j]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    fn numbers(count: usize) -> Vec<f32> {
        let numbers = (0..count).map(|index| ((index * 7919) as f32 * 78.233).sin());
        numbers.collect()
    }

    #[test]
    fn packed_columns_have_the_same_products() {
        for (count, terms, width) in [
            (1, 1, 1),
            (11, 7, 5),
            (12, 33, 16),
            (22, 4, 40),
            (67, 9, 64),
        ] {
            // Terms lie in another order, and apart.
            let starts: Vec<usize> = (0..terms).rev().map(|term| term * (count + 3)).collect();
            let source = numbers(terms * (count + 3));
            let right = numbers(terms * width);
            let products = |panels: usize| {
                let (mut memory, mut gathered) = (ColumnMemory::default(), Scratch::new());
                let format = ProductFormat::F32;
                let left = LeftColumns::new(format, &source, &starts, count, panels, &mut memory);
                let panel = Panel::gather(&right, width, 0, &mut gathered);
                let mut sums = vec![0.0; count * panel.width()];
                Columns {
                    left,
                    panel,
                    adds: false,
                    sums: &mut sums,
                }
                .multiply();
                let is_packed = matches!(left.terms, Terms::Packed { .. });
                (is_packed, panel.width(), sums)
            };
            let all = Level::each(|_| (products(0), products(PANELS_OF_PACKED), lanes()));
            for ((is_packed, row_width, sums), packed, lanes) in all {
                assert!(!is_packed && packed.0 == (lanes < WIDE));
                assert_eq!(sums, packed.2);
                let expected = |row: usize, column: usize| -> f64 {
                    let terms = starts.iter().zip(right.chunks(width));
                    terms
                        .map(|(start, right)| {
                            f64::from(source[start + row]) * f64::from(right[column])
                        })
                        .sum()
                };
                for (row, sums) in sums.chunks(row_width).enumerate() {
                    for (column, sum) in sums.iter().enumerate().take(width) {
                        assert!((f64::from(*sum) - expected(row, column)).abs() < 1e-4);
                    }
                }
            }
        }
    }
}
