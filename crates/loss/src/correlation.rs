//! Correlation of scores and IoUs as a loss.

use burn::serde::{Deserialize, Serialize};
use burn::tensor::{FloatDType, Tensor};

use crate::config_error::{ConfigError, positive};
use crate::host::{failed, read, with_gradient};
use crate::positives::Positives;
use crate::soft_rank::SoftRanks;

/// Variances and squared distances below this count as zero.
const VANISHING: f64 = 1e-12;

/// A coefficient `ρ` of the correlation between the scores `p̂` and the IoUs `Î` of several
/// locations, whose loss is `1 − ρ`: see [`AssociationLoss::Correlation`].
///
/// `μ`, `σ²` and `cov` are the means, variances and the covariance over these locations, all divided
/// by their number `n`.
///
/// [`AssociationLoss::Correlation`]: crate::AssociationLoss::Correlation
///
/// # Each location's share
///
/// For every coefficient, `1 − ρ` is the mean of a square at each location:
///
/// ```text
/// concordance        (p̂ − Î)² / D,   D = σ²(p̂) + σ²(Î) + (μ(p̂) − μ(Î))²
/// Pearson            (p̃ − Ĩ)² / 2,   p̃ = (p̂ − μ(p̂)) / σ(p̂),  Ĩ = (Î − μ(Î)) / σ(Î)
/// Spearman           that of Pearson, with ranks instead of p̂ and Î
/// ```
///
/// For the concordance, this follows from `mean (p̂ − Î)² = D − 2 cov` and `ρ_c = 2 cov / D`. `D` is
/// what the mean squared error would be if scores and IoUs were uncorrelated. So `1 − ρ_c` is the
/// [proxy squared error](crate::AssociationLoss::Pse) with `k = 1`, relative to that of uncorrelated
/// scores.
///
/// # Gradient
///
/// Unlike that of PSE, the gradient passes through `D`:
///
/// ```text
/// ∂(1 − ρ_c)/∂p̂ᵢ = 2 / (n D) · (ρ_c (p̂ᵢ − μ(Î)) − (Îᵢ − μ(Î)))
/// ```
///
/// A score is drawn to the line through `(μ(Î), μ(Î))` with the slope `1 / ρ_c`. While scores are
/// uncorrelated, that gradient only says which are too low compared to others.
///
/// # Small batches
///
/// The coefficient of a batch is an estimate of that of all locations. For normally distributed values,
/// its bias is about `−ρ(1 − ρ²) / 2n`, which is small, and its standard deviation `(1 − ρ²) / √n`: at
/// `ρ = 0.5`, 0.27 with 8 locations, 0.07 with 128, and 0.02 with 1,024. Pearson's coefficient "may not
/// be accurate for small batches", as the paper says: this is so for the locations of one level of a
/// few images, and hardly for all locations of a batch of 16. PSE, a mean over locations, has a
/// gradient without bias in a batch of any size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Correlation {
    /// Lin's concordance coefficient, `ρ_c = 2 cov / D`. It is 1 only if all scores equal their IoU.
    #[default]
    Concordance,
    /// Pearson's coefficient, `cov / (σ(p̂) σ(Î))`: the alternative that the paper names. It is 1 if
    /// the scores are any rising line over the IoUs. Where scores or IoUs are all equal, it is
    /// undefined and there is no loss.
    Pearson,
    /// Spearman's coefficient, that of Pearson between ranks, with [differentiable
    /// ranks](https://arxiv.org/abs/2002.08871) (Blondel et al., 2020) in place of ranks, which have no
    /// gradient: the projection of `p̂ / ε` onto the permutations of `1/n, 2/n, …, 1`. Computed on the
    /// host.
    ///
    /// Where the scores are further apart than `ε / n`, these are their ranks, without a gradient. Where
    /// they are closer, ranks follow the scores. If that is true of all scores, the loss is that of
    /// Pearson. The code of [Correlation Loss](https://arxiv.org/abs/2301.01019) projects `p̂` onto the
    /// permutations of `1, 2, …, n`, which is `ε = n` here. As no two scores differ by more than 1, its
    /// loss is that of Pearson.
    Spearman {
        /// Regularization `ε` of the ranks, finite and `> 0`, in units of the score.
        epsilon: f64,
    },
}

