//! Sums of many values, accurate and the same at every level of vector instructions.

use pulp::{Simd, WithSimd};

use crate::simd::dispatch;

/// Partial sums that are kept side by side: a multiple of every processor's lanes, and enough
/// to hide the latency of an addition. The same number everywhere gives the same bits
/// everywhere.
const CHAINS: usize = 64;

/// Values that are added in 32 bits before their partial sums are added in 64.
const BLOCK: usize = 32 * CHAINS;

/// The sum of `a`.
///
/// No partial sum in 32 bits has more than 32 values, so that the relative error to the sum of
/// the absolute values is at most 31 · 2⁻²⁴, and usually some 2⁻²⁴, however many there are.
pub fn sum(a: &[f32]) -> f64 {
    dispatch(Sum(a))
}

/// The sum of the products of `a` less `a_mean` and `b` less `b_mean`, each product rounded to 32
/// bits, and summed as [`sum`] does.
pub fn covariance(a: &[f32], a_mean: f32, b: &[f32], b_mean: f32) -> f64 {
    dispatch(Covariance(a, a_mean, b, b_mean))
}

struct Sum<'a>(&'a [f32]);

impl WithSimd for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let of_block = |block: &[f32]| {
            let mut chains = [simd.splat_f32s(0.0); CHAINS];
            let (rows, rest) = block.as_chunks::<CHAINS>();
            for row in rows {
                let vectors = S::as_simd_f32s(row).0;
                for (chain, values) in chains.iter_mut().zip(vectors) {
                    *chain = simd.add_f32s(*chain, *values);
                }
            }
            if !rest.is_empty() {
                for (index, chain) in chains[..CHAINS / S::F32_LANES].iter_mut().enumerate() {
                    let values = simd.partial_load_f32s(vector::<S>(rest, index));
                    *chain = simd.add_f32s(*chain, values);
                }
            }
            total::<S>(&chains)
        };
        self.0.chunks(BLOCK).map(of_block).sum()
    }
}

/// What the vector of this index has of `rest`: all lanes, some or none.
#[inline(always)]
fn vector<S: Simd>(rest: &[f32], index: usize) -> &[f32] {
    let lanes = S::F32_LANES;
    let from = rest.len().min(index * lanes);
    &rest[from..rest.len().min(from + lanes)]
}

/// Of a vector that is not full, the lanes that are: the others are 0.
const ONES: [f32; CHAINS] = [1.0; CHAINS];

struct Covariance<'a>(&'a [f32], f32, &'a [f32], f32);

impl WithSimd for Covariance<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let Self(a, a_mean, b, b_mean) = self;
        let means = [a_mean, b_mean].map(|mean| simd.splat_f32s(mean));
        let of_block = |(a, b): (&[f32], &[f32])| {
            let mut chains = [simd.splat_f32s(0.0); CHAINS];
            let ((a_rows, a_rest), (b_rows, b_rest)) =
                (a.as_chunks::<CHAINS>(), b.as_chunks::<CHAINS>());
            let deviations = |a, b| [simd.sub_f32s(a, means[0]), simd.sub_f32s(b, means[1])];
            for (a, b) in a_rows.iter().zip(b_rows) {
                let vectors = S::as_simd_f32s(a).0.iter().zip(S::as_simd_f32s(b).0);
                for (chain, (a, b)) in chains.iter_mut().zip(vectors) {
                    // No fused multiply-add: not every level has it.
                    let [a, b] = deviations(*a, *b);
                    *chain = simd.add_f32s(*chain, simd.mul_f32s(a, b));
                }
            }
            if !a_rest.is_empty() {
                let ones = &ONES[..a_rest.len()];
                for (index, chain) in chains[..CHAINS / S::F32_LANES].iter_mut().enumerate() {
                    let [a, b, there] = [a_rest, b_rest, ones]
                        .map(|rest| simd.partial_load_f32s(vector::<S>(rest, index)));
                    let [a, b] = deviations(a, b);
                    // The square of a mean may be too large, where that of a deviation is not.
                    let a = simd.mul_f32s(there, a);
                    *chain = simd.add_f32s(*chain, simd.mul_f32s(a, b));
                }
            }
            total::<S>(&chains)
        };
        a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(of_block).sum()
    }
}

/// The sum of all chains, held in as many vectors as the lanes need.
#[inline(always)]
fn total<S: Simd>(chains: &[S::f32s; CHAINS]) -> f64 {
    let mut sums = [0.0; CHAINS];
    let vectors = S::as_mut_simd_f32s(&mut sums).0;
    vectors.copy_from_slice(&chains[..CHAINS / S::F32_LANES]);
    // One after the other, 64 additions would take longer than those of a small plane.
    let mut totals = [0.0; 8];
    for sums in sums.as_chunks::<8>().0 {
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += f64::from(*sum);
        }
    }
    let [a, b, c, d, e, f, g, h] = totals;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    /// Numbers without a pattern, around `mean`.
    fn numbers(count: usize, mean: f32) -> Vec<f32> {
        let number = |index: usize| ((index * 7919 + 13) as f32 * 78.233).sin() * 43_758.547;
        (0..count)
            .map(|index| mean + number(index).fract())
            .collect()
    }

    #[test]
    fn every_level_gives_the_same_exact_sums() {
        for count in [0, 1, 7, 63, 64, 65, 2047, 2048, 5000, 300_001] {
            let (a, b) = (numbers(count, 3.0), numbers(count, -1.0));
            let [a_mean, b_mean] = [2.9, -0.8];
            let exact: f64 = a.iter().map(|a| f64::from(*a)).sum();
            let exact_products: f64 = (a.iter().zip(&b))
                .map(|(a, b)| f64::from(a - a_mean) * f64::from(b - b_mean))
                .sum();
            let scale: f64 = (a.iter().zip(&b))
                .map(|(a, b)| f64::from(((a - a_mean) * (b - b_mean)).abs()))
                .sum();
            let found = Level::each(|level| {
                let (sum, products) = (sum(&a), covariance(&a, a_mean, &b, b_mean));
                let name = level.name();
                assert!(
                    (sum - exact).abs() <= 1e-7 * exact,
                    "{sum} for {exact}, {name}"
                );
                assert!(
                    (products - exact_products).abs() <= 1e-7 * scale,
                    "{products} for {exact_products}, {name}"
                );
                (sum.to_bits(), products.to_bits())
            });
            assert!(found.iter().all(|bits| *bits == found[0]), "{found:?}");
        }
    }

    #[test]
    fn large_values_without_deviation_have_none() {
        for count in [300, 320] {
            let values = vec![2e19; count];
            Level::each(|level| {
                let found = covariance(&values, 2e19, &values, 2e19);
                assert_eq!(found, 0.0, "{count}, {}", level.name());
            });
        }
    }
}
