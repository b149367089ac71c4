use burn::serde::{Deserialize, Serialize};
use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Int, Tensor};

use crate::error::{fraction, non_negative, positive};
use crate::labels::{own_class, soft_labels};
use crate::{LossConfigError, SigmoidFocalLoss};

/// The loss of the classifier over all locations and classes.
///
/// [`Focal`](Self::Focal) knows positives and background; an
/// [`AssociationLoss`](crate::AssociationLoss) beside it ties scores to the IoU. The others do so by
/// themselves: the label of a positive location's own class is the IoU of its box, which no
/// gradient reaches.
///
/// # What the losses of positives have in common
///
/// For the logit `o`, `p̂ = σ(o)` and a soft label `q`, the cross-entropy
/// `CE(q, p̂) = −q ln p̂ − (1 − q) ln(1 − p̂)` has the gradient `p̂ − q`: its only minimum lies on
/// `p̂ = q`, and the gradient does not vanish as `p̂ → 1`. [`QualityFocal`](Self::QualityFocal) weighs
/// it by `|q − p̂|^β`, [`Varifocal`](Self::Varifocal) by `q`,
/// [`SoftLabelFocal`](Self::SoftLabelFocal) by a constant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case")]
pub enum ClassificationLoss {
    /// Eq. (4): see [`SigmoidFocalLoss`].
    Focal {
        /// Weight of positives, in `[0, 1]`; others weigh `1 − α`.
        alpha: f64,
        /// Focusing exponent, finite and `≥ 0`.
        gamma: f64,
    },
    /// Quality focal loss: see [`quality_focal`].
    QualityFocal {
        /// Focusing exponent, 0 or finite and `≥ 1`.
        beta: f64,
    },
    /// Varifocal loss: see [`varifocal`].
    Varifocal {
        /// Weight of background, in `[0, 1]`.
        alpha: f64,
        /// Focusing exponent of background, finite and `≥ 0`.
        gamma: f64,
    },
    /// Focal loss with a soft label: see [`soft_label_focal`].
    SoftLabelFocal {
        /// Weight of the focal loss on positives, in `[0, 1]`; others weigh `1 − α`.
        alpha: f64,
        /// Focusing exponent of background, finite and `≥ 0`.
        gamma: f64,
        /// Weight of the association, finite and `≥ 0`.
        beta: f64,
        /// Slope of score over IoU, finite and `> 0`.
        k: f64,
    },
}

impl Default for ClassificationLoss {
    /// The focal loss with `α = 0.25` and `γ = 2`.
    fn default() -> Self {
        Self::Focal {
            alpha: 0.25,
            gamma: 2.0,
        }
    }
}

impl ClassificationLoss {
    /// Quality focal loss as in its paper, `β = 2`.
    pub const QUALITY_FOCAL: Self = Self::QualityFocal { beta: 2.0 };
    /// Varifocal loss as in its paper, `α = 0.75` and `γ = 2`.
    pub const VARIFOCAL: Self = Self::Varifocal {
        alpha: 0.75,
        gamma: 2.0,
    };
    /// Soft-label focal loss with the values of the default focal and association losses.
    pub const SOFT_LABEL_FOCAL: Self = Self::SoftLabelFocal {
        alpha: 0.25,
        gamma: 2.0,
        beta: 1.0,
        k: 1.0,
    };

    /// Checks the range of every number.
    ///
    /// # Errors
    ///
    /// [`LossConfigError::OutOfRange`] if one lies outside the range that its field documents.
    pub fn validate(&self) -> Result<(), LossConfigError> {
        match *self {
            Self::Focal { alpha, gamma } | Self::Varifocal { alpha, gamma } => {
                fraction("alpha", alpha)?;
                non_negative("gamma", gamma)
            }
            Self::QualityFocal { beta } if beta > 0.0 && beta < 1.0 => {
                Err(LossConfigError::OutOfRange {
                    field: "beta",
                    value: beta,
                    expected: "0 or at least 1",
                })
            }
            Self::QualityFocal { beta } => non_negative("beta", beta),
            Self::SoftLabelFocal {
                alpha,
                gamma,
                beta,
                k,
            } => {
                fraction("alpha", alpha)?;
                non_negative("gamma", gamma)?;
                non_negative("beta", beta)?;
                positive("k", k)
            }
        }
    }

