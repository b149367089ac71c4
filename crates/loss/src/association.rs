use core::fmt;
use core::str::FromStr;

use burn::serde::{Deserialize, Serialize};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Bool, Int, Tensor};

use crate::LossConfigError;
use crate::error::{non_negative, positive};

/// What is left of the domain of [`pce`] where its linear continuation takes over: the loss is the
/// paper's as long as `1 − |p̂ − kÎ|` is at least this.
pub const PCE_DOMAIN_MARGIN: f64 = 0.01;

/// A loss that ties the classification score of a positive location to the IoU of its box, so that
/// of several boxes on one object the best localised also scores best.
///
/// It regularises the classifier: it is added to a classification loss over the positives
/// (eq. 12), and the IoU is its label, which no gradient reaches.
///
/// Both draw the score `p̂` to the line `p̂ = kÎ`, with weight `β`. Without any association loss the
/// same place holds `None`.
///
/// # Where the optimum lies
///
/// For `γ = 0` the binary loss is `L = −α ln p̂ + β (p̂ − kÎ)²`, and for the logit `o`
///
/// ```text
/// ∂L/∂o = (p̂ − 1)(α − 2βp̂² + 2βkÎp̂)
/// ```
///
/// The paper's eq. (11) prints the last two terms with the opposite signs, against its own eq. (8)
/// and its prose ("if p̂ is much higher than Î, this factor will be negative"). The corrected factor
/// vanishes on the valley
///
/// ```text
/// p̂ − α / (2βp̂) = kÎ
/// ```
///
/// so the classification loss holds the optimum *above* the line `p̂ = kÎ`, by a gap `α / (2βp̂)`
/// that closes with larger `β` and widens as `p̂` falls.
/// [`soft_label_focal`](crate::soft_label_focal) has none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case")]
pub enum AssociationLoss {
    /// Proxy squared error, eq. (8): see [`pse`].
    Pse {
        /// Weight, finite and `≥ 0`.
        beta: f64,
        /// Slope of score over IoU, finite and `> 0`.
        k: f64,
    },
    /// Proxy cross-entropy: see [`pce`].
    Pce {
        /// Weight, finite and `≥ 0`.
        beta: f64,
        /// Slope of score over IoU, finite and `> 0`.
        k: f64,
    },
}

impl Default for AssociationLoss {
    /// PSE with `β = 1` and `k = 1`, the best of the paper's tables.
    fn default() -> Self {
        Self::Pse { beta: 1.0, k: 1.0 }
    }
}

impl AssociationLoss {
    /// Checks the ranges of `beta` and `k`.
    ///
    /// # Errors
    ///
    /// [`LossConfigError::OutOfRange`] unless `beta` is finite and `≥ 0`, and `k` finite and `> 0`.
    pub fn validate(&self) -> Result<(), LossConfigError> {
        let (Self::Pse { beta, k } | Self::Pce { beta, k }) = *self;
        non_negative("beta", beta)?;
        positive("k", k)
    }

    /// The same loss with `factor` times the weight `β`.
    #[must_use]
    pub fn weighted(self, factor: f64) -> Self {
        match self {
            Self::Pse { beta, k } => Self::Pse {
                beta: factor * beta,
                k,
            },
            Self::Pce { beta, k } => Self::Pce {
                beta: factor * beta,
                k,
            },
        }
    }

    /// The loss of each positive location, unreduced.
    ///
    /// # Shapes
    ///
    /// - scores: `[num_positives]`, probabilities, usually from [`AssociationScore::scores`]
    /// - ious: `[num_positives]`, in `[0, 1]`, usually from [`aligned_iou`](crate::aligned_iou);
    ///   detached here
    /// - output: `[num_positives]`
    pub fn forward(&self, scores: Tensor<1>, ious: Tensor<1>) -> Tensor<1> {
        match *self {
            Self::Pse { beta, k } => pse(scores, ious, beta, k),
            Self::Pce { beta, k } => pce(scores, ious, beta, k),
        }
    }
}

/// Proxy squared error of positive locations, eq. (8), unreduced: `β (p̂ − kÎ)²`.
///
/// # Shapes
///
/// - scores, ious: `[num_positives]`; the IoU is a label and is detached
/// - output: `[num_positives]`
pub fn pse(scores: Tensor<1>, ious: Tensor<1>, beta: f64, k: f64) -> Tensor<1> {
    deviation(scores, ious, k).square().mul_scalar(beta)
}

