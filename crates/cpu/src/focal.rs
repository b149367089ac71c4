//! The sigmoid focal loss in one pass over the logits, forward and backward.

use std::{f32::consts::LOG2_E, sync::Arc};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            NodeId,
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{Int, Tensor},
};
use pulp::{Simd, WithSimd};

use crate::{
    flex::{self, is_f32_on_flex, update_chunks},
    parallel::GRAIN,
    simd::dispatch,
};

/// The sigmoid focal loss ([Lin et al., 2017](https://arxiv.org/abs/1708.02002)) of every element of
/// `logits`, `[rows, classes]`, unreduced:
///
/// ```text
/// −α (1 − p̂)^γ ln p̂            for the labeled class of a row, p̂ = σ(logit)
/// −(1 − α) p̂^γ ln(1 − p̂)       for other classes
/// ```
///
/// `labels`, `[rows]`, are classes; a row with any other value, such as −1, has no labeled class. `alpha` is
/// in `[0, 1]`, `gamma` finite and `≥ 0`.
///
/// Each pass, forward and backward, reads the logits once, on all threads. Logits and labels are kept for
/// the backward pass.
///
/// Returns `None` unless `logits` is `f32` on the Flex backend.
///
/// ```
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let logits = Tensor::<2>::zeros([1, 2], &device);
/// let labels = Tensor::from_ints([0], &device);
/// let losses = fcos_burn_cpu::focal_loss(&logits, &labels, 0.25, 2.0).unwrap();
/// // At p̂ = ½: (0.25 + 0.75) · ½² · ln 2.
/// assert!((losses.sum().into_scalar::<f32>() - 0.25 * 2f32.ln()).abs() < 1e-6);
/// ```
///
/// # Panics
///
/// If there is not one label per row, or if `alpha` or `gamma` is out of range.
pub fn focal_loss(
    logits: &Tensor<2>,
    labels: &Tensor<1, Int>,
    alpha: f64,
    gamma: f64,
) -> Option<Tensor<2>> {
    if !is_f32_on_flex(logits) {
        return None;
    }
    let [rows, _] = logits.dims();
    assert_eq!(labels.dims(), [rows], "labels must have one value per row");
    assert!(
        (0.0..=1.0).contains(&alpha) && (0.0..f64::INFINITY).contains(&gamma),
        "alpha must be in [0, 1], gamma finite and at least 0, but they are {alpha} and {gamma}"
    );
    let focal = Focal {
        labels: labels.to_data().iter::<i64>().collect(),
        alpha: alpha as f32,
        gamma: (gamma as f32).min(f32::MAX),
    };
    let losses = <Dispatch as FocalOps>::focal(logits.clone().into_dispatch(), focal);
    Some(Tensor::from_dispatch(losses))
}

/// The loss as an operation of the backends that implement it.
#[backend_extension(Flex, Autodiff)]
trait FocalOps: Backend {
    fn focal(logits: FloatTensor<Self>, focal: Focal) -> FloatTensor<Self>;
}

impl FocalOps for Flex {
    fn focal(logits: FloatTensor<Self>, focal: Focal) -> FloatTensor<Self> {
        let others = 1.0 - focal.alpha;
        focal.update(&logits.clone(), logits, others, |_, weight, element| {
            weight * element.loss
        })
    }
}

impl<C: CheckpointStrategy> FocalOps for Autodiff<Flex, C> {
    fn focal(logits: FloatTensor<Self>, focal: Focal) -> FloatTensor<Self> {
        let losses = Flex::focal(logits.primitive().clone(), focal.clone());
        match FocalLoss
            .prepare::<C>([logits.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&logits), focal);
                prep.finish(state, losses)
            }
            OpsKind::UnTracked(prep) => prep.finish(losses),
        }
    }
}

#[derive(Debug)]
struct FocalLoss;

impl Backward<Flex, 1> for FocalLoss {
    /// The logits and the loss.
    type State = (NodeId, Focal);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [parent] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node);
        let (logits, focal) = ops.state;
        let logits: FloatTensor<Flex> = checkpointer.retrieve_node_output(logits);
        // The loss of other classes is that at the negated logit.
        let others = focal.alpha - 1.0;
        let gradient = focal.update(&logits, gradient, others, |gradient, weight, element| {
            gradient * (weight * element.slope)
        });
        if let Some(parent) = parent {
            grads.register::<Flex>(parent.id, gradient);
        }
    }
}

