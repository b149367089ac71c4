//! Products with columns of feature maps: sums over pixels.

use pulp::{Simd, WithSimd};

use super::panels::Panel;

/// The product of a left factor with a panel.
///
/// A column of the left factor, one for each row of the panel, consists of `count` values in `source`,
/// which begin at the column's start.
pub struct Columns<'a> {
    pub source: &'a [f32],
    pub starts: &'a [usize],
    pub count: usize,
    pub panel: Panel<'a>,
    /// Whether the product is added to `sums`, or replaces them.
    pub adds: bool,
    /// `[count, width]`
    pub sums: &'a mut [f32],
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match (self.panel.columns.vectors, S::REGISTER_COUNT) {
            (1, _) => self.blocks::<S, 12, 1>(simd),
            (_, 32..) => self.blocks::<S, 12, 2>(simd),
            _ => self.blocks::<S, 6, 2>(simd),
        }
    }
}

impl Columns<'_> {
    #[inline(always)]
    fn blocks<S: Simd, const COUNT: usize, const VECTORS: usize>(&mut self, simd: S) {
        let mut row = 0;
        while row + COUNT <= self.count {
            self.block::<S, COUNT, VECTORS>(simd, row);
            row += COUNT;
        }
        while row + 4 <= self.count {
            self.block::<S, 4, VECTORS>(simd, row);
            row += 4;
        }
        while row < self.count {
            self.block::<S, 1, VECTORS>(simd, row);
            row += 1;
        }
    }

    #[inline(always)]
    fn block<S: Simd, const COUNT: usize, const VECTORS: usize>(&mut self, simd: S, row: usize) {
        let (right, _) = S::as_simd_f32s(self.panel.values);
        let sums = sums_of_columns::<S, COUNT, VECTORS>(
            simd,
            &self.source[row..],
            self.starts,
            right.as_chunks().0,
        );
        let (all, _) = S::as_mut_simd_f32s(self.sums);
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
fn sums_of_columns<S: Simd, const COUNT: usize, const VECTORS: usize>(
    simd: S,
    source: &[f32],
    starts: &[usize],
    panel: &[[S::f32s; VECTORS]],
) -> [[S::f32s; VECTORS]; COUNT] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; COUNT];
    for (start, right) in starts.iter().zip(panel) {
        let values = source.get(*start..).unwrap_or_default();
        let Some(left) = values.first_chunk::<COUNT>() else {
            debug_assert!(false, "a column starts within the source");
            continue;
        };
        for i in 0..COUNT {
            let left = simd.splat_f32s(left[i]);
            for j in 0..VECTORS {
                sums[i][j] = simd.mul_add_e_f32s(left, right[j], sums[i][j]);
            }
        }
    }
    sums
}
