//! Products with rows of feature maps.

use std::mem::MaybeUninit;

use pulp::{
    Simd,
    bytemuck::{Pod, cast_slice, cast_slice_mut},
};

use super::{
    arithmetic::{Arithmetic, Product},
    format::ProductFormat,
    multiply::multiply,
    pairs::round,
    panels::{Panel, Panels},
    prefetch::prefetch,
    vectors::{load, store},
};
use crate::scratch::{LINE, Scratch};

/// The values of the left factor that are used with all panels before the next ones: they stay
/// in the L2 cache.
const GROUP: usize = 64 << 10;

/// The values from one line to the next that shares its set of the L1 cache, if that has 64 sets.
const SET_STRIDE: usize = 1024;

/// The fewest panels for which it pays to copy rows.
const PANELS_OF_PACKED: usize = 4;

/// The terms that are multiplied between checks of bounds, which otherwise cost a third of the time of kernels
/// with few rows.
const UNROLLED: usize = 4;

/// What is done with sums before they are written: first `scale`, last `relu`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// Multiplies each row, element by element.
    pub scale: Option<&'a [f32]>,
    /// Added to each row.
    pub bias: Option<&'a [f32]>,
    /// Added to the whole output.
    pub addend: Option<&'a [f32]>,
    /// Whether negative sums become 0.
    pub relu: bool,
}

/// Scale and bias of one vector of columns.
#[derive(Clone, Copy)]
pub struct FinishColumns<S: Simd> {
    scale: Option<S::f32s>,
    bias: Option<S::f32s>,
}

/// Replaces each vector, given its place in its row. A closure would be a function of its own, without vector instructions.
macro_rules! each {
    ($sums:expr, |$sum:ident, $j:ident| $value:expr) => {
        for row in $sums.iter_mut() {
            for ($j, slot) in row.iter_mut().enumerate() {
                let $sum = *slot;
                *slot = $value;
            }
        }
    };
}

impl Finish<'_> {
    /// Scale and bias of the columns from `first` on.
    #[inline(always)]
    pub fn columns<S: Simd>(&self, simd: S, first: usize) -> FinishColumns<S> {
        let vector = |values: &[f32]| load(simd, values.get(first..).unwrap_or_default());
        FinishColumns {
            scale: self.scale.map(vector),
            bias: self.bias.map(vector),
        }
    }

    /// The finished values of `count` sums that begin at `start` in the output.
    #[inline(always)]
    pub fn apply<S: Simd>(
        &self,
        simd: S,
        sums: S::f32s,
        columns: FinishColumns<S>,
        start: usize,
        count: usize,
    ) -> S::f32s {
        let mut block = [[sums]];
        self.apply_to_rows(simd, &mut block, [columns], [start], count);
        block[0][0]
    }

    /// Finishes `count` sums of each row, which begin at `starts` in the output. Step by step, so that all of them stay in
    /// registers.
    #[inline(always)]
    fn apply_to_rows<S: Simd, const COUNT: usize, const VECTORS: usize>(
        &self,
        simd: S,
        sums: &mut [[S::f32s; VECTORS]; COUNT],
        columns: [FinishColumns<S>; VECTORS],
        starts: [usize; COUNT],
        count: usize,
    ) {
        let zero = simd.splat_f32s(0.0);
        let scales = columns.map(|columns| columns.scale.unwrap_or(zero));
        let biases = columns.map(|columns| columns.bias.unwrap_or(zero));
        match (self.scale, self.bias) {
            (Some(_), Some(_)) => {
                each!(sums, |sum, j| simd
                    .mul_add_e_f32s(sum, scales[j], biases[j]));
            }
            (Some(_), None) => each!(sums, |sum, j| simd.mul_f32s(sum, scales[j])),
            (None, Some(_)) => each!(sums, |sum, j| simd.add_f32s(sum, biases[j])),
            (None, None) => {}
        }
        if let Some(addend) = self.addend {
            for (sums, start) in sums.iter_mut().zip(starts) {
                let addend = &addend[start..start + count];
                for (j, sum) in sums.iter_mut().enumerate() {
                    let values = addend.get(j * S::F32_LANES..).unwrap_or_default();
                    *sum = simd.add_f32s(*sum, load(simd, values));
                }
            }
        }
        if self.relu {
            // NaN remains.
            each!(sums, |sum, _j| simd.select_f32s(
                simd.less_than_f32s(sum, zero),
                zero,
                sum
            ));
        }
    }
}

