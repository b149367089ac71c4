use core::fmt;
use core::str::FromStr;

use burn::serde::{Deserialize, Serialize};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Int, Tensor};

use crate::config_error::{ConfigError, non_negative, positive};
use crate::correlation::Correlation;
use crate::levels::Levels;
use crate::own_class::own_logits;
use crate::positives::Positives;
use crate::unknown_name::{self, UnknownName};

/// `ε` of [`AssociationLoss::Pce`].
const PCE_DOMAIN_MARGIN: f64 = 0.01;

/// Ties the classification score of a positive location to the IoU of its box, so that among
/// several boxes of one object the best localized one gets the highest score.
///
/// An association loss regularizes the classifier: it is added to a classification loss, over the
/// positive locations only (eq. 12), with weight `β`. The IoU `Î` is a label: no gradient flows into
/// it. The two forms of the paper pull the score `p̂` of each location toward the line `p̂ = kÎ`.
/// [`Correlation`](Self::Correlation) compares the scores of several locations.
///
/// # Where the optimum lies
///
/// With the focal loss at `γ = 0`, the loss of a positive location with PSE is
/// `L = −α ln p̂ + β (p̂ − kÎ)²`. Its gradient with respect to the logit `o` is
///
/// ```text
/// ∂L/∂o = (p̂ − 1)(α − 2βp̂² + 2βkÎp̂)
/// ```
///
/// Eq. (11) of the paper prints the last two terms with the opposite signs, which contradicts
/// eq. (8) and the text ("if p̂ is much higher than Î, this factor will be negative"). The
/// corrected factor vanishes where
///
/// ```text
/// p̂ − α / (2βp̂) = kÎ
/// ```
///
/// The optimum therefore lies *above* the line `p̂ = kÎ`. The gap `α / (2βp̂)` shrinks with larger
/// `β` and grows as `p̂` falls. [`ClassificationLoss::SoftLabelFocal`] has no such gap.
///
/// [`ClassificationLoss::SoftLabelFocal`]: crate::ClassificationLoss::SoftLabelFocal
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum AssociationLoss {
    /// Proxy squared error, eq. (8): `β (p̂ − kÎ)²`.
    Pse {
        /// Weight, finite and `≥ 0`.
        beta: f64,
        /// Slope of the score over the IoU, finite and `> 0`.
        k: f64,
    },
    /// Proxy cross-entropy (the paper, below eq. 8): `−β ln(1 − d)` with `d = |p̂ − kÎ|`.
    ///
    /// The logarithm diverges at `d = 1`, which is possible for `k > 1`, such as `k = 1.5`, `Î = 1`
    /// and `p̂ < 0.5`. Beyond `d₀ = 1 − ε`, with `ε = 0.01`, the loss continues along its tangent:
    ///
    /// ```text
    /// β (−ln ε + (d − d₀) / ε)
    /// ```
    ///
    /// Value and gradient are continuous at `d₀`. The gradient is bounded by `β / ε` with respect
    /// to the score, and by `β / 4ε` with respect to its logit. Clamping `d` would drop the gradient
    /// exactly where score and IoU differ most. For `k ≤ 1`, only scores within `ε` of 0 or 1 reach
    /// the tangent. A classifier that starts at the usual prior of 0.01 is trained with the formula
    /// of the paper.
    Pce {
        /// Weight, finite and `≥ 0`.
        beta: f64,
        /// Slope of the score over the IoU, finite and `> 0`.
        k: f64,
    },
    /// Correlation loss, `β (1 − ρ)`, where `ρ` correlates the scores of the positive locations with
    /// their IoUs, from [Correlation Loss](https://arxiv.org/abs/2301.01019) (Kahraman et al., 2023).
    /// There, the score is that of the [true class](AssociationScore::GroundTruthClass), and for the
    /// concordance `β` is 0.2 beside a center-ness branch and 0.3 without one, over all levels.
    ///
    /// # Batches in parts
    ///
    /// A correlation is a statistic of several locations, so that the loss of a batch is not a sum
    /// over them. In a batch that is divided over devices or accumulated, each part has its own
    /// coefficient, and the loss is the mean over the parts weighted by their numbers of positive
    /// locations. It therefore depends on the division, like batch normalization.
    ///
    /// There is no loss where the coefficient is undefined: with fewer than two positive locations,
    /// and for Pearson's and Spearman's also if all scores or all IoUs are equal.
    Correlation {
        /// Weight, finite and `≥ 0`.
        beta: f64,
        /// The coefficient `ρ`.
        coefficient: Correlation,
        /// Whether each level of the pyramid has its own coefficient. The loss is then their mean
        /// over the levels that have one.
        by_level: bool,
    },
}

impl Default for AssociationLoss {
    /// PSE with `β = 1` and `k = 1`, the best setting in the tables of the paper.
    fn default() -> Self {
        Self::Pse { beta: 1.0, k: 1.0 }
    }
}

