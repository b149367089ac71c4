//! What a detector finds.

/// A scored box of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// `[x1, y1, x2, y2]` in pixels.
    pub bbox: [f32; 4],
    /// 0-based class.
    pub label: usize,
    /// Score in [0, 1].
    pub score: f32,
}