    /// The loss of every element, unreduced.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_locations, num_classes]`
    /// - labels: `[num_locations]`, each in `0..num_classes`, or negative for background
    /// - ious: `[num_locations]`, in `[0, 1]`, of each positive location's box with its target;
    ///   anything where the label is background; detached here
    /// - output: `[num_locations, num_classes]`
    pub fn forward(&self, logits: Tensor<2>, labels: Tensor<1, Int>, ious: Tensor<1>) -> Tensor<2> {
        match *self {
            Self::Focal { alpha, gamma } => {
                SigmoidFocalLoss { alpha, gamma }.forward_with_labels(logits, labels)
            }
            Self::QualityFocal { beta } => quality_focal(logits, labels, ious, beta),
            Self::Varifocal { alpha, gamma } => varifocal(logits, labels, ious, alpha, gamma),
            Self::SoftLabelFocal {
                alpha,
                gamma,
                beta,
                k,
            } => soft_label_focal(logits, labels, ious, [alpha, gamma, beta, k]),
        }
    }
}

/// Quality focal loss of [Generalized Focal Loss](https://arxiv.org/abs/2006.04388),
/// unreduced:
///
/// ```text
/// |q − p̂|^β CE(q, p̂),   q = Î at a positive location's own class, else 0
/// ```
///
/// # Shapes
///
/// As [`ClassificationLoss::forward`].
pub fn quality_focal(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    ious: Tensor<1>,
    beta: f64,
) -> Tensor<2> {
    let labels = soft_labels(labels, ious, logits.shape());
    let cross_entropy = cross_entropy(logits.clone(), labels.clone());
    if beta == 0.0 {
        return cross_entropy;
    }
    let distance = (sigmoid(logits) - labels).abs();
    cross_entropy * distance.powf_scalar(beta)
}

/// Varifocal loss, eq. (2) of [VarifocalNet](https://arxiv.org/abs/2008.13367), unreduced:
///
/// ```text
/// q CE(q, p̂)           where q = Î > 0, at a positive location's own class
/// −α p̂^γ ln(1 − p̂)     elsewhere
/// ```
///
/// # Shapes
///
/// As [`ClassificationLoss::forward`].
pub fn varifocal(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    ious: Tensor<1>,
    alpha: f64,
    gamma: f64,
) -> Tensor<2> {
    let labels = soft_labels(labels, ious, logits.shape());
    let background = focusing(logits.clone(), alpha, gamma);
    let weights = background.mask_fill(labels.clone().greater_scalar(0.0), 0.0) + labels.clone();
    cross_entropy(logits, labels) * weights
}

/// Focal loss whose positives have a soft label of constant weight, unreduced:
///
/// ```text
/// (α + β) CE(t, p̂),  t = min(kÎ, 1)    at a positive location's own class
/// −(1 − α) p̂^γ ln(1 − p̂)               elsewhere
/// ```
///
/// It closes the two gaps that the paper leaves open: its minimum lies on `p̂ = kÎ` and not above
/// that line, and the gradient does not vanish as `p̂ → 1`.
///
/// # Derivation
///
/// Beside PSE, the classification loss of a positive, `−α ln p̂`, draws the score past the line. The
/// least correction that stops it there is a tilt, linear in the logit, against its own slope
/// `−α(1 − t)` on the line:
///
/// ```text
/// −α ln p̂ + α(1 − t) o = α CE(t, p̂)
/// ```
///
/// which is the cross-entropy with label `t`. An association loss of the same kind, `β CE(t, p̂)`,
/// has the same minimum, and unlike PSE's `2β(p̂ − t) p̂(1 − p̂)` its gradient `β(p̂ − t)` lacks the
/// factor `p̂(1 − p̂)` by which the sigmoid holds wrong scores near 1 where they are. Together, the
/// gradient is `(α + β)(p̂ − t)`. The focal modulation `(1 − p̂)^γ` of positives is left out: with
/// `γ = 2` the loss is steepest near `p̂ = 0.06`, not at 0, so that for small `t` the same tilt would
/// leave the sum without a lower bound.
///
/// # Shapes
///
/// As [`ClassificationLoss::forward`]; `parameters` are `α`, `γ`, `β` and `k`.
pub fn soft_label_focal(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    ious: Tensor<1>,
    [alpha, gamma, beta, k]: [f64; 4],
) -> Tensor<2> {
    let own_class = own_class(labels.clone(), logits.shape());
    let target = soft_labels(labels, ious, logits.shape())
        .mul_scalar(k)
        .clamp_max(1.0);
    let weights = focusing(logits.clone(), 1.0 - alpha, gamma).mask_fill(own_class, alpha + beta);
    cross_entropy(logits, target) * weights
}

