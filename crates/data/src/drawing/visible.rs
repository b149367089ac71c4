//! The visible part of an object, by counting the points of a fine grid.

use crate::BoundingBox;

/// Grid points along each side of a pixel.
pub(crate) const GRID: usize = 4;

/// Grid points in a pixel.
pub(crate) const POINTS: usize = GRID * GRID;

/// The smallest visible fraction of an annotated object.
pub(crate) const MIN_VISIBLE: f64 = 0.25;

/// The visible part of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Visible {
    /// Encloses the visible grid points. Edges are multiples of a quarter pixel.
    pub bbox: BoundingBox,
    /// Visible area in square pixels.
    pub area: f64,
    /// Visible fraction of the whole area, including the area outside the image.
    pub fraction: f64,
}

/// Counts visible grid points and finds the outermost ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edges {
    count: usize,
    x1: usize,
    y1: usize,
    x2: usize,
    y2: usize,
}

impl Edges {
    pub(crate) const NONE: Self = Self {
        count: 0,
        x1: usize::MAX,
        y1: usize::MAX,
        x2: 0,
        y2: 0,
    };

    /// Adds `count` points of a row, the first of them at `start` and the last before `end`.
    pub(crate) fn add(&mut self, row: usize, start: usize, end: usize, count: usize) {
        self.count += count;
        (self.x1, self.y1) = (self.x1.min(start), self.y1.min(row));
        (self.x2, self.y2) = (self.x2.max(end), self.y2.max(row + 1));
    }

    /// The visible part of an object with `total` grid points; `None` if no point is visible.
    pub(crate) fn visible(self, total: usize) -> Option<Visible> {
        let [x1, y1, x2, y2] =
            [self.x1, self.y1, self.x2, self.y2].map(|edge| edge as f32 / GRID as f32);
        (self.count > 0).then(|| Visible {
            bbox: BoundingBox::new(x1, y1, x2, y2),
            area: self.count as f64 / POINTS as f64,
            fraction: self.count as f64 / total as f64,
        })
    }
}
