//! Where a transformed image lies in the original one.

use crate::BoundingBox;

/// Maps pixel coordinates of an original image to those of a transformed one, each axis by a scale and an offset:
/// `x' = scale[0]·x + offset[0]`, `y' = scale[1]·y + offset[1]`. A mirrored axis has a negative scale.
///
/// ```
/// use fcos_burn_data::{BoundingBox, transforms::Geometry};
/// let halved = Geometry { scale: [0.5, 0.5], offset: [0.0, 0.0] };
/// let detection = BoundingBox::new(5.0, 5.0, 10.0, 20.0);
/// assert_eq!(halved.invert(detection), BoundingBox::new(10.0, 10.0, 20.0, 40.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Factor of x and of y.
    pub scale: [f32; 2],
    /// Pixels added to x and to y after scaling.
    pub offset: [f32; 2],
}

impl Geometry {
    /// The map of an untransformed image.
    pub const IDENTITY: Self = Self {
        scale: [1.0, 1.0],
        offset: [0.0, 0.0],
    };

    /// A box of the original image in pixels of the transformed one; not clipped.
    pub fn map(&self, bbox: BoundingBox) -> BoundingBox {
        let [(x1, x2), (y1, y2)] =
            [(0, bbox.x1, bbox.x2), (1, bbox.y1, bbox.y2)].map(|(axis, low, high)| {
                ordered([low, high].map(|value| value * self.scale[axis] + self.offset[axis]))
            });
        BoundingBox::new(x1, y1, x2, y2)
    }

    /// A box of the transformed image in pixels of the original one; not clipped.
    pub fn invert(&self, bbox: BoundingBox) -> BoundingBox {
        let [(x1, x2), (y1, y2)] =
            [(0, bbox.x1, bbox.x2), (1, bbox.y1, bbox.y2)].map(|(axis, low, high)| {
                ordered([low, high].map(|value| (value - self.offset[axis]) / self.scale[axis]))
            });
        BoundingBox::new(x1, y1, x2, y2)
    }

    /// This map followed by `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let axis = |axis: usize| {
            (
                self.scale[axis] * next.scale[axis],
                self.offset[axis] * next.scale[axis] + next.offset[axis],
            )
        };
        let ((scale_x, offset_x), (scale_y, offset_y)) = (axis(0), axis(1));
        Self {
            scale: [scale_x, scale_y],
            offset: [offset_x, offset_y],
        }
    }
}

fn ordered([a, b]: [f32; 2]) -> (f32, f32) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_compose_in_order() {
        let mirror = Geometry {
            scale: [-1.0, 1.0],
            offset: [100.0, 0.0],
        };
        let double = Geometry {
            scale: [2.0, 3.0],
            offset: [1.0, -2.0],
        };
        let bbox = BoundingBox::new(10.0, 20.0, 30.0, 25.0);
        let both = mirror.then(double);
        assert_eq!(both.map(bbox), double.map(mirror.map(bbox)));
        assert_eq!(both.map(bbox), BoundingBox::new(141.0, 58.0, 181.0, 73.0));
        assert_eq!(both.invert(both.map(bbox)), bbox);
    }
}
