use burn::serde::{Deserialize, Serialize};
use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Int, Tensor};

use crate::config_error::{ConfigError, fraction, non_negative, positive};
use crate::focal::SigmoidFocalLoss;
use crate::own_class::{own_class, soft_labels};
use crate::ranking::RankingLoss;

/// The loss of the classifier, over all locations and classes.
///
/// [`Focal`](Self::Focal) has hard labels; an [`AssociationLoss`](crate::AssociationLoss) beside it
/// ties scores to the IoU. The other losses tie scores to the IoU themselves: the label `q` of a
/// positive location's class is the IoU `Î` of its box, through which no gradient flows.
///
/// # Gradients of positive locations
///
/// For the logit `o`, the score `p̂ = σ(o)` and a soft label `q`, the cross-entropy
/// `CE(q, p̂) = −q ln p̂ − (1 − q) ln(1 − p̂)` has the gradient `p̂ − q` with respect to `o`. Its only
/// minimum is at `p̂ = q`, and the gradient does not vanish as `p̂ → 1`.
/// [`QualityFocal`](Self::QualityFocal) weights it by `|q − p̂|^β`, [`Varifocal`](Self::Varifocal)
/// by `q`, and [`SoftLabelFocal`](Self::SoftLabelFocal) by a constant.
///
/// # Ranking losses
///
/// [`RankSort`](Self::RankSort) and [`Alrp`](Self::Alrp) depend on the order of all scores. They have
/// no class weights to tune, and weight the box losses, too. Value and gradient are computed on the
/// host, in O(n log m) for n elements of which m are positive: exactly, unlike in [bucketed
/// ranking](https://arxiv.org/abs/2407.14204), whose gradients are exact at `δ = 0`.
///
/// Their gradients are error-driven: the gradient of a positive element is minus its error, and
/// the elements above it share the error among them, by how much they are above it.
///
/// [`FcosObjective`](crate::FcosObjective) scales the localization loss so that both tasks are in
/// balance. With Rank & Sort, it gets the value of the classification loss; with aLRP, the sum of both
/// values. The authors of aLRP average the factor over an epoch. Here it is that of the step, as in
/// Rank & Sort, so that a resumed training needs no state.
///
/// Ranks are those among the given locations. If a batch is divided over devices or accumulated, each
/// part is ranked and balanced by itself, and the loss is the mean over the parts weighted by their
/// numbers of positive locations. [Weights](crate::TargetWeights) of the targets have no effect on the
/// classification and the localization loss; their quality takes the place of the IoU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ClassificationLoss {
    /// Focal loss, eq. (4): see [`SigmoidFocalLoss`].
    Focal {
        /// Weight of positive elements, in `[0, 1]`; that of the others is `1 − α`.
        alpha: f64,
        /// Focusing exponent, finite and `≥ 0`.
        gamma: f64,
    },
    /// Quality focal loss, from [Generalized Focal Loss](https://arxiv.org/abs/2006.04388):
    ///
    /// ```text
    /// |q − p̂|^β CE(q, p̂),   q = Î for the class of a positive location, otherwise 0
    /// ```
    QualityFocal {
        /// Focusing exponent, 0 or finite and `≥ 1`.
        beta: f64,
    },
    /// Varifocal loss, eq. (2) of [VarifocalNet](https://arxiv.org/abs/2008.13367):
    ///
    /// ```text
    /// q CE(q, p̂)           for the class of a positive location, where q = Î > 0
    /// −α p̂^γ ln(1 − p̂)     otherwise
    /// ```
    ///
    /// Only this loss is that of VarifocalNet. Its star-shaped features and the second stage that
    /// refines boxes, to whose IoU the labels refer there, are left out.
    Varifocal {
        /// Weight of background, in `[0, 1]`.
        alpha: f64,
        /// Focusing exponent of background, finite and `≥ 0`.
        gamma: f64,
    },
    /// Focal loss with a soft label of constant weight for positive locations:
    ///
    /// ```text
    /// (α + β) CE(t, p̂),  t = min(kÎ, 1)    for the class of a positive location
    /// −(1 − α) p̂^γ ln(1 − p̂)               otherwise
    /// ```
    ///
    /// It closes the two gaps that the paper leaves open: its minimum lies on the line `p̂ = kÎ`
    /// rather than above it, and its gradient does not vanish as `p̂ → 1`.
    ///
    /// # Derivation
    ///
    /// Beside PSE, the classification loss of a positive location, `−α ln p̂`, pulls the score past
    /// the line. The smallest correction that stops it there is linear in the logit and cancels the
    /// slope `−α(1 − t)` that the loss has on the line:
    ///
    /// ```text
    /// −α ln p̂ + α(1 − t) o = α CE(t, p̂)
    /// ```
    ///
    /// This is the cross-entropy with label `t`. An association loss of the same form, `β CE(t, p̂)`,
    /// has the same minimum. Its gradient `β(p̂ − t)` lacks the factor `p̂(1 − p̂)` in the gradient
    /// of PSE, `2β(p̂ − t) p̂(1 − p̂)`, which keeps wrong scores near 1 from moving. Together the
    /// gradient is `(α + β)(p̂ − t)`. The focal modulation `(1 − p̂)^γ` of positive locations is left
    /// out: with `γ = 2` the loss is steepest near `p̂ = 0.06` rather than at 0, so that for small `t`
    /// the same correction would leave the sum without a lower bound.
    SoftLabelFocal {
        /// Weight of the focal loss for positive elements, in `[0, 1]`; that of the others is
        /// `1 − α`.
        alpha: f64,
        /// Focusing exponent of background, finite and `≥ 0`.
        gamma: f64,
        /// Weight of the association, finite and `≥ 0`.
        beta: f64,
        /// Slope of the score over the IoU, finite and `> 0`.
        k: f64,
    },
    /// Rank & Sort loss, from [Rank & Sort Loss](https://arxiv.org/abs/2107.11669) (Oksuz et al.,
    /// 2021), a loss of the order of scores. The error of a positive location is the share of
    /// background among all elements above its own (ranking), plus how much smaller the mean IoU of
    /// the positives above it is than it would be without those of lower IoU than its own (sorting).
    /// Elements are compared by the ramp `H` of width `2δ` on the difference of their logits:
    ///
    /// ```text
    /// N_FP / rank  +  Σⱼ Hᵢⱼ (1 − Îⱼ) / Σⱼ Hᵢⱼ − Σⱼ Hᵢⱼ [Îⱼ ≥ Îᵢ] (1 − Îⱼ) / Σⱼ Hᵢⱼ [Îⱼ ≥ Îᵢ]
    /// ```
    ///
    /// See [ranking losses](#ranking-losses). The box losses are weighted by the highest score of
    /// their location. The authors count positive locations without overlap as background; here they
    /// are positive.
    RankSort {
        /// Half the width of the ramp in logits, finite and `≥ 0`.
        delta: f64,
    },
    /// Average localization-recall-precision loss, from [aLRP
    /// Loss](https://arxiv.org/abs/2009.13592) (Oksuz et al., 2020). The classification error of a
    /// positive location is the share of background among all elements above its own. Its gradient
    /// also has the localization errors `2 (1 − Î)` of the other positives above it. See [ranking
    /// losses](#ranking-losses). The localization error is the mean over the positives of the sum of
    /// the box losses of the positives above, divided by the rank.
    Alrp {
        /// Half the width of the ramp in logits, finite and `≥ 0`.
        delta: f64,
    },
}

