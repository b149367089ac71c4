//! The objects that a step leaves visible.

use crate::BoundingBox;

/// The part of `bbox` inside an image of `width` x `height` pixels; `None` if its area is less than `min_area`.
pub(super) fn visible_part(
    bbox: BoundingBox,
    (width, height): (u32, u32),
    min_area: f32,
) -> Option<BoundingBox> {
    let inside = bbox.clip(width, height);
    (!inside.is_degenerate() && inside.area() >= min_area).then_some(inside)
}