/// The product of a left factor with panels.
///
/// A row of the left factor consists of `segments.len()` segments of `length` values in
/// `source`, which begin at the row's start plus the segment's offset.
pub struct Rows<'a> {
    pub source: &'a [f32],
    /// Where each row starts.
    pub starts: &'a [usize],
    pub segments: &'a [usize],
    pub length: usize,
    pub panels: &'a Panels,
    /// The first row of the panels: the product has as many terms as a row of the left factor has
    /// values.
    pub first: usize,
    /// Where each row of the output starts.
    pub targets: &'a [usize],
    pub finish: Finish<'a>,
    /// All of a row's values are written, and none between rows.
    pub output: &'a mut [MaybeUninit<f32>],
}

impl Rows<'_> {
    pub fn multiply(self) {
        multiply(self.panels.format(), self);
    }
}

impl Product for Rows<'_> {
    #[inline(always)]
    fn compute<A: Arithmetic>(mut self, arithmetic: A) {
        let format = self.panels.format();
        let depth = self.segments.len() * self.length;
        debug_assert!(self.first + format.terms(depth) <= self.panels.depth());
        // Every target must be written: the output is not initialized.
        assert_eq!(self.starts.len(), self.targets.len(), "rows of the product");
        let group = (GROUP / depth.max(1)).clamp(24, 480) / 12 * 12;
        let mut packed = PackedRows::default();
        for start in (0..self.starts.len()).step_by(group) {
            let end = self.starts.len().min(start + group);
            let starts = &self.starts[start..end];
            let mut left = Left {
                source: self.source,
                starts,
                segments: self.segments,
                length: self.length,
            };
            match format {
                ProductFormat::F32 => {
                    if left.rows_share_a_set() && self.panels.len() >= PANELS_OF_PACKED {
                        left = packed.pack(left, depth, |values, target: &mut [f32]| {
                            target.copy_from_slice(values);
                        });
                    }
                }
                ProductFormat::Bf16 => left = packed.pack(left, format.terms(depth), round),
            }
            for index in 0..self.panels.len() {
                let panel = self.panels.panel(index, self.first);
                let targets = &self.targets[start..end];
                match (panel.columns.vectors, A::Simd::REGISTER_COUNT) {
                    (1, _) => self.blocks::<A, 12, 1>(arithmetic, left, panel, targets),
                    (_, 32..) => self.blocks::<A, 12, 2>(arithmetic, left, panel, targets),
                    _ => self.blocks::<A, 6, 2>(arithmetic, left, panel, targets),
                }
            }
        }
    }
}

/// Some rows of the left factor.
#[derive(Clone, Copy)]
struct Left<'a> {
    source: &'a [f32],
    starts: &'a [usize],
    segments: &'a [usize],
    length: usize,
}

impl Left<'_> {
    /// Whether neighboring rows lie so far apart that they share a set of the L1 cache, which has
    /// fewer places than a kernel has rows.
    fn rows_share_a_set(&self) -> bool {
        let distance = |pair: &[usize]| pair[1].abs_diff(pair[0]);
        let first = self.starts.windows(2).map(distance).next().unwrap_or(0);
        first > 0 && first.is_multiple_of(SET_STRIDE)
    }
}

/// Rows that were copied to lie beside each other.
#[derive(Default)]
struct PackedRows {
    values: Scratch,
    starts: Vec<usize>,
}

impl PackedRows {
    /// Rows of so many terms, which `write` makes of the segments: a term consists of one value or more.
    #[inline(always)]
    fn pack<T: Pod>(
        &mut self,
        rows: Left,
        terms: usize,
        write: impl Fn(&[f32], &mut [T]),
    ) -> Left<'_> {
        let pitch = terms.next_multiple_of(LINE) + LINE;
        let values = self.values.slice(rows.starts.len() * pitch);
        self.starts.clear();
        let all = rows.starts.iter().zip(values.chunks_exact_mut(pitch));
        for (index, (start, values)) in all.enumerate() {
            let mut rest: &mut [T] = cast_slice_mut(&mut values[..terms]);
            for segment in rows.segments {
                let (target, after) = rest.split_at_mut(rows.length);
                write(&rows.source[start + segment..][..rows.length], target);
                rest = after;
            }
            rest.fill(T::zeroed());
            self.starts.push(index * pitch);
        }
        Left {
            source: values,
            starts: &self.starts,
            segments: &[0],
            length: terms,
        }
    }
}

