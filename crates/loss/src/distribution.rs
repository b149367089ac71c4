use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use crate::columns::slice_columns;

/// Distribution focal loss, eq. (6) of [Generalized Focal Loss](https://arxiv.org/abs/2006.04388),
/// unreduced: the cross-entropy of a distribution over the integers `0, …, n` with one that has the
/// mean `y` on its two neighbors `⌊y⌋` and `⌊y⌋ + 1`,
///
/// ```text
/// −(⌊y⌋ + 1 − y) ln S(⌊y⌋) − (y − ⌊y⌋) ln S(⌊y⌋ + 1),   S = softmax(logits)
/// ```
///
/// Its gradient with respect to a logit is `S` minus the share of the neighbor.
///
/// # Shapes
///
/// - logits: `[num_values, n + 1]`, with `n ≥ 1`
/// - targets: `[num_values]`, in bins; clamped to `[0, n]`
/// - output: `[num_values]`
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fcos_burn_loss::distribution_focal_loss;
///
/// let device = Device::flex();
/// let logits = Tensor::<2>::zeros([1, 17], &device);
/// let targets = Tensor::<1>::from_floats([3.25], &device);
/// let loss = distribution_focal_loss(logits, targets).into_scalar::<f32>();
/// assert!((loss - 17f32.ln()).abs() < 1e-6);
/// ```
pub fn distribution_focal_loss(logits: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
    let shape = logits.shape();
    let bins = shape[1] as i64;
    let places = Tensor::<1, Int>::arange(0..bins, &targets.device()).float();
    let places = places.unsqueeze_dim::<2>(0).expand::<2, _>(shape.clone());
    let targets = targets.detach().clamp(0.0, (bins - 1) as f64);
    let targets = targets.unsqueeze_dim::<2>(1).expand::<2, _>(shape);
    // The share of a bin falls linearly with its distance from the target.
    let shares = (targets - places)
        .abs()
        .neg()
        .add_scalar(1.0)
        .clamp_min(0.0);
    (log_softmax(logits, 1) * shares)
        .sum_dim(1)
        .neg()
        .squeeze_dim(1)
}

/// Distributions over the distances from each location to the four sides of its box, in bins.
#[derive(Clone, Debug)]
pub struct BoxDistributions {
    /// `[num_locations, 4, n + 1]`: logits of the distances `0, …, n` to the left, top, right and
    /// bottom side.
    pub logits: Tensor<3>,
    /// `[num_locations, 2]`: `x` and `y` of each location in pixels.
    pub locations: Tensor<2>,
    /// `[num_locations]`: pixels per bin.
    pub bin_sizes: Tensor<1>,
}

impl BoxDistributions {
    /// The mean over the four sides of the [distribution focal loss](distribution_focal_loss) of
    /// each location, `[num_locations]`.
    ///
    /// `boxes`, `[num_locations, 4]`, are targets as `xyxy` in pixels. Sides that are farther away
    /// than `n` bins, or on the other side of the location, count as the nearest bin.
    pub fn losses(&self, boxes: Tensor<2>) -> Tensor<1> {
        let [rows, sides, bins] = self.logits.dims();
        let from_left_top = self.locations.clone() - slice_columns(boxes.clone(), 0..2);
        let to_right_bottom = slice_columns(boxes, 2..4) - self.locations.clone();
        let distances = Tensor::cat(vec![from_left_top, to_right_bottom], 1);
        let targets = distances / self.bin_sizes.clone().unsqueeze_dim::<2>(1);
        let logits = self.logits.clone().reshape([rows * sides, bins]);
        let losses = distribution_focal_loss(logits, targets.reshape([rows * sides]));
        losses.reshape([rows, sides]).mean_dim(1).squeeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor1, tensor2, values};

    const LOGITS: [[f64; 4]; 6] = [
        [0.3, -1.0, 2.0, 0.1],
        [5.0, 1.0, 0.0, -3.0],
        [-0.5, 0.5, 0.2, 0.9],
        [1.0, 1.0, 1.0, 1.0],
        [0.0, 3.0, -2.0, 4.0],
        [-1.0, 0.0, 2.5, 1.5],
    ];
    const TARGETS: [f64; 6] = [0.0, 1.25, 3.0, 2.5, -1.0, 7.0];

    fn softmax(logits: &[f64]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / sum).collect()
    }

    /// The lower neighbor of a target, and the share of the upper one.
    fn neighbors(target: f64) -> (usize, f64) {
        let target = target.clamp(0.0, 3.0);
        let lower = (target.floor() as usize).min(2);
        (lower, target - lower as f64)
    }

    #[test]
    fn values_and_gradients_match_equation_6() {
        let device = Device::flex();
        let forward = |logits| distribution_focal_loss(logits, tensor1(&TARGETS, &device));
        let (mut expected, mut slopes) = (Vec::new(), Vec::new());
        for (logits, target) in LOGITS.iter().zip(TARGETS) {
            let s = softmax(logits);
            let (lower, share) = neighbors(target);
            expected.push(-(1.0 - share) * s[lower].ln() - share * s[lower + 1].ln());
            slopes.extend(s.iter().enumerate().map(|(bin, s)| match bin {
                bin if bin == lower => s - (1.0 - share),
                bin if bin == lower + 1 => s - share,
                _ => *s,
            }));
        }
        assert_close(&values(forward(tensor2(&LOGITS, &device))), &expected, 1e-6);
        assert_close(&gradient(tensor2(&LOGITS, &device), forward), &slopes, 1e-6);
    }

    #[test]
    fn losses_of_a_box_are_the_mean_of_its_sides() {
        let device = Device::flex();
        let logits = tensor2(&LOGITS[..4], &device).reshape([1, 4, 4]);
        let distributions = BoxDistributions {
            logits,
            locations: tensor2(&[[20.0, 12.0]], &device),
            bin_sizes: tensor1(&[8.0], &device),
        };
        // Distances of 4, 10, 24 and 100 pixels.
        let found = distributions.losses(tensor2(&[[16.0, 2.0, 44.0, 112.0]], &device));
        let targets = tensor1(&[0.5, 1.25, 3.0, 12.5], &device);
        let of_sides = values(distribution_focal_loss(
            tensor2(&LOGITS[..4], &device),
            targets,
        ));
        assert_close(&values(found), &[of_sides.iter().sum::<f64>() / 4.0], 1e-6);
    }

    #[test]
    fn extreme_logits_and_no_values_are_finite() {
        let device = Device::flex();
        let logits = tensor2(&[[1e4, -1e4], [-1e4, 1e4], [0.0, 1e4]], &device);
        let forward = |logits| distribution_focal_loss(logits, tensor1(&[0.0, 0.5, 0.9], &device));
        assert_finite(&values(forward(logits.clone())));
        assert_finite(&gradient(logits, forward));
        let none = |logits| distribution_focal_loss(logits, Tensor::zeros([0], &device));
        assert!(gradient(Tensor::zeros([0, 3], &device), none).is_empty());
    }
}