impl Correlation {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Concordance | Self::Pearson => Ok(()),
            Self::Spearman { epsilon } => {
                positive("epsilon", epsilon).map_err(|error| error.within("spearman"))
            }
        }
    }

    /// The losses of locations, 0 outside the groups. Their sum is `n (1 − ρ)`, where `n` counts the
    /// locations of all groups and `1 − ρ` is the mean over the groups for which it is defined.
    ///
    /// # Shapes
    ///
    /// - scores, ious: `[num_locations]`; any value, NaN included, outside the groups
    /// - output: `[num_locations]`
    pub(crate) fn losses(
        &self,
        scores: Tensor<1>,
        ious: Tensor<1>,
        groups: &[Positives],
    ) -> Tensor<1> {
        let Some((first, others)) = groups.split_first() else {
            return scores.mul_scalar(0.0);
        };
        if scores.dims() == [0] {
            return scores;
        }
        let ious = ious.detach();
        let group = |group: &Positives| {
            let shares = self.shares(scores.clone(), ious.clone(), group);
            let mean = shares.values * shares.defined.clone() / group.count.clone().clamp_min(1.0);
            (mean, shares.defined, group.count.clone())
        };
        let (means, defined, count) = others.iter().map(group).fold(
            group(first),
            |(means, defined, count), (other, is_defined, others)| {
                (means + other, defined + is_defined, count + others)
            },
        );
        means * (count / defined.clamp_min(1.0))
    }

    /// The share of each location of `group` in `n (1 − ρ)`, 0 for other locations.
    fn shares(&self, scores: Tensor<1>, ious: Tensor<1>, group: &Positives) -> Shares {
        match *self {
            Self::Concordance => {
                let [scores, ious] = [scores, ious].map(|values| Moments::new(values, group));
                let uncorrelated =
                    scores.variance + ious.variance + (scores.mean - ious.mean).square();
                let distances = (scores.values - ious.values).square();
                Shares {
                    values: distances / or_one(uncorrelated),
                    defined: at_least(group.count.clone(), 2.0),
                }
            }
            Self::Pearson => {
                let [scores, ious] = [scores, ious].map(|values| Moments::new(values, group));
                let defined = at_least(scores.variance.clone(), VANISHING)
                    * at_least(ious.variance.clone(), VANISHING);
                Shares {
                    values: (scores.standardized() - ious.standardized())
                        .square()
                        .mul_scalar(0.5),
                    defined,
                }
            }
            Self::Spearman { epsilon } => spearman(scores, ious, group, epsilon),
        }
    }
}

/// The losses of the locations of a group, `[num_locations]`.
struct Shares {
    values: Tensor<1>,
    /// 1 if the coefficient is defined, else 0; one element.
    defined: Tensor<1>,
}

/// The values of a group with their mean and variance.
struct Moments {
    /// `[num_locations]`, 0 outside the group.
    values: Tensor<1>,
    /// `[num_locations]`, 0 outside the group.
    centered: Tensor<1>,
    /// One element.
    mean: Tensor<1>,
    /// One element.
    variance: Tensor<1>,
}

impl Moments {
    fn new(values: Tensor<1>, group: &Positives) -> Self {
        let count = group.count.clone().clamp_min(1.0);
        let values = group.mask(values);
        let mean = values.clone().sum() / count.clone();
        let centered = group.mask(values.clone() - mean.clone());
        Self {
            variance: centered.clone().square().sum() / count,
            values,
            centered,
            mean,
        }
    }

    /// The values divided by their standard deviation, with a mean of 0.
    fn standardized(self) -> Tensor<1> {
        self.centered / or_one(self.variance).sqrt()
    }
}

/// 1 where the value is at least `bound`, else 0.
fn at_least(value: Tensor<1>, bound: f64) -> Tensor<1> {
    value
        .detach()
        .greater_equal_scalar(bound)
        .cast(FloatDType::F32)
}

/// 1 where the value is close to 0, so that it can divide.
fn or_one(value: Tensor<1>) -> Tensor<1> {
    let vanishing = value.clone().lower_scalar(VANISHING);
    value.mask_fill(vanishing, 1.0)
}

