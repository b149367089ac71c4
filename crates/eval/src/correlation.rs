//! Correlation coefficients of Pearson, Spearman and Kendall.
//!
//! Table II of the association-loss paper reports these three for the classification scores
//! and IoUs of the final detections. Each function takes two slices of paired observations
//! and returns a value in `[-1, 1]`, or `None` if the coefficient is undefined:
//!
//! - the slices have different lengths or fewer than two pairs;
//! - a value is NaN or infinite, or (Pearson only) their sum overflows;
//! - one of the variables is constant.
//!
//! ```
//! use fcos_burn_eval::correlation::{kendall, pearson, spearman};
//!
//! let score = [0.2, 0.4, 0.6, 0.9];
//! let iou = [0.1, 0.3, 0.5, 0.6];
//! assert_eq!(kendall(&score, &iou), Some(1.0));
//! assert_eq!(spearman(&score, &iou), Some(1.0));
//! assert!(pearson(&score, &iou).is_some_and(|r| r < 1.0));
//! assert_eq!(pearson(&score, &[0.5; 4]), None);
//! ```

use serde::{Deserialize, Serialize};

/// Correlation of scores and IoUs (the association-loss paper, Table II). A coefficient is `None`
/// if it is undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreCorrelation {
    /// Pearson's correlation coefficient.
    #[serde(rename = "PCC")]
    pub pearson: Option<f64>,
    /// Spearman's rank correlation coefficient.
    #[serde(rename = "SCC")]
    pub spearman: Option<f64>,
    /// Kendall's rank correlation coefficient τ-b.
    #[serde(rename = "KCC")]
    pub kendall: Option<f64>,
}

impl ScoreCorrelation {
    /// The correlation of `(score, IoU)` pairs.
    pub fn new(pairs: &[(f64, f64)]) -> Self {
        let (scores, ious): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        Self {
            pearson: pearson(&scores, &ious),
            spearman: spearman(&scores, &ious),
            kendall: kendall(&scores, &ious),
        }
    }
}

/// Pearson's product-moment correlation coefficient: how close the pairs are to a straight
/// line.
///
/// `None` if it is undefined (see the [module](self)).
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if !is_defined(x, y) {
        return None;
    }
    product_moment(x, y)
}

/// Spearman's rank correlation coefficient ρ: Pearson's coefficient of the ranks. Tied values
/// share the mean of their ranks.
///
/// `None` if it is undefined (see the [module](self)).
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    if !is_defined(x, y) {
        return None;
    }
    product_moment(&ranks(x), &ranks(y))
}

/// Kendall's rank correlation coefficient τ-b, which corrects for ties:
///
/// `(C − D) / √((n₀ − n₁)(n₀ − n₂))`
///
/// with `C` concordant and `D` discordant pairs of observations. Of all `n₀ = n(n−1)/2` pairs,
/// `n₁` are tied in `x` and `n₂` in `y`. A merge sort counts the discordant pairs in O(n log n) (W. R. Knight, "A computer method for
/// calculating Kendall's tau with ungrouped data", JASA 61, 1966).
///
/// `None` if it is undefined (see the [module](self)).
pub fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    if !is_defined(x, y) {
        return None;
    }
    // Adding zero turns −0 into 0, so that the total order of the sort is consistent with
    // the equality that defines ties.
    let mut points: Vec<(f64, f64)> = x.iter().zip(y).map(|(&a, &b)| (a + 0.0, b + 0.0)).collect();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let tied_in_x = tied_pairs(&points, |a, b| a.0 == b.0);
    let tied_in_both = tied_pairs(&points, |a, b| a == b);

    // After sorting by x, and by y within ties of x, exactly the discordant pairs are out of
    // order in y.
    let mut ys: Vec<f64> = points.into_iter().map(|(_, b)| b).collect();
    let discordant = sort_counting_inversions(&mut ys);
    let tied_in_y = tied_pairs(&ys, |a, b| a == b);

    let all = pairs(x.len());
    let concordant = all + tied_in_both - tied_in_x - tied_in_y - discordant;
    // Counts are exact in f64 (below 2⁵³) up to a hundred million observations. The product
    // under the square root would not be, so each factor has its own.
    let scale = ((all - tied_in_x) as f64).sqrt() * ((all - tied_in_y) as f64).sqrt();
    let tau = (concordant as f64 - discordant as f64) / scale;
    Some(tau.clamp(-1.0, 1.0))
}