/// `CE(q, σ(o)) = ln(1 + e^o) − q o`, precise where `q = 0` at any logit.
fn cross_entropy(logits: Tensor<2>, labels: Tensor<2>) -> Tensor<2> {
    log_sigmoid(logits.clone().neg()).neg() - labels * logits
}

/// `w p̂^γ`. The exponential, unlike a power, has a finite gradient at `p̂ = 0` for `γ < 1`.
fn focusing(logits: Tensor<2>, weight: f64, gamma: f64) -> Tensor<2> {
    log_sigmoid(logits)
        .mul_scalar(gamma)
        .exp()
        .mul_scalar(weight)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::reference::{
        assert_close, assert_finite, focal, gradient, sigmoid, tensor1, tensor2, values,
    };
    use crate::{AssociationLoss, AssociationScore};

    const LOGITS: [[f64; 2]; 6] = [
        [-6.0, 1.5],
        [0.3, -2.0],
        [4.0, 0.0],
        [-0.7, 0.9],
        [2.5, -4.0],
        [-1.0, 3.0],
    ];
    const LABELS: [i64; 6] = [1, 0, -1, 1, 0, -1];
    const IOUS: [f64; 6] = [0.8, 0.35, f64::NAN, 1.0, 0.0, 0.5];

    const ALL: [ClassificationLoss; 4] = [
        ClassificationLoss::Focal {
            alpha: 0.25,
            gamma: 2.0,
        },
        ClassificationLoss::QUALITY_FOCAL,
        ClassificationLoss::VARIFOCAL,
        ClassificationLoss::SOFT_LABEL_FOCAL,
    ];

    fn forward(loss: ClassificationLoss, logits: Tensor<2>) -> Tensor<2> {
        let device = Device::flex();
        let labels = Tensor::from_ints(LABELS, &device);
        loss.forward(logits, labels, tensor1(&IOUS, &device))
    }

    /// `f(logit, soft label)` of every element: `None` where it is not the own class of a positive.
    fn each_element(f: impl Fn(f64, Option<f64>) -> f64) -> Vec<f64> {
        let rows = LOGITS.iter().zip(LABELS.iter().zip(IOUS));
        rows.flat_map(|(logits, (&label, iou))| {
            [0, 1].map(|class| f(logits[class], (class as i64 == label).then_some(iou)))
        })
        .collect()
    }

    /// Value and gradient are those of `expected`, a closed form in `(logit, soft label)`, the
    /// gradient by its central difference.
    fn check(loss: ClassificationLoss, expected: impl Fn(f64, Option<f64>) -> f64) {
        let device = Device::flex();
        let value = values(forward(loss, tensor2(&LOGITS, &device)));
        assert_close(&value, &each_element(&expected), 2e-6);
        let step = 1e-5;
        let slope =
            each_element(|o, q| (expected(o + step, q) - expected(o - step, q)) / step / 2.0);
        let found = gradient(tensor2(&LOGITS, &device), |logits| forward(loss, logits));
        assert_close(&found, &slope, 2e-6);
    }

    fn cross_entropy_of(q: f64, p: f64) -> f64 {
        -q * p.ln() - (1.0 - q) * (1.0 - p).ln()
    }

    #[test]
    fn quality_focal_loss_is_its_equation() {
        for beta in [0.0, 1.0, 2.0, 2.5] {
            check(ClassificationLoss::QualityFocal { beta }, |logit, q| {
                let (p, q) = (sigmoid(logit), q.unwrap_or(0.0));
                (q - p).abs().powf(beta) * cross_entropy_of(q, p)
            });
        }
    }

    #[test]
    fn varifocal_loss_is_its_equation() {
        for (alpha, gamma) in [(0.75, 2.0), (0.5, 0.0), (1.0, 0.5)] {
            check(
                ClassificationLoss::Varifocal { alpha, gamma },
                |logit, q| {
                    let p = sigmoid(logit);
                    match q {
                        Some(q) if q > 0.0 => q * cross_entropy_of(q, p),
                        _ => -alpha * p.powf(gamma) * (1.0 - p).ln(),
                    }
                },
            );
        }
    }

    #[test]
    fn soft_label_focal_loss_is_its_equation() {
        for (alpha, gamma, beta, k) in [(0.25, 2.0, 1.0, 1.0), (0.5, 0.0, 0.25, 1.5)] {
            let loss = ClassificationLoss::SoftLabelFocal {
                alpha,
                gamma,
                beta,
                k,
            };
            check(loss, |logit, q| match q {
                Some(q) => (alpha + beta) * cross_entropy_of((k * q).min(1.0), sigmoid(logit)),
                None => focal(logit, false, alpha, gamma),
            });
        }
    }

    /// With IoUs of 1 every label is hard, and the losses are known ones.
    #[test]
    fn hard_labels_give_the_focal_loss() {
        let device = Device::flex();
        let labels = || Tensor::<1, Int>::from_ints([1, 0, -1, 1, 0, -1], &device);
        let loss = |loss: ClassificationLoss| {
            let ious = Tensor::ones([6], &device);
            values(loss.forward(tensor2(&LOGITS, &device), labels(), ious))
        };
        let half = ClassificationLoss::Focal {
            alpha: 0.5,
            gamma: 2.0,
        };
        let doubled: Vec<f64> = loss(half).iter().map(|value| 2.0 * value).collect();
        assert_close(&loss(ClassificationLoss::QUALITY_FOCAL), &doubled, 1e-6);
        let plain = ClassificationLoss::SoftLabelFocal {
            alpha: 0.5,
            gamma: 0.0,
            beta: 0.0,
            k: 1.0,
        };
        let cross_entropy = ClassificationLoss::Focal {
            alpha: 0.5,
            gamma: 0.0,
        };
        assert_close(&loss(plain), &loss(cross_entropy), 1e-6);
    }

    /// The gradient for the logit of a positive with one class, of a classification loss and what
    /// else `with` adds.
    fn positive_gradient(
        loss: ClassificationLoss,
        with: Option<AssociationLoss>,
        iou: f64,
        scores: &[f64],
    ) -> Vec<f64> {
        let device = Device::flex();
        let logits: Vec<[f64; 1]> = scores.iter().map(|p| [(p / (1.0 - p)).ln()]).collect();
        let labels = || Tensor::<1, Int>::zeros([scores.len()], &device);
        let ious = || tensor1(&vec![iou; scores.len()], &device);
        gradient(tensor2(&logits, &device), |logits| {
            let sum = loss.forward(logits.clone(), labels(), ious()).sum();
            match with {
                None => sum,
                Some(with) => {
                    let scores = AssociationScore::GroundTruthClass.scores(logits, labels());
                    sum + with.forward(scores, ious()).sum()
                }
            }
        })
    }

    #[test]
    fn minima_lie_on_the_line() {
        for (iou, k) in [(0.05, 1.0), (0.5, 1.0), (0.9, 1.0), (0.5, 1.5), (0.6, 0.8)] {
            let t = k * iou;
            let around = [t / 2.0, t - 0.02, t, t + 0.02, (1.0 + t) / 2.0];
            let ours = ClassificationLoss::SoftLabelFocal {
                alpha: 0.25,
                gamma: 2.0,
                beta: 1.0,
                k,
            };
            let slope = positive_gradient(ours, None, iou, &around);
            let expected = around.map(|p| 1.25 * (p - t));
            assert_close(&slope, &expected, 1e-6);
            if k == 1.0 {
                for loss in [
                    ClassificationLoss::QUALITY_FOCAL,
                    ClassificationLoss::VARIFOCAL,
                ] {
                    let slope = positive_gradient(loss, None, iou, &around);
                    assert!(slope[1] < 0.0 && slope[3] > 0.0, "{loss:?}: {slope:?}");
                    assert_close(&[slope[2]], &[0.0], 1e-6);
                }
            }
            // Focal loss with PSE is drawn past it.
            let pse = Some(AssociationLoss::Pse { beta: 1.0, k });
            let slope = positive_gradient(ClassificationLoss::default(), pse, iou, &[t]);
            assert!(slope[0] < -1e-4, "{slope:?}");
        }
    }

    #[test]
    fn wrong_scores_near_1_are_drawn_back() {
        let iou = 0.3;
        let sure = [0.99999];
        let pse = Some(AssociationLoss::default());
        let slope = positive_gradient(ClassificationLoss::default(), pse, iou, &sure);
        assert!(slope[0].abs() < 1e-4, "{slope:?}");
        let ours = ClassificationLoss::SOFT_LABEL_FOCAL;
        let slope = positive_gradient(ours, None, iou, &sure);
        assert_close(&slope, &[1.25 * 0.7], 1e-4);
    }

    #[test]
    fn the_iou_is_a_label() {
        let device = Device::flex();
        for loss in ALL {
            let logits = tensor2(&LOGITS, &device).autodiff().require_grad();
            let ious = tensor1(&[0.5; 6], &device).autodiff().require_grad();
            let labels = Tensor::from_ints(LABELS, &device);
            let gradients = loss
                .forward(logits.clone(), labels, ious.clone())
                .sum()
                .backward();
            assert!(logits.grad(&gradients).is_some());
            assert!(ious.grad(&gradients).is_none());
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let device = Device::flex();
        let logits = [[1e4], [-1e4], [100.0], [-100.0], [100.0], [-100.0]];
        let ious = [1.0, 1.0, 0.0, 0.0, 0.5, 0.5];
        let others = [
            ClassificationLoss::QualityFocal { beta: 1.0 },
            ClassificationLoss::Varifocal {
                alpha: 1.0,
                gamma: 0.5,
            },
        ];
        for loss in ALL.into_iter().chain(others) {
            for label in [0, -1] {
                let forward = |logits| {
                    let labels = Tensor::<1, Int>::from_ints([label; 6], &device);
                    loss.forward(logits, labels, tensor1(&ious, &device))
                };
                assert_finite(&values(forward(tensor2(&logits, &device))));
                assert_finite(&gradient(tensor2(&logits, &device), forward));
            }
        }
    }

    #[test]
    fn no_rows_have_no_loss() {
        let device = Device::flex();
        for loss in ALL {
            let slope = gradient(Tensor::<2>::zeros([0, 3], &device), |logits| {
                loss.forward(
                    logits,
                    Tensor::zeros([0], &device),
                    Tensor::zeros([0], &device),
                )
            });
            assert!(slope.is_empty());
        }
    }

    #[test]
    fn rejects_what_is_no_loss() {
        for (loss, start) in [
            (
                ClassificationLoss::Focal {
                    alpha: 2.0,
                    gamma: 2.0,
                },
                "`alpha` is 2",
            ),
            (
                ClassificationLoss::QualityFocal { beta: 0.5 },
                "`beta` is 0.5",
            ),
            (
                ClassificationLoss::QualityFocal { beta: f64::NAN },
                "`beta` is NaN",
            ),
            (
                ClassificationLoss::Varifocal {
                    alpha: 0.5,
                    gamma: -1.0,
                },
                "`gamma` is -1",
            ),
            (
                ClassificationLoss::SoftLabelFocal {
                    alpha: 0.25,
                    gamma: 2.0,
                    beta: 1.0,
                    k: 0.0,
                },
                "`k` is 0",
            ),
        ] {
            let error = loss.validate().unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
        for loss in ALL {
            assert_eq!(loss.validate(), Ok(()));
        }
    }
}