impl AssociationLoss {
    /// Concordance of all positive locations with `β = 0.3`, the weight in the authors' code without
    /// a center-ness branch.
    pub const CONCORDANCE: Self = Self::correlation(Correlation::Concordance);
    /// Pearson's correlation of all positive locations with `β = 0.3`.
    pub const PEARSON: Self = Self::correlation(Correlation::Pearson);
    /// Spearman's correlation of all positive locations with `β = 0.3` and `ε = 0.1`.
    pub const SPEARMAN: Self = Self::correlation(Correlation::Spearman { epsilon: 0.1 });

    const fn correlation(coefficient: Correlation) -> Self {
        Self::Correlation {
            beta: 0.3,
            coefficient,
            by_level: false,
        }
    }

    /// Checks the ranges of all parameters.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of range, such as `pse.beta`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (name, checked) = match *self {
            Self::Pse { beta, k } => ("pse", check_line(beta, k)),
            Self::Pce { beta, k } => ("pce", check_line(beta, k)),
            Self::Correlation {
                beta, coefficient, ..
            } => {
                let coefficient = || {
                    let checked = coefficient.validate();
                    checked.map_err(|error| error.within("coefficient"))
                };
                let checked = non_negative("beta", beta).and_then(|()| coefficient());
                ("correlation", checked)
            }
        };
        checked.map_err(|error| error.within(name))
    }

    /// The same loss with its weight `β` multiplied by `factor`.
    pub(crate) fn weighted(mut self, factor: f64) -> Self {
        let (Self::Pse { beta, .. } | Self::Pce { beta, .. } | Self::Correlation { beta, .. }) =
            &mut self;
        *beta *= factor;
        self
    }

    /// The loss of each positive location, unreduced.
    ///
    /// For [`Correlation`](Self::Correlation), this is the location's [share](Correlation) in the
    /// loss, whose mean over the locations is `β (1 − ρ)`. All locations count as one level.
    ///
    /// # Shapes
    ///
    /// - scores: `[num_positives]`, probabilities, usually from [`AssociationScore::scores`]
    /// - ious: `[num_positives]`, in `[0, 1]`, usually from [`aligned_iou`](crate::aligned_iou);
    ///   detached here
    /// - output: `[num_positives]`
    pub fn forward(&self, scores: Tensor<1>, ious: Tensor<1>) -> Tensor<1> {
        match *self {
            Self::Pse { beta, k } => deviation(scores, ious, k).square().mul_scalar(beta),
            Self::Pce { beta, k } => pce(deviation(scores, ious, k).abs()).mul_scalar(beta),
            Self::Correlation {
                beta, coefficient, ..
            } => {
                let all = Positives::all(&scores);
                coefficient.losses(scores, ious, &[all]).mul_scalar(beta)
            }
        }
    }

    /// The loss of each location, of which those of background mean nothing.
    ///
    /// # Panics
    ///
    /// If the loss is by level and there are no levels.
    pub(crate) fn losses(
        &self,
        scores: Tensor<1>,
        ious: Tensor<1>,
        positives: &Positives,
        levels: Option<&Levels>,
    ) -> Tensor<1> {
        let Self::Correlation {
            beta,
            coefficient,
            by_level,
        } = *self
        else {
            return self.forward(scores, ious);
        };
        let groups = match (by_level, levels) {
            (false, _) => vec![positives.clone()],
            (true, Some(levels)) => positives.by_level(levels),
            (true, None) => panic!("the association loss is by level, but there are no levels"),
        };
        coefficient.losses(scores, ious, &groups).mul_scalar(beta)
    }
}

/// Checks the weight and the slope of a loss that pulls to a line.
fn check_line(beta: f64, k: f64) -> Result<(), ConfigError> {
    non_negative("beta", beta)?;
    positive("k", k)
}

/// `p̂ − kÎ`, with the IoU detached.
fn deviation(scores: Tensor<1>, ious: Tensor<1>, k: f64) -> Tensor<1> {
    scores - ious.detach().mul_scalar(k)
}

/// `−ln(1 − d)`, continued along its tangent beyond `1 − ε`.
fn pce(distance: Tensor<1>) -> Tensor<1> {
    let inside = distance.clone().clamp_max(1.0 - PCE_DOMAIN_MARGIN);
    let excess = distance - inside.clone();
    let logarithm = inside.neg().add_scalar(1.0).log();
    excess.div_scalar(PCE_DOMAIN_MARGIN) - logarithm
}

/// The class score of a location that an association loss ties to the IoU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AssociationScore {
    /// `P̂ = max_c p̂_c`, as in eq. (12).
    ///
    /// When training from scratch, the classifier can lock in to wrong classes. The highest score
    /// of a location is pulled up toward the IoU whether or not its class is the right one. While
    /// scores are low, this pull is stronger than the classification loss, which pushes wrong
    /// classes down. Boxes stay accurate, but many have the wrong class. Rounding alone can decide
    /// which runs are affected. A model that already knows its classes is not affected.
    #[default]
    MaxOverClasses,
    /// The score of the location's labeled class, as in eq. (8) for a binary classifier. A wrong
    /// class is never pulled up.
    GroundTruthClass,
}

impl AssociationScore {
    /// Every association score.
    pub const ALL: &'static [Self] = &[Self::MaxOverClasses, Self::GroundTruthClass];

