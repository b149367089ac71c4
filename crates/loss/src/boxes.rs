use core::ops::Range;

use burn::tensor::Tensor;

/// Areas (px²), squared lengths (px²) and sides (px) below this count as zero.
pub(crate) const EPSILON: f64 = 1e-7;

/// Boxes by their two corners, whose last dimension holds `x, y`.
#[derive(Clone)]
pub(crate) struct Corners<const D: usize> {
    min: Tensor<D>,
    max: Tensor<D>,
}

impl<const D: usize> Corners<D> {
    /// Splits `xyxy` boxes, whose last dimension has size 4.
    pub(crate) fn split(boxes: Tensor<D>) -> Self {
        Self {
            min: slice_columns(boxes.clone(), 0..2),
            max: slice_columns(boxes, 2..4),
        }
    }

    /// The largest box inside both; inverted where the two are apart.
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

    /// Width and height, `[.., 2]`; 0 along an axis in which the box is inverted.
    pub(crate) fn sides(self) -> Tensor<D> {
        (self.max - self.min).clamp_min(0.0)
    }

    /// Area, `[.., 1]`.
    pub(crate) fn area(self) -> Tensor<D> {
        // `prod_dim` divides by its input on the way back.
        let [width, height] = columns(self.sides());
        width * height
    }

    /// Centre, `[.., 2]`.
    pub(crate) fn center(self) -> Tensor<D> {
        (self.min + self.max).mul_scalar(0.5)
    }
}

/// Areas of the intersection and of the union of pairs of boxes, each `[.., 1]`.
pub(crate) struct Overlap<const D: usize> {
    pub(crate) intersection: Tensor<D>,
    pub(crate) union: Tensor<D>,
}

impl<const D: usize> Overlap<D> {
    pub(crate) fn between(a: Corners<D>, b: Corners<D>) -> Self {
        let intersection = a.clone().intersection(b.clone()).area();
        let union = a.area() + b.area() - intersection.clone();
        Self {
            intersection,
            union,
        }
    }

    /// Intersection over union, eq. (7).
    pub(crate) fn iou(self) -> Tensor<D> {
        ratio(self.intersection, self.union)
    }
}

/// `numerator / denominator` for a numerator that vanishes with its denominator: a denominator
/// below [`EPSILON`] becomes 1, so that the ratio is 0 and its gradient bounded.
pub(crate) fn ratio<const D: usize>(numerator: Tensor<D>, denominator: Tensor<D>) -> Tensor<D> {
    let vanishing = denominator.clone().lower_scalar(EPSILON);
    numerator / denominator.mask_fill(vanishing, 1.0)
}

/// The two columns of a `[.., 2]` tensor, each `[.., 1]`.
pub(crate) fn columns<const D: usize>(pairs: Tensor<D>) -> [Tensor<D>; 2] {
    [
        slice_columns(pairs.clone(), 0..1),
        slice_columns(pairs, 1..2),
    ]
}

/// Slices the last dimension. Unlike `Tensor::slice`, it leaves an empty tensor on the tape, so that
/// a batch without boxes can still be differentiated.
pub(crate) fn slice_columns<const D: usize>(tensor: Tensor<D>, columns: Range<usize>) -> Tensor<D> {
    let mut shape = tensor.shape();
    if shape.num_elements() > 0 {
        return tensor.slice_dim(D - 1, columns);
    }
    shape[D - 1] = columns.len();
    tensor.sum_dim(D - 1).expand(shape)
}
