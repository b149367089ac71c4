use burn::tensor::Tensor;

use crate::corners::{Corners, Overlap};

/// Intersection over union of each box of `a` and the box of `b` in the same row, eq. (7):
/// `Î = T / D`.
///
/// The plain ratio, without the `+ 1` of [`BoxLoss::IouPlusOne`](crate::BoxLoss::IouPlusOne). It is
/// 0, not NaN, where the union is empty. Empty and inverted boxes have no area.
///
/// # Shapes
///
/// - a, b: `[num_boxes, 4]`, `xyxy` in pixels
/// - output: `[num_boxes]`, in `[0, 1]`
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fcos_burn_loss::aligned_iou;
///
/// let device = Device::flex();
/// let a = Tensor::<2>::from_floats([[0.0, 0.0, 2.0, 2.0]], &device);
/// let b = Tensor::<2>::from_floats([[1.0, 0.0, 3.0, 2.0]], &device);
/// assert!((aligned_iou(a, b).into_scalar::<f32>() - 2.0 / 6.0).abs() < 1e-6);
/// ```
pub fn aligned_iou(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    Overlap::between(Corners::split(a), Corners::split(b))
        .iou()
        .squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::closed_forms::Box4;
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor2, values};

    const UNIT: Box4 = [0.0, 0.0, 1.0, 1.0];

    /// Pairs of boxes and their IoU, worked by hand.
    const SCENE: [(Box4, Box4, f64); 9] = [
        // The same box.
        ([1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 8.0], 1.0),
        // Half of each: 2 of 4 + 4 − 2.
        ([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], 1.0 / 3.0),
        // A corner: 1 of 4 + 9 − 1.
        ([0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 4.0, 4.0], 1.0 / 12.0),
        // Inside: 4 of 100.
        ([0.0, 0.0, 10.0, 10.0], [3.0, 3.0, 5.0, 5.0], 0.04),
        // Edge to edge.
        (UNIT, [1.0, 0.0, 2.0, 1.0], 0.0),
        // Apart along both axes: the product of the two negative sides is positive.
        (UNIT, [5.0, 5.0, 6.0, 6.0], 0.0),
        // A point in a box, two equal points, and an inverted box.
        (UNIT, [0.5, 0.5, 0.5, 0.5], 0.0),
        ([3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0], 0.0),
        (UNIT, [1.0, 1.0, 0.0, 0.0], 0.0),
    ];

    #[test]
    fn ious_match_values_worked_by_hand() {
        let device = Device::flex();
        let a = tensor2(&SCENE.map(|(a, _, _)| a), &device);
        let b = tensor2(&SCENE.map(|(_, b, _)| b), &device);
        let expected = SCENE.map(|(_, _, iou)| iou);
        assert_close(&values(aligned_iou(a.clone(), b.clone())), &expected, 1e-6);
        assert_close(&values(aligned_iou(b.clone(), a.clone())), &expected, 1e-6);
        assert_finite(&gradient(a, |a| aligned_iou(a, b)));
    }

    #[test]
    fn iou_is_the_same_at_every_scale() {
        let device = Device::flex();
        for scale in [1e-2, 1.0, 1e6] {
            let a = tensor2(&[[0.0, 0.0, 2.0, 2.0]], &device) * scale;
            let b = tensor2(&[[1.0, 1.0, 4.0, 4.0]], &device) * scale;
            let slope = gradient(a.clone(), |a| aligned_iou(a, b.clone()));
            assert_close(&values(aligned_iou(a, b)), &[1.0 / 12.0], 1e-6);
            // T = s², D = 12s², ∂T/∂x₂ = s, ∂D/∂x₂ = 2s − s, so ∂(T/D)/∂x₂ = (12 − 1) / 144 / s.
            assert_close(&[slope[2] * scale], &[11.0 / 144.0], 1e-5);
        }
    }

    #[test]
    fn no_boxes_give_no_ious() {
        let device = Device::flex();
        let none = || Tensor::<2>::zeros([0, 4], &device);
        assert_eq!(aligned_iou(none(), none()).dims(), [0]);
        assert!(gradient(none(), |a| aligned_iou(a, none())).is_empty());
    }
}