fn is_defined(x: &[f64], y: &[f64]) -> bool {
    x.len() == y.len()
        && [x, y]
            .into_iter()
            .all(|v| varies(v) && v.iter().all(|a| a.is_finite()))
}

/// Compares the values themselves, not their deviations: those of equal values can differ from
/// zero by rounding, which would give a meaningless coefficient.
fn varies(values: &[f64]) -> bool {
    values.windows(2).any(|pair| pair[0] != pair[1])
}

fn product_moment(x: &[f64], y: &[f64]) -> Option<f64> {
    let (x, y) = (deviations(x), deviations(y));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let r = dot(&x, &y) / (dot(&x, &x).sqrt() * dot(&y, &y).sqrt());
    r.is_finite().then_some(r.clamp(-1.0, 1.0))
}

/// Deviations from the mean, divided by the largest, so that their squares neither overflow
/// nor underflow.
fn deviations(values: &[f64]) -> Vec<f64> {
    let center = |values: &mut [f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter_mut().for_each(|v| *v -= mean);
    };
    let mut deviations = values.to_vec();
    center(&mut deviations);
    // The second pass removes the rounding error of the first mean.
    center(&mut deviations);
    let largest = deviations.iter().fold(0.0_f64, |m, d| m.max(d.abs()));
    deviations.iter_mut().for_each(|d| *d /= largest);
    deviations
}

/// 1-based ranks. Equal values share their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| (values[a] + 0.0).total_cmp(&(values[b] + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tie in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = before as f64 + (tie.len() + 1) as f64 / 2.0;
        for &index in tie {
            ranks[index] = mean;
        }
        before += tie.len();
    }
    ranks
}

/// The number of pairs of `n` elements.
fn pairs(n: usize) -> u64 {
    let n = n as u64;
    n * n.saturating_sub(1) / 2
}

/// The number of pairs of equal elements in a sorted slice.
fn tied_pairs<T>(sorted: &[T], equal: impl FnMut(&T, &T) -> bool) -> u64 {
    sorted.chunk_by(equal).map(|tie| pairs(tie.len())).sum()
}