impl Default for ClassificationLoss {
    /// [`FOCAL`](Self::FOCAL).
    fn default() -> Self {
        Self::FOCAL
    }
}

impl ClassificationLoss {
    /// Focal loss as in its paper, `α = 0.25` and `γ = 2`.
    pub const FOCAL: Self = Self::Focal {
        alpha: 0.25,
        gamma: 2.0,
    };
    /// Quality focal loss as in its paper, `β = 2`.
    pub const QUALITY_FOCAL: Self = Self::QualityFocal { beta: 2.0 };
    /// Varifocal loss as in its paper, `α = 0.75` and `γ = 2`.
    pub const VARIFOCAL: Self = Self::Varifocal {
        alpha: 0.75,
        gamma: 2.0,
    };
    /// Soft-label focal loss with the parameters of the default focal and association losses.
    pub const SOFT_LABEL_FOCAL: Self = Self::SoftLabelFocal {
        alpha: 0.25,
        gamma: 2.0,
        beta: 1.0,
        k: 1.0,
    };

    /// Rank & Sort loss as in its paper, `δ = 0.5`.
    pub const RANK_SORT: Self = Self::RankSort { delta: 0.5 };
    /// Average LRP loss as in the code of its authors, `δ = 1`.
    pub const ALRP: Self = Self::Alrp { delta: 1.0 };