/// Proxy cross-entropy of positive locations, unreduced: `−β ln(1 − d)` with `d = |p̂ − kÎ|`
/// (the paper, below eq. 8).
///
/// The logarithm ends at `d = 1`, which `k > 1` reaches: `k = 1.5`, `Î = 1`, `p̂ < 0.5`. From
/// `d₀ = 1 − ε` on, with `ε =` [`PCE_DOMAIN_MARGIN`], the loss therefore follows its own tangent,
///
/// ```text
/// β (−ln ε + (d − d₀) / ε)
/// ```
///
/// A plain clamp of `d` would be as finite, but would drop the gradient exactly where score and
/// IoU differ most; the tangent keeps value and gradient continuous, and bounds the gradient by
/// `β / ε` for the score and `β / 4ε` for its logit. For `k ≤ 1` only scores within `ε` of a
/// saturated sigmoid meet it, so that a classifier starting at the usual prior of 0.01 is trained
/// by the paper's own formula.
///
/// # Shapes
///
/// - scores, ious: `[num_positives]`; the IoU is a label and is detached
/// - output: `[num_positives]`
pub fn pce(scores: Tensor<1>, ious: Tensor<1>, beta: f64, k: f64) -> Tensor<1> {
    let distance = deviation(scores, ious, k).abs();
    let inside = distance.clone().clamp_max(1.0 - PCE_DOMAIN_MARGIN);
    let excess = distance - inside.clone();
    let logarithm = inside.neg().add_scalar(1.0).log();
    (excess.div_scalar(PCE_DOMAIN_MARGIN) - logarithm).mul_scalar(beta)
}

/// `p̂ − kÎ`, with the IoU as a constant.
fn deviation(scores: Tensor<1>, ious: Tensor<1>, k: f64) -> Tensor<1> {
    scores - ious.detach().mul_scalar(k)
}

/// Which of a location's class scores an association loss ties to its IoU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case")]
pub enum AssociationScore {
    /// `P̂ = max_c p̂_c`, as the paper prints it in eq. (12).
    ///
    /// When training from scratch, the classifier can lock in to wrong classes. The highest score
    /// of a location is pulled up toward the IoU whether or not its class is the right one, and
    /// while scores are low that pull is stronger than the classification loss, which pushes wrong
    /// classes down. Boxes stay accurate, but many have the wrong class. Rounding alone can decide
    /// which runs are affected. A model that already knows its classes is not.
    #[default]
    MaxOverClasses,
    /// The score of the location's own class, as eq. (8) reads for a binary classifier. A wrong
    /// class is never pulled up.
    GroundTruthClass,
}

impl AssociationScore {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::MaxOverClasses, Self::GroundTruthClass];

    /// The score of each location, a probability. Background rows get a finite score of no meaning.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_locations, num_classes]`, with at least one class
    /// - labels: `[num_locations]`, each in `0..num_classes`, or negative for background
    /// - output: `[num_locations]`
    pub fn scores(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let logit = match self {
            Self::MaxOverClasses => logits.max_dim(1),
            Self::GroundTruthClass => own_logits(logits, labels),
        };
        sigmoid(logit).squeeze_dim(1)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::MaxOverClasses => "max-over-classes",
            Self::GroundTruthClass => "ground-truth-class",
        }
    }
}

/// The logit of each location's own class, `[num_locations, 1]`; of class 0 for background.
fn own_logits(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
    logits.gather(1, labels.clamp_min(0).unsqueeze_dim(1))
}

