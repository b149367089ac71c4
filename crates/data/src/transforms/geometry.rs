//! The geometry of transforms.

use crate::BoundingBox;

/// A map from pixel coordinates to the coordinates of a transformed image, by a scale and an offset for each axis:
/// `x' = scale[0] · x + offset[0]`, `y' = scale[1] · y + offset[1]`. Flipped axes have a negative scale.
///
/// ```
/// use fcos_burn_data::{BoundingBox, transforms::Geometry};
/// let cropped_and_halved = Geometry { scale: [0.5, 0.5], offset: [-10.0, 0.0] };
/// let bbox = BoundingBox::new(20.0, 10.0, 40.0, 20.0);
/// assert_eq!(cropped_and_halved.map(bbox), BoundingBox::new(0.0, 5.0, 10.0, 10.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Factors of x and y.
    pub scale: [f32; 2],
    /// Pixels added to x and y after scaling.
    pub offset: [f32; 2],
}

impl Geometry {
    /// The map that leaves all pixels in place.
    pub const IDENTITY: Self = Self {
        scale: [1.0, 1.0],
        offset: [0.0, 0.0],
    };

    /// The map that moves all pixels to the right and down.
    pub(super) fn translation(x: f32, y: f32) -> Self {
        Self {
            offset: [x, y],
            ..Self::IDENTITY
        }
    }

    /// The box in the transformed image. Not clipped.
    pub fn map(&self, bbox: BoundingBox) -> BoundingBox {
        let axis = |axis: usize, edges: [f32; 2]| {
            let [a, b] = edges.map(|edge| edge * self.scale[axis] + self.offset[axis]);
            (a.min(b), a.max(b))
        };
        let (x1, x2) = axis(0, [bbox.x1, bbox.x2]);
        let (y1, y2) = axis(1, [bbox.y1, bbox.y2]);
        BoundingBox::new(x1, y1, x2, y2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_stay_ordered_on_flipped_axes() {
        let flipped = Geometry {
            scale: [-1.0, 2.0],
            offset: [100.0, 1.0],
        };
        let bbox = BoundingBox::new(10.0, 20.0, 30.0, 25.0);
        assert_eq!(flipped.map(bbox), BoundingBox::new(70.0, 41.0, 90.0, 51.0));
        assert_eq!(Geometry::IDENTITY.map(bbox), bbox);
    }
}