    /// Checks the range of every parameter.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of range, such as `focal.alpha`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Focal { alpha, gamma } => check_focal(alpha, gamma).map_err(within("focal")),
            Self::QualityFocal { beta } => {
                // Between 0 and 1, the gradient of |q − p̂|^β is infinite at p̂ = q.
                let holds = beta == 0.0 || beta.is_finite() && beta >= 1.0;
                ConfigError::ensure(holds, "beta", beta, "0, or finite and at least 1")
                    .map_err(within("quality-focal"))
            }
            Self::Varifocal { alpha, gamma } => {
                check_focal(alpha, gamma).map_err(within("varifocal"))
            }
            Self::SoftLabelFocal {
                alpha,
                gamma,
                beta,
                k,
            } => check_focal(alpha, gamma)
                .and_then(|()| non_negative("beta", beta))
                .and_then(|()| positive("k", k))
                .map_err(within("soft-label-focal")),
            Self::RankSort { delta } => non_negative("delta", delta).map_err(within("rank-sort")),
            Self::Alrp { delta } => non_negative("delta", delta).map_err(within("alrp")),
        }
    }

    /// The ranking loss, if it is one.
    pub(crate) fn ranking(&self) -> Option<RankingLoss> {
        match *self {
            Self::RankSort { delta } => Some(RankingLoss::RankSort { delta }),
            Self::Alrp { delta } => Some(RankingLoss::Alrp { delta }),
            _ => None,
        }
    }

    /// The loss of every element, unreduced. That of a ranking loss is the error of each positive
    /// element, and 0 for the others, which nevertheless have a gradient.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_locations, num_classes]`
    /// - labels: `[num_locations]`, each in `0..num_classes`, or negative for background
    /// - ious: `[num_locations]`, in `[0, 1]`, the IoU of each positive location's box with its
    ///   target; any value, NaN included, for background; detached here
    /// - output: `[num_locations, num_classes]`
    ///
    /// # Panics
    ///
    /// If the tensors differ in their number of rows, or if a parameter is out of the range that
    /// [`validate`](Self::validate) checks.
    pub fn forward(&self, logits: Tensor<2>, labels: Tensor<1, Int>, ious: Tensor<1>) -> Tensor<2> {
        match *self {
            Self::Focal { alpha, gamma } => {
                SigmoidFocalLoss { alpha, gamma }.forward_with_labels(logits, labels)
            }
            Self::QualityFocal { beta } => quality_focal(logits, labels, ious, beta),
            Self::Varifocal { alpha, gamma } => {
                let labels = soft_labels(labels, ious, logits.shape());
                let background = focusing(logits.clone(), alpha, gamma);
                let weights =
                    background.mask_fill(labels.clone().greater_scalar(0.0), 0.0) + labels.clone();
                cross_entropy(logits, labels) * weights
            }
            Self::SoftLabelFocal {
                alpha,
                gamma,
                beta,
                k,
            } => {
                let own_class = own_class(labels.clone(), logits.shape());
                let target = soft_labels(labels, ious, logits.shape())
                    .mul_scalar(k)
                    .clamp_max(1.0);
                let weights =
                    focusing(logits.clone(), 1.0 - alpha, gamma).mask_fill(own_class, alpha + beta);
                cross_entropy(logits, target) * weights
            }
            Self::RankSort { delta } => {
                let loss = RankingLoss::RankSort { delta };
                loss.rank(logits, &labels, &ious).losses
            }
            Self::Alrp { delta } => {
                let loss = RankingLoss::Alrp { delta };
                loss.rank(logits, &labels, &ious).losses
            }
        }
    }
}

fn check_focal(alpha: f64, gamma: f64) -> Result<(), ConfigError> {
    fraction("alpha", alpha)?;
    non_negative("gamma", gamma)
}

fn within(loss: &'static str) -> impl Fn(ConfigError) -> ConfigError {
    move |error| error.within(loss)
}