#[derive(Clone, Debug)]
struct Focal {
    labels: Arc<[i64]>,
    alpha: f32,
    gamma: f32,
}

impl Focal {
    /// Updates `values` of the shape of `logits` by `update`, given the value, its weight and the loss of its
    /// element. The weight is α for labeled classes, `others` for other classes.
    fn update(
        &self,
        logits: &FloatTensor<Flex>,
        values: FloatTensor<Flex>,
        others: f32,
        update: impl Fn(f32, f32, Element) -> f32 + Copy + Sync,
    ) -> FloatTensor<Flex> {
        let logits = logits.to_contiguous();
        let [_, classes] = logits.shape().dims();
        let classes = classes.max(1);
        let logits = flex::values(&logits);
        // Whole rows.
        let length = (GRAIN / classes).max(1) * classes;
        update_chunks(values, length, |index, values| {
            let start = index * length;
            dispatch(Rows {
                labels: &self.labels[start / classes..],
                classes,
                logits: &logits[start..][..values.len()],
                weights: [others, self.alpha],
                gamma: self.gamma,
                values,
                update,
            });
        })
    }
}

/// The indices of the labeled elements of rows with `classes` values each.
fn labeled(labels: &[i64], classes: usize, length: usize) -> impl Iterator<Item = usize> {
    let rows = labels.iter().take(length / classes).enumerate();
    rows.filter_map(move |(row, label)| {
        let class = usize::try_from(*label)
            .ok()
            .filter(|class| *class < classes);
        Some(row * classes + class?)
    })
}

/// Updates the values of whole rows.
struct Rows<'a, U> {
    /// Of these rows, and of all rows after them.
    labels: &'a [i64],
    classes: usize,
    logits: &'a [f32],
    /// Of other classes, and of labeled ones.
    weights: [f32; 2],
    gamma: f32,
    values: &'a mut [f32],
    update: U,
}

impl<U: Fn(f32, f32, Element) -> f32> WithSimd for Rows<'_, U> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            labels,
            classes,
            logits,
            weights: [others, own],
            gamma,
            values,
            update,
        } = self;
        // All elements are computed as those of other classes first, so that the loop has no branches.
        let labeled: Vec<(usize, f32)> = labeled(labels, classes, values.len())
            .map(|index| (index, values[index]))
            .collect();
        for (value, logit) in values.iter_mut().zip(logits) {
            *value = update(*value, others, Element::at(-*logit, gamma));
        }
        for (index, value) in labeled {
            values[index] = update(value, own, Element::at(logits[index], gamma));
        }
    }
}

/// The loss without α of an element with the target 1, and its derivative.
struct Element {
    loss: f32,
    slope: f32,
}

impl Element {
    /// With the target 0, the loss is that at the negated logit.
    #[inline(always)]
    fn at(logit: f32, gamma: f32) -> Self {
        // All from e^−|logit|, so that nothing overflows and small values keep their digits.
        let exp = exp_of_negative(-logit.abs());
        let softplus = ln_1_plus(exp);
        let cross_entropy = softplus + (-logit).max(0.0); // −ln p̂
        let ln_rest = -(softplus + logit.max(0.0)); // ln(1 − p̂)
        let larger = 1.0 / (1.0 + exp);
        let smaller = exp * larger;
        let is_positive = logit >= 0.0;
        let score = if is_positive { larger } else { smaller };
        let rest = if is_positive { smaller } else { larger };
        // Infinite factors are replaced where 0 · ∞ would be NaN. NaN itself reaches `rest` and the loss.
        let modulation = exp_of_negative(gamma * ln_rest.max(f32::MIN));
        let product = score * cross_entropy.min(f32::MAX);
        Self {
            loss: modulation * cross_entropy,
            slope: -modulation * (gamma * product + rest),
        }
    }
}

