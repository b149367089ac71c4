//! Boxes with a class: ground truth and predictions.

/// A ground-truth box and its class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabeledBox {
    /// `[x1, y1, x2, y2]` in pixels.
    pub bbox: [f32; 4],
    /// Class index, from 0.
    pub label: usize,
}

/// A predicted box with its class and score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// `[x1, y1, x2, y2]` in pixels.
    pub bbox: [f32; 4],
    /// Class index, from 0.
    pub label: usize,
    /// Score in [0, 1].
    pub score: f32,
}
