//! Which layer is on top at each point of a fine grid over the image.

use super::figure::Extent;
use crate::BoundingBox;

/// Grid points along each side of a pixel.
pub(super) const GRID: usize = 4;

/// Grid points in a pixel.
const POINTS: usize = GRID * GRID;

/// What shows of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Visible {
    /// Encloses the visible grid points; edges are multiples of a quarter pixel.
    pub bbox: BoundingBox,
    /// Visible area in pixels.
    pub area: f64,
    /// Visible share of the whole area, with what lies outside the image.
    pub share: f64,
}

/// The topmost layer at every grid point; 0 is the ground.
pub(super) struct Raster {
    width: usize,
    height: usize,
    top: Vec<u8>,
    /// Grid points of each layer, hidden and outside ones too.
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

    /// Puts a layer on top of the others: all points of `extent` that `contains` says.
    pub(super) fn cover(&mut self, [x1, y1, x2, y2]: Extent, contains: impl Fn(f32, f32) -> bool) {
        let layer = self.totals.len() as u8;
        let grid = GRID as f32;
        let range = |low: f32, high: f32| (low * grid).floor() as i32..(high * grid).ceil() as i32;
        let (columns, rows) = (self.width * GRID, self.height * GRID);
        let mut total = 0;
        for row in range(y1, y2) {
            let y = (row as f32 + 0.5) / grid;
            for column in range(x1, x2) {
                if contains((column as f32 + 0.5) / grid, y) {
                    total += 1;
                    if let (Ok(row), Ok(column)) = (usize::try_from(row), usize::try_from(column))
                        && row < rows
                        && column < columns
                    {
                        self.top[row * columns + column] = layer;
                    }
                }
            }
        }
        self.totals.push(total);
    }

    /// What shows of each layer from 1 on; `None` for one that is wholly hidden.
    pub(super) fn visible(&self) -> Vec<Option<Visible>> {
        let mut found = vec![(0_usize, [usize::MAX, usize::MAX, 0, 0]); self.totals.len()];
        let columns = self.width * GRID;
        for (row, line) in self.top.chunks_exact(columns).enumerate() {
            for (column, layer) in line.iter().enumerate() {
                let (count, [x1, y1, x2, y2]) = &mut found[usize::from(*layer)];
                *count += 1;
                (*x1, *y1) = ((*x1).min(column), (*y1).min(row));
                (*x2, *y2) = ((*x2).max(column + 1), (*y2).max(row + 1));
            }
        }
        let layers = found.into_iter().zip(&self.totals).skip(1);
        layers
            .map(|((count, edges), total)| {
                let [x1, y1, x2, y2] = edges.map(|edge| edge as f32 / GRID as f32);
                (count > 0).then(|| Visible {
                    bbox: BoundingBox::new(x1, y1, x2, y2),
                    area: count as f64 / POINTS as f64,
                    share: count as f64 / *total as f64,
                })
            })
            .collect()
    }

    /// The layers on top at the grid points of a pixel.
    pub(super) fn pixel(&self, x: usize, y: usize) -> impl Iterator<Item = &[u8]> {
        let columns = self.width * GRID;
        (0..GRID).map(move |row| {
            let start = (y * GRID + row) * columns + x * GRID;
            &self.top[start..start + GRID]
        })
    }
}