fn quality_focal(
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

/// `CE(q, σ(o)) = ln(1 + e^o) − q o`, accurate at any logit where `q = 0`.
fn cross_entropy(logits: Tensor<2>, labels: Tensor<2>) -> Tensor<2> {
    log_sigmoid(logits.clone().neg()).neg() - labels * logits
}

/// `w p̂^γ`. Unlike a power, the exponential has a finite gradient at `p̂ = 0` for `γ < 1`.
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
    use crate::association::{AssociationLoss, AssociationScore};
    use crate::closed_forms::{focal, sigmoid};
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor1, tensor2, values};

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

    const ALL: [ClassificationLoss; 6] = [
        ClassificationLoss::FOCAL,
        ClassificationLoss::QUALITY_FOCAL,
        ClassificationLoss::VARIFOCAL,
        ClassificationLoss::SOFT_LABEL_FOCAL,
        ClassificationLoss::RANK_SORT,
        ClassificationLoss::ALRP,
    ];

    fn forward(loss: ClassificationLoss, logits: Tensor<2>) -> Tensor<2> {
        let device = Device::flex();
        let labels = Tensor::from_ints(LABELS, &device);
        loss.forward(logits, labels, tensor1(&IOUS, &device))
    }

    /// `f(logit, soft label)` of every element, without a soft label unless the element is the
    /// class of a positive location.
    fn each_element(f: impl Fn(f64, Option<f64>) -> f64) -> Vec<f64> {
        let rows = LOGITS.iter().zip(LABELS.iter().zip(IOUS));
        rows.flat_map(|(logits, (&label, iou))| {
            [0, 1].map(|class| f(logits[class], (class as i64 == label).then_some(iou)))
        })
        .collect()
    }

    /// Compares values with the closed form `expected(logit, soft label)`, and gradients with its
    /// central differences.
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
    fn quality_focal_loss_matches_its_equation() {
        for beta in [0.0, 1.0, 2.0, 2.5] {
            check(ClassificationLoss::QualityFocal { beta }, |logit, q| {
                let (p, q) = (sigmoid(logit), q.unwrap_or(0.0));
                (q - p).abs().powf(beta) * cross_entropy_of(q, p)
            });
        }
    }

    #[test]
    fn varifocal_loss_matches_its_equation() {
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
    fn soft_label_focal_loss_matches_its_equation() {
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

    #[test]
    fn soft_label_losses_reduce_to_focal_losses_at_an_iou_of_1() {
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

    /// The gradient of a classification loss, with an association loss or without, with respect
    /// to the logits of positive locations of one class that have these scores.
    fn positive_gradient(
        loss: ClassificationLoss,
        association: Option<AssociationLoss>,
        iou: f64,
        scores: &[f64],
    ) -> Vec<f64> {
        let device = Device::flex();
        let logits: Vec<[f64; 1]> = scores.iter().map(|p| [(p / (1.0 - p)).ln()]).collect();
        let labels = || Tensor::<1, Int>::zeros([scores.len()], &device);
        let ious = || tensor1(&vec![iou; scores.len()], &device);
        gradient(tensor2(&logits, &device), |logits| {
            let sum = loss.forward(logits.clone(), labels(), ious()).sum();
            match association {
                None => sum,
                Some(association) => {
                    let scores = AssociationScore::GroundTruthClass.scores(logits, labels());
                    sum + association.forward(scores, ious()).sum()
                }
            }
        })
    }

    #[test]
    fn minima_of_soft_label_losses_lie_on_the_line() {
        for (iou, k) in [(0.05, 1.0), (0.5, 1.0), (0.9, 1.0), (0.5, 1.5), (0.6, 0.8)] {
            let t = k * iou;
            let around = [t / 2.0, t - 0.02, t, t + 0.02, (1.0 + t) / 2.0];
            let soft_label_focal = ClassificationLoss::SoftLabelFocal {
                alpha: 0.25,
                gamma: 2.0,
                beta: 1.0,
                k,
            };
            let slope = positive_gradient(soft_label_focal, None, iou, &around);
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
            // The minimum of the focal loss with PSE lies above it.
            let pse = Some(AssociationLoss::Pse { beta: 1.0, k });
            let slope = positive_gradient(ClassificationLoss::default(), pse, iou, &[t]);
            assert!(slope[0] < -1e-4, "{slope:?}");
        }
    }

    #[test]
    fn soft_label_focal_gradient_does_not_vanish_near_a_score_of_1() {
        let iou = 0.3;
        let score = [0.99999];
        let pse = Some(AssociationLoss::default());
        let slope = positive_gradient(ClassificationLoss::default(), pse, iou, &score);
        assert!(slope[0].abs() < 1e-4, "{slope:?}");
        let soft_label_focal = ClassificationLoss::SOFT_LABEL_FOCAL;
        let slope = positive_gradient(soft_label_focal, None, iou, &score);
        assert_close(&slope, &[1.25 * 0.7], 1e-4);
    }

    #[test]
    fn no_gradient_flows_into_the_iou() {
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
    fn extreme_logits_give_finite_values_and_gradients() {
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
    fn no_locations_give_an_empty_loss() {
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
    fn values_out_of_range_are_rejected() {
        for (loss, start) in [
            (
                ClassificationLoss::Focal {
                    alpha: 2.0,
                    gamma: 2.0,
                },
                "focal.alpha is 2",
            ),
            (
                ClassificationLoss::QualityFocal { beta: 0.5 },
                "quality-focal.beta is 0.5",
            ),
            (
                ClassificationLoss::QualityFocal { beta: f64::NAN },
                "quality-focal.beta is NaN",
            ),
            (
                ClassificationLoss::Varifocal {
                    alpha: 0.5,
                    gamma: -1.0,
                },
                "varifocal.gamma is -1",
            ),
            (
                ClassificationLoss::SoftLabelFocal {
                    alpha: 0.25,
                    gamma: 2.0,
                    beta: 1.0,
                    k: 0.0,
                },
                "soft-label-focal.k is 0",
            ),
            (
                ClassificationLoss::RankSort { delta: -1.0 },
                "rank-sort.delta is -1",
            ),
            (
                ClassificationLoss::Alrp { delta: f64::NAN },
                "alrp.delta is NaN",
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