/// Whether the highest class of each location is its own, `[num_locations]`; meaningless for
/// background. A tie counts as correct.
///
/// # Shapes
///
/// - logits: `[num_locations, num_classes]`, with at least one class
/// - labels: `[num_locations]`, each in `0..num_classes`, or negative for background
pub fn class_is_correct(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1, Bool> {
    let highest = logits.clone().max_dim(1);
    own_logits(logits, labels)
        .greater_equal(highest)
        .squeeze_dim(1)
}

impl fmt::Display for AssociationScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for AssociationScore {
    type Err = LossConfigError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|score| score.name() == name)
            .ok_or_else(|| LossConfigError::unknown_name("association score", name, &Self::ALL))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::SigmoidFocalLossConfig;
    use crate::reference::{
        assert_close, assert_finite, gradient, sigmoid, tensor1, tensor2, values,
    };

    const ALPHA: f64 = 0.25;

    /// The gradient of CE + PSE for the logit of a positive, by autodiff.
    fn binary_loss_gradient(logits: &[f64], ious: &[f64], beta: f64, k: f64) -> Vec<f64> {
        let device = Device::flex();
        let cross_entropy = SigmoidFocalLossConfig::new()
            .with_alpha(ALPHA)
            .with_gamma(0.0)
            .init()
            .unwrap();
        gradient(tensor1(logits, &device), |logits| {
            let column = logits.clone().unsqueeze_dim::<2>(1);
            let ones = column.ones_like();
            cross_entropy.forward(column, ones).squeeze_dim::<1>(1)
                + pse(sigmoid_of(logits), tensor1(ious, &device), beta, k)
        })
    }

    fn sigmoid_of(logits: Tensor<1>) -> Tensor<1> {
        burn::tensor::activation::sigmoid(logits)
    }

    #[test]
    fn equation_11_holds_with_its_signs_corrected() {
        let logits = [-3.0, -1.0, 0.0, 0.5, 2.0, 2.0, -1.0];
        let ious = [0.9, 0.7, 0.1, 0.95, 0.3, 0.5, 0.0];
        for (beta, k) in [(1.0, 1.0), (0.25, 1.0), (1.25, 0.8), (1.0, 1.5)] {
            let actual = binary_loss_gradient(&logits, &ious, beta, k);
            let factors = |sign: f64| -> Vec<f64> {
                logits
                    .iter()
                    .zip(ious)
                    .map(|(&o, i)| {
                        let p = sigmoid(o);
                        (p - 1.0) * (ALPHA + sign * (2.0 * beta * p * p - 2.0 * beta * k * i * p))
                    })
                    .collect()
            };
            assert_close(&actual, &factors(-1.0), 1e-6);
            for (actual, printed) in actual.iter().zip(factors(1.0)) {
                assert!((actual - printed).abs() > 1e-3, "{actual}, {printed}");
            }
        }
    }

    #[test]
    fn the_valley_lies_above_the_line() {
        for (iou, beta, k) in [(0.5, 1.0, 1.0), (0.2, 1.0, 1.0), (0.6, 0.8, 1.25)] {
            // p̂ − α / (2βp̂) = kÎ, solved for p̂.
            let line: f64 = k * iou;
            let valley = (line + (line * line + 2.0 * ALPHA / beta).sqrt()) / 2.0;
            assert!(valley > line && valley < 1.0);

            let logit = |p: f64| (p / (1.0 - p)).ln();
            let around = [valley - 0.02, valley, valley + 0.02].map(logit);
            let slope = binary_loss_gradient(&around, &[iou; 3], beta, k);
            assert!(slope[0] < -1e-4 && slope[2] > 1e-4, "{slope:?}");
            assert_close(&[slope[1]], &[0.0], 1e-6);
        }
    }

    #[test]
    fn both_are_their_closed_forms() {
        let device = Device::flex();
        let scores = [0.01, 0.3, 0.5, 0.9];
        let ious = [0.9, 0.3, 0.0, 0.6];
        let deviations = |k: f64| scores.iter().zip(ious).map(move |(p, i)| p - k * i);
        for (beta, k) in [(1.0, 1.0), (0.25, 0.8), (1.25, 1.05)] {
            let forward = |loss: AssociationLoss| {
                values(loss.forward(tensor1(&scores, &device), tensor1(&ious, &device)))
            };
            let expected: Vec<f64> = deviations(k).map(|d| beta * d * d).collect();
            assert_close(&forward(AssociationLoss::Pse { beta, k }), &expected, 1e-6);
            let expected: Vec<f64> = deviations(k)
                .map(|d| -beta * (1.0 - d.abs()).ln())
                .collect();
            assert_close(&forward(AssociationLoss::Pce { beta, k }), &expected, 2e-6);
        }
    }

    #[test]
    fn pce_continues_straight_past_its_domain() {
        let device = Device::flex();
        let edge = 1.0 - PCE_DOMAIN_MARGIN;
        // With Î = 1 and k = 3 the distance is 3 − p̂.
        let scores = [3.0 - edge + 0.005, 3.0 - edge - 0.005, 1.0, 0.5, 0.0];
        let forward = |scores| pce(scores, tensor1(&[1.0; 5], &device), 2.0, 3.0);
        let value = values(forward(tensor1(&scores, &device)));
        let slope = gradient(tensor1(&scores, &device), forward);

        let steepest = 2.0 / PCE_DOMAIN_MARGIN;
        let tangent = |p: f64| -2.0 * PCE_DOMAIN_MARGIN.ln() + steepest * (3.0 - p - edge);
        assert_close(
            &value[1..],
            &[1, 2, 3, 4].map(|row| tangent(scores[row])),
            1e-4,
        );
        assert_close(&slope[1..], &[-steepest; 4], 1e-6);
        // Just inside, the paper's formula, less steep than the tangent.
        assert_close(&value[..1], &[-2.0 * 0.015_f64.ln()], 1e-4);
        assert_close(&slope[..1], &[-2.0 / 0.015], 1e-3);
    }

    #[test]
    fn the_iou_is_a_label() {
        let device = Device::flex();
        for loss in [
            AssociationLoss::Pse { beta: 1.0, k: 1.0 },
            AssociationLoss::Pce { beta: 1.0, k: 1.0 },
        ] {
            let scores = tensor1(&[0.2, 0.9], &device).autodiff().require_grad();
            let ious = tensor1(&[0.8, 0.3], &device).autodiff().require_grad();
            let gradients = loss.forward(scores.clone(), ious.clone()).sum().backward();
            assert!(scores.grad(&gradients).is_some());
            assert!(ious.grad(&gradients).is_none());
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let device = Device::flex();
        let logits = [[1e4], [-1e4], [100.0], [-100.0], [100.0], [-100.0]];
        let ious = [1.0, 1.0, 0.0, 0.0, 1.0, 0.5];
        let labels = || Tensor::<1, Int>::zeros([6], &device);
        for score in AssociationScore::ALL {
            for k in [0.5, 1.0, 1.5, 4.0] {
                for loss in [
                    AssociationLoss::Pse { beta: 1.0, k },
                    AssociationLoss::Pce { beta: 1.0, k },
                ] {
                    let forward = |logits| {
                        loss.forward(score.scores(logits, labels()), tensor1(&ious, &device))
                    };
                    assert_finite(&values(forward(tensor2(&logits, &device))));
                    assert_finite(&gradient(tensor2(&logits, &device), forward));
                }
            }
        }
    }

    #[test]
    fn scores_pick_their_class() {
        let device = Device::flex();
        let logits = [[1.0, 3.0, -2.0], [0.5, -1.0, 0.0], [2.0, 1.0, 0.0]];
        let labels = || Tensor::<1, Int>::from_ints([2, 0, -1], &device);
        let forward = |score: AssociationScore| {
            (
                values(score.scores(tensor2(&logits, &device), labels())),
                gradient(tensor2(&logits, &device), |l| score.scores(l, labels())),
            )
        };
        let slope = |p: f64| p * (1.0 - p);

        let (scores, gradient) = forward(AssociationScore::MaxOverClasses);
        let p = [3.0, 0.5, 2.0].map(sigmoid);
        assert_close(&scores, &p, 1e-6);
        let [a, b, c] = p.map(slope);
        assert_close(&gradient, &[0., a, 0., b, 0., 0., c, 0., 0.], 1e-6);

        let (scores, gradient) = forward(AssociationScore::GroundTruthClass);
        let p = [-2.0, 0.5].map(sigmoid);
        assert_close(&scores[..2], &p, 1e-6);
        let [a, b] = p.map(slope);
        assert_close(&gradient[..6], &[0., 0., a, b, 0., 0.], 1e-6);
    }

    #[test]
    fn the_highest_class_is_compared_with_the_label() {
        let device = Device::flex();
        let logits = tensor2(
            &[[1.0, 3.0, -2.0], [0.5, -1.0, 0.0], [2.0, 2.0, 0.0]],
            &device,
        );
        let correct = |labels: [i64; 3]| {
            let labels = Tensor::from_ints(labels, &device);
            let correct = class_is_correct(logits.clone(), labels).into_data();
            correct.iter::<bool>().collect::<Vec<_>>()
        };
        assert_eq!(correct([1, 0, 1]), [true, true, true]);
        assert_eq!(correct([2, 1, 2]), [false, false, false]);
    }

    #[test]
    fn no_positives_have_no_loss() {
        let device = Device::flex();
        for score in AssociationScore::ALL {
            let slope = gradient(Tensor::<2>::zeros([0, 3], &device), |logits| {
                let scores = score.scores(logits, Tensor::zeros([0], &device));
                AssociationLoss::default().forward(scores, Tensor::zeros([0], &device))
            });
            assert!(slope.is_empty());
        }
    }

    #[test]
    fn rejects_what_is_no_loss() {
        for (beta, k, field) in [
            (-1.0, 1.0, "`beta` is -1"),
            (f64::NAN, 1.0, "`beta` is NaN"),
            (1.0, 0.0, "`k` is 0"),
            (1.0, f64::INFINITY, "`k` is inf"),
        ] {
            for loss in [
                AssociationLoss::Pse { beta, k },
                AssociationLoss::Pce { beta, k },
            ] {
                let error = loss.validate().unwrap_err().to_string();
                assert!(error.starts_with(field), "{error}");
            }
        }
        assert_eq!(
            AssociationLoss::Pse { beta: 0.0, k: 2.0 }.validate(),
            Ok(())
        );
    }

    #[test]
    fn score_names_are_read_as_they_are_written() {
        for score in AssociationScore::ALL {
            assert_eq!(score.to_string().parse(), Ok(score));
        }
        assert!("mean".parse::<AssociationScore>().is_err());
    }
}
