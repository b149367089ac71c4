//! An accurate sum of squares, bit-identical at every level of vector instructions.

use pulp::{Simd, WithSimd};

use crate::{product::load, simd::dispatch};

/// The number of independent partial sums: a multiple of every level's lanes, and enough to
/// hide the latency of an addition. It is the same at every level, so the results are too.
const CHAINS: usize = 64;

/// The number of values that are added in 32 bits before their partial sums are added in 64.
const BLOCK: usize = 32 * CHAINS;

/// The sum of the squares of `values`, each rounded to 32 bits.
///
/// No partial sum in 32 bits has more than 33 terms. So the relative error is at most 32 · 2⁻²⁴, and
/// typically about 2⁻²⁴, for any number of values.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    dispatch(SumOfSquares(values))
}

struct SumOfSquares<'a>(&'a [f32]);

impl WithSimd for SumOfSquares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let blocks = self.0.chunks(BLOCK);
        // As many vectors as hold all chains.
        match S::F32_LANES {
            16 => blocks.map(|block| sum_of_block::<S, 4>(simd, block)).sum(),
            8 => blocks.map(|block| sum_of_block::<S, 8>(simd, block)).sum(),
            4 => blocks.map(|block| sum_of_block::<S, 16>(simd, block)).sum(),
            2 => blocks.map(|block| sum_of_block::<S, 32>(simd, block)).sum(),
            _ => blocks.map(|block| sum_of_block::<S, 64>(simd, block)).sum(),
        }
    }
}

#[inline(always)]
fn sum_of_block<S: Simd, const VECTORS: usize>(simd: S, block: &[f32]) -> f64 {
    let mut chains = [simd.splat_f32s(0.0); VECTORS];
    let (rows, rest) = block.as_chunks::<CHAINS>();
    for row in S::as_simd_f32s(rows.as_flattened()).0.as_chunks().0 {
        let row: &[S::f32s; VECTORS] = row;
        for i in 0..VECTORS {
            // Not a fused multiply-add: not every level has one.
            chains[i] = simd.add_f32s(chains[i], simd.mul_f32s(row[i], row[i]));
        }
    }
    for (chain, values) in chains.iter_mut().zip(rest.chunks(S::F32_LANES)) {
        let value = load(simd, values);
        *chain = simd.add_f32s(*chain, simd.mul_f32s(value, value));
    }
    total::<S, VECTORS>(chains)
}

/// The sum of the partial sums.
#[inline(always)]
fn total<S: Simd, const VECTORS: usize>(chains: [S::f32s; VECTORS]) -> f64 {
    let mut sums = [0.0; CHAINS];
    S::as_mut_simd_f32s(&mut sums).0.copy_from_slice(&chains);
    // 64 dependent additions would take longer than the rest of a small sum.
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

    #[test]
    fn sums_are_accurate_and_the_same_at_every_level() {
        for count in [0, 1, 7, 63, 64, 65, 2047, 2048, 5000, 300_001] {
            // Pseudo-random numbers between 2 and 4.
            let number = |index: usize| ((index * 7919 + 13) as f32 * 78.233).sin() * 43_758.547;
            let values: Vec<f32> = (0..count)
                .map(|index| 3.0 + number(index).fract())
                .collect();
            let exact: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
            let results = Level::each(|level| {
                let sum = sum_of_squares(&values);
                let name = level.name();
                assert!(
                    (sum - exact).abs() <= 1e-7 * exact,
                    "{sum}, {exact}, {name}"
                );
                sum.to_bits()
            });
            assert!(
                results.iter().all(|bits| *bits == results[0]),
                "{results:?}"
            );
        }
    }
}
