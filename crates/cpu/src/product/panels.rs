//! The right factor of a product.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{format::ProductFormat, pairs::pair_matrix};
use crate::{scratch::Scratch, simd::dispatch};

/// A matrix of `depth` rows of terms, cut into panels of as many columns as a kernel computes at once:
/// two vectors. A panel holds one row after the other. The last one has one vector if that is
/// enough, and zeros beyond the last column.
#[derive(Debug)]
pub struct Panels {
    values: Scratch,
    format: ProductFormat,
    depth: usize,
    columns: usize,
    lanes: usize,
}

/// The rows of a matrix as blocks, which are the right factors of as many products.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    pub count: usize,
    /// The rows of a block.
    pub depth: usize,
}

impl Blocks {
    /// The rows from one of several blocks to the next: one more than there are, so that the elements of
    /// a column do not share a set of the cache when this number is a power of two.
    pub fn pitch(&self) -> usize {
        self.depth + usize::from(self.count > 1)
    }

    /// The blocks as rows of terms.
    pub fn of_terms(&self, format: ProductFormat) -> Self {
        Self {
            depth: format.terms(self.depth),
            ..*self
        }
    }
}

/// Some columns of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// Row by row.
    pub values: &'a [f32],
    pub columns: PanelColumns,
}

/// Which columns are in a panel.
#[derive(Clone, Copy, Debug)]
pub struct PanelColumns {
    /// The index of the first column.
    pub first: usize,
    /// The number of columns that are not beyond the last one.
    pub count: usize,
    /// The number of vectors in a row: 1 or 2.
    pub vectors: usize,
    lanes: usize,
}

impl PanelColumns {
    /// The columns of a panel of a matrix that has so many `columns`.
    pub fn new(columns: usize, index: usize) -> Self {
        Self::with_lanes(columns, index, lanes())
    }

    fn with_lanes(columns: usize, index: usize, lanes: usize) -> Self {
        let first = 2 * lanes * index;
        let count = (columns - first).min(2 * lanes);
        let vectors = count.div_ceil(lanes);
        Self {
            first,
            count,
            vectors,
            lanes,
        }
    }

    /// The number of values in a row.
    pub fn width(&self) -> usize {
        self.vectors * self.lanes
    }
}

impl Panels {
    /// Panels of blocks that `write` fills, given the range of the columns: `[blocks, pitch, width]`, where
    /// the width is at least the number of columns. The others are 0 before.
    pub fn new(
        format: ProductFormat,
        blocks: Blocks,
        columns: usize,
        write: impl Fn(Range<usize>, usize, &mut [f32]) + Sync,
    ) -> Self {
        let terms = blocks.of_terms(format);
        let depth = terms.count * terms.pitch();
        let mut panels = Self {
            format,
            ..Self::unspecified(depth, columns)
        };
        let lanes = panels.lanes;
        let all: Vec<_> = panels.panels_mut().enumerate().collect();
        all.into_par_iter().for_each(|(index, panel)| {
            let first = 2 * lanes * index;
            let width = panel.len() / depth;
            let end = columns.min(first + width);
            let fill = |panel: &mut [f32]| {
                if end < first + width {
                    panel.fill(0.0);
                }
                write(first..end, width, panel);
            };
            match format {
                ProductFormat::F32 => fill(panel),
                ProductFormat::Bf16 => {
                    let mut singles = Scratch::new();
                    let pitch = blocks.pitch() * width;
                    let singles = singles.slice(blocks.count * pitch);
                    fill(singles);
                    let pairs = panel.chunks_exact_mut(terms.pitch() * width);
                    for (singles, pairs) in singles.chunks_exact(pitch).zip(pairs) {
                        pair_matrix(singles, blocks.depth, width, pairs);
                    }
                }
            }
        });
        panels
    }

    /// A matrix of unspecified values of 32 bits.
    pub fn unspecified(depth: usize, columns: usize) -> Self {
        let lanes = lanes();
        let mut values = Scratch::new();
        let all = values.slice(depth * columns.next_multiple_of(lanes));
        if cfg!(debug_assertions) {
            // A value that is read before it is written shows up.
            all.fill(f32::NAN);
        }
        Self {
            values,
            format: ProductFormat::F32,
            depth,
            columns,
            lanes,
        }
    }

    /// In memory of just their size.
    pub fn compact(self) -> Self {
        let length = self.depth * self.columns.next_multiple_of(self.lanes);
        let values = self.values.compact(length);
        Self { values, ..self }
    }

    /// The format of the terms.
    pub fn format(&self) -> ProductFormat {
        self.format
    }

    /// The number of rows.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The number of panels.
    pub fn len(&self) -> usize {
        self.columns.div_ceil(2 * self.lanes)
    }

    /// A panel, from `row` to the end.
    pub fn panel(&self, index: usize, row: usize) -> Panel<'_> {
        let columns = PanelColumns::with_lanes(self.columns, index, self.lanes);
        let (width, start) = (columns.width(), columns.first * self.depth);
        Panel {
            values: &self.values[start + row * width..start + self.depth * width],
            columns,
        }
    }

    /// The values of each panel, `[depth, width]`.
    pub fn panels_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let length = self.depth * self.columns.next_multiple_of(self.lanes);
        let panel = (2 * self.lanes * self.depth).max(1);
        self.values.slice(length).chunks_mut(panel)
    }
}

impl<'a> Panel<'a> {
    /// The number of values in a row.
    pub fn width(&self) -> usize {
        self.columns.width()
    }

    /// The first rows of the panel in a format. Pairs are written to `scratch`.
    pub fn in_format(self, format: ProductFormat, rows: usize, scratch: &'a mut Scratch) -> Self {
        let width = self.width();
        let values = &self.values[..rows * width];
        let values = match format {
            ProductFormat::F32 => values,
            ProductFormat::Bf16 => {
                let pairs = scratch.slice(format.terms(rows) * width);
                pair_matrix(values, rows, width, pairs);
                pairs
            }
        };
        Self { values, ..self }
    }

    /// A panel of a row-major matrix of `columns` columns, copied to `scratch`.
    pub fn gather(values: &[f32], columns: usize, index: usize, scratch: &'a mut Scratch) -> Self {
        let found = PanelColumns::new(columns, index);
        let width = found.width();
        let rows = scratch.slice(values.len() / columns * width);
        for (row, values) in (rows.chunks_exact_mut(width)).zip(values.chunks_exact(columns)) {
            let (inner, after) = row.split_at_mut(found.count);
            inner.copy_from_slice(&values[found.first..][..found.count]);
            after.fill(0.0);
        }
        Self {
            values: rows,
            columns: found,
        }
    }
}

/// The number of values in a vector.
pub fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    dispatch(Lanes)
}