/// Sorts `values` by a bottom-up merge sort and returns the number of pairs that were out of
/// order. Equal values are in order.
fn sort_counting_inversions(values: &mut Vec<f64>) -> u64 {
    let mut inversions = 0;
    let mut merged = Vec::with_capacity(values.len());
    let mut run = 1;
    while run < values.len() {
        merged.clear();
        for block in values.chunks(2 * run) {
            let (mut left, mut right) = block.split_at(run.min(block.len()));
            while let (Some(&l), Some(&r)) = (left.first(), right.first()) {
                if r < l {
                    inversions += left.len() as u64;
                    merged.push(r);
                    right = &right[1..];
                } else {
                    merged.push(l);
                    left = &left[1..];
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(values, &mut merged);
        run *= 2;
    }
    inversions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::time::{Duration, Instant};

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn assert_close(actual: Option<f64>, expected: f64) {
        let actual = actual.unwrap();
        assert!(
            (actual - expected).abs() < 1e-12,
            "{actual} is not {expected}"
        );
    }

    /// τ-b by its definition: compares every pair of observations.
    fn kendall_by_definition(x: &[f64], y: &[f64]) -> f64 {
        let (mut score, mut untied_x, mut untied_y) = (0_i64, 0_i64, 0_i64);
        for i in 0..x.len() {
            for j in 0..i {
                let dx = i64::from(x[i] > x[j]) - i64::from(x[i] < x[j]);
                let dy = i64::from(y[i] > y[j]) - i64::from(y[i] < y[j]);
                score += dx * dy;
                untied_x += dx.abs();
                untied_y += dy.abs();
            }
        }
        score as f64 / ((untied_x * untied_y) as f64).sqrt()
    }

    /// A rank is one plus the number of smaller values plus half the number of other equal ones.
    fn ranks_by_definition(values: &[f64]) -> Vec<f64> {
        let rank = |v: &f64| {
            let smaller = values.iter().filter(|w| *w < v).count() as f64;
            let equal = values.iter().filter(|w| *w == v).count() as f64;
            smaller + (equal + 1.0) / 2.0
        };
        values.iter().map(rank).collect()
    }

    /// Covariance over standard deviations, as sums of differences over all pairs.
    fn pearson_by_definition(x: &[f64], y: &[f64]) -> f64 {
        let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
        for i in 0..x.len() {
            for j in 0..i {
                let (dx, dy) = (x[i] - x[j], y[i] - y[j]);
                xy += dx * dy;
                xx += dx * dx;
                yy += dy * dy;
            }
        }
        xy / (xx * yy).sqrt()
    }

    #[test]
    fn coefficients_of_a_hand_computed_example_with_ties() {
        // Of the six pairs, one is tied only in x and one only in y. Three of the other four
        // are concordant: τ-b = (3 − 1) / √(5 · 5).
        let x = [1.0, 2.0, 2.0, 3.0];
        let y = [1.0, 1.0, 4.0, 2.0];
        assert_close(kendall(&x, &y), 0.4);
        // Ranks 1, 2.5, 2.5, 4 and 1.5, 1.5, 4, 3: Σ dx·dy = 2.25 over 4.5.
        assert_close(spearman(&x, &y), 0.5);
        // Deviations −1, 0, 0, 1 and −1, −1, 2, 0: 1 / √(2 · 6).
        assert_close(pearson(&x, &y), 1.0 / 12.0_f64.sqrt());
    }

    #[test]
    fn coefficients_match_scipy_1_17() {
        type Case<'a> = (&'a [f64], &'a [f64], [f64; 3]);
        let cases: [Case; 4] = [
            (
                &[1.0, 2.0, 3.0, 4.0, 5.0],
                &[2.0, 1.0, 4.0, 3.0, 5.0],
                [0.8, 0.8, 0.6],
            ),
            (
                &[0.9, 0.8, 0.8, 0.3, 0.5, 0.5, 0.5, 0.1],
                &[0.7, 0.9, 0.9, 0.2, 0.6, 0.4, 0.6, 0.4],
                [0.8153742483272113, 0.8500664140329959, 0.6940220937885673],
            ),
            (
                &[
                    0.05, 0.31, 0.31, 0.47, 0.62, 0.62, 0.62, 0.75, 0.88, 0.91, 0.91, 0.99,
                ],
                &[
                    0.93, 0.55, 0.61, 0.55, 0.42, 0.61, 0.42, 0.12, 0.3, 0.3, 0.3, 0.05,
                ],
                [
                    -0.8931943271427045,
                    -0.8908779907877655,
                    -0.7768860357660613,
                ],
            ),
            (
                &[1e9 + 1.0, 1e9 + 2.0, 1e9 + 4.0, 1e9 + 7.0, 1e9 + 7.0],
                &[3.5, -1.25, 8.0, 8.0, 9.5],
                [0.7944117334520633, 0.8157894736842107, 0.6666666666666666],
            ),
        ];
        for (x, y, [r, rho, tau]) in cases {
            assert_close(pearson(x, y), r);
            assert_close(spearman(x, y), rho);
            assert_close(kendall(x, y), tau);
        }
    }

    #[test]
    fn coefficients_of_random_lists_match_the_definitions() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut compared = 0;
        for trial in 0..400 {
            let n = rng.random_range(2..40);
            // The fewer levels, the more ties.
            let levels = [2.0, 5.0, 1e6][trial % 3];
            let mut list = || -> Vec<f64> {
                (0..n)
                    .map(|_| (rng.random::<f64>() * levels).floor())
                    .collect()
            };
            let (x, y) = (list(), list());
            let expected = kendall_by_definition(&x, &y);
            if expected.is_nan() {
                assert_eq!(
                    (kendall(&x, &y), spearman(&x, &y), pearson(&x, &y)),
                    (None, None, None)
                );
                continue;
            }
            compared += 1;
            assert_close(kendall(&x, &y), expected);
            assert_close(pearson(&x, &y), pearson_by_definition(&x, &y));
            assert_close(
                spearman(&x, &y),
                pearson_by_definition(&ranks_by_definition(&x), &ranks_by_definition(&y)),
            );
        }
        assert!(
            compared > 300,
            "only {compared} pairs of lists were compared"
        );
    }

    #[test]
    fn a_monotonic_map_changes_only_pearson() {
        let x: Vec<f64> = (0..50).map(|i| f64::from(i * 37 % 50)).collect();
        let y: Vec<f64> = x.iter().map(|v| (v / 5.0).exp()).collect();
        let negated: Vec<f64> = y.iter().map(|v| -v).collect();
        assert_close(spearman(&x, &y), 1.0);
        assert_close(kendall(&x, &y), 1.0);
        assert!(pearson(&x, &y).unwrap() < 0.8);
        assert_close(spearman(&x, &negated), -1.0);
        assert_close(kendall(&x, &negated), -1.0);
    }

    #[test]
    fn undefined_coefficients_are_none() {
        for f in [pearson, spearman, kendall] {
            assert_eq!(f(&[], &[]), None);
            assert_eq!(f(&[1.0], &[2.0]), None);
            assert_eq!(f(&[1.0, 2.0], &[1.0, 2.0, 3.0]), None);
            assert_eq!(f(&[0.1; 3], &[1.0, 2.0, 3.0]), None);
            assert_eq!(f(&[1.0, 2.0, 3.0], &[0.1; 3]), None);
            assert_eq!(f(&[0.0, -0.0], &[1.0, 2.0]), None);
            assert_eq!(f(&[1.0, f64::NAN], &[1.0, 2.0]), None);
            assert_eq!(f(&[1.0, 2.0], &[f64::INFINITY, 2.0]), None);
        }
    }

    #[test]
    fn extreme_magnitudes_and_offsets_stay_accurate() {
        let x = [1.0, 2.0, 4.0, 7.0];
        let y = [1.0, 3.0, 2.0, 5.0];
        let expected = pearson_by_definition(&x, &y);
        for scale in [1e-200, 1e200] {
            assert_close(
                pearson(&x.map(|v| v * scale), &y.map(|v| v * scale)),
                expected,
            );
        }
        assert_close(pearson(&x.map(|v| v + 1e12), &y), expected);
        assert_eq!(pearson(&[f64::MAX, f64::MAX, 0.0], &[1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn a_quarter_of_a_million_pairs_take_less_than_quadratic_time() {
        // y reverses the order of blocks of 500 but not the order within a block. So the
        // concordant pairs are those within a block: τ = 2·499/249999 − 1.
        let n = 250_000_usize;
        let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let y: Vec<f64> = (0..n)
            .map(|i| ((n - i - 1) / 500 * 500 + i % 500) as f64)
            .collect();
        let start = Instant::now();
        let tau = kendall(&x, &y);
        let rho = spearman(&x, &y);
        let elapsed = start.elapsed();
        assert_close(tau, 2.0 * 499.0 / 249_999.0 - 1.0);
        assert!(rho.unwrap() < -0.99);
        // All pairs would take minutes. This takes a tenth of a second, if no other process is running.
        assert!(elapsed < Duration::from_secs(20), "took {elapsed:?}");
    }
}
