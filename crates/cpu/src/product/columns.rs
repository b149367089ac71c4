//! Products with columns of feature maps: sums over pixels.

use pulp::Simd;

use super::{
    arithmetic::{Arithmetic, Product},
    format::ProductFormat,
    multiply::multiply,
    pairs::pair_rows,
    panels::Panel,
};
use crate::scratch::Scratch;

/// The left factor of products with several panels. A column, one for each row of a panel, consists of
/// `count` terms in `source`, which begin at the column's start.
#[derive(Clone, Copy)]
pub struct LeftColumns<'a> {
    format: ProductFormat,
    source: &'a [f32],
    starts: &'a [usize],
    count: usize,
}

/// Memory for columns of pairs.
#[derive(Default)]
pub struct PairedColumns {
    values: Scratch,
    starts: Vec<usize>,
}

impl<'a> LeftColumns<'a> {
    /// Columns of values of 32 bits, in a format. Pairs are written to `memory`.
    pub fn new(
        format: ProductFormat,
        source: &'a [f32],
        starts: &'a [usize],
        count: usize,
        memory: &'a mut PairedColumns,
    ) -> Self {
        let singles = Self {
            format,
            source,
            starts,
            count,
        };
        match format {
            ProductFormat::F32 => singles,
            ProductFormat::Bf16 => {
                let terms = format.terms(starts.len());
                let pairs = memory.values.slice(terms * count);
                pair_rows(source, starts.iter().copied(), count, pairs);
                memory.starts.clear();
                memory.starts.extend((0..terms).map(|term| term * count));
                Self {
                    source: pairs,
                    starts: &memory.starts,
                    ..singles
                }
            }
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
        let sums = sums_of_columns::<A, COUNT, VECTORS>(
            arithmetic,
            &self.left.source[row..],
            self.left.starts,
            right.as_chunks().0,
        );
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
