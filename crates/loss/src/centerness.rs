use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;

use crate::columns::{both_columns, slice_columns};

/// How central a location is in its box: the target of the center-ness branch in eq. (3) of
/// [FCOS](https://arxiv.org/abs/1904.01355),
///
/// ```text
/// √( min(l, r) / max(l, r) · min(t, b) / max(t, b) )
/// ```
///
/// It is 1 at the center and falls to 0 at the border. It is 0 outside the box, where a distance is
/// negative, and for an empty box.
///
/// # Shapes
///
/// - distances: `[num_locations, 4]`, to the left, top, right and bottom edges, in any unit
/// - output: `[num_locations]`, in `[0, 1]`
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fcos_burn_loss::centerness_target;
///
/// let distances = Tensor::<2>::from_floats([[1.0, 2.0, 4.0, 2.0]], &Device::flex());
/// assert_eq!(centerness_target(distances).into_scalar::<f32>(), 0.5);
/// ```
pub fn centerness_target(distances: Tensor<2>) -> Tensor<1> {
    let shape = distances.shape();
    let outside = distances.clone().min_dim(1).lower_equal_scalar(0.0);
    // The gradient of the root is infinite at 0. Rows outside get the distances of a center.
    let distances = distances.mask_fill(outside.clone().expand(shape), 1.0);
    let left_top = slice_columns(distances.clone(), 0..2);
    let right_bottom = slice_columns(distances, 2..4);

    let shorter = left_top.clone().min_pair(right_bottom.clone());
    let longer = left_top.max_pair(right_bottom);
    let [horizontal, vertical] = both_columns((shorter / longer).sqrt());
    (horizontal * vertical)
        .mask_fill(outside, 0.0)
        .squeeze_dim(1)
}

/// Binary cross-entropy between center-ness logits and their targets, unreduced and numerically
/// stable at any logit.
///
/// # Shapes
///
/// - logits: `[num_locations]`
/// - targets: `[num_locations]`, in `[0, 1]`
/// - output: `[num_locations]`
pub fn centerness_loss(logits: Tensor<1>, targets: Tensor<1>) -> Tensor<1> {
    targets.neg().add_scalar(1.0) * logits.clone() - log_sigmoid(logits)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::closed_forms::sigmoid;
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor1, tensor2, values};

    #[test]
    fn targets_match_values_worked_by_hand() {
        let device = Device::flex();
        let distances = [
            // The center of a square, and of a wide box.
            [3.0, 3.0, 3.0, 3.0],
            [8.0, 1.0, 8.0, 1.0],
            // √(1/4 · 2/2), √(2/8 · 1/9).
            [1.0, 2.0, 4.0, 2.0],
            [8.0, 9.0, 2.0, 1.0],
            // On the border, outside along one axis, outside along both, an empty box.
            [0.0, 2.0, 4.0, 2.0],
            [-1.0, 2.0, 4.0, 2.0],
            [-1.0, -2.0, 4.0, 5.0],
            [0.0, 0.0, 0.0, 0.0],
        ];
        let expected = [1.0, 1.0, 0.5, 1.0 / 6.0, 0.0, 0.0, 0.0, 0.0];
        let actual = centerness_target(tensor2(&distances, &device));
        assert_close(&values(actual), &expected, 1e-6);
        assert_finite(&gradient(tensor2(&distances, &device), centerness_target));
    }

    #[test]
    fn loss_is_the_cross_entropy_of_the_probability() {
        let device = Device::flex();
        let logits = [-4.0, -0.5, 0.0, 1.0, 3.0];
        let targets = [0.1, 0.0, 0.5, 1.0, 0.7];
        let expected: Vec<f64> = logits
            .iter()
            .zip(targets)
            .map(|(&o, t): (&f64, f64)| -t * sigmoid(o).ln() - (1.0 - t) * (1.0 - sigmoid(o)).ln())
            .collect();
        let forward = |logits| centerness_loss(logits, tensor1(&targets, &device));
        assert_close(&values(forward(tensor1(&logits, &device))), &expected, 1e-6);

        let slope: Vec<f64> = logits
            .iter()
            .zip(targets)
            .map(|(&o, t)| sigmoid(o) - t)
            .collect();
        assert_close(&gradient(tensor1(&logits, &device), forward), &slope, 1e-6);
    }

    #[test]
    fn loss_and_gradient_are_exact_at_extreme_logits() {
        let device = Device::flex();
        let logits = [1e4, -1e4, 1e4, -1e4, 100.0];
        let targets = [1.0, 0.0, 0.0, 1.0, 0.5];
        let forward = |logits| centerness_loss(logits, tensor1(&targets, &device));
        let expected = [0.0, 0.0, 1e4, 1e4, 50.0];
        assert_close(&values(forward(tensor1(&logits, &device))), &expected, 1e-6);
        let slope = gradient(tensor1(&logits, &device), forward);
        assert_close(&slope, &[0.0, 0.0, 1.0, -1.0, 0.5], 1e-6);
    }

    #[test]
    fn no_locations_give_an_empty_loss() {
        let device = Device::flex();
        assert_eq!(
            centerness_target(Tensor::zeros([0, 4], &device)).dims(),
            [0]
        );
        let none = || Tensor::<1>::zeros([0], &device);
        assert!(gradient(none(), |logits| centerness_loss(logits, none())).is_empty());
    }
}
