//! Which layer is on top at each point of a fine grid over the image.

use super::figure::Region;
use crate::drawing::{Edges, GRID, POINTS, Visible};

/// The topmost layer at every grid point. Layer 0 is the background.
pub(super) struct Raster {
    width: usize,
    height: usize,
    top: Vec<u16>,
    /// Grid points of each layer, including points that are hidden or outside the image.
    totals: Vec<usize>,
}

impl Raster {
    pub(super) fn new(width: u32, height: u32) -> Self {
        let (width, height) = (width as usize, height as usize);
        Self {
            width,
            height,
            top: vec![0; width * height * POINTS],
            totals: vec![0],
        }
    }

    /// Puts a region on top, as the next layer.
    pub(super) fn cover(&mut self, region: &impl Region) {
        let layer = self.totals.len() as u16;
        let grid = GRID as f32;
        let range = |low: f32, high: f32| (low * grid).floor() as i32..(high * grid).ceil() as i32;
        let (columns, rows) = (self.width * GRID, self.height * GRID);
        let mut total = 0;
        let [_, top, _, bottom] = region.extent();
        for row in range(top, bottom) {
            let y = (row as f32 + 0.5) / grid;
            let [left, right] = region.span(y);
            for column in range(left, right) {
                if !region.contains((column as f32 + 0.5) / grid, y) {
                    continue;
                }
                total += 1;
                if let (Ok(row), Ok(column)) = (usize::try_from(row), usize::try_from(column))
                    && row < rows
                    && column < columns
                {
                    self.top[row * columns + column] = layer;
                }
            }
        }
        self.totals.push(total);
    }

    /// The visible part of each layer from 1 on; `None` for hidden layers.
    pub(super) fn visible(&self) -> Vec<Option<Visible>> {
        let mut found = vec![Edges::NONE; self.totals.len()];
        let columns = self.width * GRID;
        for (row, line) in self.top.chunks_exact(columns).enumerate() {
            let mut start = 0;
            for run in line.chunk_by(|a, b| a == b) {
                let end = start + run.len();
                found[usize::from(run[0])].add(row, start, end, run.len());
                start = end;
            }
        }
        let layers = found.into_iter().zip(&self.totals).skip(1);
        layers.map(|(edges, total)| edges.visible(*total)).collect()
    }

    /// The topmost layers in each row of a pixel's grid points, in runs, with their fractions of the pixel.
    pub(super) fn runs(&self, x: usize, y: usize) -> impl Iterator<Item = (u16, f32)> {
        let runs = self.rows(x, y).flat_map(|row| row.chunk_by(|a, b| a == b));
        runs.map(|run| (run[0], run.len() as f32 / POINTS as f32))
    }

    /// The layer that is on top in a whole pixel.
    pub(super) fn only_layer(&self, x: usize, y: usize) -> Option<u16> {
        let layer = self.rows(x, y).next()?[0];
        let is_everywhere = (self.rows(x, y)).all(|row| row == [layer; GRID]);
        is_everywhere.then_some(layer)
    }

    /// The grid points of a pixel.
    fn rows(&self, x: usize, y: usize) -> impl Iterator<Item = &[u16]> {
        let columns = self.width * GRID;
        (0..GRID).map(move |row| {
            let start = (y * GRID + row) * columns + x * GRID;
            &self.top[start..start + GRID]
        })
    }
}