impl Rows<'_> {
    /// The product of some rows with one panel, `COUNT` at a time.
    #[inline(always)]
    fn blocks<A: Arithmetic, const COUNT: usize, const VECTORS: usize>(
        &mut self,
        arithmetic: A,
        left: Left,
        panel: Panel,
        targets: &[usize],
    ) {
        let (mut row, end) = (0, targets.len());
        while row + COUNT <= end {
            self.block::<A, COUNT, VECTORS>(arithmetic, left, panel, targets, row);
            row += COUNT;
        }
        while row + 4 <= end {
            self.block::<A, 4, VECTORS>(arithmetic, left, panel, targets, row);
            row += 4;
        }
        if row + 2 <= end {
            self.block::<A, 2, VECTORS>(arithmetic, left, panel, targets, row);
            row += 2;
        }
        if row < end {
            self.block::<A, 1, VECTORS>(arithmetic, left, panel, targets, row);
        }
    }

    #[inline(always)]
    fn block<A: Arithmetic, const COUNT: usize, const VECTORS: usize>(
        &mut self,
        arithmetic: A,
        left: Left,
        panel: Panel,
        targets: &[usize],
        row: usize,
    ) {
        let simd = arithmetic.simd();
        let lanes = A::Simd::F32_LANES;
        let count = panel.columns.count;
        let starts: [usize; COUNT] =
            std::array::from_fn(|i| targets[row + i] + panel.columns.first);
        for start in starts {
            prefetch(self.output, start);
            prefetch(self.output, start + count - 1);
        }
        let (vectors, _) = A::Simd::as_simd_f32s(panel.values);
        let mut sums = sums_of_rows::<A, COUNT, VECTORS>(
            arithmetic,
            left.source,
            &left.starts[row..row + COUNT],
            left.segments,
            left.length,
            vectors.as_chunks().0,
        );
        let columns: [FinishColumns<A::Simd>; VECTORS] =
            std::array::from_fn(|j| self.finish.columns(simd, panel.columns.first + j * lanes));
        self.finish
            .apply_to_rows(simd, &mut sums, columns, starts, count);
        let rows = starts.map(|start| start..start + count);
        if count == VECTORS * lanes {
            for (row, sums) in rows.into_iter().zip(sums) {
                let output = self.output[row].chunks_exact_mut(lanes);
                for (values, sum) in output.zip(sums) {
                    store::<A::Simd>(values, sum);
                }
            }
        } else {
            for (row, sums) in rows.into_iter().zip(&sums) {
                let values: &[f32] = cast_slice(sums);
                self.output[row].write_copy_of_slice(&values[..count]);
            }
        }
    }
}

/// The products of some rows with all of a panel. Apart from the rest, so that sums stay in
/// registers.
#[inline(always)]
fn sums_of_rows<A: Arithmetic, const COUNT: usize, const VECTORS: usize>(
    arithmetic: A,
    source: &[f32],
    starts: &[usize],
    segments: &[usize],
    length: usize,
    panel: &[[<A::Simd as Simd>::f32s; VECTORS]],
) -> [[<A::Simd as Simd>::f32s; VECTORS]; COUNT] {
    let mut sums = [[arithmetic.simd().splat_f32s(0.0); VECTORS]; COUNT];
    for (index, segment) in segments.iter().enumerate() {
        let rows: [&[f32]; COUNT] =
            std::array::from_fn(|i| &source[starts[i] + segment..][..length]);
        let (panel, rest) = panel[index * length..][..length].as_chunks::<UNROLLED>();
        let unrolled = rows.map(|row| &row.as_chunks::<UNROLLED>().0[..panel.len()]);
        for (index, right) in panel.iter().enumerate() {
            let left: [&[f32; UNROLLED]; COUNT] = std::array::from_fn(|i| &unrolled[i][index]);
            for k in 0..UNROLLED {
                let left = std::array::from_fn(|i| left[i][k]);
                add_products(arithmetic, left, right[k], &mut sums);
            }
        }
        for (k, right) in (panel.len() * UNROLLED..length).zip(rest) {
            let left = std::array::from_fn(|i| rows[i][k]);
            add_products(arithmetic, left, *right, &mut sums);
        }
    }
    sums
}

/// Adds the products of one term of each row with a row of a panel.
#[inline(always)]
fn add_products<A: Arithmetic, const COUNT: usize, const VECTORS: usize>(
    arithmetic: A,
    left: [f32; COUNT],
    right: [<A::Simd as Simd>::f32s; VECTORS],
    sums: &mut [[<A::Simd as Simd>::f32s; VECTORS]; COUNT],
) {
    for i in 0..COUNT {
        for j in 0..VECTORS {
            sums[i][j] = arithmetic.multiply_add(left[i], right[j], sums[i][j]);
        }
    }
}