    /// The score of each location, a probability; finite but meaningless for background.
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
}

impl fmt::Display for AssociationScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for AssociationScore {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        unknown_name::find("association score", name, Self::ALL)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::closed_forms::sigmoid;
    use crate::focal::SigmoidFocalLossConfig;
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor1, tensor2, values};

    const ALPHA: f64 = 0.25;

    /// The gradient of cross-entropy plus PSE with respect to the logits of positive locations.
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
                + AssociationLoss::Pse { beta, k }
                    .forward(sigmoid_of(logits), tensor1(ious, &device))
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
    fn the_optimum_with_pse_lies_above_the_line() {
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
    fn values_match_the_closed_forms() {
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
    fn pce_continues_along_its_tangent() {
        let device = Device::flex();
        let edge = 1.0 - PCE_DOMAIN_MARGIN;
        // With Î = 1 and k = 3 the distance is 3 − p̂.
        let scores = [3.0 - edge + 0.005, 3.0 - edge - 0.005, 1.0, 0.5, 0.0];
        let forward = |scores| {
            AssociationLoss::Pce { beta: 2.0, k: 3.0 }.forward(scores, tensor1(&[1.0; 5], &device))
        };
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
        // Just inside the domain: the formula of the paper, less steep than the tangent.
        assert_close(&value[..1], &[-2.0 * 0.015_f64.ln()], 1e-4);
        assert_close(&slope[..1], &[-2.0 / 0.015], 1e-3);
    }

    #[test]
    fn no_gradient_flows_into_the_iou() {
        let device = Device::flex();
        for loss in [
            AssociationLoss::Pse { beta: 1.0, k: 1.0 },
            AssociationLoss::Pce { beta: 1.0, k: 1.0 },
            AssociationLoss::CONCORDANCE,
            AssociationLoss::PEARSON,
            AssociationLoss::SPEARMAN,
        ] {
            let scores = tensor1(&[0.2, 0.9], &device).autodiff().require_grad();
            let ious = tensor1(&[0.8, 0.3], &device).autodiff().require_grad();
            let gradients = loss.forward(scores.clone(), ious.clone()).sum().backward();
            assert!(scores.grad(&gradients).is_some());
            assert!(ious.grad(&gradients).is_none());
        }
    }

    #[test]
    fn extreme_logits_give_finite_values_and_gradients() {
        let device = Device::flex();
        let logits = [[1e4], [-1e4], [100.0], [-100.0], [100.0], [-100.0]];
        let ious = [1.0, 1.0, 0.0, 0.0, 1.0, 0.5];
        let labels = || Tensor::<1, Int>::zeros([6], &device);
        for &score in AssociationScore::ALL {
            for k in [0.5, 1.0, 1.5, 4.0] {
                for loss in [
                    AssociationLoss::Pse { beta: 1.0, k },
                    AssociationLoss::Pce { beta: 1.0, k },
                    AssociationLoss::CONCORDANCE,
                    AssociationLoss::PEARSON,
                    AssociationLoss::SPEARMAN,
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
    fn scores_and_their_gradients_belong_to_one_class() {
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
    fn no_positives_give_an_empty_loss() {
        let device = Device::flex();
        for &score in AssociationScore::ALL {
            let slope = gradient(Tensor::<2>::zeros([0, 3], &device), |logits| {
                let scores = score.scores(logits, Tensor::zeros([0], &device));
                AssociationLoss::default().forward(scores, Tensor::zeros([0], &device))
            });
            assert!(slope.is_empty());
        }
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        for (beta, k, end) in [
            (-1.0, 1.0, "beta is -1"),
            (f64::NAN, 1.0, "beta is NaN"),
            (1.0, 0.0, "k is 0"),
            (1.0, f64::INFINITY, "k is inf"),
        ] {
            for (loss, name) in [
                (AssociationLoss::Pse { beta, k }, "pse"),
                (AssociationLoss::Pce { beta, k }, "pce"),
            ] {
                let error = loss.validate().unwrap_err().to_string();
                assert!(error.starts_with(&format!("{name}.{end}")), "{error}");
            }
        }
        assert_eq!(
            AssociationLoss::Pse { beta: 0.0, k: 2.0 }.validate(),
            Ok(())
        );
        for (beta, epsilon, field) in [
            (-1.0, 1.0, "correlation.beta"),
            (1.0, 0.0, "correlation.coefficient.spearman.epsilon"),
        ] {
            let loss = AssociationLoss::Correlation {
                beta,
                coefficient: Correlation::Spearman { epsilon },
                by_level: true,
            };
            assert_eq!(loss.validate().unwrap_err().field, field);
        }
        assert_eq!(AssociationLoss::SPEARMAN.validate(), Ok(()));
    }

    #[test]
    fn every_score_is_parsed_from_its_name() {
        let names = ["max-over-classes", "ground-truth-class"];
        for (&score, name) in AssociationScore::ALL.iter().zip(names) {
            assert_eq!(score.to_string(), name);
            assert_eq!(name.parse(), Ok(score));
        }
        assert_eq!("mean".parse::<AssociationScore>().unwrap_err().known, names);
    }
}
