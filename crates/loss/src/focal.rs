use burn::config::Config;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{FloatDType, Int, Tensor};

use crate::columns::column_values;
use crate::config_error::{ConfigError, fraction, non_negative};
use crate::own_class::own_class;

/// Configuration of a [`SigmoidFocalLoss`], which [`init`](SigmoidFocalLossConfig::init) builds.
#[derive(Config, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SigmoidFocalLossConfig {
    /// Weight `α` of positive elements, in `[0, 1]`; that of negative elements is `1 − α`.
    #[config(default = 0.25)]
    pub alpha: f64,
    /// Focusing exponent `γ`, finite and `≥ 0`. At 0 the loss is the α-balanced binary
    /// cross-entropy.
    #[config(default = 2.0)]
    pub gamma: f64,
}

impl SigmoidFocalLossConfig {
    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of range.
    pub fn init(&self) -> Result<SigmoidFocalLoss, ConfigError> {
        fraction("alpha", self.alpha)?;
        non_negative("gamma", self.gamma)?;
        Ok(SigmoidFocalLoss {
            alpha: self.alpha,
            gamma: self.gamma,
        })
    }
}

/// The sigmoid focal loss, with an independent binary classifier per class: eq. (4), from
/// [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002),
///
/// ```text
/// L(p̂, p) = −α (1 − p̂)^γ ln p̂            if p = 1
/// L(p̂, p) = −(1 − α) p̂^γ ln(1 − p̂)       if p = 0
/// ```
///
/// where `p̂ = σ(logit)`. It is computed from the logit, so that a saturated sigmoid loses neither
/// the value nor the gradient.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fcos_burn_loss::SigmoidFocalLossConfig;
///
/// # fn main() -> Result<(), fcos_burn_loss::ConfigError> {
/// let device = Device::flex();
/// let logits = Tensor::<2>::zeros([1, 2], &device);
/// let targets = Tensor::<2>::from_floats([[1.0, 0.0]], &device);
///
/// let loss = SigmoidFocalLossConfig::new().init()?.forward(logits, targets);
/// // At p̂ = ½: (0.25 + 0.75) · ½² · ln 2.
/// assert!((loss.sum().into_scalar::<f32>() - 0.25 * 2f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SigmoidFocalLoss {
    pub(crate) alpha: f64,
    pub(crate) gamma: f64,
}

impl SigmoidFocalLoss {
    /// The loss of every element, unreduced.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_locations, num_classes]`
    /// - targets: `[num_locations, num_classes]`, each 0 or 1
    /// - output: `[num_locations, num_classes]`
    pub fn forward(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
        let negated_alpha_t = targets
            .clone()
            .mul_scalar(1.0 - 2.0 * self.alpha)
            .sub_scalar(1.0 - self.alpha);
        self.weighted(logits, targets, negated_alpha_t)
    }

    /// [`forward`](Self::forward) with another `α` for each class.
    ///
    /// # Panics
    ///
    /// If `alphas` does not have one value per class.
    pub fn forward_with_alphas(
        &self,
        logits: Tensor<2>,
        targets: Tensor<2>,
        alphas: &[f64],
    ) -> Tensor<2> {
        let (shape, device) = (targets.shape(), targets.device());
        let rows = |value: fn(&f64) -> f64| {
            let values: Vec<f64> = alphas.iter().map(value).collect();
            column_values(&values, shape.clone(), &device)
        };
        let slope = rows(|alpha| 1.0 - 2.0 * alpha);
        let negated_alpha_t = targets.clone() * slope - rows(|alpha| 1.0 - alpha);
        self.weighted(logits, targets, negated_alpha_t)
    }

