use burn::tensor::{Shape, Tensor};

use crate::boxes::{Corners, Overlap};

/// Intersection over union of each box with its counterpart, eq. (7): `Î = T / D`.
///
/// The plain ratio, without the `+ 1` of [`BoxLoss::IouPlusOne`](crate::BoxLoss::IouPlusOne). It is
/// 0, not NaN, where the union is empty; inverted boxes have no area.
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

/// Intersection over union of every box of `a` with every box of `b`; as [`aligned_iou`] otherwise.
///
/// # Shapes
///
/// - a: `[n, 4]`, `xyxy` in pixels
/// - b: `[m, 4]`, `xyxy` in pixels
/// - output: `[n, m]`, in `[0, 1]`
pub fn pairwise_iou(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    // `expand` takes a size of 0 in a `Shape`, but not in an array.
    let pairs = Shape::from([a.dims()[0], b.dims()[0], 4]);
    let a = a.unsqueeze_dim::<3>(1).expand::<3, _>(pairs.clone());
    let b = b.expand::<3, _>(pairs);
    Overlap::between(Corners::split(a), Corners::split(b))
        .iou()
        .squeeze_dim(2)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::reference::{Box4, assert_close, assert_finite, gradient, tensor2, values};

    const UNIT: Box4 = [0.0, 0.0, 1.0, 1.0];

    /// Pairs and their IoU, worked by hand.
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
        // Apart along both axes, where the product of two negative sides would be positive.
        (UNIT, [5.0, 5.0, 6.0, 6.0], 0.0),
        // A point on a box, a point on itself, and an inverted box.
        (UNIT, [0.5, 0.5, 0.5, 0.5], 0.0),
        ([3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0], 0.0),
        (UNIT, [1.0, 1.0, 0.0, 0.0], 0.0),
    ];

    #[test]
    fn aligned_boxes_worked_by_hand() {
        let device = Device::flex();
        let a = tensor2(&SCENE.map(|(a, _, _)| a), &device);
        let b = tensor2(&SCENE.map(|(_, b, _)| b), &device);
        let expected = SCENE.map(|(_, _, iou)| iou);
        assert_close(&values(aligned_iou(a.clone(), b.clone())), &expected, 1e-6);
        assert_close(&values(aligned_iou(b.clone(), a.clone())), &expected, 1e-6);
        assert_finite(&gradient(a, |a| aligned_iou(a, b)));
    }

    #[test]
    fn pairs_are_aligned_boxes_crossed() {
        let device = Device::flex();
        let a = SCENE.map(|(a, _, _)| a);
        let b = [UNIT, [1.0, 0.0, 3.0, 2.0]];
        let pairs = pairwise_iou(tensor2(&a, &device), tensor2(&b, &device));
        assert_eq!(pairs.dims(), [a.len(), b.len()]);

        let crossed: Vec<[Box4; 2]> = a.iter().flat_map(|&a| b.map(|b| [a, b])).collect();
        let left: Vec<Box4> = crossed.iter().map(|&[a, _]| a).collect();
        let right: Vec<Box4> = crossed.iter().map(|&[_, b]| b).collect();
        let aligned = aligned_iou(tensor2(&left, &device), tensor2(&right, &device));
        assert_eq!(values(pairs), values(aligned));
    }

    #[test]
    fn scale_does_not_matter_up_to_a_million_pixels() {
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
    fn no_boxes_have_no_iou() {
        let device = Device::flex();
        let none = || Tensor::<2>::zeros([0, 4], &device);
        let some = || tensor2(&[UNIT, UNIT], &device);
        assert_eq!(aligned_iou(none(), none()).dims(), [0]);
        assert_eq!(pairwise_iou(none(), some()).dims(), [0, 2]);
        assert_eq!(pairwise_iou(some(), none()).dims(), [2, 0]);
        assert!(gradient(none(), |a| aligned_iou(a, none())).is_empty());
    }
}
