//! Axis-aligned boxes.

use serde::{Deserialize, Serialize};

/// A box by its corners, in pixels: `x1` and `y1` are the left and top edges, `x2` and `y2` the right and bottom ones.
///
/// Coordinates are continuous: the pixel in column 0 covers `[0, 1)`, so a box over the first two columns has `x1 = 0`
/// and `x2 = 2`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

impl BoundingBox {
    /// A box by its left, top, right and bottom edges.
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// A box by its left, top, right and bottom edges, as detections have it.
    pub const fn from_xyxy([x1, y1, x2, y2]: [f32; 4]) -> Self {
        Self::new(x1, y1, x2, y2)
    }

    /// A box by its left and top edges and its size, as COCO files write it.
    ///
    /// ```
    /// use fcos_burn_boxes::BoundingBox;
    /// let bbox = BoundingBox::from_xywh([10.0, 20.0, 5.0, 4.0]);
    /// assert_eq!(bbox, BoundingBox::new(10.0, 20.0, 15.0, 24.0));
    /// assert_eq!(bbox.to_xywh(), [10.0, 20.0, 5.0, 4.0]);
    /// ```
    pub fn from_xywh([x, y, width, height]: [f64; 4]) -> Self {
        Self::new(x as f32, y as f32, (x + width) as f32, (y + height) as f32)
    }

    /// Left and top edges and size, as COCO files write it.
    pub fn to_xywh(self) -> [f64; 4] {
        let [x1, y1, x2, y2] = self.to_xyxy().map(f64::from);
        [x1, y1, x2 - x1, y2 - y1]
    }

    /// Left, top, right and bottom edges.
    pub fn to_xyxy(self) -> [f32; 4] {
        [self.x1, self.y1, self.x2, self.y2]
    }

    /// Width; negative where the edges are swapped.
    pub fn width(self) -> f32 {
        self.x2 - self.x1
    }

    /// Height; negative where the edges are swapped.
    pub fn height(self) -> f32 {
        self.y2 - self.y1
    }

    /// Area in square pixels; 0 for a box without extent.
    pub fn area(self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Whether the box has a finite, positive width and height.
    pub fn has_extent(self) -> bool {
        let finite = |size: f32| size > 0.0 && size.is_finite();
        finite(self.width()) && finite(self.height())
    }

    /// The part of the box inside an image of `width` x `height` pixels; without extent where there is none.
    pub fn clip(self, width: u32, height: u32) -> Self {
        let (width, height) = (width as f32, height as f32);
        Self::new(
            self.x1.clamp(0.0, width),
            self.y1.clamp(0.0, height),
            self.x2.clamp(0.0, width),
            self.y2.clamp(0.0, height),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_clipped_to_the_image() {
        let clipped = BoundingBox::new(-3.0, 2.0, 12.0, 30.0).clip(10, 20);
        assert_eq!(clipped, BoundingBox::new(0.0, 2.0, 10.0, 20.0));
        assert!(
            !BoundingBox::new(11.0, 2.0, 15.0, 9.0)
                .clip(10, 20)
                .has_extent()
        );
    }

    #[test]
    fn only_finite_positive_sizes_are_an_extent() {
        assert!(BoundingBox::new(0.0, 0.0, 0.5, 0.5).has_extent());
        assert!(!BoundingBox::new(5.0, 0.0, 5.0, 9.0).has_extent());
        assert!(!BoundingBox::new(5.0, 0.0, 4.0, 9.0).has_extent());
        assert!(!BoundingBox::new(f32::NAN, 0.0, 4.0, 9.0).has_extent());
        assert!(!BoundingBox::new(0.0, 0.0, f32::INFINITY, 9.0).has_extent());
        assert_eq!(BoundingBox::new(5.0, 5.0, 4.0, 4.0).area(), 0.0);
    }
}
