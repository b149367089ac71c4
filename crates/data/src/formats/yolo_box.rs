//! Boxes as center, width and height, in shares of the image.

/// Whether the center and the size of a box lie within the image, apart from rounding.
pub(super) fn is_box([cx, cy, width, height]: [f64; 4]) -> bool {
    const ROUNDING: f64 = 0.02;
    let is_inside = |center: f64, side: f64| {
        let within = -ROUNDING..=1.0 + ROUNDING;
        side > 0.0
            && within.contains(&(center - side / 2.0))
            && within.contains(&(center + side / 2.0))
    };
    is_inside(cx, width) && is_inside(cy, height)
}