/// eˣ for x ≤ 0, or NaN; 0 for x < −87, where it is about to be subnormal. Written so that the compiler uses
/// vectors.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    // ln 2 in two parts: the first has few digits, so that its multiples are exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    // Adding it rounds to an integer, in the last bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < LOWEST { LOWEST } else { x };
    let shifted = clamped * LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = (clamped - whole * LN_2[0]) - whole * LN_2[1];
    // 1/k!, for |rest| ≤ ln 2 / 2.
    let mut exp = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        exp = exp * rest + factor;
    }
    let power_of_2 = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < LOWEST { 0.0 } else { exp * power_of_2 }
}

/// ln(1 + x) for x in [0, 1], or NaN, as 2 artanh(x / (2 + x)). Written so that the compiler uses vectors.
#[inline(always)]
fn ln_1_plus(x: f32) -> f32 {
    let ratio = x / (2.0 + x);
    let square = ratio * ratio;
    // 1/(2k + 1), for a ratio of at most 1/3.
    let mut sum = 1.0 / 15.0;
    for factor in [
        1.0 / 13.0,
        1.0 / 11.0,
        1.0 / 9.0,
        1.0 / 7.0,
        0.2,
        1.0 / 3.0,
        1.0,
    ] {
        sum = sum * square + factor;
    }
    2.0 * ratio * sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::{Device, FloatDType};

    use super::*;
    use crate::simd::Level;

    /// The loss of one element without α, in 64 bits.
    fn expected(logit: f64, gamma: f64) -> f64 {
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        (-gamma * softplus(logit)).exp() * softplus(-logit)
    }

    fn slope(logit: f64, gamma: f64) -> f64 {
        let score = 1.0 / (1.0 + (-logit).exp());
        let rest = 1.0 / (1.0 + logit.exp());
        let softplus = (-logit).max(0.0) + (-logit.abs()).exp().ln_1p();
        -rest.powf(gamma) * (gamma * score * softplus + rest)
    }

    /// Logits from −80 to 80, most of them near 0, and labels, of which some are no class.
    fn scene(rows: usize, classes: usize) -> (Vec<f32>, Vec<i64>) {
        let number =
            |index: usize| (((index * 7919 + 13) as f32 * 78.233).sin() * 43_758.547).fract();
        let logits = (0..rows * classes).map(|index| 80.0 * number(index).powi(3));
        let labels = (0..rows).map(|row| (row * 31 % (classes + 3)) as i64 - 2);
        (logits.collect(), labels.collect())
    }

    fn losses_and_gradient(
        shape: [usize; 2],
        logits: &[f32],
        labels: &[i64],
        alpha: f64,
        gamma: f64,
    ) -> [Vec<f32>; 2] {
        let device = Device::flex().autodiff();
        let logits = Tensor::<1>::from_floats(logits, &device)
            .reshape(shape)
            .require_grad();
        let labels = Tensor::<1, Int>::from_ints(labels, &device);
        let losses = focal_loss(&logits, &labels, alpha, gamma).unwrap();
        // Another gradient for each element.
        let weights = Tensor::<2>::ones(shape, &device)
            + Tensor::<1, Int>::arange(0..shape[1] as i64, &device)
                .cast(FloatDType::F32)
                .unsqueeze();
        let gradients = (losses.clone() * weights).sum().backward();
        let gradient = logits.grad(&gradients).unwrap();
        [losses, gradient].map(|tensor| tensor.into_data().iter().collect())
    }

    #[test]
    fn values_and_gradients_match_the_formula_at_every_level() {
        for (rows, classes) in [
            (1, 1),
            (700, 1),
            (123, 3),
            (1000, 80), // in several chunks, the last of which is smaller
            (2, 20_000),
            (0, 4),
        ] {
            let (logits, labels) = scene(rows, classes);
            for (alpha, gamma) in [(0.25, 2.0), (0.5, 0.0), (0.9, 0.5), (0.0, 1.0), (1.0, 3.0)] {
                let results = Level::each(|_| {
                    losses_and_gradient([rows, classes], &logits, &labels, alpha, gamma)
                });
                assert!(results.iter().all(|result| *result == results[0]));
                let [losses, gradient] = &results[0];
                assert_eq!([losses.len(), gradient.len()], [rows * classes; 2]);
                for (index, logit) in logits.iter().enumerate() {
                    let class = index % classes;
                    let own = labels[index / classes] == class as i64;
                    let sign = if own { 1.0 } else { -1.0 };
                    let weight = if own { alpha } else { 1.0 - alpha };
                    let z = sign * f64::from(*logit);
                    let loss = weight * expected(z, gamma);
                    let slope = (1 + class) as f64 * sign * weight * slope(z, gamma);
                    let (found, found_slope) = (losses[index].into(), gradient[index].into());
                    let close = |found: f64, expected: f64| {
                        (found - expected).abs() <= 2e-5 * expected.abs() + 1e-30
                    };
                    assert!(close(found, loss), "{logit}: {found}, {loss}");
                    assert!(close(found_slope, slope), "{logit}: {found_slope}, {slope}");
                }
            }
        }
    }

    #[test]
    fn exponentials_and_logarithms_are_accurate() {
        for step in 0..=8700_u16 {
            let x = -f32::from(step) / 100.0;
            let (found, exact) = (f64::from(exp_of_negative(x)), f64::from(x).exp());
            assert!((found / exact - 1.0).abs() < 2e-7, "{x}: {found}, {exact}");
            let x = x.exp();
            let (found, exact) = (f64::from(ln_1_plus(x)), f64::from(x).ln_1p());
            assert!((found / exact - 1.0).abs() < 3e-7, "{x}: {found}, {exact}");
        }
        assert_eq!(
            [-88.0, -1e30, f32::NEG_INFINITY].map(exp_of_negative),
            [0.0; 3]
        );
    }

    #[test]
    fn nan_stays_nan_and_infinite_logits_have_the_limits() {
        let _level = Level::hold();
        let logits = [
            [f32::NAN, 1.0],
            [f32::INFINITY, f32::NEG_INFINITY],
            [f32::INFINITY, f32::NEG_INFINITY],
        ];
        for gamma in [0.0, 0.5, 2.0, f64::MAX] {
            let labels = [-1, 1, 0];
            let [losses, gradient] =
                losses_and_gradient([3, 2], logits.as_flattened(), &labels, 0.25, gamma);
            assert!(losses[0].is_nan() && gradient[0].is_nan());
            assert!(losses[1].is_finite() && gradient[1].is_finite());
            assert_eq!(losses[2..], [f32::INFINITY, f32::INFINITY, 0.0, 0.0]);
            // `losses_and_gradient` doubles that of the second class.
            assert_eq!(gradient[2..], [0.75, -0.5, 0.0, 0.0]);
        }
    }

    #[test]
    fn logits_can_be_a_view() {
        let _level = Level::hold();
        let device = Device::flex();
        let (logits, labels) = scene(30, 7);
        let whole = Tensor::<1>::from_floats(logits.as_slice(), &device).reshape([30, 7]);
        let labels = Tensor::<1, Int>::from_ints(labels.as_slice(), &device).narrow(0, 3, 20);
        let view = whole.clone().transpose().transpose().narrow(0, 3, 20);
        let copy = Tensor::<2>::from_data(view.to_data(), &device);
        let [found, expected] =
            [view, copy].map(|logits| focal_loss(&logits, &labels, 0.25, 2.0).unwrap());
        assert_eq!(found.into_data(), expected.into_data());
        let columns = whole.narrow(1, 2, 3);
        let copy = Tensor::<2>::from_data(columns.to_data(), &device);
        let labels = Tensor::<1, Int>::zeros([30], &device);
        let [found, expected] =
            [columns, copy].map(|logits| focal_loss(&logits, &labels, 0.25, 2.0).unwrap());
        assert_eq!(found.into_data(), expected.into_data());
    }

    #[test]
    fn other_formats_are_left_to_burn() {
        let device = Device::flex();
        let logits = Tensor::<2>::zeros([1, 2], &device).cast(FloatDType::F16);
        let labels = Tensor::from_ints([0], &device);
        assert!(focal_loss(&logits, &labels, 0.25, 2.0).is_none());
    }
}
