//! Boxes as two corners: areas, sides, centers and overlaps.

use burn::tensor::Tensor;

use crate::columns::{both_columns, slice_columns};

/// Areas (px²), squared lengths (px²) and sides (px) below this count as zero.
pub(crate) const EPSILON: f64 = 1e-7;

/// Boxes as their two corners, each `[num_boxes, 2]` with columns `x, y`.
#[derive(Clone)]
pub(crate) struct Corners {
    min: Tensor<2>,
    max: Tensor<2>,
}

impl Corners {
    /// Splits `xyxy` boxes, `[num_boxes, 4]`.
    pub(crate) fn split(boxes: Tensor<2>) -> Self {
        Self {
            min: slice_columns(boxes.clone(), 0..2),
            max: slice_columns(boxes, 2..4),
        }
    }

    /// The largest box inside both; inverted if they do not overlap.
    fn intersection(self, other: Self) -> Self {
        Self {
            min: self.min.max_pair(other.min),
            max: self.max.min_pair(other.max),
        }
    }

    /// The smallest box around both.
    pub(crate) fn enclosure(self, other: Self) -> Self {
        Self {
            min: self.min.min_pair(other.min),
            max: self.max.max_pair(other.max),
        }
    }

    /// Width and height, `[num_boxes, 2]`; 0 along an axis in which the box is inverted.
    pub(crate) fn sides(self) -> Tensor<2> {
        (self.max - self.min).clamp_min(0.0)
    }

    /// Area, `[num_boxes, 1]`.
    pub(crate) fn area(self) -> Tensor<2> {
        // The gradient of `prod_dim` divides by its input, which may be 0.
        let [width, height] = both_columns(self.sides());
        width * height
    }

    /// Center, `[num_boxes, 2]`.
    pub(crate) fn center(self) -> Tensor<2> {
        (self.min + self.max).mul_scalar(0.5)
    }
}

/// Areas of the intersection and the union of pairs of boxes, each `[num_boxes, 1]`.
pub(crate) struct Overlap {
    pub(crate) intersection: Tensor<2>,
    pub(crate) union: Tensor<2>,
}

impl Overlap {
    pub(crate) fn between(a: Corners, b: Corners) -> Self {
        let intersection = a.clone().intersection(b.clone()).area();
        let union = a.area() + b.area() - intersection.clone();
        Self {
            intersection,
            union,
        }
    }

    /// Intersection over union, eq. (7), `[num_boxes, 1]`.
    pub(crate) fn iou(self) -> Tensor<2> {
        ratio(self.intersection, self.union)
    }
}

/// `numerator / denominator`, where the numerator is 0 whenever the denominator is: a denominator
/// below [`EPSILON`] is replaced by 1, which makes the ratio 0 and bounds its gradient.
pub(crate) fn ratio(numerator: Tensor<2>, denominator: Tensor<2>) -> Tensor<2> {
    let vanishing = denominator.clone().lower_scalar(EPSILON);
    numerator / denominator.mask_fill(vanishing, 1.0)
}