    /// The loss with the weight `−α_t` of each element.
    fn weighted(
        &self,
        logits: Tensor<2>,
        targets: Tensor<2>,
        negated_alpha_t: Tensor<2>,
    ) -> Tensor<2> {
        // With z = ±logit, positive for a target of 1, p_t = σ(z) is the probability of the target,
        // and one formula holds for both: −α_t (1 − p_t)^γ ln p_t. Sign and weight are constants;
        // only z, ln p_t and the modulation are on the autodiff tape.
        let sign = targets.mul_scalar(2.0).sub_scalar(1.0);
        let z = logits * sign;
        let log_pt = log_sigmoid(z.clone());
        let weighted = log_pt.clone() * negated_alpha_t;
        if self.gamma == 0.0 {
            return weighted;
        }
        // ln(1 − p_t) = ln σ(−z) = ln σ(z) − z. Its exponential, unlike a power of 1 − p_t, has a
        // finite gradient at p_t = 1 for γ < 1.
        let modulation = (log_pt - z).mul_scalar(self.gamma).exp();
        weighted * modulation
    }

    /// The loss of every element, with class labels as targets, unreduced.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_locations, num_classes]`
    /// - labels: `[num_locations]`, each in `0..num_classes`, or negative for background
    /// - output: `[num_locations, num_classes]`
    pub fn forward_with_labels(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
        #[cfg(feature = "flex")]
        if let Some(losses) = fcos_burn_cpu::focal_loss(&logits, &labels, self.alpha, self.gamma) {
            return losses;
        }
        self.forward_with_one_hot(logits, labels)
    }

    fn forward_with_one_hot(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
        let targets = own_class(labels, logits.shape()).cast(FloatDType::F32);
        self.forward(logits, targets)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::closed_forms::{focal, sigmoid};
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor2, values};