fn spearman(scores: Tensor<1>, ious: Tensor<1>, group: &Positives, epsilon: f64) -> Shares {
    let on_host = read(&scores).zip(read(&ious)).zip(group.on_host());
    let Some(((score_values, iou_values), members)) = on_host else {
        return Shares {
            defined: group.count.clone().ones_like(),
            values: failed(scores),
        };
    };
    let rows = score_values.len();
    let members: Vec<usize> = (0..rows).filter(|&row| members[row]).collect();
    let of_members = |values: &[f32]| -> Vec<f64> {
        members.iter().map(|&row| f64::from(values[row])).collect()
    };
    let epsilon = epsilon / members.len().max(1) as f64;
    let [scores_ranked, ious_ranked] =
        [&score_values, &iou_values].map(|values| SoftRanks::new(&of_members(values), epsilon));
    let [standard_scores, standard_ious] =
        [&scores_ranked, &ious_ranked].map(|ranked| standardized(&ranked.ranks));
    let (mut values, mut gradient) = (vec![0.0; rows], vec![0.0; rows]);
    let mut defined = 0.0;
    if let (Some((scores, deviation)), Some((ious, _))) = (standard_scores, standard_ious) {
        defined = 1.0;
        let pairs = || scores.iter().zip(&ious);
        let rho = pairs().map(|(score, iou)| score * iou).sum::<f64>() / scores.len() as f64;
        let of_ranks: Vec<f64> = pairs()
            .map(|(score, iou)| (rho * score - iou) / deviation)
            .collect();
        let of_scores = scores_ranked.backward(&of_ranks);
        for (place, (score, iou)) in pairs().enumerate() {
            let row = members[place];
            values[row] = (0.5 * (score - iou).powi(2)) as f32;
            gradient[row] = of_scores[place] as f32;
        }
    }
    Shares {
        defined: group.count.clone().mul_scalar(0.0).add_scalar(defined),
        values: with_gradient(scores, values, gradient),
    }
}

