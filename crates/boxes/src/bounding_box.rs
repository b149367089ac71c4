//! Axis-aligned boxes.

use serde::{Deserialize, Serialize};

/// An axis-aligned box given by its corners, in pixels.
///
/// Coordinates are continuous: the pixel in column 0 spans `[0, 1)`, so a box over the first two columns has `x1 = 0`
/// and `x2 = 2`. The fields are not validated: a box read from a file may be
/// [degenerate](Self::is_degenerate).
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
    /// Creates a box from its left, top, right and bottom edges.
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// Creates a box from `[x1, y1, x2, y2]`, as in detections.
    pub const fn from_xyxy([x1, y1, x2, y2]: [f32; 4]) -> Self {
        Self::new(x1, y1, x2, y2)
    }

    /// Creates a box from COCO's `[x, y, width, height]`.
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

    /// Returns COCO's `[x, y, width, height]`.
    pub fn to_xywh(self) -> [f64; 4] {
        let [x1, y1, x2, y2] = self.to_xyxy().map(f64::from);
        [x1, y1, x2 - x1, y2 - y1]
    }

    /// Returns `[x1, y1, x2, y2]`.
    pub fn to_xyxy(self) -> [f32; 4] {
        [self.x1, self.y1, self.x2, self.y2]
    }

    /// Width in pixels; negative if the edges are swapped.
    pub fn width(self) -> f32 {
        self.x2 - self.x1
    }

    /// Height in pixels; negative if the edges are swapped.
    pub fn height(self) -> f32 {
        self.y2 - self.y1
    }

    /// Area in square pixels; 0 if the edges are swapped.
    pub fn area(self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Whether the width or height is not positive and finite. No object has such a box.
    pub fn is_degenerate(self) -> bool {
        let is_positive = |size: f32| size > 0.0 && size.is_finite();
        !(is_positive(self.width()) && is_positive(self.height()))
    }

    /// Clips the box to an image of `width` × `height` pixels. The result is
    /// [degenerate](Self::is_degenerate) if the box lies outside the image.
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
    fn clip_keeps_the_part_inside_the_image() {
        let clipped = BoundingBox::new(-3.0, 2.0, 12.0, 30.0).clip(10, 20);
        assert_eq!(clipped, BoundingBox::new(0.0, 2.0, 10.0, 20.0));
        let outside = BoundingBox::new(11.0, 2.0, 15.0, 9.0);
        assert!(outside.clip(10, 20).is_degenerate());
    }

    #[test]
    fn boxes_without_positive_finite_size_are_degenerate() {
        assert!(!BoundingBox::new(0.0, 0.0, 0.5, 0.5).is_degenerate());
        for bbox in [
            BoundingBox::new(5.0, 0.0, 5.0, 9.0),
            BoundingBox::new(5.0, 0.0, 4.0, 9.0),
            BoundingBox::new(f32::NAN, 0.0, 4.0, 9.0),
            BoundingBox::new(0.0, 0.0, f32::INFINITY, 9.0),
        ] {
            assert!(bbox.is_degenerate(), "{bbox:?}");
        }
        assert_eq!(BoundingBox::new(5.0, 5.0, 4.0, 4.0).area(), 0.0);
    }
}