    const LOGITS: [[f64; 3]; 3] = [[-6.0, -1.5, 0.0], [0.3, 2.0, 5.0], [-0.2, 7.0, -3.0]];
    const TARGETS: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]];
    const LABELS: [i64; 3] = [0, 2, -1];

    fn loss(alpha: f64, gamma: f64) -> SigmoidFocalLoss {
        SigmoidFocalLossConfig { alpha, gamma }.init().unwrap()
    }

    fn each_element(f: impl Fn(f64, bool) -> f64) -> Vec<f64> {
        LOGITS
            .as_flattened()
            .iter()
            .zip(TARGETS.as_flattened())
            .map(|(&logit, &target)| f(logit, target == 1.0))
            .collect()
    }

    #[test]
    fn values_match_equation_4() {
        let device = Device::flex();
        for (alpha, gamma) in [(0.25, 2.0), (0.5, 0.0), (0.9, 0.5), (0.0, 1.0), (1.0, 3.0)] {
            let actual =
                loss(alpha, gamma).forward(tensor2(&LOGITS, &device), tensor2(&TARGETS, &device));
            let labeled = loss(alpha, gamma).forward_with_labels(
                tensor2(&LOGITS, &device),
                Tensor::from_ints(LABELS, &device),
            );
            let expected = each_element(|logit, target| focal(logit, target, alpha, gamma));
            assert_close(&values(actual), &expected, 2e-6);
            assert_close(&values(labeled), &expected, 2e-6);
        }
    }

    #[test]
    fn gradients_match_the_slope_of_equation_4() {
        let device = Device::flex();
        for (alpha, gamma) in [(0.25, 2.0), (0.25, 0.5)] {
            let actual = gradient(tensor2(&LOGITS, &device), |logits| {
                loss(alpha, gamma).forward(logits, tensor2(&TARGETS, &device))
            });
            let labeled = gradient(tensor2(&LOGITS, &device), |logits| {
                let labels = Tensor::from_ints(LABELS, &device);
                loss(alpha, gamma).forward_with_labels(logits, labels)
            });
            let h = 1e-5;
            let expected = each_element(|logit, target| {
                (focal(logit + h, target, alpha, gamma) - focal(logit - h, target, alpha, gamma))
                    / (2.0 * h)
            });
            assert_close(&actual, &expected, 2e-6);
            assert_close(&labeled, &expected, 2e-6);
        }
    }

    #[test]
    fn gradients_without_focusing_match_equation_10() {
        let device = Device::flex();
        let logits = [[-5.0], [-0.7], [0.0], [1.0], [6.0]];
        let actual = gradient(tensor2(&logits, &device), |logits| {
            let targets = logits.ones_like();
            loss(0.25, 0.0).forward(logits, targets)
        });
        let expected = logits.map(|[o]| 0.25 * (sigmoid(o) - 1.0));
        assert_close(&actual, &expected, 1e-6);
    }

    #[test]
    fn classes_can_have_their_own_alpha() {
        let device = Device::flex();
        let alphas = [0.25, 0.9, 0.0];
        let [logits, targets] = [LOGITS, TARGETS].map(|rows| tensor2(&rows, &device));
        let actual = loss(0.5, 2.0).forward_with_alphas(logits.clone(), targets.clone(), &alphas);
        let rows = LOGITS.iter().zip(&TARGETS);
        let expected: Vec<f64> = rows
            .flat_map(|(logits, targets)| {
                [0, 1, 2].map(|c| focal(logits[c], targets[c] == 1.0, alphas[c], 2.0))
            })
            .collect();
        assert_close(&values(actual), &expected, 2e-6);
        let equal = loss(0.5, 2.0).forward_with_alphas(logits.clone(), targets.clone(), &[0.25; 3]);
        let one = loss(0.25, 2.0).forward(logits, targets);
        assert_close(&values(equal), &values(one), 1e-7);
        let [logits, targets] = [(); 2].map(|()| Tensor::zeros([0, 3], &device));
        let empty = loss(0.5, 2.0).forward_with_alphas(logits, targets, &alphas);
        assert_eq!(empty.dims(), [0, 3]);
    }

    #[test]
    fn labels_are_equivalent_to_one_hot_targets() {
        let device = Device::flex();
        let loss = loss(0.25, 2.0);
        let dense = loss.forward(tensor2(&LOGITS, &device), tensor2(&TARGETS, &device));
        let labels = Tensor::from_ints(LABELS, &device);
        let labeled = loss.forward_with_one_hot(tensor2(&LOGITS, &device), labels);
        assert_eq!(values(dense), values(labeled));
    }

    #[test]
    fn values_and_gradients_are_exact_at_extreme_logits() {
        let device = Device::flex();
        let logits = [[100.0, -100.0], [1e4, -1e4]];
        for gamma in [0.0, 0.5, 2.0] {
            let run = |target: f64| {
                let forward = |logits: Tensor<2>| {
                    let targets = logits.full_like(target);
                    loss(0.25, gamma).forward(logits, targets)
                };
                let value = values(forward(tensor2(&logits, &device)));
                (value, gradient(tensor2(&logits, &device), forward))
            };
            let (value, slope) = run(1.0);
            assert_close(&value, &[0.0, 25.0, 0.0, 2500.0], 1e-6);
            assert_close(&slope, &[0.0, -0.25, 0.0, -0.25], 1e-6);
            let (value, slope) = run(0.0);
            assert_close(&value, &[75.0, 0.0, 7500.0, 0.0], 1e-6);
            assert_close(&slope, &[0.75, 0.0, 0.75, 0.0], 1e-6);
        }
    }

    #[test]
    fn no_locations_give_an_empty_loss() {
        let device = Device::flex();
        let slope = gradient(Tensor::<2>::zeros([0, 3], &device), |logits| {
            let labels = Tensor::<1, Int>::zeros([0], &device);
            let output = loss(0.25, 2.0).forward_with_labels(logits, labels);
            assert_eq!(output.dims(), [0, 3]);
            output
        });
        assert_finite(&slope);
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        for (alpha, gamma, field) in [
            (-0.1, 2.0, "alpha"),
            (1.1, 2.0, "alpha"),
            (f64::NAN, 2.0, "alpha"),
            (0.25, -1.0, "gamma"),
            (0.25, f64::INFINITY, "gamma"),
        ] {
            let error = SigmoidFocalLossConfig { alpha, gamma }.init().unwrap_err();
            assert_eq!(error.field, field);
        }
    }
}