/// Values shifted to a mean of 0 and divided by their standard deviation, with that deviation.
/// `None` if they are all equal.
fn standardized(values: &[f64]) -> Option<(Vec<f64>, f64)> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    let variance = squares.sum::<f64>() / count;
    let deviation = variance.sqrt();
    let standardized = values.iter().map(|value| (value - mean) / deviation);
    (variance > VANISHING).then(|| (standardized.collect(), deviation))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::{Device, Int};

    use super::*;
    use crate::association::AssociationLoss;
    use crate::levels::Levels;
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor1, values};

    const ALL: [Correlation; 3] = [
        Correlation::Concordance,
        Correlation::Pearson,
        Correlation::Spearman { epsilon: 0.5 },
    ];

    const SCORES: [f64; 7] = [0.3, 0.1, 0.55, 0.9, 0.32, 0.75, 0.01];
    const IOUS: [f64; 7] = [0.5, 0.2, 0.4, 0.8, 0.85, 0.7, 0.0];

    /// Mean and variance of some values.
    fn moments(values: &[f64]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        (mean, squares.sum::<f64>() / count)
    }

    fn covariance(a: &[f64], b: &[f64]) -> f64 {
        let ((mean_a, _), (mean_b, _)) = (moments(a), moments(b));
        let products = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b));
        products.sum::<f64>() / a.len() as f64
    }

    /// The coefficients by their textbook definitions; Spearman's by true ranks.
    fn coefficient(of: Correlation, scores: &[f64], ious: &[f64]) -> f64 {
        let ((mean_p, var_p), (mean_i, var_i)) = (moments(scores), moments(ious));
        let cov = covariance(scores, ious);
        match of {
            Correlation::Concordance => 2.0 * cov / (var_p + var_i + (mean_p - mean_i).powi(2)),
            Correlation::Pearson => cov / (var_p * var_i).sqrt(),
            Correlation::Spearman { .. } => {
                let ranks = |values: &[f64]| -> Vec<f64> {
                    let below = |value: f64| values.iter().filter(|other| **other < value).count();
                    values.iter().map(|value| below(*value) as f64).collect()
                };
                coefficient(Correlation::Pearson, &ranks(scores), &ranks(ious))
            }
        }
    }

    fn whole(count: usize) -> Vec<Positives> {
        vec![Positives::all(&Tensor::zeros([count], &Device::flex()))]
    }

    fn losses(of: Correlation, scores: Tensor<1>, ious: &[f64], groups: &[Positives]) -> Tensor<1> {
        of.losses(scores, tensor1(ious, &Device::flex()), groups)
    }

    /// `1 − ρ` of all rows.
    fn loss(of: Correlation, scores: &[f64], ious: &[f64]) -> f64 {
        let scores = tensor1(scores, &Device::flex());
        let losses = values(losses(of, scores, ious, &whole(ious.len())));
        losses.iter().sum::<f64>() / ious.len() as f64
    }

    /// The gradient of `1 − ρ`.
    fn slopes(of: Correlation, scores: &[f64], ious: &[f64]) -> Vec<f64> {
        let count = ious.len();
        gradient(tensor1(scores, &Device::flex()), |scores| {
            losses(of, scores, ious, &whole(count)).div_scalar(count as f64)
        })
    }

    #[test]
    fn losses_are_those_of_the_coefficients() {
        for of in [Correlation::Concordance, Correlation::Pearson] {
            let expected = 1.0 - coefficient(of, &SCORES, &IOUS);
            assert_close(&[loss(of, &SCORES, &IOUS)], &[expected], 1e-6);
        }
        // Every two scores, and every two IoUs, differ by more than ε / n.
        let of = Correlation::Spearman { epsilon: 0.01 };
        let expected = 1.0 - coefficient(of, &SCORES, &IOUS);
        assert_close(&[loss(of, &SCORES, &IOUS)], &[expected], 1e-6);
        assert_close(&slopes(of, &SCORES, &IOUS), &[0.0; 7], 1e-6);
    }

    #[test]
    fn concordance_is_pse_relative_to_that_of_uncorrelated_scores() {
        let device = Device::flex();
        let [scores, ious] = [&SCORES, &IOUS].map(|values| tensor1(values, &device));
        let pse = values(AssociationLoss::Pse { beta: 1.0, k: 1.0 }.forward(scores, ious));
        // Over all pairs of a score and an IoU, they are uncorrelated.
        let pairs = SCORES
            .iter()
            .flat_map(|p| IOUS.map(|iou| (p - iou).powi(2)));
        let uncorrelated = pairs.sum::<f64>() / 49.0;
        let expected = pse.iter().sum::<f64>() / 7.0 / uncorrelated;
        assert_close(
            &[loss(Correlation::Concordance, &SCORES, &IOUS)],
            &[expected],
            1e-6,
        );
    }

    #[test]
    fn gradients_of_concordance_match_the_closed_form() {
        let ((mean_p, var_p), (mean_i, var_i)) = (moments(&SCORES), moments(&IOUS));
        let divisor = var_p + var_i + (mean_p - mean_i).powi(2);
        let rho = coefficient(Correlation::Concordance, &SCORES, &IOUS);
        let expected: Vec<f64> = (SCORES.iter().zip(IOUS))
            .map(|(p, i)| 2.0 / (7.0 * divisor) * (rho * (p - mean_i) - (i - mean_i)))
            .collect();
        assert_close(
            &slopes(Correlation::Concordance, &SCORES, &IOUS),
            &expected,
            1e-6,
        );
    }

    #[test]
    fn gradients_match_finite_differences() {
        for of in ALL {
            let step = 1e-3;
            let expected: Vec<f64> = (0..7)
                .map(|row| {
                    let at = |offset: f64| {
                        let mut moved = SCORES;
                        moved[row] += offset;
                        loss(of, &moved, &IOUS)
                    };
                    (at(step) - at(-step)) / (2.0 * step)
                })
                .collect();
            assert!(expected.iter().any(|slope| slope.abs() > 0.01), "{of:?}");
            assert_close(&slopes(of, &SCORES, &IOUS), &expected, 1e-3);
        }
    }

    #[test]
    fn spearman_with_a_large_regularization_is_pearson() {
        let of = Correlation::Spearman { epsilon: 7.0 };
        let pearson = Correlation::Pearson;
        assert_close(
            &[loss(of, &SCORES, &IOUS)],
            &[loss(pearson, &SCORES, &IOUS)],
            1e-6,
        );
        let expected = slopes(pearson, &SCORES, &IOUS);
        assert_close(&slopes(of, &SCORES, &IOUS), &expected, 1e-6);
    }

    #[test]
    fn coefficients_that_are_undefined_have_no_loss() {
        let device = Device::flex();
        let cases: [(&[f64], &[f64]); 4] = [
            (&[], &[]),
            (&[0.3], &[0.9]),
            (&[0.5, 0.5, 0.5], &[0.1, 0.7, 0.9]),
            (&[0.1, 0.7, 0.9], &[0.5, 0.5, 0.5]),
        ];
        for of in ALL {
            for (scores, ious) in cases {
                let forward = |scores| losses(of, scores, ious, &whole(ious.len()));
                let found = values(forward(tensor1(scores, &device)));
                let slopes = gradient(tensor1(scores, &device), forward);
                assert_finite(&found);
                assert_finite(&slopes);
                // The concordance of constants is defined, and 0.
                if of != Correlation::Concordance || scores.len() < 2 {
                    assert!(
                        found.iter().chain(&slopes).all(|v| *v == 0.0),
                        "{of:?} {scores:?}"
                    );
                }
            }
            // Scores that equal their IoUs, all the same.
            assert_close(&[loss(of, &[0.5; 4], &[0.5; 4])], &[0.0], 1e-6);
            assert_finite(&slopes(of, &[0.5; 4], &[0.5; 4]));
        }
    }

    #[test]
    fn levels_have_their_own_coefficients() {
        let device = Device::flex();
        // Level 0 has four positives, level 1 only one, level 2 two; level 3 none.
        let levels = Levels {
            indices: Tensor::from_ints([0, 2, 0, 0, 1, 2, 0, 1, 3], &device),
            count: 4,
        };
        let scores = [0.3, 0.1, 0.55, 0.9, 0.32, 0.75, 0.01, f64::NAN, 0.5];
        let ious = [0.5, 0.3, 0.4, 0.8, 0.85, 0.2, 0.0, 0.5, f64::NAN];
        let labels = Tensor::<1, Int>::from_ints([0, 0, 0, 0, 0, 0, 0, -1, -1], &device);
        let groups = Positives::of(&labels).by_level(&levels);
        for of in [Correlation::Concordance, Correlation::Pearson] {
            let found = values(losses(of, tensor1(&scores, &device), &ious, &groups));
            let of_level = |rows: &[usize]| {
                let pick =
                    |values: &[f64]| -> Vec<f64> { rows.iter().map(|row| values[*row]).collect() };
                1.0 - coefficient(of, &pick(&scores), &pick(&ious))
            };
            let mean = (of_level(&[0, 2, 3, 6]) + of_level(&[1, 5])) / 2.0;
            assert_close(&[found.iter().sum()], &[7.0 * mean], 1e-5);
            assert_eq!([found[4], found[7], found[8]], [0.0; 3]);
        }
    }

    /// Pairs of a score and an IoU with the correlation `rho`: draws from a normal distribution.
    fn pairs(count: usize, rho: f64, next: &mut impl FnMut() -> f64) -> (Vec<f64>, Vec<f64>) {
        let mut normal = || {
            let (radius, angle) = (
                (-2.0 * (1.0 - next()).ln()).sqrt(),
                std::f64::consts::TAU * next(),
            );
            (radius * angle.cos(), radius * angle.sin())
        };
        let pair = |_| {
            let (a, b) = normal();
            (
                0.4 + 0.15 * a,
                0.6 + 0.2 * (rho * a + (1.0 - rho * rho).sqrt() * b),
            )
        };
        (0..count).map(pair).unzip()
    }

    /// "May not be accurate for small batches": the coefficient of a batch has little bias, but a
    /// standard deviation of about (1 − ρ²) / √n.
    #[test]
    fn coefficients_of_small_batches_are_noisy() {
        let mut state = 1_u64;
        let mut next = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64 / (1u64 << 24) as f64
        };
        let rho = 0.5;
        for count in [8, 32, 128, 512] {
            let batches = 2000;
            let found: Vec<f64> = (0..batches)
                .map(|_| {
                    let (scores, ious) = pairs(count, rho, &mut next);
                    coefficient(Correlation::Pearson, &scores, &ious)
                })
                .collect();
            let (mean, variance) = moments(&found);
            let expected = (1.0 - rho * rho) / (count as f64).sqrt();
            assert!(
                (variance.sqrt() / expected - 1.0).abs() < 0.15,
                "{count}: {variance}"
            );
            let bias = -rho * (1.0 - rho * rho) / (2.0 * count as f64);
            let error = 4.0 * expected / f64::from(batches).sqrt();
            assert!((mean - rho - bias).abs() < error, "{count}: {mean}");
        }
    }
}
